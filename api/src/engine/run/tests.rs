//! Known answers on a small table, and generated queries against an evaluation that knows no Polars.

mod naive;

use polars::prelude::{AnyValue, DataFrame, TimeUnit, df};
use serde_json::{Value, json};

use super::*;
use crate::engine::check::validate;
use crate::engine::cursor::Misplaced;
use crate::engine::encode::{Encoding, encode};
use crate::engine::query::Query;

fn sales() -> Table {
    let days = [0i32, 31, 31, 59, 400];
    let money = [Some(1_005i128), Some(-5), None, Some(0), Some(250)];
    let mut frame = df!(
        "segment" => [Some("a"), Some("b"), None, Some("a"), Some("b")],
        "units" => [Some(3i32), Some(1), Some(4), Some(1), None],
        "revenue" => [10.0, 20.0, 30.0, 40.0, 50.0],
        "^odd.*$" => [true, false, true, false, true],
    )
    .unwrap();
    let days: Vec<_> = days.map(AnyValue::Date).into();
    let money: Vec<_> = money.iter().map(|cell| cell.map_or(AnyValue::Null, |c| AnyValue::Decimal(c, 10, 2))).collect();
    let at: Vec<_> =
        (0..5).map(|hour| AnyValue::Datetime(hour * 1_800_000_000, TimeUnit::Microseconds, None)).collect();
    for (name, values, dtype) in [
        ("day", days, DataType::Date),
        ("money", money, DataType::Decimal(10, 2)),
        ("at", at, DataType::Datetime(TimeUnit::Microseconds, None)),
    ] {
        frame
            .with_column(Series::from_any_values_and_dtype(name.into(), &values, &dtype, true).unwrap().into())
            .unwrap();
    }
    Table::from_frame(frame).unwrap()
}

fn ask(table: &Table, query: &Query) -> (Value, Answer) {
    let checked = validate(query, table.schema()).unwrap_or_else(|issues| panic!("{issues:?}"));
    let answer = run(table, &checked.page("v").unwrap()).unwrap();
    let json: Value = serde_json::from_slice(&encode(&answer, Encoding::Json).unwrap()).unwrap();
    (json["data"].clone(), answer)
}

fn url(query: &str) -> Value {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    ask(&sales(), &Query::from_pairs(pairs).unwrap_or_else(|issues| panic!("{issues:?}"))).0
}

#[test]
fn groups_and_figures() {
    assert_eq!(
        url("group_by=segment&agg=revenue:sum,units:count,units:count_distinct,*:count&sort=-revenue_sum"),
        json!([
            {"segment": "b", "revenue_sum": 70.0, "units_count": 1, "units_count_distinct": 1, "count": 2},
            {"segment": "a", "revenue_sum": 50.0, "units_count": 2, "units_count_distinct": 2, "count": 2},
            {"segment": null, "revenue_sum": 30.0, "units_count": 1, "units_count_distinct": 1, "count": 1},
        ])
    );
    assert_eq!(
        url("agg=revenue:median,revenue:p95,revenue:std,units:mean,money:sum,money:max,segment:first,segment:last"),
        json!([{"revenue_median": 30.0, "revenue_p95": 48.0, "revenue_std": 15.811_388_300_841_896, "units_mean": 2.25,
            "money_sum": 12.50, "money_max": 10.05, "segment_first": "a", "segment_last": "b"}])
    );
    assert_eq!(url("group_by=segment"), json!([{"segment": "a"}, {"segment": "b"}, {"segment": null}]));
    assert_eq!(url("agg=units:sum,revenue:mean&filter=revenue:gt:99"), json!([{"units_sum": 0, "revenue_mean": null}]));
}

#[test]
fn grains() {
    assert_eq!(
        url("group_by=day:month&agg=*:count"),
        json!([
            {"day": "1970-01-01", "count": 1},
            {"day": "1970-02-01", "count": 2},
            {"day": "1970-03-01", "count": 1},
            {"day": "1971-02-01", "count": 1},
        ])
    );
    assert_eq!(url("group_by=day:week&limit=1"), json!([{"day": "1969-12-29"}]));
    assert_eq!(url("group_by=day:quarter&limit=1&offset=1"), json!([{"day": "1971-01-01"}]));
    let hours = json!([{"at": "1970-01-01T00:00:00", "count": 2}, {"at": "1970-01-01T01:00:00", "count": 2},
        {"at": "1970-01-01T02:00:00", "count": 1}]);
    assert_eq!(url("group_by=at:hour&agg=*:count"), hours);
}

#[test]
fn filters_of_every_type() {
    for (filter, revenues) in [
        ("day:ge:1970-03-01", vec![40.0, 50.0]),
        ("day:in:1970-01-01,1971-02-05", vec![10.0, 50.0]),
        ("at:between:1970-01-01T00:30:00,1970-01-01T01:00:00", vec![20.0, 30.0]),
        ("at:in:1970-01-01", vec![10.0]),
        ("money:eq:-0.05", vec![20.0]),
        ("money:lt:2.5", vec![20.0, 40.0]),
        ("money:in:10.05,2.5", vec![10.0, 50.0]),
        ("segment:ne:a", vec![20.0, 50.0]),
        ("segment:not_in:a,c", vec![20.0, 50.0]),
        ("segment:is_null", vec![30.0]),
        ("segment:contains:.", vec![]),
        ("segment:starts_with:a", vec![10.0, 40.0]),
        ("units:gt:3000000000", vec![]),
        ("units:in:1,3000000000", vec![20.0, 40.0]),
        ("^odd.*$:eq:true", vec![10.0, 30.0, 50.0]),
        ("^odd.*$:in:false", vec![20.0, 40.0]),
    ] {
        let expected: Vec<_> = revenues.into_iter().map(|revenue| json!({"revenue": revenue})).collect();
        assert_eq!(url(&format!("select=revenue&filter={filter}")), json!(expected), "{filter}");
    }
}

#[test]
fn a_decimal_is_a_key_like_any_other() {
    let groups = json!([{"money": -0.05, "count": 1, "n": 1}, {"money": 0.00, "count": 1, "n": 1},
        {"money": 2.50, "count": 1, "n": 1}, {"money": 10.05, "count": 1, "n": 1}, {"money": null, "count": 1, "n": 0}]);
    assert_eq!(url("group_by=money&agg=*:count,money:count_distinct:n"), groups);
    assert_eq!(url("group_by=money,segment").as_array().unwrap().len(), 5);
    assert_eq!(url("agg=money:count_distinct:n"), json!([{"n": 4}]));
}

/// One column in two groups.
fn two_groups(column: Series) -> Table {
    let rows = column.len();
    let group: Vec<_> = (0..rows).map(|row| if row + 1 < rows { "most" } else { "last" }).collect();
    Table::from_frame(df!("x" => column.with_name("x".into()), "group" => group).unwrap()).unwrap()
}

fn asked(table: &Table, query: &str) -> Value {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    ask(table, &Query::from_pairs(pairs).unwrap()).0
}

#[test]
fn a_sum_that_its_type_cannot_hold_is_null_and_never_another_number() {
    let most = 10i128.pow(38) - 1;
    let decimals = |values: &[i128]| {
        let values: Vec<_> = values.iter().map(|value| AnyValue::Decimal(*value, 38, 2)).collect();
        Series::from_any_values_and_dtype("x".into(), &values, &DataType::Decimal(38, 2), true).unwrap()
    };
    for (table, all, grouped) in [
        (two_groups(Series::new("x".into(), [i64::MAX, 1, 5])), json!(null), [json!(5), json!(null)]),
        (two_groups(Series::new("x".into(), [i64::MAX, -7, 5])), json!(i64::MAX - 2), [json!(5), json!(i64::MAX - 7)]),
        (two_groups(Series::new("x".into(), [i64::MIN, -1, 1])), json!(i64::MIN), [json!(1), json!(null)]),
        (two_groups(decimals(&[most, most, 500])), json!(null), [json!(5.0), json!(null)]),
        (two_groups(decimals(&[most, most, most])), json!(null), [json!(null), json!(null)]),
        (two_groups(decimals(&[most / 3, -most / 3, 500])), json!(5.0), [json!(5.0), json!(0.0)]),
    ] {
        assert_eq!(asked(&table, "agg=x:sum:s"), json!([{"s": all}]));
        let [last, rest] = grouped;
        let groups = json!([{"group": "last", "s": last}, {"group": "most", "s": rest}]);
        assert_eq!(asked(&table, "group_by=group&agg=x:sum:s"), groups);
        let none = asked(&table, "agg=x:sum:s,*:count&filter=group:eq:none");
        assert_eq!((none[0]["s"].as_f64(), &none[0]["count"]), (Some(0.0), &json!(0)));
    }
}

#[test]
fn every_number_that_is_shown_of_a_narrow_float_finds_its_rows() {
    let table = two_groups(Series::new("x".into(), [0.1f32, 0.2, 0.1, 16_777_216.0, f32::MIN_POSITIVE]));
    for row in asked(&table, "group_by=x&agg=*:count").as_array().unwrap() {
        for op in ["eq", "in", "ge", "le"] {
            let found = asked(&table, &format!("agg=*:count&filter=x:{op}:{}", row["x"]));
            let at_least = row["count"].as_u64().unwrap();
            assert!(found[0]["count"].as_u64().unwrap() >= at_least, "{op} {row}");
        }
    }
    assert_eq!(asked(&table, "agg=*:count&filter=x:eq:0.1"), json!([{"count": 2}]));
    assert_eq!(asked(&table, "agg=*:count&filter=x:lt:1e300"), json!([{"count": 5}]));
    let endless = two_groups(Series::new("x".into(), [f32::INFINITY, 1.0]));
    for filter in ["x:eq:1e300", "x:between:1e200,1e300", "x:in:1e300", "x:in:1e300,-1e300"] {
        assert_eq!(asked(&endless, &format!("agg=*:count&filter={filter}")), json!([{"count": 0}]), "{filter}");
    }
}

#[test]
fn a_query_ends_between_two_of_its_steps() {
    let table = sales();
    let many = "units:p05,units:p10,units:p25,units:p50,units:p75,units:p90,units:p95,units:p99,units:mean";
    for (shape, steps) in [("group_by=segment", 5), ("group_by=revenue", 4), ("limit=9", 3)] {
        let query = format!("{shape}&agg={many}");
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        let page = validate(&Query::from_pairs(pairs).unwrap(), table.schema()).unwrap().page("v").unwrap();
        let whole = run(&table, &page).unwrap();
        assert_eq!(whole.table.schema().columns().len(), if shape == "limit=9" { 9 } else { 10 });
        for last in 1..=steps {
            let mut taken = 0;
            let ended = run_in_steps(&table, &page, &mut || {
                taken += 1;
                if taken == last { Err(Overdue) } else { Ok(()) }
            });
            assert!(matches!(ended, Err(Error::Overdue)), "{shape}: {last}");
        }
        let mut taken = 0;
        run_in_steps(&table, &page, &mut || {
            taken += 1;
            Ok(())
        })
        .unwrap();
        assert_eq!(taken, steps, "{shape}");
    }
}

#[test]
fn groups_are_the_same_in_every_step_also_those_of_no_number() {
    let keys = Series::new("x".into(), [Some(f64::NAN), None, Some(0.0), Some(-0.0), Some(f64::NAN), Some(1.5)]);
    let many = "x:count,x:p05,x:p25,x:p50,x:p95,*:count,x:first";
    let found = asked(&two_groups(keys), &format!("group_by=x&agg={many}"));
    let counts: Vec<_> = found.as_array().unwrap().iter().map(|row| row["count"].as_u64().unwrap()).collect();
    assert_eq!(counts.iter().sum::<u64>(), 6, "{found}");
    assert_eq!(counts.len(), 4, "{found}");
}

#[test]
fn a_page_without_rows_leads_nowhere() {
    let (_, answer) = ask(&sales(), &Query::from_pairs([("limit", "0")]).unwrap());
    assert_eq!((answer.truncated, answer.next), (true, None));
}

#[test]
fn pages_are_stable_and_say_what_is_left() {
    let table = sales();
    let page = |offset: &str| {
        let pairs =
            [("select", "units,revenue"), ("sort", "-units"), ("limit", "2"), ("offset", offset), ("total", "true")];
        ask(&table, &Query::from_pairs(pairs).unwrap())
    };
    let (rows, answer) = page("2");
    assert_eq!(rows, json!([{"units": 1, "revenue": 20.0}, {"units": 1, "revenue": 40.0}]));
    assert_eq!((answer.total, answer.truncated), (Some(5), true));
    assert_eq!(page("4").0, json!([{"units": null, "revenue": 50.0}]));
    assert!(!page("4").1.truncated && !page("9").1.truncated);
    assert_eq!(page("9").0, json!([]));
}

#[test]
fn a_cursor_leads_through_the_whole_answer_and_nowhere_else() {
    let table = sales();
    let mut pairs = vec![("select", "revenue".to_owned()), ("sort", "-revenue".to_owned()), ("limit", "2".to_owned())];
    let mut seen = Vec::new();
    loop {
        let query = Query::from_pairs(pairs.iter().map(|(name, value)| (*name, value.as_str()))).unwrap();
        let (rows, answer) = ask(&table, &query);
        seen.extend(rows.as_array().unwrap().iter().map(|row| row["revenue"].as_f64().unwrap()));
        pairs.truncate(3);
        let Some(next) = answer.next else { break };
        pairs.push(("cursor", next.to_string()));
        let of = |changed: &[(&str, String)], version: &str| {
            let query = Query::from_pairs(changed.iter().map(|(name, value)| (*name, value.as_str()))).unwrap();
            validate(&query, table.schema()).unwrap().page(version).err()
        };
        assert_eq!(of(&pairs, "v"), None);
        assert_eq!(of(&pairs, "w"), Some(Misplaced::OtherVersion));
        let mut other = pairs.clone();
        other[1].1 = "revenue".to_owned();
        assert_eq!(of(&other, "v"), Some(Misplaced::OtherQuery));
    }
    assert_eq!(seen, [50.0, 40.0, 30.0, 20.0, 10.0]);
}

#[test]
fn a_name_is_never_a_pattern() {
    assert_eq!(url("select=^odd.*$&limit=1"), json!([{"^odd.*$": true}]));
    assert_eq!(url("agg=^odd.*$:count:n"), json!([{"n": 5}]));
}

#[test]
fn generated_queries_agree_with_a_naive_evaluation() {
    let mut random = naive::Random::new(0x2545_F491_4F6C_DD1D);
    for round in 0..400 {
        let rows = naive::rows(&mut random);
        let table = Table::from_frame(frame(&rows)).unwrap();
        let query = naive::query(&mut random);
        let (found, answer) = ask(&table, &query);
        let (expected, total) = naive::evaluate(&rows, &query);
        assert!(naive::close(&found, &expected), "round {round}: {query:?}\nfound {found}\nexpected {expected}");
        assert_eq!(answer.total, Some(total), "round {round}: {query:?}");
    }
}

fn frame(rows: &[naive::Row]) -> DataFrame {
    df!(
        "segment" => rows.iter().map(|row| row.segment).collect::<Vec<_>>(),
        "units" => rows.iter().map(|row| row.units).collect::<Vec<_>>(),
        "revenue" => rows.iter().map(|row| row.revenue).collect::<Vec<_>>(),
        "active" => rows.iter().map(|row| row.active).collect::<Vec<_>>(),
    )
    .unwrap()
}
