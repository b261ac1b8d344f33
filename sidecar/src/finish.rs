//! What is written down about a request when its answer has ended: an access line, a span, and its places given back.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use http::{Method, StatusCode, Uri};

use crate::{
    access::{AccessLog, Line, micros},
    identity::Identity,
    limits::Place,
    spans::{Span, Spans},
    trace::TraceContext,
};

/// Everything about a forwarded request that is known when its answer begins.
pub(crate) struct Finish {
    pub(crate) access: AccessLog,
    /// Where the request's span goes, if it is recorded.
    pub(crate) spans: Option<Spans>,
    pub(crate) identity: Arc<Identity>,
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) status: StatusCode,
    pub(crate) begun: Instant,
    pub(crate) trace: TraceContext,
    /// How long the dashboard took until its answer began.
    pub(crate) upstream: Duration,
    /// Held until the end.
    pub(crate) places: [Place; 2],
}

impl Finish {
    /// Writes it down; so many bytes were answered, the last of them at `now`.
    pub(crate) fn finish(self, bytes: u64, now: Instant) {
        let Self { access, spans, identity, method, uri, status, begun, trace, upstream, places: _places } = self;
        if !access.is_on() && spans.is_none() {
            return;
        }
        let (took, method) = (now.saturating_duration_since(begun), known_method(&method));
        if access.is_on() {
            access.write(&Line {
                request_id: trace.request_id().as_str(),
                trace_id: trace.trace_id().as_str(),
                tenant: identity.scope.tenant().as_str(),
                dashboard: identity.scope.dashboard().as_str(),
                user: identity.user_digest.as_str(),
                method,
                path: uri.path(),
                status: status.as_u16(),
                refused: "",
                bytes,
                micros: micros(took),
                upstream_micros: micros(upstream),
            });
        }
        if let Some(spans) = spans {
            spans.add(Span { trace, method, status: status.as_u16(), took, upstream });
        }
    }
}

/// The methods that the gate lets through; what a client invents is not repeated.
pub(crate) fn known_method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}
