//! A framework's server, as its app's `serve` starts it, in the environment that was made for it.

use std::{
    fs::File,
    net::{Ipv4Addr, TcpListener, TcpStream},
    os::unix::{net::UnixStream, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use kyros_tests::Up;
use tempfile::TempDir;

use super::{stage::PATIENCE, table::Framework};

/// Names the folder of environments.
const VARIABLE: &str = "KYROS_TEST_PYTHON";

/// Like the browser it goes with the test, also when that is killed: a shell at the head of its process group ends the group
/// when its standard input closes.
pub(super) struct Server {
    guard: Child,
    /// `host:port` or `unix:PATH`.
    address: String,
    log: PathBuf,
    _folder: TempDir,
}

impl Server {
    pub(super) fn start(framework: &Framework, environment: &Path, up: &Up) -> Self {
        let (address, data_api) = expected(up, framework);
        let folder = TempDir::with_prefix("kyros-framework-").unwrap();
        let log = folder.path().join("log");
        let output = File::create(&log).unwrap();
        let own_path = std::env::var_os("PATH").unwrap_or_default();
        let path = [environment.join("bin")].into_iter().chain(std::env::split_paths(&own_path));
        let app = Path::new(env!("CARGO_MANIFEST_DIR")).join("../dashboards/python").join(framework.folder);
        let guard = Command::new("sh")
            .args(["-c", r#""$0" & read -r _; kill -KILL 0"#])
            .arg(app.join(framework.name).join("serve"))
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

    pub(super) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn listens(&self) -> bool {
        match self.address.strip_prefix("unix:") {
            Some(path) => UnixStream::connect(path).is_ok(),
            None => TcpStream::connect(&self.address).is_ok(),
        }
    }

    /// Connections that the server has open, from the kernel's tables: what a framework says of itself proves nothing.
    pub(super) fn connections(&self) -> usize {
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

/// The framework's Python environment; `None` where there is none and nobody insists.
pub(super) fn environment(framework: &Framework) -> Option<PathBuf> {
    let hint = format!("export {VARIABLE}=$(dashboards/python/environment --all)");
    if let Some(folder) = std::env::var_os(VARIABLE) {
        let environment = Path::new(&folder).join(framework.name);
        assert!(environment.is_dir(), "{} is not there; {hint}", environment.display());
        return Some(environment);
    }
    assert!(!insists(), "KYROS_TEST_REQUIRE_FRAMEWORKS is set; {hint}");
    eprintln!("skipped: no Python environments; {hint}");
    None
}

/// Whether something that is missing is a failure.
pub(super) fn insists() -> bool {
    std::env::var_os("KYROS_TEST_REQUIRE_FRAMEWORKS").is_some()
}

/// A port that nobody has now; the framework takes it a moment later.
pub(super) fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

/// Where Kyros says that it expects the dashboard, and where that finds its data.
fn expected(up: &Up, framework: &Framework) -> (String, String) {
    let beginning = format!("Run {} on ", framework.name);
    let log = up.log();
    let line = log.lines().find_map(|line| line.strip_prefix(&beginning)).expect("it says how to run the dashboard");
    let (address, data_api) = line.split_once(" with KYROS_API_URL=").expect("and where its data is");
    (address.to_owned(), data_api.to_owned())
}
