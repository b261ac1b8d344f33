//! A query from the decoded pairs of a URL.
//!
//! Names with `,` or `:` in them, and values with `,` in a list, cannot be written here: the JSON body can.

use super::{Aggregate, Arity, Filter, Func, Grain, GroupKey, Op, Predicate, Query, Scalar, Sort, Unread};
use crate::engine::issue::{Code, Issues, Origin, escape};

/// The parameters of a query. Others that the HTTP layer has, such as `format`, are its own to take away.
pub const PARAMETERS: [&str; 9] = ["select", "group_by", "agg", "filter", "sort", "limit", "offset", "cursor", "total"];

impl Query {
    /// Reads the pairs of a query string, already percent-decoded. Every parameter but `filter` is there at most once.
    pub fn from_pairs<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, Unread> {
        let mut issues = Issues::new(Origin::Parameters);
        let mut query = Self::all(Origin::Parameters);
        let mut filters = Vec::new();
        let mut seen = Vec::new();
        let mut is_output_whole = true;
        for (name, value) in pairs {
            if !PARAMETERS.contains(&name) {
                issues.add_allowed(&pointer(name), Code::Unknown, "there is no such parameter", PARAMETERS);
                continue;
            }
            if name != "filter" && seen.contains(&name) {
                issues.add(&pointer(name), Code::Duplicate, "the parameter is there twice");
                continue;
            }
            seen.push(name);
            let before = issues.len();
            match name {
                "select" => query.select = items(name, value, &mut issues, |item, _| Some(item.to_owned())),
                "group_by" => query.group_by = items(name, value, &mut issues, group_key),
                "agg" => query.agg = items(name, value, &mut issues, aggregate),
                "sort" => query.sort = items(name, value, &mut issues, |item, _| Some(sort(item))),
                "limit" => query.limit = number(name, value, &mut issues).unwrap_or(query.limit),
                "cursor" => match value.parse() {
                    Ok(cursor) => query.cursor = Some(cursor),
                    Err(reason) => issues.add("/cursor", Code::Malformed, reason),
                },
                "total" => match value.parse() {
                    Ok(total) => query.total = total,
                    Err(_) => issues.add_allowed("/total", Code::Malformed, "true or false is due", [true, false]),
                },
                "offset" => query.offset = number(name, value, &mut issues).unwrap_or(query.offset),
                _ => filters.extend(predicate(value, &mut issues).map(Filter::Predicate)),
            }
            is_output_whole &= issues.len() == before || !["select", "group_by", "agg"].contains(&name);
        }
        query.filter = Filter::And(filters);
        query.finish(issues, is_output_whole)
    }
}

fn pointer(name: &str) -> String {
    format!("/{}", escape(name))
}

/// The items of a list; an empty item is a slip of the pen, and is reported.
fn items<T>(name: &str, value: &str, issues: &mut Issues, read: impl Fn(&str, &mut Issues) -> Option<T>) -> Vec<T> {
    let mut found = Vec::new();
    for item in value.split(',') {
        if item.is_empty() {
            issues.add(&pointer(name), Code::Malformed, "an item of the list is empty");
        } else {
            found.extend(read(item, issues));
        }
    }
    found
}

fn number(name: &str, value: &str, issues: &mut Issues) -> Option<u32> {
    let parsed = value.parse().ok().filter(|_| value.bytes().all(|byte| byte.is_ascii_digit()));
    if parsed.is_none() {
        issues.add(&pointer(name), Code::Malformed, format!("{value:?} is not a whole number from 0 to {}", u32::MAX));
    }
    parsed
}

/// `column` or `column:grain`.
fn group_key(item: &str, issues: &mut Issues) -> Option<GroupKey> {
    let Some((column, every)) = item.split_once(':') else {
        return Some(GroupKey { column: item.to_owned(), every: None });
    };
    let grain = Grain::parse(every);
    if grain.is_none() {
        issues.add_allowed("/group_by", Code::Unknown, format!("{every:?} is not a grain"), Grain::ALL);
    }
    grain.map(|every| GroupKey { column: column.to_owned(), every: Some(every) })
}

/// `column:func` or `column:func:alias`.
fn aggregate(item: &str, issues: &mut Issues) -> Option<Aggregate> {
    let mut parts = item.splitn(3, ':');
    let (Some(column), Some(name), alias) = (parts.next(), parts.next(), parts.next()) else {
        issues.add("/agg", Code::Malformed, format!("{item:?} is not written as column:aggregate"));
        return None;
    };
    let func = Func::parse(name);
    if func.is_none() {
        issues.add_allowed("/agg", Code::Unknown, format!("{name:?} is not an aggregate"), Func::ALL);
    }
    func.map(|func| Aggregate::new(column.to_owned(), func, alias.map(str::to_owned)))
}

/// `column`, or `-column` for the largest first.
fn sort(item: &str) -> Sort {
    let (column, desc) = item.strip_prefix('-').map_or((item, false), |column| (column, true));
    Sort { column: column.to_owned(), desc }
}

/// `column:op`, or `column:op:value`: the value is the rest, whatever is in it, or a list where the operation takes one.
fn predicate(item: &str, issues: &mut Issues) -> Option<Predicate> {
    let mut parts = item.splitn(3, ':');
    let (Some(column), Some(name), rest) = (parts.next(), parts.next(), parts.next()) else {
        issues.add("/filter", Code::Malformed, format!("{item:?} is not written as column:operation:value"));
        return None;
    };
    let Some(op) = Op::parse(name) else {
        issues.add_allowed("/filter", Code::Unknown, format!("{name:?} is not an operation"), Op::ALL);
        return None;
    };
    let text = |text: &str| Scalar::Text(text.to_owned());
    let values = match (op.arity(), rest) {
        (_, None) => Vec::new(),
        (Arity::Two | Arity::Many, Some(rest)) => rest.split(',').map(text).collect(),
        (Arity::None | Arity::One, Some(rest)) => vec![text(rest)],
    };
    Some(Predicate { column: column.to_owned(), op, values })
}
