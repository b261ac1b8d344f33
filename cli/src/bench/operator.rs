//! `kyros bench operator`: the controller on a real control plane, at the sizes that the chart promises.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use clap::Args;
use futures_util::{StreamExt as _, future::join_all};
use http::header;
use k8s_openapi::api::coordination::v1::Lease;
use kube::{
    Api, Client, ResourceExt as _,
    api::{ListParams, Patch, PatchParams},
    runtime::{
        WatchStreamExt as _,
        watcher::{self, watcher},
    },
};
use kyros_control_plane::{
    Assets, ControlPlane, Options, free_port,
    install::{Install, SYSTEM_NAMESPACE, Sources, own_folder},
};
use kyros_controller::resources::{Dashboard, Tenant};
use serde_json::json;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

use super::{
    Figure,
    cluster::{Process, client, counter, create, until_ready},
    percentile, print,
};
use crate::output::Steps;

const NAMESPACE: &str = "default";
/// Repeated where a single run says little.
const RUNS: usize = 3;
/// Patches whose way to the status is timed.
const PATCHES: usize = 200;
/// Sockets that a suspension closes.
const SOCKETS: usize = 20;
/// How long nothing must be written.
const SILENCE: Duration = Duration::from_mins(1);
/// Nothing here takes longer, or it is broken.
const PATIENCE: Duration = Duration::from_mins(10);

/// What to measure.
#[derive(Debug, Clone, Args)]
pub struct OperatorArgs {
    /// Dashboards that the controller meets when it starts.
    #[arg(long, default_value_t = 1_000)]
    pub dashboards: usize,
    /// Tenants that are projected and whose status is kept.
    #[arg(long, default_value_t = 10_000)]
    pub tenants: usize,
    /// The folder of Kyros's programs; by default where this one is.
    #[arg(long)]
    pub programs: Option<PathBuf>,
    /// The repository, for the definitions and the demo's resources.
    #[arg(long, default_value = ".")]
    pub repository: PathBuf,
}

struct Bench {
    plane: ControlPlane,
    client: Client,
    controller: PathBuf,
    admin: SocketAddr,
}

/// Measures and prints.
pub(super) async fn run(arguments: OperatorArgs) -> anyhow::Result<()> {
    let Some(assets) = Assets::find() else { bail!("a control plane is needed") };
    let own = own_folder(&std::env::current_exe()?);
    let sources =
        Sources { programs: arguments.programs.clone().unwrap_or(own), repository: arguments.repository.clone() };
    let steps = Steps::new();
    let mut figures = Vec::new();
    steps.now(format!("suspending a tenant with {SOCKETS} open sockets, {RUNS} times"));
    figures.push(suspension(&assets, &sources).await?);
    steps.now("starting a control plane");
    let bench = Bench::start(&assets, &sources).await?;
    steps.now(format!("making {} dashboards", arguments.dashboards));
    bench.make_dashboards(arguments.dashboards).await?;
    steps.now("starting the controller cold");
    let (leader, figure) = bench.cold_start(arguments.dashboards).await?;
    figures.push(figure);
    steps.now(format!("patching {PATCHES} times"));
    figures.push(bench.patch_to_status().await?);
    steps.now(format!("making {} tenants", arguments.tenants));
    bench.make_tenants(arguments.tenants).await?;
    steps.now("waiting for every tenant's status");
    bench.until_tenants_have_status(arguments.tenants).await?;
    steps.now(format!("listening for {} s", SILENCE.as_secs()));
    figures.push(bench.silence().await?);
    let (now, most) = leader.memory()?;
    figures.push(Figure::new(
        format!("controller's memory with {} tenants, {} dashboards", arguments.tenants, arguments.dashboards),
        format!("{now:.1} MiB now, {most:.1} MiB at most"),
        "≤ 64 MiB",
    ));
    steps.now(format!("projecting {} tenants from nothing, {RUNS} times", arguments.tenants));
    figures.push(bench.projection(arguments.tenants).await?);
    steps.now("killing and stopping leaders");
    figures.extend(bench.failover(leader).await?);
    steps.finish();
    print(figures);
    Ok(())
}

fn milliseconds(duration: Duration) -> String {
    format!("{} ms", duration.as_millis())
}

fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

impl Bench {
    async fn start(assets: &Assets, sources: &Sources) -> anyhow::Result<Self> {
        let plane = ControlPlane::start(assets, Options::default())?;
        let definitions = sources.repository.join("charts/kyros/files/crds").display().to_string();
        plane.kubectl_ok(&["apply", "-f", &definitions], "")?;
        let wait = ["wait", "--for=condition=Established", "crd/tenants.kyros.dev", "crd/dashboards.kyros.dev"];
        plane.kubectl_ok(&wait, "")?;
        plane.kubectl_ok(&["create", "namespace", SYSTEM_NAMESPACE], "")?;
        let client = client(plane.kubeconfig()).await?;
        let admin = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
        Ok(Self { plane, client, controller: sources.programs.join("kyros-controller"), admin })
    }

    fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), NAMESPACE)
    }

    async fn make_dashboards(&self, count: usize) -> anyhow::Result<()> {
        let dashboard = |number: usize| {
            let spec = json!({"title": format!("Dashboard {number}"), "image": "localhost/dashboard:1", "datasets": ["transactions"]});
            Ok::<_, serde_json::Error>(Dashboard::new(&format!("d{number}"), serde_json::from_value(spec)?))
        };
        let dashboards = (0..count).map(dashboard).collect::<Result<Vec<_>, _>>()?;
        create(&self.client, NAMESPACE, dashboards.into_iter()).await
    }

    async fn make_tenants(&self, count: usize) -> anyhow::Result<()> {
        let tenant = |number: usize| {
            let spec = json!({
                "displayName": format!("Tenant number {number}"),
                "members": [{"user": format!("ana@t{number}.example"), "roles": ["viewer"]}, {"group": format!("t{number}-analysts")}],
                "dashboards": ["d0", "d1"],
            });
            Ok::<_, serde_json::Error>(Tenant::new(&format!("t{number}"), serde_json::from_value(spec)?))
        };
        let tenants = (0..count).map(tenant).collect::<Result<Vec<_>, _>>()?;
        create(&self.client, NAMESPACE, tenants.into_iter()).await
    }

    fn controller(&self, admin: SocketAddr, identity: &str) -> anyhow::Result<Process> {
        let admin = admin.to_string();
        let arguments = ["run", "--admin-listen", &admin, "--identity", identity];
        Process::start(&self.controller, &arguments, self.plane.kubeconfig())
    }

    /// From the controller's start until every dashboard has its status, which it gets after its children.
    async fn cold_start(&self, count: usize) -> anyhow::Result<(Process, Figure)> {
        let begun = Instant::now();
        let leader = self.controller(self.admin, "first")?;
        let events = watcher(self.api::<Dashboard>(), watcher::Config::default()).default_backoff().applied_objects();
        let mut events = std::pin::pin!(events);
        let mut done = std::collections::HashSet::new();
        let all = async {
            while done.len() < count {
                let Some(Ok(dashboard)) = events.next().await else { continue };
                if dashboard.status.is_some_and(|status| status.observed_generation == dashboard.metadata.generation) {
                    done.insert(dashboard.metadata.name);
                }
            }
        };
        tokio::time::timeout(PATIENCE, all).await.context("not every dashboard has its status")?;
        let took = begun.elapsed();
        let ours = ListParams::default().labels("app.kubernetes.io/managed-by=kyros-controller");
        let deployments = self.api::<k8s_openapi::api::apps::v1::Deployment>().list_metadata(&ours).await?.items.len();
        if deployments != count {
            bail!("{deployments} deployments for {count} dashboards");
        }
        let rate = count as f64 / took.as_secs_f64();
        let seen = format!("{} ({rate:.0} a second)", seconds(took));
        Ok((leader, Figure::new(format!("{count} dashboards cold, children and status"), seen, "≤ 90 s")))
    }

    /// From a patch of a dashboard's spec until its status speaks of that spec.
    async fn patch_to_status(&self) -> anyhow::Result<Figure> {
        let dashboards = self.api::<Dashboard>();
        let events = watcher(dashboards.clone(), watcher::Config::default()).default_backoff().applied_objects();
        let mut events = std::pin::pin!(events);
        let mut took = Vec::new();
        for number in 0..PATCHES {
            let name = format!("d{}", number % 50);
            let patch = json!({"spec": {"title": format!("Patched {number}"), "replicas": 1 + number % 3}});
            let begun = Instant::now();
            let patched = dashboards.patch(&name, &PatchParams::default(), &Patch::Merge(&patch)).await?;
            let seen = async {
                loop {
                    let Some(Ok(dashboard)) = events.next().await else { continue };
                    let observed = dashboard.status.as_ref().and_then(|status| status.observed_generation);
                    if dashboard.name_any() == name && observed >= patched.metadata.generation {
                        return;
                    }
                }
            };
            tokio::time::timeout(PATIENCE, seen).await.context("the status never follows")?;
            took.push(begun.elapsed());
        }
        let (median, high) = (percentile(&mut took, 50), percentile(&mut took, 99));
        let seen =
            format!("p50 {}, p99 {}", milliseconds(median.unwrap_or_default()), milliseconds(high.unwrap_or_default()));
        Ok(Figure::new("patch of a dashboard to its status", seen, "p99 ≤ 500 ms"))
    }

    async fn until_tenants_have_status(&self, count: usize) -> anyhow::Result<()> {
        let tenants = self.api::<Tenant>();
        let begun = Instant::now();
        loop {
            // All but the first few is not all.
            let listed = tenants.list(&ListParams::default()).await?;
            let done = listed.items.iter().filter(|tenant| tenant.status.is_some()).count();
            if done >= count {
                return Ok(());
            }
            if begun.elapsed() > PATIENCE {
                bail!("{done} of {count} tenants have a status");
            }
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
    }

    /// Requests that change something while nothing happens; renewing the lease, which must go on, is not among them.
    async fn silence(&self) -> anyhow::Result<Figure> {
        // What the last changes set off comes to rest first.
        let mut before = counter(self.admin, "kyros_controller_writes_total").await?;
        loop {
            tokio::time::sleep(Duration::from_secs(3)).await;
            let now = counter(self.admin, "kyros_controller_writes_total").await?;
            if now == before {
                break;
            }
            before = now;
        }
        tokio::time::sleep(SILENCE).await;
        let written = counter(self.admin, "kyros_controller_writes_total").await? - before;
        Ok(Figure::new(format!("writes while idle for {} s", SILENCE.as_secs()), written.to_string(), "0"))
    }

    /// From the projector's start until its first complete list is committed.
    async fn projection(&self, count: usize) -> anyhow::Result<Figure> {
        let mut took = Vec::new();
        for _ in 0..RUNS {
            let folder = tempfile::tempdir()?;
            let admin = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
            let database = folder.path().join("metadata.db").display().to_string();
            let source = format!("cluster:{NAMESPACE}");
            let listen = admin.to_string();
            let arguments = ["project", "--source", &source, "--metadata-db", &database, "--admin-listen", &listen];
            let begun = Instant::now();
            let _projector = Process::start(&self.controller, &arguments, self.plane.kubeconfig())?;
            tokio::time::timeout(PATIENCE, until_ready(admin)).await.context("never projected")?;
            took.push(begun.elapsed());
        }
        let seen = format!("{} (median of {RUNS})", seconds(percentile(&mut took, 50).unwrap_or_default()));
        Ok(Figure::new(format!("{count} tenants projected from a cold start"), seen, "≤ 5 s"))
    }

    /// From the loss of a leader until another holds the lease.
    async fn failover(&self, mut leader: Process) -> anyhow::Result<Vec<Figure>> {
        let mut figures = Vec::new();
        for signal in ["KILL", "STOP"] {
            let admin = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
            let follower = self.controller(admin, &format!("after-{}", signal.to_lowercase()))?;
            // It has to have seen the lease before the other one goes.
            tokio::time::sleep(Duration::from_secs(4)).await;
            let begun = Instant::now();
            leader.signal(signal)?;
            let leases: Api<Lease> = Api::namespaced(self.client.clone(), SYSTEM_NAMESPACE);
            loop {
                let holder = leases.get("kyros-controller").await?.spec.and_then(|spec| spec.holder_identity);
                if holder.is_some_and(|holder| holder.starts_with("after-") && holder.contains(&signal.to_lowercase()))
                {
                    break;
                }
                if begun.elapsed() > PATIENCE {
                    bail!("nobody follows after SIG{signal}");
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            figures.push(Figure::new(format!("another leads after SIG{signal}"), seconds(begun.elapsed()), "≤ 20 s"));
            leader = follower;
        }
        Ok(figures)
    }
}

/// From `kubectl patch` until the last of a tenant's sockets is closed, through every part.
async fn suspension(assets: &Assets, sources: &Sources) -> anyhow::Result<Figure> {
    let plane = ControlPlane::start(assets, Options::default())?;
    let install = Install::start(&plane, sources)?;
    let tenants: Api<Tenant> = Api::namespaced(client(plane.kubeconfig()).await?, NAMESPACE);
    let suspend = async |suspended: bool| {
        let patch = json!({"spec": {"suspended": suspended}});
        tenants.patch("acme", &PatchParams::default(), &Patch::Merge(&patch)).await.map(drop)
    };
    let mut took = Vec::new();
    for _ in 0..RUNS {
        let token = exchange(&install).await?;
        let mut sockets = Vec::new();
        for _ in 0..SOCKETS {
            sockets.push(socket(&install, &token).await?);
        }
        let begun = Instant::now();
        suspend(true).await?;
        let closed = sockets.iter_mut().map(|socket| async { while let Some(Ok(_)) = socket.next().await {} });
        tokio::time::timeout(PATIENCE, join_all(closed)).await.context("sockets stay open")?;
        took.push(begun.elapsed());
        suspend(false).await?;
        // Tokens of the second in which the tenant was shut stay worthless.
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    let longest = took.iter().max().copied().unwrap_or_default();
    let seen = format!(
        "{} (median of {RUNS}), {} at most",
        milliseconds(percentile(&mut took, 50).unwrap_or_default()),
        milliseconds(longest)
    );
    Ok(Figure::new(format!("patch suspended to the last of {SOCKETS} sockets closed"), seen, "≤ 1 s"))
}

/// A tenant token for Ana at Acme, by the API's own ways.
async fn exchange(install: &Install) -> anyhow::Result<String> {
    let http = reqwest::Client::new();
    let at = |path: &str| format!("http://127.0.0.1:{}{path}", install.api_port);
    let people: serde_json::Value = http.get(at("/mock/people")).send().await?.error_for_status()?.json().await?;
    let ana = people.as_array().and_then(|people| people.iter().find(|person| person["sub"] == "ana"));
    let ana = ana.and_then(|ana| ana["token"].as_str()).context("no token of Ana's")?;
    let wanted = json!({"tenant_id": "acme", "dashboard": "clv"});
    let answer = http.post(at("/api/token/exchange")).bearer_auth(ana).json(&wanted).send().await?;
    let answer: serde_json::Value = answer.error_for_status()?.json().await?;
    Ok(answer["access_token"].as_str().context("no token in the answer")?.to_owned())
}

type Socket = tokio_tungstenite::WebSocketStream<tokio::net::TcpStream>;

async fn socket(install: &Install, token: &str) -> anyhow::Result<Socket> {
    let mut request = format!("ws://clv--acme.kyros.localhost:{}/live", install.port).into_client_request()?;
    request.headers_mut().insert(header::AUTHORIZATION, format!("Bearer {token}").parse()?);
    let stream = tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, install.port)).await?;
    let (mut socket, _) = tokio_tungstenite::client_async(request, stream).await?;
    socket.next().await.context("no greeting")??;
    Ok(socket)
}
