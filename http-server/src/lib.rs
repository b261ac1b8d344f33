//! The accept loop of every Kyros server. It decides how long a client may take and how many there may be, and it drains.
//!
//! ```text
//!  listener ──► permit ──► HTTP/1.1 connection (deadlines, header limits) ──► service
//!                                     ▲
//!                 shutdown token ─────┘  answers what is in flight, then closes, at most `drain`
//! ```
//!
//! It exists because `axum::serve` (0.8.9) gives hyper no timer, which silently switches the header deadline off. It never
//! looks at what a request asks for.

pub mod admin;
mod alarm;
mod framing;
mod inspected;
mod stream;

use std::{
    convert::Infallible,
    future::poll_fn,
    net::IpAddr,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use futures_util::{FutureExt as _, task::AtomicWaker};
use http::{HeaderValue, Request, Response};
use hyper::{
    body::Incoming,
    server::conn::http1::{self, UpgradeableConnection},
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::Service as _;

pub use crate::{
    alarm::Alarm,
    framing::{ClientWatch, FramingWatch},
    inspected::{Inspect, Inspected},
    stream::{KERNEL_QUEUE, Listener, ResetWatch, Stream},
};

/// An error of a response body; it ends the connection.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What one server allows its clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// From the first to the last byte of a request's head, and between requests on a kept connection.
    pub header_timeout: Duration,
    /// How long a client may take nothing of an answer. What it takes begins the time anew, as far as the kernel tells: it does
    /// when a third of its queue is free.
    pub write_timeout: Duration,
    /// Bytes of a connection that the kernel may keep unsent; as many as it likes where nobody says.
    pub send_queue: Option<usize>,
    /// Bytes of a request's head.
    pub max_head_bytes: usize,
    /// Connections at a time; further ones wait in the kernel's queue.
    pub max_connections: usize,
    /// How long requests in flight may take to end once the server is asked to stop.
    pub drain: Duration,
}

/// Read and write buffers of a busy connection grow up to this. The limit of header fields is hyper's own, 100: naming it
/// would move the parser's table to the heap.
const MAX_BUFFER: usize = 128 * 1024;

impl Default for Limits {
    fn default() -> Self {
        Self {
            // Ten seconds suffice for any real client and bound what a slow-header attack can hold.
            header_timeout: Duration::from_secs(10),
            // Behind a gateway the progress of a slow reader is seen in larger steps, so the gateway is the one to cut it off.
            write_timeout: Duration::from_mins(1),
            // A bound costs a tenth of a fast download.
            send_queue: None,
            max_head_bytes: 32 * 1024,
            max_connections: 4096,
            drain: Duration::from_secs(10),
        }
    }
}

/// A client's connection, as every handler gets it; cheap to clone.
///
/// It also holds the connection's place among those allowed at a time. Whoever takes the socket over (a WebSocket's tunnel)
/// keeps a clone for as long as the socket is open.
#[derive(Clone)]
pub struct Connection(Arc<Shared>);

struct Shared {
    peer: Option<(IpAddr, HeaderValue)>,
    is_doubtful: AtomicBool,
    is_cut: AtomicBool,
    /// The task that serves the connection.
    task: AtomicWaker,
    /// Given back when the last holder is dropped.
    _permit: OwnedSemaphorePermit,
}

impl Connection {
    fn new(peer: Option<IpAddr>, permit: OwnedSemaphorePermit) -> Self {
        let text = |peer: IpAddr| Some((peer, HeaderValue::from_str(&peer.to_string()).ok()?));
        Self(Arc::new(Shared {
            peer: peer.and_then(text),
            is_doubtful: AtomicBool::new(false),
            is_cut: AtomicBool::new(false),
            task: AtomicWaker::new(),
            _permit: permit,
        }))
    }

    fn shared(&self) -> &Shared {
        &self.0
    }

    /// Whose socket it is; nothing for a Unix socket.
    pub fn peer(&self) -> Option<IpAddr> {
        self.0.peer.as_ref().map(|(peer, _)| *peer)
    }

    /// The same, ready for a header.
    pub fn peer_header(&self) -> Option<&HeaderValue> {
        self.0.peer.as_ref().map(|(_, text)| text)
    }

    /// Closes the connection at once, whatever is being sent and however slowly it is read: with a reset, so that the kernel
    /// forgets what it has not sent yet. The client still has what its own kernel has received.
    pub fn cut(&self) {
        self.0.is_cut.store(true, Ordering::Release);
        self.0.task.wake();
    }

    /// Whether a message has come that two parsers may read differently. Nothing on such a connection may be served.
    pub fn is_doubtful(&self) -> bool {
        self.0.is_doubtful.load(Ordering::Relaxed)
    }
}

/// Serves until `shutdown`, then stops accepting, answers what is in flight and returns.
pub async fn serve<F, R, B>(listener: impl Into<Listener>, limits: Limits, service: F, shutdown: CancellationToken)
where
    F: Fn(Request<Incoming>, Connection) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = Response<B>> + Send + 'static,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let listener = listener.into();
    if let Some(bytes) = limits.send_queue {
        listener.bound_queues(bytes);
    }
    let permits = Arc::new(Semaphore::new(limits.max_connections));
    let connections = TaskTracker::new();
    loop {
        let permit = tokio::select! {
            permit = permits.clone().acquire_owned() => permit,
            () = shutdown.cancelled() => break,
        };
        // A closed semaphore is the only error, and nobody closes this one.
        let Ok(permit) = permit else { break };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shutdown.cancelled() => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors, or the client is gone already: neither is a reason to end.
                tracing::warn!(%error, "accept failed");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let service = service.clone();
        let connection = Connection::new(peer.map(|peer| peer.ip()), permit);
        let held = connection.clone();
        let watched =
            Inspected::new(stream, ClientWatch::new(connection.clone())).with_write_timeout(limits.write_timeout);
        let served = http1::Builder::new()
            .timer(alarm::HeadTimer::default())
            .header_read_timeout(limits.header_timeout)
            .max_header_size(limits.max_head_bytes)
            .max_buf_size(MAX_BUFFER)
            .half_close(false)
            .serve_connection(
                TokioIo::new(watched),
                service_fn(move |request: Request<Incoming>| {
                    // Not an async block: that would hold the handler's state twice.
                    service(request, connection.clone()).map(Ok::<_, Infallible>)
                }),
            )
            .with_upgrades();
        let stop = shutdown.clone();
        connections.spawn(async move {
            if let Some(Err(error)) =
                until_cut(pin!(served), UpgradeableConnection::graceful_shutdown, &held, &stop).await
            {
                tracing::debug!(%error, ?peer, "connection ended");
            }
        });
    }
    drop(listener);
    connections.close();
    if tokio::time::timeout(limits.drain, connections.wait()).await.is_err() {
        tracing::warn!(seconds = limits.drain.as_secs(), "drain deadline passed, closing what is left");
    }
}

/// Serves a connection to its end, which comes soon after `stop`; nothing when it was cut before.
///
/// Both are asked for with every request and come once, so neither is waited for like the connection itself: the first look
/// leaves the task's waker with each, and later ones only read a flag.
async fn until_cut<F: Future>(
    mut served: Pin<&mut F>,
    drain: impl Fn(Pin<&mut F>),
    connection: &Connection,
    stop: &CancellationToken,
) -> Option<F::Output> {
    let shared = connection.shared();
    let mut stopped = pin!(stop.cancelled());
    let (mut is_watching, mut is_draining) = (false, false);
    poll_fn(|cx| {
        if !is_watching {
            shared.task.register(cx.waker());
        }
        if shared.is_cut.load(Ordering::Acquire) {
            return Poll::Ready(None);
        }
        if !is_draining && (!is_watching || stop.is_cancelled()) && stopped.as_mut().poll(cx).is_ready() {
            is_draining = true;
            drain(served.as_mut());
        }
        is_watching = true;
        served.as_mut().poll(cx).map(Some)
    })
    .await
}

/// Serves an axum router through the same loop.
pub async fn serve_router(
    listener: impl Into<Listener>,
    limits: Limits,
    router: axum::Router,
    shutdown: CancellationToken,
) {
    let service = move |request: Request<Incoming>, _| {
        let mut router = router.clone();
        async move {
            match router.call(request).await {
                Ok(response) => response,
                Err(infallible) => match infallible {},
            }
        }
    };
    serve(listener, limits, service, shutdown).await;
}

/// Cancelled on the first Ctrl-C or SIGTERM. The second one ends the process at once.
pub fn shutdown_on_signal() -> CancellationToken {
    let token = CancellationToken::new();
    let cancel = token.clone();
    tokio::spawn(async move {
        wait_for_signal().await;
        cancel.cancel();
        wait_for_signal().await;
        // 130 is what shells report for a program that Ctrl-C ended.
        std::process::exit(130);
    });
    token
}

async fn wait_for_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        let _ = tokio::signal::ctrl_c().await;
        return;
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => (),
        _ = terminate.recv() => (),
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::{TcpListener, TcpStream},
    };

    async fn start(limits: Limits, delay: Duration) -> (SocketAddr, CancellationToken, tokio::task::JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let service = move |_, _| async move {
            tokio::time::sleep(delay).await;
            Response::new(http_body_util::Full::new(Bytes::from_static(b"ok")))
        };
        let task = tokio::spawn(serve(listener, limits, service, shutdown.clone()));
        (address, shutdown, task)
    }

    async fn ask(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn a_client_that_never_finishes_its_header_is_cut_off() {
        let limits = Limits { header_timeout: Duration::from_millis(100), ..Limits::default() };
        let (address, shutdown, task) = start(limits, Duration::ZERO).await;
        let answer = ask(address, "GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ").await;
        assert!(!answer.contains("200"), "{answer}");
        shutdown.cancel();
        task.await.unwrap();
    }

    #[tokio::test]
    async fn too_many_headers_are_refused() {
        let (address, shutdown, task) = start(Limits::default(), Duration::ZERO).await;
        let headers: String = (0..101).map(|n| format!("x-{n}: 1\r\n")).collect();
        let answer = ask(address, &format!("GET / HTTP/1.1\r\nHost: a\r\n{headers}\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
        shutdown.cancel();
        task.await.unwrap();
    }

    #[tokio::test]
    async fn shutdown_answers_what_is_in_flight_and_accepts_no_more() {
        let (address, shutdown, task) = start(Limits::default(), Duration::from_millis(200)).await;
        let asking = tokio::spawn(async move { ask(address, "GET / HTTP/1.1\r\nHost: a\r\n\r\n").await });
        tokio::time::sleep(Duration::from_millis(50)).await;
        shutdown.cancel();
        assert!(asking.await.unwrap().ends_with("ok"));
        task.await.unwrap();
        assert!(TcpStream::connect(address).await.is_err());
    }

    #[tokio::test]
    async fn an_upgraded_connection_keeps_its_place_until_the_last_holder_is_gone() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (shutdown, release) = (CancellationToken::new(), CancellationToken::new());
        let released = release.clone();
        let service = move |request: Request<Incoming>, connection: Connection| {
            let released = released.clone();
            let upgrades = request.headers().contains_key("upgrade");
            async move {
                let mut response = Response::new(http_body_util::Full::new(Bytes::from_static(b"ok")));
                if upgrades {
                    *response.status_mut() = http::StatusCode::SWITCHING_PROTOCOLS;
                    tokio::spawn(async move {
                        let _place = connection;
                        released.cancelled().await;
                    });
                }
                response
            }
        };
        let limits = Limits { max_connections: 1, ..Limits::default() };
        let task = tokio::spawn(serve(listener, limits, service, shutdown.clone()));
        let upgraded = ask(address, "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n").await;
        assert!(upgraded.starts_with("HTTP/1.1 101"), "{upgraded}");
        let next =
            tokio::spawn(async move { ask(address, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await });
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert!(!next.is_finished(), "the only place is taken");
        release.cancel();
        assert!(next.await.unwrap().ends_with("ok"));
        shutdown.cancel();
        task.await.unwrap();
    }
}
