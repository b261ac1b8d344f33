//! The data API: a tenant's data, and nothing that could be anybody else's.
//!
//! ```text
//! TenantScope ──▶ Place ──▶ source ──▶ frames ──▶ query on one version ──▶ answers ──▶ bytes, or pieces
//!                           (files)    (memory)   (lanes, turns)           (memory)
//! ```
//!
//! The chain has no gap to slip through: a [`TenantScope`](kyros_shared_config::TenantScope) makes a place, a place opens that
//! tenant's data alone, and every key of every cache starts with the place.

mod answers;
mod described;
mod frames;
mod handlers;
mod lanes;
mod negotiate;
pub mod operator;
mod pieces;
mod quota;
mod service;
mod source;
mod sources;
mod turns;

use std::time::Duration;

pub(crate) use handlers::{__path_list, __path_query, __path_rows, __path_schema, list, query, rows, schema};
pub(crate) use service::DataService;
pub use sources::SourcesError;

use crate::engine;

/// Why there is no answer. The texts are for the log.
#[derive(Debug, Clone)]
pub(crate) enum DataError {
    /// Not there, not granted, or another tenant's: one answer.
    NotFound,
    /// The data cannot be read: this dataset alone cannot be served.
    Broken(String),
    /// One more than the tenant may have.
    TooMany {
        /// Of what.
        of: TooMany,
        /// When to come again.
        retry_after: Duration,
    },
    /// It took too long.
    Deadline,
    /// Ours.
    Internal(String),
}

/// What a tenant can have too many of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TooMany {
    /// Requests in a second.
    Requests,
    /// Queries that wait.
    Queries,
    /// Large answers under way.
    Streams,
}

impl From<engine::Error> for DataError {
    fn from(error: engine::Error) -> Self {
        if matches!(error, engine::Error::Overdue) {
            return Self::Deadline;
        }
        Self::Internal(error.to_string())
    }
}
