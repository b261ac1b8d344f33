//! The data of a run: a million rows of each dataset over four tenants, made once and kept in the user's cache.

use std::{
    fs::File,
    io::{BufWriter, Write as _},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use kyros_api::{
    engine::{Format, Table},
    operator::publish,
};
use kyros_demo_data::generate_rows;

use crate::data::named;

/// Another one wherever the rows or the files change, so that nobody measures with the old ones.
const VERSION: &str = "v1";
/// Rows of each dataset, over all tenants.
pub(super) const ROWS: usize = 1_000_000;
/// The tenants, and of how many in a hundred rows each is.
pub(super) const TENANTS: [(&str, usize); 4] = [("acme", 40), ("globex", 30), ("initech", 20), ("umbrella", 10)];
/// Dashboard and dataset, and a query that reads what people look at.
pub(super) const DATASETS: [(&str, &str, &str); 3] = [
    ("clv", "transactions", "group_by=channel,country&agg=revenue:sum,margin:mean"),
    ("risk", "exposures", "group_by=sector,rating&agg=ead:sum,pd:mean"),
    ("risk", "pnl", "group_by=date:month,desk&agg=pnl:sum"),
];

/// The made files.
pub(super) struct Data {
    folder: PathBuf,
}

impl Data {
    /// Makes what is not there yet.
    pub(super) fn make(cache: &Path, progress: impl Fn(String)) -> anyhow::Result<Self> {
        let data = Self { folder: cache.join(VERSION) };
        for (tenant, share) in TENANTS {
            for (dashboard, dataset, _) in DATASETS {
                let file = data.file(tenant, dashboard, dataset);
                if file.exists() {
                    continue;
                }
                let rows = ROWS / 100 * share;
                progress(format!("making {rows} rows of {dataset} for {tenant}"));
                let mut csv = Vec::new();
                generate_rows(tenant, dataset, rows, &mut csv)?;
                let table = Table::from_bytes(csv, Format::Csv)?;
                publish(&data.folder, &named(tenant, dashboard, dataset)?, &table)
                    .with_context(|| file.display().to_string())?;
            }
        }
        data.make_csv(progress).with_context(|| data.csv().display().to_string())?;
        Ok(data)
    }

    fn make_csv(&self, progress: impl Fn(String)) -> anyhow::Result<()> {
        if self.csv().exists() {
            return Ok(());
        }
        progress(format!("making {ROWS} rows of CSV"));
        let making = self.folder.join(".import-making");
        let mut file = BufWriter::new(File::create(&making)?);
        generate_rows("acme", "transactions", ROWS, &mut file)?;
        file.flush()?;
        Ok(std::fs::rename(&making, self.csv())?)
    }

    /// The data folder, as the API is told of it.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// A dataset's file.
    pub(super) fn file(&self, tenant: &str, dashboard: &str, dataset: &str) -> PathBuf {
        self.folder.join("tenants").join(tenant).join(dashboard).join(format!("{dataset}.parquet"))
    }

    /// A million transactions of one tenant, to be imported.
    pub(super) fn csv(&self) -> PathBuf {
        self.folder.join("import.csv")
    }
}
