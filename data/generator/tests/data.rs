//! The demo data stay as they were recorded.

#![expect(clippy::expect_used, reason = "a failed expectation is a failed test")]

use std::io::{self, ErrorKind};

use kyros_demo_data::{canary, datasets, generate, generate_rows};

/// Rows and sums in cents, in the order of `datasets()`.
const RECORDED: [(usize, i64); 12] = [
    (108, 3_912_840),
    (19_394, 70_124_173),
    (180, 872_250_000),
    (4_008, 17_334_020_000),
    (1_040, 24_061_979),
    (90, 43_274_900),
    (14_364, 152_497_300),
    (72, 14_763_978),
    (2_453, 67_211_288),
    (1_200, 419_895_460_000),
    (26_340, 8_823_583_160_000),
    (2_600, 9_938_823_573),
];

fn csv(tenant: &str, dataset: &str) -> String {
    let mut out = Vec::new();
    generate(tenant, dataset, &mut out).expect("a known data set");
    String::from_utf8(out).expect("text")
}

/// Number of rows and sum of the column, in cents.
fn aggregate(text: &str, column: &str) -> (usize, i64) {
    let place = text.lines().next().expect("a header").split(',').position(|name| name == column).expect("the column");
    let cents = |line: &str| {
        let field = line.split(',').nth(place).expect("a field");
        field.replace('.', "").parse::<i64>().expect("a number with two decimals")
    };
    (text.lines().count() - 1, text.lines().skip(1).map(cents).sum())
}

#[test]
fn two_runs_are_identical() {
    for (tenant, _, dataset) in datasets() {
        assert!(csv(tenant, dataset) == csv(tenant, dataset), "{tenant} {dataset}");
    }
}

#[test]
fn known_aggregates_stay() {
    for ((tenant, _, dataset), expected) in datasets().iter().zip(RECORDED) {
        let column = match *dataset {
            "transactions" => "revenue",
            "exposures" | "history" => "ead",
            "acquisition" => "spend",
            _ => "pnl",
        };
        assert_eq!(aggregate(&csv(tenant, dataset), column), expected, "{tenant} {dataset}");
    }
}

#[test]
fn every_file_holds_its_own_canary_only() {
    for (tenant, _, dataset) in datasets() {
        let text = csv(tenant, dataset);
        for other in ["acme", "globex", "initech"] {
            assert_eq!(text.contains(&canary(other)), *tenant == other, "{other} in {tenant} {dataset}");
        }
    }
    assert_eq!(canary("acme"), "CANARY-ACME-9f3c61d27ab4e805");
}

#[test]
fn the_canary_stands_in_ordinary_rows() {
    for (tenant, _, dataset) in datasets() {
        let text = csv(tenant, dataset);
        let marked = text.lines().filter(|line| line.contains(&canary(tenant))).count();
        let share = f64::from(u32::try_from(marked).expect("small"))
            / f64::from(u32::try_from(text.lines().count()).expect("small"));
        assert!(marked > 0 && share <= 0.51, "{marked} rows in {tenant} {dataset}");
    }
}

#[test]
fn files_are_small_and_complete() {
    let (mut bytes, mut transactions) = (0, 0);
    for (tenant, _, dataset) in datasets() {
        let text = csv(tenant, dataset);
        let columns = text.lines().next().expect("a header").split(',').count();
        assert!(text.lines().all(|line| line.split(',').count() == columns), "{tenant} {dataset}");
        assert!(text.lines().skip(1).all(|line| !line.contains("NaN") && !line.contains("inf")), "{tenant} {dataset}");
        bytes += text.len();
        transactions += if *dataset == "transactions" { text.lines().count() - 1 } else { 0 };
    }
    assert!(bytes < 8_000_000, "{bytes} bytes");
    assert!(transactions <= 60_000, "{transactions} transactions");
}

#[test]
fn dates_end_where_they_should() {
    let text = csv("acme", "transactions");
    let dates: Vec<&str> = text.lines().skip(1).filter_map(|line| line.split(',').nth(2)).collect();
    assert!(dates.is_sorted());
    assert_eq!((dates.first().copied(), dates.last().copied()), (Some("2025-04-03"), Some("2026-09-30")));
}

#[test]
fn unknown_names_and_full_writers_are_errors() {
    for (tenant, dataset) in [("nobody", "pnl"), ("globex", "pnl"), ("acme", "../pnl")] {
        let error = generate(tenant, dataset, &mut io::sink()).expect_err("unknown");
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
    let mut full = [0_u8; 10];
    let error = generate("acme", "pnl", &mut full.as_mut_slice()).expect_err("full");
    assert_eq!(error.kind(), ErrorKind::WriteZero);
}

#[test]
fn as_many_rows_as_were_asked_for_have_the_same_columns_and_the_same_bytes_each_time() {
    let rows = |tenant: &str, dataset: &str, count: usize| {
        let mut out = Vec::new();
        generate_rows(tenant, dataset, count, &mut out).expect("a known data set");
        String::from_utf8(out).expect("text")
    };
    for tenant in ["acme", "globex", "initech", "umbrella"] {
        for dataset in ["transactions", "acquisition", "exposures", "history", "pnl"] {
            let text = rows(tenant, dataset, 5_000);
            assert_eq!(text.lines().count(), 5_001, "{tenant} {dataset}");
            assert_eq!(text.lines().next(), csv("acme", dataset).lines().next(), "{tenant} {dataset}");
            assert!(text.contains(&canary(tenant)), "{tenant} {dataset}");
            assert!(text == rows(tenant, dataset, 5_000), "{tenant} {dataset}");
        }
    }
    let error = generate_rows("acme", "../pnl", 1, &mut io::sink()).expect_err("unknown");
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}
