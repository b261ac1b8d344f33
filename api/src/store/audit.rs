//! The audit: one line per decision on who may do what, chained by hashes so that a changed or missing line shows.

use kyros_shared_config::{clock::unix_now_millis, crypto::sha256};
use sqlx::SqliteConnection;

use super::{
    StoreError,
    many_rows::{Rows, Script},
};

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
pub(super) struct Link<'a> {
    at_ms: i64,
    line: &'a AuditLine,
    previous: [u8; 32],
    hash: [u8; 32],
}

const ROWS: Rows = Rows {
    head: "INSERT INTO audit (at_ms, decision, action, outcome, reason, subject, tenant, dashboard, prev_hash, hash)",
    columns: 10,
};

/// Begins the transaction in which lines are written, and says after which hash.
pub(super) async fn begin(connection: &mut SqliteConnection) -> Result<[u8; 32], StoreError> {
    /// The write lock at once (see the metadata crate for why): nobody else adds a line until this transaction ends.
    const BEGIN_AFTER: &str = "BEGIN IMMEDIATE; SELECT hash FROM audit ORDER BY seq DESC LIMIT 1";
    let last: Option<Vec<u8>> = sqlx::query_scalar(BEGIN_AFTER).fetch_optional(connection).await?;
    match last {
        None => Ok(BEGINNING),
        Some(hash) => hash.try_into().map_err(|_| StoreError::Inconsistent("hash of the last audit line".into())),
    }
}

/// Adds lines to what is written next.
pub(super) fn insert(script: &mut Script, links: &[Link<'_>]) -> Result<(), StoreError> {
    script.insert(&ROWS, links.len());
    for Link { at_ms, line, previous, hash } in links {
        script.bind(*at_ms)?;
        script.bind(line.decision.as_str())?;
        script.bind(line.action)?;
        script.bind(line.outcome.name())?;
        script.bind(line.reason)?;
        script.bind(line.subject.as_deref())?;
        script.bind(line.tenant.as_deref())?;
        script.bind(line.dashboard.as_deref())?;
        script.bind(previous.as_slice())?;
        script.bind(hash.as_slice())?;
    }
    Ok(())
}

/// Each line's hash is that of the hash before it and of the line as a JSON array.
pub(super) fn chained<'a>(mut previous: [u8; 32], lines: &[&'a AuditLine]) -> Result<Vec<Link<'a>>, StoreError> {
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
