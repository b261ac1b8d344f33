//! Tokens given to programs: remembered for as long as they live, so that a lost grant can reach them, also after a restart.

use std::borrow::Cow;

use kyros_shared_config::{DashboardSlug, TenantId, UserIdentity, clock::unix_now};
use serde::{Deserialize, Serialize};
use sqlx::{Row as _, sqlite::SqliteRow};

use super::{
    Store, StoreError, from_json,
    many_rows::{Rows, Script},
    to_json,
};

/// Rows that one statement of the clean-up looks at: others wait to write meanwhile.
const PURGED_AT_ONCE: i64 = 2000;

/// A token given to a program, which no session stands behind.
#[derive(Debug, Clone)]
pub(crate) struct Exchange {
    pub(crate) sid: String,
    pub(crate) identity: UserIdentity,
    pub(crate) tenant: TenantId,
    pub(crate) tenant_uid: String,
    pub(crate) dashboard: DashboardSlug,
}

/// An exchange that is about to be made.
pub(crate) struct NewExchange<'a> {
    pub(crate) sid: &'a str,
    pub(crate) identity: &'a UserIdentity,
    pub(crate) tenant: &'a TenantId,
    pub(crate) tenant_uid: &'a str,
    pub(crate) dashboard: &'a DashboardSlug,
    pub(crate) expires_at: i64,
}

/// The same as it is written.
pub(super) struct ExchangeRow {
    sid: String,
    identity: String,
    tenant: String,
    tenant_uid: String,
    dashboard: String,
    expires_at: i64,
}

impl From<&NewExchange<'_>> for ExchangeRow {
    fn from(new: &NewExchange<'_>) -> Self {
        Self {
            sid: new.sid.to_owned(),
            identity: to_json(&StoredIdentity::from(new.identity)),
            tenant: new.tenant.to_string(),
            tenant_uid: new.tenant_uid.to_owned(),
            dashboard: new.dashboard.to_string(),
            expires_at: new.expires_at,
        }
    }
}

const ROWS: Rows =
    Rows { head: "INSERT INTO exchanges (sid, identity, tenant_id, tenant_uid, dashboard, expires_at)", columns: 6 };

/// Adds exchanges to what is written next.
pub(super) fn insert(script: &mut Script, exchanges: &[&ExchangeRow]) -> Result<(), StoreError> {
    script.insert(&ROWS, exchanges.len());
    for row in exchanges {
        script.bind(row.sid.as_str())?;
        script.bind(row.identity.as_str())?;
        script.bind(row.tenant.as_str())?;
        script.bind(row.tenant_uid.as_str())?;
        script.bind(row.dashboard.as_str())?;
        script.bind(row.expires_at)?;
    }
    Ok(())
}

impl Store {
    /// Every exchanged token that has not expired.
    pub(crate) async fn live_exchanges(&self) -> Result<Vec<Exchange>, StoreError> {
        let rows =
            sqlx::query("SELECT * FROM exchanges WHERE expires_at > $1").bind(unix_now()).fetch_all(&self.pool).await?;
        rows.iter().map(exchange_of).collect()
    }

    /// Removes those that have expired, a few at a time from the oldest on. One that lives longer than what came after it
    /// only delays their removal.
    pub(super) async fn purge_exchanges(&self) -> Result<(), StoreError> {
        loop {
            let removed = sqlx::query(
                "DELETE FROM exchanges WHERE rowid IN (SELECT rowid FROM (SELECT rowid, expires_at FROM exchanges \
                 ORDER BY rowid LIMIT $1) WHERE expires_at < $2)",
            )
            .bind(PURGED_AT_ONCE)
            .bind(unix_now())
            .execute(&self.pool)
            .await?;
            if removed.rows_affected() == 0 {
                return Ok(());
            }
        }
    }
}

/// A person as an exchange is stored with.
#[derive(Serialize, Deserialize)]
struct StoredIdentity<'a> {
    issuer: Cow<'a, str>,
    subject: Cow<'a, str>,
    email: Option<Cow<'a, str>>,
    groups: Cow<'a, [String]>,
    tenant_ids: Cow<'a, [TenantId]>,
}

impl<'a> From<&'a UserIdentity> for StoredIdentity<'a> {
    fn from(identity: &'a UserIdentity) -> Self {
        Self {
            issuer: Cow::from(&identity.issuer),
            subject: Cow::from(&identity.subject),
            email: identity.email.as_ref().map(Cow::from),
            groups: Cow::from(&identity.groups),
            tenant_ids: Cow::from(&identity.tenant_ids),
        }
    }
}

fn exchange_of(row: &SqliteRow) -> Result<Exchange, StoreError> {
    let name = |column: &str| -> Result<String, StoreError> { Ok(row.try_get(column)?) };
    let StoredIdentity { issuer, subject, email, groups, tenant_ids } = from_json(row.try_get("identity")?)?;
    Ok(Exchange {
        sid: row.try_get("sid")?,
        identity: UserIdentity {
            issuer: issuer.into_owned(),
            subject: subject.into_owned(),
            email: email.map(Cow::into_owned),
            name: None,
            groups: groups.into_owned(),
            tenant_ids: tenant_ids.into_owned(),
            expires_at: row.try_get("expires_at")?,
        },
        tenant: name("tenant_id")?.parse().map_err(|_| StoreError::Inconsistent("tenant id".into()))?,
        tenant_uid: row.try_get("tenant_uid")?,
        dashboard: name("dashboard")?.parse().map_err(|_| StoreError::Inconsistent("dashboard".into()))?,
    })
}
