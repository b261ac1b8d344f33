//! A dashboard that does everything wrong, raw bytes on a socket, and what its browser gets: a table, and what a table cannot
//! hold. Every mismatch is printed before a test fails.

mod common;
#[path = "hostile_dashboard/rig.rs"]
mod rig;
#[path = "hostile_dashboard/table.rs"]
mod table;

use std::{
    collections::{HashMap, HashSet},
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use common::Sidecar;
use futures_util::{StreamExt as _, stream};
use kyros_shared_config::crypto::random_id;
use rig::{
    Answer, Ask,
    Check::{self, Any, Code, Status, Within},
    Dashboard, Record, Seen,
    Step::{self, Close, Flood, Hang, Pause, ReadBody, Stall},
    always, ask, body, has, ok, send,
};
use table::Case;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// Longer than anything that is waited for on purpose.
const PATIENCE: Duration = Duration::from_secs(7);
/// Cases under way at a time. They share one sidecar, as the requests of many browsers do.
const AT_A_TIME: usize = 16;
/// A sidecar that gives up soon.
const IMPATIENT: [(&str, &str); 2] = [("KYROS_UPSTREAM_TIMEOUT", "1"), ("KYROS_IDLE", "1")];

/// A sidecar, and the dashboard behind it.
struct Stage {
    sidecar: Sidecar,
    token: String,
    dashboard: Record,
}

impl Stage {
    async fn of(
        dashboard: Dashboard,
        settings: &[(&str, &str)],
        script: impl Fn(&Seen) -> Vec<Step> + Send + Sync + 'static,
    ) -> Self {
        let address = dashboard.address.clone();
        let dashboard = dashboard.serve(script);
        let sidecar = Sidecar::start(address, settings).await;
        Self { token: sidecar.token("acme", "clv"), sidecar, dashboard }
    }

    async fn on_tcp(settings: &[(&str, &str)], script: impl Fn(&Seen) -> Vec<Step> + Send + Sync + 'static) -> Self {
        Self::of(Dashboard::on_tcp().await, settings, script).await
    }

    async fn of_cases(dashboard: Dashboard, settings: &[(&str, &str)], cases: &[Case]) -> Self {
        let scripts: Vec<_> = cases.iter().map(|case| case.script.clone()).collect();
        let script_of = move |seen: &Seen| {
            let index: Option<usize> = seen.path[1..].parse().ok();
            index.and_then(|index| scripts.get(index).cloned()).unwrap_or_else(|| vec![ok("")])
        };
        Self::of(dashboard, settings, script_of).await
    }

    async fn ask(&self, request: Ask, path: &str) -> Answer {
        ask(self.sidecar.address, request, path, &self.token, PATIENCE).await
    }

    /// Plays every case, and afterwards an ordinary request, which must find the sidecar as it was.
    async fn mismatches(&self, cases: Vec<Case>) -> Vec<String> {
        let played = stream::iter(cases.into_iter().enumerate()).map(|(index, case)| async move {
            let answer = self.ask(case.request, &format!("/{index}")).await;
            mismatch(case.name, &answer, &case.expect)
        });
        let mut mismatches: Vec<String> =
            played.buffer_unordered(AT_A_TIME).filter_map(|found| async { found }).collect().await;
        mismatches.sort();
        let afterwards = self.ask(Ask::Get, "/afterwards").await;
        mismatches.extend(mismatch("an ordinary answer afterwards", &afterwards, &[Status(200), body("ok")]));
        mismatches
    }
}

/// What is wrong with an answer, in a line or two.
fn mismatch(name: &str, answer: &Answer, expect: &[Check]) -> Option<String> {
    let mut faults: Vec<String> = expect.iter().filter_map(|check| check.fault(answer)).collect();
    faults.extend(always(answer));
    (!faults.is_empty()).then(|| format!("{name}: wanted {}\n    got {}", faults.join(" and "), answer.summary()))
}

fn assert_none(mismatches: &[String]) {
    assert!(mismatches.is_empty(), "{} mismatches:\n{}\n", mismatches.len(), mismatches.join("\n"));
}

/// What a process needed at most, in KiB; nothing where the system does not say.
fn peak_memory(process: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.trim().parse().ok())
}

// === the table ===

#[tokio::test]
async fn whatever_a_dashboard_answers_its_browser_gets_a_sound_answer() {
    let trap = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let trap_port = trap.local_addr().unwrap().port();
    let trapped = std::sync::Arc::new(AtomicUsize::new(0));
    let count = trapped.clone();
    tokio::spawn(async move {
        while trap.accept().await.is_ok() {
            count.fetch_add(1, Ordering::SeqCst);
        }
    });
    let dashboard = Dashboard::on_tcp().await;
    let cases = table::at_once(dashboard.port(), trap_port);
    assert!(cases.len() > 100, "{}", cases.len());
    let stage = Stage::of_cases(dashboard, &[], &cases).await;
    let mut mismatches = stage.mismatches(cases).await;
    let trapped = trapped.load(Ordering::SeqCst);
    if trapped > 0 {
        mismatches.push(format!("the sidecar went {trapped} times where a dashboard sent it"));
    }
    if let Some(memory) = peak_memory(stage.sidecar.child.id()).filter(|kib| *kib > 64 * 1024) {
        mismatches.push(format!("the sidecar needed {memory} KiB"));
    }
    assert_none(&mismatches);
}

#[tokio::test]
async fn no_dashboard_holds_its_browser_for_ever() {
    let cases = table::in_time();
    let stage = Stage::of_cases(Dashboard::on_tcp().await, &IMPATIENT, &cases).await;
    assert_none(&stage.mismatches(cases).await);
}

#[tokio::test]
async fn a_dashboard_on_a_unix_socket_gets_no_more_leave() {
    const THERE_TOO: [&str; 17] = [
        "two different lengths",
        "a body shorter than its length",
        "a body longer than its length",
        "a length too large and chunks",
        "trailers",
        "a body after HEAD",
        "garbage",
        "closed before any byte",
        "closed within the head",
        "10,000 times 103",
        "header lines without end",
        "interim answers in two reads each",
        "101 not asked for",
        "101 as asked for, with more than a socket needs",
        "101 with a wrong Accept",
        "our own headers",
        "a domain",
    ];
    let path = std::env::temp_dir().join(format!("kyros-{}.sock", random_id()));
    let dashboard = Dashboard::on_socket(&path);
    let cases: Vec<Case> =
        table::at_once(dashboard.port(), 1).into_iter().filter(|case| THERE_TOO.contains(&case.name)).collect();
    assert_eq!(cases.len(), THERE_TOO.len(), "every name is in the table");
    let stage = Stage::of_cases(dashboard, &[], &cases).await;
    let mut mismatches = stage.mismatches(cases).await;
    std::fs::remove_file(&path).unwrap();
    let away = Sidecar::start(format!("unix:{}", path.display()), &[]).await;
    let answer = ask(away.address, Ask::Get, "/", &away.token("acme", "clv"), PATIENCE).await;
    mismatches.extend(mismatch("no socket there", &answer, &is_down()));
    assert_none(&mismatches);
}

// === dashboards that are not there ===

fn is_down() -> Vec<Check> {
    vec![Status(503), Code("dashboard-starting"), has("retry-after", "1"), has("connection", "close"), Within(3000)]
}

#[tokio::test]
async fn a_dashboard_that_is_not_there_is_503_and_one_that_speaks_no_http_no_answer() {
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let sidecar = Sidecar::start(port, &[]).await;
    let down = ask(sidecar.address, Ask::Get, "/", &sidecar.token("acme", "clv"), PATIENCE).await;
    let mut mismatches = Vec::from_iter(mismatch("down", &down, &is_down()));
    let deaf = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let sidecar = Sidecar::start(deaf.local_addr().unwrap(), &IMPATIENT).await;
    let answer = ask(sidecar.address, Ask::Get, "/", &sidecar.token("acme", "clv"), PATIENCE).await;
    mismatches.extend(mismatch("deaf", &answer, &[Status(504), Code("dashboard-timeout"), Within(4000)]));
    // One that speaks first, as other protocols do, and one that hangs up at once.
    for (name, greeting, statuses) in [("a greeting", &b"220 ready\r\n"[..], [502, 502]), ("hung up", b"", [502, 503])]
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let sidecar = Sidecar::start(listener.local_addr().unwrap(), &[]).await;
        tokio::spawn(async move {
            let mut greeted = Vec::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                if greeting.is_empty() {
                    let _ = stream.set_zero_linger();
                } else {
                    let _ = stream.write_all(greeting).await;
                    greeted.push(stream);
                }
            }
        });
        let answer = ask(sidecar.address, Ask::Get, "/", &sidecar.token("acme", "clv"), PATIENCE).await;
        let either = statuses.map(|status| vec![Status(status)]);
        mismatches.extend(mismatch(name, &answer, &[Any(either.into()), Within(4000)]));
    }
    assert_none(&mismatches);
}

// === one connection after another request ===

/// An answer and more, and how long after the answer the rest comes.
const UNASKED: [(&str, Ask, &str, u64, &str); 9] = [
    ("a second answer", Ask::Get, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 0, SMUGGLED),
    ("a second answer later", Ask::Get, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 20, SMUGGLED),
    ("half an answer", Ask::Get, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 0, "HTTP/1.1 200 OK\r\nX-Half: "),
    ("a line break", Ask::Get, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 0, "\r\n"),
    (
        "a goodbye",
        Ask::Get,
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        20,
        "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n",
    ),
    ("an answer as the body of HEAD", Ask::Head, "HTTP/1.1 200 OK\r\nContent-Length: 47\r\n\r\n", 0, SMUGGLED),
    ("an answer as the body of 204", Ask::Get, "HTTP/1.1 204 No Content\r\n\r\n", 0, SMUGGLED),
    ("an answer as the body of 304", Ask::Get, "HTTP/1.1 304 Not Modified\r\n\r\n", 0, SMUGGLED),
    (
        "an answer after the last chunk",
        Ask::Get,
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        0,
        SMUGGLED,
    ),
];
const SMUGGLED: &str = "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nsmuggled";

#[tokio::test]
async fn what_a_dashboard_says_unasked_is_nobodys_answer() {
    let stage =
        Stage::on_tcp(&[], |seen| match seen.path.strip_prefix("/unasked/").and_then(|n| n.parse::<usize>().ok()) {
            Some(index) => {
                let (_, _, answer, pause, rest): (_, _, &str, u64, &str) = UNASKED[index];
                if pause == 0 {
                    vec![send([answer, rest].concat())]
                } else {
                    vec![send(answer), Pause(pause), send(rest)]
                }
            }
            None => vec![send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{}", seen.path.len(), seen.path))],
        })
        .await;
    let mut mismatches = Vec::new();
    for (index, (name, request, _, pause, _)) in UNASKED.into_iter().enumerate() {
        for round in 0..5 {
            stage.ask(request, &format!("/unasked/{index}")).await;
            // What comes while a request is under way is its answer, so let it come before.
            tokio::time::sleep(Duration::from_millis(pause * 4)).await;
            let path = format!("/next/{index}/{round}");
            let next = stage.ask(Ask::Get, &path).await;
            mismatches.extend(mismatch(name, &next, &[Status(200), body(&path)]));
        }
    }
    let seen = stage.dashboard.seen();
    for (before, next) in seen.iter().flat_map(|before| seen.iter().map(move |next| (before, next))) {
        let is_after = before.connection == next.connection && before.nth < next.nth;
        // A line break is no message, so the connection may live on (RFC 9112, section 2.2).
        if is_after && before.path.starts_with("/unasked/") && !before.path.ends_with("/3") {
            mismatches.push(format!("{} came over the connection that {} spoilt", next.path, before.path));
        }
    }
    assert_none(&mismatches);
}

/// What a dashboard writes a moment after an answer, and whether a connection is ever used again after such an answer.
const LATE: [(&str, Ask, &str, bool); 6] = [
    ("a body to HEAD", Ask::Head, "HTTP/1.1 200 OK\r\nContent-Length: 47\r\n\r\n", false),
    ("a body of 304", Ask::Get, "HTTP/1.1 304 Not Modified\r\nContent-Length: 47\r\n\r\n", false),
    ("a body of 204", Ask::Get, "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", false),
    ("something after 304", Ask::Get, "HTTP/1.1 304 Not Modified\r\n\r\n", true),
    ("something after nothing", Ask::Get, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", true),
    ("something after an answer", Ask::Get, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", true),
];

#[tokio::test]
async fn what_a_dashboard_says_too_late_never_reaches_another_tenant() {
    let stage = Stage::on_tcp(&[], |seen| {
        match seen.path.strip_prefix("/late/").and_then(|rest| rest.split('/').next()?.parse::<usize>().ok()) {
            Some(index) => vec![send(LATE[index].2), Pause(1), send(SMUGGLED)],
            None => vec![send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{}", seen.path.len(), seen.path))],
        }
    })
    .await;
    let other = stage.sidecar.token("globex", "clv");
    let mut mismatches = Vec::new();
    for (index, (name, request, _, is_reused)) in LATE.into_iter().enumerate() {
        for round in 0..30 {
            stage.ask(request, &format!("/late/{index}")).await;
            // What is left over on a connection of the tenant's own would be its own.
            let (token, whose) = if is_reused || round % 2 == 0 { (&other, "globex") } else { (&stage.token, "acme") };
            let path = format!("/next/{index}/{whose}/{round}");
            let next = ask(stage.sidecar.address, Ask::Get, &path, token, PATIENCE).await;
            mismatches.extend(mismatch(name, &next, &[Status(200), body(&path)]));
        }
    }
    let tenant_of = |seen: &Seen| {
        let head = seen.head.to_ascii_lowercase();
        head.lines().find_map(|line| line.strip_prefix("x-kyros-tenant: ").map(str::to_owned))
    };
    let seen = stage.dashboard.seen();
    let mut tenants: HashMap<usize, HashSet<Option<String>>> = HashMap::new();
    for seen in &seen {
        tenants.entry(seen.connection).or_default().insert(tenant_of(seen));
    }
    mismatches
        .extend(tenants.values().filter(|tenants| tenants.len() > 1).map(|tenants| format!("shared: {tenants:?}")));
    let once = LATE.iter().enumerate().filter(|(_, (.., is_reused))| !is_reused);
    for (path, (name, ..)) in once.map(|(index, late)| (format!("/late/{index}"), late)) {
        for before in seen.iter().filter(|before| before.path == path) {
            let next = seen.iter().find(|next| next.connection == before.connection && next.nth > before.nth);
            mismatches.extend(next.map(|next| format!("{} came over a connection that waits for {name}", next.path)));
        }
    }
    assert_none(&mismatches);
}

/// A dashboard whose first connection, once kept alive, does `steps` with the next request.
async fn kept_alive(steps: Vec<Step>) -> Stage {
    let stage = Stage::on_tcp(&[], move |seen| match (seen.connection, seen.nth) {
        (0, 1) => steps.clone(),
        _ => vec![ReadBody, ok("")],
    })
    .await;
    assert_eq!(stage.ask(Ask::Get, "/first").await.status, 200);
    // The connection goes back to the pool after the answer has left.
    tokio::time::sleep(Duration::from_millis(50)).await;
    stage
}

#[tokio::test]
async fn a_get_whose_kept_connection_closes_is_sent_once_more_and_a_post_never() {
    let half = || vec![send("HTTP/1.1 200 OK\r\nContent-"), Close];
    let mut mismatches = Vec::new();
    for (name, request, steps, times, status) in [
        ("GET, closed", Ask::Get, vec![Close], 2, 200),
        ("GET, reset", Ask::Get, vec![Step::Reset], 2, 200),
        ("HEAD, closed", Ask::Head, vec![Close], 2, 200),
        ("POST, closed", Ask::Post, vec![Close], 1, 502),
        ("POST, read and closed", Ask::Post, vec![ReadBody, Close], 1, 502),
        ("POST, read and reset", Ask::Post, vec![ReadBody, Step::Reset], 1, 502),
        ("GET, half an answer", Ask::Get, half(), 1, 502),
        ("POST, half an answer", Ask::Post, half(), 1, 502),
        ("GET, garbage", Ask::Get, vec![send("garbage\r\n\r\n"), Close], 1, 502),
        ("socket, closed", Ask::WebSocket, vec![Close], 2, 200),
    ] {
        let stage = kept_alive(steps).await;
        let answer = stage.ask(request, "/next").await;
        // A socket's request does not close, and an ordinary answer to it leaves the connection open.
        let expect = [Status(status)];
        if request == Ask::WebSocket {
            mismatches.extend(expect[0].fault(&answer).map(|fault| format!("{name}: {fault}, {}", answer.summary())));
        } else {
            mismatches.extend(mismatch(name, &answer, &expect));
        }
        let seen = stage.dashboard.count("/next");
        if seen != times {
            mismatches.push(format!("{name}: sent {seen} times, not {times}"));
        }
    }
    assert_none(&mismatches);
}

#[tokio::test]
async fn a_request_on_a_new_connection_is_never_sent_again() {
    let stage = Stage::on_tcp(&[], |seen| if seen.path == "/first" { vec![ok("")] } else { vec![Close] }).await;
    let mut mismatches = Vec::from_iter(mismatch("new", &stage.ask(Ask::Get, "/new").await, &[Status(502)]));
    assert_eq!(stage.dashboard.count("/new"), 1);
    assert_eq!(stage.ask(Ask::Get, "/first").await.status, 200);
    tokio::time::sleep(Duration::from_millis(50)).await;
    mismatches.extend(mismatch("kept", &stage.ask(Ask::Get, "/kept").await, &[Status(502)]));
    assert!(stage.dashboard.count("/kept") <= 2, "{}", stage.dashboard.count("/kept"));
    assert_none(&mismatches);
}

#[tokio::test]
async fn a_kept_connection_that_was_closed_meanwhile_costs_nothing() {
    let stage = Stage::on_tcp(&[], |_| vec![ReadBody, ok(""), Pause(20), Close]).await;
    let mut mismatches = Vec::new();
    for index in 0..5 {
        let answer = stage.ask(Ask::Post, &format!("/{index}")).await;
        mismatches.extend(mismatch("closed meanwhile", &answer, &[Status(200), body("ok")]));
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(stage.dashboard.count(&format!("/{index}")), 1);
    }
    assert_none(&mismatches);
}

// === uploads ===

/// Uploads so many bytes, reading meanwhile as browsers do. Says also whether the sidecar closed in the end; the time is that
/// of the answer's last byte.
async fn upload(stage: &Stage, path: &str, length: usize) -> (Answer, bool) {
    let began = Instant::now();
    let (mut reader, mut writer) = TcpStream::connect(stage.sidecar.address).await.unwrap().into_split();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\nContent-Length: {length}\r\nConnection: \
         close\r\n\r\n",
        stage.token
    );
    let writing = tokio::spawn(async move {
        let _ = writer.write_all(head.as_bytes()).await;
        let piece = vec![b'a'; 16 * 1024];
        for _ in 0..length / piece.len() {
            if writer.write_all(&piece).await.is_err() {
                break;
            }
        }
        // Dropped only at the end: a browser does not close its side.
        std::future::pending::<()>().await;
    });
    let (mut raw, mut took) = (Vec::new(), Duration::ZERO);
    let reading = async {
        while matches!(reader.read_buf(&mut raw).await, Ok(read) if read > 0) {
            took = began.elapsed();
        }
    };
    let closed = tokio::time::timeout(PATIENCE, reading).await.is_ok();
    writing.abort();
    (Answer::parse(raw, false, closed, took), closed)
}

#[tokio::test]
async fn an_answer_to_half_an_upload_reaches_the_browser_and_a_deaf_dashboard_holds_nobody() {
    // More than all buffers on the way take, and less than the sidecar's limit.
    const LENGTH: usize = 30 << 20;
    const REFUSED: &str = "HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n";
    let stage = Stage::on_tcp(&IMPATIENT, |seen| match seen.path.as_str() {
        "/polite" => vec![send(format!("{REFUSED}Connection: close\r\n\r\nbig")), Hang],
        "/rude" => vec![send(format!("{REFUSED}Connection: close\r\n\r\nbig")), Close],
        "/deaf" => vec![send(format!("{REFUSED}\r\nbig")), Stall],
        _ => vec![Stall],
    })
    .await;
    let refused = || vec![Status(413), body("big"), Within(5000)];
    let broken = || vec![Status(502), Code("dashboard-broken"), Within(5000)];
    let given_up = || vec![Status(504), Code("dashboard-timeout"), Within(5000)];
    // A reset may overtake the answer.
    let refused_or_broken = vec![Any(vec![refused(), broken()])];
    let uploads = [
        ("/polite", "an early answer", refused()),
        ("/rude", "an early answer, then a reset", refused_or_broken),
        ("/deaf", "an early answer, and no reading", refused()),
        ("/mute", "no answer and no reading", given_up()),
    ];
    let stage = &stage;
    let played = stream::iter(uploads).map(|(path, name, expect)| async move {
        let (answer, is_closed) = upload(stage, path, LENGTH).await;
        let held = (!is_closed).then(|| format!("{name}: the connection stays open after the answer"));
        stream::iter(mismatch(name, &answer, &expect).into_iter().chain(held))
    });
    assert_none(&played.buffer_unordered(4).flatten().collect::<Vec<_>>().await);
}

// === streams ===

const ENDLESS: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n";

/// Sends a GET and leaves the connection open.
async fn open(stage: &Stage, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(stage.sidecar.address).await.unwrap();
    stream.write_all(&Ask::Get.bytes(path, &stage.token)).await.unwrap();
    stream
}

#[tokio::test]
async fn an_event_is_passed_on_before_the_next_one_comes() {
    let stage = Stage::on_tcp(&[], |_| vec![send(ENDLESS), Hang]).await;
    let mut stream = open(&stage, "/").await;
    let mut text = Vec::new();
    let first = async {
        while !text.ends_with(b"data: 1\n\n\r\n") {
            assert!(stream.read_buf(&mut text).await.unwrap() > 0);
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(3), first).await.is_ok(), "{}", String::from_utf8_lossy(&text));
}

#[tokio::test]
async fn a_dashboard_is_left_when_its_browser_leaves() {
    let stage = Stage::on_tcp(&[], |seen| match seen.path.as_str() {
        "/waiting" => vec![Hang],
        "/quiet" => vec![send(ENDLESS), Hang],
        _ => vec![send(ENDLESS), Flood(vec![b'.'; 1024], usize::MAX)],
    })
    .await;
    let mut held = Vec::new();
    for path in ["/waiting", "/quiet", "/endless"] {
        let browser = open(&stage, path).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        drop(browser);
        if !stage.dashboard.is_left_alone_within(3000).await {
            held.push(path.to_owned());
            break;
        }
    }
    assert_none(&held);
}

#[tokio::test]
async fn a_browser_that_reads_no_more_holds_no_dashboard() {
    let stage = Stage::on_tcp(&IMPATIENT, |_| vec![send(ENDLESS), Flood(vec![b'.'; 1024], usize::MAX)]).await;
    let browser = open(&stage, "/endless").await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(stage.dashboard.is_left_alone_within(6000).await, "held by a browser that does not read");
    drop(browser);
}

// === sockets ===

#[tokio::test]
async fn both_sides_of_a_socket_know_the_same_extensions() {
    let offer = "permessage-deflate";
    let stage = Stage::on_tcp(&[], move |seen| {
        let accepted = if seen.head.contains(offer) { "Sec-WebSocket-Extensions: permessage-deflate\r\n" } else { "" };
        let accept = rig::WEBSOCKET_ACCEPT;
        vec![
            send(format!(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Accept: {accept}\r\n{accepted}\r\n"
            )),
            Close,
        ]
    })
    .await;
    let request = String::from_utf8(Ask::WebSocket.bytes("/", &stage.token)).unwrap();
    let request = request
        .replace("Upgrade: websocket\r\n", "Upgrade: websocket\r\nSec-WebSocket-Extensions: permessage-deflate\r\n");
    let answer = stage.sidecar.ask(&request).await.to_ascii_lowercase();
    assert!(answer.starts_with("http/1.1 101"), "{answer}");
    let is_offered = stage.dashboard.seen()[0].head.contains(offer);
    assert_eq!(
        answer.contains(offer),
        is_offered,
        "the dashboard compresses what its browser does not expect: {answer}"
    );
}
