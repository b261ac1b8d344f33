//! Dash 4 and Streamlit as they come, behind the sidecar, in a real browser: callbacks, sockets, two tenants, logout.
//!
//! `KYROS_TEST_PYTHON_DASH` and `KYROS_TEST_PYTHON_STREAMLIT` name the environments that `dashboards/python/environment`
//! made; what is served are the examples in `dashboards/python/examples`, started as a developer would: Dash on a Unix
//! socket, Streamlit on a port, which is all that `streamlit run` has.

use std::{
    fs::File,
    io::Write as _,
    net::{Ipv4Addr, TcpListener, TcpStream},
    os::unix::{net::UnixStream, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use kyros_tests::{
    Up, UpOptions,
    browser::{Browser, BrowserError, ConsoleLine, Tab},
};
use tempfile::TempDir;

use crate::import;

/// For a page of a framework: some load a hundred files, on a machine that compiles something else.
const PATIENCE: Duration = Duration::from_mins(1);
/// From logout to the last socket closed; the promise is one second, the rest is for a busy machine.
const LOGOUT: Duration = Duration::from_secs(3);
/// The examples send something new every second.
const LIVE_EVERY: Duration = Duration::from_secs(1);
/// Longer than a pool of HTTP connections keeps one that nobody uses: what is left then is a socket.
const POOLS_EMPTY: Duration = Duration::from_secs(20);
/// The live line that a page shows, whatever it says.
const LIVE_LINE: &str = "return (document.body.innerText.match(/.*orders at.*/) || [''])[0]";
const COLUMNS: &str = "customer_id,order_date,channel,country,revenue\n";

/// A framework, its example, and what to look for on its page.
struct Framework {
    /// The example's folder and the dashboard's name.
    name: &'static str,
    /// Names its environment.
    variable: &'static str,
    /// How its resource says that it is reached.
    transport: &'static str,
    /// The choice of a country instead of a channel.
    country: &'static str,
    /// What shows that a chart was drawn.
    chart: &'static str,
}

const DASH: Framework = Framework {
    name: "dash",
    variable: "KYROS_TEST_PYTHON_DASH",
    transport: "Unix",
    country: "#by label:nth-of-type(2)",
    chart: "#chart .bars path",
};

const STREAMLIT: Framework = Framework {
    name: "streamlit",
    variable: "KYROS_TEST_PYTHON_STREAMLIT",
    transport: "TCP",
    country: "[role=radiogroup] > :nth-child(2) label",
    chart: "[data-testid=stVegaLiteChart] canvas, [data-testid=stVegaLiteChart] svg",
};

/// What the tests know of a tenant's rows.
struct Tenant {
    name: &'static str,
    channel: &'static str,
    country: &'static str,
    rows: &'static [&'static str],
}

const ACME: Tenant = Tenant {
    name: "acme",
    channel: "Shop",
    country: "Norway",
    rows: &["A1,2026-01-05,Shop,Norway,70", "A2,2026-01-06,Shop,Norway,50", "A2,2026-01-07,Phone,Chile,20"],
};

const GLOBEX: Tenant = Tenant {
    name: "globex",
    channel: "Partner",
    country: "Japan",
    rows: &["G1,2026-01-05,Partner,Japan,900", "G2,2026-01-06,Direct,Kenya,100"],
};

#[tokio::test(flavor = "multi_thread")]
async fn dash_works_unmodified_over_http_and_over_its_socket() {
    let Some(stage) = Stage::start(&DASH).await else { return };
    let tabs = stage.two_tenants_in_two_tabs().await;
    // Beside the live figure, which a running callback sends by itself: a question over the socket, and its answer.
    for ((tab, _), customers) in tabs.iter().zip(["3 customers", "2 customers"]) {
        stage.show(tab).await;
        stage.browser.wait_for_text("(asked over HTTP)", PATIENCE).await.unwrap();
        stage.browser.click("#count").await.unwrap();
        stage.browser.wait_for_text(&format!("{customers} (asked over WebSocket)"), PATIENCE).await.unwrap();
    }
    stage.no_errors().await;
    stage.logout_ends(&tabs).await;
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streamlit_works_unmodified_over_its_socket() {
    let Some(stage) = Stage::start(&STREAMLIT).await else { return };
    let tabs = stage.two_tenants_in_two_tabs().await;
    stage.no_errors().await;
    stage.logout_ends(&tabs).await;
    // Streamlit asks its server whether it is there still; the sidecar answers, and the page says that it is cut off.
    stage.show(&tabs[0].0).await;
    stage.browser.wait_for_text("Connection failed with status 401", PATIENCE).await.unwrap();
    stage.close().await;
}

/// A Kyros, a framework's server behind it, and a browser in front.
struct Stage {
    framework: &'static Framework,
    browser: Browser,
    server: Server,
    up: Up,
    /// The manifests and people that Kyros was started with.
    _sources: TempDir,
}

impl Stage {
    /// Everything, or `None` where something is missing and the environment does not insist on it.
    async fn start(framework: &'static Framework) -> Option<Self> {
        let environment = environment(framework)?;
        let browser = browser().await?;
        let sources = sources(framework);
        let options = UpOptions { program: env!("CARGO_BIN_EXE_kyros").into(), sources: sources.path().to_owned() };
        let up = Up::start(&options).expect("kyros up starts");
        for tenant in [&ACME, &GLOBEX] {
            publish(&up, framework, tenant, tenant.rows);
        }
        let server = Server::start(framework, &environment, &up);
        Some(Self { framework, browser, server, up, _sources: sources })
    }

    /// Signs in, opens the dashboard for each tenant in a tab of its own as people do, in the portal's frame, and tries
    /// all of it there.
    async fn two_tenants_in_two_tabs(&self) -> Vec<(Tab, &'static Tenant)> {
        let browser = &self.browser;
        browser.goto(&format!("{}/login", self.up.portal())).await.unwrap();
        browser.click("button[value=ana]").await.unwrap();
        browser.wait_for_text("Choose a tenant", PATIENCE).await.unwrap();
        let mut tabs = Vec::new();
        for tenant in [&ACME, &GLOBEX] {
            if !tabs.is_empty() {
                browser.new_tab().await.unwrap();
            }
            browser.goto(&format!("{}/t/{}/d/{}", self.up.portal(), tenant.name, self.framework.name)).await.unwrap();
            let tab = browser.tab().await.unwrap();
            self.show(&tab).await;
            self.is_whole(tenant, tenant.rows.len()).await;
            // The control's answer.
            browser.click(self.framework.country).await.unwrap();
            browser.wait_for_text(&format!("{} is the largest country", tenant.country), PATIENCE).await.unwrap();
            tabs.push((tab, tenant));
        }
        // A row arrives for one tenant: its open page says so by itself, and the other's does not.
        let rows = [ACME.rows, &["A3,2026-01-08,Shop,Norway,10"]].concat();
        publish(&self.up, self.framework, &ACME, &rows);
        self.show(&tabs[0].0).await;
        self.live(&ACME, rows.len()).await;
        self.screenshot("acme").await;
        self.show(&tabs[1].0).await;
        let before = self.live(&GLOBEX, GLOBEX.rows.len()).await;
        self.wait_for_other_than(&before).await;
        self.live(&GLOBEX, GLOBEX.rows.len()).await;
        self.screenshot("globex").await;
        for ((tab, tenant), rows) in tabs.iter().zip([rows.len(), GLOBEX.rows.len()]) {
            self.show(tab).await;
            self.browser.client().refresh().await.unwrap();
            self.show(tab).await;
            self.is_whole(tenant, rows).await;
        }
        assert!(self.server.connections() >= 2, "every page has a socket to the server");
        tabs
    }

    /// The page shows the tenant's own, its chart, and a figure that changes.
    async fn is_whole(&self, tenant: &Tenant, rows: usize) {
        let browser = &self.browser;
        browser.wait_for_text(&format!("{} for ana@acme.example", tenant.name), PATIENCE).await.unwrap();
        browser.wait_for_text(&format!("{} is the largest channel", tenant.channel), PATIENCE).await.unwrap();
        browser.wait_for_css(self.framework.chart, PATIENCE).await.unwrap();
        let before = self.live(tenant, rows).await;
        self.wait_for_other_than(&before).await;
        let text = browser.text().await.unwrap();
        let other = if tenant.name == ACME.name { &GLOBEX } else { &ACME };
        for word in [other.name, other.channel, other.country] {
            assert!(!text.replace("ana@acme.example", "").contains(word), "{word} is {}'s: {text}", other.name);
        }
    }

    /// The live line, once it is that of this tenant and of so many rows.
    async fn live(&self, tenant: &Tenant, rows: usize) -> String {
        let wanted = format!(r"\\b{rows} orders at [0-9:]{{8}} for {}\\b", tenant.name);
        let line = format!("(document.body.innerText.match(new RegExp('{wanted}')) || [])[0]");
        self.browser.wait_for_js(&line, PATIENCE).await.unwrap().as_str().unwrap().to_owned()
    }

    /// Waits until a live line has been replaced.
    async fn wait_for_other_than(&self, line: &str) {
        let gone = format!("!document.body.innerText.includes('{line}') && /orders at/.test(document.body.innerText)");
        self.browser.wait_for_js(&gone, PATIENCE).await.unwrap();
    }

    /// Signs out in a third tab: nothing live reaches either page any more, and the server has nobody to send to.
    async fn logout_ends(&self, tabs: &[(Tab, &Tenant)]) {
        let browser = &self.browser;
        browser.new_tab().await.unwrap();
        browser.goto(&format!("{}/tenants", self.up.portal())).await.unwrap();
        browser.click("form[action='/logout'] button").await.unwrap();
        browser.wait_for_text("Sign in to Kyros", PATIENCE).await.unwrap();
        tokio::time::sleep(LOGOUT).await;
        let mut last = Vec::new();
        for (tab, _) in tabs {
            self.show(tab).await;
            last.push(browser.js(LIVE_LINE, vec![]).await.unwrap());
        }
        tokio::time::sleep(3 * LIVE_EVERY).await;
        for ((tab, tenant), last) in tabs.iter().zip(last) {
            self.show(tab).await;
            let now = browser.js(LIVE_LINE, vec![]).await.unwrap();
            assert_eq!(now, last, "no live data of {} after logout", tenant.name);
        }
        self.screenshot("ended").await;
        let signed_out = Instant::now();
        while self.server.connections() > 0 {
            assert!(signed_out.elapsed() < POOLS_EMPTY, "{} sockets outlive logout", self.server.connections());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let errors = browser.console_errors().await.unwrap();
        let unexpected: Vec<_> = errors.iter().filter(|line| !is_of_an_ended_session(line)).collect();
        assert!(unexpected.is_empty(), "{unexpected:?}");
    }

    /// Goes to a tab, and in it to the dashboard.
    async fn show(&self, tab: &Tab) {
        self.browser.switch_tab(tab).await.unwrap();
        self.browser.enter_frame("iframe.frame").await.unwrap();
    }

    async fn no_errors(&self) {
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

    async fn close(self) {
        self.browser.close().await.unwrap();
    }
}

/// What a page that lost its session says: that it was refused, and Streamlit also that it cannot go on.
fn is_of_an_ended_session(line: &ConsoleLine) -> bool {
    line.message.contains("401") || line.message.contains("disconnected from server")
        // Streamlit prints the refusal it was given in a line of its own.
        || line.message.contains("urn:kyros:problem:unauthorized")
}

/// A framework's server, as its example starts it. Like the browser it goes with the test, also when that is killed: a
/// shell at the head of its process group ends the group when its standard input closes.
struct Server {
    guard: Child,
    /// `host:port` or `unix:PATH`.
    address: String,
    log: PathBuf,
    _folder: TempDir,
}

impl Server {
    fn start(framework: &Framework, environment: &Path, up: &Up) -> Self {
        let (address, data_api) = expected(up, framework);
        let folder = TempDir::with_prefix("kyros-framework-").unwrap();
        let log = folder.path().join("log");
        let output = File::create(&log).unwrap();
        let own_path = std::env::var_os("PATH").unwrap_or_default();
        let path = [environment.join("bin")].into_iter().chain(std::env::split_paths(&own_path));
        let guard = Command::new("sh")
            .args(["-c", r#""$0" & read -r _; kill -KILL 0"#])
            .arg(examples().join(framework.name).join("serve"))
            .process_group(0)
            .env("PATH", std::env::join_paths(path).unwrap())
            .env("KYROS_DASHBOARD_LISTEN", &address)
            .env("KYROS_API_URL", data_api)
            // The working tree stays as it is.
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("HOME", folder.path())
            .stdin(Stdio::piped())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn()
            .expect("the shell starts");
        let server = Self { guard, address, log, _folder: folder };
        let started = Instant::now();
        while !server.listens() {
            assert!(started.elapsed() < PATIENCE, "{} does not listen:\n{}", framework.name, server.log());
            std::thread::sleep(Duration::from_millis(100));
        }
        server
    }

    fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn listens(&self) -> bool {
        match self.address.strip_prefix("unix:") {
            Some(path) => UnixStream::connect(path).is_ok(),
            None => TcpStream::connect(&self.address).is_ok(),
        }
    }

    /// Connections that the server has open, from the kernel's tables: what a framework says of itself proves nothing.
    fn connections(&self) -> usize {
        let (table, address, at, state, connected) = if let Some(path) = self.address.strip_prefix("unix:") {
            // "Num RefCount Protocol Flags Type St Inode Path"
            ("/proc/net/unix", path.to_owned(), 7, 5, "03")
        } else {
            let (_, port) = self.address.rsplit_once(':').expect("host:port");
            let port: u16 = port.parse().expect("a number");
            // "sl local_address rem_address st ..."
            ("/proc/net/tcp", format!("0100007F:{port:04X}"), 1, 3, "01")
        };
        let table = std::fs::read_to_string(table).expect("Linux");
        let is_open = |line: &&str| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            fields.get(at) == Some(&address.as_str()) && fields.get(state) == Some(&connected)
        };
        table.lines().filter(is_open).count()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
        if std::thread::panicking() {
            eprintln!("the framework's server wrote:\n{}", self.log());
        }
    }
}

/// The framework's Python environment.
fn environment(framework: &Framework) -> Option<PathBuf> {
    if let Some(environment) = std::env::var_os(framework.variable) {
        return Some(environment.into());
    }
    let hint = format!("{}=$(dashboards/python/environment {})", framework.variable, framework.name);
    assert!(!insists(), "KYROS_TEST_REQUIRE_FRAMEWORKS is set; export {hint}");
    eprintln!("skipped: no Python environment; export {hint}");
    None
}

async fn browser() -> Option<Browser> {
    match Browser::start().await {
        Ok(browser) => Some(browser),
        Err(BrowserError::NotInstalled) if !insists() => {
            eprintln!("skipped: no chromedriver in PATH (Debian: apt-get install chromium chromium-driver)");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// Whether something that is missing is a failure.
fn insists() -> bool {
    std::env::var_os("KYROS_TEST_REQUIRE_FRAMEWORKS").is_some()
}

/// The repository's people, and two tenants that may open the framework's dashboard.
fn sources(framework: &Framework) -> TempDir {
    let sources = TempDir::with_prefix("kyros-sources-").unwrap();
    let people = Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/people.yaml");
    std::fs::copy(people, sources.path().join("people.yaml")).unwrap();
    std::fs::create_dir(sources.path().join("manifests")).unwrap();
    let mut file = File::create(sources.path().join("manifests/frameworks.yaml")).unwrap();
    let (name, transport, port) = (framework.name, framework.transport, free_port());
    writeln!(
        file,
        "apiVersion: kyros.dev/v1alpha1\nkind: Dashboard\nmetadata: {{name: {name}}}\nspec:\n  title: Sales\n  \
         image: localhost/{name}:0.1.0\n  transport: {transport}\n  port: {port}\n  datasets: [transactions]"
    )
    .unwrap();
    for tenant in [ACME.name, GLOBEX.name] {
        writeln!(
            file,
            "---\napiVersion: kyros.dev/v1alpha1\nkind: Tenant\nmetadata: {{name: {tenant}}}\n\
             spec:\n  displayName: {tenant}\n  members: [{{user: ana@acme.example, roles: [viewer]}}]\n  \
             dashboards: [{name}]"
        )
        .unwrap();
    }
    sources
}

/// Gives a tenant these rows and no others.
fn publish(up: &Up, framework: &Framework, tenant: &Tenant, rows: &[&str]) {
    let file = up.path("rows.csv");
    std::fs::write(&file, format!("{COLUMNS}{}\n", rows.join("\n"))).unwrap();
    let imported = import(up, &file, tenant.name, framework.name, "transactions");
    assert!(imported.status.success(), "{imported:?}");
}

/// Where Kyros says that it expects the dashboard, and where that finds its data.
fn expected(up: &Up, framework: &Framework) -> (String, String) {
    let beginning = format!("Run {} on ", framework.name);
    let log = up.log();
    let line = log.lines().find_map(|line| line.strip_prefix(&beginning)).expect("it says how to run the dashboard");
    let (address, data_api) = line.split_once(" with KYROS_API_URL=").expect("and where its data is");
    (address.to_owned(), data_api.to_owned())
}

/// A port that nobody has now; the framework takes it a moment later.
fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../dashboards/python/examples")
}
