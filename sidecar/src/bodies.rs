//! Bodies on their way through: bounded, without trailers, cut off when nothing moves or the authority behind them ends.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use bytes::Bytes;
use hyper::body::{Body as _, Frame, Incoming, SizeHint};
use kyros_http_server::{BoxError, Connection, ResetWatch};
use thiserror::Error;
use tokio::{sync::Notify, task::AbortHandle, time::Sleep};

use crate::{authority, finish::Finish, revocations::Revocations, upstream::Lease};

/// Resolves when the authority behind a request ends.
pub(crate) type Ended = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Never: nobody's authority stands behind a body.
pub(crate) fn never() -> Ended {
    Box::pin(std::future::pending())
}

/// Every body that the sidecar sends, either way.
pub(crate) enum Body {
    /// All there already.
    Whole(Option<Bytes>),
    /// As it comes.
    Passing(Box<Passing>),
}

/// Why a body is cut off; the connection ends with it, so that it never looks complete.
#[derive(Debug, Error)]
enum CutOff {
    #[error("nothing came for too long")]
    Idle,
    #[error("the body is too large")]
    TooLarge,
}

/// A body that is read from one connection and written to another.
pub(crate) struct Passing {
    inner: Incoming,
    /// Bytes that may still pass.
    left: u64,
    passed: u64,
    /// When all had been read.
    ended: Option<Instant>,
    idle: Duration,
    /// Armed when the body is waited for the first time: most are there by then.
    timer: Option<Pin<Box<Sleep>>>,
    watch: Watch,
    /// Kept where somebody looks at it.
    progress: Option<Arc<Progress>>,
    /// Given back at the end.
    lease: Option<Lease>,
    /// Told how many bytes passed, whatever ends the body.
    on_end: Option<Finish>,
}

/// What ends an answer before its time. A client that reads slowly keeps the body from being asked for anything, so the
/// watch is a task of its own, and it ends the connection.
enum Watch {
    /// Nothing but the body itself.
    None,
    /// Not begun: most bodies are there at once, covered by what was verified when the request was forwarded.
    Due(authority::Authority, Revocations, Connection),
    Begun {
        _task: Task,
    },
    /// For the gateway, which has no authority to watch: the sidecar behind resets its answer when it has ended. Not begun for
    /// most bodies either.
    Reset {
        upstream: ResetWatch,
        client: Connection,
        task: Option<Task>,
    },
}

/// How far a body is, for somebody who does not hold it.
#[derive(Default)]
pub(crate) struct Progress {
    /// Frames that were asked for.
    frames: AtomicUsize,
    is_over: AtomicBool,
    over: Notify,
}

impl Progress {
    /// Whether all has been read.
    pub(crate) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    /// Resolves when all has been read.
    pub(crate) async fn over(&self) {
        while !self.is_over() {
            self.over.notified().await;
        }
    }

    /// Resolves when nothing is asked for during so long.
    pub(crate) async fn stalls(&self, limit: Duration) {
        loop {
            let before = self.frames.load(Ordering::Relaxed);
            tokio::time::sleep(limit).await;
            if self.frames.load(Ordering::Relaxed) == before {
                return;
            }
        }
    }
}

/// A task that ends with this value.
pub(crate) struct Task(Option<AbortHandle>);

impl Task {
    pub(crate) fn spawn(task: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(Some(tokio::spawn(task).abort_handle()))
    }

    /// Lets it run to its own end.
    pub(crate) fn detach(mut self) {
        self.0 = None;
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

impl Watch {
    /// Watches the authority, and that frames are asked for: a client that reads no more holds its connection and the
    /// dashboard's no longer than a dashboard that says no more.
    fn begin(&mut self, progress: &mut Option<Arc<Progress>>, idle: Duration) {
        if let Self::Reset { upstream, client, task: task @ None } = self {
            let (upstream, client) = (upstream.clone(), client.clone());
            *task = Some(Task::spawn(async move {
                upstream.reset().await;
                client.cut();
            }));
        }
        if matches!(self, Self::Due(..))
            && let Self::Due(authority, revocations, connection) = std::mem::replace(self, Self::None)
        {
            let progress = progress.insert(Arc::default()).clone();
            let watch = async move {
                tokio::select! {
                    () = authority.ended(revocations) => (),
                    () = progress.stalls(idle) => (),
                }
                connection.cut();
            };
            *self = Self::Begun { _task: Task::spawn(watch) };
        }
    }

    /// Passes a reset on: the client gets no more of an answer that was taken back.
    fn failed(&self, error: &hyper::Error) {
        if let Self::Reset { client, .. } = self
            && is_reset(error)
        {
            client.cut();
        }
    }

    /// All has been read, and the connection that it was read from is no longer this answer's.
    fn end(&mut self) {
        if let Self::Reset { .. } = self {
            *self = Self::None;
        }
    }
}

impl Body {
    pub(crate) const fn empty() -> Self {
        Self::Whole(None)
    }

    /// What a client sends: at most `limit` bytes, with pauses of at most `idle`.
    pub(crate) fn request(incoming: Incoming, limit: u64, idle: Duration) -> Self {
        if incoming.is_end_stream() {
            return Self::empty();
        }
        let mut passing = Passing::new(incoming, limit, idle);
        passing.progress = Some(Arc::default());
        Self::Passing(Box::new(passing))
    }

    /// How far an upload is; nothing where there is none.
    pub(crate) fn progress(&self) -> Option<Arc<Progress>> {
        match self {
            Self::Passing(passing) => passing.progress.clone(),
            Self::Whole(_) => None,
        }
    }

    /// What an upstream answers. The connection goes back to its pool when all has been read.
    pub(crate) fn answer(incoming: Incoming, idle: Duration, lease: Lease) -> Self {
        if incoming.is_end_stream() {
            lease.give_back(Instant::now());
            return Self::empty();
        }
        let mut passing = Passing::new(incoming, u64::MAX, idle);
        passing.lease = Some(lease);
        Self::Passing(Box::new(passing))
    }

    /// Cuts the client's connection when the authority behind the answer ends.
    pub(crate) fn until(
        mut self,
        authority: authority::Authority,
        revocations: &Revocations,
        client: &Connection,
    ) -> Self {
        if let Self::Passing(passing) = &mut self {
            passing.watch = Watch::Due(authority, revocations.clone(), client.clone());
        }
        self
    }

    /// Resets the client's connection when the upstream resets its own.
    pub(crate) fn unless_reset(mut self, client: &Connection) -> Self {
        if let Self::Passing(passing) = &mut self
            && let Some(upstream) = passing.lease.as_ref().and_then(Lease::reset)
        {
            passing.watch = Watch::Reset { upstream, client: client.clone(), task: None };
        }
        self
    }

    /// Tells `on_end` how many bytes passed, when the body has ended in whatever way.
    pub(crate) fn on_end(mut self, on_end: Finish) -> Self {
        match &mut self {
            Self::Passing(passing) => passing.on_end = Some(on_end),
            Self::Whole(bytes) => on_end.finish(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64), Instant::now()),
        }
        self
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self::Whole(Some(bytes).filter(|bytes| !bytes.is_empty()))
    }
}

impl Default for Body {
    fn default() -> Self {
        Self::empty()
    }
}

impl Passing {
    fn new(inner: Incoming, left: u64, idle: Duration) -> Self {
        Self {
            inner,
            left,
            passed: 0,
            ended: None,
            idle,
            timer: None,
            watch: Watch::None,
            progress: None,
            lease: None,
            on_end: None,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.passed > 0 {
            self.watch.begin(&mut self.progress, self.idle);
        }
        loop {
            match Pin::new(&mut self.inner).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    // Trailers could carry what the header rules removed.
                    let Ok(data) = frame.into_data() else { continue };
                    self.passed += data.len() as u64;
                    if let Some(progress) = &self.progress {
                        progress.frames.fetch_add(1, Ordering::Relaxed);
                    }
                    self.left = self.left.checked_sub(data.len() as u64).ok_or(CutOff::TooLarge)?;
                    if let Some(timer) = &mut self.timer {
                        timer.as_mut().reset(tokio::time::Instant::now() + self.idle);
                    }
                    // hyper does not ask for more than the promised length, so this may be the last time that it asks.
                    if self.inner.is_end_stream() {
                        self.end();
                    }
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Poll::Ready(Some(Err(error))) => {
                    self.watch.failed(&error);
                    return Poll::Ready(Some(Err(error.into())));
                }
                Poll::Ready(None) => {
                    self.end();
                    return Poll::Ready(None);
                }
                Poll::Pending => {
                    let idle = self.idle;
                    let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(idle)));
                    if timer.as_mut().poll(cx).is_ready() {
                        return Poll::Ready(Some(Err(CutOff::Idle.into())));
                    }
                    self.watch.begin(&mut self.progress, self.idle);
                    return Poll::Pending;
                }
            }
        }
    }

    /// All has been read.
    fn end(&mut self) {
        self.watch.end();
        if let Some(progress) = &self.progress {
            progress.is_over.store(true, Ordering::Relaxed);
            progress.over.notify_one();
        }
        if let Some(lease) = self.lease.take() {
            let now = Instant::now();
            self.ended = Some(now);
            lease.give_back(now);
        }
    }
}

impl Drop for Passing {
    fn drop(&mut self) {
        if let Some(on_end) = self.on_end.take() {
            on_end.finish(self.passed, self.ended.unwrap_or_else(Instant::now));
        }
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.get_mut() {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Passing(passing) => match ready!(passing.poll(cx)) {
                Some(Err(error)) => {
                    tracing::debug!(%error, "body cut off");
                    Poll::Ready(Some(Err(error)))
                }
                frame => Poll::Ready(frame),
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_none(),
            Self::Passing(passing) => passing.inner.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Passing(passing) => passing.inner.size_hint(),
        }
    }
}

/// Whether a request failed because its body was larger than allowed.
pub(crate) fn is_too_large(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(current) = cause {
        if matches!(current.downcast_ref(), Some(CutOff::TooLarge)) {
            return true;
        }
        cause = current.source();
    }
    false
}

fn is_reset(error: &hyper::Error) -> bool {
    let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<std::io::Error>());
    cause.is_some_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset)
}
