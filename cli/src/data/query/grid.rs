//! An answer as a table on a terminal.

use std::collections::HashMap;

use anyhow::Context as _;
use comfy_table::{Cell, CellAlignment};
use kyros_api::engine::{Answer, Encoding, Kind, encode};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::output::{self, counted, grouped};

/// The most characters of a cell.
const CELL: usize = 60;

/// The part of a JSON answer that is shown. Numbers stay the text that they are, with all their digits.
#[derive(Deserialize)]
struct Columns {
    columns: HashMap<String, Vec<Box<RawValue>>>,
}

/// The rows of an answer, and how many there are.
pub(super) fn of(answer: &Answer) -> anyhow::Result<String> {
    let Columns { columns } = serde_json::from_slice(&encode(answer, Encoding::Columns)?)?;
    let schema = answer.table.schema();
    let names: Vec<_> = schema.names().map(output::visible).collect();
    let mut table = output::table(&names);
    let columns: Vec<_> = schema
        .columns()
        .iter()
        .map(|column| Ok((column.kind, columns.get(&column.name).context("the answer lacks a column")?)))
        .collect::<anyhow::Result<_>>()?;
    for row in 0..answer.table.rows() {
        table.add_row(columns.iter().filter_map(|(kind, values)| Some(cell(*kind, values.get(row)?.get()))));
    }
    let rows = answer.table.rows();
    let (shown, total) = (grouped(rows as u64), counted(answer.total.unwrap_or(rows), "row"));
    Ok(format!("{table}\n{}\n", output::bold(&format!("{shown} of {total}"))))
}

fn cell(kind: Kind, json: &str) -> Cell {
    let text = serde_json::from_str::<String>(json).unwrap_or_else(|_| json.to_owned());
    let mut text = output::visible(&text);
    if let Some((end, _)) = text.char_indices().nth(CELL) {
        text.truncate(end);
        text.push('…');
    }
    let is_number = matches!(kind, Kind::Integer | Kind::Float | Kind::Decimal { .. });
    Cell::new(text).set_alignment(if is_number { CellAlignment::Right } else { CellAlignment::Left })
}
