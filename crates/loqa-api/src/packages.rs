//! Packages on their way in: uploaded, read with all limits, shown with their permission
//! sheet, and installed only with an answer to exactly what was shown.
//!
//! An upload does nothing but lie in the run folder for a while. Deliberately absent:
//! fetching a package from an address.

use crate::extract::{ApiJson, ApiPath};
use crate::limits::{LONG, Within};
use crate::problem::{ApiResult, Problem, blocking};
use crate::skills::{PermissionLine, SkillDetail, installed, now_ms, permission_lines, problem_of, reloaded};
use crate::state::AppState;
use anyhow::Context as _;
use axum::Json;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode, header};
use loqa_hub::skills::bundled;
use loqa_protocol::ErrorCode;
use loqa_skills::Package;
use loqa_skills::installed::Upgraded;
use loqa_skills::package::MAX_BYTES;
use loqa_skills::upgrade::Decision;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Folder below the run folder.
const FOLDER: &str = "packages";
/// Packages that wait; the oldest goes. Chosen.
const MAX_WAITING: usize = 4;
/// How long one waits. Chosen.
const LIFE: Duration = Duration::from_mins(30);
/// Media types of a package.
const MEDIA_TYPES: &[&str] = &["application/octet-stream", "application/vnd.loqa.skill", "application/zip"];

/// Packages that wait for an answer.
#[derive(Debug)]
pub struct Packages {
    folder: PathBuf,
}

impl Packages {
    /// Those of this run; what an earlier one left is removed.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn open(run: &Path) -> anyhow::Result<Self> {
        let packages = Self { folder: run.join(FOLDER) };
        packages.clear();
        let mut builder = std::fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        {
            use std::os::unix::fs::DirBuilderExt as _;
            builder.mode(0o700);
        }
        builder
            .create(&packages.folder)
            .with_context(|| format!("make the folder for uploads `{}`", packages.folder.display()))?;
        Ok(packages)
    }

    /// Removes all of them.
    pub fn clear(&self) {
        let _gone = std::fs::remove_dir_all(&self.folder);
    }

    fn path(&self, digest: &str) -> Option<PathBuf> {
        let is_digest = digest.len() == 64 && digest.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        is_digest.then(|| self.folder.join(format!("{digest}.{}", loqa_skills::package::EXTENSION)))
    }

    fn keep(&self, digest: &str, bytes: &[u8]) -> ApiResult<()> {
        self.sweep();
        let path = self.path(digest).ok_or_else(|| Problem::new(ErrorCode::HubFault, "a digest is none"))?;
        let next = path.with_extension(format!("{:08x}.next", rand::random::<u32>()));
        let mut options = OpenOptions::new();
        options.create_new(true).write(true);
        #[cfg(unix)]
        {
            use std::os::unix::fs::OpenOptionsExt as _;
            options.mode(0o600);
        }
        let written = (|| {
            options.open(&next)?.write_all(bytes)?;
            std::fs::rename(&next, &path)
        })();
        if written.is_err() {
            let _gone = std::fs::remove_file(&next);
        }
        written.map_err(|e| Problem::storage(format!("keep the upload: {e}")))
    }

    /// Makes room for one more, and removes what waited too long.
    fn sweep(&self) {
        let Ok(entries) = std::fs::read_dir(&self.folder) else { return };
        let age = |path: &Path| {
            let written = std::fs::metadata(path).and_then(|meta| meta.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
            SystemTime::now().duration_since(written).unwrap_or_default()
        };
        let mut waiting: Vec<(Duration, PathBuf)> =
            entries.flatten().map(|entry| (age(&entry.path()), entry.path())).collect();
        waiting.sort();
        let surplus = waiting.iter().enumerate().filter(|(idx, (age, _))| *idx + 1 >= MAX_WAITING || *age > LIFE);
        for (_, (_, path)) in surplus {
            let _gone = std::fs::remove_file(path);
        }
    }

    fn read(&self, digest: &str) -> ApiResult<Package> {
        let gone = || Problem::not_found("no such package waits; upload it again");
        let path = self.path(digest).filter(|path| path.is_file()).ok_or_else(gone)?;
        let package = Package::open(&path).map_err(|e| Problem::storage(e.to_string()))?;
        // The name is that of the contents, unless somebody changed the file.
        if package.digest() == digest { Ok(package) } else { Err(gone()) }
    }

    fn forget(&self, digest: &str) -> bool {
        self.path(digest).is_some_and(|path| std::fs::remove_file(path).is_ok())
    }
}

/// A package that waits, and what installing it would mean.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PackageSheet {
    /// Digest of its contents, in hex; names the package.
    pub digest: String,
    /// Name of the skill.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its title, in the author's words.
    pub title: String,
    /// What it says of itself, in the author's words.
    pub description: String,
    /// Who wrote it, in the author's words.
    pub author: String,
    /// Its licence, in the author's words.
    pub license: String,
    /// Public key that signed it, in hex; `null` when nothing shows who made it.
    pub publisher: Option<String>,
    /// Names of its tools.
    pub tools: Vec<String>,
    /// What it may do once it is installed.
    pub permissions: Vec<PermissionLine>,
    /// What installing would do.
    pub action: PackageAction,
    /// Of an upgrade: how it differs from the version in use, in the host's words.
    pub differences: Vec<String>,
    /// Why it is not taken.
    pub refusal: Option<String>,
    /// Stands for all of the above; an answer repeats it.
    pub consent: String,
}

/// What installing a package would do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PackageAction {
    /// A skill of this name is new.
    Install,
    /// It takes the place of the version in use.
    Upgrade,
    /// The same contents are installed already.
    Nothing,
    /// It is not taken.
    Refuse,
}

/// The person's yes to what a sheet says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PackageConsent {
    /// `consent` of the sheet that was shown.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    pub consent: String,
}

pub(crate) fn routes() -> OpenApiRouter<Arc<AppState>> {
    // One byte more than the largest package, so that the reader says what is wrong with it.
    let most = usize::try_from(MAX_BYTES).unwrap_or(usize::MAX).saturating_add(1);
    OpenApiRouter::new()
        .routes(routes!(upload))
        .layer(DefaultBodyLimit::max(most))
        .routes(routes!(show, forget))
        .routes(routes!(install))
}

fn sheet_of(state: &AppState, package: &Package) -> ApiResult<PackageSheet> {
    let manifest = package.manifest();
    let is_bundled = bundled(state.hub.paths()).iter().any(|(bundled, _)| bundled.name == manifest.name);
    let decision = installed(state).consider(package).map_err(problem_of)?;
    let (action, differences, refusal) = match decision {
        _ if is_bundled => (PackageAction::Refuse, Vec::new(), Some("a skill of this name is part of Loqa".to_owned())),
        None => (PackageAction::Install, Vec::new(), None),
        Some(Decision::Same) => (PackageAction::Nothing, Vec::new(), None),
        Some(Decision::Replace) => (PackageAction::Upgrade, Vec::new(), None),
        Some(Decision::Ask(differences)) => {
            (PackageAction::Upgrade, differences.iter().map(ToString::to_string).collect(), None)
        }
        Some(Decision::Refuse(refusal)) => (PackageAction::Refuse, Vec::new(), Some(refusal.to_string())),
    };
    let mut sheet = PackageSheet {
        digest: package.digest().to_owned(),
        name: manifest.name.clone(),
        version: manifest.version.to_string(),
        title: manifest.title.clone(),
        description: manifest.description.clone(),
        author: manifest.author.clone(),
        license: manifest.license.clone(),
        publisher: package.publisher().map(str::to_owned),
        tools: manifest.tools.iter().map(|tool| tool.name.clone()).collect(),
        permissions: permission_lines(&manifest.permissions),
        action,
        differences,
        refusal,
        consent: String::new(),
    };
    let shown = serde_json::to_vec(&sheet).map_err(|e| Problem::new(ErrorCode::HubFault, e.to_string()))?;
    sheet.consent = hex::encode(Sha256::digest(shown));
    Ok(sheet)
}

/// Upload a package and see its permission sheet
///
/// Nothing is installed yet. The package waits for half an hour at most.
#[utoipa::path(post, path = "/v1/packages", tag = "skills",
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses((status = 201, body = PackageSheet)))]
async fn upload(
    _time: Within<LONG>,
    State(state): State<Arc<AppState>>,
    headers: HeaderMap,
    body: Body,
) -> ApiResult<(StatusCode, Json<PackageSheet>)> {
    let media_type = crate::guard::only(&headers, &header::CONTENT_TYPE).unwrap_or_default();
    if !MEDIA_TYPES.contains(&media_type.split(';').next().unwrap_or_default().trim()) {
        return Err(Problem::with_status(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            ErrorCode::BadRequest,
            "send the package with `Content-Type: application/octet-stream`",
        ));
    }
    // Two uploads at a time are held in memory, not more.
    let _turn = state.limits.heavy().await?;
    let most = usize::try_from(MAX_BYTES).unwrap_or(usize::MAX);
    let bytes = axum::body::to_bytes(body, most)
        .await
        .map_err(|_| Problem::new(ErrorCode::TooLarge, format!("a package has at most {most} bytes")))?;
    blocking(move || {
        let bad = |e: &dyn std::fmt::Display| Problem::bad_request(format!("the package is refused: {e}"));
        let package = Package::read(&bytes).map_err(|e| bad(&e))?;
        package.check_code().map_err(|e| bad(&e))?;
        let sheet = sheet_of(&state, &package)?;
        state.packages.keep(&sheet.digest, &bytes)?;
        Ok((StatusCode::CREATED, Json(sheet)))
    })
    .await
}

/// See the permission sheet of a package that waits
#[utoipa::path(get, path = "/v1/packages/{digest}", tag = "skills", params(("digest" = String, Path)),
    responses((status = 200, body = PackageSheet)))]
async fn show(State(state): State<Arc<AppState>>, ApiPath(digest): ApiPath<String>) -> ApiResult<Json<PackageSheet>> {
    blocking(move || sheet_of(&state, &state.packages.read(&digest)?).map(Json)).await
}

/// Forget a package that waits
#[utoipa::path(delete, path = "/v1/packages/{digest}", tag = "skills", params(("digest" = String, Path)),
    responses((status = 204)))]
async fn forget(State(state): State<Arc<AppState>>, ApiPath(digest): ApiPath<String>) -> ApiResult<StatusCode> {
    blocking(move || {
        let forgotten = state.packages.forget(&digest);
        if forgotten { Ok(StatusCode::NO_CONTENT) } else { Err(Problem::not_found("no such package waits")) }
    })
    .await
}

/// Install or upgrade, with a yes to the sheet that was shown
#[utoipa::path(post, path = "/v1/packages/{digest}/install", tag = "skills", params(("digest" = String, Path)),
    request_body = PackageConsent, responses((status = 200, body = SkillDetail)))]
async fn install(
    _time: Within<LONG>,
    State(state): State<Arc<AppState>>,
    ApiPath(digest): ApiPath<String>,
    ApiJson(PackageConsent { consent }): ApiJson<PackageConsent>,
) -> ApiResult<Json<SkillDetail>> {
    let _turn = state.limits.heavy().await?;
    blocking(move || {
        let package = state.packages.read(&digest)?;
        let sheet = sheet_of(&state, &package)?;
        let conflict = |detail: String| Err(Problem::new(ErrorCode::Conflict, detail));
        if sheet.consent != consent {
            return conflict("what installing would mean has changed: look at the sheet again".to_owned());
        }
        let store = installed(&state);
        match sheet.action {
            PackageAction::Refuse => return conflict(sheet.refusal.unwrap_or_default()),
            PackageAction::Nothing => {}
            PackageAction::Install => store.install(&package, now_ms()).map_err(problem_of)?,
            PackageAction::Upgrade => {
                let agreed = match store.consider(&package).map_err(problem_of)? {
                    Some(Decision::Ask(differences)) => differences,
                    _ => Vec::new(),
                };
                let shown: Vec<String> = agreed.iter().map(ToString::to_string).collect();
                // Between the two looks somebody else may have changed what is installed.
                if shown != sheet.differences {
                    return conflict("what is installed has changed: look at the sheet again".to_owned());
                }
                match store.upgrade(&package, &agreed, now_ms()).map_err(problem_of)? {
                    Upgraded::Same | Upgraded::Replaced => {}
                    Upgraded::Staged(_) => return conflict("the new version waits: look at the skill".to_owned()),
                    Upgraded::Refused(refusal) => return conflict(refusal.to_string()),
                }
            }
        }
        state.packages.forget(&digest);
        reloaded(&state, &sheet.name).map(Json)
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_wait_and_only_under_the_name_of_their_contents() {
        let run = tempfile::tempdir().unwrap();
        let packages = Packages::open(run.path()).unwrap();
        for n in 0..10u8 {
            packages.keep(&hex::encode([n; 32]), b"x").unwrap();
        }
        assert!(std::fs::read_dir(run.path().join(FOLDER)).unwrap().count() <= MAX_WAITING);
        for name in ["", "..", "../api.token", &"A".repeat(64), &"0".repeat(63), &format!("{}/", "0".repeat(63))] {
            assert_eq!(packages.path(name), None, "{name}");
            assert_eq!(packages.read(name).unwrap_err().status, 404);
        }
        let first = hex::encode([9; 32]);
        assert_ne!(packages.read(&first).unwrap_err().status, 200, "what is no package is not read as one");
        assert!(packages.forget(&first) && !packages.forget(&first));
        drop(Packages::open(run.path()).unwrap());
        assert_eq!(std::fs::read_dir(run.path().join(FOLDER)).unwrap().count(), 0, "a new run begins with none");
    }
}
