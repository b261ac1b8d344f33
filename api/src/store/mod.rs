//! `state.db`: sessions, app sessions, codes, exchanges, revocations, audit. Every acknowledged write survives `kill -9`.

mod audit;
mod exchanges;
mod ledger;
mod many_rows;
mod revocations;
mod sessions;

use std::{path::Path, time::Duration};

use sqlx::{
    SqlitePool,
    migrate::Migrator,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use thiserror::Error;

pub(crate) use audit::{AuditLine, Outcome};
pub(crate) use exchanges::{Exchange, NewExchange};
pub(crate) use ledger::Ledger;
pub(crate) use revocations::RevocationRow;
pub(crate) use sessions::{AppSession, CodeGrant, NewCode, SESSION_LIFE, Session, TakenCode};

static MIGRATOR: Migrator = sqlx::migrate!("./migrations");
/// One of them is the ledger's.
const CONNECTIONS: u32 = 5;
/// Takes the write lock at once; see the metadata crate for why.
const BEGIN: &str = "BEGIN IMMEDIATE";

/// Why the state cannot be read or written.
#[derive(Debug, Error)]
pub enum StoreError {
    /// `SQLite` refused.
    #[error("state database: {0}")]
    Database(#[from] sqlx::Error),
    /// The schema could not be brought up to date.
    #[error("state schema: {0}")]
    Migration(#[from] sqlx::migrate::MigrateError),
    /// A stored value that this version did not write.
    #[error("state row: {0}")]
    Inconsistent(String),
    /// What was written together with others was not written.
    #[error("state database: {0}")]
    NotWritten(std::sync::Arc<str>),
}

/// The database.
#[derive(Clone)]
pub(crate) struct Store {
    pool: SqlitePool,
}

impl Store {
    /// Opens or creates the file. A damaged one is an error and never replaced: what it holds is nowhere else.
    pub(crate) async fn open(path: &Path) -> Result<Self, StoreError> {
        // Before SQLite sees it: the write-ahead log is made with the same mode as the file.
        restrict(path).map_err(|error| StoreError::Inconsistent(error.to_string()))?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .journal_mode(SqliteJournalMode::Wal)
            // FULL: a commit is on the disk before it is acknowledged.
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(Duration::from_secs(5))
            .statement_cache_capacity(many_rows::PREPARED)
            .foreign_keys(true)
            .pragma("trusted_schema", "OFF");
        let pool = SqlitePoolOptions::new().max_connections(CONNECTIONS).connect_with(options).await?;
        MIGRATOR.run(&pool).await?;
        Ok(Self { pool })
    }

    /// Closes every connection, so that the write-ahead log is folded in.
    pub(crate) async fn close(&self) {
        self.pool.close().await;
    }
}

fn restrict(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
    std::fs::OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))
}

fn to_json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

fn from_json<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|error| StoreError::Inconsistent(error.to_string()))
}

#[cfg(test)]
mod tests;
