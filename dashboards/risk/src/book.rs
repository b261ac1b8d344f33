//! A tenant's book in memory: obligors, their monthly positions, daily results. Pure; filters make parts of it.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use jiff::civil::Date;

use crate::model::{
    Exposure, PnlRecord, RiskError, grade,
    position::Position,
    vintage::{Origination, months_between},
};

/// Maturity of a name of which none is known, in years: the one that the capital formula is centred on.
const UNKNOWN_MATURITY: f64 = 2.5;

/// One row of the monthly snapshots.
#[derive(Debug, Clone, PartialEq)]
pub struct SnapshotRow {
    /// Day of the snapshot; its month counts.
    pub as_of: Date,
    /// The name and what it owes.
    pub exposure: Exposure,
    /// Days that the oldest payment is late.
    pub days_past_due: u32,
    /// When it was taken on.
    pub originated: Option<Date>,
    /// Whether it is in default.
    pub defaulted: bool,
}

/// One name.
#[derive(Debug, Clone, PartialEq)]
pub struct Obligor {
    /// What it is called.
    pub name: String,
    /// The portfolio that it belongs to: its sector, by its latest row.
    pub sector: String,
    /// Its country, by its latest row.
    pub country: String,
    /// When it was taken on.
    pub originated: Option<Date>,
    /// The month in which it was first seen in default.
    pub defaulted: Option<Date>,
    /// Effective maturity in years, as `exposures` has it.
    pub maturity: f64,
}

/// All positions of one month.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Month {
    /// Day of the snapshot; nothing where there are no snapshots, for `exposures` has no date.
    pub as_of: Option<Date>,
    /// One position for each name; without snapshots one for each row of `exposures`.
    pub positions: Vec<Position>,
}

/// Everything that the page is computed from.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Book {
    /// The names; a position points at its place here.
    pub obligors: Vec<Obligor>,
    /// Oldest first. One undated month where there are no snapshots.
    pub months: Vec<Month>,
    /// Daily results of the desks.
    pub pnl: Vec<PnlRecord>,
    /// Portfolios in the order of the alphabet.
    pub portfolios: Vec<String>,
    /// Countries, likewise.
    pub countries: Vec<String>,
    /// Desks, likewise.
    pub desks: Vec<String>,
    /// Ratings, best first.
    pub ratings: Vec<String>,
}

/// A part of the book; nothing set is all of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Scope<'a> {
    /// One portfolio.
    pub portfolio: Option<&'a str>,
    /// One country.
    pub country: Option<&'a str>,
    /// The names that have this rating in the month in question.
    pub rating: Option<&'a str>,
}

impl Scope<'_> {
    /// Whether it is a part only.
    pub fn is_part(&self) -> bool {
        *self != Self::default()
    }
}

impl Book {
    /// Puts a book together. Without snapshots `exposures` are its one month; with them they only add maturities.
    pub fn new(exposures: &[Exposure], history: &[SnapshotRow], pnl: Vec<PnlRecord>) -> Result<Self, RiskError> {
        let mut building = Building { maturities: maturities(exposures), ..Building::default() };
        if history.is_empty() {
            building.exposures(exposures)?;
        } else {
            building.history(history)?;
        }
        let mut book = building.book;
        book.pnl = pnl;
        book.list_values();
        Ok(book)
    }

    fn list_values(&mut self) {
        self.portfolios = distinct(self.obligors.iter().map(|obligor| &obligor.sector));
        self.countries = distinct(self.obligors.iter().map(|obligor| &obligor.country));
        self.desks = distinct(self.pnl.iter().map(|record| &record.desk));
        let ratings: BTreeSet<&str> =
            self.months.iter().flat_map(|month| month.positions.iter().map(|position| &*position.rating)).collect();
        self.ratings = ratings.into_iter().map(str::to_owned).collect();
        self.ratings.sort_by(|left, right| grade::order(left, right));
    }

    /// Whether there are monthly snapshots.
    pub fn has_history(&self) -> bool {
        self.months.iter().any(|month| month.as_of.is_some())
    }

    /// Day of the newest figure of all.
    pub fn last_day(&self) -> Option<Date> {
        let snapshot = self.months.last().and_then(|month| month.as_of);
        snapshot.max(self.pnl.iter().map(|record| record.date).max())
    }

    /// The positions of a month that are in a part of the book.
    pub fn part(&self, month: usize, scope: &Scope<'_>) -> Vec<Position> {
        let positions = self.months.get(month).map_or(&[][..], |month| &month.positions);
        positions.iter().filter(|position| self.is_in(position, scope)).cloned().collect()
    }

    fn is_in(&self, position: &Position, scope: &Scope<'_>) -> bool {
        let obligor = &self.obligors[position.obligor];
        scope.portfolio.is_none_or(|portfolio| obligor.sector == portfolio)
            && scope.country.is_none_or(|country| obligor.country == country)
            && scope.rating.is_none_or(|rating| *position.rating == *rating)
    }

    /// When the names of a part were taken on and failed. A rating changes, so it selects nothing here.
    pub fn originations(&self, scope: &Scope<'_>) -> Vec<Origination> {
        let is_in = |obligor: &&Obligor| {
            scope.portfolio.is_none_or(|portfolio| obligor.sector == portfolio)
                && scope.country.is_none_or(|country| obligor.country == country)
        };
        let origination =
            |obligor: &Obligor| Some(Origination { month: obligor.originated?, defaulted: obligor.defaulted });
        self.obligors.iter().filter(is_in).filter_map(origination).collect()
    }

    /// Positions as the capital formula takes them; who is in default has failed with certainty.
    pub fn exposures(&self, positions: &[Position]) -> Vec<Exposure> {
        let exposure = |position: &Position| {
            let obligor = &self.obligors[position.obligor];
            Exposure {
                counterparty: obligor.name.clone(),
                sector: obligor.sector.clone(),
                country: obligor.country.clone(),
                rating: position.rating.to_string(),
                ead: position.ead,
                pd: if position.defaulted { 1.0 } else { position.pd },
                lgd: position.lgd,
                maturity: obligor.maturity,
            }
        };
        positions.iter().map(exposure).collect()
    }
}

/// Each value once, in the order of the alphabet.
fn distinct<'a>(values: impl Iterator<Item = &'a String>) -> Vec<String> {
    values.collect::<BTreeSet<_>>().into_iter().cloned().collect()
}

/// Mean maturity of each name, weighted by exposure.
fn maturities(exposures: &[Exposure]) -> HashMap<&str, f64> {
    let mut sums: HashMap<&str, (f64, f64)> = HashMap::new();
    for exposure in exposures {
        let (weighted, ead) = sums.entry(exposure.counterparty.as_str()).or_default();
        *weighted += exposure.maturity * exposure.ead;
        *ead += exposure.ead;
    }
    let mean = |(weighted, ead): (f64, f64)| if ead > 0.0 { weighted / ead } else { UNKNOWN_MATURITY };
    sums.into_iter().map(|(name, sum)| (name, mean(sum))).collect()
}

#[derive(Default)]
struct Building<'a> {
    book: Book,
    maturities: HashMap<&'a str, f64>,
    places: HashMap<String, usize>,
    ratings: HashMap<String, Arc<str>>,
}

impl Building<'_> {
    /// The place of a name, whose latest row says where it belongs.
    fn obligor(&mut self, exposure: &Exposure) -> usize {
        let place = *self.places.entry(exposure.counterparty.clone()).or_insert_with(|| {
            self.book.obligors.push(Obligor {
                name: exposure.counterparty.clone(),
                sector: String::new(),
                country: String::new(),
                originated: None,
                defaulted: None,
                maturity: self.maturities.get(exposure.counterparty.as_str()).copied().unwrap_or(UNKNOWN_MATURITY),
            });
            self.book.obligors.len() - 1
        });
        let obligor = &mut self.book.obligors[place];
        exposure.sector.clone_into(&mut obligor.sector);
        exposure.country.clone_into(&mut obligor.country);
        place
    }

    fn position(&mut self, exposure: &Exposure, days_past_due: u32, defaulted: bool) -> Result<Position, RiskError> {
        exposure.check()?;
        let rating = match self.ratings.get(&exposure.rating) {
            Some(rating) => rating.clone(),
            None => self.ratings.entry(exposure.rating.clone()).or_insert(exposure.rating.as_str().into()).clone(),
        };
        let obligor = self.obligor(exposure);
        Ok(Position {
            obligor,
            rating,
            ead: exposure.ead,
            pd: exposure.pd,
            lgd: exposure.lgd,
            days_past_due,
            defaulted,
        })
    }

    fn exposures(&mut self, exposures: &[Exposure]) -> Result<(), RiskError> {
        let positions = exposures
            .iter()
            .map(|exposure| self.position(exposure, 0, exposure.rating == grade::DEFAULT))
            .collect::<Result<_, _>>()?;
        self.book.months = vec![Month { as_of: None, positions }];
        Ok(())
    }

    fn history(&mut self, rows: &[SnapshotRow]) -> Result<(), RiskError> {
        let mut order: Vec<&SnapshotRow> = rows.iter().collect();
        order.sort_by_key(|row| row.as_of);
        let mut months: BTreeMap<(i16, i8), (Date, BTreeMap<usize, Position>)> = BTreeMap::new();
        for row in order {
            let position = self.position(&row.exposure, row.days_past_due, row.defaulted)?;
            let obligor = &mut self.book.obligors[position.obligor];
            obligor.originated = obligor.originated.or(row.originated);
            if row.defaulted {
                obligor.defaulted = obligor.defaulted.or(Some(row.as_of));
            }
            let key = (row.as_of.year(), row.as_of.month());
            let (as_of, positions) = months.entry(key).or_insert_with(|| (row.as_of, BTreeMap::new()));
            *as_of = row.as_of.max(*as_of);
            match positions.get_mut(&position.obligor) {
                Some(known) => merge(known, &position),
                None => {
                    positions.insert(position.obligor, position);
                }
            }
        }
        let month = |(as_of, positions): (Date, BTreeMap<usize, Position>)| Month {
            as_of: Some(as_of),
            positions: positions.into_values().collect(),
        };
        self.book.months = months.into_values().map(month).collect();
        Ok(())
    }
}

/// Several facilities of one name in one month are one position: rates weighted by exposure, the worse of the rest.
fn merge(known: &mut Position, more: &Position) {
    let total = known.ead + more.ead;
    if total > 0.0 {
        known.pd = (known.pd * known.ead + more.pd * more.ead) / total;
        known.lgd = (known.lgd * known.ead + more.lgd * more.ead) / total;
    }
    known.ead = total;
    known.days_past_due = known.days_past_due.max(more.days_past_due);
    known.defaulted |= more.defaulted;
    if grade::order(&known.rating, &more.rating).is_lt() {
        known.rating = more.rating.clone();
    }
}

/// The month so many months before `month`, or the first one where the book does not reach back so far; nothing where
/// there is none before it.
pub fn months_before(book: &Book, month: usize, back: i32) -> Option<usize> {
    let as_of = book.months.get(month)?.as_of?;
    let is_far =
        |place: &usize| book.months[*place].as_of.is_some_and(|earlier| months_between(earlier, as_of) >= back);
    (0..month).rev().find(is_far).or((month > 0).then_some(0))
}

#[cfg(test)]
#[path = "book_tests.rs"]
pub(crate) mod tests;
