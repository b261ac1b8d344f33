//! `kyros data`: what operators do with tenants' data, by the names of tenant and dashboard.

mod columns;
mod demo;
mod import;
mod list;
mod owners;
mod query;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use kyros_api::operator::NamedDataset;
use kyros_shared_config::{DashboardSlug, DatasetName, TenantId};

pub(crate) use columns::table;
pub(crate) use demo::{make_demo, named};

/// Work with tenants' data.
#[derive(Debug, Subcommand)]
pub enum DataCommand {
    /// Bring a CSV, Parquet or NDJSON file in as a tenant's dataset, also while `kyros up` runs.
    #[command(after_help = import::EXAMPLES)]
    Import(import::ImportArgs),
    /// List datasets, with their sizes. Files are not read, but for the footers of Parquet.
    #[command(after_help = list::EXAMPLES, visible_alias = "list")]
    Ls(list::ListArgs),
    /// Ask a dataset what dashboards ask the data API, in the same words.
    #[command(after_help = query::QUERY_EXAMPLES)]
    Query(query::QueryArgs),
    /// Write a dataset, or the answer to a query, to a file.
    #[command(after_help = query::EXPORT_EXAMPLES)]
    Export(query::ExportArgs),
}

/// Where the data is.
#[derive(Debug, Args)]
struct DataDir {
    /// The data folder.
    #[arg(long, env = "KYROS_DATA_DIR", default_value = "data")]
    data: PathBuf,
}

/// Whose data it is, and what it is for.
#[derive(Debug, Args)]
struct Owner {
    /// The tenant whose data it is.
    #[arg(long)]
    tenant: TenantId,
    /// The dashboard that reads it.
    #[arg(long)]
    dashboard: DashboardSlug,
}

impl Owner {
    fn place(&self, dataset: &DatasetName) -> NamedDataset {
        NamedDataset { tenant: self.tenant.clone(), dashboard: self.dashboard.clone(), dataset: dataset.clone() }
    }
}

/// Runs a data command. A [`clap::Error`] inside of the error is a wrong use of the command line.
pub fn run(command: &DataCommand) -> anyhow::Result<()> {
    match command {
        DataCommand::Import(arguments) => import::run(arguments),
        DataCommand::Ls(arguments) => list::run(arguments),
        DataCommand::Query(arguments) => query::query(arguments),
        DataCommand::Export(arguments) => query::export(arguments),
    }
}

/// What clap would say if it had seen it itself.
fn misused(message: impl std::fmt::Display) -> anyhow::Error {
    clap::Error::raw(clap::error::ErrorKind::ValueValidation, format!("{message}\n")).into()
}
