//! Which models a running hub uses, changing that while it runs, and keeping downloads
//! of the operator's own programs on its record.

use crate::Failure;
use crate::engine::EngineKind;
use serde::{Deserialize, Serialize};

/// What the operator asks about the models of a running hub.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum ModelsRequest {
    /// Which are in use.
    List,
    /// Put another one to use, without a restart.
    Use {
        /// What it does.
        kind: EngineKind,
        /// Its place among the models of that kind, from 1, the best first. Only language
        /// models have more than one place; the place after the last adds one.
        tier: u32,
        /// Catalog name.
        model: String,
    },
    /// A download is about to ask a server; it waits for the answer.
    Leaving {
        /// Catalog name of the model.
        model: String,
        /// The address, without its query.
        target: String,
    },
    /// How the request of that row ended.
    Left {
        /// The row.
        row: u64,
        /// Whether it brought what was asked for.
        ok: bool,
        /// Bytes that left, about.
        bytes_out: u64,
        /// Bytes that came.
        bytes_in: u64,
    },
}

/// The hub's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum ModelsReply {
    /// Which are in use, after the request.
    InUse {
        /// In the order in which they are asked.
        models: Vec<ModelInUse>,
    },
    /// The download is on record, under this row of the audit.
    Recorded {
        /// The row.
        row: u64,
    },
    /// It is done.
    Done,
    /// Nothing was done.
    Refused {
        /// Why.
        failure: Failure,
    },
}

/// One model that a hub uses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ModelInUse {
    /// What it does.
    pub kind: EngineKind,
    /// Its place among the models of that kind, from 1.
    pub tier: u32,
    /// What its engine offers.
    pub capability: String,
    /// Its name.
    pub model: String,
}
