//! Rounds: every target for a slice of time, in an order of its own each time. The machine's moods change slowly, so what two
//! targets did in one round can be compared where two runs cannot.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use rand::seq::SliceRandom as _;

use super::{
    http1::Connection,
    keys::Keys,
    load::{self, Latency, Throughput},
    targets::Target,
    upstream::{LARGE_BYTES, LARGE_PATH},
};
use crate::bench::rank;

/// What each target did in each round: `[target][round]`.
pub(super) type Rounds<T> = Vec<Vec<T>>;

/// The middle half of some values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Spread {
    pub(super) low: f64,
    pub(super) median: f64,
    pub(super) high: f64,
}

impl Spread {
    /// Of nothing it is nothing.
    pub(super) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_unstable_by(f64::total_cmp);
        let at = |percent| values.get(rank(values.len(), percent)).copied();
        Some(Self { low: at(25)?, median: at(50)?, high: at(75)? })
    }
}

/// Compares two targets round by round.
pub(super) fn compare<T>(ours: &[T], other: &[T], comparison: impl Fn(&T, &T) -> Option<f64>) -> Option<Spread> {
    let rounds: Option<Vec<f64>> = ours.iter().zip(other).map(|(ours, other)| comparison(ours, other)).collect();
    Spread::of(rounds?)
}

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
            load::closed(target.address, request, self.slice, &target.pids).await
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
            load::open(target.address, request, self.slice, requests_per_second).await
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
        let head = connection.get(&request).await?;
        anyhow::ensure!(head.body_bytes == LARGE_BYTES, "{} bytes instead of a GiB", head.body_bytes);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_are_values_that_were_seen() {
        let spread = Spread::of([4.0, 1.0, 3.0, 2.0]).unwrap();
        assert_eq!(spread, Spread { low: 1.0, median: 2.0, high: 3.0 });
        assert_eq!(Spread::of([7.0]), Some(Spread { low: 7.0, median: 7.0, high: 7.0 }));
        assert_eq!(Spread::of([]), None);
    }

    #[test]
    fn targets_are_compared_inside_a_round() {
        // Twice as slow in the second round, both of them.
        let ratio = |ours: &f64, other: &f64| Some(ours / other);
        let spread = compare(&[11.0, 22.0], &[10.0, 20.0], ratio).unwrap();
        assert!((spread.low - 1.1).abs() < 1e-9 && (spread.high - 1.1).abs() < 1e-9);
        assert_eq!(compare(&[1.0, 2.0], &[1.0, 2.0], |ours, _| (*ours < 2.0).then_some(1.0)), None);
    }
}
