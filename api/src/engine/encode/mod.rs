//! An answer in the format that was asked for.
//!
//! JSON is written here and not by Polars, whose writer leaves column names unescaped and knows no columns layout.

mod json;
#[cfg(test)]
mod tests;

use polars::prelude::{
    AnyValue, Column, CompatLevel, CsvWriter, DataFrame, DataType, IntoColumn, IpcStreamWriter, NewChunkedArray,
    ParquetCompression, ParquetWriter, PolarsResult, SerWriter, StringChunked,
};
use serde::Serialize;

use super::error::{Error, working};
use super::literal::{date_text, datetime_text};
use super::run::Answer;

/// A format of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// `{"data": [{..}, ..], "meta": {..}}`.
    Json,
    /// `{"columns": {"name": [..], ..}, "meta": {..}}`: about half the bytes.
    Columns,
    /// One JSON object per line.
    NdJson,
    /// CSV with a header, lines ending in CRLF (RFC 4180).
    Csv,
    /// An Arrow stream, with the types that every reader knows.
    Arrow,
    /// A Parquet file.
    Parquet,
}

impl Encoding {
    /// Every format, the default first.
    pub const ALL: [Self; 6] = [Self::Json, Self::Columns, Self::NdJson, Self::Csv, Self::Arrow, Self::Parquet];

    /// Its name in the parameter `format`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Columns => "columns",
            Self::NdJson => "ndjson",
            Self::Csv => "csv",
            Self::Arrow => "arrow",
            Self::Parquet => "parquet",
        }
    }

    /// Its `Content-Type`.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Json | Self::Columns => "application/json",
            Self::NdJson => "application/x-ndjson",
            Self::Csv => "text/csv; charset=utf-8; header=present",
            Self::Arrow => "application/vnd.apache.arrow.stream",
            Self::Parquet => "application/vnd.apache.parquet",
        }
    }
}

/// Writes an answer. Blocks.
pub fn encode(answer: &Answer, encoding: Encoding) -> Result<Vec<u8>, Error> {
    let frame = answer.table.frame();
    let mut out = Vec::new();
    match encoding {
        Encoding::Json => json::records(answer, &mut out)?,
        Encoding::Columns => json::columns(answer, &mut out)?,
        Encoding::NdJson => json::lines(frame, &mut out)?,
        Encoding::Csv => working(|| {
            let mut frame = with_times_as_text(frame)?;
            CsvWriter::new(&mut out).with_line_terminator("\r\n".into()).finish(&mut frame)
        })?,
        Encoding::Arrow => working(|| {
            let mut writer = IpcStreamWriter::new(&mut out).with_compat_level(CompatLevel::oldest());
            writer.finish(&mut frame.clone())
        })?,
        Encoding::Parquet => working(|| {
            let writer = ParquetWriter::new(&mut out).with_compression(ParquetCompression::Zstd(None));
            writer.finish(&mut frame.clone()).map(|_| ())
        })?,
    }
    Ok(out)
}

/// Dates and times as the same texts that JSON has: Polars' CSV takes one pattern for zoned and for plain times.
fn with_times_as_text(frame: &DataFrame) -> PolarsResult<DataFrame> {
    let text = |column: &Column| match column.dtype() {
        DataType::Date | DataType::Datetime(..) => {
            let cells = column.as_materialized_series().rechunk();
            let texts = cells.iter().map(|value| time_text(&value));
            StringChunked::from_iter_options(column.name().clone(), texts).into_column()
        }
        _ => column.clone(),
    };
    DataFrame::new(frame.height(), frame.columns().iter().map(text).collect())
}

/// A date or time as text. None for a null, and for what lies beyond the years -9999 to 9999.
fn time_text(value: &AnyValue<'_>) -> Option<String> {
    match value {
        AnyValue::Date(days) => date_text(*days),
        AnyValue::Datetime(micros, _, zone) => datetime_text(*micros, zone.is_some()),
        AnyValue::DatetimeOwned(micros, _, zone) => datetime_text(*micros, zone.is_some()),
        _ => None,
    }
}
