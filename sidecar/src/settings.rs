//! What a sidecar and a gateway are told at the start: flags, or `KYROS_` variables of the same name.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

use clap::Args;
use http::uri::PathAndQuery;
use kyros_shared_config::{DashboardSlug, KeySource, PublicUrl, TenantId, Workload};
use thiserror::Error;
use url::Url;

pub use crate::{
    access::AccessLogTarget,
    limits::LimitSettings,
    observer::SharedObserver,
    upstream::{UpstreamAddress, UpstreamAddressError},
};

/// Largest request body by default: callbacks of Dash carry whole figures.
pub const DEFAULT_MAX_BODY_BYTES: u64 = 32 * 1024 * 1024;

/// One dashboard's sidecar.
#[derive(Debug, Clone, Args)]
pub struct SidecarSettings {
    /// Where browsers' requests arrive (from the gateway).
    #[arg(long, env = "KYROS_LISTEN", default_value = "127.0.0.1:4180")]
    pub listen: SocketAddr,

    /// The dashboard's own address: host:port on loopback, or unix:PATH, which nobody can reach around the sidecar.
    #[arg(long, env = "KYROS_UPSTREAM", default_value = "127.0.0.1:8050")]
    pub upstream: UpstreamAddress,

    /// The dashboard that this sidecar guards; tokens for any other are refused.
    #[arg(long, env = "KYROS_DASHBOARD")]
    pub dashboard: DashboardSlug,

    /// Serve this tenant alone, and refuse the tokens of every other one.
    #[arg(long, env = "KYROS_TENANT")]
    pub tenant: Option<TenantId>,

    /// Who signs tenant tokens.
    #[arg(long, env = "KYROS_ISSUER")]
    pub issuer: String,

    /// The issuer's public keys: an http(s) address or a file.
    #[arg(long, env = "KYROS_JWKS")]
    pub jwks: KeySource,

    /// Where people reach the portal. Without it only Bearer tokens are accepted.
    #[arg(long, env = "KYROS_PUBLIC_URL")]
    pub public_url: Option<PublicUrl>,

    /// The API, for signing people in, renewing tokens and hearing of revocations. Without it only Bearer tokens are
    /// accepted, until they expire.
    #[arg(long, env = "KYROS_API_URL")]
    pub api_url: Option<Url>,

    /// The file with this workload's own token, with which it speaks to the API.
    #[arg(long, env = "KYROS_WORKLOAD_TOKEN")]
    pub workload_token: Option<PathBuf>,

    /// Where the dashboard reaches the data API through this sidecar, on loopback.
    #[arg(long, env = "KYROS_EGRESS_LISTEN")]
    pub egress_listen: Option<SocketAddr>,

    /// Health, readiness and metrics; carries no authority.
    #[arg(long, env = "KYROS_ADMIN_LISTEN")]
    pub admin_listen: Option<SocketAddr>,

    /// A gateway stands in front: believe its X-Forwarded-For. Off, the header is discarded.
    #[arg(long, env = "KYROS_BEHIND_GATEWAY", default_value_t = false, action = clap::ArgAction::Set)]
    pub behind_gateway: bool,

    /// The pod's own address. The sidecar is not ready while the dashboard answers there: it could be reached around the
    /// sidecar.
    #[arg(long, env = "KYROS_POD_IP")]
    pub pod_ip: Option<IpAddr>,

    /// What the dashboard's startup probe asks: PORT of loopback to connect, PORT/path to GET, and upstream or upstream/path
    /// for the dashboard's own address.
    #[arg(long, env = "KYROS_PROBE_STARTUP")]
    pub probe_startup: Option<ProbeTarget>,

    /// The same for its readiness probe.
    #[arg(long, env = "KYROS_PROBE_READINESS")]
    pub probe_readiness: Option<ProbeTarget>,

    /// The same for its liveness probe.
    #[arg(long, env = "KYROS_PROBE_LIVENESS")]
    pub probe_liveness: Option<ProbeTarget>,

    /// Largest request body, in bytes.
    #[arg(long, env = "KYROS_MAX_BODY_BYTES", default_value_t = DEFAULT_MAX_BODY_BYTES)]
    pub max_body_bytes: u64,

    /// How long nothing may move in a request's or an answer's body, in seconds.
    #[arg(long, env = "KYROS_IDLE", default_value = "300", value_parser = seconds)]
    pub idle: Duration,

    /// How long the dashboard may take until its answer begins, in seconds.
    #[arg(long, env = "KYROS_UPSTREAM_TIMEOUT", default_value = "60", value_parser = seconds)]
    pub upstream_timeout: Duration,

    /// How long requests in flight may take to end after SIGTERM, in seconds.
    #[arg(long, env = "KYROS_DRAIN", default_value = "25", value_parser = seconds)]
    pub drain: Duration,

    /// How long new connections are still taken after SIGTERM, not ready any more, while those in front hear of it.
    #[arg(long, env = "KYROS_DRAIN_DELAY", default_value = "0", value_parser = seconds)]
    pub drain_delay: Duration,

    /// How much is taken on at a time.
    #[command(flatten)]
    pub limits: LimitSettings,

    /// What is written down about requests.
    #[command(flatten)]
    pub observe: ObserveSettings,

    /// Who is shown what the dashboard receives, tokens included. No flag and no variable leads here.
    #[arg(skip)]
    pub observer: Option<SharedObserver>,
}

/// What a sidecar tells about the requests that it sees.
#[derive(Debug, Clone, Args)]
pub struct ObserveSettings {
    /// Where one line per request goes, as JSON: stdout, off, or a file.
    #[arg(long, env = "KYROS_ACCESS_LOG", default_value = "stdout")]
    pub access_log: AccessLogTarget,

    /// The collector that spans are sent to, by OTLP over HTTP, such as <http://collector:4318>. Without it none are made.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT")]
    pub otlp_endpoint: Option<Url>,

    /// The share of traces recorded that begin here, from 0 to 1. A caller's own decision is kept.
    #[arg(long, env = "OTEL_TRACES_SAMPLER_ARG", default_value_t = 1.0)]
    pub trace_ratio: f64,
}

/// The gateway: host names to sidecars.
#[derive(Debug, Clone, Args)]
pub struct GatewaySettings {
    /// Where browsers connect.
    #[arg(long, env = "KYROS_LISTEN", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,

    /// Where people reach the portal, e.g. <http://kyros.localhost:8080>.
    #[arg(long, env = "KYROS_PUBLIC_URL")]
    pub public_url: PublicUrl,

    /// The API's address: host:port.
    #[arg(long, env = "KYROS_API_UPSTREAM")]
    pub api_upstream: String,

    /// Where each dashboard's sidecar is: slug=host:port, separated by commas. Without it the API says which there are.
    #[arg(long, env = "KYROS_ROUTES", required_unless_present = "workload_token")]
    pub routes: Option<Routes>,

    /// Where the Services of the workloads are that the API names: an address with {service} in it.
    #[arg(long, env = "KYROS_SERVICE_TEMPLATE", default_value = "{service}.default.svc:80")]
    pub service_template: ServiceTemplate,

    /// The file with the gateway's own token, with which it asks the API where the sidecars are.
    #[arg(long, env = "KYROS_WORKLOAD_TOKEN")]
    pub workload_token: Option<PathBuf>,

    /// Health, readiness and metrics.
    #[arg(long, env = "KYROS_ADMIN_LISTEN")]
    pub admin_listen: Option<SocketAddr>,

    /// How long requests in flight may take to end after SIGTERM, in seconds.
    #[arg(long, env = "KYROS_DRAIN", default_value = "25", value_parser = seconds)]
    pub drain: Duration,

    /// How long a client may take nothing of what it is sent, in seconds; then its connection is reset.
    #[arg(long, env = "KYROS_WRITE_TIMEOUT", default_value = "30", value_parser = seconds)]
    pub write_timeout: Duration,
}

impl GatewaySettings {
    /// The write timeout where nothing is said: longer than any gap in a connection that still lives.
    pub const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
}

/// Where the sidecars are, named one by one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Routes(pub Vec<(DashboardSlug, String)>);

/// Why a text is not a set of routes.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("routes: {0:?} is not slug=host:port")]
pub struct RoutesError(String);

impl FromStr for Routes {
    type Err = RoutesError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let entry = |part: &str| {
            let (slug, address) = part.split_once('=').ok_or_else(|| RoutesError(part.to_owned()))?;
            Ok((slug.trim().parse().map_err(|_| RoutesError(part.to_owned()))?, address.trim().to_owned()))
        };
        text.split(',').filter(|part| !part.trim().is_empty()).map(entry).collect::<Result<_, _>>().map(Self)
    }
}

impl Routes {
    /// The sidecar of a dashboard, if there is one.
    pub fn address_of(&self, dashboard: &DashboardSlug) -> Option<String> {
        self.0.iter().find(|(slug, _)| slug == dashboard).map(|(_, address)| address.clone())
    }
}

/// How the address of a workload's Service follows from its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceTemplate(String);

/// Why a text is no template.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0:?}: write host:port with {{service}} in it, such as {{service}}.default.svc:80")]
pub struct ServiceTemplateError(String);

impl FromStr for ServiceTemplate {
    type Err = ServiceTemplateError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_address =
            text.replace("{service}", "x").parse::<http::uri::Authority>().is_ok_and(|a| a.port().is_some());
        if text.contains("{service}") && is_address {
            Ok(Self(text.to_owned()))
        } else {
            Err(ServiceTemplateError(text.to_owned()))
        }
    }
}

impl ServiceTemplate {
    /// The address of a workload's sidecars.
    pub fn address_of(&self, workload: &Workload) -> String {
        self.0.replace("{service}", &workload.service_name())
    }
}

/// What a probe asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeTarget {
    /// The port of loopback; nothing for the dashboard's own address.
    pub port: Option<u16>,
    /// The path and query of a GET; without one a connection is enough.
    pub path: Option<PathAndQuery>,
}

/// Why a text is no probe.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0:?}: write PORT or upstream to connect, PORT/path or upstream/path to GET")]
pub struct ProbeTargetError(String);

impl FromStr for ProbeTarget {
    type Err = ProbeTargetError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || ProbeTargetError(text.to_owned());
        let (port, path) = match text.find('/') {
            Some(at) => (&text[..at], Some(text[at..].parse().map_err(|_| wrong())?)),
            None => (text, None),
        };
        let port = match port {
            "upstream" => None,
            port => Some(port.parse().ok().filter(|port| *port > 0).ok_or_else(wrong)?),
        };
        Ok(Self { port, path })
    }
}

pub(crate) fn seconds(text: &str) -> Result<Duration, std::num::ParseIntError> {
    text.parse().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_name_sidecars_one_by_one() {
        let table: Routes = "clv=127.0.0.1:1, risk=127.0.0.1:2".parse().unwrap();
        assert_eq!(table.address_of(&"clv".parse().unwrap()).as_deref(), Some("127.0.0.1:1"));
        assert_eq!(table.address_of(&"other".parse().unwrap()), None);
        for bad in ["clv", "CLV=a:1", "kyros-{dashboard}:4180"] {
            assert!(bad.parse::<Routes>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_services_address_follows_from_its_workload() {
        let template: ServiceTemplate = "{service}.default.svc:80".parse().unwrap();
        assert_eq!(template.address_of(&"dash-clv--acme".parse().unwrap()), "dash-clv--acme.default.svc:80");
        for bad in ["service:80", "{service}", "http://{service}:80", ""] {
            assert!(bad.parse::<ServiceTemplate>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_probe_connects_or_gets() {
        assert_eq!("8050".parse(), Ok(ProbeTarget { port: Some(8050), path: None }));
        assert_eq!("upstream".parse(), Ok(ProbeTarget { port: None, path: None }));
        assert_eq!("upstream/up".parse::<ProbeTarget>().unwrap().path.unwrap().as_str(), "/up");
        let get: ProbeTarget = "8050/up?x=1".parse().unwrap();
        assert_eq!((get.port, get.path.unwrap().as_str()), (Some(8050), "/up?x=1"));
        for bad in ["", "/up", "0", "80 50", "8050/a b", "http://x"] {
            assert!(bad.parse::<ProbeTarget>().is_err(), "{bad}");
        }
    }
}
