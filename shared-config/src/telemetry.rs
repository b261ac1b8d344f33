//! Logs: one line per event on standard error, for people on a terminal and as JSON elsewhere; and the frame of every
//! program around them.

use std::{
    io::IsTerminal as _,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use tracing_subscriber::{
    Registry, filter::Targets, fmt, layer::SubscriberExt as _, reload, util::SubscriberInitExt as _,
};

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
    /// What is logged: a level, or levels of single parts, such as `info,kyros_sidecar=debug`.
    #[arg(long, env = "KYROS_LOG", default_value = "info", global = true)]
    pub log: String,
    /// A file with such a filter, which counts instead while it is there; it may change at any time.
    #[arg(long, env = "KYROS_LOG_FILTER_FILE", global = true)]
    pub log_filter_file: Option<PathBuf>,
    /// How log lines look.
    #[arg(long, env = "KYROS_LOG_FORMAT", value_enum, default_value = "auto", global = true)]
    pub log_format: LogFormat,
}

/// How often the filter's file is looked at.
const FILTER_FILE_EVERY: Duration = Duration::from_secs(1);
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
    if let Err(error) = start(logs) {
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
        let client = crate::http_client(url).timeout(HEALTHCHECK_TIMEOUT).build()?;
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

/// Starts logging.
///
/// Secrets cannot reach a log line by themselves: [`crate::Secret`] has no `Debug`, and token-bearing structs derive none.
pub fn start(logs: &LogArgs) -> Result<(), String> {
    let given = parse(&logs.log)?;
    let (filter, handle) = reload::Layer::new(given.clone());
    let terminal = std::io::stderr().is_terminal();
    let json = match logs.log_format {
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
    result.map_err(|error| error.to_string())?;
    if let Some(file) = logs.log_filter_file.clone() {
        let watch = move || follow(&file, &given, &handle);
        std::thread::Builder::new().name("log-filter".to_owned()).spawn(watch).map_err(|error| error.to_string())?;
    }
    Ok(())
}

fn parse(filter: &str) -> Result<Targets, String> {
    filter.trim().parse().map_err(|error| format!("log filter {filter:?}: {error}"))
}

/// Follows the filter's file for as long as the process lives. Its authority is the file's: whoever may write it (by
/// `kubectl`, say) may decide what is logged, and no port takes such orders.
fn follow(file: &Path, given: &Targets, handle: &reload::Handle<Targets, Registry>) {
    let mut seen = None;
    loop {
        let text = std::fs::read_to_string(file).ok();
        if text != seen {
            match text.as_deref().map_or_else(|| Ok(given.clone()), parse) {
                Ok(filter) => {
                    let _ = handle.reload(filter);
                    tracing::info!(filter = text.as_deref().map_or("as at the start", str::trim), "log filter changed");
                }
                Err(error) => tracing::warn!(error, "the log filter stays as it is"),
            }
            seen = text;
        }
        std::thread::sleep(FILTER_FILE_EVERY);
    }
}
