//! A WebSocket between a browser and a dashboard, for as long as its authority lasts.
//!
//! Bytes pass unread. When the authority ends, the way to the dashboard is cut first, and then a Close frame of our own is
//! put between two frames of the dashboard's: `4001` tells the browser to stay away, `1012` to come back.
//!
//! A socket that is quiet holds no buffer: what is read goes through one buffer per thread, and only what the other side
//! does not take at once is kept.

use std::{cell::RefCell, io, time::Duration};

use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use kyros_http_server::{ClientWatch, Inspected, Stream};
use tokio::io::Interest;
use tokio_util::sync::CancellationToken;

use crate::{
    bodies::{Ended, never},
    upstream::UpstreamLimit,
    ws_frames::{CloseReader, FrameTracker, close_frame},
};

/// Logged out, suspended, revoked or expired for good: stay away.
pub(crate) const CLOSE_ENDED: u16 = 4001;
/// The sidecar is draining: come back (RFC 6455 registry: service restart).
pub(crate) const CLOSE_DRAINING: u16 = 1012;
/// No Close frame was seen (RFC 6455, section 7.4.1: never sent, only said).
const CLOSE_ABNORMAL: u16 = 1006;
/// How long saying goodbye may take, a frame under way and a client that does not read included.
const GOODBYE: Duration = Duration::from_millis(500);
/// How long a client may go on answering a dashboard that has closed its side.
const HALF_CLOSED: Duration = Duration::from_secs(2);
/// How long a dashboard may go on answering a client that has said all.
const SAID_ALL: Duration = Duration::from_secs(30);
/// Read at once, at most.
const SCRATCH: usize = 64 * 1024;

thread_local! {
    static SCRATCH_BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; SCRATCH]);
}

/// What ended a tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// One of the two sides closed.
    Sides,
    /// The authority ended.
    Authority,
    /// The sidecar is stopping.
    Drain,
}

/// One side, and what was read from it while HTTP was still being spoken.
pub(crate) struct Side {
    stream: Stream,
    read_ahead: Vec<u8>,
}

impl Side {
    /// The client's side of an upgraded connection.
    pub(crate) fn of_client(upgraded: Upgraded) -> Option<Self> {
        let parts = upgraded.downcast::<TokioIo<Inspected<ClientWatch>>>().ok()?;
        Some(Self { stream: parts.io.into_inner().into_stream()?, read_ahead: parts.read_buf.to_vec() })
    }

    /// The dashboard's side.
    pub(crate) fn of_upstream(upgraded: Upgraded) -> Option<Self> {
        let parts = upgraded.downcast::<TokioIo<Inspected<UpstreamLimit>>>().ok()?;
        Some(Self { stream: parts.io.into_inner().into_stream()?, read_ahead: parts.read_buf.to_vec() })
    }
}

/// The words of goodbye, for an observer.
#[derive(Default)]
pub(crate) struct Goodbyes {
    client: CloseReader,
    upstream: CloseReader,
}

impl Goodbyes {
    /// The code that the socket ended with, as the side that did not end it sees it (RFC 6455, section 7.1.5).
    pub(crate) fn code(&self, outcome: Outcome) -> u16 {
        match outcome {
            Outcome::Authority => CLOSE_ENDED,
            Outcome::Drain => CLOSE_DRAINING,
            Outcome::Sides => self.client.code().or(self.upstream.code()).unwrap_or(CLOSE_ABNORMAL),
        }
    }
}

/// Copies both ways until a side closes, `ended` resolves or `draining` is cancelled. A client that takes nothing for `patience`
/// is cut off. Whoever wants to know gets the two sides' goodbyes.
pub(crate) async fn run(
    client: Side,
    upstream: Side,
    patience: Duration,
    ended: Ended,
    draining: CancellationToken,
    goodbyes: Option<&mut Goodbyes>,
) -> Outcome {
    run_between(client, upstream, Manner { patience, heeds_resets: false }, ended, draining, goodbyes).await
}

/// How a tunnel treats its ends.
#[derive(Debug, Clone, Copy)]
struct Manner {
    /// How long the client may take nothing.
    patience: Duration,
    /// Whether a reset by the upstream takes back what it has said: that is how a sidecar passes on that a session has ended. A
    /// dashboard that resets has only gone away.
    heeds_resets: bool,
}

async fn run_between(
    client: Side,
    upstream: Side,
    manner: Manner,
    mut ended: Ended,
    draining: CancellationToken,
    goodbyes: Option<&mut Goodbyes>,
) -> Outcome {
    let (from_client, from_upstream) = match goodbyes {
        Some(goodbyes) => (Some(&mut goodbyes.client), Some(&mut goodbyes.upstream)),
        None => (None, None),
    };
    // A dashboard may be busy for longer; its sockets end with their authority.
    let mut up = Way::new(client.read_ahead, None, from_client);
    let mut down = Way::new(upstream.read_ahead, Some(manner), from_upstream);
    let (client, upstream) = (client.stream, upstream.stream);
    let outcome = {
        let both = async {
            // Each way ends by itself; the other may still have something to say, but not for long.
            tokio::select! {
                _ = up.copy(&client, &upstream) => {
                    let _ = upstream.shutdown_write();
                    if let Ok(Last::Stuck) = tokio::time::timeout(SAID_ALL, down.copy(&upstream, &client)).await {
                        client.reset_on_close();
                    }
                }
                last = down.copy(&upstream, &client) => match last {
                    Last::Stuck => client.reset_on_close(),
                    Last::Closed => {
                        let _ = client.shutdown_write();
                        let _ = tokio::time::timeout(HALF_CLOSED, up.copy(&client, &upstream)).await;
                    }
                },
            }
        };
        tokio::select! {
            () = both => Outcome::Sides,
            () = ended.as_mut() => Outcome::Authority,
            () = draining.cancelled() => Outcome::Drain,
        }
    };
    // Nothing more reaches the dashboard: the way up was dropped with its future. The client is told after that.
    let frame = match outcome {
        Outcome::Sides => return outcome,
        Outcome::Authority => close_frame(CLOSE_ENDED, "session ended"),
        Outcome::Drain => close_frame(CLOSE_DRAINING, "service restart"),
    };
    let told = tokio::time::timeout(GOODBYE, down.say_goodbye(&upstream, &client, &frame)).await;
    // Whoever reads too slowly to be told does not get the rest of what was said before either.
    if !matches!(told, Ok(Ok(()))) {
        client.reset_on_close();
    }
    outcome
}

/// Copies both ways until both sides have closed or `draining` is cancelled: for the gateway, which has no authority to watch.
pub(crate) async fn copy(client: Side, upstream: Side, patience: Duration, draining: CancellationToken) {
    let manner = Manner { patience, heeds_resets: true };
    run_between(client, upstream, manner, never(), draining, None).await;
}

/// How a direction ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Last {
    /// One of its ends closed it.
    Closed,
    /// What was read could not be written in time, or its sender has taken it back.
    Stuck,
}

/// One direction. What has been read and not yet written is kept here, not in a future, so that a copy can be cancelled
/// anywhere and the stream still be finished truthfully.
struct Way<'a> {
    tracker: FrameTracker,
    goodbye: Option<&'a mut CloseReader>,
    pending: Vec<u8>,
    written: usize,
    /// Nothing where the receiver may take as long as it likes.
    manner: Option<Manner>,
}

impl<'a> Way<'a> {
    fn new(pending: Vec<u8>, manner: Option<Manner>, goodbye: Option<&'a mut CloseReader>) -> Self {
        Self { tracker: FrameTracker::default(), goodbye, pending, written: 0, manner }
    }

    /// Copies until either side ends.
    async fn copy(&mut self, from: &Stream, to: &Stream) -> Last {
        loop {
            if let Err(last) = self.flush(from, to).await {
                return last;
            }
            if !self.pass(from, to, SCRATCH).await {
                return Last::Closed;
            }
        }
    }

    /// Writes what is pending; an error says why that was not possible.
    async fn flush(&mut self, from: &Stream, to: &Stream) -> Result<(), Last> {
        while self.written < self.pending.len() {
            match to.try_write(&self.pending[self.written..]) {
                Ok(0) => return Err(Last::Closed),
                Ok(count) => {
                    let passed = &self.pending[self.written..self.written + count];
                    self.tracker.advance(passed);
                    if let Some(goodbye) = &mut self.goodbye {
                        goodbye.read(passed);
                    }
                    self.written += count;
                }
                // Boxed: a socket that is quiet does not carry what only waiting needs.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    Box::pin(until_writable(from, to, self.manner)).await?;
                }
                Err(_) => return Err(Last::Closed),
            }
        }
        // A burst's buffer is not kept.
        self.pending = Vec::new();
        self.written = 0;
        Ok(())
    }

    /// Reads at most `limit` bytes and writes what fits; false when the sender has closed. Nothing may be pending.
    async fn pass(&mut self, from: &Stream, to: &Stream, limit: usize) -> bool {
        loop {
            if from.ready(Interest::READABLE).await.is_err() {
                return false;
            }
            let passed = SCRATCH_BUFFER.with_borrow_mut(|scratch| {
                let read = from.try_read(&mut scratch[..limit.min(SCRATCH)])?;
                let bytes = &scratch[..read];
                // A receiver that is gone is noticed by the next flush.
                let written = if bytes.is_empty() { 0 } else { to.try_write(bytes).unwrap_or(0) };
                self.tracker.advance(&bytes[..written]);
                if let Some(goodbye) = &mut self.goodbye {
                    goodbye.read(&bytes[..written]);
                }
                self.pending.extend_from_slice(&bytes[written..]);
                Ok::<_, io::Error>(read > 0)
            });
            match passed {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => (),
                passed => return passed.unwrap_or(false),
            }
        }
    }

    /// Lets a frame that has begun come to its end, so that nothing of the next one passes, and closes.
    async fn say_goodbye(&mut self, from: &Stream, to: &Stream, frame: &[u8]) -> Result<(), Last> {
        self.keep_one_frame();
        loop {
            self.flush(from, to).await?;
            let missing = self.tracker.missing();
            if missing == 0 {
                self.pending = frame.to_vec();
                self.flush(from, to).await?;
                break;
            }
            if !self.pass(from, to, missing).await {
                break;
            }
        }
        let _ = to.shutdown_write();
        Ok(())
    }

    /// Of what waits to be written only the rest of the frame that has begun goes out.
    fn keep_one_frame(&mut self) {
        let mut ahead = self.tracker.clone();
        let mut end = self.written;
        while end < self.pending.len() && ahead.missing() > 0 {
            let step = ahead.missing().min(self.pending.len() - end);
            ahead.advance(&self.pending[end..end + step]);
            end += step;
        }
        self.pending.truncate(end);
    }
}

/// Waits for a receiver that has taken nothing yet, as long as it may take and, where that matters, its sender stands by what it
/// has said.
async fn until_writable(from: &Stream, to: &Stream, manner: Option<Manner>) -> Result<(), Last> {
    let writable = async { to.ready(Interest::WRITABLE).await.map(drop).map_err(|_| Last::Closed) };
    let Some(Manner { patience, heeds_resets }) = manner else { return writable.await };
    let waiting = async {
        tokio::select! {
            ready = writable => ready,
            _ = from.ready(Interest::ERROR), if heeds_resets => Err(Last::Stuck),
        }
    };
    tokio::time::timeout(patience, waiting).await.unwrap_or(Err(Last::Stuck))
}
