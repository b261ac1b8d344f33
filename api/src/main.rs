//! `kyros-api`: the API as a process of its own.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use kyros_api::{Api, ApiSettings};
use kyros_http_server::{admin::serve_admin, shutdown_on_signal};
use kyros_shared_config::telemetry::{LogArgs, healthcheck_as, run_program};
use tokio::net::TcpListener;
use url::Url;

/// Twice as fast on group-bys as the system's allocator (docs/decisions).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Identity, token exchange, metadata, data and the portal.
#[derive(Parser)]
#[command(
    version,
    after_help = "Example:
  kyros-api --mock-people data/people.yaml --data-dir data --metadata-db .kyros/metadata.db"
)]
struct Cli {
    #[command(flatten)]
    logs: LogArgs,
    #[command(flatten)]
    settings: ApiSettings,
    #[command(subcommand)]
    tool: Option<Tool>,
}

#[derive(Subcommand)]
enum Tool {
    /// Ask a part whether it is well; for images that hold no other program.
    Healthcheck {
        /// Such as <http://127.0.0.1:9090/readyz>.
        url: Url,
        /// The `Host` to ask for, where it is not the URL's own.
        #[arg(long)]
        host: Option<String>,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    let Cli { logs, settings, tool } = Cli::parse();
    if let Some(Tool::Healthcheck { url, host }) = tool {
        return healthcheck_as(&url, host.as_deref()).await;
    }
    run_program(env!("CARGO_BIN_NAME"), &logs, run(&settings)).await
}

async fn run(settings: &ApiSettings) -> Result<(), Box<dyn std::error::Error>> {
    let listener = TcpListener::bind(settings.listen).await?;
    let admin = match settings.admin_listen {
        Some(address) => Some(TcpListener::bind(address).await?),
        None => None,
    };
    let shutdown = shutdown_on_signal();
    let api = Api::start(settings).await?;
    if let Some(admin) = admin {
        tokio::spawn(serve_admin(admin, api.operations(), shutdown.clone()));
    }
    tracing::info!(listen = %listener.local_addr()?, public_url = %settings.public_url, "serving");
    api.serve(listener, shutdown).await;
    Ok(())
}
