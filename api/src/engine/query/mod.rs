//! The query as a value: what may be asked of a data set, before anyone knows its columns. No Polars here.
//!
//! A query comes from the URL ([`Query::from_pairs`]) or from a JSON body ([`Query::from_json`]); both give the same
//! value, both report every problem at once, and both end in `finish`, which holds the rules that need no schema.

mod json;
mod pairs;
#[cfg(test)]
mod tests;
mod words;

use std::collections::HashSet;

pub use pairs::PARAMETERS;
pub use words::{Func, Grain, Op};

use super::cursor::Cursor;
use super::issue::{Code, Issue, Issues, Origin};

/// Rows of an answer when the query names no limit.
pub const DEFAULT_LIMIT: u32 = 10_000;
/// The most rows of one answer, which is sent piece by piece; what is longer has pages.
pub const MAX_LIMIT: u32 = 1_000_000;
/// The most columns that a query selects.
pub const MAX_SELECT: usize = 256;
/// The most predicates of one query.
pub const MAX_PREDICATES: usize = 64;
/// How deep `and`, `or` and `not` may stand in each other.
pub const MAX_DEPTH: usize = 4;
/// The most values of one `in` or `not_in`.
pub const MAX_VALUES: usize = 1_000;
/// The most keys of `group_by`, and of `sort`.
pub const MAX_KEYS: usize = 8;
/// The most aggregates of one query.
pub const MAX_AGGREGATES: usize = 32;
/// The longest output name.
pub const MAX_NAME: usize = 64;

/// What a client asks of one data set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// The columns of the answer; empty for all. Excluded by `group_by` and `agg`.
    pub select: Vec<String>,
    /// The keys to group by.
    pub group_by: Vec<GroupKey>,
    /// What to compute for every group, or of all rows if there is no key.
    pub agg: Vec<Aggregate>,
    /// Which rows count. An empty [`Filter::And`] holds for every row.
    pub filter: Filter,
    /// The order of the answer, by its own columns.
    pub sort: Vec<Sort>,
    /// The most rows of the answer.
    pub limit: u32,
    /// How many rows of the ordered answer to skip.
    pub offset: u32,
    /// Where the page begins, as the answer before it said. Excluded by `offset`.
    pub cursor: Option<Cursor>,
    /// Whether to say how many rows there are without `limit` and `offset`.
    pub total: bool,
    /// Where it was written, for the places of later issues.
    pub origin: Origin,
}

/// A column to group by; a time column may be cut to a grain. The output bears the column's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupKey {
    /// The column.
    pub column: String,
    /// How coarse.
    pub every: Option<Grain>,
}

/// A figure for every group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aggregate {
    /// The column, or `*` for the rows themselves (`count` only).
    pub column: String,
    /// What to compute.
    pub func: Func,
    /// The name of the output: by default `<column>_<func>`, and `count` for `*:count`.
    pub alias: String,
}

impl Aggregate {
    /// The column name that stands for the rows themselves.
    pub const ROWS: &str = "*";

    fn new(column: String, func: Func, alias: Option<String>) -> Self {
        let default = || {
            if column == Self::ROWS { func.to_string() } else { format!("{column}_{func}") }
        };
        Self { alias: alias.unwrap_or_else(default), column, func }
    }
}

/// A condition on rows. A comparison with a null is neither true nor false, as in SQL, and such rows are left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Filter {
    /// All of these hold.
    And(Vec<Filter>),
    /// At least one of these holds.
    Or(Vec<Filter>),
    /// This does not hold.
    Not(Box<Filter>),
    /// A comparison.
    Predicate(Predicate),
}

/// A comparison of a column with values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Predicate {
    /// The column.
    pub column: String,
    /// The comparison.
    pub op: Op,
    /// As many as [`Op::arity`] says.
    pub values: Vec<Scalar>,
}

/// A query that is not written as it should be: what is wrong with its words, and what could be read beside them.
#[derive(Debug)]
pub struct Unread {
    /// What is wrong, whatever the columns are.
    pub issues: Vec<Issue>,
    /// The rest, each part at its place. It is looked at for what else is wrong, and never run.
    pub(super) rest: Box<Query>,
}

impl Unread {
    /// The query, when nothing is wrong beside it either.
    pub fn beside(mut issues: Vec<Issue>, read: Result<Query, Self>) -> Result<Query, Self> {
        match read {
            Ok(query) if issues.is_empty() => Ok(query),
            Ok(query) => Err(Self { issues, rest: Box::new(query) }),
            Err(unread) => {
                issues.extend(unread.issues);
                Err(Self { issues, ..unread })
            }
        }
    }
}

/// A value as it was written; its type is decided by the column that it is compared with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scalar {
    /// A text: everything in a URL is one.
    Text(String),
    /// What could not be read, and was reported; in the rest of a query only.
    Unread,
    /// A JSON number, with the digits that it was written with: a binary float is not always the same one.
    Number(String),
    /// A JSON boolean.
    Boolean(bool),
}

/// One key of the order. Nulls come last in both directions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sort {
    /// A column of the output.
    pub column: String,
    /// Whether the largest comes first.
    pub desc: bool,
}

/// How many values an operation takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arity {
    /// None at all.
    None,
    /// Exactly one.
    One,
    /// Exactly two.
    Two,
    /// At least one, at most [`MAX_VALUES`].
    Many,
}

impl Query {
    /// Everything, in the file's order.
    fn all(origin: Origin) -> Self {
        Self {
            select: Vec::new(),
            group_by: Vec::new(),
            agg: Vec::new(),
            filter: Filter::And(Vec::new()),
            sort: Vec::new(),
            limit: DEFAULT_LIMIT,
            offset: 0,
            cursor: None,
            total: false,
            origin,
        }
    }

    /// Whether the answer has a row for every group rather than for every row.
    pub fn is_grouped(&self) -> bool {
        !self.group_by.is_empty() || !self.agg.is_empty()
    }

    /// The rules that need no schema: sizes, names, and what excludes what.
    ///
    /// Where something of the output could not be read, nobody knows what it can be sorted by.
    fn finish(mut self, mut issues: Issues, is_output_whole: bool) -> Result<Self, Unread> {
        for (pointer, count, limit) in [
            ("/select", self.select.len(), MAX_SELECT),
            ("/group_by", self.group_by.len(), MAX_KEYS),
            ("/agg", self.agg.len(), MAX_AGGREGATES),
            ("/sort", self.sort.len(), MAX_KEYS),
            ("/filter", self.filter.predicates(), MAX_PREDICATES),
        ] {
            if count > limit {
                issues.add(pointer, Code::TooMany, format!("{count} of at most {limit}"));
            }
        }
        if self.limit > MAX_LIMIT {
            issues.add("/limit", Code::TooMany, format!("at most {MAX_LIMIT} rows"));
        }
        if self.cursor.is_some() && self.offset > 0 {
            issues.add("/cursor", Code::Conflict, "cursor excludes offset, which it stands for");
        }
        if !self.select.is_empty() && self.is_grouped() {
            issues.add("/select", Code::Conflict, "select excludes group_by and agg, which name their own outputs");
        }
        for (index, aggregate) in self.agg.iter().enumerate() {
            if !is_name(&aggregate.alias) {
                let detail =
                    format!("the output name {:?} does not match [A-Za-z_][A-Za-z0-9_]{{0,63}}", aggregate.alias);
                issues.add(&format!("/agg/{index}/as"), Code::InvalidName, detail);
            }
        }
        self.filter.check("/filter", 0, &mut issues);
        let selected = self.select.iter().enumerate().map(|(index, name)| (format!("/select/{index}"), name));
        let keys = self.group_by.iter().enumerate().map(|(index, key)| (format!("/group_by/{index}"), &key.column));
        let figures = self.agg.iter().enumerate().map(|(index, figure)| (format!("/agg/{index}"), &figure.alias));
        distinct(selected.chain(keys).chain(figures), "is there twice in the output", &mut issues);
        let sorted = self.sort.iter().enumerate().map(|(index, sort)| (format!("/sort/{index}"), &sort.column));
        distinct(sorted, "is there twice in the order", &mut issues);
        if !is_output_whole {
            self.sort.clear();
        }
        let issues = issues.into_vec();
        if issues.is_empty() { Ok(self) } else { Err(Unread { issues, rest: Box::new(self) }) }
    }
}

fn distinct<'a>(names: impl Iterator<Item = (String, &'a String)>, complaint: &str, issues: &mut Issues) {
    let mut seen = HashSet::new();
    for (pointer, name) in names {
        if !seen.insert(name) {
            issues.add(&pointer, Code::Duplicate, format!("{name:?} {complaint}"));
        }
    }
}

/// Whether a name can be an output: an identifier of at most [`MAX_NAME`] characters.
fn is_name(name: &str) -> bool {
    name.len() <= MAX_NAME
        && name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && name.chars().all(|next| next.is_ascii_alphanumeric() || next == '_')
}

impl Filter {
    /// How many comparisons it has.
    pub fn predicates(&self) -> usize {
        match self {
            Self::And(parts) | Self::Or(parts) => parts.iter().map(Self::predicates).sum(),
            Self::Not(part) => part.predicates(),
            Self::Predicate(_) => 1,
        }
    }

    fn check(&self, pointer: &str, depth: usize, issues: &mut Issues) {
        let is_group = !matches!(self, Self::Predicate(_));
        if is_group && depth >= MAX_DEPTH {
            issues.add(pointer, Code::TooMany, format!("and, or and not stand at most {MAX_DEPTH} deep in each other"));
            return;
        }
        match self {
            Self::And(parts) => check_parts(parts, &format!("{pointer}/and"), depth, issues),
            Self::Or(parts) => check_parts(parts, &format!("{pointer}/or"), depth, issues),
            Self::Not(part) => part.check(&format!("{pointer}/not"), depth + 1, issues),
            Self::Predicate(predicate) => predicate.check(pointer, issues),
        }
    }
}

fn check_parts(parts: &[Filter], pointer: &str, depth: usize, issues: &mut Issues) {
    for (index, part) in parts.iter().enumerate() {
        part.check(&format!("{pointer}/{index}"), depth + 1, issues);
    }
}

impl Predicate {
    fn check(&self, pointer: &str, issues: &mut Issues) {
        let Self { column, op, values } = self;
        let (right, expected) = match op.arity() {
            Arity::None => (values.is_empty(), "no value".to_owned()),
            Arity::One => (values.len() == 1, "one value".to_owned()),
            Arity::Two => (values.len() == 2, "two values".to_owned()),
            Arity::Many => ((1..=MAX_VALUES).contains(&values.len()), format!("1 to {MAX_VALUES} values")),
        };
        if !right {
            let code = if values.len() > MAX_VALUES { Code::TooMany } else { Code::Malformed };
            let detail = format!("{op} on {column:?} takes {expected}, not {}", values.len());
            issues.add(&format!("{pointer}/value"), code, detail);
        }
    }
}
