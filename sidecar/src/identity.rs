//! A verified identity, ready to be injected: header values are built once per token and cloned per request.

use http::HeaderValue;
use kyros_shared_config::{TenantScope, crypto::sha256};

use crate::{answer::Refusal, limits::Count, trace::Hex, upstream::Lane};

/// What one verified tenant token puts into a request.
pub(crate) struct Identity {
    pub(crate) scope: TenantScope,
    pub(crate) authorization: HeaderValue,
    pub(crate) tenant: HeaderValue,
    pub(crate) dashboard: HeaderValue,
    pub(crate) user: HeaderValue,
    pub(crate) email: Option<HeaderValue>,
    pub(crate) roles: HeaderValue,
    pub(crate) session: HeaderValue,
    /// The person in access lines: a digest, the same for all requests of one.
    pub(crate) user_digest: Hex<16>,
    /// Who may frame the dashboard, where that is more than the portal.
    pub(crate) frame_ancestors: Option<HeaderValue>,
    /// The tenant's requests under way.
    pub(crate) in_flight: Count,
    /// The tenant's own connections to the dashboard.
    pub(crate) lane: Lane,
}

impl Identity {
    /// A claim that does not fit a header (a line break, say) makes the token invalid.
    pub(crate) fn new(scope: TenantScope, token: &str) -> Result<Self, Refusal> {
        let value = |text: &str| HeaderValue::from_str(text).map_err(|_| Refusal::UNAUTHORIZED);
        let mut authorization = value(&format!("Bearer {token}"))?;
        authorization.set_sensitive(true);
        Ok(Self {
            authorization,
            tenant: value(scope.tenant().as_str())?,
            dashboard: value(scope.dashboard().as_str())?,
            user: value(scope.subject())?,
            email: scope.email().map(value).transpose()?,
            roles: value(&scope.roles().join(","))?,
            session: value(scope.session())?,
            user_digest: Hex::of(&sha256(scope.subject().as_bytes())),
            frame_ancestors: None,
            in_flight: Count::new(),
            lane: Lane::of(scope.tenant()),
            scope,
        })
    }
}
