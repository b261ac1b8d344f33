//! Files that are whole, cut short, damaged or of types that are not served.

use polars::prelude::{DataType, IntoColumn, NamedFrom, ParquetWriter, Series, df};

use super::*;
use crate::engine::literal::DAYS;

fn sample() -> Vec<u8> {
    let names: Vec<_> = (0..500).map(|row| (row % 7 != 0).then(|| format!("name {}", row % 11))).collect();
    let mut frame = df!("id" => (0..500i64).collect::<Vec<_>>(), "name" => names, "x" => vec![0.5; 500]).unwrap();
    let mut bytes = Vec::new();
    ParquetWriter::new(&mut bytes).finish(&mut frame).unwrap();
    bytes
}

/// A generator that needs no crate.
fn next(state: &mut u64) -> usize {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    usize::try_from(*state >> 33).unwrap()
}

#[test]
fn damaged_parquet_never_panics() {
    let whole = sample();
    assert_eq!(Table::from_bytes(whole.clone(), Format::Parquet).unwrap().rows(), 500);
    let mut state = 0x9E37_79B9_7F4A_7C15;
    let mut refused = 0;
    for round in 0..300 {
        let mut bytes = whole.clone();
        if round % 3 == 0 {
            bytes.truncate(next(&mut state) % whole.len());
        } else {
            for _ in 0..=next(&mut state) % 8 {
                // Half of the damage goes to the footer, where it hurts most.
                let span = if round % 2 == 0 { whole.len() } else { whole.len().min(600) };
                let place = whole.len() - 1 - next(&mut state) % span;
                bytes[place] ^= u8::try_from(1 + next(&mut state) % 255).unwrap();
            }
        }
        match Table::from_bytes(bytes, Format::Parquet) {
            Ok(_) => {}
            Err(Error::Corrupt { .. } | Error::TooLarge { .. } | Error::Unsupported { .. }) => refused += 1,
            Err(other) => panic!("round {round}: {other:?}"),
        }
    }
    assert!(refused > 150, "{refused}");
}

#[test]
fn damaged_csv_never_panics() {
    let whole = b"a,b\n1,\"x\"\n2,\"y\"\"z\"\n3,2026-01-31\n".to_vec();
    let mut state = 1;
    for _ in 0..300 {
        let mut bytes = whole.clone();
        let place = next(&mut state) % whole.len();
        bytes[place] = u8::try_from(next(&mut state) % 256).unwrap();
        bytes.truncate(whole.len() - next(&mut state) % 4);
        let _ = Table::from_bytes(bytes, Format::Csv);
    }
}

#[test]
fn a_small_file_that_unfolds_to_much_is_refused_before_it_does() {
    const ROWS: usize = 1_000_000;
    let mut frame = df!("a" => vec![1i64; ROWS], "b" => vec!["same"; ROWS]).unwrap();
    let mut bytes = Vec::new();
    ParquetWriter::new(&mut bytes).finish(&mut frame).unwrap();
    assert!(bytes.len() < 100_000, "{}", bytes.len());
    let read = |most| Table::from_content(bytes.clone(), Format::Parquet, most);
    assert!(matches!(read(23_000_000), Err(Error::TooLarge { size: 24_000_000, limit: 23_000_000 })));
    assert_eq!(read(24_000_000).unwrap().rows(), ROWS);
    let commas = [b"a,b,c\n".as_slice(), &b",,\n".repeat(ROWS)].concat();
    let read = |most| Table::from_content(commas.clone(), Format::Csv, most).map(|table| table.rows());
    assert!(matches!(read(1_000_000), Err(Error::TooLarge { .. })));
    assert_eq!(read(30_000_000).unwrap(), ROWS);
    let quoted = [b"a\n".as_slice(), &b"\"1,2,3,4,5,6,7,8\"\n".repeat(1000)].concat();
    assert_eq!(Table::from_content(quoted, Format::Csv, 10_000).map(|table| table.rows()).unwrap(), 1000);
}

#[test]
fn days_that_cannot_be_written_are_refused_where_they_come_from() {
    let file = |days: i32| {
        let column = Series::new("d".into(), [0, days]).cast(&DataType::Date).unwrap();
        let mut bytes = Vec::new();
        let mut frame = DataFrame::new_infer_height(vec![column.into_column()]).unwrap();
        ParquetWriter::new(&mut bytes).finish(&mut frame).unwrap();
        Table::from_bytes(bytes, Format::Parquet)
    };
    assert!(file(*DAYS.end()).is_ok() && file(*DAYS.start()).is_ok());
    assert!(matches!(file(*DAYS.end() + 1), Err(Error::Corrupt { .. })));
    assert!(matches!(file(i32::MIN), Err(Error::Corrupt { .. })));
}

#[test]
fn a_time_of_a_day_is_a_text() {
    let table = Table::from_bytes(b"t\n09:30:00\n23:59:59\n".to_vec(), Format::Csv).unwrap();
    assert_eq!(table.frame().dtypes(), [DataType::String]);
}

#[test]
fn types_are_brought_to_those_that_are_served() {
    let frame = df!("u" => [1u64, 2], "none" => Series::new_null("none".into(), 2)).unwrap();
    let table = Table::from_frame(frame).unwrap();
    assert_eq!(table.frame().dtypes(), [DataType::Int64, DataType::String]);
    assert!(table.estimated_size() >= 16);
    let wide = df!("u" => [u64::MAX]).unwrap();
    assert!(matches!(Table::from_frame(wide), Err(Error::Unsupported { .. })));
    let list = Series::new("l".into(), [Series::new("".into(), [1i64])]);
    let frame = DataFrame::new(1, vec![list.into_column()]).unwrap();
    assert!(matches!(Table::from_frame(frame), Err(Error::Unsupported { .. })));
}

#[test]
fn a_table_does_not_print_its_rows() {
    let table = Table::from_frame(df!("secret" => ["canary"]).unwrap()).unwrap();
    assert_eq!(format!("{table:?}"), "Table { rows: 1, .. }");
}
