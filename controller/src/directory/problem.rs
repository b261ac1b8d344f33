//! What can be wrong with a manifest directory: place, reason, and how to put it right. No I/O.

use std::{cmp::Ordering, fmt, path::PathBuf};

use thiserror::Error;

use crate::{limits, resources::API_VERSION};

/// One thing that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{}{}: {reason}", file.display(), At(reason, *line))]
pub struct Problem {
    /// The file, relative to the manifest directory; the directory itself where it cannot be read.
    pub file: PathBuf,
    /// The line in that file, counted from 1 over all its documents; 1 for what is wrong with the file as a whole.
    pub line: u64,
    /// What is wrong. Never shows a value, which may be a secret.
    pub reason: Reason,
}

/// Why a manifest is refused (or, as a warning, questioned).
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Reason {
    /// The operating system refuses.
    #[error("cannot be read: {0}")]
    Unreadable(String),
    /// Beyond [`limits::FILE_BYTES`].
    #[error("the file is larger than {} KiB", limits::FILE_BYTES / 1_024)]
    FileTooLarge,
    /// Not text.
    #[error("not UTF-8")]
    Encoding,
    /// Beyond [`limits::DOCUMENTS`]; the rest is not read.
    #[error("the directory holds more than {} documents", limits::DOCUMENTS)]
    TooManyDocuments,
    /// Not YAML.
    #[error("not YAML: {0}")]
    Syntax(String),
    /// A document that is a list or a scalar.
    #[error("a resource is a mapping, not {found}")]
    NotAMapping {
        /// What stands there.
        found: &'static str,
    },
    /// Another group or version.
    #[error("unknown apiVersion `{found}`, expected `{API_VERSION}`")]
    ApiVersion {
        /// What stands there.
        found: String,
    },
    /// Another kind.
    #[error("unknown kind `{found}`, expected `Tenant` or `Dashboard`")]
    Kind {
        /// What stands there.
        found: String,
    },
    /// A field that no schema knows. An API server would drop it in silence.
    #[error("unknown field `{field}`, {}", Expected(expected))]
    UnknownField {
        /// The field.
        field: String,
        /// What may stand there.
        expected: Vec<String>,
    },
    /// A field that must be there.
    #[error("missing field `{field}`")]
    MissingField {
        /// The field, with the path to it.
        field: String,
    },
    /// The same key twice in one mapping.
    #[error("duplicate field `{field}`, first on line {first}")]
    DuplicateField {
        /// The field, with the path to it.
        field: String,
        /// The line that has it too.
        first: u64,
    },
    /// The same entry twice in a list that is a set.
    #[error("`{field}` repeats an entry, first on line {first}")]
    DuplicateItem {
        /// The entry, with the path to it.
        field: String,
        /// The line that has it too.
        first: u64,
    },
    /// A value of the wrong type.
    #[error("`{field}` must be {expected}, not {found}")]
    Type {
        /// The field, with the path to it.
        field: String,
        /// What it should be.
        expected: &'static str,
        /// What it is.
        found: &'static str,
    },
    /// A value outside its bounds.
    #[error("`{field}` {bound}")]
    Bound {
        /// The field, with the path to it.
        field: String,
        /// The bound, as the end of the sentence.
        bound: String,
    },
    /// A validation rule (CEL) of the definition.
    #[error("{}{message}", Subject(field))]
    Rule {
        /// The value that the rule looked at, with the path to it; empty for the whole resource.
        field: String,
        /// What the rule says.
        message: String,
    },
    /// The schema lets it pass, but the type does not: a mistake in Kyros.
    #[error("not a {kind}: {message}")]
    Shape {
        /// The kind of the resource.
        kind: &'static str,
        /// What the type says.
        message: String,
    },
    /// The same resource twice.
    #[error("{kind} `{name}` is defined twice, first at {}:{first_line}", first_file.display())]
    DuplicateResource {
        /// The kind of the resource.
        kind: &'static str,
        /// Its name.
        name: String,
        /// The file that has it too.
        first_file: PathBuf,
        /// The line of the name there.
        first_line: u64,
    },
    /// Warning: a field stands there without a value, which an API server takes as if it did not stand there. What looks
    /// like a value may be a comment: `#` begins one.
    #[error("`{field}` has no value, and counts as not given")]
    NoValue {
        /// The field, with the path to it.
        field: String,
    },
    /// Warning: a tenant may open a dashboard that nobody defines. Not an error, because files come in any order.
    #[error("tenant `{tenant}` refers to dashboard `{dashboard}`, which does not exist")]
    UnknownDashboard {
        /// The tenant's name.
        tenant: String,
        /// The dashboard's name.
        dashboard: String,
    },
    /// Beyond [`limits::PROBLEMS`].
    #[error("and {0} more problems")]
    More(usize),
}

/// Collects problems up to [`limits::PROBLEMS`] and counts the rest.
#[derive(Debug, Default)]
pub(super) struct Problems {
    list: Vec<Problem>,
    omitted: usize,
}

struct Expected<'a>(&'a [String]);

/// The line of a problem, where it has one.
struct At<'a>(&'a Reason, u64);

struct Subject<'a>(&'a str);

// === impl Problem ===

impl Problem {
    /// How to put it right, as a sentence.
    pub fn hint(&self) -> String {
        self.reason.hint()
    }

    pub(super) fn order(&self, other: &Self) -> Ordering {
        (&self.file, self.line).cmp(&(&other.file, other.line))
    }
}

// === impl Reason ===

impl Reason {
    fn hint(&self) -> String {
        match self {
            Self::Unreadable(_) => "check that the path exists and that this process may read it".to_owned(),
            Self::FileTooLarge => "split the file; every file of the directory is read".to_owned(),
            Self::Encoding => "save the file as UTF-8".to_owned(),
            Self::TooManyDocuments => "a directory is meant for small installations; use a cluster".to_owned(),
            Self::Syntax(_) => "check indentation, colons and quotes on this line and the one above".to_owned(),
            Self::NotAMapping { .. } => format!("begin with `apiVersion: {API_VERSION}`"),
            Self::ApiVersion { .. } => format!("write `apiVersion: {API_VERSION}`"),
            Self::Kind { found } if found.ends_with("List") => {
                "write each resource as a document of its own, separated by `---`".to_owned()
            }
            Self::Kind { .. } => "keep other resources in another directory".to_owned(),
            Self::UnknownField { field, expected } => match nearest(field, expected) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "remove it, or check its indentation".to_owned(),
            },
            Self::MissingField { field } => format!("add `{field}`"),
            Self::DuplicateField { .. } | Self::DuplicateItem { .. } => "remove one of the two".to_owned(),
            Self::Type { expected, .. } if *expected == "a string" => "put the value in quotes".to_owned(),
            Self::Type { expected, .. } => format!("write {expected}"),
            Self::Bound { .. } | Self::Rule { .. } => "change the value".to_owned(),
            Self::Shape { .. } => "report this as a bug of Kyros".to_owned(),
            Self::DuplicateResource { .. } => "rename or remove one of the two".to_owned(),
            Self::NoValue { .. } => {
                "remove it, or give it a value; one that begins with # must be in quotes".to_owned()
            }
            Self::UnknownDashboard { .. } => "add the dashboard, or remove its name from the tenant".to_owned(),
            Self::More(_) => "put the problems above right first".to_owned(),
        }
    }
}

/// What somebody may have meant who wrote a name that is none: the one that is most like it, if one is like it at all.
pub fn nearest<'a>(written: &str, known: &'a [String]) -> Option<&'a str> {
    const ALIKE: f64 = 0.8;
    known
        .iter()
        .map(|candidate| (strsim::jaro_winkler(written, candidate), candidate.as_str()))
        .filter(|(likeness, _)| *likeness >= ALIKE)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, candidate)| candidate)
}

// === impl Problems ===

impl Problems {
    pub(super) fn push(&mut self, problem: Problem) {
        if self.list.len() < limits::PROBLEMS {
            self.list.push(problem);
        } else {
            self.omitted += 1;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// All of them by file and line.
    pub(super) fn into_sorted(mut self) -> Vec<Problem> {
        self.list.sort_by(Problem::order);
        if let (1.., Some(last)) = (self.omitted, self.list.last()) {
            let more = Problem { reason: Reason::More(self.omitted), ..last.clone() };
            self.list.push(more);
        }
        self.list
    }
}

// === impl Display ===

impl fmt::Display for Expected<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [] => f.write_str("expected nothing here"),
            [only] => write!(f, "expected `{only}`"),
            [first, rest @ ..] => {
                write!(f, "expected one of `{first}`")?;
                rest.iter().try_for_each(|field| write!(f, ", `{field}`"))
            }
        }
    }
}

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What cannot be read has no lines that anybody knows of.
        if matches!(self.0, Reason::Unreadable(_)) { Ok(()) } else { write!(f, ":{}", self.1) }
    }
}

impl fmt::Display for Subject<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, "`{}`: ", self.0) }
    }
}
