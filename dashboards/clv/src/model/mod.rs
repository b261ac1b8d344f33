//! Customer lifetime value from a list of transactions: pure calculation, no input or output.
//!
//! Papers the functions refer to:
//! - **FHL 2005**: Fader, Hardie, Lee, "Counting Your Customers the Easy Way: An Alternative to the Pareto/NBD
//!   Model", Marketing Science 24(2). Equations (1) to (10) and the appendix.
//! - **FH 2013**: Fader, Hardie, "The Gamma-Gamma Model of Monetary Value" (note 025, brucehardie.com).
//!
//! Time is measured in weeks (days / 7) throughout; money in the unit of the input.

pub mod bgnbd;
pub mod clv;
pub mod cohort;
pub mod error;
mod expectation;
pub mod gamma_gamma;
mod optim;
pub mod rfm;
pub mod special;
pub mod summary;
pub mod tracking;

pub use bgnbd::BgNbdFit;
pub use clv::{ClvOptions, CustomerValue, customer_table};
pub use error::ModelError;
pub use gamma_gamma::GammaGammaFit;
pub use summary::{CustomerSummary, SummaryOptions, Transaction, summarize};
