//! The sidecar role: every request through the gate, to an identity, to the dashboard, in this order and no other.

use std::{net::IpAddr, pin::Pin, sync::Arc, time::Duration};

use http::{HeaderMap, HeaderValue, Method, Request, Response, header, request::Parts};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use kyros_http_server::{
    ConnectionSlot, Limits, PeerAddr,
    admin::{Operations, Probe},
};
use kyros_shared_config::{
    DashboardHost, DashboardSlug, KeyRing, TenantId, TenantVerifier,
    clock::unix_now,
    crypto::{random_id, sha256},
    headers::{self, CALLBACK_PATH, SIDECAR_PREFIX},
    key_ring::KeyRingError,
    public_url::Site,
    verifier::VerifyError,
};
use moka::sync::Cache;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    SidecarSettings,
    answer::{Body, Refusal, is_framed, is_navigation},
    api_client::ApiClient,
    authority::Authority,
    cookies,
    egress::Egress,
    forward::{self, Upstream},
    gate::{self, Passed},
    header_rules::{self, Origin},
    identity::Identity,
    login::Login,
    metrics::Metrics,
    probe::{self, Exposure},
    revocations::Revocations,
    sessions::Sessions,
    tunnel,
};

/// Verified Bearer tokens kept, so that a client's next request costs no signature check.
const BEARER_CACHE: u64 = 10_000;
/// Kept no longer than this, so that a retired key stops working soon.
const BEARER_CACHE_LIFE: Duration = Duration::from_mins(1);

/// How often the sealing key is asked for again.
const SEALING_KEY_EVERY: Duration = Duration::from_mins(5);
/// How soon after a failure.
const RETRY: Duration = Duration::from_millis(500);

/// Why a sidecar does not start.
#[derive(Debug, Error)]
pub enum SidecarError {
    /// The keys' file or address is wrong.
    #[error(transparent)]
    Keys(#[from] KeyRingError),
    /// No HTTP client could be made.
    #[error("http client: {0}")]
    Client(#[from] reqwest::Error),
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: std::net::SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
}

/// The sockets that a sidecar serves, bound before it starts so that a taken port is an error and not a surprise.
pub struct Listeners {
    /// Browsers' requests.
    pub public: TcpListener,
    /// The dashboard's own requests to the data API.
    pub egress: Option<TcpListener>,
    /// Operations.
    pub admin: Option<TcpListener>,
}

impl Listeners {
    /// Binds what the settings name.
    pub async fn bind(settings: &SidecarSettings) -> Result<Self, SidecarError> {
        let bind = |address| async move {
            TcpListener::bind(address).await.map_err(|source| SidecarError::Listen { address, source })
        };
        let optional = |address: Option<std::net::SocketAddr>| async move {
            match address {
                Some(address) => bind(address).await.map(Some),
                None => Ok(None),
            }
        };
        Ok(Self {
            public: bind(settings.listen).await?,
            egress: optional(settings.egress_listen).await?,
            admin: optional(settings.admin_listen).await?,
        })
    }
}

/// One dashboard's guard.
pub struct Sidecar {
    /// `None` for the gateway's decoy, which guards nothing and therefore lets nothing through.
    guarded: Option<Guarded>,
    login: Option<Login>,
    public_url: Option<kyros_shared_config::PublicUrl>,
    frame_ancestors: HeaderValue,
    draining: CancellationToken,
    tunnels: TaskTracker,
    metrics: Metrics,
}

/// A socket that is about to be opened.
struct Tunnel {
    client: hyper::upgrade::OnUpgrade,
    slot: Option<ConnectionSlot>,
    ended: Pin<Box<dyn Future<Output = ()> + Send>>,
}

struct Guarded {
    settings: SidecarSettings,
    keys: Arc<KeyRing>,
    verifier: Arc<TenantVerifier>,
    bearer: Cache<[u8; 32], Arc<Identity>>,
    api: Option<Arc<ApiClient>>,
    sessions: Option<Arc<Sessions>>,
    revocations: Revocations,
    upstream: Upstream,
    exposure: Option<Exposure>,
}

impl Sidecar {
    /// A sidecar for the dashboard that the settings name.
    pub fn new(settings: SidecarSettings) -> Result<Self, SidecarError> {
        let keys = Arc::new(KeyRing::new(settings.jwks.clone())?);
        let verifier =
            Arc::new(TenantVerifier::for_dashboard(settings.issuer.clone(), keys.clone(), settings.dashboard.clone()));
        let revocations = Revocations::default();
        let api = settings
            .api_url
            .clone()
            .map(|url| ApiClient::new(url, settings.workload_token.clone()).map(Arc::new))
            .transpose()?;
        let sessions = api.clone().map(|api| Arc::new(Sessions::new(api, verifier.clone(), revocations.clone())));
        let public_url = settings.public_url.clone();
        let guarded = Guarded {
            exposure: Exposure::of(&settings),
            upstream: Upstream::new(settings.upstream_timeout),
            bearer: Cache::builder().max_capacity(BEARER_CACHE).time_to_live(BEARER_CACHE_LIFE).build(),
            settings,
            keys,
            verifier,
            api,
            sessions,
            revocations,
        };
        let login = public_url.clone().map(if guarded.api.is_some() { Login::shared } else { Login::alone });
        Ok(Self::with(Some(guarded), public_url, login))
    }

    /// Answers for hosts that name nothing, exactly as a sidecar answers somebody who is not signed in.
    pub(crate) fn decoy(public_url: kyros_shared_config::PublicUrl) -> Self {
        let login = Login::alone(public_url.clone());
        Self::with(None, Some(public_url), Some(login))
    }

    fn with(
        guarded: Option<Guarded>,
        public_url: Option<kyros_shared_config::PublicUrl>,
        login: Option<Login>,
    ) -> Self {
        let ancestors = public_url.as_ref().map_or_else(|| "'none'".to_owned(), kyros_shared_config::PublicUrl::origin);
        let policy = format!("frame-ancestors {ancestors}");
        Self {
            guarded,
            login,
            public_url,
            frame_ancestors: HeaderValue::from_str(&policy)
                .unwrap_or(HeaderValue::from_static("frame-ancestors 'none'")),
            draining: CancellationToken::new(),
            tunnels: TaskTracker::new(),
            metrics: Metrics::new(),
        }
    }

    /// Serves until `shutdown`; then sockets are closed with 1012 and what is in flight is answered.
    pub async fn serve(self: Arc<Self>, listeners: Listeners, shutdown: CancellationToken) {
        let background = CancellationToken::new();
        let _stop_background = background.clone().drop_guard();
        if let Some(guarded) = &self.guarded {
            spawn_until(&background, guarded.keys.clone().keep_fresh());
            if let Some(api) = guarded.api.clone() {
                let revocations = guarded.revocations.clone();
                spawn_until(&background, async move { api.follow_revocations(&revocations).await });
            }
            if let (Some(api), Some(_)) = (guarded.api.clone(), &self.login) {
                let sidecar = self.clone();
                spawn_until(&background, async move { sidecar.keep_sealing_key(&api).await });
            }
            if let Some(exposure) = &guarded.exposure {
                spawn_until(&background, exposure.clone().watch());
            }
            if let (Some(listener), Some(egress)) = (listeners.egress, guarded.egress()) {
                tokio::spawn(egress.serve(listener, shutdown.clone()));
            }
        }
        if let Some(listener) = listeners.admin {
            tokio::spawn(kyros_http_server::admin::serve_admin(listener, self.clone(), shutdown.clone()));
        }
        let drain = self.guarded.as_ref().map_or(Duration::from_secs(1), |guarded| guarded.settings.drain);
        let (draining, stop) = (self.draining.clone(), shutdown.clone());
        tokio::spawn(async move {
            stop.cancelled().await;
            draining.cancel();
        });
        let tunnels = self.tunnels.clone();
        let limits = Limits { drain, ..Limits::default() };
        let service = move |request| {
            let sidecar = self.clone();
            async move { sidecar.handle(request).await }
        };
        kyros_http_server::serve(listeners.public, limits, service, shutdown).await;
        // Upgraded connections are no longer the server's: their goodbyes are waited for here.
        tunnels.close();
        if tokio::time::timeout(drain, tunnels.wait()).await.is_err() {
            tracing::warn!(sockets = tunnels.len(), "drain deadline passed, cutting sockets off");
        }
    }

    /// All sidecars of a workload use the key that the API derives for it; it is asked for again now and then, for an API
    /// that began anew.
    async fn keep_sealing_key(&self, api: &ApiClient) {
        let Some(login) = &self.login else { return };
        loop {
            match api.sealing_key().await {
                Ok(key) if login.use_key(key.expose()) => (),
                Ok(_) => tracing::warn!("the API's sealing key is no key"),
                Err(error) => tracing::debug!(%error, "no sealing key yet"),
            }
            tokio::time::sleep(if login.has_key() { SEALING_KEY_EVERY } else { RETRY }).await;
        }
    }

    async fn handle(&self, request: Request<Incoming>) -> Response<Body> {
        let (mut parts, body) = request.into_parts();
        match self.try_handle(&mut parts, body).await {
            Ok(response) => response,
            Err(refusal) => {
                self.metrics.refused(refusal.code);
                refusal.answer(&parts)
            }
        }
    }

    async fn try_handle(&self, parts: &mut Parts, body: Incoming) -> Result<Response<Body>, Refusal> {
        let passed = gate::check(parts)?;
        let host = self.host_of(parts)?;
        if let (Some(login), Some(host)) = (&self.login, &host)
            && parts.uri.path() == CALLBACK_PATH
            && parts.method == Method::GET
        {
            self.metrics.answered("callback");
            let backend = self.guarded.as_ref().and_then(|g| g.api.as_deref().zip(g.sessions.as_deref()));
            return Ok(login.finish(host, parts, backend).await);
        }
        if parts.uri.path().starts_with(SIDECAR_PREFIX) {
            return Err(Refusal::NOT_FOUND);
        }
        let authorised = match &self.guarded {
            Some(guarded) => {
                guarded.authenticate(parts, host.as_ref(), self.login.as_ref(), self.public_url.as_ref()).await
            }
            None => self.nobody(parts, host.as_ref()),
        };
        match (authorised, &self.guarded) {
            (Ok((identity, authority)), Some(guarded)) => {
                self.forward(guarded, parts, body, passed, &identity, authority).await
            }
            (Err(Refusal::UNAUTHORIZED), _) | (Ok(_), None) => self.sign_in_or_refuse(host.as_ref(), parts),
            (Err(refusal), _) => Err(refusal),
        }
    }

    /// The decoy reads credentials as a sidecar does, so that malformed ones get the same answer, and believes none.
    fn nobody(&self, parts: &Parts, host: Option<&DashboardHost>) -> Result<(Arc<Identity>, Authority), Refusal> {
        if bearer_token(&parts.headers)?.is_none()
            && let Some(login) = &self.login
            && cookies::value_of(&parts.headers, login.cookies().app)?.is_some()
        {
            check_same_origin(parts, host, self.public_url.as_ref())?;
        }
        Err(Refusal::UNAUTHORIZED)
    }

    /// Only a navigation is ever answered with a redirect: a script or a socket could do nothing with a login page.
    fn sign_in_or_refuse(&self, host: Option<&DashboardHost>, parts: &Parts) -> Result<Response<Body>, Refusal> {
        let may_redirect = parts.method == Method::GET && is_navigation(parts);
        match (&self.login, host) {
            (Some(login), Some(host)) if may_redirect && !parts.headers.contains_key(header::AUTHORIZATION) => {
                self.metrics.answered(if is_framed(parts) { "sign_in_framed" } else { "sign_in" });
                Ok(login.begin(host, parts))
            }
            _ => Err(Refusal::UNAUTHORIZED),
        }
    }

    /// The dashboard host that the request names; `None` where no public URL is known and hosts mean nothing.
    fn host_of(&self, parts: &Parts) -> Result<Option<DashboardHost>, Refusal> {
        let Some(public_url) = &self.public_url else { return Ok(None) };
        let host = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        match (public_url.site_of(host), &self.guarded) {
            (Site::Dashboard(host), Some(guarded)) if host.dashboard == guarded.settings.dashboard => Ok(Some(host)),
            (Site::Dashboard(host), None) => Ok(Some(host)),
            _ => Err(Refusal::new(http::StatusCode::MISDIRECTED_REQUEST, "host", "This host is not served here")),
        }
    }

    async fn forward(
        &self,
        guarded: &Guarded,
        parts: &mut Parts,
        body: Incoming,
        passed: Passed,
        identity: &Arc<Identity>,
        authority: Authority,
    ) -> Result<Response<Body>, Refusal> {
        let limit = guarded.settings.max_body_bytes;
        if passed.content_length.is_some_and(|length| length > limit) {
            return Err(Refusal::TOO_LARGE);
        }
        let request_id = random_id();
        let forwarded_for =
            guarded.settings.behind_gateway.then(|| parts.headers.get(headers::FORWARDED_FOR).cloned()).flatten();
        let slot = parts.extensions.remove::<ConnectionSlot>();
        let client_upgrade = passed.websocket.then(|| parts.extensions.remove::<hyper::upgrade::OnUpgrade>()).flatten();
        header_rules::strip_request(&mut parts.headers);
        let origin = Origin {
            peer: peer_of(parts),
            forwarded_for: forwarded_for.as_ref(),
            proto: self.public_url.as_ref().map_or("http", kyros_shared_config::PublicUrl::scheme),
            request_id: &request_id,
        };
        header_rules::inject(&mut parts.headers, identity, &origin);
        if passed.websocket {
            header_rules::inject_upgrade(&mut parts.headers);
        }
        let mut upstream_request = Request::new(forward::request_body(body, limit));
        *upstream_request.method_mut() = parts.method.clone();
        *upstream_request.uri_mut() = parts.uri.clone();
        *upstream_request.headers_mut() = parts.headers.clone();
        let response = guarded.upstream.send(&guarded.settings.upstream, upstream_request).await?;
        self.metrics.forwarded();
        let ended = authority.ended(guarded.revocations.clone());
        if forward::is_switching(&response) {
            let client = client_upgrade.ok_or(Refusal::UPSTREAM_BROKEN)?;
            let tunnel = Tunnel { client, slot, ended: Box::pin(ended) };
            return Ok(self.open_tunnel(tunnel, response, &request_id));
        }
        tracing::info!(
            target: "kyros_sidecar::access",
            request_id,
            method = %parts.method,
            status = response.status().as_u16(),
            tenant = %identity.scope.tenant(),
            "forwarded"
        );
        let (mut answer, body) = response.into_parts();
        header_rules::rewrite_response(&mut answer.headers, &self.frame_ancestors, &request_id);
        Ok(Response::from_parts(answer, forward::guarded_body(body, ended)))
    }

    /// Tunnel mode begins only here, after the upstream's 101 (CVE-2026-2833 is what happens otherwise).
    fn open_tunnel(&self, tunnel: Tunnel, mut response: Response<Incoming>, request_id: &str) -> Response<Body> {
        let upstream = hyper::upgrade::on(&mut response);
        let (draining, metrics) = (self.draining.clone(), self.metrics.clone());
        self.tunnels.spawn(async move {
            let Tunnel { client, slot: _slot, ended } = tunnel;
            let (Ok(client), Ok(upstream)) = tokio::join!(client, upstream) else { return };
            metrics.open_sockets.inc();
            let outcome = tunnel::run(client, upstream, ended, draining).await;
            metrics.open_sockets.dec();
            if outcome == tunnel::Ended::Authority {
                metrics.sockets_ended.inc();
            }
        });
        let (mut answer, _) = response.into_parts();
        let accept = answer.headers.get(header::SEC_WEBSOCKET_ACCEPT).cloned();
        let protocol = answer.headers.get(header::SEC_WEBSOCKET_PROTOCOL).cloned();
        answer.headers = HeaderMap::new();
        answer.headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        answer.headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        for (name, value) in [(header::SEC_WEBSOCKET_ACCEPT, accept), (header::SEC_WEBSOCKET_PROTOCOL, protocol)] {
            if let Some(value) = value {
                answer.headers.insert(name, value);
            }
        }
        if let Ok(id) = HeaderValue::from_str(request_id) {
            answer.headers.insert(headers::REQUEST_ID, id);
        }
        Response::from_parts(answer, crate::answer::full(bytes::Bytes::new()))
    }
}

impl Guarded {
    /// Who asks, and by what right. A Bearer token counts before a cookie; both at once are no contradiction, since a
    /// dashboard's own JavaScript may send either.
    async fn authenticate(
        &self,
        parts: &Parts,
        host: Option<&DashboardHost>,
        login: Option<&Login>,
        public_url: Option<&kyros_shared_config::PublicUrl>,
    ) -> Result<(Arc<Identity>, Authority), Refusal> {
        if let Some(token) = bearer_token(&parts.headers)? {
            let identity = self.bearer_identity(token).await?;
            self.check_tenant(&identity, host)?;
            return Ok((identity.clone(), Authority::Bearer(identity)));
        }
        let (Some(login), Some(sessions)) = (login, &self.sessions) else { return Err(Refusal::UNAUTHORIZED) };
        let handle = cookies::value_of(&parts.headers, login.cookies().app)?.ok_or(Refusal::UNAUTHORIZED)?;
        check_same_origin(parts, host, public_url)?;
        let session = sessions.by_handle(handle).await?;
        let identity = sessions.fresh(&session).await?;
        self.check_tenant(&identity, host)?;
        Ok((identity, Authority::Session { session, sessions: sessions.clone() }))
    }

    pub(crate) async fn bearer_identity(&self, token: &str) -> Result<Arc<Identity>, Refusal> {
        if self.api.is_some() && !self.revocations.is_informed() {
            return Err(Refusal::NO_KEYS);
        }
        let key = sha256(token.as_bytes());
        let identity = if let Some(identity) = self.bearer.get(&key) {
            identity
        } else {
            let scope = match self.verifier.verify_refreshing(token).await {
                Ok(scope) => scope,
                Err(VerifyError::UnknownKey) if !self.keys.is_ready() => return Err(Refusal::NO_KEYS),
                Err(error) => {
                    tracing::debug!(reason = error.reason(), "token refused");
                    return Err(Refusal::UNAUTHORIZED);
                }
            };
            let identity = Arc::new(Identity::new(scope, token)?);
            self.bearer.insert(key, identity.clone());
            identity
        };
        let scope = &identity.scope;
        if scope.expires_at() <= unix_now() || self.revocations.is_revoked(scope) {
            self.bearer.invalidate(&key);
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

    fn egress(&self) -> Option<Egress> {
        let api = self.settings.api_url.as_ref()?;
        let authority = format!("{}:{}", api.host_str()?, api.port_or_known_default()?);
        Some(Egress::new(
            authority,
            self.sessions.clone(),
            self.verifier.clone(),
            self.revocations.clone(),
            self.settings.tenant.clone(),
            self.settings.upstream_timeout,
        ))
    }

    fn dashboard(&self) -> &DashboardSlug {
        &self.settings.dashboard
    }
}

/// A cookie is sent along by whoever makes the browser ask, also by a page on a sibling host: `SameSite` does not separate
/// hosts of one site. So what changes something, and every socket, must come from the dashboard's own pages.
fn check_same_origin(
    parts: &Parts,
    host: Option<&DashboardHost>,
    public_url: Option<&kyros_shared_config::PublicUrl>,
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
    let text = value.to_str().map_err(|_| Refusal::UNAUTHORIZED)?;
    let (scheme, token) = text.split_once(' ').ok_or(Refusal::UNAUTHORIZED)?;
    if scheme.eq_ignore_ascii_case("bearer") { Ok(Some(token)) } else { Err(Refusal::UNAUTHORIZED) }
}

fn peer_of(parts: &Parts) -> Option<IpAddr> {
    parts.extensions.get::<PeerAddr>().map(|peer| peer.0.ip())
}

fn spawn_until(stop: &CancellationToken, task: impl Future<Output = ()> + Send + 'static) {
    let stop = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            () = task => (),
            () = stop.cancelled() => (),
        }
    });
}

impl Operations for Sidecar {
    fn not_ready_because(&self) -> Vec<String> {
        let Some(guarded) = &self.guarded else { return Vec::new() };
        let reasons = [
            (!guarded.keys.is_ready(), "no keys to verify tokens with yet"),
            (guarded.api.is_some() && !guarded.revocations.is_informed(), "not told yet what has been revoked"),
            (self.login.as_ref().is_some_and(|login| !login.has_key()), "no key to seal sign-ins with yet"),
            (
                guarded.exposure.as_ref().is_some_and(Exposure::is_exposed),
                "the dashboard answers on the pod's own address, around its sidecar: make it listen on 127.0.0.1",
            ),
        ];
        let told = reasons.into_iter().filter(|(is_so, _)| *is_so);
        told.map(|(_, reason)| format!("{}: {reason}", guarded.dashboard())).collect()
    }

    fn probe(&self, name: &str) -> Option<Probe> {
        let settings = &self.guarded.as_ref()?.settings;
        let target = match name {
            "startup" => settings.probe_startup.as_ref(),
            "readiness" => settings.probe_readiness.as_ref(),
            "liveness" => settings.probe_liveness.as_ref(),
            _ => None,
        };
        target.map(|target| Box::pin(probe::ask(target.clone())) as Probe)
    }

    fn metrics(&self) -> String {
        self.metrics.text()
    }
}

/// Upgrades a connection's socket for the gateway, which has no authority to watch.
pub(crate) fn tunnel_without_authority(
    client: hyper::upgrade::OnUpgrade,
    upstream: hyper::upgrade::OnUpgrade,
    slot: Option<ConnectionSlot>,
    draining: CancellationToken,
) {
    tokio::spawn(async move {
        let _slot = slot;
        let (Ok(client), Ok(upstream)) = tokio::join!(client, upstream) else { return };
        let (mut client, mut upstream) = (TokioIo::new(client), TokioIo::new(upstream));
        tokio::select! {
            _ = tokio::io::copy_bidirectional(&mut client, &mut upstream) => (),
            // The sidecar behind sends the Close frame; this only bounds how long it may take.
            () = async { draining.cancelled().await; tokio::time::sleep(Duration::from_secs(2)).await } => (),
        }
    });
}
