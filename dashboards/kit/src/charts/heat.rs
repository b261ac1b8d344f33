//! Heat map and cohort triangle. It is a real table: readers get headers and the contrast of each cell can be checked.

use std::fmt;

use crate::charts::figure::{Chart, Meta, foot};
use crate::charts::format::Format;
use crate::charts::markup::Markup;
use crate::charts::scale::{extent, index};
use crate::table::{Cell, Table};

/// A grid of cells shaded in ten levels. Display writes the figure.
#[derive(Debug, Clone)]
pub struct Heat {
    meta: Meta,
    format: Format,
    columns: Vec<String>,
    rows: Vec<(String, Vec<f64>)>,
    range: Option<(f64, f64)>,
    /// Columns that stand in the data only.
    extra: Vec<(String, Format, Vec<f64>)>,
}

impl Heat {
    /// A grid with named columns.
    pub fn new<T: Into<String>>(meta: Meta, format: Format, columns: impl IntoIterator<Item = T>) -> Self {
        let columns = columns.into_iter().map(Into::into).collect();
        Self { meta, format, columns, rows: Vec::new(), range: None, extra: Vec::new() }
    }

    /// Adds a row. Missing and not finite values stay blank, so a short row makes a triangle.
    #[must_use]
    pub fn row(mut self, label: impl Into<String>, values: impl IntoIterator<Item = f64>) -> Self {
        self.rows.push((label.into(), values.into_iter().collect()));
        self
    }

    /// Fixes the values of the lightest and the darkest level; otherwise the data do.
    #[must_use]
    pub fn range(mut self, low: f64, high: f64) -> Self {
        self.range = Some((low, high));
        self
    }

    /// Adds a column to the data under the grid, one value per row: how many each row stands for.
    #[must_use]
    pub fn data_column(
        mut self,
        name: impl Into<String>,
        format: Format,
        values: impl IntoIterator<Item = f64>,
    ) -> Self {
        self.extra.push((name.into(), format, values.into_iter().collect()));
        self
    }

    fn shown(&self) -> impl Iterator<Item = f64> {
        let columns = self.columns.len();
        self.rows.iter().flat_map(move |(_, values)| values.iter().copied().take(columns))
    }

    fn cell(&self, out: &mut Markup, (low, high): (f64, f64), row: &str, column: &str, value: f64) {
        if !value.is_finite() {
            out.tag("td").text("");
            return;
        }
        let share = if high > low { (value - low) / (high - low) } else { 0.5 };
        let text = self.format.text(value);
        out.tag("td")
            .attr("class", &format!("h{}", index(share * 10.0, 9)))
            .attr("data-key", row)
            .attr("data-tip", &format!("{row}, {column}: {text}"))
            .text(&text);
    }

    fn write(&self) -> Markup {
        let mut out = Markup::default();
        self.meta.open(&mut out, "chart-heat");
        let Some(range) = self.range.or_else(|| extent(self.shown())) else {
            out.tag("p").attr("class", "chart-empty").text("No data for this selection.");
            out.close("figure");
            return out;
        };
        out.tag("div")
            .attr("class", "scroll")
            .attr("role", "region")
            .attr("aria-label", self.meta.title())
            .attr("tabindex", "0")
            .attr("data-nav", "grid")
            .open();
        out.tag("table").attr("class", "heat").open();
        let facts = format!("{} rows, {} columns.", self.rows.len(), self.columns.len());
        out.tag("caption").attr("class", "chart-sr").text(&self.meta.description(&facts));
        out.tag("thead").open();
        out.tag("tr").open();
        out.tag("th").attr("scope", "col").text(self.meta.row_name());
        for column in &self.columns {
            out.tag("th").attr("scope", "col").text(column);
        }
        out.close("tr");
        out.close("thead");
        out.tag("tbody").open();
        for (label, values) in &self.rows {
            out.tag("tr").open();
            out.tag("th").attr("scope", "row").text(label);
            for (place, column) in self.columns.iter().enumerate() {
                let value = values.get(place).copied().unwrap_or(f64::NAN);
                self.cell(&mut out, range, label, column, value);
            }
            out.close("tr");
        }
        for name in ["tbody", "table", "div"] {
            out.close(name);
        }
        foot(&mut out, &self.meta, &self.data());
        out.close("figure");
        out
    }
}

impl Chart for Heat {
    fn id(&self) -> &str {
        self.meta.id()
    }

    fn data(&self) -> Table {
        let names = std::iter::once(self.meta.row_name()).chain(self.extra.iter().map(|(name, ..)| name.as_str()));
        let head = names.chain(self.columns.iter().map(String::as_str));
        let row = |(place, (label, values)): (usize, &(String, Vec<f64>))| {
            let at = |values: &[f64], place: usize| values.get(place).copied().unwrap_or(f64::NAN);
            let extra = self.extra.iter().map(|(_, format, all)| Cell::Number(at(all, place), format.clone()));
            let shown = (0..self.columns.len()).map(|column| Cell::Number(at(values, column), self.format.clone()));
            std::iter::once(Cell::text(label)).chain(extra).chain(shown).collect()
        };
        Table::new(head, self.rows.iter().enumerate().map(row).collect())
    }
}

impl fmt::Display for Heat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.write().as_str())
    }
}
