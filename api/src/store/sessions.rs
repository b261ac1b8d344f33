//! Sessions of people, app sessions of dashboards, and the one-time codes between them.

use kyros_shared_config::{
    DashboardSlug, Revocation, Secret, TenantId, UserIdentity,
    clock::unix_now,
    crypto::{random_handle, random_id, sha256},
};
use sqlx::{Row as _, sqlite::SqliteRow};

use super::{
    BEGIN, Store, StoreError, from_json,
    revocations::{session_events, write_events},
    to_json,
};

/// A session ends after this, whatever happens, in seconds.
pub(crate) const SESSION_LIFE: i64 = 8 * 3600;
/// A session that nothing used for this long has ended, in seconds.
const IDLE_LIFE: i64 = 3600;
/// Life of an authorization code, in seconds (RFC 6749, section 4.1.2, allows ten minutes; a redirect takes one).
const CODE_LIFE: i64 = 60;
/// A session's last use is written no more often than this, in seconds.
const TOUCH_INTERVAL: i64 = 60;

/// A person who is signed in.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    pub(crate) sid: String,
    pub(crate) identity: UserIdentity,
    pub(crate) csrf: String,
    pub(crate) expires_at: i64,
}

/// One person's session with one dashboard for one tenant.
#[derive(Debug, Clone)]
pub(crate) struct AppSession {
    pub(crate) sid: String,
    pub(crate) tenant: TenantId,
    pub(crate) tenant_uid: String,
    pub(crate) dashboard: DashboardSlug,
    pub(crate) session: Session,
}

/// What a code stands for.
pub(crate) struct NewCode<'a> {
    pub(crate) session_sid: &'a str,
    pub(crate) tenant: &'a TenantId,
    pub(crate) dashboard: &'a DashboardSlug,
    pub(crate) redirect_uri: &'a str,
    pub(crate) code_challenge: &'a str,
}

/// A code that somebody wants to redeem, and what must fit it.
pub(crate) struct TakenCode<'a> {
    pub(crate) code: &'a str,
    pub(crate) dashboard: &'a DashboardSlug,
    pub(crate) redirect_uri: &'a str,
    pub(crate) code_challenge: &'a str,
    /// The id that the app session will have.
    pub(crate) app_sid: &'a str,
}

/// What redeeming a code says.
pub(crate) enum CodeGrant {
    /// The first time, and everything fits.
    Granted { handle: Secret<String>, app: Box<AppSession> },
    /// A second time: the app session made the first time must end (RFC 6749, section 4.1.2).
    Replayed { app_sid: Option<String> },
    /// Unknown, expired, or of another client.
    Invalid,
}

impl Store {
    /// Signs a person in. Returns the handle for the cookie; only its digest is stored.
    pub(crate) async fn begin_session(&self, identity: &UserIdentity) -> Result<(Secret<String>, Session), StoreError> {
        let (handle, sid, csrf, now) = (Secret::new(random_handle()), random_id(), random_handle(), unix_now());
        sqlx::query(
            "INSERT INTO sessions (handle_hash, sid, issuer, subject, email, name, groups, tenant_ids, csrf, created_at, \
             seen_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $10, $11)",
        )
        .bind(sha256(handle.expose().as_bytes()).as_slice())
        .bind(&sid)
        .bind(&identity.issuer)
        .bind(&identity.subject)
        .bind(&identity.email)
        .bind(&identity.name)
        .bind(to_json(&identity.groups))
        .bind(to_json(&identity.tenant_ids))
        .bind(&csrf)
        .bind(now)
        .bind(now + SESSION_LIFE)
        .execute(&self.pool)
        .await?;
        Ok((handle, Session { sid, identity: identity.clone(), csrf, expires_at: now + SESSION_LIFE }))
    }

    /// The live session of a cookie's handle.
    pub(crate) async fn session(&self, handle: &str) -> Result<Option<Session>, StoreError> {
        let now = unix_now();
        let row = sqlx::query(
            "SELECT sid, issuer, subject, email, name, groups, tenant_ids, csrf, expires_at, seen_at FROM sessions \
             WHERE handle_hash = $1 AND ended_at IS NULL AND expires_at > $2 AND seen_at > $3",
        )
        .bind(sha256(handle.as_bytes()).as_slice())
        .bind(now)
        .bind(now - IDLE_LIFE)
        .fetch_optional(&self.pool)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let session = session_of(&row)?;
        self.touch(&session.sid, row.try_get("seen_at")?, now).await?;
        Ok(Some(session))
    }

    async fn touch(&self, sid: &str, seen_at: i64, now: i64) -> Result<(), StoreError> {
        if now - seen_at >= TOUCH_INTERVAL {
            sqlx::query("UPDATE sessions SET seen_at = $1 WHERE sid = $2")
                .bind(now)
                .bind(sid)
                .execute(&self.pool)
                .await?;
        }
        Ok(())
    }

    /// Ends a session and everything that came of it. The revocations are written in the same transaction: a session that
    /// ended and a stream that does not say so cannot both be on the disk.
    pub(crate) async fn end_session(&self, sid: &str) -> Result<Vec<Revocation>, StoreError> {
        let now = unix_now();
        let mut transaction = self.pool.begin_with(BEGIN).await?;
        sqlx::query("UPDATE sessions SET ended_at = $1 WHERE sid = $2 AND ended_at IS NULL")
            .bind(now)
            .bind(sid)
            .execute(&mut *transaction)
            .await?;
        let ended = sqlx::query_scalar(
            "UPDATE app_sessions SET ended_at = $1 WHERE session_sid = $2 AND ended_at IS NULL RETURNING sid",
        )
        .bind(now)
        .bind(sid)
        .fetch_all(&mut *transaction)
        .await?;
        let events = session_events(ended);
        write_events(&mut transaction, &events).await?;
        transaction.commit().await?;
        Ok(events)
    }

    /// Makes a one-time code.
    pub(crate) async fn make_code(&self, code: &NewCode<'_>) -> Result<Secret<String>, StoreError> {
        let handle = Secret::new(random_handle());
        sqlx::query(
            "INSERT INTO authorization_codes (code_hash, session_sid, tenant_id, dashboard, redirect_uri, \
             code_challenge, expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(sha256(handle.expose().as_bytes()).as_slice())
        .bind(code.session_sid)
        .bind(code.tenant.as_str())
        .bind(code.dashboard.as_str())
        .bind(code.redirect_uri)
        .bind(code.code_challenge)
        .bind(unix_now() + CODE_LIFE)
        .execute(&self.pool)
        .await?;
        Ok(handle)
    }

    /// Takes a code and makes the app session that it stands for, in one transaction: a logout comes before both or after
    /// both. The code is spent even when something about the request is wrong, so that nobody can try again. `uid_of` gives
    /// the uid of the tenant's resource as it is now.
    pub(crate) async fn take_code(
        &self,
        taken: &TakenCode<'_>,
        uid_of: impl FnOnce(&TenantId) -> Option<String> + Send,
    ) -> Result<CodeGrant, StoreError> {
        let hash = sha256(taken.code.as_bytes());
        let mut transaction = self.pool.begin_with(BEGIN).await?;
        let row = sqlx::query(
            "SELECT c.tenant_id, c.dashboard, c.redirect_uri, c.code_challenge, c.expires_at AS code_expires_at, \
             c.app_sid, s.sid, s.issuer, s.subject, s.email, s.name, s.groups, s.tenant_ids, s.csrf, s.expires_at, \
             s.ended_at FROM authorization_codes c JOIN sessions s ON s.sid = c.session_sid WHERE c.code_hash = $1",
        )
        .bind(hash.as_slice())
        .fetch_optional(&mut *transaction)
        .await?;
        let Some(row) = row else { return Ok(CodeGrant::Invalid) };
        let used: Option<String> = row.try_get("app_sid")?;
        if used.is_some() {
            return Ok(CodeGrant::Replayed { app_sid: used });
        }
        sqlx::query("UPDATE authorization_codes SET app_sid = $1 WHERE code_hash = $2")
            .bind(taken.app_sid)
            .bind(hash.as_slice())
            .execute(&mut *transaction)
            .await?;
        let tenant: String = row.try_get("tenant_id")?;
        let tenant: TenantId = tenant.parse().map_err(|_| StoreError::Inconsistent("tenant id of a code".into()))?;
        let (session, fits) = (session_of(&row)?, fits(&row, taken)?);
        let Some(tenant_uid) = uid_of(&tenant).filter(|_| fits) else {
            transaction.commit().await?;
            return Ok(CodeGrant::Invalid);
        };
        let handle = Secret::new(random_handle());
        sqlx::query(
            "INSERT INTO app_sessions (handle_hash, sid, session_sid, tenant_id, tenant_uid, dashboard, created_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(sha256(handle.expose().as_bytes()).as_slice())
        .bind(taken.app_sid)
        .bind(&session.sid)
        .bind(tenant.as_str())
        .bind(&tenant_uid)
        .bind(taken.dashboard.as_str())
        .bind(unix_now())
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        let sid = taken.app_sid.to_owned();
        let app = AppSession { sid, tenant, tenant_uid, dashboard: taken.dashboard.clone(), session };
        Ok(CodeGrant::Granted { handle, app: Box::new(app) })
    }

    /// The live app session of a handle, for the dashboard that asks. Using it keeps the person's session alive.
    pub(crate) async fn app_session(
        &self,
        handle: &str,
        dashboard: &DashboardSlug,
    ) -> Result<Option<AppSession>, StoreError> {
        let now = unix_now();
        let row = sqlx::query(concat!(
            "SELECT a.sid AS app_sid, a.tenant_id, a.tenant_uid, a.dashboard, s.seen_at, s.sid, s.issuer, s.subject, \
             s.email, s.name, s.groups, s.tenant_ids, s.csrf, s.expires_at FROM app_sessions a \
             JOIN sessions s ON s.sid = a.session_sid ",
            "WHERE a.handle_hash = $1 AND a.dashboard = $2 AND a.ended_at IS NULL AND s.ended_at IS NULL \
             AND s.expires_at > $3 AND s.seen_at > $4"
        ))
        .bind(sha256(handle.as_bytes()).as_slice())
        .bind(dashboard.as_str())
        .bind(now)
        .bind(now - IDLE_LIFE)
        .fetch_optional(&self.pool)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let app = app_session_of(&row)?;
        self.touch(&app.session.sid, row.try_get("seen_at")?, now).await?;
        Ok(Some(app))
    }

    /// Every app session that has not ended, to be checked against changed grants, and the ids of those whose rows cannot be
    /// read: one of them must not keep all the others from being checked.
    pub(crate) async fn live_app_sessions(&self) -> Result<(Vec<AppSession>, Vec<String>), StoreError> {
        let rows = sqlx::query(
            "SELECT a.sid AS app_sid, a.tenant_id, a.tenant_uid, a.dashboard, s.seen_at, s.sid, s.issuer, s.subject, \
             s.email, s.name, s.groups, s.tenant_ids, s.csrf, s.expires_at FROM app_sessions a \
             JOIN sessions s ON s.sid = a.session_sid WHERE a.ended_at IS NULL AND s.ended_at IS NULL \
             AND s.expires_at > $1",
        )
        .bind(unix_now())
        .fetch_all(&self.pool)
        .await?;
        let (mut live, mut unreadable) = (Vec::with_capacity(rows.len()), Vec::new());
        for row in &rows {
            match app_session_of(row) {
                Ok(app) => live.push(app),
                Err(error) => {
                    tracing::error!(%error, "an app session cannot be read and ends");
                    unreadable.push(row.try_get("app_sid")?);
                }
            }
        }
        Ok((live, unreadable))
    }

    /// Ends one app session by its handle; unknown handles are no error (RFC 7009, section 2.2).
    pub(crate) async fn end_app_session(
        &self,
        handle: &str,
        dashboard: &DashboardSlug,
    ) -> Result<Vec<Revocation>, StoreError> {
        let mut transaction = self.pool.begin_with(BEGIN).await?;
        let ended = sqlx::query_scalar(
            "UPDATE app_sessions SET ended_at = $1 WHERE handle_hash = $2 AND dashboard = $3 AND ended_at IS NULL \
             RETURNING sid",
        )
        .bind(unix_now())
        .bind(sha256(handle.as_bytes()).as_slice())
        .bind(dashboard.as_str())
        .fetch_all(&mut *transaction)
        .await?;
        let events = session_events(ended);
        write_events(&mut transaction, &events).await?;
        transaction.commit().await?;
        Ok(events)
    }

    /// Ends app sessions and exchanged tokens by their ids, and whatever else `events` say.
    pub(crate) async fn end_by_ids(
        &self,
        sids: Vec<String>,
        mut events: Vec<Revocation>,
    ) -> Result<Vec<Revocation>, StoreError> {
        let mut transaction = self.pool.begin_with(BEGIN).await?;
        for sid in &sids {
            sqlx::query("UPDATE app_sessions SET ended_at = $1 WHERE sid = $2 AND ended_at IS NULL")
                .bind(unix_now())
                .bind(sid)
                .execute(&mut *transaction)
                .await?;
            sqlx::query("DELETE FROM exchanges WHERE sid = $1").bind(sid).execute(&mut *transaction).await?;
        }
        events.extend(session_events(sids));
        write_events(&mut transaction, &events).await?;
        transaction.commit().await?;
        Ok(events)
    }

    /// Removes what can never matter again.
    pub(crate) async fn purge(&self) -> Result<(), StoreError> {
        let now = unix_now();
        sqlx::query("DELETE FROM authorization_codes WHERE expires_at < $1")
            .bind(now - 3600)
            .execute(&self.pool)
            .await?;
        self.purge_revocations().await?;
        self.purge_exchanges().await?;
        sqlx::query("DELETE FROM sessions WHERE expires_at < $1 OR ended_at < $1")
            .bind(now - 24 * 3600)
            .execute(&self.pool)
            .await?;
        Ok(())
    }
}

/// Whether a code is redeemed by whom it was made for, as it was made, in time, while its session lives.
fn fits(row: &SqliteRow, taken: &TakenCode<'_>) -> Result<bool, StoreError> {
    let now = unix_now();
    let ended: Option<i64> = row.try_get("ended_at")?;
    Ok(row.try_get::<String, _>("dashboard")? == taken.dashboard.as_str()
        && row.try_get::<String, _>("redirect_uri")? == taken.redirect_uri
        && row.try_get::<String, _>("code_challenge")? == taken.code_challenge
        && row.try_get::<i64, _>("code_expires_at")? > now
        && row.try_get::<i64, _>("expires_at")? > now
        && ended.is_none())
}

fn session_of(row: &SqliteRow) -> Result<Session, StoreError> {
    let expires_at = row.try_get("expires_at")?;
    Ok(Session {
        sid: row.try_get("sid")?,
        csrf: row.try_get("csrf")?,
        expires_at,
        identity: UserIdentity {
            issuer: row.try_get("issuer")?,
            subject: row.try_get("subject")?,
            email: row.try_get("email")?,
            name: row.try_get("name")?,
            groups: from_json(row.try_get("groups")?)?,
            tenant_ids: from_json(row.try_get("tenant_ids")?)?,
            expires_at,
        },
    })
}

fn app_session_of(row: &SqliteRow) -> Result<AppSession, StoreError> {
    let name = |column: &str| -> Result<String, StoreError> { Ok(row.try_get(column)?) };
    Ok(AppSession {
        sid: row.try_get("app_sid")?,
        tenant: name("tenant_id")?.parse().map_err(|_| StoreError::Inconsistent("tenant id".into()))?,
        tenant_uid: row.try_get("tenant_uid")?,
        dashboard: name("dashboard")?.parse().map_err(|_| StoreError::Inconsistent("dashboard".into()))?,
        session: session_of(row)?,
    })
}
