//! Every format, read back by a reader that is not ours where there is one.

use std::io::Cursor;

use polars::prelude::{AnyValue, Column, DataType, IpcStreamReader, Scalar, SerReader, TimeUnit, TimeZone, df};
use serde_json::{Value, json};

use super::{Encoder, Encoding, PIECE_ROWS, encode};
use crate::engine::run::Answer;
use crate::engine::table::{Format, Table};

fn answer() -> Answer {
    let mut frame = df!(
        "a\"b" => [Some("x,\"y\"\n"), None],
        "n" => [1i64 << 60, -1],
        "f" => [f64::NAN, 0.1],
    )
    .unwrap();
    let day = Scalar::new(DataType::Date, AnyValue::Date(1));
    let zoned = Scalar::new_datetime(1_500_000, TimeUnit::Microseconds, Some(TimeZone::UTC));
    let plain = Scalar::new_datetime(0, TimeUnit::Milliseconds, None);
    let money = Scalar::new_decimal(-5, 10, 2);
    for (name, scalar) in [("day", day), ("zoned", zoned), ("plain", plain), ("money", money)] {
        frame.with_column(Column::new_scalar(name.into(), scalar, 2)).unwrap();
    }
    Answer { table: Table::from_frame(frame).unwrap(), total: Some(5), truncated: true, next: None }
}

fn text(encoding: Encoding) -> String {
    String::from_utf8(encode(&answer(), encoding).unwrap()).unwrap()
}

#[test]
fn records() {
    let both =
        json!({"day": "1970-01-02", "zoned": "1970-01-01T00:00:01.5Z", "plain": "1970-01-01T00:00:00", "money": -0.05});
    let mut rows = [
        json!({"a\"b": "x,\"y\"\n", "n": 1_152_921_504_606_846_976_i64, "f": null}),
        json!({"a\"b": null, "n": -1, "f": 0.1}),
    ];
    for row in &mut rows {
        row.as_object_mut().unwrap().extend(both.as_object().unwrap().clone());
    }
    let json: Value = serde_json::from_str(&text(Encoding::Json)).unwrap();
    assert_eq!(json, json!({"data": rows, "meta": {"rows": 2, "total": 5, "truncated": true}}));
    let lines: Vec<Value> = text(Encoding::NdJson).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines, rows);
}

#[test]
fn columns() {
    let json: Value = serde_json::from_str(&text(Encoding::Columns)).unwrap();
    assert_eq!(json["columns"]["a\"b"], json!(["x,\"y\"\n", null]));
    assert_eq!(json["columns"]["f"], json!([null, 0.1]));
    assert_eq!(json["meta"]["rows"], 2);
}

#[test]
fn csv_is_quoted_as_rfc_4180_says() {
    let times = "1970-01-02,1970-01-01T00:00:01.5Z,1970-01-01T00:00:00,-0.05\r\n";
    let expected = format!(
        "\"a\"\"b\",n,f,day,zoned,plain,money\r\n\"x,\"\"y\"\"\n\",1152921504606846976,NaN,{times},-1,0.1,{times}"
    );
    assert_eq!(text(Encoding::Csv), expected);
}

#[test]
fn arrow_has_no_string_views() {
    let bytes = encode(&answer(), Encoding::Arrow).unwrap();
    let arrow = IpcStreamReader::new(Cursor::new(&bytes)).arrow_schema().unwrap();
    let dtype = arrow.get("a\"b").unwrap().dtype();
    assert_eq!(format!("{dtype:?}"), "LargeUtf8");
    let frame = IpcStreamReader::new(Cursor::new(&bytes)).finish().unwrap();
    assert!(frame.equals_missing(answer().table.frame()));
}

#[test]
fn parquet_reads_back() {
    let bytes = encode(&answer(), Encoding::Parquet).unwrap();
    let table = Table::from_bytes(bytes, Format::Parquet).unwrap();
    assert!(table.frame().equals_missing(answer().table.frame()));
}

#[test]
fn many_pieces_are_one_answer_in_every_format() {
    // More than a row group of Parquet, and several pieces of everything else.
    let rows = i64::try_from(9 * PIECE_ROWS + 8).unwrap();
    let texts: Vec<_> = (0..rows).map(|row| (row % 3 > 0).then(|| format!("t{row}"))).collect();
    let frame = df!("n" => (0..rows).collect::<Vec<_>>(), "t" => texts).unwrap();
    let answer = Answer { table: Table::from_frame(frame).unwrap(), total: None, truncated: false, next: None };
    let frame = answer.table.frame();
    for encoding in Encoding::ALL {
        let mut encoder = Encoder::new(answer.clone(), encoding);
        let mut pieces = Vec::new();
        while let Some(piece) = encoder.piece().unwrap() {
            pieces.push(piece);
        }
        assert!(pieces.len() > 1, "{encoding:?}");
        let bytes = pieces.concat();
        match encoding {
            Encoding::Json => {
                let json: Value = serde_json::from_slice(&bytes).unwrap();
                assert_eq!(json["data"].as_array().unwrap().len(), frame.height());
                assert_eq!(json["data"][frame.height() - 1], json!({"n": rows - 1, "t": format!("t{}", rows - 1)}));
            }
            Encoding::Columns => {
                let json: Value = serde_json::from_slice(&bytes).unwrap();
                for name in ["n", "t"] {
                    assert_eq!(json["columns"][name].as_array().unwrap().len(), frame.height());
                }
                assert_eq!(json["columns"]["n"][PIECE_ROWS], json!(PIECE_ROWS));
            }
            Encoding::NdJson => {
                let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
                assert!(lines.map(|line| serde_json::from_slice::<Value>(line).unwrap()["n"].clone()).eq(0..rows));
            }
            Encoding::Csv => {
                let table = Table::from_bytes(bytes, Format::Csv).unwrap();
                assert_eq!(table.frame().column("n").unwrap(), frame.column("n").unwrap());
            }
            Encoding::Arrow => {
                assert!(IpcStreamReader::new(Cursor::new(bytes)).finish().unwrap().equals_missing(frame));
            }
            Encoding::Parquet => {
                assert!(Table::from_bytes(bytes, Format::Parquet).unwrap().frame().equals_missing(frame));
            }
        }
    }
}

#[test]
fn nothing_is_still_valid() {
    let empty = Answer {
        table: Table::from_frame(df!("a" => [0i64; 0]).unwrap()).unwrap(),
        total: None,
        truncated: false,
        next: None,
    };
    for encoding in Encoding::ALL {
        let bytes = encode(&empty, encoding).unwrap();
        match encoding {
            Encoding::Json | Encoding::Columns => drop(serde_json::from_slice::<Value>(&bytes).unwrap()),
            Encoding::NdJson => assert_eq!(bytes, b""),
            Encoding::Csv => assert_eq!(bytes, b"a\r\n"),
            Encoding::Arrow => {
                assert!(IpcStreamReader::new(Cursor::new(bytes)).finish().unwrap().equals(empty.table.frame()));
            }
            Encoding::Parquet => {
                assert_eq!(Table::from_bytes(bytes, Format::Parquet).unwrap().schema(), empty.table.schema());
            }
        }
    }
}
