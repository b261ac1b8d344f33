//! What a dataset's columns are called: a name that no query could give is refused, one that not every query can is warned of.

use std::collections::HashMap;

use anyhow::bail;
use kyros_api::engine::{Format, Schema, Table};

/// What stands between names in a query's address.
const SEPARATORS: [char; 2] = [',', ':'];
/// What stands there before the name of a column whose largest values come first.
const DOWNWARDS: char = '-';
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// The first record of a CSV file.
struct Header {
    line: usize,
    names: Vec<String>,
}

/// Reads a file's content as a table, each of whose columns has a name of its own.
pub(crate) fn table(bytes: Vec<u8>, format: Format) -> anyhow::Result<Table> {
    // Of a CSV file the table has other names than the header where that repeats one.
    let header = (format == Format::Csv).then(|| header(&bytes));
    let table = Table::from_bytes(bytes, format)?;
    let schema = table.schema();
    match header.filter(|header| header.names.len() == schema.columns().len()) {
        Some(Header { line, names }) => {
            refuse(names.iter().map(String::as_str), &format!("line {line}: "))?;
        }
        None => refuse(schema.names(), "")?,
    }
    Ok(table)
}

/// A column without a name, or with that of another.
fn refuse<'a>(names: impl Iterator<Item = &'a str>, place: &str) -> anyhow::Result<()> {
    let mut seen = HashMap::new();
    for (index, name) in names.enumerate() {
        let number = index + 1;
        if name.is_empty() {
            bail!("{place}column {number} has no name; every column needs one");
        }
        if let Some(first) = seen.insert(name, number) {
            bail!("{place}columns {first} and {number} are both called {name:?}; every column needs a name of its own");
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

/// Takes the first line that is not empty apart, as RFC 4180 has it: quotes stand around a whole cell.
fn header(bytes: &[u8]) -> Header {
    let mut rest = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
    let mut line = 1;
    while let Some(after) = rest.strip_prefix(b"\n").or_else(|| rest.strip_prefix(b"\r\n")) {
        (rest, line) = (after, line + 1);
    }
    let mut names = Vec::new();
    while !rest.is_empty() {
        let (name, after) = cell(rest);
        names.push(name);
        match after.split_first() {
            Some((b',', [])) => {
                names.push(String::new());
                break;
            }
            Some((b',', after)) => rest = after,
            _ => break,
        }
    }
    Header { line, names }
}

/// The first cell, and what follows it.
fn cell(bytes: &[u8]) -> (String, &[u8]) {
    let mut quoted = Vec::new();
    let mut rest = bytes;
    if let Some(inside) = bytes.strip_prefix(b"\"") {
        rest = inside;
        loop {
            let end = rest.iter().position(|byte| *byte == b'"').unwrap_or(rest.len());
            quoted.extend_from_slice(&rest[..end]);
            rest = rest.get(end + 1..).unwrap_or_default();
            // Two quotes are one that is meant.
            let Some(after) = rest.strip_prefix(b"\"") else { break };
            quoted.push(b'"');
            rest = after;
        }
    }
    let end = rest.iter().position(|byte| matches!(byte, b',' | b'\n')).unwrap_or(rest.len());
    let (plain, after) = rest.split_at(end);
    quoted.extend_from_slice(plain.strip_suffix(b"\r").unwrap_or(plain));
    (String::from_utf8_lossy(&quoted).into_owned(), after)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(csv: &str) -> String {
        table(csv.into(), Format::Csv).unwrap_err().to_string()
    }

    #[test]
    fn a_header_is_read_as_it_is_written() {
        for (csv, line, names) in [
            ("a,b\n1,2\n", 1, vec!["a", "b"]),
            ("\u{feff}a,\"e,\"\"f\"\r\n1,2\r\n", 1, vec!["a", "e,\"f"]),
            ("\n\r\na\n1\n", 3, vec!["a"]),
            ("a,\n1,2\n", 1, vec!["a", ""]),
            ("a,", 1, vec!["a", ""]),
            ("a,,\"\"", 1, vec!["a", "", ""]),
            ("\"a\nb\",c\n1,2\n", 1, vec!["a\nb", "c"]),
            ("\"open", 1, vec!["open"]),
            ("", 1, vec![]),
        ] {
            let header = header(csv.as_bytes());
            assert_eq!((header.line, header.names), (line, names.into_iter().map(str::to_owned).collect()), "{csv:?}");
        }
    }

    #[test]
    fn every_column_has_a_name_of_its_own() {
        assert!(refused("b,,c\n1,2,3\n").starts_with("line 1: column 2 has no name"));
        assert!(refused("b,\"\"\n1,2\n").starts_with("line 1: column 2 has no name"));
        assert!(refused("a,b,a\n1,2,3\n").starts_with("line 1: columns 1 and 3 are both called \"a\""));
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
