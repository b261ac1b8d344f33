//! The portal as a person meets it: where links lead, what each state says and offers, and what works without a script.

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    process::Command,
    time::Duration,
};

use kyros_tests::{
    Up,
    browser::{Browser, BrowserError},
};
use serde_json::json;

use crate::{
    browser::{browser, keep_screenshot},
    lifecycle::edit_manifest,
    up,
};

const PATIENCE: Duration = Duration::from_secs(20);

/// Signs in at the login page, wherever it leads.
pub(crate) async fn sign_in(browser: &Browser, up: &Up, sub: &str) {
    browser.goto(&format!("{}/login", up.portal())).await.unwrap();
    browser.click(&format!("button[value={sub}]")).await.unwrap();
    browser.wait_for_js("!location.pathname.startsWith('/login')", PATIENCE).await.unwrap();
}

async fn path(browser: &Browser, up: &Up) -> String {
    let url = browser.url().await.unwrap();
    url.strip_prefix(&up.portal()).unwrap_or(&url).to_owned()
}

/// Presses a key with its modifiers in the current frame, as the keyboard would.
async fn press(browser: &Browser, key: &str, ctrl: bool) -> Result<(), BrowserError> {
    let modifiers = if ctrl { 2 } else { 0 };
    for kind in ["keyDown", "keyUp"] {
        let event = json!({ "type": kind, "key": key, "modifiers": modifiers, "windowsVirtualKeyCode": code_of(key) });
        browser.cdp("Input.dispatchKeyEvent", event).await?;
    }
    Ok(())
}

fn code_of(key: &str) -> u32 {
    match key {
        "Enter" => 13,
        "Escape" => 27,
        "ArrowDown" => 40,
        _ => key.chars().next().map_or(0, |letter| u32::from(letter.to_ascii_uppercase())),
    }
}

/// Presses a key with `Ctrl` in the current frame, as a script of it would.
fn pressed(key: &str) -> String {
    format!("dispatchEvent(new KeyboardEvent('keydown', {{ key: '{key}', ctrlKey: true, cancelable: true }}))")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dashboards_own_address_survives_login_filters_reload_and_the_back_button() {
    let Some(browser) = browser().await else { return };
    let up = up();
    browser.goto(&format!("{}/t/acme/d/clv?until=2026-06-30", up.portal())).await.unwrap();
    browser.wait_for_text("You were opening clv in acme", PATIENCE).await.unwrap();
    browser.click("button[value=ana]").await.unwrap();
    browser.enter_frame("iframe.frame").await.unwrap();
    browser.wait_for_js("document.documentElement.dataset.live === 'open'", PATIENCE).await.unwrap();
    assert_eq!(browser.js("return location.search", vec![]).await.unwrap(), "?until=2026-06-30");

    // The dashboard goes elsewhere, as a filter of its own would: the portal's address follows.
    browser.js("history.pushState(null, '', '/?until=2026-05-31#revenue')", vec![]).await.unwrap();
    browser.leave_frames().await.unwrap();
    browser.wait_for_js("location.search === '?until=2026-05-31'", PATIENCE).await.unwrap();
    assert_eq!(path(&browser, &up).await, "/t/acme/d/clv?until=2026-05-31#revenue");
    browser.client().refresh().await.unwrap();
    browser.enter_frame("iframe.frame").await.unwrap();
    browser
        .wait_for_js("location.search === '?until=2026-05-31' && location.hash === '#revenue'", PATIENCE)
        .await
        .unwrap();
    browser.leave_frames().await.unwrap();

    // Another dashboard and back: one step, and the same view.
    browser.goto(&format!("{}/t/acme/d/risk", up.portal())).await.unwrap();
    browser.enter_frame("iframe.frame").await.unwrap();
    browser.wait_for_text("Risk Analysis", PATIENCE).await.unwrap();
    browser.leave_frames().await.unwrap();
    browser.client().back().await.unwrap();
    browser.wait_for_js("location.pathname === '/t/acme/d/clv'", PATIENCE).await.unwrap();
    browser.enter_frame("iframe.frame").await.unwrap();
    browser.wait_for_js("location.search === '?until=2026-05-31'", PATIENCE).await.unwrap();
    browser.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_palette_opens_from_the_portal_and_from_inside_a_dashboard() {
    let Some(browser) = browser().await else { return };
    let up = up();
    sign_in(&browser, &up, "ana").await;
    browser.goto(&format!("{}/t/acme", up.portal())).await.unwrap();
    browser.wait_for_text("Dashboards", PATIENCE).await.unwrap();
    press(&browser, "k", true).await.unwrap();
    browser.wait_for_js("document.querySelector('#palette').open", PATIENCE).await.unwrap();
    keep_screenshot(&browser, "palette").await;
    browser.fill("#palette input", "nothing has this name").await.unwrap();
    browser.wait_for_text("Nothing here has that name", PATIENCE).await.unwrap();
    browser.fill("#palette input", "glob").await.unwrap();
    press(&browser, "Enter", false).await.unwrap();
    browser.wait_for_js("location.pathname === '/t/globex'", PATIENCE).await.unwrap();

    browser.goto(&format!("{}/t/globex/d/clv", up.portal())).await.unwrap();
    browser.enter_frame("iframe.frame").await.unwrap();
    browser.wait_for_js("document.documentElement.dataset.live === 'open'", PATIENCE).await.unwrap();
    // Where the focus is inside a dashboard of another origin the portal hears no key: the dashboard passes it on.
    browser.js(&pressed("k"), vec![]).await.unwrap();
    browser.leave_frames().await.unwrap();
    browser.wait_for_js("document.querySelector('#palette').open", PATIENCE).await.unwrap();
    browser.fill("#palette input", "acme").await.unwrap();
    press(&browser, "ArrowDown", false).await.unwrap();
    press(&browser, "Enter", false).await.unwrap();
    browser.wait_for_js("location.pathname === '/t/acme'", PATIENCE).await.unwrap();
    browser.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_prints_the_dashboard_and_not_the_window_around_it() {
    let Some(browser) = browser().await else { return };
    let up = up();
    sign_in(&browser, &up, "ana").await;
    browser.goto(&format!("{}/t/globex/d/clv", up.portal())).await.unwrap();
    let count = "window.printed = 0; window.print = () => { window.printed += 1 }";
    browser.js(count, vec![]).await.unwrap();
    browser.enter_frame("iframe.frame").await.unwrap();
    browser.wait_for_js("document.documentElement.dataset.live === 'open'", PATIENCE).await.unwrap();
    browser.js(count, vec![]).await.unwrap();
    browser.js(&pressed("p"), vec![]).await.unwrap();
    browser.wait_for_js("window.printed === 1", PATIENCE).await.unwrap();
    browser.leave_frames().await.unwrap();
    browser.js(&pressed("p"), vec![]).await.unwrap();
    assert_eq!(browser.js("return window.printed", vec![]).await.unwrap(), 0);
    browser.enter_frame("iframe.frame").await.unwrap();
    browser.wait_for_js("window.printed === 2", PATIENCE).await.unwrap();
    browser.leave_frames().await.unwrap();

    browser.goto(&format!("{}/t/globex", up.portal())).await.unwrap();
    browser.js(count, vec![]).await.unwrap();
    browser.js("document.querySelector('[data-open=palette]').click()", vec![]).await.unwrap();
    browser.click("[data-action=print]").await.unwrap();
    browser.wait_for_js("window.printed === 1", PATIENCE).await.unwrap();
    browser.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_one_tenant_selects_none_and_who_has_several_finds_the_last_one_first() {
    let Some(browser) = browser().await else { return };
    let up = up();
    sign_in(&browser, &up, "bob").await;
    assert_eq!(path(&browser, &up).await, "/t/globex");
    browser.clear_cookies().await.unwrap();
    sign_in(&browser, &up, "aud").await;
    assert_eq!(path(&browser, &up).await, "/tenants");
    browser.goto(&format!("{}/t/initech/d/clv", up.portal())).await.unwrap();
    browser.goto(&format!("{}/tenants", up.portal())).await.unwrap();
    let first = browser.text_of(".list li:first-child").await.unwrap();
    assert!(first.contains("Initech Bank") && first.contains("Last used"), "{first}");
    browser.goto(&format!("{}/t/initech", up.portal())).await.unwrap();
    let first = browser.text_of("#cards li:first-child").await.unwrap();
    assert!(
        first.contains("Customer Lifetime Value") && first.contains("Recently used"),
        "risk stands first otherwise: {first}"
    );
    browser.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_whose_right_ends_is_covered_and_its_data_leaves_the_page() {
    let Some(browser) = browser().await else { return };
    let up = up();
    sign_in(&browser, &up, "ana").await;
    browser.goto(&format!("{}/t/acme/d/clv", up.portal())).await.unwrap();
    let view = browser.tab().await.unwrap();
    let gone = "!document.querySelector('iframe')";

    edit_manifest(&up, "tenants.yaml", "displayName: Acme Retail", "displayName: Acme Retail\n  suspended: true");
    browser.wait_for_js(&format!("document.querySelector('#suspended').open && {gone}"), PATIENCE).await.unwrap();
    browser.wait_for_text("Acme Retail is suspended", PATIENCE).await.unwrap();
    keep_screenshot(&browser, "suspended").await;
    browser.click("#suspended a").await.unwrap();
    browser.wait_for_text("Suspended: closed until further notice", PATIENCE).await.unwrap();
    keep_screenshot(&browser, "tenants-suspended").await;
    browser.goto(&format!("{}/t/acme/d/clv", up.portal())).await.unwrap();
    browser.wait_for_text("Acme Retail is suspended", PATIENCE).await.unwrap();

    browser.goto(&format!("{}/t/globex/d/clv", up.portal())).await.unwrap();
    edit_manifest(&up, "tenants.yaml", "  dashboards: [clv]", "  dashboards: []");
    browser.wait_for_js(&format!("document.querySelector('#not-granted').open && {gone}"), PATIENCE).await.unwrap();
    edit_manifest(&up, "tenants.yaml", "  dashboards: []", "  dashboards: [clv]");

    let address = format!("{}/t/globex/d/clv?until=2026-06-30", up.portal());
    while browser.goto(&address).await.is_ok() && !browser.text().await.unwrap().contains("Globex Subscriptions") {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let other = browser.new_tab().await.unwrap();
    browser.switch_tab(&other).await.unwrap();
    browser.goto(&format!("{}/t/globex", up.portal())).await.unwrap();
    browser.click("details.right > summary").await.unwrap();
    browser.click("form[action='/logout'] button").await.unwrap();
    browser.wait_for_text("Sign in to Kyros", PATIENCE).await.unwrap();
    browser.switch_tab(&view).await.unwrap();
    browser.wait_for_js(&format!("document.querySelector('#signed-out').open && {gone}"), PATIENCE).await.unwrap();
    keep_screenshot(&browser, "signed-out").await;
    browser.click("#signed-out a").await.unwrap();
    browser.wait_for_text("You were opening clv in globex", PATIENCE).await.unwrap();
    browser.click("button[value=ana]").await.unwrap();
    browser.wait_for_css("iframe.frame", PATIENCE).await.unwrap();
    assert_eq!(path(&browser, &up).await, "/t/globex/d/clv?until=2026-06-30");
    browser.close().await.unwrap();
}

/// Lets every session of the installation end so many seconds from now, as time would.
fn end_sessions_in(up: &Up, seconds: i64) {
    let script = "import sqlite3, sys, time\n\
                  with sqlite3.connect(sys.argv[1], timeout=10) as db:\n    \
                  db.execute('UPDATE sessions SET expires_at = ?', (int(time.time()) + int(sys.argv[2]),))";
    let status = Command::new("python3")
        .args(["-c", script])
        .arg(up.path("state/state.db"))
        .arg(seconds.to_string())
        .status()
        .unwrap();
    assert!(status.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_session_is_announced_before_it_comes_and_leads_back_to_the_view() {
    let Some(browser) = browser().await else { return };
    let up = up();
    sign_in(&browser, &up, "ivy").await;
    end_sessions_in(&up, 60);
    browser.goto(&format!("{}/t/initech/d/risk", up.portal())).await.unwrap();
    browser.wait_for_text("Your session ends in 0:", PATIENCE).await.unwrap();
    keep_screenshot(&browser, "session-ends").await;
    browser.click("#ending [data-close]").await.unwrap();
    end_sessions_in(&up, 2);
    browser.goto(&format!("{}/t/initech/d/risk", up.portal())).await.unwrap();
    browser.wait_for_js("document.querySelector('#expired').open", PATIENCE).await.unwrap();
    browser.wait_for_text("Your session has ended", PATIENCE).await.unwrap();
    keep_screenshot(&browser, "expired").await;
    browser.click("#expired a").await.unwrap();
    browser.wait_for_text("You were opening risk in initech", PATIENCE).await.unwrap();
    browser.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dashboard_that_is_not_up_says_so_and_appears_by_itself() {
    let Some(browser) = browser().await else { return };
    // Somebody else holds the port until the dashboard comes up.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let up = crate::up_with(|sources| {
        let dashboards = sources.join("manifests/dashboards.yaml");
        let more = format!(
            "---\napiVersion: kyros.dev/v1alpha1\nkind: Dashboard\nmetadata: {{name: late}}\nspec:\n  title: Late\n  \
             image: localhost/late:0.1.0\n  port: {port}\n  datasets: []\n"
        );
        std::fs::write(&dashboards, std::fs::read_to_string(&dashboards).unwrap() + &more).unwrap();
        let tenants = sources.join("manifests/tenants.yaml");
        let text = std::fs::read_to_string(&tenants).unwrap();
        std::fs::write(&tenants, text.replacen("dashboards: [clv, risk]", "dashboards: [clv, risk, late]", 1)).unwrap();
    });
    sign_in(&browser, &up, "ana").await;
    browser.goto(&format!("{}/t/acme/d/late", up.portal())).await.unwrap();
    browser.enter_frame("iframe.frame").await.unwrap();
    browser.wait_for_text("The dashboard is not up yet", PATIENCE).await.unwrap();
    browser.wait_for_text("Try again", PATIENCE).await.unwrap();
    browser.leave_frames().await.unwrap();
    keep_screenshot(&browser, "starting").await;

    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().take(20) {
            let Ok(mut stream) = stream else { return };
            let _ = stream.set_read_timeout(Some(Duration::from_secs(1)));
            let _ = stream.read(&mut [0; 4096]);
            let page = "<!doctype html><title>Late</title><p>Here at last";
            let head = format!("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\n", page.len());
            let _ = stream.write_all(format!("{head}Connection: close\r\n\r\n{page}").as_bytes());
        }
    });
    browser.enter_frame("iframe.frame").await.unwrap();
    browser.wait_for_text("Here at last", PATIENCE).await.unwrap();
    browser.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_but_the_palette_works_without_a_script() {
    let Some(browser) = browser().await else { return };
    let up = up();
    browser.cdp("Emulation.setScriptExecutionDisabled", json!({ "value": true })).await.unwrap();
    browser.goto(&format!("{}/t/acme/d/clv?until=2026-06-30", up.portal())).await.unwrap();
    browser.click("button[value=ana]").await.unwrap();
    browser.enter_frame("iframe.frame").await.unwrap();
    browser.wait_for_css("#tenant", PATIENCE).await.unwrap();
    assert_eq!(browser.text_of("#tenant").await.unwrap(), "acme");
    browser.leave_frames().await.unwrap();
    keep_screenshot(&browser, "without-script").await;
    let hidden = browser.wait_for_css("[data-open=palette]", PATIENCE).await.unwrap();
    assert!(!hidden.is_displayed().await.unwrap(), "what needs a script is not offered");

    // The switcher, the search and the theme.
    browser.click("details.menu:not(.right) > summary").await.unwrap();
    browser.click(".pop a[href='/t/globex']").await.unwrap();
    browser.fill("#q", "no such words").await.unwrap();
    browser.wait_for_css("#q", PATIENCE).await.unwrap().send_keys("\n").await.unwrap();
    browser.wait_for_css("#none:not([hidden])", PATIENCE).await.unwrap();
    browser.click("#none a").await.unwrap();
    browser.wait_for_css("#cards li", PATIENCE).await.unwrap();
    browser.click("details.right > summary").await.unwrap();
    browser.click("button[value=dark]").await.unwrap();
    browser.wait_for_css("button[value=dark][aria-pressed=true]", PATIENCE).await.unwrap();
    assert_eq!(path(&browser, &up).await, "/t/globex");
    browser.click("details.right > summary").await.unwrap();
    browser.click("form[action='/logout'] button").await.unwrap();
    browser.wait_for_css("button[value=ana]", PATIENCE).await.unwrap();
    browser.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_theme_is_kept_and_reaches_the_dashboard() {
    let Some(browser) = browser().await else { return };
    let up = up();
    sign_in(&browser, &up, "ivy").await;
    browser.goto(&format!("{}/t/initech/d/clv", up.portal())).await.unwrap();
    browser.click("details.right > summary").await.unwrap();
    browser.click("button[value=dark]").await.unwrap();
    let dark = "getComputedStyle(document.documentElement).colorScheme === 'dark'";
    browser.wait_for_js(dark, PATIENCE).await.unwrap();
    browser.enter_frame("iframe.frame").await.unwrap();
    browser.wait_for_js("document.documentElement.dataset.theme === 'dark'", PATIENCE).await.unwrap();
    browser.leave_frames().await.unwrap();
    browser.goto(&format!("{}/t/initech", up.portal())).await.unwrap();
    assert_eq!(browser.js(&format!("return {dark}"), vec![]).await.unwrap(), true, "from the first paint on");
    browser.close().await.unwrap();
}
