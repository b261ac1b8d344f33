//! A large answer on its way: one piece is encoded while the one before is sent, and no faster than the client reads.

use std::{io, sync::Arc, time::Duration};

use axum::body::{Body, Bytes};
use futures_util::{StreamExt as _, stream};
use kyros_shared_config::TenantId;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::turns::Turns;
use crate::engine::{self, Answer, Encoder, Encoding};

/// How long a client may leave a piece unread. Its rows are in our memory for that long.
pub(crate) const STALL: Duration = Duration::from_secs(30);

/// How soon an answer ends whose right was taken back, while nothing of it is read.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

struct Piece {
    bytes: Vec<u8>,
    is_last: bool,
}

/// An answer that is to be sent piece by piece.
pub(crate) struct Pieces {
    pub(crate) answer: Answer,
    pub(crate) encoding: Encoding,
    pub(crate) tenant: TenantId,
    pub(crate) turns: Turns,
    /// The tenant's, and that of all.
    pub(crate) permits: [OwnedSemaphorePermit; 2],
    /// How long the client may leave one unread.
    pub(crate) stall: Duration,
}

/// The answer as a body. It is broken off, and so no valid message, when anything goes wrong half way, or when the right to it
/// no longer `stands`.
pub(crate) fn body(pieces: Pieces, stands: impl Fn() -> bool + Send + Sync + 'static) -> Body {
    let stands = Arc::new(stands);
    let (sender, receiver) = mpsc::channel(1);
    let still = stands.clone();
    tokio::spawn(async move {
        let ended = async {
            while still() {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        tokio::select! {
            biased;
            () = ended => (),
            () = send(pieces, sender) => (),
        }
    });
    let pieces = stream::unfold(Some(receiver), move |receiver| {
        let stands = stands.clone();
        async move {
            let mut receiver = receiver?;
            match receiver.recv().await {
                // What lay ready when the right was taken back is not sent on either.
                Some(Piece { bytes, is_last }) if stands() => {
                    Some((Ok(Bytes::from(bytes)), (!is_last).then_some(receiver)))
                }
                _ => Some((Err(io::Error::from(io::ErrorKind::UnexpectedEof)), None)),
            }
        }
    });
    // Whoever compresses asks once more after the end.
    Body::from_stream(pieces.fuse())
}

/// Encodes one piece after another. Nothing is held any more once the last one lies ready.
async fn send(pieces: Pieces, sender: mpsc::Sender<Piece>) {
    let Pieces { answer, encoding, tenant, turns, permits: _permits, stall } = pieces;
    let mut encoder = Encoder::new(answer, encoding);
    loop {
        // Every piece takes its turn: a long export is many short queries to everybody else.
        let turn = turns.wait(&tenant).await;
        let work = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            let piece = encoder.piece();
            (encoder, piece)
        });
        let bytes = match work.await {
            Ok((rest, Ok(bytes))) => {
                encoder = rest;
                bytes.unwrap_or_default()
            }
            Ok((_, Err(error))) => return report(&error),
            Err(panicked) => return tracing::error!(error = %panicked, "an answer was broken off"),
        };
        let is_last = encoder.is_done();
        // Nobody reads, or too slowly: without a last piece the connection is cut.
        let sent = tokio::time::timeout(stall, sender.send(Piece { bytes, is_last })).await;
        if is_last || !matches!(sent, Ok(Ok(()))) {
            return;
        }
    }
}

fn report(error: &engine::Error) {
    tracing::error!(%error, "an answer was broken off");
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    };

    use axum::http::{Request, Response, header};
    use tokio::sync::Semaphore;
    use tower::{Layer as _, ServiceExt as _};
    use tower_http::compression::CompressionLayer;

    use super::*;
    use crate::engine::{Format, Query, Table, encode, run, validate};

    fn answer(rows: usize) -> Answer {
        let table = Table::from_bytes(format!("a\n{}", "12\n".repeat(rows)).into_bytes(), Format::Csv).unwrap();
        let query = Query::from_pairs([("limit", "1000000")]).unwrap();
        run(&table, &validate(&query, table.schema()).unwrap().page("v").unwrap()).unwrap()
    }

    fn pieces(answer: Answer, permits: &Arc<Semaphore>) -> Pieces {
        let permits = [0, 1].map(|_| permits.clone().try_acquire_owned().unwrap());
        let (tenant, turns) = ("acme".parse().unwrap(), Turns::new(2));
        Pieces { answer, encoding: Encoding::Csv, tenant, turns, permits, stall: Duration::from_millis(500) }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_pieces_are_the_answer() {
        let (answer, permits) = (answer(100_000), Arc::new(Semaphore::new(2)));
        let sent: Vec<_> = body(pieces(answer.clone(), &permits), || true).into_data_stream().collect().await;
        assert!(sent.len() > 3);
        let bytes: Vec<u8> = sent.into_iter().flat_map(|piece| piece.unwrap()).collect();
        assert_eq!(bytes, encode(&answer, Encoding::Csv).unwrap());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_answer_that_is_compressed_on_its_way_comes_to_its_end() {
        for coding in ["gzip", "br", "zstd"] {
            let pieces = pieces(answer(100_000), &Arc::new(Semaphore::new(2)));
            let pieces = std::sync::Mutex::new(Some(pieces));
            let answer = tower::service_fn(move |_: Request<()>| {
                let sent = body(pieces.lock().unwrap().take().unwrap(), || true);
                std::future::ready(Ok::<_, std::convert::Infallible>(Response::new(sent)))
            });
            let request = Request::builder().header(header::ACCEPT_ENCODING, coding).body(()).unwrap();
            let compressed = CompressionLayer::new().layer(answer).oneshot(request).await.unwrap();
            assert_eq!(compressed.headers()[header::CONTENT_ENCODING], coding);
            let sent: Vec<_> = Body::new(compressed.into_body()).into_data_stream().collect().await;
            assert!(!sent.is_empty() && sent.iter().all(Result::is_ok), "{coding}");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_right_that_is_taken_back_ends_the_answer_read_or_not() {
        let (permits, stands) = (Arc::new(Semaphore::new(2)), Arc::new(AtomicBool::new(true)));
        let mut pieces = pieces(answer(500_000), &permits);
        pieces.stall = Duration::from_mins(10);
        let right = stands.clone();
        let mut sent = body(pieces, move || right.load(Relaxed)).into_data_stream();
        assert!(sent.next().await.unwrap().is_ok());
        stands.store(false, Relaxed);
        // Nobody reads on, and still nothing is held.
        drop(permits.acquire_many(2).await.unwrap());
        let rest: Vec<_> = sent.collect().await;
        assert_eq!(rest.iter().map(Result::is_ok).collect::<Vec<_>>(), [false], "what lay ready is not sent on");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_last_piece_that_nobody_reads_holds_nothing() {
        let permits = Arc::new(Semaphore::new(2));
        let mut pieces = pieces(answer(10), &permits);
        pieces.stall = Duration::from_mins(10);
        let unread = body(pieces, || true);
        drop(permits.acquire_many(2).await.unwrap());
        let sent: Vec<_> = unread.into_data_stream().collect().await;
        assert!(sent.len() == 1 && sent[0].is_ok(), "and it is still there");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn who_does_not_read_gets_a_broken_answer_and_holds_nothing() {
        let permits = Arc::new(Semaphore::new(2));
        let mut stalled = body(pieces(answer(500_000), &permits), || true).into_data_stream();
        assert!(stalled.next().await.unwrap().is_ok());
        drop(permits.acquire_many(2).await.unwrap());
        let rest: Vec<_> = stalled.collect().await;
        assert!(rest.last().unwrap().is_err(), "an answer cut short must not look complete");
    }
}
