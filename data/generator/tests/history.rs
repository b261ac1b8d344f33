//! The monthly snapshots are a believable past of the very book that `exposures` holds.

#![expect(clippy::expect_used, reason = "a failed expectation is a failed test")]

use std::collections::{BTreeMap, BTreeSet};

use kyros_demo_data::{canary, generate};

const TENANTS: [&str; 2] = ["acme", "initech"];

fn rows(tenant: &str, dataset: &str) -> Vec<Vec<String>> {
    let mut out = Vec::new();
    generate(tenant, dataset, &mut out).expect("a known data set");
    let text = String::from_utf8(out).expect("text");
    text.lines().skip(1).map(|line| line.split(',').map(str::to_owned).collect()).collect()
}

/// The rows of each name, oldest first.
fn by_name(tenant: &str) -> BTreeMap<String, Vec<Vec<String>>> {
    let mut names: BTreeMap<String, Vec<Vec<String>>> = BTreeMap::new();
    for row in rows(tenant, "history") {
        names.entry(row[1].clone()).or_default().push(row);
    }
    names
}

#[test]
fn the_columns_are_those_that_the_dashboard_reads() {
    let mut out = Vec::new();
    generate("acme", "history", &mut out).expect("a known data set");
    let text = String::from_utf8(out).expect("text");
    let head = "as_of,counterparty,sector,country,rating,ead,pd,lgd,days_past_due,originated,defaulted";
    assert_eq!(text.lines().next(), Some(head));
}

#[test]
fn there_are_24_month_ends_in_order_and_each_name_stands_once_in_each() {
    for tenant in TENANTS {
        let rows = rows(tenant, "history");
        assert!(rows.is_sorted_by_key(|row| row[0].clone()), "{tenant}");
        let months: BTreeSet<&str> = rows.iter().map(|row| row[0].as_str()).collect();
        let ends = (months.first().copied(), months.last().copied());
        assert_eq!((months.len(), ends), (24, (Some("2024-10-31"), Some("2026-09-30"))), "{tenant}");
        let keys: BTreeSet<(&str, &str)> = rows.iter().map(|row| (row[0].as_str(), row[1].as_str())).collect();
        assert_eq!(keys.len(), rows.len(), "{tenant}");
    }
}

#[test]
fn the_last_month_without_the_names_in_default_is_the_book_of_exposures() {
    for tenant in TENANTS {
        let exposures: BTreeSet<Vec<String>> =
            rows(tenant, "exposures").into_iter().map(|row| row[..7].to_vec()).collect();
        let last: BTreeSet<Vec<String>> = rows(tenant, "history")
            .into_iter()
            .filter(|row| row[0] == "2026-09-30" && row[10] == "0")
            .map(|row| row[1..8].to_vec())
            .collect();
        assert_eq!(last, exposures, "{tenant}");
    }
}

#[test]
fn default_is_more_than_90_days_past_due_and_nobody_returns_from_it() {
    for tenant in TENANTS {
        let mut defaults = 0;
        for (name, rows) in by_name(tenant) {
            let defaulted: Vec<bool> = rows.iter().map(|row| row[10] == "1").collect();
            assert!(defaulted.is_sorted(), "{name}");
            defaults += usize::from(defaulted.contains(&true));
            for (row, defaulted) in rows.iter().zip(defaulted) {
                let days: u32 = row[8].parse().expect("days");
                assert_eq!((days > 90, row[4] == "D"), (defaulted, defaulted), "{row:?}");
            }
        }
        assert!(defaults >= 6, "{defaults} defaults of {tenant}");
    }
}

#[test]
fn newer_names_default_more_often_within_half_a_year() {
    let names = by_name("initech");
    let share = |from: &str, until: &str| {
        let of_vintage: Vec<_> =
            names.values().filter(|rows| rows[0][9].as_str() >= from && rows[0][9].as_str() < until).collect();
        let early = of_vintage.iter().filter(|rows| rows.iter().take(7).any(|row| row[10] == "1")).count();
        let count = |number: usize| f64::from(u32::try_from(number).expect("small"));
        count(early) / count(of_vintage.len())
    };
    let (older, newer) = (share("2024-10-01", "2025-07-01"), share("2025-07-01", "2026-03-01"));
    assert!(newer > older, "{older} of the older, {newer} of the newer");
}

#[test]
fn the_name_with_the_canary_stands_in_every_month() {
    for tenant in TENANTS {
        let marked = rows(tenant, "history").iter().filter(|row| row[1].contains(&canary(tenant))).count();
        assert_eq!(marked, 24, "{tenant}");
    }
}
