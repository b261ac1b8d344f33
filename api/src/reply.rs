//! Answers: problems for programs, pages for people, and the decision id that both carry.

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
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
