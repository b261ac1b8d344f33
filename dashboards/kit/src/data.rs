//! The data API as a dashboard sees it: datasets by name, columns by type, no tenant anywhere.

use std::collections::HashMap;

use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use futures_util::stream;
use serde::Deserialize;
use serde_json::Value;
use thiserror::Error;
use url::Url;

use crate::Visitor;

/// Rows per request; the API's own maximum.
const PAGE: usize = 50_000;
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
    /// The data was replaced while it was being read.
    #[error("dataset {0:?} was replaced while it was being read")]
    Changed(String),
    /// More than a dashboard can hold.
    #[error("dataset {0:?} has more than {MAX_ROWS} rows")]
    TooManyRows(String),
}

impl IntoResponse for DataError {
    fn into_response(self) -> Response {
        let status = match &self {
            Self::SignedOut => StatusCode::UNAUTHORIZED,
            Self::Missing(_) => StatusCode::NOT_FOUND,
            Self::Column { .. } | Self::TooManyRows(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Changed(_) => StatusCode::CONFLICT,
            Self::Unreachable(_) | Self::Refused { .. } => StatusCode::BAD_GATEWAY,
        };
        (status, format!("{self}\n")).into_response()
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
}

impl DataClient {
    /// A client of `base`, which is `KYROS_API_URL`.
    pub fn new(base: Url) -> Result<Self, reqwest::Error> {
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build()?;
        Ok(Self { base, client })
    }

    fn request(&self, visitor: &Visitor, dataset: &str) -> reqwest::RequestBuilder {
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
        let mut request = self.request(visitor, dataset).query(&[("limit", "1"), ("format", "columns")]);
        if let Some(known) = known {
            request = request.header(header::IF_NONE_MATCH, known);
        }
        let response = request.send().await.map_err(DataError::Unreachable)?;
        if let (StatusCode::NOT_MODIFIED, Some(known)) = (response.status(), known) {
            return Ok(known.to_owned());
        }
        Ok(etag(checked(response, dataset)?.headers()))
    }

    /// Some columns of a dataset, all rows, in the order of the file.
    pub async fn columns(&self, visitor: &Visitor, dataset: &str, select: &[&str]) -> Result<Dataset, DataError> {
        let mut version = self.version(visitor, dataset, None).await?;
        loop {
            let read = self.all_pages(visitor, dataset, select).await?;
            let now = self.version(visitor, dataset, Some(&version)).await?;
            // Pages of two versions do not belong together: read the new one from its beginning.
            if now == version {
                return Ok(Dataset { name: dataset.to_owned(), columns: read, version });
            }
            version = now;
        }
    }

    async fn all_pages(
        &self,
        visitor: &Visitor,
        dataset: &str,
        select: &[&str],
    ) -> Result<HashMap<String, Vec<Value>>, DataError> {
        let mut columns: HashMap<String, Vec<Value>> = HashMap::new();
        let mut offset = 0;
        loop {
            let request = self.request(visitor, dataset).query(&[
                ("select", select.join(",")),
                ("limit", PAGE.to_string()),
                ("offset", offset.to_string()),
                ("format", "columns".to_owned()),
            ]);
            let response = checked(request.send().await.map_err(DataError::Unreachable)?, dataset)?;
            let page: Columns = response.json().await.map_err(DataError::Unreachable)?;
            let rows = page.columns.values().next().map_or(0, Vec::len);
            for (name, values) in page.columns {
                columns.entry(name).or_default().extend(values);
            }
            offset += rows;
            if rows < PAGE {
                return Ok(columns);
            }
            if offset >= MAX_ROWS {
                return Err(DataError::TooManyRows(dataset.to_owned()));
            }
        }
    }

    /// A dataset as CSV, all rows, streamed page by page. When a page fails the download breaks off rather than looking
    /// complete.
    pub async fn csv(&self, visitor: &Visitor, dataset: &str) -> Result<Response, DataError> {
        let version = self.version(visitor, dataset, None).await?;
        let first = self.csv_page(visitor, dataset, 0).await?;
        let (client, visitor, name) = (self.clone(), visitor.clone(), dataset.to_owned());
        let pages = stream::try_unfold((Some(first), 0), move |(page, offset)| {
            let (client, visitor, name) = (client.clone(), visitor.clone(), name.clone());
            let version = version.clone();
            async move {
                let Some(page) = page else {
                    let is_whole = client.version(&visitor, &name, Some(&version)).await? == version;
                    return if is_whole { Ok(None) } else { Err(DataError::Changed(name)) };
                };
                let next = offset + PAGE;
                let rows = line_ends(&page);
                // Quoted line breaks only make a page look fuller; then the next one is asked for and is empty.
                let following = if rows > PAGE { Some(client.csv_page(&visitor, &name, next).await?) } else { None };
                let following = following.filter(|page| line_ends(page) > 1);
                let body = if offset == 0 { page } else { without_header(&page) };
                Ok(Some((body, (following, next))))
            }
        });
        let headers = [
            (header::CONTENT_TYPE, "text/csv; charset=utf-8; header=present".to_owned()),
            (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{dataset}.csv\"")),
        ];
        Ok((headers, Body::from_stream(pages)).into_response())
    }

    async fn csv_page(&self, visitor: &Visitor, dataset: &str, offset: usize) -> Result<Bytes, DataError> {
        let request = self.request(visitor, dataset).query(&[
            ("format", "csv".to_owned()),
            ("limit", PAGE.to_string()),
            ("offset", offset.to_string()),
        ]);
        let response = checked(request.send().await.map_err(DataError::Unreachable)?, dataset)?;
        response.bytes().await.map_err(DataError::Unreachable)
    }
}

fn line_ends(page: &[u8]) -> usize {
    page.split(|byte| *byte == b'\n').count() - 1
}

fn without_header(page: &Bytes) -> Bytes {
    let end = page.iter().position(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
    page.slice(end..)
}

fn checked(response: reqwest::Response, dataset: &str) -> Result<reqwest::Response, DataError> {
    match response.status() {
        StatusCode::OK => Ok(response),
        StatusCode::UNAUTHORIZED => Err(DataError::SignedOut),
        StatusCode::NOT_FOUND => Err(DataError::Missing(dataset.to_owned())),
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
            Value::String(text) => Some(text),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        })
    }

    /// A column of numbers.
    pub fn numbers(&mut self, column: &str) -> Result<Column<f64>, DataError> {
        self.take(column, "expected numbers", |value| value.as_f64())
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
            .map(|value| if value.is_null() { Ok(None) } else { read(value).map(Some).ok_or_else(|| error(reason)) })
            .collect()
    }
}
