//! A part of a page: markup that its builder has escaped, and the data behind it for a file.

use std::fmt::Display;

use crate::{
    DataTable,
    charts::{Chart, markup::Markup},
    table::Table,
};

/// A part of a page.
pub struct Panel {
    html: String,
    data: Option<(String, Table)>,
}

impl Panel {
    /// Markup that its builder has escaped, as those in [`charts`](crate::charts) do.
    pub fn new(html: &impl Display) -> Self {
        Self { html: html.to_string(), data: None }
    }

    /// A chart, with its data.
    pub fn chart(chart: &impl Chart) -> Self {
        Self { html: chart.to_string(), data: Some((chart.id().to_owned(), chart.data())) }
    }

    /// A long list, with the rows on this page.
    pub fn list(list: &DataTable) -> Self {
        Self { html: list.to_string(), data: Some((list.meta().id().to_owned(), list.table())) }
    }

    /// A list of names and values, with what to know about them.
    pub fn facts(title: &str, facts: &[(&str, String)], notes: &[String]) -> Self {
        let mut out = Markup::default();
        out.tag("section").attr("class", "panel").open();
        out.tag("h2").text(title);
        for note in notes {
            out.tag("p").text(note);
        }
        out.tag("dl").attr("class", "facts").open();
        for (name, value) in facts {
            out.tag("dt").text(name);
            out.tag("dd").text(value);
        }
        out.close("dl");
        out.close("section");
        Self { html: out.as_str().to_owned(), data: None }
    }

    /// The same with all the data for a file, where the panel shows a part of it.
    #[must_use]
    pub fn with_data(mut self, all: Table) -> Self {
        self.data = self.data.map(|(id, _)| (id, all));
        self
    }

    pub(crate) fn html(&self) -> &str {
        &self.html
    }

    pub(crate) fn id(&self) -> Option<&str> {
        self.data.as_ref().map(|(id, _)| id.as_str())
    }

    pub(crate) fn into_data(self) -> Table {
        self.data.map(|(_, table)| table).unwrap_or_default()
    }
}
