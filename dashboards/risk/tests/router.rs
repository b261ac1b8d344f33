//! The dashboard as the sidecar asks it: pages, filters, files, failures. Only the data API is a stand-in, on demo data.

#![expect(clippy::unwrap_used, reason = "what is not there is a failed test")]

mod support;

use std::sync::atomic::Ordering;

use axum::http::StatusCode;
use support::{Tables, ask, dashboard};

const ALL: [&str; 3] = ["exposures", "history", "pnl"];

fn acme() -> Tables {
    Tables::default().demo("acme", &ALL)
}

fn rows(csv: &str) -> Vec<Vec<&str>> {
    csv.lines().skip(1).map(|line| line.split(',').collect()).collect()
}

#[tokio::test]
async fn the_page_has_every_figure_and_chart_and_nothing_inline() {
    let (router, _) = dashboard(acme()).await;
    let (status, headers, html) = ask(&router, "acme", "/").await;
    assert_eq!(status, StatusCode::OK);
    for part in [
        "Exposure at default",
        "Expected loss against limit",
        "30+ days past due",
        "Concentration (HHI)",
        "Value at risk 99 %",
        "Expected shortfall 97.5 %",
        "Largest exposures",
        "Exposure by days past due",
        "Rating migration",
        "Default by vintage",
        "Capital by portfolio",
        "Capital by rating",
        "Watch list",
        "Backtest: historical simulation",
        "Backtest: normal distribution",
        "Kupiec p",
        "Basel IRB",
        "Over limit",
        "Data as of 30 Sep 2026",
        "2025 H1",
    ] {
        assert!(html.contains(part), "{part}");
    }
    assert!(headers["content-security-policy"].to_str().unwrap().contains("default-src 'none'"));
    for inline in [" style=", "<style", " onclick=", "<script>", "NaN", "javascript:"] {
        assert!(!html.contains(inline), "{inline}");
    }
    let figures = html.matches("<figure").count();
    assert_eq!(html.matches("class=\"csv\"").count(), figures, "a file for each of {figures} charts");
}

#[tokio::test]
async fn every_link_to_a_file_or_a_page_that_the_page_has_leads_somewhere() {
    let (router, _) = dashboard(acme()).await;
    let (_, _, html) = ask(&router, "acme", "/?portfolio=Energy&as_of=2026-06").await;
    let mut links: Vec<String> = html
        .split("href=\"")
        .skip(1)
        .map(|rest| rest[..rest.find('"').unwrap()].replace("&amp;", "&"))
        .filter(|link| link.starts_with('/') && !link.starts_with("/assets") && !link.starts_with("/.kyros"))
        .collect();
    links.sort();
    links.dedup();
    assert!(links.len() > 40, "{}", links.len());
    for link in links {
        let (status, headers, body) = ask(&router, "acme", &link).await;
        assert_eq!(status, StatusCode::OK, "{link}\n{body}");
        if link.contains(".csv") {
            assert!(
                headers["content-disposition"].to_str().unwrap().starts_with("attachment; filename=\"risk"),
                "{link}"
            );
            assert!(body.lines().count() > 1, "{link} is empty");
        }
    }
}

#[tokio::test]
async fn a_file_holds_the_rows_that_the_page_shows() {
    let (router, _) = dashboard(acme()).await;
    let (_, _, all) = ask(&router, "acme", "/export/positions.csv").await;
    let (_, _, part) = ask(&router, "acme", "/export/positions.csv?portfolio=Energy&as_of=2026-03").await;
    assert!(all.lines().count() > 180 && all.contains("CANARY-ACME"));
    let part = rows(&part);
    assert!(!part.is_empty() && part.iter().all(|row| row[0] == "2026-03-31" && row[2] == "Energy"));
    let (_, _, raw) = ask(&router, "acme", "/export/history.csv?portfolio=Energy&as_of=2026-03").await;
    assert_eq!(rows(&raw).len(), part.len());
    let (_, _, desk) = ask(&router, "acme", "/export/pnl.csv?desk=FX+hedging+CANARY-ACME-9f3c61d27ab4e805").await;
    assert_eq!(rows(&desk).len(), 520);
    // A list of many pages is whole in its file.
    let (_, _, html) = ask(&router, "acme", "/").await;
    let (_, _, watch) = ask(&router, "acme", "/export/watch.csv").await;
    let listed = format!("{} of ", watch.lines().count() - 1);
    assert!(html.contains(&listed), "{listed}");
}

#[tokio::test]
async fn the_expected_loss_of_the_page_is_that_of_the_rows() {
    let (router, _) = dashboard(acme()).await;
    let (_, _, positions) = ask(&router, "acme", "/export/positions.csv").await;
    let number = |text: &str| text.parse::<f64>().unwrap();
    let by_hand: f64 = rows(&positions)
        .iter()
        .filter(|row| row[10] == "0")
        .map(|row| number(row[5]) * number(row[6]) * number(row[7]))
        .sum();
    let shown: f64 = rows(&positions).iter().map(|row| number(row[11])).sum();
    assert!((by_hand - shown).abs() < 0.01 * rows(&positions).len() as f64, "{by_hand} and {shown}");
    let (_, _, series) = ask(&router, "acme", "/export/loss.csv").await;
    let exposure: f64 = rows(&positions).iter().map(|row| number(row[5])).sum();
    let last = number(rows(&series).last().unwrap()[1]);
    assert!((last - by_hand / exposure).abs() < 1e-5, "{last}");
}

#[tokio::test]
async fn what_the_book_has_not_is_a_kind_400_with_a_way_out() {
    let (router, _) = dashboard(acme()).await;
    for (query, clear) in [
        ("portfolio=%3Cscript%3E&rating=BB", "/?rating=BB"),
        ("as_of=1999-01", "href=\"/\""),
        ("rating=ZZZ", "href=\"/\""),
        ("desk=nobody", "href=\"/\""),
        ("country=DE", "href=\"/\""),
        ("rating=BB&rating=B", "href=\"/\""),
    ] {
        let (status, _, html) = ask(&router, "acme", &format!("/?{query}")).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{query}");
        assert!(html.contains("Data as of 30 Sep 2026") || query.contains("rating=BB&rating"), "{query}");
        assert!(html.contains(clear) && !html.contains("<script>") && html.contains("<h1>"), "{query}\n{html}");
        let (status, ..) = ask(&router, "acme", &format!("/export/loss.csv?{query}")).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "file, {query}");
    }
}

#[tokio::test]
async fn an_empty_selection_says_which_filter_to_clear() {
    let (router, _) = dashboard(acme()).await;
    let (_, _, positions) = ask(&router, "acme", "/export/positions.csv").await;
    let taken: Vec<(&str, &str)> = rows(&positions).iter().map(|row| (row[2], row[4])).collect();
    let sectors = ["Energy", "Health", "Financials", "Technology", "Transport", "Consumer", "Industry", "Real estate"];
    let free = sectors
        .iter()
        .flat_map(|sector| ["AA", "A", "CCC", "D"].map(|rating| (*sector, rating)))
        .find(|pair| !taken.contains(pair))
        .unwrap();
    let query = format!("/?portfolio={}&rating={}", free.0.replace(' ', "+"), free.1);
    let (status, _, html) = ask(&router, "acme", &query).await;
    assert_eq!(status, StatusCode::OK);
    assert!(html.contains("No exposures match the filters") && html.contains("Remove Portfolio"), "{html}");
}

#[tokio::test]
async fn without_snapshots_the_page_works_and_says_what_is_missing() {
    let (router, _) = dashboard(Tables::default().demo("acme", &["exposures", "pnl"])).await;
    let (status, _, html) = ask(&router, "acme", "/").await;
    assert_eq!(status, StatusCode::OK);
    assert!(html.contains("no dataset “history”") && html.contains("Backtest") && html.contains("Capital by rating"));
    for part in ["Rating migration", "Watch list", "Default by vintage", "As of<"] {
        assert!(!html.contains(part), "{part}");
    }
    let (status, _, html) = ask(&router, "acme", "/obligor?name=Nobody").await;
    assert!(status == StatusCode::NOT_FOUND && html.contains("no such obligor"));
}

#[tokio::test]
async fn without_daily_results_the_credit_half_is_there() {
    let (router, _) = dashboard(Tables::default().demo("acme", &["exposures", "history"])).await;
    let (status, _, html) = ask(&router, "acme", "/").await;
    assert_eq!(status, StatusCode::OK);
    assert!(
        html.contains("no dataset “pnl”") && html.contains("Rating migration") && !html.contains("Value at risk 99")
    );
}

#[tokio::test]
async fn failures_have_their_status_and_say_what_to_do() {
    let bad = "counterparty,sector,country,rating,ead,pd,lgd,maturity\n<b>Alder</b>,Energy,DE,A,100,7,0.5,2\n";
    let lacking = "counterparty,sector\nAlder,Energy\n";
    let tables = Tables::default().table("odd", "exposures", bad).table("short", "exposures", lacking);
    let (router, _) = dashboard(tables).await;
    for (tenant, status, words) in [
        ("nobody", StatusCode::NOT_FOUND, "There is no data yet"),
        ("ended", StatusCode::UNAUTHORIZED, "session has ended"),
        ("broken", StatusCode::BAD_GATEWAY, "cannot be reached"),
        ("short", StatusCode::UNPROCESSABLE_ENTITY, "does not fit"),
        ("odd", StatusCode::UNPROCESSABLE_ENTITY, "&lt;b&gt;Alder&lt;/b&gt; is out of range: 7"),
    ] {
        let (found, _, html) = ask(&router, tenant, "/").await;
        assert_eq!(found, status, "{tenant}");
        assert!(html.contains(words) && html.contains("<h1>"), "{tenant}: {html}");
    }
}

#[tokio::test]
async fn names_and_figures_are_escaped_wherever_they_stand() {
    let name = "<img src=x> & \"Sons\"";
    let mut history =
        String::from("as_of,counterparty,sector,country,rating,ead,pd,lgd,days_past_due,originated,defaulted\n");
    for month in 1..=3 {
        history += &format!("2026-0{month}-28,{name},<i>Energy</i>,DE,<u>,100,0.02,0.5,45,2026-01-01,0\n");
    }
    let (router, _) = dashboard(Tables::default().table("odd", "history", &history)).await;
    let (status, _, html) = ask(&router, "odd", "/").await;
    assert_eq!(status, StatusCode::OK);
    let link = "/obligor?name=%3Cimg+src%3Dx%3E+%26+%22Sons%22";
    assert!(html.contains(link), "{html}");
    let (status, _, detail) = ask(&router, "odd", link).await;
    assert_eq!(status, StatusCode::OK);
    for page in [html, detail] {
        assert!(page.contains("&lt;img src=x&gt; &amp; &quot;Sons&quot;"));
        for raw in ["<img", "<i>", "<u>"] {
            assert!(!page.contains(raw), "{raw}");
        }
    }
}

#[tokio::test]
async fn a_tenant_never_sees_what_was_computed_for_another() {
    let (router, _) = dashboard(acme().demo("initech", &ALL)).await;
    for _ in 0..2 {
        for (tenant, other) in [("acme", "CANARY-INITECH"), ("initech", "CANARY-ACME")] {
            for path in ["/", "/export/positions.csv", "/export/grid.csv", "/export/watch.csv", "/export/history.csv"] {
                let (status, _, body) = ask(&router, tenant, path).await;
                assert_eq!(status, StatusCode::OK, "{path}");
                assert!(!body.contains(other), "{other} in {path} of {tenant}");
            }
        }
    }
    let (_, _, positions) = ask(&router, "acme", "/export/positions.csv").await;
    let rows = rows(&positions);
    let marked = rows.iter().find(|row| row[1].contains("CANARY-ACME")).unwrap()[1].replace(' ', "+");
    let link = format!("/obligor?name={marked}");
    assert_eq!(ask(&router, "acme", &link).await.0, StatusCode::OK);
    assert_eq!(ask(&router, "initech", &link).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn rows_are_read_once_for_each_version_of_the_data() {
    let (router, tables) = dashboard(acme()).await;
    for query in ["/", "/?rating=BB", "/export/loss.csv", "/?as_of=2026-01"] {
        ask(&router, "acme", query).await;
    }
    assert_eq!(tables.reads.load(Ordering::SeqCst), ALL.len());
}

#[tokio::test]
async fn a_page_stays_small() {
    let (router, _) = dashboard(Tables::default().demo("initech", &ALL)).await;
    let (_, _, html) = ask(&router, "initech", "/").await;
    // Uncompressed; a tenth of it goes over the wire.
    assert!(html.len() < 500_000, "{} bytes", html.len());
}
