//! A stand-in for the data API on loopback: datasets from CSV, in the two layouts that the kit asks for, and its refusals.

#![allow(dead_code, reason = "each test uses a part of it")]

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{
    Router,
    body::Body,
    extract::{Path, Query, State},
    http::{HeaderMap, Request, StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::get,
};
use kyros_dashboard_kit::DataClient;
use serde_json::{Map, Value, json};
use tower::ServiceExt as _;

/// A dataset in memory.
pub(crate) struct Table {
    pub(crate) head: Vec<String>,
    pub(crate) rows: Vec<Vec<String>>,
}

impl Table {
    /// From plain CSV without quotes.
    pub(crate) fn of(csv: &str) -> Self {
        let cells = |line: &str| line.split(',').map(str::to_owned).collect();
        let mut lines = csv.lines();
        Self { head: cells(lines.next().unwrap()), rows: lines.map(cells).collect() }
    }
}

/// By tenant and dataset: which version it is, and what is in it.
type Tables = HashMap<(String, String), (usize, Arc<Table>)>;

/// What the stand-in knows.
#[derive(Default)]
pub(crate) struct Api {
    tables: Mutex<Tables>,
    /// What it answers instead of data.
    pub(crate) refuses: Mutex<Option<StatusCode>>,
    /// Questions for more than one row.
    pub(crate) reads: AtomicUsize,
}

impl Api {
    pub(crate) fn put(&self, tenant: &str, dataset: &str, csv: &str) {
        let mut tables = self.tables.lock().unwrap();
        let place = tables.entry((tenant.to_owned(), dataset.to_owned()));
        let slot = place.or_insert_with(|| (0, Arc::new(Table::of(csv))));
        *slot = (slot.0 + 1, Arc::new(Table::of(csv)));
    }

    pub(crate) fn refuse(&self, status: Option<StatusCode>) {
        *self.refuses.lock().unwrap() = status;
    }
}

async fn answer(
    State(api): State<Arc<Api>>,
    Path(dataset): Path<String>,
    Query(asked): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    if let Some(status) = *api.refuses.lock().unwrap() {
        return status.into_response();
    }
    // The session says whose data it is, as the real one does; a header with a tenant would be ignored.
    let session = headers["x-kyros-session"].to_str().unwrap().to_owned();
    let found = api.tables.lock().unwrap().get(&(session, dataset)).cloned();
    let Some((version, table)) = found else { return StatusCode::NOT_FOUND.into_response() };
    let tag = format!("\"v{version}\"");
    if headers.get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes()) {
        return StatusCode::NOT_MODIFIED.into_response();
    }
    let number = |name: &str, otherwise: usize| asked.get(name).map_or(otherwise, |text| text.parse().unwrap());
    let (offset, limit) = (number("offset", 0), number("limit", usize::MAX));
    if limit > 1 {
        api.reads.fetch_add(1, Ordering::SeqCst);
    }
    let names: Vec<&str> = match asked.get("select") {
        Some(select) => select.split(',').collect(),
        None => table.head.iter().map(String::as_str).collect(),
    };
    let Some(places) =
        names.iter().map(|name| table.head.iter().position(|column| column == name)).collect::<Option<Vec<usize>>>()
    else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let rows: Vec<&Vec<String>> = table.rows.iter().skip(offset).take(limit).collect();
    let body = if asked.get("format").map(String::as_str) == Some("csv") {
        let line = |row: &Vec<String>| places.iter().map(|place| row[*place].clone()).collect::<Vec<_>>().join(",");
        let lines: String = std::iter::once(&table.head).chain(rows).map(|row| line(row) + "\n").collect();
        lines
    } else {
        let cell = |text: &String| match text.parse::<f64>() {
            _ if text.is_empty() => Value::Null,
            Ok(number) => json!(number),
            Err(_) => json!(text),
        };
        let columns: Map<String, Value> = names
            .iter()
            .zip(&places)
            .map(|(name, place)| ((*name).to_owned(), rows.iter().map(|row| cell(&row[*place])).collect()))
            .collect();
        json!({ "columns": columns, "meta": { "total": table.rows.len() } }).to_string()
    };
    ([(header::ETAG, tag)], body).into_response()
}

/// Serves it, and a dashboard on it.
pub(crate) async fn start() -> (Arc<Api>, Router) {
    let (api, data) = serve().await;
    (api, kyros_clv::router(data))
}

pub(crate) async fn serve() -> (Arc<Api>, DataClient) {
    kyros_shared_config::crypto::install_provider();
    let api = Arc::new(Api::default());
    let router = Router::new().route("/api/data/{dataset}", get(answer)).with_state(api.clone());
    let listener = tokio::net::TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let shutdown = tokio_util::sync::CancellationToken::new();
    tokio::spawn(kyros_dashboard_kit::serve(listener, router, shutdown));
    (api, DataClient::new(base.parse().unwrap()).unwrap())
}

/// A page's or file's answer.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

/// Asks the dashboard as its sidecar would, for a tenant.
pub(crate) async fn ask(dashboard: &Router, tenant: &str, path: &str) -> Answer {
    let request = Request::get(path)
        .header("x-kyros-tenant", tenant)
        .header("x-kyros-email", "ana@acme.example")
        .header("x-kyros-session", tenant)
        .header(header::AUTHORIZATION, "Bearer t")
        .body(Body::empty())
        .unwrap();
    let response = dashboard.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let bytes = axum::body::to_bytes(body, 64 << 20).await.unwrap();
    Answer { status: parts.status, headers: parts.headers, text: String::from_utf8(bytes.to_vec()).unwrap() }
}

/// A demo tenant's dataset.
pub(crate) fn demo(tenant: &str, dataset: &str) -> String {
    let mut csv = Vec::new();
    kyros_demo_data::generate(tenant, dataset, &mut csv).unwrap();
    String::from_utf8(csv).unwrap()
}

/// As many rows of one.
pub(crate) fn rows(tenant: &str, dataset: &str, count: usize) -> String {
    let mut csv = Vec::new();
    kyros_demo_data::generate_rows(tenant, dataset, count, &mut csv).unwrap();
    String::from_utf8(csv).unwrap()
}
