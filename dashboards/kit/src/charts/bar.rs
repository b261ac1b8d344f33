//! Bar chart: vertical columns or horizontal bars, with optional links and target ticks.

use std::fmt::{self, Write as _};

use crate::charts::axis::{Axis, fit, width};
use crate::charts::figure::{Canvas, Drawing, Meta, Table, render};
use crate::charts::format::Format;
use crate::charts::markup::Markup;
use crate::charts::plot::{self, Places, Plot, label, line};
use crate::charts::scale::{Linear, Ticks, extent, float};

const ROW: f64 = 30.0;

/// One bar.
#[derive(Debug, Clone)]
pub struct Bar {
    label: String,
    value: f64,
    target: Option<f64>,
    link: Option<String>,
    key: Option<String>,
}

impl Bar {
    /// A bar with a label and a value.
    #[must_use]
    pub fn new(label: impl Into<String>, value: f64) -> Self {
        Self { label: label.into(), value, target: None, link: None, key: None }
    }

    /// A tick across the bar, for a target or a cost.
    #[must_use]
    pub fn target(mut self, target: f64) -> Self {
        self.target = Some(target);
        self
    }

    /// Makes the bar a link, for example one that filters the page.
    #[must_use]
    pub fn link(mut self, href: impl Into<String>) -> Self {
        self.link = Some(href.into());
        self
    }

    /// Marks with the same key light up together, on the whole page. Without a key the label is the key.
    #[must_use]
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    fn mark_key(&self) -> &str {
        self.key.as_deref().unwrap_or(&self.label)
    }
}

/// A bar chart. Display writes the figure.
#[derive(Debug, Clone)]
pub struct Bars {
    meta: Meta,
    format: Format,
    items: Vec<Bar>,
    target: String,
    horizontal: bool,
}

impl Bars {
    /// Columns, for ordered categories.
    #[must_use]
    pub fn vertical(meta: Meta, format: Format) -> Self {
        Self { meta, format, items: Vec::new(), target: "Target".to_owned(), horizontal: false }
    }

    /// Bars from left to right, for names; pass them sorted.
    #[must_use]
    pub fn horizontal(meta: Meta, format: Format) -> Self {
        Self { horizontal: true, ..Self::vertical(meta, format) }
    }

    /// Adds a bar.
    #[must_use]
    pub fn bar(mut self, bar: Bar) -> Self {
        self.items.push(bar);
        self
    }

    /// Adds bars.
    #[must_use]
    pub fn bars(mut self, bars: impl IntoIterator<Item = Bar>) -> Self {
        self.items.extend(bars);
        self
    }

    /// What the target ticks mean, for tooltips and the table.
    #[must_use]
    pub fn target_name(mut self, name: impl Into<String>) -> Self {
        self.target = name.into();
        self
    }

    fn values(&self) -> impl Iterator<Item = f64> {
        self.items.iter().flat_map(|b| [b.value, b.target.unwrap_or(f64::NAN)])
    }

    fn tip(&self, bar: &Bar) -> String {
        let mut tip = format!("{}: {}", bar.label, self.format.text(bar.value));
        if let Some(target) = bar.target {
            // Writing to a String cannot fail.
            let _ = write!(tip, "\n{}: {}", self.target, self.format.text(target));
        }
        if bar.link.is_some() {
            tip.push_str("\nSelect to filter");
        }
        tip
    }

    /// Draws the marks of a bar inside its link, if it has one.
    fn mark(&self, out: &mut Markup, bar: &Bar, area: (f64, f64, f64, f64), marks: impl FnOnce(&mut Markup)) {
        let tip = self.tip(bar);
        if let Some(href) = &bar.link {
            let name = format!("{}: {}. Select to filter.", bar.label, self.format.text(bar.value));
            out.tag("a").attr("href", href).attr("aria-label", &name).attr("data-filter", "").open();
        }
        marks(out);
        out.tag("rect")
            .attr("class", "hit")
            .attr("data-key", bar.mark_key())
            .attr("data-tip", &tip)
            .num("x", area.0)
            .num("y", area.1)
            .num("width", area.2)
            .num("height", area.3)
            .empty();
        if bar.link.is_some() {
            out.close("a");
        }
    }

    fn columns(&self, out: &mut Markup, canvas: Canvas) {
        let axis = Axis::categories(self.items.iter().map(|b| b.label.as_str()));
        let ticks = Ticks::nice(self.values(), true, 4);
        let plot = Plot::new(canvas, ticks, &self.format, self.items.len(), Places::Bands, 0.0);
        plot.grid(out);
        plot.axis(out, &axis);
        let room = plot.pitch();
        let wide = (room * 0.72).min(64.0);
        for (place, bar) in self.items.iter().enumerate() {
            let (x, value) = (plot.x(place), if bar.value.is_finite() { bar.value } else { 0.0 });
            let (zero, end) = (plot.y(0.0), plot.y(value));
            let area = (x - room / 2.0, plot.top, room, plot.bottom - plot.top);
            self.mark(out, bar, area, |out| {
                rect(out, bar.mark_key(), (x - wide / 2.0, zero.min(end), wide, (zero - end).abs()));
                let text = self.format.text(bar.value);
                if width(&text) < room {
                    let above = if value < 0.0 { end + 14.0 } else { end - 5.0 };
                    label(out, "name mid", x, above, &text);
                }
                if let Some(target) = bar.target.filter(|t| t.is_finite()) {
                    let y = plot.y(target);
                    line(out, "target", (x - wide / 2.0 - 4.0, y), (x + wide / 2.0 + 4.0, y));
                }
            });
        }
    }

    fn rows(&self, out: &mut Markup, canvas: Canvas) {
        let names = self.items.iter().map(|b| width(&b.label)).fold(0.0, f64::max).min(canvas.width * 0.38);
        let texts: Vec<String> = self.items.iter().map(|b| self.format.text(b.value)).collect();
        let spare = texts.iter().map(|t| width(t)).fold(0.0, f64::max) + 8.0;
        let (low, high) = extent(self.values()).unwrap_or((0.0, 1.0));
        let (low, high) = (low.min(0.0), high.max(0.0));
        let high = if high > low { high } else { 1.0 };
        let x = Linear::new((low, high), (names + 12.0, canvas.width - spare));
        for (place, (bar, text)) in self.items.iter().zip(&texts).enumerate() {
            let top = float(place) * ROW;
            let value = if bar.value.is_finite() { bar.value } else { 0.0 };
            let (zero, end) = (x.at(0.0), x.at(value));
            self.mark(out, bar, (0.0, top, canvas.width, ROW), |out| {
                label(out, "tick", 0.0, top + 19.0, &fit(&bar.label, names));
                rect(out, bar.mark_key(), (zero.min(end), top + 5.0, (zero - end).abs(), ROW - 11.0));
                label(out, "name", zero.max(end) + 6.0, top + 19.0, text);
                if let Some(target) = bar.target.filter(|t| t.is_finite()) {
                    line(out, "target", (x.at(target), top + 2.0), (x.at(target), top + ROW - 3.0));
                }
            });
        }
    }
}

fn rect(out: &mut Markup, key: &str, (x, y, width, height): (f64, f64, f64, f64)) {
    out.tag("rect")
        .attr("class", "bar c1")
        .attr("data-key", key)
        .num("x", x)
        .num("y", y)
        .num("width", width)
        .num("height", height)
        .num("rx", 2.0)
        .empty();
}

impl Drawing for Bars {
    const CLASS: &'static str = "chart-bars";

    fn meta(&self) -> &Meta {
        &self.meta
    }

    fn facts(&self) -> String {
        let finite = || self.items.iter().filter(|b| b.value.is_finite());
        let ends = finite()
            .max_by(|a, b| a.value.total_cmp(&b.value))
            .zip(finite().min_by(|a, b| a.value.total_cmp(&b.value)));
        ends.map_or_else(String::new, |(most, least)| {
            let (high, low) = (self.format.text(most.value), self.format.text(least.value));
            format!("{} bars, from {} ({low}) to {} ({high}).", self.items.len(), least.label, most.label)
        })
    }

    fn is_empty(&self) -> bool {
        self.items.iter().all(|b| !b.value.is_finite())
    }

    fn linked(&self) -> bool {
        self.items.iter().any(|b| b.link.is_some())
    }

    fn height(&self, canvas: Canvas) -> f64 {
        if self.horizontal { float(self.items.len()) * ROW + 4.0 } else { plot::height(canvas) }
    }

    fn draw(&self, out: &mut Markup, canvas: Canvas) {
        if self.horizontal {
            self.rows(out, canvas);
        } else {
            self.columns(out, canvas);
        }
    }

    fn table(&self) -> Table {
        let targets = self.items.iter().any(|b| b.target.is_some());
        let mut head = vec!["", "Value"];
        if targets {
            head.push(&self.target);
        }
        let row = |bar: &Bar| {
            let mut cells = vec![bar.label.clone(), self.format.exact(bar.value)];
            if targets {
                cells.push(bar.target.map_or_else(String::new, |t| self.format.exact(t)));
            }
            cells
        };
        Table::new(head, self.items.iter().map(row).collect())
    }
}

impl fmt::Display for Bars {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(render(self).as_str())
    }
}
