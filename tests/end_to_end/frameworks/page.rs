//! What the tests ask of a page and do to it, also behind shadow roots, where Bokeh and marimo put everything.

use std::time::Duration;

use kyros_tests::browser::{Browser, BrowserError};
use serde_json::{Value, json};

/// The functions that are asked for below.
const FUNCTIONS: &str = include_str!("page.js");
/// Runs in every new document before its own scripts: writes down how the page's sockets are closed.
const WATCH_SOCKETS: &str = "(() => {
    const Native = WebSocket, closed = [];
    Object.defineProperty(window, '__closed', { value: closed });
    window.WebSocket = class WebSocket extends Native {
        constructor(...parts) {
            super(...parts);
            this.addEventListener('close', event => closed.push(event.code));
        }
    };
})()";

/// The current frame of the current tab.
pub(super) struct Page<'a> {
    browser: &'a Browser,
}

impl<'a> Page<'a> {
    pub(super) fn new(browser: &'a Browser) -> Self {
        Self { browser }
    }

    /// From now on the documents of this tab tell how their sockets are closed.
    pub(super) async fn watch_sockets(&self) {
        let script = json!({ "source": WATCH_SOCKETS });
        self.browser.cdp("Page.addScriptToEvaluateOnNewDocument", script).await.unwrap();
    }

    /// Waits until one of the page's sockets was closed with this code.
    pub(super) async fn wait_for_close(&self, code: u16, deadline: Duration) {
        self.wait_for(&format!("window.__closed.includes({code})"), deadline).await;
    }

    pub(super) async fn wait_for_text(&self, wanted: &str, deadline: Duration) {
        self.wait_for(&format!("text().includes({})", json!(wanted)), deadline).await;
    }

    /// Waits for text by a regular expression, and gives it.
    pub(super) async fn wait_for_match(&self, pattern: &str, deadline: Duration) -> String {
        let found = format!("(text().match(new RegExp({})) || [])[0]", json!(pattern));
        self.wait_for(&found, deadline).await.as_str().unwrap().to_owned()
    }

    /// Waits for an element that is drawn.
    pub(super) async fn wait_for_element(&self, css: &str, deadline: Duration) {
        let drawn = "(element => element.getBoundingClientRect().width > 0)";
        self.wait_for(&format!("all({}).some{drawn}", json!(css)), deadline).await;
    }

    /// Waits until an expression is truthy, and gives its value.
    pub(super) async fn wait_for(&self, expression: &str, deadline: Duration) -> Value {
        let function = format!("(() => {{ {FUNCTIONS}\nreturn {expression} }})()");
        match self.browser.wait_for_js(&function, deadline).await {
            Ok(value) => value,
            // Not with the functions themselves, which are of no interest here.
            Err(BrowserError::Timeout { after, url, .. }) => {
                panic!("no {expression} within {after:?} at {url}, which shows:\n{}", self.text().await)
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// Clicks the element that says exactly this.
    pub(super) async fn click(&self, label: &str) {
        let script = format!("{FUNCTIONS}\nreturn labelled({})", json!(label));
        self.browser.click_found(&script).await.unwrap_or_else(|error| panic!("{label}: {error}"));
    }

    pub(super) async fn text(&self) -> String {
        self.ask("text()").await.as_str().unwrap_or_default().to_owned()
    }

    pub(super) async fn live_line(&self) -> String {
        self.ask("liveLine()").await.as_str().unwrap_or_default().to_owned()
    }

    /// Addresses outside of the page's own host that it asked for anything.
    pub(super) async fn loads_from_elsewhere(&self) -> Vec<Value> {
        self.ask("fromElsewhere()").await.as_array().cloned().unwrap_or_default()
    }

    /// The page's HTML as the server sends it, and the status.
    pub(super) async fn fetched(&self) -> (u64, String) {
        let script = "const answer = await fetch(location.href); return [answer.status, await answer.text()]";
        let answer = self.browser.js_async(script, vec![]).await.unwrap();
        (answer[0].as_u64().unwrap_or_default(), answer[1].as_str().unwrap_or_default().to_owned())
    }

    async fn ask(&self, expression: &str) -> Value {
        self.browser.js(&format!("{FUNCTIONS}\nreturn {expression}"), vec![]).await.unwrap()
    }
}
