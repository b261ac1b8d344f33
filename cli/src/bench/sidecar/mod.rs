//! `kyros bench sidecar`: the sidecar beside the least that a proxy can cost, in one run.
//!
//! ```text
//!            second CPU                  first CPU
//!  load ─┬─────────────────────────────────────────────► upstream   direct
//!        ├─────────────► pass-through ─── TCP ─────────► upstream   bare
//!        ├─────────────► pass-through ─── Unix socket ─► upstream   bare
//!        ├─────────────► kyros-sidecar ── TCP ─────────► upstream
//!        ├─────────────► kyros-sidecar ── Unix socket ─► upstream
//!        └─────────────► other proxies ─ ─ ─ ─ ─ ─ ─ ─ ► upstream
//! ```

mod alone;
mod keys;
pub(super) mod pass_through;
mod report;
mod rounds;
mod starter;
mod targets;
pub(super) mod upstream;

use std::{
    io::IsTerminal as _,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context as _, ensure};
use clap::Args;
use kyros_control_plane::install::own_folder;
use tempfile::TempDir;
use url::Url;

use self::{
    keys::{ISSUER, Keys},
    report::{OVER_TCP, OVER_UNIX, Report, half_of_the_slowest},
    rounds::{CLOSED_CONNECTIONS, Plan, download},
    starter::Starter,
    targets::{Named, Target, peers},
};
use super::{
    cluster::Process,
    parts::{duration, measure_on_one_thread},
    print,
    processes::{Cores, free_address, raise_descriptor_limit, until_answered},
};
use crate::output::Steps;

/// The sidecar's program, beside this one.
const SIDECAR: &str = "kyros-sidecar";
/// Downloads of a GiB from each target.
const DOWNLOADS: usize = 5;

/// What to measure.
#[derive(Debug, Clone, Args)]
pub struct SidecarArgs {
    /// How often every target has its turn.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..))]
    pub rounds: u16,
    /// How long a turn is, such as 1s or 250ms.
    #[arg(long, default_value = "1s", value_parser = duration)]
    pub slice: Duration,
    /// Requests a second while latency is measured; by default half of what the slowest target can do.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    pub rate: Option<u32>,
    /// The port of the upstream, for proxies that are to stand in front of it.
    #[arg(long, value_name = "PORT")]
    pub upstream_port: Option<u16>,
    /// Another proxy that runs in front of the upstream; give it the first CPU yourself (taskset -c 0).
    #[arg(long = "peer", value_name = "NAME=URL")]
    pub peers: Vec<Named<Url>>,
    /// A process of that proxy, whose CPU time counts; once for each.
    #[arg(long = "peer-pid", value_name = "NAME=PID")]
    pub peer_pids: Vec<Named<u32>>,
    /// A file with another token for that proxy; read again before each of its turns.
    #[arg(long = "peer-token", value_name = "NAME=FILE")]
    pub peer_tokens: Vec<Named<PathBuf>>,
    /// The sidecar to measure; by default that of `cargo build --profile sidecar --package kyros-sidecar`.
    #[arg(long, value_name = "FILE")]
    pub sidecar: Option<PathBuf>,
    /// Keep the keys here, so that another proxy can verify the same tokens: jwks.json, public.pem, token.
    #[arg(long, value_name = "FOLDER")]
    pub keys: Option<PathBuf>,
    /// Write the keys and end.
    #[arg(long, requires = "keys")]
    pub prepare: bool,
}

/// Measures and prints.
pub(super) async fn run(arguments: SidecarArgs) -> anyhow::Result<()> {
    let keys = Keys::open(arguments.keys.as_deref())?;
    if arguments.prepare {
        println!("{}", keys.description());
        return Ok(());
    }
    measure_on_one_thread(async move || measure(&arguments, &keys).await).await
}

/// Everything that is up during the rounds; it goes away with this value.
struct Bench {
    starter: Starter,
    upstream: SocketAddr,
    targets: Vec<Target>,
    own_targets: usize,
    _processes: Vec<Process>,
    _folder: TempDir,
}

async fn measure(arguments: &SidecarArgs, keys: &Keys) -> anyhow::Result<()> {
    let cores = Cores::find();
    if !cores.are_apart() {
        eprintln!("kyros: there is one CPU for everything, so the load takes from what it measures");
    }
    cores.pin_load();
    raise_descriptor_limit()?;
    let steps = std::io::stderr().is_terminal().then(Steps::new);
    let now = |message: String| {
        if let Some(steps) = &steps {
            steps.now(message);
        }
    };
    now("starting all targets".to_owned());
    let bench = Bench::start(arguments, keys, cores)?;
    let targets = bench.targets.as_slice();
    let plan = Plan { rounds: arguments.rounds.into(), slice: arguments.slice };

    let throughput = plan.throughput(targets, keys, |round| {
        now(format!("as fast as it goes, round {round} of {}", plan.rounds));
    });
    let throughput = throughput.await?;
    let half = half_of_the_slowest(&throughput).context("no rounds")?;
    let requests_per_second = arguments.rate.map_or(half, f64::from);
    let latency = plan.latency(targets, keys, requests_per_second, |round| {
        now(format!("{requests_per_second:.0} requests/s, round {round} of {}", plan.rounds));
    });
    let latency = latency.await?;
    let own_targets = &targets[..bench.own_targets];
    let download =
        download(own_targets, keys, DOWNLOADS, |run| now(format!("a GiB, run {run} of {DOWNLOADS}"))).await?;

    let report = Report { targets, throughput, latency, download, requests_per_second };
    let mut figures = report.figures();
    now("showing new tokens".to_owned());
    figures.push(alone::unseen_token(&targets[OVER_TCP], keys).await?);
    now("counting memory".to_owned());
    figures.extend(alone::memory(&bench.starter, keys, bench.upstream).await?);
    now("starting again and again".to_owned());
    figures.push(alone::start(&bench.starter, keys, bench.upstream)?);
    figures.push(alone::program_size(&bench.starter)?);
    if let Some(steps) = &steps {
        steps.finish();
    }
    report.print_targets(CLOSED_CONNECTIONS);
    print(figures);
    Ok(())
}

impl Bench {
    /// Starts our own targets, and makes sure of all of them that they do what is going to be timed.
    fn start(arguments: &SidecarArgs, keys: &Keys, cores: Cores) -> anyhow::Result<Self> {
        let peers = peers(&arguments.peers, &arguments.peer_pids, &arguments.peer_tokens)?;
        let kyros = std::env::current_exe()?;
        let sidecar = match &arguments.sidecar {
            Some(sidecar) => std::path::absolute(sidecar)?,
            // The profile that images are made with, whose folder stands beside this program's.
            None => own_folder(&kyros).join("../sidecar").join(SIDECAR),
        };
        ensure!(
            sidecar.exists(),
            "{} is missing: cargo build --profile sidecar --package kyros-sidecar",
            sidecar.display()
        );
        let starter = Starter { cores, kyros, sidecar, jwks: keys.jwks_file(), issuer: ISSUER };

        let folder = tempfile::tempdir()?;
        let socket = folder.path().join("upstream.sock");
        let upstream = match arguments.upstream_port {
            Some(port) => SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            None => free_address()?,
        };
        let mut processes = Vec::new();
        let mut targets = Vec::new();
        let mut up = |name: &str, address: SocketAddr, mut process: Process, is_proxy: bool| {
            let pids = if is_proxy { vec![process.0.id()] } else { Vec::new() };
            let target = Target::own(name, address, pids);
            let request = target.request("/", &keys.token()?)?;
            until_answered(&mut process.0, address, &request).with_context(|| name.to_owned())?;
            processes.push(process);
            targets.push(target);
            anyhow::Ok(())
        };
        // In the order in which the report knows them.
        up("direct", upstream, starter.upstream(upstream, &socket)?, false)?;
        let address = free_address()?;
        let (tcp, unix) = (upstream.to_string(), format!("unix:{}", socket.display()));
        up("bare pass-through", address, starter.pass_through(address, &tcp)?, true)?;
        let address = free_address()?;
        up("bare, Unix socket", address, starter.pass_through(address, &unix)?, true)?;
        let address = free_address()?;
        up("sidecar, TCP", address, starter.sidecar(address, &tcp)?.1, true)?;
        let address = free_address()?;
        up("sidecar, Unix socket", address, starter.sidecar(address, &unix)?.1, true)?;

        let own_targets = targets.len();
        targets.extend(peers);
        for target in &mut targets {
            target.check(keys)?;
        }
        for guard in [OVER_TCP, OVER_UNIX] {
            let Target { name, without_token, .. } = &targets[guard];
            ensure!(*without_token == 401, "{name}: answered {without_token} without a token");
        }
        Ok(Self { starter, upstream, targets, own_targets, _processes: processes, _folder: folder })
    }
}
