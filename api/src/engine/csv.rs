//! CSV as a frame whose types every row has a say in, however late it comes.
//!
//! Every cell is read as a text first, which cannot fail on a value. Then all texts of a column decide on its type, and
//! only the columns that are not texts are read once more. Both readings are parallel, and a value that does not fit is
//! an error: it is never made a null.

use std::io::Cursor;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use memchr::{memchr, memchr_iter, memchr2};
use polars::prelude::{
    Column, CsvParseOptions, CsvReadOptions, DataFrame, DataType, PolarsError, PolarsResult, SchemaRef, SerReader,
};

use super::error::{Error, reading};
use super::infer::dtype_of;
use super::table::Format;

/// Reads CSV.
pub(super) fn read(bytes: &[u8]) -> PolarsResult<DataFrame> {
    // Of no row at all Polars infers that everything is a text.
    let texts = finish(options().with_infer_schema_length(Some(0)), bytes)?;
    if let Some((line, cells)) = short_record(bytes, texts.width()) {
        let detail =
            format!("line {line} has {cells} of {} cells; one that is empty needs its comma, too", texts.width());
        return Err(PolarsError::ComputeError(detail.into()));
    }
    let dtypes = dtypes_of(texts.columns())?;
    let others: Vec<_> = (0..dtypes.len()).filter(|&index| dtypes[index] != DataType::String).collect();
    if others.is_empty() {
        return Ok(texts);
    }
    let names = texts.get_column_names_owned();
    let schema: SchemaRef = Arc::new(names.into_iter().zip(dtypes.iter().cloned()).collect());
    let height = texts.height();
    // The texts that were only looked at are given back before the values take their place.
    let is_text = |(index, column)| (dtypes[index] == DataType::String).then_some(column);
    let mut kept: Vec<Option<Column>> = texts.into_columns().into_iter().enumerate().map(is_text).collect();
    let options = options().with_schema(Some(schema)).with_projection(Some(Arc::new(others.clone())));
    for (index, column) in others.into_iter().zip(finish(options, bytes)?.into_columns()) {
        kept[index] = Some(column);
    }
    DataFrame::new(height, kept.into_iter().flatten().collect())
}

/// The names in the header, as they are written: of two that are the same a table has the second under another one.
pub fn header(bytes: &[u8]) -> Result<Vec<String>, Error> {
    reading(Format::Csv, || {
        let options = options().with_has_header(false).with_infer_schema_length(Some(0)).with_n_rows(Some(1));
        let name = |column: &Column| Ok(column.str()?.get(0).unwrap_or_default().to_owned());
        finish(options, bytes)?.columns().iter().map(name).collect()
    })
}

fn options() -> CsvReadOptions {
    let parse = CsvParseOptions::default().with_try_parse_dates(true);
    CsvReadOptions::default().with_parse_options(parse)
}

fn finish(options: CsvReadOptions, bytes: &[u8]) -> PolarsResult<DataFrame> {
    options.into_reader_with_file_handle(Cursor::new(bytes)).finish().map_err(|error| without_hints(&error))
}

/// The first record with fewer cells than there are columns, which Polars would fill with nulls: its line, and how many cells.
/// Quotes count where RFC 4180 has them, around a whole cell.
fn short_record(bytes: &[u8], columns: usize) -> Option<(usize, usize)> {
    let (mut at, mut line, mut begun, mut cells) = (0, 1, (0, 1), 1);
    while at < bytes.len() {
        if bytes[at] == b'"' {
            let end = end_of_quotes(bytes, at);
            line += memchr_iter(b'\n', &bytes[at..end]).count();
            at = end;
        }
        let next = memchr2(b',', b'\n', &bytes[at..]).map_or(bytes.len(), |offset| at + offset);
        let (start, first_line) = begun;
        at = next + 1;
        if bytes.get(next) == Some(&b',') {
            cells += 1;
            continue;
        }
        // A blank line is no record, unless there is a single column.
        if cells < columns && !bytes[start..next].trim_ascii().is_empty() {
            return Some((first_line, cells));
        }
        line += 1;
        (begun, cells) = ((at, line), 1);
    }
    // After a last comma stands a cell that is empty, and the file.
    let (start, first_line) = begun;
    let is_open = bytes.last() == Some(&b',') && start < bytes.len();
    (is_open && cells < columns).then_some((first_line, cells))
}

/// How many cells there are. Commas and line ends inside of quotes are none.
pub(super) fn cells(bytes: &[u8]) -> usize {
    let (mut at, mut cells) = (0, 0);
    while at < bytes.len() {
        if bytes[at] == b'"' {
            at = end_of_quotes(bytes, at);
        }
        cells += 1;
        at = memchr2(b',', b'\n', &bytes[at..]).map_or(bytes.len(), |offset| at + offset + 1);
    }
    cells
}

/// Where a quoted cell ends, or the file; two quotes in it are one that is meant.
fn end_of_quotes(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(offset) = bytes.get(at..).and_then(|rest| memchr(b'"', rest)) {
        at += offset + 1;
        if bytes.get(at) != Some(&b'"') {
            return at;
        }
        at += 1;
    }
    bytes.len()
}

/// Polars adds hints for those who call it, and an offset into the part of the file that one thread reads.
fn without_hints(error: &PolarsError) -> PolarsError {
    let text = error.to_string();
    let is_hint =
        |part: &&str| ["The current offset", "You might want", "Consider"].iter().any(|hint| part.starts_with(hint));
    let parts: Vec<_> = text.split("\n\n").take_while(|part| !is_hint(part)).collect();
    PolarsError::ComputeError(parts.join(": ").into())
}

/// The types of all columns, each found by whichever thread is free.
fn dtypes_of(columns: &[Column]) -> PolarsResult<Vec<DataType>> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut found = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(column) = columns.get(index) else { return found };
            found.push((index, column.str().map(dtype_of)));
        }
    };
    let others =
        thread::available_parallelism().map_or(0, |threads| threads.get().min(columns.len()).saturating_sub(1));
    let mut found = thread::scope(|scope| {
        let threads: Vec<_> = (0..others).map(|_| scope.spawn(work)).collect();
        let mut found = work();
        for thread in threads {
            found.extend(thread.join().unwrap_or_else(|panic| resume_unwind(panic)));
        }
        found
    });
    found.sort_unstable_by_key(|(index, _)| *index);
    found.into_iter().map(|(_, dtype)| dtype).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_read_as_it_is_written() {
        for (csv, names) in [
            ("a,b\n1,2\n", vec!["a", "b"]),
            ("\u{feff}a,\"e,\"\"f\"\r\n1,2\r\n", vec!["a", "e,\"f"]),
            ("a,a,\n1,2,3\n", vec!["a", "a", ""]),
            ("a,,\"\"\n1,2,3\n", vec!["a", "", ""]),
            ("01,1,2026-01-31\n1,2,3\n", vec!["01", "1", "2026-01-31"]),
            ("\"a\nb\",c\n1,2\n", vec!["a\nb", "c"]),
            ("a,b", vec!["a", "b"]),
        ] {
            assert_eq!(header(csv.as_bytes()).unwrap(), names, "{csv:?}");
        }
    }

    /// What Polars makes of it when it infers from all rows by itself.
    fn by_polars(bytes: &[u8]) -> PolarsResult<DataFrame> {
        let options = options().with_infer_schema_length(None);
        options.into_reader_with_file_handle(Cursor::new(bytes)).finish()
    }

    fn dtype(cells: &str) -> PolarsResult<DataType> {
        let csv = format!("a,b\n{}\n", cells.split('|').map(|cell| format!("{cell},x")).collect::<Vec<_>>().join("\n"));
        read(csv.as_bytes()).map(|frame| frame.dtypes()[0].clone())
    }

    #[test]
    fn a_late_row_decides_as_an_early_one_does() {
        let many = |early: &str, late: &str| format!("{}{late}", format!("{early}|").repeat(5_000));
        for (early, late, expected) in [
            ("1", "2", DataType::Int64),
            ("1", "2.5", DataType::Float64),
            ("1", "1e3", DataType::Float64),
            ("1", " 2", DataType::String),
            ("1", "+2", DataType::String),
            ("1", "n/a", DataType::String),
            ("1.5", "2", DataType::Float64),
            ("1.5", "NAN", DataType::String),
            ("", "2", DataType::Int64),
            ("", "", DataType::String),
            ("true", "no", DataType::String),
            ("2026-01-31", "2026-01-31T09:30:00", DataType::String),
            ("2026-01-31", "never", DataType::String),
            ("2026-01-31", "", DataType::Date),
        ] {
            assert_eq!(dtype(&many(early, late)).unwrap(), expected, "{early:?}, {late:?}");
        }
    }

    #[test]
    fn a_value_that_fits_nowhere_is_an_error_and_no_null() {
        let error = dtype("1|99999999999999999999").unwrap_err().to_string();
        assert!(error.contains("99999999999999999999") && error.contains("column 'a'"), "{error}");
        assert!(!error.contains("schema_overrides") && !error.contains("offset"), "{error}");
    }

    #[test]
    fn a_row_with_too_many_cells_is_an_error() {
        let error = read(b"a,b\n1,2\n3,4,5\n").unwrap_err().to_string();
        assert!(error.contains("more fields"), "{error}");
    }

    #[test]
    fn a_row_with_too_few_cells_is_an_error_and_no_nulls() {
        for (csv, line, cells) in [
            ("a,b\n1,2\n3", 3, 1),
            ("a,b\n1\n3,4\n", 2, 1),
            ("a,b,c\n\"1\n,\",2,3\n4,\n", 4, 2),
            ("a,b,c\r\n1,2,3\r\n4,\"say \"\"hi\"\",\"\r\n", 3, 2),
            ("a,b,c\n1,2,3\n4,", 3, 2),
        ] {
            let error = read(csv.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(&format!("line {line} has {cells} of ")), "{csv:?}: {error}");
        }
        for csv in ["a,b\n1,2\n\n3,\n", "a\n1\n\n2", "a,b\r\n,\r\n", "a,b\n1,2\n3,", "a,b\n\"x,\ny\",2"] {
            assert!(read(csv.as_bytes()).is_ok(), "{csv:?}");
        }
    }

    /// Whatever stands in a file, it is read as Polars reads it when it infers from all rows.
    #[test]
    fn types_and_values_are_those_of_a_full_inference() {
        const CELLS: [&str; 46] = [
            "",
            "1",
            "-7",
            "007",
            "1.5",
            "-.5",
            "1e3",
            "1.",
            "+4",
            " 5",
            "6 ",
            "NaN",
            "nan",
            "inf",
            "-inf",
            "INF",
            "true",
            "FALSE",
            "True",
            "yes",
            "2026-01-31",
            "2026-02-29",
            "31.12.2026",
            "2026/01/31",
            "31-12-2026",
            "20260131",
            "2026-01-31T09:30:00",
            "2026-01-31 09:30",
            "2026-01-31T09:30:00.25",
            "2026-01-31T09:30:00Z",
            "2026-01-31T09:30:00.123456+02:00",
            "2026-01-31 09:30:00Z",
            "09:30",
            "09:30:15",
            "text",
            "\"\"",
            "\"1\"",
            "\"1.5\"",
            "\"2026-01-31\"",
            "\"a,b\"",
            "\"a\nb\"",
            "\"say \"\"hi\"\"\"",
            "\"\"\"2026-01-31\"\"\"",
            "é",
            "٣",
            "1_000",
        ];
        let mut state = 0x2545_F491_4F6C_DD1D_u64;
        let mut pick = |limit: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            usize::try_from(state >> 33).unwrap() % limit
        };
        let mut read_well = 0;
        for round in 0..2_000 {
            let columns = 1 + pick(4);
            // Few kinds of cells in a column, or everything would be a text.
            let kinds: Vec<Vec<&str>> =
                (0..columns).map(|_| (0..=pick(3)).map(|_| CELLS[pick(CELLS.len())]).collect()).collect();
            let end = ["\n", "\r\n"][round % 2];
            let mut csv = (0..columns).map(|index| format!("c{}", index % 3)).collect::<Vec<_>>().join(",") + end;
            for _ in 0..pick(40) {
                csv += &kinds.iter().map(|kinds| kinds[pick(kinds.len())]).collect::<Vec<_>>().join(",");
                csv += end;
            }
            if pick(4) == 0 {
                csv.truncate(csv.len() - end.len());
            }
            match (read(csv.as_bytes()), by_polars(csv.as_bytes())) {
                (Ok(mut ours), Ok(mut polars)) => {
                    // The one difference that is meant.
                    for (index, dtype) in polars.dtypes().into_iter().enumerate().rev() {
                        if dtype == DataType::Time {
                            assert_eq!(ours.dtypes()[index], DataType::String, "{csv}");
                            let name = polars.get_column_names_owned()[index].clone();
                            ours.drop_in_place(&name).unwrap();
                            polars.drop_in_place(&name).unwrap();
                        }
                    }
                    assert_eq!(ours.schema(), polars.schema(), "{csv}");
                    assert!(ours.equals_missing(&polars), "{csv}");
                    read_well += 1;
                }
                (Err(_), Err(_)) => {}
                (Ok(_), Err(error)) if error.to_string().contains("to `time` failed") => {}
                (ours, polars) => panic!("{csv}\nours: {ours:?}\nPolars': {polars:?}"),
            }
        }
        assert!(read_well > 1_000, "{read_well}");
    }
}
