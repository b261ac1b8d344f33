//! CSV as RFC 4180 has it, for people who open it in a spreadsheet: what such a program would run as a formula is text.

use axum::{
    body::Body,
    http::header,
    response::{IntoResponse as _, Response},
};

/// What a spreadsheet takes for the beginning of a formula, or skips to find one.
const FORMULA: [char; 6] = ['=', '+', '-', '@', '\t', '\r'];
/// The longest file name; more than enough for ours, and short of every file system's limit.
const NAME: usize = 80;

/// Adds one record. Fields get quotes where they need them; one that would be a formula gets an apostrophe in front.
pub fn record<'a>(out: &mut String, fields: impl IntoIterator<Item = &'a str>) {
    for (place, field) in fields.into_iter().enumerate() {
        if place > 0 {
            out.push(',');
        }
        let guard = if field.starts_with(FORMULA) && !is_number(field) { "'" } else { "" };
        if field.contains([',', '"', '\n', '\r']) || field != field.trim() {
            out.push('"');
            out.push_str(guard);
            out.push_str(&field.replace('"', "\"\""));
            out.push('"');
        } else {
            out.push_str(guard);
            out.push_str(field);
        }
    }
    out.push_str("\r\n");
}

/// Plain numbers with a sign stay numbers: digits, at most one point, perhaps an exponent.
fn is_number(field: &str) -> bool {
    let plain = |b: u8| b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'+' | b'e' | b'E');
    field.bytes().all(plain) && field.parse::<f64>().is_ok_and(f64::is_finite)
}

/// A file to keep: `text/csv` under a name that every system takes.
pub fn attachment(stem: &str, body: impl Into<Body>) -> Response {
    let keep = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_') { c } else { '-' };
    let stem: String = stem.chars().take(NAME).map(keep).collect();
    let stem = stem.trim_matches('-');
    let headers = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8; header=present".to_owned()),
        (
            header::CONTENT_DISPOSITION,
            format!("attachment; filename=\"{}.csv\"", if stem.is_empty() { "data" } else { stem }),
        ),
        (header::CACHE_CONTROL, "private, no-store".to_owned()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
    ];
    (headers, body.into()).into_response()
}

/// What a downloaded file is called: whose it is and what it holds.
pub fn file_stem(title: &str, tenant: &str, id: &str) -> String {
    format!("{title}-{tenant}-{id}").to_lowercase()
}

/// Reads records of RFC 4180 from a text; a line break inside quotes belongs to its field.
pub(crate) struct Records<'a> {
    rest: &'a str,
}

impl<'a> Records<'a> {
    pub(crate) fn of(text: &'a str) -> Self {
        Self { rest: text }
    }

    /// One field, and whether it ends its record.
    fn field(&mut self) -> (String, bool) {
        let mut field = String::new();
        let mut rest = self.rest;
        if let Some(quoted) = rest.strip_prefix('"') {
            rest = quoted;
            loop {
                let Some(end) = rest.find('"') else {
                    field.push_str(rest);
                    self.rest = "";
                    return (field, true);
                };
                field.push_str(&rest[..end]);
                rest = &rest[end + 1..];
                let Some(more) = rest.strip_prefix('"') else { break };
                field.push('"');
                rest = more;
            }
        }
        let end = rest.find([',', '\n']).unwrap_or(rest.len());
        let (last, after) = rest.split_at(end);
        field.push_str(if after.starts_with(',') { last } else { last.strip_suffix('\r').unwrap_or(last) });
        self.rest = after.get(1..).unwrap_or_default();
        (field, !after.starts_with(','))
    }
}

impl Iterator for Records<'_> {
    type Item = Vec<String>;

    fn next(&mut self) -> Option<Vec<String>> {
        if self.rest.is_empty() {
            return None;
        }
        let mut record = Vec::new();
        loop {
            let (field, ends) = self.field();
            record.push(field);
            if ends {
                return Some(record);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(fields: &[&str]) -> String {
        let mut out = String::new();
        record(&mut out, fields.iter().copied());
        out
    }

    #[test]
    fn formulas_become_text_and_negative_numbers_stay_numbers() {
        for formula in ["=1+1", "+1+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", "-", "=", "-2-3", "+.", "-inf", "-NaN"] {
            let text = written(&[formula]);
            let [field] = &Records::of(&text).next().unwrap()[..] else { panic!("{text}") };
            assert_eq!(*field, format!("'{formula}"), "{text}");
        }
        for number in ["-1", "-1.50", "+3", "-1e-7", "12", "0.1"] {
            assert_eq!(written(&[number]), format!("{number}\r\n"));
        }
    }

    #[test]
    fn fields_are_quoted_as_the_rfc_says() {
        assert_eq!(
            written(&["a", "b,c", "say \"x\"", "two\nlines", "", " x"]),
            "a,\"b,c\",\"say \"\"x\"\"\",\"two\nlines\",,\" x\"\r\n"
        );
    }

    #[test]
    fn a_file_has_a_name_that_every_system_takes() {
        let name =
            |stem: &str| attachment(stem, "").headers()[header::CONTENT_DISPOSITION].to_str().unwrap().to_owned();
        assert_eq!(name("clv-acme-segments"), "attachment; filename=\"clv-acme-segments.csv\"");
        assert_eq!(name("../a\"b\r\nc"), "attachment; filename=\"a-b--c.csv\"");
        assert_eq!(name("é"), "attachment; filename=\"data.csv\"");
        assert_eq!(attachment("x", "").headers()[header::CACHE_CONTROL], "private, no-store");
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back_but_for_the_apostrophe(rows in prop::collection::vec(prop::collection::vec("[-=+@,\"\r\n\ta-z0-9 é]{0,9}", 2..5), 0..8)) {
            let mut text = String::new();
            for row in &rows {
                record(&mut text, row.iter().map(String::as_str));
            }
            let read: Vec<Vec<String>> = Records::of(&text).collect();
            prop_assert_eq!(read.len(), rows.len());
            for (read, row) in read.iter().zip(&rows) {
                prop_assert_eq!(read.len(), row.len());
                for (read, field) in read.iter().zip(row) {
                    prop_assert!(read == field || read.strip_prefix('\'') == Some(field), "{:?} from {:?}", read, field);
                    prop_assert!(!read.starts_with(FORMULA) || is_number(read), "{:?}", read);
                }
            }
        }
    }
}
