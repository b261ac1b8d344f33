//! `kyros-risk`: the risk analysis dashboard as a process of its own.

use std::process::ExitCode;

use clap::Parser;
use kyros_dashboard_kit::{DashboardSettings, DataClient, serve};
use kyros_http_server::shutdown_on_signal;
use kyros_shared_config::{
    crypto::install_provider,
    telemetry::{self, LogFormat},
};
use tokio::net::TcpListener;

/// The risk analysis dashboard. It answers only through a Kyros sidecar.
#[derive(Parser)]
#[command(
    version,
    after_help = "Example:
  kyros-risk --listen 127.0.0.1:8050 --api-url http://127.0.0.1:4181"
)]
struct Cli {
    /// What is logged, as a `tracing` filter.
    #[arg(long, env = "KYROS_LOG", default_value = "info")]
    log: String,
    #[command(flatten)]
    settings: DashboardSettings,
}

/// The exit code of wrong usage (`EX_USAGE` of sysexits.h).
const EX_USAGE: u8 = 64;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    install_provider();
    if let Err(error) = telemetry::start(&cli.log, LogFormat::Auto) {
        eprintln!("kyros-risk: {error}");
        return ExitCode::from(EX_USAGE);
    }
    match run(cli.settings).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kyros-risk: {error}");
            ExitCode::from(EX_USAGE)
        }
    }
}

async fn run(settings: DashboardSettings) -> Result<(), Box<dyn std::error::Error>> {
    let listener = TcpListener::bind(settings.listen).await?;
    let router = kyros_risk::router(DataClient::new(settings.api_url)?);
    tracing::info!(listen = %listener.local_addr()?, "serving");
    serve(listener, router, shutdown_on_signal()).await;
    Ok(())
}
