//! Rating migration: where the exposure of each grade stands some months later.

use std::{collections::HashMap, sync::Arc};

use crate::model::{
    grade::{self, DEFAULT},
    position::Position,
};

/// The column of names that are no longer in the book: repaid, or written off.
pub const LEFT: &str = "Left";

/// A matrix of exposures from grade to grade.
#[derive(Debug, Clone, PartialEq)]
pub struct Migration {
    /// The grades of the columns: those of the rows or of the later month, then default, then [`LEFT`].
    pub columns: Vec<Arc<str>>,
    /// One row for each grade of the earlier month, best first; default is no grade to migrate from.
    pub rows: Vec<MigrationRow>,
}

/// Where the names of one grade went.
#[derive(Debug, Clone, PartialEq)]
pub struct MigrationRow {
    /// Their grade in the earlier month.
    pub from: Arc<str>,
    /// How many names they are.
    pub names: usize,
    /// Their exposure in the earlier month, in money.
    pub exposure: f64,
    /// That exposure by the grade in which it stands in the later month, in the order of the columns.
    pub to: Vec<f64>,
}

impl MigrationRow {
    /// Share of the row's exposure in a column; `None` where the row has none.
    pub fn share(&self, column: usize) -> Option<f64> {
        let amount = self.to.get(column)?;
        (self.exposure > 0.0).then_some(amount / self.exposure)
    }
}

/// The grade as the matrix has it: whoever is in default stands there, whatever the rating still says.
fn grade(position: &Position) -> Arc<str> {
    if position.defaulted { DEFAULT.into() } else { position.rating.clone() }
}

/// From the positions of one month to those of a later one. Weights are the exposures of the earlier month.
pub fn migration(earlier: &[Position], later: &[Position]) -> Migration {
    let now: HashMap<usize, &Position> = later.iter().map(|position| (position.obligor, position)).collect();
    let moves: Vec<(Arc<str>, Arc<str>, f64)> = earlier
        .iter()
        .filter(|position| !position.defaulted)
        .map(|position| {
            let to = now.get(&position.obligor).map_or_else(|| LEFT.into(), |later| grade(later));
            (position.rating.clone(), to, position.ead)
        })
        .collect();
    let mut from: Vec<Arc<str>> = moves.iter().map(|(from, ..)| from.clone()).collect();
    from.sort_by(|left, right| grade::order(left, right));
    from.dedup();
    let to = moves.iter().map(|(_, to, _)| to.clone()).filter(|to| **to != *DEFAULT && **to != *LEFT);
    let mut columns: Vec<Arc<str>> = from.iter().cloned().chain(to).collect();
    columns.sort_by(|left, right| grade::order(left, right));
    columns.dedup();
    columns.extend([DEFAULT.into(), LEFT.into()]);
    let rows = from.into_iter().map(|from| row(from, &columns, &moves)).collect();
    Migration { columns, rows }
}

fn row(from: Arc<str>, columns: &[Arc<str>], moves: &[(Arc<str>, Arc<str>, f64)]) -> MigrationRow {
    let mut row = MigrationRow { from, names: 0, exposure: 0.0, to: vec![0.0; columns.len()] };
    for (_, to, ead) in moves.iter().filter(|(from, ..)| *from == row.from) {
        row.names += 1;
        row.exposure += ead;
        if let Some(column) = columns.iter().position(|column| column == to) {
            row.to[column] += ead;
        }
    }
    row
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::position::tests::{position, positions};

    #[test]
    fn the_matrix_is_the_one_computed_by_hand() {
        let earlier = [
            position(0, "A", 100.0, 0),
            position(1, "A", 300.0, 0),
            position(2, "BB", 50.0, 0),
            position(3, "BB", 150.0, 0),
            position(4, "D", 70.0, 100),
        ];
        // 0 stays, 1 falls to BB, 2 defaults, 3 has left, 4 was in default before; 5 is new.
        let later = [position(0, "A", 90.0, 0), position(1, "BB", 300.0, 0), position(2, "D", 50.0, 95)];
        let later: Vec<_> = later.into_iter().chain([position(4, "D", 60.0, 130), position(5, "A", 9.0, 0)]).collect();
        let found = migration(&earlier, &later);
        assert_eq!(found.columns.iter().map(|column| &**column).collect::<Vec<_>>(), ["A", "BB", "D", "Left"]);
        let rows: Vec<(&str, usize, f64, Vec<f64>)> =
            found.rows.iter().map(|row| (&*row.from, row.names, row.exposure, row.to.clone())).collect();
        assert_eq!(
            rows,
            [("A", 2, 400.0, vec![100.0, 300.0, 0.0, 0.0]), ("BB", 2, 200.0, vec![0.0, 0.0, 50.0, 150.0])]
        );
        assert_eq!(found.rows[0].share(1), Some(0.75));
    }

    #[test]
    fn a_month_without_names_has_no_rows() {
        let found = migration(&[], &[position(0, "A", 1.0, 0)]);
        assert!(found.rows.is_empty());
    }

    proptest! {
        #[test]
        fn rows_sum_to_the_exposure_of_their_grade(earlier in positions(), later in positions()) {
            let found = migration(&earlier, &later);
            for row in &found.rows {
                let sum: f64 = row.to.iter().sum();
                prop_assert!((sum - row.exposure).abs() <= 1e-9 * row.exposure);
                let shares: f64 = (0..row.to.len()).filter_map(|column| row.share(column)).sum();
                prop_assert!((shares - 1.0).abs() < 1e-9);
            }
            let performing: f64 = earlier.iter().filter(|position| !position.defaulted).map(|position| position.ead).sum();
            let all: f64 = found.rows.iter().map(|row| row.exposure).sum();
            prop_assert!((all - performing).abs() <= 1e-9 * performing.max(1.0));
        }
    }
}
