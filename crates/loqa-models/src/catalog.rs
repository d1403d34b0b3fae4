//! The model catalog and the check that a file is what the catalog says, before
//! any engine sees it.
//!
//! Deliberately absent: downloads ([`crate::pull`]), and loading weights. Engines
//! check a file's inner structure once more for themselves.

use crate::stamp::Stamps;
use anyhow::{Context as _, bail};
use loqa_protocol::engine::EngineKind;
use loqa_protocol::id::is_token;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io::Read as _;
use std::path::{Component, Path, PathBuf};

/// The parsed `catalog.toml`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Catalog {
    schema: u32,
    /// Every model, in the order of the file.
    #[serde(rename = "model")]
    pub models: Vec<Model>,
    #[serde(skip)]
    bundled: PathBuf,
    #[serde(skip)]
    downloaded: PathBuf,
}

/// One model. The fields are explained at the head of `models/catalog.toml`.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the head of models/catalog.toml explains each field")]
pub struct Model {
    pub name: String,
    pub title: String,
    pub kind: EngineKind,
    pub capability: String,
    pub format: Format,
    pub quantisation: String,
    #[serde(default)]
    pub parameters: u64,
    pub languages: Vec<String>,
    pub sample_rate: Option<u32>,
    pub ram_mb: u64,
    pub class: Option<String>,
    pub licence: String,
    #[serde(default)]
    pub licence_note: String,
    #[serde(default)]
    pub accept_licence: bool,
    pub source: String,
    pub bundled: bool,
    #[serde(rename = "file")]
    pub files: Vec<ModelFile>,
}

impl Model {
    /// Bytes of all its files.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.size).sum()
    }

    /// Whether the digest of every file is known, so that it can be fetched and loaded.
    #[must_use]
    pub fn is_pinned(&self) -> bool {
        self.files.iter().all(|file| file.sha256 != UNKNOWN)
    }
}

/// One file of a model.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the head of models/catalog.toml explains each field")]
pub struct ModelFile {
    pub role: Role,
    pub path: String,
    pub size: u64,
    pub sha256: String,
    pub voice: Option<String>,
    pub url: Option<String>,
    #[serde(default)]
    pub urls: Vec<String>,
}

impl ModelFile {
    /// Where it can be fetched, in the order in which to try.
    pub fn sources(&self) -> impl Iterator<Item = &str> {
        self.url.iter().chain(&self.urls).map(String::as_str)
    }
}

/// What a file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the head of models/catalog.toml explains each role")]
pub enum Role {
    Model,
    Voice,
    Vocabulary,
    Licence,
}

/// Weight container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names are the formats'")]
pub enum Format {
    Ggml,
    Gguf,
    Onnx,
}

/// A model whose files were found and checked.
#[derive(Debug, Clone)]
pub struct VerifiedModel {
    /// Catalog name.
    pub name: String,
    /// What its engine offers.
    pub capability: String,
    /// The weights.
    pub path: PathBuf,
    /// Folder of the voices, where there are any.
    pub voices_dir: Option<PathBuf>,
}

/// State of a model on this machine, for `loqa models list`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Presence {
    /// All files are there, with the right sizes.
    Installed,
    /// Not downloaded.
    Absent,
    /// Some files are missing or of another size.
    Incomplete,
    /// Its digest is not known yet, so it can be neither fetched nor loaded.
    Unpinned,
}

impl Catalog {
    /// Reads `catalog.toml` in `folder`. Downloaded files are looked for in
    /// `downloaded` once [`Catalog::with_downloads`] set it.
    pub fn load(folder: &Path) -> anyhow::Result<Self> {
        let path = folder.join("catalog.toml");
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("read the model catalog `{}`: set `paths.models`", path.display()))?;
        let mut catalog: Self =
            toml::from_str(&text).with_context(|| format!("read the model catalog `{}`", path.display()))?;
        if catalog.schema != 1 {
            bail!("model catalog `{}` has schema {}, this program reads 1", path.display(), catalog.schema);
        }
        for model in &catalog.models {
            check(model).with_context(|| format!("model `{}` in `{}`", model.name, path.display()))?;
        }
        catalog.bundled = folder.to_owned();
        catalog.downloaded = folder.to_owned();
        Ok(catalog)
    }

    /// Looks for downloaded models in `<data>/models`.
    #[must_use]
    pub fn with_downloads(mut self, data: &Path) -> Self {
        self.downloaded = data.join("models");
        self
    }

    /// The entry with this name, or an error that lists the names of that kind.
    pub fn find(&self, name: &str, kind: Option<EngineKind>) -> anyhow::Result<&Model> {
        let fits = |model: &&Model| kind.is_none_or(|kind| model.kind == kind);
        self.models.iter().filter(fits).find(|model| model.name == name).with_context(|| {
            let names: Vec<_> = self.models.iter().filter(fits).map(|model| model.name.as_str()).collect();
            format!("no model is called `{name}`, there are: {}", names.join(", "))
        })
    }

    /// Where a file of a model lies or would lie.
    #[must_use]
    pub fn path(&self, model: &Model, file: &ModelFile) -> PathBuf {
        if model.bundled { &self.bundled } else { &self.downloaded }.join(&file.path)
    }

    /// Whether the files are there, by size only.
    #[must_use]
    pub fn presence(&self, model: &Model) -> Presence {
        if !model.is_pinned() {
            return Presence::Unpinned;
        }
        let found = model
            .files
            .iter()
            .filter(|file| std::fs::metadata(self.path(model, file)).is_ok_and(|meta| meta.len() == file.size))
            .count();
        match found {
            0 => Presence::Absent,
            n if n == model.files.len() => Presence::Installed,
            _ => Presence::Incomplete,
        }
    }

    /// Bytes of the files that are missing or of another size.
    #[must_use]
    pub fn missing_bytes(&self, model: &Model) -> u64 {
        let there =
            |file: &&ModelFile| std::fs::metadata(self.path(model, file)).is_ok_and(|meta| meta.len() == file.size);
        model.files.iter().filter(|file| !there(file)).map(|file| file.size).sum()
    }

    /// The folder that holds the files of downloads.
    #[must_use]
    pub fn downloads(&self) -> &Path {
        &self.downloaded
    }

    /// Where the digests of files that were read before are kept; `None` before
    /// [`Catalog::with_downloads`].
    #[must_use]
    pub fn stamps(&self) -> Option<Stamps> {
        (self.downloaded != self.bundled).then(|| Stamps::open(&self.downloaded))
    }

    /// Checks digest and header of every file of a model. A file whose digest was taken
    /// before, and that the file system says is unchanged, is not read again; see
    /// [`crate::stamp`].
    pub fn verified(&self, name: &str, kind: EngineKind) -> anyhow::Result<VerifiedModel> {
        let model = self.find(name, Some(kind))?;
        let mut stamps = self.stamps();
        let checked = self.check_files(model, stamps.as_mut()).with_context(|| format!("check model `{name}`"));
        if let Some(stamps) = &mut stamps {
            stamps.keep();
        }
        checked
    }

    /// Checks digest and header of every file of a model and reads all bytes, whatever
    /// was found before.
    pub fn verify(&self, model: &Model) -> anyhow::Result<VerifiedModel> {
        self.check_files(model, None)
    }

    fn check_files(&self, model: &Model, mut stamps: Option<&mut Stamps>) -> anyhow::Result<VerifiedModel> {
        let mut weights = None;
        let mut voices_dir = None;
        for file in &model.files {
            let path = self.path(model, file);
            match &mut stamps {
                Some(stamps) if stamps.holds(&path, file) => {}
                Some(stamps) => {
                    stamps.forget(&path);
                    let before = Stamps::look(&path);
                    verify_file(&path, file)?;
                    stamps.set(&path, file, before);
                }
                None => verify_file(&path, file)?,
            }
            match file.role {
                Role::Model => {
                    check_header(&path, model.format)?;
                    weights = Some(path);
                }
                Role::Voice => voices_dir = path.parent().map(Path::to_owned),
                Role::Vocabulary | Role::Licence => {}
            }
        }
        Ok(VerifiedModel {
            name: model.name.clone(),
            capability: model.capability.clone(),
            path: weights.context("the entry names no weights")?,
            voices_dir,
        })
    }
}

/// Digest of a file that nobody has pinned yet.
const UNKNOWN: &str = "unknown";
/// The way out where a file is missing or damaged.
const RESTORE: &str = "fetch it with `loqa models pull`, or restore a bundled one from the repository or the installer";

fn check(model: &Model) -> anyhow::Result<()> {
    if !is_token(&model.name) {
        bail!("the name must be [a-z0-9_-]{{1,64}}");
    }
    if loqa_protocol::subject::work(&model.capability).is_none()
        || model.capability.split('.').next() != Some(model.kind.as_str())
    {
        bail!("`{}` is not a capability of kind {}", model.capability, model.kind.as_str());
    }
    if model.files.iter().filter(|file| file.role == Role::Model).count() != 1 {
        bail!("exactly one file must have the role `model`");
    }
    for file in &model.files {
        for url in file.sources() {
            if !url.starts_with("https://") {
                bail!("models are fetched by https only: `{url}`");
            }
        }
        let path = Path::new(&file.path);
        if !path.components().all(|part| matches!(part, Component::Normal(_))) {
            bail!("the path must stay in the models folder: `{}`", file.path);
        }
        let hex = file.sha256.len() == 64 && file.sha256.bytes().all(|b| b.is_ascii_hexdigit());
        if !hex && file.sha256 != UNKNOWN {
            bail!("`{}` is not a SHA-256 of `{}`", file.sha256, file.path);
        }
    }
    Ok(())
}

fn verify_file(path: &Path, file: &ModelFile) -> anyhow::Result<()> {
    let shown = path.display();
    if file.sha256 == UNKNOWN {
        bail!("the digest of `{shown}` is not known, so it cannot be trusted: see models/catalog.toml");
    }
    let mut reader = File::open(path).with_context(|| format!("open `{shown}`: the file is missing, {RESTORE}"))?;
    let size = reader.metadata().with_context(|| format!("look at `{shown}`"))?.len();
    if size != file.size {
        bail!("`{shown}` has {size} bytes, {} are expected: {RESTORE}", file.size);
    }
    let mut hasher = Sha256::new();
    let mut block = vec![0; 1 << 20];
    loop {
        let n = reader.read(&mut block).with_context(|| format!("read `{shown}`"))?;
        if n == 0 {
            break;
        }
        hasher.update(&block[..n]);
    }
    let found = hex::encode(hasher.finalize());
    if found != file.sha256.to_lowercase() {
        bail!("`{shown}` is not the expected file: SHA-256 is {found}, {} is expected", file.sha256);
    }
    Ok(())
}

pub(crate) fn check_header(path: &Path, format: Format) -> anyhow::Result<()> {
    let mut head = [0u8; 8];
    let shown = path.display();
    let mut file = File::open(path).with_context(|| format!("open `{shown}`"))?;
    let n = file.read(&mut head).with_context(|| format!("read `{shown}`"))?;
    let head = &head[..n];
    let fits = match format {
        Format::Ggml => head.starts_with(b"lmgg"),
        Format::Gguf => head.starts_with(b"GGUF"),
        // A protobuf ModelProto begins with field 1, `ir_version`, a varint.
        Format::Onnx => head.first() == Some(&0x08),
    };
    if !fits {
        bail!("`{shown}` does not begin as a {format:?} file does");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repository() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models")
    }

    fn write_catalog(folder: &Path, file: &str, size: u64, sha256: &str) -> Catalog {
        let text = format!(
            "schema = 1\n[[model]]\nname = \"m\"\ntitle = \"t\"\nkind = \"llm\"\ncapability = \"llm.m\"\nformat = \"gguf\"\n\
             quantisation = \"q\"\nlanguages = []\nram_mb = 1\nlicence = \"MIT\"\nsource = \"s\"\nbundled = true\n\
             [[model.file]]\nrole = \"model\"\npath = \"{file}\"\nsize = {size}\nsha256 = \"{sha256}\"\n"
        );
        std::fs::write(folder.join("catalog.toml"), text).unwrap();
        Catalog::load(folder).unwrap()
    }

    fn digest(bytes: &[u8]) -> String {
        hex::encode(Sha256::digest(bytes))
    }

    #[test]
    fn the_bundled_models_are_what_the_catalog_says() {
        let catalog = Catalog::load(&repository()).unwrap();
        for (name, kind) in
            [("starter-stt", EngineKind::Stt), ("reflex", EngineKind::Llm), ("starter-tts", EngineKind::Tts)]
        {
            catalog.verified(name, kind).unwrap();
        }
    }

    #[test]
    fn a_file_that_is_not_the_expected_one_is_refused_with_the_reason() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.gguf");
        let good = b"GGUF rest of the file";
        let error = |catalog: &Catalog| format!("{:#}", catalog.verified("m", EngineKind::Llm).unwrap_err());

        let catalog = write_catalog(folder.path(), "m.gguf", good.len() as u64, &digest(good));
        assert!(error(&catalog).contains("the file is missing"));
        std::fs::write(&path, b"").unwrap();
        assert!(error(&catalog).contains("has 0 bytes"));
        std::fs::write(&path, &good[..10]).unwrap();
        assert!(error(&catalog).contains("has 10 bytes"));
        std::fs::write(&path, b"GGUF same length, bad").unwrap();
        let text = error(&catalog);
        assert!(
            text.contains(&digest(good)) && text.contains(&digest(b"GGUF same length, bad")),
            "both digests: {text}"
        );
        std::fs::write(&path, good).unwrap();
        catalog.verified("m", EngineKind::Llm).unwrap();

        let other_kind = b"PK\x03\x04 a zip file is no model";
        std::fs::write(&path, other_kind).unwrap();
        let catalog = write_catalog(folder.path(), "m.gguf", other_kind.len() as u64, &digest(other_kind));
        assert!(error(&catalog).contains("does not begin as a Gguf file"));
    }

    #[test]
    fn a_path_that_leaves_the_folder_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let text = std::fs::read_to_string(repository().join("catalog.toml")).unwrap();
        std::fs::write(folder.path().join("catalog.toml"), text.replacen("starter/stt/", "../", 1)).unwrap();
        let error = format!("{:#}", Catalog::load(folder.path()).unwrap_err());
        assert!(error.contains("must stay in the models folder"), "{error}");
    }
}
