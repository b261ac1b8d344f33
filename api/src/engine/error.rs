//! What can fail after a query was found to be valid, and the one place where a panic of Polars ends.

use std::panic::{AssertUnwindSafe, catch_unwind};

use polars::error::{PolarsError, PolarsResult};

use super::table::Format;

/// A failure of the engine. Only the variant is for the client; the texts are for the log.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file has more bytes, or unfolds to more bytes, than the engine takes.
    #[error("the file has {size} bytes, of at most {limit}")]
    TooLarge {
        /// What the file has, or says that it unfolds to.
        size: u64,
        /// What is allowed.
        limit: u64,
    },
    /// The file has more rows than the engine takes.
    #[error("the file has {rows} rows, of at most {limit}")]
    TooManyRows {
        /// What the file has, or says that it has.
        rows: u64,
        /// What is allowed.
        limit: u64,
    },
    /// The operating system failed to read or write.
    #[error("the file cannot be read or written")]
    Io(#[from] std::io::Error),
    /// The content is not what its format says.
    #[error("the file is not valid {format}: {detail}")]
    Corrupt {
        /// The format that it was read as.
        format: Format,
        /// What the reader said.
        detail: String,
    },
    /// A column has a type that is not served, such as a list.
    #[error("column {column:?} has the type {dtype}, which is not served")]
    Unsupported {
        /// The column's name.
        column: String,
        /// Its type, as Polars calls it.
        dtype: String,
    },
    /// The work was ended between two of its steps.
    #[error("it took too long")]
    Overdue,
    /// Polars failed on a checked query: our defect, and nothing the client can mend.
    #[error("the engine failed: {detail}")]
    Internal {
        /// What Polars said.
        detail: String,
    },
}

/// There is no time left for another step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overdue;

impl From<Overdue> for Error {
    fn from(Overdue: Overdue) -> Self {
        Self::Overdue
    }
}

/// A failure of ours that Polars did not report.
pub(super) fn internal(detail: &str) -> Error {
    Error::Internal { detail: detail.to_owned() }
}

impl From<PolarsError> for Error {
    fn from(error: PolarsError) -> Self {
        Self::Internal { detail: error.to_string() }
    }
}

impl From<serde_json::Error> for Error {
    fn from(error: serde_json::Error) -> Self {
        Self::Internal { detail: error.to_string() }
    }
}

/// Runs a reader over foreign bytes: whatever it says, or panics with, is [`Error::Corrupt`].
pub(super) fn reading<T>(format: Format, read: impl FnOnce() -> PolarsResult<T>) -> Result<T, Error> {
    guarded(read)
        .unwrap_or_else(|panic| Err(PolarsError::ComputeError(panic.into())))
        .map_err(|error| Error::Corrupt { format, detail: error.to_string() })
}

/// Runs our own work in Polars: whatever it says, or panics with, is [`Error::Internal`].
pub(super) fn working<T>(work: impl FnOnce() -> PolarsResult<T>) -> Result<T, Error> {
    attempting(|| Ok(work()?))
}

/// As [`working`], of work that may also end in another way.
pub(super) fn attempting<T>(work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    guarded(work).unwrap_or_else(|detail| Err(Error::Internal { detail }))
}

/// Runs `work`, and gives a panic's text as the error. Safe to unwind through: nobody looks at what `work` uses
/// after that, but to drop it.
fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        format!("panicked: {}", text.unwrap_or("without a text"))
    })
}
