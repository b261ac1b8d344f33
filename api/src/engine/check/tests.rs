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

fn found(read: Result<Query, Unread>) -> Vec<(Location, Code)> {
    let frame = df!("n" => [1i64], "x" => [1.0], "name" => ["a"], "ok" => [true]).unwrap();
    let issues = validate_read(read, Table::from_frame(frame).unwrap().schema()).unwrap_err();
    issues.into_iter().map(|issue| (issue.location, issue.code)).collect()
}

#[test]
fn what_is_wrong_with_words_and_with_columns_is_told_together() {
    let pairs =
        [("select", "nope,n"), ("limit", "many"), ("filter", "name:like:a"), ("filter", "n:eq:x"), ("sort", "gone")];
    let expected = [
        ("limit", Code::Malformed),
        ("filter", Code::Unknown),
        ("filter", Code::InvalidValue),
        ("select", Code::UnknownColumn),
        ("sort", Code::UnknownColumn),
    ];
    let expected = expected.map(|(name, code)| (Location::Parameter(name.to_owned()), code));
    assert_eq!(found(Query::from_pairs(pairs)), expected);

    let body = br#"{"select": ["nope", "n"], "limit": "many",
        "filter": {"and": [{"column": "gone"}, {"column": "gone", "op": "eq", "value": [1]}, {"column": "n", "op": "eq", "value": "x"}]},
        "sort": [{"column": "lost"}]}"#;
    let expected = [
        ("/filter/and/0", Code::Missing),
        ("/filter/and/1/value", Code::Malformed),
        ("/limit", Code::Malformed),
        ("/filter/and/1/column", Code::UnknownColumn),
        ("/filter/and/2/value", Code::InvalidValue),
        ("/select/0", Code::UnknownColumn),
        ("/sort/0/column", Code::UnknownColumn),
    ];
    let expected = expected.map(|(pointer, code)| (Location::Pointer(pointer.to_owned()), code));
    assert_eq!(found(Query::from_json(body)), expected);
}

#[test]
fn nothing_is_made_up_of_what_could_not_be_read() {
    // The output that it is sorted by may be the one that could not be read.
    assert_eq!(found(Query::from_pairs([("agg", "n:sun:total"), ("sort", "total")])).len(), 1);
    let body = br#"{"agg": [{"column": "n", "fn": "sun", "as": "total"}], "sort": [{"column": "total"}]}"#;
    assert_eq!(found(Query::from_json(body)).len(), 1);
    // Behind an item that could not be read the others would be named by wrong places.
    assert_eq!(
        found(Query::from_json(br#"{"select": [1, "nope"]}"#)),
        [(Location::Pointer("/select/0".into()), Code::Malformed)]
    );
    // A value that is no list, or no value, is not told twice.
    for value in ["5", "[null]", "{}"] {
        let body = format!(r#"{{"filter": {{"column": "n", "op": "in", "value": {value}}}}}"#);
        assert_eq!(found(Query::from_json(body.as_bytes())).len(), 1, "{value}");
    }
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
