//! What a Rust dashboard behind a Kyros sidecar needs, and nothing about tokens.
//!
//! ```text
//!  sidecar ── request with X-Kyros-* ──► Visitor ──► DataClient ── same session ──► sidecar's egress ──► data API
//! ```
//!
//! A router is the whole dashboard:
//!
//! ```no_run
//! use axum::{Router, extract::State, routing::get};
//! use kyros_dashboard_kit::{DataClient, DataError, Visitor};
//!
//! async fn orders(State(data): State<DataClient>, visitor: Visitor) -> Result<String, DataError> {
//!     let mut rows = data.columns(&visitor, "transactions", &["revenue"]).await?;
//!     let total: f64 = rows.numbers("revenue")?.into_iter().flatten().sum();
//!     Ok(format!("{} sold for {total:.2}\n", visitor.tenant))
//! }
//!
//! #[tokio::main]
//! async fn main() -> std::process::ExitCode {
//!     kyros_dashboard_kit::run("orders", "0.1.0", |data| Router::new().route("/", get(orders)).with_state(data)).await
//! }
//! ```
//!
//! It promises that data is asked for with the authority of the very request that is answered: what a dashboard may see is
//! decided by the API each time, never by a header alone. It never stores a token and never asks for a tenant.

mod cache;
pub mod charts;
pub mod csv;
mod data;
mod export;
mod filters;
mod listen;
mod live;
mod page;
mod query;
mod serve;
mod table;
mod value;
mod visitor;

pub use cache::Cache;
pub use data::{Column, DataClient, DataError, Dataset};
pub use export::Keep;
pub use filters::{Active, Choice, FilterError, FilterProblem, Filters};
pub use listen::{ListenAddress, ListenAddressError};
pub use live::live;
pub use page::{Notice, Page, Panel, assets};
pub use query::{Query, QueryError};
pub use serve::{DashboardSettings, run, serve};
pub use table::{Cell, DataTable, Paging, Sort, Table};
pub use visitor::Visitor;
