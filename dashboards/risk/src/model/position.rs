//! One obligor in one monthly snapshot, and what a set of them carries.

use std::{collections::BTreeMap, sync::Arc};

/// What one obligor owes in one month.
#[derive(Debug, Clone, PartialEq)]
pub struct Position {
    /// Place of the obligor in its book.
    pub obligor: usize,
    /// Rating grade.
    pub rating: Arc<str>,
    /// Exposure at default, in money.
    pub ead: f64,
    /// Probability of default within a year, a fraction.
    pub pd: f64,
    /// Loss given default, a fraction.
    pub lgd: f64,
    /// Days that the oldest payment is late.
    pub days_past_due: u32,
    /// Whether the obligor is in default.
    pub defaulted: bool,
}

impl Position {
    /// Expected loss of a year, `PD LGD EAD`; 0 in default, where the loss is no longer one to expect.
    pub fn expected_loss(&self) -> f64 {
        if self.defaulted { 0.0 } else { self.pd * self.lgd * self.ead }
    }
}

/// Sum of the exposures at default.
pub fn exposure(positions: &[Position]) -> f64 {
    positions.iter().map(|position| position.ead).sum()
}

/// Sum of the expected losses.
pub fn expected_loss(positions: &[Position]) -> f64 {
    positions.iter().map(Position::expected_loss).sum()
}

/// Exposure of those in default.
pub fn in_default(positions: &[Position]) -> f64 {
    positions.iter().filter(|position| position.defaulted).map(|position| position.ead).sum()
}

/// Herfindahl-Hirschman index of the exposures by obligor; `None` without exposure.
pub fn concentration(positions: &[Position]) -> Option<f64> {
    let total = exposure(positions);
    let mut by_obligor: BTreeMap<usize, f64> = BTreeMap::new();
    for position in positions {
        *by_obligor.entry(position.obligor).or_default() += position.ead;
    }
    (total > 0.0).then(|| by_obligor.values().map(|ead| (ead / total).powi(2)).sum())
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A position of a grade; in default where the grade says so.
    pub(crate) fn position(obligor: usize, rating: &str, ead: f64, days_past_due: u32) -> Position {
        let defaulted = rating == "D";
        Position { obligor, rating: rating.into(), ead, pd: 0.02, lgd: 0.5, days_past_due, defaulted }
    }

    /// Any book of a month.
    pub(crate) fn positions() -> impl Strategy<Value = Vec<Position>> {
        let one = (0..30_usize, 0..4_usize, 1.0..1e9_f64, 0..200_u32)
            .prop_map(|(obligor, grade, ead, days)| position(obligor, ["A", "BB", "CCC", "D"][grade], ead, days));
        proptest::collection::vec(one, 1..60)
    }

    #[test]
    fn the_index_is_the_sum_of_squared_shares_of_obligors() {
        // Obligor 0 owes 30 and 20 of 100, obligor 1 owes 50: 0.25 + 0.25.
        let book = [position(0, "A", 30.0, 0), position(0, "A", 20.0, 0), position(1, "B", 50.0, 0)];
        assert!((concentration(&book).unwrap() - 0.5).abs() < 1e-12);
        assert_eq!(concentration(&[]), None);
        assert_eq!(concentration(&[position(0, "A", 0.0, 0)]), None);
    }

    #[test]
    fn a_loss_that_has_happened_is_not_expected() {
        let book = [position(0, "A", 100.0, 0), position(1, "D", 1_000.0, 120)];
        assert!((expected_loss(&book) - 1.0).abs() < 1e-12);
        assert!((in_default(&book) - 1_000.0).abs() < 1e-12 && (exposure(&book) - 1_100.0).abs() < 1e-12);
    }

    proptest! {
        #[test]
        fn the_index_lies_between_evenly_spread_and_all_in_one(book in positions()) {
            let names: std::collections::BTreeSet<usize> = book.iter().map(|position| position.obligor).collect();
            let index = concentration(&book).unwrap();
            prop_assert!(index <= 1.0 + 1e-9 && index >= 1.0 / names.len() as f64 - 1e-9);
        }
    }
}
