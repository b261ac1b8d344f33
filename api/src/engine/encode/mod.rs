//! An answer in the format that was asked for.
//!
//! JSON is written here and not by Polars, whose writer leaves column names unescaped and knows no columns layout.

mod json;
#[cfg(test)]
mod tests;

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use polars::io::parquet::write::BatchedWriter;
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

/// Rows of one piece: enough that the work around a piece does not show, few enough that a piece is a few megabytes.
pub const PIECE_ROWS: usize = 16 * 1024;
/// Rows of one piece of Parquet, which is a row group.
const ROW_GROUP: usize = 128 * 1024;

/// Writes an answer piece by piece, so that nobody has to hold it whole. Every call blocks for one piece.
pub struct Encoder {
    answer: Answer,
    encoding: Encoding,
    /// How many rows are written; of a columns layout, how many of the present column.
    row: usize,
    column: usize,
    stage: Stage,
    parquet: Option<ParquetPieces>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Head,
    Rows,
    Done,
}

impl Encoder {
    /// An encoder that has written nothing yet.
    pub fn new(answer: Answer, encoding: Encoding) -> Self {
        Self { answer, encoding, row: 0, column: 0, stage: Stage::Head, parquet: None }
    }

    /// The answer that was to be written.
    pub fn into_answer(self) -> Answer {
        self.answer
    }

    /// The next bytes; `None` after the last ones.
    pub fn piece(&mut self) -> Result<Option<Vec<u8>>, Error> {
        if self.stage == Stage::Done {
            return Ok(None);
        }
        let mut out = Vec::new();
        match self.encoding {
            Encoding::Json => self.json(&mut out)?,
            Encoding::Columns => self.columns(&mut out)?,
            Encoding::NdJson => self.lines(&mut out)?,
            Encoding::Csv => self.csv(&mut out)?,
            Encoding::Arrow => self.arrow(&mut out)?,
            Encoding::Parquet => self.parquet(&mut out)?,
        }
        Ok(Some(out))
    }

    /// The next rows, and whether they are the first and the last ones. There is always a first piece, of no rows too.
    fn rows(&mut self, most: usize) -> (DataFrame, Turn) {
        let frame = self.answer.table.frame();
        let slice = frame.slice(i64::try_from(self.row).unwrap_or(i64::MAX), most);
        let first = self.stage == Stage::Head;
        self.row = self.row.saturating_add(most);
        let last = self.row >= frame.height();
        self.stage = if last { Stage::Done } else { Stage::Rows };
        (slice, Turn { first, last })
    }

    fn json(&mut self, out: &mut Vec<u8>) -> Result<(), Error> {
        let (rows, turn) = self.rows(PIECE_ROWS);
        out.extend_from_slice(if turn.first { b"{\"data\":[" } else { b"," });
        json::rows(&rows, b",", out)?;
        if turn.last {
            out.push(b']');
            json::meta(&self.answer, out)?;
        }
        Ok(())
    }

    fn columns(&mut self, out: &mut Vec<u8>) -> Result<(), Error> {
        let frame = self.answer.table.frame();
        if self.stage == Stage::Head {
            out.extend_from_slice(b"{\"columns\":{");
            self.stage = Stage::Rows;
        }
        // Short columns go together: a piece of one cell would be a waste.
        let mut budget = PIECE_ROWS;
        while budget > 0
            && let Some(column) = frame.columns().get(self.column)
        {
            let take = budget.min(column.len() - self.row);
            let cells = column.slice(i64::try_from(self.row).unwrap_or(i64::MAX), take);
            json::part_of_column(&cells, self.row == 0, self.column == 0, out)?;
            self.row += take;
            budget -= take.max(1);
            if self.row == column.len() {
                out.push(b']');
                (self.column, self.row) = (self.column + 1, 0);
            }
        }
        if self.column == frame.width() {
            out.push(b'}');
            json::meta(&self.answer, out)?;
            self.stage = Stage::Done;
        }
        Ok(())
    }

    fn lines(&mut self, out: &mut Vec<u8>) -> Result<(), Error> {
        let (rows, _) = self.rows(PIECE_ROWS);
        json::lines(&rows, out)
    }

    fn csv(&mut self, out: &mut Vec<u8>) -> Result<(), Error> {
        let (rows, turn) = self.rows(PIECE_ROWS);
        working(|| {
            let mut rows = with_times_as_text(&rows)?;
            CsvWriter::new(out).include_header(turn.first).with_line_terminator("\r\n".into()).finish(&mut rows)
        })
    }

    fn arrow(&mut self, out: &mut Vec<u8>) -> Result<(), Error> {
        let (mut rows, turn) = self.rows(4 * PIECE_ROWS);
        let mut stream = Vec::new();
        working(|| IpcStreamWriter::new(&mut stream).with_compat_level(CompatLevel::oldest()).finish(&mut rows))?;
        // Polars writes whole streams only: a schema, batches and an end. One stream of many pieces has the schema of the
        // first and the end of the last.
        let schema = schema_length(&stream).ok_or_else(|| broken("an Arrow stream without a schema"))?;
        let end = stream.len().checked_sub(END_OF_STREAM.len()).filter(|end| stream[*end..] == END_OF_STREAM);
        let end = end.ok_or_else(|| broken("an Arrow stream without an end"))?;
        let from = if turn.first { 0 } else { schema };
        let to = if turn.last { stream.len() } else { end };
        if from == 0 && to == stream.len() {
            *out = stream;
        } else {
            out.extend_from_slice(&stream[from..to]);
        }
        Ok(())
    }

    fn parquet(&mut self, out: &mut Vec<u8>) -> Result<(), Error> {
        let (rows, turn) = self.rows(ROW_GROUP);
        let pieces = match &mut self.parquet {
            Some(pieces) => pieces,
            none => none.insert(ParquetPieces::new(&rows)?),
        };
        *out = pieces.write(&rows, turn.last)?;
        Ok(())
    }
}

/// Which piece it is.
#[derive(Clone, Copy)]
struct Turn {
    first: bool,
    last: bool,
}

/// Parquet, row group by row group.
struct ParquetPieces {
    writer: BatchedWriter<Drain>,
    drain: Drain,
}

impl ParquetPieces {
    fn new(rows: &DataFrame) -> Result<Self, Error> {
        let drain = Drain::default();
        let writer = working(|| {
            ParquetWriter::new(drain.clone()).with_compression(ParquetCompression::Zstd(None)).batched(rows.schema())
        })?;
        Ok(Self { writer, drain })
    }

    fn write(&mut self, rows: &DataFrame, last: bool) -> Result<Vec<u8>, Error> {
        working(|| {
            self.writer.write_batch(rows)?;
            if last {
                self.writer.finish()?;
            }
            Ok(())
        })?;
        Ok(self.drain.take())
    }
}

/// What a writer wrote since it was last emptied: Polars' writer keeps what it writes to.
#[derive(Clone, Default)]
struct Drain(Arc<Mutex<Vec<u8>>>);

impl Drain {
    fn take(&self) -> Vec<u8> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Write for Drain {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The mark at the end of an Arrow stream (Arrow columnar format, "IPC Streaming Format").
const END_OF_STREAM: [u8; 8] = [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0];

/// How long the first message of an Arrow stream is: a mark, a length, and so much metadata; a schema has no body.
fn schema_length(stream: &[u8]) -> Option<usize> {
    let length = stream.strip_prefix(&END_OF_STREAM[..4])?.first_chunk()?;
    usize::try_from(u32::from_le_bytes(*length)).ok()?.checked_add(END_OF_STREAM.len())
}

fn broken(detail: &str) -> Error {
    Error::Internal { detail: detail.to_owned() }
}

/// Writes an answer whole. Blocks.
pub fn encode(answer: &Answer, encoding: Encoding) -> Result<Vec<u8>, Error> {
    let mut encoder = Encoder::new(answer.clone(), encoding);
    let mut out = encoder.piece()?.unwrap_or_default();
    while let Some(piece) = encoder.piece()? {
        out.extend_from_slice(&piece);
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
