//! The developer's command: its port, its arguments, and what it is told in its environment.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    time::Duration,
};

use anyhow::bail;
use rand::RngExt as _;
use tokio::net::{TcpListener, TcpStream};

/// Ports to choose from: below those that systems hand out to outgoing connections (Linux from 32768, others from 49152), so
/// that nobody takes the port while the command restarts.
const PORTS: std::ops::Range<u16> = 20_000..30_000;
/// How many are tried.
const TRIES: usize = 50;
/// Somebody who listens on loopback answers at once.
const LOOK: Duration = Duration::from_millis(500);
/// What stands for the port in arguments.
const PLACEHOLDER: &str = "{port}";

/// What is started, and started again.
pub(super) struct Command {
    pub(super) arguments: Vec<String>,
    pub(super) port: u16,
    /// The command has a port of its own, and was not told one.
    pub(super) is_port_given: bool,
    pub(super) environment: Vec<(String, String)>,
    /// Keeps a chosen port until the first start.
    pub(super) reserved: Option<TcpListener>,
}

impl Command {
    /// Chooses a free port, or makes sure that the given one is.
    pub(super) async fn reserve(arguments: Vec<String>, port: Option<u16>) -> anyhow::Result<Self> {
        let (port, reserved) = match port {
            Some(0) => bail!("--port needs the port that the command listens on; without --port a free one is chosen"),
            Some(given) => {
                let address = SocketAddr::from((Ipv4Addr::LOCALHOST, given));
                // What is there already would be taken for the command.
                if matches!(tokio::time::timeout(LOOK, TcpStream::connect(address)).await, Ok(Ok(_))) {
                    bail!(
                        "something else listens on {address} already; stop it, or leave --port out to get a free one"
                    );
                }
                (given, None)
            }
            None => {
                let listener = free_port().await?;
                (listener.local_addr()?.port(), Some(listener))
            }
        };
        let arguments = arguments.into_iter().map(|text| text.replace(PLACEHOLDER, &port.to_string())).collect();
        Ok(Self { arguments, port, is_port_given: reserved.is_none(), environment: Vec::new(), reserved })
    }

    /// Where the sidecar expects it.
    pub(super) fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }

    /// Where to listen and where the data is, in Kyros's words as on Kubernetes, and in those that frameworks read.
    pub(super) fn with_environment(mut self, egress: SocketAddr) -> Self {
        let port = self.port.to_string();
        let host = Ipv4Addr::LOCALHOST.to_string();
        let told = [
            ("KYROS_API_URL", format!("http://{egress}")),
            ("KYROS_DASHBOARD_LISTEN", self.address().to_string()),
            ("HOST", host.clone()),
            ("PORT", port.clone()),
            ("FLASK_RUN_HOST", host.clone()),
            ("FLASK_RUN_PORT", port.clone()),
            ("GRADIO_ANALYTICS_ENABLED", "False".to_owned()),
            ("GRADIO_SERVER_NAME", host.clone()),
            ("GRADIO_SERVER_PORT", port.clone()),
            ("STREAMLIT_BROWSER_GATHER_USAGE_STATS", "false".to_owned()),
            ("STREAMLIT_SERVER_ADDRESS", host.clone()),
            ("STREAMLIT_SERVER_HEADLESS", "true".to_owned()),
            ("STREAMLIT_SERVER_PORT", port.clone()),
            ("UVICORN_HOST", host),
            ("UVICORN_PORT", port),
            // Lines appear when they are written, not when a buffer is full.
            ("PYTHONUNBUFFERED", "1".to_owned()),
        ];
        self.environment = told.map(|(name, value)| (name.to_owned(), value)).into();
        self
    }

    /// The command's name in lines and sentences: that of its program, without folders.
    pub(super) fn name(&self) -> String {
        let program = self.arguments.first().map_or("", String::as_str);
        Path::new(program).file_name().map_or_else(|| program.to_owned(), |name| name.to_string_lossy().into_owned())
    }
}

async fn free_port() -> anyhow::Result<TcpListener> {
    for _ in 0..TRIES {
        // By chance, so that two that start at once hardly meet.
        let port = rand::rng().random_range(PORTS);
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await {
            return Ok(listener);
        }
    }
    bail!("found no free port on 127.0.0.1; give one with --port")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_port_is_told_in_every_way_that_a_dashboard_may_read() {
        let arguments = ["sh", "-c", "serve --port={port} {port}"].map(str::to_owned).to_vec();
        let command = Command::reserve(arguments, None).await.unwrap();
        let port = command.port;
        assert!(PORTS.contains(&port));
        assert_eq!(command.arguments[2], format!("serve --port={port} {port}"));
        let egress = "127.0.0.1:9999".parse().unwrap();
        let command = command.with_environment(egress);
        let told = |wanted: &str| command.environment.iter().find(|(name, _)| name == wanted).map(|(_, v)| v.clone());
        assert_eq!(told("PORT"), Some(port.to_string()));
        assert_eq!(told("KYROS_DASHBOARD_LISTEN"), Some(format!("127.0.0.1:{port}")));
        assert_eq!(told("KYROS_API_URL").as_deref(), Some("http://127.0.0.1:9999"));
    }

    #[tokio::test]
    async fn a_port_that_somebody_else_listens_on_is_not_taken_for_the_commands() {
        let other = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = other.local_addr().unwrap().port();
        let refused = Command::reserve(vec!["true".into()], Some(port)).await.err().unwrap().to_string();
        assert!(refused.contains("something else listens"), "{refused}");
    }
}
