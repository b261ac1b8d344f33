//! Both ways to write a query, and everything that can be wrong with it before its columns are known.

use super::*;
use crate::engine::issue::Location;

fn pairs(text: &str) -> Result<Query, Unread> {
    Query::from_pairs(text.split('&').filter_map(|pair| pair.split_once('=')))
}

fn codes(result: Result<Query, Unread>) -> Vec<(String, Code)> {
    let place = |location| match location {
        Location::Pointer(place) | Location::Parameter(place) => place,
    };
    result.unwrap_err().issues.into_iter().map(|issue| (place(issue.location), issue.code)).collect()
}

fn places<const N: usize>(expected: [(&str, Code); N]) -> Vec<(String, Code)> {
    expected.map(|(place, code)| (place.to_owned(), code)).to_vec()
}

#[test]
fn a_url_and_a_body_say_the_same() {
    let url = "group_by=segment,day:month&agg=revenue:sum,revenue:p95:high,*:count&filter=name:eq:a:b,c&filter=n:in:1,2\
               &filter=x:is_null&sort=-revenue_sum,segment&limit=5&offset=7";
    let body = r#"{"group_by": [{"column": "segment"}, {"column": "day", "every": "month"}],
        "agg": [{"column": "revenue", "fn": "sum"}, {"column": "revenue", "fn": "p95", "as": "high"},
                {"column": "*", "fn": "count"}],
        "filter": {"and": [{"column": "name", "op": "eq", "value": "a:b,c"},
                           {"column": "n", "op": "in", "value": ["1", "2"]}, {"column": "x", "op": "is_null"}]},
        "sort": [{"column": "revenue_sum", "desc": true}, {"column": "segment"}], "limit": 5, "offset": 7}"#;
    let from_url = pairs(url).unwrap();
    let from_body = Query::from_json(body.as_bytes()).unwrap();
    assert_eq!(Query { origin: Origin::Body, ..from_url }, from_body);
    assert_eq!(from_body.agg[2].alias, "count");
}

#[test]
fn nothing_asks_for_everything() {
    let query = Query::from_json(b"{}").unwrap();
    assert_eq!((query.limit, query.offset, query.filter.predicates()), (DEFAULT_LIMIT, 0, 0));
    assert_eq!(Query::from_pairs([]).unwrap(), Query::all(Origin::Parameters));
}

#[test]
fn all_problems_of_a_url_are_reported() {
    let url =
        "select=a,,b&select=c&tenant=x&agg=n:nope,n&filter=n:like:1&filter=n&filter=n:between:1&limit=-1&offset=+1";
    let expected = places([
        ("select", Code::Malformed),
        ("select", Code::Duplicate),
        ("tenant", Code::Unknown),
        ("agg", Code::Unknown),
        ("agg", Code::Malformed),
        ("filter", Code::Unknown),
        ("filter", Code::Malformed),
        ("limit", Code::Malformed),
        ("offset", Code::Malformed),
        ("filter", Code::Malformed),
    ]);
    assert_eq!(codes(pairs(url)), expected);
}

#[test]
fn all_problems_of_a_body_are_reported() {
    let body = r#"{"select": "a", "limit": 1, "limit": 2, "tenant/id": 1, "offset": -1,
        "agg": [{"column": "n", "fn": "sum", "as": "a b"}, {"fn": "sun"}],
        "filter": {"and": [{"column": "n", "op": "eq", "value": null}, {"not": {"or": []}}, {"or": [], "x": 1}]},
        "sort": [{"column": "a"}, {"column": "a", "desc": 1}]}"#;
    let expected = places([
        ("/limit", Code::Duplicate),
        ("/tenant~1id", Code::Unknown),
        ("/select", Code::Malformed),
        ("/agg/1", Code::Missing),
        ("/agg/1/fn", Code::Unknown),
        ("/filter/and/1/not/or", Code::Malformed),
        ("/filter/and/2/or", Code::Unknown),
        ("/filter/and/2/x", Code::Unknown),
        ("/filter/and/2", Code::Missing),
        ("/filter/and/2", Code::Missing),
        ("/sort/1/desc", Code::Malformed),
        ("/offset", Code::Malformed),
        ("/filter/and/0/value", Code::Malformed),
    ]);
    assert_eq!(codes(Query::from_json(body.as_bytes())), expected);
    let body =
        r#"{"agg": [{"column": "n", "fn": "sum", "as": "a b"}], "filter": {"column": "n", "op": "eq", "value": null}}"#;
    let expected = places([("/agg/0/as", Code::InvalidName), ("/filter/value", Code::Malformed)]);
    assert_eq!(codes(Query::from_json(body.as_bytes())), expected);
    assert_eq!(codes(Query::from_json(b"{")), places([("", Code::Malformed)]));
    assert_eq!(codes(Query::from_json(b"[]")), places([("", Code::Malformed)]));
}

#[test]
fn limits_hold() {
    let deep = |depth| format!("{{\"filter\": {}1{}}}", "{\"not\": ".repeat(depth), "}".repeat(depth));
    let deep = |depth| deep(depth).replace('1', r#"{"column": "n", "op": "is_null"}"#);
    assert!(Query::from_json(deep(MAX_DEPTH).as_bytes()).is_ok());
    assert_eq!(
        codes(Query::from_json(deep(MAX_DEPTH + 1).as_bytes())),
        places([("/filter/not/not/not/not", Code::TooMany)])
    );
    assert!(Query::from_json(deep(5_000).as_bytes()).is_err());

    assert_eq!(codes(pairs("limit=1000001")), places([("limit", Code::TooMany)]));
    let many = |count: usize, item: &str| vec![item; count].join(",");
    let values = format!("filter=n:in:{}", many(MAX_VALUES + 1, "1"));
    assert_eq!(codes(pairs(&values)), places([("filter", Code::TooMany)]));
    assert!(pairs(&format!("filter=n:in:{}", many(MAX_VALUES, "1"))).is_ok());
    let predicates = vec!["filter=n:is_null"; MAX_PREDICATES + 1].join("&");
    assert_eq!(codes(pairs(&predicates)), places([("filter", Code::TooMany)]));
}

#[test]
fn outputs_are_distinct_identifiers() {
    assert_eq!(codes(pairs("select=a,a")), places([("select", Code::Duplicate)]));
    assert_eq!(codes(pairs("group_by=a&agg=n:sum:a")), places([("agg", Code::Duplicate)]));
    assert_eq!(codes(pairs("select=a&group_by=b")), places([("select", Code::Conflict)]));
    for (name, right) in [("a1_", true), ("_", true), ("1a", false), ("", false), ("é", false), ("a\"", false)] {
        assert_eq!(is_name(name), right, "{name:?}");
    }
    assert!(is_name(&"a".repeat(64)) && !is_name(&"a".repeat(65)));
}
