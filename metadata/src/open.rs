//! Opening the file: settings that both sides need, the schema, and what happens to a file that cannot be used.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use kyros_shared_config::clock::unix_now;
use sqlx::{
    ConnectOptions as _, Connection as _, SqliteConnection,
    migrate::Migrator,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};
use thiserror::Error;

pub(crate) static MIGRATOR: Migrator = sqlx::migrate!("./migrations");
/// How long a statement waits for another process's lock.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Why the read model cannot be read or written.
#[derive(Debug, Error)]
pub enum MetadataError {
    /// `SQLite` refused.
    #[error("metadata database: {0}")]
    Database(#[from] sqlx::Error),
    /// The schema could not be brought up to date.
    #[error("metadata schema: {0}")]
    Migration(#[from] sqlx::migrate::MigrateError),
    /// The unusable file could not be set aside.
    #[error("cannot set {path} aside: {source}")]
    SetAside {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A stored value that no writer of this version writes.
    #[error("metadata row {table} {row}: {reason}")]
    Inconsistent {
        /// The table.
        table: &'static str,
        /// Its key.
        row: String,
        /// What is wrong.
        reason: String,
    },
    /// The controller has not written a first complete list yet.
    #[error("no complete list of tenants yet; is the controller running?")]
    NotYetWritten,
}

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .busy_timeout(BUSY_TIMEOUT)
        .foreign_keys(true)
        .pragma("trusted_schema", "OFF")
        .disable_statement_logging()
}

/// The writer's connection. A file that is damaged, newer or older than this program understands is set aside and begun
/// anew: the resources are the truth, this is a copy.
pub(crate) async fn open_for_writing(path: &Path) -> Result<SqliteConnection, MetadataError> {
    match try_open_for_writing(path).await {
        Ok(connection) => Ok(connection),
        Err(error) => {
            let aside = path.with_extension(format!("db.corrupt-{}", unix_now()));
            tracing::warn!(%error, aside = %aside.display(), "metadata file unusable, rebuilding it");
            set_aside(path, &aside)?;
            try_open_for_writing(path).await
        }
    }
}

async fn try_open_for_writing(path: &Path) -> Result<SqliteConnection, MetadataError> {
    let options = options(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Normal);
    let mut connection = options.connect().await?;
    let verdict: String = sqlx::query_scalar("PRAGMA quick_check(1)").fetch_one(&mut connection).await?;
    if verdict != "ok" {
        return Err(MetadataError::Inconsistent { table: "sqlite", row: String::new(), reason: verdict });
    }
    MIGRATOR.run(&mut connection).await?;
    Ok(connection)
}

fn set_aside(path: &Path, aside: &Path) -> Result<(), MetadataError> {
    for suffix in ["", "-wal", "-shm"] {
        let with = |base: &Path| PathBuf::from(format!("{}{suffix}", base.display()));
        match std::fs::rename(with(path), with(aside)) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                return Err(MetadataError::SetAside { path: path.to_owned(), source });
            }
            _ => (),
        }
    }
    Ok(())
}

/// A reader's connection. It neither creates nor changes the schema.
pub(crate) async fn open_for_reading(path: &Path) -> Result<SqliteConnection, MetadataError> {
    // Not `read_only`: a WAL reader must be able to make the shared-memory file when it comes first.
    let mut connection = options(path).connect().await?;
    sqlx::query("PRAGMA query_only = ON").execute(&mut connection).await?;
    connection.ping().await?;
    Ok(connection)
}
