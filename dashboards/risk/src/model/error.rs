//! The one error type of the crate: why a figure cannot be given.

use thiserror::Error;

/// Why a risk figure cannot be computed from the data given.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum RiskError {
    /// The calculation needs more days than there are.
    #[error("too little data: {found} days found, at least {needed} needed")]
    TooFewDays {
        /// Days in the data.
        found: usize,
        /// Days the calculation needs.
        needed: usize,
    },
    /// There is nothing to compute a figure from.
    #[error("there are no exposures")]
    NoExposures,
    /// The total exposure is zero, so there are no shares of it.
    #[error("the total exposure is zero")]
    ZeroExposure,
    /// A number is not finite.
    #[error("{what} of {whose} is not a finite number")]
    NotFinite {
        /// Name of the number.
        what: &'static str,
        /// Counterparty, desk or place it belongs to.
        whose: String,
    },
    /// A number is outside its domain.
    #[error("{what} of {whose} is out of range: {value}")]
    OutOfRange {
        /// Name of the number.
        what: &'static str,
        /// Counterparty, desk or place it belongs to.
        whose: String,
        /// The number.
        value: f64,
    },
}

impl RiskError {
    /// Refuses a number that is not finite or not within the range.
    pub(crate) fn check(
        what: &'static str,
        whose: &str,
        value: f64,
        range: std::ops::RangeInclusive<f64>,
    ) -> Result<(), Self> {
        if !value.is_finite() {
            return Err(Self::NotFinite { what, whose: whose.to_owned() });
        }
        if range.contains(&value) { Ok(()) } else { Err(Self::OutOfRange { what, whose: whose.to_owned(), value }) }
    }
}
