//! Rounds: every target for a slice of time, in an order of its own each time. The machine's moods change slowly, so what two
//! targets did in one round can be compared where two runs cannot.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use rand::seq::SliceRandom as _;

use super::{
    keys::Keys,
    targets::Target,
    upstream::{LARGE_BYTES, LARGE_PATH},
};
use crate::bench::{
    http1::Connection,
    load::{self, Latency, Load, Throughput, same},
};

/// Connections of the closed load.
pub(super) const CLOSED_CONNECTIONS: usize = 64;

/// What each target did in each round: `[target][round]`.
pub(super) type Rounds<T> = Vec<Vec<T>>;

/// How many rounds, and how long a target's part of one is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    pub(super) rounds: usize,
    pub(super) slice: Duration,
}

impl Plan {
    pub(super) async fn throughput(
        self,
        targets: &[Target],
        keys: &Keys,
        progress: impl Fn(usize),
    ) -> anyhow::Result<Rounds<Throughput>> {
        each(targets, keys, "/", self.rounds, progress, async |target, request| {
            let load = Load::new(target.address, same(request));
            load::closed(&load, CLOSED_CONNECTIONS, self.slice, &target.pids).await
        })
        .await
    }

    pub(super) async fn latency(
        self,
        targets: &[Target],
        keys: &Keys,
        requests_per_second: f64,
        progress: impl Fn(usize),
    ) -> anyhow::Result<Rounds<Latency>> {
        each(targets, keys, "/", self.rounds, progress, async |target, request| {
            load::open(&Load::new(target.address, same(request)), self.slice, requests_per_second).await
        })
        .await
    }
}

/// How fast a GiB comes, in GiB a second.
pub(super) async fn download(
    targets: &[Target],
    keys: &Keys,
    runs: usize,
    progress: impl Fn(usize),
) -> anyhow::Result<Rounds<f64>> {
    each(targets, keys, LARGE_PATH, runs, progress, async |target, request| {
        let mut connection = Connection::open_wide(target.address).await?;
        let begun = std::time::Instant::now();
        let answer = connection.get(&request).await?;
        anyhow::ensure!(answer.body_bytes == LARGE_BYTES, "{} bytes instead of a GiB", answer.body_bytes);
        Ok(1.0 / begun.elapsed().as_secs_f64())
    })
    .await
}

async fn each<T>(
    targets: &[Target],
    keys: &Keys,
    path: &str,
    rounds: usize,
    progress: impl Fn(usize),
    measure: impl AsyncFn(&Target, Arc<[u8]>) -> anyhow::Result<T>,
) -> anyhow::Result<Rounds<T>> {
    let mut results: Rounds<T> = targets.iter().map(|_| Vec::new()).collect();
    for round in 1..=rounds {
        progress(round);
        let token = keys.token()?;
        let mut order: Vec<_> = targets.iter().zip(&mut results).collect();
        order.shuffle(&mut rand::rng());
        for (target, results) in order {
            let request = target.request(path, &token)?;
            results.push(measure(target, request).await.with_context(|| target.name.clone())?);
        }
    }
    Ok(results)
}
