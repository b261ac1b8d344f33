//! From the data API to a book and its fit: asked for with the visitor's own authority, computed once per version.
//!
//! ```text
//!  version (this visitor's session) ──► book (tenant, version) ──► fit (tenant, version, until)
//! ```
//!
//! Both are kept within bounds, and two who look at a time wait for one computation.

use std::sync::Arc;

use jiff::civil::Date;
use kyros_dashboard_kit::{Cache, DataClient, DataError, Dataset, Visitor};
use tokio::task::{JoinError, spawn_blocking};

use crate::{
    acquisition::{Acquisition, Spend},
    book::{Book, Row},
    fit::Fit,
};

/// The orders.
pub(crate) const TRANSACTIONS: &str = "transactions";
/// What was spent to win customers; a tenant need not have it.
pub(crate) const ACQUISITION: &str = "acquisition";
/// Bytes of books in memory: fifty of 100,000 orders.
const BOOKS: u64 = 256 * 1024 * 1024;
/// Bytes of fits in memory.
const FITS: u64 = 256 * 1024 * 1024;
/// Bytes of spend in memory.
const SPENDS: u64 = 16 * 1024 * 1024;
/// How often the data may be replaced while it is read before the visitor is told so.
const ATTEMPTS: usize = 3;

#[derive(Clone, PartialEq, Eq, Hash)]
struct Version {
    tenant: String,
    version: String,
}

/// Where the figures come from.
#[derive(Clone)]
pub(crate) struct Source {
    pub(crate) data: DataClient,
    books: Cache<Version, Option<Arc<Book>>>,
    fits: Cache<(Version, Option<Date>), Fit>,
    spends: Cache<Version, Acquisition>,
}

/// Everything that a page is computed from.
#[derive(Clone)]
pub(crate) struct Figures {
    pub(crate) book: Arc<Book>,
    pub(crate) fit: Arc<Fit>,
    pub(crate) acquisition: Option<Arc<Acquisition>>,
}

/// Why there are no figures.
#[derive(Debug)]
pub(crate) enum Failure {
    /// There is no data.
    Data(DataError),
    /// A calculation broke off; the log says where.
    Calculation,
}

impl From<DataError> for Failure {
    fn from(error: DataError) -> Self {
        Self::Data(error)
    }
}

impl From<JoinError> for Failure {
    fn from(error: JoinError) -> Self {
        tracing::error!(%error, "a calculation broke off");
        Self::Calculation
    }
}

impl Source {
    pub(crate) fn new(data: DataClient) -> Self {
        Self {
            data,
            books: Cache::new(BOOKS, |book: &Option<Arc<Book>>| book.as_deref().map_or(1, Book::weight)),
            fits: Cache::new(FITS, Fit::weight),
            spends: Cache::new(SPENDS, Acquisition::weight),
        }
    }

    /// The figures for a visitor, as the data is now; `None` where it has no row that can be used.
    pub(crate) async fn figures(
        &self,
        visitor: &Visitor,
        until: Option<Date>,
    ) -> Result<Option<Figures>, Arc<Failure>> {
        let (orders, acquisition) = tokio::join!(self.orders(visitor), self.acquisition(visitor));
        let ((version, book), acquisition) = (orders?, acquisition?);
        let Some(book) = (*book).clone() else { return Ok(None) };
        let fit = self.fit(version, book.clone(), until).await?;
        Ok(Some(Figures { book, fit, acquisition }))
    }

    async fn version(&self, visitor: &Visitor, dataset: &str) -> Result<Version, Failure> {
        // Asked for with this visitor's own authority: without a grant there is none.
        let version = self.data.version(visitor, dataset, None).await?;
        Ok(Version { tenant: visitor.tenant.clone(), version })
    }

    async fn orders(&self, visitor: &Visitor) -> Result<(Version, Arc<Option<Arc<Book>>>), Arc<Failure>> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            let key = self.version(visitor, TRANSACTIONS).await?;
            let found = self.books.get(key.clone(), || self.read(visitor, &key)).await;
            let is_changed = |error: &Arc<Failure>| matches!(**error, Failure::Data(DataError::Changed(_)));
            match found {
                Err(error) if is_changed(&error) && attempt < ATTEMPTS => (),
                found => return found.map(|book| (key, book)),
            }
        }
    }

    async fn read(&self, visitor: &Visitor, key: &Version) -> Result<Option<Arc<Book>>, Failure> {
        let (needed, optional) = (["customer_id", "order_date", "revenue"], ["margin", "channel", "country"]);
        let dataset = self.data.columns_if_any(visitor, TRANSACTIONS, &needed, &optional).await?;
        if dataset.version != key.version {
            // What was read is not what the key names.
            return Err(DataError::Changed(TRANSACTIONS.to_owned()).into());
        }
        Ok(spawn_blocking(move || book(dataset)).await??.map(Arc::new))
    }

    async fn fit(&self, version: Version, book: Arc<Book>, until: Option<Date>) -> Result<Arc<Fit>, Arc<Failure>> {
        let compute = || {
            let book = book.clone();
            async move { Ok::<_, Failure>(spawn_blocking(move || Fit::new(&book, until)).await?) }
        };
        self.fits.get((version, until), compute).await
    }

    /// What was spent; `None` where the tenant has no such dataset.
    async fn acquisition(&self, visitor: &Visitor) -> Result<Option<Arc<Acquisition>>, Arc<Failure>> {
        let key = match self.version(visitor, ACQUISITION).await {
            Err(Failure::Data(DataError::Missing(_))) => return Ok(None),
            version => version?,
        };
        let read = || async {
            let dataset = self.data.columns(visitor, ACQUISITION, &["month", "channel", "spend"]).await?;
            Ok::<_, Failure>(spends(dataset)?)
        };
        self.spends.get(key, read).await.map(Some)
    }
}

/// A day, also where the source has a time behind it.
fn date(text: &str) -> Option<Date> {
    text.get(..10)?.parse().ok()
}

/// Rows without a customer, a day or an amount are counted and left out.
fn book(mut dataset: Dataset) -> Result<Option<Book>, DataError> {
    let customers = dataset.texts("customer_id")?;
    let dates = dataset.texts("order_date")?;
    let revenue = dataset.numbers("revenue")?;
    let count = customers.len();
    let mut margins = if dataset.has("margin") { dataset.numbers("margin")? } else { Vec::new() }.into_iter();
    let mut channels = if dataset.has("channel") { dataset.texts("channel")? } else { Vec::new() }.into_iter();
    let mut countries = if dataset.has("country") { dataset.texts("country")? } else { Vec::new() }.into_iter();
    let mut rows = Vec::with_capacity(count);
    for ((customer, day), revenue) in customers.into_iter().zip(dates).zip(revenue) {
        let (margin, channel, country) =
            (margins.next().flatten(), channels.next().flatten(), countries.next().flatten());
        let (Some(customer), Some(date), Some(revenue)) = (customer, day.as_deref().and_then(date), revenue) else {
            continue;
        };
        rows.push(Row { customer, date, revenue, margin, channel, country });
    }
    let left_out = count - rows.len();
    Ok(Book::new(rows).map(|mut book| {
        book.left_out = left_out;
        book
    }))
}

fn spends(mut dataset: Dataset) -> Result<Acquisition, DataError> {
    let (months, channels, amounts) = (dataset.texts("month")?, dataset.texts("channel")?, dataset.numbers("spend")?);
    let spend = |((month, channel), amount): ((Option<String>, Option<String>), Option<f64>)| {
        Some(Spend { month: date(&month?)?, channel: channel?, amount: amount? })
    };
    Ok(Acquisition::new(months.into_iter().zip(channels).zip(amounts).filter_map(spend).collect()))
}
