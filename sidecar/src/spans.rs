//! Spans of forwarded requests, sent to a collector in the JSON form of OTLP over HTTP (OpenTelemetry protocol 1.5,
//! "OTLP/HTTP"). Nothing waits for the collector: what does not fit is dropped.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};
use url::Url;

use crate::{
    SidecarSettings,
    sidecar::SidecarError,
    trace::{Hex, TraceContext},
};

/// Spans that wait to be sent, at most.
const MAX_WAITING: usize = 2048;
/// How often they are sent.
const EVERY: Duration = Duration::from_secs(2);
/// How long the collector may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// OTLP's number for a server's span.
const KIND_SERVER: u8 = 2;
/// OTLP's number for a failed one.
const STATUS_ERROR: u8 = 2;

/// One forwarded request.
pub(crate) struct Span {
    pub(crate) trace: TraceContext,
    pub(crate) method: &'static str,
    pub(crate) status: u16,
    pub(crate) took: Duration,
    /// Of which the dashboard took until its answer began.
    pub(crate) upstream: Duration,
}

/// Gathers spans and sends them; does nothing where no collector is set.
#[derive(Clone, Default)]
pub(crate) struct Spans(Option<Arc<Exporter>>);

struct Exporter {
    client: reqwest::Client,
    endpoint: Url,
    dashboard: String,
    ratio: f64,
    waiting: Mutex<Vec<(Span, SystemTime)>>,
}

impl Spans {
    pub(crate) fn of(settings: &SidecarSettings) -> Result<Self, SidecarError> {
        let Some(base) = &settings.observe.otlp_endpoint else { return Ok(Self(None)) };
        let mut endpoint = base.clone();
        endpoint.set_path(&format!("{}/v1/traces", base.path().trim_end_matches('/')));
        let exporter = Exporter {
            client: kyros_shared_config::http_client(&endpoint).timeout(TIMEOUT).build()?,
            endpoint,
            dashboard: settings.dashboard.to_string(),
            ratio: settings.observe.trace_ratio,
            waiting: Mutex::default(),
        };
        Ok(Self(Some(Arc::new(exporter))))
    }

    /// Whether a request's span is recorded: as the caller decided, or by the ratio where it begins here.
    pub(crate) fn records(&self, trace: &TraceContext) -> bool {
        let Some(exporter) = &self.0 else { return trace.sampled.unwrap_or(false) };
        // The same bytes that other parts look at, so that a trace is recorded whole or not at all (OpenTelemetry,
        // TraceIdRatioBased).
        let [.., a, b, c, d] = trace.trace;
        let share = f64::from(u32::from_be_bytes([a, b, c, d])) / f64::from(u32::MAX);
        trace.sampled.unwrap_or(share < exporter.ratio)
    }

    pub(crate) fn add(&self, span: Span) {
        let Some(exporter) = &self.0 else { return };
        let mut waiting = exporter.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() < MAX_WAITING {
            waiting.push((span, SystemTime::now()));
        }
    }

    /// Sends what waits, for ever.
    pub(crate) async fn keep_sending(&self) {
        loop {
            tokio::time::sleep(EVERY).await;
            self.flush().await;
        }
    }

    /// Sends what waits now.
    pub(crate) async fn flush(&self) {
        let Some(exporter) = &self.0 else { return };
        let spans = std::mem::take(&mut *exporter.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        if spans.is_empty() {
            return;
        }
        let document = document(&exporter.dashboard, &spans);
        match exporter.client.post(exporter.endpoint.clone()).json(&document).send().await {
            Ok(answer) if answer.status().is_success() => (),
            Ok(answer) => tracing::debug!(status = answer.status().as_u16(), "collector refused spans"),
            Err(error) => tracing::debug!(error = %error.without_url(), "collector does not answer"),
        }
    }
}

fn document(dashboard: &str, spans: &[(Span, SystemTime)]) -> Value {
    let spans: Vec<Value> = spans.iter().map(|(span, end)| span_json(span, *end)).collect();
    let text = |key: &str, value: &str| json!({ "key": key, "value": { "stringValue": value } });
    json!({ "resourceSpans": [{
        "resource": { "attributes": [text("service.name", "kyros-sidecar"), text("kyros.dashboard", dashboard)] },
        "scopeSpans": [{ "scope": { "name": "kyros-sidecar", "version": env!("CARGO_PKG_VERSION") }, "spans": spans }],
    }] })
}

/// Numbers of 64 bits are strings in OTLP's JSON. No tenant, person or path: a collector is not one tenant's.
fn span_json(span: &Span, end: SystemTime) -> Value {
    let nanos = |at: SystemTime| at.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos().to_string();
    let (trace, status) = (&span.trace, span.status);
    let parent = if trace.parent == [0; 8] { String::new() } else { Hex::<16>::of(&trace.parent).as_str().to_owned() };
    json!({
        "traceId": trace.trace_id().as_str(),
        "spanId": Hex::<16>::of(&trace.span).as_str(),
        "parentSpanId": parent,
        "name": span.method,
        "kind": KIND_SERVER,
        "startTimeUnixNano": nanos(end.checked_sub(span.took).unwrap_or(end)),
        "endTimeUnixNano": nanos(end),
        "attributes": [
            { "key": "http.request.method", "value": { "stringValue": span.method } },
            { "key": "http.response.status_code", "value": { "intValue": status.to_string() } },
            { "key": "kyros.upstream_us", "value": { "intValue": span.upstream.as_micros().to_string() } },
        ],
        "status": if status >= 500 { json!({ "code": STATUS_ERROR }) } else { json!({}) },
    })
}
