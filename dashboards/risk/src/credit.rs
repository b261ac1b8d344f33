//! The credit half of the page: a part of the book in one month, how it came there, and what wants a look. Pure.

use jiff::civil::Date;

use crate::{
    book::{Book, Scope, months_before},
    model::{
        Breakdown, Dimension, PortfolioRisk, RiskError,
        arrears::{Bucket, past_due_30, share},
        assess, breakdown, limits,
        migration::{Migration, migration},
        position::{Position, concentration, expected_loss, exposure, in_default},
        vintage::{Vintage, vintages},
        watch::{Watched, watch_list},
    },
};

/// Ratings and the watch list are compared with those of so many months before.
const COMPARED_MONTHS: i32 = 12;
/// Vintages drawn: as many as there are colours that tell lines apart.
const VINTAGES: usize = 5;

/// The figures of a part of the book at the end of one month.
#[derive(Debug, Clone, PartialEq)]
pub struct MonthFigures {
    /// Day of the snapshot.
    pub as_of: Option<Date>,
    /// Names in it.
    pub names: usize,
    /// Exposure at default, in money.
    pub exposure: f64,
    /// Of which in default.
    pub in_default: f64,
    /// Expected loss of a year, in money.
    pub expected_loss: f64,
    /// Share of the exposure more than 30 days past due.
    pub past_due_30: Option<f64>,
    /// Herfindahl-Hirschman index by obligor.
    pub concentration: Option<f64>,
    /// Share of the exposure in each bucket of [`Bucket::LATE`].
    pub late: [Option<f64>; 4],
}

impl MonthFigures {
    fn of(as_of: Option<Date>, positions: &[Position]) -> Self {
        Self {
            as_of,
            names: positions.len(),
            exposure: exposure(positions),
            in_default: in_default(positions),
            expected_loss: expected_loss(positions),
            past_due_30: past_due_30(positions),
            concentration: concentration(positions),
            late: Bucket::LATE.map(|bucket| share(positions, bucket)),
        }
    }

    /// The limit of the expected loss, in money.
    pub fn loss_limit(&self) -> f64 {
        limits::EXPECTED_LOSS * self.exposure
    }
}

/// What the credit half shows.
#[derive(Debug)]
pub struct Credit {
    /// The months up to the one that is shown, oldest first; that one is the last.
    pub series: Vec<MonthFigures>,
    /// The positions of the month.
    pub positions: Vec<Position>,
    /// Capital and the like; nothing where the selection is empty.
    pub capital: Option<PortfolioRisk>,
    /// By portfolio, the filter on it set aside, so that its bars lead from one to another.
    pub by_portfolio: Vec<Breakdown>,
    /// By rating, likewise.
    pub by_rating: Vec<Breakdown>,
    /// The month that ratings are compared with, and where the exposure went since.
    pub migration: Option<(Date, Migration)>,
    /// Default by vintage; the rating filter does not apply.
    pub vintages: Vec<Vintage>,
    /// Names that want a look.
    pub watch: Vec<Watched>,
}

impl Credit {
    /// A part of the book as it stood in a month.
    pub fn of(book: &Book, month: usize, scope: &Scope<'_>) -> Result<Self, RiskError> {
        let positions = book.part(month, scope);
        let series = (0..=month)
            .filter_map(|place| Some(MonthFigures::of(book.months.get(place)?.as_of, &book.part(place, scope))))
            .collect();
        let capital = if positions.is_empty() { None } else { Some(assess(&book.exposures(&positions))?) };
        let anywhere = Scope { portfolio: None, ..*scope };
        let any_grade = Scope { rating: None, ..*scope };
        let earlier = months_before(book, month, COMPARED_MONTHS);
        let before = earlier.map(|earlier| book.part(earlier, &any_grade)).unwrap_or_default();
        let from = earlier.map(|earlier| book.part(earlier, scope)).unwrap_or_default();
        // Who was rated so then may be anything now.
        let to = book.part(month, &any_grade);
        let compared = earlier.and_then(|earlier| book.months[earlier].as_of);
        Ok(Self {
            series,
            capital,
            by_portfolio: parts(book, month, &anywhere, Dimension::Sector)?,
            by_rating: parts(book, month, &any_grade, Dimension::Rating)?,
            migration: compared.map(|day| (day, migration(&from, &to))),
            vintages: newest(book, month, scope),
            watch: watch_list(&positions, &before),
            positions,
        })
    }

    /// The figures of the month that is shown.
    pub fn now(&self) -> Option<&MonthFigures> {
        self.series.last()
    }

    /// Those of the month before.
    pub fn before(&self) -> Option<&MonthFigures> {
        self.series.len().checked_sub(2).and_then(|place| self.series.get(place))
    }

    /// Exposure twelve months before, or in the first month that there is.
    pub fn exposure_a_year_before(&self) -> Option<f64> {
        let last = self.series.len().checked_sub(1)?;
        let place = last.saturating_sub(limits::GROWTH_MONTHS);
        (place < last).then(|| self.series[place].exposure).filter(|exposure| *exposure > 0.0)
    }
}

/// A breakdown; nothing in it where there is nothing to break down.
fn parts(book: &Book, month: usize, scope: &Scope<'_>, by: Dimension) -> Result<Vec<Breakdown>, RiskError> {
    match breakdown(&book.exposures(&book.part(month, scope)), by) {
        Err(RiskError::NoExposures | RiskError::ZeroExposure) => Ok(Vec::new()),
        found => found,
    }
}

fn newest(book: &Book, month: usize, scope: &Scope<'_>) -> Vec<Vintage> {
    let day = |place: usize| book.months.get(place).and_then(|month| month.as_of);
    let (Some(first), Some(last)) = (day(0), day(month)) else { return Vec::new() };
    let mut all = vintages(&book.originations(scope), first, last);
    // A vintage that is a month old has no curve yet.
    all.retain(|vintage| vintage.curve.len() > 1);
    let surplus = all.len().saturating_sub(VINTAGES);
    all.split_off(surplus)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::book::tests::row;

    fn book() -> Book {
        let rows = [
            row(1, "Alder", "Energy", "A", 100.0, 0),
            row(1, "Birch", "Energy", "BB", 300.0, 0),
            row(1, "Cedar", "Health", "BB", 600.0, 0),
            row(2, "Alder", "Energy", "A", 200.0, 0),
            row(2, "Birch", "Energy", "D", 300.0, 95),
            row(2, "Cedar", "Health", "A", 600.0, 45),
        ];
        Book::new(&[], &rows, Vec::new()).unwrap()
    }

    #[test]
    fn the_figures_of_a_month_are_those_computed_by_hand() {
        let credit = Credit::of(&book(), 1, &Scope::default()).unwrap();
        let now = credit.now().unwrap();
        assert!((now.exposure - 1_100.0).abs() < 1e-9 && (now.in_default - 300.0).abs() < 1e-9);
        // 2 % times 50 % of 800 that are not in default.
        assert!(
            (now.expected_loss - 8.0).abs() < 1e-9 && (now.loss_limit() - 1_100.0 * limits::EXPECTED_LOSS).abs() < 1e-9
        );
        assert!((now.past_due_30.unwrap() - 900.0 / 1_100.0).abs() < 1e-12);
        let late = now.late.map(Option::unwrap);
        assert!((late[1] - 600.0 / 1_100.0).abs() < 1e-12 && (late[3] - 300.0 / 1_100.0).abs() < 1e-12);
        assert!((credit.before().unwrap().exposure - 1_000.0).abs() < 1e-9);
        assert_eq!(credit.exposure_a_year_before(), Some(1_000.0));
        let book = book();
        let watched: Vec<&str> =
            credit.watch.iter().map(|one| book.obligors[one.position.obligor].name.as_str()).collect();
        assert_eq!(watched, ["Birch", "Cedar"]);
    }

    #[test]
    fn a_rating_narrows_where_names_came_from_and_not_where_they_went() {
        let scope = Scope { rating: Some("BB"), ..Scope::default() };
        let credit = Credit::of(&book(), 1, &scope).unwrap();
        // Nobody is rated BB any more, and both that were are followed.
        assert!(credit.positions.is_empty() && credit.capital.is_none());
        let (_, migration) = credit.migration.unwrap();
        let [row] = migration.rows.as_slice() else { panic!("one row") };
        assert_eq!((&*row.from, row.names, row.exposure), ("BB", 2, 900.0));
        // The bars of the ratings still lead elsewhere.
        assert_eq!(credit.by_rating.len(), 2);
    }

    #[test]
    fn the_first_month_is_compared_with_nothing() {
        let credit = Credit::of(&book(), 0, &Scope::default()).unwrap();
        assert!(credit.migration.is_none() && credit.before().is_none());
        assert_eq!(credit.exposure_a_year_before(), None);
        assert!(credit.vintages.is_empty());
    }
}
