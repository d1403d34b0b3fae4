//! What the user lets Loqa remember: sessions, turns, events, transcripts and their
//! search, latency, recordings, settings. [`Store`] writes and reads, [`Reader`] only
//! reads, also beside a hub that writes. The format is described in `docs/store.md`.
//!
//! Deliberately absent: the bus, the turn's rules, and the record of who did what (loqa-audit).

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test"))]

mod audio;
mod erase;
mod error;
mod export;
mod fold;
mod open;
mod page;
mod read;
mod row;
mod schema;
mod store;
mod writer;

pub use erase::Retention;
pub use error::StoreError;
pub use export::{ExportError, ExportForm, Exported, export};
pub use open::restore;
pub use page::{DEFAULT_LIMIT, MAX_LIMIT, Page, Paged};
pub use read::Reader;
pub use row::{
    Counts, Erased, EventRow, Health, Hit, LatencyRow, NodeRow, Percentiles, RecentEvent, SessionRow, TurnRow, Window,
};
pub use store::{Entry, Fault, Store, StoreOptions};

/// Name of the database in the data folder.
pub const FILE_NAME: &str = "loqa.db";
