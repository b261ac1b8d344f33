//! A table as the Parquet file that queries are answered from.

use std::fs::File;

use polars::prelude::{ParquetCompression, ParquetWriter, StatisticsOptions};

use super::error::{Error, working};
use super::table::Table;

/// Rows of a row group: small enough that statistics leave groups out, large enough to compress.
pub(super) const ROW_GROUP: usize = 128 * 1024;

/// Writes a table as Parquet, through to the disk. Give it a new file, and rename that into place.
pub fn store(table: &Table, to: &File) -> Result<(), Error> {
    working(|| {
        ParquetWriter::new(to)
            .with_compression(ParquetCompression::Zstd(None))
            .with_statistics(StatisticsOptions::full())
            .with_row_group_size(Some(ROW_GROUP))
            .finish(&mut table.frame().clone())
    })?;
    // Renamed before its bytes are on the disk, a file could be there and be empty after a crash.
    Ok(to.sync_all()?)
}

#[cfg(test)]
mod tests {
    use std::io::{Seek, SeekFrom};

    use super::*;
    use crate::engine::{Format, schema::Kind};

    /// A file without a name.
    fn file() -> File {
        let path = std::env::temp_dir().join(format!("kyros-import-{:?}", std::thread::current().id()));
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
        std::fs::remove_file(path).unwrap();
        file
    }

    #[test]
    fn csv_becomes_parquet() {
        let csv = "day,at,n,x,ok,name\n2026-01-31,2026-01-31T09:30:00,1,1.5,true,a\n2026-02-01,,2,,false,\"b,c\"\n";
        let mut to = file();
        let imported = Table::from_bytes(csv.into(), Format::Csv).unwrap();
        store(&imported, &to).unwrap();
        assert_eq!(imported.rows(), 2);
        let kinds: Vec<_> = imported.schema().columns().iter().map(|column| column.kind).collect();
        let expected =
            [Kind::Date, Kind::Datetime { zoned: false }, Kind::Integer, Kind::Float, Kind::Boolean, Kind::String];
        assert_eq!(kinds, expected);
        to.seek(SeekFrom::Start(0)).unwrap();
        let table = Table::from_file(to, Format::Parquet).unwrap();
        assert_eq!((table.rows(), table.schema()), (2, imported.schema()));
    }

    #[test]
    fn what_is_no_table_is_refused() {
        for (content, format) in [("", Format::Csv), ("", Format::Parquet), ("PAR1PAR1", Format::Parquet)] {
            let result = Table::from_bytes(content.into(), format);
            assert!(matches!(result, Err(Error::Corrupt { .. })), "{content:?}: {result:?}");
        }
    }
}
