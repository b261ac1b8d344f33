//! Connections to one upstream, kept for the next request: the dashboard over loopback TCP or a Unix socket, the API, or
//! another sidecar behind the gateway.
//!
//! A pool of our own over hyper's connections, because only it knows whether a connection was used before: a request may be
//! sent twice only where the first one died with a connection that the upstream had closed meanwhile. And it knows for whom: a
//! connection to a dashboard serves one tenant.

mod address;
mod limit;
mod pool;

use std::{
    collections::HashMap,
    future::poll_fn,
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::Poll,
    time::{Duration, Instant},
};

use http::{Method, Request, Response, StatusCode, Uri, Version, header, uri::PathAndQuery};
use hyper::{
    body::{Body as _, Incoming},
    client::conn::http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;
use kyros_http_server::{Alarm, Inspected, ResetWatch};

pub use self::address::{UpstreamAddress, UpstreamAddressError};
use self::{limit::Allowance, pool::Pool};
pub(crate) use self::{limit::UpstreamLimit, pool::Lane};
use crate::{
    answer::Refusal,
    bodies::{Body, Ended, Progress, Task, is_too_large},
};

/// A dashboard closes a connection on which nothing happens; one that was used just now it hardly ever closes. Copying every
/// request for that case would cost more than most of the checks, so only one on a rested connection is kept.
pub(crate) const RESTED: Duration = Duration::from_millis(20);
/// Largest head of an answer, in bytes.
const MAX_HEAD: usize = 64 * 1024;
/// Read and write buffers of a busy connection grow up to this.
const MAX_BUFFER: usize = 128 * 1024;
/// For so long a request is only waited for; after that its authority is watched too. Far below the second in which a
/// revocation must be felt, and longer than nearly all requests take.
const UNWATCHED: Duration = Duration::from_millis(200);

/// One upstream.
#[derive(Clone)]
pub(crate) struct Upstream(Arc<Shared>);

struct Shared {
    address: UpstreamAddress,
    /// From the request's end to the answer's beginning.
    timeout: Duration,
    /// Safe requests are kept, to be sent again, where the connection was not used for so long.
    rested: Duration,
    /// Whether it is noticed at once that a connection was reset, which takes another handle of its socket.
    is_watched: bool,
    idle: Pool,
}

/// A connection, seen from the side that sends requests.
struct Sender {
    lane: Lane,
    requests: SendRequest<Body>,
    allowance: Allowance,
    reset: Option<ResetWatch>,
    /// Rings when a request has been waited for long.
    alarm: Alarm,
    /// Ends the connection when nobody will use it any more, also in the middle of a body that goes on.
    connection: Task,
}

/// A connection that a request was sent on, to be given back when its answer has been read to the end.
pub(crate) struct Lease {
    sender: Sender,
    upstream: Upstream,
    /// A body may still come, although the answer has none.
    is_doubtful: bool,
    /// The request's body. An answer that comes before its end leaves a connection on which the rest would still be sent, and
    /// a client that would still be read from.
    upload: Option<Arc<Progress>>,
}

impl Lease {
    /// Lets the connection become a socket, which lives without this.
    pub(crate) fn release(self) {
        self.sender.connection.detach();
    }

    /// Tells when the upstream takes its answer back.
    pub(crate) fn reset(&self) -> Option<ResetWatch> {
        // Whoever answers before an upload has ended may reset because nobody reads the rest of it.
        let is_uploading = self.upload.as_ref().is_some_and(|upload| !upload.is_over());
        self.sender.reset.clone().filter(|_| !is_uploading)
    }

    /// Keeps the connection for the next request.
    pub(crate) fn give_back(self, now: Instant) {
        if self.is_doubtful || self.upload.is_some_and(|upload| !upload.is_over()) {
            return;
        }
        self.sender.allowance.end();
        self.upstream.0.idle.keep(self.sender, now);
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
        Self(Arc::new(Shared { address, timeout, rested, is_watched: false, idle: Pool::default() }))
    }

    /// A sidecar, which breaks an answer off with a reset when the authority behind it ends.
    fn watched(address: UpstreamAddress, timeout: Duration) -> Self {
        let rested = Duration::ZERO;
        Self(Arc::new(Shared { address, timeout, rested, is_watched: true, idle: Pool::default() }))
    }

    /// Sends a request to a part of Kyros, which keeps the requests of one connection apart.
    pub(crate) fn send(
        &self,
        request: Request<Body>,
        now: Instant,
        ended: impl FnOnce() -> Ended,
    ) -> impl Future<Output = Result<Answer, Refusal>> {
        self.send_in(Lane::SHARED, request, now, ended)
    }

    /// Sends a request over a connection that serves its lane alone; only the path and query of its target are kept. `ended`
    /// is what cuts it off: it is looked at only when the answer does not come at once.
    ///
    /// Not `async`, like all that takes the request on its way: it would be kept in each future, and moved with it.
    pub(crate) fn send_in(
        &self,
        lane: &Lane,
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
        let (mut first, mut alarm, again) = self.begin(lane, request, now);
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
                Some(Err(failed)) => Box::pin(self.send_again(lane, failed, again)).await,
                None => Box::pin(self.send_slowly(lane, first, again, upload, ended())).await,
            }
        }
    }

    /// Sends on the connection used last, or on a new one; and keeps a copy where the first may be closed already.
    fn begin(&self, lane: &Lane, request: Request<Body>, now: Instant) -> (Sending, Alarm, Option<Box<Request<Body>>>) {
        match self.0.idle.take(lane, now) {
            Some((mut sender, rested)) => {
                let again = if rested >= self.0.rested { copy_of(&request) } else { None };
                let alarm = std::mem::take(&mut sender.alarm);
                (self.send_on(sender, request), alarm, again)
            }
            None => (self.clone().send_on_new(lane.clone(), Box::new(request)), Alarm::default(), None),
        }
    }

    /// Waits on, now also for the end of the authority and of the time.
    async fn send_slowly(
        &self,
        lane: &Lane,
        first: Sending,
        again: Option<Box<Request<Body>>>,
        upload: Option<Arc<Progress>>,
        ended: Ended,
    ) -> Result<Answer, Refusal> {
        let answered = async {
            match first.await {
                Ok(answer) => Ok(answer),
                Err(failed) => self.send_again(lane, failed, again).await,
            }
        };
        tokio::select! {
            answer = answered => answer,
            () = ended => Err(Refusal::UNAUTHORIZED),
            () = too_late(upload, self.0.timeout) => Err(Refusal::UPSTREAM_TIMEOUT),
        }
    }

    /// Nothing of the request left, or the upstream closed the connection as it was on its way: once more, on a new one.
    async fn send_again(
        &self,
        lane: &Lane,
        failed: Failed,
        again: Option<Box<Request<Body>>>,
    ) -> Result<Answer, Refusal> {
        let again = if failed.is_incomplete { again } else { None };
        let request = failed.unsent.or(again).ok_or(failed.refusal)?;
        self.clone().send_on_new(lane.clone(), request).await.map_err(|failed| failed.refusal)
    }

    fn send_on_new(self, lane: Lane, request: Box<Request<Body>>) -> Sending {
        Box::pin(async move {
            let sender = self.connect(lane).await.map_err(Failed::before)?;
            self.send_on(sender, *request).await
        })
    }

    async fn connect(&self, lane: Lane) -> Result<Sender, Refusal> {
        let stream = self.0.address.connect().await.map_err(|error| {
            tracing::debug!(%error, upstream = %self.0.address, "not connected");
            Refusal::UPSTREAM_DOWN
        })?;
        let (stream, reset) = if self.0.is_watched { stream.watched() } else { (stream, None) };
        let allowance = Allowance::default();
        let limited = Inspected::new(stream, UpstreamLimit::new(allowance.clone()));
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
        Ok(Sender { lane, requests, allowance, reset, alarm: Alarm::default(), connection })
    }

    fn send_on(&self, mut sender: Sender, request: Request<Body>) -> Sending {
        sender.allowance.begin();
        let (is_head, upload) = (request.method() == Method::HEAD, request.body().progress());
        let answer = sender.requests.try_send_request(request);
        let upstream = self.clone();
        Box::pin(async move {
            match answer.await {
                Ok(response) => {
                    sender.allowance.lift();
                    let is_doubtful = is_head || speaks_of_a_body_that_may_not_come(&response);
                    Ok(Answer { response, lease: Lease { sender, upstream, is_doubtful, upload } })
                }
                Err(mut failed) => {
                    // Half an answer is an answer: the request was seen, and is not sent again.
                    let is_silent = sender.allowance.is_untouched();
                    let unsent = failed.take_message().map(Box::new);
                    let error = failed.into_error();
                    let refusal = if is_too_large(&error) { Refusal::TOO_LARGE } else { Refusal::UPSTREAM_BROKEN };
                    if unsent.is_none() {
                        tracing::debug!(%error, upstream = %upstream.0.address, "no answer");
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

/// Careless servers answer HEAD as they answer GET, and write a body after the head of a 304 or 204 that has a length. That
/// body would be the next answer of its connection. All other answers end where they say so, and are worth keeping the
/// connection for: nearly every 304 names no length.
fn speaks_of_a_body_that_may_not_come(response: &Response<Incoming>) -> bool {
    let headers = response.headers();
    matches!(response.status(), StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
        && (headers.contains_key(header::TRANSFER_ENCODING)
            || headers.get(header::CONTENT_LENGTH).is_some_and(|length| length.as_bytes() != b"0"))
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
        let upstream = Upstream::watched(UpstreamAddress::Tcp(authority.to_owned()), self.timeout);
        by_address.insert(authority.to_owned(), upstream.clone());
        upstream
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;
    use crate::bodies::never;

    /// Answers every request with nothing, and counts connections.
    async fn upstream() -> (Upstream, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = UpstreamAddress::Tcp(listener.local_addr().unwrap().to_string());
        let connections = Arc::new(AtomicUsize::new(0));
        let count = connections.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(async move {
                    let mut request = [0; 1024];
                    while matches!(stream.read(&mut request).await, Ok(1..)) {
                        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
                    }
                });
            }
        });
        (Upstream::new(address, Duration::from_secs(5)), connections)
    }

    async fn ask(upstream: &Upstream, lane: &Lane, method: Method) {
        let mut request = Request::new(Body::empty());
        *request.method_mut() = method;
        let answer =
            upstream.send_in(lane, request, Instant::now(), never).await.unwrap_or_else(|_| panic!("an answer"));
        answer.lease.give_back(Instant::now());
        // hyper notices a moment later that the answer is over.
        tokio::time::sleep(Duration::from_millis(60)).await;
    }

    fn lane(number: usize) -> Lane {
        Lane::of(&format!("tenant-{number}").parse().unwrap())
    }

    #[tokio::test]
    async fn a_connection_serves_one_tenant_and_none_is_kept_after_head() {
        let (upstream, connections) = upstream().await;
        let expect = async |lane: &Lane, method, count| {
            ask(&upstream, lane, method).await;
            assert_eq!(connections.load(Ordering::SeqCst), count);
        };
        expect(&lane(1), Method::GET, 1).await;
        expect(&lane(1), Method::GET, 1).await;
        expect(&lane(2), Method::GET, 2).await;
        expect(Lane::SHARED, Method::GET, 3).await;
        expect(&lane(1), Method::POST, 3).await;
        expect(&lane(1), Method::HEAD, 3).await;
        expect(&lane(1), Method::GET, 4).await;
        expect(&lane(2), Method::GET, 4).await;
        expect(Lane::SHARED, Method::GET, 4).await;
    }

    #[tokio::test]
    async fn the_pool_is_bounded_and_no_tenant_fills_it() {
        let (upstream, connections) = upstream().await;
        // All at the same moment, so that none is too old.
        let now = Instant::now();
        let mut leases = Vec::new();
        for number in 0..pool::POOL_SIZE + 3 {
            let request = Request::new(Body::empty());
            let answer = upstream.send_in(&lane(number), request, now, never).await;
            leases.push(answer.unwrap_or_else(|_| panic!("an answer")).lease);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        let kept = Instant::now();
        for lease in leases {
            lease.give_back(kept);
        }
        assert_eq!(upstream.0.idle.len(), pool::POOL_SIZE);
        let before = connections.load(Ordering::SeqCst);
        ask(&upstream, &lane(pool::POOL_SIZE + 2), Method::GET).await;
        assert_eq!(connections.load(Ordering::SeqCst), before, "the last one is kept");
        ask(&upstream, &lane(0), Method::GET).await;
        assert_eq!(connections.load(Ordering::SeqCst), before + 1, "the first one made room");
    }
}
