//! The data API as a dashboard sees it: datasets by name, columns by type, no tenant anywhere.

use std::{collections::HashMap, time::Duration};

use axum::{
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde::Deserialize;
use thiserror::Error;
use tokio::task::spawn_blocking;
use url::Url;

use crate::{Visitor, value::Value};

/// Cells per request. The API answers as many at once and keeps the answer; more would take one of the few places that a
/// tenant has for large answers.
const PAGE_CELLS: usize = 256 * 1024;
/// Rows per request, however few columns: a page is held twice while it is read.
const PAGE_ROWS: usize = 50_000;
/// Pages asked for at a time: while one is read, the API makes the next. More would take turns from the tenant's other people.
const PAGES_AT_ONCE: usize = 2;
/// The API gives up on a query after ten seconds and queues it for at most five before that.
const PATIENCE: Duration = Duration::from_secs(20);
/// What is asked before any page. The entity tag is of the data and of the question, so everybody asks the same.
const OUTLINE: [(&str, &str); 3] = [("limit", "1"), ("format", "columns"), ("total", "true")];
/// How often a dataset is read again that was replaced meanwhile.
const ATTEMPTS: usize = 3;
/// Most rows that a dashboard holds at once.
const MAX_ROWS: usize = 2_000_000;

/// Why there is no data.
#[derive(Debug, Error)]
pub enum DataError {
    /// The sidecar or the API did not answer.
    #[error("the data API does not answer")]
    Unreachable(#[source] reqwest::Error),
    /// The session behind the request has ended.
    #[error("the session has ended")]
    SignedOut,
    /// The tenant has no such dataset yet.
    #[error("there is no dataset {0:?} yet")]
    Missing(String),
    /// The tenant's share of the API is used up for the moment.
    #[error("the data API is busy with other questions of this tenant")]
    Busy,
    /// The API said no.
    #[error("the data API answered {status} for {dataset:?}")]
    Refused {
        /// The dataset.
        dataset: String,
        /// What it said.
        status: StatusCode,
    },
    /// A column is not there or not of the expected type.
    #[error("dataset {dataset:?} has no usable column {column:?}: {reason}")]
    Column {
        /// The dataset.
        dataset: String,
        /// The column.
        column: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The API's answer is not what it should be.
    #[error("the data API's answer for {0:?} cannot be read")]
    Unreadable(String),
    /// The data was replaced while it was being read.
    #[error("dataset {0:?} was replaced while it was being read")]
    Changed(String),
    /// More than a dashboard can hold.
    #[error("dataset {0:?} has more than {MAX_ROWS} rows")]
    TooManyRows(String),
}

impl DataError {
    /// The status of an answer that has no data for this reason.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::SignedOut => StatusCode::UNAUTHORIZED,
            Self::Busy => StatusCode::TOO_MANY_REQUESTS,
            Self::Missing(_) => StatusCode::NOT_FOUND,
            Self::Column { .. } | Self::TooManyRows(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Changed(_) => StatusCode::CONFLICT,
            Self::Unreachable(_) | Self::Unreadable(_) | Self::Refused { .. } => StatusCode::BAD_GATEWAY,
        }
    }
}

impl IntoResponse for DataError {
    fn into_response(self) -> Response {
        (self.status(), format!("{self}\n")).into_response()
    }
}

/// A client of the data API at the sidecar's egress.
#[derive(Clone)]
pub struct DataClient {
    base: Url,
    client: reqwest::Client,
}

/// Some columns of a dataset, and the version that they are of.
pub struct Dataset {
    name: String,
    columns: HashMap<String, Vec<Value>>,
    /// Changes when the data does.
    pub version: String,
}

/// A column read as one type; missing values are `None`.
pub type Column<T> = Vec<Option<T>>;

#[derive(Deserialize)]
struct Columns {
    columns: HashMap<String, Vec<Value>>,
    meta: Meta,
}

#[derive(Deserialize)]
struct Meta {
    /// Rows of all pages, where it was asked for.
    total: Option<usize>,
}

/// What a dataset is before any of it is read.
struct Outline {
    version: String,
    names: Vec<String>,
    rows: usize,
}

impl DataClient {
    /// A client of `base`, which is `KYROS_API_URL`.
    pub fn new(base: Url) -> Result<Self, reqwest::Error> {
        let client =
            reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).timeout(PATIENCE).build()?;
        Ok(Self { base, client })
    }

    pub(crate) fn request(&self, visitor: &Visitor, dataset: &str) -> reqwest::RequestBuilder {
        let mut url = self.base.clone();
        url.set_path(&format!("/api/data/{dataset}"));
        let request = self.client.get(url);
        // The session outlives the token; where there is none (an API client's Bearer token) the token itself goes.
        match &visitor.session {
            Some(session) => {
                request.header("x-kyros-session", session).header(header::AUTHORIZATION, &visitor.authorization)
            }
            None => request.header(header::AUTHORIZATION, &visitor.authorization),
        }
    }

    /// The version of a dataset. With the version `known` already, an unchanged dataset costs the API no query.
    pub async fn version(&self, visitor: &Visitor, dataset: &str, known: Option<&str>) -> Result<String, DataError> {
        let mut request = self.request(visitor, dataset).query(&OUTLINE);
        if let Some(known) = known {
            request = request.header(header::IF_NONE_MATCH, known);
        }
        let response = request.send().await.map_err(DataError::Unreachable)?;
        if let (StatusCode::NOT_MODIFIED, Some(known)) = (response.status(), known) {
            return Ok(known.to_owned());
        }
        Ok(etag(checked(response, dataset)?.headers()))
    }

    async fn outline(&self, visitor: &Visitor, dataset: &str) -> Result<Outline, DataError> {
        let request = self.request(visitor, dataset).query(&OUTLINE);
        let response = checked(request.send().await.map_err(DataError::Unreachable)?, dataset)?;
        let version = etag(response.headers());
        let Columns { columns, meta } = response.json().await.map_err(DataError::Unreachable)?;
        match meta.total {
            Some(rows) if rows > MAX_ROWS => Err(DataError::TooManyRows(dataset.to_owned())),
            Some(rows) => Ok(Outline { version, names: columns.into_keys().collect(), rows }),
            None => Err(DataError::Unreadable(dataset.to_owned())),
        }
    }

    /// Some columns of a dataset, all rows, in the order of the file.
    pub async fn columns(&self, visitor: &Visitor, dataset: &str, select: &[&str]) -> Result<Dataset, DataError> {
        self.columns_if_any(visitor, dataset, select, &[]).await
    }

    /// The same, with those of `optional` that the dataset has.
    pub async fn columns_if_any(
        &self,
        visitor: &Visitor,
        dataset: &str,
        select: &[&str],
        optional: &[&str],
    ) -> Result<Dataset, DataError> {
        for _ in 0..ATTEMPTS {
            let Outline { version, names, rows } = self.outline(visitor, dataset).await?;
            let has = |name: &str| names.iter().any(|known| known == name);
            if let Some(missing) = select.iter().find(|name| !has(name)) {
                let (dataset, column) = (dataset.to_owned(), (*missing).to_owned());
                return Err(DataError::Column { dataset, column, reason: "not there" });
            }
            let select: Vec<&str> = select.iter().chain(optional.iter().filter(|name| has(name))).copied().collect();
            let columns = self.all_pages(visitor, dataset, &select, rows).await?;
            // Pages of two versions do not belong together: read the new one from its beginning.
            if self.version(visitor, dataset, Some(&version)).await? == version {
                return Ok(Dataset { name: dataset.to_owned(), columns, version });
            }
        }
        Err(DataError::Changed(dataset.to_owned()))
    }

    async fn all_pages(
        &self,
        visitor: &Visitor,
        dataset: &str,
        select: &[&str],
        rows: usize,
    ) -> Result<HashMap<String, Vec<Value>>, DataError> {
        let page_rows = (PAGE_CELLS / select.len().max(1)).clamp(1, PAGE_ROWS);
        let page = |offset| self.page(visitor, dataset, select, offset, page_rows);
        let pages = stream::iter((0..rows).step_by(page_rows)).map(page).buffered(PAGES_AT_ONCE);
        let mut columns: HashMap<String, Vec<Value>> =
            select.iter().map(|name| ((*name).to_owned(), Vec::with_capacity(rows))).collect();
        let add = |page: HashMap<String, Vec<Value>>| {
            for (name, values) in page {
                columns.entry(name).or_default().extend(values);
            }
            std::future::ready(Ok(()))
        };
        pages.try_for_each(add).await?;
        Ok(columns)
    }

    async fn page(
        &self,
        visitor: &Visitor,
        dataset: &str,
        select: &[&str],
        offset: usize,
        limit: usize,
    ) -> Result<HashMap<String, Vec<Value>>, DataError> {
        let request = self.request(visitor, dataset).query(&[
            ("select", select.join(",")),
            ("limit", limit.to_string()),
            ("offset", offset.to_string()),
            ("format", "columns".to_owned()),
        ]);
        let response = checked(request.send().await.map_err(DataError::Unreachable)?, dataset)?;
        let bytes = response.bytes().await.map_err(DataError::Unreachable)?;
        // Tens of milliseconds: other requests are answered meanwhile.
        let read = spawn_blocking(move || serde_json::from_slice::<Columns>(&bytes)).await;
        match read {
            Ok(Ok(page)) => Ok(page.columns),
            Ok(Err(_)) | Err(_) => Err(DataError::Unreadable(dataset.to_owned())),
        }
    }
}

pub(crate) fn checked(response: reqwest::Response, dataset: &str) -> Result<reqwest::Response, DataError> {
    match response.status() {
        StatusCode::OK => Ok(response),
        StatusCode::UNAUTHORIZED => Err(DataError::SignedOut),
        StatusCode::NOT_FOUND => Err(DataError::Missing(dataset.to_owned())),
        StatusCode::TOO_MANY_REQUESTS => Err(DataError::Busy),
        status => Err(DataError::Refused { dataset: dataset.to_owned(), status }),
    }
}

fn etag(headers: &HeaderMap) -> String {
    headers.get(header::ETAG).and_then(|tag| tag.to_str().ok()).unwrap_or_default().to_owned()
}

impl Dataset {
    /// A column of texts.
    pub fn texts(&mut self, column: &str) -> Result<Column<String>, DataError> {
        self.take(column, "expected texts", |value| match value {
            Value::Text(text) => Some(text.into()),
            Value::Whole(number) => Some(number.to_string()),
            Value::Number(number) => Some(number.to_string()),
            Value::Null => None,
        })
    }

    /// A column of numbers.
    pub fn numbers(&mut self, column: &str) -> Result<Column<f64>, DataError> {
        self.take(column, "expected numbers", |value| match value {
            Value::Whole(number) => Some(number as f64),
            Value::Number(number) => Some(number),
            Value::Text(_) | Value::Null => None,
        })
    }

    /// Whether a column was read that need not be there.
    pub fn has(&self, column: &str) -> bool {
        self.columns.contains_key(column)
    }

    /// Takes a column out; a value that is there but of another type is an error, a missing one is `None`.
    fn take<T>(
        &mut self,
        column: &str,
        reason: &'static str,
        read: impl Fn(Value) -> Option<T>,
    ) -> Result<Column<T>, DataError> {
        let error = |reason| DataError::Column { dataset: self.name.clone(), column: column.to_owned(), reason };
        let values = self.columns.remove(column).ok_or_else(|| error("not there"))?;
        values
            .into_iter()
            .map(|value| {
                if matches!(value, Value::Null) { Ok(None) } else { read(value).map(Some).ok_or_else(|| error(reason)) }
            })
            .collect()
    }
}
