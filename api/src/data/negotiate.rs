//! What a request asks for beside its query: a format, and whether it has the answer already. Its query string, strictly.

use std::cmp::Reverse;

use axum::http::{HeaderMap, header};
use percent_encoding::percent_decode_str;

use crate::engine::Encoding;

/// The pairs of a query string (WHATWG URL, `application/x-www-form-urlencoded`), or nothing if it is not written as one:
/// what a lenient reader would replace, two readers would understand in two ways.
pub(crate) fn pairs(raw: &str) -> Option<Vec<(String, String)>> {
    let pair = |text: &str| {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        Some((decoded(name)?, decoded(value)?))
    };
    raw.split('&').filter(|text| !text.is_empty()).map(pair).collect()
}

fn decoded(text: &str) -> Option<String> {
    let escapes = text.split('%').skip(1);
    let is_escape = |rest: &str| rest.len() >= 2 && rest.as_bytes()[..2].iter().all(u8::is_ascii_hexdigit);
    if !escapes.into_iter().all(is_escape) {
        return None;
    }
    let spaced = text.replace('+', " ");
    percent_decode_str(&spaced).decode_utf8().ok().map(std::borrow::Cow::into_owned)
}

/// The format: `format=` counts before `Accept`, whose largest weight wins (RFC 9110, section 12.5.1). `None` is 406.
pub(crate) fn encoding(format: Option<&str>, headers: &HeaderMap) -> Option<Encoding> {
    if let Some(name) = format {
        return Encoding::ALL.into_iter().find(|encoding| encoding.name() == name);
    }
    let mut lines = headers.get_all(header::ACCEPT).iter().peekable();
    if lines.peek().is_none() {
        return Some(Encoding::Json);
    }
    let mut ranges = Vec::new();
    for line in lines {
        ranges.extend(line.to_str().ok()?.split(',').map(Range::of));
    }
    let mut best: Option<(f32, usize, Encoding)> = None;
    for encoding in Encoding::ALL {
        // The most specific range that names it decides, though a wider one may weigh more.
        let named = ranges.iter().enumerate().filter_map(|(at, range)| Some((range.specificity(encoding)?, at)));
        let Some((_, at)) = named.max_by_key(|(specificity, at)| (*specificity, Reverse(*at))) else { continue };
        let weight = ranges[at].weight;
        if weight > 0.0 && best.is_none_or(|(most, first, _)| weight > most || (weight >= most && at < first)) {
            best = Some((weight, at, encoding));
        }
    }
    best.map(|(.., encoding)| encoding)
}

/// A media range and its weight (RFC 9110, section 12.5.1).
struct Range {
    kind: String,
    weight: f32,
}

impl Range {
    fn of(text: &str) -> Self {
        let mut parts = text.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
        let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
        Self { kind, weight: weight.map_or(1.0, |weight| weight.parse().unwrap_or(0.0)) }
    }

    /// How exactly the range names the format; `None` where it does not.
    fn specificity(&self, encoding: Encoding) -> Option<u8> {
        let media_type = encoding.media_type().split(';').next().unwrap_or_default();
        let (family, _) = media_type.split_once('/')?;
        match self.kind.strip_suffix("/*") {
            _ if self.kind == media_type => Some(2),
            Some(named) if named == family => Some(1),
            Some("*") => Some(0),
            _ => None,
        }
    }
}

/// Whether the client has the answer with this entity tag already (RFC 9110, section 13.1.2: a weak comparison).
pub(crate) fn is_known(tag: &str, headers: &HeaderMap) -> bool {
    let opaque = |tag: &str| tag.strip_prefix("W/").unwrap_or(tag).to_owned();
    let known = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|line| line.to_str().ok());
    known.flat_map(|line| line.split(',')).map(str::trim).any(|known| known == "*" || opaque(known) == opaque(tag))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accept(value: &str) -> Option<Encoding> {
        encoding(None, &[(header::ACCEPT, value.parse().unwrap())].into_iter().collect())
    }

    #[test]
    fn the_format_that_is_wanted_most_is_given() {
        assert_eq!(encoding(None, &HeaderMap::new()), Some(Encoding::Json));
        assert_eq!(encoding(Some("columns"), &HeaderMap::new()), Some(Encoding::Columns));
        assert_eq!(encoding(Some("xml"), &HeaderMap::new()), None);
        assert_eq!(accept("text/csv;q=0.5, application/vnd.apache.arrow.stream"), Some(Encoding::Arrow));
        assert_eq!(accept("text/html, */*;q=0.1"), Some(Encoding::Json));
        assert_eq!(accept("Text/CSV; charset=utf-8"), Some(Encoding::Csv));
        assert_eq!(accept("text/csv;q=0.5, */*;q=0.5"), Some(Encoding::Csv));
        assert_eq!(accept("text/*"), Some(Encoding::Csv));
        assert_eq!(accept("application/*, text/csv"), Some(Encoding::Json));
        assert_ne!(accept("application/json;q=0, */*"), Some(Encoding::Json), "what is named is meant");
        for refused in ["text/html", "text/csv;q=0", "application/json;q=much", ""] {
            assert_eq!(accept(refused), None, "{refused}");
        }
    }

    #[test]
    fn a_query_string_is_read_strictly() {
        let read = |raw| pairs(raw).map(|pairs| pairs.into_iter().map(|(n, v)| format!("{n}={v}")).collect::<Vec<_>>());
        assert_eq!(read("a=1&b=x%2Cy+z&c").unwrap(), ["a=1", "b=x,y z", "c="]);
        assert_eq!(read("").unwrap(), Vec::<String>::new());
        assert_eq!(read("a=%E2%82%AC").unwrap(), ["a=€"]);
        for wrong in ["a=%", "a=%2", "a=%zz", "%g1=a", "a=%ff", "a=%E2%82", "a=%2é"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn an_entity_tag_is_known_weakly() {
        let known =
            |line: &str| is_known("W/\"a\"", &[(header::IF_NONE_MATCH, line.parse().unwrap())].into_iter().collect());
        assert!(known("W/\"a\"") && known("\"b\", \"a\"") && known("*"));
        assert!(!known("\"b\"") && !known("a") && !is_known("\"a\"", &HeaderMap::new()));
    }
}
