//! Taking things back: written down first, then in force here, then told to the sidecars.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use kyros_metadata::{Reader, Snapshot};
use kyros_shared_config::{
    DashboardSlug, TenantId, TenantScope, UserIdentity, clock::unix_now, verifier::TENANT_TOKEN_LIFE,
};
use tokio::sync::watch;

use crate::{
    state::access_of,
    store::{Revocation, Store, StoreError},
};

/// How long an event matters: no token issued before it lives longer.
pub(crate) const WINDOW: i64 = TENANT_TOKEN_LIFE + 60;

/// An exchanged token that may have to be taken back before it expires.
#[derive(Clone)]
struct Exchanged {
    identity: UserIdentity,
    tenant: TenantId,
    tenant_uid: String,
    dashboard: DashboardSlug,
    expires_at: i64,
}

#[derive(Default)]
struct State {
    /// Sessions that ended for good, until when that matters.
    sessions: HashMap<String, i64>,
    /// Everything else; there are few.
    scopes: Vec<(i64, Revocation)>,
    exchanged: HashMap<String, Exchanged>,
}

impl State {
    fn add(&mut self, until: i64, event: Revocation) {
        match event {
            Revocation::Session { sid } => {
                self.sessions.insert(sid, until);
            }
            scope @ Revocation::Scope { .. } => self.scopes.push((until, scope)),
        }
    }
}

/// Knows what has been taken back.
#[derive(Clone)]
pub(crate) struct Revoker {
    store: Store,
    state: Arc<Mutex<State>>,
    news: watch::Sender<u64>,
}

impl Revoker {
    /// Begins with what was taken back before the last stop.
    pub(crate) async fn start(store: Store) -> Result<Self, StoreError> {
        let since = store.revocation_id_before(WINDOW).await?;
        let recent = store.revocations_after(since).await?;
        let mut state = State::default();
        for row in recent {
            state.add(row.at + WINDOW, row.event);
        }
        Ok(Self { store, state: Arc::new(Mutex::new(state)), news: watch::channel(0).0 })
    }

    /// Tells when there is something new for the stream.
    pub(crate) fn news(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    /// Takes back: on disk before anybody is told, so that a crash in between forgets nothing.
    pub(crate) async fn revoke(&self, events: Vec<Revocation>) -> Result<(), StoreError> {
        if events.is_empty() {
            return Ok(());
        }
        self.store.add_revocations(&events).await?;
        let now = unix_now();
        {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.sessions.retain(|_, until| *until > now);
            state.scopes.retain(|(until, _)| *until > now);
            for event in events {
                state.add(now + WINDOW, event);
            }
        }
        self.news.send_modify(|count| *count += 1);
        Ok(())
    }

    /// Takes sessions of dashboards back.
    pub(crate) async fn revoke_sessions(&self, sids: Vec<String>) -> Result<(), StoreError> {
        self.revoke(sids.into_iter().map(|sid| Revocation::Session { sid }).collect()).await
    }

    /// Whether a verified token has been taken back.
    pub(crate) fn is_revoked(&self, scope: &TenantScope) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.sessions.contains_key(scope.session()) || state.scopes.iter().any(|(_, event)| covers(event, scope))
    }

    /// Remembers an exchanged token for as long as it lives, so that a lost grant can reach it.
    pub(crate) fn remember_exchange(
        &self,
        sid: &str,
        identity: &UserIdentity,
        tenant: (&TenantId, &str),
        dashboard: &DashboardSlug,
        expires_at: i64,
    ) {
        let entry = Exchanged {
            identity: identity.clone(),
            tenant: tenant.0.clone(),
            tenant_uid: tenant.1.to_owned(),
            dashboard: dashboard.clone(),
            expires_at,
        };
        let now = unix_now();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        // Amortised: only a doubled table is swept.
        if state.exchanged.len() == state.exchanged.capacity() {
            state.exchanged.retain(|_, exchanged| exchanged.expires_at > now);
        }
        state.exchanged.insert(sid.to_owned(), entry);
    }

    fn exchanged(&self) -> Vec<(String, Exchanged)> {
        let now = unix_now();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.exchanged.retain(|_, exchanged| exchanged.expires_at > now);
        state.exchanged.iter().map(|(sid, exchanged)| (sid.clone(), exchanged.clone())).collect()
    }

    /// Follows the read model for ever: whatever it no longer grants is taken back.
    pub(crate) async fn follow(self, metadata: Reader) {
        let mut changes = metadata.changes();
        let mut before = metadata.snapshot();
        // What changed while nobody was looking (a restart) is checked at once: as if every tenant had been open.
        let mut all_open = Snapshot::clone(&before);
        all_open.tenants.values_mut().for_each(|tenant| tenant.suspended = false);
        self.check(&all_open, &before).await;
        while changes.changed().await.is_ok() {
            let after = metadata.snapshot();
            self.check(&before, &after).await;
            before = after;
        }
    }

    async fn check(&self, before: &Snapshot, after: &Snapshot) {
        let result = async {
            let mut events = tenants_shut(before, after, unix_now());
            events.extend(self.grants_lost(after).await?);
            self.revoke(events).await
        };
        if let Err(error) = result.await {
            tracing::error!(%error, "changed grants could not be enforced, the process ends");
            // Fail closed: an API that cannot take back must not go on handing out.
            std::process::exit(1);
        }
    }

    /// Sessions and exchanged tokens whose person may no longer open what they opened.
    async fn grants_lost(&self, after: &Snapshot) -> Result<Vec<Revocation>, StoreError> {
        let mut lost = Vec::new();
        for app in self.store.live_app_sessions().await? {
            if !grants(after, &app.session.identity, &app.tenant, &app.tenant_uid, &app.dashboard) {
                // A suspended tenant's sessions may go on when it comes back; a lost grant ends them.
                let suspended = after.tenants.get(&app.tenant).is_some_and(|tenant| tenant.suspended);
                if !suspended {
                    self.store.end_app_session_by_id(&app.sid).await?;
                    lost.push(Revocation::Session { sid: app.sid });
                }
            }
        }
        for (sid, exchanged) in self.exchanged() {
            let Exchanged { identity, tenant, tenant_uid, dashboard, .. } = &exchanged;
            if !grants(after, identity, tenant, tenant_uid, dashboard) {
                lost.push(Revocation::Session { sid });
            }
        }
        Ok(lost)
    }
}

fn grants(
    snapshot: &Snapshot,
    identity: &UserIdentity,
    tenant: &TenantId,
    tenant_uid: &str,
    dashboard: &DashboardSlug,
) -> bool {
    snapshot.grant(&access_of(identity), tenant, dashboard).is_some_and(|(record, _, _)| record.uid == tenant_uid)
}

/// Tenants that were open and are not any more: all their tokens end, also those that nobody remembers issuing.
fn tenants_shut(before: &Snapshot, after: &Snapshot, at: i64) -> Vec<Revocation> {
    let mut events = Vec::new();
    for (id, old) in &before.tenants {
        let scope = |dashboard| Revocation::Scope { at, tenant: id.clone(), dashboard, subject: None };
        match after.tenants.get(id) {
            Some(new) if new.uid == old.uid && (!new.suspended || old.suspended) => {
                let gone = old.dashboards.iter().filter(|slug| !new.dashboards.contains(slug));
                events.extend(gone.map(|slug| scope(Some(slug.clone()))));
            }
            _ => events.push(scope(None)),
        }
    }
    events
}

fn covers(event: &Revocation, scope: &TenantScope) -> bool {
    match event {
        Revocation::Session { sid } => sid == scope.session(),
        Revocation::Scope { at, tenant, dashboard, subject } => {
            scope.issued_at() <= *at
                && scope.tenant() == tenant
                && dashboard.as_ref().is_none_or(|dashboard| dashboard == scope.dashboard())
                && subject.as_ref().is_none_or(|subject| subject == scope.subject())
        }
    }
}
