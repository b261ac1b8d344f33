//! Where an upstream listens, and connecting to it.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use kyros_http_server::Stream;
use thiserror::Error;
use tokio::net::{TcpStream, UnixStream};

/// Loopback answers at once or not at all; what is slow is a full queue before a Unix socket.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// How soon a full queue is tried again: about as long as a slow dashboard takes to accept one connection.
const QUEUE_RETRY: Duration = Duration::from_millis(5);

/// Where a dashboard listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum UpstreamAddress {
    /// `host:port`.
    Tcp(String),
    /// A socket file.
    Unix(PathBuf),
}

/// Why a text is no address of an upstream.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0:?}: write host:port, or unix:PATH with an absolute path of at most 107 bytes")]
pub struct UpstreamAddressError(String);

impl FromStr for UpstreamAddress {
    type Err = UpstreamAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || UpstreamAddressError(text.to_owned());
        if let Some(path) = text.strip_prefix("unix:") {
            // 108 bytes with a NUL at the end: `sockaddr_un`, unix(7).
            return if path.starts_with('/') && path.len() < 108 { Ok(Self::Unix(path.into())) } else { Err(wrong()) };
        }
        let authority: http::uri::Authority = text.parse().map_err(|_| wrong())?;
        let is_plain = authority.port_u16().is_some_and(|port| port > 0) && !text.contains('@');
        if is_plain { Ok(Self::Tcp(text.to_owned())) } else { Err(wrong()) }
    }
}

impl fmt::Display for UpstreamAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => f.write_str(address),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl UpstreamAddress {
    /// The port, where there is one.
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::Tcp(address) => address.rsplit_once(':')?.1.parse().ok(),
            Self::Unix(_) => None,
        }
    }

    /// Connects, within a second.
    pub(crate) async fn connect(&self) -> io::Result<Stream> {
        let connecting = async {
            match self {
                Self::Tcp(address) => TcpStream::connect(address).await.map(Stream::of_tcp),
                Self::Unix(path) => connect_to_socket(path).await.map(Stream::Unix),
            }
        };
        tokio::time::timeout(CONNECT_TIMEOUT, connecting).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }
}

/// The kernel lets nobody wait where a socket's queue is full, as it does with TCP: it says so at once, and a dashboard that
/// is slow to accept would look like one that is not there.
async fn connect_to_socket(path: &Path) -> io::Result<UnixStream> {
    loop {
        match UnixStream::connect(path).await {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => tokio::time::sleep(QUEUE_RETRY).await,
            connected => return connected,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use futures_util::future::join_all;
    use kyros_shared_config::crypto::random_id;
    use tokio::net::UnixSocket;

    use super::*;

    #[test]
    fn an_upstream_is_a_port_or_a_socket() {
        for good in ["127.0.0.1:8050", "localhost:1", "[::1]:80", "unix:/run/dashboard/app.sock"] {
            assert_eq!(good.parse::<UpstreamAddress>().unwrap().to_string(), good);
        }
        let long = format!("unix:/{}", "a".repeat(107));
        for bad in ["", "localhost", "unix:", "unix:app.sock", "http://a:1", "a@b:1", "a:0", "a:b", &long] {
            assert!(bad.parse::<UpstreamAddress>().is_err(), "{bad}");
        }
        assert_eq!("localhost:81".parse::<UpstreamAddress>().unwrap().port(), Some(81));
        assert_eq!("unix:/a".parse::<UpstreamAddress>().unwrap().port(), None);
    }

    /// A socket before which one connection can wait.
    fn narrow() -> (tokio::net::UnixListener, PathBuf) {
        let path = std::env::temp_dir().join(format!("kyros-{}.sock", random_id()));
        let socket = UnixSocket::new_stream().unwrap();
        socket.bind(&path).unwrap();
        (socket.listen(1).unwrap(), path)
    }

    #[tokio::test]
    async fn a_dashboard_that_is_slow_to_accept_on_its_socket_is_waited_for() {
        let (listener, path) = narrow();
        let accepting = tokio::spawn(async move {
            let mut accepted = Vec::new();
            loop {
                accepted.push(listener.accept().await.unwrap());
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        let address = UpstreamAddress::Unix(path.clone());
        let connected = join_all((0..20).map(|_| address.connect())).await;
        accepting.abort();
        std::fs::remove_file(path).unwrap();
        let failed: Vec<_> = connected.iter().filter_map(|connected| connected.as_ref().err()).collect();
        assert!(failed.is_empty(), "{failed:?}");
    }

    #[tokio::test]
    async fn a_dashboard_that_never_accepts_is_given_up() {
        let (listener, path) = narrow();
        let address = UpstreamAddress::Unix(path.clone());
        let begun = Instant::now();
        let connected = join_all((0..10).map(|_| address.connect())).await;
        drop(listener);
        std::fs::remove_file(path).unwrap();
        let failed: Vec<_> = connected.into_iter().filter_map(Result::err).map(|error| error.kind()).collect();
        assert!(!failed.is_empty() && failed.iter().all(|kind| *kind == io::ErrorKind::TimedOut), "{failed:?}");
        assert!(begun.elapsed() < Duration::from_secs(10));
    }
}
