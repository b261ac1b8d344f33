//! `kyros up`: gateway, API, controller, dashboards and their sidecars in one process, on loopback.

use std::{
    collections::HashMap,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use clap::Args;
use kyros_controller::{
    directory,
    resources::{DashboardSpec, Isolation, Transport},
};
use kyros_dashboard_kit::DataClient;
use kyros_http_server::shutdown_on_signal;
use kyros_shared_config::{DashboardSlug, PublicUrl};
use kyros_sidecar::settings::UpstreamAddress;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{
    data::make_demo,
    output::{self, Steps, bold},
    stack::{Foundation, Plan, Running, Site, Upstream, bind_gateway, listen_address, lock_state, private_folder},
};

/// Requests in flight may take this long to end after Ctrl-C.
const DRAIN: Duration = Duration::from_secs(3);

/// Run everything on this machine.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  cargo kyros up
  cargo kyros up --listen 127.0.0.1:9000 --state /tmp/kyros --manifests my/manifests --people my/people.yaml")]
pub struct UpArgs {
    /// Where browsers connect; port 0 picks a free one. Only loopback: there are no passwords.
    #[arg(long, env = "KYROS_LISTEN", default_value = "127.0.0.1:8080", value_parser = listen_address)]
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

/// The program that somebody else must start for a site: where it listens, and where it finds the data API.
fn expected_program(site: &Site) -> Option<(DashboardSlug, UpstreamAddress, SocketAddr)> {
    match &site.upstream {
        Upstream::Ours { .. } => None,
        Upstream::Theirs { address } => Some((site.slug.clone(), address.clone(), site.egress)),
    }
}

/// The dashboards that this program brings along.
fn built_in() -> HashMap<&'static str, fn(DataClient) -> axum::Router> {
    HashMap::from([("clv", kyros_clv::router as fn(DataClient) -> axum::Router), ("risk", kyros_risk::router)])
}

/// Starts everything, prints where it is, and runs until Ctrl-C or SIGTERM.
pub async fn run(args: UpArgs) -> anyhow::Result<()> {
    let shutdown = shutdown_on_signal();
    let started = Instant::now();
    let steps = Steps::new();
    steps.now("reading manifests");
    let listener = bind_gateway(args.listen, "up", &args.state).await?;
    // Before anything is made in a folder that was not meant.
    look_for_sources(&args)?;
    let lock = lock_state(&args.state, "up")?;
    let foundation = Foundation::lay(plan(&args), listener, lock).await?;
    let sites = bind_sites(&args).await?;
    tokio::task::block_in_place(|| make_demo(&args.data, |message| steps.now(message)))
        .with_context(|| format!("demo data in {}", args.data.display()))?;
    let theirs: Vec<_> = sites.iter().filter_map(expected_program).collect();
    let public_url = foundation.public_url.clone();
    let running = foundation.raise(sites, &steps, &shutdown).await?;
    steps.finish();
    announce(&public_url, &running.people, &theirs, started.elapsed());
    until(running, shutdown).await
}

/// What the defaults name is there in a checkout of Kyros alone.
fn look_for_sources(args: &UpArgs) -> anyhow::Result<()> {
    if !args.manifests.is_dir() {
        let folder = args.manifests.display();
        bail!(
            "there is no folder {folder}: give that of your manifests with --manifests, or start in a checkout of Kyros"
        );
    }
    if !args.people.exists() {
        let file = args.people.display();
        bail!("there is no file {file}: give that of your mock people with --people, or start in a checkout of Kyros");
    }
    Ok(())
}

fn plan(args: &UpArgs) -> Plan {
    Plan {
        base: "http://kyros.localhost",
        data: args.data.clone(),
        manifests: args.manifests.clone(),
        people: args.people.clone(),
        data_sources: args.data_sources.clone(),
        state: args.state.clone(),
        drain: DRAIN,
    }
}

/// Runs until the signal, or until a part ends by itself.
async fn until(mut running: Running, shutdown: CancellationToken) -> anyhow::Result<()> {
    let failed = tokio::select! {
        () = shutdown.cancelled() => false,
        () = running.part_ended() => !shutdown.is_cancelled(),
    };
    shutdown.cancel();
    let seconds = DRAIN.as_secs();
    output::say(&format!("stopping: requests in flight may take {seconds} s, Ctrl-C again ends at once"));
    running.stop().await;
    if failed {
        bail!("a part ended by itself; start again with --log info to see which")
    }
    Ok(())
}

/// One site per Dashboard resource.
async fn bind_sites(args: &UpArgs) -> anyhow::Result<Vec<Site>> {
    // The projector has just read the same folder without an error, so it changed in between.
    let Ok(set) = directory::load(&args.manifests) else {
        bail!("the manifests in {} changed while starting; start again", args.manifests.display());
    };
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
        let site = if let Some(router) = ours.get(name.as_str()) {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
            let upstream = Upstream::Ours { router: *router, address: listener.local_addr()?, listener };
            Site::bind(slug, upstream, None).await?
        } else {
            let address = expected_address(&slug, &dashboard.spec, &args.state)?;
            Site::bind(slug, Upstream::Theirs { address }, egress_port(dashboard.spec.port)).await?
        };
        sites.push(site);
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
/// A program that is started by hand wants an address that is the same tomorrow.
fn egress_port(port: i32) -> Option<u16> {
    u16::try_from(port).ok()?.checked_add(1000)
}

/// Whether somebody reads it or not: Kyros is there for browsers.
fn announce(
    public_url: &PublicUrl,
    people: &[String],
    theirs: &[(DashboardSlug, UpstreamAddress, SocketAddr)],
    took: Duration,
) {
    output::tell(&format!("{}  {}", bold("Portal"), bold(&public_url.to_string())));
    output::tell(&format!("People  no passwords; their tokens: curl {public_url}/mock/people"));
    for person in people {
        output::tell(&format!("        {person}"));
    }
    for (slug, address, egress) in theirs {
        output::tell(&format!("Run {slug} on {address} with KYROS_API_URL=http://{egress}"));
    }
    output::tell(&format!("Ready in {:.1} s. Ctrl-C stops it.", took.as_secs_f64()));
}
