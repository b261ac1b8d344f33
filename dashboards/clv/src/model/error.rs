//! The one error type of the crate: why a figure cannot be given.

use thiserror::Error;

/// Why a summary, a fit or a figure cannot be computed from the data given.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum ModelError {
    /// The model needs more customers than there are.
    #[error("too few customers: {found} found, at least {needed} needed")]
    TooFewCustomers {
        /// Customers in the data.
        found: usize,
        /// Customers the calculation needs.
        needed: usize,
    },
    /// Nobody bought twice, so neither purchase rate nor dropout can be told.
    #[error("no customer has a repeat purchase")]
    NoRepeaters,
    /// Fewer repeat customers with a positive mean spend than the spend model needs.
    #[error("too few repeat customers with positive spend: {found} found, at least {needed} needed")]
    TooFewRepeaters {
        /// Usable repeat customers in the data.
        found: usize,
        /// Repeat customers the calculation needs.
        needed: usize,
    },
    /// Every repeat customer has the same mean spend: there is no spread to fit.
    #[error("every repeat customer has the same mean spend")]
    NoSpendVariation,
    /// A number is not finite.
    #[error("{what} of {whose} is not a finite number")]
    NotFinite {
        /// Name of the number.
        what: &'static str,
        /// Customer or place it belongs to.
        whose: String,
    },
    /// A number is outside its domain, or numbers contradict each other.
    #[error("{what} of {whose} is out of range")]
    OutOfRange {
        /// Name of the number.
        what: &'static str,
        /// Customer or place it belongs to.
        whose: String,
    },
    /// The calibration end lies after the observation end.
    #[error("the calibration period ends after the observation period")]
    CalibrationAfterObservation,
    /// The optimiser found no finite likelihood.
    #[error("the likelihood could not be maximised: {reason}")]
    Optimizer {
        /// What the optimiser said.
        reason: String,
    },
}
