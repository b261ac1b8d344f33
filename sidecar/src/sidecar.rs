//! The sidecar role: every request through the gate, to an identity, to the dashboard, in this order and no other.

use std::{
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use aws_lc_rs::digest;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version, header, request::Parts};
use hyper::{body::Incoming, upgrade::OnUpgrade};
use kyros_http_server::{
    Connection, Limits,
    admin::{Operations, Probe},
};
use kyros_shared_config::{
    DashboardHost, PublicUrl,
    crypto::constant_time_eq,
    headers::{self, CALLBACK_PATH, SIDECAR_PREFIX},
    key_ring::KeyRingError,
    public_url::Site,
};
use thiserror::Error;
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    SidecarSettings,
    access::{AccessLog, Line, micros},
    answer::{Refusal, is_framed, is_navigation},
    api_client::ApiClient,
    authority::Authority,
    bodies::{Body, Ended},
    cookies,
    finish::{Finish, known_method},
    gate::{self, Passed},
    guard::{Guarded, bearer_token, check_same_origin},
    header_rules::{self, Origin},
    identity::Identity,
    limits::{LimitSettings, Place},
    login::Login,
    metrics::{Metrics, Now},
    observer::{Received, Sighting},
    page::{EMBED_PATH, embed_script},
    probe::{self, Exposure},
    spans::Spans,
    trace::TraceContext,
    tunnel::{self, Goodbyes, Outcome, Side},
    upstream::Answer,
};

/// How often the sealing key is asked for again.
const SEALING_KEY_EVERY: Duration = Duration::from_mins(5);
/// Sockets were told when the drain began, and their goodbyes are short.
const LAST_WORDS: Duration = Duration::from_secs(1);
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
    /// Access lines cannot be written where they should.
    #[error("access log: {0}")]
    AccessLog(std::io::Error),
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
    public_url: Option<PublicUrl>,
    frame_ancestors: HeaderValue,
    /// Says that the end has begun: not ready any more, but still served.
    stopping: CancellationToken,
    draining: CancellationToken,
    tunnels: TaskTracker,
    metrics: Metrics,
    access: AccessLog,
    spans: Spans,
}

/// One request on its way through.
struct Passage {
    begun: Instant,
    trace: TraceContext,
    connection: Connection,
    /// A person looks at the answer.
    is_navigation: bool,
    /// Whose it is, once that is known.
    identity: OnceLock<Arc<Identity>>,
}

/// A socket that is about to be opened.
struct Tunnel {
    client: OnUpgrade,
    connection: Connection,
    places: [Place; 3],
    ended: Ended,
    sighting: Option<Box<dyn Sighting>>,
}

impl Sidecar {
    /// A sidecar for the dashboard that the settings name.
    pub fn new(settings: SidecarSettings) -> Result<Self, SidecarError> {
        let access = AccessLog::open(&settings.observe.access_log).map_err(SidecarError::AccessLog)?;
        let spans = Spans::of(&settings)?;
        let public_url = settings.public_url.clone();
        let guarded = Guarded::new(settings)?;
        let login = public_url.clone().map(if guarded.api.is_some() { Login::shared } else { Login::alone });
        Ok(Self { access, spans, ..Self::with(Some(guarded), public_url, login) })
    }

    /// Answers for hosts that name nothing, exactly as a sidecar answers somebody who is not signed in.
    pub(crate) fn decoy(public_url: PublicUrl) -> Self {
        let login = Login::alone(public_url.clone());
        Self::with(None, Some(public_url), Some(login))
    }

    fn with(guarded: Option<Guarded>, public_url: Option<PublicUrl>, login: Option<Login>) -> Self {
        let ancestors = public_url.as_ref().map_or_else(|| "'none'".to_owned(), PublicUrl::origin);
        let policy = format!("frame-ancestors {ancestors}");
        Self {
            guarded,
            login,
            public_url,
            frame_ancestors: HeaderValue::from_str(&policy)
                .unwrap_or(HeaderValue::from_static("frame-ancestors 'none'")),
            stopping: CancellationToken::new(),
            draining: CancellationToken::new(),
            tunnels: TaskTracker::new(),
            metrics: Metrics::new(),
            access: AccessLog::default(),
            spans: Spans::default(),
        }
    }

    /// Serves until `shutdown`; then sockets are closed with 1012 and what is in flight is answered.
    pub async fn serve(self: Arc<Self>, listeners: Listeners, shutdown: CancellationToken) {
        let background = CancellationToken::new();
        let _stop_background = background.clone().drop_guard();
        let (drain, delay) = self.guarded.as_ref().map_or((Duration::from_secs(1), Duration::ZERO), |guarded| {
            (guarded.settings.drain, guarded.settings.drain_delay)
        });
        let stopped = CancellationToken::new();
        let (sidecar, stop) = (self.clone(), stopped.clone());
        tokio::spawn(async move {
            shutdown.cancelled().await;
            sidecar.stopping.cancel();
            if !delay.is_zero() {
                tokio::time::sleep(delay).await;
            }
            // Nobody new is let in by the time that those inside are told.
            stop.cancel();
            sidecar.draining.cancel();
        });
        // Whoever asks while it drains hears that it is not ready, so this listener goes last.
        let admin_stop = CancellationToken::new();
        let _stop_admin = admin_stop.clone().drop_guard();
        if let Some(listener) = listeners.admin {
            tokio::spawn(kyros_http_server::admin::serve_admin(listener, self.clone(), admin_stop));
        }
        self.clone().start_background(listeners.egress, &background);
        let (tunnels, access, sidecar) = (self.tunnels.clone(), self.access.clone(), self.clone());
        let LimitSettings { max_connections, write_timeout, .. } = self.limits();
        let limits = Limits { drain, max_connections, write_timeout, ..Limits::default() };
        let service = move |request, connection| {
            let sidecar = self.clone();
            async move { sidecar.handle(request, connection).await }
        };
        kyros_http_server::serve(listeners.public, limits, service, stopped).await;
        // Upgraded connections are no longer the server's: their goodbyes are waited for here.
        tunnels.close();
        if tokio::time::timeout(LAST_WORDS, tunnels.wait()).await.is_err() {
            tracing::warn!(sockets = tunnels.len(), "cutting sockets off that did not end");
        }
        sidecar.spans.flush().await;
        access.settle().await;
    }

    fn limits(&self) -> LimitSettings {
        let max_connections = Limits::default().max_connections;
        let decoy = || LimitSettings { max_connections, ..LimitSettings::default() };
        self.guarded.as_ref().map_or_else(decoy, |guarded| guarded.settings.limits)
    }

    fn start_background(self: Arc<Self>, egress_listener: Option<TcpListener>, background: &CancellationToken) {
        let Some(guarded) = &self.guarded else { return };
        spawn_until(background, guarded.keys.clone().keep_fresh());
        if let Some(api) = guarded.api.clone() {
            let revocations = guarded.revocations.clone();
            spawn_until(background, async move { api.follow_revocations(&revocations).await });
        }
        if let (Some(api), Some(_)) = (guarded.api.clone(), &self.login) {
            let sidecar = self.clone();
            spawn_until(background, async move { sidecar.keep_sealing_key(&api).await });
        }
        if let Some(exposure) = &guarded.exposure {
            spawn_until(background, exposure.clone().watch());
        }
        if let (Some(listener), Some(egress)) = (egress_listener, guarded.egress()) {
            // Requests in flight may still ask for data, so it ends with them.
            tokio::spawn(egress.serve(listener, background.clone()));
        }
        let spans = self.spans.clone();
        spawn_until(background, async move { spans.keep_sending().await });
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

    async fn handle(&self, request: Request<Incoming>, connection: Connection) -> Response<Body> {
        let begun = Instant::now();
        let (mut parts, body) = request.into_parts();
        let trace = TraceContext::of(&parts.headers);
        let is_navigation = is_navigation(&parts);
        let passage = Passage { begun, trace, connection, is_navigation, identity: OnceLock::new() };
        match self.try_handle(&mut parts, body, &passage).await {
            Ok(response) => response,
            Err(refusal) => {
                self.metrics.refused(refusal.code);
                let request_id = passage.trace.request_id();
                self.note(&parts, &passage, refusal.status, refusal.code);
                refusal.answer(passage.is_navigation, request_id.as_str())
            }
        }
    }

    /// One access line for what was answered here.
    fn note(&self, parts: &Parts, passage: &Passage, status: StatusCode, refused: &str) {
        if !self.access.is_on() {
            return;
        }
        let identity = passage.identity.get();
        self.access.write(&Line {
            request_id: passage.trace.request_id().as_str(),
            trace_id: passage.trace.trace_id().as_str(),
            tenant: identity.map_or("", |identity| identity.scope.tenant().as_str()),
            dashboard: self.guarded.as_ref().map_or("", |guarded| guarded.dashboard().as_str()),
            user: identity.map_or("", |identity| identity.user_digest.as_str()),
            method: known_method(&parts.method),
            path: parts.uri.path(),
            status: status.as_u16(),
            refused,
            bytes: 0,
            micros: micros(passage.begun.elapsed()),
            upstream_micros: 0,
        });
    }

    async fn try_handle(
        &self,
        parts: &mut Parts,
        body: Incoming,
        passage: &Passage,
    ) -> Result<Response<Body>, Refusal> {
        if passage.connection.is_doubtful() {
            return Err(Refusal::FRAMING);
        }
        let passed = gate::check(parts)?;
        let host = self.host_of(parts)?;
        if parts.uri.path().starts_with(SIDECAR_PREFIX) {
            // Rare and large: its state is not carried by every idle connection.
            return Box::pin(self.own_path(parts, host.as_ref(), passage)).await;
        }
        let authorised = match &self.guarded {
            Some(guarded) => {
                let (login, public_url) = (self.login.as_ref(), self.public_url.as_ref());
                guarded.authenticate(parts, host.as_ref(), login, public_url, &self.metrics, passage.begun).await
            }
            None => self.nobody(parts, host.as_ref()),
        };
        match (authorised, &self.guarded) {
            (Ok((identity, authority)), Some(guarded)) => {
                let _ = passage.identity.set(identity.clone());
                self.forward(guarded, parts, body, passed, identity, authority, passage).await
            }
            (Err(Refusal::UNAUTHORIZED), _) | (Ok(_), None) => {
                let response = self.sign_in_or_refuse(host.as_ref(), parts, passage)?;
                self.note(parts, passage, response.status(), "");
                Ok(response)
            }
            (Err(refusal), _) => Err(refusal),
        }
    }

    /// Paths of a dashboard's host that are the sidecar's: the end of a sign-in, the frame's script, and nothing else.
    async fn own_path(
        &self,
        parts: &Parts,
        host: Option<&DashboardHost>,
        passage: &Passage,
    ) -> Result<Response<Body>, Refusal> {
        let (Some(login), Some(host), Method::GET) = (&self.login, host, parts.method.clone()) else {
            return Err(Refusal::NOT_FOUND);
        };
        match (parts.uri.path(), &self.public_url) {
            (CALLBACK_PATH, _) => (),
            (EMBED_PATH, Some(portal)) => return Ok(embed_script(portal)),
            _ => return Err(Refusal::NOT_FOUND),
        }
        self.metrics.answered("callback");
        let backend = self.guarded.as_ref().and_then(|g| g.api.as_deref().zip(g.sessions.as_deref()));
        let response = login.finish(host, parts, backend).await;
        self.note(parts, passage, response.status(), "");
        Ok(response)
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
    fn sign_in_or_refuse(
        &self,
        host: Option<&DashboardHost>,
        parts: &Parts,
        passage: &Passage,
    ) -> Result<Response<Body>, Refusal> {
        let may_redirect = parts.method == Method::GET && passage.is_navigation;
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

    #[expect(clippy::too_many_arguments, reason = "each of them is one step of the way so far")]
    async fn forward(
        &self,
        guarded: &Guarded,
        parts: &mut Parts,
        body: Incoming,
        passed: Passed,
        identity: Arc<Identity>,
        authority: Authority,
        passage: &Passage,
    ) -> Result<Response<Body>, Refusal> {
        let settings = &guarded.settings;
        if passed.content_length.is_some_and(|length| length > settings.max_body_bytes) {
            return Err(Refusal::TOO_LARGE);
        }
        let places = guarded.in_flight.request(identity.scope.tenant(), &identity.in_flight)?;
        let socket = match (passed.websocket, parts.extensions.remove::<OnUpgrade>()) {
            (true, Some(client)) => {
                let key = parts.headers.get(header::SEC_WEBSOCKET_KEY).map_or(&b""[..], HeaderValue::as_bytes);
                Some((
                    client,
                    accept_of(key),
                    guarded.in_flight.socket(identity.scope.tenant(), identity.scope.session())?,
                ))
            }
            _ => None,
        };
        let is_recorded = self.spans.records(&passage.trace);
        let (request_id, traceparent) = passage.trace.headers(is_recorded);
        let origin = Origin {
            peer: passage.connection.peer_header(),
            is_peer_trusted: settings.behind_gateway,
            proto: self.public_url.as_ref().map_or("http", PublicUrl::scheme),
            request_id: request_id.clone(),
            traceparent,
        };
        let mut request = Request::new(Body::request(body, settings.max_body_bytes, settings.idle));
        *request.method_mut() = parts.method.clone();
        *request.uri_mut() = parts.uri.clone();
        // Moved, not copied: nothing after this looks at what the client sent.
        *request.headers_mut() = std::mem::take(&mut parts.headers);
        header_rules::prepare_request(request.headers_mut(), &identity, origin);
        if socket.is_some() {
            header_rules::inject_upgrade(request.headers_mut());
        }
        let mut sighting = settings.observer.as_ref().map(|observer| {
            let (method, uri, headers) = (request.method(), request.uri(), request.headers());
            observer.0.received(&Received { method, uri, headers, is_socket: socket.is_some() })
        });
        let revocations = &guarded.revocations;
        let watch = || Box::pin(authority.clone().ended(revocations.clone())) as Ended;
        let sent = Instant::now();
        let answer = guarded.upstream.send_in(&identity.lane, request, sent, watch).await;
        if let Some(sighting) = &mut sighting {
            match &answer {
                Ok(answer) => sighting.answered(answer.response.status()),
                Err(refusal) => sighting.unanswered(refusal.status, refusal.code),
            }
        }
        let Answer { mut response, lease } = answer?;
        let upstream = sent.elapsed();
        let switched = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        if switched && !socket.as_ref().is_some_and(|(_, accept, _)| is_handshake(&response, accept)) {
            return Err(Refusal::UPSTREAM_BROKEN);
        }
        self.metrics.forwarded(sent.saturating_duration_since(passage.begun), upstream);
        let finish = Finish {
            access: self.access.clone(),
            spans: is_recorded.then(|| self.spans.clone()),
            identity: identity.clone(),
            method: std::mem::take(&mut parts.method),
            uri: std::mem::take(&mut parts.uri),
            status: response.status(),
            begun: passage.begun,
            trace: passage.trace,
            upstream,
            places,
        };
        if switched {
            let (client, _, places) = socket.ok_or(Refusal::UPSTREAM_BROKEN)?;
            let ended = Box::pin(authority.ended(revocations.clone()));
            let tunnel = Tunnel { client, connection: passage.connection.clone(), places, ended, sighting };
            lease.release();
            finish.finish(0, Instant::now());
            return Ok(self.open_tunnel(tunnel, &mut response, request_id));
        }
        let (mut answer, body) = response.into_parts();
        // After a handshake that was not taken up, or an old client's body, both ends could disagree on what comes next.
        let must_close = socket.is_some() || parts.version == Version::HTTP_10;
        let ancestors = identity.frame_ancestors.as_ref().unwrap_or(&self.frame_ancestors);
        header_rules::rewrite_response(&mut answer.headers, ancestors, request_id, &settings.upstream);
        if must_close {
            answer.headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        let body =
            Body::answer(body, settings.idle, lease).until(authority, revocations, &passage.connection).on_end(finish);
        Ok(Response::from_parts(answer, body))
    }

    /// Tunnel mode begins only here, after the upstream's 101 (CVE-2026-2833 is what happens otherwise).
    fn open_tunnel(
        &self,
        tunnel: Tunnel,
        response: &mut Response<Incoming>,
        request_id: HeaderValue,
    ) -> Response<Body> {
        let theirs = response.headers();
        let mut answer = Response::new(Body::empty());
        *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers: &mut HeaderMap = answer.headers_mut();
        header_rules::inject_upgrade(headers);
        // The extensions agreed on (compression) are between the two ends: without the word of it they would not
        // understand each other's frames.
        for name in [header::SEC_WEBSOCKET_ACCEPT, header::SEC_WEBSOCKET_PROTOCOL, header::SEC_WEBSOCKET_EXTENSIONS] {
            for value in theirs.get_all(&name) {
                headers.append(&name, value.clone());
            }
        }
        headers.insert(headers::REQUEST_ID, request_id);
        let upstream = hyper::upgrade::on(response);
        let (draining, metrics) = (self.draining.clone(), self.metrics.clone());
        let patience = self.limits().write_timeout;
        self.tunnels.spawn(async move {
            let Tunnel { client, connection: _held, places: _places, ended, sighting } = tunnel;
            let (Ok(client), Ok(upstream)) = tokio::join!(client, upstream) else { return };
            let (Some(client), Some(upstream)) = (Side::of_client(client), Side::of_upstream(upstream)) else { return };
            metrics.open_sockets.inc();
            let outcome = match sighting {
                None => tunnel::run(client, upstream, patience, ended, draining, None).await,
                Some(mut sighting) => {
                    // Boxed, so that nobody's sockets carry what only an observer needs.
                    let mut goodbyes = Box::<Goodbyes>::default();
                    let goodbyes_read = Some(goodbyes.as_mut());
                    let run = Box::pin(tunnel::run(client, upstream, patience, ended, draining, goodbyes_read));
                    let outcome = run.await;
                    sighting.closed(goodbyes.code(outcome));
                    outcome
                }
            };
            metrics.open_sockets.dec();
            if outcome == Outcome::Authority {
                metrics.sockets_ended.inc();
            }
        });
        answer
    }
}

/// Whether a 101 answers this very handshake (RFC 6455, section 4.1).
fn is_handshake(response: &Response<Incoming>, accept: &str) -> bool {
    let text = |name| response.headers().get(name).map_or(&b""[..], HeaderValue::as_bytes);
    text(header::UPGRADE).eq_ignore_ascii_case(b"websocket")
        && constant_time_eq(text(header::SEC_WEBSOCKET_ACCEPT), accept.as_bytes())
}

/// What must answer a handshake with this key (RFC 6455, section 4.2.2).
fn accept_of(key: &[u8]) -> String {
    let mut context = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    context.update(key);
    context.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    STANDARD.encode(context.finish())
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
            (self.stopping.is_cancelled(), "stopping"),
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
        target.map(|target| Box::pin(probe::ask(target.clone(), settings.upstream.clone())) as Probe)
    }

    fn metrics(&self) -> String {
        self.metrics.text(&Now {
            in_flight: self.guarded.as_ref().map_or(0, |guarded| guarded.in_flight.requests()),
            key_age: self.guarded.as_ref().and_then(|guarded| guarded.keys.last_read_ago()),
            lines_dropped: self.access.dropped(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handshakes_answer_is_that_of_the_standards_example() {
        assert_eq!(accept_of(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }
}
