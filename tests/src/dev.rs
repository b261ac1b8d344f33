//! `kyros dev` as a child process on free ports, in a folder of its own, with or without a terminal; ended when dropped.

use std::{
    io::Write as _,
    path::Path,
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};

use crate::up::follow;

/// How long anything may take, on a machine that compiles something else.
const PATIENCE: Duration = Duration::from_mins(1);
/// What gives a program a terminal: its standard streams become one end, and ours the other.
const TERMINAL: &str = "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))";

/// How to start it.
pub struct Start<'a> {
    /// The `kyros` program.
    pub program: &'a Path,
    /// Where it is started.
    pub folder: &'a Path,
    /// Options.
    pub options: &'a [&'a str],
    /// The dashboard's command.
    pub command: &'a [&'a str],
}

/// A running `kyros dev`.
pub struct Dev {
    child: Child,
    keys: Option<ChildStdin>,
    log: Arc<Mutex<String>>,
    /// The printed address.
    pub open: String,
    /// The portal's origin.
    pub portal: String,
}

impl Start<'_> {
    fn arguments(&self) -> Vec<&str> {
        let options = ["dev", "--listen", "127.0.0.1:0"].into_iter().chain(self.options.iter().copied());
        options.chain(["--"]).chain(self.command.iter().copied()).collect()
    }

    /// Starts it, and waits until the dashboard listens.
    pub fn start(&self) -> anyhow::Result<Dev> {
        let mut command = Command::new(self.program);
        command.args(self.arguments()).stdin(Stdio::null());
        self.spawn(command)?.listening()
    }

    /// Starts it on a terminal, between two commands that print the terminal's settings.
    pub fn start_on_a_terminal(&self) -> anyhow::Result<Dev> {
        let mut command = Command::new("python3");
        // The shell asks for the settings before and after: they must be the same.
        let script = r#"stty -a; "$@"; code=$?; stty -a; exit $code"#;
        command.args(["-c", TERMINAL, "sh", "-c", script, "sh"]).arg(self.program).args(self.arguments());
        command.stdin(Stdio::piped());
        self.spawn(command)?.listening()
    }

    /// Runs it to its end: for what does not start.
    pub fn run(&self) -> anyhow::Result<(ExitStatus, String)> {
        let mut command = Command::new(self.program);
        command.args(self.arguments()).stdin(Stdio::null());
        let mut dev = self.spawn(command)?;
        let status = dev.wait()?;
        // What was written last may still be on its way.
        std::thread::sleep(Duration::from_millis(200));
        Ok((status, dev.log()))
    }

    fn spawn(&self, mut command: Command) -> anyhow::Result<Dev> {
        let mut child = command
            .current_dir(self.folder)
            .env("NO_COLOR", "1")
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("{command:?}"))?;
        let log = Arc::new(Mutex::new(String::new()));
        follow(child.stdout.take().context("stdout")?, log.clone());
        follow(child.stderr.take().context("stderr")?, log.clone());
        let keys = child.stdin.take();
        Ok(Dev { child, keys, log, open: String::new(), portal: String::new() })
    }
}

impl Dev {
    fn listening(mut self) -> anyhow::Result<Self> {
        self.wait_for("listens; open ")?;
        let log = self.log();
        let after = |label: &str| {
            // On a terminal, what wiped the last line away stands before it.
            let (_, rest) = log.split_once(label).context("it says where it is")?;
            anyhow::Ok(rest.lines().next().unwrap_or_default().trim().to_owned())
        };
        self.open = after("Open    ")?;
        self.portal = after("Portal  ")?;
        Ok(self)
    }

    /// Everything that it has written.
    pub fn log(&self) -> String {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until it has written this.
    pub fn wait_for(&mut self, text: &str) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !self.log().contains(text) {
            if let Some(status) = self.child.try_wait()? {
                bail!("kyros dev ended with {status} and never said {text:?}:\n{}", self.log());
            }
            if Instant::now() > deadline {
                bail!("kyros dev did not say {text:?}:\n{}", self.log());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// The host of a tenant's dashboard.
    pub fn dashboard(&self, dashboard: &str, tenant: &str) -> String {
        self.portal.replace("://", &format!("://{dashboard}--{tenant}."))
    }

    /// Presses a key.
    pub fn press(&mut self, key: &str) -> anyhow::Result<()> {
        let keys = self.keys.as_mut().context("it has no terminal")?;
        keys.write_all(key.as_bytes())?;
        Ok(keys.flush()?)
    }

    /// Sends it a signal, and says how it ended.
    pub fn signal(&mut self, signal: &str) -> anyhow::Result<ExitStatus> {
        let sent = Command::new("kill").args([signal, &self.child.id().to_string()]).status()?;
        if !sent.success() {
            bail!("kill said {sent}");
        }
        self.wait()
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> anyhow::Result<ExitStatus> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if Instant::now() > deadline {
                bail!("kyros dev does not end:\n{}", self.log());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        // In order, so that its command goes with it.
        if !matches!(self.child.try_wait(), Ok(Some(_))) && self.signal("-TERM").is_err() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if std::thread::panicking() {
            eprintln!("kyros dev wrote:\n{}", self.log());
        }
    }
}
