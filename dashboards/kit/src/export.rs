//! A dataset as a file: the rows that the page's filters let through, streamed page by page.

use axum::{
    body::{Body, Bytes},
    response::Response,
};
use futures_util::stream;

use crate::{
    DataClient, DataError, Visitor,
    csv::{self, Records},
    data::checked,
};

/// Rows per request: with ten columns as many cells as the API answers at once.
const PAGE: usize = 25_000;

/// Says of a row whether it is in the file.
pub type Keep = Box<dyn Fn(&[String]) -> bool + Send + Sync>;

/// Makes that of the names of the columns.
type Filter = Box<dyn FnOnce(&[String]) -> Keep + Send + Sync>;

/// A download under way.
struct Export {
    client: DataClient,
    visitor: Visitor,
    dataset: String,
    version: String,
    filter: Option<Filter>,
    keep: Keep,
    offset: usize,
    ended: bool,
}

impl DataClient {
    /// A dataset as CSV. `filter` is given the names of the columns and says which rows are in the file.
    ///
    /// When a page fails, or the data is replaced meanwhile, the download breaks off rather than looking complete.
    pub async fn csv(
        &self,
        visitor: &Visitor,
        dataset: &str,
        title: &str,
        filter: impl FnOnce(&[String]) -> Keep + Send + Sync + 'static,
    ) -> Result<Response, DataError> {
        let version = self.version(visitor, dataset, None).await?;
        let (client, visitor) = (self.clone(), visitor.clone());
        let stem = csv::file_stem(title, &visitor.tenant, dataset);
        let filter: Option<Filter> = Some(Box::new(filter));
        let (dataset, keep) = (dataset.to_owned(), Box::new(|_: &[String]| true));
        let mut export = Export { client, visitor, dataset, version, filter, keep, offset: 0, ended: false };
        // The first page now: what it fails with is an answer of its own.
        let first = export.next().await?;
        let rest = stream::try_unfold((first, export), |(page, mut export)| async move {
            let Some(page) = page else { return Ok::<_, DataError>(None) };
            let following = export.next().await?;
            Ok(Some((page, (following, export))))
        });
        Ok(csv::attachment(&stem, Body::from_stream(rest)))
    }
}

impl Export {
    async fn next(&mut self) -> Result<Option<Bytes>, DataError> {
        if self.ended {
            let now = self.client.version(&self.visitor, &self.dataset, Some(&self.version)).await?;
            return if now == self.version { Ok(None) } else { Err(DataError::Changed(self.dataset.clone())) };
        }
        let request = self.client.request(&self.visitor, &self.dataset).query(&[
            ("format", "csv".to_owned()),
            ("limit", PAGE.to_string()),
            ("offset", self.offset.to_string()),
        ]);
        let response = checked(request.send().await.map_err(DataError::Unreachable)?, &self.dataset)?;
        let text = response.text().await.map_err(DataError::Unreachable)?;
        Ok(Some(self.page(&text).into()))
    }

    /// The page's rows as this file has them; the names of the columns stand on its first page alone.
    fn page(&mut self, text: &str) -> String {
        let mut out = String::with_capacity(text.len() + text.len() / 16);
        let mut records = Records::of(text);
        let head = records.next().unwrap_or_default();
        if let Some(filter) = self.filter.take() {
            csv::record(&mut out, head.iter().map(String::as_str));
            self.keep = filter(&head);
        }
        let mut rows = 0;
        for record in records {
            rows += 1;
            if (self.keep)(&record) {
                csv::record(&mut out, record.iter().map(String::as_str));
            }
        }
        self.offset += rows;
        self.ended = rows < PAGE;
        out
    }
}
