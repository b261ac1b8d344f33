//! Errors in the form that OAuth clients know (RFC 6749, section 5.2).

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use kyros_shared_config::crypto::random_id;
use serde::Serialize;

use crate::reply::json_no_store;

/// An OAuth error.
#[derive(Debug, Clone)]
pub(crate) struct OAuthError {
    pub(crate) status: StatusCode,
    pub(crate) code: &'static str,
    pub(crate) description: &'static str,
    /// The decision, as the audit has it.
    pub(crate) decision: String,
}

#[derive(Serialize)]
struct Body<'a> {
    error: &'a str,
    error_description: &'a str,
}

impl OAuthError {
    fn new(status: StatusCode, code: &'static str, description: &'static str) -> Self {
        Self { status, code, description, decision: random_id() }
    }

    pub(crate) fn invalid_request(description: &'static str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request", description)
    }

    pub(crate) fn invalid_grant() -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "invalid_grant",
            "the code or session is unknown, used, expired or not yours",
        )
    }

    /// RFC 6749, section 5.2.
    pub(crate) fn invalid_client() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "invalid_client", "the workload's own token is missing or invalid")
    }

    pub(crate) fn unsupported_grant_type() -> Self {
        Self::new(StatusCode::BAD_REQUEST, "unsupported_grant_type", "this grant type is not served here")
    }

    /// RFC 8693, section 2.2.2. The same words for a tenant that does not exist and for one that is not yours.
    pub(crate) fn invalid_target() -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_target", "this tenant and dashboard are not open to you")
    }

    /// RFC 6749, section 4.1.2.1: not a verdict, ask again.
    pub(crate) fn temporarily_unavailable() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable", "grants are not certain now, ask again")
    }

    pub(crate) fn server_error(error: &dyn std::fmt::Display) -> Self {
        let reply = Self::new(StatusCode::INTERNAL_SERVER_ERROR, "server_error", "something went wrong on our side");
        tracing::error!(decision = reply.decision, %error, "oauth");
        reply
    }
}

impl IntoResponse for OAuthError {
    fn into_response(self) -> Response {
        let mut response = json_no_store(self.status, &Body { error: self.code, error_description: self.description });
        if let Ok(id) = HeaderValue::from_str(&self.decision) {
            response.headers_mut().insert(kyros_shared_config::headers::REQUEST_ID, id);
        }
        if self.status == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static(r#"Bearer realm="kyros", error="invalid_token""#);
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}
