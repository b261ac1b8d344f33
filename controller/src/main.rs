//! `kyros-controller`: the controller as a process of its own.

use std::{net::SocketAddr, process::ExitCode, sync::Arc};

use clap::{Parser, Subcommand};
use kyros_controller::{
    ProjectSettings, Projector, RunSettings,
    project::ProjectError,
    run::{self, RunError},
};
use kyros_http_server::{admin::serve_admin, shutdown_on_signal};
use kyros_shared_config::telemetry::{LogArgs, healthcheck, run_program};
use tokio::net::TcpListener;
use url::Url;

/// Makes Tenant and Dashboard resources take effect.
#[derive(Parser)]
#[command(
    version,
    after_help = "Examples:
  kyros-controller project --source dir:data/manifests --metadata-db .kyros/metadata.db
  kyros-controller project --source cluster:default --metadata-db /var/lib/kyros/metadata.db
  kyros-controller run --namespace default --system-namespace kyros-system"
)]
struct Cli {
    #[command(flatten)]
    logs: LogArgs,
    #[command(subcommand)]
    role: Role,
}

#[derive(Subcommand)]
enum Role {
    /// Keep the read model equal to the resources.
    Project {
        #[command(flatten)]
        settings: ProjectSettings,
        /// Health, readiness and metrics.
        #[arg(long, env = "KYROS_ADMIN_LISTEN")]
        admin_listen: Option<SocketAddr>,
    },
    /// Make a cluster run what the resources say. Of several, one leads.
    Run(Box<RunSettings>),
    /// Ask a part whether it is well; for images that hold no other program.
    Healthcheck {
        /// Such as <http://127.0.0.1:9092/readyz>.
        url: Url,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    let Cli { logs, role } = Cli::parse();
    let name = env!("CARGO_BIN_NAME");
    match role {
        Role::Project { settings, admin_listen } => run_program(name, &logs, project(&settings, admin_listen)).await,
        Role::Run(settings) => run_program(name, &logs, lead(&settings)).await,
        Role::Healthcheck { url } => healthcheck(&url).await,
    }
}

async fn project(settings: &ProjectSettings, admin: Option<SocketAddr>) -> Result<(), Box<dyn std::error::Error>> {
    let shutdown = shutdown_on_signal();
    let metrics = Arc::default();
    if let Some(address) = admin {
        let listener =
            TcpListener::bind(address).await.map_err(|error| format!("cannot listen on {address}: {error}"))?;
        tokio::spawn(serve_admin(listener, Arc::clone(&metrics) as _, shutdown.clone()));
    }
    match Projector::start_until(settings, metrics, &shutdown).await {
        Ok(projector) => projector.run(shutdown).await,
        Err(ProjectError::Stopped) => (),
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

async fn lead(settings: &RunSettings) -> Result<(), RunError> {
    let done = run::run(settings, shutdown_on_signal()).await;
    if let Err(RunError::Lost(lost)) = &done {
        // Not an orderly end: that could wait for a write which must not happen any more.
        tracing::error!("{lost}");
        std::process::exit(1);
    }
    done
}
