//! The customary rating scale: the order of grades and the notches between them.

use std::cmp::Ordering;

/// Grades from the best to default.
pub const SCALE: [&str; 10] = ["AAA", "AA", "A", "BBB", "BB", "B", "CCC", "CC", "C", "D"];
/// The grade of a name in default.
pub const DEFAULT: &str = "D";
/// From here on a grade is one that is watched: default is a real possibility (the rating agencies' own words).
const WEAK_FROM: &str = "CCC";

/// Place on the scale; `None` for a grade that is not on it.
pub fn place(rating: &str) -> Option<usize> {
    SCALE.iter().position(|grade| *grade == rating)
}

/// The better grade comes first; grades that are not on the scale come last, by name.
pub fn order(left: &str, right: &str) -> Ordering {
    let key = |rating| place(rating).unwrap_or(usize::MAX);
    key(left).cmp(&key(right)).then_with(|| left.cmp(right))
}

/// How many notches worse `to` is than `from`; negative for better, `None` where one is not on the scale.
pub fn notches(from: &str, to: &str) -> Option<i32> {
    let number = |rating| place(rating).and_then(|place| i32::try_from(place).ok());
    Some(number(to)? - number(from)?)
}

/// Whether the grade is CCC or worse.
pub fn is_weak(rating: &str) -> bool {
    place(rating).zip(place(WEAK_FROM)).is_some_and(|(place, weak)| place >= weak)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grades_stand_from_best_to_worst_and_unknown_ones_come_last() {
        let mut grades = ["odd", "D", "BB", "AAA", "a-1", "CCC"];
        grades.sort_by(|left, right| order(left, right));
        assert_eq!(grades, ["AAA", "BB", "CCC", "D", "a-1", "odd"]);
    }

    #[test]
    fn a_downgrade_counts_notches_upwards() {
        assert_eq!((notches("BBB", "B"), notches("B", "BB"), notches("B", "odd")), (Some(2), Some(-1), None));
        assert!(is_weak("CCC") && is_weak("D") && !is_weak("B") && !is_weak("odd"));
    }
}
