//! Who asks, and by what right: a Bearer token or a session's cookie becomes an identity, or nothing does.

use std::{sync::Arc, time::Instant};

use http::{HeaderMap, Method, header, request::Parts};
use kyros_shared_config::{
    DashboardHost, DashboardSlug, KeyRing, PublicUrl, TenantId, TenantVerifier, clock::unix_now, verifier::VerifyError,
};

use crate::{
    SidecarSettings,
    answer::Refusal,
    api_client::ApiClient,
    authority::Authority,
    cookies,
    egress::{Egress, Expected},
    identity::Identity,
    known_tokens::KnownTokens,
    limits::InFlight,
    login::Login,
    metrics::Metrics,
    probe::Exposure,
    revocations::Revocations,
    sessions::Sessions,
    sidecar::SidecarError,
    upstream::{RESTED, Upstream, UpstreamAddress},
};

/// One dashboard, and what is needed to decide who may reach it.
pub(crate) struct Guarded {
    pub(crate) settings: SidecarSettings,
    pub(crate) keys: Arc<KeyRing>,
    verifier: Arc<TenantVerifier>,
    bearer: KnownTokens,
    pub(crate) api: Option<Arc<ApiClient>>,
    pub(crate) sessions: Option<Arc<Sessions>>,
    pub(crate) revocations: Revocations,
    pub(crate) upstream: Upstream,
    pub(crate) exposure: Option<Exposure>,
    pub(crate) in_flight: InFlight,
}

impl Guarded {
    pub(crate) fn new(settings: SidecarSettings) -> Result<Self, SidecarError> {
        let keys = Arc::new(KeyRing::new(settings.jwks.clone())?);
        let verifier =
            Arc::new(TenantVerifier::for_dashboard(settings.issuer.clone(), keys.clone(), settings.dashboard.clone()));
        let revocations = Revocations::default();
        let api = settings
            .api_url
            .clone()
            .map(|url| ApiClient::new(url, settings.workload_token.clone()).map(Arc::new))
            .transpose()?;
        let portal = settings.public_url.as_ref().map(PublicUrl::origin);
        let sessions =
            api.clone().map(|api| Arc::new(Sessions::new(api, verifier.clone(), revocations.clone(), portal)));
        Ok(Self {
            exposure: Exposure::of(&settings),
            upstream: Upstream::rested(settings.upstream.clone(), settings.upstream_timeout, RESTED),
            bearer: KnownTokens::new(),
            in_flight: InFlight::new(settings.limits),
            settings,
            keys,
            verifier,
            api,
            sessions,
            revocations,
        })
    }

    /// Who asks, and by what right. A Bearer token counts before a cookie; both at once are no contradiction, since a
    /// dashboard's own JavaScript may send either.
    pub(crate) async fn authenticate(
        &self,
        parts: &Parts,
        host: Option<&DashboardHost>,
        login: Option<&Login>,
        public_url: Option<&PublicUrl>,
        metrics: &Metrics,
        now: Instant,
    ) -> Result<(Arc<Identity>, Authority), Refusal> {
        if let Some(token) = bearer_token(&parts.headers)? {
            let identity = self.bearer_identity(token, metrics, now).await?;
            self.check_tenant(&identity, host)?;
            return Ok((identity.clone(), Authority::Bearer(identity)));
        }
        let (Some(login), Some(sessions)) = (login, &self.sessions) else { return Err(Refusal::UNAUTHORIZED) };
        let handle = cookies::value_of(&parts.headers, login.cookies().app)?.ok_or(Refusal::UNAUTHORIZED)?;
        check_same_origin(parts, host, public_url)?;
        let session = Box::pin(sessions.by_handle(handle)).await?;
        let identity = Box::pin(sessions.fresh(&session)).await?;
        self.check_tenant(&identity, host)?;
        Ok((identity, Authority::Session { session, sessions: sessions.clone() }))
    }

    async fn bearer_identity(&self, token: &str, metrics: &Metrics, now: Instant) -> Result<Arc<Identity>, Refusal> {
        if self.api.is_some() && !self.revocations.is_informed() {
            return Err(Refusal::NO_KEYS);
        }
        let known = self.bearer.get(token, &self.keys, now);
        metrics.cache(known.is_some());
        let identity = if let Some(identity) = known {
            identity
        } else {
            // Boxed: hardly any request comes here, and its state would be moved with every one.
            let (scope, keys) = match Box::pin(self.verifier.verify_refreshing_with_keys(token)).await {
                Ok(verified) => verified,
                Err(VerifyError::UnknownKey) if !self.keys.is_ready() => return Err(Refusal::NO_KEYS),
                Err(error) => {
                    tracing::debug!(reason = error.reason(), "token refused");
                    return Err(Refusal::UNAUTHORIZED);
                }
            };
            let identity = Arc::new(Identity::new(scope, token)?);
            self.bearer.insert(token, identity.clone(), keys, now);
            identity
        };
        let scope = &identity.scope;
        if scope.expires_at() <= unix_now() || self.revocations.is_revoked(scope) {
            self.bearer.remove(token);
            return Err(Refusal::UNAUTHORIZED);
        }
        Ok(identity)
    }

    /// Another tenant's host, and another tenant's token at a pinned sidecar, are as good as no token.
    fn check_tenant(&self, identity: &Identity, host: Option<&DashboardHost>) -> Result<(), Refusal> {
        let tenant: &TenantId = identity.scope.tenant();
        let other_host = host.is_some_and(|host| host.tenant != *tenant);
        let other_pin = self.settings.tenant.as_ref().is_some_and(|pinned| pinned != tenant);
        if other_host || other_pin { Err(Refusal::UNAUTHORIZED) } else { Ok(()) }
    }

    pub(crate) fn egress(&self) -> Option<Egress> {
        let api = self.settings.api_url.as_ref()?;
        let address = UpstreamAddress::Tcp(format!("{}:{}", api.host_str()?, api.port_or_known_default()?));
        Some(Egress::new(
            Upstream::new(address, self.settings.upstream_timeout),
            self.sessions.clone(),
            self.verifier.clone(),
            self.revocations.clone(),
            Expected {
                issuer: self.settings.issuer.clone(),
                dashboard: self.settings.dashboard.clone(),
                tenant: self.settings.tenant.clone(),
            },
        ))
    }

    pub(crate) fn dashboard(&self) -> &DashboardSlug {
        &self.settings.dashboard
    }
}

/// A cookie is sent along by whoever makes the browser ask, also by a page on a sibling host: `SameSite` does not separate
/// hosts of one site. So what changes something, and every socket, must come from the dashboard's own pages.
pub(crate) fn check_same_origin(
    parts: &Parts,
    host: Option<&DashboardHost>,
    public_url: Option<&PublicUrl>,
) -> Result<(), Refusal> {
    let (Some(host), Some(public_url)) = (host, public_url) else { return Err(Refusal::FORBIDDEN_ORIGIN) };
    let safe = matches!(parts.method, Method::GET | Method::HEAD | Method::OPTIONS);
    let text = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
    if !safe || parts.headers.contains_key(header::UPGRADE) {
        let own = public_url.dashboard_origin(host);
        return if text("origin") == Some(&own) { Ok(()) } else { Err(Refusal::FORBIDDEN_ORIGIN) };
    }
    match text("sec-fetch-site") {
        Some("same-site" | "cross-site") if text("sec-fetch-mode") != Some("navigate") => {
            Err(Refusal::FORBIDDEN_ORIGIN)
        }
        _ => Ok(()),
    }
}

/// The one Bearer token of a request. Two `Authorization` headers, or another scheme, are refused rather than sorted out.
pub(crate) fn bearer_token(headers: &HeaderMap) -> Result<Option<&str>, Refusal> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Refusal::bad_request("authorization", "More than one Authorization header"));
    }
    // Looks at many bytes at once, which `HeaderValue::to_str` does not. What is no token is nobody's, whatever letters it has.
    let text = std::str::from_utf8(value.as_bytes()).ok();
    let (scheme, token) = text.and_then(|text| text.split_once(' ')).ok_or(Refusal::UNAUTHORIZED)?;
    if scheme.eq_ignore_ascii_case("bearer") { Ok(Some(token)) } else { Err(Refusal::UNAUTHORIZED) }
}
