//! Stacked share bars: each row is a whole, split into parts.

use std::fmt;

use crate::charts::axis::{fit, width};
use crate::charts::figure::{Canvas, Drawing, Key, Meta, colour, render};
use crate::charts::format::Format;
use crate::charts::markup::Markup;
use crate::charts::plot::label;
use crate::charts::scale::float;
use crate::table::{Cell, Table};

const ROW: f64 = 32.0;

/// Rows of stacked parts that fill the width. Display writes the figure.
#[derive(Debug, Clone)]
pub struct Shares {
    meta: Meta,
    format: Format,
    parts: Vec<String>,
    rows: Vec<(String, Vec<f64>)>,
}

impl Shares {
    /// A chart with named parts; `format` shows the amounts behind the shares.
    pub fn new<T: Into<String>>(meta: Meta, format: Format, parts: impl IntoIterator<Item = T>) -> Self {
        Self { meta, format, parts: parts.into_iter().map(Into::into).collect(), rows: Vec::new() }
    }

    /// Adds a row with one amount per part. Amounts below zero or not finite count as zero.
    #[must_use]
    pub fn row(mut self, label: impl Into<String>, amounts: impl IntoIterator<Item = f64>) -> Self {
        let clean = |v: f64| if v.is_finite() { v.max(0.0) } else { 0.0 };
        let mut amounts: Vec<f64> = amounts.into_iter().map(clean).collect();
        amounts.resize(self.parts.len(), 0.0);
        self.rows.push((label.into(), amounts));
        self
    }

    fn part(&self, out: &mut Markup, row: usize, place: usize, share: f64, (from, to): (f64, f64)) {
        let (name, amounts) = &self.rows[row];
        let part = &self.parts[place];
        let percent = Format::percent(1).text(share);
        let lead = if name.is_empty() { String::new() } else { format!("{name}\n") };
        let tip = format!("{lead}{part}: {percent} ({})", self.format.text(amounts[place]));
        let top = float(row) * ROW + 2.0;
        out.tag("rect")
            .attr("class", &format!("bar part {}", colour(place)))
            .attr("data-key", part)
            .attr("data-tip", &tip)
            .num("x", from)
            .num("y", top)
            .num("width", (to - from - 1.5).max(0.5))
            .num("height", ROW - 8.0)
            .num("rx", 2.0)
            .empty();
        let text = Format::percent(0).text(share);
        if width(&text) + 8.0 < to - from {
            label(out, &format!("in mid {}", colour(place)), f64::midpoint(from, to), top + 16.0, &text);
        }
    }
}

impl Drawing for Shares {
    const CLASS: &'static str = "chart-shares";

    fn meta(&self) -> &Meta {
        &self.meta
    }

    fn facts(&self) -> String {
        let [(_, amounts)] = self.rows.as_slice() else {
            return format!("{} rows.", self.rows.len());
        };
        let total: f64 = amounts.iter().sum();
        let text = |(part, amount): (&String, &f64)| format!("{part} {}", Format::percent(1).text(amount / total));
        self.parts.iter().zip(amounts).map(text).collect::<Vec<_>>().join(", ") + "."
    }

    fn is_empty(&self) -> bool {
        self.rows.iter().all(|(_, amounts)| amounts.iter().sum::<f64>() <= 0.0)
    }

    fn key(&self) -> Key {
        Key::Always(self.parts.clone())
    }

    fn height(&self, _: Canvas) -> f64 {
        float(self.rows.len()) * ROW
    }

    fn draw(&self, out: &mut Markup, canvas: Canvas) {
        let names = self.rows.iter().map(|(name, _)| width(name)).fold(0.0, f64::max).min(canvas.width * 0.38);
        let left = if names > 0.0 { names + 12.0 } else { 0.0 };
        let room = canvas.width - left;
        for (row, (name, amounts)) in self.rows.iter().enumerate() {
            label(out, "tick", 0.0, float(row) * ROW + 18.0, &fit(name, names));
            let total: f64 = amounts.iter().sum();
            let mut from = left;
            for (place, amount) in amounts.iter().enumerate().filter(|(_, a)| **a > 0.0) {
                let share = amount / total;
                let to = from + share * room;
                self.part(out, row, place, share, (from, to));
                from = to;
            }
        }
    }

    fn table(&self) -> Table {
        let head = std::iter::once(self.meta.row_name()).chain(self.parts.iter().map(String::as_str));
        let row = |(name, amounts): &(String, Vec<f64>)| {
            let numbers = amounts.iter().map(|amount| Cell::Number(*amount, self.format.clone()));
            std::iter::once(Cell::text(name)).chain(numbers).collect()
        };
        Table::new(head, self.rows.iter().map(row).collect())
    }
}

impl fmt::Display for Shares {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(render(self).as_str())
    }
}
