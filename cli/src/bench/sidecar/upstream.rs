//! The upstream: the cheapest HTTP/1.1 server that a dashboard could be, over TCP and a Unix socket at once.
//!
//! It understands no more than the load sends: a request has no body, and the next one comes after the answer.

use std::{net::SocketAddr, path::PathBuf};

use clap::Args;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, UnixListener},
};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// What is answered at `/large`: one GiB.
pub(super) const LARGE_PATH: &str = "/large";
pub(super) const LARGE_BYTES: u64 = 1 << 30;
/// Written at a time of it.
const CHUNK_BYTES: usize = 64 * 1024;
/// Not zeroes: pages of those would all be one page of the kernel's, and cheaper to read than any real answer.
static CHUNK: [u8; CHUNK_BYTES] = [b'k'; CHUNK_BYTES];

/// The answer to everything else: 128 bytes.
const SMALL: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 128\r\n\r\n\
    kyroskyroskyroskyroskyroskyroskyroskyroskyroskyroskyroskyroskyro\
    kyroskyroskyroskyroskyroskyroskyroskyroskyroskyroskyroskyroskyro";
/// A longer request ends its connection.
const MAX_HEAD_BYTES: usize = 64 * 1024;

/// Where the upstream listens.
#[derive(Debug, Clone, Args)]
pub struct UpstreamArgs {
    /// Over TCP.
    #[arg(long)]
    pub listen: SocketAddr,
    /// Over a Unix socket.
    #[arg(long)]
    pub unix: PathBuf,
}

/// What a request wants.
#[derive(Debug, PartialEq, Eq)]
enum Wanted<'a> {
    Small,
    Large,
    /// A WebSocket with this key.
    Socket(&'a [u8]),
}

/// Serves for as long as the process lives.
pub(crate) async fn serve(arguments: UpstreamArgs) -> anyhow::Result<()> {
    let tcp = TcpListener::bind(arguments.listen).await?;
    let unix = UnixListener::bind(&arguments.unix)?;
    loop {
        tokio::select! {
            accepted = tcp.accept() => {
                let (stream, _) = accepted?;
                stream.set_nodelay(true)?;
                tokio::spawn(converse(stream));
            }
            accepted = unix.accept() => {
                tokio::spawn(converse(accepted?.0));
            }
        }
    }
}

/// Answers until the other side goes away.
async fn converse(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> std::io::Result<()> {
    let mut buffer = vec![0; MAX_HEAD_BYTES];
    let mut filled = 0;
    while filled < buffer.len() {
        let read = stream.read(&mut buffer[filled..]).await?;
        if read == 0 {
            return Ok(());
        }
        filled += read;
        let head = &buffer[..filled];
        if !head.ends_with(b"\r\n\r\n") {
            continue;
        }
        match wanted(head) {
            Wanted::Small => stream.write_all(SMALL).await?,
            Wanted::Large => {
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {LARGE_BYTES}\r\n\r\n");
                stream.write_all(head.as_bytes()).await?;
                for _ in 0..LARGE_BYTES / CHUNK_BYTES as u64 {
                    stream.write_all(&CHUNK).await?;
                }
            }
            Wanted::Socket(key) => {
                let head = format!(
                    "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\
                     sec-websocket-accept: {}\r\n\r\n",
                    derive_accept_key(key)
                );
                stream.write_all(head.as_bytes()).await?;
                // Nothing is ever said on it: open sockets are counted, not their traffic.
                while stream.read(&mut buffer).await? > 0 {}
                return Ok(());
            }
        }
        filled = 0;
    }
    Ok(())
}

fn wanted(head: &[u8]) -> Wanted<'_> {
    const KEY: &[u8] = b"sec-websocket-key:";
    let mut lines = head.split(|byte| *byte == b'\n');
    let target = lines.next().unwrap_or_default().split(|byte| *byte == b' ').nth(1);
    if target == Some(LARGE_PATH.as_bytes()) {
        return Wanted::Large;
    }
    let key = lines.find_map(|line| {
        let (name, value) = line.split_at_checked(KEY.len())?;
        name.eq_ignore_ascii_case(KEY).then(|| value.trim_ascii())
    });
    key.map_or(Wanted::Small, Wanted::Socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_says_how_long_it_is() {
        let at = SMALL.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
        assert_eq!(SMALL.len() - at - 4, 128);
        assert_eq!(LARGE_BYTES % CHUNK_BYTES as u64, 0);
    }

    #[test]
    fn a_request_wants_one_of_three_things() {
        assert_eq!(wanted(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"), Wanted::Small);
        assert_eq!(wanted(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n"), Wanted::Large);
        let upgrade = b"GET / HTTP/1.1\r\nHost: x\r\nSec-WebSocket-Key: abc=\r\nUpgrade: websocket\r\n\r\n";
        assert_eq!(wanted(upgrade), Wanted::Socket(b"abc="));
    }
}
