//! What a schema refuses of a query that is well formed, and what it makes of one that it does not.

use polars::prelude::df;

use super::*;
use crate::engine::issue::Location;
use crate::engine::table::Table;

fn check(body: &str) -> Result<CheckedQuery, Vec<Issue>> {
    let frame = df!("n" => [1i64], "x" => [1.0], "name" => ["a"], "ok" => [true]).unwrap();
    validate(&Query::from_json(body.as_bytes()).unwrap(), Table::from_frame(frame).unwrap().schema())
}

#[test]
fn every_problem_has_its_place() {
    let body = r#"{
        "group_by": [{"column": "name", "every": "month"}, {"column": "nope"}],
        "agg": [{"column": "name", "fn": "sum"}, {"column": "*", "fn": "max", "as": "m"}],
        "filter": {"or": [{"column": "n", "op": "contains", "value": "1"}, {"column": "n", "op": "eq", "value": "x"}]},
        "sort": [{"column": "n"}]
    }"#;
    let issues = check(body).unwrap_err();
    let found: Vec<_> = issues.iter().map(|issue| (issue.location.clone(), issue.code)).collect();
    let expected = [
        ("/filter/or/0/op", Code::NotAllowed),
        ("/filter/or/1/value", Code::InvalidValue),
        ("/group_by/0/every", Code::NotAllowed),
        ("/group_by/1/column", Code::UnknownColumn),
        ("/agg/0/fn", Code::NotAllowed),
        ("/agg/1/fn", Code::NotAllowed),
        ("/sort/0/column", Code::UnknownColumn),
    ];
    assert_eq!(found, expected.map(|(pointer, code)| (Location::Pointer(pointer.to_owned()), code)));
    assert_eq!(issues[3].allowed, ["n", "x", "name", "ok"]);
}

#[test]
fn groups_have_a_total_order() {
    let body = r#"{"group_by": [{"column": "name"}, {"column": "ok"}], "agg": [{"column": "*", "fn": "count"}],
        "sort": [{"column": "count", "desc": true}]}"#;
    let order = check(body).unwrap().sort;
    let order: Vec<_> = order.iter().map(|key| (key.column.as_str(), key.desc)).collect();
    assert_eq!(order, [("count", true), ("name", false), ("ok", false)]);
}

#[test]
fn both_ways_to_write_a_query_have_one_canonical_form() {
    let frame = df!("n" => [1i64]).unwrap();
    let table = Table::from_frame(frame).unwrap();
    let body = br#"{"filter": {"and": [{"column": "n", "op": "in", "value": [1, 2]}]}, "limit": 5}"#;
    let forms = [Query::from_json(body), Query::from_pairs([("limit", "5"), ("filter", "n:in:1,2")])];
    let [json, pairs] = forms.map(|query| validate(&query.unwrap(), table.schema()).unwrap().page("v").unwrap().key());
    assert_eq!(json, pairs);
}
