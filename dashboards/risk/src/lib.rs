//! Risk analysis on whatever tenant's exposures, monthly snapshots and daily results it gets.
//!
//! ```text
//!  Visitor ──► load: exposures, history, pnl (data API) ──► Book, kept for each version of the data
//!                                                             │ selection: what the address asks for
//!                                    page ◄── Credit, Market ◄┘ pure: model/ does the sums
//! ```
//!
//! It promises that a figure on the page is computed from the rows that the visitor's own session may read, that every file
//! holds the rows that the page would show, and that a limit stands beside whatever is held against one.

pub mod book;
pub mod credit;
mod load;
pub mod market;
pub mod model;
mod page;
mod routes;
mod selection;

pub use routes::router;
