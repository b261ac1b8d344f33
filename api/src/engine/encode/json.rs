//! JSON of an answer: names escaped once, not-a-number and infinities as null, decimals with all their digits.
//!
//! Integers are written in full; a reader that has only doubles loses digits beyond 2^53.

use std::io::Write;

use polars::prelude::{AnyValue, Column, DataFrame, Series};
use serde::Serialize;

use super::time_text;
use crate::engine::error::Error;
use crate::engine::run::Answer;

/// What the answer says about itself.
#[derive(Serialize)]
struct Meta {
    rows: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    total: Option<usize>,
    truncated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

/// Some cells of a column; the first of them open it, and whoever writes the last ones closes it with `]`.
pub(super) fn part_of_column(cells: &Column, opens: bool, is_first: bool, out: &mut Vec<u8>) -> Result<(), Error> {
    if opens {
        separate(usize::from(!is_first), b",", out);
        serde_json::to_writer(&mut *out, cells.name().as_str())?;
        out.extend_from_slice(b":[");
    }
    let cells = cells.as_materialized_series().rechunk();
    for (index, value) in cells.iter().enumerate() {
        separate(index + usize::from(!opens), b",", out);
        cell(&value, out)?;
    }
    Ok(())
}

/// One object per line, every line ended.
pub(super) fn lines(frame: &DataFrame, out: &mut Vec<u8>) -> Result<(), Error> {
    rows(frame, b"\n", out)?;
    if frame.height() > 0 {
        out.push(b'\n');
    }
    Ok(())
}

pub(super) fn rows(frame: &DataFrame, separator: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
    let names = keys(frame, b",")?;
    let columns = cells(frame);
    let mut columns: Vec<_> = columns.iter().map(Series::iter).collect();
    for row in 0..frame.height() {
        separate(row, separator, out);
        out.push(b'{');
        for (name, column) in names.iter().zip(&mut columns) {
            out.extend_from_slice(name);
            cell(&column.next().unwrap_or(AnyValue::Null), out)?;
        }
        out.push(b'}');
    }
    Ok(())
}

/// Every column in one piece, which iterating it wants.
fn cells(frame: &DataFrame) -> Vec<Series> {
    frame.columns().iter().map(|column| column.as_materialized_series().rechunk()).collect()
}

/// Every name as `"name":`, those after the first with a separator before them.
fn keys(frame: &DataFrame, separator: &[u8]) -> Result<Vec<Vec<u8>>, Error> {
    let key = |(index, name): (usize, &polars::prelude::PlSmallStr)| {
        let mut key = Vec::new();
        separate(index, separator, &mut key);
        serde_json::to_writer(&mut key, name.as_str())?;
        key.push(b':');
        Ok(key)
    };
    frame.get_column_names().into_iter().enumerate().map(key).collect()
}

fn separate(index: usize, separator: &[u8], out: &mut Vec<u8>) {
    if index > 0 {
        out.extend_from_slice(separator);
    }
}

pub(super) fn meta(answer: &Answer, out: &mut Vec<u8>) -> Result<(), Error> {
    out.extend_from_slice(b",\"meta\":");
    let Answer { table, total, truncated, .. } = answer;
    let next_cursor = answer.next.map(|cursor| cursor.to_string());
    serde_json::to_writer(&mut *out, &Meta { rows: table.rows(), total: *total, truncated: *truncated, next_cursor })?;
    out.push(b'}');
    Ok(())
}

fn cell(value: &AnyValue<'_>, out: &mut Vec<u8>) -> Result<(), Error> {
    match value {
        AnyValue::Boolean(flag) => write!(out, "{flag}")?,
        AnyValue::String(text) => serde_json::to_writer(out, text)?,
        AnyValue::StringOwned(text) => serde_json::to_writer(out, text.as_str())?,
        AnyValue::Int8(number) => write!(out, "{number}")?,
        AnyValue::Int16(number) => write!(out, "{number}")?,
        AnyValue::Int32(number) => write!(out, "{number}")?,
        AnyValue::Int64(number) => write!(out, "{number}")?,
        AnyValue::UInt8(number) => write!(out, "{number}")?,
        AnyValue::UInt16(number) => write!(out, "{number}")?,
        AnyValue::UInt32(number) => write!(out, "{number}")?,
        // Debug is the shortest text that reads back as the same number, with an exponent where that is long.
        AnyValue::Float32(number) if number.is_finite() => write!(out, "{number:?}")?,
        AnyValue::Float64(number) if number.is_finite() => write!(out, "{number:?}")?,
        AnyValue::Decimal(unscaled, _, scale) => decimal(*unscaled, *scale, out)?,
        AnyValue::Date(_) | AnyValue::Datetime(..) | AnyValue::DatetimeOwned(..) => {
            serde_json::to_writer(out, &time_text(value))?;
        }
        _ => out.extend_from_slice(b"null"),
    }
    Ok(())
}

/// `-12345` of scale 2 as `-123.45`.
fn decimal(unscaled: i128, scale: usize, out: &mut Vec<u8>) -> Result<(), Error> {
    let sign = if unscaled < 0 { "-" } else { "" };
    let digits = format!("{:0>width$}", unscaled.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    let point = if scale == 0 { "" } else { "." };
    Ok(write!(out, "{sign}{whole}{point}{fraction}")?)
}
