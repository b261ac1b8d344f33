//! `kyros data import`: a file, or standard input, as a tenant's dataset.

use std::{
    fs::File,
    io::{Read, stdin},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use kyros_api::{
    engine::{Format, Schema, Table, bytes_of},
    operator::{NamedDataset, publish},
};
use kyros_shared_config::DatasetName;

use super::{DataDir, Owner, misused};
use crate::output::{self, Steps};

pub(super) const EXAMPLES: &str = "\
The file is converted as a whole and takes effect as a whole: when anything is wrong with it, nothing changes. Types are
found by looking at all of its rows. A dataset of that name is replaced.

Examples:
  kyros data import orders.csv --tenant acme --dashboard clv --dataset transactions
  kyros data import orders.csv --tenant acme --dashboard clv --dataset transactions --dry-run
  zcat orders.ndjson.gz | kyros data import - --format ndjson --tenant acme --dashboard clv --dataset transactions";

/// What to import, as what.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// A .csv, .parquet, .ndjson or .jsonl file, or - for standard input.
    file: PathBuf,
    #[command(flatten)]
    owner: Owner,
    /// The dataset's name.
    #[arg(long)]
    dataset: DatasetName,
    /// What the file holds, if its name does not say so.
    #[arg(long, value_enum)]
    format: Option<SourceFormat>,
    /// Read and convert, show the columns, and write nothing.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    data: DataDir,
}

/// What can be imported.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum SourceFormat {
    /// Comma-separated values with a header.
    Csv,
    /// Apache Parquet.
    Parquet,
    /// A flat JSON object on every line.
    Ndjson,
}

impl From<SourceFormat> for Format {
    fn from(format: SourceFormat) -> Self {
        match format {
            SourceFormat::Csv => Self::Csv,
            SourceFormat::Parquet => Self::Parquet,
            SourceFormat::Ndjson => Self::NdJson,
        }
    }
}

pub(super) fn run(arguments: &ImportArgs) -> anyhow::Result<()> {
    let ImportArgs { file, owner, dataset, dry_run, data, .. } = arguments;
    let format = format_of(file, arguments.format)?;
    let steps = Steps::on_a_terminal();
    let name = if is_stdin(file) { "standard input".to_owned() } else { file.display().to_string() };
    let table = read(file, format, &steps).with_context(|| format!("{name} was not imported, nothing changed"))?;
    let place = owner.place(dataset);
    let replaced = if *dry_run {
        None
    } else {
        steps.now("writing");
        let replaced = publish(&data.data, &place, &table);
        // The last step tells the disk to keep what is in its place already.
        let context = || format!("{name} was perhaps not imported, `kyros data ls` shows which version is there");
        Some(replaced.with_context(context)?)
    };
    steps.finish();
    Ok(output::print(report(&place, &table, replaced).as_bytes())?)
}

fn is_stdin(file: &Path) -> bool {
    file == Path::new("-")
}

fn format_of(file: &Path, named: Option<SourceFormat>) -> anyhow::Result<Format> {
    if let Some(format) = named {
        return Ok(format.into());
    }
    if is_stdin(file) {
        return Err(misused("standard input has no name to tell what it is: add --format csv, parquet or ndjson"));
    }
    let extension = file.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    Format::from_extension(&extension.to_ascii_lowercase()).ok_or_else(|| {
        let name = file.display();
        misused(format!("{name} is no .csv, .parquet, .ndjson or .jsonl file: add --format csv, parquet or ndjson"))
    })
}

fn read(file: &Path, format: Format, steps: &Steps) -> anyhow::Result<Table> {
    let (source, size): (Box<dyn Read>, _) = if is_stdin(file) {
        (Box::new(stdin().lock()), None)
    } else {
        let file = File::open(file)?;
        // A pipe says that it has nothing.
        let size = Some(file.metadata()?.len()).filter(|size| *size > 0);
        (Box::new(file), size)
    };
    let bytes = bytes_of(steps.counting("reading", size, source), size)?;
    steps.now("converting");
    Ok(Table::from_bytes(bytes, format)?)
}

/// What happened, and the columns. `replaced` is nothing where nothing was written.
fn report(place: &NamedDataset, table: &Table, replaced: Option<bool>) -> String {
    let rows = output::grouped(table.rows() as u64);
    let happened = match replaced {
        None => format!("{rows} rows would be {place}; nothing was written"),
        Some(true) => format!("{rows} rows are now {place}, and replace the older version"),
        Some(false) => format!("{rows} rows are now {place}"),
    };
    format!("{}\n{}\n", output::bold(&happened), schema(table.schema()))
}

fn schema(schema: &Schema) -> comfy_table::Table {
    let mut table = output::table(&["column", "type"]);
    for column in schema.columns() {
        table.add_row([output::visible(&column.name), column.kind.name().into()]);
    }
    table
}
