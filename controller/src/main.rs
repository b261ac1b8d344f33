//! `kyros-controller`: the controller as a process of its own.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use kyros_controller::{ProjectSettings, Projector, project::ProjectError};
use kyros_http_server::shutdown_on_signal;
use kyros_shared_config::telemetry::{LogArgs, run_program};

/// Makes Tenant and Dashboard resources take effect.
#[derive(Parser)]
#[command(
    version,
    after_help = "Example:
  kyros-controller project --source dir:data/manifests --metadata-db .kyros/metadata.db"
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
    Project(ProjectSettings),
}

#[tokio::main]
async fn main() -> ExitCode {
    let Cli { logs, role: Role::Project(settings) } = Cli::parse();
    run_program(env!("CARGO_BIN_NAME"), &logs, project(&settings)).await
}

async fn project(settings: &ProjectSettings) -> Result<(), ProjectError> {
    let shutdown = shutdown_on_signal();
    Projector::start(settings).await?.run(shutdown).await;
    Ok(())
}
