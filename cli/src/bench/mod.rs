//! `kyros bench`: what Kyros costs and how fast it is, measured on the real parts and printed as tables.

mod cluster;
mod operator;

use clap::Subcommand;
use comfy_table::{Table, presets::UTF8_HORIZONTAL_ONLY};

pub use operator::OperatorArgs;

/// Measure this build. Figures of an unoptimised one mean nothing: use `cargo run --release`.
#[derive(Debug, Subcommand)]
pub enum BenchCommand {
    /// The controller on a real Kubernetes control plane: cold starts, latency, memory, silence, fail-over.
    #[command(after_help = "Example:
  export KYROS_TEST_ASSETS=$(tests/control-plane/build)
  cargo build --release --workspace --bins && target/release/kyros bench operator")]
    Operator(OperatorArgs),
}

/// Runs a benchmark and prints its table.
pub async fn run(command: BenchCommand) -> anyhow::Result<()> {
    match command {
        BenchCommand::Operator(arguments) => operator::run(arguments).await,
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
    let index = (values.len() * percent).div_ceil(100).saturating_sub(1);
    values.get(index).copied()
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
