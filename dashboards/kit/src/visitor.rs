//! Who asks, as the sidecar says it.

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, HeaderValue, StatusCode, header, request::Parts},
};

/// The person and tenant of one request. The headers come from the sidecar, which lets no client write them.
#[derive(Clone)]
pub struct Visitor {
    /// The tenant's id, for captions and cache keys; what may be read is decided by the API.
    pub tenant: String,
    /// The person's e-mail address or subject, for display.
    pub person: String,
    pub(crate) session: Option<HeaderValue>,
    pub(crate) authorization: HeaderValue,
}

impl<S: Send + Sync> FromRequestParts<S> for Visitor {
    type Rejection = (StatusCode, &'static str);

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Self::of(&parts.headers)
            .ok_or((StatusCode::UNAUTHORIZED, "this dashboard answers only through its Kyros sidecar\n"))
    }
}

impl Visitor {
    fn of(headers: &HeaderMap) -> Option<Self> {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        Some(Self {
            tenant: text("x-kyros-tenant")?,
            person: text("x-kyros-email").or_else(|| text("x-kyros-user"))?,
            session: headers.get("x-kyros-session").cloned(),
            authorization: headers.get(header::AUTHORIZATION).cloned()?,
        })
    }
}
