//! App sessions: from the cookie's handle to a verified tenant token, renewed before anybody notices.
//!
//! Nothing is stored: an unknown handle is shown to the API once (single flight), and the API's answer is verified here
//! like any other token.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use http::HeaderValue;
use kyros_shared_config::{Secret, TenantId, TenantVerifier, WebOrigin, clock::unix_now, crypto::sha256};
use moka::future::Cache;

use crate::{
    answer::Refusal,
    api_client::{ApiClient, ApiError, Granted},
    identity::Identity,
    revocations::Revocations,
};

/// Renewal starts this long before the token expires, in seconds.
pub(crate) const RENEW_BEFORE: i64 = 40;
/// Requests begin a renewal no more often than this, in seconds.
const RENEW_PAUSE: i64 = 3;
/// Sessions kept; an evicted one is looked up again from its cookie.
const CAPACITY: u64 = 20_000;
/// A session that nobody used for this long is forgotten here (not ended).
const IDLE: Duration = Duration::from_mins(15);

/// One person's session with this dashboard.
pub(crate) struct AppSession {
    handle: Secret<String>,
    current: ArcSwap<Identity>,
    renewing: tokio::sync::Mutex<()>,
    /// When the API was last asked in vain: whoever queued before that takes the same answer.
    failed_at: Mutex<Option<Instant>>,
    /// When a renewal was last begun in the background, in Unix seconds.
    begun_at: AtomicI64,
}

impl AppSession {
    /// The newest identity, which may have expired.
    pub(crate) fn current(&self) -> Arc<Identity> {
        self.current.load_full()
    }

    fn failed_at(&self) -> Option<Instant> {
        *self.failed_at.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a handle gives no identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoIdentity {
    /// It is unknown, ended or taken back.
    Refused,
    /// Nobody can say right now.
    Unavailable,
}

impl From<NoIdentity> for Refusal {
    fn from(reason: NoIdentity) -> Self {
        match reason {
            NoIdentity::Refused => Self::UNAUTHORIZED,
            NoIdentity::Unavailable => Self::API_DOWN,
        }
    }
}

/// All sessions of this sidecar.
pub(crate) struct Sessions {
    api: Arc<ApiClient>,
    verifier: Arc<TenantVerifier>,
    revocations: Revocations,
    /// The portal's origin, which may always frame a dashboard.
    portal: Option<String>,
    by_handle: Cache<[u8; 32], Arc<AppSession>>,
    by_id: Cache<String, Arc<AppSession>>,
}

impl Sessions {
    pub(crate) fn new(
        api: Arc<ApiClient>,
        verifier: Arc<TenantVerifier>,
        revocations: Revocations,
        portal: Option<String>,
    ) -> Self {
        let by_handle = Cache::builder().max_capacity(CAPACITY).time_to_idle(IDLE).build();
        let by_id = Cache::builder().max_capacity(CAPACITY).time_to_idle(IDLE).build();
        Self { api, verifier, revocations, portal, by_handle, by_id }
    }

    /// The session of a cookie. One question to the API per unknown handle, however many requests bring it.
    pub(crate) async fn by_handle(&self, handle: &str) -> Result<Arc<AppSession>, NoIdentity> {
        let key = sha256(handle.as_bytes());
        let session = self
            .by_handle
            .try_get_with(key, async {
                let handle = Secret::new(handle.to_owned());
                let identity = self.identity_of(self.api.renew(&handle).await).await?;
                Ok(self.remember(handle, identity).await)
            })
            .await
            .map_err(|reason: Arc<NoIdentity>| *reason)?;
        Ok(session)
    }

    /// The session that a dashboard names by its opaque id.
    pub(crate) async fn by_id(&self, id: &str) -> Option<Arc<AppSession>> {
        self.by_id.get(id).await
    }

    /// Takes up a session that has just been made by redeeming a code on a tenant's host. Returns the cookie's handle.
    pub(crate) async fn adopt(&self, granted: Granted, tenant: &TenantId) -> Result<Secret<String>, NoIdentity> {
        let handle = Secret::new(granted.refresh_token.clone().ok_or(NoIdentity::Unavailable)?);
        let identity = self.identity_of(Ok(granted)).await?;
        if identity.scope.tenant() != tenant {
            tracing::error!("the API answered with another tenant's token");
            return Err(NoIdentity::Refused);
        }
        let session = self.remember(handle.clone(), identity).await;
        self.by_handle.insert(sha256(handle.expose().as_bytes()), session).await;
        Ok(handle)
    }

    async fn remember(&self, handle: Secret<String>, identity: Identity) -> Arc<AppSession> {
        let id = identity.scope.session().to_owned();
        let session = Arc::new(AppSession {
            handle,
            current: ArcSwap::from_pointee(identity),
            renewing: tokio::sync::Mutex::default(),
            failed_at: Mutex::default(),
            begun_at: AtomicI64::new(0),
        });
        self.by_id.insert(id, session.clone()).await;
        session
    }

    /// An identity that is valid now. Renews in the background while the old token still serves.
    pub(crate) async fn fresh(self: &Arc<Self>, session: &Arc<AppSession>) -> Result<Arc<Identity>, NoIdentity> {
        let current = session.current();
        if self.revocations.is_revoked(&current.scope) {
            return self.renew(session).await;
        }
        let now = unix_now();
        let left = current.scope.expires_at() - now;
        if left > RENEW_BEFORE {
            return Ok(current);
        }
        if left <= 0 {
            return self.renew(session).await;
        }
        // Towards the end of the session new tokens live no longer than the old one: asking for one per request would help
        // nobody.
        let begun = session.begun_at.load(Ordering::Relaxed);
        if now - begun >= RENEW_PAUSE
            && session.begun_at.compare_exchange(begun, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        {
            let (sessions, session) = (self.clone(), session.clone());
            tokio::spawn(async move { sessions.renew(&session).await });
        }
        Ok(current)
    }

    /// Asks the API for a new token, once however many wait. When it cannot be asked, the old token serves to its end.
    pub(crate) async fn renew(&self, session: &Arc<AppSession>) -> Result<Arc<Identity>, NoIdentity> {
        let (before, asked) = (session.current(), Instant::now());
        let _turn = session.renewing.lock().await;
        let current = session.current();
        if session.failed_at().is_some_and(|failed| failed >= asked) {
            return self.without_answer(&current);
        }
        if current.scope.token_id() != before.scope.token_id() && !self.revocations.is_revoked(&current.scope) {
            return Ok(current);
        }
        match self.identity_of(self.api.renew(&session.handle).await).await {
            Ok(identity) if identity.scope.session() == current.scope.session() => {
                session.current.store(Arc::new(identity));
                // A session with an open socket and no request stays known by both its names.
                self.by_handle.insert(sha256(session.handle.expose().as_bytes()), session.clone()).await;
                self.by_id.insert(current.scope.session().to_owned(), session.clone()).await;
                Ok(session.current())
            }
            Ok(_) | Err(NoIdentity::Refused) => {
                self.forget(session).await;
                Err(NoIdentity::Refused)
            }
            Err(NoIdentity::Unavailable) => {
                *session.failed_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
                self.without_answer(&current)
            }
        }
    }

    /// The old token serves to its end, unless it was taken back.
    fn without_answer(&self, current: &Arc<Identity>) -> Result<Arc<Identity>, NoIdentity> {
        let usable = current.scope.expires_at() > unix_now() && !self.revocations.is_revoked(&current.scope);
        if usable { Ok(current.clone()) } else { Err(NoIdentity::Unavailable) }
    }

    async fn forget(&self, session: &AppSession) {
        self.by_handle.invalidate(&sha256(session.handle.expose().as_bytes())).await;
        self.by_id.invalidate(session.current().scope.session()).await;
    }

    async fn identity_of(&self, granted: Result<Granted, ApiError>) -> Result<Identity, NoIdentity> {
        let granted = granted.map_err(|error| {
            tracing::debug!(%error, "no token from the API");
            match error {
                ApiError::Refused(_) => NoIdentity::Refused,
                ApiError::Unavailable(_) => NoIdentity::Unavailable,
            }
        })?;
        let scope = self.verifier.verify_refreshing(&granted.access_token).await.map_err(|error| {
            tracing::warn!(%error, "the API's token does not verify");
            NoIdentity::Unavailable
        })?;
        if self.revocations.is_revoked(&scope) {
            return Err(NoIdentity::Refused);
        }
        let mut identity = Identity::new(scope, &granted.access_token).map_err(|_| NoIdentity::Refused)?;
        identity.frame_ancestors = frame_ancestors(self.portal.as_deref(), &granted.frame_ancestors);
        Ok(identity)
    }
}

/// The policy for a tenant that lets more than the portal frame its dashboards (CSP Level 3, section 6.4.2); `None` for all
/// others.
fn frame_ancestors(portal: Option<&str>, origins: &[WebOrigin]) -> Option<HeaderValue> {
    if origins.is_empty() {
        return None;
    }
    let policy = portal.into_iter().map(str::to_owned).chain(origins.iter().map(WebOrigin::to_string));
    HeaderValue::from_str(&format!("frame-ancestors {}", policy.collect::<Vec<_>>().join(" "))).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenants_own_pages_may_frame_its_dashboards_beside_the_portal() {
        let origins = ["https://intranet.acme.example".parse().unwrap()];
        let policy = frame_ancestors(Some("https://kyros.example"), &origins).unwrap();
        assert_eq!(policy, "frame-ancestors https://kyros.example https://intranet.acme.example");
        assert_eq!(frame_ancestors(Some("https://kyros.example"), &[]), None);
    }
}
