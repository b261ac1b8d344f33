//! A table of raw requests, replayed against the program: what is refused leaves no byte at the dashboard, and what passes
//! arrives as it was sent. The table and its format are in `corpus/requests.txt`.

#[path = "gate_corpus/client.rs"]
mod client;
mod common;
#[path = "gate_corpus/dashboard.rs"]
mod dashboard;
#[path = "gate_corpus/table.rs"]
mod table;

use std::{
    collections::HashSet,
    fmt,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use client::*;
use common::{ISSUER, Sidecar, tenant_token};
use dashboard::*;
use kyros_shared_config::{Issuer, issuer::Person};
use table::*;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, tcp::OwnedWriteHalf},
    sync::Semaphore,
    task::JoinSet,
};

const TABLE: &str = include_str!("corpus/requests.txt");
/// A table that lost its cases must not look like one that passed.
const LEAST_CASES: usize = 300;
/// Each has a sidecar and a dashboard of its own, so that whatever arrives belongs to the case under way.
const WORKERS: usize = 12;
/// Largest body here, so that the cases around the limit stay small.
const MAX_BODY_BYTES: &str = "65536";
/// How long a case may take until the client gives up and closes its side.
const PATIENCE: Duration = Duration::from_secs(5);
/// What is still on its way arrives within this.
const SETTLE: Duration = Duration::from_millis(60);
/// Long enough for the bytes before it to be read alone.
const PAUSE: Duration = Duration::from_millis(50);
/// Where the dashboard opens a socket when it is asked for one; elsewhere it answers 200 to everything.
const SOCKET_PATH: &str = "/open-socket";
/// Forged values carry this word. It never reaches the dashboard.
const FORGED: &str = "mallory";

const HANDSHAKE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
/// The answer to the key in [`HANDSHAKE`] (RFC 6455, section 1.3).
const SWITCHING: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                           Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

#[tokio::test]
async fn every_request_of_the_table_gets_its_verdict() {
    let cases = parse_table(TABLE);
    assert!(cases.len() >= LEAST_CASES, "the table has only {} cases", cases.len());
    let cases = Arc::new(cases);
    let mut workers = JoinSet::new();
    for number in 0..WORKERS {
        // One after another: a port that was free a moment ago must still be free when its sidecar asks for it.
        let dashboard = Dashboard::start().await;
        let sidecar = Sidecar::start(dashboard.address, &[("KYROS_MAX_BODY_BYTES", MAX_BODY_BYTES)]).await;
        let cases = cases.clone();
        workers.spawn(async move {
            let (tokens, mut sidecar) = (Tokens::new(&sidecar.issuer), sidecar);
            let mut mismatches = Vec::new();
            for case in cases.iter().skip(number).step_by(WORKERS) {
                let wrong = play(case, &tokens, &sidecar, &dashboard).await;
                mismatches.extend(wrong.map(|wrong| (case.line, wrong)));
                assert!(sidecar.child.try_wait().unwrap().is_none(), "{} ended the sidecar", case.name);
            }
            mismatches
        });
    }
    let mut mismatches = workers.join_all().await.concat();
    mismatches.sort();
    let listed: Vec<&str> = mismatches.iter().map(|(_, wrong)| wrong.as_str()).collect();
    assert!(listed.is_empty(), "{} of {} cases:\n{}", listed.len(), cases.len(), listed.join("\n"));
}

/// Plays one case; what is wrong with it, if anything.
async fn play(case: &Case, tokens: &Tokens, sidecar: &Sidecar, dashboard: &Dashboard) -> Option<String> {
    dashboard.forget();
    let (pieces, sent) = (tokens.render(&case.request), tokens.bytes(&case.request));
    let wanted = case.verdicts.iter().map(Vec::len).max().unwrap_or_default();
    let exchange = ask(sidecar.address, pieces, wanted).await;
    tokio::time::sleep(SETTLE / 2).await;
    let record = dashboard.record.lock().unwrap().clone();
    let mut faults = record.faults.clone();
    if !case.verdicts.iter().any(|verdict| verdict_is(verdict, &exchange, &record)) {
        faults.push("another verdict".to_owned());
    }
    faults.extend(record.requests.iter().flat_map(faults_of));
    if matches!(case.verdicts[0][0], Expected::Forward | Expected::Upgrade)
        && let Some(request) = record.requests.first()
        && request_line(&sent) != request_line(&request.head)
    {
        faults.push("another request line reached the dashboard".to_owned());
    }
    let reached = record.everything();
    for text in &case.sees {
        let text = tokens.bytes(text).to_ascii_lowercase();
        if !contains(&reached, &text) {
            faults.push(format!("the dashboard does not see {}", text.escape_ascii()));
        }
    }
    let hidden = case.hides.iter().map(|text| tokens.bytes(text).to_ascii_lowercase());
    for text in hidden.chain([FORGED.as_bytes().to_vec()]) {
        if contains(&reached, &text) {
            faults.push(format!("the dashboard sees {}", text.escape_ascii()));
        }
    }
    (!faults.is_empty()).then(|| {
        let (name, line, expected) = (&case.name, case.line, &case.expected);
        format!(
            "line {line}, {name}\n    expected {expected}\n    got      {exchange}; {record}\n    {}",
            faults.join("; ")
        )
    })
}

/// What every request at a dashboard is like, whoever sent it.
fn faults_of(request: &Received) -> Vec<String> {
    let head = String::from_utf8_lossy(&request.head).to_ascii_lowercase();
    let fields: Vec<(&str, &str)> = head
        .lines()
        .skip(1)
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name, value.trim()))
        .collect();
    let values = |name: &str| fields.iter().filter(|(n, _)| *n == name).map(|(_, value)| *value).collect::<Vec<_>>();
    let mut faults = Vec::new();
    for (name, value) in [
        ("x-kyros-tenant", "acme"),
        ("x-kyros-dashboard", "clv"),
        ("x-kyros-user", "ana"),
        ("x-forwarded-for", "127.0.0.1"),
    ] {
        if values(name) != [value] {
            faults.push(format!("{name} is {:?}", values(name)));
        }
    }
    for name in ["host", "authorization", "x-request-id"] {
        if values(name).len() != 1 {
            faults.push(format!("{name} is {:?}", values(name)));
        }
    }
    for name in ["te", "trailer", "expect", "keep-alive", "proxy-authorization", "proxy-connection", "http2-settings"] {
        if !values(name).is_empty() {
            faults.push(format!("{name} reached the dashboard"));
        }
    }
    let folding = fields.iter().filter(|(name, _)| name.contains(['_', '.']));
    faults.extend(folding.map(|(name, _)| format!("{name} reached the dashboard")));
    faults
}

fn request_line(request: &[u8]) -> Vec<u8> {
    // Empty lines before a request are nothing (RFC 9112, section 2.2).
    let line = request.trim_ascii_start().split(|byte| *byte == b'\r').next().unwrap_or_default();
    // The version is the sidecar's own business.
    line.strip_suffix(b" HTTP/1.0").or_else(|| line.strip_suffix(b" HTTP/1.1")).unwrap_or(line).to_vec()
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}
