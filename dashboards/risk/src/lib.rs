//! Risk analysis on whatever tenant's exposures and profit and loss it gets.
//!
//! ```text
//!  Visitor ──► exposures, pnl (data API) ──► figures (pure) ──► page
//! ```
//!
//! It promises that a figure on the page is computed from the rows that the visitor's own session may read.

pub mod model;
mod page;
mod routes;

pub use routes::router;
