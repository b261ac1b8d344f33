//! A data API on loopback for the router's tests: demo data by tenant, the tenant taken from the token as the real one does.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{
    Router,
    body::Body,
    extract::{Path, Query, State},
    http::{HeaderMap, Request, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use http_body_util::BodyExt as _;
use kyros_dashboard_kit::DataClient;
use serde_json::{Map, Value, json};
use tower::ServiceExt as _;

/// Tables by tenant and dataset, as CSV, and how many rows were asked for.
#[derive(Default)]
pub(crate) struct Tables {
    texts: HashMap<(String, String), String>,
    pub(crate) reads: AtomicUsize,
}

impl Tables {
    /// The demo data of a tenant.
    pub(crate) fn demo(mut self, tenant: &str, datasets: &[&str]) -> Self {
        for dataset in datasets {
            let mut out = Vec::new();
            kyros_demo_data::generate(tenant, dataset, &mut out).unwrap();
            self = self.table(tenant, dataset, &String::from_utf8(out).unwrap());
        }
        self
    }

    /// Any table.
    pub(crate) fn table(mut self, tenant: &str, dataset: &str, text: &str) -> Self {
        self.texts.insert((tenant.to_owned(), dataset.to_owned()), text.to_owned());
        self
    }
}

async fn answer(
    State(tables): State<Arc<Tables>>,
    Path(dataset): Path<String>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    let tenant = headers[header::AUTHORIZATION].to_str().unwrap().trim_start_matches("Bearer ").to_owned();
    match tenant.as_str() {
        "ended" => return StatusCode::UNAUTHORIZED.into_response(),
        "broken" => return StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        _ => {}
    }
    let Some(text) = tables.texts.get(&(tenant, dataset)) else { return StatusCode::NOT_FOUND.into_response() };
    let tag = format!("\"{}\"", text.len());
    if headers.get(header::IF_NONE_MATCH).is_some_and(|known| *known == *tag) {
        return StatusCode::NOT_MODIFIED.into_response();
    }
    let number = |name: &str| query.get(name).map_or(0, |text| text.parse().unwrap());
    let (limit, offset): (usize, usize) = (number("limit"), number("offset"));
    tables.reads.fetch_add(usize::from(limit > 1), Ordering::SeqCst);
    let mut lines = text.lines();
    let head: Vec<&str> = lines.next().unwrap().split(',').collect();
    let rows: Vec<&str> = lines.skip(offset).take(limit).collect();
    let body = if query["format"] == "csv" {
        std::iter::once(head.join(","))
            .chain(rows.iter().map(|row| (*row).to_owned()))
            .map(|line| line + "\n")
            .collect()
    } else {
        columns(&head, &rows, text.lines().count() - 1, query.get("select").map(String::as_str))
    };
    ([(header::ETAG, tag)], body).into_response()
}

fn columns(head: &[&str], rows: &[&str], total: usize, select: Option<&str>) -> String {
    let wanted: Vec<&str> = select.map_or_else(|| head.to_vec(), |names| names.split(',').collect());
    let mut columns = Map::new();
    for name in wanted {
        let place = head.iter().position(|known| *known == name).unwrap();
        let value = |row: &&str| {
            let field = row.split(',').nth(place).unwrap();
            field.parse::<f64>().map_or_else(|_| json!(field), |number| json!(number))
        };
        columns.insert(name.to_owned(), Value::Array(rows.iter().map(value).collect()));
    }
    json!({ "columns": columns, "meta": { "total": total } }).to_string()
}

/// The dashboard on such an API.
pub(crate) async fn dashboard(tables: Tables) -> (Router, Arc<Tables>) {
    // As the program itself does before its first client.
    kyros_shared_config::crypto::install_provider();
    let tables = Arc::new(tables);
    let api = Router::new().route("/api/data/{dataset}", get(answer)).with_state(tables.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, api).await });
    let data = DataClient::new(format!("http://{address}").parse().unwrap()).unwrap();
    (kyros_risk::router(data), tables)
}

/// Asks as a person of the tenant.
pub(crate) async fn ask(router: &Router, tenant: &str, path: &str) -> (StatusCode, HeaderMap, String) {
    let request = Request::get(path)
        .header("x-kyros-tenant", tenant)
        .header("x-kyros-email", "ana@acme.example")
        .header(header::AUTHORIZATION, format!("Bearer {tenant}"))
        .body(Body::empty())
        .unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    (parts.status, parts.headers, String::from_utf8(bytes.to_vec()).unwrap())
}
