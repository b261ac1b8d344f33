//! The way out: what a dashboard asks the data API passes here, and leaves with a fresh token of the very session that it
//! names.
//!
//! A dashboard may freeze the headers of its first request for hours (Streamlit, Panel and Shiny do). What it holds, an
//! old token or the opaque session id, is worth nothing outside this listener.
//!
//! What a dashboard needs to verify its tokens once more is here too: the keys, and which issuer and dashboard they must name.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, header, request::Parts};
use hyper::body::Incoming;
use kyros_http_server::{Connection, Limits};
use kyros_shared_config::{DashboardSlug, TenantId, TenantVerifier, crypto::random_id, headers};
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{
    answer::Refusal,
    authority::Authority,
    bodies::{Body, Ended, never},
    gate,
    guard::bearer_token,
    identity::Identity,
    revocations::Revocations,
    sessions::Sessions,
    upstream::{Answer, Upstream},
};

/// Largest query that a dashboard may send.
const MAX_BODY: u64 = 1024 * 1024;
/// How long nothing may move in what a dashboard sends.
const IDLE: std::time::Duration = std::time::Duration::from_mins(1);
/// How long a dashboard may compute with one part of an answer before it reads the next. Its authority ends it sooner.
const DIGESTING: std::time::Duration = std::time::Duration::from_mins(10);
/// The only paths of the API that a dashboard can reach.
const PATHS: [&str; 3] = ["/api/tenant", "/api/dashboards", "/api/data"];
/// The keys that tenant tokens are verified with: public, so the API is asked without a token.
const KEYS: &str = "/.well-known/jwks.json";
/// What a tenant token must say to be for this dashboard: answered here, because only the sidecar knows.
const EXPECTED: &str = "/.well-known/kyros-dashboard";
/// The only request headers that matter to them; everything else stays behind.
const PASSED: [header::HeaderName; 7] = [
    header::ACCEPT,
    header::ACCEPT_ENCODING,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::HOST,
    header::IF_NONE_MATCH,
    headers::TRACEPARENT,
];

/// Whose tokens a dashboard is sent.
#[derive(Clone)]
pub(crate) struct Expected {
    pub(crate) issuer: String,
    pub(crate) dashboard: DashboardSlug,
    /// The only tenant, where there is only one.
    pub(crate) tenant: Option<TenantId>,
}

impl Expected {
    fn answer(&self) -> Response<Body> {
        let document = json!({
            "issuer": self.issuer,
            "dashboard": self.dashboard,
            "audience": self.dashboard.audience(),
            "tenant": self.tenant,
        });
        let mut response = Response::new(Body::from(Bytes::from(document.to_string())));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}

/// The loopback listener for one dashboard.
#[derive(Clone)]
pub(crate) struct Egress {
    upstream: Upstream,
    sessions: Option<Arc<Sessions>>,
    verifier: Arc<TenantVerifier>,
    revocations: Revocations,
    expected: Expected,
}

impl Egress {
    pub(crate) fn new(
        upstream: Upstream,
        sessions: Option<Arc<Sessions>>,
        verifier: Arc<TenantVerifier>,
        revocations: Revocations,
        expected: Expected,
    ) -> Self {
        Self { upstream, sessions, verifier, revocations, expected }
    }

    pub(crate) async fn serve(self, listener: TcpListener, shutdown: CancellationToken) {
        let service = move |request: Request<Incoming>, connection: Connection| {
            let egress = self.clone();
            async move {
                let (parts, body) = request.into_parts();
                let answer = egress.handle(&parts, body, &connection).await;
                answer.unwrap_or_else(|refusal| refusal.answer(false, &random_id()))
            }
        };
        let limits = Limits { write_timeout: DIGESTING, ..Limits::default() };
        kyros_http_server::serve(listener, limits, service, shutdown).await;
    }

    async fn handle(&self, parts: &Parts, body: Incoming, connection: &Connection) -> Result<Response<Body>, Refusal> {
        if connection.is_doubtful() {
            return Err(Refusal::FRAMING);
        }
        gate::check(parts)?;
        let path = parts.uri.path();
        let is_below =
            |prefix: &str| path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        let authority = match (&parts.method, path) {
            (&Method::GET, EXPECTED) => return Ok(self.expected.answer()),
            (&Method::GET, KEYS) => None,
            (&(Method::GET | Method::POST), _) if PATHS.iter().any(|prefix| is_below(prefix)) => {
                Some(self.authority(parts).await?)
            }
            _ => return Err(Refusal::NOT_FOUND),
        };
        let (authorization, authority) = authority.unzip();
        let request = outgoing(parts, body, authorization);
        let ended = || match &authority {
            Some(authority) => Box::pin(authority.clone().ended(self.revocations.clone())) as Ended,
            None => never(),
        };
        let Answer { response, lease } = self.upstream.send(request, Instant::now(), ended).await?;
        let (mut answer, body) = response.into_parts();
        for name in [header::CONNECTION, header::TRANSFER_ENCODING] {
            answer.headers.remove(name);
        }
        let mut body = Body::answer(body, DIGESTING, lease);
        if let Some(authority) = authority {
            body = body.until(authority, &self.revocations, connection);
        }
        Ok(Response::from_parts(answer, body))
    }

    /// A fresh token for the session that the dashboard names by its id, or by a token that this sidecar injected and that
    /// is still valid; and what the answer ends with. An API client's token has no session here and leaves as it came.
    async fn authority(&self, parts: &Parts) -> Result<(HeaderValue, Authority), Refusal> {
        if let Some(id) = one(&parts.headers, &headers::SESSION)?
            && let Some(fresh) = self.fresh(id).await?
        {
            return Ok(fresh);
        }
        let token = bearer_token(&parts.headers)?.ok_or(Refusal::UNAUTHORIZED)?;
        let scope = self.verifier.verify_refreshing(token).await.map_err(|_| Refusal::UNAUTHORIZED)?;
        let is_foreign = self.expected.tenant.as_ref().is_some_and(|pinned| pinned != scope.tenant());
        if is_foreign || self.revocations.is_revoked(&scope) {
            return Err(Refusal::UNAUTHORIZED);
        }
        if let Some(fresh) = self.fresh(scope.session()).await? {
            return Ok(fresh);
        }
        let identity = Arc::new(Identity::new(scope, token)?);
        Ok((identity.authorization.clone(), Authority::Bearer(identity)))
    }

    /// The newest token of a session of this sidecar's; `None` when there is no such session here.
    async fn fresh(&self, id: &str) -> Result<Option<(HeaderValue, Authority)>, Refusal> {
        let Some(sessions) = &self.sessions else { return Ok(None) };
        let Some(session) = sessions.by_id(id).await else { return Ok(None) };
        let identity = sessions.fresh(&session).await?;
        let authority = Authority::Session { session, sessions: sessions.clone() };
        Ok(Some((identity.authorization.clone(), authority)))
    }
}

/// What leaves for the API: of the dashboard's headers only those that matter there.
fn outgoing(parts: &Parts, body: Incoming, authorization: Option<HeaderValue>) -> Request<Body> {
    let mut request = Request::new(Body::request(body, MAX_BODY, IDLE));
    *request.method_mut() = parts.method.clone();
    *request.uri_mut() = parts.uri.clone();
    let outgoing: &mut HeaderMap = request.headers_mut();
    for name in PASSED {
        if let Some(value) = parts.headers.get(&name) {
            outgoing.insert(name, value.clone());
        }
    }
    // A header that tries to choose a tenant goes along: the API refuses it and has it in the audit.
    for (name, value) in parts.headers.iter().filter(|(name, _)| headers::selects_tenant(name.as_str())) {
        outgoing.insert(name, value.clone());
    }
    if let Some(authorization) = authorization {
        outgoing.insert(header::AUTHORIZATION, authorization);
    }
    request
}

fn one<'a>(headers: &'a HeaderMap, name: &header::HeaderName) -> Result<Option<&'a str>, Refusal> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() {
        return Err(Refusal::bad_request("session", "The session was named twice"));
    }
    first.map(|value| value.to_str().map_err(|_| Refusal::UNAUTHORIZED)).transpose()
}
