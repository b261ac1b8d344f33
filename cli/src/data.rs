//! `kyros data import`, and the demo data that the first start makes.

use std::{
    fs::File,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use kyros_api::{
    engine::{Format, Imported, import_bytes},
    import_into,
};
use kyros_shared_config::{DashboardSlug, DatasetName, TenantId};

use crate::output::Steps;

/// Work with tenants' data.
#[derive(Debug, Subcommand)]
pub enum DataCommand {
    /// Bring a CSV or Parquet file in as a tenant's dataset, also while `kyros up` runs.
    #[command(
        after_help = "Example:\n  kyros data import orders.csv --tenant acme --dashboard clv --dataset transactions"
    )]
    Import(ImportArgs),
}

/// What to import, as what.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// A .csv or .parquet file.
    pub file: PathBuf,
    /// The tenant whose data it is.
    #[arg(long)]
    pub tenant: TenantId,
    /// The dashboard that reads it.
    #[arg(long)]
    pub dashboard: DashboardSlug,
    /// The dataset's name.
    #[arg(long)]
    pub dataset: DatasetName,
    /// The data folder.
    #[arg(long, env = "KYROS_DATA_DIR", default_value = "data")]
    pub data: PathBuf,
}

/// Runs a data command.
pub fn run(command: &DataCommand) -> anyhow::Result<()> {
    match command {
        DataCommand::Import(arguments) => import(arguments),
    }
}

fn import(arguments: &ImportArgs) -> anyhow::Result<()> {
    let extension = arguments.file.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    let Some(format) = Format::from_extension(&extension.to_ascii_lowercase()) else {
        bail!("{}: only .csv and .parquet files can be imported", arguments.file.display());
    };
    let source = File::open(&arguments.file).with_context(|| format!("{}", arguments.file.display()))?;
    let steps = Steps::new();
    steps.now(format!("importing {}", arguments.file.display()));
    let imported =
        import_into(&arguments.data, &arguments.tenant, &arguments.dashboard, &arguments.dataset, source, format);
    steps.finish();
    let imported =
        imported.with_context(|| format!("{} was not imported, nothing changed", arguments.file.display()))?;
    print_schema(arguments, &imported);
    Ok(())
}

fn print_schema(arguments: &ImportArgs, imported: &Imported) {
    println!(
        "{} rows are now {} of {} for {}",
        imported.rows, arguments.dataset, arguments.tenant, arguments.dashboard
    );
    let columns = imported.schema.columns();
    let width = columns.iter().map(|column| column.name.chars().count()).max().unwrap_or(0);
    for column in columns {
        println!("  {:width$}  {}", column.name, column.kind.name());
    }
}

/// Makes the demo tenants' data where there is no data of anybody's yet. What an interrupted start did not get to is made by
/// the next one.
pub(crate) fn make_demo(data_dir: &Path, progress: impl Fn(String)) -> anyhow::Result<()> {
    let tenants = data_dir.join("tenants");
    let unfinished = tenants.join(".demo-unfinished");
    let is_empty = std::fs::read_dir(&tenants).map_or(true, |mut entries| entries.next().is_none());
    if !is_empty && !unfinished.exists() {
        return Ok(());
    }
    std::fs::create_dir_all(&tenants)?;
    std::fs::write(&unfinished, "The demo data is being made; this file goes away when it is complete.\n")?;
    let datasets = kyros_demo_data::datasets();
    for (index, (tenant, dashboard, dataset)) in datasets.iter().enumerate() {
        let folder = tenants.join(tenant).join(dashboard);
        let file = folder.join(format!("{dataset}.parquet"));
        if file.exists() {
            continue;
        }
        progress(format!("making demo data {}/{}: {dataset} of {tenant}", index + 1, datasets.len()));
        let mut csv = Vec::new();
        kyros_demo_data::generate(tenant, dataset, &mut csv)?;
        std::fs::create_dir_all(&folder)?;
        let making = folder.join(format!(".{dataset}-{}", kyros_shared_config::crypto::random_id()));
        let target = File::options().read(true).write(true).create_new(true).open(&making)?;
        import_bytes(csv, Format::Csv, &target)?;
        std::fs::rename(&making, &file)?;
    }
    std::fs::remove_file(&unfinished)?;
    Ok(())
}

/// How long a part may take to become reachable at the start.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
