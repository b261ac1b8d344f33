//! Bar chart: vertical columns or horizontal bars, with optional links and target ticks.

use std::fmt::{self, Write as _};

use crate::charts::axis::{Axis, fit, width};
use crate::charts::figure::{Canvas, Drawing, Meta, render};
use crate::charts::format::Format;
use crate::charts::markup::Markup;
use crate::charts::plot::{self, Places, Plot, label, line};
use crate::charts::scale::{Linear, Ticks, extent, float};
use crate::table::{Cell, Table};

const ROW: f64 = 30.0;

/// One bar.
#[derive(Debug, Clone)]
pub struct Bar {
    label: String,
    value: f64,
    target: Option<f64>,
    link: Option<String>,
    key: Option<String>,
    selected: bool,
    count: Option<usize>,
}

impl Bar {
    /// A bar with a label and a value.
    #[must_use]
    pub fn new(label: impl Into<String>, value: f64) -> Self {
        Self { label: label.into(), value, target: None, link: None, key: None, selected: false, count: None }
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

    /// How many the bar stands for, for its tooltip and the table.
    #[must_use]
    pub fn count(mut self, count: usize) -> Self {
        self.count = Some(count);
        self
    }

    /// Says that the page is filtered by this bar; the other bars step back, and its link takes the filter away.
    #[must_use]
    pub fn selected(mut self, selected: bool) -> Self {
        self.selected = selected;
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
    value: String,
    target: String,
    counted: String,
    horizontal: bool,
}

impl Bars {
    /// Columns, for ordered categories.
    #[must_use]
    pub fn vertical(meta: Meta, format: Format) -> Self {
        let [value, target, counted] = ["Value", "Target", "Count"].map(str::to_owned);
        Self { meta, format, items: Vec::new(), value, target, counted, horizontal: false }
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

    /// What the bars measure, for the table.
    #[must_use]
    pub fn value_name(mut self, name: impl Into<String>) -> Self {
        self.value = name.into();
        self
    }

    /// What each bar stands for so many of, for tooltips and the table.
    #[must_use]
    pub fn count_name(mut self, name: impl Into<String>) -> Self {
        self.counted = name.into();
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
        if let Some(count) = bar.count {
            // Writing to a String cannot fail.
            let _ = write!(tip, "\n{}: {}", self.counted, Format::number(0).text(float(count)));
        }
        if bar.link.is_some() {
            tip.push('\n');
            tip.push_str(what_a_click_does(bar));
        }
        tip
    }

    /// Draws the marks of a bar inside its link, if it has one. A link that holds its label is named by what it holds, so that
    /// whoever speaks to the computer can say what stands there; what is cut off stands in its description.
    fn mark(&self, out: &mut Markup, bar: &Bar, area: (f64, f64, f64, f64), marks: impl FnOnce(&mut Markup)) {
        let tip = self.tip(bar);
        if let Some(href) = &bar.link {
            let about = format!("{}: {}. {}.", bar.label, self.format.text(bar.value), what_a_click_does(bar));
            let name = if self.horizontal { "aria-description" } else { "aria-label" };
            let a = out.tag("a").attr("href", href).attr(name, &about).attr("data-filter", "");
            a.attr("data-key", bar.mark_key()).maybe("aria-current", bar.selected.then_some("true")).open();
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

    fn rect(&self, out: &mut Markup, bar: &Bar, (x, y, width, height): (f64, f64, f64, f64)) {
        let steps_back = !bar.selected && self.items.iter().any(|other| other.selected);
        out.tag("rect")
            .attr("class", if steps_back { "bar c1 dim" } else { "bar c1" })
            .attr("data-key", bar.mark_key())
            .num("x", x)
            .num("y", y)
            .num("width", width)
            .num("height", height)
            .num("rx", 2.0)
            .empty();
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
                self.rect(out, bar, (x - wide / 2.0, zero.min(end), wide, (zero - end).abs()));
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
                self.rect(out, bar, (zero.min(end), top + 5.0, (zero - end).abs(), ROW - 11.0));
                let tick = bar.target.filter(|t| t.is_finite()).map(|target| x.at(target));
                let after = zero.max(end);
                // A tick that would go through the number stands before it.
                let after = tick.filter(|at| *at > after && *at < after + 8.0 + width(text)).unwrap_or(after);
                label(out, "name", after + 6.0, top + 19.0, text);
                if let Some(at) = tick {
                    line(out, "target", (at, top + 2.0), (at, top + ROW - 3.0));
                }
            });
        }
    }
}

fn what_a_click_does(bar: &Bar) -> &'static str {
    if bar.selected { "Select to show all" } else { "Select to filter" }
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
        let counts = self.items.iter().any(|b| b.count.is_some());
        let mut head = vec![self.meta.row_name(), &self.value];
        if counts {
            head.push(&self.counted);
        }
        if targets {
            head.push(&self.target);
        }
        let row = |bar: &Bar| {
            let name = match &bar.link {
                Some(href) => Cell::Filter(bar.label.clone(), href.clone()),
                None => Cell::text(&bar.label),
            };
            let mut cells = vec![name, Cell::Number(bar.value, self.format.clone())];
            if counts {
                cells.push(Cell::Number(bar.count.map_or(f64::NAN, float), Format::number(0)));
            }
            if targets {
                cells.push(Cell::Number(bar.target.unwrap_or(f64::NAN), self.format.clone()));
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
