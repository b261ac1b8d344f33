//! The parts of Kyros in one process on loopback: what `kyros up` and `kyros dev` both stand on.
//!
//! Every socket is bound before any part starts, so that a taken port is a sentence and not half an installation.

mod site;
mod state;

use std::{
    fs::File,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use kyros_api::{Api, ApiSettings, settings::FRAME_CACHE_MIB};
use kyros_controller::{
    ProjectSettings, Projector,
    project::{COMPARE_EVERY, CONFIRM_EVERY, Source},
};
use kyros_http_server::admin::Operations as _;
use kyros_shared_config::PublicUrl;
use kyros_sidecar::{Gateway, GatewaySettings, Sidecar, settings::Routes};
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::CancellationToken;

use crate::output::{Steps, program};

pub(crate) use site::{Site, Upstream};
pub(crate) use state::{lock_state, private_folder};

/// How long a part may take to become reachable at the start.
const PATIENCE: Duration = Duration::from_secs(30);
/// Nobody gets a new token while the manifests could not be read for this long, in seconds.
const PROJECTION_MAX_AGE: i64 = 900;

/// Where things are.
pub(crate) struct Plan {
    /// Scheme and name under which they do.
    pub(crate) base: &'static str,
    pub(crate) data: PathBuf,
    pub(crate) manifests: PathBuf,
    pub(crate) people: PathBuf,
    pub(crate) data_sources: Option<PathBuf>,
    pub(crate) state: PathBuf,
    /// How long requests in flight may take to end.
    pub(crate) drain: Duration,
}

/// Everything that must be right before a part starts: loopback, a free port, a state folder of one's own, readable
/// manifests.
pub(crate) struct Foundation {
    pub(crate) plan: Plan,
    pub(crate) public_url: PublicUrl,
    listener: TcpListener,
    project: ProjectSettings,
    projector: Projector,
    lock: File,
}

impl Foundation {
    /// Reads the manifests, on the gateway's port and the state folder's lock.
    pub(crate) async fn lay(plan: Plan, listener: TcpListener, lock: File) -> anyhow::Result<Self> {
        let public_url = plan.base.parse::<PublicUrl>()?.on_port(listener.local_addr()?.port());
        let project = ProjectSettings {
            source: Source::Folder(plan.manifests.clone()),
            metadata_db: plan.state.join("metadata.db"),
            cluster_keys: None,
            confirm_every: CONFIRM_EVERY,
            compare_every: COMPARE_EVERY,
        };
        let projector = Projector::start(&project).await?;
        Ok(Self { plan, public_url, listener, project, projector, lock })
    }

    /// Where browsers connect.
    pub(crate) fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Starts every part and waits until all are ready.
    pub(crate) async fn raise(
        self,
        sites: Vec<Site>,
        steps: &Steps,
        shutdown: &CancellationToken,
    ) -> anyhow::Result<Running> {
        steps.now("starting the API");
        let api_listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let settings = self.api_settings(api_listener.local_addr()?);
        let api = Api::start(&settings).await?;
        let mut running = Running {
            people: api.mock_people(),
            edge: JoinSet::new(),
            control: JoinSet::new(),
            stop_control: CancellationToken::new(),
            _lock: self.lock,
        };
        running.control.spawn(self.projector.run(running.stop_control.clone()));
        running.control.spawn(api.serve(api_listener, running.stop_control.clone()));

        steps.now("starting dashboards and sidecars");
        let routes = Routes(sites.iter().map(|site| (site.slug.clone(), site.address.to_string())).collect());
        let mut sidecars = Vec::new();
        for site in sites {
            sidecars.push(site.start(&settings, self.plan.drain, &mut running.edge, shutdown)?);
        }
        steps.now("waiting for keys");
        wait_until_ready(&sidecars, shutdown).await?;
        let gateway = GatewaySettings {
            listen: self.listener.local_addr()?,
            public_url: self.public_url,
            api_upstream: settings.listen.to_string(),
            routes: Some(routes),
            service_template: "{service}:80".parse()?,
            workload_token: None,
            admin_listen: None,
            drain: self.plan.drain,
            write_timeout: GatewaySettings::WRITE_TIMEOUT,
        };
        let stop = shutdown.clone();
        running.edge.spawn(async move {
            if let Err(error) = Gateway::serve(gateway, self.listener, stop).await {
                tracing::error!(%error, "gateway");
            }
        });
        Ok(running)
    }

    fn api_settings(&self, listen: SocketAddr) -> ApiSettings {
        let plan = &self.plan;
        ApiSettings {
            listen,
            admin_listen: None,
            public_url: self.public_url.clone(),
            state_dir: plan.state.clone(),
            metadata_db: self.project.metadata_db.clone(),
            data_dir: plan.data.clone(),
            signing_key: None,
            mock_people: Some(plan.people.clone()),
            trusted_issuers: None,
            data_sources: plan.data_sources.clone(),
            cluster_keys: None,
            workload_namespace: String::new(),
            gateway_account: None,
            projection_max_age: PROJECTION_MAX_AGE,
            workload_dir: Some(plan.state.join("workloads")),
            query_concurrency: std::thread::available_parallelism().map_or(2, usize::from),
            frame_cache_mib: FRAME_CACHE_MIB,
        }
    }
}

/// What runs, in the order in which it stops.
pub(crate) struct Running {
    /// The mock people, a line each.
    pub(crate) people: Vec<String>,
    /// Gateway, sidecars, dashboards.
    edge: JoinSet<()>,
    /// API and projection: dashboards in flight still need them.
    control: JoinSet<()>,
    stop_control: CancellationToken,
    /// Held as long as anything writes to the state folder.
    _lock: File,
}

impl Running {
    /// Returns when a part has ended by itself. It takes the others along: half a Kyros looks like a whole one until
    /// somebody needs the rest.
    pub(crate) async fn part_ended(&mut self) {
        tokio::select! {
            _ = self.edge.join_next() => (),
            _ = self.control.join_next() => (),
        }
    }

    /// Waits for everything to end; the edge has been told to by the token that it was started with.
    pub(crate) async fn stop(mut self) {
        while self.edge.join_next().await.is_some() {}
        self.stop_control.cancel();
        while self.control.join_next().await.is_some() {}
    }
}

/// Reads `--listen`.
pub(crate) fn listen_address(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse().map_err(|_| "give an address and a port, such as 127.0.0.1:8080")
}

/// Binds where browsers connect, on loopback and nowhere else. `state` is the folder that the command is to use.
pub(crate) async fn bind_gateway(address: SocketAddr, command: &str, state: &Path) -> anyhow::Result<TcpListener> {
    if !address.ip().is_loopback() {
        bail!("{address} is not loopback: people sign in here without passwords, so nobody else may reach it");
    }
    match TcpListener::bind(address).await {
        Ok(listener) => Ok(listener),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => bail!(
            "port {} of {} is taken; stop what uses it, or take one that is free: {}",
            address.port(),
            address.ip(),
            beside(address, command, state::is_in_use(state)),
        ),
        Err(error) => Err(error).with_context(|| format!("cannot listen on {address}")),
    }
}

/// How the command is started beside another one. The next port may be taken as well, so the system chooses.
fn beside(address: SocketAddr, command: &str, is_state_in_use: bool) -> String {
    let listen = SocketAddr::new(address.ip(), 0);
    let state = if is_state_in_use { " --state OTHER_FOLDER" } else { "" };
    format!("{} {command} --listen {listen}{state} ...", program())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_port_and_a_port_alone_is_told_so() {
        assert_eq!(listen_address("127.0.0.1:0").unwrap().port(), 0);
        for wrong in ["8080", "127.0.0.1", "localhost:8080", ""] {
            assert!(listen_address(wrong).unwrap_err().contains("127.0.0.1:8080"), "{wrong}");
        }
    }

    #[tokio::test]
    async fn a_second_start_is_told_one_that_works() {
        let folder = tempfile::TempDir::new().unwrap();
        let (first, free) = (folder.path().join("first"), folder.path().join("free"));
        let listener = bind_gateway("127.0.0.1:0".parse().unwrap(), "dev", &first).await.unwrap();
        let _lock = lock_state(&first, "dev").unwrap();
        let taken = listener.local_addr().unwrap();
        let same_folder = bind_gateway(taken, "dev", &first).await.unwrap_err().to_string();
        assert!(same_folder.ends_with("kyros dev --listen 127.0.0.1:0 --state OTHER_FOLDER ..."), "{same_folder}");
        let other_folder = bind_gateway(taken, "dev", &free).await.unwrap_err().to_string();
        assert!(other_folder.ends_with("kyros dev --listen 127.0.0.1:0 ..."), "{other_folder}");
        assert!(!free.exists(), "looking makes nothing");
    }
}
