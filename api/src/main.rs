//! `kyros-api`: the API as a process of its own.

use std::process::ExitCode;

use clap::Parser;
use kyros_api::{Api, ApiSettings};
use kyros_http_server::{admin::serve_admin, shutdown_on_signal};
use kyros_shared_config::{
    crypto::install_provider,
    telemetry::{self, LogFormat},
};
use tokio::net::TcpListener;

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
    /// What is logged, as a `tracing` filter.
    #[arg(long, env = "KYROS_LOG", default_value = "info")]
    log: String,
    /// How log lines look.
    #[arg(long, env = "KYROS_LOG_FORMAT", value_enum, default_value = "auto")]
    log_format: LogFormat,
    #[command(flatten)]
    settings: ApiSettings,
}

/// The exit code of wrong usage (`EX_USAGE` of sysexits.h).
const EX_USAGE: u8 = 64;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    install_provider();
    if let Err(error) = telemetry::start(&cli.log, cli.log_format) {
        eprintln!("kyros-api: {error}");
        return ExitCode::from(EX_USAGE);
    }
    match run(&cli.settings).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kyros-api: {error}");
            ExitCode::FAILURE
        }
    }
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
