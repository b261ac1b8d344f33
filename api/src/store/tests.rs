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

fn line(decision: &str, outcome: Outcome) -> AuditLine {
    AuditLine {
        decision: decision.into(),
        action: "exchange",
        outcome,
        reason: "not \"granted\"",
        subject: Some("ana".into()),
        tenant: Some("acme".into()),
        dashboard: None,
    }
}

/// An exchange of Ana's, remembered by whoever awaits it.
async fn remember(ledger: &Ledger, sid: &str) -> Result<(), StoreError> {
    let (tenant, dashboard) = ("acme".parse().unwrap(), "clv".parse().unwrap());
    let expires_at = kyros_shared_config::clock::unix_now() + 300;
    let identity = ana();
    let exchange =
        NewExchange { sid, identity: &identity, tenant: &tenant, tenant_uid: "uid", dashboard: &dashboard, expires_at };
    ledger.remember(&exchange, line(sid, Outcome::Allowed)).await
}

async fn decisions(store: &Store) -> Vec<String> {
    sqlx::query_scalar("SELECT decision FROM audit ORDER BY seq").fetch_all(&store.pool).await.unwrap()
}

#[tokio::test]
async fn the_audit_is_a_chain_that_nobody_can_change() {
    let (store, path) = store().await;
    for started in [["one", "two", "three"], ["four", "five", "six"]] {
        let (ledger, writer) = Ledger::start(&store);
        for decision in started {
            ledger.note(line(decision, Outcome::Denied)).await;
        }
        drop(ledger);
        writer.await.unwrap();
    }
    let rows: Vec<(i64, String, Vec<u8>, Vec<u8>)> =
        sqlx::query_as("SELECT at_ms, decision, prev_hash, hash FROM audit ORDER BY seq")
            .fetch_all(&store.pool)
            .await
            .unwrap();
    assert_eq!(decisions(&store).await, ["one", "two", "three", "four", "five", "six"]);
    let mut previous = vec![0; 32];
    for (at_ms, decision, prev_hash, hash) in rows {
        let reason = "not \"granted\"";
        let content = serde_json::json!([at_ms, decision, "exchange", "denied", reason, "ana", "acme", null]);
        assert_eq!(prev_hash, previous);
        assert_eq!(hash, sha256(&[previous.as_slice(), content.to_string().as_bytes()].concat()));
        previous = hash;
    }
    assert!(sqlx::query("UPDATE audit SET reason = 'x'").execute(&store.pool).await.is_err());
    assert!(sqlx::query("DELETE FROM audit").execute(&store.pool).await.is_err());
    std::fs::remove_file(path).unwrap();
}

#[tokio::test]
async fn an_exchange_is_in_the_file_with_its_decision_when_it_is_answered() {
    let (store, path) = store().await;
    let (ledger, writer) = Ledger::start(&store);
    let sids: Vec<String> = (0..300).map(|n| format!("sid-{n}")).collect();
    let all = futures_util::future::join_all(sids.iter().map(|sid| remember(&ledger, sid))).await;
    assert!(all.iter().all(Result::is_ok));
    // What a process that is killed now leaves behind; nothing has been closed or folded in.
    let crashed = path.with_extension("crashed");
    for suffix in ["", "-wal"] {
        let with = |path: &std::path::Path| format!("{}{suffix}", path.display());
        std::fs::copy(with(&path), with(&crashed)).unwrap();
    }
    let found = Store::open(&crashed).await.unwrap();
    let mut live: Vec<_> = found.live_exchanges().await.unwrap();
    assert_eq!(live.len(), sids.len());
    assert_eq!(decisions(&found).await.len(), sids.len());
    let one = live.swap_remove(7);
    assert_eq!((one.identity.groups, one.identity.tenant_ids), (ana().groups, ana().tenant_ids));
    assert_eq!((one.tenant.as_str(), one.tenant_uid.as_str(), one.dashboard.as_str()), ("acme", "uid", "clv"));
    drop(ledger);
    writer.await.unwrap();
    found.close().await;
    std::fs::remove_file(crashed).unwrap();
    std::fs::remove_file(path).unwrap();
}

#[tokio::test]
async fn what_cannot_be_written_is_told_to_every_waiter_and_no_line_is_lost() {
    let (store, path) = store().await;
    let (ledger, writer) = Ledger::start(&store);
    sqlx::query("ALTER TABLE exchanges RENAME TO away").execute(&store.pool).await.unwrap();
    ledger.note(line("before", Outcome::Denied)).await;
    let sids: Vec<String> = (0..50).map(|n| format!("refused-{n}")).collect();
    let all = futures_util::future::join_all(sids.iter().map(|sid| remember(&ledger, sid))).await;
    assert!(all.iter().all(Result::is_err));
    sqlx::query("ALTER TABLE away RENAME TO exchanges").execute(&store.pool).await.unwrap();
    remember(&ledger, "mended").await.unwrap();
    assert_eq!(decisions(&store).await, ["before", "mended"], "nothing that was refused is called allowed");
    assert_eq!(store.live_exchanges().await.unwrap().len(), 1);
    drop(ledger);
    writer.await.unwrap();
    std::fs::remove_file(path).unwrap();
}

#[tokio::test]
async fn an_exchange_is_refused_also_while_more_lines_wait_than_there_is_room_for() {
    let (store, path) = store().await;
    let (ledger, writer) = Ledger::start(&store);
    sqlx::query("ALTER TABLE audit RENAME TO away").execute(&store.pool).await.unwrap();
    for number in 0..ledger::KEPT {
        ledger.note(line(&number.to_string(), Outcome::Denied)).await;
    }
    for sid in ["first", "second"] {
        assert!(matches!(remember(&ledger, sid).await, Err(StoreError::NotWritten(_))));
    }
    sqlx::query("ALTER TABLE away RENAME TO audit").execute(&store.pool).await.unwrap();
    drop(ledger);
    writer.await.unwrap();
    assert_eq!(decisions(&store).await.len(), ledger::KEPT, "and no line is lost for it");
    std::fs::remove_file(path).unwrap();
}

#[tokio::test]
async fn a_line_that_failed_is_tried_again_without_company_also_at_the_end() {
    let (store, path) = store().await;
    let (ledger, writer) = Ledger::start(&store);
    sqlx::query("ALTER TABLE audit RENAME TO away").execute(&store.pool).await.unwrap();
    ledger.note(line("late", Outcome::Denied)).await;
    drop(ledger);
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    sqlx::query("ALTER TABLE away RENAME TO audit").execute(&store.pool).await.unwrap();
    writer.await.unwrap();
    assert_eq!(decisions(&store).await, ["late"]);
    std::fs::remove_file(path).unwrap();
}

#[tokio::test]
async fn expired_exchanges_are_removed_however_many_there_are_and_live_ones_stay() {
    let (store, path) = store().await;
    let (ledger, writer) = Ledger::start(&store);
    let sids: Vec<String> = (0..100).map(|n| format!("sid-{n}")).collect();
    futures_util::future::join_all(sids.iter().map(|sid| remember(&ledger, sid))).await;
    sqlx::query("UPDATE exchanges SET expires_at = 1 WHERE rowid <> 40").execute(&store.pool).await.unwrap();
    store.purge().await.unwrap();
    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM exchanges").fetch_one(&store.pool).await.unwrap();
    assert_eq!((left, store.live_exchanges().await.unwrap().len()), (1, 1));
    drop(ledger);
    writer.await.unwrap();
    std::fs::remove_file(path).unwrap();
}
