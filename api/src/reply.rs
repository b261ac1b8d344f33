//! Answers: problems for programs, pages for people, and the decision id that both carry.

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use kyros_shared_config::{Problem, crypto::random_id, problem::Detail};

/// A problem document as an axum response.
#[derive(Debug)]
pub(crate) struct ProblemReply(pub(crate) Problem);

impl IntoResponse for ProblemReply {
    fn into_response(self) -> Response {
        tracing::info!(decision = self.decision(), status = self.0.status, kind = self.0.kind, "refused");
        self.0.into_response::<Vec<u8>>().map(Body::from)
    }
}

impl ProblemReply {
    pub(crate) fn unauthorized() -> Self {
        Self(Problem::unauthorized(&random_id()))
    }

    pub(crate) fn not_found() -> Self {
        Self(Problem::not_found(&random_id()))
    }

    pub(crate) fn of(status: StatusCode, code: &str, title: &str) -> Self {
        Self(Problem::new(status, code, title, &random_id()))
    }

    pub(crate) fn with_errors(self, errors: Vec<Detail>) -> Self {
        Self(self.0.with_errors(errors))
    }

    pub(crate) fn with_detail(self, detail: impl Into<String>) -> Self {
        Self(self.0.with_detail(detail))
    }

    /// Our own fault. The cause goes to the log under the decision's id, not to the asker.
    pub(crate) fn internal(error: &dyn std::fmt::Display) -> Self {
        let decision = random_id();
        tracing::error!(decision, %error, "internal error");
        Self(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "Something went wrong on our side", &decision))
    }

    /// Try again later.
    pub(crate) fn unavailable(code: &str, title: &str) -> Self {
        Self::of(StatusCode::SERVICE_UNAVAILABLE, code, title)
    }

    /// The id under which the log, and the audit where it is a matter of access, have this answer.
    pub(crate) fn decision(&self) -> &str {
        self.0.instance.strip_prefix("urn:kyros:decision:").unwrap_or_default()
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
