//! A WebSocket between a browser and a dashboard, for as long as its authority lasts.
//!
//! Bytes pass unread. When the authority ends, the way to the dashboard is cut first, and then a Close frame of our own is
//! put between two frames of the dashboard's: `4001` tells the browser to stay away, `1012` to come back.

use std::{pin::Pin, time::Duration};

use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio_util::sync::CancellationToken;

use crate::ws_frames::{FrameTracker, close_frame};

/// Logged out, suspended, revoked or expired for good: stay away.
pub(crate) const CLOSE_ENDED: u16 = 4001;
/// The sidecar is draining: come back (RFC 6455 registry: service restart).
pub(crate) const CLOSE_DRAINING: u16 = 1012;
/// How long saying goodbye may take, a frame under way and a client that does not read included.
const GOODBYE: Duration = Duration::from_millis(500);
/// How long a client may go on answering a dashboard that has closed its side.
const HALF_CLOSED: Duration = Duration::from_secs(2);
const BUFFER: usize = 16 * 1024;

/// What ended a tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// One of the two sides closed.
    Sides,
    /// The authority ended.
    Authority,
    /// The sidecar is stopping.
    Drain,
}

/// Copies both ways until a side closes, `authority_ended` resolves or `draining` is cancelled.
pub(crate) async fn run(
    client: Upgraded,
    upstream: Upgraded,
    mut authority_ended: Pin<Box<dyn Future<Output = ()> + Send>>,
    draining: CancellationToken,
) -> Ended {
    let (client_read, client_write) = tokio::io::split(TokioIo::new(client));
    let (upstream_read, upstream_write) = tokio::io::split(TokioIo::new(upstream));
    let mut upload = tokio::spawn(copy_to_upstream(client_read, upstream_write));
    let mut download = Download::new(upstream_read, client_write);
    let outcome = tokio::select! {
        () = download.copy() => Ended::Sides,
        () = authority_ended.as_mut() => Ended::Authority,
        () = draining.cancelled() => Ended::Drain,
    };
    if outcome == Ended::Sides {
        let _ = tokio::time::timeout(GOODBYE, download.client.shutdown()).await;
        // The client may still be answering the dashboard's Close frame, by the same authority and no longer.
        tokio::select! {
            _ = &mut upload => (),
            () = authority_ended => (),
            () = tokio::time::sleep(HALF_CLOSED) => (),
        }
    }
    // First of all nothing more reaches the dashboard; the client is told after that.
    upload.abort();
    let frame = match outcome {
        Ended::Sides => return outcome,
        Ended::Authority => close_frame(CLOSE_ENDED, "session ended"),
        Ended::Drain => close_frame(CLOSE_DRAINING, "service restart"),
    };
    let _ = tokio::time::timeout(GOODBYE, download.say_goodbye(&frame)).await;
    outcome
}

async fn copy_to_upstream(mut client: ReadHalf<TokioIo<Upgraded>>, mut upstream: WriteHalf<TokioIo<Upgraded>>) {
    let _ = tokio::io::copy(&mut client, &mut upstream).await;
    let _ = upstream.shutdown().await;
}

/// The way from the dashboard to the client. What has been read and not yet written is kept here, not in a future, so that a
/// copy can be cancelled anywhere and the stream still be finished truthfully.
struct Download {
    upstream: ReadHalf<TokioIo<Upgraded>>,
    client: WriteHalf<TokioIo<Upgraded>>,
    tracker: FrameTracker,
    buffer: Vec<u8>,
    pending: std::ops::Range<usize>,
}

impl Download {
    fn new(upstream: ReadHalf<TokioIo<Upgraded>>, client: WriteHalf<TokioIo<Upgraded>>) -> Self {
        Self { upstream, client, tracker: FrameTracker::default(), buffer: vec![0; BUFFER], pending: 0..0 }
    }

    /// Copies until either side ends.
    async fn copy(&mut self) {
        while self.flush().await && self.fill(BUFFER).await {}
    }

    /// Writes what is pending; false when the client is gone.
    async fn flush(&mut self) -> bool {
        while !self.pending.is_empty() {
            match self.client.write(&self.buffer[self.pending.clone()]).await {
                Ok(0) | Err(_) => return false,
                Ok(written) => {
                    let end = self.pending.start + written;
                    self.tracker.advance(&self.buffer[self.pending.start..end]);
                    self.pending.start = end;
                }
            }
        }
        true
    }

    /// Reads at most `limit` bytes; false when the dashboard has closed.
    async fn fill(&mut self, limit: usize) -> bool {
        match self.upstream.read(&mut self.buffer[..limit]).await {
            Ok(0) | Err(_) => false,
            Ok(read) => {
                self.pending = 0..read;
                true
            }
        }
    }

    /// Lets a frame that has begun come to its end, byte by byte so that nothing of the next one passes, and closes.
    async fn say_goodbye(&mut self, frame: &[u8]) {
        while self.flush().await && !self.tracker.at_boundary() && self.fill(1).await {}
        if self.pending.is_empty() && self.tracker.at_boundary() {
            let _ = self.client.write_all(frame).await;
        }
        let _ = self.client.shutdown().await;
    }
}
