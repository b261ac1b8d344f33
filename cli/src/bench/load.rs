//! Two kinds of load. Closed: every connection asks again as soon as it is answered, which shows what a target can do. Open:
//! requests come when they are due, whatever became of the last one, which shows what a person waits.

use std::{
    net::SocketAddr,
    os::fd::OwnedFd,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use futures_util::future::try_join_all;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::{
    io::{Interest, unix::AsyncFd},
    task::JoinSet,
};

use super::{http1::Connection, percentile, processes::CpuTimes};

/// Connections of the open load.
pub(crate) const OPEN_CONNECTIONS: u32 = 16;
/// What happens before a slice is counted: connections are opened, the token is seen, caches grow warm.
pub(crate) const WARM_UP: Duration = Duration::from_millis(200);
/// How long the answers under way at a slice's end may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The next request each time, the same or another.
pub(crate) type Requests = Arc<dyn Fn() -> Arc<[u8]> + Send + Sync>;

/// One request again and again.
pub(crate) fn same(request: Arc<[u8]>) -> Requests {
    Arc::new(move || request.clone())
}

/// What is asked of whom, and which answer is one.
#[derive(Clone)]
pub(crate) struct Load {
    pub(crate) address: SocketAddr,
    pub(crate) requests: Requests,
    /// Any other status is an error.
    pub(crate) status: u16,
    /// 429 is no error either: it is counted.
    pub(crate) may_be_refused: bool,
}

impl Load {
    /// A load whose answers have to be 200.
    pub(crate) fn new(address: SocketAddr, requests: Requests) -> Self {
        Self { address, requests, status: 200, may_be_refused: false }
    }

    /// Asks once; says whether it was answered, and not refused.
    async fn ask(&self, connection: &mut Connection) -> anyhow::Result<bool> {
        let status = connection.exchange(&(self.requests)()).await?.status;
        match status {
            429 if self.may_be_refused => Ok(false),
            _ if status == self.status => Ok(true),
            _ => bail!("answered {status} instead of {}", self.status),
        }
    }
}

/// What a target did in a slice of closed load.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Throughput {
    pub(crate) requests_per_second: f64,
    /// Of all its processes together; unknown for one whose processes are.
    pub(crate) cpu_micros_per_request: Option<f64>,
    /// How much of a CPU it had.
    pub(crate) cpu_share: Option<f64>,
}

/// What a target's clients waited in a slice of open load, in microseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Latency {
    pub(crate) p50_micros: f64,
    pub(crate) p99_micros: f64,
}

#[derive(Default)]
struct Progress {
    answered: AtomicU64,
    refused: AtomicU64,
    stop: AtomicBool,
}

/// A moment of a slice.
struct Mark {
    at: Instant,
    answered: u64,
    cpu: CpuTimes,
}

impl Mark {
    fn now(progress: &Progress, pids: &[u32]) -> anyhow::Result<Self> {
        let cpu = CpuTimes::of(pids)?;
        Ok(Self { at: Instant::now(), answered: progress.answered.load(Ordering::Relaxed), cpu })
    }
}

/// How many were answered, and how many refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) answered: u64,
    pub(crate) refused: u64,
}

/// Closed load under way.
pub(crate) struct Closed {
    workers: JoinSet<anyhow::Result<()>>,
    progress: Arc<Progress>,
}

impl Closed {
    pub(crate) fn start(load: &Load, connections: usize) -> Self {
        let progress = Arc::new(Progress::default());
        let mut workers = JoinSet::new();
        for _ in 0..connections {
            workers.spawn(ask_again_and_again(load.clone(), progress.clone()));
        }
        Self { workers, progress }
    }

    /// Lets it go on, and stops at the first failure.
    pub(crate) async fn watch(&mut self, time: Duration) -> anyhow::Result<()> {
        tokio::select! {
            () = tokio::time::sleep(time) => Ok(()),
            Some(ended) = self.workers.join_next() => {
                ended??;
                bail!("a connection stopped asking")
            }
        }
    }

    /// Waits for the answers that are under way.
    pub(crate) async fn end(self) -> anyhow::Result<Counts> {
        self.progress.stop.store(true, Ordering::Relaxed);
        all_done(self.workers, PATIENCE).await?;
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Ok(Counts { answered: count(&self.progress.answered), refused: count(&self.progress.refused) })
    }
}

/// One slice of closed load.
pub(crate) async fn closed(
    load: &Load,
    connections: usize,
    slice: Duration,
    pids: &[u32],
) -> anyhow::Result<Throughput> {
    let mut closed = Closed::start(load, connections);
    closed.watch(WARM_UP).await?;
    let before = Mark::now(&closed.progress, pids)?;
    closed.watch(slice).await?;
    let after = Mark::now(&closed.progress, pids)?;
    closed.end().await?;
    let requests = after.answered - before.answered;
    if requests == 0 {
        bail!("not one answer in {} ms", slice.as_millis());
    }
    let seconds = (after.at - before.at).as_secs_f64();
    let cpu_seconds = (!pids.is_empty()).then(|| after.cpu.since(&before.cpu).as_secs_f64());
    Ok(Throughput {
        requests_per_second: requests as f64 / seconds,
        cpu_micros_per_request: cpu_seconds.map(|cpu| cpu * 1e6 / requests as f64),
        cpu_share: cpu_seconds.map(|cpu| cpu / seconds),
    })
}

async fn ask_again_and_again(load: Load, progress: Arc<Progress>) -> anyhow::Result<()> {
    let mut connection = Connection::open(load.address).await?;
    while !progress.stop.load(Ordering::Relaxed) {
        let counter = if load.ask(&mut connection).await? { &progress.answered } else { &progress.refused };
        counter.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

async fn all_done<T: 'static>(mut workers: JoinSet<anyhow::Result<T>>, patience: Duration) -> anyhow::Result<Vec<T>> {
    let all = async {
        let mut results = Vec::new();
        while let Some(ended) = workers.join_next().await {
            results.push(ended??);
        }
        anyhow::Ok(results)
    };
    tokio::time::timeout(patience, all).await.context("the last answers never came")?
}

/// One slice of open load at so many requests a second. A wait begins when its request was due, so that a target that holds
/// one request up is charged for those behind it, too.
pub(crate) async fn open(load: &Load, slice: Duration, requests_per_second: f64) -> anyhow::Result<Latency> {
    // All at once: where each waits for long, the first would otherwise be closed for idleness before the last is there.
    let connected = async || {
        let mut connection = Connection::open(load.address).await?;
        load.ask(&mut connection).await?;
        anyhow::Ok(connection)
    };
    let connections = try_join_all((0..OPEN_CONNECTIONS).map(|_| connected())).await?;
    let begin = Instant::now() + Duration::from_millis(1);
    let mut workers = JoinSet::new();
    for (connection, number) in connections.into_iter().zip(0..) {
        let due = DueTimes { begin, number, requests_per_second };
        workers.spawn(ask_when_due(connection, load.clone(), due, begin + slice));
    }
    let mut waits = all_done(workers, slice + PATIENCE).await?.concat();
    let mut at = |percent| percentile(&mut waits, percent).context("the slice is too short for this rate").map(micros);
    Ok(Latency { p50_micros: at(50)?, p99_micros: at(99)? })
}

/// When one of the connections has to ask: all of them take turns, evenly.
#[derive(Debug, Clone, Copy)]
struct DueTimes {
    begin: Instant,
    number: u32,
    requests_per_second: f64,
}

impl DueTimes {
    fn at(&self, turn: u32) -> Instant {
        let request = f64::from(turn) * f64::from(OPEN_CONNECTIONS) + f64::from(self.number);
        self.begin + Duration::from_secs_f64(request / self.requests_per_second)
    }
}

async fn ask_when_due(
    mut connection: Connection,
    load: Load,
    due: DueTimes,
    end: Instant,
) -> anyhow::Result<Vec<Duration>> {
    let alarm = Alarm::new()?;
    let mut waits = Vec::new();
    for turn in 0.. {
        let due = due.at(turn);
        if due >= end {
            break;
        }
        alarm.wait_until(due).await?;
        load.ask(&mut connection).await?;
        waits.push(due.elapsed());
    }
    Ok(waits)
}

pub(crate) fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

/// A timer of the kernel's: the runtime's own ticks once in a millisecond, which is longer than everything measured here.
struct Alarm(AsyncFd<OwnedFd>);

impl Alarm {
    fn new() -> anyhow::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        #[expect(
            deprecated,
            reason = "unsound for descriptors that somebody else owns; its successor is unsafe to call"
        )]
        let timer = AsyncFd::with_interest(timer, Interest::READABLE)?;
        Ok(Self(timer))
    }

    async fn wait_until(&self, moment: Instant) -> anyhow::Result<()> {
        while let Some(left) = moment.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
            let it_value = Timespec { tv_sec: left.as_secs().try_into()?, tv_nsec: left.subsec_nanos().into() };
            let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value };
            timerfd_settime(&self.0, TimerfdTimerFlags::empty(), &once)?;
            // Setting it again takes back what it has to tell, so that need not be read.
            self.0.readable().await?.clear_ready();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_take_turns_evenly() {
        let begin = Instant::now();
        let due = |number, turn| DueTimes { begin, number, requests_per_second: 1_000.0 }.at(turn) - begin;
        assert_eq!(due(0, 0), Duration::ZERO);
        assert_eq!(due(1, 0), Duration::from_millis(1));
        assert_eq!(due(15, 0), Duration::from_millis(15));
        assert_eq!(due(0, 1), Duration::from_millis(16));
    }

    #[tokio::test]
    async fn an_alarm_rings_in_time_and_again() {
        let alarm = Alarm::new().unwrap();
        for _ in 0..3 {
            let due = Instant::now() + Duration::from_micros(300);
            alarm.wait_until(due).await.unwrap();
            assert!(Instant::now() >= due);
        }
        alarm.wait_until(Instant::now()).await.unwrap();
    }
}
