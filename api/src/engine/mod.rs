//! The data engine: what a query may say, whether a data set can answer it, and the answer in the format asked for.
//!
//! It knows no HTTP, no tenant and no path. It promises:
//!
//! - a query is data, never text: nothing that a client writes is parsed as an expression, a pattern or a plan;
//! - everything a client can get wrong is found before a plan exists ([`query`], [`check`]), all of it at once;
//! - after that any failure of Polars is ours ([`Error::Internal`]), and its text is for the log only;
//! - files come as open [`std::fs::File`]s and are read into memory, so that no file can be cut short underneath us;
//! - a damaged file is an error and never a panic.
//!
//! What it cannot promise: Polars reserves the memory that a damaged Parquet page asks for, and where that fails the
//! process ends (`decode_page_validity`; 2 of 18 000 randomly damaged files). Read a file of unknown origin with
//! [`Table::from_file`] in a process of its own before it is served.
//!
//! ```text
//! pairs | body ──query──▶ Query ──check──▶ CheckedQuery ─┐
//!                                  ▲                      ├─run──▶ Answer ──encode──▶ bytes
//! File ──────────table──▶ Table ── schema ───────────────┘
//! bytes ─────────table──▶ Table ──import─▶ Parquet
//! rows ──────────rows──▶ Table
//! ```
//!
//! Everything here blocks: call it from `spawn_blocking`, never from an asynchronous task.

pub mod check;
mod codes;
mod csv;
pub mod cursor;
pub mod encode;
mod error;
pub mod import;
mod infer;
pub mod issue;
mod literal;
mod ndjson;
pub mod outline;
pub mod query;
pub(crate) mod rows;
pub mod run;
pub mod schema;
pub mod table;

pub use check::{CheckedQuery, Page, PageKey, validate, validate_read};
pub use csv::header as csv_header;
pub use cursor::{Cursor, Misplaced};
pub use encode::{Encoder, Encoding, encode};
pub use error::{Error, Overdue};
pub use import::store;
pub use issue::{Code, Issue, Location};
pub use outline::{Outline, outline};
pub use query::{Query, Unread};
pub use run::{Answer, Between, run, run_in_steps};
pub use schema::{Column, Kind, Role, Schema};
pub use table::{Format, Table, bytes_of};
