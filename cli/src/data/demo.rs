//! The demo data that the first start makes.

use std::path::Path;

use kyros_api::{
    engine::{Format, Table},
    operator::{NamedDataset, publish},
};

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
        publish(data_dir, &named(tenant, dashboard, dataset)?, &Table::from_bytes(csv, Format::Csv)?)?;
    }
    std::fs::remove_file(&unfinished)?;
    Ok(())
}

/// A dataset by the names that the generator has for it.
pub(crate) fn named(tenant: &str, dashboard: &str, dataset: &str) -> anyhow::Result<NamedDataset> {
    Ok(NamedDataset { tenant: tenant.parse()?, dashboard: dashboard.parse()?, dataset: dataset.parse()? })
}
