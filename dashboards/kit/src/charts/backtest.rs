//! Backtest chart: daily profit and loss against the value at risk, with exceptions marked.

use std::fmt;

use crate::charts::axis::Axis;
use crate::charts::figure::{Canvas, Drawing, Meta, render};
use crate::charts::format::{Date, Format};
use crate::charts::markup::{Markup, Path};
use crate::charts::plot::{self, Places, Plot};
use crate::charts::scale::{Ticks, float};
use crate::table::{Cell, Table};

/// One day of a backtest.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Day {
    /// The day.
    pub date: Date,
    /// Profit (positive) or loss (negative).
    pub pnl: f64,
    /// Value at risk forecast for the day, as a positive amount.
    pub var: f64,
}

impl Day {
    /// Whether the loss was larger than the forecast.
    #[must_use]
    pub fn is_exception(&self) -> bool {
        self.pnl < -self.var
    }
}

/// A backtest chart. Display writes the figure.
#[derive(Debug, Clone)]
pub struct Backtest {
    meta: Meta,
    format: Format,
    days: Vec<Day>,
    confidence: f64,
}

impl Backtest {
    /// A chart of `days` in order; `confidence` is that of the value at risk, for example 0.99.
    #[must_use]
    pub fn new(meta: Meta, format: Format, confidence: f64, days: Vec<Day>) -> Self {
        Self { meta, format, days, confidence }
    }

    /// Number of days on which the loss was larger than the forecast.
    #[must_use]
    pub fn exceptions(&self) -> usize {
        self.days.iter().filter(|d| d.is_exception()).count()
    }

    fn tip(&self, day: &Day) -> String {
        let (date, pnl, var) = (day.date.long(), self.format.text(day.pnl), self.format.text(-day.var));
        let mark = if day.is_exception() { "\n▼ Exception" } else { "" };
        format!("{date}\nP&L: {pnl}\nVaR: {var}{mark}")
    }

    fn marks(&self, out: &mut Markup, plot: &Plot<'_>) {
        let zero = plot.y(0.0);
        let half = (plot.pitch() * 0.36).clamp(0.3, 12.0);
        let (mut calm, mut bad, mut var) = (Path::default(), Path::default(), Path::default());
        for (place, day) in self.days.iter().enumerate().filter(|(_, d)| d.pnl.is_finite()) {
            let (x, y) = (plot.x(place), plot.y(day.pnl));
            let path = if day.is_exception() { &mut bad } else { &mut calm };
            path.go(x - half, zero);
            path.line(x - half, y);
            path.line(x + half, y);
            path.line(x + half, zero);
            path.close();
        }
        let mut pen_down = false;
        for (place, day) in self.days.iter().enumerate() {
            let (x, y) = (plot.x(place), plot.y(-day.var));
            match (day.var.is_finite(), pen_down) {
                (true, true) => var.line(x, y),
                (true, false) => {
                    // A step of one band, so that a forecast for a single day is seen too.
                    var.go(x - plot.pitch() / 2.0, y);
                    var.line(x, y);
                }
                (false, _) => {}
            }
            pen_down = day.var.is_finite();
        }
        for (class, path) in [("pnl", &calm), ("pnl bad", &bad), ("line c2", &var)] {
            if !path.data().is_empty() {
                out.tag("path").attr("class", class).attr("d", path.data()).empty();
            }
        }
        for (place, day) in self.days.iter().enumerate().filter(|(_, d)| d.is_exception()) {
            // A triangle under the bar: the mark does not depend on colour.
            let (x, y) = (plot.x(place), (plot.y(day.pnl) + 3.0).min(plot.bottom - 7.0));
            let mut path = Path::default();
            path.go(x, y);
            path.line(x + 4.5, y + 7.0);
            path.line(x - 4.5, y + 7.0);
            path.close();
            out.tag("path").attr("class", "exception").attr("d", path.data()).empty();
        }
    }
}

impl Drawing for Backtest {
    const CLASS: &'static str = "chart-backtest";

    fn meta(&self) -> &Meta {
        &self.meta
    }

    fn facts(&self) -> String {
        let expected = float(self.days.len()) * (1.0 - self.confidence);
        let expected = Format::number(1).text(expected);
        let count = self.exceptions();
        let noun = if count == 1 { "exception" } else { "exceptions" };
        format!("{count} {noun} in {} days, {expected} expected.", self.days.len())
    }

    fn is_empty(&self) -> bool {
        self.days.iter().all(|d| !d.pnl.is_finite())
    }

    fn height(&self, canvas: Canvas) -> f64 {
        plot::height(canvas)
    }

    fn draw(&self, out: &mut Markup, canvas: Canvas) {
        let ticks = Ticks::nice(self.days.iter().flat_map(|d| [d.pnl, -d.var]), true, 5);
        let plot = Plot::new(canvas, ticks, &self.format, self.days.len(), Places::Bands, 0.0);
        let dates: Vec<Date> = self.days.iter().map(|d| d.date).collect();
        let axis = Axis::days(&dates);
        plot.grid(out);
        plot.axis(out, &axis);
        self.marks(out, &plot);
        // Columns that are too thin to point at would only weigh down the page; the table has every day.
        let thin = plot.pitch() < 2.0;
        for (place, day) in self.days.iter().enumerate().filter(|(_, d)| !thin || d.is_exception()) {
            plot.hit(out, place, axis.key(place), &self.tip(day));
        }
    }

    fn table(&self) -> Table {
        let row = |day: &Day| {
            let mark = if day.is_exception() { "yes" } else { "" };
            let amount = |value: f64| Cell::Number(value, self.format.clone());
            vec![Cell::text(day.date.to_string()), amount(day.pnl), amount(-day.var), Cell::text(mark)]
        };
        Table::new(["Date", "P&L", "VaR", "Exception"], self.days.iter().map(row).collect())
    }
}

impl fmt::Display for Backtest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(render(self).as_str())
    }
}
