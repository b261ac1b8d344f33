//! The audit: one line per decision on who may do what, chained by hashes so that a changed or missing line shows.

use kyros_shared_config::{clock::unix_now_millis, crypto::sha256};
use sqlx::SqlitePool;
use tokio::sync::mpsc;

use super::{BEGIN, Store, StoreError};

/// Lines that may wait to be written. When full, decisions wait for room; `kill -9` loses what waits.
const QUEUE: usize = 4096;
/// Lines per transaction.
const BATCH: usize = 256;

/// How a decision ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Allowed,
    Denied,
}

/// One decision.
#[derive(Debug, Clone)]
pub(crate) struct AuditLine {
    pub(crate) decision: String,
    pub(crate) action: &'static str,
    pub(crate) outcome: Outcome,
    pub(crate) reason: &'static str,
    pub(crate) subject: Option<String>,
    pub(crate) tenant: Option<String>,
    pub(crate) dashboard: Option<String>,
}

/// Takes decisions and writes them in batches.
#[derive(Clone)]
pub(crate) struct Audit {
    queue: mpsc::Sender<AuditLine>,
}

impl Audit {
    /// Starts the writer. It ends, everything written, when the last `Audit` is dropped.
    pub(crate) fn start(store: &Store) -> (Self, tokio::task::JoinHandle<()>) {
        let (queue, lines) = mpsc::channel(QUEUE);
        let writer = tokio::spawn(write_all(store.pool.clone(), lines));
        (Self { queue }, writer)
    }

    /// Notes a decision.
    pub(crate) async fn note(&self, line: AuditLine) {
        if self.queue.send(line).await.is_err() {
            tracing::error!("audit writer has ended");
        }
    }
}

async fn write_all(pool: SqlitePool, mut lines: mpsc::Receiver<AuditLine>) {
    let mut batch = Vec::with_capacity(BATCH);
    while lines.recv_many(&mut batch, BATCH).await > 0 {
        while let Err(error) = write_batch(&pool, &batch).await {
            tracing::error!(%error, "audit not written, trying again");
            tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        }
        batch.clear();
    }
}

async fn write_batch(pool: &SqlitePool, batch: &[AuditLine]) -> Result<(), StoreError> {
    let mut transaction = pool.begin_with(BEGIN).await?;
    let last: Option<Vec<u8>> = sqlx::query_scalar("SELECT hash FROM audit ORDER BY seq DESC LIMIT 1")
        .fetch_optional(&mut *transaction)
        .await?;
    let mut previous = last.unwrap_or_else(|| vec![0; 32]);
    for line in batch {
        let at_ms = unix_now_millis();
        let outcome = match line.outcome {
            Outcome::Allowed => "allowed",
            Outcome::Denied => "denied",
        };
        let content = serde_json::json!([
            at_ms,
            line.decision,
            line.action,
            outcome,
            line.reason,
            line.subject,
            line.tenant,
            line.dashboard,
        ]);
        let hash = sha256(&[previous.as_slice(), content.to_string().as_bytes()].concat()).to_vec();
        sqlx::query(
            "INSERT INTO audit (at_ms, decision, action, outcome, reason, subject, tenant, dashboard, prev_hash, hash) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        )
        .bind(at_ms)
        .bind(&line.decision)
        .bind(line.action)
        .bind(outcome)
        .bind(line.reason)
        .bind(&line.subject)
        .bind(&line.tenant)
        .bind(&line.dashboard)
        .bind(&previous)
        .bind(&hash)
        .execute(&mut *transaction)
        .await?;
        previous = hash;
    }
    transaction.commit().await?;
    Ok(())
}
