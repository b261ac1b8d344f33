//! `kyros data import`: a file, or standard input, as a tenant's dataset.

use std::{
    fs::File,
    io::{self, Read, stdin},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use kyros_api::{
    engine::{Format, Schema, Table, bytes_of, outline},
    operator::{NamedDataset, open, publish},
};
use kyros_shared_config::DatasetName;

use super::{DataDir, Owner, columns, misused, owners};
use crate::output::{self, Steps};

pub(super) const EXAMPLES: &str = "\
The file is converted as a whole and takes effect as a whole: when anything is wrong with it, nothing changes. Types are \
found by looking at all of its rows. A dataset of that name is replaced, but by a file without rows only with --allow-empty. \
Where there are manifests, a tenant or dashboard that they do not have is warned of.

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
    /// Replace a dataset that has rows also by a file that has none.
    #[arg(long)]
    allow_empty: bool,
    /// The folder of manifests to look the names up in; without it, manifests in the data folder.
    #[arg(long, env = "KYROS_MANIFESTS")]
    manifests: Option<PathBuf>,
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
    let unchanged = || format!("{name} was not imported, nothing changed");
    let table = read(file, format, &steps).with_context(unchanged)?;
    let place = owner.place(dataset);
    if !arguments.allow_empty && table.rows() == 0 {
        refuse_to_empty(&data.data, &place).with_context(unchanged)?;
    }
    let replaced = if *dry_run {
        None
    } else {
        steps.now("writing");
        Some(write(&data.data, &place, &table, &name)?)
    };
    steps.finish();
    let manifests = arguments.manifests.clone().unwrap_or_else(|| data.data.join("manifests"));
    for warning in [columns::warning(table.schema()), owners::warning(owner, &manifests)].into_iter().flatten() {
        output::say(&format!("warning: {warning}"));
    }
    Ok(output::print(report(&place, &table, replaced).as_bytes())?)
}

/// A file without rows is mostly an answer that failed: somebody meant something else.
fn refuse_to_empty(data: &Path, place: &NamedDataset) -> anyhow::Result<()> {
    let Some((file, format)) = open(data, place).with_context(|| format!("{place} cannot be opened"))? else {
        return Ok(());
    };
    let rows = match format {
        Format::Parquet => outline(file).map(|outline| outline.rows),
        _ => Table::from_file(file, format).map(|table| table.rows() as u64),
    };
    match rows {
        Ok(0) => Ok(()),
        // Of one that cannot be read nobody knows that it has none.
        Err(_) => bail!("it has no rows, and would replace {place}: --allow-empty says that this is meant"),
        Ok(rows) => {
            let rows = output::counted(usize::try_from(rows).unwrap_or(usize::MAX), "row");
            bail!("it has no rows, and would replace the {rows} of {place}: --allow-empty says that this is meant")
        }
    }
}

/// Publishes the table, and says whether it replaced something.
fn write(data: &Path, place: &NamedDataset, table: &Table, name: &str) -> anyhow::Result<bool> {
    let before = version(data, place);
    publish(data, place, table).with_context(|| match (before, version(data, place)) {
        (Ok(before), Ok(now)) if before == now => {
            format!("{name} was not imported into {}, nothing changed", data.display())
        }
        // The last step tells the disk to keep what is in its place already.
        _ => format!("{name} was perhaps not imported, `kyros data ls` shows which version is there"),
    })
}

/// Which file the dataset is, if there is one. A new version is another file.
fn version(data: &Path, place: &NamedDataset) -> io::Result<Option<(u64, u64, i64, i64)>> {
    let Some((file, _)) = open(data, place)? else { return Ok(None) };
    let metadata = file.metadata()?;
    Ok(Some((metadata.dev(), metadata.ino(), metadata.mtime(), metadata.mtime_nsec())))
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
    columns::table(bytes, format)
}

/// What happened, and the columns. `replaced` is nothing where nothing was written.
fn report(place: &NamedDataset, table: &Table, replaced: Option<bool>) -> String {
    let rows = output::counted(table.rows(), "row");
    let (are, replace) = if table.rows() == 1 { ("is", "replaces") } else { ("are", "replace") };
    let happened = match replaced {
        None => format!("{rows} would be {place}; nothing was written"),
        Some(true) => format!("{rows} {are} now {place}, and {replace} the older version"),
        Some(false) => format!("{rows} {are} now {place}"),
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
