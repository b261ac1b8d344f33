//! The load's side of HTTP/1.1: requests written once, answers read with as little work as possible.

use std::net::SocketAddr;

use anyhow::{Context as _, bail, ensure};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// Holds any answer's head and all of a short body; a thousand clients have one each.
const BUFFER_BYTES: usize = 16 * 1024;
/// Enough of a long body that reading it does not cost a call for every little.
const WIDE_BUFFER_BYTES: usize = 256 * 1024;
/// A larger chunk is none: with its next digit its size would soon no longer fit.
const MAX_CHUNK_BYTES: u64 = 1 << 40;
/// The end of a line.
const CRLF_BYTES: u64 = 2;

/// The head of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) status: u16,
    /// How many bytes come before the body.
    pub(crate) body_at: usize,
    pub(crate) body: Body,
    /// The other side closes the connection after it.
    pub(crate) closes: bool,
}

/// How an answer's body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Body {
    /// After so many bytes.
    Length(u64),
    /// With a chunk of nothing.
    Chunks,
}

/// An answer, read to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body_bytes: u64,
}

/// Reads a head; `None` while it is not complete.
pub(crate) fn parse_head(bytes: &[u8]) -> anyhow::Result<Option<Head>> {
    let (mut status, mut length, mut is_chunked, mut closes) = (None, None, false, false);
    let mut start = 0;
    while let Some(end) = bytes[start..].iter().position(|byte| *byte == b'\n') {
        let line = bytes[start..start + end].trim_ascii_end();
        start += end + 1;
        let Some(status) = status else {
            status = Some(status_of(line).context("not an answer in HTTP/1.1")?);
            continue;
        };
        if line.is_empty() {
            let body = match (status, length) {
                // They have no body, whatever they say of its length.
                (101 | 204 | 304, _) => Body::Length(0),
                _ if is_chunked => Body::Chunks,
                (_, Some(length)) => Body::Length(length),
                (_, None) => bail!("an answer of status {status} whose body has no end"),
            };
            return Ok(Some(Head { status, body_at: start, body, closes }));
        }
        if let Some(value) = value_of(line, b"content-length") {
            length = Some(std::str::from_utf8(value)?.parse().context("Content-Length")?);
        } else if let Some(value) = value_of(line, b"transfer-encoding") {
            is_chunked = value.eq_ignore_ascii_case(b"chunked");
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
pub(crate) fn request(host: &str, path: &str, token: Option<&str>) -> Vec<u8> {
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
pub(crate) fn upgrade_request(host: &str, token: &str) -> Vec<u8> {
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
pub(crate) struct Connection {
    address: SocketAddr,
    stream: Option<TcpStream>,
    buffer: Vec<u8>,
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = Some(connect(address).await?);
        Ok(Self { address, stream, buffer: vec![0; BUFFER_BYTES] })
    }

    /// For long answers.
    pub(crate) async fn open_wide(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = Some(connect(address).await?);
        Ok(Self { address, stream, buffer: vec![0; WIDE_BUFFER_BYTES] })
    }

    /// Asks and reads the whole answer.
    pub(crate) async fn exchange(&mut self, request: &[u8]) -> anyhow::Result<Answer> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => connect(self.address).await?,
        };
        stream.write_all(request).await?;
        let (answer, closes) = read_answer(&mut stream, &mut self.buffer).await?;
        self.stream = (!closes).then_some(stream);
        Ok(answer)
    }

    /// The same, for an answer that has to be 200.
    pub(crate) async fn get(&mut self, request: &[u8]) -> anyhow::Result<Answer> {
        let answer = self.exchange(request).await?;
        if answer.status == 200 { Ok(answer) } else { bail!("answered {}", answer.status) }
    }

    /// Whether the other side keeps the connection and says nothing on it.
    pub(crate) fn is_open(&self) -> bool {
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

async fn read_answer(stream: &mut TcpStream, buffer: &mut [u8]) -> anyhow::Result<(Answer, bool)> {
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
    let mut rest = Rest::of(head.body);
    rest.take(&buffer[head.body_at..filled])?;
    while !rest.is_over() {
        let read = stream.read(buffer).await?;
        if read == 0 {
            bail!("ended before the end of its body");
        }
        rest.take(&buffer[..read])?;
    }
    Ok((Answer { status: head.status, body_bytes: rest.body_bytes }, head.closes))
}

/// What is still to come of an answer's body.
struct Rest {
    next: Next,
    /// Seen so far, without what stands around chunks.
    body_bytes: u64,
}

/// What the next byte is (RFC 9112, section 7.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// Of a body with a length.
    Data { left: u64 },
    /// Of the line with a chunk's size, of which so much is read; extensions and the line's end do not count.
    Size { size: u64, is_read: bool },
    /// Of a chunk; the line's end after it belongs to it.
    Chunk { left: u64 },
    /// Of the trailers, in a line that is this long so far.
    Trailer { length: usize },
    /// Of another answer.
    Over,
}

impl Rest {
    fn of(body: Body) -> Self {
        let next = match body {
            Body::Length(0) => Next::Over,
            Body::Length(left) => Next::Data { left },
            Body::Chunks => Next::Size { size: 0, is_read: false },
        };
        Self { next, body_bytes: 0 }
    }

    fn is_over(&self) -> bool {
        self.next == Next::Over
    }

    /// Goes on with these bytes, all of which must belong to the body.
    fn take(&mut self, mut bytes: &[u8]) -> anyhow::Result<()> {
        while let Some((first, others)) = bytes.split_first() {
            match &mut self.next {
                Next::Data { left } => {
                    let taken = (bytes.len() as u64).min(*left);
                    self.body_bytes += taken;
                    *left -= taken;
                    if *left == 0 {
                        self.next = Next::Over;
                    }
                    bytes = &bytes[usize::try_from(taken)?..];
                    continue;
                }
                Next::Chunk { left } => {
                    let taken = (bytes.len() as u64).min(*left);
                    // The last two of them end the line.
                    self.body_bytes += taken.min(left.saturating_sub(CRLF_BYTES));
                    *left -= taken;
                    if *left == 0 {
                        self.next = Next::Size { size: 0, is_read: false };
                    }
                    bytes = &bytes[usize::try_from(taken)?..];
                    continue;
                }
                Next::Size { size, is_read } => match (char::from(*first).to_digit(16), first) {
                    (Some(digit), _) if !*is_read => {
                        ensure!(*size < MAX_CHUNK_BYTES, "a chunk is too large");
                        *size = *size * 16 + u64::from(digit);
                    }
                    (_, b'\n') if *size == 0 => self.next = Next::Trailer { length: 0 },
                    (_, b'\n') => self.next = Next::Chunk { left: *size + CRLF_BYTES },
                    _ => *is_read = true,
                },
                Next::Trailer { length } => match first {
                    b'\n' if *length == 0 => self.next = Next::Over,
                    b'\n' => *length = 0,
                    b'\r' => (),
                    _ => *length += 1,
                },
                Next::Over => bail!("more than was asked for"),
            }
            bytes = others;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_when_it_is_complete() {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Other: content-length: 9\r\n\r\nhello";
        let body_at = answer.len() - 5;
        let head = Head { status: 200, body_at, body: Body::Length(5), closes: false };
        assert_eq!(parse_head(answer).unwrap(), Some(head));
        for end in 0..body_at {
            assert_eq!(parse_head(&answer[..end]).unwrap(), None, "{end}");
        }
    }

    #[test]
    fn a_head_says_that_the_connection_ends() {
        let head = parse_head(b"HTTP/1.1 502 Bad Gateway\r\nconnection: Close\r\ncontent-length:0\r\n\r\n").unwrap();
        assert_eq!(head.map(|head| (head.status, head.closes, head.body)), Some((502, true, Body::Length(0))));
    }

    #[test]
    fn a_switch_of_protocols_has_no_body() {
        let head = parse_head(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\r\n").unwrap();
        assert_eq!(head.map(|head| (head.status, head.body)), Some((101, Body::Length(0))));
    }

    #[test]
    fn a_body_in_chunks_ends_where_it_ends_however_it_is_cut() {
        let head = parse_head(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n").unwrap();
        assert_eq!(head.map(|head| head.body), Some(Body::Chunks));
        let body = b"4\r\nWiki\r\n10;name=1a\r\n0123456789\r\nabcd\r\n0\r\nTrailer: 7\r\n\r\n";
        for size in 1..=body.len() {
            let mut rest = Rest::of(Body::Chunks);
            for (number, part) in body.chunks(size).enumerate() {
                assert!(!rest.is_over(), "{size}, {number}");
                rest.take(part).unwrap();
            }
            assert!(rest.is_over(), "{size}");
            assert_eq!(rest.body_bytes, 20, "{size}");
            assert!(rest.take(b"H").is_err(), "{size}");
        }
        assert!(Rest::of(Body::Chunks).take(b"ffffffffffffffff\r\n").is_err());
    }

    #[test]
    fn a_body_with_a_length_is_no_longer_than_that() {
        let mut rest = Rest::of(Body::Length(3));
        rest.take(b"ab").unwrap();
        assert!(!rest.is_over());
        assert!(rest.take(b"cd").is_err());
        assert!(Rest::of(Body::Length(0)).is_over());
    }

    #[test]
    fn what_is_not_understood_is_an_error() {
        for bad in [
            &b"HTTP/1.0 200 OK\r\n\r\n"[..],
            b"HTTP/1.1 ok\r\n\r\n",
            b"HTTP/1.1 200 OK\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
        ] {
            assert!(parse_head(bad).is_err(), "{}", String::from_utf8_lossy(bad));
        }
    }
}
