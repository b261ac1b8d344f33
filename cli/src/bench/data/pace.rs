//! How fast something went in one round, and what it cost.

use std::time::Duration;

use anyhow::{Context as _, ensure};

use crate::bench::{
    load::Throughput,
    spread::{Spread, nothing},
};

/// What was done in a round.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    pub(super) per_second: f64,
    /// CPU time of each, in milliseconds.
    pub(super) cpu_ms: f64,
}

impl Pace {
    pub(super) fn of(times: u64, took: Duration, cpu: Duration) -> anyhow::Result<Self> {
        ensure!(times > 0, "not once in {} ms", took.as_millis());
        Ok(Self { per_second: times as f64 / took.as_secs_f64(), cpu_ms: cpu.as_secs_f64() * 1e3 / times as f64 })
    }

    pub(super) fn from_load(seen: Throughput) -> anyhow::Result<Self> {
        let cpu_micros = seen.cpu_micros_per_request.context("CPU time of the API")?;
        Ok(Self { per_second: seen.requests_per_second, cpu_ms: cpu_micros / 1e3 })
    }

    /// How many a second's CPU time suffices for.
    fn per_cpu_second(&self) -> f64 {
        1e3 / self.cpu_ms
    }

    /// How much of a CPU it had.
    fn share(&self) -> f64 {
        self.per_second * self.cpu_ms / 1e3
    }
}

fn median(rounds: &[Pace], value: impl Fn(&Pace) -> f64) -> Option<f64> {
    Spread::of(rounds.iter().map(value)).map(|spread| spread.median)
}

/// The median of the CPU time of each.
pub(super) fn cpu(rounds: &[Pace]) -> String {
    median(rounds, |pace| pace.cpu_ms).map_or_else(nothing, |cpu_ms| match cpu_ms {
        ..0.1 => format!("{:.0} µs", cpu_ms * 1e3),
        _ => format!("{cpu_ms:.2} ms"),
    })
}

/// The median rate.
pub(super) fn rate(rounds: &[Pace]) -> String {
    median(rounds, |pace| pace.per_second).map_or_else(nothing, |rate| format!("{rate:.1}/s"))
}

/// The rate that one CPU is good for, and how it was seen: the load may be slower than what it measures.
pub(super) fn rate_of_a_cpu(rounds: &[Pace]) -> String {
    let medians = (|| {
        let rate = median(rounds, Pace::per_cpu_second)?;
        Some((rate, median(rounds, |pace| pace.per_second)?, median(rounds, Pace::share)?))
    })();
    medians.map_or_else(nothing, |(rate, seen, share)| {
        format!("{rate:.0}/s; {seen:.0}/s came at {:.0} % of the CPU", share * 100.0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_that_of_the_cpu_where_the_load_was_slower() {
        let pace = Pace::of(10_000, Duration::from_secs(1), Duration::from_millis(500)).unwrap();
        assert_eq!(rate_of_a_cpu(&[pace]), "20000/s; 10000/s came at 50 % of the CPU");
        assert_eq!((cpu(&[pace]), rate(&[pace])), ("50 µs".to_owned(), "10000.0/s".to_owned()));
        assert_eq!(rate_of_a_cpu(&[]), nothing());
    }

    #[test]
    fn nothing_done_is_no_pace() {
        assert!(Pace::of(0, Duration::from_secs(1), Duration::ZERO).is_err());
    }
}
