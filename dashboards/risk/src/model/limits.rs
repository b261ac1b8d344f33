//! The limits that the page holds the book against: the demo's risk appetite, in one place.
//!
//! They are shares of the exposure, so that they fit a book of any size and any part of it. An institution writes its own
//! here.

/// A figure is near its limit from this share of it on.
const NEAR: f64 = 0.9;
/// Exposure may stand at most at so much of what it was twelve months before.
pub const EXPOSURE_GROWTH: f64 = 1.15;
/// Months over which growth is measured.
pub const GROWTH_MONTHS: usize = 12;
/// Expected loss of a year, as a share of the exposure.
pub const EXPECTED_LOSS: f64 = 0.008;
/// Exposure more than 30 days past due, as a share of all.
pub const PAST_DUE_30: f64 = 0.03;
/// Herfindahl-Hirschman index by obligor: as concentrated as 50 obligors of one size.
pub const CONCENTRATION: f64 = 0.02;
/// One-day value at risk at 99 %, as a share of the whole book's exposure.
pub const VALUE_AT_RISK: f64 = 0.005;
/// One-day expected shortfall at 97.5 %, as a share of the whole book's exposure.
pub const EXPECTED_SHORTFALL: f64 = 0.005;

/// How a figure stands to its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Below, with room.
    Within,
    /// Below, with less than a tenth of the limit left.
    Near,
    /// Above.
    Over,
}

impl State {
    /// The state of a figure; at the limit is not over it.
    pub fn of(value: f64, limit: f64) -> Self {
        if value > limit {
            Self::Over
        } else if value >= NEAR * limit {
            Self::Near
        } else {
            Self::Within
        }
    }

    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Within => "Within",
            Self::Near => "Near",
            Self::Over => "Over",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_the_limit_is_near_and_beyond_it_is_over() {
        let states = [0.0, 0.89, 0.9, 1.0, 1.000_1].map(|value| State::of(value, 1.0).word());
        assert_eq!(states, ["Within", "Within", "Near", "Near", "Over"]);
    }
}
