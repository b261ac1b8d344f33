//! Cumulative default by vintage and months on book: are newer loans worse?
//!
//! A vintage is the half year of origination. Only names taken on since the first snapshot count: of older ones those that
//! failed before it are not in the data, which would flatter them. A curve ends at the last month that every name of
//! the vintage has reached, so that its denominator never changes.

use std::collections::BTreeMap;

use jiff::civil::Date;

/// One name: when it was taken on, and the first month in which it was seen in default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origination {
    /// Month of origination; the day does not count.
    pub month: Date,
    /// Month of the first snapshot in default.
    pub defaulted: Option<Date>,
}

/// The curve of one vintage.
#[derive(Debug, Clone, PartialEq)]
pub struct Vintage {
    /// Such as `2025 H1`.
    pub label: String,
    /// Names taken on in it.
    pub names: usize,
    /// Share of the names in default so far, by months on book from 0 on.
    pub curve: Vec<f64>,
}

/// Whole calendar months from one date to another; negative where `to` is earlier.
pub fn months_between(from: Date, to: Date) -> i32 {
    let months = |date: Date| i32::from(date.year()) * 12 + i32::from(date.month());
    months(to) - months(from)
}

/// The vintages of names taken on from `first` to `last`, oldest first, as seen in the month of `last`.
pub fn vintages(names: &[Origination], first: Date, last: Date) -> Vec<Vintage> {
    let mut halves: BTreeMap<(i16, u8), Vec<Origination>> = BTreeMap::new();
    for name in names {
        let is_seen = months_between(first, name.month) >= 0 && months_between(name.month, last) >= 0;
        if is_seen {
            let half = if name.month.month() <= 6 { 1 } else { 2 };
            halves.entry((name.month.year(), half)).or_default().push(*name);
        }
    }
    halves
        .into_iter()
        .map(|((year, half), names)| Vintage {
            label: format!("{year} H{half}"),
            names: names.len(),
            curve: curve(&names, last),
        })
        .collect()
}

fn curve(names: &[Origination], last: Date) -> Vec<f64> {
    let youngest = names.iter().map(|name| months_between(name.month, last)).min().unwrap_or(0);
    let share = |age: i32| {
        let so_far = names.iter().filter(|name| {
            name.defaulted
                .is_some_and(|month| months_between(name.month, month) <= age && months_between(month, last) >= 0)
        });
        so_far.count() as f64 / names.len() as f64
    };
    (0..=youngest).map(share).collect()
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;
    use proptest::prelude::*;

    use super::*;

    fn name(month: Date, defaulted: Option<Date>) -> Origination {
        Origination { month, defaulted }
    }

    #[test]
    fn the_curves_are_those_counted_by_hand() {
        let names = [
            // Before the first snapshot: not counted.
            name(date(2024, 12, 1), Some(date(2025, 2, 28))),
            // Four of the first half: one fails after 1 month, one after 3, one only after the last month seen.
            name(date(2025, 1, 1), Some(date(2025, 2, 28))),
            name(date(2025, 2, 1), Some(date(2025, 5, 31))),
            name(date(2025, 3, 1), None),
            name(date(2025, 3, 1), Some(date(2025, 12, 31))),
            // One of the second half.
            name(date(2025, 7, 1), None),
        ];
        let found = vintages(&names, date(2025, 1, 31), date(2025, 8, 31));
        // The youngest of the first half is 5 months old in August.
        let first = Vintage { label: "2025 H1".into(), names: 4, curve: vec![0.0, 0.25, 0.25, 0.5, 0.5, 0.5] };
        let second = Vintage { label: "2025 H2".into(), names: 1, curve: vec![0.0, 0.0] };
        assert_eq!(found, [first, second]);
    }

    #[test]
    fn an_earlier_view_does_not_know_later_defaults() {
        let names = [name(date(2025, 1, 1), Some(date(2025, 4, 30)))];
        assert_eq!(vintages(&names, date(2025, 1, 1), date(2025, 3, 31))[0].curve, [0.0, 0.0, 0.0]);
        assert_eq!(vintages(&names, date(2025, 1, 1), date(2025, 4, 30))[0].curve, [0.0, 0.0, 0.0, 1.0]);
        assert!(vintages(&names, date(2025, 2, 1), date(2025, 4, 30)).is_empty());
    }

    proptest! {
        #[test]
        fn a_curve_never_falls_and_stays_a_share(ages in proptest::collection::vec((0..20_i8, 0..30_i8), 1..40)) {
            let month = |number: i8| date(2025 + i16::from(number / 12), number % 12 + 1, 1);
            let names: Vec<_> = ages.iter().map(|(from, after)| name(month(*from), Some(month(from + after)))).collect();
            for vintage in vintages(&names, month(0), month(24)) {
                prop_assert!(vintage.curve.is_sorted());
                prop_assert!(vintage.curve.iter().all(|share| (0.0..=1.0).contains(share)));
            }
        }
    }
}
