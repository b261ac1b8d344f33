//! The two dashboards as an analyst uses them, inside the portal's frame: a filter by a click, its address, its files, one customer.

use std::time::Duration;

use kyros_tests::browser::Browser;
use serde_json::json;

use crate::{browser::browser, portal::sign_in, up};

const PATIENCE: Duration = Duration::from_secs(20);

/// Lines of a file of the dashboard in the current frame, without the heading.
async fn rows_of(browser: &Browser, file: &str) -> Vec<String> {
    let script = "const answer = await fetch(arguments[0]);
        if (!answer.ok || !answer.headers.get('content-disposition').startsWith('attachment')) throw new Error(answer.status);
        return await answer.text();";
    let text = browser.js_async(script, vec![json!(file)]).await.unwrap();
    text.as_str().unwrap().lines().skip(1).map(str::to_owned).collect()
}

async fn address(browser: &Browser) -> String {
    let address = browser.js("return location.pathname + location.search", vec![]).await.unwrap();
    address.as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_click_on_a_bar_filters_the_page_its_address_and_its_files_and_back_undoes_it() {
    let Some(browser) = browser().await else { return };
    let up = up();
    sign_in(&browser, &up, "ivy").await;
    browser.goto(&format!("{}/t/initech/d/clv", up.portal())).await.unwrap();
    browser.enter_frame("iframe.frame").await.unwrap();
    browser.wait_for_js("document.documentElement.dataset.live === 'open'", PATIENCE).await.unwrap();
    let all = rows_of(&browser, "/export/customers.csv").await;
    assert_eq!(all.len(), 600);
    // Another page load would forget this.
    browser.js("window.before = true; document.querySelector(\"a[data-filter][href*='segment=']\").dispatchEvent(new MouseEvent('click', { bubbles: true, cancelable: true }))", vec![]).await.unwrap();
    browser
        .wait_for_js("location.search.startsWith('?segment=') && !document.querySelector('#view[aria-busy]')", PATIENCE)
        .await
        .unwrap();
    assert_eq!(browser.js("return window.before", vec![]).await.unwrap(), true, "only the view was replaced");
    let filtered = address(&browser).await;
    let some = rows_of(&browser, &format!("/export/customers.csv{}", filtered.trim_start_matches('/'))).await;
    assert!(!some.is_empty() && some.len() < all.len(), "{} of {}", some.len(), all.len());
    assert!(some.iter().all(|row| all.contains(row)), "a part of the same rows");
    let shown = browser.text().await.unwrap();
    assert!(shown.contains(&format!("{} customers", some.len())), "page and file agree: {shown}");

    browser.leave_frames().await.unwrap();
    browser.wait_for_js("location.search.startsWith('?segment=')", PATIENCE).await.unwrap();
    browser.client().back().await.unwrap();
    browser.wait_for_js("location.search === ''", PATIENCE).await.unwrap();
    browser.enter_frame("iframe.frame").await.unwrap();
    browser.wait_for_text("600 customers", PATIENCE).await.unwrap();
    assert_eq!(address(&browser).await, "/");

    // From the table to one customer, and back to the same filters.
    browser.goto(&format!("{}{filtered}", up.dashboard("clv", "initech"))).await.unwrap();
    browser.click("a[href^='/customer']").await.unwrap();
    browser.wait_for_js("location.pathname === '/customer'", PATIENCE).await.unwrap();
    browser.click(".crumbs a").await.unwrap();
    browser.wait_for_js("location.pathname === '/'", PATIENCE).await.unwrap();
    assert_eq!(address(&browser).await, filtered);
    browser.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_page_says_that_its_data_has_changed_and_leaves_the_screen_when_its_session_ends() {
    let Some(browser) = browser().await else { return };
    let up = up();
    sign_in(&browser, &up, "bob").await;
    browser.goto(&up.dashboard("clv", "globex")).await.unwrap();
    browser.wait_for_js("document.documentElement.dataset.live === 'open'", PATIENCE).await.unwrap();
    let page = browser.tab().await.unwrap();
    let file = up.path("data/new.csv");
    let rows: String = (1..=60)
        .map(|n| format!("N{n},2026-09-{:02},Web,Norway,{n}\nN{n},2026-09-30,Web,Norway,{n}\n", n % 28 + 1))
        .collect();
    std::fs::write(&file, format!("customer_id,order_date,channel,country,revenue\n{rows}")).unwrap();
    assert!(crate::import(&up, &file, "globex", "clv", "transactions").status.success());
    browser.wait_for_text("The data has changed.", PATIENCE).await.unwrap();

    let portal = browser.new_tab().await.unwrap();
    browser.switch_tab(&portal).await.unwrap();
    browser.goto(&format!("{}/t/globex", up.portal())).await.unwrap();
    browser.click("details.right > summary").await.unwrap();
    browser.click("form[action='/logout'] button").await.unwrap();
    browser.wait_for_text("Sign in to Kyros", PATIENCE).await.unwrap();
    browser.switch_tab(&page).await.unwrap();
    browser.wait_for_js("document.documentElement.dataset.live === '4001'", PATIENCE).await.unwrap();
    browser.wait_for_text("Your session has ended", PATIENCE).await.unwrap();
    let left = browser.text().await.unwrap();
    assert!(
        !left.contains("globex") && !left.contains("customers"),
        "nothing of the tenant's stays on the screen: {left}"
    );
    browser.close().await.unwrap();
}
