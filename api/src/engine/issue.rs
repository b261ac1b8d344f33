//! What is wrong with a query, where, and what would have been right: the `errors` of a problem document.

pub use kyros_shared_config::problem::Location;
use serde::Serialize;

/// At most so many issues are reported: enough to mend a query, too few to be an amplifier.
pub const MAX_ISSUES: usize = 100;

/// Where a query came from, which decides how its places are named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The URL's query string: places are parameters.
    Parameters,
    /// A JSON body: places are JSON pointers (RFC 6901).
    Body,
}

/// The kind of an issue: stable, for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Code {
    /// Not JSON, or not written as the grammar says.
    Malformed,
    /// A parameter or member that does not exist.
    Unknown,
    /// A parameter, member, sort key or output name that is there twice.
    Duplicate,
    /// A parameter or member that is missing.
    Missing,
    /// More than a limit allows.
    TooMany,
    /// Two parts that exclude each other.
    Conflict,
    /// An output name that is not an identifier.
    InvalidName,
    /// A column that the data set, or the output, does not have.
    UnknownColumn,
    /// An operation, aggregate or grain that the column's type does not allow.
    NotAllowed,
    /// A value that is not of the column's type.
    InvalidValue,
}

impl Code {
    /// Whether the query could not be understood at all (400) rather than not be answered (422).
    pub fn is_malformed(self) -> bool {
        matches!(self, Self::Malformed | Self::Unknown | Self::Duplicate | Self::Missing)
    }
}

/// One thing that is wrong with a query.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Issue {
    /// Where it is: a member `pointer` or `parameter`.
    #[serde(flatten)]
    pub location: Location,
    /// Its kind.
    pub code: Code,
    /// A sentence for people.
    pub detail: String,
    /// What could stand there instead, where that is a short list.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allowed: Vec<String>,
}

impl Issue {
    /// A parameter of the URL that does not exist.
    pub fn unknown_parameter(name: &str, allowed: impl IntoIterator<Item = impl ToString>) -> Self {
        Self {
            location: Location::Parameter(name.to_owned()),
            code: Code::Unknown,
            detail: "there is no such parameter".to_owned(),
            allowed: allowed.into_iter().map(|item| item.to_string()).collect(),
        }
    }

    /// A cursor that does not fit.
    pub fn of_cursor(detail: &str) -> Self {
        Self {
            location: Location::Parameter("cursor".to_owned()),
            code: Code::InvalidValue,
            detail: detail.to_owned(),
            allowed: Vec::new(),
        }
    }
}

/// Gathers issues, so that all problems of a query are reported together.
#[derive(Debug)]
pub(super) struct Issues {
    origin: Origin,
    found: Vec<Issue>,
}

impl Issues {
    pub(super) fn new(origin: Origin) -> Self {
        Self { origin, found: Vec::new() }
    }

    /// Notes an issue at a JSON pointer. In the query string the pointer's first segment is the parameter.
    pub(super) fn add(&mut self, pointer: &str, code: Code, detail: impl Into<String>) {
        self.add_allowed(pointer, code, detail, std::iter::empty::<&str>());
    }

    /// As [`Issues::add`], with what could stand there instead.
    pub(super) fn add_allowed(
        &mut self,
        pointer: &str,
        code: Code,
        detail: impl Into<String>,
        allowed: impl IntoIterator<Item = impl ToString>,
    ) {
        if self.found.len() >= MAX_ISSUES {
            return;
        }
        let location = match self.origin {
            Origin::Body => Location::Pointer(pointer.to_owned()),
            Origin::Parameters => {
                let first = pointer.trim_start_matches('/').split('/').next().unwrap_or_default();
                Location::Parameter(unescape(first))
            }
        };
        let allowed = allowed.into_iter().map(|item| item.to_string()).collect();
        self.found.push(Issue { location, code, detail: detail.into(), allowed });
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.found.len()
    }

    /// The value, if nothing was wrong with it.
    pub(super) fn finish<T>(self, value: T) -> Result<T, Vec<Issue>> {
        if self.found.is_empty() { Ok(value) } else { Err(self.found) }
    }

    /// The issues of something that has no value.
    pub(super) fn into_vec(self) -> Vec<Issue> {
        self.found
    }
}

/// Writes a name as one segment of a JSON pointer.
pub(super) fn escape(segment: &str) -> String {
    segment.replace('~', "~0").replace('/', "~1")
}

fn unescape(segment: &str) -> String {
    segment.replace("~1", "/").replace("~0", "~")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_pointer_or_a_parameter() {
        for (origin, location) in [
            (Origin::Body, Location::Pointer("/filter/and/0".to_owned())),
            (Origin::Parameters, Location::Parameter("filter".to_owned())),
        ] {
            let mut issues = Issues::new(origin);
            issues.add("/filter/and/0", Code::Malformed, "no");
            assert_eq!(issues.into_vec()[0].location, location);
        }
    }

    #[test]
    fn issues_serialise_as_the_members_of_a_problem() {
        let mut issues = Issues::new(Origin::Body);
        issues.add_allowed("/sort/0", Code::UnknownColumn, "no such column", ["a"]);
        let json = serde_json::to_value(issues.into_vec()).unwrap();
        let expected = serde_json::json!([
            {"pointer": "/sort/0", "code": "unknown-column", "detail": "no such column", "allowed": ["a"]}
        ]);
        assert_eq!(json, expected);
    }

    #[test]
    fn reports_are_bounded() {
        let mut issues = Issues::new(Origin::Body);
        (0..1_000).for_each(|_| issues.add("", Code::Unknown, "again"));
        assert_eq!(issues.into_vec().len(), MAX_ISSUES);
    }
}
