//! `kyros-controller`: the controller as a process of its own.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use kyros_controller::{ProjectSettings, Projector};
use kyros_http_server::shutdown_on_signal;
use kyros_shared_config::{
    crypto::install_provider,
    telemetry::{self, LogFormat},
};

/// Makes Tenant and Dashboard resources take effect.
#[derive(Parser)]
#[command(
    version,
    after_help = "Example:
  kyros-controller project --source dir:data/manifests --metadata-db .kyros/metadata.db"
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
    /// Keep the read model equal to the resources.
    Project(ProjectSettings),
}

/// The exit code of wrong usage (`EX_USAGE` of sysexits.h).
const EX_USAGE: u8 = 64;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    install_provider();
    if let Err(error) = telemetry::start(&cli.log, cli.log_format) {
        eprintln!("kyros-controller: {error}");
        return ExitCode::from(EX_USAGE);
    }
    let Role::Project(settings) = cli.role;
    let shutdown = shutdown_on_signal();
    match Projector::start(&settings).await {
        Ok(projector) => {
            projector.run(shutdown).await;
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("kyros-controller: {error}");
            ExitCode::FAILURE
        }
    }
}
