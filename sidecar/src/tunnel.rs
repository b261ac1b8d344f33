//! A WebSocket between a browser and a dashboard, for as long as its authority lasts.
//!
//! Bytes pass unread. When the authority ends, a Close frame of our own is put between two frames of the dashboard's:
//! `4001` tells the browser to stay away, `1012` to come back.

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
/// How long a frame under way may take to end before the socket is cut inside it.
const FRAME_GRACE: Duration = Duration::from_millis(300);
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
    authority_ended: Pin<Box<dyn Future<Output = ()> + Send>>,
    draining: CancellationToken,
) -> Ended {
    let (client_read, mut client_write) = tokio::io::split(TokioIo::new(client));
    let (mut upstream_read, upstream_write) = tokio::io::split(TokioIo::new(upstream));
    let upload = tokio::spawn(copy_to_upstream(client_read, upstream_write));
    let mut tracker = FrameTracker::default();
    let outcome = {
        let download = copy_to_client(&mut upstream_read, &mut client_write, &mut tracker);
        tokio::select! {
            () = download => Ended::Sides,
            () = authority_ended => Ended::Authority,
            () = draining.cancelled() => Ended::Drain,
        }
    };
    let close = match outcome {
        Ended::Sides => None,
        Ended::Authority => Some(close_frame(CLOSE_ENDED, "session ended")),
        Ended::Drain => Some(close_frame(CLOSE_DRAINING, "service restart")),
    };
    if let Some(frame) = close {
        let finish = finish_frame(&mut upstream_read, &mut client_write, &mut tracker);
        let _ = tokio::time::timeout(FRAME_GRACE, finish).await;
        if tracker.at_boundary() {
            let _ = client_write.write_all(&frame).await;
        }
    }
    let _ = tokio::time::timeout(FRAME_GRACE, client_write.shutdown()).await;
    if outcome == Ended::Sides {
        // The client may still be answering the dashboard's Close frame.
        let _ = tokio::time::timeout(Duration::from_secs(2), upload).await;
    } else {
        upload.abort();
    }
    outcome
}

async fn copy_to_upstream(mut client: ReadHalf<TokioIo<Upgraded>>, mut upstream: WriteHalf<TokioIo<Upgraded>>) {
    let _ = tokio::io::copy(&mut client, &mut upstream).await;
    let _ = upstream.shutdown().await;
}

/// Copies whole reads; each write completes before the tracker moves, so that a cancelled copy leaves it truthful.
async fn copy_to_client(
    upstream: &mut ReadHalf<TokioIo<Upgraded>>,
    client: &mut WriteHalf<TokioIo<Upgraded>>,
    tracker: &mut FrameTracker,
) {
    let mut buffer = vec![0; BUFFER];
    while let Ok(read) = upstream.read(&mut buffer).await {
        if read == 0 {
            return;
        }
        let mut written = 0;
        while written < read {
            match client.write(&buffer[written..read]).await {
                Ok(0) | Err(_) => return,
                Ok(count) => {
                    tracker.advance(&buffer[written..written + count]);
                    written += count;
                }
            }
        }
    }
}

/// Lets a frame that has begun come to its end, byte by byte so that nothing of the next one passes.
async fn finish_frame(
    upstream: &mut ReadHalf<TokioIo<Upgraded>>,
    client: &mut WriteHalf<TokioIo<Upgraded>>,
    tracker: &mut FrameTracker,
) {
    let mut byte = [0; 1];
    while !tracker.at_boundary() {
        match upstream.read(&mut byte).await {
            Ok(1) if client.write_all(&byte).await.is_ok() => tracker.advance(&byte),
            _ => return,
        }
    }
}
