//! What many rounds say: the middle half of their values, and two targets compared inside each round.

use super::rank;

/// The middle half of some values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Spread {
    pub(crate) low: f64,
    pub(crate) median: f64,
    pub(crate) high: f64,
}

impl Spread {
    /// Of nothing it is nothing.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_unstable_by(f64::total_cmp);
        let at = |percent| values.get(rank(values.len(), percent)).copied();
        Some(Self { low: at(25)?, median: at(50)?, high: at(75)? })
    }
}

/// Compares two targets round by round.
pub(crate) fn compare<T>(ours: &[T], other: &[T], comparison: impl Fn(&T, &T) -> Option<f64>) -> Option<Spread> {
    let rounds: Option<Vec<f64>> = ours.iter().zip(other).map(|(ours, other)| comparison(ours, other)).collect();
    Spread::of(rounds?)
}

/// What is not known.
pub(crate) fn nothing() -> String {
    "–".to_owned()
}

/// A ratio as it stands in a table.
pub(crate) fn ratio(spread: Option<Spread>) -> String {
    spread.map_or_else(nothing, |Spread { low, median, high }| format!("{median:.2} ({low:.2}–{high:.2})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_are_values_that_were_seen() {
        let spread = Spread::of([4.0, 1.0, 3.0, 2.0]).unwrap();
        assert_eq!(spread, Spread { low: 1.0, median: 2.0, high: 3.0 });
        assert_eq!(Spread::of([7.0]), Some(Spread { low: 7.0, median: 7.0, high: 7.0 }));
        assert_eq!(Spread::of([]), None);
    }

    #[test]
    fn targets_are_compared_inside_a_round() {
        // Twice as slow in the second round, both of them.
        let ratio = |ours: &f64, other: &f64| Some(ours / other);
        let spread = compare(&[11.0, 22.0], &[10.0, 20.0], ratio).unwrap();
        assert!((spread.low - 1.1).abs() < 1e-9 && (spread.high - 1.1).abs() < 1e-9);
        assert_eq!(compare(&[1.0, 2.0], &[1.0, 2.0], |ours, _| (*ours < 2.0).then_some(1.0)), None);
    }
}
