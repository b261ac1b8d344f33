//! The gateway role: takes host names apart and streams to the API or to a dashboard's sidecar. It knows only naming, holds
//! no key and decides nothing about people.

use std::{collections::HashSet, sync::Arc, time::Instant};

use arc_swap::ArcSwapOption;
use http::{HeaderValue, Method, Request, Response, StatusCode, Version, header, request::Parts};
use hyper::body::Incoming;
use kyros_http_server::{
    Connection, KERNEL_QUEUE, Limits,
    admin::{Operations, serve_admin},
};
use kyros_shared_config::{DashboardHost, RouteTable, Workload, crypto::random_id, headers, public_url::Site};
use thiserror::Error;
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use url::Url;

use crate::{
    GatewaySettings, Sidecar,
    answer::{Refusal, is_navigation, see_other},
    api_client::ApiClient,
    bodies::{Body, never},
    gate, header_rules,
    settings::{DEFAULT_MAX_BODY_BYTES, Routes},
    sidecar::Listeners,
    tunnel::{self, Side},
    upstream::{Answer, Upstreams},
};

/// Routes hosts.
pub struct Gateway {
    settings: GatewaySettings,
    routing: Routing,
    upstreams: Upstreams,
    decoy: String,
    draining: CancellationToken,
    /// Sockets, which are the server's no longer.
    tunnels: TaskTracker,
}

/// Where the sidecars are.
enum Routing {
    /// Told at the start.
    Fixed(Routes),
    /// Told by the API, and again whenever it changes.
    Live(LiveRoutes),
}

/// The workloads that there are; nothing until the API has been heard.
#[derive(Clone, Default)]
struct LiveRoutes(Arc<ArcSwapOption<HashSet<Workload>>>);

impl LiveRoutes {
    fn take(&self, table: RouteTable) {
        self.0.store(Some(Arc::new(table.workloads.into_iter().collect())));
    }

    /// The one workload of a dashboard, or the tenant's own.
    fn workload_of(&self, host: &DashboardHost) -> Option<Workload> {
        let workloads = self.0.load_full()?;
        let shared = Workload::shared(host.dashboard.clone());
        let pinned = Workload::pinned(host.dashboard.clone(), host.tenant.clone());
        [shared, pinned].into_iter().find(|workload| workloads.contains(workload))
    }
}

impl Operations for LiveRoutes {
    fn not_ready_because(&self) -> Vec<String> {
        if self.0.load().is_some() { Vec::new() } else { vec!["not told yet where the sidecars are".to_owned()] }
    }

    fn metrics(&self) -> String {
        let workloads = self.0.load().as_ref().map_or(0, |workloads| workloads.len());
        format!(
            "# HELP kyros_gateway_workloads Workloads that requests are routed to.\n\
             # TYPE kyros_gateway_workloads gauge\nkyros_gateway_workloads {workloads}\n"
        )
    }
}

/// Why a gateway does not start.
#[derive(Debug, Error)]
pub enum GatewayError {
    /// No socket.
    #[error("cannot listen: {0}")]
    Listen(#[from] std::io::Error),
    /// No HTTP client could be made.
    #[error("http client: {0}")]
    Client(#[from] reqwest::Error),
    /// The API's address makes no URL.
    #[error("api upstream: {0}")]
    Api(#[from] url::ParseError),
}

/// How long nothing may move in a body: more than any sidecar allows.
const IDLE: std::time::Duration = std::time::Duration::from_hours(1);
/// Sockets were told when the drain began, and their goodbyes are short.
const LAST_WORDS: std::time::Duration = std::time::Duration::from_secs(1);
/// Slightly above the sidecar's own deadline, so that the sidecar is the one to say 504.
const UPSTREAM_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(65);

impl Gateway {
    /// Serves until `shutdown`.
    pub async fn serve(
        settings: GatewaySettings,
        listener: TcpListener,
        shutdown: CancellationToken,
    ) -> Result<(), GatewayError> {
        // Hosts that name nothing go over a socket too, to a sidecar that guards nothing: the same code answers after the
        // same hops, so neither words nor time tell them from a real dashboard's.
        let decoy_listener = TcpListener::bind("127.0.0.1:0").await?;
        let decoy = decoy_listener.local_addr()?.to_string();
        let listeners = Listeners { public: decoy_listener, egress: None, admin: None };
        let decoy_sidecar = Arc::new(Sidecar::decoy(settings.public_url.clone()));
        tokio::spawn(decoy_sidecar.serve(listeners, shutdown.clone()));
        let limits = Limits {
            drain: settings.drain,
            write_timeout: settings.write_timeout,
            send_queue: Some(KERNEL_QUEUE),
            ..Limits::default()
        };
        let live = LiveRoutes::default();
        let routing = if let Some(routes) = &settings.routes {
            live.take(RouteTable::default());
            Routing::Fixed(routes.clone())
        } else {
            let api = Url::parse(&format!("http://{}", settings.api_upstream))?;
            let api = ApiClient::new(api, settings.workload_token.clone())?;
            let (routes, stop) = (live.clone(), shutdown.clone());
            tokio::spawn(async move {
                tokio::select! {
                    () = api.follow_routes(|table| routes.take(table)) => (),
                    () = stop.cancelled() => (),
                }
            });
            Routing::Live(live.clone())
        };
        if let Some(address) = settings.admin_listen {
            let admin = TcpListener::bind(address).await?;
            tokio::spawn(serve_admin(admin, Arc::new(live), shutdown.clone()));
        }
        let upstreams = Upstreams::new(UPSTREAM_TIMEOUT);
        let tunnels = TaskTracker::new();
        let (draining, open) = (shutdown.clone(), tunnels.clone());
        let gateway = Arc::new(Self { settings, routing, upstreams, decoy, draining, tunnels });
        let service = move |request: Request<Incoming>, connection: Connection| {
            let gateway = gateway.clone();
            async move {
                let (mut parts, body) = request.into_parts();
                let answer = gateway.handle(&mut parts, body, &connection).await;
                answer.unwrap_or_else(|refusal| refusal.answer(is_navigation(&parts), &random_id()))
            }
        };
        kyros_http_server::serve(listener, limits, service, shutdown).await;
        open.close();
        if tokio::time::timeout(LAST_WORDS, open.wait()).await.is_err() {
            tracing::warn!(sockets = open.len(), "cutting sockets off that did not end");
        }
        Ok(())
    }

    async fn handle(
        &self,
        parts: &mut Parts,
        body: Incoming,
        connection: &Connection,
    ) -> Result<Response<Body>, Refusal> {
        if connection.is_doubtful() {
            return Err(Refusal::FRAMING);
        }
        let passed = gate::check(parts)?;
        let host = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        let authority = match self.settings.public_url.site_of(host) {
            Site::Portal if is_internal(parts.uri.path()) => return Err(Refusal::NOT_FOUND),
            Site::Portal => self.settings.api_upstream.clone(),
            Site::Dashboard(host) => self.sidecar_of(&host).unwrap_or_else(|| self.decoy.clone()),
            Site::Loopback => return self.to_base_domain(parts),
            Site::Unknown => {
                return Err(Refusal::new(StatusCode::MISDIRECTED_REQUEST, "host", "This host is not served here"));
            }
        };
        let is_dashboard = authority != self.settings.api_upstream;
        let body = Body::request(body, DEFAULT_MAX_BODY_BYTES, IDLE);
        match self.forward(&authority, parts, body, passed.websocket, connection).await {
            // That it has no pods now is nobody's business who is not signed in: it answers as one that is not there.
            Err(Refusal::UPSTREAM_DOWN) if is_dashboard && !brings_authority(parts) => {
                self.forward(&self.decoy, parts, Body::empty(), false, connection).await
            }
            answer => answer,
        }
    }

    fn sidecar_of(&self, host: &DashboardHost) -> Option<String> {
        match &self.routing {
            Routing::Fixed(routes) => routes.address_of(&host.dashboard),
            Routing::Live(routes) => {
                routes.workload_of(host).map(|workload| self.settings.service_template.address_of(&workload))
            }
        }
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
        body: Body,
        websocket: bool,
        connection: &Connection,
    ) -> Result<Response<Body>, Refusal> {
        let client_upgrade = websocket.then(|| parts.extensions.remove::<hyper::upgrade::OnUpgrade>()).flatten();
        let mut request = Request::new(body);
        *request.method_mut() = parts.method.clone();
        *request.uri_mut() = parts.uri.clone();
        *request.headers_mut() = parts.headers.clone();
        let outgoing = request.headers_mut();
        // Where a client is, only the gateway says.
        header_rules::remove_all(outgoing, |name| {
            header_rules::is_hop_by_hop(name) || name == "forwarded" || name.starts_with("x-forwarded-")
        });
        if let Some(peer) = connection.peer_header() {
            outgoing.insert(headers::FORWARDED_FOR, peer.clone());
        }
        outgoing.insert(headers::FORWARDED_PROTO, HeaderValue::from_static(self.settings.public_url.scheme()));
        if websocket {
            header_rules::inject_upgrade(outgoing);
        }
        let sent = self.upstreams.at(authority).send(request, Instant::now(), never).await?;
        let Answer { mut response, lease } = sent;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            let client = client_upgrade.ok_or(Refusal::UPSTREAM_BROKEN)?;
            let upstream = hyper::upgrade::on(&mut response);
            lease.release();
            let (held, draining, patience) = (connection.clone(), self.draining.clone(), self.settings.write_timeout);
            self.tunnels.spawn(async move {
                let _held = held;
                let (Ok(client), Ok(upstream)) = tokio::join!(client, upstream) else { return };
                if let (Some(client), Some(upstream)) = (Side::of_client(client), Side::of_upstream(upstream)) {
                    tunnel::copy(client, upstream, patience, draining).await;
                }
            });
            return Ok(response.map(|_| Body::empty()));
        }
        let (mut answer, body) = response.into_parts();
        let closing = websocket
            || parts.version == Version::HTTP_10
            || answer.headers.get(header::CONNECTION).is_some_and(|value| value.as_bytes() == b"close");
        header_rules::remove_all(&mut answer.headers, header_rules::is_hop_by_hop);
        // A refusal behind us closes the client's connection too: it is the doubtful one.
        if closing {
            answer.headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        let body = Body::answer(body, IDLE, lease);
        let is_dashboard = authority != self.settings.api_upstream;
        let body = if is_dashboard { body.unless_reset(connection) } else { body };
        Ok(Response::from_parts(answer, body))
    }
}

/// Whether a request claims to be somebody's.
fn brings_authority(parts: &Parts) -> bool {
    [header::AUTHORIZATION, header::COOKIE].iter().any(|name| parts.headers.contains_key(name))
}

/// The API's internal paths are for workloads inside; from outside they do not exist.
fn is_internal(path: &str) -> bool {
    path == "/internal" || path.starts_with("/internal/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_leads_to_the_one_workload_or_to_its_tenants_own() {
        let routes = LiveRoutes::default();
        let host = |label: &str| label.parse::<DashboardHost>().unwrap();
        assert!(routes.workload_of(&host("clv--acme")).is_none() && !routes.not_ready_because().is_empty());
        let workloads = ["dash-clv", "dash-own--acme"].map(|name| name.parse().unwrap()).to_vec();
        routes.take(RouteTable { workloads });
        let name = |label: &str| routes.workload_of(&host(label)).map(|workload| workload.name());
        assert_eq!(name("clv--anybody").as_deref(), Some("dash-clv"));
        assert_eq!(name("own--acme").as_deref(), Some("dash-own--acme"));
        assert_eq!(name("own--globex"), None);
        assert_eq!(name("none--acme"), None);
        assert!(routes.not_ready_because().is_empty());
        routes.take(RouteTable::default());
        assert_eq!(name("clv--acme"), None, "it is gone");
    }
}
