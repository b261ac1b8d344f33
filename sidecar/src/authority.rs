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
        let renewed = tokio::select! {
            renewed = sessions.renew(session) => renewed,
            // Nothing outlives its token, however long the API takes to answer.
            () = until(expires_at) => return false,
        };
        match renewed {
            Err(NoIdentity::Refused) => return false,
            Ok(renewed) if renewed.scope.expires_at() > expires_at => return true,
            // A new token that lives no longer: the session itself ends then.
            Ok(renewed) if renewed.scope.token_id() != identity.scope.token_id() => until(expires_at).await,
            Ok(_) | Err(NoIdentity::Unavailable) => tokio::time::sleep(RETRY).await,
        }
        unix_now() < expires_at
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use bytes::Bytes;
    use http::Response;
    use http_body_util::Full;
    use kyros_http_server::Limits;
    use kyros_shared_config::{KeyRing, KeySource, TenantVerifier, crypto::random_id};
    use tokio::net::TcpListener;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::{api_client::ApiClient, testing};

    /// Sessions whose API answers every renewal with a fresh token that ends at `not_after`, and how often it was asked.
    async fn sessions(not_after: i64) -> (Arc<Sessions>, Revocations, Arc<AtomicUsize>) {
        let issuer = Arc::new(testing::issuer());
        let keys = Arc::new(KeyRing::new(KeySource::Fixed(issuer.jwks())).unwrap());
        let verifier = Arc::new(TenantVerifier::for_dashboard(issuer.name(), keys, "clv".parse().unwrap()));
        let asked = Arc::new(AtomicUsize::new(0));
        let (signer, count) = (issuer.clone(), asked.clone());
        let service = move |_, _| {
            count.fetch_add(1, Ordering::SeqCst);
            let token = testing::token(&signer, "s1", "acme", not_after);
            let body = serde_json::json!({ "access_token": token }).to_string();
            std::future::ready(Response::new(Full::new(Bytes::from(body))))
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
        tokio::spawn(kyros_http_server::serve(listener, Limits::default(), service, CancellationToken::new()));
        let workload = std::env::temp_dir().join(format!("kyros-workload-{}", random_id()));
        std::fs::write(&workload, "workload").unwrap();
        let api = Arc::new(ApiClient::new(base, Some(workload)).unwrap());
        let revocations = Revocations::default();
        (Arc::new(Sessions::new(api, verifier, revocations.clone(), None)), revocations, asked)
    }

    #[tokio::test]
    async fn however_many_requests_bring_an_unknown_cookie_the_api_is_asked_once() {
        let (sessions, _, asked) = sessions(i64::MAX).await;
        let asking = (0..50).map(|_| sessions.by_handle("handle"));
        let found = futures_util::future::join_all(asking).await;
        assert!(found.iter().all(Result::is_ok));
        assert_eq!(asked.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn the_last_stretch_of_a_session_is_waited_out_and_not_renewed_in_a_loop() {
        let end = unix_now() + 3;
        let (sessions, revocations, asked) = sessions(end).await;
        let session = sessions.by_handle("handle").await.unwrap_or_else(|_| panic!("a session"));
        let authority = Authority::Session { session: session.clone(), sessions: sessions.clone() };
        let ended = tokio::time::timeout(Duration::from_secs(6), authority.ended(revocations));
        for _ in 0..100 {
            assert!(sessions.fresh(&session).await.is_ok());
        }
        ended.await.expect("it ends with the session");
        assert!(unix_now() >= end);
        assert!(asked.load(Ordering::SeqCst) <= 4, "{} renewals", asked.load(Ordering::SeqCst));
    }
}
