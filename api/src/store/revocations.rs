//! What has been taken back, numbered, so that a sidecar that was away can catch up.

use kyros_shared_config::{Revocation, clock::unix_now};
use sqlx::SqliteTransaction;

use super::{Store, StoreError, from_json, to_json};

/// Kept this long, in seconds: far longer than any token that an entry could still concern.
const KEPT_FOR: i64 = 24 * 3600;
/// Most events that one read returns.
const BATCH: i64 = 500;

/// An event and its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RevocationRow {
    pub(crate) id: i64,
    pub(crate) at: i64,
    pub(crate) event: Revocation,
}

/// Writes events down within the transaction that makes them true.
pub(super) async fn write_events(
    transaction: &mut SqliteTransaction<'_>,
    events: &[Revocation],
) -> Result<(), StoreError> {
    for event in events {
        sqlx::query("INSERT INTO revocations (at, event) VALUES ($1, $2)")
            .bind(unix_now())
            .bind(to_json(event))
            .execute(&mut **transaction)
            .await?;
    }
    Ok(())
}

/// The events that end these sessions of dashboards.
pub(super) fn session_events(sids: Vec<String>) -> Vec<Revocation> {
    sids.into_iter().map(|sid| Revocation::Session { sid }).collect()
}

impl Store {
    /// The events after a number, in order.
    pub(crate) async fn revocations_after(&self, id: i64) -> Result<Vec<RevocationRow>, StoreError> {
        let rows: Vec<(i64, i64, String)> =
            sqlx::query_as("SELECT id, at, event FROM revocations WHERE id > $1 ORDER BY id LIMIT $2")
                .bind(id)
                .bind(BATCH)
                .fetch_all(&self.pool)
                .await?;
        rows.into_iter().map(|(id, at, event)| Ok(RevocationRow { id, at, event: from_json(&event)? })).collect()
    }

    /// The newest event that is older than `age` seconds: where a sidecar that remembers nothing must begin.
    pub(crate) async fn revocation_id_before(&self, age: i64) -> Result<i64, StoreError> {
        let id: Option<i64> = sqlx::query_scalar("SELECT max(id) FROM revocations WHERE at < $1")
            .bind(unix_now() - age)
            .fetch_one(&self.pool)
            .await?;
        Ok(id.unwrap_or(0))
    }

    /// Removes events that can concern no token any more.
    pub(super) async fn purge_revocations(&self) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM revocations WHERE at < $1").bind(unix_now() - KEPT_FOR).execute(&self.pool).await?;
        Ok(())
    }
}
