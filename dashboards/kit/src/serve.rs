//! A dashboard as a server for its sidecar, and as a whole program.

use std::process::ExitCode;

use axum::Router;
use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use kyros_http_server::{Limits, Listener, serve_router, shutdown_on_signal};
use kyros_shared_config::telemetry::{LogArgs, healthcheck, run_program};
use tokio_util::sync::CancellationToken;
use tower_http::compression::CompressionLayer;
use url::Url;

use crate::{
    DataClient,
    listen::{Bound, ListenAddress},
};

/// What a dashboard is told at the start.
#[derive(Debug, Clone, Args)]
pub struct DashboardSettings {
    /// Where the sidecar reaches this dashboard: 127.0.0.1:PORT or unix:PATH, never anything but loopback or a socket.
    #[arg(long, env = "KYROS_DASHBOARD_LISTEN", default_value = "127.0.0.1:8050")]
    pub listen: ListenAddress,

    /// The data API: the sidecar's egress.
    #[arg(long, env = "KYROS_API_URL")]
    pub api_url: Url,
}

/// Serves until `shutdown`. Answers are compressed for those who take it: an address puts into a page only what the data has, so
/// lengths tell a stranger nothing about a guess.
pub async fn serve(listener: impl Into<Listener>, router: Router, shutdown: CancellationToken) {
    // Gzip alone: the others save little on pages of this size and cost more time than they save.
    let router = router.layer(CompressionLayer::new().no_br().no_zstd());
    serve_router(listener, Limits::default(), router, shutdown).await;
}

/// A dashboard that answers only through a Kyros sidecar.
#[derive(Parser)]
#[command(after_help = "Example:
  KYROS_API_URL=http://127.0.0.1:9051 PROGRAM --listen 127.0.0.1:8051")]
struct Cli {
    #[command(flatten)]
    logs: LogArgs,
    #[command(flatten)]
    settings: DashboardSettings,
}

#[derive(Subcommand)]
enum Tool {
    /// Ask a part whether it is well; for images that hold no other program.
    Healthcheck {
        /// Such as <http://127.0.0.1:8050/assets/kit.css>.
        url: Url,
    },
}

/// The whole program of a dashboard: settings, logs, listener, an orderly end.
pub async fn run(name: &'static str, version: &'static str, router: fn(DataClient) -> Router) -> ExitCode {
    let command = Tool::augment_subcommands(Cli::command()).subcommand_required(false).subcommand_negates_reqs(true);
    let matches = command.name(name).version(version).get_matches();
    if let Ok(Tool::Healthcheck { url }) = Tool::from_arg_matches(&matches) {
        return healthcheck(&url).await;
    }
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let main = async {
        let router = router(DataClient::new(cli.settings.api_url)?);
        let Bound { listener, address, file } = cli.settings.listen.bind().await?;
        tracing::info!(listen = %address, "serving");
        let shutdown = shutdown_on_signal();
        let stopping = shutdown.clone();
        // Now, and not after the last answer: by then the next program may have put its own socket there.
        let remove_file = async {
            stopping.cancelled().await;
            drop(file);
        };
        tokio::join!(serve(listener, router, shutdown), remove_file);
        Ok::<_, Box<dyn std::error::Error>>(())
    };
    run_program(name, &cli.logs, main).await
}
