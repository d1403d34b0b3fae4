//! What a pull tells while it runs, what it did, and why it did not.

use serde::Serialize;
use std::path::{Path, PathBuf};

/// What a pull tells while it runs.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Progress {
    /// A file is next.
    File {
        /// Its path in the folder of downloads.
        file: String,
        /// Its place among the files of the model, from 1.
        number: usize,
        /// How many files the model has.
        of: usize,
        /// Its size.
        bytes: u64,
        /// What is there from an earlier try.
        have: u64,
    },
    /// A source is asked.
    Source {
        /// The file.
        file: String,
        /// The address without its query, or the path.
        source: String,
    },
    /// Bytes arrived.
    Bytes {
        /// The file.
        file: String,
        /// Bytes that are there.
        done: u64,
        /// Its size.
        bytes: u64,
        /// Bytes per second since the source was asked.
        per_second: u64,
    },
    /// A source did not give the file; the next one is asked.
    SourceFailed {
        /// The file.
        file: String,
        /// The address without its query, or the path.
        source: String,
        /// What was wrong with it.
        reason: String,
    },
    /// The file is in place, with the pinned digest.
    Ready {
        /// The file.
        file: String,
        /// The digest.
        sha256: String,
    },
}

/// What a pull did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Pulled {
    /// Catalog name.
    pub name: String,
    /// Bytes that were fetched or copied.
    pub fetched: u64,
    /// Bytes that were there from an earlier try.
    pub resumed: u64,
    /// Bytes of files that were in place already.
    pub present: u64,
    /// The licence, an SPDX expression.
    pub licence: String,
}

/// Why a pull did not end in the model.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    /// Ask for one of the names that the message lists.
    #[error("{0}")]
    Unknown(String),
    /// Nothing to do: the files come with Loqa.
    #[error("model `{0}` comes with Loqa and is not fetched: check it with `loqa models verify {0}`")]
    Bundled(String),
    /// The catalog has to name the digest first.
    #[error("the digest of model `{0}` is not known, so it cannot be fetched: see models/catalog.toml")]
    Unpinned(String),
    /// Name a source.
    #[error("the catalog names no source of `{0}`: give one with `--from`")]
    NoSource(String),
    /// Show the licence and ask.
    #[error(
        "model `{name}` is under {licence}, which has to be agreed to: read `{source_page}`, then add `--accept-licence`"
    )]
    Licence {
        /// The model.
        name: String,
        /// SPDX expression.
        licence: String,
        /// Where to read about it.
        source_page: String,
    },
    /// Wait for the other one.
    #[error("model `{0}` is being fetched by another program: wait for it, or stop it")]
    Busy(String),
    /// Make room.
    #[error("{} MB are needed in `{}`, {} MB are free: free some space or set `paths.data` to another disk", need.div_ceil(1_000_000), folder.display(), free / 1_000_000)]
    NoSpace {
        /// Where the files go.
        folder: PathBuf,
        /// Bytes that are needed.
        need: u64,
        /// Bytes that are free.
        free: u64,
    },
    /// Look at what each source said; what arrived is kept.
    #[error("no source gave `{file}`: {}", reasons.join("; "))]
    Sources {
        /// The file.
        file: String,
        /// What each source said.
        reasons: Vec<String>,
    },
    /// Look at the disk.
    #[error("{doing} `{}`: {reason}", path.display())]
    Disk {
        /// What was being done.
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        reason: std::io::Error,
    },
    /// Look at the audit.
    #[error("nothing is fetched: {0}")]
    Ledger(String),
    /// Use it no more, or stop whoever does.
    #[error("{0}")]
    Refused(String),
}

impl PullError {
    pub(super) fn disk(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |reason| Self::Disk { doing, path, reason }
    }
}
