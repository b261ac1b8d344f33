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
    /// Threads that serve. One sidecar rarely needs a second.
    #[arg(long, env = "KYROS_THREADS", default_value_t = 1, value_parser = threads, global = true)]
    threads: usize,
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

fn main() -> ExitCode {
    let cli = Cli::parse();
    // A connection takes two descriptors, and many systems start programs with 1024 of them.
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    let mut runtime = match cli.threads {
        1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    match runtime.worker_threads(cli.threads).enable_all().build() {
        Ok(runtime) => runtime.block_on(run(cli)),
        Err(error) => {
            eprintln!("{}: runtime: {error}", env!("CARGO_BIN_NAME"));
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> ExitCode {
    let Cli { logs, role, threads: _ } = cli;
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

fn threads(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|threads| (1..=256).contains(threads)).ok_or_else(|| "a number from 1 to 256".to_owned())
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
