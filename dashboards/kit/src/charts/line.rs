//! Line chart: several series, an optional band per series, reference lines, labels at the ends of the lines.

use std::fmt::{self, Write as _};

use crate::charts::axis::{Axis, fit, width};
use crate::charts::figure::{Canvas, Drawing, Key, Meta, colour, render};
use crate::charts::format::Format;
use crate::charts::markup::{Markup, Path};
use crate::charts::plot::{self, Places, Plot, label};
use crate::charts::scale::{Ticks, float};
use crate::table::{Cell, Table};

/// One line. A value that is not finite leaves a gap; a line may be shorter than the axis.
#[derive(Debug, Clone)]
pub struct Series {
    name: String,
    values: Vec<f64>,
    band: Vec<(f64, f64)>,
}

impl Series {
    /// A line with a name.
    #[must_use]
    pub fn new(name: impl Into<String>, values: impl IntoIterator<Item = f64>) -> Self {
        Self { name: name.into(), values: values.into_iter().collect(), band: Vec::new() }
    }

    /// A band around the line: lower and upper bound per place.
    #[must_use]
    pub fn band(mut self, bounds: impl IntoIterator<Item = (f64, f64)>) -> Self {
        self.band = bounds.into_iter().collect();
        self
    }

    fn value(&self, place: usize) -> Option<f64> {
        self.values.get(place).copied().filter(|v| v.is_finite())
    }

    fn bounds(&self, place: usize) -> Option<(f64, f64)> {
        self.band.get(place).copied().filter(|(a, b)| a.is_finite() && b.is_finite())
    }

    fn last(&self, places: usize) -> Option<(usize, f64)> {
        (0..places.min(self.values.len())).rev().find_map(|i| Some((i, self.value(i)?)))
    }
}

/// A line chart. Display writes the figure.
#[derive(Debug, Clone)]
pub struct Line {
    meta: Meta,
    axis: Axis,
    format: Format,
    series: Vec<Series>,
    references: Vec<(f64, String)>,
    marks: Vec<(usize, String)>,
    zero: bool,
}

impl Line {
    /// A chart without lines; its vertical axis starts at zero.
    #[must_use]
    pub fn new(meta: Meta, axis: Axis, format: Format) -> Self {
        Self { meta, axis, format, series: Vec::new(), references: Vec::new(), marks: Vec::new(), zero: true }
    }

    /// Adds a line. More than five repeat the colours: group the rest first.
    #[must_use]
    pub fn series(mut self, series: Series) -> Self {
        self.series.push(series);
        self
    }

    /// Adds a dashed horizontal line, for a limit or a cost.
    #[must_use]
    pub fn reference(mut self, value: f64, label: impl Into<String>) -> Self {
        self.references.push((value, label.into()));
        self
    }

    /// Marks a place with a dashed vertical line: where something ends or begins.
    #[must_use]
    pub fn mark(mut self, place: usize, label: impl Into<String>) -> Self {
        self.marks.push((place, label.into()));
        self
    }

    /// Lets the vertical axis start near the smallest value.
    #[must_use]
    pub fn from_minimum(mut self) -> Self {
        self.zero = false;
        self
    }

    fn lines(&self, out: &mut Markup, plot: &Plot<'_>) {
        for (i, series) in self.series.iter().enumerate() {
            let mut path = Path::default();
            let mut single = Vec::new();
            for place in 0..self.axis.len() {
                let Some(value) = series.value(place) else { continue };
                let (x, y) = (plot.x(place), plot.y(value));
                let before = place.checked_sub(1).and_then(|p| series.value(p)).is_some();
                let after = place + 1 < self.axis.len() && series.value(place + 1).is_some();
                match (before, after) {
                    (true, _) => path.line(x, y),
                    (false, true) => path.go(x, y),
                    (false, false) => single.push((x, y)),
                }
            }
            let (line, dot) = (format!("line {}", colour(i)), format!("dot {}", colour(i)));
            if !path.data().is_empty() {
                out.tag("path").attr("class", &line).attr("data-key", &series.name).attr("d", path.data()).empty();
            }
            for (x, y) in single {
                out.tag("circle").attr("class", &dot).num("cx", x).num("cy", y).num("r", 3.5).empty();
            }
        }
    }

    fn bands(&self, out: &mut Markup, plot: &Plot<'_>) {
        for (i, series) in self.series.iter().enumerate() {
            let bounds: Vec<_> = (0..self.axis.len()).filter_map(|p| Some((p, series.bounds(p)?))).collect();
            if bounds.len() < 2 {
                continue;
            }
            let mut path = Path::default();
            for (n, (place, (low, _))) in bounds.iter().enumerate() {
                let (x, y) = (plot.x(*place), plot.y(*low));
                if n == 0 { path.go(x, y) } else { path.line(x, y) }
            }
            for (place, (_, high)) in bounds.iter().rev() {
                path.line(plot.x(*place), plot.y(*high));
            }
            path.close();
            out.tag("path").attr("class", &format!("band {}", colour(i))).attr("d", path.data()).empty();
        }
    }

    /// Names at the ends: to the right of lines that reach the edge, above the last point of the others.
    fn names(&self, out: &mut Markup, plot: &Plot<'_>, spare: f64) {
        let places = self.axis.len();
        let mut right: Vec<(f64, &str)> = Vec::new();
        for series in &self.series {
            match series.last(places) {
                Some((place, value)) if place + 1 == places => right.push((plot.y(value), &series.name)),
                Some((place, value)) => {
                    let x = plot.x(place).max(plot.left + width(&series.name) / 2.0);
                    label(out, "name mid", x, plot.y(value) - 8.0, &series.name);
                }
                None => {}
            }
        }
        right.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut free = f64::NEG_INFINITY;
        for (i, (y, name)) in right.iter().enumerate() {
            // Push down past the label above, but leave room for the labels below.
            let below = float(right.len() - 1 - i) * 14.0;
            let y = y.max(free).min((plot.bottom - below).max(free));
            free = y + 14.0;
            label(out, "name", plot.right + 6.0, y + 4.0, &fit(name, spare));
        }
    }

    fn tip(&self, place: usize) -> String {
        let mut tip = self.axis.label(place).to_owned();
        for series in &self.series {
            let Some(value) = series.value(place) else { continue };
            tip.push('\n');
            if !series.name.is_empty() {
                tip.push_str(&series.name);
                tip.push_str(": ");
            }
            tip.push_str(&self.format.text(value));
            if let Some((low, high)) = series.bounds(place) {
                // Writing to a String cannot fail.
                let _ = write!(tip, " ({} to {})", self.format.text(low), self.format.text(high));
            }
        }
        tip
    }
}

impl Drawing for Line {
    const CLASS: &'static str = "chart-line";

    fn meta(&self) -> &Meta {
        &self.meta
    }

    fn facts(&self) -> String {
        let ends = self.series.iter().filter_map(|s| {
            let (_, value) = s.last(self.axis.len())?;
            Some(format!(
                "{} ends at {}",
                if s.name.is_empty() { "The line" } else { &s.name },
                self.format.text(value)
            ))
        });
        ends.collect::<Vec<_>>().join("; ") + "."
    }

    fn is_empty(&self) -> bool {
        self.series.iter().all(|s| s.last(self.axis.len()).is_none())
    }

    fn height(&self, canvas: Canvas) -> f64 {
        plot::height(canvas)
    }

    fn key(&self) -> Key {
        match self.series.as_slice() {
            [_] => Key::None,
            many => Key::Narrow(many.iter().map(|s| s.name.clone()).collect()),
        }
    }

    fn draw(&self, out: &mut Markup, canvas: Canvas) {
        let bounds = self.series.iter().flat_map(|s| s.band.iter().flat_map(|(low, high)| [*low, *high]));
        let values = self.series.iter().flat_map(|s| s.values.iter().copied());
        let references = self.references.iter().map(|(value, _)| *value);
        let ticks = Ticks::nice(values.chain(bounds).chain(references), self.zero, 4);
        let longest = self.series.iter().map(|s| width(&s.name)).fold(0.0, f64::max).min(120.0);
        // One line is what the title says.
        let named = !canvas.narrow && longest > 0.0 && self.series.len() > 1;
        let spare = if named { longest + 12.0 } else { 0.0 };
        let plot = Plot::new(canvas, ticks, &self.format, self.axis.len(), Places::Points, spare);
        plot.grid(out);
        plot.axis(out, &self.axis);
        for (value, text) in &self.references {
            plot.reference(out, *value, text);
        }
        for (place, text) in self.marks.iter().filter(|(place, _)| *place < self.axis.len()) {
            plot.mark(out, *place, text);
        }
        self.bands(out, &plot);
        self.lines(out, &plot);
        if named {
            self.names(out, &plot, longest);
        }
        for place in 0..self.axis.len() {
            plot.hit(out, place, self.axis.key(place), &self.tip(place));
        }
    }

    fn table(&self) -> Table {
        let mut head = vec![self.meta.row_name()];
        for series in &self.series {
            head.push(if series.name.is_empty() { "Value" } else { &series.name });
            if !series.band.is_empty() {
                head.extend(["Low", "High"]);
            }
        }
        let number = |value: Option<f64>| Cell::Number(value.unwrap_or(f64::NAN), self.format.clone());
        let row = |place: usize| {
            let mut cells = vec![Cell::text(self.axis.label(place))];
            for series in &self.series {
                cells.push(number(series.value(place)));
                if !series.band.is_empty() {
                    let bounds = series.bounds(place);
                    cells.extend([number(bounds.map(|b| b.0)), number(bounds.map(|b| b.1))]);
                }
            }
            cells
        };
        Table::new(head, (0..self.axis.len()).map(row).collect())
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(render(self).as_str())
    }
}
