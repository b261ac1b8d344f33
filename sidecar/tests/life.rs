//! The life of a connection: it ends when its session does, it outlives its tokens while they are renewed, and it never
//! outlives its authority, whatever the API does.

mod common;
#[path = "common/frames.rs"]
mod frames;
#[path = "common/sockets.rs"]
mod sockets;
#[path = "common/world.rs"]
mod world;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use common::ISSUER;
use frames::{CLOSE, FIN, final_close, parse};
use futures_util::future::join_all;
use kyros_shared_config::{Issuer, Revocation, clock::unix_now, crypto::random_handle};
use world::{Kind, Live, Mode, Steady, Who, World};

/// How soon a connection ends once the API has said that its session did.
const AT_ONCE: Duration = Duration::from_secs(1);

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn frames_of(live: &Live) -> Vec<u8> {
    let mut received = live.received();
    let at = received.windows(4).position(|window| window == b"\r\n\r\n").expect("a head");
    received.split_off(at + 4)
}

/// How a connection of some kind must look to the client once its authority has ended.
fn is_truthful_end(kind: Kind, live: &Live) -> bool {
    let received = live.received();
    match kind {
        Kind::Socket | Kind::Flood => final_close(&frames_of(live)) == Some(4001),
        // Cut, and not as if it had come to its end.
        Kind::Events => !received.ends_with(b"0\r\n\r\n"),
        Kind::Download => true,
        Kind::Upload | Kind::Wait => received.is_empty() || received.starts_with(b"HTTP/1.1 401"),
    }
}

/// Whether something still moves on a connection.
async fn goes_on(world: &World, kind: Kind, live: &Live, sid: &str) -> bool {
    let before = (live.received().len(), world.served(sid).uploaded);
    tokio::time::sleep(ms(300)).await;
    let after = (live.received().len(), world.served(sid).uploaded);
    let moves = match kind {
        Kind::Upload => after.1 > before.1,
        Kind::Wait => true,
        _ => after.0 > before.0,
    };
    moves && !live.has_ended()
}

// === sessions that end ===

/// Opens a connection by cookie, by Bearer token and by another session, and ends the first two.
async fn ends_with_its_session(kind: Kind) {
    let world = World::start().await;
    let by_cookie = world.api.session("cookie", "acme", &[300]);
    let by_token = world.api.bearer("token", "acme");
    let another = world.api.session("another", "acme", &[300]);
    let mut doomed = [
        (world.open(kind, &by_cookie, "cookie").await, "cookie"),
        (world.open(kind, &by_token, "token").await, "token"),
    ];
    let bystander = world.open(kind, &another, "another").await;
    tokio::time::sleep(ms(100)).await;
    for (_, sid) in &doomed {
        world.api.end(sid);
    }
    let deadline = Instant::now() + AT_ONCE;
    let mut going_on = Vec::new();
    for (live, sid) in &mut doomed {
        let left = deadline.saturating_duration_since(Instant::now());
        if !live.ends_within(left).await {
            going_on.push(*sid);
        } else if !is_truthful_end(kind, live) {
            panic!("{sid}: {}", String::from_utf8_lossy(&live.received()));
        }
    }
    assert!(going_on.is_empty(), "the {kind:?} goes on that was opened by {going_on:?}");
    // A dashboard that reads slowly comes to the end of an upload only after what the kernel holds for it.
    while kind != Kind::Upload && doomed.iter().any(|(_, sid)| world.served(sid).ended == 0) {
        assert!(Instant::now() < deadline + ms(200), "the dashboard's end of the {kind:?} is over too");
        tokio::time::sleep(ms(10)).await;
    }
    for who in [&by_cookie, &by_token] {
        assert_eq!(world.get(who, "/").await.0, 401, "nothing new is let in either");
    }
    assert!(goes_on(&world, kind, &bystander, "another").await, "another session's {kind:?} goes on");
    assert_eq!(world.get(&another, "/").await.0, 200);
}

#[tokio::test]
async fn a_socket_ends_with_its_session_and_no_other() {
    ends_with_its_session(Kind::Socket).await;
}

#[tokio::test]
async fn an_event_stream_ends_with_its_session_and_no_other() {
    ends_with_its_session(Kind::Events).await;
}

#[tokio::test]
async fn a_long_download_ends_with_its_session_and_no_other() {
    ends_with_its_session(Kind::Download).await;
}

#[tokio::test]
async fn a_long_upload_ends_with_its_session_and_no_other() {
    ends_with_its_session(Kind::Upload).await;
}

#[tokio::test]
async fn a_request_that_waits_for_its_answer_ends_with_its_session_and_no_other() {
    ends_with_its_session(Kind::Wait).await;
}

#[tokio::test]
async fn a_download_that_nobody_reads_ends_with_its_session() {
    let world = World::start().await;
    let who = world.api.session("idle", "acme", &[300]);
    let _unread = world.begin(Kind::Download, &who).await;
    // Long enough for every buffer on the way to fill.
    tokio::time::sleep(ms(1500)).await;
    world.api.end("idle");
    let deadline = Instant::now() + AT_ONCE;
    while world.served("idle").ended == 0 {
        assert!(Instant::now() < deadline, "the dashboard may still write");
        tokio::time::sleep(ms(10)).await;
    }
}

#[tokio::test]
async fn a_session_ends_although_the_api_does_not_answer_what_became_of_it() {
    let world = World::start().await;
    let who = world.api.session("s", "acme", &[300]);
    let mut socket = world.open(Kind::Socket, &who, "s").await;
    let mut stream = world.open(Kind::Events, &who, "s").await;
    world.api.set_mode(Mode::NoTokens);
    world.api.end("s");
    let (socket_ended, stream_ended) = tokio::join!(socket.ends_within(AT_ONCE), stream.ends_within(AT_ONCE));
    assert!(socket_ended && stream_ended, "socket {socket_ended}, stream {stream_ended}");
    assert_eq!(final_close(&frames_of(&socket)), Some(4001));
}

#[tokio::test]
async fn a_tenant_that_is_shut_ends_with_all_it_has_open_and_no_other_does() {
    let world = World::start().await;
    let (acme, globex) = (world.api.session("a", "acme", &[300]), world.api.session("g", "globex", &[300]));
    let token = world.api.bearer("b", "acme");
    let mut doomed = [world.open(Kind::Socket, &acme, "a").await, world.open(Kind::Socket, &token, "b").await];
    let other = world.open(Kind::Socket, &globex, "g").await;
    world.api.shut("acme");
    for socket in &mut doomed {
        assert!(socket.ends_within(AT_ONCE).await, "a socket of the tenant goes on");
        assert_eq!(final_close(&frames_of(socket)), Some(4001));
    }
    assert!(goes_on(&world, Kind::Socket, &other, "g").await);
    assert_eq!((world.get(&acme, "/").await.0, world.get(&globex, "/").await.0), (401, 200));
}

#[tokio::test]
async fn a_token_that_is_taken_back_alone_is_replaced_and_nobody_notices() {
    let world = World::start().await;
    let who = world.api.session("s", "acme", &[300]);
    let (socket, stream) = (world.open(Kind::Socket, &who, "s").await, world.open(Kind::Events, &who, "s").await);
    let issued = unix_now();
    while unix_now() < issued + 2 {
        tokio::time::sleep(ms(50)).await;
    }
    // What was issued up to here ends; the session itself may have new tokens.
    world.api.say(Revocation::Scope { at: issued + 1, tenant: "acme".parse().unwrap(), dashboard: None });
    tokio::time::sleep(ms(700)).await;
    assert!(goes_on(&world, Kind::Socket, &socket, "s").await && goes_on(&world, Kind::Events, &stream, "s").await);
    assert_eq!(world.get(&who, "/").await.0, 200);
}

#[tokio::test]
async fn what_a_dashboard_reads_of_the_api_ends_with_the_session_that_it_reads_for() {
    let world = World::start().await;
    let (who, token) = (world.api.session("s", "acme", &[300]), world.api.bearer("b", "acme"));
    assert_eq!(world.get(&who, "/").await.0, 200);
    let Who::Bearer { token, .. } = token else { panic!("a token") };
    let Who::Bearer { token: other, .. } = world.api.bearer("other", "acme") else { panic!("a token") };
    let bearer = |token: &str| format!("Authorization: Bearer {token}");
    let mut doomed =
        [(world.open_data("X-Kyros-Session: s").await, "s"), (world.open_data(&bearer(&token)).await, "b")];
    let untouched = world.open_data(&bearer(&other)).await;
    for (live, sid) in &mut doomed {
        assert!(goes_on(&world, Kind::Events, live, sid).await, "the data of {sid}");
        world.api.end(sid);
        assert!(live.ends_within(AT_ONCE).await, "the data of {sid} go on");
        assert!(is_truthful_end(Kind::Events, live), "{sid}");
    }
    assert!(goes_on(&world, Kind::Events, &untouched, "other").await);
}

// === tokens that are renewed ===

#[tokio::test]
async fn renewal_is_unseen() {
    let world = World::start().await;
    // The first token ends in 3 s; those that follow are renewed every 2 s, 40 s before they end.
    let short = world.api.session("short", "acme", &[3, 60]);
    let brisk = world.api.session("brisk", "acme", &[42]);
    let mut open = Vec::new();
    for (who, sid) in [(&short, "short"), (&brisk, "brisk")] {
        for kind in [Kind::Socket, Kind::Events, Kind::Upload] {
            open.push((world.open(kind, who, sid).await, kind, sid));
        }
    }
    let first = world.get(&brisk, "/").await.1;
    let (began, mut statuses) = (Instant::now(), Vec::new());
    while began.elapsed() < Duration::from_secs(6) {
        statuses.extend([world.get(&short, "/").await.0, world.get(&brisk, "/").await.0]);
        tokio::time::sleep(ms(100)).await;
    }
    assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
    let last = world.get(&brisk, "/").await.1;
    let token = |answer: &str| answer.rsplit_once("Bearer ").map(|(_, token)| token.to_owned());
    assert!(token(&first).is_some() && token(&first) != token(&last), "the dashboard is shown new tokens");
    for (live, kind, sid) in &open {
        assert!(goes_on(&world, *kind, live, sid).await, "the {kind:?} of {sid} goes on");
        if *kind == Kind::Socket {
            assert!(parse(&frames_of(live)).0.iter().all(|(first, _)| *first != FIN | CLOSE), "{sid}");
        }
    }
    let renewals = world.api.renewals.load(Ordering::SeqCst);
    assert!((4..=20).contains(&renewals), "{renewals} renewals: neither too few nor in a loop");
}

// === an API that comes and goes ===

#[tokio::test]
async fn the_stream_of_revocations_resumes_and_what_was_missed_is_applied() {
    let world = World::start().await;
    let who = world.api.session("s", "acme", &[300]);
    world.api.say(Revocation::Session { sid: "somebody".to_owned() });
    let mut socket = world.open(Kind::Socket, &who, "s").await;
    tokio::time::sleep(ms(200)).await;
    world.api.set_mode(Mode::NoStreams);
    world.api.restart();
    tokio::time::sleep(ms(300)).await;
    world.api.end("s");
    tokio::time::sleep(ms(300)).await;
    world.api.set_mode(Mode::Serving);
    assert!(socket.ends_within(AT_ONCE).await, "the missed event is applied");
    assert_eq!(final_close(&frames_of(&socket)), Some(4001));
    let resumed = world.api.resumed.lock().unwrap().clone();
    assert_eq!(resumed, [None, Some("1".to_owned())], "it goes on after the last event it saw");
}

#[tokio::test]
async fn a_sidecar_that_starts_later_knows_what_was_taken_back_before() {
    let world = World::start_after(|api| api.end("before")).await;
    assert_eq!(world.get(&world.api.bearer("before", "acme"), "/").await.0, 401);
    assert_eq!(world.get(&world.api.bearer("after", "acme"), "/").await.0, 200);
}

#[tokio::test]
async fn cut_off_from_the_api_nothing_lives_longer_than_its_token() {
    let world = World::start().await;
    let who = world.api.session("s", "acme", &[3]);
    let mut open = Vec::new();
    for kind in [Kind::Socket, Kind::Events, Kind::Download] {
        open.push((world.open(kind, &who, "s").await, kind));
    }
    world.api.set_mode(Mode::Silent);
    let unknown = world.api.session("new", "acme", &[300]);
    let over = Instant::now() + Duration::from_secs(3) + AT_ONCE;
    let (new, ()) = tokio::join!(world.get(&unknown, "/"), async {
        for (live, kind) in &mut open {
            assert!(live.ends_within(over.saturating_duration_since(Instant::now())).await, "the {kind:?} goes on");
            assert!(is_truthful_end(*kind, live), "{kind:?}: {}", String::from_utf8_lossy(&live.received()));
        }
    });
    for (status, answer) in [new, world.get(&who, "/").await] {
        let is_later = status == 503 && answer.to_ascii_lowercase().contains("retry-after:");
        assert!(is_later || status == 401, "{answer}");
    }
    world.api.set_mode(Mode::Serving);
    assert_eq!(world.get(&who, "/").await.0, 200, "it comes back with the API");
}

// === keys that change ===

/// Clients that ask with a fresh token each time until `stop`: how many requests, and those that were not answered 200.
async fn fresh_tokens(world: &World, clients: usize, stop: &AtomicBool) -> (usize, Vec<u16>) {
    let client = async |name: usize| {
        let (mut steady, mut count, mut refused) = (Steady::new(world), 0, Vec::new());
        while !stop.load(Ordering::Relaxed) {
            let status = steady.ask(&world.api.bearer(&format!("client-{name}"), "acme")).await;
            count += 1;
            refused.extend((status != 200).then_some(status));
            tokio::time::sleep(ms(5)).await;
        }
        (count, refused)
    };
    let asked = join_all((0..clients).map(client)).await;
    (asked.iter().map(|(count, _)| count).sum(), asked.into_iter().flat_map(|(_, refused)| refused).collect())
}

#[tokio::test]
async fn a_change_of_keys_under_load_refuses_nobody() {
    let world = World::start().await;
    let keys: Vec<Arc<Issuer>> = (0..4).map(|_| Arc::new(Issuer::generate(ISSUER).unwrap())).collect();
    let stop = AtomicBool::new(false);
    let changing = async {
        // Every key is published before it is used. A sidecar looks for new ones no more often than every ten seconds, and
        // it has looked at its start.
        world.api.publish(&[&world.api.signer(), &keys[0]]);
        tokio::time::sleep(ms(10_200)).await;
        world.api.publish(&[&world.api.signer(), &keys[0], &keys[1], &keys[2], &keys[3]]);
        tokio::time::sleep(ms(300)).await;
        for key in &keys {
            world.api.restart();
            world.api.sign_with(key);
            tokio::time::sleep(ms(400)).await;
        }
        stop.store(true, Ordering::Relaxed);
    };
    let ((asked, refused), ()) = tokio::join!(fresh_tokens(&world, 4, &stop), changing);
    assert!(refused.is_empty(), "{} of {asked} requests: {refused:?}", refused.len());
    assert!(asked > 500, "only {asked} requests");
}

#[tokio::test]
async fn a_flood_of_unknown_keys_neither_floods_the_api_nor_harms_others() {
    let world = World::start().await;
    let Who::Bearer { token, tenant } = world.api.bearer("flood", "acme") else { panic!("a token") };
    let rest = token.split_once('.').unwrap().1;
    let forged = || {
        let header = format!(r#"{{"typ":"at+jwt","alg":"ES256","kid":"{}"}}"#, random_handle());
        Who::Bearer { token: format!("{}.{rest}", URL_SAFE_NO_PAD.encode(header)), tenant: tenant.clone() }
    };
    let (before, began) = (world.api.key_fetches.load(Ordering::SeqCst), Instant::now());
    let stop = AtomicBool::new(false);
    let flooding = async {
        let attacker = async |_| {
            let mut steady = Steady::new(&world);
            for _ in 0..250 {
                assert_eq!(steady.ask(&forged()).await, 401);
            }
        };
        join_all((0..8).map(attacker)).await;
        stop.store(true, Ordering::Relaxed);
    };
    let ((asked, refused), ()) = tokio::join!(fresh_tokens(&world, 2, &stop), flooding);
    assert!(refused.is_empty() && asked > 50, "{} of {asked} good requests: {refused:?}", refused.len());
    assert!(began.elapsed() < Duration::from_secs(10), "2000 requests take {:?}", began.elapsed());
    let fetches = world.api.key_fetches.load(Ordering::SeqCst) - before;
    assert!(fetches <= 2, "{fetches} fetches");
}

// === what a session brings along ===

#[tokio::test]
async fn a_tenants_own_site_may_frame_its_dashboards_and_nobody_elses() {
    let world = World::start().await;
    for (tenant, is_named) in [("globex", true), ("acme", false)] {
        let answer = world.get(&world.api.session(tenant, tenant, &[300]), "/").await.1;
        let policy = answer.lines().find_map(|line| line.strip_prefix("content-security-policy: frame-ancestors "));
        let policy = policy.unwrap_or_else(|| panic!("{answer}"));
        assert!(policy.starts_with("http://kyros.localhost"), "the portal always may: {policy}");
        assert_eq!(policy.contains(" https://intranet.globex.example"), is_named, "{tenant}: {policy}");
    }
}
