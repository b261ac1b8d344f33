//! What a dataset's columns are called: a name that no query could give is refused, one that not every query can is warned of.

use std::collections::HashMap;

use anyhow::bail;
use kyros_api::engine::{Format, Schema, Table, csv_header};

/// What stands between names in a query's address.
const SEPARATORS: [char; 2] = [',', ':'];
/// What stands there before the name of a column whose largest values come first.
const DOWNWARDS: char = '-';

/// Reads a file's content as a table, each of whose columns has a name of its own.
pub(crate) fn table(bytes: Vec<u8>, format: Format) -> anyhow::Result<Table> {
    // Of a CSV file the table has other names than the header where that repeats one.
    let header = if format == Format::Csv { csv_header(&bytes).ok() } else { None };
    let table = Table::from_bytes(bytes, format)?;
    let schema = table.schema();
    match header.filter(|names| names.len() == schema.columns().len()) {
        Some(names) => refuse(names.iter().map(String::as_str))?,
        None => refuse(schema.names())?,
    }
    Ok(table)
}

/// A column without a name, or with that of another.
fn refuse<'a>(names: impl Iterator<Item = &'a str>) -> anyhow::Result<()> {
    let mut seen = HashMap::new();
    for (index, name) in names.enumerate() {
        let number = index + 1;
        if name.is_empty() {
            bail!("column {number} has no name; every column needs one");
        }
        if let Some(first) = seen.insert(name, number) {
            bail!("columns {first} and {number} are both called {name:?}; every column needs a name of its own");
        }
    }
    Ok(())
}

/// What to say of columns that only some queries can name.
pub(super) fn warning(schema: &Schema) -> Option<String> {
    let names: Vec<_> = schema.names().filter(|name| is_awkward(name)).map(|name| format!("{name:?}")).collect();
    (!names.is_empty()).then(|| {
        format!(
            "a query in an address cannot always name {}: \",\" and \":\" stand between names there, and a \"-\" before one; \
             a posted query can",
            names.join(", ")
        )
    })
}

fn is_awkward(name: &str) -> bool {
    name.contains(SEPARATORS) || name.starts_with(DOWNWARDS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(csv: &str) -> String {
        table(csv.into(), Format::Csv).unwrap_err().to_string()
    }

    #[test]
    fn every_column_has_a_name_of_its_own() {
        assert!(refused("b,,c\n1,2,3\n").starts_with("column 2 has no name"));
        assert!(refused("b,\"\"\n1,2\n").starts_with("column 2 has no name"));
        assert!(refused("a,b,a\n1,2,3\n").starts_with("columns 1 and 3 are both called \"a\""));
        assert!(table(b"a,A\n1,2\n".to_vec(), Format::Csv).is_ok());
        assert!(table(b"{\"\":1}\n".to_vec(), Format::NdJson).is_err(), "whatever the format");
    }

    #[test]
    fn names_that_an_address_takes_apart_are_told() {
        let warned = |csv: &str| warning(table(csv.into(), Format::Csv).unwrap().schema());
        let said = warned("b,c:d,\"e,f\",-g,h-i\n1,2,3,4,5\n").unwrap();
        assert!(said.contains("\"c:d\", \"e,f\", \"-g\":") && !said.contains("h-i"), "{said}");
        assert_eq!(warned("a_b,h-i,größe\n1,2,3\n"), None);
    }
}
