//! The dashboard's routes: the page, the export, the live socket.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    Router,
    extract::{Path, Query, State, WebSocketUpgrade},
    http::StatusCode,
    response::{IntoResponse as _, Response},
    routing::get,
};
use jiff::civil::Date;
use kyros_dashboard_kit::{DataClient, DataError, Page, Visitor, assets, live};
use serde::Deserialize;

use crate::{Analysis, analyse, model::Transaction, page};

const TITLE: &str = "Customer Lifetime Value";
const DATASETS: &[&str] = &["transactions"];
/// Analyses kept; each is small beside the rows that it came from.
const CACHE: usize = 32;

#[derive(Clone)]
struct Dashboard {
    data: DataClient,
    analyses: Arc<Mutex<HashMap<Key, Arc<Analysis>>>>,
}

/// The tenant is part of the key for order's sake; the version alone already differs between files.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    tenant: String,
    version: String,
    until: Option<Date>,
}

/// The dashboard on a client of the data API.
pub fn router(data: DataClient) -> Router {
    Router::new()
        .route("/", get(show))
        .route("/export/{file}", get(export))
        .route("/live", get(socket))
        .merge(assets())
        .with_state(Dashboard { data, analyses: Arc::default() })
}

#[derive(Deserialize)]
struct Filter {
    /// The models see transactions until this day.
    #[serde(default)]
    until: Option<String>,
}

async fn show(State(dashboard): State<Dashboard>, visitor: Visitor, Query(filter): Query<Filter>) -> Response {
    let asked = filter.until.as_deref().filter(|text| !text.is_empty());
    let Ok(until) = asked.map(str::parse::<Date>).transpose() else {
        return (StatusCode::BAD_REQUEST, "until must be a date such as 1997-09-30\n").into_response();
    };
    match dashboard.analysis(&visitor, until).await {
        Ok(analysis) => page::page(TITLE, DATASETS, visitor, &analysis).into_response(),
        Err(Failure::Data(error)) => {
            let status = error.to_string();
            let page = Page::message(TITLE, visitor, &status).into_response();
            let answered = error.into_response().status();
            let mut response = page;
            *response.status_mut() = answered;
            response
        }
        Err(Failure::Model(text)) => Page::message(TITLE, visitor, &text).into_response(),
    }
}

enum Failure {
    Data(DataError),
    /// The data is there and cannot carry a model; the sentence says why.
    Model(String),
}

impl From<DataError> for Failure {
    fn from(error: DataError) -> Self {
        Self::Data(error)
    }
}

impl Dashboard {
    async fn analysis(&self, visitor: &Visitor, until: Option<Date>) -> Result<Arc<Analysis>, Failure> {
        // The version is asked for with this visitor's own authority: without a grant there is none.
        let version = self.data.version(visitor, "transactions", None).await?;
        let key = Key { tenant: visitor.tenant.clone(), version, until };
        let known = self.analyses.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        if let Some(analysis) = known {
            return Ok(analysis);
        }
        let mut dataset = self.data.columns(visitor, "transactions", &["customer_id", "order_date", "revenue"]).await?;
        let customers = dataset.texts("customer_id")?;
        let dates = dataset.texts("order_date")?;
        let revenue = dataset.numbers("revenue")?;
        let transactions: Vec<Transaction> = customers
            .into_iter()
            .zip(dates)
            .zip(revenue)
            .filter_map(|((customer_id, date), revenue)| {
                let date = date?.get(..10)?.parse().ok()?;
                Some(Transaction { customer_id: customer_id?, date, revenue: revenue? })
            })
            .collect();
        let computed = tokio::task::spawn_blocking(move || analyse(&transactions, until)).await;
        let result = match computed {
            Ok(Ok(analysis)) => Arc::new(analysis),
            Ok(Err(error)) => return Err(Failure::Model(format!("No model fits this data: {error}."))),
            Err(_) => return Err(Failure::Model("The calculation failed.".to_owned())),
        };
        let mut cache = self.analyses.lock().unwrap_or_else(PoisonError::into_inner);
        if cache.len() >= CACHE {
            cache.clear();
        }
        cache.insert(Key { version: dataset.version, ..key }, result.clone());
        Ok(result)
    }
}

async fn export(
    State(dashboard): State<Dashboard>,
    visitor: Visitor,
    Path(file): Path<String>,
) -> Result<Response, DataError> {
    let dataset = file.strip_suffix(".csv").filter(|name| DATASETS.contains(name));
    let dataset = dataset.ok_or_else(|| DataError::Missing(file.clone()))?;
    dashboard.data.csv(&visitor, dataset).await
}

async fn socket(State(dashboard): State<Dashboard>, visitor: Visitor, upgrade: WebSocketUpgrade) -> Response {
    live(upgrade, visitor, dashboard.data, DATASETS)
}
