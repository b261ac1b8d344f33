//! Raw sockets for tests: scripts for both ends, played straight and through the sidecar, and what differs.

#![allow(dead_code, reason = "each test binary uses its own part of this")]

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::{oneshot, watch},
};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::{common::Sidecar, frames::frame};

/// The key of RFC 6455, section 1.2.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
pub(crate) const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
/// Nothing in a case takes this long; whoever waits longer reports an open connection.
const CASE_LIMIT: Duration = Duration::from_secs(10);

// === what an end does and sees ===

/// What one end of a socket does once the handshake is done.
#[derive(Clone)]
pub(crate) enum Step {
    Send(Bytes),
    /// Byte by byte, each in a packet of its own.
    Dribble(Bytes),
    /// Until so many bytes have come in all, or no more will.
    Await(usize),
    /// Until the other end says that it has no more to send.
    AwaitEnd,
    Pause(Duration),
    /// Says that nothing more will be sent, and goes on reading.
    Fin,
    Reset,
}

/// How a stream came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Closed,
    Reset,
    /// This end broke it off itself.
    Own,
    StillOpen,
}

/// What one end of a socket saw.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    /// What matters of the handshake.
    head: Vec<String>,
    received: Vec<u8>,
    end: End,
}

/// Plays a script while everything that comes in is written down. `received` has come already.
async fn play(mut stream: TcpStream, received: Vec<u8>, script: &[Step]) -> (Vec<u8>, End) {
    stream.set_nodelay(true).unwrap();
    // How much has come, and whether no more will.
    let (count, mut counted) = watch::channel((received.len(), false));
    let received = Mutex::new(received);
    let played = {
        let (mut read, mut write) = stream.split();
        let reading = async {
            let mut buffer = vec![0; 64 * 1024];
            loop {
                let end = match read.read(&mut buffer).await {
                    Ok(0) => End::Closed,
                    Ok(length) => {
                        let mut received = received.lock().unwrap();
                        received.extend_from_slice(&buffer[..length]);
                        count.send_replace((received.len(), false));
                        continue;
                    }
                    Err(_) => End::Reset,
                };
                count.send_modify(|(_, ended)| *ended = true);
                return Ok(end);
            }
        };
        let acting = async {
            for step in script {
                match step {
                    // Whoever cannot write any more finds out how it ended by reading.
                    Step::Send(bytes) => drop(write.write_all(bytes).await),
                    Step::Dribble(bytes) => {
                        for byte in bytes {
                            let _ = write.write_all(&[*byte]).await;
                            tokio::task::yield_now().await;
                        }
                    }
                    Step::Await(bytes) => drop(counted.wait_for(|(count, ended)| count >= bytes || *ended).await),
                    Step::AwaitEnd => drop(counted.wait_for(|(_, ended)| *ended).await),
                    Step::Pause(pause) => tokio::time::sleep(*pause).await,
                    Step::Fin => drop(write.shutdown().await),
                    Step::Reset => return Err(()),
                }
            }
            Ok(())
        };
        tokio::time::timeout(CASE_LIMIT, async { tokio::try_join!(reading, acting) }).await
    };
    let end = match played {
        Ok(Ok((end, ()))) => end,
        Ok(Err(())) => {
            stream.set_zero_linger().unwrap();
            End::Own
        }
        Err(_) => End::StillOpen,
    };
    (received.into_inner().unwrap(), end)
}

/// Reads up to the end of a head; what came with it is the second value.
pub(crate) async fn read_head(stream: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let rest = bytes.split_off(at + 4);
            return Some((String::from_utf8_lossy(&bytes).into_owned(), rest));
        }
        match stream.read(&mut buffer).await {
            Ok(read) if read > 0 => bytes.extend_from_slice(&buffer[..read]),
            _ => return None,
        }
    }
}

/// The lines of a handshake by which two ends agree on a protocol, in one order.
fn agreed(head: &str) -> Vec<String> {
    let mut lines = head.lines();
    let mut agreed = vec![lines.next().unwrap_or_default().to_owned()];
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        let (name, value) = (name.to_ascii_lowercase(), value.trim());
        match name.as_str() {
            "connection" | "upgrade" => agreed.push(format!("{name}: {}", value.to_ascii_lowercase())),
            "origin" => agreed.push(format!("{name}: {value}")),
            _ if name.starts_with("sec-websocket-") => agreed.push(format!("{name}: {value}")),
            _ => (),
        }
    }
    agreed.sort();
    agreed
}

// === one case, and the two ways to play it ===

#[derive(Clone)]
pub(crate) struct Case {
    pub(crate) name: String,
    /// Further lines of the client's handshake.
    pub(crate) offer: &'static str,
    /// Further lines of the server's.
    pub(crate) answer: &'static str,
    /// Sent by the client in one packet with its handshake.
    pub(crate) early: Bytes,
    /// Sent by the server in one packet with its 101.
    pub(crate) with_answer: Bytes,
    pub(crate) answer_after: Duration,
    pub(crate) client: Vec<Step>,
    pub(crate) server: Vec<Step>,
    /// A reset need not arrive as one: to whoever speaks WebSocket both are an end without a Close frame (1006).
    pub(crate) is_abrupt: bool,
}

impl Case {
    pub(crate) fn new(name: impl Into<String>, client: Vec<Step>, server: Vec<Step>) -> Self {
        Self {
            name: name.into(),
            offer: "",
            answer: "",
            early: Bytes::new(),
            with_answer: Bytes::new(),
            answer_after: Duration::ZERO,
            client,
            server,
            is_abrupt: false,
        }
    }

    /// Both ends send, wait for what the other sends, and the client hangs up first.
    pub(crate) fn exchange(name: impl Into<String>, from_client: Vec<u8>, from_server: Vec<u8>) -> Self {
        let (to_client, to_server) = (from_server.len(), from_client.len());
        Self::new(
            name,
            vec![Step::Send(from_client.into()), Step::Await(to_client), Step::Fin],
            vec![Step::Send(from_server.into()), Step::Await(to_server), Step::AwaitEnd, Step::Fin],
        )
    }

    pub(crate) fn abrupt(mut self) -> Self {
        self.is_abrupt = true;
        self
    }
}

/// The same payload in a frame from either end.
pub(crate) fn both_ways(name: impl Into<String>, first: u8, payload: &[u8]) -> Case {
    Case::exchange(name, frame(first, Some(MASK), payload), frame(first, None, payload))
}

type Expected = Arc<Mutex<HashMap<String, (Case, oneshot::Sender<Seen>)>>>;

/// A server of raw bytes and a sidecar in front of it.
pub(crate) struct Bench {
    sidecar: Sidecar,
    server: SocketAddr,
    expected: Expected,
    count: AtomicUsize,
}

impl Bench {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = listener.local_addr().unwrap();
        let expected = Expected::default();
        let cases = expected.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, cases.clone()));
            }
        });
        Self { sidecar: Sidecar::start(server, &[]).await, server, expected, count: AtomicUsize::new(0) }
    }

    /// What the client and the server see when the client goes to `address`.
    async fn play(&self, address: SocketAddr, case: &Case) -> (Seen, Seen) {
        let path = format!("/{}", self.count.fetch_add(1, Ordering::Relaxed));
        let (tell, told) = oneshot::channel();
        self.expected.lock().unwrap().insert(path.clone(), (case.clone(), tell));
        let request = handshake(&path, &self.sidecar.token("acme", "clv"), case.offer);
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(&[request.as_bytes(), &case.early].concat()).await.unwrap();
        let (head, rest) = read_head(&mut stream).await.unwrap_or_else(|| panic!("{}: an answer", case.name));
        let (received, end) = play(stream, rest, &case.client).await;
        let client = Seen { head: agreed(&head), received, end };
        let mut server = told.await.unwrap();
        // The paths differ by intent.
        server.head.retain(|line| !line.starts_with("GET /"));
        (client, server)
    }

    /// Plays a case both ways; what differs, in words.
    pub(crate) async fn differences(&self, case: &Case) -> Vec<String> {
        let direct = self.play(self.server, case).await;
        let through = self.play(self.sidecar.address, case).await;
        let mut found = Vec::new();
        for (end, direct, through) in [("client", direct.0, through.0), ("server", direct.1, through.1)] {
            let mut differ = |what: &str| found.push(format!("{}: the {end} {what}", case.name));
            if direct.head != through.head {
                differ(&format!("sees another handshake: {:?} became {:?}", direct.head, through.head));
            }
            if direct.received != through.received {
                let same = direct.received.iter().zip(&through.received).take_while(|(a, b)| a == b).count();
                let (before, now) = (direct.received.len(), through.received.len());
                differ(&format!("gets {now} bytes instead of {before}, the first {same} alike"));
            }
            let is_over = |end: End| matches!(end, End::Closed | End::Reset);
            let alike = direct.end == through.end || (case.is_abrupt && is_over(direct.end) && is_over(through.end));
            if !alike || direct.end == End::StillOpen {
                differ(&format!("sees another end: {:?} became {:?}", direct.end, through.end));
            }
        }
        found
    }
}

/// Plays the server's part of whatever case the path names.
async fn serve(mut stream: TcpStream, cases: Expected) {
    let Some((head, mut rest)) = read_head(&mut stream).await else { return };
    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
    let Some((case, tell)) = cases.lock().unwrap().remove(&path) else { return };
    tokio::time::sleep(case.answer_after).await;
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = stream.try_read(&mut buffer) {
        rest.extend_from_slice(&buffer[..read]);
    }
    let is_direct = !head.to_ascii_lowercase().contains("x-kyros-tenant");
    assert!(is_direct || rest.is_empty(), "{}: bytes came before the server agreed", case.name);
    let answer = switching(&head, case.answer);
    stream.write_all(&[answer.as_bytes(), &case.with_answer].concat()).await.unwrap();
    let (received, end) = play(stream, rest, &case.server).await;
    let _ = tell.send(Seen { head: agreed(&head), received, end });
}

/// A client's handshake with a Bearer token.
pub(crate) fn handshake(path: &str, token: &str, offer: &str) -> String {
    let lines = handshake_lines();
    format!("GET {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n{lines}{offer}\r\n")
}

/// What makes a request a handshake.
pub(crate) fn handshake_lines() -> String {
    format!("Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n")
}

/// A server's answer to a handshake.
pub(crate) fn switching(request: &str, more: &str) -> String {
    let lines = request.lines().filter_map(|line| line.split_once(": "));
    let mut keys = lines.filter(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-key"));
    let accept = derive_accept_key(keys.next().map_or("", |(_, key)| key).as_bytes());
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: \
         {accept}\r\n{more}\r\n"
    )
}
