//! What is measured on one sidecar alone: its start, its memory, a token's first request, its size.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};

use super::{keys::Keys, starter::Starter, targets::Target};
use crate::bench::{
    Figure,
    cluster::Process,
    http1::{self, Connection},
    load::micros,
    percentile,
    processes::{free_address, until_answered},
    signatures::Signatures,
};

const STARTS: usize = 20;
const TOKENS: usize = 200;
const SIGNATURES: u32 = 1_000;
const CLIENTS: usize = 1_000;
/// What a process does of its own accord after a change is over by then; idle clients are not yet sent away.
const SETTLED: Duration = Duration::from_secs(1);

/// A fresh sidecar that has answered once.
fn fresh(starter: &Starter, keys: &Keys, upstream: SocketAddr) -> anyhow::Result<(Process, Target, Duration)> {
    let target = Target::own("sidecar", free_address()?, Vec::new());
    let request = target.request("/", &keys.token()?)?;
    let (begun, mut process) = starter.sidecar(target.address, &upstream.to_string())?;
    let answered = until_answered(&mut process.0, target.address, &request).context("the sidecar")?;
    Ok((process, target, answered - begun))
}

/// From the start of the process until the first 200.
pub(super) fn start(starter: &Starter, keys: &Keys, upstream: SocketAddr) -> anyhow::Result<Figure> {
    let mut took = Vec::new();
    for _ in 0..STARTS {
        took.push(fresh(starter, keys, upstream)?.2);
    }
    let most = took.iter().max().copied().unwrap_or_default();
    let median = percentile(&mut took, 50).unwrap_or_default();
    let seen = format!("{:.1} ms (median of {STARTS}), {:.1} ms at most", millis(median), millis(most));
    Ok(Figure::new("start to the first answered request", seen, "≤ 10 ms"))
}

/// How much longer a request takes with a token that the sidecar has not seen.
pub(super) async fn unseen_token(sidecar: &Target, keys: &Keys) -> anyhow::Result<Figure> {
    let mut connection = Connection::open(sidecar.address).await?;
    connection.get(&sidecar.request("/", &keys.token()?)?).await?;
    let requests = (0..TOKENS).map(|_| sidecar.request("/", &keys.token()?)).collect::<anyhow::Result<Vec<_>>>()?;
    let mut more_nanos = Vec::new();
    for request in &requests {
        let begun = Instant::now();
        connection.get(request).await?;
        let unseen = begun.elapsed();
        let begun = Instant::now();
        connection.get(request).await?;
        let seen = begun.elapsed();
        more_nanos.push(i64::try_from(unseen.as_nanos())? - i64::try_from(seen.as_nanos())?);
    }
    let mut at = |percent| percentile(&mut more_nanos, percent).unwrap_or_default() as f64 / 1e3;
    let alone = Signatures::new()?.verify(SIGNATURES)?.as_secs_f64() * 1e6 / f64::from(SIGNATURES);
    let seen = format!(
        "{:.0} µs more (median of {TOKENS}), {:.0} µs at the 99th percentile; its signature alone {alone:.0} µs",
        at(50),
        at(99)
    );
    Ok(Figure::new("first request with an unseen token", seen, "≤ 100 µs"))
}

/// Resident memory of a fresh sidecar each: with nobody there, with idle clients, with open sockets.
pub(super) async fn memory(starter: &Starter, keys: &Keys, upstream: SocketAddr) -> anyhow::Result<Vec<Figure>> {
    let mut figures = Vec::new();
    let (process, ..) = fresh(starter, keys, upstream)?;
    figures.push(resident(&process, "memory, idle".to_owned(), "≤ 8 MiB").await?);

    let (process, target, _) = fresh(starter, keys, upstream)?;
    let request = target.request("/", &keys.token()?)?;
    let clients = many(target.address, &request, 200).await?;
    figures.push(resident(&process, format!("memory with {CLIENTS} idle clients"), "≤ 24 MiB").await?);
    ensure!(clients.iter().all(Connection::is_open), "idle clients were sent away");
    drop(clients);

    let (process, target, _) = fresh(starter, keys, upstream)?;
    let request = http1::upgrade_request(&target.host, &keys.token()?);
    let sockets = many(target.address, &request, 101).await?;
    figures.push(resident(&process, format!("memory with {CLIENTS} open WebSockets"), "≤ 40 MiB").await?);
    ensure!(sockets.iter().all(Connection::is_open), "sockets were closed");
    Ok(figures)
}

/// Clients that ask once each, one after the other, and stay.
async fn many(address: SocketAddr, request: &[u8], status: u16) -> anyhow::Result<Vec<Connection>> {
    let mut connections = Vec::new();
    for _ in 0..CLIENTS {
        let mut connection = Connection::open(address).await?;
        let answer = connection.exchange(request).await?;
        ensure!(answer.status == status, "answered {} instead of {status}", answer.status);
        connections.push(connection);
    }
    Ok(connections)
}

async fn resident(process: &Process, what: String, wanted: &'static str) -> anyhow::Result<Figure> {
    tokio::time::sleep(SETTLED).await;
    let (now_mib, most_mib) = process.memory()?;
    Ok(Figure::new(what, format!("{now_mib:.1} MiB, {most_mib:.1} MiB at most"), wanted))
}

/// What the program weighs on a disk.
pub(super) fn program_size(starter: &Starter) -> anyhow::Result<Figure> {
    let bytes = std::fs::metadata(&starter.sidecar)?.len();
    let seen = format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20));
    Ok(Figure::new("size of kyros-sidecar", seen, "≤ 8 MiB"))
}

fn millis(duration: Duration) -> f64 {
    micros(duration) / 1e3
}
