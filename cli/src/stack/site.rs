//! One dashboard with its sidecar: sockets first, then the parts behind them.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use kyros_api::ApiSettings;
use kyros_dashboard_kit::DataClient;
use kyros_shared_config::{DashboardSlug, KeySource};
use kyros_sidecar::{
    Listeners, Sidecar, SidecarSettings,
    observer::SharedObserver,
    settings::{AccessLogTarget, LimitSettings, ObserveSettings, UpstreamAddress},
};
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::CancellationToken;
use url::Url;

/// One dashboard's sockets and addresses.
pub(crate) struct Site {
    pub(crate) slug: DashboardSlug,
    /// Where its sidecar listens.
    pub(crate) address: SocketAddr,
    /// Where the dashboard finds the data API.
    pub(crate) egress: SocketAddr,
    pub(crate) upstream: Upstream,
    /// Who is shown what the dashboard receives.
    pub(crate) observer: Option<SharedObserver>,
    listeners: Listeners,
}

/// The dashboard behind a sidecar.
pub(crate) enum Upstream {
    /// One of ours, served in this process, whatever its resource says of a transport.
    Ours { router: fn(DataClient) -> axum::Router, listener: TcpListener, address: SocketAddr },
    /// Somebody else's program.
    Theirs { address: UpstreamAddress },
}

impl Upstream {
    fn address(&self) -> UpstreamAddress {
        match self {
            Self::Ours { address, .. } => UpstreamAddress::Tcp(address.to_string()),
            Self::Theirs { address } => address.clone(),
        }
    }
}

impl Site {
    /// Binds the sidecar's sockets; the one for the data API on this port, where that is free.
    pub(crate) async fn bind(
        slug: DashboardSlug,
        upstream: Upstream,
        egress_port: Option<u16>,
    ) -> anyhow::Result<Self> {
        let public = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let egress = match egress_port {
            Some(port) => TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.ok(),
            None => None,
        };
        let egress = match egress {
            Some(listener) => listener,
            None => TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?,
        };
        Ok(Self {
            slug,
            address: public.local_addr()?,
            egress: egress.local_addr()?,
            upstream,
            observer: None,
            listeners: Listeners { public, egress: Some(egress), admin: None },
        })
    }

    /// Starts the sidecar, and the dashboard itself where it is one of ours.
    pub(super) fn start(
        self,
        api: &ApiSettings,
        drain: Duration,
        edge: &mut JoinSet<()>,
        shutdown: &CancellationToken,
    ) -> anyhow::Result<Arc<Sidecar>> {
        let sidecar = Arc::new(Sidecar::new(self.settings(api, drain)?)?);
        if let Upstream::Ours { router, listener, .. } = self.upstream {
            let data = DataClient::new(format!("http://{}", self.egress).parse()?)?;
            edge.spawn(kyros_dashboard_kit::serve(listener, router(data), shutdown.clone()));
        }
        edge.spawn(sidecar.clone().serve(self.listeners, shutdown.clone()));
        Ok(sidecar)
    }

    fn settings(&self, api: &ApiSettings, drain: Duration) -> anyhow::Result<SidecarSettings> {
        let api_url: Url = format!("http://{}", api.listen).parse()?;
        let workloads = api.workload_dir.as_ref().context("workload tokens have a folder")?;
        Ok(SidecarSettings {
            listen: self.address,
            upstream: self.upstream.address(),
            dashboard: self.slug.clone(),
            tenant: None,
            issuer: api.public_url.origin(),
            jwks: KeySource::Url(api_url.join("/.well-known/jwks.json")?),
            public_url: Some(api.public_url.clone()),
            api_url: Some(api_url),
            workload_token: Some(workloads.join(self.slug.as_str()).join("token")),
            egress_listen: Some(self.egress),
            admin_listen: None,
            behind_gateway: true,
            pod_ip: None,
            probe_startup: None,
            probe_readiness: None,
            probe_liveness: None,
            max_body_bytes: kyros_sidecar::settings::DEFAULT_MAX_BODY_BYTES,
            idle: Duration::from_mins(5),
            upstream_timeout: Duration::from_mins(1),
            drain,
            drain_delay: Duration::ZERO,
            limits: LimitSettings::default(),
            observe: ObserveSettings { access_log: AccessLogTarget::Off, otlp_endpoint: None, trace_ratio: 1.0 },
            observer: self.observer.clone(),
        })
    }
}
