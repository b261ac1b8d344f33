//! What the sidecar answers by itself: refusals, as problems for programs and as pages for people; redirects.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header, request::Parts};
use kyros_shared_config::Problem;

use crate::{bodies::Body, page::page};

/// What a browser asks for (Fetch Metadata, section 2.2).
const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

/// Why a request is not forwarded. Refusals close the connection: a doubtful one is not used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    /// A stable word: the problem's code and the metric's label.
    pub(crate) code: &'static str,
    /// For people.
    pub(crate) title: &'static str,
    /// When to come back, in seconds.
    pub(crate) retry_after: Option<u16>,
}

impl Refusal {
    pub(crate) const fn new(status: StatusCode, code: &'static str, title: &'static str) -> Self {
        Self { status, code, title, retry_after: None }
    }

    pub(crate) const fn bad_request(code: &'static str, title: &'static str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, title)
    }

    pub(crate) const UNAUTHORIZED: Self =
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", "A valid token is required");
    pub(crate) const NOT_FOUND: Self = Self::new(StatusCode::NOT_FOUND, "not-found", "There is nothing here for you");
    pub(crate) const FORBIDDEN_ORIGIN: Self =
        Self::new(StatusCode::FORBIDDEN, "origin", "This request came from another site");
    pub(crate) const TOO_LARGE: Self =
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "The request's body is too large");
    /// Below hyper something was seen that two parsers may read differently.
    pub(crate) const FRAMING: Self =
        Self::bad_request("framing", "Two readers could disagree on where this request ends");
    pub(crate) const TENANT_BUSY: Self = Self {
        retry_after: Some(1),
        ..Self::new(StatusCode::TOO_MANY_REQUESTS, "tenant-busy", "Too many requests are under way for this tenant")
    };
    pub(crate) const TENANT_SOCKETS: Self = Self {
        retry_after: Some(5),
        ..Self::new(StatusCode::TOO_MANY_REQUESTS, "tenant-busy", "Too many sockets are open for this tenant")
    };
    pub(crate) const SESSION_BUSY: Self = Self {
        retry_after: Some(5),
        ..Self::new(StatusCode::TOO_MANY_REQUESTS, "session-busy", "Too many sockets are open in this session")
    };
    pub(crate) const DASHBOARD_BUSY: Self = Self {
        retry_after: Some(1),
        ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "dashboard-busy", "The dashboard has too much to do right now")
    };
    pub(crate) const UPSTREAM_TIMEOUT: Self =
        Self::new(StatusCode::GATEWAY_TIMEOUT, "dashboard-timeout", "The dashboard did not answer in time");
    pub(crate) const UPSTREAM_BROKEN: Self =
        Self::new(StatusCode::BAD_GATEWAY, "dashboard-broken", "The dashboard's answer was not understood");
    pub(crate) const UPSTREAM_DOWN: Self = Self {
        retry_after: Some(1),
        ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "dashboard-starting", "The dashboard is not up yet")
    };
    pub(crate) const API_DOWN: Self = Self {
        retry_after: Some(2),
        ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "identity-unavailable", "Signing in is not possible right now")
    };
    pub(crate) const NO_KEYS: Self = Self {
        retry_after: Some(2),
        ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "no-keys", "The sidecar has no keys to verify tokens with yet")
    };

    /// The answer, as a page for a browser's navigation and as a problem document for everything else.
    pub(crate) fn answer(self, is_navigation: bool, decision: &str) -> Response<Body> {
        tracing::debug!(decision, status = self.status.as_u16(), code = self.code, "refused");
        let mut response = if is_navigation {
            page(self.status, &self.text(), decision)
        } else {
            let problem = Problem::new(self.status, self.code, self.title, decision);
            problem.into_response::<Vec<u8>>().map(|bytes| Body::from(Bytes::from(bytes)))
        };
        let headers = response.headers_mut();
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// Whether a person looks at the answer: browsers say so, and only a document may ever be answered with a redirect.
pub(crate) fn is_navigation(request: &Parts) -> bool {
    if request.headers.contains_key(header::UPGRADE) {
        return false;
    }
    let text = |name: &HeaderName| request.headers.get(name).and_then(|value| value.to_str().ok());
    match text(&SEC_FETCH_MODE) {
        Some(mode) => mode == "navigate",
        // Older browsers and plain HTML clients ask for HTML and send no fetch metadata.
        None => request.method == http::Method::GET && request.headers.get(header::ACCEPT).is_some_and(wants_html),
    }
}

fn wants_html(accept: &HeaderValue) -> bool {
    // Browsers name it first.
    accept.as_bytes().starts_with(b"text/html") || accept.to_str().is_ok_and(|accept| accept.contains("text/html"))
}

/// Whether the navigation happens inside a frame.
pub(crate) fn is_framed(request: &Parts) -> bool {
    matches!(
        request.headers.get("sec-fetch-dest").and_then(|value| value.to_str().ok()),
        Some("iframe" | "frame" | "embed")
    )
}

/// 303: whatever the request was, the next one is a GET (RFC 9700, section 4.12).
pub(crate) fn see_other(location: &str) -> Option<Response<Body>> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SEE_OTHER;
    response.headers_mut().insert(header::LOCATION, HeaderValue::from_str(location).ok()?);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.headers_mut().insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    Some(response)
}
