//! The gateway role: takes host names apart and streams to the API or to a dashboard's sidecar. It knows only naming, holds
//! no key and decides nothing about people.

use std::sync::Arc;

use http::{HeaderValue, Method, Request, Response, StatusCode, header, request::Parts};
use hyper::body::Incoming;
use kyros_http_server::{ConnectionSlot, Limits, PeerAddr};
use kyros_shared_config::{headers, public_url::Site};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{
    GatewaySettings, Sidecar,
    answer::{Body, Refusal, see_other},
    forward::{self, Upstream},
    gate,
    settings::DEFAULT_MAX_BODY_BYTES,
    sidecar::{Listeners, tunnel_without_authority},
};

/// Routes hosts.
pub struct Gateway {
    settings: GatewaySettings,
    upstream: Upstream,
    decoy: String,
    draining: CancellationToken,
}

/// Hop-by-hop fields, and what only the gateway may say about a client's address.
const STRIPPED: [&str; 11] = [
    "connection",
    "forwarded",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];
/// Slightly above the sidecar's own deadline, so that the sidecar is the one to say 504.
const UPSTREAM_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(65);

impl Gateway {
    /// Serves until `shutdown`.
    pub async fn serve(
        settings: GatewaySettings,
        listener: TcpListener,
        shutdown: CancellationToken,
    ) -> std::io::Result<()> {
        // Hosts that name nothing go over a socket too, to a sidecar that guards nothing: the same code answers after the
        // same hops, so neither words nor time tell them from a real dashboard's.
        let decoy_listener = TcpListener::bind("127.0.0.1:0").await?;
        let decoy = decoy_listener.local_addr()?.to_string();
        let listeners = Listeners { public: decoy_listener, egress: None, admin: None };
        let decoy_sidecar = Arc::new(Sidecar::decoy(settings.public_url.clone()));
        tokio::spawn(decoy_sidecar.serve(listeners, shutdown.clone()));
        let limits = Limits { drain: settings.drain, ..Limits::default() };
        let gateway =
            Arc::new(Self { settings, upstream: Upstream::new(UPSTREAM_TIMEOUT), decoy, draining: shutdown.clone() });
        let service = move |request: Request<Incoming>| {
            let gateway = gateway.clone();
            async move {
                let (mut parts, body) = request.into_parts();
                gateway.handle(&mut parts, body).await.unwrap_or_else(|refusal| refusal.answer(&parts))
            }
        };
        kyros_http_server::serve(listener, limits, service, shutdown).await;
        Ok(())
    }

    async fn handle(&self, parts: &mut Parts, body: Incoming) -> Result<Response<Body>, Refusal> {
        let passed = gate::check(parts)?;
        let host = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        let authority = match self.settings.public_url.site_of(host) {
            Site::Portal if is_internal(parts.uri.path()) => return Err(Refusal::NOT_FOUND),
            Site::Portal => self.settings.api_upstream.clone(),
            Site::Dashboard(host) => {
                self.settings.routes.address_of(&host.dashboard).unwrap_or_else(|| self.decoy.clone())
            }
            Site::Loopback => return self.to_base_domain(parts),
            Site::Unknown => {
                return Err(Refusal::new(StatusCode::MISDIRECTED_REQUEST, "host", "This host is not served here"));
            }
        };
        self.forward(&authority, parts, body, passed.websocket).await
    }

    /// `localhost` out of habit: bring people to where cookies and dashboards' hosts work.
    fn to_base_domain(&self, parts: &Parts) -> Result<Response<Body>, Refusal> {
        if parts.method != Method::GET {
            return Err(Refusal::NOT_FOUND);
        }
        let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
        see_other(&format!("{}{target}", self.settings.public_url.origin())).ok_or(Refusal::NOT_FOUND)
    }

    async fn forward(
        &self,
        authority: &str,
        parts: &mut Parts,
        body: Incoming,
        websocket: bool,
    ) -> Result<Response<Body>, Refusal> {
        let slot = parts.extensions.remove::<ConnectionSlot>();
        let client_upgrade = websocket.then(|| parts.extensions.remove::<hyper::upgrade::OnUpgrade>()).flatten();
        let mut request = Request::new(forward::request_body(body, DEFAULT_MAX_BODY_BYTES));
        *request.method_mut() = parts.method.clone();
        *request.uri_mut() = parts.uri.clone();
        *request.headers_mut() = parts.headers.clone();
        let outgoing = request.headers_mut();
        for name in STRIPPED {
            outgoing.remove(name);
        }
        let forwarded: Vec<_> =
            outgoing.keys().filter(|name| name.as_str().starts_with("x-forwarded-")).cloned().collect();
        for name in forwarded {
            outgoing.remove(name);
        }
        let peer = parts.extensions.get::<PeerAddr>().map(|peer| peer.0.ip().to_string());
        if let Some(peer) = peer.and_then(|peer| HeaderValue::from_str(&peer).ok()) {
            outgoing.insert(headers::FORWARDED_FOR, peer);
        }
        outgoing.insert(headers::FORWARDED_PROTO, HeaderValue::from_static(self.settings.public_url.scheme()));
        if websocket {
            crate::header_rules::inject_upgrade(outgoing);
        }
        let mut response = self.upstream.send(authority, request).await?;
        if forward::is_switching(&response) {
            let client = client_upgrade.ok_or(Refusal::UPSTREAM_BROKEN)?;
            let upstream = hyper::upgrade::on(&mut response);
            tunnel_without_authority(client, upstream, slot, self.draining.clone());
            return Ok(response.map(|_| crate::answer::full(bytes::Bytes::new())));
        }
        let (mut answer, body) = response.into_parts();
        let closing = answer.headers.get(header::CONNECTION).is_some_and(|value| value.as_bytes() == b"close");
        for name in STRIPPED {
            answer.headers.remove(name);
        }
        // A refusal behind us closes the client's connection too: it is the doubtful one.
        if closing {
            answer.headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        Ok(Response::from_parts(answer, forward::plain_body(body)))
    }
}

/// The API's internal paths are for workloads inside; from outside they do not exist.
fn is_internal(path: &str) -> bool {
    path == "/internal" || path.starts_with("/internal/")
}
