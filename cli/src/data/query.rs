//! `kyros data query` and `kyros data export`: the data API's own queries, answered by its engine in this process.

use std::{
    io::{self, IsTerminal as _, Write as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, anyhow, bail};
use clap::{Args, ValueEnum};
use kyros_api::{
    engine::{Answer, Encoder, Encoding, Issue, Location, Query, Table, encode, run, validate_read},
    operator::{NamedDataset, open},
};
use kyros_shared_config::DatasetName;

use super::{DataDir, Owner, misused};
use crate::output;

mod grid;

/// Rows of a table on the terminal when nothing says how many.
const TABLE_ROWS: u32 = 20;

pub(super) const QUERY_EXAMPLES: &str = "\
A query is written as in the address of /api/data/DATASET: select, group_by, agg, filter (repeatable), sort, limit, offset. \
total=true may stand there and is always meant: the table says how many rows there are. A cursor leads through the API's \
pages; here offset does.

Examples:
  kyros data query --tenant acme --dashboard clv transactions
  kyros data query --tenant acme --dashboard clv transactions 'group_by=channel&agg=revenue:sum&sort=-revenue_sum&limit=10'
  kyros data query --tenant acme --dashboard clv transactions 'filter=order_date:ge:2026-01-01&agg=*:count' --format json";

pub(super) const EXPORT_EXAMPLES: &str = "\
The file's name says the format: .csv, .ndjson, .json, .arrow or .parquet. It is written beside its place first, readable for \
you alone, so that it is there as a whole or not at all. Without a limit every row is exported.

Examples:
  kyros data export --tenant acme --dashboard clv transactions --output transactions.parquet
  kyros data export --tenant acme --dashboard clv transactions 'group_by=order_date:month&agg=revenue:sum' --output months.csv";

/// What to ask of which dataset.
#[derive(Debug, Args)]
struct Asked {
    #[command(flatten)]
    owner: Owner,
    /// The dataset's name.
    dataset: DatasetName,
    /// The query; without one, every column.
    #[arg(default_value = "", hide_default_value = true)]
    query: String,
    /// The most rows, whatever the query says.
    #[arg(long)]
    limit: Option<u32>,
    #[command(flatten)]
    data: DataDir,
}

/// A query, and how to show its answer.
#[derive(Debug, Args)]
pub struct QueryArgs {
    #[command(flatten)]
    asked: Asked,
    /// How to print the answer; with --output the file's name says it too.
    #[arg(long, value_enum)]
    format: Option<AnswerFormat>,
    /// Write it to this file.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// A query, and where its answer goes.
#[derive(Debug, Args)]
pub struct ExportArgs {
    #[command(flatten)]
    asked: Asked,
    /// The file's format, if its name does not say so.
    #[arg(long, value_enum)]
    format: Option<FileFormat>,
    /// The file to write.
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
}

/// What an answer is printed as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum AnswerFormat {
    /// For people: a few rows.
    Table,
    Json,
    Csv,
    Ndjson,
    Arrow,
    Parquet,
}

/// What a file holds.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum FileFormat {
    Json,
    Csv,
    #[value(alias = "jsonl")]
    Ndjson,
    #[value(alias = "arrows")]
    Arrow,
    Parquet,
}

impl AnswerFormat {
    /// Nothing for the table, which the engine does not write.
    fn encoding(self) -> Option<Encoding> {
        Some(match self {
            Self::Table => return None,
            Self::Json => Encoding::Json,
            Self::Csv => Encoding::Csv,
            Self::Ndjson => Encoding::NdJson,
            Self::Arrow => Encoding::Arrow,
            Self::Parquet => Encoding::Parquet,
        })
    }
}

impl From<FileFormat> for Encoding {
    fn from(format: FileFormat) -> Self {
        match format {
            FileFormat::Json => Self::Json,
            FileFormat::Csv => Self::Csv,
            FileFormat::Ndjson => Self::NdJson,
            FileFormat::Arrow => Self::Arrow,
            FileFormat::Parquet => Self::Parquet,
        }
    }
}

pub(super) fn query(arguments: &QueryArgs) -> anyhow::Result<()> {
    let QueryArgs { asked, format, output } = arguments;
    match (output, format) {
        (Some(_), Some(AnswerFormat::Table)) => Err(misused("a table is for the terminal: leave out --output")),
        (Some(file), format) => {
            let encoding = format.and_then(AnswerFormat::encoding).map_or_else(|| encoding_of(file), Ok)?;
            write(asked, encoding, file)
        }
        (None, format) => show(asked, format.unwrap_or(AnswerFormat::Table)),
    }
}

pub(super) fn export(arguments: &ExportArgs) -> anyhow::Result<()> {
    let ExportArgs { asked, format, output } = arguments;
    let encoding = format.map_or_else(|| encoding_of(output), |format| Ok(format.into()))?;
    write(asked, encoding, output)
}

fn encoding_of(file: &Path) -> anyhow::Result<Encoding> {
    let extension = file.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    FileFormat::from_str(extension, true).map(Encoding::from).map_err(|_| {
        let name = file.display();
        misused(format!("{name} does not say its format: add --format json, csv, ndjson, arrow or parquet"))
    })
}

fn show(asked: &Asked, format: AnswerFormat) -> anyhow::Result<()> {
    let Some(encoding) = format.encoding() else {
        let answer = asked.answer(TABLE_ROWS)?;
        return Ok(output::print(grid::of(&answer)?.as_bytes())?);
    };
    if matches!(encoding, Encoding::Arrow | Encoding::Parquet) && io::stdout().is_terminal() {
        return Err(misused(format!("{} is not for a terminal: add --output FILE", encoding.name())));
    }
    let answer = asked.answer(u32::MAX)?;
    Ok(output::print(&encode(&answer, encoding)?)?)
}

/// Writes the answer to a file, which is there as a whole or not at all.
fn write(asked: &Asked, encoding: Encoding, file: &Path) -> anyhow::Result<()> {
    let mut encoder = Encoder::new(asked.answer(u32::MAX)?, encoding);
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let written = (|| {
        let where_to = || format!("the folder {}", folder.display());
        std::fs::metadata(folder).with_context(where_to)?;
        // Its own error names a file that nobody has heard of.
        let temporary = tempfile::NamedTempFile::new_in(folder).map_err(|error| io::Error::from(error.kind()));
        let mut temporary = temporary.with_context(where_to)?;
        while let Some(piece) = encoder.piece()? {
            temporary.write_all(&piece)?;
        }
        temporary.as_file().sync_all()?;
        temporary.persist(file).map_err(|error| error.error)?;
        anyhow::Ok(())
    })();
    written.with_context(|| format!("{} was not written", file.display()))?;
    let (rows, name) = (encoder.into_answer().table.rows(), file.display());
    let are = if rows == 1 { "is" } else { "are" };
    let rows = output::counted(rows, "row");
    Ok(output::print(format!("{rows} {are} in {name} ({})\n", encoding.name()).as_bytes())?)
}

impl Asked {
    /// The answer, of at most `rows` rows where neither the query nor `--limit` says how many.
    fn answer(&self, rows: u32) -> anyhow::Result<Answer> {
        let place = self.owner.place(&self.dataset);
        let pairs: Vec<_> = url::form_urlencoded::parse(self.query.trim_start_matches('?').as_bytes()).collect();
        let says_limit = pairs.iter().any(|(name, _)| name == "limit");
        let query = Query::from_pairs(pairs.iter().map(|(name, value)| (name.as_ref(), value.as_ref())));
        if query.as_ref().is_ok_and(|query| query.cursor.is_some()) {
            return Err(misused("a cursor leads through the API's pages: give offset, or no limit at all"));
        }
        let query = query.map(|mut query| {
            query.total = true;
            // Without a word on it everything is answered: an operator's own memory is the operator's.
            query.limit = match self.limit {
                Some(limit) if says_limit => query.limit.min(limit),
                Some(limit) => limit,
                None if says_limit => query.limit,
                None => rows,
            };
            query
        });
        let table = load(&self.data.data, &place)?;
        let checked = validate_read(query, table.schema()).map_err(|issues| refused(&issues))?;
        // Of the data's version only a cursor knows, and there is none.
        let page = checked.page("").map_err(|_| anyhow!("a cursor without a query"))?;
        Ok(Answer { next: None, ..run(&table, &page)? })
    }
}

fn load(data: &Path, place: &NamedDataset) -> anyhow::Result<Table> {
    match open(data, place).with_context(|| format!("{place} cannot be opened"))? {
        Some((file, format)) => Table::from_file(file, format).with_context(|| format!("{place} cannot be read")),
        None => bail!("there is no dataset {place} in {}: kyros data ls shows what there is", data.display()),
    }
}

/// Everything that is wrong with a query, a line each.
fn refused(issues: &[Issue]) -> anyhow::Error {
    let line = |issue: &Issue| {
        let (Location::Parameter(place) | Location::Pointer(place)) = &issue.location;
        let allowed = match issue.allowed.join(", ") {
            allowed if allowed.is_empty() => allowed,
            allowed => format!("\n    allowed: {allowed}"),
        };
        format!("\n  {place}: {}{allowed}", issue.detail)
    };
    anyhow!("the query is wrong{}", issues.iter().map(line).collect::<String>())
}
