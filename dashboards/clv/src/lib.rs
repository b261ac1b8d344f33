//! Customer lifetime value on whatever tenant's transactions it gets: BG/NBD and Gamma-Gamma, fitted on each tenant's data.
//!
//! ```text
//!  Visitor ──► transactions (data API) ──► Analysis (pure, cached by data version) ──► page
//! ```
//!
//! It promises that a figure on the page is computed from the rows that the visitor's own session may read. The cache only
//! saves repeating a calculation: its key contains the data's version, which the API gives out per session.

mod analysis;
pub mod model;
mod page;
mod routes;

pub use analysis::{Analysis, analyse};
pub use routes::router;
