//! A real browser: login, tenant selection, two tenants in two tabs, sockets, logout.

use std::time::Duration;

use kyros_tests::browser::{Browser, BrowserError};

use crate::up;

const PATIENCE: Duration = Duration::from_secs(20);

/// A browser, or `None` where there is none and the environment does not insist on one.
pub(crate) async fn browser() -> Option<Browser> {
    match Browser::start().await {
        Ok(browser) => Some(browser),
        Err(BrowserError::NotInstalled) if std::env::var_os("KYROS_TEST_REQUIRE_BROWSER").is_none() => {
            eprintln!("skipped: no chromedriver in PATH (Debian: apt-get install chromium chromium-driver)");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

pub(crate) async fn keep_screenshot(browser: &Browser, name: &str) {
    if let Some(folder) = std::env::var_os("KYROS_TEST_SCREENSHOTS") {
        let folder = std::path::PathBuf::from(folder);
        std::fs::create_dir_all(&folder).unwrap();
        browser.screenshot(&folder.join(format!("{name}.png"))).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_tenants_in_two_tabs_stay_apart_until_logout_ends_both() {
    let Some(browser) = browser().await else { return };
    let up = up();
    browser.goto(&format!("http://localhost:{}/", up.port)).await.unwrap();
    browser.wait_for_text("Sign in to Kyros", PATIENCE).await.unwrap();
    assert!(browser.url().await.unwrap().starts_with(&up.portal()), "localhost leads to the base domain");
    keep_screenshot(&browser, "login").await;
    browser.click("button[value=ana]").await.unwrap();
    browser.wait_for_text("Choose a tenant", PATIENCE).await.unwrap();
    keep_screenshot(&browser, "tenants").await;

    let mut tabs = Vec::new();
    for (tenant, name) in [("acme", "Acme Retail"), ("globex", "Globex Subscriptions")] {
        if !tabs.is_empty() {
            let tab = browser.new_tab().await.unwrap();
            browser.switch_tab(&tab).await.unwrap();
        }
        browser.goto(&format!("{}/tenants", up.portal())).await.unwrap();
        browser.click(&format!("a[href='/t/{tenant}']")).await.unwrap();
        browser.wait_for_text("Dashboards", PATIENCE).await.unwrap();
        keep_screenshot(&browser, &format!("gallery-{tenant}")).await;
        browser.click(&format!("a[href='/t/{tenant}/d/clv']")).await.unwrap();
        browser.wait_for_text(name, PATIENCE).await.unwrap();
        browser.enter_frame("iframe.frame").await.unwrap();
        browser.wait_for_js("document.documentElement.dataset.live === 'open'", PATIENCE).await.unwrap();
        assert_eq!(browser.text_of("#tenant").await.unwrap(), tenant);
        browser.leave_frames().await.unwrap();
        keep_screenshot(&browser, &format!("clv-{tenant}")).await;
        tabs.push((browser.tab().await.unwrap(), tenant));
    }
    let mut figures = Vec::new();
    for (tab, tenant) in &tabs {
        browser.switch_tab(tab).await.unwrap();
        browser.enter_frame("iframe.frame").await.unwrap();
        assert_eq!(browser.text_of("#tenant").await.unwrap(), *tenant, "each tab still shows its own tenant");
        figures.push(browser.text_of(".facts").await.unwrap());
        assert_eq!(browser.js("return document.cookie", vec![]).await.unwrap(), "", "no cookie is visible to scripts");
        browser.leave_frames().await.unwrap();
    }
    assert_ne!(figures[0], figures[1], "each tenant has its own figures");
    let errors = browser.console_errors().await.unwrap();
    assert!(errors.is_empty(), "{errors:?}");

    browser.click("details.right > summary").await.unwrap();
    browser.click("form[action='/logout'] button").await.unwrap();
    browser.wait_for_text("Sign in to Kyros", PATIENCE).await.unwrap();
    browser.switch_tab(&tabs[0].0).await.unwrap();
    browser.wait_for_text("You are signed out", PATIENCE).await.unwrap();
    browser.wait_for_js("!document.querySelector('iframe')", PATIENCE).await.unwrap();
    keep_screenshot(&browser, "ended").await;
    // The frame is gone from the screen; its page must not come back either, by its address or from the browser's memory.
    browser.goto(&format!("{}/", up.dashboard("clv", tabs[0].1))).await.unwrap();
    browser.wait_for_text("Sign in to Kyros", PATIENCE).await.unwrap();
    let left = browser.text().await.unwrap();
    assert!(!left.contains(figures[0].trim()), "the tenant's figures left the screen: {left}");
    browser.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deep_link_survives_login_and_people_without_tenants_are_told_whom_to_ask() {
    let Some(browser) = browser().await else { return };
    let up = up();
    browser.goto(&format!("{}/?until=2026-06-30", up.dashboard("clv", "initech"))).await.unwrap();
    browser.wait_for_text("Sign in to Kyros", PATIENCE).await.unwrap();
    browser.click("button[value=ivy]").await.unwrap();
    browser.wait_for_text("2026-06-30", PATIENCE).await.unwrap();
    assert_eq!(browser.url().await.unwrap(), format!("{}/?until=2026-06-30", up.dashboard("clv", "initech")));
    browser.goto(&format!("{}/t/initech/d/risk", up.portal())).await.unwrap();
    browser.enter_frame("iframe.frame").await.unwrap();
    browser.wait_for_text("Backtest", PATIENCE).await.unwrap();
    browser.leave_frames().await.unwrap();
    keep_screenshot(&browser, "risk").await;
    browser.clear_cookies().await.unwrap();
    browser.goto(&format!("{}/login", up.portal())).await.unwrap();
    browser.click("button[value=noa]").await.unwrap();
    browser.wait_for_text("No tenant yet", PATIENCE).await.unwrap();
    browser.close().await.unwrap();
}
