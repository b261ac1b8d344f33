//! `kyros dev` with a real program behind it: whose requests it gets, what is printed, what starts it again, and that nothing is
//! left of it.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use kyros_tests::{
    BrowserLike, Client, Dev, Start,
    browser::{Browser, BrowserError},
};
use reqwest::{Method, StatusCode, header};
use serde_json::Value;
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(30);
const PROGRAM: &str = include_str!("dev_dashboard.py");

/// A folder that is called `sales`, with the program in it.
struct Project {
    home: TempDir,
}

impl Project {
    fn new() -> Self {
        let home = TempDir::with_prefix("kyros-dev-").unwrap();
        fs::create_dir(home.path().join("sales")).unwrap();
        fs::write(home.path().join("sales/app.py"), PROGRAM).unwrap();
        Self { home }
    }

    fn folder(&self) -> PathBuf {
        self.home.path().join("sales")
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(self.folder().join(file)).unwrap_or_default()
    }

    fn start(&self, options: &[&str], command: &[&str]) -> Dev {
        self.plan(options, command, |start| start.start())
    }

    fn plan<T>(&self, options: &[&str], command: &[&str], go: impl FnOnce(Start<'_>) -> anyhow::Result<T>) -> T {
        let (program, folder) = (Path::new(env!("CARGO_BIN_EXE_kyros")), &self.folder());
        go(Start { program, folder, options, command }).unwrap()
    }
}

/// Follows the printed address as a browser does, and then opens the dashboard for a tenant.
async fn dashboard_for(dev: &Dev, person: &mut BrowserLike, tenant: &str) -> Value {
    let (_, answer) = person.navigate(&format!("{}/", dev.dashboard("sales", tenant))).await.unwrap();
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    answer.json()
}

async fn signed_in(dev: &Dev) -> (BrowserLike, String) {
    let mut person = BrowserLike::new(Client::new(&dev.portal).unwrap());
    let (address, page) = person.navigate(&dev.open).await.unwrap();
    assert_eq!(page.status, StatusCode::OK, "{address}: {}", page.text());
    (person, address)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_tenant_gets_its_own_and_no_token_is_printed_whole() {
    let project = Project::new();
    let mut dev = project.start(&["--headers"], &["python3", "app.py"]);
    let (mut person, address) = signed_in(&dev).await;
    assert_eq!(address, format!("{}/t/acme/d/sales", dev.portal));
    let acme = dashboard_for(&dev, &mut person, "acme").await;
    let globex = dashboard_for(&dev, &mut person, "globex").await;
    for (answer, tenant) in [(&acme, "acme"), (&globex, "globex")] {
        assert_eq!((answer["Tenant"].as_str(), answer["Dashboard"].as_str()), (Some(tenant), Some("sales")));
        assert_eq!(answer["Email"], "ana@acme.example");
        dev.wait_for(&format!("x-kyros-tenant: {tenant}")).unwrap();
        let log = dev.log();
        let told = log.lines().find(|told| told.contains("GET  /  ") && told.contains(&format!("{tenant}  ana@")));
        assert!(told.is_some_and(|told| told.contains("  200  ") && told.contains(" ms  ")), "{log}");
    }
    assert_ne!(acme["customer"], globex["customer"]);

    // A second visit of the printed address signs nobody in again: the session is the same, also in the first tab.
    let before = person.cookie_header(&dev.portal).unwrap();
    person.navigate(&dev.open).await.unwrap();
    assert_eq!(person.cookie_header(&dev.portal).unwrap(), before);

    // The last thing that comes from the program itself.
    dev.wait_for("app   | asked by Bearer eyJ").unwrap();
    let log = dev.log();
    let secrets = project.read("received.log");
    assert!(secrets.lines().count() >= 2, "{secrets}");
    for secret in secrets.split_whitespace().filter(|word| *word != "Bearer") {
        assert!(!log.contains(secret), "{secret} stands in\n{log}");
        // Of a token also no third: the signature is what makes it one.
        assert!(!log.contains(secret.rsplit('.').next().unwrap()), "{secret} stands in\n{log}");
    }
    assert!(log.contains("authorization: Bearer eyJ"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sockets_are_told_with_the_code_that_ended_them() {
    use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
    let project = Project::new();
    let mut dev = project.start(&[], &["python3", "app.py"]);
    let token = Client::new(&dev.portal).unwrap().tenant_token("bob", "globex", "sales").await.unwrap();
    let host = dev.dashboard("sales", "globex").replace("http://", "");
    let (_, port) = host.rsplit_once(':').unwrap();
    let stream = tokio::net::TcpStream::connect(format!("127.0.0.1:{port}")).await.unwrap();
    let mut request = format!("ws://{host}/live").into_client_request().unwrap();
    request.headers_mut().insert(header::AUTHORIZATION, format!("Bearer {token}").parse().unwrap());
    let (mut socket, _) = tokio_tungstenite::client_async(request, stream).await.unwrap();
    dev.wait_for("WS   /live  101 open  ").unwrap();
    while let Some(Ok(_)) = futures_util::StreamExt::next(&mut socket).await {}
    dev.wait_for("WS   /live  closed 4242  ").unwrap();
    assert!(dev.log().contains("globex  bob@globex.example"), "{}", dev.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_file_restarts_the_command_and_meanwhile_the_browser_hears_that_it_starts() {
    let project = Project::new();
    let mut dev = project.start(&[], &["python3", "app.py"]);
    let (mut person, _) = signed_in(&dev).await;
    assert_eq!(dashboard_for(&dev, &mut person, "acme").await["version"], "one");
    let slow = format!("import time\ntime.sleep(4)\n{}", PROGRAM.replace("\"one\"", "\"two\""));
    fs::write(project.folder().join("app.py"), slow).unwrap();
    dev.wait_for("changed app.py → restarting").unwrap();
    let (_, meanwhile) = person.navigate(&format!("{}/", dev.dashboard("sales", "acme"))).await.unwrap();
    assert_eq!(meanwhile.status, StatusCode::SERVICE_UNAVAILABLE, "{}", meanwhile.text());
    dev.wait_for("python3 listens again (").unwrap();
    assert_eq!(dashboard_for(&dev, &mut person, "acme").await["version"], "two");
    assert!(dev.log().contains("503 dashboard-starting  "), "{}", dev.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_dies_is_started_again() {
    let project = Project::new();
    let mut dev = project.start(&["--no-reload"], &["python3", "app.py"]);
    let (mut person, _) = signed_in(&dev).await;
    let first = dashboard_for(&dev, &mut person, "acme").await["pid"].as_u64().unwrap();
    kill("-KILL", first);
    dev.wait_for("ended: signal 9; it starts again in 0.5 s. Its last lines:\n  ").unwrap();
    dev.wait_for("python3 listens again (").unwrap();
    assert_ne!(dashboard_for(&dev, &mut person, "acme").await["pid"].as_u64(), Some(first));
}

#[test]
fn ctrl_c_ends_the_command_and_everything_that_it_started() {
    let project = Project::new();
    let mut dev = project.start(&[], &["python3", "app.py", "--with-child"]);
    let processes = project.read("processes.log");
    let processes: Vec<u64> = processes.split_whitespace().map(|id| id.parse().unwrap()).collect();
    assert_eq!(processes.len(), 2);
    assert!(processes.iter().all(|id| is_alive(*id)));
    let status = dev.signal("-INT").unwrap();
    assert_eq!(status.code(), Some(0), "{}", dev.log());
    let deadline = Instant::now() + PATIENCE;
    while processes.iter().any(|id| is_alive(*id)) {
        assert!(Instant::now() < deadline, "something of {processes:?} is left");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_command_that_does_not_start_is_a_sentence_and_a_failure() {
    let project = Project::new();
    let run = |command: &[&str]| project.plan(&[], command, |start| start.run());
    for (command, said) in [
        (&["no-such-program"][..], "there is no program no-such-program; write the command after --"),
        (&["./app.py"], "chmod +x"),
        (&["sh", "-c", "echo boom >&2; exit 3"], "sh ended before it listened on 127.0.0.1:"),
    ] {
        let (status, log) = run(command);
        assert_eq!(status.code(), Some(1), "{command:?}: {log}");
        assert!(log.contains(said), "{command:?}: {log}");
    }
    let (_, log) = run(&["sh", "-c", "echo boom >&2; exit 3"]);
    assert!(log.contains("exit code 3. Its last lines:\n  boom"), "{log}");
    let program = Path::new(env!("CARGO_BIN_EXE_kyros"));
    let refused = std::process::Command::new(program)
        .args(["dev", "--listen", "0.0.0.0:0", "--", "true"])
        .current_dir(project.folder())
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&refused.stderr).contains("is not loopback"), "{refused:?}");
    let (status, log) = project.plan(&["--watch", "nofolder"], &["true"], |start| start.run());
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(log.contains("--watch: there is no folder nofolder"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn t_switches_the_tenant_and_the_terminal_is_given_back_as_it_was() {
    let project = Project::new();
    let mut dev = project.plan(&[], &["python3", "app.py"], |start| start.start_on_a_terminal());
    let (_, address) = signed_in(&dev).await;
    assert!(address.ends_with("/t/acme/d/sales"), "{address}");
    dev.press("t").unwrap();
    dev.wait_for("Now     Ana Ferreira for globex").unwrap();
    let (mut person, address) = signed_in(&dev).await;
    assert!(address.ends_with("/t/globex/d/sales"), "{address}");
    dev.press("p").unwrap();
    dev.wait_for("Now     Bob Okafor for globex").unwrap();
    // Another person: the address signs them in, and ends the session of the one before.
    person.navigate(&dev.open).await.unwrap();
    assert_eq!(dashboard_for(&dev, &mut person, "globex").await["Email"], "bob@globex.example");
    dev.press("r").unwrap();
    dev.wait_for("python3 listens again (").unwrap();
    dev.press("q").unwrap();
    assert_eq!(dev.wait().unwrap().code(), Some(0));
    std::thread::sleep(Duration::from_millis(200));
    let log = dev.log();
    let settings: Vec<String> = log.split("speed ").skip(1).map(terminal_flags).collect();
    assert_eq!(settings.len(), 2, "{log}");
    assert_eq!(settings[0], settings[1], "{log}");
    assert!(settings[0].contains(" icanon") && settings[0].contains(" echo "), "{}", settings[0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn own_data_is_each_tenants_own_and_follows_its_file() {
    let project = Project::new();
    let data = project.folder().join("rows");
    for (tenant, customer) in [("acme", "A1"), ("globex", "G1")] {
        fs::create_dir_all(data.join(tenant)).unwrap();
        fs::write(data.join(tenant).join("transactions.csv"), format!("customer_id\n{customer}\n")).unwrap();
    }
    let mut dev = project.start(&["--data", "rows"], &["python3", "app.py"]);
    let (mut person, _) = signed_in(&dev).await;
    assert_eq!(dashboard_for(&dev, &mut person, "acme").await["customer"], "A1");
    assert_eq!(dashboard_for(&dev, &mut person, "globex").await["customer"], "G1");
    fs::write(data.join("acme/transactions.csv"), "customer_id\nA2\n").unwrap();
    dev.wait_for("changed rows/acme/transactions.csv → transactions has 1 row for acme").unwrap();
    let deadline = Instant::now() + PATIENCE;
    while dashboard_for(&dev, &mut person, "acme").await["customer"] != "A2" {
        assert!(Instant::now() < deadline, "the old rows stay");
    }
    assert!(!dev.log().contains("restarting"), "{}", dev.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn own_manifests_bring_their_tenants_and_their_members_play() {
    let project = Project::new();
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/manifests");
    let manifests = sources.to_str().unwrap();
    let dev = project.start(&["--manifests", manifests, "--name", "risk"], &["python3", "app.py"]);
    let (_, address) = signed_in(&dev).await;
    assert!(address.ends_with("/t/acme/d/risk"), "{address}");
    assert!(dev.log().contains("Ivy <ivy@initech.example>: initech"), "{}", dev.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_printed_address_signs_nobody_in_for_another_site_or_under_another_name() {
    let project = Project::new();
    let dev = project.start(&[], &["python3", "app.py"]);
    let client = Client::new(&dev.portal).unwrap();
    let navigation = |site: &str| {
        client
            .request(Method::GET, &dev.open)
            .header("sec-fetch-mode", "navigate")
            .header("sec-fetch-dest", "document")
            .header("sec-fetch-site", site)
    };
    let typed = client.send(navigation("none")).await.unwrap();
    assert_eq!(typed.status, StatusCode::SEE_OTHER);
    let cookie = typed.header("set-cookie").to_ascii_lowercase();
    assert!(cookie.contains("httponly") && cookie.contains("samesite=lax") && !cookie.contains("domain"), "{cookie}");
    for refused in [
        navigation("cross-site"),
        navigation("same-site"),
        navigation("none").header(header::HOST, "evil.example"),
        client.request(Method::GET, &dev.open).header(header::HOST, "127.0.0.1"),
        client.request(Method::POST, &dev.open),
        client.request(Method::GET, &dev.open).header("sec-fetch-mode", "no-cors"),
    ] {
        let answer = client.send(refused).await.unwrap();
        assert!(answer.header("set-cookie").is_empty() && !answer.status.is_redirection(), "{answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_click_in_a_real_browser_leads_to_the_dashboard_signed_in() {
    let browser = match Browser::start().await {
        Ok(browser) => browser,
        Err(BrowserError::NotInstalled) if std::env::var_os("KYROS_TEST_REQUIRE_BROWSER").is_none() => {
            return eprintln!("skipped: no chromedriver in PATH (Debian: apt-get install chromium chromium-driver)");
        }
        Err(error) => panic!("{error}"),
    };
    let project = Project::new();
    let dev = project.start(&[], &["python3", "app.py"]);
    browser.goto(&dev.open).await.unwrap();
    assert_eq!(browser.url().await.unwrap(), format!("{}/t/acme/d/sales", dev.portal));
    browser.enter_frame("iframe").await.unwrap();
    browser.wait_for_text("\"Tenant\": \"acme\"", PATIENCE).await.unwrap();
    browser.close().await.unwrap();
}

/// What `stty -a` says of characters, input, output and echo.
fn terminal_flags(text: &str) -> String {
    let is_of_stty =
        |line: &&str| ["intr =", "parenb", "icrnl", "opost", "icanon"].iter().any(|word| line.contains(word));
    text.lines().filter(is_of_stty).map(|line| format!(" {} ", line.trim())).collect()
}

fn kill(signal: &str, process: u64) {
    let sent = std::process::Command::new("kill").args([signal, &process.to_string()]).status().unwrap();
    assert!(sent.success());
}

/// Whether it runs: one that nobody has taken note of yet is none.
fn is_alive(process: u64) -> bool {
    let status = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    status.rsplit(") ").next().is_some_and(|fields| !fields.is_empty() && !fields.starts_with('Z'))
}
