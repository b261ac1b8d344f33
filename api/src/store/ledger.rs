//! One task writes what comes in masses, exchanges and audit lines: whatever waits shares one transaction and one flush of
//! the disk.
//!
//! ```text
//!  exchange ──► queue ──► writer: take all that waits ──► one transaction ──► answer every waiter ──► take again
//!  decision ──►                                              │ fails: every waiter hears it, lines are tried again
//! ```
//!
//! No time passes for company: a lone exchange is written at once. But whatever can run now runs before a transaction begins, so
//! that what it has to write shares the flush, and what comes meanwhile shares the next one.

use std::{sync::Arc, time::Duration};

use sqlx::{Sqlite, SqliteConnection, SqlitePool, pool::PoolConnection};
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

use super::{
    AuditLine, NewExchange, Store, StoreError, audit,
    exchanges::{self, ExchangeRow},
    many_rows::{MOST, Script},
};

/// Entries that may wait to be written. When full, decisions wait for room; `kill -9` loses the lines that wait, and the
/// exchanges, which nobody has been answered.
const QUEUE: usize = 4096;
/// Entries that a transaction takes from the queue: a flush takes milliseconds, in which no more than these come.
const BATCH: usize = 512;
/// So many entries need no more company.
const COMPANY: usize = 64;
/// Lines that wait for a disk that fails; beyond them the queue is left to fill.
pub(super) const KEPT: usize = 4096;
/// How soon lines that could not be written are tried again when nothing else is to be written.
const RETRY: Duration = Duration::from_millis(500);

enum Entry {
    /// An exchange with the line that allows it: on the disk together or not at all.
    Exchange {
        row: ExchangeRow,
        line: AuditLine,
        written: oneshot::Sender<Result<(), StoreError>>,
    },
    Line(AuditLine),
}

/// Takes exchanges and decisions to be written.
#[derive(Clone)]
pub(crate) struct Ledger {
    queue: mpsc::Sender<Entry>,
}

impl Ledger {
    /// Starts the writer. It ends, everything written, when the last `Ledger` is dropped.
    pub(crate) fn start(store: &Store) -> (Self, tokio::task::JoinHandle<()>) {
        let (queue, entries) = mpsc::channel(QUEUE);
        let writer = tokio::spawn(write_all(store.pool.clone(), entries));
        (Self { queue }, writer)
    }

    /// Notes a decision; it is written soon.
    pub(crate) async fn note(&self, line: AuditLine) {
        if self.queue.send(Entry::Line(line)).await.is_err() {
            tracing::error!("audit writer has ended");
        }
    }

    /// Remembers an exchange and its decision: both are on the disk when this returns without an error.
    pub(crate) async fn remember(&self, exchange: &NewExchange<'_>, line: AuditLine) -> Result<(), StoreError> {
        let ended = || StoreError::NotWritten("the writer has ended".into());
        let (written, answer) = oneshot::channel();
        let entry = Entry::Exchange { row: exchange.into(), line, written };
        self.queue.send(entry).await.map_err(|_| ended())?;
        answer.await.map_err(|_| ended())?
    }
}

async fn write_all(pool: SqlitePool, mut queue: mpsc::Receiver<Entry>) {
    let mut batch = Vec::with_capacity(BATCH);
    let mut connection = None;
    loop {
        if batch.is_empty() {
            if queue.recv_many(&mut batch, BATCH).await == 0 {
                break;
            }
            let_others_join(&mut queue, &mut batch).await;
        } else {
            wait_for_company(&mut queue, &mut batch).await;
        }
        let result = write(&pool, &mut connection, &batch).await;
        let failure: Option<Arc<str>> = result.err().map(|error| error.to_string().into());
        if let Some(error) = &failure {
            tracing::error!(error = &**error, "exchanges and audit not written; lines are tried again");
        }
        batch = batch.into_iter().filter_map(|entry| answered(entry, failure.as_ref())).collect();
    }
    if let Some(connection) = connection {
        // Everything is written; what else it could say concerns nobody.
        let _ = connection.close().await;
    }
}

/// On a busy machine many exchanges are a few microseconds behind the first. A transaction costs as much CPU time as many of
/// them, whatever it holds.
async fn let_others_join(queue: &mut mpsc::Receiver<Entry>, batch: &mut Vec<Entry>) {
    while batch.len() < COMPANY {
        let before = batch.len();
        // Behind every task that can run, and every request that lies in its socket.
        tokio::task::yield_now().await;
        batch.extend(std::iter::from_fn(|| queue.try_recv().ok()).take(BATCH - before));
        if batch.len() == before {
            return;
        }
    }
}

/// After a failure: a pause that ends when something new is to be written.
async fn wait_for_company(queue: &mut mpsc::Receiver<Entry>, batch: &mut Vec<Entry>) {
    let room = KEPT.saturating_sub(batch.len()).min(BATCH);
    // No room and no more senders both return at once.
    if matches!(timeout(RETRY, queue.recv_many(batch, room)).await, Ok(0)) {
        tokio::time::sleep(RETRY).await;
        refuse_exchanges(queue, batch);
    }
}

/// Without room for lines, exchanges still hear that they are not written, up to the first line, which is kept.
fn refuse_exchanges(queue: &mut mpsc::Receiver<Entry>, batch: &mut Vec<Entry>) {
    let failure: Arc<str> = "the disk fails, and too many lines wait for it".into();
    while let Ok(entry) = queue.try_recv() {
        if let Some(line) = answered(entry, Some(&failure)) {
            batch.push(line);
            return;
        }
    }
}

/// Tells the waiter. What is left to be written: the lines of a transaction that failed. A refused exchange leaves none, since
/// nothing was allowed.
fn answered(entry: Entry, failure: Option<&Arc<str>>) -> Option<Entry> {
    match (entry, failure) {
        (Entry::Exchange { written, .. }, failure) => {
            // Nobody listens when the client has hung up.
            let _ = written.send(failure.map_or(Ok(()), |error| Err(StoreError::NotWritten(error.clone()))));
            None
        }
        (Entry::Line(_), None) => None,
        (line, Some(_)) => Some(line),
    }
}

/// The connection stays with the writer from one transaction to the next: another one would have to read what this one still
/// has in memory.
async fn write(
    pool: &SqlitePool,
    kept: &mut Option<PoolConnection<Sqlite>>,
    batch: &[Entry],
) -> Result<(), StoreError> {
    let mut connection = match kept.take() {
        Some(connection) => connection,
        None => pool.acquire().await?,
    };
    // Whatever ends this half way: the pool knows nothing of our transaction, and would hand the connection on with it.
    connection.close_on_drop();
    if let Err(error) = write_on(&mut connection, batch).await {
        // Takes back what was begun, and gives up the lock.
        let _ = connection.close().await;
        return Err(error);
    }
    *kept = Some(connection);
    Ok(())
}

/// One transaction in two goes: the second needs what the first has read.
async fn write_on(connection: &mut SqliteConnection, batch: &[Entry]) -> Result<(), StoreError> {
    let last = audit::begin(connection).await?;
    let lines: Vec<&AuditLine> = batch.iter().map(line_in).collect();
    let chain = audit::chained(last, &lines)?;
    let mut chunks = batch.chunks(MOST).zip(chain.chunks(MOST)).peekable();
    while let Some((entries, links)) = chunks.next() {
        let rows: Vec<&ExchangeRow> = entries.iter().filter_map(exchange_in).collect();
        let mut script = Script::default();
        exchanges::insert(&mut script, &rows)?;
        audit::insert(&mut script, links)?;
        if chunks.peek().is_none() {
            script.then("COMMIT");
        }
        script.run(connection).await?;
    }
    Ok(())
}

fn exchange_in(entry: &Entry) -> Option<&ExchangeRow> {
    match entry {
        Entry::Exchange { row, .. } => Some(row),
        Entry::Line(_) => None,
    }
}

fn line_in(entry: &Entry) -> &AuditLine {
    match entry {
        Entry::Exchange { line, .. } | Entry::Line(line) => line,
    }
}
