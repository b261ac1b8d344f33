//! NDJSON, an object on every line, as a frame: types from all lines, times from texts that are times.
//!
//! Only flat objects are taken. That is found out before Polars sees a byte: a list beside a text would become a text
//! there, and a value that is nested deeply enough would use up the stack, which nothing could catch.

use std::collections::HashSet;
use std::io::Cursor;

use memchr::memmem::Finder;
use polars::prelude::{
    Column, DataFrame, DataType, Int32Chunked, Int64Chunked, IntoColumn, JsonFormat, JsonReader, NewChunkedArray,
    PolarsResult, SerReader, StringChunked,
};
use serde_json::{Map, Value};

use super::error::{Error, reading};
use super::infer::dtype_of;
use super::literal::Literal;
use super::schema::Kind;
use super::table::Format;

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Reads NDJSON.
pub(super) fn read(mut bytes: Vec<u8>) -> Result<DataFrame, Error> {
    for (line, number) in lines(&bytes) {
        if is_nested(line) {
            return Err(nested(line, number));
        }
    }
    let truths = columns_with_truths(&bytes);
    bytes.reserve_exact(2);
    // Where Polars estimates the length of lines, it steps over the end of a file whose last line is very long.
    bytes.extend_from_slice(b"\n\n");
    reading(Format::NdJson, || {
        let reader = JsonReader::new(Cursor::new(&bytes)).with_json_format(JsonFormat::JsonLines);
        with_times(reader.infer_schema_len(None).finish()?)
    })
    .map_err(|error| located(error, &bytes))
    .and_then(|frame| refuse_mixed(frame, &truths))
}

/// The columns with a true or a false.
fn columns_with_truths(bytes: &[u8]) -> HashSet<String> {
    let mut found = HashSet::new();
    let finders = [Finder::new("true"), Finder::new("false")];
    let may_have = |line: &[u8]| finders.iter().any(|finder| finder.find(line).is_some());
    for (line, _) in lines(bytes).filter(|(line, _)| may_have(line)) {
        // What is no object is refused by Polars, too.
        let members = serde_json::from_slice::<Map<String, Value>>(line).unwrap_or_default();
        found.extend(members.into_iter().filter(|(_, value)| value.is_boolean()).map(|(column, _)| column));
    }
    found
}

/// Beside numbers Polars makes numbers of true and false, and texts beside texts: neither is what was written.
fn refuse_mixed(frame: DataFrame, truths: &HashSet<String>) -> Result<DataFrame, Error> {
    let is_mixed = |column: &&Column| *column.dtype() != DataType::Boolean && truths.contains(column.name().as_str());
    match frame.columns().iter().find(is_mixed) {
        None => Ok(frame),
        Some(column) => {
            let dtype = "boolean beside other values".to_owned();
            Err(Error::Unsupported { column: column.name().to_string(), dtype })
        }
    }
}

/// The lines that are not blank, and their numbers.
fn lines(bytes: &[u8]) -> impl Iterator<Item = (&[u8], usize)> {
    let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
    bytes.split(|byte| *byte == b'\n').zip(1..).filter(|(line, _)| !line.trim_ascii().is_empty())
}

/// Whether something opens inside of what is open already.
fn is_nested(line: &[u8]) -> bool {
    let (mut depth, mut is_text, mut is_escaped) = (0usize, false, false);
    for byte in line {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = is_text,
            b'"' => is_text = !is_text,
            b'{' | b'[' if !is_text => {
                depth += 1;
                if depth > 1 {
                    return true;
                }
            }
            b'}' | b']' if !is_text => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

/// Which column of the line is nested. If it is no object at all, that is what is wrong with it.
fn nested(line: &[u8], number: usize) -> Error {
    match serde_json::from_slice::<Map<String, Value>>(line) {
        Err(error) => malformed(number, &error),
        Ok(members) => {
            let found = members.into_iter().find_map(|(column, value)| match value {
                Value::Array(_) => Some((column, "list")),
                Value::Object(_) => Some((column, "struct")),
                _ => None,
            });
            // A member that is there twice may have hidden it.
            let (column, dtype) = found.unwrap_or_else(|| (format!("of line {number}"), "list or struct"));
            Error::Unsupported { column, dtype: dtype.to_owned() }
        }
    }
}

/// Polars does not say on which line it stopped; if it was for bad JSON, serde stops there too.
fn located(error: Error, bytes: &[u8]) -> Error {
    let bad = |(line, number)| {
        serde_json::from_slice::<Map<String, Value>>(line).err().map(|error| malformed(number, &error))
    };
    lines(bytes).find_map(bad).unwrap_or(error)
}

fn malformed(line: usize, error: &serde_json::Error) -> Error {
    // serde counts lines too, and has seen but one.
    let text = error.to_string();
    let text = text.split(" at line ").next().unwrap_or_default();
    Error::Corrupt { format: Format::NdJson, detail: format!("line {line}, column {}: {text}", error.column()) }
}

/// JSON has no times. A column whose texts are all written as such, as our own answers are, holds them.
fn with_times(mut frame: DataFrame) -> PolarsResult<DataFrame> {
    for index in 0..frame.width() {
        let column = &frame.columns()[index];
        if *column.dtype() == DataType::String
            && let Some(times) = times(column.str()?)?
        {
            frame.replace_column(index, times)?;
        }
    }
    Ok(frame)
}

fn times(texts: &StringChunked) -> PolarsResult<Option<Column>> {
    let dtype = dtype_of(texts);
    let kind = match &dtype {
        DataType::Date => Kind::Date,
        DataType::Datetime(_, zone) => Kind::Datetime { zoned: zone.is_some() },
        _ => return Ok(None),
    };
    let mut values = Vec::with_capacity(texts.len());
    for text in texts.iter() {
        values.push(match text.map(|text| Literal::parse_text(kind, text)) {
            None => None,
            Some(Ok(Literal::Date(days))) => Some(i64::from(days)),
            Some(Ok(Literal::Datetime { micros, .. })) => Some(micros),
            // Written as a time, but not as our own answers write it: it stays what it is.
            Some(_) => return Ok(None),
        });
    }
    let name = texts.name().clone();
    let column = if kind == Kind::Date {
        let days = values.into_iter().map(|value| value.and_then(|days| i32::try_from(days).ok()));
        Int32Chunked::from_iter_options(name, days).into_column()
    } else {
        Int64Chunked::from_iter_options(name, values.into_iter()).into_column()
    };
    column.cast(&dtype).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Table;

    fn table(text: impl Into<Vec<u8>>) -> Result<Table, Error> {
        Table::from_bytes(text.into(), Format::NdJson)
    }

    fn kinds(text: &str) -> Vec<(String, Kind)> {
        let table = table(text).unwrap();
        table.schema().columns().iter().map(|column| (column.name.clone(), column.kind)).collect()
    }

    #[test]
    fn types_come_from_all_lines() {
        let mut text = "{\"n\":1,\"x\":1,\"none\":null,\"ok\":true}\n".repeat(3_000);
        text += "\r\n{\"n\":2,\"x\":2.5,\"late\":\"a [\\\"{\"}";
        let expected = [
            ("n", Kind::Integer),
            ("x", Kind::Float),
            ("none", Kind::String),
            ("ok", Kind::Boolean),
            ("late", Kind::String),
        ];
        assert_eq!(kinds(&text), expected.map(|(name, kind)| (name.to_owned(), kind)));
        assert_eq!(table(text).unwrap().rows(), 3_001);
    }

    #[test]
    fn texts_that_are_all_times_are_times() {
        let text = "{\"d\":\"2026-01-31\",\"at\":\"2026-01-31T09:30:00.5Z\",\"t\":\"2026-01-31T09:30:00\",\"m\":\"2026-01-31\"}\n\
                    {\"d\":null,\"at\":\"2026-01-31T09:30:00+01:00\",\"t\":\"2026-01-31 09:30:00\",\"m\":\"soon\"}\n";
        let kinds: Vec<_> = kinds(text).into_iter().map(|(_, kind)| kind).collect();
        let expected = [Kind::Date, Kind::Datetime { zoned: true }, Kind::Datetime { zoned: false }, Kind::String];
        assert_eq!(kinds, expected);
    }

    #[test]
    fn what_is_nested_is_refused_by_the_columns_name() {
        for (text, expected) in [
            ("{\"a\":1,\"tags\":[1]}", "tags"),
            ("{\"a\":1}\n{\"a\":\"x\",\"inner\":{\"b\":2}}", "inner"),
            ("{\"a\":\"x\"}\n{\"a\":[]}", "a"),
        ] {
            let error = table(text).unwrap_err();
            assert!(matches!(&error, Error::Unsupported { column, .. } if column == expected), "{text}: {error:?}");
        }
    }

    #[test]
    fn what_is_no_object_is_named_by_its_line() {
        for (text, line) in [
            ("{\"a\":1}\n\n{\"a\":}\n", "line 3, column 6"),
            ("{\"a\":1}\n7\n", "line 2"),
            ("[1]", "line 1"),
            ("{\"a\":1}\n[[1]]", "line 2"),
            ("{\"a\":1} {\"a\":2}", "line 1"),
        ] {
            let error = table(text).unwrap_err().to_string();
            assert!(error.contains(line), "{text}: {error}");
        }
        for text in ["", "\n", "{}", "\u{feff}"] {
            assert!(matches!(table(text), Err(Error::Corrupt { .. })), "{text:?}");
        }
    }

    #[test]
    fn neither_depth_nor_a_long_last_line_ends_the_process() {
        assert!(table("[".repeat(1_000_000)).is_err());
        assert!(table(format!("{{\"a\":{}", "[".repeat(1_000_000))).is_err());
        let text = "{\"a\":1}\n".repeat(3_000) + &format!("{{\"a\":1,\"b\":\"{}\"}}\n", "x".repeat(100_000));
        assert_eq!(table(text).unwrap().rows(), 3_001);
    }

    #[test]
    fn a_value_that_fits_nowhere_is_an_error_and_no_null() {
        for text in [
            "{\"a\":1}\n{\"a\":true}",
            "{\"a\":false}\n{\"a\":1.5}",
            "{\"a\":true}\n{\"a\":\"x\"}",
            "{\"a\":1}\n{\"a\":18446744073709551615}",
        ] {
            let refused = table(text);
            assert!(matches!(refused, Err(Error::Corrupt { .. } | Error::Unsupported { .. })), "{text}: {refused:?}");
        }
        assert_eq!(kinds("{\"a\":true,\"b\":\"true\"}\n{\"a\":null,\"b\":\"1\"}")[0].1, Kind::Boolean);
    }
}
