//! One task writes what comes in masses, exchanges and audit lines: whatever waits shares one transaction and one flush of
//! the disk.
//!
//! ```text
//!  exchange ──► queue ──► writer: take all that waits ──► one transaction ──► answer every waiter ──► take again
//!  decision ──►                                              │ fails: every waiter hears it, lines are tried again
//! ```
//!
//! Nothing is held back for company: a lone exchange is written at once, and what comes meanwhile shares the next flush.

use std::{sync::Arc, time::Duration};

use sqlx::{Connection as _, Sqlite, SqlitePool, pool::PoolConnection};
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

use super::{
    AuditLine, BEGIN, NewExchange, Store, StoreError, audit,
    exchanges::{self, ExchangeRow},
};

/// Entries that may wait to be written. When full, decisions wait for room; `kill -9` loses the lines that wait, and the
/// exchanges, which nobody has been answered.
const QUEUE: usize = 4096;
/// Entries that a transaction takes from the queue: a flush takes milliseconds, in which no more than these come.
const BATCH: usize = 512;
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
                return;
            }
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
/// has in memory. After a failure it goes back to the pool, which looks whether it is well.
async fn write(
    pool: &SqlitePool,
    kept: &mut Option<PoolConnection<Sqlite>>,
    batch: &[Entry],
) -> Result<(), StoreError> {
    let rows: Vec<&ExchangeRow> = batch.iter().filter_map(exchange_in).collect();
    let lines: Vec<&AuditLine> = batch.iter().map(line_in).collect();
    let mut connection = match kept.take() {
        Some(connection) => connection,
        None => pool.acquire().await?,
    };
    let mut transaction = connection.begin_with(BEGIN).await?;
    exchanges::insert(&mut transaction, &rows).await?;
    audit::insert(&mut transaction, &lines).await?;
    transaction.commit().await?;
    *kept = Some(connection);
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
