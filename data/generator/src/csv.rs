//! Writes CSV lines.

use std::io::{self, Write};

/// Writes one line; fields that need quotes get them.
pub(crate) fn line<const N: usize>(out: &mut impl Write, fields: [&str; N]) -> io::Result<()> {
    for (i, field) in fields.iter().enumerate() {
        if i > 0 {
            out.write_all(b",")?;
        }
        if field.contains([',', '"', '\n', '\r']) {
            write!(out, "\"{}\"", field.replace('"', "\"\""))?;
        } else {
            out.write_all(field.as_bytes())?;
        }
    }
    out.write_all(b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_when_needed() {
        let mut out = Vec::new();
        line(&mut out, ["a", "b,c", "say \"x\""]).expect("a Vec takes everything");
        assert_eq!(out, b"a,\"b,c\",\"say \"\"x\"\"\"\n");
    }
}
