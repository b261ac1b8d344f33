//! A query against the columns of a data set: parse, don't validate. A [`CheckedQuery`] names only columns that exist,
//! does with them only what their types allow, and holds its values in those types, so a plan of it cannot fail.

use super::cursor::{Basis, Cursor, Misplaced};
use super::issue::{Code, Issue, Issues, MAX_ISSUES};
use super::literal::Literal;
use super::query::{Aggregate, Filter, Func, Grain, GroupKey, Op, Predicate, Query, Scalar, Sort, Unread};
use super::schema::{Column, Kind, Schema};

/// A query that its data set can answer. Only [`validate`] makes one.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckedQuery {
    pub(super) shape: Shape,
    pub(super) filter: Option<Condition>,
    pub(super) sort: Vec<Order>,
    limit: u32,
    start: Start,
    total: bool,
}

/// Where the page begins.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Start {
    Offset(u32),
    Cursor(Cursor),
}

/// One page of a checked query on one version of its data set. Only [`CheckedQuery::page`] makes one.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    pub(super) query: CheckedQuery,
    pub(super) offset: u32,
    basis: Basis,
}

impl Page {
    pub(super) fn limit(&self) -> u32 {
        self.query.limit
    }

    /// The most cells that the answer can have.
    pub fn most_cells(&self) -> usize {
        let columns = match &self.query.shape {
            Shape::Rows(columns) => columns.len(),
            Shape::Groups { keys, figures } => keys.len() + figures.len(),
        };
        columns.saturating_mul(self.query.limit as usize)
    }

    /// Whether the length of the whole answer was asked for.
    pub(super) fn wants_total(&self) -> bool {
        self.query.total
    }

    /// Where the page after this one begins, if this one has so many rows.
    pub(super) fn after(&self, rows: usize) -> Option<Cursor> {
        let offset = self.offset.checked_add(u32::try_from(rows).ok()?)?;
        Some(Cursor::new(offset, self.basis))
    }

    /// What an answer depends on, as a key of caches: the same query on the same version has the same one, however it was
    /// written.
    pub fn key(&self) -> PageKey {
        PageKey { basis: self.basis, offset: self.offset, limit: self.query.limit, total: self.query.total }
    }
}

/// What one page's answer depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PageKey {
    basis: Basis,
    offset: u32,
    limit: u32,
    total: bool,
}

impl PageKey {
    /// For an entity tag.
    pub fn to_bytes(self) -> Vec<u8> {
        let Self { basis, offset, limit, total } = self;
        [&basis.to_bytes()[..], &offset.to_be_bytes(), &limit.to_be_bytes(), &[u8::from(total)]].concat()
    }
}

/// What a row of the answer is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Shape {
    /// A row of the data set, with these columns.
    Rows(Vec<String>),
    /// A group of rows; without keys, all of them.
    Groups { keys: Vec<Key>, figures: Vec<Figure> },
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Key {
    pub(super) column: String,
    pub(super) every: Option<Grain>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Figure {
    pub(super) source: Source,
    pub(super) alias: String,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Source {
    /// How many rows there are.
    Rows,
    /// A figure of a column's values.
    Column { name: String, kind: Kind, func: Func },
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Condition {
    All(Vec<Condition>),
    Any(Vec<Condition>),
    Not(Box<Condition>),
    Test { column: String, test: Test },
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Test {
    IsNull,
    NotNull,
    Compare(Comparison, Literal),
    Between(Literal, Literal),
    /// The kind is that of the literals.
    OneOf(Vec<Literal>, Kind),
    NoneOf(Vec<Literal>, Kind),
    Contains(String),
    StartsWith(String),
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Comparison {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Order {
    pub(super) column: String,
    pub(super) desc: bool,
}

impl CheckedQuery {
    /// The page of it, on the data of this version. A cursor from another query or version is refused.
    pub fn page(self, version: &str) -> Result<Page, Misplaced> {
        let Self { shape, filter, sort, limit: _, start: _, total: _ } = &self;
        // Debug, and not JSON, because it cannot fail; it is injective, as texts are quoted and escaped.
        let basis = Basis::new(version, &format!("{shape:?} {filter:?} {sort:?}"));
        let offset = match self.start {
            Start::Offset(offset) => offset,
            Start::Cursor(cursor) => cursor.offset_in(basis)?,
        };
        Ok(Page { query: self, offset, basis })
    }
}

/// Checks a query against a schema. Everything that is wrong is reported at once, with what is allowed instead.
pub fn validate(query: &Query, schema: &Schema) -> Result<CheckedQuery, Vec<Issue>> {
    let mut check = Check { schema, issues: Issues::new(query.origin) };
    let filter = match &query.filter {
        Filter::And(parts) if parts.is_empty() => None,
        filter => check.filter(filter, "/filter"),
    };
    check.selected(&query.select);
    let shape = if query.is_grouped() { check.groups(query) } else { check.rows(&query.select) };
    let sort = check.order(&query.sort, &shape);
    let start = query.cursor.map_or(Start::Offset(query.offset), Start::Cursor);
    let checked = CheckedQuery { shape, filter, sort, limit: query.limit, start, total: query.total };
    check.issues.finish(checked)
}

/// As [`validate`], also of a query that could not be read as a whole: what is wrong with its words and what is wrong with its
/// columns are told together.
pub fn validate_read(read: Result<Query, Unread>, schema: &Schema) -> Result<CheckedQuery, Vec<Issue>> {
    match read {
        Ok(query) => validate(&query, schema),
        Err(Unread { mut issues, rest }) => {
            issues.extend(validate(&rest, schema).err().into_iter().flatten());
            issues.truncate(MAX_ISSUES);
            Err(issues)
        }
    }
}

struct Check<'a> {
    schema: &'a Schema,
    issues: Issues,
}

impl<'a> Check<'a> {
    fn column(&mut self, name: &str, pointer: &str) -> Option<&'a Column> {
        let column = self.schema.get(name);
        if column.is_none() {
            let detail = format!("the dataset has no column {name:?}");
            self.issues.add_allowed(pointer, Code::UnknownColumn, detail, self.schema.names());
        }
        column
    }

    fn selected(&mut self, select: &[String]) {
        for (index, name) in select.iter().enumerate() {
            self.column(name, &format!("/select/{index}"));
        }
    }

    fn rows(&self, select: &[String]) -> Shape {
        let every = || self.schema.names().map(str::to_owned).collect();
        Shape::Rows(if select.is_empty() { every() } else { select.to_vec() })
    }

    fn groups(&mut self, query: &Query) -> Shape {
        let mut keys = Vec::new();
        for (index, key) in query.group_by.iter().enumerate() {
            keys.extend(self.key(key, &format!("/group_by/{index}")));
        }
        let mut figures = Vec::new();
        for (index, aggregate) in query.agg.iter().enumerate() {
            figures.extend(self.figure(aggregate, &format!("/agg/{index}")));
        }
        Shape::Groups { keys, figures }
    }

    fn key(&mut self, key: &GroupKey, pointer: &str) -> Option<Key> {
        let column = self.column(&key.column, &format!("{pointer}/column"))?;
        if let Some(every) = key.every
            && !column.grains.contains(&every)
        {
            let detail = format!("{:?} is a {} and cannot be cut to {every}", column.name, column.kind.name());
            self.issues.add_allowed(&format!("{pointer}/every"), Code::NotAllowed, detail, column.grains);
        }
        Some(Key { column: column.name.clone(), every: key.every })
    }

    fn figure(&mut self, aggregate: &Aggregate, pointer: &str) -> Option<Figure> {
        let Aggregate { column, func, alias } = aggregate;
        let alias = alias.clone();
        if column == Aggregate::ROWS {
            if *func != Func::Count {
                let detail = format!("{func} needs a column; of rows there is only their count");
                self.issues.add_allowed(&format!("{pointer}/fn"), Code::NotAllowed, detail, [Func::Count]);
            }
            return Some(Figure { source: Source::Rows, alias });
        }
        let column = self.column(column, &format!("{pointer}/column"))?;
        if !column.aggregates.contains(func) {
            let detail = format!("{:?} is a {} and has no {func}", column.name, column.kind.name());
            self.issues.add_allowed(&format!("{pointer}/fn"), Code::NotAllowed, detail, column.aggregates);
        }
        let source = Source::Column { name: column.name.clone(), kind: column.kind, func: *func };
        Some(Figure { source, alias })
    }

    fn filter(&mut self, filter: &Filter, pointer: &str) -> Option<Condition> {
        match filter {
            Filter::And(parts) => Some(Condition::All(self.parts(parts, &format!("{pointer}/and")))),
            Filter::Or(parts) => Some(Condition::Any(self.parts(parts, &format!("{pointer}/or")))),
            Filter::Not(part) => {
                let part = self.filter(part, &format!("{pointer}/not"))?;
                Some(Condition::Not(Box::new(part)))
            }
            Filter::Predicate(predicate) => self.predicate(predicate, pointer),
        }
    }

    fn parts(&mut self, parts: &[Filter], pointer: &str) -> Vec<Condition> {
        let part = |(index, part)| self.filter(part, &format!("{pointer}/{index}"));
        parts.iter().enumerate().filter_map(part).collect()
    }

    fn predicate(&mut self, predicate: &Predicate, pointer: &str) -> Option<Condition> {
        let column = self.column(&predicate.column, &format!("{pointer}/column"))?;
        let op = predicate.op;
        if !column.operations.contains(&op) {
            let detail = format!("{:?} is a {} and cannot be compared with {op}", column.name, column.kind.name());
            self.issues.add_allowed(&format!("{pointer}/op"), Code::NotAllowed, detail, column.operations);
            return None;
        }
        let mut values = Vec::with_capacity(predicate.values.len());
        for value in predicate.values.iter().filter(|value| **value != Scalar::Unread) {
            match Literal::parse(column.kind, value) {
                Ok(literal) => values.push(literal),
                Err(expected) => {
                    let detail = format!("{:?} is compared with {expected}", column.name);
                    self.issues.add(&format!("{pointer}/value"), Code::InvalidValue, detail);
                }
            }
        }
        let test = test(op, column.kind, values)?;
        Some(Condition::Test { column: column.name.clone(), test })
    }

    /// The order asked for; of groups it is made total with the keys that were not named.
    fn order(&mut self, sort: &[Sort], shape: &Shape) -> Vec<Order> {
        let (outputs, keys): (Vec<&str>, Vec<&str>) = match shape {
            Shape::Rows(columns) => (columns.iter().map(String::as_str).collect(), Vec::new()),
            Shape::Groups { keys, figures } => {
                let keys: Vec<_> = keys.iter().map(|key| key.column.as_str()).collect();
                (keys.iter().copied().chain(figures.iter().map(|figure| figure.alias.as_str())).collect(), keys)
            }
        };
        for (index, key) in sort.iter().enumerate() {
            if !outputs.contains(&key.column.as_str()) {
                let pointer = format!("/sort/{index}/column");
                let detail = format!("the answer has no column {:?} to sort by", key.column);
                self.issues.add_allowed(&pointer, Code::UnknownColumn, detail, outputs.iter());
            }
        }
        let asked = sort.iter().map(|key| Order { column: key.column.clone(), desc: key.desc });
        let is_named = |name: &&str| sort.iter().any(|key| key.column == **name);
        let rest = keys.into_iter().filter(|name| !is_named(name));
        asked.chain(rest.map(|name| Order { column: name.to_owned(), desc: false })).collect()
    }
}

/// The test of an operation. None if values are missing, which was reported where they are.
fn test(op: Op, kind: Kind, values: Vec<Literal>) -> Option<Test> {
    let comparison = match op {
        Op::IsNull => return Some(Test::IsNull),
        Op::NotNull => return Some(Test::NotNull),
        Op::In => return Some(Test::OneOf(values, kind)),
        Op::NotIn => return Some(Test::NoneOf(values, kind)),
        Op::Between => {
            let [low, high] = <[Literal; 2]>::try_from(values).ok()?;
            return Some(Test::Between(low, high));
        }
        Op::Contains | Op::StartsWith => {
            let Literal::String(text) = values.into_iter().next()? else {
                return None;
            };
            return Some(if op == Op::Contains { Test::Contains(text) } else { Test::StartsWith(text) });
        }
        Op::Eq => Comparison::Eq,
        Op::Ne => Comparison::Ne,
        Op::Lt => Comparison::Lt,
        Op::Le => Comparison::Le,
        Op::Gt => Comparison::Gt,
        Op::Ge => Comparison::Ge,
    };
    Some(Test::Compare(comparison, values.into_iter().next()?))
}

#[cfg(test)]
mod tests;
