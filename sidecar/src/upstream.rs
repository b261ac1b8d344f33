//! Connections to one upstream, kept for the next request: the dashboard over loopback TCP or a Unix socket, the API, or
//! another sidecar behind the gateway.
//!
//! A pool of our own over hyper's connections, because only it knows whether a connection was used before: a request may be
//! sent twice only where the first one died with a connection that the upstream had closed meanwhile.

use std::{
    collections::HashMap,
    fmt,
    future::poll_fn,
    io,
    path::PathBuf,
    pin::Pin,
    str::FromStr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::Poll,
    time::{Duration, Instant},
};

use http::{Method, Request, Response, Uri, Version, uri::PathAndQuery};
use hyper::{
    body::{Body as _, Incoming},
    client::conn::http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;
use kyros_http_server::{Alarm, Inspect, Inspected, Stream};
use memchr::memmem;
use thiserror::Error;
use tokio::net::{TcpStream, UnixStream};

use crate::{
    answer::Refusal,
    bodies::{Body, Ended, Progress, Task, is_too_large},
};

/// Below gunicorn's keep-alive of 2 s: a pooled connection must not be closed by the upstream as it is being reused.
const POOL_IDLE: Duration = Duration::from_millis(1500);
/// A dashboard closes a connection on which nothing happens; one that was used just now it hardly ever closes. Copying every
/// request for that case would cost more than most of the checks, so only one on a rested connection is kept.
pub(crate) const RESTED: Duration = Duration::from_millis(20);
/// Loopback answers at once or not at all.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Idle connections kept.
const POOL_SIZE: usize = 64;
/// Largest head of an answer, in bytes.
const MAX_HEAD: usize = 64 * 1024;
/// Read and write buffers of a busy connection grow up to this.
const MAX_BUFFER: usize = 128 * 1024;
/// Bytes that an upstream may send until an answer's head has been taken: the head, and the part of the body that is read along
/// with it. hyper's buffer grows beyond what it is told, and it reads no more of a body than once before it is asked to.
const MAX_BEFORE_ANSWER: usize = 1024 * 1024;
/// Interim answers (1xx) to one request.
const MAX_INTERIM: usize = 10;
/// For so long a request is only waited for; after that its authority is watched too. Far below the second in which a
/// revocation must be felt, and longer than nearly all requests take.
const UNWATCHED: Duration = Duration::from_millis(200);

/// Where a dashboard listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum UpstreamAddress {
    /// `host:port`.
    Tcp(String),
    /// A socket file.
    Unix(PathBuf),
}

/// Why a text is no address of an upstream.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0:?}: write host:port, or unix:PATH with an absolute path of at most 107 bytes")]
pub struct UpstreamAddressError(String);

impl FromStr for UpstreamAddress {
    type Err = UpstreamAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || UpstreamAddressError(text.to_owned());
        if let Some(path) = text.strip_prefix("unix:") {
            // 108 bytes with a NUL at the end: `sockaddr_un`, unix(7).
            return if path.starts_with('/') && path.len() < 108 { Ok(Self::Unix(path.into())) } else { Err(wrong()) };
        }
        let authority: http::uri::Authority = text.parse().map_err(|_| wrong())?;
        let is_plain = authority.port_u16().is_some_and(|port| port > 0) && !text.contains('@');
        if is_plain { Ok(Self::Tcp(text.to_owned())) } else { Err(wrong()) }
    }
}

impl fmt::Display for UpstreamAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => f.write_str(address),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl UpstreamAddress {
    /// The port, where there is one.
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::Tcp(address) => address.rsplit_once(':')?.1.parse().ok(),
            Self::Unix(_) => None,
        }
    }

    /// Connects, within a second.
    pub(crate) async fn connect(&self) -> io::Result<Stream> {
        let connecting = async {
            match self {
                Self::Tcp(address) => TcpStream::connect(address).await.map(Stream::of_tcp),
                Self::Unix(path) => UnixStream::connect(path).await.map(Stream::Unix),
            }
        };
        tokio::time::timeout(CONNECT_TIMEOUT, connecting).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }
}

/// One upstream.
#[derive(Clone)]
pub(crate) struct Upstream(Arc<Pool>);

struct Pool {
    address: UpstreamAddress,
    /// From the request's end to the answer's beginning.
    timeout: Duration,
    /// Safe requests are kept, to be sent again, where the connection was not used for so long.
    rested: Duration,
    idle: Mutex<Vec<Idle>>,
}

/// A connection, seen from the side that sends requests.
struct Sender {
    requests: SendRequest<Body>,
    allowance: Allowance,
    /// Rings when a request has been waited for long.
    alarm: Alarm,
    /// Ends the connection when nobody will use it any more, also in the middle of a body that goes on.
    connection: Task,
}

struct Idle {
    sender: Sender,
    since: Instant,
}

/// A connection that a request was sent on, to be given back when its answer has been read to the end.
pub(crate) struct Lease {
    sender: Sender,
    pool: Arc<Pool>,
    /// The request's body. An answer that comes before its end leaves a connection on which the rest would still be sent, and
    /// a client that would still be read from.
    upload: Option<Arc<Progress>>,
}

impl Lease {
    /// Lets the connection become a socket, which lives without this.
    pub(crate) fn release(self) {
        self.sender.connection.detach();
    }

    /// Keeps the connection for the next request.
    pub(crate) fn give_back(self, now: Instant) {
        if self.upload.is_some_and(|upload| !upload.is_over()) {
            return;
        }
        let mut idle = self.pool.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < POOL_SIZE && !self.sender.requests.is_closed() {
            idle.push(Idle { sender: self.sender, since: now });
        }
    }
}

/// An answer whose body has not been read yet.
pub(crate) struct Answer {
    pub(crate) response: Response<Incoming>,
    pub(crate) lease: Lease,
}

impl Upstream {
    pub(crate) fn new(address: UpstreamAddress, timeout: Duration) -> Self {
        Self::rested(address, timeout, Duration::ZERO)
    }

    /// One whose requests are kept only where a connection has rested for a while.
    pub(crate) fn rested(address: UpstreamAddress, timeout: Duration, rested: Duration) -> Self {
        Self(Arc::new(Pool { address, timeout, rested, idle: Mutex::default() }))
    }

    /// Sends a request; only the path and query of its target are kept. `ended` is what cuts it off: it is looked at only
    /// when the answer does not come at once.
    ///
    /// Not `async`, like all that takes the request on its way: it would be kept in each future, and moved with it.
    pub(crate) fn send(
        &self,
        mut request: Request<Body>,
        now: Instant,
        ended: impl FnOnce() -> Ended,
    ) -> impl Future<Output = Result<Answer, Refusal>> {
        if request.uri().scheme().is_some() || request.uri().authority().is_some() {
            let target = request.uri().path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
            *request.uri_mut() = Uri::from(target);
        }
        *request.version_mut() = Version::HTTP_11;
        let upload = request.body().progress();
        let (mut first, mut alarm, again) = self.begin(request, now);
        async move {
            let watched_from = now + UNWATCHED.min(self.0.timeout);
            let answered = poll_fn(|cx| match first.as_mut().poll(cx) {
                Poll::Ready(answered) => Poll::Ready(Some(answered)),
                Poll::Pending => alarm.poll_until(cx, watched_from).map(|()| None),
            });
            match answered.await {
                Some(Ok(mut answer)) => {
                    answer.lease.sender.alarm = alarm;
                    Ok(answer)
                }
                Some(Err(failed)) => Box::pin(self.send_again(failed, again)).await,
                None => Box::pin(self.send_slowly(first, again, upload, ended())).await,
            }
        }
    }

    /// Sends on the connection used last, or on a new one; and keeps a copy where the first may be closed already.
    fn begin(&self, request: Request<Body>, now: Instant) -> (Sending, Alarm, Option<Box<Request<Body>>>) {
        match self.checkout(now) {
            Some((mut sender, rested)) => {
                let again = if rested >= self.0.rested { copy_of(&request) } else { None };
                let alarm = std::mem::take(&mut sender.alarm);
                (self.send_on(sender, request), alarm, again)
            }
            None => (self.clone().send_on_new(Box::new(request)), Alarm::default(), None),
        }
    }

    /// Waits on, now also for the end of the authority and of the time.
    async fn send_slowly(
        &self,
        first: Sending,
        again: Option<Box<Request<Body>>>,
        upload: Option<Arc<Progress>>,
        ended: Ended,
    ) -> Result<Answer, Refusal> {
        let answered = async {
            match first.await {
                Ok(answer) => Ok(answer),
                Err(failed) => self.send_again(failed, again).await,
            }
        };
        tokio::select! {
            answer = answered => answer,
            () = ended => Err(Refusal::UNAUTHORIZED),
            () = too_late(upload, self.0.timeout) => Err(Refusal::UPSTREAM_TIMEOUT),
        }
    }

    /// Nothing of the request left, or the upstream closed the connection as it was on its way: once more, on a new one.
    async fn send_again(&self, failed: Failed, again: Option<Box<Request<Body>>>) -> Result<Answer, Refusal> {
        let again = if failed.is_incomplete { again } else { None };
        let request = failed.unsent.or(again).ok_or(failed.refusal)?;
        self.clone().send_on_new(request).await.map_err(|failed| failed.refusal)
    }

    fn send_on_new(self, request: Box<Request<Body>>) -> Sending {
        Box::pin(async move {
            let sender = self.connect().await.map_err(Failed::before)?;
            self.send_on(sender, *request).await
        })
    }

    /// The connection used last, which is the least likely to be closed by now.
    fn checkout(&self, now: Instant) -> Option<(Sender, Duration)> {
        let mut idle = self.0.idle.lock().unwrap_or_else(PoisonError::into_inner);
        // Those at the bottom are the oldest; one look per request keeps the pool as small as it needs to be.
        if idle.first().is_some_and(|oldest| now - oldest.since > POOL_IDLE || oldest.sender.requests.is_closed()) {
            idle.remove(0);
        }
        // One that was given back just now may not have noticed yet that its answer is over.
        let found = idle.iter().rposition(|idle| idle.sender.requests.is_ready())?;
        let Idle { sender, since } = idle.remove(found);
        let rested = now.saturating_duration_since(since);
        (rested <= POOL_IDLE).then_some((sender, rested))
    }

    async fn connect(&self) -> Result<Sender, Refusal> {
        let stream = self.0.address.connect().await.map_err(|error| {
            tracing::debug!(%error, upstream = %self.0.address, "not connected");
            Refusal::UPSTREAM_DOWN
        })?;
        let allowance = Allowance::default();
        let limited = Inspected::new(stream, UpstreamLimit { allowance: allowance.clone(), interim: 0 });
        let (requests, connection) = http1::Builder::new()
            .max_header_size(MAX_HEAD)
            .max_buf_size(MAX_BUFFER)
            .handshake(TokioIo::new(limited))
            .await
            .map_err(|_| Refusal::UPSTREAM_DOWN)?;
        let connection = Task::spawn(async move {
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(%error, "upstream connection ended");
            }
        });
        Ok(Sender { requests, allowance, alarm: Alarm::default(), connection })
    }

    fn send_on(&self, mut sender: Sender, request: Request<Body>) -> Sending {
        sender.allowance.set(MAX_BEFORE_ANSWER);
        let upload = request.body().progress();
        let answer = sender.requests.try_send_request(request);
        let pool = self.0.clone();
        Box::pin(async move {
            match answer.await {
                Ok(response) => {
                    sender.allowance.set(usize::MAX);
                    Ok(Answer { response, lease: Lease { sender, pool, upload } })
                }
                Err(mut failed) => {
                    // Half an answer is an answer: the request was seen, and is not sent again.
                    let is_silent = sender.allowance.is(MAX_BEFORE_ANSWER);
                    let unsent = failed.take_message().map(Box::new);
                    let error = failed.into_error();
                    let refusal = if is_too_large(&error) { Refusal::TOO_LARGE } else { Refusal::UPSTREAM_BROKEN };
                    if unsent.is_none() {
                        tracing::debug!(%error, upstream = %pool.address, "no answer");
                    }
                    Err(Failed { unsent, is_incomplete: is_silent && is_closed_by_upstream(&error), refusal })
                }
            }
        })
    }
}

/// The way back of a request.
type Sending = Pin<Box<dyn Future<Output = Result<Answer, Failed>> + Send>>;

/// A request that got no answer.
struct Failed {
    /// The request itself, where nothing of it left.
    unsent: Option<Box<Request<Body>>>,
    /// The upstream closed the connection before it said anything.
    is_incomplete: bool,
    refusal: Refusal,
}

/// Resolves when an answer should have begun. The time counts from the end of the request: an upload takes as long as it
/// takes, while it moves.
async fn too_late(upload: Option<Arc<Progress>>, timeout: Duration) {
    if let Some(upload) = upload {
        tokio::select! {
            () = upload.over() => (),
            () = upload.stalls(timeout) => return,
        }
    }
    tokio::time::sleep(timeout.saturating_sub(UNWATCHED)).await;
}

impl Failed {
    /// Failed before it was sent, which a second try would not change.
    fn before(refusal: Refusal) -> Self {
        Self { unsent: None, is_incomplete: false, refusal }
    }
}

/// Nothing came, not even half an answer.
fn is_closed_by_upstream(error: &hyper::Error) -> bool {
    let is_reset = std::error::Error::source(error).is_some_and(|cause| {
        let kind = cause.downcast_ref::<io::Error>().map(io::Error::kind);
        matches!(kind, Some(io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset))
    });
    error.is_incomplete_message() || is_reset
}

/// The same request again, if it may be sent twice: a safe method without a body (RFC 9110, section 9.2.2).
fn copy_of(request: &Request<Body>) -> Option<Box<Request<Body>>> {
    let is_safe = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    if !is_safe || !request.body().is_end_stream() {
        return None;
    }
    let mut copy = Request::new(Body::empty());
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    Some(Box::new(copy))
}

/// How many bytes an upstream may still send.
#[derive(Clone, Default)]
struct Allowance(Arc<AtomicUsize>);

impl Allowance {
    fn set(&self, bytes: usize) {
        self.0.store(bytes, Ordering::Relaxed);
    }

    fn is(&self, bytes: usize) -> bool {
        self.0.load(Ordering::Relaxed) == bytes
    }

    fn is_limited(&self) -> bool {
        self.0.load(Ordering::Relaxed) != usize::MAX
    }

    /// Takes what was read off the allowance; false when it was more.
    fn spend(&self, bytes: usize) -> bool {
        let left = self.0.load(Ordering::Relaxed);
        // Without limit: an answer's body is under way.
        if left != usize::MAX {
            self.set(left.saturating_sub(bytes));
        }
        bytes <= left
    }
}

/// Lets an upstream send no more than it may before its answer.
pub(crate) struct UpstreamLimit {
    allowance: Allowance,
    interim: usize,
}

impl UpstreamLimit {
    /// Counts interim answers; false when there are too many. Nearly every read begins with the answer itself, or is of its
    /// body, and is not looked at any further.
    fn tolerates(&mut self, read: &[u8]) -> bool {
        const INTERIM: &[u8] = b"HTTP/1.1 1";
        if !self.allowance.is_limited() || (self.interim == 0 && !read.starts_with(INTERIM)) {
            self.interim = 0;
            return true;
        }
        self.interim += memmem::find_iter(read, INTERIM).count();
        self.interim <= MAX_INTERIM
    }
}

impl Inspect for UpstreamLimit {
    fn inspect(&mut self, read: &[u8]) -> io::Result<()> {
        if self.tolerates(read) && self.allowance.spend(read.len()) {
            Ok(())
        } else {
            Err(io::Error::other("the upstream sends without answering"))
        }
    }
}

/// Upstreams by address, for the gateway, which has many.
pub(crate) struct Upstreams {
    timeout: Duration,
    by_address: Mutex<HashMap<String, Upstream>>,
}

/// More upstreams than an installation has workloads; beyond it all are forgotten and connected anew.
const MAX_UPSTREAMS: usize = 16_384;

impl Upstreams {
    pub(crate) fn new(timeout: Duration) -> Self {
        Self { timeout, by_address: Mutex::default() }
    }

    /// The upstream at `authority` (`host:port`).
    pub(crate) fn at(&self, authority: &str) -> Upstream {
        let mut by_address = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(upstream) = by_address.get(authority) {
            return upstream.clone();
        }
        if by_address.len() >= MAX_UPSTREAMS {
            by_address.clear();
        }
        let upstream = Upstream::new(UpstreamAddress::Tcp(authority.to_owned()), self.timeout);
        by_address.insert(authority.to_owned(), upstream.clone());
        upstream
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upstream_is_a_port_or_a_socket() {
        for good in ["127.0.0.1:8050", "localhost:1", "[::1]:80", "unix:/run/dashboard/app.sock"] {
            assert_eq!(good.parse::<UpstreamAddress>().unwrap().to_string(), good);
        }
        let long = format!("unix:/{}", "a".repeat(107));
        for bad in ["", "localhost", "unix:", "unix:app.sock", "http://a:1", "a@b:1", "a:0", "a:b", &long] {
            assert!(bad.parse::<UpstreamAddress>().is_err(), "{bad}");
        }
        assert_eq!("localhost:81".parse::<UpstreamAddress>().unwrap().port(), Some(81));
        assert_eq!("unix:/a".parse::<UpstreamAddress>().unwrap().port(), None);
    }
}
