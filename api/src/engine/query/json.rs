//! A query from a JSON body: every object is closed, every name is there once, every problem has its JSON pointer.
//!
//! Serde's `deny_unknown_fields` stops at the first problem and knows no pointer, so the body is read as a tree that
//! keeps what is there twice, and walked.

mod tree;

use super::{
    Aggregate, Arity, Filter, Func, Grain, GroupKey, MAX_DEPTH, Op, PARAMETERS, Predicate, Query, Scalar, Sort, Unread,
};
use crate::engine::issue::{Code, Issues, Origin};
use tree::{Node, Place};

/// The members of the body bear the parameters' names.
const MEMBERS: [&str; 9] = PARAMETERS;

impl Query {
    /// Reads a JSON body. An absent member and a null are the same.
    pub fn from_json(body: &[u8]) -> Result<Self, Unread> {
        let mut issues = Issues::new(Origin::Body);
        let mut query = Self::all(Origin::Body);
        let mut is_output_whole = true;
        let node = match Node::read(body) {
            Ok(node) => node,
            Err(error) => {
                issues.add("", Code::Malformed, format!("the body is not JSON: {error}"));
                return query.finish(issues, false);
            }
        };
        if let Some(fields) = Place::root(&node).fields(&MEMBERS, &mut issues) {
            let before = issues.len();
            if let Some(select) = fields.get("select") {
                query.select = select.whole_list(&mut issues, |item, issues| item.text(issues).map(str::to_owned));
            }
            if let Some(keys) = fields.get("group_by") {
                query.group_by = keys.whole_list(&mut issues, group_key);
            }
            if let Some(figures) = fields.get("agg") {
                query.agg = figures.whole_list(&mut issues, aggregate);
            }
            is_output_whole = issues.len() == before;
            if let Some(condition) = fields.get("filter") {
                query.filter = filter(&condition, 0, &mut issues).unwrap_or(query.filter);
            }
            if let Some(order) = fields.get("sort") {
                query.sort = order.whole_list(&mut issues, sort);
            }
            if let Some(limit) = fields.get("limit") {
                query.limit = limit.number(&mut issues).unwrap_or(query.limit);
            }
            if let Some(cursor) = fields.get("cursor") {
                match cursor.text(&mut issues).map(str::parse) {
                    Some(Ok(found)) => query.cursor = Some(found),
                    Some(Err(reason)) => issues.add(cursor.pointer(), Code::Malformed, reason),
                    None => (),
                }
            }
            if let Some(total) = fields.get("total") {
                query.total = total.flag(&mut issues).unwrap_or(query.total);
            }
            if let Some(offset) = fields.get("offset") {
                query.offset = offset.number(&mut issues).unwrap_or(query.offset);
            }
        }
        query.finish(issues, is_output_whole)
    }
}

fn group_key(place: &Place<'_>, issues: &mut Issues) -> Option<GroupKey> {
    let fields = place.fields(&["column", "every"], issues)?;
    let column = fields.required("column", issues).and_then(|column| column.text(issues).map(str::to_owned));
    let every = match fields.get("every") {
        Some(every) => Some(every.word("a grain", Grain::parse, Grain::ALL, issues)?),
        None => None,
    };
    Some(GroupKey { column: column?, every })
}

fn aggregate(place: &Place<'_>, issues: &mut Issues) -> Option<Aggregate> {
    let fields = place.fields(&["column", "fn", "as"], issues)?;
    let column = fields.required("column", issues).and_then(|column| column.text(issues).map(str::to_owned));
    let func = fields.required("fn", issues).and_then(|func| func.word("an aggregate", Func::parse, Func::ALL, issues));
    let alias = match fields.get("as") {
        Some(alias) => Some(alias.text(issues)?.to_owned()),
        None => None,
    };
    Some(Aggregate::new(column?, func?, alias))
}

fn sort(place: &Place<'_>, issues: &mut Issues) -> Option<Sort> {
    let fields = place.fields(&["column", "desc"], issues)?;
    let column = fields.required("column", issues).and_then(|column| column.text(issues).map(str::to_owned));
    let desc = match fields.get("desc") {
        Some(desc) => desc.flag(issues)?,
        None => false,
    };
    Some(Sort { column: column?, desc })
}

/// `{and: [..]}`, `{or: [..]}`, `{not: ..}` or `{column, op, value}`.
fn filter(place: &Place<'_>, depth: usize, issues: &mut Issues) -> Option<Filter> {
    // A group one deeper than allowed is still read, so that `finish` reports it at its place; what is in it is not.
    if depth > MAX_DEPTH {
        return Some(Filter::And(Vec::new()));
    }
    match place.only_member() {
        Some(group @ ("and" | "or")) => {
            let fields = place.fields(&[group], issues)?;
            let parts = fields.required(group, issues)?;
            let before = parts.len();
            // What could not be read leaves its place, so that the others keep theirs.
            let hole = || Filter::And(Vec::new());
            let part =
                |part: &Place<'_>, issues: &mut Issues| Some(filter(part, depth + 1, issues).unwrap_or_else(hole));
            let filters = parts.list(issues, part);
            if before == Some(0) {
                issues.add(parts.pointer(), Code::Malformed, "at least one condition is due");
            }
            Some(if group == "and" { Filter::And(filters) } else { Filter::Or(filters) })
        }
        Some("not") => {
            let fields = place.fields(&["not"], issues)?;
            let part = fields.required("not", issues)?;
            filter(&part, depth + 1, issues).map(|part| Filter::Not(Box::new(part)))
        }
        _ => predicate(place, issues).map(Filter::Predicate),
    }
}

fn predicate(place: &Place<'_>, issues: &mut Issues) -> Option<Predicate> {
    let fields = place.fields(&["column", "op", "value"], issues)?;
    let column = fields.required("column", issues).and_then(|column| column.text(issues).map(str::to_owned));
    let op = fields.required("op", issues).and_then(|op| op.word("an operation", Op::parse, Op::ALL, issues));
    let values = match (fields.get("value"), op.map(Op::arity)) {
        (None, _) => Vec::new(),
        (Some(value), Some(arity @ (Arity::Two | Arity::Many))) => {
            let values = value.list(issues, |item, issues| Some(scalar(item, issues)));
            // What is no list was reported as that, and not once more for the number of its items.
            if value.len().is_some() { values } else { vec![Scalar::Unread; if arity == Arity::Two { 2 } else { 1 }] }
        }
        (Some(value), _) => vec![scalar(&value, issues)],
    };
    Some(Predicate { column: column?, op: op?, values })
}

fn scalar(place: &Place<'_>, issues: &mut Issues) -> Scalar {
    match place.node() {
        Node::Text(text) => Scalar::Text(text.clone()),
        Node::Number(number) => Scalar::Number(number.clone()),
        Node::Boolean(flag) => Scalar::Boolean(*flag),
        Node::Null | Node::List(_) | Node::Map(_) => {
            issues.add(place.pointer(), Code::Malformed, "a text, a number or a boolean is due; for null use is_null");
            Scalar::Unread
        }
    }
}
