//! A table of raw requests, replayed against the program: what is refused leaves no byte at the dashboard, and what passes
//! arrives as it was sent. The table and its format are in `corpus/requests.txt`.

mod common;

use std::{
    collections::HashSet,
    fmt,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use common::{ISSUER, Sidecar, tenant_token};
use kyros_shared_config::{Issuer, issuer::Person};
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

// === the table ===

struct Case {
    line: usize,
    name: String,
    /// The verdict as it is written, for people.
    expected: String,
    /// Any of these sequences will do.
    verdicts: Vec<Vec<Expected>>,
    request: String,
    sees: Vec<String>,
    hides: Vec<String>,
}

enum Expected {
    /// One whole request reaches the dashboard, the client gets its 200.
    Forward,
    /// Likewise, and the dashboard opens a socket.
    Upgrade,
    /// An answer of the sidecar's own: with a problem document of this code, or without one.
    Refused(u16, Option<String>),
    /// No whole request reaches the dashboard, and the client gets an error, this one if it is named, or no answer.
    Broken(Option<(u16, Option<String>)>),
    /// The connection ends without an answer.
    Closed,
}

impl Expected {
    fn parse(text: &str) -> Option<Self> {
        let refused = |text: &str| match text.split_once(':') {
            Some((status, code)) => Some((status.parse().ok()?, Some(code.to_owned()))),
            None => Some((text.parse().ok()?, None)),
        };
        match text {
            "forward" => Some(Self::Forward),
            "upgrade" => Some(Self::Upgrade),
            "closed" => Some(Self::Closed),
            "broken" => Some(Self::Broken(None)),
            _ => match text.strip_prefix("broken:") {
                Some(status) => Some(Self::Broken(Some(refused(status)?))),
                None => refused(text).map(|(status, code)| Self::Refused(status, code)),
            },
        }
    }

    fn reaches_the_dashboard(&self) -> bool {
        matches!(self, Self::Forward | Self::Upgrade)
    }
}

fn parse_table(table: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    let (mut names, mut in_case) = (HashSet::new(), false);
    for (index, line) in table.lines().enumerate() {
        let number = index + 1;
        if let Some(title) = line.strip_prefix("=== ") {
            let (name, expected) = title.rsplit_once(" | ").unwrap_or_else(|| panic!("line {number}: no verdict"));
            assert!(names.insert(name), "line {number}: {name} is there twice");
            let parse = |text: &str| Expected::parse(text).unwrap_or_else(|| panic!("line {number}: {text}"));
            let verdicts = expected.split(" or ").map(|one| one.split_whitespace().map(parse).collect()).collect();
            cases.push(Case {
                line: number,
                name: name.to_owned(),
                expected: expected.to_owned(),
                verdicts,
                request: String::new(),
                sees: Vec::new(),
                hides: Vec::new(),
            });
            in_case = true;
        } else if line.is_empty() {
            in_case = false;
        } else if in_case && let Some(case) = cases.last_mut() {
            if let Some(text) = line.strip_prefix("sees: ") {
                case.sees.push(text.to_owned());
            } else if let Some(text) = line.strip_prefix("hides: ") {
                case.hides.push(text.to_owned());
            } else {
                assert!(!line.starts_with('#'), "line {number}: a comment inside of a case");
                case.request.push_str(line);
            }
        } else {
            assert!(line.starts_with('#'), "line {number}: neither a comment nor part of a case");
        }
    }
    for case in &cases {
        assert!(!case.request.is_empty() && !case.verdicts.iter().any(Vec::is_empty), "{} is empty", case.name);
    }
    cases
}

/// What the table's placeholders stand for.
struct Tokens {
    valid: String,
    kid: String,
    named: Vec<(&'static str, String)>,
}

impl Tokens {
    fn new(issuer: &Issuer) -> Self {
        let valid = tenant_token(issuer, "s1", ("acme", "clv"), i64::MAX);
        let foreign = tenant_token(&Issuer::generate(ISSUER).unwrap(), "s1", ("acme", "clv"), i64::MAX);
        let person = Person { subject: "ana", email: "ana@acme.example", name: "Ana", groups: &[], tenant_ids: &[] };
        let [header, payload, signature] = parts_of(&valid);
        let other_tenant =
            String::from_utf8(URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap().replace("acme", "globex");
        let named = vec![
            ("token", valid.clone()),
            ("head", format!("Host: a\r\nAuthorization: Bearer {valid}\r\n")),
            ("handshake", HANDSHAKE.to_owned()),
            ("foreign", foreign),
            ("other", tenant_token(issuer, "s1", ("acme", "risk"), i64::MAX)),
            ("expired", tenant_token(issuer, "s1", ("acme", "clv"), 1)),
            ("user", issuer.user_token(&person).unwrap().token.expose().clone()),
            ("workload", issuer.workload_token("dashboard:clv").unwrap().token.expose().clone()),
            ("tampered", format!("{header}.{}.{signature}", URL_SAFE_NO_PAD.encode(other_tenant))),
            ("unsigned", format!("{header}.{payload}.")),
        ];
        Self { kid: issuer.kid().to_owned(), named, valid }
    }

    /// The bytes of a text of the table, cut where the client waits.
    fn render(&self, text: &str) -> Vec<Piece> {
        let mut pieces = vec![Piece { after: Gap::Nothing, bytes: Vec::new() }];
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            let (bytes, length) = match first {
                '\\' => escape(rest),
                '{' => match self.placeholder(rest) {
                    Some((Stands::Gap(after), length)) => {
                        pieces.push(Piece { after, bytes: Vec::new() });
                        (Vec::new(), length)
                    }
                    Some((Stands::Bytes(bytes), length)) => (bytes, length),
                    // The brace of a JSON body.
                    None => (b"{".to_vec(), 1),
                },
                _ => (first.to_string().into_bytes(), first.len_utf8()),
            };
            pieces.last_mut().unwrap().bytes.extend(bytes);
            rest = &rest[length..];
        }
        pieces
    }

    fn bytes(&self, text: &str) -> Vec<u8> {
        self.render(text).into_iter().flat_map(|piece| piece.bytes).collect()
    }

    /// What the placeholder at the start stands for, and its length.
    fn placeholder(&self, text: &str) -> Option<(Stands, usize)> {
        let end = text.find('}')?;
        let (inner, length) = (&text[1..end], end + 1);
        let gap = match inner {
            "pause" => Some(Gap::Pause),
            "answer" => Some(Gap::Answer),
            "end" => Some(Gap::End),
            _ => None,
        };
        if let Some(gap) = gap {
            return Some((Stands::Gap(gap), length));
        }
        if let Some(repeated) = inner.strip_prefix("repeat:") {
            let (unit, times) = repeated.rsplit_once(':').unwrap();
            return Some((Stands::Bytes(self.bytes(unit).repeat(times.parse().unwrap())), length));
        }
        if let Some(members) = inner.strip_prefix("forged:") {
            let [_, payload, signature] = parts_of(&self.valid);
            let header = URL_SAFE_NO_PAD.encode(format!("{{{}}}", members.replace("KID", &self.kid)));
            return Some((Stands::Bytes(format!("{header}.{payload}.{signature}").into_bytes()), length));
        }
        let is_word = !inner.is_empty() && inner.bytes().all(|byte| byte.is_ascii_lowercase());
        let value = self.named.iter().find(|(name, _)| *name == inner).map(|(_, value)| value.clone().into_bytes());
        assert!(value.is_some() || !is_word, "no placeholder is called {inner}");
        value.map(|value| (Stands::Bytes(value), length))
    }
}

enum Stands {
    Bytes(Vec<u8>),
    Gap(Gap),
}

/// What a client sends at once.
struct Piece {
    after: Gap,
    bytes: Vec<u8>,
}

/// What a client waits for before it sends a piece.
#[derive(Clone, Copy)]
enum Gap {
    Nothing,
    Pause,
    /// One answer more.
    Answer,
    /// The client ends its side; there is nothing more to send.
    End,
}

fn escape(text: &str) -> (Vec<u8>, usize) {
    let byte = match text.as_bytes()[1] {
        b'r' => b'\r',
        b'n' => b'\n',
        b't' => b'\t',
        b'0' => 0,
        b'\\' => b'\\',
        b'x' => return (vec![u8::from_str_radix(&text[2..4], 16).unwrap()], 4),
        other => panic!("no escape is called {}", char::from(other)),
    };
    (vec![byte], 2)
}

fn parts_of(token: &str) -> [&str; 3] {
    token.split('.').collect::<Vec<_>>().try_into().unwrap()
}

// === the client ===

/// What a client got.
#[derive(Default)]
struct Exchange {
    answers: Vec<Answer>,
    /// The sidecar ended the connection, not the client.
    is_closed_by_sidecar: bool,
    /// What is no answer at all.
    garbage: Vec<u8>,
}

struct Answer {
    status: u16,
    /// Of the problem document.
    code: Option<String>,
    says_close: bool,
}

impl fmt::Display for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for answer in &self.answers {
            write!(f, "{}", answer.status)?;
            answer.code.iter().try_for_each(|code| write!(f, ":{code}"))?;
            f.write_str(if answer.status >= 400 && !answer.says_close { " (without close) " } else { " " })?;
        }
        if !self.garbage.is_empty() {
            write!(f, "{} ", self.garbage.escape_ascii())?;
        }
        f.write_str(if self.is_closed_by_sidecar { "then closed" } else { "and left open" })
    }
}

/// Sends the pieces and reads on until the sidecar closes, until all answers are there and nothing follows, or until
/// patience ends.
async fn ask(address: SocketAddr, pieces: Vec<Piece>, wanted: usize) -> Exchange {
    let (mut reader, writer) = TcpStream::connect(address).await.unwrap().into_split();
    let news = Arc::new(Semaphore::new(0));
    let sending = tokio::spawn(send(writer, pieces, news.clone()));
    let (mut received, mut buffer) = (Vec::new(), vec![0; 16 * 1024]);
    let mut exchange = Exchange::default();
    let given_up = Instant::now() + PATIENCE;
    loop {
        let is_served = exchange.answers.len() >= wanted && exchange.answers.last().is_some_and(|a| a.status < 400);
        let deadline = if is_served { Instant::now() + SETTLE } else { given_up };
        match tokio::time::timeout_at(deadline.into(), reader.read(&mut buffer)).await {
            Ok(Ok(0) | Err(_)) => {
                exchange.is_closed_by_sidecar = true;
                break;
            }
            Ok(Ok(read)) => {
                received.extend_from_slice(&buffer[..read]);
                let before = exchange.answers.len();
                exchange.take(&received, false);
                news.add_permits(exchange.answers.len() - before);
            }
            Err(_) if sending.is_finished() || Instant::now() >= given_up => break,
            Err(_) => (),
        }
    }
    sending.abort();
    if !exchange.is_closed_by_sidecar {
        // Dropping the writer ends this side alone.
        drop(sending.await);
        let _ = tokio::time::timeout(PATIENCE, reader.read_to_end(&mut received)).await;
    }
    exchange.take(&received, true);
    exchange
}

/// Gives the writer back, so that the connection stays open until the reader has seen enough.
async fn send(mut writer: OwnedWriteHalf, pieces: Vec<Piece>, news: Arc<Semaphore>) -> OwnedWriteHalf {
    for piece in pieces {
        match piece.after {
            Gap::Nothing => (),
            Gap::Pause => tokio::time::sleep(PAUSE).await,
            Gap::Answer => news.acquire().await.unwrap().forget(),
            Gap::End => {
                let _ = writer.shutdown().await;
            }
        }
        // A sidecar that has refused already does not read on.
        if writer.write_all(&piece.bytes).await.is_err() {
            break;
        }
    }
    writer
}

impl Exchange {
    /// Reads all answers in `received` anew.
    fn take(&mut self, received: &[u8], is_all: bool) {
        (self.answers, self.garbage) = (Vec::new(), Vec::new());
        let mut rest = received;
        while let Some(end) = rest.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&rest[..end]).to_ascii_lowercase();
            let status =
                head.strip_prefix("http/1.").and_then(|line| line.get(2..5)).and_then(|code| code.parse().ok());
            let Some(status) = status else { break };
            rest = &rest[end + 4..];
            if status == 100 {
                continue;
            }
            let field = |name: &str| {
                head.lines()
                    .filter_map(|line| line.split_once(':'))
                    .find(|(n, _)| *n == name)
                    .map(|(_, value)| value.trim())
            };
            let length = field("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
            if length > rest.len() && !is_all {
                return;
            }
            // An answer to HEAD has a length and no body.
            let (body, behind) = rest.split_at(length.min(rest.len()));
            rest = behind;
            let document: Option<serde_json::Value> = serde_json::from_slice(body).ok();
            let code =
                document.as_ref().and_then(|problem| problem["type"].as_str()?.strip_prefix("urn:kyros:problem:"));
            let says_close = field("connection") == Some("close");
            self.answers.push(Answer { status, code: code.map(str::to_owned), says_close });
            if status == 101 {
                return;
            }
        }
        if is_all {
            self.garbage = rest.to_vec();
        }
    }
}

fn verdict_is(verdict: &[Expected], exchange: &Exchange, record: &Record) -> bool {
    let whole = verdict.iter().filter(|expected| expected.reaches_the_dashboard()).count();
    if record.requests.len() != whole || !exchange.garbage.is_empty() {
        return false;
    }
    let mut answers = exchange.answers.iter();
    let all_as_expected = verdict.iter().all(|expected| {
        let answer = answers.next();
        let is_error = |status: u16, code: &Option<String>| {
            answer.is_some_and(|answer| answer.status == status && answer.code == *code && answer.says_close)
        };
        match expected {
            Expected::Forward => answer.is_some_and(|answer| answer.status == 200),
            Expected::Upgrade => answer.is_some_and(|answer| answer.status == 101),
            Expected::Refused(status, code) | Expected::Broken(Some((status, code))) => {
                is_error(*status, code) && exchange.is_closed_by_sidecar
            }
            Expected::Broken(None) => answer.is_none_or(|answer| answer.status >= 400),
            Expected::Closed => answer.is_none(),
        }
    });
    // A body that turns out to be broken was on its way already; of anything else not one byte may be.
    let may_have_begun = matches!(verdict.last(), Some(Expected::Broken(_)));
    all_as_expected && answers.next().is_none() && (may_have_begun || record.is_whole())
}

// === the dashboard ===

/// A dashboard that reads requests by itself, strictly, and remembers every byte.
struct Dashboard {
    address: SocketAddr,
    record: Arc<Mutex<Record>>,
}

#[derive(Default, Clone)]
struct Record {
    /// Every byte, as it came.
    bytes: Vec<u8>,
    requests: Vec<Received>,
    /// What no proxy should have sent.
    faults: Vec<String>,
}

/// A whole request.
#[derive(Clone)]
struct Received {
    head: Vec<u8>,
    body: Vec<u8>,
    /// Its size on the wire, and that of what followed through the socket that it opened.
    size: usize,
}

impl Dashboard {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, record) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(Record::default())));
        let shared = record.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let connection = Connection { stream, unread: Vec::new(), record: shared.clone() };
                tokio::spawn(connection.serve());
            }
        });
        Self { address, record }
    }

    fn forget(&self) {
        *self.record.lock().unwrap() = Record::default();
    }
}

impl Record {
    /// Whether there is not a byte outside of whole requests.
    fn is_whole(&self) -> bool {
        self.bytes.len() == self.requests.iter().map(|request| request.size).sum::<usize>()
    }

    /// All that the dashboard knows, in lower case: the bytes, and bodies with their chunks put together.
    fn everything(&self) -> Vec<u8> {
        let bodies = self.requests.iter().flat_map(|request| [b"\n".to_vec(), request.body.clone()]);
        std::iter::once(self.bytes.clone()).chain(bodies).collect::<Vec<_>>().concat().to_ascii_lowercase()
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "whole requests at the dashboard: {}", self.requests.len())?;
        if !self.is_whole() {
            f.write_str(", and a part of one")?;
        }
        Ok(())
    }
}

struct Connection {
    stream: TcpStream,
    unread: Vec<u8>,
    record: Arc<Mutex<Record>>,
}

impl Connection {
    async fn serve(mut self) {
        while let Some(request) = self.request().await {
            let head = String::from_utf8_lossy(&request.head).into_owned();
            self.record.lock().unwrap().requests.push(request);
            let opens_socket = head.split(' ').nth(1).is_some_and(|target| target.starts_with(SOCKET_PATH));
            if opens_socket {
                return self.open_socket().await;
            }
            if self.stream.write_all(OK).await.is_err() {
                return;
            }
        }
    }

    async fn open_socket(mut self) {
        // Whoever does not wait for the 101 has the time to say so.
        if !self.unread.is_empty() || tokio::time::timeout(SETTLE, self.fill()).await.is_ok() {
            self.fault("something came before the 101");
        }
        let _ = self.stream.write_all(SWITCHING).await;
        while self.fill().await.is_some() {
            let mut record = self.record.lock().unwrap();
            if let Some(request) = record.requests.last_mut() {
                request.size += self.unread.len();
            }
            self.unread.clear();
        }
    }

    async fn request(&mut self) -> Option<Received> {
        let head = self.until(b"\r\n\r\n").await?;
        let text = String::from_utf8_lossy(&head).to_ascii_lowercase();
        let values = |name: &str| {
            let fields = text.lines().skip(1).filter_map(|line| line.split_once(':'));
            fields.filter(|(n, _)| *n == name).map(|(_, value)| value.trim().to_owned()).collect::<Vec<_>>()
        };
        let (lengths, encodings) = (values("content-length"), values("transfer-encoding"));
        let (body, size) = match (lengths.as_slice(), encodings.as_slice()) {
            ([], []) => (Vec::new(), 0),
            ([length], []) => {
                let body = self.exactly(length.parse().ok()?).await?;
                let size = body.len();
                (body, size)
            }
            ([], [encoding]) if encoding == "chunked" => self.chunks().await?,
            _ => {
                self.fault("a body framed twice");
                return None;
            }
        };
        Some(Received { size: head.len() + size, head, body })
    }

    /// A body's bytes and its size on the wire.
    async fn chunks(&mut self) -> Option<(Vec<u8>, usize)> {
        let (mut body, mut size) = (Vec::new(), 0);
        loop {
            let line = self.until(b"\r\n").await?;
            let Ok(length) = usize::from_str_radix(&String::from_utf8_lossy(line.trim_ascii_end()), 16) else {
                self.fault("a chunk of no plain size");
                return None;
            };
            let chunk = self.exactly(length + 2).await?;
            size += line.len() + chunk.len();
            if !chunk.ends_with(b"\r\n") {
                self.fault("trailers, or a chunk without an end");
                return None;
            }
            if length == 0 {
                return Some((body, size));
            }
            body.extend_from_slice(&chunk[..length]);
        }
    }

    async fn until(&mut self, end: &[u8]) -> Option<Vec<u8>> {
        loop {
            if let Some(at) = self.unread.windows(end.len()).position(|window| window == end) {
                return Some(self.unread.drain(..at + end.len()).collect());
            }
            self.fill().await?;
        }
    }

    async fn exactly(&mut self, length: usize) -> Option<Vec<u8>> {
        while self.unread.len() < length {
            self.fill().await?;
        }
        Some(self.unread.drain(..length).collect())
    }

    /// Reads on; nothing at the end of the connection.
    async fn fill(&mut self) -> Option<()> {
        let mut buffer = vec![0; 16 * 1024];
        let read = self.stream.read(&mut buffer).await.ok().filter(|read| *read > 0)?;
        self.unread.extend_from_slice(&buffer[..read]);
        self.record.lock().unwrap().bytes.extend_from_slice(&buffer[..read]);
        Some(())
    }

    fn fault(&self, text: &str) {
        self.record.lock().unwrap().faults.push(text.to_owned());
    }
}
