//! A fresh import of a million rows, by the code of `kyros data import`, in a process of its own.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use kyros_api::{
    engine::{Format, Table},
    operator::{NamedDataset, publish},
};

use super::dataset::{Data, ROWS};
use crate::bench::{Figure, processes::part, spread::Spread};

/// Imports that are timed.
const TIMES: usize = 3;

/// What is imported where.
#[derive(Debug, Clone, Args)]
pub struct ImportPartArgs {
    /// A CSV file.
    #[arg(long)]
    pub file: PathBuf,
    /// A data folder.
    #[arg(long)]
    pub data: PathBuf,
}

/// Imports once, and says how many rows there were.
pub(crate) fn once(arguments: &ImportPartArgs) -> anyhow::Result<()> {
    let source = File::open(&arguments.file).with_context(|| arguments.file.display().to_string())?;
    let place = NamedDataset { tenant: "acme".parse()?, dashboard: "clv".parse()?, dataset: "transactions".parse()? };
    let table = Table::from_file(source, Format::Csv)?;
    publish(&arguments.data, &place, &table)?;
    println!("{}", table.rows());
    Ok(())
}

/// From the start of the process until its end, on all CPUs. The file's pages are in memory, as they are after a download.
pub(super) fn measure(kyros: &Path, data: &Data) -> anyhow::Result<Figure> {
    let mut took = Vec::new();
    for _ in 0..TIMES {
        took.push(time(kyros, &data.csv())?.as_secs_f64());
    }
    let spread = Spread::of(took.iter().copied()).context("no imports")?;
    let most = took.into_iter().fold(0.0, f64::max);
    let seen = format!("{:.2} s (median of {TIMES}), {most:.2} s at most", spread.median);
    Ok(Figure::new(format!("a fresh import of {ROWS} rows of CSV, all CPUs"), seen, "≤ 3 s"))
}

fn time(kyros: &Path, file: &Path) -> anyhow::Result<Duration> {
    let target = tempfile::tempdir()?;
    let mut command = part(kyros, "import");
    command.arg("--file").arg(file).arg("--data").arg(target.path()).stdin(Stdio::null());
    let begun = Instant::now();
    let output = command.output().with_context(|| kyros.display().to_string())?;
    let took = begun.elapsed();
    if !output.status.success() {
        bail!("importing: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let rows = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    ensure!(rows == ROWS.to_string(), "{rows} rows were imported instead of {ROWS}");
    Ok(took)
}
