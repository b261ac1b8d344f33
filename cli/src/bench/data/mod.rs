//! `kyros bench data`: the data API beside Polars in-process on the same files, in one run.
//!
//! ```text
//!     second CPU                first CPU
//!  load ── HTTP/1.1 ──► kyros-api ─────────┐
//!    └──── a pipe ────► Polars alone ──────┴──► the same Parquet files
//! ```
//!
//! What needs room, such as an import or a storm, has all CPUs and comes first.

mod crowd;
mod dataset;
pub(super) mod import;
mod installation;
mod pace;
pub(super) mod peer;
mod queries;
mod rounds;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use clap::{Args, ValueEnum};
use kyros_control_plane::install::own_folder;

use self::{
    dataset::Data,
    installation::Installation,
    peer::Peer,
    rounds::{CLIENTS, Peers, Rounds, TENANT},
};
use super::{
    Figure,
    parts::{duration, measure_on_one_thread},
    print,
    processes::{Cores, raise_descriptor_limit, start_anywhere},
};
use crate::output::Steps;

/// The API's program, beside this one.
const API: &str = "kyros-api";

/// A part of the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// A fresh import.
    Import,
    /// Memory while many ask.
    Memory,
    /// What one tenant feels of another's storm.
    Storm,
    /// Group-bys beside those of Polars.
    Groups,
    /// Rows.
    Pages,
    /// Answers that are there already.
    LookUps,
    /// Token exchanges.
    Exchanges,
    /// All rows as an Arrow stream.
    Streams,
}

/// What to measure.
#[derive(Debug, Clone, Args)]
pub struct DataArgs {
    /// Only these parts; otherwise all.
    #[arg(long, value_name = "PART", value_delimiter = ',')]
    pub only: Vec<Part>,
    /// How often everything has its turn.
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u16).range(1..))]
    pub rounds: u16,
    /// How long a turn is, such as 1s or 250ms.
    #[arg(long, default_value = "1s", value_parser = duration)]
    pub slice: Duration,
    /// The API to measure; by default the one beside this program.
    #[arg(long, value_name = "FILE")]
    pub api: Option<PathBuf>,
    /// A Python that has pandas and pyarrow, to measure their group-bys too.
    #[arg(long, value_name = "FILE")]
    pub pandas: Option<PathBuf>,
    /// Where the made data is kept; by default .cache/kyros/bench-data in the home folder.
    #[arg(long, value_name = "FOLDER")]
    pub cache: Option<PathBuf>,
}

/// Measures and prints.
pub(super) async fn run(arguments: DataArgs) -> anyhow::Result<()> {
    measure_on_one_thread(async move || measure(&arguments).await).await
}

async fn measure(arguments: &DataArgs) -> anyhow::Result<()> {
    let kyros = std::env::current_exe()?;
    let api = match &arguments.api {
        Some(api) => std::path::absolute(api)?,
        None => own_folder(&kyros).join(API),
    };
    ensure!(api.exists(), "{} is missing: cargo build --release --workspace --bins", api.display());
    raise_descriptor_limit()?;
    let steps = Steps::new();
    let data = Data::make(&cache(arguments)?, |message| steps.now(message))?;
    let installation = Installation::prepare(api, &data).await?;
    let mut last = Vec::new();
    if arguments.wants(Part::Import) {
        steps.now("importing");
        last.push(import::measure(&kyros, &data)?);
    }
    // Before this thread is pinned: then there is only one for it.
    let cores = Cores::find();
    let crowd = crowd(&installation, cores, arguments, &steps).await?;
    let rounds = alternate(&installation, &data, &kyros, cores, arguments, &steps).await?;
    steps.finish();
    let mut figures = rounds.figures(arguments);
    figures.extend(crowd);
    figures.extend(last);
    print(figures);
    Ok(())
}

impl DataArgs {
    fn wants(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }
}

fn cache(arguments: &DataArgs) -> anyhow::Result<PathBuf> {
    match &arguments.cache {
        Some(cache) => Ok(cache.clone()),
        None => Ok(std::env::home_dir().context("a home folder, or --cache FOLDER")?.join(".cache/kyros/bench-data")),
    }
}

/// On all CPUs; from here on the load keeps to the second.
async fn crowd(
    installation: &Installation,
    cores: Cores,
    arguments: &DataArgs,
    steps: &Steps,
) -> anyhow::Result<Vec<Figure>> {
    let api = installation.start(start_anywhere)?;
    if !cores.are_apart() {
        eprintln!("kyros: there is one CPU for everything, so the load takes from what it measures");
    }
    cores.pin_load();
    // Memory first: what comes later finds what earlier queries left behind.
    let mut memory = None;
    if arguments.wants(Part::Memory) {
        steps.now("counting memory");
        memory = Some(crowd::memory(&api).await.context("memory").map_err(|error| api.explain(error))?);
    }
    let mut figures = Vec::new();
    if arguments.wants(Part::Storm) {
        let rounds = usize::from(arguments.rounds);
        let progress = |round| steps.now(format!("a storm, round {round} of {rounds}"));
        let fairness = crowd::fairness(&api, rounds, progress).await.context("fairness");
        figures.push(fairness.map_err(|error| api.explain(error))?);
    }
    figures.extend(memory);
    Ok(figures)
}

/// On one CPU, in turns.
async fn alternate(
    installation: &Installation,
    data: &Data,
    kyros: &Path,
    cores: Cores,
    arguments: &DataArgs,
    steps: &Steps,
) -> anyhow::Result<Rounds> {
    let mut rounds = Rounds::default();
    let in_turns = [Part::Groups, Part::Pages, Part::LookUps, Part::Exchanges, Part::Streams];
    if !in_turns.iter().any(|part| arguments.wants(*part)) {
        return Ok(rounds);
    }
    let api = installation.start(|command| cores.start_measured(command).map(|(_, process)| process))?;
    let file = data.file(TENANT, "clv", "transactions");
    let mut peers = Peers {
        polars: Peer::start(cores, kyros, &file, CLIENTS)?,
        pandas: arguments.pandas.as_ref().map(|python| Peer::pandas(cores, python, &file)).transpose()?,
    };
    api.load_everything().await?;
    for round in 1..=arguments.rounds {
        steps.now(format!("on one CPU, round {round} of {}", arguments.rounds));
        rounds.go_on(&api, &mut peers, arguments).await.map_err(|error| api.explain(error))?;
    }
    Ok(rounds)
}
