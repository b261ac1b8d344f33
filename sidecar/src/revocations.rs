//! What has been taken back, and the live connections that end with it. Pure state; the stream that feeds it is in
//! `api_client`.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use kyros_shared_config::{
    Revocation, TenantScope,
    clock::unix_now,
    revocation::{Revoked, WINDOW},
};
use tokio_util::sync::CancellationToken;

#[derive(Default)]
struct State {
    revoked: Revoked,
    live: HashMap<String, (TenantScope, CancellationToken)>,
    /// The API has said at least once where its stream stands.
    informed: bool,
}

/// Revocations, and the live connections that they end.
#[derive(Clone, Default)]
pub(crate) struct Revocations {
    state: Arc<Mutex<State>>,
}

impl Revocations {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether anything is known of what was revoked before this process started. Until then a token that verifies may
    /// have been taken back.
    pub(crate) fn is_informed(&self) -> bool {
        self.state().informed
    }

    /// The stream has caught up with the past.
    pub(crate) fn inform(&self) {
        self.state().informed = true;
    }

    /// Whether a verified token has been taken back since it was issued.
    pub(crate) fn is_revoked(&self, scope: &TenantScope) -> bool {
        self.state().revoked.covers(scope)
    }

    /// Cancelled when the session is revoked; already cancelled when it was.
    pub(crate) fn watch(&self, scope: &TenantScope) -> CancellationToken {
        let mut state = self.state();
        if state.revoked.covers(scope) {
            let ended = CancellationToken::new();
            ended.cancel();
            return ended;
        }
        // Amortised: only a table that would grow is swept of sessions that nothing renews any more.
        if state.live.len() == state.live.capacity() {
            let now = unix_now();
            state.live.retain(|_, (known, _)| known.expires_at() + WINDOW > now);
        }
        let (known, token) =
            state.live.entry(scope.session().to_owned()).or_insert_with(|| (scope.clone(), CancellationToken::new()));
        // The newest token of the session decides which later scope events still concern it.
        if scope.issued_at() > known.issued_at() {
            *known = scope.clone();
        }
        token.clone()
    }

    /// Takes an event in: whatever it covers ends now.
    pub(crate) fn apply(&self, revocation: Revocation) {
        let mut state = self.state();
        let now = unix_now();
        match &revocation {
            Revocation::Session { sid } => {
                if let Some((_, token)) = state.live.remove(sid) {
                    token.cancel();
                }
            }
            Revocation::Scope { .. } => state.live.retain(|_, (scope, token)| {
                let ended = revocation.covers(scope);
                if ended {
                    token.cancel();
                }
                !ended
            }),
        }
        state.revoked.add(revocation, now + WINDOW, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kyros_shared_config::TenantId;

    use crate::testing::verified;

    fn scope(session: &str, tenant: &str) -> TenantScope {
        verified(session, tenant).0
    }

    #[test]
    fn a_session_ends_with_all_its_watchers_and_stays_ended() {
        let revocations = Revocations::default();
        let (one, other) = (scope("s1", "acme"), scope("s2", "acme"));
        let (watch_one, watch_other) = (revocations.watch(&one), revocations.watch(&other));
        revocations.apply(Revocation::Session { sid: "s1".into() });
        assert!(watch_one.is_cancelled() && !watch_other.is_cancelled());
        assert!(revocations.is_revoked(&one) && !revocations.is_revoked(&other));
        assert!(revocations.watch(&one).is_cancelled());
    }

    #[test]
    fn a_tenant_ends_for_tokens_issued_before_and_not_after() {
        let revocations = Revocations::default();
        let (acme, globex) = (scope("s1", "acme"), scope("s2", "globex"));
        let tenant: TenantId = "acme".parse().unwrap();
        let event = |at| Revocation::Scope { at, tenant: tenant.clone(), dashboard: None };
        revocations.apply(event(acme.issued_at() - 1));
        assert!(!revocations.is_revoked(&acme));
        revocations.apply(event(acme.issued_at()));
        assert!(revocations.is_revoked(&acme) && !revocations.is_revoked(&globex));
    }
}
