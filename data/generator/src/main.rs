//! `kyros-demo-data`: makes the demo tenants' data where there is no data yet, for containers. It writes CSV, which the API
//! converts when it first reads it.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Parser;

/// Makes the demo tenants' data, where there is no data of anybody's yet.
#[derive(Parser)]
#[command(
    version,
    after_help = "Example:
  kyros-demo-data --data-dir data"
)]
struct Cli {
    /// The data folder; files go to tenants/TENANT/DASHBOARD/DATASET.csv below it.
    #[arg(long, env = "KYROS_DATA_DIR", default_value = "data")]
    data_dir: PathBuf,
}

fn main() -> ExitCode {
    let Cli { data_dir } = Cli::parse();
    match make(&data_dir) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kyros-demo-data: {}: {error}", data_dir.display());
            ExitCode::FAILURE
        }
    }
}

/// A file that is there already is left alone; one that an interrupted run left half written is not there yet.
fn make(data_dir: &Path) -> io::Result<()> {
    let datasets = kyros_demo_data::datasets();
    for (index, (tenant, dashboard, dataset)) in datasets.iter().enumerate() {
        let folder = data_dir.join("tenants").join(tenant).join(dashboard);
        fs::create_dir_all(&folder)?;
        if ["csv", "parquet"].iter().any(|extension| folder.join(format!("{dataset}.{extension}")).exists()) {
            continue;
        }
        eprintln!("demo data {}/{}: {dataset} of {tenant}", index + 1, datasets.len());
        let making = folder.join(format!(".{dataset}.making"));
        let mut file = BufWriter::new(File::create(&making)?);
        kyros_demo_data::generate(tenant, dataset, &mut file)?;
        file.flush()?;
        fs::rename(&making, folder.join(format!("{dataset}.csv")))?;
    }
    Ok(())
}
