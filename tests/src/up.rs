//! `kyros up` as a child process on free ports and folders of its own; gone when dropped.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use tempfile::TempDir;

/// How long a start may take: the first one makes the demo data with an unoptimised program.
const START: Duration = Duration::from_mins(1);

/// The file of data sources beside the local folder, where a test has one.
const DATA_SOURCES: &str = "data-sources.yaml";

/// Where things are.
pub struct UpOptions {
    /// The `kyros` program.
    pub program: PathBuf,
    /// The folder with `manifests/` and `people.yaml`, and perhaps `data-sources.yaml`, to copy.
    pub sources: PathBuf,
}

/// A running Kyros.
pub struct Up {
    child: Child,
    program: PathBuf,
    /// Its folders: `data`, `state`, `manifests`.
    pub home: Arc<TempDir>,
    /// The portal's port.
    pub port: u16,
    log: Arc<Mutex<String>>,
}

impl Up {
    /// Starts on a free port with fresh folders.
    pub fn start(options: &UpOptions) -> anyhow::Result<Self> {
        let home = TempDir::with_prefix("kyros-up-")?;
        std::fs::create_dir_all(home.path().join("data"))?;
        copy_dir(&options.sources.join("manifests"), &home.path().join("manifests"))?;
        std::fs::copy(options.sources.join("people.yaml"), home.path().join("people.yaml"))?;
        let named = options.sources.join(DATA_SOURCES);
        if named.exists() {
            std::fs::copy(named, home.path().join(DATA_SOURCES))?;
        }
        Self::start_in(&options.program, Arc::new(home), 0)
    }

    /// Starts again on the same folders and port, after the first one has ended.
    pub fn restart(mut self) -> anyhow::Result<Self> {
        self.kill();
        let (program, home, port) = (self.program.clone(), self.home.clone(), self.port);
        drop(self);
        Self::start_in(&program, home, port)
    }

    /// The command line for these folders.
    pub fn command(program: &Path, home: &Path, port: u16) -> Command {
        let mut command = Command::new(program);
        command
            .arg("up")
            .args(["--listen", &format!("127.0.0.1:{port}")])
            .arg("--data")
            .arg(home.join("data"))
            .arg("--manifests")
            .arg(home.join("manifests"))
            .arg("--people")
            .arg(home.join("people.yaml"))
            .arg("--state")
            .arg(home.join("state"))
            .args(["--log", "trace", "--log-format", "json"]);
        let named = home.join(DATA_SOURCES);
        if named.exists() {
            command.arg("--data-sources").arg(named);
        }
        command
    }

    fn start_in(program: &Path, home: Arc<TempDir>, port: u16) -> anyhow::Result<Self> {
        let mut child = Self::command(program, home.path(), port)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("{}", program.display()))?;
        let log = Arc::new(Mutex::new(String::new()));
        let (stdout, stderr) = (child.stdout.take().context("stdout")?, child.stderr.take().context("stderr")?);
        let lines = follow(stdout, log.clone());
        follow(stderr, log.clone());
        let mut up = Self { child, program: program.to_owned(), home, port, log };
        up.port = up.wait_for_portal(&lines)?;
        Ok(up)
    }

    fn wait_for_portal(&mut self, lines: &Arc<Mutex<Vec<String>>>) -> anyhow::Result<u16> {
        let deadline = Instant::now() + START;
        loop {
            {
                let lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
                let ready = lines.iter().any(|line| line.starts_with("Ready"));
                let portal = lines.iter().find_map(|line| line.strip_prefix("Portal  http://kyros.localhost:"));
                if let (true, Some(port)) = (ready, portal) {
                    return Ok(port.trim().parse()?);
                }
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("kyros up ended with {status}:\n{}", self.log());
            }
            if Instant::now() > deadline {
                bail!("kyros up was not ready after {START:?}:\n{}", self.log());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Everything it has written, at the most talkative level.
    pub fn log(&self) -> String {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The portal's origin.
    pub fn portal(&self) -> String {
        format!("http://kyros.localhost:{}", self.port)
    }

    /// A dashboard's origin for a tenant.
    pub fn dashboard(&self, dashboard: &str, tenant: &str) -> String {
        format!("http://{dashboard}--{tenant}.kyros.localhost:{}", self.port)
    }

    /// A folder or file of its home.
    pub fn path(&self, relative: &str) -> PathBuf {
        self.home.path().join(relative)
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Ctrl-C, and how it ended.
    pub fn interrupt(mut self) -> anyhow::Result<ExitStatus> {
        let sent = Command::new("kill").args(["-INT", &self.child.id().to_string()]).status()?;
        if !sent.success() {
            bail!("kill said {sent}");
        }
        Ok(self.child.wait()?)
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Collects a stream's lines, for the log and for the caller.
pub(crate) fn follow(stream: impl std::io::Read + Send + 'static, log: Arc<Mutex<String>>) -> Arc<Mutex<Vec<String>>> {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let collected = lines.clone();
    std::thread::spawn(move || {
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        while reader.by_ref().read_line(&mut line).is_ok_and(|read| read > 0) {
            log.lock().unwrap_or_else(PoisonError::into_inner).push_str(&line);
            collected.lock().unwrap_or_else(PoisonError::into_inner).push(line.trim_end().to_owned());
            line.clear();
        }
    });
    lines
}

fn copy_dir(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        std::fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}
