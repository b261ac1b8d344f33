//! A dashboard as a server on loopback.

use std::net::SocketAddr;

use axum::Router;
use clap::Args;
use kyros_http_server::{Limits, serve_router};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use url::Url;

/// What a dashboard is told at the start.
#[derive(Debug, Clone, Args)]
pub struct DashboardSettings {
    /// Where the sidecar reaches this dashboard; never anything but loopback.
    #[arg(long, env = "KYROS_DASHBOARD_LISTEN", default_value = "127.0.0.1:8050")]
    pub listen: SocketAddr,

    /// The data API: the sidecar's egress.
    #[arg(long, env = "KYROS_API_URL")]
    pub api_url: Url,
}

/// Serves until `shutdown`.
pub async fn serve(listener: TcpListener, router: Router, shutdown: CancellationToken) {
    serve_router(listener, Limits::default(), router, shutdown).await;
}
