//! A Kyros, a framework's server behind it and a browser in front, and what people do there.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use kyros_tests::{
    Up, UpOptions,
    browser::{Browser, BrowserError, ConsoleLine, Tab},
};
use tempfile::TempDir;

use super::{
    page::Page,
    server::{self, Server},
    table::{Framework, Live},
    tenants::{self, ACME, GLOBEX, NEW_ROW, Tenant, publish},
};

/// For a page of a framework: some load a hundred files, on a machine that compiles something else.
pub(super) const PATIENCE: Duration = Duration::from_mins(1);
/// From logout to the last socket closed; the promise is one second, the rest is for a busy machine.
const LOGOUT: Duration = Duration::from_secs(3);
/// The apps send something new every second.
const LIVE_EVERY: Duration = Duration::from_secs(1);
/// Longer than a pool of HTTP connections keeps one that nobody uses: what is left then is a socket.
const POOLS_EMPTY: Duration = Duration::from_secs(20);
/// The sidecar's word for "stay away".
const STAY_AWAY: u16 = 4001;
const UNAUTHORIZED: u64 = 401;
const PERSON: &str = "ana@acme.example";

/// A tab with one tenant's dashboard.
pub(super) struct Opened {
    tab: Tab,
    tenant: &'static Tenant,
    rows: usize,
}

pub(super) struct Stage {
    framework: &'static Framework,
    browser: Browser,
    server: Server,
    up: Up,
    /// The manifests and people that Kyros was started with.
    _sources: TempDir,
}

impl Stage {
    /// Everything, or `None` where something is missing and the environment does not insist on it.
    pub(super) async fn start(framework: &'static Framework) -> Option<Self> {
        let environment = server::environment(framework)?;
        let browser = browser().await?;
        let sources = tenants::sources(framework, server::free_port());
        let options = UpOptions { program: env!("CARGO_BIN_EXE_kyros").into(), sources: sources.path().to_owned() };
        let up = Up::start(&options).expect("kyros up starts");
        for tenant in [&ACME, &GLOBEX] {
            publish(&up, framework, tenant, tenant.rows);
        }
        let server = Server::start(framework, &environment, &up);
        Some(Self { framework, browser, server, up, _sources: sources })
    }

    pub(super) fn page(&self) -> Page<'_> {
        Page::new(&self.browser)
    }

    /// Signs in, opens the dashboard for each tenant in a tab of its own as people do, in the portal's frame, and tries
    /// all of it there.
    pub(super) async fn two_tenants_in_two_tabs(&self) -> Vec<Opened> {
        let browser = &self.browser;
        browser.goto(&format!("{}/login", self.up.portal())).await.unwrap();
        browser.click("button[value=ana]").await.unwrap();
        browser.wait_for_text("Choose a tenant", PATIENCE).await.unwrap();
        let mut tabs = Vec::new();
        for tenant in [&ACME, &GLOBEX] {
            tabs.push(self.open(tenant, tabs.is_empty()).await);
        }
        // A row arrives for one tenant: its open page says so by itself, and the other's does not.
        publish(&self.up, self.framework, &ACME, &[ACME.rows, &[NEW_ROW]].concat());
        tabs[0].rows += 1;
        for opened in &tabs {
            self.show(opened).await;
            let before = self.live(opened).await;
            self.wait_for_other_than(&before).await;
            self.live(opened).await;
            self.screenshot(opened.tenant.name).await;
        }
        for opened in &tabs {
            self.show(opened).await;
            self.browser.client().refresh().await.unwrap();
            self.show(opened).await;
            self.is_whole(opened).await;
        }
        assert!(self.server.connections() >= 2, "every page has a connection to the server");
        tabs
    }

    /// One tenant's dashboard in a new tab, which carries no token, and the answer of its control.
    async fn open(&self, tenant: &'static Tenant, is_first: bool) -> Opened {
        if !is_first {
            self.browser.new_tab().await.unwrap();
        }
        self.page().watch_sockets().await;
        let address = format!("{}/t/{}/d/{}", self.up.portal(), tenant.name, self.framework.name);
        self.browser.goto(&address).await.unwrap();
        let opened = Opened { tab: self.browser.tab().await.unwrap(), tenant, rows: tenant.rows.len() };
        self.show(&opened).await;
        self.is_whole(&opened).await;
        let (status, html) = self.page().fetched().await;
        assert_eq!(status, 200);
        assert!(!has_token(&html), "the page carries a token: {html}");
        self.page().click("country").await;
        self.page().wait_for_text(&format!("{} is the largest country", tenant.country), PATIENCE).await;
        opened
    }

    /// The page shows the tenant's own, its chart, and a figure that changes; nothing of the other tenant, and nothing
    /// from another host.
    async fn is_whole(&self, opened: &Opened) {
        let (page, tenant) = (self.page(), opened.tenant);
        page.wait_for_text(&format!("{} for {PERSON}", tenant.name), PATIENCE).await;
        page.wait_for_text(&format!("{} is the largest channel", tenant.channel), PATIENCE).await;
        page.wait_for_element(self.framework.chart, PATIENCE).await;
        let before = self.live(opened).await;
        self.wait_for_other_than(&before).await;
        let text = page.text().await;
        let other = if tenant.name == ACME.name { &GLOBEX } else { &ACME };
        for word in [other.name, other.channel, other.country] {
            assert!(!text.replace(PERSON, "").contains(word), "{word} is {}'s: {text}", other.name);
        }
        assert!(page.loads_from_elsewhere().await.is_empty(), "{:?}", page.loads_from_elsewhere().await);
    }

    /// The live line, once it is that of this tenant and of so many rows.
    async fn live(&self, opened: &Opened) -> String {
        let wanted = format!(r"\b{} orders at [0-9:]{{8}} for {}\b", opened.rows, opened.tenant.name);
        self.page().wait_for_match(&wanted, PATIENCE).await
    }

    /// Waits until a live line has been replaced.
    async fn wait_for_other_than(&self, line: &str) {
        let gone = format!("!text().includes('{line}') && liveLine()");
        self.page().wait_for(&gone, PATIENCE).await;
    }

    /// Opens both dashboards by themselves, signs out in a third tab, and sees that all of it ends: sockets are closed with
    /// 4001, nothing live reaches either page any more, requests are refused, and the server has nobody to send to.
    pub(super) async fn logout_ends(&self, tabs: &[Opened]) {
        let browser = &self.browser;
        for opened in tabs {
            browser.switch_tab(&opened.tab).await.unwrap();
            browser.goto(&self.up.dashboard(self.framework.name, opened.tenant.name)).await.unwrap();
            self.live(opened).await;
        }
        browser.new_tab().await.unwrap();
        browser.goto(&format!("{}/tenants", self.up.portal())).await.unwrap();
        browser.click("form[action='/logout'] button").await.unwrap();
        let signed_out = Instant::now();
        browser.wait_for_text("Sign in to Kyros", PATIENCE).await.unwrap();
        for opened in tabs {
            browser.switch_tab(&opened.tab).await.unwrap();
            if self.framework.live == Live::Socket {
                self.page().wait_for_close(STAY_AWAY, LOGOUT).await;
            }
        }
        tokio::time::sleep(LOGOUT.saturating_sub(signed_out.elapsed())).await;
        self.nothing_is_live(tabs).await;
        self.screenshot("ended").await;
        while self.server.connections() > 0 && !self.framework.keeps_connections {
            let open = self.server.connections();
            assert!(signed_out.elapsed() < POOLS_EMPTY, "{open} sockets outlive logout");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let errors = browser.console_errors().await.unwrap();
        let unexpected: Vec<_> = errors.iter().filter(|line| !is_of_an_ended_session(line)).collect();
        assert!(unexpected.is_empty(), "{unexpected:?}");
    }

    async fn nothing_is_live(&self, tabs: &[Opened]) {
        let mut last = Vec::new();
        for opened in tabs {
            self.browser.switch_tab(&opened.tab).await.unwrap();
            assert_eq!(self.page().fetched().await.0, UNAUTHORIZED, "requests of {} are refused", opened.tenant.name);
            last.push(self.page().live_line().await);
        }
        tokio::time::sleep(3 * LIVE_EVERY).await;
        for (opened, last) in tabs.iter().zip(last) {
            self.browser.switch_tab(&opened.tab).await.unwrap();
            let now = self.page().live_line().await;
            assert_eq!(now, last, "no live data of {} after logout", opened.tenant.name);
        }
    }

    /// Goes to a tab, and in it to the dashboard: in the portal's frame, where it is in one.
    pub(super) async fn show(&self, opened: &Opened) {
        self.browser.switch_tab(&opened.tab).await.unwrap();
        if self.browser.url().await.unwrap().starts_with(&self.up.portal()) {
            self.browser.enter_frame("iframe.frame").await.unwrap();
        }
    }

    pub(super) async fn no_errors(&self) {
        let errors = self.browser.console_errors().await.unwrap();
        assert!(errors.is_empty(), "{errors:?}\n{}", self.server.log());
    }

    async fn screenshot(&self, name: &str) {
        if let Some(folder) = std::env::var_os("KYROS_TEST_SCREENSHOTS") {
            let folder = PathBuf::from(folder);
            std::fs::create_dir_all(&folder).unwrap();
            let file = folder.join(format!("{}-{name}.png", self.framework.name));
            self.browser.screenshot(&file).await.unwrap();
        }
    }

    pub(super) async fn close(self) {
        self.browser.close().await.unwrap();
    }
}

async fn browser() -> Option<Browser> {
    match Browser::start().await {
        Ok(browser) => Some(browser),
        Err(BrowserError::NotInstalled) if !server::insists() => {
            eprintln!("skipped: no chromedriver in PATH (Debian: apt-get install chromium chromium-driver)");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// Whether something in a text is a signed token: three parts, of which two are JSON in base64url.
fn has_token(text: &str) -> bool {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')))
        .any(|word| word.split('.').filter(|part| part.starts_with("eyJ")).count() >= 2)
}

/// What a page that lost its session says: that it was refused, and that in its framework's own words. A site has no icon of its
/// own, and the portal's page was on its way in when the test went to another tab.
fn is_of_an_ended_session(line: &ConsoleLine) -> bool {
    let expected = ["401", "HTTP Authentication failed", "/favicon.ico", "Transition was aborted"];
    line.source == "console-api" || expected.iter().any(|words| line.message.contains(words))
}
