//! A dashboard of scripted bytes, a browser that believes nothing, and the checks of what the browser got.

use std::{
    net::SocketAddr,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
};

/// The key of RFC 6455, section 1.3, and what a dashboard must answer to it.
pub(crate) const WEBSOCKET_KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
pub(crate) const WEBSOCKET_ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

// === impl Dashboard ===

/// One thing that a dashboard does with a connection.
#[derive(Clone)]
pub(crate) enum Step {
    Send(Vec<u8>),
    /// The same bytes so many times, or until the sidecar has had enough.
    Flood(Vec<u8>, usize),
    /// In milliseconds.
    Pause(u64),
    /// Reads the request's body.
    ReadBody,
    /// Reads and says nothing until the sidecar leaves.
    Hang,
    /// Neither reads nor writes ever again.
    Stall,
    Close,
    /// Closes with RST instead of FIN.
    Reset,
}

pub(crate) fn send(bytes: impl AsRef<[u8]>) -> Step {
    Step::Send(bytes.as_ref().to_vec())
}

/// A whole answer of two bytes with these further header lines.
pub(crate) fn ok(lines: &str) -> Step {
    send(format!("HTTP/1.1 200 OK\r\n{lines}Content-Length: 2\r\n\r\nok"))
}

/// A request as the dashboard saw it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// Counted from 0, in the order of `accept`.
    pub(crate) connection: usize,
    /// Which request of its connection.
    pub(crate) nth: usize,
    pub(crate) path: String,
    pub(crate) head: String,
}

pub(crate) trait Wire: AsyncRead + AsyncWrite + Unpin + Send {
    fn reset_on_drop(&self) {}
}
impl Wire for TcpStream {
    fn reset_on_drop(&self) {
        let _ = self.set_zero_linger();
    }
}
impl Wire for UnixStream {}

enum Door {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// A listening dashboard that does not answer yet.
pub(crate) struct Dashboard {
    door: Door,
    /// What `KYROS_UPSTREAM` says.
    pub(crate) address: String,
}

/// What there is to know about a dashboard that answers.
#[derive(Clone, Default)]
pub(crate) struct Record {
    seen: Arc<Mutex<Vec<Seen>>>,
    open: Arc<AtomicUsize>,
}

impl Record {
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// How often a path was asked for.
    pub(crate) fn count(&self, path: &str) -> usize {
        self.seen().iter().filter(|seen| seen.path == path).count()
    }

    /// Whether the sidecar leaves all connections within so many milliseconds.
    pub(crate) async fn is_left_alone_within(&self, milliseconds: u64) -> bool {
        let deadline = Instant::now() + Duration::from_millis(milliseconds);
        while self.open.load(Ordering::SeqCst) > 0 {
            if Instant::now() > deadline {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        true
    }
}

impl Dashboard {
    pub(crate) async fn on_tcp() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        Self { door: Door::Tcp(listener), address }
    }

    pub(crate) fn on_socket(path: &Path) -> Self {
        Self {
            door: Door::Unix(UnixListener::bind(path).unwrap()),
            address: format!("unix:{}", path.to_str().unwrap()),
        }
    }

    /// The port, or the one that dashboards usually have.
    pub(crate) fn port(&self) -> u16 {
        self.address.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).unwrap_or(8050)
    }

    /// Answers every request with the steps that `script` finds for it.
    pub(crate) fn serve(self, script: impl Fn(&Seen) -> Vec<Step> + Send + Sync + 'static) -> Record {
        let (record, script) = (Record::default(), Arc::new(script));
        let told = record.clone();
        tokio::spawn(async move {
            for connection in 0.. {
                let wire: Box<dyn Wire> = match &self.door {
                    Door::Tcp(listener) => Box::new(listener.accept().await.unwrap().0),
                    Door::Unix(listener) => Box::new(listener.accept().await.unwrap().0),
                };
                let (record, script) = (record.clone(), script.clone());
                tokio::spawn(async move {
                    record.open.fetch_add(1, Ordering::SeqCst);
                    converse(wire, connection, &record, &*script).await;
                    record.open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        told
    }
}

async fn converse(
    mut wire: Box<dyn Wire>,
    connection: usize,
    record: &Record,
    script: &(dyn Fn(&Seen) -> Vec<Step> + Sync),
) {
    let mut buffer = Vec::new();
    for nth in 0.. {
        let Some(end) = fill_until_head(&mut wire, &mut buffer).await else { return };
        let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
        buffer.drain(..end);
        let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
        let seen = Seen { connection, nth, path, head };
        record.seen.lock().unwrap().push(seen.clone());
        for step in script(&seen) {
            if !perform(step, &mut wire, &mut buffer, &seen).await {
                return;
            }
        }
    }
}

/// False when the connection is over.
async fn perform(step: Step, wire: &mut Box<dyn Wire>, buffer: &mut Vec<u8>, seen: &Seen) -> bool {
    match step {
        Step::Send(bytes) => wire.write_all(&bytes).await.is_ok(),
        Step::Flood(bytes, times) => {
            // Written together, or a flood of small pieces would take its time.
            let at_once = (32 * 1024 / bytes.len()).clamp(1, times);
            let (many, rest) = (bytes.repeat(at_once), bytes.repeat(times % at_once));
            for _ in 0..times / at_once {
                if wire.write_all(&many).await.is_err() {
                    return false;
                }
            }
            wire.write_all(&rest).await.is_ok()
        }
        Step::Pause(milliseconds) => {
            tokio::time::sleep(Duration::from_millis(milliseconds)).await;
            true
        }
        Step::ReadBody => {
            let lengths = seen.head.to_ascii_lowercase();
            let length = lengths.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()?.parse().ok());
            let length: usize = length.unwrap_or(0);
            while buffer.len() < length {
                if !matches!(wire.read_buf(buffer).await, Ok(read) if read > 0) {
                    return false;
                }
            }
            buffer.drain(..length);
            true
        }
        Step::Hang => {
            while matches!(wire.read_buf(buffer).await, Ok(read) if read > 0) {
                buffer.clear();
            }
            false
        }
        Step::Stall => std::future::pending().await,
        Step::Close => false,
        Step::Reset => {
            wire.reset_on_drop();
            false
        }
    }
}

async fn fill_until_head(wire: &mut Box<dyn Wire>, buffer: &mut Vec<u8>) -> Option<usize> {
    loop {
        if let Some(end) = find(buffer, b"\r\n\r\n") {
            return Some(end + 4);
        }
        if wire.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

// === impl Ask ===

/// What the browser asks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ask {
    Get,
    Head,
    /// With a body of five bytes.
    Post,
    /// A person opens a page.
    Navigate,
    WebSocket,
}

impl Ask {
    /// The request's bytes. All but sockets close after the answer, so that whatever follows it comes to light.
    pub(crate) fn bytes(self, path: &str, token: &str) -> Vec<u8> {
        let method = match self {
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Get | Self::Navigate | Self::WebSocket => "GET",
        };
        let own = match self {
            Self::Get | Self::Head => "Connection: close\r\n\r\n".to_owned(),
            Self::Post => "Connection: close\r\nContent-Length: 5\r\n\r\nhello".to_owned(),
            Self::Navigate => "Connection: close\r\nSec-Fetch-Mode: navigate\r\nAccept: text/html\r\n\r\n".to_owned(),
            Self::WebSocket => format!(
                "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                 Sec-WebSocket-Key: {WEBSOCKET_KEY}\r\n\r\n"
            ),
        };
        format!("{method} {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n{own}").into_bytes()
    }
}

// === impl Answer ===

/// How an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// All that its head promised came.
    Whole,
    /// The connection was closed too early.
    Cut,
    /// The browser lost its patience.
    Held,
}

/// An answer as it came over the wire.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) ending: Ending,
    /// What came after the answer's end.
    pub(crate) excess: Vec<u8>,
    /// Interim answers before it.
    pub(crate) interim: usize,
    pub(crate) trailers: Vec<u8>,
    pub(crate) raw: Vec<u8>,
    pub(crate) took: Duration,
}

/// Sends a request and reads until the sidecar closes, at most for so long.
pub(crate) async fn ask(address: SocketAddr, ask: Ask, path: &str, token: &str, patience: Duration) -> Answer {
    let began = Instant::now();
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(&ask.bytes(path, token)).await.unwrap();
    let mut raw = Vec::new();
    let closed = tokio::time::timeout(patience, stream.read_to_end(&mut raw)).await.is_ok();
    Answer::parse(raw, ask == Ask::Head, closed, began.elapsed())
}

impl Answer {
    pub(crate) fn parse(raw: Vec<u8>, is_head: bool, closed: bool, took: Duration) -> Self {
        let early_end = if closed { Ending::Cut } else { Ending::Held };
        let mut answer = Self {
            status: 0,
            fields: Vec::new(),
            body: Vec::new(),
            ending: early_end,
            excess: Vec::new(),
            interim: 0,
            trailers: Vec::new(),
            raw: Vec::new(),
            took,
        };
        let mut rest = raw.as_slice();
        while let Some(end) = find(rest, b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&rest[..end]).into_owned();
            rest = &rest[end + 4..];
            let mut lines = head.split("\r\n");
            answer.status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).unwrap_or(0);
            if (100..200).contains(&answer.status) && answer.status != 101 {
                answer.interim += 1;
                continue;
            }
            let field = |line: &str| line.split_once(": ").map(|(name, value)| (name.to_owned(), value.to_owned()));
            answer.fields = lines.map(|line| field(line).unwrap_or_else(|| (line.to_owned(), String::new()))).collect();
            answer.read_body(rest, is_head, early_end);
            break;
        }
        answer.raw = raw;
        answer
    }

    fn read_body(&mut self, mut rest: &[u8], is_head: bool, early_end: Ending) {
        let length = self.values("content-length").next().and_then(|length| length.parse::<usize>().ok());
        self.ending = Ending::Whole;
        if is_head || matches!(self.status, 204 | 304) {
            self.excess = rest.to_vec();
        } else if self.status == 101 {
            self.body = rest.to_vec();
        } else if self.values("transfer-encoding").next().is_some() {
            while let Some(end) = find(rest, b"\r\n") {
                let size = usize::from_str_radix(&String::from_utf8_lossy(&rest[..end]), 16);
                rest = &rest[end + 2..];
                match size {
                    Ok(0) => {
                        // No trailers may come: the empty line follows at once.
                        let end = find(rest, b"\r\n").unwrap_or(rest.len());
                        self.trailers = rest[..end].to_vec();
                        self.excess = rest.get(end + 2..).unwrap_or_default().to_vec();
                        return;
                    }
                    Ok(size) if rest.len() >= size + 2 => {
                        self.body.extend_from_slice(&rest[..size]);
                        rest = &rest[size + 2..];
                    }
                    _ => break,
                }
            }
            self.ending = early_end;
        } else if let Some(length) = length {
            self.body = rest[..length.min(rest.len())].to_vec();
            self.excess = rest[self.body.len()..].to_vec();
            if self.body.len() < length {
                self.ending = early_end;
            }
        } else {
            self.body = rest.to_vec();
            self.ending = if early_end == Ending::Held { Ending::Held } else { Ending::Whole };
        }
    }

    /// The values of a field, line by line.
    pub(crate) fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.fields.iter().filter(move |(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// Whether the connection was closed without a byte.
    pub(crate) fn is_nothing(&self) -> bool {
        self.raw.is_empty() && self.ending == Ending::Cut
    }

    /// Whether these bytes are in it anywhere, in whatever case.
    pub(crate) fn holds(&self, text: &str) -> bool {
        find(&self.raw.to_ascii_lowercase(), text.to_ascii_lowercase().as_bytes()).is_some()
    }

    /// In a few lines.
    pub(crate) fn summary(&self) -> String {
        let head: String = self.fields.iter().map(|(name, value)| format!("{name}: {value}; ")).collect();
        let shorten = |text: &str| text.chars().take(400).collect::<String>();
        format!(
            "status {}, {:?} after {:?}, {} body bytes {:?}, {} excess bytes; {}",
            self.status,
            self.ending,
            self.took,
            self.body.len(),
            shorten(&String::from_utf8_lossy(&self.body[..self.body.len().min(60)])),
            self.excess.len(),
            shorten(&head)
        )
    }
}

// === impl Check ===

/// What an answer must be.
pub(crate) enum Check {
    Status(u16),
    /// A refusal of the sidecar's own: the code of its problem document.
    Code(&'static str),
    /// The whole body.
    Body(Vec<u8>),
    /// The body ends before its head says so.
    Cut,
    /// The connection is closed without a byte, which browsers show as an error too.
    Nothing,
    /// One line of this field has exactly this value.
    Has(&'static str, String),
    /// No line of this field has exactly this value.
    HasNot(&'static str, String),
    /// The field has exactly these lines, in this order.
    Lines(&'static str, Vec<&'static str>),
    Lacks(&'static str),
    /// These bytes are nowhere in the answer.
    Never(&'static str),
    /// It ends within so many milliseconds.
    Within(u64),
    /// At least one of these sets holds.
    Any(Vec<Vec<Check>>),
}

pub(crate) fn body(bytes: impl AsRef<[u8]>) -> Check {
    Check::Body(bytes.as_ref().to_vec())
}

pub(crate) fn has(name: &'static str, value: impl Into<String>) -> Check {
    Check::Has(name, value.into())
}

impl Check {
    /// What is wrong, if anything.
    pub(crate) fn fault(&self, answer: &Answer) -> Option<String> {
        let (is_met, wanted) = match self {
            Self::Status(status) => (answer.status == *status, format!("status {status}")),
            Self::Code(code) => {
                let kind = format!("\"urn:kyros:problem:{code}\"");
                (
                    answer.ending == Ending::Whole && find(&answer.body, kind.as_bytes()).is_some(),
                    format!("code {code}"),
                )
            }
            Self::Body(bytes) => {
                let is_met = answer.ending == Ending::Whole && answer.body == *bytes;
                (is_met, format!("a whole body of {} bytes", bytes.len()))
            }
            Self::Cut => (answer.ending == Ending::Cut, "a body that is cut off".to_owned()),
            Self::Nothing => (answer.is_nothing(), "nothing".to_owned()),
            Self::Has(name, value) => (answer.values(name).any(|own| own == value), format!("{name}: {value}")),
            Self::HasNot(name, value) => (answer.values(name).all(|own| own != value), format!("not {name}: {value}")),
            Self::Lines(name, lines) => {
                (answer.values(name).eq(lines.iter().copied()), format!("{name} with exactly {lines:?}"))
            }
            Self::Lacks(name) => (answer.values(name).next().is_none(), format!("no {name}")),
            Self::Never(text) => (!answer.holds(text), format!("nowhere {text:?}")),
            Self::Within(milliseconds) => {
                (answer.took < Duration::from_millis(*milliseconds), format!("an end within {milliseconds} ms"))
            }
            Self::Any(sets) => {
                let is_met = sets.iter().any(|set| set.iter().all(|check| check.fault(answer).is_none()));
                let faults: Vec<Vec<String>> =
                    sets.iter().map(|set| set.iter().filter_map(|check| check.fault(answer)).collect()).collect();
                (is_met, format!("one of {faults:?}"))
            }
        };
        (!is_met).then_some(wanted)
    }
}

/// What must be true of every answer, whatever the dashboard did.
pub(crate) fn always(answer: &Answer) -> Vec<String> {
    let mut faults = Vec::new();
    if answer.is_nothing() {
        return faults;
    }
    let mut must = |is_met: bool, wanted: &str| {
        if !is_met {
            faults.push(wanted.to_owned());
        }
    };
    let count = |name: &str| answer.values(name).count();
    must(answer.status != 0, "an answer at all");
    must(answer.excess.is_empty(), "nothing after the answer's end");
    must(answer.trailers.is_empty(), "no trailers");
    must(answer.interim == 0, "no interim answers");
    must(answer.ending != Ending::Held, "an end");
    must(count("content-length") <= 1, "at most one Content-Length");
    must(answer.values("content-length").all(|value| value.bytes().all(|b| b.is_ascii_digit())), "a plain length");
    must(count("content-length") + count("transfer-encoding") <= 1, "one way of framing");
    must(answer.values("transfer-encoding").all(|value| value == "chunked"), "no coding but chunked");
    must(count("x-request-id") == 1, "exactly one X-Request-Id");
    must(!answer.fields.iter().any(|(name, _)| name.starts_with("x-kyros-")), "no X-Kyros-*");
    for hop in ["keep-alive", "proxy-authenticate", "proxy-connection", "te", "trailer"] {
        must(count(hop) == 0, hop);
    }
    if answer.status != 101 {
        must(count("upgrade") == 0, "no Upgrade");
        must(answer.values("connection").all(|value| value == "close"), "no Connection but close");
        must(answer.values("cache-control").any(|value| value.contains("private") || value == "no-store"), "private");
    }
    faults
}
