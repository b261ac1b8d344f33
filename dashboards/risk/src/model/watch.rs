//! The watch list: names that want a look, each with the reasons.

use std::collections::HashMap;

use crate::model::{
    grade::{is_weak, notches},
    position::Position,
};

/// Days past due from which on a name is watched: past the 30 that are customary.
const LATE: u32 = 30;
/// Notches down that put a name on the list.
const FALLEN: i32 = 2;

/// Why a name is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// In default.
    InDefault,
    /// More than 30 days past due.
    PastDue,
    /// Two notches down or more.
    Downgraded,
    /// Rated CCC or worse.
    WeakRating,
}

impl Reason {
    /// In words.
    pub fn label(self) -> &'static str {
        match self {
            Self::InDefault => "In default",
            Self::PastDue => "More than 30 days past due",
            Self::Downgraded => "Downgraded",
            Self::WeakRating => "Rated CCC or worse",
        }
    }
}

/// One name on the list.
#[derive(Debug, Clone, PartialEq)]
pub struct Watched {
    /// How it stands.
    pub position: Position,
    /// Notches down since the earlier month; `None` where it was not there or has no grade on the scale.
    pub notches: Option<i32>,
    /// The gravest first, at least one.
    pub reasons: Vec<Reason>,
}

/// The names of a month that want a look, the gravest reason first and within it the largest exposure.
pub fn watch_list(now: &[Position], earlier: &[Position]) -> Vec<Watched> {
    let before: HashMap<usize, &Position> = earlier.iter().map(|position| (position.obligor, position)).collect();
    let mut list: Vec<Watched> = now
        .iter()
        .filter_map(|position| {
            let before = before.get(&position.obligor);
            let notches = before.and_then(|before| notches(&before.rating, &position.rating));
            let reasons = reasons(position, notches);
            (!reasons.is_empty()).then(|| Watched { position: position.clone(), notches, reasons })
        })
        .collect();
    list.sort_by(|left, right| {
        let gravest = left.reasons.first().cmp(&right.reasons.first());
        gravest.then_with(|| right.position.ead.total_cmp(&left.position.ead))
    });
    list
}

fn reasons(position: &Position, notches: Option<i32>) -> Vec<Reason> {
    if position.defaulted {
        // The other reasons follow from it.
        return vec![Reason::InDefault];
    }
    let told = [
        (Reason::PastDue, position.days_past_due > LATE),
        (Reason::Downgraded, notches.is_some_and(|notches| notches >= FALLEN)),
        (Reason::WeakRating, is_weak(&position.rating)),
    ];
    told.into_iter().filter_map(|(reason, holds)| holds.then_some(reason)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::position::tests::position;

    #[test]
    fn the_list_has_the_names_with_a_reason_and_the_gravest_first() {
        let earlier = [position(0, "A", 1.0, 0), position(1, "A", 1.0, 0), position(2, "BBB", 1.0, 0)];
        let now = [
            position(0, "A", 900.0, 30),
            position(1, "BB", 100.0, 0),
            position(2, "BB", 800.0, 0),
            position(3, "CCC", 20.0, 45),
            position(4, "D", 5.0, 99),
            position(5, "B", 70.0, 31),
        ];
        let list = watch_list(&now, &earlier);
        let told: Vec<(usize, Option<i32>, &[Reason])> =
            list.iter().map(|one| (one.position.obligor, one.notches, one.reasons.as_slice())).collect();
        assert_eq!(
            told,
            [
                (4, None, [Reason::InDefault].as_slice()),
                (5, None, &[Reason::PastDue]),
                (3, None, &[Reason::PastDue, Reason::WeakRating]),
                (1, Some(2), &[Reason::Downgraded]),
            ]
        );
    }
}
