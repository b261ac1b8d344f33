//! The promises of the state: handles are digests, codes work once, ended is ended, the audit's chain shows tampering.

use kyros_shared_config::{Revocation, Secret, TenantId, UserIdentity, crypto::sha256};

use super::*;

async fn store() -> (Store, std::path::PathBuf) {
    let path = std::env::temp_dir().join(format!("kyros-state-{}.db", kyros_shared_config::crypto::random_id()));
    (Store::open(&path).await.unwrap(), path)
}

fn ana() -> UserIdentity {
    UserIdentity {
        issuer: "https://idp.example".into(),
        subject: "ana".into(),
        email: Some("ana@acme.example".into()),
        name: None,
        groups: vec!["g".into()],
        tenant_ids: vec!["acme".parse().unwrap()],
        expires_at: 0,
    }
}

const REDIRECT: &str = "http://clv--acme/cb";
const CHALLENGE: &str = "challenge";

#[expect(clippy::unnecessary_wraps, reason = "the shape that take_code asks for")]
fn uid(_: &TenantId) -> Option<String> {
    Some("uid".to_owned())
}

/// An app session of Ana's for clv and acme, made as sidecars make them.
async fn app_session(store: &Store, session_sid: &str, app_sid: &str) -> Secret<String> {
    let (tenant, clv) = ("acme".parse().unwrap(), "clv".parse().unwrap());
    let new =
        NewCode { session_sid, tenant: &tenant, dashboard: &clv, redirect_uri: REDIRECT, code_challenge: CHALLENGE };
    let code = store.make_code(&new).await.unwrap();
    let taken =
        TakenCode { code: code.expose(), dashboard: &clv, redirect_uri: REDIRECT, code_challenge: CHALLENGE, app_sid };
    match store.take_code(&taken, uid).await.unwrap() {
        CodeGrant::Granted { handle, app } => {
            assert_eq!((app.sid.as_str(), app.tenant_uid.as_str()), (app_sid, "uid"));
            handle
        }
        _ => panic!("a right code is granted"),
    }
}

#[tokio::test]
async fn a_session_lives_until_it_is_ended_and_takes_its_app_sessions_along() {
    let (store, path) = store().await;
    let (handle, session) = store.begin_session(&ana()).await.unwrap();
    let found = store.session(handle.expose()).await.unwrap().unwrap();
    assert_eq!((found.sid.as_str(), found.identity.groups.as_slice()), (session.sid.as_str(), &["g".to_owned()][..]));
    assert!(store.session("guess").await.unwrap().is_none());
    let (clv, risk) = ("clv".parse().unwrap(), "risk".parse().unwrap());
    let app = app_session(&store, &session.sid, "app-1").await;
    assert_eq!(store.app_session(app.expose(), &clv).await.unwrap().unwrap().sid, "app-1");
    assert!(store.app_session(app.expose(), &risk).await.unwrap().is_none(), "another dashboard's sidecar");
    let ended = [Revocation::Session { sid: "app-1".into() }];
    assert_eq!(store.end_session(&session.sid).await.unwrap(), ended);
    assert!(store.session(handle.expose()).await.unwrap().is_none());
    assert!(store.app_session(app.expose(), &clv).await.unwrap().is_none());
    let told = store.revocations_after(0).await.unwrap();
    assert_eq!(told.into_iter().map(|row| row.event).collect::<Vec<_>>(), ended, "written with the end itself");
    std::fs::remove_file(path).unwrap();
}

#[tokio::test]
async fn no_handle_is_in_the_file() {
    let (store, path) = store().await;
    let (handle, session) = store.begin_session(&ana()).await.unwrap();
    let app = app_session(&store, &session.sid, "app-1").await;
    store.close().await;
    let bytes = std::fs::read(&path).unwrap();
    for secret in [handle.expose(), app.expose()] {
        assert!(!bytes.windows(secret.len()).any(|window| window == secret.as_bytes()));
        let digest = sha256(secret.as_bytes());
        assert!(bytes.windows(32).any(|window| window == digest), "its digest is");
    }
    std::fs::remove_file(path).unwrap();
}

#[tokio::test]
async fn a_code_works_once_and_only_as_it_was_made() {
    let (store, path) = store().await;
    let (_, session) = store.begin_session(&ana()).await.unwrap();
    let (tenant, clv, risk) = ("acme".parse().unwrap(), "clv".parse().unwrap(), "risk".parse().unwrap());
    let new = NewCode {
        session_sid: &session.sid,
        tenant: &tenant,
        dashboard: &clv,
        redirect_uri: REDIRECT,
        code_challenge: CHALLENGE,
    };
    let take = async |code: &str, dashboard, redirect_uri, code_challenge, app_sid| {
        let taken = TakenCode { code, dashboard, redirect_uri, code_challenge, app_sid };
        store.take_code(&taken, uid).await.unwrap()
    };
    for (dashboard, redirect, challenge) in
        [(&risk, REDIRECT, CHALLENGE), (&clv, "http://evil/cb", CHALLENGE), (&clv, REDIRECT, "another")]
    {
        let code = store.make_code(&new).await.unwrap();
        let wrong = take(code.expose(), dashboard, redirect, challenge, "a").await;
        assert!(matches!(wrong, CodeGrant::Invalid), "{redirect} {challenge}");
        let again = take(code.expose(), &clv, REDIRECT, CHALLENGE, "b").await;
        assert!(matches!(again, CodeGrant::Replayed { .. }), "a wrong try spends it");
    }
    let code = store.make_code(&new).await.unwrap();
    assert!(matches!(take(code.expose(), &clv, REDIRECT, CHALLENGE, "app-1").await, CodeGrant::Granted { .. }));
    let second = take(code.expose(), &clv, REDIRECT, CHALLENGE, "app-2").await;
    assert!(matches!(second, CodeGrant::Replayed { app_sid: Some(sid) } if sid == "app-1"));
    assert!(matches!(take("guess", &clv, REDIRECT, CHALLENGE, "x").await, CodeGrant::Invalid));
    let late = store.make_code(&new).await.unwrap();
    store.end_session(&session.sid).await.unwrap();
    let after_logout = take(late.expose(), &clv, REDIRECT, CHALLENGE, "app-3").await;
    assert!(matches!(after_logout, CodeGrant::Invalid), "no app session is born after its parent died");
    std::fs::remove_file(path).unwrap();
}

#[tokio::test]
async fn revocations_are_numbered_and_read_in_order() {
    let (store, path) = store().await;
    let event = |sid: &str| Revocation::Session { sid: sid.to_owned() };
    store.end_by_ids(vec!["b".into()], vec![event("a")]).await.unwrap();
    store.end_by_ids(vec!["c".into()], Vec::new()).await.unwrap();
    let all = store.revocations_after(0).await.unwrap();
    assert_eq!(all.iter().map(|row| row.event.clone()).collect::<Vec<_>>(), [event("a"), event("b"), event("c")]);
    assert_eq!(store.revocations_after(all[1].id).await.unwrap().len(), 1);
    assert_eq!(store.revocation_id_before(60).await.unwrap(), 0);
    std::fs::remove_file(path).unwrap();
}

#[tokio::test]
async fn the_audit_is_a_chain_that_nobody_can_change() {
    let (store, path) = store().await;
    let (audit, writer) = Audit::start(&store);
    for decision in ["one", "two", "three"] {
        audit
            .note(AuditLine {
                decision: decision.into(),
                action: "exchange",
                outcome: Outcome::Denied,
                reason: "not_granted",
                subject: Some("ana".into()),
                tenant: Some("acme".into()),
                dashboard: None,
            })
            .await;
    }
    drop(audit);
    writer.await.unwrap();
    let rows: Vec<(Vec<u8>, Vec<u8>)> =
        sqlx::query_as("SELECT prev_hash, hash FROM audit ORDER BY seq").fetch_all(&store.pool).await.unwrap();
    assert_eq!(rows.len(), 3);
    assert!(rows.windows(2).all(|pair| pair[1].0 == pair[0].1));
    assert!(sqlx::query("UPDATE audit SET reason = 'x'").execute(&store.pool).await.is_err());
    assert!(sqlx::query("DELETE FROM audit").execute(&store.pool).await.is_err());
    std::fs::remove_file(path).unwrap();
}
