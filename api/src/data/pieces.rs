//! A large answer on its way: one piece is encoded while the one before is sent, and no faster than the client reads.

use std::{io, time::Duration};

use axum::body::{Body, Bytes};
use futures_util::stream;
use kyros_shared_config::TenantId;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::turns::Turns;
use crate::engine::{self, Answer, Encoder, Encoding};

/// How long a client may leave a piece unread. Its rows are in our memory for that long.
pub(crate) const STALL: Duration = Duration::from_secs(30);

enum Piece {
    Bytes(Vec<u8>),
    End,
}

/// An answer that is to be sent piece by piece.
pub(crate) struct Pieces {
    pub(crate) answer: Answer,
    pub(crate) encoding: Encoding,
    pub(crate) tenant: TenantId,
    pub(crate) turns: Turns,
    pub(crate) permit: OwnedSemaphorePermit,
    /// How long the client may leave one unread.
    pub(crate) stall: Duration,
}

/// The answer as a body. It is broken off, and so no valid message, when anything goes wrong half way, or when the right to it
/// no longer `stands`.
pub(crate) fn body(pieces: Pieces, stands: impl Fn() -> bool + Send + 'static) -> Body {
    let Pieces { answer, encoding, tenant, turns, permit, stall } = pieces;
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        let _permit = permit;
        let mut encoder = Encoder::new(answer, encoding);
        loop {
            // What was taken back while it was read is not sent on.
            if !stands() {
                return;
            }
            // Every piece takes its turn: a long export is many short queries to everybody else.
            let turn = turns.wait(&tenant).await;
            let work = tokio::task::spawn_blocking(move || {
                let _turn = turn;
                let piece = encoder.piece();
                (encoder, piece)
            });
            let piece = match work.await {
                Ok((rest, Ok(Some(bytes)))) => {
                    encoder = rest;
                    Piece::Bytes(bytes)
                }
                Ok((_, Ok(None))) => {
                    let _ = sender.send(Piece::End).await;
                    return;
                }
                Ok((_, Err(error))) => return report(&error),
                Err(panicked) => return tracing::error!(error = %panicked, "an answer was broken off"),
            };
            // Nobody reads, or too slowly: without an end mark the connection is cut.
            if !matches!(tokio::time::timeout(stall, sender.send(piece)).await, Ok(Ok(()))) {
                return;
            }
        }
    });
    Body::from_stream(stream::unfold(Some(receiver), |receiver| async {
        let mut receiver = receiver?;
        match receiver.recv().await {
            Some(Piece::Bytes(bytes)) => Some((Ok(Bytes::from(bytes)), Some(receiver))),
            Some(Piece::End) => None,
            None => Some((Err(io::Error::from(io::ErrorKind::UnexpectedEof)), None)),
        }
    }))
}

fn report(error: &engine::Error) {
    tracing::error!(%error, "an answer was broken off");
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    };

    use futures_util::StreamExt as _;
    use tokio::sync::Semaphore;

    use super::*;
    use crate::engine::{Format, Query, Table, encode, run, validate};

    fn answer(rows: usize) -> Answer {
        let table = Table::from_bytes(format!("a\n{}", "12\n".repeat(rows)).into_bytes(), Format::Csv).unwrap();
        let query = Query::from_pairs([("limit", "1000000")]).unwrap();
        run(&table, &validate(&query, table.schema()).unwrap().page("v").unwrap()).unwrap()
    }

    fn pieces(answer: Answer, permits: &Arc<Semaphore>) -> Pieces {
        let permit = permits.clone().try_acquire_owned().unwrap();
        let (tenant, turns) = ("acme".parse().unwrap(), Turns::new(2));
        Pieces { answer, encoding: Encoding::Csv, tenant, turns, permit, stall: Duration::from_millis(500) }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_pieces_are_the_answer() {
        let (answer, permits) = (answer(100_000), Arc::new(Semaphore::new(1)));
        let sent: Vec<_> = body(pieces(answer.clone(), &permits), || true).into_data_stream().collect().await;
        assert!(sent.len() > 3);
        let bytes: Vec<u8> = sent.into_iter().flat_map(|piece| piece.unwrap()).collect();
        assert_eq!(bytes, encode(&answer, Encoding::Csv).unwrap());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_right_that_is_taken_back_half_way_ends_the_answer() {
        let permits = Arc::new(Semaphore::new(1));
        let left = AtomicUsize::new(2);
        let stands = move || left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok();
        let sent: Vec<_> = body(pieces(answer(500_000), &permits), stands).into_data_stream().collect().await;
        assert_eq!(sent.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, true, false]);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn who_does_not_read_gets_a_broken_answer_and_holds_nothing() {
        let permits = Arc::new(Semaphore::new(1));
        let mut stalled = body(pieces(answer(500_000), &permits), || true).into_data_stream();
        assert!(stalled.next().await.unwrap().is_ok());
        drop(permits.clone().acquire_owned().await.unwrap());
        let rest: Vec<_> = stalled.collect().await;
        assert!(rest.last().unwrap().is_err(), "an answer cut short must not look complete");
    }
}
