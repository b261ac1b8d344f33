//! The processes of a run: where they may run, how they start and end, what CPU time they took.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use core_affinity::CoreId;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::http1::parse_head;
use crate::bench::cluster::Process;

/// Between two looks at a process that is starting.
const LOOK_AGAIN: Duration = Duration::from_micros(200);
/// Nothing takes longer to start, or it never will.
const START_PATIENCE: Duration = Duration::from_secs(10);
/// A thousand open sockets are two thousand connections of a sidecar's; this leaves room.
const DESCRIPTORS: u64 = 8_192;
/// What the sidecar is told of its dashboard.
pub(super) const DASHBOARD: &str = "clv";

/// Which CPU is whose. `None` leaves everything to the kernel.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cores {
    proxies: Option<CoreId>,
    load: Option<CoreId>,
}

impl Cores {
    /// The first for the proxies, the second for the load and the upstream; with a single one nothing can be kept apart.
    pub(super) fn find() -> Self {
        match core_affinity::get_core_ids().as_deref() {
            Some([first, second, ..]) => Self { proxies: Some(*first), load: Some(*second) },
            _ => Self { proxies: None, load: None },
        }
    }

    pub(super) fn are_apart(self) -> bool {
        self.load.is_some()
    }

    /// From here on this thread, and what it starts, runs beside the upstream.
    pub(super) fn pin_load(self) {
        pin(self.load);
    }

    /// Starts a proxy on the CPU of its own; also says when.
    fn start_proxy(self, command: &mut Command) -> anyhow::Result<(Instant, Process)> {
        start(self.proxies, command)
    }

    fn start_upstream(self, command: &mut Command) -> anyhow::Result<Process> {
        start(self.load, command).map(|(_, process)| process)
    }
}

fn pin(core: Option<CoreId>) {
    if let Some(core) = core {
        // It is one of those that the kernel named; if it is gone since, the run is unpinned and no less true.
        let _ = core_affinity::set_for_current(core);
    }
}

/// A process runs where the thread that started it does, so a thread is pinned for that.
fn start(core: Option<CoreId>, command: &mut Command) -> anyhow::Result<(Instant, Process)> {
    let program = PathBuf::from(command.get_program());
    let started = std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            pin(core);
            let begun = Instant::now();
            command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().map(|child| (begun, Process(child)))
        });
        thread.join()
    });
    // The closure does not panic.
    started.map_err(|_| anyhow::anyhow!("starting failed"))?.with_context(|| program.display().to_string())
}

/// Raises the number of descriptors for this process and those that it starts.
pub(super) fn raise_descriptor_limit() -> anyhow::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= DESCRIPTORS) {
        return Ok(());
    }
    if limit.maximum.is_some_and(|maximum| maximum < DESCRIPTORS) {
        bail!("{DESCRIPTORS} open files are needed: ulimit -Hn {DESCRIPTORS}");
    }
    Ok(setrlimit(Resource::Nofile, Rlimit { current: Some(DESCRIPTORS), maximum: limit.maximum })?)
}

/// Starts the programs of a run.
pub(super) struct Starter {
    pub(super) cores: Cores,
    pub(super) kyros: PathBuf,
    pub(super) sidecar: PathBuf,
    pub(super) jwks: PathBuf,
    pub(super) issuer: &'static str,
}

impl Starter {
    pub(super) fn upstream(&self, listen: SocketAddr, unix: &Path) -> anyhow::Result<Process> {
        let mut command = self.part("upstream");
        command.arg("--listen").arg(listen.to_string()).arg("--unix").arg(unix);
        self.cores.start_upstream(&mut command)
    }

    pub(super) fn pass_through(&self, listen: SocketAddr, upstream: SocketAddr) -> anyhow::Result<Process> {
        let mut command = self.part("pass-through");
        command.arg("--listen").arg(listen.to_string()).arg("--upstream").arg(upstream.to_string());
        self.cores.start_proxy(&mut command).map(|(_, process)| process)
    }

    /// The sidecar with these settings and no others, whatever the shell has set.
    pub(super) fn sidecar(&self, listen: SocketAddr, upstream: &str) -> anyhow::Result<(Instant, Process)> {
        let mut command = Command::new(&self.sidecar);
        command
            .arg("sidecar")
            .env_clear()
            .env("KYROS_LISTEN", listen.to_string())
            .env("KYROS_UPSTREAM", upstream)
            .env("KYROS_JWKS", &self.jwks)
            .env("KYROS_ISSUER", self.issuer)
            .env("KYROS_DASHBOARD", DASHBOARD)
            // All the load is one person's, whose sockets would otherwise end at 64.
            .env("KYROS_MAX_SOCKETS_PER_SESSION", "4096")
            .stdin(Stdio::null());
        self.cores.start_proxy(&mut command)
    }

    fn part(&self, name: &str) -> Command {
        let mut command = Command::new(&self.kyros);
        // It ends when this pipe does, so also when nobody was left to end it.
        command.args(["bench", "part", name]).stdin(Stdio::piped());
        command
    }
}

/// Waits for the first 200 and says when it was there.
pub(super) fn until_answered(child: &mut Child, address: SocketAddr, request: &[u8]) -> anyhow::Result<Instant> {
    let deadline = Instant::now() + START_PATIENCE;
    loop {
        let answer = ask_once(address, request);
        if answer.as_ref().is_ok_and(|status| *status == 200) {
            return Ok(Instant::now());
        }
        if let Some(status) = child.try_wait()? {
            bail!("ended at once: {status}");
        }
        if Instant::now() > deadline {
            let status = answer.context("does not answer")?;
            bail!("answers {status} instead of 200");
        }
        std::thread::sleep(LOOK_AGAIN);
    }
}

/// The status of an answer on a connection of its own.
pub(super) fn ask_once(address: SocketAddr, request: &[u8]) -> anyhow::Result<u16> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(START_PATIENCE))?;
    stream.write_all(request)?;
    let mut buffer = [0; 4096];
    let mut filled = 0;
    loop {
        let read = stream.read(&mut buffer[filled..])?;
        if read == 0 {
            bail!("no answer");
        }
        filled += read;
        if let Some(head) = parse_head(&buffer[..filled])? {
            return Ok(head.status);
        }
    }
}

/// What some processes have had of the CPUs so far, to the scheduler's own precision (its last tick).
pub(super) fn cpu_time(pids: &[u32]) -> anyhow::Result<Duration> {
    let mut nanoseconds = 0;
    for pid in pids {
        let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).with_context(|| format!("process {pid}"))?;
        for task in tasks {
            // A thread may end while they are listed.
            let Ok(text) = std::fs::read_to_string(task?.path().join("schedstat")) else { continue };
            nanoseconds += first_number(&text).context("no figures of the scheduler: it needs CONFIG_SCHED_INFO")?;
        }
    }
    Ok(Duration::from_nanos(nanoseconds))
}

fn first_number(text: &str) -> Option<u64> {
    text.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_grows_while_something_is_done() {
        let own = [std::process::id()];
        let before = cpu_time(&own).unwrap();
        let until = Instant::now() + Duration::from_millis(50);
        while Instant::now() < until {}
        assert!(cpu_time(&own).unwrap() > before);
        assert_eq!(cpu_time(&[]).unwrap(), Duration::ZERO);
        assert!(cpu_time(&[0]).is_err());
    }

    #[test]
    fn the_first_number_is_the_time_on_a_cpu() {
        assert_eq!(first_number("8431 12 3\n"), Some(8431));
        assert_eq!(first_number(""), None);
    }
}
