//! The part of a URL after `?`: read with limits, changed one pair at a time, written so that it reads back the same.

use std::fmt;

use thiserror::Error;
use url::form_urlencoded;

/// The API's own limit of a query string, so that whatever is kept here can be asked for there.
const MAX_BYTES: usize = 8 * 1024;
/// A page has a dozen filters; more pairs than this come from no form of ours.
const MAX_PAIRS: usize = 64;

/// Why a query string is not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum QueryError {
    /// Longer than any page of ours writes.
    #[error("the address is longer than {MAX_BYTES} bytes or has more than {MAX_PAIRS} filters")]
    TooLong,
    /// Two values for one name: which one counts would be a guess.
    #[error("one filter is given twice")]
    Twice,
}

/// Names and values, each name once, in the order in which they were set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// What stands behind the `?`. A name without a value is not set: forms send those too.
    pub fn parse(text: &str) -> Result<Self, QueryError> {
        if text.len() > MAX_BYTES {
            return Err(QueryError::TooLong);
        }
        let mut query = Self::new();
        for (name, value) in form_urlencoded::parse(text.as_bytes()).filter(|(_, value)| !value.is_empty()) {
            if query.get(&name).is_some() {
                return Err(QueryError::Twice);
            }
            if query.0.len() == MAX_PAIRS {
                return Err(QueryError::TooLong);
            }
            query.0.push((name.into_owned(), value.into_owned()));
        }
        Ok(query)
    }

    /// The value of a name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The same with one name set, in its old place if it had one. An empty value unsets it.
    #[must_use]
    pub fn with(&self, name: &str, value: &str) -> Self {
        if value.is_empty() {
            return self.without(name);
        }
        let mut query = self.clone();
        match query.0.iter_mut().find(|(known, _)| known == name) {
            Some(pair) => value.clone_into(&mut pair.1),
            None => query.0.push((name.to_owned(), value.to_owned())),
        }
        query
    }

    /// The same without a name.
    #[must_use]
    pub fn without(&self, name: &str) -> Self {
        Self(self.0.iter().filter(|(known, _)| known != name).cloned().collect())
    }

    /// The same with the names that `keep` takes.
    #[must_use]
    pub fn only(&self, keep: impl Fn(&str) -> bool) -> Self {
        Self(self.0.iter().filter(|(name, _)| keep(name)).cloned().collect())
    }

    /// Whether nothing is set.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The pairs.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// `path?query`, or the path alone.
    pub fn href(&self, path: &str) -> String {
        if self.is_empty() { path.to_owned() } else { format!("{path}?{self}") }
    }
}

impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&form_urlencoded::Serializer::new(String::new()).extend_pairs(self.pairs()).finish())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn empty_values_are_not_set_and_doubles_are_refused() {
        let query = Query::parse("segment=&channel=Paid+search&x=1").unwrap();
        assert_eq!((query.get("segment"), query.get("channel")), (None, Some("Paid search")));
        assert_eq!(Query::parse("a=1&a=2"), Err(QueryError::Twice));
        assert_eq!(Query::parse("a=&a=2").unwrap().get("a"), Some("2"));
    }

    #[test]
    fn what_no_form_of_ours_writes_is_refused() {
        assert_eq!(Query::parse(&"a".repeat(MAX_BYTES + 1)), Err(QueryError::TooLong));
        let many: Vec<String> = (0..=MAX_PAIRS).map(|n| format!("n{n}=1")).collect();
        assert_eq!(Query::parse(&many.join("&")), Err(QueryError::TooLong));
        assert!(Query::parse(&many[1..].join("&")).is_ok());
    }

    #[test]
    fn a_change_keeps_the_others_and_their_places() {
        let query = Query::parse("a=1&b=2&c=3").unwrap();
        assert_eq!(query.with("b", "x y").to_string(), "a=1&b=x+y&c=3");
        assert_eq!(query.with("b", "").to_string(), "a=1&c=3");
        assert_eq!(query.without("a").without("b").without("c").href("/"), "/");
        assert_eq!(query.only(|name| name != "c").href("/x"), "/x?a=1&b=2");
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back_the_same(pairs in prop::collection::btree_map(".{0,12}", ".{1,24}", 0..12)) {
            let query = pairs.iter().fold(Query::new(), |query, (name, value)| query.with(name, value));
            prop_assert_eq!(Query::parse(&query.to_string()).unwrap(), query);
        }

        #[test]
        fn an_address_never_breaks_out_of_its_attribute(name in ".{0,12}", value in ".{1,24}") {
            let href = Query::new().with(&name, &value).href("/");
            prop_assert!(href.bytes().all(|b| b.is_ascii_graphic() && !b"\"'<>".contains(&b)), "{}", href);
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".{0,400}") {
            if let Ok(query) = Query::parse(&text) {
                prop_assert_eq!(Query::parse(&query.to_string()).unwrap(), query);
            }
        }
    }
}
