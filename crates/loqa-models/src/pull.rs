//! Fetches the files of a model: resumes, tries several sources, and puts a file in
//! place under its name only when its bytes have the pinned digest.
//!
//! What is fetched lies beside its place as `.<name>.<digest>.part` until then. A pull
//! that is dropped, or a program that is killed, leaves that part for the next one.
//! Deliberately absent: judging addresses and keeping the record of what leaves the
//! machine; both are passed in, because the hub has them already.

mod http;
mod outcome;
mod part;
mod space;

pub use outcome::{Progress, PullError, Pulled};

use crate::catalog::{Catalog, Model, ModelFile, Presence, Role, check_header};
use http::{Attempt, Fetcher};
use part::Part;
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io::Read as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Room that is left on the disk beside the model. Chosen: the databases of a long day.
const RESERVE_BYTES: u64 = 64 << 20;
/// Between two reports of bytes. Chosen: a person reads no faster.
const REPORT_EVERY: Duration = Duration::from_millis(200);

/// How long a source is waited for.
#[derive(Debug, Clone)]
pub struct Patience {
    /// For a connection. Chosen.
    pub connect: Duration,
    /// For the head of an answer. Chosen.
    pub answer: Duration,
    /// For the next 16 KiB. Chosen.
    pub stall: Duration,
    /// Before the second try; doubled for each further one. Chosen.
    pub pause: Duration,
    /// Tries without headway before the next source is asked. Chosen.
    pub tries: u32,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(15),
            answer: Duration::from_secs(30),
            stall: Duration::from_secs(30),
            pause: Duration::from_secs(1),
            tries: 5,
        }
    }
}

/// Keeps on record what leaves the machine. Its methods may block.
pub trait Ledger: Send + Sync {
    /// A request for a file of `model` is about to go to `target`, an address without
    /// its query. It is not sent when this fails; the error says why.
    fn leaving(&self, model: &str, target: &str) -> Result<u64, String>;
    /// How the request of that number ended.
    fn ended(&self, number: u64, left: Left);
}

/// What a request came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Left {
    /// Whether it was answered with what was asked for.
    pub ok: bool,
    /// Bytes that went out, about.
    pub bytes_out: u64,
    /// Bytes of the file that came in.
    pub bytes_in: u64,
}

/// A fault put in on purpose, to show that the tests see it. Never set otherwise.
#[doc(hidden)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A whole answer is appended to what is there, and nobody compares the digest.
    AppendOn200,
    /// Nobody compares the digest.
    TrustTheBytes,
    /// The disk is not asked for its room, so that it runs full.
    IgnoreSpace,
}

impl Fault {
    fn trusts(self) -> bool {
        matches!(self, Self::AppendOn200 | Self::TrustTheBytes)
    }
}

/// Decides whether a download may connect to an address.
pub type MayReach = Arc<dyn Fn(IpAddr) -> bool + Send + Sync>;

/// What every pull of a [`Puller`] has in common.
#[derive(Clone)]
pub struct PullOptions {
    /// Decides about each address, also those that redirects lead to.
    pub may_reach: MayReach,
    /// Keeps the record.
    pub ledger: Arc<dyn Ledger>,
    /// How long a source is waited for.
    pub patience: Patience,
    /// Plain HTTP is taken from this machine, for tests.
    #[doc(hidden)]
    pub plain_loopback: bool,
    /// For the controls of the tests.
    #[doc(hidden)]
    pub fault: Option<Fault>,
}

impl PullOptions {
    /// With the usual patience.
    #[must_use]
    pub fn new(may_reach: MayReach, ledger: Arc<dyn Ledger>) -> Self {
        Self { may_reach, ledger, patience: Patience::default(), plain_loopback: false, fault: None }
    }
}

/// One pull.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PullRequest {
    /// Catalog name.
    pub name: String,
    /// Another source than the catalog's: an `https://` address, or a file or folder of
    /// this machine. For a model with several files, an address or folder under which
    /// they lie by the last part of their names.
    pub from: Option<String>,
    /// The user agrees to the licence, where the catalog asks for that.
    pub accept_licence: bool,
}

/// Fetches models.
#[derive(Clone)]
pub struct Puller {
    options: PullOptions,
    fetcher: Fetcher,
}

/// Where a file comes from.
#[derive(Debug, Clone)]
enum Source {
    Address(String),
    File(PathBuf),
}

impl Source {
    /// For people and for the record: an address without its query, which may be a secret.
    fn shown(&self) -> String {
        match self {
            Self::Address(address) => http::without_query(address),
            Self::File(path) => path.display().to_string(),
        }
    }
}

/// Takes what a pull tells.
pub type Listener<'a> = &'a (dyn Fn(Progress) + Send + Sync);

impl Puller {
    /// A puller with these options.
    ///
    /// # Errors
    /// The system has no TLS to offer.
    pub fn new(options: PullOptions) -> Result<Self, PullError> {
        let fetcher = Fetcher::new(&options).map_err(|e| PullError::Refused(format!("prepare downloads: {e}")))?;
        Ok(Self { options, fetcher })
    }

    /// Fetches what is missing of a model; every file ends in place with its pinned
    /// digest, or is not there. Dropping the future stops it and keeps what arrived.
    ///
    /// # Errors
    /// See [`PullError`].
    pub async fn pull(
        &self,
        catalog: &Catalog,
        request: &PullRequest,
        tell: Listener<'_>,
    ) -> Result<Pulled, PullError> {
        let model = catalog.find(&request.name, None).map_err(|e| PullError::Unknown(format!("{e:#}")))?;
        let sources = sources(model, request)?;
        let folder = catalog.downloads().to_owned();
        std::fs::create_dir_all(&folder).map_err(PullError::disk("make the folder", &folder))?;
        let _lock = lock(&folder, &model.name)?;

        let mut pulled =
            Pulled { name: model.name.clone(), fetched: 0, resumed: 0, present: 0, licence: model.licence.clone() };
        let mut missing = Vec::new();
        for (index, file) in model.files.iter().enumerate() {
            let path = catalog.path(model, file);
            if has_digest(&path, file).await? {
                pulled.present += file.size;
            } else {
                let part = Part::open(&path, file).await?;
                missing.push((index, file, path, part));
            }
        }
        let need = missing.iter().map(|(_, file, _, part)| file.size - part.len()).sum::<u64>();
        if need > 0 && self.options.fault != Some(Fault::IgnoreSpace) {
            let free = space::free(&folder).map_err(PullError::disk("ask for the room in", &folder))?;
            let need = need.saturating_add(RESERVE_BYTES);
            if free < need {
                return Err(PullError::NoSpace { folder, need, free });
            }
        }
        for (index, file, path, part) in missing {
            let have = part.len();
            let name = file.path.clone();
            tell(Progress::File { file: name, number: index + 1, of: model.files.len(), bytes: file.size, have });
            let fetched = self.file(model, file, &sources[index], part, &path, tell).await?;
            pulled.fetched += fetched;
            pulled.resumed += file.size.saturating_sub(fetched);
            tell(Progress::Ready { file: file.path.clone(), sha256: file.sha256.clone() });
        }
        Ok(pulled)
    }

    /// Asks the sources in order; says how many bytes came in.
    async fn file(
        &self,
        model: &Model,
        file: &ModelFile,
        sources: &[Source],
        mut part: Part,
        path: &Path,
        tell: Listener<'_>,
    ) -> Result<u64, PullError> {
        let mut reasons = Vec::new();
        let mut fetched = 0;
        for source in sources {
            let shown = source.shown();
            tell(Progress::Source { file: file.path.clone(), source: shown.clone() });
            match self.ask_source(model, file, source, &mut part, &mut fetched, tell).await {
                Ok(()) => {
                    let format = (file.role == Role::Model).then_some(model.format);
                    let headed = format.map_or(Ok(()), |format| check_header(part.path(), format));
                    match headed {
                        Ok(()) => {
                            part.put_in_place(path).await?;
                            return Ok(fetched.min(file.size));
                        }
                        Err(error) => {
                            part.clear().await?;
                            reasons.push(format!("{shown}: {error:#}"));
                        }
                    }
                }
                Err(SourceEnd::Fatal(error)) => return Err(error),
                Err(SourceEnd::Useless(reason)) => {
                    let told = Progress::SourceFailed {
                        file: file.path.clone(),
                        source: shown.clone(),
                        reason: reason.clone(),
                    };
                    tell(told);
                    reasons.push(format!("{shown}: {reason}"));
                }
            }
        }
        Err(PullError::Sources { file: file.path.clone(), reasons })
    }

    /// Tries one source until it gave the pinned bytes or proved useless.
    async fn ask_source(
        &self,
        model: &Model,
        file: &ModelFile,
        source: &Source,
        part: &mut Part,
        fetched: &mut u64,
        tell: Listener<'_>,
    ) -> Result<(), SourceEnd> {
        let mut report = Report { file, tell, began: Instant::now(), told: None, at_first: part.len() };
        let address = match source {
            Source::File(path) => {
                *fetched = 0;
                part.copy_from(path).await.map_err(SourceEnd::Useless)?;
                *fetched = part.len();
                let right = part.has_digest();
                return if right { Ok(()) } else { Err(self.not_the_pinned(part).await) };
            }
            Source::Address(address) => address,
        };
        let patience = &self.options.patience;
        let (mut lost, mut restarted, mut best) = (0, false, part.len());
        loop {
            // What is whole already is only compared.
            let offset = part.len();
            let attempt = if offset == file.size {
                Ok(())
            } else {
                let before = part.received();
                let attempt = self
                    .fetcher
                    .attempt(&self.options, &model.name, address, part, &mut |done| report.bytes(done))
                    .await;
                *fetched += part.received() - before;
                attempt
            };
            let reason = match attempt {
                Ok(()) if part.has_digest() || self.options.fault.is_some_and(Fault::trusts) => return Ok(()),
                // The beginning may have been of another source or another time: once more, all of it.
                Ok(()) if offset > 0 && !restarted => {
                    (restarted, best) = (true, 0);
                    part.clear().await.map_err(SourceEnd::Fatal)?;
                    continue;
                }
                Ok(()) => return Err(self.not_the_pinned(part).await),
                Err(Attempt::Fatal(error)) => return Err(SourceEnd::Fatal(error)),
                Err(Attempt::Useless(reason)) => return Err(SourceEnd::Useless(reason)),
                Err(Attempt::FromTheStart(reason)) => {
                    if std::mem::replace(&mut restarted, true) {
                        return Err(SourceEnd::Useless(reason));
                    }
                    part.clear().await.map_err(SourceEnd::Fatal)?;
                    best = 0;
                    continue;
                }
                Err(Attempt::Lost(reason)) => reason,
            };
            // Headway is what counts: a long file over a bad line may break many times.
            if part.len() >= best + http::HEADWAY_BYTES {
                best = part.len();
                lost = 0;
            }
            lost += 1;
            if lost >= patience.tries {
                return Err(SourceEnd::Useless(reason));
            }
            tracing::info!(model = model.name, reason, "the download broke, going on");
            tokio::time::sleep(patience.pause * 2u32.pow((lost - 1).min(5))).await;
        }
    }

    async fn not_the_pinned(&self, part: &mut Part) -> SourceEnd {
        match part.clear().await {
            Ok(()) => SourceEnd::Useless("what it gives does not have the pinned digest".to_owned()),
            Err(error) => SourceEnd::Fatal(error),
        }
    }
}

/// Why a source is not asked again.
enum SourceEnd {
    /// The next one may do.
    Useless(String),
    /// No other would do either.
    Fatal(PullError),
}

/// Tells about bytes, not too often.
struct Report<'a> {
    file: &'a ModelFile,
    tell: Listener<'a>,
    began: Instant,
    told: Option<Instant>,
    at_first: u64,
}

impl Report<'_> {
    fn bytes(&mut self, done: u64) {
        if self.told.is_some_and(|told| told.elapsed() < REPORT_EVERY) && done < self.file.size {
            return;
        }
        self.told = Some(Instant::now());
        let seconds = self.began.elapsed().as_secs_f64().max(0.001);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a rate"
        )]
        let per_second = (done.saturating_sub(self.at_first) as f64 / seconds) as u64;
        (self.tell)(Progress::Bytes { file: self.file.path.clone(), done, bytes: self.file.size, per_second });
    }
}

/// Removes the files of a downloaded model and what is left of pulls; says how many
/// bytes that were.
///
/// # Errors
/// It comes with Loqa, it is being fetched, or the disk refuses.
pub fn remove(catalog: &Catalog, name: &str) -> Result<u64, PullError> {
    let model = catalog.find(name, None).map_err(|e| PullError::Unknown(format!("{e:#}")))?;
    if model.bundled {
        return Err(PullError::Refused(format!("model `{name}` comes with Loqa and cannot be removed")));
    }
    if !catalog.downloads().is_dir() {
        return Ok(0);
    }
    let _lock = lock(catalog.downloads(), name)?;
    let mut removed = 0;
    for file in &model.files {
        let path = catalog.path(model, file);
        removed += part::remove_all(&path)?;
        // Empty folders go as well; one that still holds something stays.
        let folders = path.ancestors().skip(1).take_while(|folder| *folder != catalog.downloads());
        for folder in folders {
            if std::fs::remove_dir(folder).is_err() {
                break;
            }
        }
    }
    Ok(removed)
}

/// Whether a pull has anything to do, and could.
fn sources(model: &Model, request: &PullRequest) -> Result<Vec<Vec<Source>>, PullError> {
    let name = &model.name;
    if model.bundled {
        return Err(PullError::Bundled(name.clone()));
    }
    if !model.is_pinned() {
        return Err(PullError::Unpinned(name.clone()));
    }
    if model.accept_licence && !request.accept_licence {
        return Err(PullError::Licence {
            name: name.clone(),
            licence: model.licence.clone(),
            source_page: model.source.clone(),
        });
    }
    let several = model.files.len() > 1;
    let of = |file: &ModelFile| -> Result<Vec<Source>, PullError> {
        let last = file.path.rsplit('/').next().unwrap_or(&file.path);
        match &request.from {
            None => Ok(file.sources().map(|url| Source::Address(url.to_owned())).collect()),
            Some(from) if from.contains("://") => {
                let address = if several { format!("{}/{last}", from.trim_end_matches('/')) } else { from.clone() };
                Ok(vec![Source::Address(address)])
            }
            Some(from) => {
                let path = Path::new(from);
                let path = if path.is_dir() { path.join(last) } else { path.to_owned() };
                Ok(vec![Source::File(path)])
            }
        }
    };
    let sources = model.files.iter().map(of).collect::<Result<Vec<_>, _>>()?;
    if sources.iter().any(Vec::is_empty) {
        return Err(PullError::NoSource(name.clone()));
    }
    Ok(sources)
}

/// One pull of a model at a time, of all programs. The file stays: a name that goes away
/// could be locked twice.
fn lock(folder: &Path, name: &str) -> Result<File, PullError> {
    let path = folder.join(format!(".{name}.lock"));
    let file = File::options()
        .create(true)
        .write(true)
        .truncate(false)
        .open(&path)
        .map_err(PullError::disk("open the lock", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(PullError::Busy(name.to_owned())),
        Err(std::fs::TryLockError::Error(e)) => Err(PullError::disk("take the lock", &path)(e)),
    }
}

/// Whether the file in place is the pinned one; reads all of it, whatever was found before.
async fn has_digest(path: &Path, file: &ModelFile) -> Result<bool, PullError> {
    if !std::fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.len() == file.size) {
        return Ok(false);
    }
    let found = hashed(path.to_owned(), u64::MAX).await.map_err(PullError::disk("read", path))?;
    Ok(hex::encode(found.finalize()).eq_ignore_ascii_case(&file.sha256))
}

/// The hash of the first `limit` bytes of a file.
async fn hashed(path: PathBuf, limit: u64) -> std::io::Result<Sha256> {
    let reading = tokio::task::spawn_blocking(move || {
        let mut reader = File::open(path)?.take(limit);
        let mut hasher = Sha256::new();
        let mut block = vec![0; 1 << 20];
        loop {
            let n = reader.read(&mut block)?;
            if n == 0 {
                return Ok(hasher);
            }
            hasher.update(&block[..n]);
        }
    });
    reading.await.map_err(std::io::Error::other)?
}

/// Whether a pull could do something for this model: what `loqa models list` offers.
#[must_use]
pub fn can_be_pulled(catalog: &Catalog, model: &Model) -> bool {
    !model.bundled && matches!(catalog.presence(model), Presence::Absent | Presence::Incomplete)
}
