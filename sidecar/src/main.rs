//! `kyros-sidecar`: the sidecar of one dashboard, or the gateway in front of all.

use std::{process::ExitCode, sync::Arc};

use clap::{Parser, Subcommand};
use kyros_http_server::shutdown_on_signal;
use kyros_shared_config::telemetry::{LogArgs, healthcheck, run_program};
use kyros_sidecar::{Gateway, GatewaySettings, Listeners, Sidecar, SidecarSettings};
use tokio::net::TcpListener;
use url::Url;

/// Validates and injects the tenant token for the life of every connection.
#[derive(Parser)]
#[command(
    version,
    after_help = "Examples:
  kyros-sidecar sidecar --dashboard clv --issuer http://kyros.localhost:8080 --jwks jwks.json
  kyros-sidecar gateway --public-url http://kyros.localhost:8080 --api-upstream api:8080 --routes 'clv=clv:15001'"
)]
struct Cli {
    #[command(flatten)]
    logs: LogArgs,
    #[command(subcommand)]
    role: Role,
}

#[derive(Subcommand)]
enum Role {
    /// Guard one dashboard.
    Sidecar(Box<SidecarSettings>),
    /// Route hosts to sidecars and the portal.
    Gateway(Box<GatewaySettings>),
    /// Ask a part whether it is well; for images that hold no other program.
    Healthcheck {
        /// Such as <http://127.0.0.1:15002/readyz>.
        url: Url,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    let Cli { logs, role } = Cli::parse();
    if let Role::Healthcheck { url } = &role {
        return healthcheck(url).await;
    }
    let run = async {
        match role {
            Role::Sidecar(settings) => run_sidecar(*settings).await,
            Role::Gateway(settings) => run_gateway(*settings).await,
            Role::Healthcheck { .. } => Ok(()),
        }
    };
    run_program(env!("CARGO_BIN_NAME"), &logs, run).await
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
