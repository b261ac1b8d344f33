//! What only the sidecar can ask the dashboard, which listens on loopback: the kubelet's probes in its place, and whether the
//! dashboard can be reached around the sidecar.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use http::{Request, header};
use tokio::net::TcpStream;

use crate::{
    SidecarSettings,
    bodies::{Body, never},
    settings::{ProbeTarget, UpstreamAddress},
    upstream::Upstream,
};

/// How long a dashboard may take to answer; the kubelet's own time-out is usually shorter.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How often the pod's own address is tried.
const EXPOSURE_EVERY: Duration = Duration::from_secs(1);
/// An address of this machine that answers at all answers at once.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);

/// Asks on loopback what a probe of the kubelet would ask the pod's address: success is a connection, or a status from 200 to
/// 399.
pub(crate) async fn ask(target: ProbeTarget, upstream: UpstreamAddress) -> Result<(), String> {
    let address = target.port.map_or(upstream, |port| UpstreamAddress::Tcp(format!("127.0.0.1:{port}")));
    let Some(path) = target.path else {
        return address.connect().await.map(drop).map_err(|error| format!("connecting to {address}: {error}"));
    };
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = path.clone().into();
    let host = match &address {
        UpstreamAddress::Tcp(authority) => {
            header::HeaderValue::from_str(authority).map_err(|error| error.to_string())?
        }
        UpstreamAddress::Unix(_) => header::HeaderValue::from_static("localhost"),
    };
    request.headers_mut().insert(header::HOST, host);
    let answer = Upstream::new(address, TIMEOUT).send(request, Instant::now(), never).await;
    match answer.map(|answer| answer.response) {
        Ok(answer) if answer.status().is_success() || answer.status().is_redirection() => Ok(()),
        Ok(answer) => Err(format!("GET {path}: status {}", answer.status().as_u16())),
        Err(refusal) => Err(format!("GET {path}: {}", refusal.code)),
    }
}

/// Whether the dashboard answers on the pod's own address.
#[derive(Clone)]
pub(crate) struct Exposure {
    address: SocketAddr,
    /// Until it has been looked at, the worst is assumed.
    is_exposed: Arc<AtomicBool>,
}

impl Exposure {
    /// Something to watch, where the pod's address is known and is not loopback itself.
    pub(crate) fn of(settings: &SidecarSettings) -> Option<Self> {
        let ip: IpAddr = settings.pod_ip.filter(|ip| !ip.is_loopback())?;
        let address = SocketAddr::new(ip, settings.upstream.port()?);
        Some(Self { address, is_exposed: Arc::new(AtomicBool::new(true)) })
    }

    pub(crate) fn is_exposed(&self) -> bool {
        self.is_exposed.load(Ordering::Acquire)
    }

    /// Tries the address for ever: a dashboard may open it at any time.
    pub(crate) async fn watch(self) {
        loop {
            // Only a refusal proves that nobody listens; a full queue or no descriptors prove nothing.
            let refused = std::io::ErrorKind::ConnectionRefused;
            let is_closed = connect(self.address).await.is_err_and(|error| error.kind() == refused);
            let was_exposed = self.is_exposed.swap(!is_closed, Ordering::AcqRel);
            if !is_closed && !was_exposed {
                tracing::error!(address = %self.address, "the dashboard answers around its sidecar");
            }
            tokio::time::sleep(EXPOSURE_EVERY).await;
        }
    }
}

async fn connect(address: SocketAddr) -> std::io::Result<()> {
    match tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
        Ok(connected) => connected.map(drop),
        Err(_) => Err(std::io::ErrorKind::TimedOut.into()),
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;

    /// A server that answers every connection with one status.
    async fn server(status: &'static str) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut buffer = [0; 1024];
                let _ = stream.read(&mut buffer).await;
                let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        port
    }

    #[tokio::test]
    async fn a_probe_tells_well_from_unwell() {
        let own: UpstreamAddress = "127.0.0.1:1".parse().unwrap();
        let ask = |text: String| ask(text.parse().unwrap(), own.clone());
        let (well, away, ill) = (server("200 OK").await, server("302 Found").await, server("500 Oh").await);
        assert_eq!(ask(format!("{well}/up")).await, Ok(()));
        assert_eq!(ask(format!("{away}/up")).await, Ok(()));
        assert_eq!(ask(format!("{ill}/up")).await, Err("GET /up: status 500".into()));
        assert_eq!(ask(ill.to_string()).await, Ok(()), "a connection is enough");
        let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        assert!(ask(gone.to_string()).await.is_err());
        assert!(ask(format!("{gone}/")).await.is_err());
    }

    #[tokio::test]
    async fn a_dashboard_that_answers_elsewhere_is_seen() {
        // 127.0.0.2 stands for a pod's address: another one than the dashboard should listen on.
        let listener = TcpListener::bind("127.0.0.2:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let exposure = Exposure { address, is_exposed: Arc::new(AtomicBool::new(true)) };
        assert!(exposure.is_exposed(), "the worst is assumed");
        assert!(connect(address).await.is_ok());
        drop(listener);
        let watch = tokio::spawn(exposure.clone().watch());
        while exposure.is_exposed() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        watch.abort();
    }
}
