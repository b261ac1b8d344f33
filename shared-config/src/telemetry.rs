//! Logs: one line per event on standard error, for people on a terminal and as JSON elsewhere; and the frame of every
//! program around them.

use std::{io::IsTerminal as _, process::ExitCode, time::Duration};

use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt as _, util::SubscriberInitExt as _};

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// Lines for people.
    Text,
    /// One JSON object per line.
    Json,
}

/// The flags by which every program is told what to log.
#[derive(Debug, Clone, clap::Args)]
pub struct LogArgs {
    /// What is logged, as a `tracing` filter.
    #[arg(long, env = "KYROS_LOG", default_value = "info", global = true)]
    pub log: String,
    /// How log lines look.
    #[arg(long, env = "KYROS_LOG_FORMAT", value_enum, default_value = "auto", global = true)]
    pub log_format: LogFormat,
}

/// A part that does not answer in this time is not well.
const HEALTHCHECK_TIMEOUT: Duration = Duration::from_secs(3);
/// The exit code of wrong usage (`EX_USAGE` of sysexits.h).
const EX_USAGE: u8 = 64;

/// The frame of every program: the cryptographic provider, logs, then `main`; an error is one line and an exit code.
pub async fn run_program<E: std::fmt::Display>(
    name: &str,
    logs: &LogArgs,
    main: impl Future<Output = Result<(), E>>,
) -> ExitCode {
    crate::crypto::install_provider();
    if let Err(error) = start(&logs.log, logs.log_format) {
        eprintln!("{name}: {error}");
        return ExitCode::from(EX_USAGE);
    }
    match main.await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{name}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Asks a part whether it is well, for health checks in images that hold no other program: success is status 200.
pub async fn healthcheck(url: &url::Url) -> ExitCode {
    healthcheck_as(url, None).await
}

/// The same with another `Host`, as for the gateway, which serves only the public URL's names.
pub async fn healthcheck_as(url: &url::Url, host: Option<&str>) -> ExitCode {
    crate::crypto::install_provider();
    let answer = async {
        let client = reqwest::Client::builder().timeout(HEALTHCHECK_TIMEOUT).build()?;
        let request = host.into_iter().fold(client.get(url.clone()), |get, host| get.header(http::header::HOST, host));
        let response = request.send().await?;
        Ok::<_, reqwest::Error>((response.status(), response.text().await?))
    };
    match answer.await {
        Ok((http::StatusCode::OK, _)) => ExitCode::SUCCESS,
        Ok((status, body)) => {
            eprintln!("{url}: {status}: {}", body.trim());
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("{url}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Starts logging. `filter` is a `tracing` filter such as `info` or `kyros_sidecar=debug`.
///
/// Secrets cannot reach a log line by themselves: [`crate::Secret`] has no `Debug`, and token-bearing structs derive none.
pub fn start(filter: &str, format: LogFormat) -> Result<(), String> {
    let filter = EnvFilter::try_new(filter).map_err(|error| format!("log filter {filter:?}: {error}"))?;
    let terminal = std::io::stderr().is_terminal();
    let json = match format {
        LogFormat::Auto => !terminal,
        LogFormat::Text => false,
        LogFormat::Json => true,
    };
    let registry = tracing_subscriber::registry().with(filter);
    let result = if json {
        registry.with(fmt::layer().json().flatten_event(true).with_writer(std::io::stderr)).try_init()
    } else {
        registry.with(fmt::layer().with_ansi(terminal).with_target(false).with_writer(std::io::stderr)).try_init()
    };
    result.map_err(|error| error.to_string())
}
