//! What a person's system asks for: paper, colours of its own, no motion.

use std::time::Duration;

use kyros_tests::{Up, browser::Browser};
use serde_json::{Value, json};

use crate::{
    browser::{browser, keep_screenshot},
    portal::sign_in,
    up,
};

const PATIENCE: Duration = Duration::from_secs(20);
/// A4 in CSS pixels.
const PAPER: (u32, u32) = (794, 1123);
const SCREEN: (u32, u32) = (1280, 860);

fn pages(up: &Up) -> [(&'static str, String); 5] {
    [
        ("login", format!("{}/login", up.portal())),
        ("gallery", format!("{}/t/initech", up.portal())),
        ("view", format!("{}/t/initech/d/clv", up.portal())),
        ("clv", format!("{}/", up.dashboard("clv", "initech"))),
        ("risk", format!("{}/", up.dashboard("risk", "initech"))),
    ]
}

/// Shows a page in a medium, with what the system prefers.
async fn show(browser: &Browser, url: &str, (width, height): (u32, u32), media: Value) {
    let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
    browser.cdp("Emulation.setDeviceMetricsOverride", metrics).await.unwrap();
    browser.cdp("Emulation.setEmulatedMedia", media).await.unwrap();
    browser.goto(url).await.unwrap();
    browser.wait_for_css("main", PATIENCE).await.unwrap();
}

async fn list(browser: &Browser, script: &str) -> Vec<String> {
    let found = browser.js(script, vec![]).await.unwrap();
    found.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// What is drawn of a list of selectors.
const DRAWN: &str = "
    return arguments[0].filter(css => [...document.querySelectorAll(css)].some(it => it.getClientRects().length))";

#[tokio::test(flavor = "multi_thread")]
async fn a_printed_page_is_whole_light_and_without_what_only_a_screen_can_use() {
    let Some(browser) = browser().await else { return };
    let up = up();
    sign_in(&browser, &up, "aud").await;
    let print = json!({ "media": "print", "features": [{ "name": "prefers-color-scheme", "value": "dark" }] });
    for (name, url) in pages(&up) {
        show(&browser, &url, PAPER, print.clone()).await;
        keep_screenshot(&browser, &format!("{name}-print")).await;
        let only_screen =
            json!([".bar .tools", ".skip", "dialog", ".filters", ".presets", ".csv", ".about", ".chart details"]);
        let drawn = browser.js(DRAWN, vec![only_screen]).await.unwrap();
        assert_eq!(drawn, json!([]), "{name}");
        let wide = list(
            &browser,
            "return [...document.querySelectorAll('body *')].filter(it => it.getBoundingClientRect().right > innerWidth + 1)
                .map(it => `${it.localName}.${it.className} ${it.textContent.trim().slice(0, 40)}`)",
        );
        let wide = wide.await;
        assert!(wide.is_empty(), "{name} is wider than the paper: {:#?}", &wide[..wide.len().min(8)]);
        // A list that scrolls on a screen would be cut off.
        let cut = list(
            &browser,
            "return [...document.querySelectorAll('main *')].filter(it => it.scrollHeight > it.clientHeight + 1 && it.clientHeight
                && ['auto', 'scroll'].includes(getComputedStyle(it).overflowY)).map(it => it.className)",
        );
        assert!(cut.await.is_empty(), "{name}");
    }
    for (name, url) in pages(&up).into_iter().filter(|(name, _)| ["clv", "risk"].contains(name)) {
        show(&browser, &url, PAPER, print.clone()).await;
        let drawn = browser.js(DRAWN, vec![json!([".kpis", ".chart svg", "table"])]).await.unwrap();
        assert_eq!(drawn, json!([".kpis", ".chart svg", "table"]), "{name}");
        let scheme = browser.js("return getComputedStyle(document.documentElement).colorScheme", vec![]).await.unwrap();
        assert_eq!(scheme, "light", "{name}: dark ink on white paper");
    }
    browser.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn colours_of_the_systems_own_leave_every_control_an_edge_and_every_text_its_colour() {
    let Some(browser) = browser().await else { return };
    let up = up();
    sign_in(&browser, &up, "aud").await;
    let forced = json!({ "features": [{ "name": "forced-colors", "value": "active" }] });
    for (name, url) in pages(&up) {
        show(&browser, &url, SCREEN, forced.clone()).await;
        keep_screenshot(&browser, &format!("{name}-forced-colours")).await;
        assert_eq!(browser.js("return matchMedia('(forced-colors: active)').matches", vec![]).await.unwrap(), true);
        let bare = list(
            &browser,
            "return [...document.querySelectorAll('button, .btn, .button, .card, input, select')]
                .filter(it => it.getClientRects().length && !it.closest('.row, .tools, .bar, details > summary'))
                .filter(it => { const css = getComputedStyle(it); return css.borderTopStyle === 'none' && css.outlineStyle === 'none' })
                .map(it => it.outerHTML.slice(0, 80))",
        );
        let bare = bare.await;
        assert!(bare.is_empty(), "{name}: nothing shows where these are: {bare:?}");
        // The system's colours have contrast by themselves; only what opts out can lose it.
        let own = list(
            &browser,
            "return [...new Set([...document.querySelectorAll('body *')]
                .filter(it => getComputedStyle(it).forcedColorAdjust === 'none' && !it.closest('svg, .chart-key'))
                .map(it => it.outerHTML.slice(0, 80)))]",
        );
        let own = own.await;
        assert!(own.is_empty(), "{name}: {own:?}");
    }
    browser.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_moves_for_who_asked_that_nothing_moves() {
    let Some(browser) = browser().await else { return };
    let up = up();
    sign_in(&browser, &up, "aud").await;
    let still = json!({ "features": [{ "name": "prefers-reduced-motion", "value": "reduce" }] });
    for (name, url) in pages(&up) {
        show(&browser, &url, SCREEN, still.clone()).await;
        let moving = list(
            &browser,
            "return [...document.querySelectorAll('*')].filter(it => { const css = getComputedStyle(it);
                return parseFloat(css.animationDuration) > 0 || css.scrollBehavior === 'smooth'
                    || css.transitionDuration.split(', ').some(time => parseFloat(time) > 0) }).map(it => it.outerHTML.slice(0, 80))",
        );
        let moving = moving.await;
        assert!(moving.is_empty(), "{name}: {moving:?}");
        let rules = list(
            &browser,
            "const out = []; const walk = rules => { for (const rule of rules) {
                if (rule instanceof CSSMediaRule && !matchMedia(rule.conditionText).matches) continue;
                if (rule.constructor.name === 'CSSViewTransitionRule') out.push(rule.cssText);
                if (rule.cssRules) walk(rule.cssRules) } };
             for (const sheet of document.styleSheets) walk(sheet.cssRules);
             return out",
        );
        assert!(rules.await.is_empty(), "{name}: pages still fade into each other");
    }
    browser.close().await.unwrap();
}
