//! The `kyros` program.

#![deny(clippy::print_stderr, clippy::print_stdout)]

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use clap::{CommandFactory as _, Parser, Subcommand, error::ErrorKind};
use kyros::{
    bench::{self, BenchCommand},
    data::{self, DataCommand},
    dev::{self, DevArgs},
    new::{self, NewCommand},
    output::{print, say, visible},
    up::{self, UpArgs},
    validate::{self, ValidateArgs},
};
use kyros_shared_config::{
    crypto::install_provider,
    telemetry::{self, LogArgs, LogFormat},
};

/// Twice as fast on group-bys as the system's allocator (docs/decisions).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Where the help of every command has the options on logging.
const LOGGING: &str = "Logging";

/// Dashboards for many tenants, with hard isolation.
#[derive(Parser)]
#[command(
    version,
    after_help = "Examples:
  cargo kyros up
  cargo kyros new dashboard orders --framework dash
  cargo kyros dev -- python app.py
  cargo kyros validate data/manifests
  cargo kyros data import orders.csv --tenant acme --dashboard clv --dataset transactions
  cargo kyros data ls"
)]
struct Cli {
    /// What is logged: a level, or levels of single parts, such as `info,kyros_sidecar=debug`.
    #[arg(long, env = "KYROS_LOG", default_value = "warn", global = true, help_heading = LOGGING)]
    log: String,
    /// How log lines look.
    #[arg(long, env = "KYROS_LOG_FORMAT", value_enum, default_value = "auto", global = true, help_heading = LOGGING)]
    log_format: LogFormat,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run everything on this machine.
    Up(UpArgs),
    /// Run your own dashboard behind the real sidecar, with mock people and tenants.
    Dev(DevArgs),
    /// Begin something new.
    #[command(subcommand)]
    New(NewCommand),
    /// Check a folder of manifests.
    Validate(ValidateArgs),
    /// Work with tenants' data.
    #[command(subcommand)]
    Data(DataCommand),
    /// Measure this build on real parts.
    #[command(subcommand)]
    Bench(BenchCommand),
    /// Print the definitions of the custom resources as YAML, for kubectl apply.
    Crds {
        /// Write one file for each into this folder instead.
        #[arg(long)]
        output: Option<PathBuf>,
    },
    /// Print the API's `OpenAPI` document.
    Openapi,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    install_provider();
    if let Err(error) = telemetry::start(&LogArgs { log: cli.log, log_format: cli.log_format, log_filter_file: None }) {
        Cli::command().error(ErrorKind::ValueValidation, format!("--log: {error}")).exit();
    }
    match run(cli.command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => match error.downcast::<clap::Error>() {
            Ok(misuse) => misuse.exit(),
            Err(error) => {
                say(&format!("kyros: {}", plain(&format!("{error:#}"))));
                ExitCode::FAILURE
            }
        },
    }
}

/// An error may quote a file: its lines stay, and nothing else that a terminal would obey.
fn plain(text: &str) -> String {
    text.split('\n').map(visible).collect::<Vec<_>>().join("\n")
}

fn run(command: Command) -> anyhow::Result<bool> {
    match command {
        Command::Up(args) => {
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
            runtime.block_on(up::run(args))?;
            Ok(true)
        }
        Command::Dev(args) => {
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
            runtime.block_on(dev::run(args))?;
            Ok(true)
        }
        Command::New(command) => new::run(&command).map(|()| true),
        Command::Bench(command) => {
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
            runtime.block_on(bench::run(command))?;
            Ok(true)
        }
        Command::Validate(args) => validate::run(&args.dir),
        Command::Data(command) => data::run(&command).map(|()| true),
        Command::Crds { output: None } => {
            print(kyros_controller::resources::crds_yaml()?.as_bytes())?;
            Ok(true)
        }
        Command::Crds { output: Some(folder) } => {
            let context = || format!("the definitions cannot be written into {}", folder.display());
            kyros_controller::resources::write_crds(&folder).with_context(context)?;
            Ok(true)
        }
        Command::Openapi => {
            print(format!("{}\n", kyros_api::openapi_document()).as_bytes())?;
            Ok(true)
        }
    }
}
