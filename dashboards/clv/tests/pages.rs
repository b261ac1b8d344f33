//! The dashboard over HTTP: every state, every filter, every file, with the demo tenants' data behind it.

mod stand_in;

use std::sync::atomic::Ordering;

use axum::{
    Router,
    http::{StatusCode, header},
};
use stand_in::{Answer, Api, ask, demo, start};

const ACME: &str = "acme";

async fn acme() -> (std::sync::Arc<Api>, Router) {
    let (api, dashboard) = start().await;
    for dataset in ["transactions", "acquisition"] {
        api.put(ACME, dataset, &demo(ACME, dataset));
    }
    (api, dashboard)
}

fn records(answer: &Answer) -> Vec<Vec<String>> {
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    assert!(answer.text.ends_with("\r\n"), "lines end as RFC 4180 has it");
    answer.text.lines().map(|line| line.split(',').map(|cell| cell.trim_matches('"').to_owned()).collect()).collect()
}

/// The number behind the first of the page's words `name`.
fn customers(page: &str) -> usize {
    let (_, rest) = page.split_once("<p class=\"summary\">").unwrap();
    rest.split_once(" customers").unwrap().0.replace(',', "").parse().unwrap()
}

/// Every address on a page of ours that a person can follow.
fn links(page: &str) -> Vec<String> {
    let href = |part: &str| part.split('"').next().unwrap().replace("&amp;", "&");
    page.split("href=\"").skip(1).map(href).filter(|href| href.starts_with('/')).collect()
}

#[tokio::test]
async fn the_page_shows_every_figure_and_every_chart_with_its_data_and_its_file() {
    let (_, dashboard) = acme().await;
    let page = ask(&dashboard, ACME, "/").await;
    assert_eq!(page.status, StatusCode::OK);
    for label in [
        "Average value, 52 weeks",
        "Active customers",
        "Value to acquisition cost",
        "Retained after 90 days",
        "Revenue",
    ] {
        assert!(page.text.contains(&format!("<dt>{label}<button")), "{label}");
    }
    assert_eq!(page.text.matches("class=\"kpi-trend\"").count(), 5, "each with what it is compared with");
    for id in
        ["cohort-value", "segments", "retention", "spread", "revenue", "channels", "customers", "tracking", "alive"]
    {
        assert!(page.text.contains(&format!("id=\"{id}\"")), "{id}");
        assert!(page.text.contains(&format!("href=\"/export/{id}.csv\" download")), "{id} has a file");
        let file = ask(&dashboard, ACME, &format!("/export/{id}.csv")).await;
        assert!(records(&file).len() > 5, "{id}: {}", file.text);
        let name = format!("attachment; filename=\"customer-lifetime-value-acme-{id}.csv\"");
        assert_eq!(file.headers[header::CONTENT_DISPOSITION], name.as_str());
        assert!(file.headers[header::CONTENT_TYPE].to_str().unwrap().starts_with("text/csv; charset=utf-8"));
    }
    assert_eq!(page.text.matches("Show data").count(), 8, "under every chart");
    assert!(page.text.contains("Data as of 30 Sep 2026") && page.text.contains("<span id=\"tenant\">acme</span>"));
    assert!(page.text.contains("CAC ") && page.text.contains("the 3.0 target"));
}

#[tokio::test]
async fn nothing_is_inline_and_the_policy_says_so() {
    let (_, dashboard) = acme().await;
    for path in ["/", "/?segment=Champions&from=2026-01-01", "/?channel=nothing"] {
        let page = ask(&dashboard, ACME, path).await;
        for bad in [" style=", "<style", " onclick", "javascript:", "http://", "https://"] {
            assert!(!page.text.contains(bad), "{bad} in {path}");
        }
        assert!(page.text.split("<script").skip(1).all(|script| script.contains(" src=\"/")), "{path}");
        let policy = page.headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    }
}

#[tokio::test]
async fn every_link_of_the_page_leads_somewhere() {
    let (_, dashboard) = acme().await;
    let page = ask(&dashboard, ACME, "/?segment=Champions&channel=Email&sort=-orders&until=2026-06-30").await;
    let links = links(&page.text);
    assert!(links.len() > 60, "{}", links.len());
    let mut seen = std::collections::BTreeSet::new();
    for link in links.into_iter().filter(|link| !link.starts_with("/.kyros/")) {
        if seen.insert(link.clone()) {
            let answer = ask(&dashboard, ACME, &link).await;
            assert_eq!(answer.status, StatusCode::OK, "{link}");
        }
    }
}

#[tokio::test]
async fn a_mark_filters_the_page_and_keeps_the_other_filters() {
    let (_, dashboard) = acme().await;
    let all = ask(&dashboard, ACME, "/").await.text;
    let page = ask(&dashboard, ACME, "/?channel=Email&segment=At+risk").await.text;
    assert!(customers(&page) < customers(&all));
    assert!(
        page.contains("href=\"/?channel=Email&amp;segment=Champions\"")
            || page.contains("href=\"/?segment=Champions&amp;channel=Email\"")
    );
    assert!(page.contains("aria-current=\"true\""), "the bar that is chosen says so");
    assert!(page.contains("Remove filter </span>Segment: At risk ") && page.contains("Clear all"));
    assert!(page.contains("<option value=\"At risk\" selected=\"\">"));
}

#[tokio::test]
async fn files_obey_the_page_s_filters() {
    let (_, dashboard) = acme().await;
    let query = "channel=Email&segment=At+risk&from=2025-06-01&to=2026-06-30";
    let page = ask(&dashboard, ACME, &format!("/?{query}")).await.text;
    let listed = records(&ask(&dashboard, ACME, &format!("/export/customers.csv?{query}")).await);
    assert_eq!(listed.len() - 1, customers(&page));
    assert!(listed[1..].iter().all(|row| row[1] == "At risk" && row[2] == "Email"), "{:?}", listed[1]);
    let rows = records(&ask(&dashboard, ACME, &format!("/export/transactions.csv?{query}")).await);
    assert_eq!(rows[0][..4], ["customer_id", "order_id", "order_date", "channel"]);
    let buyers: std::collections::BTreeSet<&String> = rows[1..].iter().map(|row| &row[0]).collect();
    let names: std::collections::BTreeSet<&String> = listed[1..].iter().map(|row| &row[0]).collect();
    assert_eq!(buyers, names, "the orders are those of the customers listed");
    assert!(rows[1..].iter().all(|row| ("2025-06-01".."2026-07-01").contains(&row[2].as_str())));
    assert!(
        page.contains(&"orders.</p>".to_string()) && page.contains(&format!(", {} orders.", rows.len() - 1)),
        "{}",
        rows.len()
    );
    let whole = ask(&dashboard, ACME, "/export/transactions.csv").await;
    assert_eq!(records(&whole).len(), demo(ACME, "transactions").lines().count());
}

#[tokio::test]
async fn cells_that_a_spreadsheet_would_run_are_text_in_every_file() {
    let (api, dashboard) = start().await;
    let mut csv = String::from("customer_id,order_date,revenue,channel\n");
    for n in 0..400 {
        csv.push_str(&format!("=C{:03},2026-0{}-{:02},{}.5,@mail\n", n % 80, n % 8 + 1, n % 27 + 1, n % 37 + 3));
    }
    api.put(ACME, "transactions", &csv);
    for file in ["transactions", "customers", "channels"] {
        let answer = ask(&dashboard, ACME, &format!("/export/{file}.csv")).await;
        assert!(answer.text.contains("'=C0") || answer.text.contains("'@mail"), "{file}: {}", &answer.text[..200]);
        assert!(
            !answer.text.contains("\n=C") && !answer.text.contains(",@mail") && !answer.text.contains("\n@mail"),
            "{file}"
        );
    }
}

#[tokio::test]
async fn what_the_filters_leave_nothing_of_is_said_with_the_one_link_that_helps() {
    let (_, dashboard) = acme().await;
    let page = ask(&dashboard, ACME, "/?segment=Champions&to=2025-04-02").await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.text.contains("No customers match the filters"));
    assert!(
        page.text.contains(
            "<a class=\"button primary\" href=\"/?segment=Champions\" data-filter=\"\">Remove To: 2 Apr 2025</a>"
        ),
        "{}",
        page.text
    );
    assert!(page.text.contains("<form class=\"filters\""), "the filters stay in reach");
}

#[tokio::test]
async fn filters_that_there_are_not_are_refused_kindly_and_never_repeated() {
    let (_, dashboard) = acme().await;
    for query in [
        "segment=%3Cscript%3Ealert(1)%3C/script%3E",
        "channel=%22onload=%22x",
        "country=XX",
        "from=yesterday",
        "until=1997-02-31",
        "from=2026-02-01&to=2026-01-01",
        "segment=Champions&segment=Lost",
    ] {
        for path in ["/", "/customer", "/export/segments.csv", "/export/transactions.csv"] {
            let page = ask(&dashboard, ACME, &format!("{path}?{query}")).await;
            if path == "/export/transactions.csv" && query.starts_with("until") {
                continue;
            }
            assert_eq!(page.status, StatusCode::BAD_REQUEST, "{path}?{query}");
            assert!(
                page.text.contains("cannot be used") && page.text.contains("<a class=\"button primary\""),
                "{query}"
            );
            for bad in ["alert(1)", "onload", "yesterday", "XX"] {
                assert!(!page.text.contains(bad), "{bad} from {query}");
            }
        }
    }
    assert_eq!(
        ask(&dashboard, ACME, "/?x=1&utm=%3Cscript%3E").await.status,
        StatusCode::OK,
        "what is no filter is left alone"
    );
}

#[tokio::test]
async fn one_customer_has_a_page_with_orders_and_the_way_back_with_the_filters() {
    let (_, dashboard) = acme().await;
    let page = ask(&dashboard, ACME, "/?channel=Email&sort=-orders").await.text;
    let link = links(&page).into_iter().find(|link| link.starts_with("/customer?")).unwrap();
    let answer = ask(&dashboard, ACME, &link).await;
    assert_eq!(answer.status, StatusCode::OK);
    for part in [
        "<h1>Customer A",
        "Likely active",
        "Orders over time",
        "Purchases expected, 52 weeks",
        "aria-label=\"Breadcrumb\"",
        "href=\"/?sort=-orders&amp;channel=Email\"",
    ] {
        assert!(
            answer.text.contains(part)
                || answer
                    .text
                    .contains(&part.replace("sort=-orders&amp;channel=Email", "channel=Email&amp;sort=-orders")),
            "{part}"
        );
    }
    let file = links(&answer.text).into_iter().find(|link| link.starts_with("/customer/orders.csv?")).unwrap();
    let id = link.split("customer=").nth(1).unwrap();
    let of_customer = demo(ACME, "transactions").lines().filter(|line| line.starts_with(&format!("{id},"))).count();
    assert_eq!(records(&ask(&dashboard, ACME, &file).await).len() - 1, of_customer);
    for path in ["/customer", "/customer?customer=%3Cscript%3E", "/customer/orders.csv?customer=nobody"] {
        let answer = ask(&dashboard, ACME, path).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
        assert!(answer.text.contains("There is no such customer") && !answer.text.contains("script&gt;"), "{path}");
    }
}

#[tokio::test]
async fn each_failure_is_a_page_with_its_status_and_one_action() {
    let (api, dashboard) = acme().await;
    for (status, expected, title, action) in [
        (StatusCode::UNAUTHORIZED, StatusCode::UNAUTHORIZED, "Your session has ended", "Sign in again"),
        (StatusCode::NOT_FOUND, StatusCode::NOT_FOUND, "There is no data yet", "Try again"),
        (StatusCode::TOO_MANY_REQUESTS, StatusCode::TOO_MANY_REQUESTS, "Too many questions at once", "Try again"),
        (StatusCode::SERVICE_UNAVAILABLE, StatusCode::BAD_GATEWAY, "The data cannot be reached", "Try again"),
    ] {
        api.refuse(Some(status));
        for path in ["/?channel=Email", "/customer?customer=A10001&channel=Email", "/export/segments.csv?channel=Email"]
        {
            let page = ask(&dashboard, ACME, path).await;
            assert_eq!(page.status, expected, "{path}");
            assert!(page.text.contains(title), "{path}: {}", page.text);
            assert_eq!(page.text.matches("class=\"button primary\"").count(), 1, "{path}");
            assert!(page.text.contains(&format!(">{action}</a>")) && page.text.contains("channel=Email"), "{path}");
            assert!(!page.text.contains("kpi-value"), "no figure stays on the page");
        }
    }
    api.refuse(None);
    assert_eq!(ask(&dashboard, ACME, "/").await.status, StatusCode::OK, "a failure is not kept");
}

#[tokio::test]
async fn an_api_that_is_gone_is_said_to_be_so() {
    kyros_shared_config::crypto::install_provider();
    let data = kyros_dashboard_kit::DataClient::new("http://127.0.0.1:1".parse().unwrap()).unwrap();
    let page = ask(&kyros_clv::router(data), ACME, "/").await;
    assert_eq!(page.status, StatusCode::BAD_GATEWAY);
    assert!(page.text.contains("The data cannot be reached"));
}

#[tokio::test]
async fn without_spend_the_cost_figures_are_left_out_with_a_sentence() {
    let (api, dashboard) = start().await;
    api.put("globex", "transactions", &demo("globex", "transactions"));
    let page = ask(&dashboard, "globex", "/").await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.text.contains("The cost to win a customer is not known") && page.text.contains("No spend is known"));
    assert!(!page.text.contains("CAC ") || !page.text.contains("class=\"target\""), "no tick without a cost");
}

#[tokio::test]
async fn data_with_the_three_needed_columns_alone_is_enough() {
    let (api, dashboard) = start().await;
    let mut csv = String::from("customer_id,order_date,revenue\n");
    for n in 0..500 {
        csv.push_str(&format!("C{},2026-0{}-{:02},{}\n", n % 90, n % 9 + 1, n % 28 + 1, n % 41 + 3));
    }
    csv.push_str("C1,not a day,3\n,2026-01-01,3\n");
    api.put(ACME, "transactions", &csv);
    let page = ask(&dashboard, ACME, "/").await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.text);
    assert!(page.text.contains("2 rows have no customer, no day or no amount"));
    assert!(!page.text.contains("name=\"channel\"") && !page.text.contains("name=\"country\""));
    assert_eq!(ask(&dashboard, ACME, "/?channel=Email").await.status, StatusCode::OK, "there is no such filter here");
    api.put(ACME, "transactions", "customer_id,order_date\nC1,2026-01-01\n");
    let page = ask(&dashboard, ACME, "/").await;
    assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(page.text.contains("The data does not fit this dashboard"));
}

#[tokio::test]
async fn what_no_model_fits_is_shown_without_values() {
    let (api, dashboard) = start().await;
    let rows: String = (0..60).map(|n| format!("C{n},2026-01-{:02},5\n", n % 28 + 1)).collect();
    api.put(ACME, "transactions", &format!("customer_id,order_date,revenue\n{rows}"));
    let page = ask(&dashboard, ACME, "/").await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.text.contains("No model fits this data: no customer has a repeat purchase"));
    assert!(page.text.contains("id=\"revenue\"") && !page.text.contains("id=\"segments\""));
}

#[tokio::test]
async fn the_fit_says_in_words_how_far_off_it_is() {
    let (_, dashboard) = acme().await;
    let whole = ask(&dashboard, ACME, "/").await.text;
    assert!(whole.contains("nothing is left to test them on"));
    let tested = ask(&dashboard, ACME, "/?until=2026-06-30").await.text;
    assert!(tested.contains("In the 13 weeks after, which it did not see, it predicted "), "{tested}");
    assert!(
        tested.contains("the models saw until 30 Jun 2026")
            && tested.contains("<dt>Fitted until</dt><dd>2026-06-30</dd>")
    );
    assert!(tested.contains("came after 30 Jun 2026"));
}

#[tokio::test]
async fn two_tenants_never_share_a_figure_and_one_version_is_read_once() {
    let (api, dashboard) = acme().await;
    api.put("globex", "transactions", &demo("globex", "transactions"));
    let (first, second, other) = tokio::join!(
        ask(&dashboard, ACME, "/"),
        ask(&dashboard, ACME, "/?channel=Email"),
        ask(&dashboard, "globex", "/")
    );
    assert!(first.text.contains("acme") && !first.text.contains("Self-service"));
    assert!(other.text.contains("Self-service") && !other.text.contains("Paid social"));
    assert_eq!(second.status, StatusCode::OK);
    let reads = api.reads.load(Ordering::SeqCst);
    ask(&dashboard, ACME, "/?segment=Champions").await;
    ask(&dashboard, "globex", "/?from=2026-01-01").await;
    assert_eq!(api.reads.load(Ordering::SeqCst), reads, "filters ask for no rows");
    api.put(ACME, "transactions", &demo("initech", "transactions"));
    assert!(ask(&dashboard, ACME, "/").await.text.contains("Relationship manager"), "new data is read");
}

#[tokio::test]
async fn assets_are_kept_by_their_bytes() {
    let (_, dashboard) = acme().await;
    let page = ask(&dashboard, ACME, "/").await.text;
    for path in links(&page).into_iter().filter(|link| link.starts_with("/assets/")) {
        let asset = ask(&dashboard, ACME, &path).await;
        assert_eq!(asset.headers[header::CACHE_CONTROL], "private, max-age=31536000, immutable", "{path}");
        let plain = ask(&dashboard, ACME, path.split('?').next().unwrap()).await;
        assert_eq!(
            (plain.status, &plain.headers[header::CACHE_CONTROL]),
            (StatusCode::OK, &"no-cache".parse().unwrap())
        );
    }
    assert!(page.contains("src=\"/.kyros/embed.js\""));
}
