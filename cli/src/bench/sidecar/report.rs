//! The tables: what every target did, and what of that is wanted of the sidecar.

use comfy_table::{Cell, CellAlignment, Table, presets::UTF8_HORIZONTAL_ONLY};

use super::{rounds::Rounds, targets::Target};
use crate::bench::{
    Figure,
    load::{Latency, Throughput},
    spread::{Spread, compare, nothing, ratio},
};

/// Where our own targets stand; other proxies follow.
pub(super) const DIRECT: usize = 0;
pub(super) const BARE: usize = 1;
pub(super) const BARE_UNIX: usize = 2;
pub(super) const OVER_TCP: usize = 3;
pub(super) const OVER_UNIX: usize = 4;

/// What was seen of all targets.
pub(super) struct Report<'a> {
    pub(super) targets: &'a [Target],
    pub(super) throughput: Rounds<Throughput>,
    pub(super) latency: Rounds<Latency>,
    /// Of our own targets, in GiB a second.
    pub(super) download: Rounds<f64>,
    /// At which the latency was measured.
    pub(super) requests_per_second: f64,
}

impl Report<'_> {
    pub(super) fn print_targets(&self, connections: usize) {
        println!("As fast as it goes, {connections} connections:");
        println!("{}", self.throughput_table());
        println!("\nAt {:.0} requests/s:", self.requests_per_second);
        println!("{}", self.latency_table());
        println!("\nOne GiB:");
        println!("{}", self.download_table());
        println!();
    }

    /// The lines about the sidecar over each of its two ways to the upstream.
    pub(super) fn figures(&self) -> Vec<Figure> {
        // What the kernel leaves to gain: the sidecar over a Unix socket cannot cost less than no sidecar at all.
        let mut figures = vec![Figure::new(
            "CPU per request of a bare pass-through, upstream over Unix socket, to that over TCP",
            ratio(self.cpu_to_bare(BARE_UNIX)),
            "",
        )];
        for (index, way, cpu_wanted) in [(OVER_TCP, "TCP", "≤ 1.10"), (OVER_UNIX, "Unix socket", "≤ 0.90")] {
            let figure = |what: &str, seen, wanted| Figure::new(format!("{what}, upstream over {way}"), seen, wanted);
            figures.push(figure(
                "CPU per request, to the bare pass-through's",
                ratio(self.cpu_to_bare(index)),
                cpu_wanted,
            ));
            figures.push(figure("p50, over the bare pass-through's", micros(self.p50_over_bare(index)), "≤ 8 µs"));
            figures.push(figure("p99, over the upstream's own", micros(self.p99_over_direct(index)), "≤ 150 µs"));
            figures.push(figure(
                "download of a GiB, to the upstream's own",
                ratio(self.download_to_direct(index)),
                "≥ 0.85",
            ));
        }
        figures
    }

    fn throughput_table(&self) -> Table {
        let mut table =
            table(&["target", "requests/s", "to bare", "CPU µs a request", "to bare", "CPU in use", "without a token"]);
        for (index, target) in self.targets.iter().enumerate() {
            let rounds = &self.throughput[index];
            let median = |value: &dyn Fn(&Throughput) -> Option<f64>| {
                Spread::of(rounds.iter().filter_map(value)).map(|spread| spread.median)
            };
            row(
                &mut table,
                &target.name,
                [
                    number(median(&|round| Some(round.requests_per_second)), 0),
                    ratio(self.rate_to_bare(index)),
                    number(median(&|round| round.cpu_micros_per_request), 1),
                    ratio(self.cpu_to_bare(index)),
                    median(&|round| round.cpu_share).map_or_else(nothing, |share| format!("{:.0} %", share * 100.0)),
                    target.without_token.to_string(),
                ],
            );
        }
        table
    }

    fn latency_table(&self) -> Table {
        let mut table = table(&["target", "p50 µs", "p50 over bare", "p99 µs", "p99 over direct"]);
        for (index, target) in self.targets.iter().enumerate() {
            let rounds = &self.latency[index];
            let median = |value: fn(&Latency) -> f64| Spread::of(rounds.iter().map(value)).map(|spread| spread.median);
            row(
                &mut table,
                &target.name,
                [
                    number(median(|round| round.p50_micros), 0),
                    micros(self.p50_over_bare(index)),
                    number(median(|round| round.p99_micros), 0),
                    micros(self.p99_over_direct(index)),
                ],
            );
        }
        table
    }

    fn download_table(&self) -> Table {
        let mut table = table(&["target", "GiB/s", "to direct"]);
        for (index, rounds) in self.download.iter().enumerate() {
            let median = Spread::of(rounds.iter().copied()).map(|spread| spread.median);
            row(&mut table, &self.targets[index].name, [number(median, 2), ratio(self.download_to_direct(index))]);
        }
        table
    }

    fn rate_to_bare(&self, index: usize) -> Option<Spread> {
        compare(&self.throughput[index], &self.throughput[BARE], |ours, bare| {
            Some(ours.requests_per_second / bare.requests_per_second)
        })
    }

    fn cpu_to_bare(&self, index: usize) -> Option<Spread> {
        compare(&self.throughput[index], &self.throughput[BARE], |ours, bare| {
            Some(ours.cpu_micros_per_request? / bare.cpu_micros_per_request?)
        })
    }

    fn p50_over_bare(&self, index: usize) -> Option<Spread> {
        compare(&self.latency[index], &self.latency[BARE], |ours, bare| Some(ours.p50_micros - bare.p50_micros))
    }

    fn p99_over_direct(&self, index: usize) -> Option<Spread> {
        compare(&self.latency[index], &self.latency[DIRECT], |ours, direct| Some(ours.p99_micros - direct.p99_micros))
    }

    fn download_to_direct(&self, index: usize) -> Option<Spread> {
        compare(&self.download[index], &self.download[DIRECT], |ours, direct| Some(ours / direct))
    }
}

/// Half of what the slowest target can do, so that none of them has a queue.
pub(super) fn half_of_the_slowest(throughput: &Rounds<Throughput>) -> Option<f64> {
    let medians = throughput
        .iter()
        .map(|rounds| Spread::of(rounds.iter().map(|round| round.requests_per_second)).map(|spread| spread.median));
    medians.collect::<Option<Vec<_>>>()?.into_iter().min_by(f64::total_cmp).map(|slowest| slowest / 2.0)
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(UTF8_HORIZONTAL_ONLY).set_header(header.iter().copied());
    table
}

fn row(table: &mut Table, name: &str, values: impl IntoIterator<Item = String>) {
    let values = values.into_iter().map(|value| Cell::new(value).set_alignment(CellAlignment::Right));
    table.add_row(std::iter::once(Cell::new(name)).chain(values));
}

fn number(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(nothing, |value| format!("{value:.digits$}"))
}

fn micros(spread: Option<Spread>) -> String {
    spread.map_or_else(nothing, |Spread { low, median, high }| format!("{median:.0} µs ({low:.0} to {high:.0})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(rates: &[f64]) -> Vec<Throughput> {
        let round =
            |&requests_per_second| Throughput { requests_per_second, cpu_micros_per_request: None, cpu_share: None };
        rates.iter().map(round).collect()
    }

    #[test]
    fn the_rate_follows_the_slowest_median() {
        let throughput = vec![at(&[100.0, 300.0, 200.0]), at(&[50.0, 1000.0, 400.0])];
        assert_eq!(half_of_the_slowest(&throughput), Some(100.0));
        assert_eq!(half_of_the_slowest(&vec![at(&[])]), None);
    }

    #[test]
    fn what_is_unknown_is_a_dash() {
        assert_eq!((ratio(None), micros(None), number(None, 1)), (nothing(), nothing(), nothing()));
        let spread = Spread { low: 0.951, median: 1.0, high: 1.059 };
        assert_eq!(ratio(Some(spread)), "1.00 (0.95–1.06)");
        assert_eq!(micros(Some(Spread { low: -2.4, median: 3.0, high: 5.0 })), "3 µs (-2 to 5)");
    }
}
