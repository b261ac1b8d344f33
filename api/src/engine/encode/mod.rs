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
    AnyValue, Column, CompatLevel, CsvWriter, DataFrame, DataType, IntoColumn, NewChunkedArray, ParquetCompression,
    ParquetWriter, PolarsResult, SchemaExt as _, SerWriter, StringChunked,
};
use polars_arrow::io::ipc::write::{StreamWriter, WriteOptions};
use serde::Serialize;

use super::error::{Error, working};
use super::import::ROW_GROUP;
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

/// Most rows of one piece: enough that the work around a piece does not show.
pub const PIECE_ROWS: usize = 16 * 1024;
/// What a piece takes in memory, in bytes, where rows are long: it has fewer of them then.
const PIECE_BYTES: usize = 8 * 1024 * 1024;

/// Writes an answer piece by piece, so that nobody has to hold it whole. Every call blocks for one piece.
pub struct Encoder {
    answer: Answer,
    encoding: Encoding,
    /// Rows of a piece, by what one takes in memory.
    longest: usize,
    /// How many rows are written; of a columns layout, how many of the present column.
    row: usize,
    column: usize,
    stage: Stage,
    arrow: Option<ArrowPieces>,
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
        let row_bytes = answer.table.estimated_size() / answer.table.rows().max(1);
        let longest = (PIECE_BYTES / row_bytes.max(1)).max(1);
        Self { answer, encoding, longest, row: 0, column: 0, stage: Stage::Head, arrow: None, parquet: None }
    }

    /// The answer that was to be written.
    pub fn into_answer(self) -> Answer {
        self.answer
    }

    /// Whether the last bytes were given.
    pub fn is_done(&self) -> bool {
        self.stage == Stage::Done
    }

    /// The next bytes; `None` after the last ones.
    pub fn piece(&mut self) -> Result<Option<Vec<u8>>, Error> {
        if self.is_done() {
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
        let most = most.min(self.longest);
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
        let mut budget = PIECE_ROWS.min(self.longest);
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
        let (rows, turn) = self.rows(4 * PIECE_ROWS);
        let pieces = match &mut self.arrow {
            Some(pieces) => pieces,
            none => none.insert(ArrowPieces::new(&rows)?),
        };
        *out = pieces.write(&rows, turn.last)?;
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

/// An Arrow stream, batch by batch. Polars' own writer takes whole tables only; this is what it is made of.
struct ArrowPieces {
    writer: StreamWriter<Drain>,
    drain: Drain,
}

/// The types that every reader knows.
fn arrow_types() -> CompatLevel {
    CompatLevel::oldest()
}

impl ArrowPieces {
    fn new(rows: &DataFrame) -> Result<Self, Error> {
        let drain = Drain::default();
        let mut writer = StreamWriter::new(drain.clone(), WriteOptions { compression: None });
        working(|| writer.start(&rows.schema().to_arrow(arrow_types()), None))?;
        Ok(Self { writer, drain })
    }

    fn write(&mut self, rows: &DataFrame, last: bool) -> Result<Vec<u8>, Error> {
        working(|| {
            // A batch is of one chunk, and rows may be of several.
            let mut rows = rows.clone();
            rows.align_chunks_par();
            for batch in rows.iter_chunks(arrow_types(), true) {
                self.writer.write(&batch, None)?;
            }
            if last { self.writer.finish() } else { Ok(()) }
        })?;
        Ok(self.drain.take())
    }
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
