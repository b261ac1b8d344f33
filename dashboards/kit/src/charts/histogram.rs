//! Histogram: how values are spread, with marked values such as the median.

use std::fmt;

use crate::charts::axis::width;
use crate::charts::figure::{Canvas, Drawing, Meta, render};
use crate::charts::format::Format;
use crate::charts::markup::Markup;
use crate::charts::plot::{self, Places, Plot, label, line};
use crate::charts::scale::{Ticks, extent, float, index};
use crate::table::{Cell, Table};

/// A histogram. Display writes the figure.
#[derive(Debug, Clone)]
pub struct Histogram {
    meta: Meta,
    format: Format,
    edges: Vec<f64>,
    counts: Vec<usize>,
    open_end: bool,
    markers: Vec<(f64, String)>,
}

impl Histogram {
    /// Sorts samples into at most about `bins` bins of a round width. Samples above `cap` join the last bin.
    #[must_use]
    pub fn from_samples(meta: Meta, format: Format, samples: &[f64], bins: usize, cap: Option<f64>) -> Self {
        let cap = cap.filter(|c| c.is_finite()).unwrap_or(f64::INFINITY);
        let ticks = Ticks::nice(samples.iter().map(|v| v.min(cap)), false, bins.max(1));
        let edges: Vec<f64> = ticks.values().collect();
        let last = edges.len().saturating_sub(2);
        let mut counts = vec![0; last + 1];
        for value in samples.iter().filter(|v| v.is_finite()) {
            counts[index((value - ticks.lo) / ticks.step, last)] += 1;
        }
        let open_end = samples.iter().any(|v| v.is_finite() && *v > ticks.hi);
        if counts.iter().all(|c| *c == 0) {
            counts.clear();
        }
        Self { meta, format, edges, counts, open_end, markers: Vec::new() }
    }

    /// Marks a value with a dashed line and a label.
    #[must_use]
    pub fn marker(mut self, value: f64, label: impl Into<String>) -> Self {
        self.markers.push((value, label.into()));
        self
    }

    fn bin(&self, place: usize) -> String {
        let edge = |i: usize| self.edges.get(i).map_or_else(String::new, |v| self.format.text(*v));
        if self.open_end && place + 1 == self.counts.len() {
            format!("{} and more", edge(place))
        } else {
            format!("{} to {}", edge(place), edge(place + 1))
        }
    }

    fn marks(&self, out: &mut Markup, plot: &Plot<'_>, x: impl Fn(f64) -> f64) {
        let Some((low, high)) = extent(self.edges.iter().copied()) else {
            return;
        };
        let mut used = f64::NEG_INFINITY;
        let mut markers: Vec<_> = self.markers.iter().filter(|(v, _)| *v >= low && *v <= high).collect();
        markers.sort_by(|a, b| a.0.total_cmp(&b.0));
        for (value, text) in markers {
            let at = x(*value);
            line(out, "ref", (at, plot.top - 18.0), (at, plot.bottom));
            let from = if at + width(text) > plot.right { at - 4.0 - width(text) } else { at + 4.0 };
            // Two marked values close to each other: the second label goes one line down.
            let y = if from < used { plot.top + 4.0 } else { plot.top - 9.0 };
            used = from + width(text);
            label(out, "name", from, y, text);
        }
    }
}

impl Drawing for Histogram {
    const CLASS: &'static str = "chart-histogram";

    fn meta(&self) -> &Meta {
        &self.meta
    }

    fn facts(&self) -> String {
        let total: usize = self.counts.iter().sum();
        let peak = (0..self.counts.len()).max_by_key(|i| self.counts[*i]);
        let peak = peak.map_or_else(String::new, |p| format!(" Most lie in {}.", self.bin(p)));
        format!("{} values.{peak}", Format::number(0).text(float(total)))
    }

    fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    fn height(&self, canvas: Canvas) -> f64 {
        plot::height(canvas)
    }

    fn draw(&self, out: &mut Markup, canvas: Canvas) {
        let counts = Format::number(0);
        let ticks = Ticks::nice(self.counts.iter().map(|c| float(*c)), true, 3);
        let plot = Plot::new(canvas, ticks, &counts, self.counts.len(), Places::Bands, 0.0);
        let low = self.edges.first().copied().unwrap_or(0.0);
        let step = self.edges.get(1).map_or(1.0, |second| second - low);
        let x = |value: f64| plot.left + (value - low) / step * plot.pitch();
        plot.grid(out);
        let widest = self.edges.iter().map(|e| width(&self.format.tick(*e, step))).fold(1.0, f64::max) + 12.0;
        let every = index((widest / plot.pitch()).ceil(), 1_000).max(1);
        for edge in self.edges.iter().step_by(every) {
            let text = self.format.tick(*edge, step);
            let at = x(*edge).min(plot.right + 8.0 - width(&text) / 2.0);
            label(out, "tick mid", at, plot.bottom + 17.0, &text);
        }
        for (place, count) in self.counts.iter().enumerate() {
            let top = plot.y(float(*count));
            out.tag("rect")
                .attr("class", "bar c1")
                .num("x", plot.x(place) - plot.pitch() / 2.0 + 0.75)
                .num("y", top)
                .num("width", (plot.pitch() - 1.5).max(0.5))
                .num("height", plot.bottom - top)
                .empty();
        }
        self.marks(out, &plot, x);
        for (place, count) in self.counts.iter().enumerate() {
            let tip = format!("{}\n{}", self.bin(place), counts.text(float(*count)));
            plot.hit(out, place, "", &tip);
        }
    }

    fn table(&self) -> Table {
        let row = |(place, count): (usize, &usize)| {
            vec![Cell::text(self.bin(place)), Cell::Number(float(*count), Format::number(0))]
        };
        Table::new(["Range", "Count"], self.counts.iter().enumerate().map(row).collect())
    }
}

impl fmt::Display for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(render(self).as_str())
    }
}
