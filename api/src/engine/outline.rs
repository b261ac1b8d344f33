//! What a Parquet file says about itself, without reading what is in it.

use std::fs::File;

use polars::prelude::{ParquetReader, SerReader as _};
use serde::Serialize;

use super::error::{Error, reading};
use super::table::Format;

/// The size of a table, by its file's footer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Outline {
    /// How many rows.
    pub rows: u64,
    /// How many columns.
    pub columns: usize,
}

/// Reads a Parquet file's footer, and nothing else of it.
pub fn outline(file: File) -> Result<Outline, Error> {
    reading(Format::Parquet, || {
        let mut reader = ParquetReader::new(file);
        let rows = reader.get_metadata()?.num_rows as u64;
        Ok(Outline { rows, columns: reader.schema()?.len() })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Table, store};

    #[test]
    fn a_footer_is_enough_and_has_to_be_there() {
        let path = std::env::temp_dir().join(format!("kyros-outline-{}", std::process::id()));
        let file = File::create(&path).unwrap();
        store(&Table::from_bytes(b"a,b\n1,2\n3,4\n".to_vec(), Format::Csv).unwrap(), &file).unwrap();
        assert_eq!(outline(File::open(&path).unwrap()).unwrap(), Outline { rows: 2, columns: 2 });
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() - 3]).unwrap();
        assert!(matches!(outline(File::open(&path).unwrap()), Err(Error::Corrupt { .. })));
        std::fs::remove_file(path).unwrap();
    }
}
