//! `/api/data`: which datasets a token reads, their schemas, and queries. There is no tenant in any path.

use std::sync::Arc;

use axum::{
    body::Bytes,
    extract::{Path, RawQuery, State, rejection::BytesRejection},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use kyros_shared_config::{DatasetName, TenantScope, crypto::sha256_base64url, problem::Detail};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    DataError, TooMany,
    described::{Absent, DatasetSchema, QueryBody, Refused, Rows, Unanswered, Unreadable},
    frames::Loaded,
    lanes::Lane,
    negotiate,
    service::Reply,
    source::{Place, Version},
};
use crate::{
    auth::{Scoped, is_tenant_parameter, tenant_not_selectable},
    engine::{CheckedQuery, Encoding, Issue, Misplaced, Page, Query, Unread, validate_read},
    oauth::media_type,
    reply::{ProblemReply, json_no_store},
    state::App,
};

/// Where the next page of a truncated answer begins, also for formats that have no place for it.
const NEXT_CURSOR: &str = "kyros-next-cursor";
/// Largest query as a body, in bytes.
const MAX_QUERY: usize = 64 * 1024;
/// Longest query string, in bytes; what is longer belongs into a body.
const MAX_QUERY_STRING: usize = 8 * 1024;

/// A dataset that the token can read.
#[derive(Serialize, ToSchema)]
pub(crate) struct DatasetView {
    #[schema(value_type = String)]
    name: DatasetName,
    /// Whether the tenant has it now.
    available: bool,
}

/// The datasets that this token reads: those of its dashboard.
#[utoipa::path(get, path = "/api/data", tag = "data", responses(
    (status = 200, description = "The datasets", body = [DatasetView]), Refused,
))]
pub(crate) async fn list(State(app): State<App>, Scoped(scope): Scoped) -> Result<Response, ProblemReply> {
    admit(&app, &scope)?;
    let snapshot = app.metadata.snapshot();
    let datasets = snapshot.dashboards.get(scope.dashboard()).map(|d| d.datasets.clone()).unwrap_or_default();
    let source = snapshot.source_of(scope.tenant(), scope.dashboard());
    let source = app.data.source(source).map_err(|error| reply(&error))?;
    let mut views = Vec::with_capacity(datasets.len());
    for name in datasets {
        let available = app.data.exists(Place::new(&scope, &name), &source).await.map_err(|error| reply(&error))?;
        views.push(DatasetView { name, available });
    }
    Ok(json_no_store(StatusCode::OK, &views))
}

/// A dataset's columns: name, type, role, and what may be done with each.
#[utoipa::path(get, path = "/api/data/{dataset}/schema", tag = "data",
    params(("dataset" = String, Path, description = "The dataset's name")),
    responses(
        (status = 200, description = "The columns", body = DatasetSchema), Absent, Refused,
    ))]
pub(crate) async fn schema(
    State(app): State<App>,
    Scoped(scope): Scoped,
    Path(dataset): Path<String>,
) -> Result<Response, ProblemReply> {
    admit(&app, &scope)?;
    let (_, loaded) = load(&app, &scope, &dataset).await?;
    let body = serde_json::json!({
        "dataset": dataset,
        "rows": loaded.table.rows(),
        "columns": loaded.table.schema().columns(),
    });
    Ok(json_no_store(StatusCode::OK, &body))
}

/// Query a dataset by parameters.
///
/// `select=a,b` or `group_by=segment,order_date:month&agg=revenue:sum,*:count`; `filter=column:op:value` (repeatable, and);
/// `sort=-revenue_sum,segment`; `limit`; `offset`; `format=json|columns|ndjson|csv|arrow|parquet` (or `Accept`).
#[utoipa::path(get, path = "/api/data/{dataset}", tag = "data",
    params(
        ("dataset" = String, Path, description = "The dataset's name"),
        ("select" = Option<String>, Query, description = "Columns, separated by commas"),
        ("group_by" = Option<String>, Query, description = "Keys, with a grain after a colon"),
        ("agg" = Option<String>, Query, description = "column:function, separated by commas"),
        ("filter" = Option<String>, Query, description = "column:operation:value; repeatable"),
        ("sort" = Option<String>, Query, description = "Columns; a leading - means descending"),
        ("limit" = Option<u32>, Query, description = "At most 1,000,000; 10,000 when not given"),
        ("offset" = Option<u32>, Query, description = "Rows to skip"),
        ("cursor" = Option<String>, Query, description = "Where the page before ended; instead of offset"),
        ("total" = Option<bool>, Query, description = "Whether to count the rows of all pages"),
        ("format" = Option<String>, Query, description = "json, columns, ndjson, csv, arrow or parquet"),
    ),
    responses(
        (status = 200, description = "The rows; Kyros-Next-Cursor says where the next page begins, if there is one", content(
            (Rows = "application/json"), (String = "application/x-ndjson"), (String = "text/csv"),
            (Vec<u8> = "application/vnd.apache.arrow.stream"), (Vec<u8> = "application/vnd.apache.parquet"),
        )),
        (status = 304, description = "The client has this answer already"), Absent, Unanswered, Refused,
    ))]
pub(crate) async fn rows(
    State(app): State<App>,
    Scoped(scope): Scoped,
    Path(dataset): Path<String>,
    RawQuery(raw): RawQuery,
    headers: HeaderMap,
) -> Result<Response, ProblemReply> {
    let lane = admit(&app, &scope)?;
    let (pairs, format) = parameters(raw.as_deref())?;
    let encoding = encoding_of(format.as_deref(), &headers)?;
    // The grant is looked up before the query is read, so that a bad query says nothing about what exists.
    let found = load(&app, &scope, &dataset).await?;
    let query = Query::from_pairs(pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    answer(&app, scope, &lane, found, query, encoding, &headers).await
}

/// Query a dataset by a JSON body, with nested filters.
#[utoipa::path(post, path = "/api/data/{dataset}/query", tag = "data",
    params(
        ("dataset" = String, Path, description = "The dataset's name"),
        ("format" = Option<String>, Query, description = "json, columns, ndjson, csv, arrow or parquet"),
    ),
    request_body(content = QueryBody, description = "At most 64 KiB", content_type = "application/json"),
    responses(
        (status = 200, description = "The rows; Kyros-Next-Cursor says where the next page begins, if there is one", content(
            (Rows = "application/json"), (String = "application/x-ndjson"), (String = "text/csv"),
            (Vec<u8> = "application/vnd.apache.arrow.stream"), (Vec<u8> = "application/vnd.apache.parquet"),
        )),
        (status = 304, description = "The client has this answer already"), Absent, Unanswered, Unreadable, Refused,
    ))]
pub(crate) async fn query(
    State(app): State<App>,
    Scoped(scope): Scoped,
    Path(dataset): Path<String>,
    RawQuery(raw): RawQuery,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, ProblemReply> {
    let lane = admit(&app, &scope)?;
    // The server itself reads no more than its own limit of a body.
    let Some(body) = body.ok().filter(|body| body.len() <= MAX_QUERY) else {
        return Err(ProblemReply::of(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "The query is larger than 64 KiB"));
    };
    if !media_type(&headers).is_some_and(|kind| kind.eq_ignore_ascii_case("application/json")) {
        let title = "Send the query as application/json";
        return Err(ProblemReply::of(StatusCode::UNSUPPORTED_MEDIA_TYPE, "media-type", title));
    }
    if names_a_tenant(&body) {
        return Err(tenant_not_selectable(&app, &scope, "data").await);
    }
    let (pairs, format) = parameters(raw.as_deref())?;
    let encoding = encoding_of(format.as_deref(), &headers)?;
    let found = load(&app, &scope, &dataset).await?;
    let unknown = pairs.iter().map(|(name, _)| Issue::unknown_parameter(name, ["format"]));
    let query = Unread::beside(unknown.collect(), Query::from_json(&body));
    answer(&app, scope, &lane, found, query, encoding, &headers).await
}

/// The pairs of the query string, and the format taken out of them.
#[expect(clippy::type_complexity, reason = "names, values, and the one value that is not the query's")]
fn parameters(raw: Option<&str>) -> Result<(Vec<(String, String)>, Option<String>), ProblemReply> {
    let raw = raw.unwrap_or_default();
    if raw.len() > MAX_QUERY_STRING {
        let title = "The query string is longer than 8 KiB, send the query as a body";
        return Err(ProblemReply::of(StatusCode::URI_TOO_LONG, "too-long", title));
    }
    let malformed = |title| ProblemReply::of(StatusCode::BAD_REQUEST, "malformed-query", title);
    let mut pairs = negotiate::pairs(raw).ok_or_else(|| malformed("The query string is not percent-encoded UTF-8"))?;
    let mut formats = pairs.extract_if(.., |(name, _)| name == "format").map(|(_, value)| value);
    let format = formats.next();
    if formats.next().is_some() {
        return Err(malformed("The parameter format is there twice"));
    }
    drop(formats);
    Ok((pairs, format))
}

/// Whether a body's top level names a tenant.
fn names_a_tenant(body: &[u8]) -> bool {
    let parsed = serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(body);
    parsed.is_ok_and(|members| members.keys().any(|name| is_tenant_parameter(name)))
}

/// Counts the request in the tenant's lane, before anything else is looked at: a wrong request costs something too.
fn admit(app: &App, scope: &TenantScope) -> Result<Arc<Lane>, ProblemReply> {
    let snapshot = app.metadata.snapshot();
    let limits = snapshot.tenants.get(scope.tenant()).map(|record| record.limits).ok_or_else(not_found)?;
    app.data.admit(scope.tenant(), limits).map_err(|error| reply(&error))
}

/// The dataset, if the token's dashboard lists it and the tenant has it. Nothing is opened before the list was asked.
async fn load(app: &App, scope: &TenantScope, dataset: &str) -> Result<(Place, Loaded), ProblemReply> {
    let dataset: DatasetName = dataset.parse().map_err(|_| not_found())?;
    let snapshot = app.metadata.snapshot();
    let listed = snapshot.dashboards.get(scope.dashboard()).is_some_and(|record| record.datasets.contains(&dataset));
    if !listed {
        return Err(not_found());
    }
    let place = Place::new(scope, &dataset);
    let source = snapshot.source_of(scope.tenant(), scope.dashboard());
    let source = app.data.source(source).map_err(|error| reply(&error))?;
    let loaded = app.data.load(&place, &source).await.map_err(|error| reply(&error))?;
    Ok((place, loaded))
}

async fn answer(
    app: &App,
    scope: Arc<TenantScope>,
    lane: &Arc<Lane>,
    (place, loaded): (Place, Loaded),
    query: Result<Query, Unread>,
    encoding: Encoding,
    headers: &HeaderMap,
) -> Result<Response, ProblemReply> {
    let checked = validate_read(query, loaded.table.schema()).map_err(|issues| invalid(&issues))?;
    let page = page(checked, &loaded.version)?;
    // Known before the query runs: an unchanged answer costs nothing.
    let basis = [&page.key().to_bytes()[..], encoding.name().as_bytes()].concat();
    let tag = format!("W/\"{}\"", &sha256_base64url(&basis)[..22]);
    let etag = HeaderValue::from_str(&tag).map_err(|error| ProblemReply::internal(&error))?;
    let common = [
        (header::ETAG, etag),
        (header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache")),
        (header::VARY, HeaderValue::from_static("Authorization, Accept, Accept-Encoding")),
    ];
    if negotiate::is_known(&tag, headers) {
        return Ok((StatusCode::NOT_MODIFIED, common).into_response());
    }
    let asker = app.clone();
    let stands = move || asker.stands(&scope);
    let answered =
        app.data.answer(lane, &place, loaded.table, page, encoding, stands).await.map_err(|error| reply(&error))?;
    let kind = [(header::CONTENT_TYPE, HeaderValue::from_static(encoding.media_type()))];
    let (mut response, next) = match answered {
        Reply::Whole(whole) => ((StatusCode::OK, common, kind, whole.bytes).into_response(), whole.next),
        Reply::Pieces(body, next) => ((StatusCode::OK, common, kind, body).into_response(), next),
    };
    if let Some(next) = next.and_then(|cursor| HeaderValue::from_str(&cursor.to_string()).ok()) {
        response.headers_mut().insert(NEXT_CURSOR, next);
    }
    Ok(response)
}

fn page(checked: CheckedQuery, version: &Version) -> Result<Page, ProblemReply> {
    checked.page(version.as_str()).map_err(|misplaced| match misplaced {
        Misplaced::OtherQuery => invalid(&[Issue::of_cursor("the cursor was given for another query")]),
        Misplaced::OtherVersion => {
            let title = "The data changed since this cursor was given, start again without it";
            ProblemReply::of(StatusCode::GONE, "cursor-expired", title)
        }
    })
}

/// `format=` counts before `Accept`; what is not served is 406, with the list of what is.
fn encoding_of(format: Option<&str>, headers: &HeaderMap) -> Result<Encoding, ProblemReply> {
    let unacceptable = || {
        let names: Vec<_> = Encoding::ALL.iter().map(|encoding| encoding.name()).collect();
        ProblemReply::of(StatusCode::NOT_ACCEPTABLE, "not-acceptable", "This format is not served")
            .with_detail(format!("formats: {}", names.join(", ")))
    };
    negotiate::encoding(format, headers).ok_or_else(unacceptable)
}

fn invalid(issues: &[Issue]) -> ProblemReply {
    let details = issues
        .iter()
        .map(|issue| Detail {
            location: issue.location.clone(),
            code: serde_json::to_value(issue.code).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default(),
            detail: issue.detail.clone(),
            allowed: issue.allowed.clone(),
        })
        .collect();
    let (status, code, title) = if issues.iter().any(|issue| issue.code.is_malformed()) {
        (StatusCode::BAD_REQUEST, "malformed-query", "The query is not written as it should be")
    } else {
        (StatusCode::UNPROCESSABLE_ENTITY, "invalid-query", "The query does not fit the dataset")
    };
    ProblemReply::of(status, code, title).with_errors(details)
}

fn not_found() -> ProblemReply {
    ProblemReply::of(StatusCode::NOT_FOUND, "dataset-not-found", "There is no such dataset for this token")
}

fn reply(error: &DataError) -> ProblemReply {
    match error {
        DataError::NotFound => not_found(),
        DataError::Broken(detail) => {
            let reply = ProblemReply::unavailable("dataset-unavailable", "This dataset cannot be read right now");
            tracing::error!(decision = reply.decision(), detail, "dataset unreadable");
            reply
        }
        DataError::TooMany { of, retry_after } => {
            let title = match of {
                TooMany::Requests => "This tenant asks more often than its limit allows",
                TooMany::Queries => "This tenant has too many queries waiting",
                TooMany::Streams => "This tenant has too many large answers under way",
            };
            // Whole seconds, rounded up (RFC 9110, section 10.2.3).
            let seconds = retry_after.as_secs() + u64::from(retry_after.subsec_nanos() > 0);
            ProblemReply::of(StatusCode::TOO_MANY_REQUESTS, "busy", title).retry_after(seconds.max(1))
        }
        DataError::Deadline => {
            ProblemReply::of(StatusCode::GATEWAY_TIMEOUT, "query-timeout", "The query took too long")
        }
        DataError::Internal(detail) => ProblemReply::internal(detail),
    }
}
