//! A headless Chromium for end-to-end tests, driven through `ChromeDriver`.
//!
//! Nothing outlives the test: `ChromeDriver` and every Chromium process are one process group, led by a shell that kills
//! the whole group as soon as its standard input closes - on [`Browser::close`], on drop, and also when the test
//! process itself is killed.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fantoccini::elements::Element;
use fantoccini::error::{CmdError, ErrorStatus, NewSessionError};
use fantoccini::wd::{Capabilities, WebDriverCompatibleCommand, WindowHandle};
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tempfile::TempDir;

/// What Chromium needs to run headless, as root, without reaching for the network.
const FLAGS: &[&str] = &[
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    // What a page asks of anybody but this machine fails, wherever the tests run.
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE localhost , EXCLUDE *.localhost , EXCLUDE 127.0.0.1",
    "--disable-background-timer-throttling",
    "--disable-renderer-backgrounding",
    "--disable-backgrounding-occluded-windows",
    "--window-size=1280,900",
];

/// How a reference to an element is named in JSON (`WebDriver`, section 12.1).
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// How often a condition is looked at again.
const POLL: Duration = Duration::from_millis(50);

/// How long `ChromeDriver` may take to start, with all other tests beside it.
const START: Duration = Duration::from_secs(30);

/// How long an element may take to appear before [`Browser::click`] and its like give up.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why the browser did not do what it was asked.
#[derive(Debug)]
pub enum BrowserError {
    /// There is no `chromedriver` in `PATH`: the only error a test may take as a reason to skip.
    NotInstalled,
    /// `ChromeDriver` could not be started; with what it wrote.
    Driver(String),
    /// `ChromeDriver` refused a session (no Chromium, or Chromium ended at once); with what `ChromeDriver` wrote.
    Session(Box<NewSessionError>, String),
    /// A command failed.
    Command(Box<CmdError>),
    /// A condition was not met in time; with the address and the text of the page at that moment.
    Timeout {
        /// What was waited for.
        waited_for: String,
        /// For how long.
        after: Duration,
        /// The page's address.
        url: String,
        /// The page's text.
        text: String,
    },
    /// An answer of `ChromeDriver` was not of the expected form.
    Unexpected(String),
    /// The operating system refused.
    Io(io::Error),
}

impl fmt::Display for BrowserError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotInstalled => {
                f.write_str("chromedriver is not in PATH (Debian: apt-get install chromium chromium-driver)")
            }
            Self::Driver(log) => write!(f, "chromedriver did not start: {log}"),
            Self::Session(error, log) => write!(f, "chromedriver gave no session: {error}\n{log}"),
            Self::Command(error) => write!(f, "browser command failed: {error}"),
            Self::Timeout { waited_for, after, url, text } => {
                write!(f, "no {waited_for} within {after:?} at {url}, which shows:\n{text}")
            }
            Self::Unexpected(what) => write!(f, "unexpected answer of chromedriver: {what}"),
            Self::Io(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for BrowserError {}

impl From<CmdError> for BrowserError {
    fn from(error: CmdError) -> Self {
        Self::Command(Box::new(error))
    }
}

impl From<io::Error> for BrowserError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

type Result<T, E = BrowserError> = std::result::Result<T, E>;

/// The `chromedriver` in `PATH`, if there is one.
pub fn chromedriver() -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?)
        .map(|directory| directory.join("chromedriver"))
        .find(|file| file.is_file())
}

/// `ChromeDriver`, with every browser that it starts.
struct Driver {
    guard: Child,
    port: u16,
    /// The driver's log, the profile and the temporary files of the browser; removed once all processes are gone.
    directory: TempDir,
}

impl Driver {
    async fn start() -> Result<Self> {
        let program = chromedriver().ok_or(BrowserError::NotInstalled)?;
        let directory = tempfile::Builder::new().prefix("kyros-browser-").tempdir()?;
        let log = File::create(directory.path().join("chromedriver.log"))?;
        let guard = Command::new("sh")
            // The shell is the leader of the group, so that 0 is the group of all that is started here and no other.
            .args(["-c", r#""$0" "$@" & read -r _; kill -KILL 0"#])
            .arg(program)
            .arg("--port=0")
            .process_group(0)
            // Also what Chromium writes outside of its profile goes with the directory.
            .env("TMPDIR", directory.path())
            .env("XDG_CONFIG_HOME", directory.path().join("config"))
            .env("XDG_CACHE_HOME", directory.path().join("cache"))
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        let mut driver = Self { guard, port: 0, directory };
        let started = Instant::now();
        loop {
            let log = driver.log();
            if let Some(port) = port(&log) {
                driver.port = port;
                return Ok(driver);
            }
            if started.elapsed() > START {
                return Err(BrowserError::Driver(log));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn log(&self) -> String {
        std::fs::read(self.directory.path().join("chromedriver.log"))
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let group = self.guard.id();
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
        // The directory can be removed only when nobody writes into it any more.
        let killed = Instant::now();
        while is_running(group) && killed.elapsed() < Duration::from_secs(5) {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// The port in `ChromeDriver`'s line "`ChromeDriver` was started successfully on port 45039."
fn port(log: &str) -> Option<u16> {
    let (_, rest) = log.split_once("started successfully on port ")?;
    rest.split_once('.')?.0.parse().ok()
}

/// Whether a process of this group still runs (a zombie doesn't).
fn is_running(group: u32) -> bool {
    let Ok(processes) = std::fs::read_dir("/proc") else { return false };
    processes.flatten().any(|process| {
        let Ok(stat) = std::fs::read_to_string(process.path().join("stat")) else { return false };
        // "pid (name) state parent group ...", where the name may hold anything, parentheses too.
        let Some((_, rest)) = stat.rsplit_once(") ") else { return false };
        let fields: Vec<&str> = rest.split(' ').collect();
        matches!(fields[..], [state, _, its_group, ..] if state != "Z" && state != "X" && its_group == group.to_string())
    })
}

/// A command of `ChromeDriver` that `WebDriver` doesn't have.
#[derive(Debug)]
struct Extension {
    path: &'static str,
    body: Value,
}

impl WebDriverCompatibleCommand for Extension {
    fn endpoint(&self, base: &url::Url, session: Option<&str>) -> Result<url::Url, url::ParseError> {
        base.join(&format!("session/{}/{}", session.unwrap_or_default(), self.path))
    }

    fn method_and_body(&self, _: &url::Url) -> (http::Method, Option<String>) {
        (http::Method::POST, Some(self.body.to_string()))
    }
}

/// A tab of the browser.
pub type Tab = WindowHandle;

/// A cookie as the browser keeps it, those that scripts can't see too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredCookie {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
    /// With a leading dot if the cookie is for the subdomains too; without, it is host-only.
    pub domain: String,
    /// The paths that it is sent to.
    pub path: String,
    /// Whether it is sent over https alone.
    pub secure: bool,
    /// Whether scripts cannot see it.
    pub http_only: bool,
    /// `Strict`, `Lax` or `None`.
    pub same_site: Option<String>,
    /// Whether the cookie is kept apart for one top-level site (CHIPS).
    pub partitioned: bool,
}

/// A line of the browser's console: of every tab and frame, with failed loads and uncaught exceptions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsoleLine {
    /// `SEVERE`, `WARNING`, `INFO` or `DEBUG`.
    pub level: String,
    /// `console-api`, `javascript`, `network`, `security`, ...
    pub source: String,
    /// What it says.
    pub message: String,
}

/// A Chromium with a new, empty profile. All commands are for the current tab, and in it for the current frame.
pub struct Browser {
    client: Client,
    driver: Driver,
}

impl Browser {
    /// Starts a browser; [`BrowserError::NotInstalled`] where there is none.
    pub async fn start() -> Result<Self> {
        let driver = Driver::start().await?;
        let mut arguments: Vec<String> = FLAGS.iter().map(|flag| (*flag).to_owned()).collect();
        arguments.push(format!("--user-data-dir={}", driver.directory.path().join("profile").display()));
        let mut capabilities = Capabilities::new();
        capabilities.insert("browserName".into(), json!("chrome"));
        capabilities.insert("goog:chromeOptions".into(), json!({ "args": arguments }));
        capabilities.insert("goog:loggingPrefs".into(), json!({ "browser": "ALL" }));
        let client = ClientBuilder::new(HttpConnector::new())
            .capabilities(capabilities)
            .connect(&format!("http://127.0.0.1:{}", driver.port))
            .await
            .map_err(|error| BrowserError::Session(Box::new(error), driver.log()))?;
        Ok(Self { client, driver })
    }

    /// Ends the browser in good order. Dropping it kills it.
    pub async fn close(self) -> Result<()> {
        let Self { client, driver } = self;
        let closed = client.close().await;
        // Waits for processes, which must not hold up other tasks of a runtime of one thread.
        let _ = tokio::task::spawn_blocking(move || drop(driver)).await;
        Ok(closed?)
    }

    /// The underlying `WebDriver` client, for what is not offered here.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The process group of `ChromeDriver` and all of Chromium (but the crash handlers, which end with it).
    pub fn process_group(&self) -> u32 {
        self.driver.guard.id()
    }

    /// Loads a page in the current tab, frames included, and leaves any frame.
    pub async fn goto(&self, url: &str) -> Result<()> {
        Ok(self.client.goto(url).await?)
    }

    /// The address of the current tab.
    pub async fn url(&self) -> Result<String> {
        Ok(self.client.current_url().await?.to_string())
    }

    /// The visible text of the current frame.
    pub async fn text(&self) -> Result<String> {
        let text = self.js("return document.body ? document.body.innerText : ''", vec![]).await?;
        Ok(text.as_str().unwrap_or_default().to_owned())
    }

    /// The text of one element.
    pub async fn text_of(&self, css: &str) -> Result<String> {
        Ok(self.wait_for_css(css, PATIENCE).await?.text().await?)
    }

    /// Clicks the element that a function body in the current frame returns: one in a shadow root, where no selector reaches.
    pub async fn click_found(&self, script: &str) -> Result<()> {
        let found = self.js(script, vec![]).await?;
        let id = found[ELEMENT].as_str().ok_or_else(|| BrowserError::Unexpected(format!("no element: {found}")))?;
        Ok(Element::from_element_id(self.client.clone(), id.to_owned().into()).click().await?)
    }

    /// Clicks the element, once it is there and nothing covers it.
    pub async fn click(&self, css: &str) -> Result<()> {
        self.until(&format!("clickable {css}"), PATIENCE, async || {
            self.client.find(Locator::Css(css)).await?.click().await.map(Some)
        })
        .await
    }

    /// Replaces what is in an input by typing.
    pub async fn fill(&self, css: &str, value: &str) -> Result<()> {
        self.until(&format!("input {css}"), PATIENCE, async || {
            let input = self.client.find(Locator::Css(css)).await?;
            input.clear().await?;
            input.send_keys(value).await.map(Some)
        })
        .await
    }

    /// Goes into a frame of the current frame.
    pub async fn enter_frame(&self, css: &str) -> Result<()> {
        self.until(&format!("frame {css}"), PATIENCE, async || {
            self.client.find(Locator::Css(css)).await?.enter_frame().await.map(Some)
        })
        .await
    }

    /// Goes back to the page itself.
    pub async fn leave_frames(&self) -> Result<()> {
        // Naming the current tab is WebDriver's other way to say "the top-level frame".
        Ok(self.client.switch_to_window(self.client.window().await?).await?)
    }

    /// Opens an empty tab and goes to it.
    pub async fn new_tab(&self) -> Result<Tab> {
        let tab = self.client.new_window(true).await?.handle;
        self.client.switch_to_window(tab.clone()).await?;
        Ok(tab)
    }

    /// The tab that is in front.
    pub async fn tab(&self) -> Result<Tab> {
        Ok(self.client.window().await?)
    }

    /// Every tab.
    pub async fn tabs(&self) -> Result<Vec<Tab>> {
        Ok(self.client.windows().await?)
    }

    /// Brings a tab to the front.
    pub async fn switch_tab(&self, tab: &Tab) -> Result<()> {
        Ok(self.client.switch_to_window(tab.clone()).await?)
    }

    /// Waits for an element in the current frame.
    pub async fn wait_for_css(&self, css: &str, deadline: Duration) -> Result<Element> {
        self.until(css, deadline, async || self.client.find(Locator::Css(css)).await.map(Some)).await
    }

    /// Waits for a text in the current frame.
    pub async fn wait_for_text(&self, text: &str, deadline: Duration) -> Result<()> {
        self.until(&format!("text {text:?}"), deadline, async || {
            let script = "return !!document.body && document.body.innerText.includes(arguments[0])";
            let found = self.client.execute(script, vec![json!(text)]).await?;
            Ok((found == json!(true)).then_some(()))
        })
        .await
    }

    /// Waits until an expression of JavaScript is truthy, and gives its value.
    pub async fn wait_for_js(&self, expression: &str, deadline: Duration) -> Result<Value> {
        self.until(expression, deadline, async || {
            let found = self.client.execute(&format!("const it = ({expression}); return it || null"), vec![]).await?;
            Ok((!found.is_null()).then_some(found))
        })
        .await
    }

    /// Runs a function body in the current frame: `return` gives the value, `arguments` has the arguments.
    pub async fn js(&self, script: &str, arguments: Vec<Value>) -> Result<Value> {
        Ok(self.client.execute(script, arguments).await?)
    }

    /// Runs the body of an `async` function, awaited.
    pub async fn js_async(&self, script: &str, arguments: Vec<Value>) -> Result<Value> {
        let script = format!(
            "const done = arguments[arguments.length - 1];
             (async function () {{ {script} }}).apply(null, [...arguments].slice(0, -1))
             .then(value => done({{ value }}), error => done({{ error: String(error) }}));"
        );
        let mut answer = self.client.execute_async(&script, arguments).await?;
        match answer.get("error") {
            Some(error) => Err(BrowserError::Unexpected(format!("script: {error}"))),
            None => Ok(answer.get_mut("value").map(Value::take).unwrap_or_default()),
        }
    }

    /// All cookies kept for exactly this host (no port; cookies make no difference between ports).
    pub async fn cookies(&self, host: &str) -> Result<Vec<StoredCookie>> {
        let answer = self.cdp("Network.getAllCookies", json!({})).await?;
        let cookies = answer["cookies"].as_array().ok_or_else(|| BrowserError::Unexpected(answer.to_string()))?;
        Ok(cookies
            .iter()
            .filter(|cookie| cookie["domain"].as_str().is_some_and(|domain| domain.trim_start_matches('.') == host))
            .map(|cookie| StoredCookie {
                name: string(&cookie["name"]),
                value: string(&cookie["value"]),
                domain: string(&cookie["domain"]),
                path: string(&cookie["path"]),
                secure: cookie["secure"] == json!(true),
                http_only: cookie["httpOnly"] == json!(true),
                same_site: cookie["sameSite"].as_str().map(str::to_owned),
                partitioned: !cookie["partitionKey"].is_null(),
            })
            .collect())
    }

    /// Forgets all cookies, of all hosts.
    pub async fn clear_cookies(&self) -> Result<()> {
        self.cdp("Network.clearBrowserCookies", json!({})).await.map(drop)
    }

    /// Sends a command of the Chrome `DevTools` Protocol to the current tab.
    pub async fn cdp(&self, command: &str, parameters: Value) -> Result<Value> {
        let body = json!({ "cmd": command, "params": parameters });
        Ok(self.client.issue_cmd(Extension { path: "goog/cdp/execute", body }).await?)
    }

    /// The lines of the console since the last call.
    pub async fn console(&self) -> Result<Vec<ConsoleLine>> {
        let lines = self.client.issue_cmd(Extension { path: "se/log", body: json!({ "type": "browser" }) }).await?;
        let lines = lines.as_array().ok_or_else(|| BrowserError::Unexpected(lines.to_string()))?;
        Ok(lines
            .iter()
            .map(|line| ConsoleLine {
                level: string(&line["level"]),
                source: string(&line["source"]),
                message: string(&line["message"]),
            })
            .collect())
    }

    /// The errors of the console since the last call of this or of [`Browser::console`].
    pub async fn console_errors(&self) -> Result<Vec<ConsoleLine>> {
        Ok(self.console().await?.into_iter().filter(|line| line.level == "SEVERE").collect())
    }

    /// Writes a PNG of the current tab, whichever frame is current.
    pub async fn screenshot(&self, file: &Path) -> Result<()> {
        Ok(std::fs::write(file, self.client.screenshot().await?)?)
    }

    /// Tries until there is a value. What comes and goes while a page loads counts as "not yet".
    async fn until<T>(
        &self,
        waited_for: &str,
        deadline: Duration,
        attempt: impl AsyncFn() -> Result<Option<T>, CmdError>,
    ) -> Result<T> {
        let started = Instant::now();
        loop {
            match attempt().await {
                Ok(Some(value)) => return Ok(value),
                Ok(None) => {}
                Err(error) if is_passing(&error) => {}
                Err(error) => return Err(error.into()),
            }
            if started.elapsed() > deadline {
                return Err(BrowserError::Timeout {
                    waited_for: waited_for.to_owned(),
                    after: deadline,
                    url: self.url().await.unwrap_or_default(),
                    text: self.text().await.unwrap_or_default(),
                });
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

fn string(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn is_passing(error: &CmdError) -> bool {
    error.is_no_such_element()
        || error.is_stale_element_reference()
        || error.is_element_not_interactable()
        // fantoccini has no method for this one.
        || matches!(error, CmdError::Standard(failure) if failure.error == ErrorStatus::ElementClickIntercepted)
        || error.is_no_such_frame()
        || error.is_javascript_error()
}
