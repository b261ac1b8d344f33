//! `kyros data ls`: which datasets there are, and how large they are.

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use comfy_table::{Cell, CellAlignment};
use jiff::{Timestamp, Unit};
use kyros_api::operator::{Listed, list};
use kyros_shared_config::TenantId;
use serde_json::json;

use super::DataDir;
use crate::output::{self, grouped};

pub(super) const EXAMPLES: &str = "\
Of a CSV file, which is read as a whole whenever it is used, rows and columns are not known; importing it makes it Parquet.

Examples:
  kyros data ls
  kyros data ls --tenant acme
  kyros data ls --format json | jq -r '.[] | select(.damaged) | .dataset'";

/// What to list.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Only this tenant's.
    #[arg(long)]
    tenant: Option<TenantId>,
    /// How to print it.
    #[arg(long, value_enum, default_value = "table")]
    format: ListFormat,
    #[command(flatten)]
    data: DataDir,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ListFormat {
    /// For people.
    Table,
    /// For programs: an array of objects.
    Json,
}

pub(super) fn run(arguments: &ListArgs) -> anyhow::Result<()> {
    let data = &arguments.data.data;
    let found = list(data, arguments.tenant.as_ref())
        .with_context(|| format!("{} cannot be listed: is it the data folder? (--data)", data.display()))?;
    let text = match arguments.format {
        ListFormat::Table if found.is_empty() => "there are no datasets yet: kyros data import\n".to_owned(),
        ListFormat::Table => format!("{}\n", table(&found)),
        ListFormat::Json => format!("{:#}\n", found.iter().map(object).collect::<serde_json::Value>()),
    };
    Ok(output::print(text.as_bytes())?)
}

fn table(found: &[Listed]) -> comfy_table::Table {
    let mut table = output::table(&["tenant", "dashboard", "dataset", "rows", "columns", "size", "format", "modified"]);
    for listed in found {
        let (rows, columns) = match &listed.outline {
            Ok(Some(outline)) => (grouped(outline.rows), outline.columns.to_string()),
            Ok(None) => ("-".to_owned(), "-".to_owned()),
            Err(_) => ("damaged".to_owned(), "-".to_owned()),
        };
        let number = |text: String| Cell::new(text).set_alignment(CellAlignment::Right);
        let place = &listed.place;
        table.add_row([
            Cell::new(&place.tenant),
            Cell::new(&place.dashboard),
            Cell::new(&place.dataset),
            number(rows),
            number(columns),
            number(size(listed.size)),
            Cell::new(listed.format),
            Cell::new(modified(listed)),
        ]);
    }
    table
}

fn object(listed: &Listed) -> serde_json::Value {
    let outline = listed.outline.as_ref().ok().copied().flatten();
    json!({
        "tenant": listed.place.tenant,
        "dashboard": listed.place.dashboard,
        "dataset": listed.place.dataset,
        "rows": outline.map(|outline| outline.rows),
        "columns": outline.map(|outline| outline.columns),
        "size": listed.size,
        "format": listed.format,
        "modified": modified(listed),
        "damaged": listed.outline.as_ref().err().map(ToString::to_string),
    })
}

/// To the second, in UTC.
fn modified(listed: &Listed) -> String {
    let at = Timestamp::try_from(listed.modified).and_then(|at| at.round(Unit::Second));
    at.map_or_else(|_| "-".to_owned(), |at| at.to_string())
}

/// `1.5 MiB`.
fn size(bytes: u64) -> String {
    let bytes = indicatif::BinaryBytes(bytes);
    bytes.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_written_for_people() {
        assert_eq!((size(0).as_str(), size(1_536).as_str()), ("0 B", "1.50 KiB"));
    }
}
