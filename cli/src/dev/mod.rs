//! `kyros dev`: a developer's own dashboard behind the real gateway, sidecar and API, with mock people, on loopback.
//!
//! ```text
//!  browser ──► entry ──► portal's POST /login          the printed address; it only leads on
//!     └──────► gateway ──► sidecar ──► COMMAND         the very parts of `kyros up`
//!                            │  └─ observer ──► a line per request
//! ```
//!
//! It promises that what the dashboard receives is what it receives in production, and that nothing it started is left when it
//! ends. It never takes anything but loopback, and it writes to its state folder alone.

mod cast;
mod command;
mod datasets;
mod entry;
mod keyboard;
mod outlet;
mod process;
mod report;
mod screen;
mod signals;
mod supervisor;
mod watch;
mod world;

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::bail;
use clap::Args;
use kyros_shared_config::DashboardSlug;
use kyros_sidecar::{observer::SharedObserver, settings::UpstreamAddress};
use tokio::net::TcpListener;

use self::{
    cast::{Cast, Portal},
    command::Command,
    datasets::Given,
    entry::Entry,
    keyboard::Keyboard,
    report::Reporter,
    screen::Screen,
    signals::Signals,
    supervisor::Supervisor,
    watch::Watch,
    world::World,
};
use crate::{
    output::Steps,
    stack::{Foundation, Plan, Site, Upstream, bind_gateway, listen_address, lock_state},
};

/// A name of its own beside that of `kyros up`: cookies know names and no ports, so the two would sign each other's people out.
const BASE: &str = "http://kyros-dev.localhost";
/// Requests in flight may take this long to end.
const DRAIN: Duration = Duration::from_secs(1);

const EXAMPLES: &str = "\
The command finds its port in PORT and in KYROS_DASHBOARD_LISTEN, and the data API in KYROS_API_URL. What common frameworks \
read is set too (Streamlit, Gradio, Flask, uvicorn). {port} in its arguments becomes the port.

Examples:
  kyros dev -- python app.py
  kyros dev -- streamlit run app.py
  kyros dev -- uvicorn app:server --port {port}
  kyros dev --port 8501 -- ./serve                              (it has a port of its own)
  kyros dev --dataset orders=orders.csv -- python app.py        (the same rows for every tenant)
  kyros dev --data my-data -- python app.py                     (my-data/acme/orders.csv, my-data/globex/orders.parquet)
  kyros dev --manifests ../manifests --people ../people.yaml --name orders -- cargo run

While it runs, on a terminal: t next tenant, p next person, r restart, o open in the browser, h help, q quit.";

/// Run your own dashboard behind the real sidecar, with mock people.
#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES)]
pub struct DevArgs {
    /// What starts the dashboard, after `--`.
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<String>,
    /// The dashboard's name; without it that of ./kyros.yaml, or of this folder.
    #[arg(long)]
    name: Option<DashboardSlug>,
    /// The port that the command listens on by its own choice; without it a free one is chosen and told.
    #[arg(long)]
    port: Option<u16>,
    /// Where browsers connect; port 0 picks a free one. Only loopback: there are no passwords.
    #[arg(long, default_value = "127.0.0.1:8090", value_parser = listen_address)]
    listen: SocketAddr,
    /// A folder of Tenant and Dashboard manifests, instead of the demo tenants acme and globex.
    #[arg(long)]
    manifests: Option<PathBuf>,
    /// The people of the mock identity provider, instead of demo people or of the manifests' members.
    #[arg(long)]
    people: Option<PathBuf>,
    /// A folder of data: TENANT/NAME.csv for one tenant, NAME.csv for all; also .parquet and .ndjson.
    #[arg(long)]
    data: Option<PathBuf>,
    /// A file as a dataset of every tenant, or of one: orders=orders.csv, acme/orders=acme.parquet.
    #[arg(long, value_name = "[TENANT/]NAME=FILE")]
    dataset: Vec<Given>,
    /// Restart when something changes below this folder, instead of below this one; may be repeated.
    #[arg(long, value_name = "DIR")]
    watch: Vec<PathBuf>,
    /// Do not restart when a file changes.
    #[arg(long, conflicts_with = "watch")]
    no_reload: bool,
    /// Also show the headers that the sidecar adds, tokens shortened.
    #[arg(long)]
    headers: bool,
    /// The folder for sessions, keys and converted data.
    #[arg(long, env = "KYROS_DEV_STATE_DIR", default_value = ".kyros/dev")]
    state: PathBuf,
}

/// Starts everything, prints where it is, and runs until Ctrl-C, `q`, or a failure of the command's first start.
pub async fn run(args: DevArgs) -> anyhow::Result<()> {
    let signals = Signals::catch();
    let shutdown = signals.shutdown.clone();
    let started = Instant::now();
    let screen = Screen::new();
    let steps = Steps::new();
    steps.now("preparing tenants and data");
    // Later it would be one warning among the first lines of the dashboard.
    if let Some(missing) = args.watch.iter().find(|folder| !folder.is_dir()) {
        bail!("--watch: there is no folder {}", missing.display());
    }
    let listener = bind_gateway(args.listen, "dev", &args.state).await?;
    let lock = lock_state(&args.state, "dev")?;
    let world = tokio::task::block_in_place(|| World::build(&args))?;
    let foundation = Foundation::lay(plan(&args, &world), listener, lock).await?;
    let public_url = foundation.public_url.clone();
    let entry_listener = bind_entry(foundation.address()?).await?;

    let command = Command::reserve(args.command.clone(), args.port).await?;
    let upstream = Upstream::Theirs { address: UpstreamAddress::Tcp(command.address().to_string()) };
    let mut site = Site::bind(world.dashboard.clone(), upstream, None).await?;
    site.observer = Some(SharedObserver(Arc::new(Reporter::new(screen.clone(), args.headers))));
    let egress = site.egress;
    let mut running = foundation.raise(vec![site], &steps, &shutdown).await?;
    if shutdown.is_cancelled() {
        running.stop().await;
        return Ok(());
    }

    let portal = Portal::new(&public_url)?;
    let cast = Arc::new(Cast::gather(&portal, &world.dashboard).await?);
    let entry = Entry::new(&public_url, entry_listener.local_addr()?.port(), portal, cast.clone());
    let address = entry.address();
    tokio::spawn(entry.serve(entry_listener, shutdown.clone()));
    steps.finish();
    screen.announce(&address, &public_url, &cast, started.elapsed());
    for note in &world.notes {
        screen.note(note);
    }

    let command = command.with_environment(egress);
    let watch = (!args.no_reload).then(|| Watch::start(&args.watch, &args.state, &screen));
    let keyboard = Keyboard::open(&screen);
    let mut supervisor = Supervisor::new(command, screen.clone(), world, cast, address, watch, keyboard);
    let outcome = tokio::select! {
        outcome = supervisor.run(&shutdown) => outcome,
        // Also what ends in order ends by itself.
        () = running.part_ended() => if shutdown.is_cancelled() {
            Ok(())
        } else {
            Err(anyhow::anyhow!("a part of Kyros ended by itself; start again with --log info to see which"))
        },
    };
    // The terminal is as it was before anything takes time.
    supervisor.close_keyboard();
    shutdown.cancel();
    tokio::join!(supervisor.end(&signals.at_once), running.stop());
    outcome
}

fn plan(args: &DevArgs, world: &World) -> Plan {
    Plan {
        base: BASE,
        data: world.data.clone(),
        manifests: world.manifests.clone(),
        people: world.people.clone(),
        data_sources: None,
        state: args.state.clone(),
        drain: DRAIN,
    }
}

/// The port after the gateway's where that is free, so that the printed address is the same tomorrow.
async fn bind_entry(gateway: SocketAddr) -> anyhow::Result<TcpListener> {
    let next = gateway.port().checked_add(1).unwrap_or(0);
    for port in [next, 0] {
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await {
            return Ok(listener);
        }
    }
    bail!("no port is free on 127.0.0.1")
}
