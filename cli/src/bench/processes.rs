//! The processes of a run: where they may run, how they start and end, what CPU time they took.

use std::{
    collections::HashMap,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use core_affinity::CoreId;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use kyros_control_plane::free_port;

use super::{cluster::Process, http1::parse_head};

/// Between two looks at a process that is starting.
const LOOK_AGAIN: Duration = Duration::from_micros(200);
/// Nothing takes longer to start, or it never will.
const START_PATIENCE: Duration = Duration::from_secs(10);
/// A thousand open sockets are two thousand connections of a sidecar's; this leaves room.
const DESCRIPTORS: u64 = 8_192;

/// Which CPU is whose. `None` leaves everything to the kernel.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cores {
    measured: Option<CoreId>,
    load: Option<CoreId>,
}

impl Cores {
    /// The first for what is measured, the second for the load; with a single one nothing can be kept apart.
    pub(crate) fn find() -> Self {
        match core_affinity::get_core_ids().as_deref() {
            Some([first, second, ..]) => Self { measured: Some(*first), load: Some(*second) },
            _ => Self { measured: None, load: None },
        }
    }

    pub(crate) fn are_apart(self) -> bool {
        self.load.is_some()
    }

    /// From here on this thread, and what it starts, runs on the second.
    pub(crate) fn pin_load(self) {
        pin(self.load);
    }

    /// Starts what is measured on the CPU of its own; also says when.
    pub(crate) fn start_measured(self, command: &mut Command) -> anyhow::Result<(Instant, Process)> {
        start(self.measured, command)
    }

    /// Starts something that runs beside the load.
    pub(crate) fn start_beside_load(self, command: &mut Command) -> anyhow::Result<Process> {
        start(self.load, command).map(|(_, process)| process)
    }
}

/// Starts something on all CPUs, if this thread is not pinned yet.
pub(crate) fn start_anywhere(command: &mut Command) -> anyhow::Result<Process> {
    start(None, command).map(|(_, process)| process)
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
            command.spawn().map(|child| (begun, Process(child)))
        });
        thread.join()
    });
    // The closure does not panic.
    started.map_err(|_| anyhow::anyhow!("starting failed"))?.with_context(|| program.display().to_string())
}

/// Raises the number of descriptors for this process and those that it starts.
pub(crate) fn raise_descriptor_limit() -> anyhow::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= DESCRIPTORS) {
        return Ok(());
    }
    if limit.maximum.is_some_and(|maximum| maximum < DESCRIPTORS) {
        bail!("{DESCRIPTORS} open files are needed: ulimit -Hn {DESCRIPTORS}");
    }
    Ok(setrlimit(Resource::Nofile, Rlimit { current: Some(DESCRIPTORS), maximum: limit.maximum })?)
}

/// A process of this program's own, which ends when its standard input does: also when nobody was left to end it.
pub(crate) fn part(kyros: &Path, name: &str) -> Command {
    let mut command = Command::new(kyros);
    command.args(["bench", "part", name]).stdin(Stdio::piped());
    command
}

/// A port of loopback that was free a moment ago.
pub(crate) fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?)))
}

/// Waits for the first 200 and says when it was there.
pub(crate) fn until_answered(child: &mut Child, address: SocketAddr, request: &[u8]) -> anyhow::Result<Instant> {
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
pub(crate) fn ask_once(address: SocketAddr, request: &[u8]) -> anyhow::Result<u16> {
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

/// What the threads of some processes have had of the CPUs so far, to the scheduler's own precision (its last tick).
pub(crate) struct CpuTimes(HashMap<PathBuf, u64>);

impl CpuTimes {
    pub(crate) fn of(pids: &[u32]) -> anyhow::Result<Self> {
        let mut threads = HashMap::new();
        for pid in pids {
            let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).with_context(|| format!("process {pid}"))?;
            for task in tasks {
                let task = task?.path();
                // A thread may end while they are listed.
                let Ok(text) = std::fs::read_to_string(task.join("schedstat")) else { continue };
                let nanoseconds =
                    first_number(&text).context("no figures of the scheduler: it needs CONFIG_SCHED_INFO")?;
                threads.insert(task, nanoseconds);
            }
        }
        Ok(Self(threads))
    }

    /// What they have had since. A thread that has ended takes its time along; pools end those that had long been idle.
    pub(crate) fn since(&self, earlier: &Self) -> Duration {
        let more = |(thread, nanoseconds): (&PathBuf, &u64)| {
            let before = earlier.0.get(thread).copied().unwrap_or_default();
            // Less than before is another thread, which got an ended one's number.
            nanoseconds.checked_sub(before).unwrap_or(*nanoseconds)
        };
        Duration::from_nanos(self.0.iter().map(more).sum())
    }
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
        let before = CpuTimes::of(&own).unwrap();
        let until = Instant::now() + Duration::from_millis(50);
        while Instant::now() < until {}
        assert!(CpuTimes::of(&own).unwrap().since(&before) > Duration::from_millis(10));
        assert!(CpuTimes::of(&[]).unwrap().0.is_empty());
        assert!(CpuTimes::of(&[0]).is_err());
    }

    #[test]
    fn threads_that_begin_and_end_take_nothing_from_others() {
        let times =
            |threads: &[(&str, u64)]| CpuTimes(threads.iter().map(|(task, time)| (task.into(), *time)).collect());
        let (before, after) =
            (times(&[("one", 5), ("ended", 100), ("again", 50)]), times(&[("one", 8), ("new", 4), ("again", 2)]));
        assert_eq!(after.since(&before), Duration::from_nanos(3 + 4 + 2));
    }

    #[test]
    fn the_first_number_is_the_time_on_a_cpu() {
        assert_eq!(first_number("8431 12 3\n"), Some(8431));
        assert_eq!(first_number(""), None);
    }
}
