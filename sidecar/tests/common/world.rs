//! A scripted API and a dashboard whose answers do not end, with a sidecar between them.

#![allow(dead_code, reason = "each test binary uses its own part of this")]

use std::{
    collections::HashMap,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Frame, Incoming};
use kyros_http_server::{BoxError, Limits};
use kyros_shared_config::{
    Issuer, Revocation,
    clock::unix_now,
    crypto::{install_provider, random_id},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf, ReadHalf},
    },
    sync::watch,
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use crate::{
    common::{ISSUER, Sidecar, tenant_token},
    frames::{BINARY, FIN, TEXT, frame},
    sockets::{handshake_lines, read_head, switching},
};

const WORKLOAD: &str = "workload-token";
/// How often the dashboard sends something on whatever is open.
const TICK: Duration = Duration::from_millis(50);

// === who asks ===

/// By what a request is authorised, and for which tenant's host.
#[derive(Clone)]
pub(crate) enum Who {
    Cookie { handle: String, tenant: String },
    Bearer { token: String, tenant: String },
}

impl Who {
    /// The lines of a request's head that say it, as a page of the dashboard itself would send them.
    fn lines(&self) -> String {
        let host = |tenant: &str| {
            let host = format!("clv--{tenant}.kyros.localhost:8080");
            format!("Host: {host}\r\nOrigin: http://{host}\r\n")
        };
        match self {
            Self::Cookie { handle, tenant } => format!("{}Cookie: kyros-app={handle}\r\n", host(tenant)),
            Self::Bearer { token, tenant } => format!("{}Authorization: Bearer {token}\r\n", host(tenant)),
        }
    }
}

// === the API ===

/// What the API does at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Serving,
    /// It takes requests and answers none; streams fall silent.
    Silent,
    /// Only tokens are not answered.
    NoTokens,
    /// Only streams are refused.
    NoStreams,
}

/// An app session as the API keeps it.
struct AppSession {
    sid: String,
    tenant: String,
    /// How long the next tokens live, in seconds; the last of them is for all that follow.
    lives: Vec<i64>,
    ended: bool,
}

pub(crate) struct Api {
    address: SocketAddr,
    signer: Mutex<Arc<Issuer>>,
    published: Mutex<String>,
    sessions: Mutex<HashMap<String, AppSession>>,
    events: watch::Sender<Vec<Revocation>>,
    restarts: watch::Sender<usize>,
    mode: watch::Sender<Mode>,
    pub(crate) key_fetches: AtomicUsize,
    pub(crate) renewals: AtomicUsize,
    /// What each stream said that it had seen last.
    pub(crate) resumed: Mutex<Vec<Option<String>>>,
}

type ApiBody = StreamBody<std::pin::Pin<Box<dyn Stream<Item = Result<Frame<Bytes>, BoxError>> + Send>>>;

impl Api {
    async fn start() -> Arc<Self> {
        install_provider();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = Issuer::generate(ISSUER).unwrap();
        let api = Arc::new(Self {
            address: listener.local_addr().unwrap(),
            published: Mutex::new(issuer.jwks()),
            signer: Mutex::new(Arc::new(issuer)),
            sessions: Mutex::default(),
            events: watch::channel(Vec::new()).0,
            restarts: watch::channel(0).0,
            mode: watch::channel(Mode::Serving).0,
            key_fetches: AtomicUsize::new(0),
            renewals: AtomicUsize::new(0),
            resumed: Mutex::default(),
        });
        let answering = api.clone();
        let service = move |request, _| answering.clone().answer(request);
        tokio::spawn(kyros_http_server::serve(listener, Limits::default(), service, CancellationToken::new()));
        api
    }

    /// A session that has begun, by its cookie. Its tokens live so many seconds each.
    pub(crate) fn session(&self, sid: &str, tenant: &str, lives: &[i64]) -> Who {
        let (handle, lives) = (random_id(), lives.to_vec());
        let session = AppSession { sid: sid.to_owned(), tenant: tenant.to_owned(), lives, ended: false };
        self.sessions.lock().unwrap().insert(handle.clone(), session);
        Who::Cookie { handle, tenant: tenant.to_owned() }
    }

    /// A fresh token under the key of the moment.
    pub(crate) fn bearer(&self, sid: &str, tenant: &str) -> Who {
        Who::Bearer { token: self.token(sid, tenant, 300), tenant: tenant.to_owned() }
    }

    fn token(&self, sid: &str, tenant: &str, seconds: i64) -> String {
        let signer = self.signer.lock().unwrap().clone();
        tenant_token(&signer, sid, (tenant, "clv"), unix_now() + seconds)
    }

    /// Ends a session for good and says so.
    pub(crate) fn end(&self, sid: &str) {
        let mut sessions = self.sessions.lock().unwrap();
        sessions.values_mut().filter(|session| session.sid == sid).for_each(|session| session.ended = true);
        self.say(Revocation::Session { sid: sid.to_owned() });
    }

    /// Ends all of a tenant's sessions.
    pub(crate) fn shut(&self, tenant: &str) {
        let mut sessions = self.sessions.lock().unwrap();
        sessions.values_mut().filter(|session| session.tenant == tenant).for_each(|session| session.ended = true);
        self.say(Revocation::Scope { at: unix_now(), tenant: tenant.parse().unwrap(), dashboard: None });
    }

    /// Adds an event to the stream of revocations.
    pub(crate) fn say(&self, event: Revocation) {
        self.events.send_modify(|events| events.push(event));
    }

    pub(crate) fn set_mode(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// Drops every stream.
    pub(crate) fn restart(&self) {
        self.restarts.send_modify(|count| *count += 1);
    }

    /// Signs with this key from now on.
    pub(crate) fn sign_with(&self, issuer: &Arc<Issuer>) {
        *self.signer.lock().unwrap() = issuer.clone();
    }

    pub(crate) fn signer(&self) -> Arc<Issuer> {
        self.signer.lock().unwrap().clone()
    }

    /// Publishes these keys and no others.
    pub(crate) fn publish(&self, issuers: &[&Arc<Issuer>]) {
        let keys: Vec<serde_json::Value> = issuers
            .iter()
            .map(|issuer| serde_json::from_str::<serde_json::Value>(&issuer.jwks()).unwrap()["keys"][0].clone())
            .collect();
        *self.published.lock().unwrap() = serde_json::json!({ "keys": keys }).to_string();
    }

    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Response<ApiBody> {
        let mode = *self.mode.borrow();
        if mode == Mode::Silent {
            std::future::pending::<()>().await;
        }
        let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let is_known = header("authorization") == Some(format!("Bearer {WORKLOAD}"));
        match (request.method(), request.uri().path()) {
            (&Method::GET, "/.well-known/jwks.json") => {
                self.key_fetches.fetch_add(1, Ordering::SeqCst);
                whole(StatusCode::OK, self.published.lock().unwrap().clone())
            }
            (&Method::GET, "/internal/sealing-key") if is_known => {
                whole(StatusCode::OK, serde_json::json!({ "key": "00".repeat(32) }).to_string())
            }
            (&Method::GET, "/internal/revocations") if is_known && mode == Mode::NoStreams => {
                whole(StatusCode::SERVICE_UNAVAILABLE, String::new())
            }
            (&Method::GET, "/internal/revocations") if is_known => {
                let last = header("last-event-id");
                self.resumed.lock().unwrap().push(last.clone());
                let position = last.and_then(|id| id.parse().ok()).unwrap_or(0);
                Response::new(StreamBody::new(Follower::new(self.clone(), position).into_stream().boxed()))
            }
            (&Method::GET, path) if path.starts_with("/api/data/") => {
                let pieces = stream::unfold((), async |()| {
                    tokio::time::sleep(TICK).await;
                    Some((Ok(Frame::data(Bytes::from_static(b"tick"))), ()))
                });
                Response::new(StreamBody::new(pieces.boxed()))
            }
            (&Method::POST, "/oauth/token") => {
                if mode == Mode::NoTokens {
                    std::future::pending::<()>().await;
                }
                let form = request.into_body().collect().await.unwrap().to_bytes();
                self.renew(&url::form_urlencoded::parse(&form).into_owned().collect())
            }
            _ => whole(StatusCode::NOT_FOUND, String::new()),
        }
    }

    fn renew(&self, form: &HashMap<String, String>) -> Response<ApiBody> {
        self.renewals.fetch_add(1, Ordering::SeqCst);
        if form.get("client_assertion").map(String::as_str) != Some(WORKLOAD) || form["grant_type"] != "refresh_token" {
            return whole(StatusCode::UNAUTHORIZED, serde_json::json!({ "error": "invalid_client" }).to_string());
        }
        let mut sessions = self.sessions.lock().unwrap();
        let Some(session) = sessions.get_mut(&form["refresh_token"]).filter(|session| !session.ended) else {
            return whole(StatusCode::BAD_REQUEST, serde_json::json!({ "error": "invalid_grant" }).to_string());
        };
        let life = if session.lives.len() > 1 { session.lives.remove(0) } else { session.lives[0] };
        let token = self.token(&session.sid, &session.tenant, life);
        // One tenant lets a site of its own frame its dashboards.
        let framing = if session.tenant == "globex" { vec!["https://intranet.globex.example"] } else { vec![] };
        let answer = serde_json::json!({
            "frame_ancestors": framing,
            "access_token": token, "token_type": "Bearer", "expires_in": life, "refresh_expires_in": 3600,
        });
        whole(StatusCode::OK, answer.to_string())
    }
}

fn whole(status: StatusCode, text: String) -> Response<ApiBody> {
    let frames = stream::iter([Ok(Frame::data(Bytes::from(text)))]).boxed();
    let mut response = Response::new(StreamBody::new(frames as _));
    *response.status_mut() = status;
    response
}

/// One stream of revocations.
struct Follower {
    api: Arc<Api>,
    position: usize,
    is_current: bool,
    events: watch::Receiver<Vec<Revocation>>,
    restarts: watch::Receiver<usize>,
    mode: watch::Receiver<Mode>,
}

impl Follower {
    fn new(api: Arc<Api>, position: usize) -> Self {
        let (events, restarts, mode) = (api.events.subscribe(), api.restarts.subscribe(), api.mode.subscribe());
        Self { api, position, is_current: false, events, restarts, mode }
    }

    fn into_stream(self) -> impl Stream<Item = Result<Frame<Bytes>, BoxError>> {
        stream::unfold(self, async |mut follower| {
            let text = follower.next().await;
            Some((text.map(|text| Frame::data(Bytes::from(text))).ok_or_else(|| "restarted".into()), follower))
        })
    }

    /// The next event's text; `None` when the API restarts.
    async fn next(&mut self) -> Option<String> {
        loop {
            let _ = self.mode.wait_for(|mode| *mode != Mode::Silent).await;
            let event = self.events.borrow_and_update().get(self.position).cloned();
            if let Some(event) = event {
                self.position += 1;
                let data = serde_json::to_string(&event).unwrap();
                return Some(format!("id: {}\nevent: revocation\ndata: {data}\n\n", self.position));
            }
            if !std::mem::replace(&mut self.is_current, true) {
                return Some(format!("id: {}\nevent: current\ndata: {{}}\n\n", self.position));
            }
            tokio::select! {
                _ = self.events.changed() => (),
                _ = self.restarts.changed() => return None,
                () = tokio::time::sleep(Duration::from_secs(5)) => return Some(": alive\n\n".to_owned()),
            }
        }
    }
}

// === the dashboard ===

/// What a connection is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Socket,
    /// A socket on which the dashboard sends as fast as it can.
    Flood,
    Events,
    Download,
    /// The dashboard reads slowly and does not answer.
    Upload,
    /// The dashboard does not answer.
    Wait,
}

/// What the dashboard has seen of a session.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Served {
    /// Bytes of uploads read.
    pub(crate) uploaded: usize,
    pub(crate) begun: usize,
    pub(crate) ended: usize,
}

type Book = Arc<Mutex<HashMap<String, Served>>>;

async fn dashboard(book: Book) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, book.clone()));
        }
    });
    address
}

async fn serve(mut stream: TcpStream, book: Book) {
    while let Some((head, _)) = read_head(&mut stream).await {
        let line = |name: &str| {
            let lines = head.lines().filter_map(|line| line.split_once(": "));
            lines.filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned()).next()
        };
        let session = line("x-kyros-session").unwrap_or_default();
        let note = |write: fn(&mut Served, usize), bytes| {
            write(book.lock().unwrap().entry(session.clone()).or_default(), bytes);
        };
        let kind = match head.split(' ').nth(1).unwrap_or_default() {
            "/socket" => Kind::Socket,
            "/flood" => Kind::Flood,
            "/events" => Kind::Events,
            "/download" => Kind::Download,
            "/upload" => Kind::Upload,
            "/wait" => Kind::Wait,
            _ => {
                // What the dashboard was shown, so that a test can tell tokens apart.
                let token = line("authorization").unwrap_or_default();
                let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{token}", token.len());
                let _ = stream.write_all(answer.as_bytes()).await;
                continue;
            }
        };
        note(|served, count| served.begun += count, 1);
        go_on(&mut stream, kind, &head, |bytes| note(|served, bytes| served.uploaded += bytes, bytes)).await;
        note(|served, count| served.ended += count, 1);
        return;
    }
}

/// Goes on until the connection ends.
async fn go_on(stream: &mut TcpStream, kind: Kind, head: &str, uploaded: impl Fn(usize)) {
    let (mut read, mut write) = stream.split();
    let (begin, piece, pause) = match kind {
        Kind::Socket => (switching(head, ""), frame(FIN | TEXT, None, b"tick"), TICK),
        Kind::Flood => (switching(head, ""), frame(FIN | BINARY, None, &vec![0; 60 * 1024]), Duration::from_millis(1)),
        Kind::Events => {
            let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
            (head.to_owned(), b"c\r\ndata: tick\n\n\r\n".to_vec(), TICK)
        }
        Kind::Download => {
            let head = "HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n";
            (head.to_owned(), vec![b'd'; 64 * 1024], Duration::from_millis(5))
        }
        Kind::Upload => {
            let mut buffer = [0; 1024];
            while let Ok(read @ 1..) = read.read(&mut buffer).await {
                uploaded(read);
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            return;
        }
        Kind::Wait => return until_it_ends(&mut read).await,
    };
    if write.write_all(begin.as_bytes()).await.is_err() {
        return;
    }
    let sending = async {
        while write.write_all(&piece).await.is_ok() {
            tokio::time::sleep(pause).await;
        }
    };
    tokio::select! {
        () = sending => (),
        () = until_it_ends(&mut read) => (),
    }
}

async fn until_it_ends(read: &mut ReadHalf<'_>) {
    let mut buffer = [0; 1024];
    while let Ok(1..) = read.read(&mut buffer).await {}
}

// === the client ===

/// A connection that is open, read and written down as long as it is.
pub(crate) struct Live {
    received: Arc<Mutex<Vec<u8>>>,
    reading: JoinHandle<()>,
    /// Kept open; an upload is written to it.
    writing: JoinHandle<OwnedWriteHalf>,
}

impl Live {
    fn new(stream: TcpStream, kind: Kind) -> Self {
        let (read, write) = stream.into_split();
        let received = Arc::new(Mutex::new(Vec::new()));
        let reading = tokio::spawn(write_down(read, received.clone()));
        let writing = tokio::spawn(async move {
            let mut write = write;
            if kind == Kind::Upload {
                while write.write_all(&[b'u'; 16 * 1024]).await.is_ok() {}
            }
            write
        });
        Self { received, reading, writing }
    }

    pub(crate) fn received(&self) -> Vec<u8> {
        self.received.lock().unwrap().clone()
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.reading.is_finished()
    }

    /// Whether it ends in this time.
    pub(crate) async fn ends_within(&mut self, limit: Duration) -> bool {
        tokio::time::timeout(limit, &mut self.reading).await.is_ok()
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.reading.abort();
        self.writing.abort();
    }
}

async fn write_down(mut read: OwnedReadHalf, received: Arc<Mutex<Vec<u8>>>) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = read.read(&mut buffer).await {
        received.lock().unwrap().extend_from_slice(&buffer[..read]);
    }
}

// === the world ===

/// An API, a dashboard, and a sidecar between them.
pub(crate) struct World {
    pub(crate) api: Arc<Api>,
    pub(crate) sidecar: Sidecar,
    /// Where the dashboard asks for data.
    pub(crate) egress: SocketAddr,
    book: Book,
    workload: PathBuf,
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::start_after(|_| ()).await
    }

    /// A world in which something happened before the sidecar was there.
    pub(crate) async fn start_after(before: impl FnOnce(&Api)) -> Self {
        Self::start_with(&[], before).await
    }

    /// The same, with more settings for the sidecar.
    pub(crate) async fn start_with(more: &[(&str, &str)], before: impl FnOnce(&Api)) -> Self {
        let api = Api::start().await;
        before(&api);
        let book = Book::default();
        let dashboard = dashboard(book.clone()).await;
        let workload = std::env::temp_dir().join(format!("kyros-workload-{}", random_id()));
        std::fs::write(&workload, WORKLOAD).unwrap();
        let base = format!("http://{}/", api.address);
        let keys = format!("{base}.well-known/jwks.json");
        // A port that was free a moment ago.
        let egress = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let egress_listen = egress.to_string();
        let settings = [
            ("KYROS_API_URL", base.as_str()),
            ("KYROS_JWKS", &keys),
            ("KYROS_WORKLOAD_TOKEN", workload.to_str().unwrap()),
            ("KYROS_PUBLIC_URL", "http://kyros.localhost:8080"),
            ("KYROS_EGRESS_LISTEN", &egress_listen),
        ];
        let sidecar = Sidecar::start(dashboard, &[&settings, more].concat()).await;
        let world = Self { api, sidecar, egress, book, workload };
        let (nobody, deadline) = (world.api.bearer("ready", "acme"), Instant::now() + Duration::from_secs(5));
        while world.get(&nobody, "/").await.0 != 200 {
            assert!(Instant::now() < deadline, "the sidecar has keys and knows what was revoked");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        world
    }

    /// What the dashboard has seen of a session.
    pub(crate) fn served(&self, sid: &str) -> Served {
        self.book.lock().unwrap().get(sid).copied().unwrap_or_default()
    }

    /// Sends the head of a request of some kind.
    pub(crate) async fn begin(&self, kind: Kind, who: &Who) -> TcpStream {
        let mut stream = TcpStream::connect(self.sidecar.address).await.unwrap();
        stream.write_all(head_of(kind, who).as_bytes()).await.unwrap();
        stream
    }

    /// Opens a connection of some kind and waits until it is in use.
    pub(crate) async fn open(&self, kind: Kind, who: &Who, sid: &str) -> Live {
        let before = self.served(sid);
        let live = Live::new(self.begin(kind, who).await, kind);
        let deadline = Instant::now() + Duration::from_secs(3);
        loop {
            let served = self.served(sid);
            let in_use = match kind {
                Kind::Upload => served.uploaded > before.uploaded,
                Kind::Wait => served.begun > before.begun,
                _ => live.received().windows(4).any(|window| window == b"tick" || window == b"dddd"),
            };
            if in_use {
                return live;
            }
            let received = live.received();
            assert!(Instant::now() < deadline, "{kind:?} is open: {}", String::from_utf8_lossy(&received));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// An answer of the API without end, asked for as the dashboard asks, with a header line that says for whom.
    pub(crate) async fn open_data(&self, whose: &str) -> Live {
        let mut stream = TcpStream::connect(self.egress).await.unwrap();
        stream
            .write_all(format!("GET /api/data/rows HTTP/1.1\r\nHost: egress\r\n{whose}\r\n\r\n").as_bytes())
            .await
            .unwrap();
        let live = Live::new(stream, Kind::Events);
        let deadline = Instant::now() + Duration::from_secs(3);
        while !live.received().windows(4).any(|window| window == b"tick") {
            let received = live.received();
            assert!(Instant::now() < deadline, "data comes: {}", String::from_utf8_lossy(&received));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        live
    }

    /// One request on a connection of its own: the status and the whole answer.
    pub(crate) async fn get(&self, who: &Who, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.sidecar.address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\n{}Connection: close\r\n\r\n", who.lines());
        let _ = stream.write_all(request.as_bytes()).await;
        let mut answer = Vec::new();
        let _ = tokio::time::timeout(Duration::from_secs(12), stream.read_to_end(&mut answer)).await;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        (answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0), answer)
    }
}

/// The head of a request of some kind.
pub(crate) fn head_of(kind: Kind, who: &Who) -> String {
    let lines = who.lines();
    match kind {
        Kind::Socket => format!("GET /socket HTTP/1.1\r\n{lines}{}\r\n", handshake_lines()),
        Kind::Flood => format!("GET /flood HTTP/1.1\r\n{lines}{}\r\n", handshake_lines()),
        Kind::Events => format!("GET /events HTTP/1.1\r\n{lines}\r\n"),
        Kind::Download => format!("GET /download HTTP/1.1\r\n{lines}\r\n"),
        Kind::Upload => format!("POST /upload HTTP/1.1\r\n{lines}Content-Length: 30000000\r\n\r\n"),
        Kind::Wait => format!("GET /wait HTTP/1.1\r\n{lines}\r\n"),
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.workload);
    }
}

/// A client that keeps its connection: the statuses of what it asked, counted.
pub(crate) struct Steady {
    address: SocketAddr,
    stream: Option<TcpStream>,
}

impl Steady {
    pub(crate) fn new(world: &World) -> Self {
        Self { address: world.sidecar.address, stream: None }
    }

    /// Asks for `/`; the status.
    pub(crate) async fn ask(&mut self, who: &Who) -> u16 {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => TcpStream::connect(self.address).await.unwrap(),
        };
        stream.write_all(format!("GET / HTTP/1.1\r\n{}\r\n", who.lines()).as_bytes()).await.unwrap();
        let Some((head, mut body)) = read_head(&mut stream).await else { return 0 };
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        let lines = head.lines().filter_map(|line| line.split_once(": "));
        let mut lengths = lines.filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
        let length: usize = lengths.next().and_then(|(_, length)| length.parse().ok()).unwrap_or(0);
        let mut buffer = vec![0; 16 * 1024];
        while body.len() < length {
            match stream.read(&mut buffer).await {
                Ok(read @ 1..) => body.extend_from_slice(&buffer[..read]),
                _ => return 0,
            }
        }
        // A refusal closes the connection.
        self.stream = (status == 200).then_some(stream);
        status
    }
}
