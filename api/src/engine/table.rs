//! A data set in memory: read from an open file, never from a path, and brought to the few types that queries know.

use std::fmt;
use std::fs::File;
use std::io::{Cursor, Read};
use std::sync::{Arc, OnceLock};

use polars::prelude::{
    ArrowDataType, ArrowSchema, CompatLevel, DataFrame, DataType, ParquetReader, PolarsResult, SchemaExt as _,
    SerReader, TimeUnit,
};
use polars::series::IsSorted;
use serde::Serialize;

use super::codes::{self, Codes};
use super::error::{Error, reading};
use super::literal::{are_written, zone};
use super::schema::{Kind, Schema, unsupported};
use super::{csv, ndjson};

/// The largest file, because it is read into memory.
pub const MAX_FILE_BYTES: u64 = 512 * 1024 * 1024;
/// The most bytes that a Parquet file may say it unfolds to: a small file can describe a very large table.
pub const MAX_UNFOLDED_BYTES: u64 = 4 * MAX_FILE_BYTES;
/// What a text takes beside its letters, in bits. A CSV is all texts at first.
const CELL_BITS: u64 = 128;
/// The most rows of a data set; Polars itself counts to 2^32.
pub const MAX_ROWS: u64 = 100_000_000;

/// The format of a data set's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Apache Parquet.
    Parquet,
    /// Comma-separated values with a header (RFC 4180), in UTF-8.
    Csv,
    /// A flat JSON object on every line. Only for imports.
    NdJson,
}

impl Format {
    /// The format that a file's extension stands for.
    pub fn from_extension(extension: &str) -> Option<Self> {
        match extension {
            "parquet" => Some(Self::Parquet),
            "csv" => Some(Self::Csv),
            "ndjson" | "jsonl" => Some(Self::NdJson),
            _ => None,
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Parquet => "parquet",
            Self::Csv => "csv",
            Self::NdJson => "ndjson",
        })
    }
}

/// A table of served types. Cloning it is cheap, and it never changes.
#[derive(Clone)]
pub struct Table {
    frame: Arc<DataFrame>,
    schema: Arc<Schema>,
    /// For each column once it was asked for: most never are.
    codes: Arc<[OnceLock<Option<Codes>>]>,
}

impl fmt::Debug for Table {
    /// Never the rows: they are a tenant's.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").field("rows", &self.rows()).finish_non_exhaustive()
    }
}

impl Table {
    /// Reads a file that someone else has opened, from where it stands. The bytes are copied: whoever cuts the file
    /// short afterwards cannot reach us, as they could a mapping.
    pub fn from_file(file: File, format: Format) -> Result<Self, Error> {
        let size = file.metadata()?.len();
        Self::from_bytes(bytes_of(file, Some(size))?, format)
    }

    /// As [`Table::from_file`], of a file that must not unfold to more than so many bytes. That is known before anything is
    /// unfolded: of Parquet from what it says of itself, of CSV from its cells, which may take twice that while they are read.
    pub fn from_file_within(file: File, format: Format, most: u64) -> Result<Self, Error> {
        let size = file.metadata()?.len();
        if format != Format::Parquet && size > most {
            return Err(Error::TooLarge { size, limit: most });
        }
        Self::from_content(bytes_of(file, Some(size))?, format, most)
    }

    /// Reads a file's content.
    pub fn from_bytes(bytes: Vec<u8>, format: Format) -> Result<Self, Error> {
        Self::from_content(bytes, format, MAX_UNFOLDED_BYTES)
    }

    fn from_content(bytes: Vec<u8>, format: Format, most: u64) -> Result<Self, Error> {
        let frame = match format {
            Format::Parquet => parquet(bytes, most.min(MAX_UNFOLDED_BYTES))?,
            Format::Csv => {
                few_enough_cells(&bytes, most)?;
                reading(format, || csv::read(&bytes))?
            }
            Format::NdJson => ndjson::read(bytes)?,
        };
        if frame.width() == 0 {
            return Err(Error::Corrupt { format, detail: "there are no columns".to_owned() });
        }
        // Also of a CSV: what is imported must be readable as Parquet.
        few_enough(frame.height() as u64)?;
        let size = unfolded(frame.height() as u64, &frame.schema().to_arrow(CompatLevel::newest()));
        if size > MAX_UNFOLDED_BYTES {
            return Err(Error::TooLarge { size, limit: MAX_UNFOLDED_BYTES });
        }
        let table = reading(format, || Ok(Self::from_frame(frame)))??;
        table.can_be_written(format)?;
        Ok(table)
    }

    /// A day that no text can name could be neither answered nor asked for.
    fn can_be_written(&self, format: Format) -> Result<(), Error> {
        let columns = self.schema.columns().iter().zip(self.frame.columns());
        let of_time = columns.filter(|(column, _)| matches!(column.kind, Kind::Date | Kind::Datetime { .. }));
        for (column, values) in of_time {
            let ends = [values.min_reduce()?, values.max_reduce()?];
            let [Some(least), Some(greatest)] = ends.map(|end| end.into_value().to_physical().extract::<i64>()) else {
                continue;
            };
            if !are_written(column.kind, least, greatest) {
                let detail = format!("column {:?} has days outside the years 1 to 9999", column.name);
                return Err(Error::Corrupt { format, detail });
            }
        }
        Ok(())
    }

    /// Takes a frame, and brings it to the types that are served.
    pub(super) fn from_frame(mut frame: DataFrame) -> Result<Self, Error> {
        for (index, dtype) in frame.dtypes().into_iter().enumerate() {
            let column = &frame.columns()[index];
            if let Some(target) = normal(&dtype).ok_or_else(|| unsupported(column.name(), &dtype))? {
                let cast = column.strict_cast(&target).map_err(|_| unsupported(column.name(), &dtype))?;
                frame.replace_column(index, cast)?;
            }
        }
        frame.rechunk_mut_par();
        let frame = unsorted(frame)?;
        let schema = Schema::of(frame.schema())?;
        let codes = frame.columns().iter().map(|_| OnceLock::new()).collect();
        Ok(Self { frame: Arc::new(frame), schema: Arc::new(schema), codes })
    }

    /// The columns.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.frame.height()
    }

    /// The memory that it takes, for a cache's budget: also what it may come to take.
    pub fn estimated_size(&self) -> usize {
        let texts = self.schema.columns().iter().filter(|column| column.kind == Kind::String).count();
        self.frame.estimated_size() + texts * self.rows() * codes::BYTES
    }

    /// A column of texts as numbers, if it has few different ones. Blocks the first time, for as long as it takes to look at
    /// every row.
    pub(super) fn codes(&self, column: &str) -> Option<&Codes> {
        let index = self.frame.get_column_index(column)?;
        self.codes.get(index)?.get_or_init(|| Codes::of(&self.frame.columns()[index])).as_ref()
    }

    pub(super) fn frame(&self) -> &DataFrame {
        &self.frame
    }
}

/// A file says itself what it is sorted by, and Polars believes it: of one that lies, the least and the groups would be wrong.
fn unsorted(frame: DataFrame) -> PolarsResult<DataFrame> {
    let height = frame.height();
    let mut columns = frame.into_columns();
    for column in &mut columns {
        column.set_sorted_flag(IsSorted::Not);
    }
    DataFrame::new(height, columns)
}

/// The type that a column is kept in: None if that is its own, and nothing at all if it is not served.
#[expect(clippy::option_option, reason = "served or not, and cast or not, are two questions")]
fn normal(dtype: &DataType) -> Option<Option<DataType>> {
    match dtype {
        // One width for the large ones: then a 64-bit literal compares with every integer without loss.
        DataType::UInt64 | DataType::Int128 | DataType::UInt128 => Some(Some(DataType::Int64)),
        DataType::Float16 => Some(Some(DataType::Float32)),
        // A column without any value, as CSV has them, is a text that is always null.
        DataType::Categorical(..) | DataType::Enum(..) | DataType::Null => Some(Some(DataType::String)),
        DataType::Datetime(_, found) => {
            let target = DataType::Datetime(TimeUnit::Microseconds, zone(found.is_some()));
            Some((*dtype != target).then_some(target))
        }
        other => Kind::of(other).map(|_| None),
    }
}

/// Reads all of a source into memory, if it is not larger than [`MAX_FILE_BYTES`]. `size` is what it says it has.
pub fn bytes_of(source: impl Read, size: Option<u64>) -> Result<Vec<u8>, Error> {
    let size = size.unwrap_or_default();
    if size > MAX_FILE_BYTES {
        return Err(Error::TooLarge { size, limit: MAX_FILE_BYTES });
    }
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
    // A file may grow while it is read.
    let read = source.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    if read as u64 > MAX_FILE_BYTES {
        return Err(Error::TooLarge { size: read as u64, limit: MAX_FILE_BYTES });
    }
    Ok(bytes)
}

fn few_enough_cells(csv: &[u8], most: u64) -> Result<(), Error> {
    let limit = most.saturating_mul(2);
    let size = |cells: usize| (cells as u64).saturating_mul(CELL_BITS / 8);
    // A cell is a byte at least, with what follows it: of most files no cell has to be counted.
    if size(csv.len()) <= limit {
        return Ok(());
    }
    let size = size(csv::cells(csv));
    if size > limit { Err(Error::TooLarge { size, limit }) } else { Ok(()) }
}

/// What so many rows take in memory, at least, in bytes.
fn unfolded(rows: u64, schema: &ArrowSchema) -> u64 {
    let bits: u64 = schema.iter_values().map(|field| width(field.dtype())).sum();
    rows.saturating_mul(bits) / 8
}

/// What a value takes in memory, at least, in bits.
fn width(dtype: &ArrowDataType) -> u64 {
    match dtype {
        ArrowDataType::Boolean => 1,
        ArrowDataType::Int8 | ArrowDataType::UInt8 => 8,
        ArrowDataType::Int16 | ArrowDataType::UInt16 | ArrowDataType::Float16 => 16,
        ArrowDataType::Int32 | ArrowDataType::UInt32 | ArrowDataType::Float32 | ArrowDataType::Date32 => 32,
        ArrowDataType::Int64
        | ArrowDataType::UInt64
        | ArrowDataType::Float64
        | ArrowDataType::Date64
        | ArrowDataType::Timestamp(..) => 64,
        _ => CELL_BITS,
    }
}

fn few_enough(rows: u64) -> Result<(), Error> {
    if rows > MAX_ROWS { Err(Error::TooManyRows { rows, limit: MAX_ROWS }) } else { Ok(()) }
}

/// Reads Parquet, once its own description says that it fits.
fn parquet(bytes: Vec<u8>, most: u64) -> Result<DataFrame, Error> {
    let mut reader = ParquetReader::new(Cursor::new(bytes));
    let (rows, size) = reading(Format::Parquet, || {
        let metadata = reader.get_metadata()?;
        let mut rows = metadata.num_rows as u64;
        let mut size = 0u64;
        for group in &metadata.row_groups {
            rows = rows.max(group.num_rows() as u64);
            for chunk in group.parquet_columns() {
                // Polars reserves memory for what is written here, and to fail at that ends the process, so that
                // nothing could be caught. A negative number is a lie, and counts as the largest.
                rows = rows.max(u64::try_from(chunk.num_values()).unwrap_or(u64::MAX));
                size = size.saturating_add(u64::try_from(chunk.uncompressed_size()).unwrap_or(u64::MAX));
            }
        }
        Ok((rows, size))
    })?;
    // A value that is repeated takes next to nothing in the file, and all its room in memory.
    let schema = reading(Format::Parquet, || reader.schema())?;
    let size = size.max(unfolded(rows, &schema));
    if size > most {
        return Err(Error::TooLarge { size, limit: most });
    }
    few_enough(rows)?;
    reading(Format::Parquet, || reader.finish())
}

#[cfg(test)]
mod tests;
