//! `kyros up`: gateway, API, controller, dashboards and their sidecars in one process, on loopback.
//!
//! Every socket is bound before any part starts, so that a taken port is a sentence and not half an installation.

use std::{
    collections::HashMap,
    fs::File,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use clap::Args;
use kyros_api::{Api, ApiSettings, settings::FRAME_CACHE_MIB};
use kyros_controller::{
    ProjectSettings, Projector, directory,
    project::{CONFIRM_EVERY, Source},
    resources::{DashboardSpec, Isolation, Transport},
};
use kyros_dashboard_kit::DataClient;
use kyros_http_server::{admin::Operations as _, shutdown_on_signal};
use kyros_shared_config::{DashboardSlug, KeySource, PublicUrl};
use kyros_sidecar::{
    Gateway, GatewaySettings, Listeners, Sidecar, SidecarSettings,
    settings::{AccessLogTarget, LimitSettings, ObserveSettings, Routes, UpstreamAddress},
};
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::{
    data::make_demo,
    output::{Steps, bold},
};

/// How long a part may take to become reachable at the start.
const PATIENCE: Duration = Duration::from_secs(30);

/// Nobody gets a new token while the manifests could not be read for this long, in seconds.
const PROJECTION_MAX_AGE: i64 = 900;
/// Requests in flight may take this long to end after Ctrl-C.
const DRAIN: Duration = Duration::from_secs(3);

/// Run everything on this machine.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  cargo kyros up
  cargo kyros up --listen 127.0.0.1:9000 --state /tmp/kyros --manifests my/manifests --people my/people.yaml")]
pub struct UpArgs {
    /// Where browsers connect; port 0 picks a free one. Only loopback: there are no passwords.
    #[arg(long, env = "KYROS_LISTEN", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// The data folder; demo data is made there when it has none.
    #[arg(long, env = "KYROS_DATA_DIR", default_value = "data")]
    pub data: PathBuf,
    /// The folder of Tenant and Dashboard manifests.
    #[arg(long, env = "KYROS_MANIFESTS", default_value = "data/manifests")]
    pub manifests: PathBuf,
    /// The people of the mock identity provider.
    #[arg(long, env = "KYROS_MOCK_PEOPLE", default_value = "data/people.yaml")]
    pub people: PathBuf,
    /// A YAML list of the places beside the data folder that tenants and dashboards may name (docs/data-sources.md).
    #[arg(long, env = "KYROS_DATA_SOURCES")]
    pub data_sources: Option<PathBuf>,
    /// The folder for sessions and keys.
    #[arg(long, env = "KYROS_STATE_DIR", default_value = ".kyros")]
    pub state: PathBuf,
}

/// One dashboard's sockets and addresses.
struct Site {
    slug: DashboardSlug,
    listeners: Listeners,
    address: SocketAddr,
    egress: SocketAddr,
    upstream: Upstream,
}

impl Site {
    /// The program that somebody else must start for this site: where it listens, and where it finds the data API.
    fn expected_program(&self) -> Option<(DashboardSlug, UpstreamAddress, SocketAddr)> {
        match &self.upstream {
            Upstream::Ours { .. } => None,
            Upstream::Theirs { address, .. } => Some((self.slug.clone(), address.clone(), self.egress)),
        }
    }
}

enum Upstream {
    /// One of ours, served in this process, whatever its resource says of a transport.
    Ours { router: fn(DataClient) -> axum::Router, listener: TcpListener, address: SocketAddr },
    /// Somebody else's, expected on its resource's port or on a socket in the state folder.
    Theirs { address: UpstreamAddress, port: i32 },
}

impl Upstream {
    fn address(&self) -> UpstreamAddress {
        match self {
            Self::Ours { address, .. } => UpstreamAddress::Tcp(address.to_string()),
            Self::Theirs { address, .. } => address.clone(),
        }
    }
}

/// The dashboards that this program brings along.
fn built_in() -> HashMap<&'static str, fn(DataClient) -> axum::Router> {
    HashMap::from([("clv", kyros_clv::router as fn(DataClient) -> axum::Router), ("risk", kyros_risk::router)])
}

/// What runs, in the order in which it stops.
struct Running {
    /// Gateway, sidecars, dashboards.
    edge: JoinSet<()>,
    /// API and projection: dashboards in flight still need them.
    control: JoinSet<()>,
    stop_control: CancellationToken,
}

/// Starts everything, prints where it is, and runs until Ctrl-C or SIGTERM.
pub async fn run(args: UpArgs) -> anyhow::Result<()> {
    let shutdown = shutdown_on_signal();
    let started = Instant::now();
    let steps = Steps::new();
    if !args.listen.ip().is_loopback() {
        bail!("{} is not loopback: people sign in here without passwords, so nobody else may reach it", args.listen);
    }
    steps.now("reading manifests");
    let listener = bind_gateway(args.listen).await?;
    let public_url = "http://kyros.localhost".parse::<PublicUrl>()?.on_port(listener.local_addr()?.port());
    let _lock = lock_state(&args.state)?;
    let project = ProjectSettings {
        source: Source::Folder(args.manifests.clone()),
        metadata_db: args.state.join("metadata.db"),
        cluster_keys: None,
        confirm_every: CONFIRM_EVERY,
    };
    let projector = Projector::start(&project).await?;
    let sites = bind_sites(&args).await?;
    tokio::task::block_in_place(|| make_demo(&args.data, |message| steps.now(message)))
        .with_context(|| format!("demo data in {}", args.data.display()))?;

    steps.now("starting the API");
    let api_listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let settings = api_settings(&args, &public_url, &project, api_listener.local_addr()?);
    let api = Api::start(&settings).await?;
    let people = api.mock_people();
    let mut running = Running { edge: JoinSet::new(), control: JoinSet::new(), stop_control: CancellationToken::new() };
    running.control.spawn(projector.run(running.stop_control.clone()));
    running.control.spawn(api.serve(api_listener, running.stop_control.clone()));

    steps.now("starting dashboards and sidecars");
    let theirs: Vec<_> = sites.iter().filter_map(Site::expected_program).collect();
    let routes = Routes(sites.iter().map(|site| (site.slug.clone(), site.address.to_string())).collect());
    let mut sidecars = Vec::new();
    for site in sites {
        sidecars.push(start_site(site, &settings, &mut running.edge, &shutdown)?);
    }
    steps.now("waiting for keys");
    wait_until_ready(&sidecars, &shutdown).await?;
    let gateway = GatewaySettings {
        listen: args.listen,
        public_url: public_url.clone(),
        api_upstream: settings.listen.to_string(),
        routes: Some(routes),
        service_template: "{service}:80".parse()?,
        workload_token: None,
        admin_listen: None,
        drain: DRAIN,
    };
    let stop = shutdown.clone();
    running.edge.spawn(async move {
        if let Err(error) = Gateway::serve(gateway, listener, stop).await {
            tracing::error!(%error, "gateway");
        }
    });
    steps.finish();
    announce(&public_url, &people, &theirs, started.elapsed());
    running.until(shutdown).await
}

impl Running {
    /// Waits for the signal, or for a part that ends by itself and takes the others along: half a Kyros looks like a whole
    /// one until somebody needs the rest.
    async fn until(mut self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let failed = tokio::select! {
            () = shutdown.cancelled() => false,
            _ = self.edge.join_next() => !shutdown.is_cancelled(),
            _ = self.control.join_next() => !shutdown.is_cancelled(),
        };
        shutdown.cancel();
        eprintln!("stopping: requests in flight may take {} s, Ctrl-C again ends at once", DRAIN.as_secs());
        while self.edge.join_next().await.is_some() {}
        self.stop_control.cancel();
        while self.control.join_next().await.is_some() {}
        if failed {
            bail!("a part ended by itself; start again with --log info to see which")
        }
        Ok(())
    }
}

fn api_settings(args: &UpArgs, public_url: &PublicUrl, project: &ProjectSettings, listen: SocketAddr) -> ApiSettings {
    ApiSettings {
        listen,
        admin_listen: None,
        public_url: public_url.clone(),
        state_dir: args.state.clone(),
        metadata_db: project.metadata_db.clone(),
        data_dir: args.data.clone(),
        signing_key: None,
        mock_people: Some(args.people.clone()),
        trusted_issuers: None,
        data_sources: args.data_sources.clone(),
        cluster_keys: None,
        workload_namespace: String::new(),
        gateway_account: None,
        projection_max_age: PROJECTION_MAX_AGE,
        workload_dir: Some(args.state.join("workloads")),
        query_concurrency: std::thread::available_parallelism().map_or(2, usize::from),
        frame_cache_mib: FRAME_CACHE_MIB,
    }
}

/// One dashboard's sidecar, and the dashboard itself where it is one of ours.
fn start_site(
    site: Site,
    api: &ApiSettings,
    edge: &mut JoinSet<()>,
    shutdown: &CancellationToken,
) -> anyhow::Result<Arc<Sidecar>> {
    let sidecar = Arc::new(Sidecar::new(sidecar_settings(&site, api)?)?);
    if let Upstream::Ours { router, listener, .. } = site.upstream {
        let data = DataClient::new(format!("http://{}", site.egress).parse()?)?;
        edge.spawn(kyros_dashboard_kit::serve(listener, router(data), shutdown.clone()));
    }
    edge.spawn(sidecar.clone().serve(site.listeners, shutdown.clone()));
    Ok(sidecar)
}

async fn bind_gateway(address: SocketAddr) -> anyhow::Result<TcpListener> {
    match TcpListener::bind(address).await {
        Ok(listener) => Ok(listener),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => bail!(
            "port {} of {} is taken; stop what uses it, or choose another: cargo kyros up --listen {}:{}",
            address.port(),
            address.ip(),
            address.ip(),
            address.port().checked_add(1).unwrap_or(8080),
        ),
        Err(error) => Err(error).with_context(|| format!("cannot listen on {address}")),
    }
}

/// Nobody else on this machine has business there.
fn private_folder(folder: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Two processes on one state folder would write over each other.
fn lock_state(state: &Path) -> anyhow::Result<File> {
    private_folder(state).with_context(|| format!("state folder {}", state.display()))?;
    let lock = File::options().create(true).write(true).truncate(false).open(state.join("lock"))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(std::fs::TryLockError::WouldBlock) => bail!(
            "another kyros up uses the state folder {}; stop it, or choose another folder with --state",
            state.display()
        ),
        Err(std::fs::TryLockError::Error(error)) => Err(error).context("state folder"),
    }
}

/// One site per Dashboard resource.
async fn bind_sites(args: &UpArgs) -> anyhow::Result<Vec<Site>> {
    // The projector has just read the same folder without an error, so it changed in between.
    let Ok(set) = directory::load(&args.manifests) else {
        bail!("the manifests in {} changed while starting; start again", args.manifests.display());
    };
    let free = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let ours = built_in();
    let mut sites = Vec::new();
    for dashboard in set.dashboards {
        let name = dashboard.metadata.name.clone().unwrap_or_default();
        if dashboard.spec.isolation == Isolation::PerTenant {
            bail!(
                "dashboard {name} asks for isolation: PerTenant, and kyros up runs one process for all tenants; write \
                 isolation: Shared for this machine if its code may be trusted to keep requests apart"
            );
        }
        let slug: DashboardSlug = name.parse().with_context(|| format!("dashboard {name:?}"))?;
        let upstream = match ours.get(name.as_str()) {
            Some(router) => {
                let listener = free().await?;
                Upstream::Ours { router: *router, address: listener.local_addr()?, listener }
            }
            None => Upstream::Theirs {
                address: expected_address(&slug, &dashboard.spec, &args.state)?,
                port: dashboard.spec.port,
            },
        };
        let public = free().await?;
        // A program that is started by hand wants an address that is the same tomorrow.
        let egress = match egress_port(&upstream) {
            Some(port) => match TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await {
                Ok(listener) => listener,
                Err(_) => free().await?,
            },
            None => free().await?,
        };
        sites.push(Site {
            slug,
            address: public.local_addr()?,
            egress: egress.local_addr()?,
            listeners: Listeners { public, egress: Some(egress), admin: None },
            upstream,
        });
    }
    Ok(sites)
}

/// Where somebody else's program is expected.
fn expected_address(slug: &DashboardSlug, spec: &DashboardSpec, state: &Path) -> anyhow::Result<UpstreamAddress> {
    match spec.transport {
        Transport::Tcp => Ok(UpstreamAddress::Tcp(format!("127.0.0.1:{}", spec.port))),
        Transport::Unix => {
            // The program may be started in another folder than this one.
            let folder = std::path::absolute(state.join("sockets"))?;
            private_folder(&folder).with_context(|| format!("socket folder {}", folder.display()))?;
            let address = format!("unix:{}/{slug}.sock", folder.display());
            address.parse().with_context(|| format!("the socket of dashboard {slug}: a shorter --state helps"))
        }
    }
}

/// A thousand above the dashboard's own port, where that is a port; also of one on a socket, as it is a number like any other.
fn egress_port(upstream: &Upstream) -> Option<u16> {
    match upstream {
        Upstream::Ours { .. } => None,
        Upstream::Theirs { port, .. } => u16::try_from(*port).ok()?.checked_add(1000),
    }
}

fn sidecar_settings(site: &Site, api: &ApiSettings) -> anyhow::Result<SidecarSettings> {
    let api_url: Url = format!("http://{}", api.listen).parse()?;
    let workloads = api.workload_dir.as_ref().context("workload tokens have a folder")?;
    Ok(SidecarSettings {
        listen: site.address,
        upstream: site.upstream.address(),
        dashboard: site.slug.clone(),
        tenant: None,
        issuer: api.public_url.origin(),
        jwks: KeySource::Url(api_url.join("/.well-known/jwks.json")?),
        public_url: Some(api.public_url.clone()),
        api_url: Some(api_url),
        workload_token: Some(workloads.join(site.slug.as_str()).join("token")),
        egress_listen: Some(site.egress),
        admin_listen: None,
        behind_gateway: true,
        pod_ip: None,
        probe_startup: None,
        probe_readiness: None,
        probe_liveness: None,
        max_body_bytes: kyros_sidecar::settings::DEFAULT_MAX_BODY_BYTES,
        idle: Duration::from_mins(5),
        upstream_timeout: Duration::from_mins(1),
        drain: DRAIN,
        drain_delay: Duration::ZERO,
        limits: LimitSettings::default(),
        observe: ObserveSettings { access_log: AccessLogTarget::Off, otlp_endpoint: None, trace_ratio: 1.0 },
    })
}

async fn wait_until_ready(sidecars: &[Arc<Sidecar>], shutdown: &CancellationToken) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    for sidecar in sidecars {
        loop {
            let reasons = sidecar.not_ready_because();
            if reasons.is_empty() {
                break;
            }
            if shutdown.is_cancelled() {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("not ready after {} s: {}", PATIENCE.as_secs(), reasons.join("; "));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    Ok(())
}

fn announce(
    public_url: &PublicUrl,
    people: &[String],
    theirs: &[(DashboardSlug, UpstreamAddress, SocketAddr)],
    took: Duration,
) {
    println!("{}  {}", bold("Portal"), bold(&public_url.to_string()));
    println!("People  no passwords; their tokens: curl {public_url}/mock/people");
    for person in people {
        println!("        {person}");
    }
    for (slug, address, egress) in theirs {
        println!("Run {slug} on {address} with KYROS_API_URL=http://{egress}");
    }
    println!("Ready in {:.1} s. Ctrl-C stops it.", took.as_secs_f64());
}
