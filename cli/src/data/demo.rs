//! The demo data that the first start makes.

use std::{fs::File, path::Path, time::Duration};

use anyhow::Context as _;
use kyros_api::engine::{Format, import_bytes};

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
        let file = tenants.join(tenant).join(dashboard).join(format!("{dataset}.parquet"));
        if file.exists() {
            continue;
        }
        progress(format!("making demo data {}/{}: {dataset} of {tenant}", index + 1, datasets.len()));
        let mut csv = Vec::new();
        kyros_demo_data::generate(tenant, dataset, &mut csv)?;
        make_dataset(csv, &file)?;
    }
    std::fs::remove_file(&unfinished)?;
    Ok(())
}

/// Converts CSV to a dataset's file, which is there as a whole or not at all.
pub(crate) fn make_dataset(csv: Vec<u8>, file: &Path) -> anyhow::Result<()> {
    let folder = file.parent().context("a dataset's file has a folder")?;
    std::fs::create_dir_all(folder)?;
    // Hidden, so that nobody takes it for a dataset.
    let making = folder.join(format!(".making-{}", kyros_shared_config::crypto::random_id()));
    let target = File::options().read(true).write(true).create_new(true).open(&making)?;
    import_bytes(csv, Format::Csv, &target)?;
    Ok(std::fs::rename(&making, file)?)
}

/// How long a part may take to become reachable at the start.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
