//! The processes of a benchmark's own, and the one thread on which load is made and answered.

use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Subcommand;
use tokio::{io::AsyncReadExt as _, signal::unix::SignalKind};

use super::{
    data::{import, import::ImportPartArgs, peer, peer::PolarsArgs},
    sidecar::{pass_through, pass_through::PassThroughArgs, upstream, upstream::UpstreamArgs},
};

/// The processes of the benchmarks' own.
#[derive(Debug, Clone, Subcommand)]
pub enum PartCommand {
    /// Answers everything.
    Upstream(UpstreamArgs),
    /// Passes everything through.
    PassThrough(PassThroughArgs),
    /// Runs queries with Polars and nothing around it.
    Polars(PolarsArgs),
    /// Imports a file once and says how long it took.
    Import(ImportPartArgs),
}

/// Runs a part.
pub(super) async fn run(part: PartCommand) -> anyhow::Result<()> {
    match part {
        PartCommand::Upstream(arguments) => until_left(async move || upstream::serve(arguments).await).await,
        PartCommand::PassThrough(arguments) => until_left(async move || pass_through::serve(arguments).await).await,
        PartCommand::Polars(arguments) => tokio::task::block_in_place(|| peer::serve(&arguments)),
        PartCommand::Import(arguments) => tokio::task::block_in_place(|| import::once(&arguments)),
    }
}

/// Serves on one thread, until nobody holds the other end of the standard input any more.
async fn until_left(serve: impl AsyncFnOnce() -> anyhow::Result<()> + Send + 'static) -> anyhow::Result<()> {
    on_one_thread(async move || {
        let (mut input, mut nothing) = (tokio::io::stdin(), Vec::new());
        tokio::select! {
            ended = serve() => ended,
            ended = input.read_to_end(&mut nothing) => Ok(ended.map(drop)?),
        }
    })
    .await
}

/// Measures on one thread, until it is done or somebody interrupts it: processes and files of the run go away with it.
pub(super) async fn measure_on_one_thread(
    measure: impl AsyncFnOnce() -> anyhow::Result<()> + Send + 'static,
) -> anyhow::Result<()> {
    if cfg!(debug_assertions) {
        eprintln!("kyros: not an optimised build, its figures mean nothing: cargo build --release --workspace --bins");
    }
    on_one_thread(async move || {
        tokio::select! {
            ended = measure() => ended,
            ended = interrupted() => ended.and_then(|()| bail!("interrupted")),
        }
    })
    .await
}

/// The load and our own proxies have one thread each, and so one CPU's worth of everything.
async fn on_one_thread(run: impl AsyncFnOnce() -> anyhow::Result<()> + Send + 'static) -> anyhow::Result<()> {
    let (done, ended) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let result = runtime.context("no runtime").and_then(|runtime| {
            let result = runtime.block_on(run());
            // A read of standard input cannot be called off.
            runtime.shutdown_background();
            result
        });
        // Nobody listens only if the program is ending anyway.
        let _ = done.send(result);
    });
    ended.await.context("the thread ended")?
}

async fn interrupted() -> anyhow::Result<()> {
    let mut terminate = tokio::signal::unix::signal(SignalKind::terminate())?;
    tokio::select! {
        pressed = tokio::signal::ctrl_c() => Ok(pressed?),
        _ = terminate.recv() => Ok(()),
    }
}

/// A whole number of seconds or milliseconds.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?}: write a number and s or ms, such as 1s");
    let parse = |digits: &str| digits.parse().ok().filter(|number| *number > 0).ok_or_else(wrong);
    match (text.strip_suffix("ms"), text.strip_suffix('s')) {
        (Some(digits), _) => parse(digits).map(Duration::from_millis),
        (None, Some(digits)) => parse(digits).map(Duration::from_secs),
        (None, None) => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_is_seconds_or_milliseconds() {
        assert_eq!(duration("1s"), Ok(Duration::from_secs(1)));
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        for bad in ["", "1", "s", "0s", "-1s", "1.5s", "1m"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
