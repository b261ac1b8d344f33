//! Customer lifetime value on whatever tenant's transactions it gets: BG/NBD and Gamma-Gamma, fitted on each tenant's data.
//!
//! ```text
//!  Visitor ──► Book (orders, indexed) ──► Fit (models) ──► Selection (filters) ──► View (figures) ──► Page
//!              data API, kept by version   by version       the address             one walk
//! ```
//!
//! It promises that a figure on the page is computed from the rows that the visitor's own session may read. The caches only
//! save repeating a calculation: their keys contain the data's version, which the API gives out per session. A filter never
//! refits a model.

mod acquisition;
mod book;
mod fit;
pub mod model;
mod page;
mod routes;
mod selection;
mod source;
mod view;

pub use routes::router;
