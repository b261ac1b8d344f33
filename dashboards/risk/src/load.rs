//! Brings a tenant's book: asked for with the visitor's own authority, put together once for each version of the data.

use std::sync::Arc;

use jiff::civil::Date;
use kyros_dashboard_kit::{Cache, Column, DataClient, DataError, Dataset, Visitor};
use thiserror::Error;

use crate::{
    book::{Book, SnapshotRow},
    model::{Exposure, PnlRecord, RiskError},
};

/// The datasets that the dashboard reads, in the order of [`Key::versions`].
pub(crate) const DATASETS: &[&str] = &["exposures", "history", "pnl"];
/// Rows of all books kept together, about 100 bytes each.
const CACHED_ROWS: u64 = 2_000_000;

/// Why there is no book.
#[derive(Debug, Error)]
pub(crate) enum Failure {
    /// The data cannot be had.
    #[error(transparent)]
    Data(#[from] DataError),
    /// It is there, and no figure can be computed from it.
    #[error(transparent)]
    Figures(#[from] RiskError),
    /// The calculation ended before its time.
    #[error("the calculation was broken off")]
    BrokenOff,
}

/// The tenant is part of the key, so that a version that two tenants shared would still be two entries.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    tenant: String,
    /// Nothing for a dataset that the tenant has not.
    versions: [Option<String>; 3],
}

/// All books in memory.
#[derive(Clone)]
pub(crate) struct Books {
    data: DataClient,
    cache: Cache<Key, Book>,
}

impl Books {
    /// An empty shelf.
    pub(crate) fn new(data: DataClient) -> Self {
        let weigh = |book: &Book| {
            let positions: usize = book.months.iter().map(|month| month.positions.len()).sum();
            u32::try_from(1 + positions + book.obligors.len() + book.pnl.len()).unwrap_or(u32::MAX)
        };
        Self { data, cache: Cache::new(CACHED_ROWS, weigh) }
    }

    /// The book of the visitor's tenant as it is now. Whoever may not read a dataset learns no version of it, and so gets no
    /// book that others loaded.
    pub(crate) async fn of(&self, visitor: &Visitor) -> Result<Arc<Book>, Arc<Failure>> {
        let key = self.key(visitor).await.map_err(Arc::new)?;
        let there = key.versions.each_ref().map(Option::is_some);
        self.cache.get(key, || self.load(visitor, there)).await
    }

    async fn key(&self, visitor: &Visitor) -> Result<Key, Failure> {
        let version = async |dataset| match self.data.version(visitor, dataset, None).await {
            Ok(version) => Ok(Some(version)),
            Err(DataError::Missing(_)) => Ok(None),
            Err(error) => Err(error),
        };
        let (exposures, history, pnl) = tokio::join!(version(DATASETS[0]), version(DATASETS[1]), version(DATASETS[2]));
        let versions = [exposures?, history?, pnl?];
        if versions.iter().all(Option::is_none) {
            return Err(DataError::Missing(DATASETS[0].to_owned()).into());
        }
        Ok(Key { tenant: visitor.tenant.clone(), versions })
    }

    async fn load(&self, visitor: &Visitor, there: [bool; 3]) -> Result<Book, Failure> {
        let data = &self.data;
        let [has_exposures, has_history, has_pnl] = there;
        let exposures = async { if has_exposures { exposures(data, visitor).await } else { Ok(Vec::new()) } };
        let history = async { if has_history { history(data, visitor).await } else { Ok(Vec::new()) } };
        let pnl = async { if has_pnl { pnl(data, visitor).await } else { Ok(Vec::new()) } };
        let (exposures, history, pnl) = tokio::try_join!(exposures, history, pnl)?;
        let built = tokio::task::spawn_blocking(move || Book::new(&exposures, &history, pnl)).await;
        Ok(built.map_err(|_| Failure::BrokenOff)??)
    }
}

/// The columns that both `exposures` and `history` have.
struct Names {
    counterparty: Column<String>,
    sector: Column<String>,
    country: Column<String>,
    rating: Column<String>,
    ead: Column<f64>,
    pd: Column<f64>,
    lgd: Column<f64>,
}

impl Names {
    fn of(dataset: &mut Dataset) -> Result<Self, DataError> {
        Ok(Self {
            counterparty: dataset.texts("counterparty")?,
            sector: dataset.texts("sector")?,
            country: dataset.texts("country")?,
            rating: dataset.texts("rating")?,
            ead: dataset.numbers("ead")?,
            pd: dataset.numbers("pd")?,
            lgd: dataset.numbers("lgd")?,
        })
    }

    fn len(&self) -> usize {
        self.counterparty.len()
    }

    /// A row, where none of its values is missing.
    fn row(&mut self, index: usize, maturity: f64) -> Option<Exposure> {
        Some(Exposure {
            counterparty: self.counterparty[index].take()?,
            sector: self.sector[index].take()?,
            country: self.country[index].take()?,
            rating: self.rating[index].take()?,
            ead: self.ead[index]?,
            pd: self.pd[index]?,
            lgd: self.lgd[index]?,
            maturity,
        })
    }
}

async fn exposures(data: &DataClient, visitor: &Visitor) -> Result<Vec<Exposure>, DataError> {
    let columns = ["counterparty", "sector", "country", "rating", "ead", "pd", "lgd", "maturity"];
    let mut dataset = data.columns(visitor, "exposures", &columns).await?;
    let (mut names, maturity) = (Names::of(&mut dataset)?, dataset.numbers("maturity")?);
    Ok((0..names.len()).filter_map(|index| names.row(index, maturity[index]?)).collect())
}

async fn history(data: &DataClient, visitor: &Visitor) -> Result<Vec<SnapshotRow>, DataError> {
    #[rustfmt::skip]
    let columns = [
        "as_of", "counterparty", "sector", "country", "rating", "ead", "pd", "lgd", "days_past_due", "originated", "defaulted",
    ];
    let mut dataset = data.columns(visitor, "history", &columns).await?;
    let (mut names, as_of) = (Names::of(&mut dataset)?, dataset.texts("as_of")?);
    let (days, originated) = (dataset.numbers("days_past_due")?, dataset.texts("originated")?);
    let defaulted = dataset.numbers("defaulted")?;
    let row = |index: usize| {
        Some(SnapshotRow {
            as_of: day(as_of[index].as_deref()?)?,
            exposure: names.row(index, 0.0)?,
            days_past_due: whole(days[index]?),
            originated: originated[index].as_deref().and_then(day),
            defaulted: defaulted[index]? > 0.0,
        })
    };
    Ok((0..as_of.len()).filter_map(row).collect())
}

async fn pnl(data: &DataClient, visitor: &Visitor) -> Result<Vec<PnlRecord>, DataError> {
    let mut dataset = data.columns(visitor, "pnl", &["date", "desk", "pnl"]).await?;
    let (dates, desks, amounts) = (dataset.texts("date")?, dataset.texts("desk")?, dataset.numbers("pnl")?);
    let rows = dates
        .into_iter()
        .zip(desks)
        .zip(amounts)
        .filter_map(|((date, desk), pnl)| Some(PnlRecord { date: day(&date?)?, desk: desk?, pnl: pnl? }));
    Ok(rows.collect())
}

/// A day at the beginning of a text: `2026-09-30`, with or without a time; a month alone is its first day.
fn day(text: &str) -> Option<Date> {
    match text.get(..10) {
        Some(day) => day.parse().ok(),
        None => format!("{text}-01").parse().ok(),
    }
}

/// Whole days; what is no number of days counts as none.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast saturates, and it is not negative")]
fn whole(days: f64) -> u32 {
    days.max(0.0) as u32
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    #[test]
    fn days_come_with_a_time_or_as_a_month_too() {
        assert_eq!(day("2026-09-30T00:00:00"), Some(date(2026, 9, 30)));
        assert_eq!(day("2026-09"), Some(date(2026, 9, 1)));
        assert_eq!((day("2026-02-30"), day("soon"), day("")), (None, None, None));
        assert_eq!([whole(30.9), whole(-3.0), whole(f64::NAN)], [30, 0, 0]);
    }
}
