//! What a Rust dashboard behind a Kyros sidecar needs, and nothing about tokens.
//!
//! ```text
//!  sidecar ── request with X-Kyros-* ──► Visitor ──► DataClient ── same session ──► sidecar's egress ──► data API
//! ```
//!
//! It promises that data is asked for with the authority of the very request that is answered: what a dashboard may see is
//! decided by the API each time, never by a header alone. It never stores a token and never asks for a tenant.

pub mod charts;
mod data;
mod live;
mod page;
mod serve;
mod visitor;

pub use data::{Column, DataClient, DataError, Dataset};
pub use live::live;
pub use page::{Page, Panel, assets};
pub use serve::{DashboardSettings, run, serve};
pub use visitor::Visitor;
