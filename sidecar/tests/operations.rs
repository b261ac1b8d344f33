//! What those who run a sidecar see of it: access lines, metrics, traces, logs that change their level, readiness.

mod common;

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use common::{Sidecar, upstream};
use kyros_shared_config::crypto::random_id;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const PATIENCE: Duration = Duration::from_secs(10);

async fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string()
}

fn temporary(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("kyros-{name}-{}", random_id()))
}

async fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

/// Waits until a file says something.
async fn eventually(file: &PathBuf, expected: impl Fn(&str) -> bool) -> String {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        if expected(&text) {
            return text;
        }
        assert!(Instant::now() < deadline, "{}: {text}", file.display());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn every_request_leaves_one_line_and_counts_and_no_secret_is_in_either() {
    let (address, seen) = upstream(OK).await;
    let (admin, lines) = (free_address().await, temporary("access"));
    let sidecar =
        Sidecar::start(address, &[("KYROS_ADMIN_LISTEN", &admin), ("KYROS_ACCESS_LOG", lines.to_str().unwrap())]).await;
    let token = sidecar.token("acme", "clv");
    let request = |target: &str, token: &str| {
        format!(
            "GET {target} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\nCookie: own=cookie-secret\r\n\
             Traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\nConnection: close\r\n\r\n"
        )
    };
    let answer = sidecar.ask(&request("/page?q=query-secret", &token)).await;
    sidecar.ask(&request("/page", &token)).await;
    sidecar.ask(&request("/page", "wrong-secret")).await;
    let text = eventually(&lines, |text| text.lines().count() == 3).await;
    let read: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |status: u16| read.iter().filter(|line| line["status"] == status).collect::<Vec<_>>();
    let (forwarded, refused) = (of(200), of(401));
    assert_eq!((forwarded.len(), refused.len()), (2, 1), "{text}");
    let first = forwarded[0];
    assert_eq!((&first["tenant"], &first["path"], &first["bytes"]), (&"acme".into(), &"/page".into(), &2.into()));
    assert_eq!(refused[0]["refused"], "unauthorized");
    // The browser, the dashboard and the log name the request alike, and the caller's trace goes on.
    let id = first["request_id"].as_str().unwrap();
    assert!(answer.contains(&format!("x-request-id: {id}")), "{answer}");
    let sent = seen.lock().unwrap()[0].to_ascii_lowercase();
    assert!(sent.contains(&format!("x-request-id: {id}")), "{sent}");
    assert!(sent.contains("traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-"), "{sent}");
    assert!(!sent.contains("00f067aa0ba902b7"), "the dashboard's parent is the sidecar's span: {sent}");
    assert_eq!(first["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736");

    let metrics = get(&admin, "/metrics").await;
    for expected in [
        "kyros_sidecar_requests_total{outcome=\"forwarded\",reason=\"\"} 2",
        "kyros_sidecar_requests_total{outcome=\"refused\",reason=\"unauthorized\"} 1",
        "kyros_sidecar_token_cache_total{result=\"hit\"} 1",
        "kyros_sidecar_token_cache_total{result=\"miss\"} 2",
        "kyros_sidecar_added_seconds_count 2",
        "kyros_sidecar_open_sockets 0",
        "kyros_sidecar_in_flight 0",
        "kyros_sidecar_key_age_seconds ",
    ] {
        assert!(metrics.contains(expected), "{expected}\n{metrics}");
    }
    for secret in [token.as_str(), "query-secret", "cookie-secret", "wrong-secret", "eyJ", "ana@acme"] {
        assert!(!text.contains(secret) && !metrics.contains(secret), "{secret}");
    }
    assert!(!metrics.contains("acme"), "a tenant's name is no label");
    std::fs::remove_file(lines).unwrap();
}

#[tokio::test]
async fn spans_go_to_the_collector_that_is_named_and_none_carries_a_name() {
    let (address, _) = upstream(OK).await;
    let (collector, received) = upstream("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}").await;
    let endpoint = format!("http://{collector}");
    let sidecar = Sidecar::start(address, &[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)]).await;
    let token = sidecar.token("acme", "clv");
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    for flags in ["01", "00"] {
        sidecar
            .ask(&format!(
                "GET /secret-path HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\
                 Traceparent: 00-{trace}-00f067aa0ba902b7-{flags}\r\nConnection: close\r\n\r\n"
            ))
            .await;
    }
    let deadline = Instant::now() + PATIENCE;
    let sent = loop {
        let sent = received.lock().unwrap().concat();
        if sent.ends_with('}') {
            break sent;
        }
        assert!(Instant::now() < deadline, "{sent}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert!(sent.starts_with("POST /v1/traces HTTP/1.1"), "{sent}");
    let (_, body) = sent.split_once("\r\n\r\n").unwrap();
    let document: serde_json::Value = serde_json::from_str(body).unwrap();
    let spans = document["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap();
    assert_eq!(spans.len(), 1, "the caller of the second does not record");
    assert_eq!((&spans[0]["traceId"], &spans[0]["parentSpanId"]), (&trace.into(), &"00f067aa0ba902b7".into()));
    assert!(!body.contains("acme") && !body.contains("secret-path") && !body.contains("ana"), "{body}");
}

#[tokio::test]
async fn the_log_filter_follows_its_file_and_a_bad_one_changes_nothing() {
    let (address, _) = upstream(OK).await;
    let (filter, log) = (temporary("filter"), temporary("log"));
    let sidecar = Sidecar::start_logging(address, &[("KYROS_LOG_FILTER_FILE", filter.to_str().unwrap())], &log).await;
    let refuse = || sidecar.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    refuse().await;
    assert!(!std::fs::read_to_string(&log).unwrap().contains("refused"), "not at info");
    std::fs::write(&filter, "info,kyros_sidecar=debug\n").unwrap();
    eventually(&log, |text| text.contains("log filter changed")).await;
    refuse().await;
    eventually(&log, |text| text.contains("refused")).await;
    std::fs::write(&filter, "kyros_sidecar=nonsense\n").unwrap();
    eventually(&log, |text| text.contains("stays as it is")).await;
    std::fs::remove_file(filter).unwrap();
    std::fs::remove_file(log).unwrap();
}

#[tokio::test]
async fn two_thousand_slow_clients_do_not_slow_a_good_one() {
    let (address, _) = upstream(OK).await;
    let sidecar = Sidecar::start(address, &[]).await;
    let mut slow = Vec::new();
    for _ in 0..2000 {
        let mut stream = TcpStream::connect(sidecar.address).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ").await.unwrap();
        slow.push(stream);
    }
    let token = sidecar.token("acme", "clv");
    for _ in 0..50 {
        let request =
            format!("GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n");
        let answer = tokio::time::timeout(PATIENCE, sidecar.ask(&request)).await.expect("it is answered");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    let mut byte = [0];
    for mut stream in slow {
        let end = tokio::time::timeout(Duration::from_secs(20), stream.read(&mut byte)).await;
        assert!(matches!(end, Ok(Ok(0) | Err(_))), "whoever does not finish a head in ten seconds is cut off");
    }
}

#[tokio::test]
async fn each_limit_answers_with_its_own_status_and_when_to_come_back() {
    // An upstream that never answers holds every place.
    let (address, _) = upstream("").await;
    let lines = temporary("access");
    let limits = [
        ("KYROS_MAX_IN_FLIGHT_PER_TENANT", "1"),
        ("KYROS_MAX_IN_FLIGHT", "2"),
        ("KYROS_UPSTREAM_TIMEOUT", "3"),
        ("KYROS_ACCESS_LOG", lines.to_str().unwrap()),
    ];
    let sidecar = Sidecar::start(address, &limits).await;
    let ask = |tenant: &str| {
        let token = sidecar.token(tenant, "clv");
        format!("GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n")
    };
    let (acme, globex, initech) = (ask("acme"), ask("globex"), ask("initech"));
    let (first, second, third, last) = tokio::join!(
        sidecar.ask(&acme),
        async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            sidecar.ask(&acme).await
        },
        async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            sidecar.ask(&globex).await
        },
        async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            sidecar.ask(&initech).await
        }
    );
    assert!(second.starts_with("HTTP/1.1 429") && second.contains("retry-after: 1"), "{second}");
    assert!(second.contains("urn:kyros:problem:tenant-busy") && second.contains("urn:kyros:decision:"), "{second}");
    assert!(last.starts_with("HTTP/1.1 503") && last.contains("urn:kyros:problem:dashboard-busy"), "{last}");
    for held in [first, third] {
        assert!(held.is_empty() || held.starts_with("HTTP/1.1 504"), "{held}");
    }
    let text = eventually(&lines, |text| text.contains("tenant-busy")).await;
    let line = text.lines().find(|line| line.contains("tenant-busy")).unwrap();
    assert!(
        line.contains("\"tenant\":\"acme\"") && line.contains("\"status\":429"),
        "it is known whose storm it is: {line}"
    );
    std::fs::remove_file(lines).unwrap();
    let page = sidecar.ask("GET / HTTP/1.1\r\nHost: a\r\nAccept: text/html\r\nSec-Fetch-Mode: navigate\r\n\r\n").await;
    assert!(page.contains("text/html") && page.contains("Decision <code>"), "{page}");
}

/// An upstream that agrees to every handshake of `open`.
async fn agreeing() -> std::net::SocketAddr {
    let agreed = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                  Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    upstream(agreed).await.0
}

/// Asks for a socket; what is answered.
async fn open(sidecar: &Sidecar, tenant: &str) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(sidecar.address).await.unwrap();
    let token = sidecar.token(tenant, "clv");
    let handshake = format!(
        "GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(handshake.as_bytes()).await.unwrap();
    let mut answer = [0; 4096];
    let count = stream.read(&mut answer).await.unwrap();
    (stream, String::from_utf8_lossy(&answer[..count]).into_owned())
}

/// Asks for a socket until there is one.
async fn opens_again(sidecar: &Sidecar, tenant: &str) {
    let deadline = Instant::now() + PATIENCE;
    while !open(sidecar, tenant).await.1.starts_with("HTTP/1.1 101") {
        assert!(Instant::now() < deadline, "the place comes back");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_session_opens_so_many_sockets_and_no_more_until_one_is_closed() {
    let sidecar = Sidecar::start(agreeing().await, &[("KYROS_MAX_SOCKETS_PER_SESSION", "1")]).await;
    let (first, answer) = open(&sidecar, "acme").await;
    assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
    let (_, refused) = open(&sidecar, "acme").await;
    assert!(refused.starts_with("HTTP/1.1 429") && refused.contains("session-busy"), "{refused}");
    drop(first);
    opens_again(&sidecar, "acme").await;
}

#[tokio::test]
async fn one_tenant_takes_half_of_a_dashboards_sockets_and_leaves_the_rest_to_others() {
    let sidecar = Sidecar::start(agreeing().await, &[("KYROS_MAX_SOCKETS", "4")]).await;
    let mut held = Vec::new();
    for (tenant, expected) in [("acme", "101"), ("acme", "101"), ("acme", "429"), ("globex", "101"), ("globex", "101")]
    {
        let (stream, answer) = open(&sidecar, tenant).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {expected}")), "{tenant}: {answer}");
        let is_told = answer.contains("urn:kyros:problem:tenant-busy") && answer.contains("retry-after: 5");
        assert_eq!(is_told, expected == "429", "{answer}");
        held.push(stream);
    }
    held.clear();
    opens_again(&sidecar, "acme").await;
}

#[tokio::test]
async fn a_sidecar_that_is_told_to_stop_says_so_while_it_still_serves() {
    let (address, _) = upstream(OK).await;
    let admin = free_address().await;
    let mut sidecar = Sidecar::start(address, &[("KYROS_ADMIN_LISTEN", &admin), ("KYROS_DRAIN_DELAY", "2")]).await;
    assert!(get(&admin, "/readyz").await.starts_with("HTTP/1.1 200"));
    let told = std::process::Command::new("kill").args(["-TERM", &sidecar.child.id().to_string()]).status().unwrap();
    assert!(told.success());
    let deadline = Instant::now() + PATIENCE;
    loop {
        let ready = get(&admin, "/readyz").await;
        if ready.starts_with("HTTP/1.1 503") && ready.contains("stopping") {
            break;
        }
        assert!(Instant::now() < deadline, "{ready}");
    }
    let request = format!(
        "GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\nConnection: close\r\n\r\n",
        sidecar.token("acme", "clv")
    );
    assert!(sidecar.ask(&request).await.starts_with("HTTP/1.1 200"), "those in front have not heard yet");
    assert_eq!(sidecar.child.wait().unwrap().code(), Some(0));
}
