//! The audit: one line per decision on who may do what, chained by hashes so that a changed or missing line shows.

use std::sync::LazyLock;

use kyros_shared_config::{clock::unix_now_millis, crypto::sha256};
use sqlx::SqliteTransaction;

use super::{StoreError, many_rows::ManyRows};

/// What stands before the first line.
const BEGINNING: [u8; 32] = [0; 32];

/// How a decision ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Allowed,
    Denied,
}

impl Outcome {
    fn name(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Denied => "denied",
        }
    }
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

/// A line in its place in the chain.
struct Link<'a> {
    at_ms: i64,
    line: &'a AuditLine,
    previous: [u8; 32],
    hash: [u8; 32],
}

/// Writes lines down, in order, within the transaction that gathers them.
pub(super) async fn insert(transaction: &mut SqliteTransaction<'_>, lines: &[&AuditLine]) -> Result<(), StoreError> {
    static INSERT: LazyLock<ManyRows> = LazyLock::new(|| {
        let head = "INSERT INTO audit (at_ms, decision, action, outcome, reason, subject, tenant, dashboard, prev_hash, \
                    hash)";
        ManyRows::new(head, 10)
    });
    if lines.is_empty() {
        return Ok(());
    }
    let last: Option<Vec<u8>> = sqlx::query_scalar("SELECT hash FROM audit ORDER BY seq DESC LIMIT 1")
        .fetch_optional(&mut **transaction)
        .await?;
    let last = match last {
        None => BEGINNING,
        Some(hash) => hash.try_into().map_err(|_| StoreError::Inconsistent("hash of the last audit line".into()))?,
    };
    for (statement, links) in INSERT.chunks(&chained(last, lines)?) {
        let mut query = sqlx::query(statement);
        for Link { at_ms, line, previous, hash } in links {
            query = query
                .bind(*at_ms)
                .bind(line.decision.as_str())
                .bind(line.action)
                .bind(line.outcome.name())
                .bind(line.reason)
                .bind(line.subject.as_deref())
                .bind(line.tenant.as_deref())
                .bind(line.dashboard.as_deref())
                .bind(previous.as_slice())
                .bind(hash.as_slice());
        }
        query.execute(&mut **transaction).await?;
    }
    Ok(())
}

/// Each line's hash is that of the hash before it and of the line as a JSON array.
fn chained<'a>(mut previous: [u8; 32], lines: &[&'a AuditLine]) -> Result<Vec<Link<'a>>, StoreError> {
    let at_ms = unix_now_millis();
    let mut hashed = Vec::new();
    let mut chain = Vec::with_capacity(lines.len());
    for &line in lines {
        let content = (
            at_ms,
            &line.decision,
            line.action,
            line.outcome.name(),
            line.reason,
            &line.subject,
            &line.tenant,
            &line.dashboard,
        );
        hashed.clear();
        hashed.extend_from_slice(&previous);
        serde_json::to_writer(&mut hashed, &content).map_err(|error| StoreError::Inconsistent(error.to_string()))?;
        let hash = sha256(&hashed);
        chain.push(Link { at_ms, line, previous, hash });
        previous = hash;
    }
    Ok(chain)
}
