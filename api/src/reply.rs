//! Answers: problems for programs, pages for people, and the decision id that both carry.

use axum::{
    body::Body,
    extract::Request,
    http::{HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use kyros_shared_config::{Problem, crypto::random_id, problem::Detail};

/// A problem document as an axum response.
#[derive(Debug)]
pub(crate) struct ProblemReply {
    problem: Problem,
    /// In seconds.
    retry_after: Option<u64>,
}

impl IntoResponse for ProblemReply {
    fn into_response(self) -> Response {
        let Self { problem, retry_after } = self;
        tracing::info!(decision = problem.decision(), status = problem.status, kind = problem.kind, "refused");
        let mut response = problem.into_response::<Vec<u8>>().map(Body::from);
        if let Some(seconds) = retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl ProblemReply {
    pub(crate) fn unauthorized() -> Self {
        Problem::unauthorized(&random_id()).into()
    }

    pub(crate) fn not_found() -> Self {
        Problem::not_found(&random_id()).into()
    }

    pub(crate) fn of(status: StatusCode, code: &str, title: &str) -> Self {
        Problem::new(status, code, title, &random_id()).into()
    }

    pub(crate) fn with_errors(self, errors: Vec<Detail>) -> Self {
        Self { problem: self.problem.with_errors(errors), ..self }
    }

    pub(crate) fn with_detail(self, detail: impl Into<String>) -> Self {
        Self { problem: self.problem.with_detail(detail), ..self }
    }

    /// Our own fault. The cause goes to the log under the decision's id, not to the asker.
    pub(crate) fn internal(error: &dyn std::fmt::Display) -> Self {
        let decision = random_id();
        tracing::error!(decision, %error, "internal error");
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "Something went wrong on our side", &decision)
            .into()
    }

    /// Try again later.
    pub(crate) fn unavailable(code: &str, title: &str) -> Self {
        Self::of(StatusCode::SERVICE_UNAVAILABLE, code, title)
    }

    /// The id under which the log, and the audit where it is a matter of access, have this answer.
    pub(crate) fn decision(&self) -> &str {
        self.problem.decision()
    }

    /// Says when to come again (RFC 9110, section 10.2.3).
    pub(crate) fn retry_after(self, seconds: u64) -> Self {
        Self { retry_after: Some(seconds), ..self }
    }
}

impl From<Problem> for ProblemReply {
    fn from(problem: Problem) -> Self {
        Self { problem, retry_after: None }
    }
}

/// A JSON answer that nobody stores.
pub(crate) fn json_no_store(status: StatusCode, body: &impl serde::Serialize) -> Response {
    let bytes = serde_json::to_vec(body).unwrap_or_default();
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    ];
    (status, headers, bytes).into_response()
}

/// Where programs ask.
const FOR_PROGRAMS: &str = "/api/";

/// What the framework refuses by itself, in a word or with nothing, becomes a problem document like every other refusal that
/// programs are told (RFC 9457).
pub(crate) async fn in_problems(request: Request, next: Next) -> Response {
    let is_for_programs = request.uri().path().starts_with(FOR_PROGRAMS);
    let refused = next.run(request).await;
    let status = refused.status();
    let kind = refused.headers().get(header::CONTENT_TYPE);
    let says_nothing = kind.is_none_or(|kind| kind.as_bytes().starts_with(b"text/plain"));
    if !is_for_programs || !says_nothing || !(status.is_client_error() || status.is_server_error()) {
        return refused;
    }
    let (code, title) = match status {
        StatusCode::METHOD_NOT_ALLOWED => ("method", "The method is not allowed here"),
        StatusCode::PAYLOAD_TOO_LARGE => ("too-large", "The body is too large"),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => ("media-type", "The body's type is not taken here"),
        _ => ("malformed", "The request cannot be read"),
    };
    let mut problem = ProblemReply::of(status, code, title).into_response();
    if let Some(allowed) = refused.headers().get(header::ALLOW) {
        problem.headers_mut().insert(header::ALLOW, allowed.clone());
    }
    problem
}

#[cfg(test)]
mod tests {
    use axum::{Router, extract::Path, middleware::from_fn, routing::get};
    use tower::ServiceExt as _;

    use super::*;

    #[tokio::test]
    async fn what_the_framework_refuses_is_a_problem_too() {
        let named = get(async |Path(name): Path<String>| name);
        let router = Router::new().route("/api/{name}", named.clone()).route("/people/{name}", named);
        let router = router.layer(from_fn(in_problems));
        for (method, path, status, kind) in [
            ("GET", "/api/%ff", 400, Some("application/problem+json")),
            ("POST", "/api/name", 405, Some("application/problem+json")),
            ("GET", "/api/name", 200, Some("text/plain; charset=utf-8")),
            ("POST", "/people/name", 405, None),
        ] {
            let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
            let answer = router.clone().oneshot(request).await.unwrap();
            let found = answer.headers().get(header::CONTENT_TYPE).map(|kind| kind.to_str().unwrap());
            assert_eq!((answer.status().as_u16(), found), (status, kind), "{method} {path}");
            assert_eq!(answer.headers().contains_key(header::ALLOW), status == 405);
        }
    }
}
