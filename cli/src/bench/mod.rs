//! `kyros bench`: what Kyros costs and how fast it is, measured on the real parts and printed as tables.

mod cluster;
#[cfg(target_os = "linux")]
mod data;
#[cfg(target_os = "linux")]
mod http1;
#[cfg(target_os = "linux")]
mod load;
mod operator;
#[cfg(target_os = "linux")]
mod parts;
#[cfg(target_os = "linux")]
mod processes;
#[cfg(target_os = "linux")]
mod sidecar;
#[cfg(target_os = "linux")]
mod signatures;
#[cfg(target_os = "linux")]
mod spread;

use clap::Subcommand;
use comfy_table::{Table, presets::UTF8_HORIZONTAL_ONLY};

#[cfg(target_os = "linux")]
pub use data::DataArgs;
pub use operator::OperatorArgs;
#[cfg(target_os = "linux")]
pub use parts::PartCommand;
#[cfg(target_os = "linux")]
pub use sidecar::SidecarArgs;

/// Measure this build. Figures of an unoptimised one mean nothing: use `cargo run --release`.
#[derive(Debug, Subcommand)]
pub enum BenchCommand {
    /// The controller on a real Kubernetes control plane: cold starts, latency, memory, silence, fail-over.
    #[command(after_help = "Example:
  export KYROS_TEST_ASSETS=$(tests/control-plane/build)
  cargo build --release --workspace --bins && target/release/kyros bench operator")]
    Operator(OperatorArgs),
    /// The sidecar beside the least that a proxy can cost: throughput, CPU, latency, memory, start.
    ///
    /// Every target is measured in slices of a second, in random order, with all of them running; ratios are taken inside a
    /// round. Proxies have one CPU to themselves; the upstream and the load share another.
    ///
    /// The kernel lets one of two busy programs on a CPU wait for up to some milliseconds. Started with `chrt`, everything here is
    /// in its real-time class, in which nobody who has something to do waits for a turn; else the 99th percentiles are the
    /// scheduler's, of all targets alike.
    #[cfg(target_os = "linux")]
    #[command(after_help = "Examples:
  cargo build --release --workspace --bins && cargo build --profile sidecar --package kyros-sidecar
  sudo chrt --fifo 10 target/release/kyros bench sidecar

  # Another proxy in front of the same upstream, which verifies the same tokens (cli/src/bench/sidecar/haproxy.cfg):
  kyros bench sidecar --keys keys --prepare
  kyros bench sidecar --keys keys --upstream-port 9001 --peer other=http://127.0.0.1:9000 --peer-pid other=4711")]
    Sidecar(SidecarArgs),
    /// The data API beside Polars in-process on the same files: rates, CPU, memory, imports, fairness.
    ///
    /// The data is made once: a million rows of each dataset over four tenants. The API and Polars take turns on one CPU, the
    /// load has another; ratios are taken inside a round. Imports, memory and fairness are measured with all CPUs.
    #[cfg(target_os = "linux")]
    #[command(after_help = "Examples:
  cargo build --release --workspace --bins && target/release/kyros bench data

  # Some parts alone:
  kyros bench data --only exchanges,storm

  # Twice as long, of an API that was built elsewhere:
  kyros bench data --rounds 14 --api other/kyros-api")]
    Data(DataArgs),
    /// A process of a benchmark's own.
    #[cfg(target_os = "linux")]
    #[command(hide = true, subcommand)]
    Part(PartCommand),
}

/// Runs a benchmark and prints its table.
pub async fn run(command: BenchCommand) -> anyhow::Result<()> {
    match command {
        BenchCommand::Operator(arguments) => operator::run(arguments).await,
        #[cfg(target_os = "linux")]
        BenchCommand::Sidecar(arguments) => sidecar::run(arguments).await,
        #[cfg(target_os = "linux")]
        BenchCommand::Data(arguments) => data::run(arguments).await,
        #[cfg(target_os = "linux")]
        BenchCommand::Part(part) => parts::run(part).await,
    }
}

/// One line of a table: what was measured, what was seen, what is wanted.
pub(crate) struct Figure {
    what: String,
    seen: String,
    wanted: &'static str,
}

impl Figure {
    pub(crate) fn new(what: impl Into<String>, seen: impl Into<String>, wanted: &'static str) -> Self {
        Self { what: what.into(), seen: seen.into(), wanted }
    }
}

fn print(figures: Vec<Figure>) {
    let mut table = Table::new();
    table.load_preset(UTF8_HORIZONTAL_ONLY).set_header(["measured", "seen", "wanted"]);
    for Figure { what, seen, wanted } in figures {
        table.add_row([what, seen, wanted.to_owned()]);
    }
    println!("{table}");
}

/// The value below which so many of a hundred lie; of nothing it is nothing.
pub(crate) fn percentile<T: Copy + Ord>(values: &mut [T], percent: usize) -> Option<T> {
    values.sort_unstable();
    values.get(rank(values.len(), percent)).copied()
}

/// Where that value stands among so many sorted ones.
pub(crate) fn rank(count: usize, percent: usize) -> usize {
    (count * percent).div_ceil(100).saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use super::percentile;

    #[test]
    fn percentiles_are_values_that_were_seen() {
        let mut values: Vec<u32> = (1..=100).rev().collect();
        assert_eq!(percentile(&mut values, 50), Some(50));
        assert_eq!(percentile(&mut values, 99), Some(99));
        assert_eq!(percentile(&mut [7], 99), Some(7));
        assert_eq!(percentile::<u32>(&mut [], 50), None);
    }
}
