//! What every page must be, in light and dark, on a phone and on a desk: accessible, small, still, and from this machine alone.
//!
//! `KYROS_TEST_AXE` names axe-core's script (`tests/services/axe`). Pictures of every page are kept where
//! `KYROS_TEST_SCREENSHOTS` says.

use std::{fmt::Write as _, time::Duration};

use kyros_tests::{
    Up,
    browser::{Browser, ConsoleLine},
};
use serde_json::{Value, json};

use crate::{
    browser::{browser, keep_screenshot},
    portal::sign_in,
    up,
};

const PATIENCE: Duration = Duration::from_secs(20);
/// Width and height, in CSS pixels.
const SCREENS: [(&str, u32, u32); 2] = [("desk", 1280, 860), ("phone", 375, 812)];
const THEMES: [&str; 2] = ["light", "dark"];
/// WCAG 2.2 AA and what axe-core calls best practice.
const TAGS: [&str; 7] = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice", "EN-301-549"];
/// Most bytes of a portal page and of a dashboard's page with all that it loads, compressed.
const PORTAL_BYTES: u64 = 20_000;
const DASHBOARD_BYTES: u64 = 60_000;
/// Most that a page may shift while it loads (CLS).
const SHIFT: f64 = 0.02;

/// A page, and how it is brought into the state that is looked at.
struct Shown {
    name: &'static str,
    path: String,
    /// What shows that it is there.
    ready: &'static str,
    /// The link on it that leads to the page which is looked at; nothing where it is this one.
    follow: &'static str,
    /// JavaScript that brings it into its state.
    then: &'static str,
    most_bytes: u64,
}

fn portal_page(name: &'static str, path: &str, ready: &'static str, then: &'static str) -> Shown {
    Shown { name, path: path.to_owned(), ready, follow: "", then, most_bytes: PORTAL_BYTES }
}

/// Of somebody who is signed in as an auditor of all tenants.
fn pages(up: &Up) -> Vec<Shown> {
    let portal = up.portal();
    let at = |path: &str| format!("{portal}{path}");
    let dashboard = |name, slug: &str, path: &str, follow| Shown {
        name,
        path: format!("{}{path}", up.dashboard(slug, "initech")),
        ready: "h1",
        follow,
        then: "document.querySelectorAll('details').forEach(it => it.open = true)",
        most_bytes: DASHBOARD_BYTES,
    };
    vec![
        portal_page("login", &at("/login?return_to=/t/acme/d/clv"), "form", ""),
        portal_page("tenants", &at("/tenants"), ".list", ""),
        portal_page("gallery", &at("/t/acme"), "#cards", ""),
        portal_page("gallery-nothing", &at("/t/acme?q=zebra"), "#none", ""),
        portal_page("gallery-switcher", &at("/t/acme"), "#cards", "document.querySelector('details.menu').open = true"),
        portal_page("gallery-account", &at("/t/acme"), "#cards", "document.querySelector('details.right').open = true"),
        portal_page(
            "gallery-palette",
            &at("/t/acme"),
            "#cards",
            "document.querySelector('[data-open=palette]').click()",
        ),
        portal_page("view", &at("/t/initech/d/clv"), "iframe", ""),
        portal_page(
            "view-expired",
            &at("/t/initech/d/clv"),
            "iframe",
            "document.querySelector('#expired').showModal()",
        ),
        portal_page("view-ending", &at("/t/initech/d/clv"), "iframe", "document.querySelector('#ending').showModal()"),
        portal_page("nothing-here", &at("/t/nobody"), "h1", ""),
        dashboard("clv", "clv", "/", ""),
        dashboard("clv-held-back", "clv", "/?until=2026-06-30", ""),
        dashboard("clv-filtered", "clv", "/", "a[data-filter][href*='segment=']"),
        dashboard("clv-customer", "clv", "/", "a[href^='/customer']"),
        dashboard("clv-empty", "clv", "/?from=2001-01-01&to=2001-01-02", ""),
        dashboard("clv-refused", "clv", "/?segment=nonsense", ""),
        dashboard("risk", "risk", "/", ""),
        dashboard("risk-filtered", "risk", "/", "a[data-filter][href*='rating=']"),
        dashboard("risk-obligor", "risk", "/", "a[href^='/obligor']"),
        dashboard("risk-refused", "risk", "/?rating=nonsense", ""),
    ]
}

async fn screen(browser: &Browser, width: u32, height: u32, theme: &str) {
    let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
    browser.cdp("Emulation.setDeviceMetricsOverride", metrics).await.unwrap();
    let media = json!({ "features": [{ "name": "prefers-color-scheme", "value": theme }] });
    browser.cdp("Emulation.setEmulatedMedia", media).await.unwrap();
}

/// axe-core's findings on the current page, a line each. A frame of another origin is looked at by itself.
async fn violations(browser: &Browser, axe: &str) -> Vec<String> {
    browser.js(axe, vec![]).await.unwrap();
    let script = "const found = await axe.run(document, { runOnly: arguments[0], iframes: false, resultTypes: ['violations'] });
        return found.violations.map(rule => rule.id + ': ' + rule.nodes.map(node =>
            node.target.join(' ') + ' ' + node.any.concat(node.all, node.none).map(check => check.message).join(', ')).join(' | '));";
    let found = browser.js_async(script, vec![json!(TAGS)]).await.unwrap();
    found.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Bytes over the wire, hosts asked, what shifted, and whether the page is wider than the screen.
const MEASURE: &str = "
    const entries = [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]
        .filter(entry => entry.initiatorType !== 'iframe');
    const shift = await new Promise(resolve => {
        let sum = 0;
        new PerformanceObserver(list => { for (const entry of list.getEntries()) if (!entry.hadRecentInput) sum += entry.value })
            .observe({ type: 'layout-shift', buffered: true });
        setTimeout(() => resolve(sum), 100);
    });
    return {
        bytes: entries.reduce((sum, entry) => sum + entry.encodedBodySize, 0),
        hosts: [...new Set(entries.map(entry => new URL(entry.name).host))],
        shift,
        overflow: document.scrollingElement.scrollWidth - innerWidth,
        scrollers: [...document.querySelectorAll('iframe')].length && document.scrollingElement.scrollHeight > innerHeight,
    };";

#[tokio::test(flavor = "multi_thread")]
async fn every_page_is_accessible_small_still_and_asks_nobody_else() {
    let Some(axe) = std::env::var_os("KYROS_TEST_AXE") else {
        assert!(
            std::env::var_os("KYROS_TEST_REQUIRE_BROWSER").is_none(),
            "KYROS_TEST_AXE: export $(tests/services/axe)"
        );
        eprintln!("skipped: KYROS_TEST_AXE is not set (export $(tests/services/axe))");
        return;
    };
    let axe = std::fs::read_to_string(axe).unwrap();
    let Some(browser) = browser().await else { return };
    let up = up();
    sign_in(&browser, &up, "aud").await;
    let mut wrong = String::new();
    let mut table = String::from("page                 bytes  shift\n");
    for page in pages(&up) {
        for (screen_name, width, height) in SCREENS {
            for theme in THEMES {
                screen(&browser, width, height, theme).await;
                browser.goto(&page.path).await.unwrap();
                browser.wait_for_css(page.ready, PATIENCE).await.unwrap();
                if !page.follow.is_empty() {
                    let link =
                        format!("new URL(document.querySelector(\"{}\").getAttribute('href'), location)", page.follow);
                    let there = browser.wait_for_js(&format!("{link}.href"), PATIENCE).await.unwrap();
                    browser.goto(there.as_str().unwrap()).await.unwrap();
                    browser.wait_for_css(page.ready, PATIENCE).await.unwrap();
                }
                let measured = browser.js_async(MEASURE, vec![]).await.unwrap();
                browser.js(page.then, vec![]).await.unwrap();
                let name = format!("{}-{screen_name}-{theme}", page.name);
                keep_screenshot(&browser, &name).await;
                let mut complain = |what: String| writeln!(wrong, "{name}: {what}").unwrap();
                for violation in violations(&browser, &axe).await {
                    complain(violation);
                }
                let bytes = measured["bytes"].as_u64().unwrap();
                if bytes > page.most_bytes || bytes == 0 {
                    complain(format!("{bytes} bytes"));
                }
                let own = page.path.split('/').nth(2).unwrap();
                if measured["hosts"] != json!([own]) {
                    complain(format!("asked {}", measured["hosts"]));
                }
                let shift = measured["shift"].as_f64().unwrap();
                if shift > SHIFT {
                    complain(format!("shifts by {shift:.3}"));
                }
                if measured["overflow"].as_i64().unwrap() > 0 || measured["scrollers"] == true {
                    complain(format!("scrolls: {measured}"));
                }
                if (screen_name, theme) == ("desk", "light") {
                    writeln!(table, "{:18} {bytes:7}  {shift:.3}", page.name).unwrap();
                }
            }
        }
    }
    println!("{table}");
    let errors = browser.console_errors().await.unwrap();
    // Browsers note every answer that is an error, also where that is what is looked at.
    let wanted = |line: &ConsoleLine| line.message.contains("/t/nobody") || line.message.contains("=nonsense");
    let unexpected: Vec<_> = errors.iter().filter(|line| !wanted(line)).collect();
    browser.close().await.unwrap();
    assert!(wrong.is_empty(), "\n{wrong}");
    assert!(unexpected.is_empty(), "{unexpected:?}");
}
