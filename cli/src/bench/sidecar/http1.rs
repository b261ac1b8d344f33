//! The load's side of HTTP/1.1: requests written once, answers read with as little work as possible.

use std::net::SocketAddr;

use anyhow::{Context as _, bail};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// Holds any answer's head and all of a short body; a thousand clients have one each.
const BUFFER_BYTES: usize = 16 * 1024;
/// Enough of a long body that reading it does not cost a call for every little.
const WIDE_BUFFER_BYTES: usize = 256 * 1024;

/// The head of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) status: u16,
    /// How many bytes come before the body.
    pub(super) body_at: usize,
    pub(super) body_bytes: u64,
    /// The other side closes the connection after it.
    pub(super) closes: bool,
}

/// Reads a head; `None` while it is not complete.
pub(super) fn parse_head(bytes: &[u8]) -> anyhow::Result<Option<Head>> {
    let (mut status, mut length, mut closes) = (None, None, false);
    let mut start = 0;
    while let Some(end) = bytes[start..].iter().position(|byte| *byte == b'\n') {
        let line = bytes[start..start + end].trim_ascii_end();
        start += end + 1;
        let Some(status) = status else {
            status = Some(status_of(line).context("not an answer in HTTP/1.1")?);
            continue;
        };
        if line.is_empty() {
            let body_bytes = match (length, status) {
                (Some(length), _) => length,
                // They have no body.
                (None, 101 | 204 | 304) => 0,
                (None, _) => bail!("an answer of status {status} without Content-Length"),
            };
            return Ok(Some(Head { status, body_at: start, body_bytes, closes }));
        }
        if let Some(value) = value_of(line, b"content-length") {
            length = Some(std::str::from_utf8(value)?.parse().context("Content-Length")?);
        } else if let Some(value) = value_of(line, b"connection") {
            closes |= value.eq_ignore_ascii_case(b"close");
        }
    }
    Ok(None)
}

fn status_of(line: &[u8]) -> Option<u16> {
    let digits = line.strip_prefix(b"HTTP/1.1 ")?.get(..3)?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

fn value_of<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (candidate, rest) = line.split_at_checked(name.len())?;
    let value = rest.strip_prefix(b":")?;
    candidate.eq_ignore_ascii_case(name).then(|| value.trim_ascii())
}

/// A GET as a browser sends it.
pub(super) fn request(host: &str, path: &str, token: Option<&str>) -> Vec<u8> {
    let authorization = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    format!(
        "GET {path} HTTP/1.1\r\n\
         Host: {host}\r\n\
         User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
         Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n\
         Accept-Language: en-GB,en;q=0.5\r\n\
         Accept-Encoding: gzip, deflate, br\r\n\
         {authorization}\
         Cookie: dashboard_session=1f0c9e7a4b5d; theme=dark\r\n\
         \r\n"
    )
    .into_bytes()
}

/// A request for a WebSocket.
pub(super) fn upgrade_request(host: &str, token: &str) -> Vec<u8> {
    format!(
        "GET /live HTTP/1.1\r\n\
         Host: {host}\r\n\
         Connection: Upgrade\r\n\
         Upgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Authorization: Bearer {token}\r\n\
         \r\n"
    )
    .into_bytes()
}

/// A connection that is kept, and made anew when the other side has said that it closes it, as some proxies do after so many
/// answers. A connection that ends without a word is a failure.
pub(super) struct Connection {
    address: SocketAddr,
    stream: Option<TcpStream>,
    buffer: Vec<u8>,
}

impl Connection {
    pub(super) async fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = Some(connect(address).await?);
        Ok(Self { address, stream, buffer: vec![0; BUFFER_BYTES] })
    }

    /// For long answers.
    pub(super) async fn open_wide(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = Some(connect(address).await?);
        Ok(Self { address, stream, buffer: vec![0; WIDE_BUFFER_BYTES] })
    }

    /// Asks and reads the whole answer.
    pub(super) async fn exchange(&mut self, request: &[u8]) -> anyhow::Result<Head> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => connect(self.address).await?,
        };
        stream.write_all(request).await?;
        let head = read_answer(&mut stream, &mut self.buffer).await?;
        self.stream = (!head.closes).then_some(stream);
        Ok(head)
    }

    /// The same, for an answer that has to be 200.
    pub(super) async fn get(&mut self, request: &[u8]) -> anyhow::Result<Head> {
        let head = self.exchange(request).await?;
        if head.status == 200 { Ok(head) } else { bail!("answered {}", head.status) }
    }

    /// Whether the other side keeps the connection and says nothing on it.
    pub(super) fn is_open(&self) -> bool {
        let mut byte = [0];
        let read = self.stream.as_ref().map(|stream| stream.try_read(&mut byte));
        read.is_some_and(|read| read.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock))
    }
}

async fn connect(address: SocketAddr) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn read_answer(stream: &mut TcpStream, buffer: &mut [u8]) -> anyhow::Result<Head> {
    let mut filled = 0;
    let head = loop {
        let read = stream.read(&mut buffer[filled..]).await?;
        if read == 0 {
            bail!("ended before its answer's head did, or that is longer than {} bytes", buffer.len());
        }
        filled += read;
        if let Some(head) = parse_head(&buffer[..filled])? {
            break head;
        }
    };
    let mut left = head.body_bytes.checked_sub((filled - head.body_at) as u64).context("more than was asked for")?;
    while left > 0 {
        let read = stream.read(buffer).await? as u64;
        if read == 0 {
            bail!("ended {left} bytes before the end of its body");
        }
        left = left.checked_sub(read).context("more than was asked for")?;
    }
    Ok(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_when_it_is_complete() {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Other: content-length: 9\r\n\r\nhello";
        let body_at = answer.len() - 5;
        let head = Head { status: 200, body_at, body_bytes: 5, closes: false };
        assert_eq!(parse_head(answer).unwrap(), Some(head));
        for end in 0..body_at {
            assert_eq!(parse_head(&answer[..end]).unwrap(), None, "{end}");
        }
    }

    #[test]
    fn a_head_says_that_the_connection_ends() {
        let head = parse_head(b"HTTP/1.1 502 Bad Gateway\r\nconnection: Close\r\ncontent-length:0\r\n\r\n").unwrap();
        assert_eq!(head.map(|head| (head.status, head.closes, head.body_bytes)), Some((502, true, 0)));
    }

    #[test]
    fn a_switch_of_protocols_has_no_body() {
        let head = parse_head(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\r\n").unwrap();
        assert_eq!(head.map(|head| (head.status, head.body_bytes)), Some((101, 0)));
    }

    #[test]
    fn what_is_not_understood_is_an_error() {
        for bad in [
            &b"HTTP/1.0 200 OK\r\n\r\n"[..],
            b"HTTP/1.1 ok\r\n\r\n",
            b"HTTP/1.1 200 OK\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
        ] {
            assert!(parse_head(bad).is_err(), "{}", String::from_utf8_lossy(bad));
        }
    }
}
