//! By what right a connection is open, and the moment at which that right ends.

use std::{sync::Arc, time::Duration};

use kyros_shared_config::clock::unix_now;

use crate::{
    identity::Identity,
    revocations::Revocations,
    sessions::{AppSession, NoIdentity, RENEW_BEFORE, Sessions},
};

/// Longest sleep before the wall clock is looked at again: it may jump.
const REARM: Duration = Duration::from_secs(30);
/// How long the API may take to say that a revoked token's session goes on.
const VERDICT: Duration = Duration::from_millis(500);
/// How often renewal is tried again while the API does not answer.
const RETRY: Duration = Duration::from_secs(3);

/// What authorised a request.
#[derive(Clone)]
pub(crate) enum Authority {
    /// A cookie: renewed for as long as the session lives.
    Session { session: Arc<AppSession>, sessions: Arc<Sessions> },
    /// A Bearer token: ends when it does.
    Bearer(Arc<Identity>),
}

impl Authority {
    /// Resolves when the authority has ended: logged out, suspended, revoked, expired for good.
    pub(crate) async fn ended(self, revocations: Revocations) {
        match self {
            Self::Bearer(identity) => {
                let revoked = revocations.watch(&identity.scope);
                tokio::select! {
                    () = revoked.cancelled() => (),
                    () = until(identity.scope.expires_at()) => (),
                }
            }
            Self::Session { session, sessions } => {
                while Self::session_lives(&session, &sessions, &revocations).await {}
            }
        }
    }

    /// Waits for the next thing that may end the session; false when it did. A revocation is heard whatever else is waited
    /// for.
    async fn session_lives(session: &Arc<AppSession>, sessions: &Arc<Sessions>, revocations: &Revocations) -> bool {
        let identity = session.current();
        let revoked = revocations.watch(&identity.scope);
        tokio::select! {
            // The API knows whether the session itself ended or only this token: the answer decides, if it comes in time.
            () = revoked.cancelled() => {
                let renewed = tokio::time::timeout(VERDICT, sessions.renew(session)).await;
                matches!(renewed, Ok(Ok(renewed)) if !revocations.is_revoked(&renewed.scope))
            }
            lives = Self::renewed_in_time(session, sessions, &identity) => lives,
        }
    }

    async fn renewed_in_time(session: &Arc<AppSession>, sessions: &Arc<Sessions>, identity: &Identity) -> bool {
        let expires_at = identity.scope.expires_at();
        until(expires_at - RENEW_BEFORE).await;
        match sessions.renew(session).await {
            Err(NoIdentity::Refused) => false,
            Err(NoIdentity::Unavailable) => unix_now() < expires_at,
            Ok(renewed) => {
                if renewed.scope.token_id() == identity.scope.token_id() {
                    tokio::time::sleep(RETRY).await;
                }
                unix_now() < renewed.scope.expires_at()
            }
        }
    }
}

/// Sleeps until a moment of the wall clock.
async fn until(unix: i64) {
    loop {
        let left = u64::try_from(unix - unix_now()).unwrap_or(0);
        if left == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_secs(left).min(REARM)).await;
    }
}
