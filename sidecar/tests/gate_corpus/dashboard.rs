//! The dashboard of a case: it keeps every byte that reaches it.

use super::*;

/// A dashboard that reads requests by itself, strictly, and remembers every byte.
pub(super) struct Dashboard {
    pub(super) address: SocketAddr,
    pub(super) record: Arc<Mutex<Record>>,
}

#[derive(Default, Clone)]
pub(super) struct Record {
    /// Every byte, as it came.
    pub(super) bytes: Vec<u8>,
    pub(super) requests: Vec<Received>,
    /// What no proxy should have sent.
    pub(super) faults: Vec<String>,
}

/// A whole request.
#[derive(Clone)]
pub(super) struct Received {
    pub(super) head: Vec<u8>,
    pub(super) body: Vec<u8>,
    /// Its size on the wire, and that of what followed through the socket that it opened.
    pub(super) size: usize,
}

impl Dashboard {
    pub(super) async fn start() -> Self {
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

    pub(super) fn forget(&self) {
        *self.record.lock().unwrap() = Record::default();
    }
}

impl Record {
    /// Whether there is not a byte outside of whole requests.
    pub(super) fn is_whole(&self) -> bool {
        self.bytes.len() == self.requests.iter().map(|request| request.size).sum::<usize>()
    }

    /// All that the dashboard knows, in lower case: the bytes, and bodies with their chunks put together.
    pub(super) fn everything(&self) -> Vec<u8> {
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

pub(super) struct Connection {
    pub(super) stream: TcpStream,
    pub(super) unread: Vec<u8>,
    pub(super) record: Arc<Mutex<Record>>,
}

impl Connection {
    pub(super) async fn serve(mut self) {
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

    pub(super) async fn open_socket(mut self) {
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

    pub(super) async fn request(&mut self) -> Option<Received> {
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
    pub(super) async fn chunks(&mut self) -> Option<(Vec<u8>, usize)> {
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

    pub(super) async fn until(&mut self, end: &[u8]) -> Option<Vec<u8>> {
        loop {
            if let Some(at) = self.unread.windows(end.len()).position(|window| window == end) {
                return Some(self.unread.drain(..at + end.len()).collect());
            }
            self.fill().await?;
        }
    }

    pub(super) async fn exactly(&mut self, length: usize) -> Option<Vec<u8>> {
        while self.unread.len() < length {
            self.fill().await?;
        }
        Some(self.unread.drain(..length).collect())
    }

    /// Reads on; nothing at the end of the connection.
    pub(super) async fn fill(&mut self) -> Option<()> {
        let mut buffer = vec![0; 16 * 1024];
        let read = self.stream.read(&mut buffer).await.ok().filter(|read| *read > 0)?;
        self.unread.extend_from_slice(&buffer[..read]);
        self.record.lock().unwrap().bytes.extend_from_slice(&buffer[..read]);
        Some(())
    }

    pub(super) fn fault(&self, text: &str) {
        self.record.lock().unwrap().faults.push(text.to_owned());
    }
}
