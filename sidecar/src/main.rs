//! `kyros-sidecar`: the sidecar of one dashboard, or the gateway in front of all.

use std::{process::ExitCode, sync::Arc};

use clap::{Parser, Subcommand};
use kyros_http_server::shutdown_on_signal;
use kyros_shared_config::{
    crypto::install_provider,
    telemetry::{self, LogFormat},
};
use kyros_sidecar::{Gateway, GatewaySettings, Listeners, Sidecar, SidecarSettings};
use tokio::net::TcpListener;

/// Validates and injects the tenant token for the life of every connection.
#[derive(Parser)]
#[command(
    version,
    after_help = "Examples:
  kyros-sidecar sidecar --dashboard clv --issuer http://kyros.localhost:8080 --jwks jwks.json
  kyros-sidecar gateway --public-url http://kyros.localhost:8080 --api-upstream api:8080 --routes 'kyros-{dashboard}:4180'"
)]
struct Cli {
    /// What is logged, as a `tracing` filter.
    #[arg(long, env = "KYROS_LOG", default_value = "info", global = true)]
    log: String,
    /// How log lines look.
    #[arg(long, env = "KYROS_LOG_FORMAT", value_enum, default_value = "auto", global = true)]
    log_format: LogFormat,
    #[command(subcommand)]
    role: Role,
}

#[derive(Subcommand)]
enum Role {
    /// Guard one dashboard.
    Sidecar(Box<SidecarSettings>),
    /// Route hosts to sidecars and the portal.
    Gateway(GatewaySettings),
}

/// The exit code of wrong usage (`EX_USAGE` of sysexits.h).
const EX_USAGE: u8 = 64;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    install_provider();
    if let Err(error) = telemetry::start(&cli.log, cli.log_format) {
        eprintln!("kyros-sidecar: {error}");
        return ExitCode::from(EX_USAGE);
    }
    let ended = match cli.role {
        Role::Sidecar(settings) => run_sidecar(*settings).await,
        Role::Gateway(settings) => run_gateway(settings).await,
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kyros-sidecar: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run_sidecar(settings: SidecarSettings) -> Result<(), Box<dyn std::error::Error>> {
    let listeners = Listeners::bind(&settings).await?;
    tracing::info!(listen = %listeners.public.local_addr()?, dashboard = %settings.dashboard, "guarding");
    Arc::new(Sidecar::new(settings)?).serve(listeners, shutdown_on_signal()).await;
    Ok(())
}

async fn run_gateway(settings: GatewaySettings) -> Result<(), Box<dyn std::error::Error>> {
    let listener = TcpListener::bind(settings.listen).await?;
    tracing::info!(listen = %listener.local_addr()?, public_url = %settings.public_url, "routing");
    Gateway::serve(settings, listener, shutdown_on_signal()).await?;
    Ok(())
}
