//! Exposure by days past due, in the customary buckets.

use crate::model::position::{Position, exposure};

/// A name with more days than these is past due as the 30+ figure counts it (IFRS 9, 5.5.11: "more than 30 days").
const THIRTY: u32 = 30;

/// A bucket of days past due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bucket {
    /// Nothing is late.
    Current,
    /// 1 to 30 days.
    To30,
    /// 31 to 60 days.
    To60,
    /// 61 to 90 days.
    To90,
    /// More than 90 days: in default by the Basel definition.
    Over90,
}

impl Bucket {
    /// Every bucket, the best first.
    pub const ALL: [Self; 5] = [Self::Current, Self::To30, Self::To60, Self::To90, Self::Over90];
    /// Those in which something is late.
    pub const LATE: [Self; 4] = [Self::To30, Self::To60, Self::To90, Self::Over90];

    /// The bucket of so many days.
    pub fn of(days: u32) -> Self {
        match days {
            0 => Self::Current,
            1..=30 => Self::To30,
            31..=60 => Self::To60,
            61..=90 => Self::To90,
            _ => Self::Over90,
        }
    }

    /// What it is called.
    pub fn label(self) -> &'static str {
        match self {
            Self::Current => "Current",
            Self::To30 => "1–30 days",
            Self::To60 => "31–60 days",
            Self::To90 => "61–90 days",
            Self::Over90 => "90+ days",
        }
    }
}

/// Share of the exposure in a bucket; `None` without exposure.
pub fn share(positions: &[Position], bucket: Bucket) -> Option<f64> {
    part(positions, |position| Bucket::of(position.days_past_due) == bucket)
}

/// Share of the exposure that is more than 30 days past due; `None` without exposure.
pub fn past_due_30(positions: &[Position]) -> Option<f64> {
    part(positions, |position| position.days_past_due > THIRTY)
}

fn part(positions: &[Position], is_in: impl Fn(&Position) -> bool) -> Option<f64> {
    let total = exposure(positions);
    let inside: f64 = positions.iter().filter(|position| is_in(position)).map(|position| position.ead).sum();
    (total > 0.0).then_some(inside / total)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::position::tests::{position, positions};

    #[test]
    fn the_borders_of_the_buckets_are_the_customary_ones() {
        let labels = [0, 1, 30, 31, 60, 61, 90, 91, 400].map(|days| Bucket::of(days).label());
        let expected = ["Current", "1–30 days", "1–30 days", "31–60 days", "31–60 days", "61–90 days", "61–90 days"];
        assert_eq!(labels[..7], expected);
        assert_eq!(labels[7..], ["90+ days", "90+ days"]);
    }

    #[test]
    fn shares_are_of_the_exposure_and_not_of_the_names() {
        // 600 of 1,000 are current, 100 are 30 days late, 250 are 31, 50 are in default.
        let book = [
            position(0, "A", 600.0, 0),
            position(1, "A", 100.0, 30),
            position(2, "A", 250.0, 31),
            position(3, "D", 50.0, 95),
        ];
        let shares = Bucket::ALL.map(|bucket| share(&book, bucket).unwrap());
        for (found, expected) in shares.into_iter().zip([0.6, 0.1, 0.25, 0.0, 0.05]) {
            assert!((found - expected).abs() < 1e-12, "{shares:?}");
        }
        assert!((past_due_30(&book).unwrap() - 0.3).abs() < 1e-12);
        assert_eq!(past_due_30(&[]), None);
    }

    proptest! {
        #[test]
        fn the_shares_of_all_buckets_are_the_whole(book in positions()) {
            let shares = Bucket::ALL.map(|bucket| share(&book, bucket).unwrap());
            prop_assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-9);
            let late: f64 = shares[2..].iter().sum();
            prop_assert!((late - past_due_30(&book).unwrap()).abs() < 1e-9);
        }
    }
}
