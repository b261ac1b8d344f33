//! The plot area that line, bar, histogram and backtest charts share: grid, axes and hit columns.

use crate::charts::axis::{Axis, width};
use crate::charts::figure::Canvas;
use crate::charts::format::Format;
use crate::charts::markup::Markup;
use crate::charts::scale::{Linear, Ticks, float};

/// Height of the drawing of a chart with two axes.
pub(crate) fn height(canvas: Canvas) -> f64 {
    if canvas.narrow { 220.0 } else { 260.0 }
}

/// How places lie on the horizontal axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Places {
    /// The first and the last place lie on the edges.
    Points,
    /// Each place owns a band.
    Bands,
}

/// A plot area with scales.
pub(crate) struct Plot<'a> {
    pub(crate) left: f64,
    pub(crate) right: f64,
    pub(crate) top: f64,
    pub(crate) bottom: f64,
    ticks: Ticks,
    y: Linear,
    format: &'a Format,
    count: usize,
    places: Places,
}

impl<'a> Plot<'a> {
    /// Lays out a plot with `spare` pixels kept free on the right for labels.
    pub(crate) fn new(
        canvas: Canvas,
        ticks: Ticks,
        format: &'a Format,
        count: usize,
        places: Places,
        spare: f64,
    ) -> Self {
        let labels = ticks.values().map(|v| width(&format.tick(v, ticks.step))).fold(0.0, f64::max);
        let (left, right) = (labels + 8.0, canvas.width - spare.max(8.0));
        let (top, bottom) = (22.0, height(canvas) - 24.0);
        let y = Linear::new((ticks.lo, ticks.hi), (bottom, top));
        Self { left, right, top, bottom, ticks, y, format, count, places }
    }

    /// Pixel of a value.
    pub(crate) fn y(&self, value: f64) -> f64 {
        self.y.at(value)
    }

    /// Width of the plot area.
    pub(crate) fn width(&self) -> f64 {
        (self.right - self.left).max(1.0)
    }

    /// Distance between two places.
    pub(crate) fn pitch(&self) -> f64 {
        match self.places {
            Places::Bands => self.width() / float(self.count.max(1)),
            Places::Points => self.width() / float(self.count.saturating_sub(1).max(1)),
        }
    }

    /// Middle of a place.
    pub(crate) fn x(&self, place: usize) -> f64 {
        match self.places {
            Places::Bands => self.left + (float(place) + 0.5) * self.pitch(),
            Places::Points if self.count < 2 => self.left + self.width() / 2.0,
            Places::Points => self.left + float(place) * self.pitch(),
        }
    }

    /// Grid lines with their labels; the zero line is a little stronger.
    pub(crate) fn grid(&self, out: &mut Markup) {
        for value in self.ticks.values() {
            let y = self.y(value);
            let class = if value.abs() < self.ticks.step * 1e-6 { "grid zero" } else { "grid" };
            line(out, class, (self.left, y), (self.right, y));
            label(out, "tick end", self.left - 8.0, y + 4.0, &self.format.tick(value, self.ticks.step));
        }
    }

    /// Labels of the horizontal axis.
    pub(crate) fn axis(&self, out: &mut Markup, axis: &Axis) {
        for (place, text) in axis.ticks(self.width()) {
            let half = width(text) / 2.0;
            let x = self.x(place).min(self.right + 8.0 - half);
            label(out, "tick mid", x, self.bottom + 17.0, text);
        }
    }

    /// A dashed line at a value, with a label at its right end.
    pub(crate) fn reference(&self, out: &mut Markup, value: f64, text: &str) {
        if value.is_finite() && value >= self.ticks.lo && value <= self.ticks.hi {
            let y = self.y(value);
            line(out, "ref", (self.left, y), (self.right, y));
            let below = y + 14.0 < self.bottom;
            label(out, "tick end", self.right, if below { y + 14.0 } else { y - 5.0 }, text);
        }
    }

    /// A dashed line at a place, with a label at its upper end, on the side that has room.
    pub(crate) fn mark(&self, out: &mut Markup, place: usize, text: &str) {
        let x = self.x(place);
        line(out, "ref", (x, self.top - 14.0), (x, self.bottom));
        let fits_before = x - self.left > width(text) + 6.0;
        let (class, x) = if fits_before { ("tick end", x - 5.0) } else { ("tick", x + 5.0) };
        label(out, class, x, self.top - 5.0, text);
    }

    /// An invisible column that carries the tooltip of a place.
    pub(crate) fn hit(&self, out: &mut Markup, place: usize, key: &str, tip: &str) {
        let half = (self.pitch() / 2.0).max(1.5);
        let from = (self.x(place) - half).max(self.left - 4.0);
        let to = (self.x(place) + half).min(self.right + 4.0);
        out.tag("rect")
            .attr("class", "hit")
            .attr("data-key", key)
            .attr("data-tip", tip)
            .num("x", from)
            .num("y", self.top)
            .num("width", to - from)
            .num("height", self.bottom - self.top)
            .empty();
    }
}

/// A straight line.
pub(crate) fn line(out: &mut Markup, class: &str, from: (f64, f64), to: (f64, f64)) {
    out.tag("line").attr("class", class).num("x1", from.0).num("y1", from.1).num("x2", to.0).num("y2", to.1).empty();
}

/// Text at a place; the class sets its anchor.
pub(crate) fn label(out: &mut Markup, class: &str, x: f64, y: f64, text: &str) {
    out.tag("text").attr("class", class).num("x", x).num("y", y).text(text);
}
