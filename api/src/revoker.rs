//! Taking things back: written down first, then in force here, then told to the sidecars.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use kyros_metadata::{Reader, Snapshot};
use kyros_shared_config::{
    DashboardSlug, Revocation, TenantId, TenantScope, UserIdentity,
    clock::unix_now,
    revocation::{Revoked, WINDOW},
};
use tokio::sync::watch;

use crate::{
    state::access_of,
    store::{Exchange, Store, StoreError},
};

/// How soon a change that could not be enforced is tried again.
const RETRY: Duration = Duration::from_millis(500);

/// Knows what has been taken back.
#[derive(Clone)]
pub(crate) struct Revoker {
    store: Store,
    revoked: Arc<Mutex<Revoked>>,
    is_enforcing: Arc<AtomicBool>,
    news: watch::Sender<u64>,
}

impl Revoker {
    /// Begins with what was taken back before the last stop.
    pub(crate) async fn start(store: Store) -> Result<Self, StoreError> {
        let mut since = store.revocation_id_before(WINDOW).await?;
        let (mut revoked, now) = (Revoked::default(), unix_now());
        loop {
            let batch = store.revocations_after(since).await?;
            let Some(last) = batch.last() else { break };
            since = last.id;
            for row in batch {
                revoked.add(row.event, row.at + WINDOW, now);
            }
        }
        let is_enforcing = Arc::new(AtomicBool::new(false));
        Ok(Self { store, revoked: Arc::new(Mutex::new(revoked)), is_enforcing, news: watch::channel(0).0 })
    }

    /// Tells when there is something new for the stream.
    pub(crate) fn news(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    /// Ends a person's session and everything that came of it.
    pub(crate) async fn end_session(&self, sid: &str) -> Result<(), StoreError> {
        let (store, sid) = (self.store.clone(), sid.to_owned());
        self.uncancelled(async move { store.end_session(&sid).await }).await
    }

    /// Ends a dashboard's app session by its handle.
    pub(crate) async fn end_app_session(&self, handle: &str, dashboard: &DashboardSlug) -> Result<(), StoreError> {
        let (store, handle, dashboard) = (self.store.clone(), handle.to_owned(), dashboard.clone());
        self.uncancelled(async move { store.end_app_session(&handle, &dashboard).await }).await
    }

    /// Ends app sessions and exchanged tokens by their ids.
    pub(crate) async fn end_by_ids(&self, sids: Vec<String>) -> Result<(), StoreError> {
        if sids.is_empty() {
            return Ok(());
        }
        let store = self.store.clone();
        self.uncancelled(async move { store.end_by_ids(sids, Vec::new()).await }).await
    }

    /// Runs what writes revocations to its end and puts them in force, whatever becomes of the request that asked for it: a
    /// browser that hangs up must not leave a session ended on the disk and alive everywhere else.
    async fn uncancelled(
        &self,
        write: impl Future<Output = Result<Vec<Revocation>, StoreError>> + Send + 'static,
    ) -> Result<(), StoreError> {
        let revoker = self.clone();
        let work = tokio::spawn(async move {
            let events = write.await?;
            revoker.enforce(events);
            Ok(())
        });
        match work.await {
            Ok(result) => result,
            Err(error) => Err(StoreError::Inconsistent(error.to_string())),
        }
    }

    fn enforce(&self, events: Vec<Revocation>) {
        let now = unix_now();
        {
            let mut revoked = self.revoked.lock().unwrap_or_else(PoisonError::into_inner);
            for event in events {
                revoked.add(event, now + WINDOW, now);
            }
        }
        self.news.send_modify(|count| *count += 1);
    }

    /// Whether a verified token has been taken back.
    pub(crate) fn is_revoked(&self, scope: &TenantScope) -> bool {
        self.revoked.lock().unwrap_or_else(PoisonError::into_inner).covers(scope)
    }

    /// Checks what changed while nobody was looking (a restart), as if every tenant had been open. Nothing is granted before.
    pub(crate) async fn catch_up(&self, metadata: &Reader) -> Arc<Snapshot> {
        let mut all_open = Snapshot::clone(&metadata.snapshot());
        all_open.tenants.values_mut().for_each(|tenant| tenant.suspended = false);
        self.check(&all_open, metadata).await
    }

    /// Follows the read model for ever: whatever it no longer grants is taken back.
    pub(crate) async fn follow(self, metadata: Reader, mut before: Arc<Snapshot>) {
        let mut changes = metadata.changes();
        loop {
            before = self.check(&before, &metadata).await;
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// Enforces what changed since `before` and returns the snapshot that is then in force. While that is not possible
    /// nothing is granted: an API that cannot take back must not hand out.
    async fn check(&self, before: &Snapshot, metadata: &Reader) -> Arc<Snapshot> {
        loop {
            let after = metadata.snapshot();
            match self.try_check(before, &after).await {
                Ok(()) => {
                    self.is_enforcing.store(true, Ordering::Release);
                    return after;
                }
                Err(error) => {
                    self.is_enforcing.store(false, Ordering::Release);
                    tracing::error!(%error, "changed grants could not be enforced, nothing is granted until they are");
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    /// Both kinds of ends in one transaction: a try that fails leaves nothing behind.
    async fn try_check(&self, before: &Snapshot, after: &Snapshot) -> Result<(), StoreError> {
        let shut = tenants_shut(before, after, unix_now());
        let lost = self.grants_lost(after).await?;
        if shut.is_empty() && lost.is_empty() {
            return Ok(());
        }
        let store = self.store.clone();
        self.uncancelled(async move { store.end_by_ids(lost, shut).await }).await
    }

    /// Whether every change of grants so far is in force.
    pub(crate) fn is_enforcing(&self) -> bool {
        self.is_enforcing.load(Ordering::Acquire)
    }

    /// Sessions and exchanged tokens whose person may no longer open what they opened.
    async fn grants_lost(&self, after: &Snapshot) -> Result<Vec<String>, StoreError> {
        let (live, mut lost) = self.store.live_app_sessions().await?;
        for app in live {
            // A suspended tenant's sessions may go on when it comes back; a lost grant ends them.
            let is_suspended = after.tenants.get(&app.tenant).is_some_and(|tenant| tenant.suspended);
            if !is_suspended && !grants(after, &app.session.identity, &app.tenant, &app.tenant_uid, &app.dashboard) {
                lost.push(app.sid);
            }
        }
        for exchange in self.store.live_exchanges().await? {
            let Exchange { sid, identity, tenant, tenant_uid, dashboard } = exchange;
            if !grants(after, &identity, &tenant, &tenant_uid, &dashboard) {
                lost.push(sid);
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
        let scope = |dashboard| Revocation::Scope { at, tenant: id.clone(), dashboard };
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

#[cfg(test)]
mod tests {
    use super::*;

    async fn store() -> (Store, std::path::PathBuf) {
        let path = std::env::temp_dir().join(format!("kyros-revoker-{}.db", kyros_shared_config::crypto::random_id()));
        (Store::open(&path).await.unwrap(), path)
    }

    #[tokio::test]
    async fn a_restart_forgets_no_revocation_however_many_there_are() {
        let (store, path) = store().await;
        let events: Vec<_> = (0..1201).map(|n| Revocation::Session { sid: n.to_string() }).collect();
        store.end_by_ids(Vec::new(), events.clone()).await.unwrap();
        let revoker = Revoker::start(store).await.unwrap();
        assert_eq!(revoker.revoked.lock().unwrap().len(), events.len());
        std::fs::remove_file(path).unwrap();
    }

    #[tokio::test]
    async fn a_request_that_is_dropped_still_ends_what_it_began_to_end() {
        let (store, path) = store().await;
        let revoker = Revoker::start(store.clone()).await.unwrap();
        let mut ending = Box::pin(revoker.end_by_ids(vec!["s1".to_owned()]));
        // Polled once, as a handler is before its browser hangs up.
        let waker = std::task::Waker::noop();
        assert!(ending.as_mut().poll(&mut std::task::Context::from_waker(waker)).is_pending());
        drop(ending);
        for _ in 0..100 {
            if revoker.revoked.lock().unwrap().has_session("s1") {
                assert_eq!(store.revocations_after(0).await.unwrap().len(), 1);
                std::fs::remove_file(path).unwrap();
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("the revocation never came into force");
    }
}
