//! The yardsticks: Polars, and Pandas where somebody has it, each in a process of its own, on the same files, with nothing around it. They take orders as lines
//! of JSON on their standard input, answer each with a line, and end when their input does.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{ChildStdin, ChildStdout, Command, Stdio},
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use clap::Args;
use polars::prelude::{
    CompatLevel, DataFrame, IntoLazy as _, IpcStreamWriter, ParquetReader, PolarsResult, QuantileMethod,
    SerReader as _, SerWriter as _, SortMultipleOptions, col, len, lit,
};
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use super::{pace::Pace, queries::literal};
use crate::bench::{
    cluster::Process,
    load::WARM_UP,
    processes::{Cores, part},
};

/// The program of [`Peer::pandas`].
const PANDAS: &str = include_str!("pandas.py");
/// As many rows as the API answers with where nobody says.
const LIMIT: u32 = 10_000;

/// What the process works on.
#[derive(Debug, Clone, Args)]
pub struct PolarsArgs {
    /// A Parquet file.
    #[arg(long)]
    pub file: PathBuf,
    /// Queries that are asked for at once.
    #[arg(long)]
    pub clients: usize,
}

/// What it is to do.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
enum Order {
    /// Group-bys, a new one each time, for so long.
    Groups { slice: Duration },
    /// The whole file as an Arrow stream, so many times.
    Stream { times: u64 },
}

/// What it did.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Done {
    times: u64,
    took: Duration,
    cpu: Duration,
}

/// Does what it is told to.
pub(crate) fn serve(arguments: &PolarsArgs) -> anyhow::Result<()> {
    let frame = read(&arguments.file)?;
    let numbers = AtomicU64::new(0);
    for line in std::io::stdin().lines() {
        let done = match serde_json::from_str(&line?)? {
            Order::Groups { slice } => group_for(&frame, &numbers, arguments.clients, slice)?,
            Order::Stream { times } => stream_times(&arguments.file, times)?,
        };
        println!("{}", serde_json::to_string(&done)?);
    }
    Ok(())
}

fn read(file: &Path) -> anyhow::Result<DataFrame> {
    let opened = File::open(file).with_context(|| file.display().to_string())?;
    let mut frame = ParquetReader::new(opened).finish()?;
    // As the API keeps it.
    frame.rechunk_mut_par();
    Ok(frame)
}

/// The plan of [`groups`](super::queries::groups).
fn groups(frame: &DataFrame, from: f64) -> PolarsResult<DataFrame> {
    let keys = ["channel", "country"];
    frame
        .clone()
        .lazy()
        .filter(col("revenue").gt_eq(lit(from)))
        .group_by(keys.map(col))
        .agg([
            col("revenue").sum().alias("revenue_sum"),
            col("revenue").mean().alias("revenue_mean"),
            col("margin").quantile(lit(0.95), QuantileMethod::Linear).alias("margin_p95"),
            len().alias("count"),
        ])
        .sort(keys, SortMultipleOptions::default())
        .limit(LIMIT)
        .collect()
}

fn group_for(frame: &DataFrame, numbers: &AtomicU64, clients: usize, slice: Duration) -> anyhow::Result<Done> {
    let count = AtomicU64::new(0);
    let clients = |time| run_clients(frame, numbers, &count, clients, time);
    clients(WARM_UP)?;
    let begun = Mark::now(&count);
    clients(slice)?;
    Ok(begun.until_now(&count))
}

/// Lets clients ask for so long, and waits for what is under way: on Polars' few threads all of them are answered at nearly the
/// same moment, so that a count at any other would be off by nearly all of them.
fn run_clients(
    frame: &DataFrame,
    numbers: &AtomicU64,
    count: &AtomicU64,
    clients: usize,
    time: Duration,
) -> anyhow::Result<()> {
    let end = Instant::now() + time;
    let client = || -> PolarsResult<()> {
        while Instant::now() < end {
            groups(frame, literal(numbers.fetch_add(1, Ordering::Relaxed)))?;
            count.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..clients).map(|_| scope.spawn(client)).collect();
        for client in clients {
            // A panic has said what it is.
            client.join().map_err(|_| anyhow::anyhow!("a client ended"))??;
        }
        Ok(())
    })
}

fn stream_times(file: &Path, times: u64) -> anyhow::Result<Done> {
    let count = AtomicU64::new(0);
    let begun = Mark::now(&count);
    for _ in 0..times {
        let opened = File::open(file)?;
        let mut frame = ParquetReader::new(opened).finish()?;
        let mut bytes = Vec::new();
        // The types that every reader knows, as the API writes them.
        IpcStreamWriter::new(&mut bytes).with_compat_level(CompatLevel::oldest()).finish(&mut frame)?;
        std::hint::black_box(bytes);
        count.fetch_add(1, Ordering::Relaxed);
    }
    Ok(begun.until_now(&count))
}

struct Mark {
    at: Instant,
    cpu: Duration,
    count: u64,
}

impl Mark {
    fn now(count: &AtomicU64) -> Self {
        Self { at: Instant::now(), cpu: own_cpu_time(), count: count.load(Ordering::Relaxed) }
    }

    fn until_now(&self, count: &AtomicU64) -> Done {
        let now = Self::now(count);
        Done { times: now.count - self.count, took: now.at - self.at, cpu: now.cpu.saturating_sub(self.cpu) }
    }
}

fn own_cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.try_into().unwrap_or_default())
}

/// The process, from outside; it ends with this value.
pub(super) struct Peer {
    _process: Process,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Peer {
    pub(super) fn start(cores: Cores, kyros: &Path, file: &Path, clients: usize) -> anyhow::Result<Self> {
        let mut command = part(kyros, "polars");
        command.arg("--file").arg(file).arg("--clients").arg(clients.to_string());
        Self::of(cores, &mut command)
    }

    /// Pandas, which knows group-bys only.
    pub(super) fn pandas(cores: Cores, python: &Path, file: &Path) -> anyhow::Result<Self> {
        let mut command = Command::new(python);
        Self::of(cores, command.args(["-c", PANDAS]).arg(file))
    }

    fn of(cores: Cores, command: &mut Command) -> anyhow::Result<Self> {
        // As the API has none of the shell's variables, either.
        command.env_clear().stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let (_, mut process) = cores.start_measured(command)?;
        let orders = process.0.stdin.take().context("a pipe to the yardstick")?;
        let answers = process.0.stdout.take().context("a pipe from the yardstick")?;
        Ok(Self { _process: process, orders, answers: BufReader::new(answers) })
    }

    /// Group-bys for so long.
    pub(super) fn groups(&mut self, slice: Duration) -> anyhow::Result<Pace> {
        self.take(Order::Groups { slice })
    }

    /// The file as a stream, so many times.
    pub(super) fn streams(&mut self, times: u64) -> anyhow::Result<Pace> {
        self.take(Order::Stream { times })
    }

    /// Blocks: whoever measures has nothing else to do meanwhile.
    fn take(&mut self, order: Order) -> anyhow::Result<Pace> {
        writeln!(self.orders, "{}", serde_json::to_string(&order)?)?;
        let mut line = String::new();
        if self.answers.read_line(&mut line)? == 0 {
            bail!("the yardstick ended");
        }
        let Done { times, took, cpu } = serde_json::from_str(&line)?;
        Pace::of(times, took, cpu)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame() -> DataFrame {
        let rows = "channel,country,revenue,margin\nb,x,10.0,1.0\na,x,30.0,2.0\na,x,50.0,4.0\na,x,1.0,9.0\n";
        let table = kyros_api::engine::Table::from_bytes(rows.into(), kyros_api::engine::Format::Csv).unwrap();
        assert_eq!(table.rows(), 4);
        polars::prelude::CsvReader::new(std::io::Cursor::new(rows)).finish().unwrap()
    }

    #[test]
    fn the_plan_is_that_of_the_request() {
        let found = groups(&frame(), literal(0)).unwrap();
        let names: Vec<_> = found.get_column_names().iter().map(ToString::to_string).collect();
        assert_eq!(names, ["channel", "country", "revenue_sum", "revenue_mean", "margin_p95", "count"]);
        assert_eq!(found.height(), 2);
        let sums: Vec<_> = found.column("revenue_sum").unwrap().f64().unwrap().iter().collect();
        assert_eq!(sums, [Some(80.0), Some(10.0)], "the row below the literal does not count");
    }

    #[test]
    fn clients_work_for_as_long_as_they_are_told_to() {
        let done = group_for(&frame(), &AtomicU64::new(0), 2, Duration::from_millis(50)).unwrap();
        assert!(done.times > 0 && done.took >= Duration::from_millis(50) && done.cpu > Duration::ZERO, "{done:?}");
    }
}
