//! The data API: a tenant's files, and nothing that could be anybody else's.
//!
//! The chain has no gap to slip through: a [`TenantScope`](kyros_shared_config::TenantScope) opens a directory handle that
//! cannot leave that tenant's folder, the handle opens a file, the engine reads the open file.

mod files;
mod handlers;
mod service;

pub use files::import_into;
pub(crate) use handlers::{__path_list, __path_query, __path_rows, __path_schema, list, query, rows, schema};
pub(crate) use service::{DataError, DataService};
