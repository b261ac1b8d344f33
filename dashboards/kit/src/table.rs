//! Tables: cells that are text for people and plain numbers for files, and the panel of a long list, sorted and paged by links.

use std::{fmt, ops::Range};

use crate::{
    Filters, Query,
    charts::{Format, Meta, markup::Markup},
    csv,
};

/// Decimals of a number in a file: more than any figure of ours means, and short enough to read.
const FILE_DECIMALS: usize = 6;

/// One cell.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// Words.
    Text(String),
    /// A number, and how people see it.
    Number(f64, Format),
    /// Words that lead somewhere on this host.
    Link(String, String),
    /// Words that set one of the page's filters.
    Filter(String, String),
}

impl Cell {
    /// Words.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// As people see it.
    pub fn shown(&self) -> String {
        match self {
            Self::Text(text) | Self::Link(text, _) | Self::Filter(text, _) => text.clone(),
            Self::Number(value, format) if value.is_finite() => format.exact(*value),
            Self::Number(..) => String::new(),
        }
    }

    /// As a file has it: numbers without separators and units, shares as parts of one.
    pub fn plain(&self) -> String {
        match self {
            Self::Number(value, _) if value.is_finite() => plain(*value),
            _ => self.shown(),
        }
    }

    fn write(&self, out: &mut Markup) {
        match self {
            Self::Link(text, href) => out.tag("a").attr("href", href).text(text),
            Self::Filter(text, href) => out.tag("a").attr("href", href).attr("data-filter", "").text(text),
            Self::Text(_) | Self::Number(..) => out.text(&self.shown()),
        }
    }
}

fn plain(value: f64) -> String {
    let text = format!("{value:.FILE_DECIMALS$}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

/// Named columns and rows of as many cells. The first column names the row.
#[derive(Debug, Clone, Default)]
pub struct Table {
    /// The columns' names.
    pub head: Vec<String>,
    /// The rows.
    pub rows: Vec<Vec<Cell>>,
}

impl Table {
    /// A table.
    pub fn new<'a>(head: impl IntoIterator<Item = &'a str>, rows: Vec<Vec<Cell>>) -> Self {
        Self { head: head.into_iter().map(ToOwned::to_owned).collect(), rows }
    }

    /// The same as a file.
    pub fn csv(&self) -> String {
        let mut out = String::new();
        csv::record(&mut out, self.head.iter().map(String::as_str));
        for row in &self.rows {
            let cells: Vec<String> = row.iter().map(Cell::plain).collect();
            csv::record(&mut out, cells.iter().map(String::as_str));
        }
        out
    }

    /// The rows as a table's body; the first cell is the row's header.
    pub(crate) fn body(&self, out: &mut Markup) {
        out.tag("tbody").open();
        for row in &self.rows {
            out.tag("tr").open();
            for (place, cell) in row.iter().enumerate() {
                let (name, scope) = if place == 0 { ("th", Some("row")) } else { ("td", None) };
                let words = place > 0 && !matches!(cell, Cell::Number(..));
                out.tag(name).maybe("scope", scope).maybe("class", words.then_some("words")).open();
                cell.write(out);
                out.close(name);
            }
            out.close("tr");
        }
        out.close("tbody");
    }
}

/// How a list is sorted: `clv`, or `-clv` for the largest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sort {
    /// The column's name in the address.
    pub column: &'static str,
    /// The largest first.
    pub descending: bool,
}

impl Sort {
    /// What the address says, where it names one of `columns`; otherwise `default`.
    pub fn read(asked: Option<&str>, columns: &[&'static str], default: Self) -> Self {
        let Some(asked) = asked else { return default };
        let (name, descending) = asked.strip_prefix('-').map_or((asked, false), |name| (name, true));
        columns.iter().find(|column| **column == name).map_or(default, |column| Self { column, descending })
    }

    fn text(self) -> String {
        format!("{}{}", if self.descending { "-" } else { "" }, self.column)
    }
}

/// Which rows of a long list are on the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Paging {
    page: usize,
    size: usize,
    total: usize,
}

impl Paging {
    /// The page that the address asks for, or the nearest that there is. Pages count from 1.
    pub fn read(asked: Option<&str>, size: usize, total: usize) -> Self {
        let size = size.max(1);
        let page = asked.and_then(|asked| asked.parse().ok()).unwrap_or(1);
        Self { page: page.clamp(1, total.div_ceil(size).max(1)), size, total }
    }

    /// The rows on this page.
    pub fn range(self) -> Range<usize> {
        let start = (self.page - 1) * self.size;
        start.min(self.total)..(start + self.size).min(self.total)
    }

    fn last(self) -> usize {
        self.total.div_ceil(self.size).max(1)
    }
}

/// A column of a long list.
#[derive(Debug, Clone, Copy)]
struct Column {
    name: &'static str,
    /// Its name in the address, where one can sort by it.
    sort: Option<&'static str>,
    is_number: bool,
}

/// The panel of a long list: a real table, sorted and paged by links, its first column always in sight.
///
/// Rows come sorted and cut ([`Sort`], [`Paging`]); this draws them. Display writes the panel.
#[derive(Debug, Clone)]
pub struct DataTable {
    meta: Meta,
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
    sort: Option<Sort>,
    paging: Option<Paging>,
    path: String,
    query: Query,
}

impl DataTable {
    /// A table without columns; its links keep the filters.
    pub fn new(meta: Meta, filters: &Filters) -> Self {
        let (path, query) = (filters.path().to_owned(), filters.query());
        Self { meta, columns: Vec::new(), rows: Vec::new(), sort: None, paging: None, path, query }
    }

    /// A table of another page than the filters': its address, and what that says beside them.
    #[must_use]
    pub fn at(mut self, path: &str, pairs: &[(&str, &str)]) -> Self {
        path.clone_into(&mut self.path);
        self.query = pairs.iter().fold(self.query, |query, (name, value)| query.with(name, value));
        self
    }

    /// A column of words.
    #[must_use]
    pub fn words(mut self, name: &'static str, sort: Option<&'static str>) -> Self {
        self.columns.push(Column { name, sort, is_number: false });
        self
    }

    /// A column of numbers.
    #[must_use]
    pub fn numbers(mut self, name: &'static str, sort: Option<&'static str>) -> Self {
        self.columns.push(Column { name, sort, is_number: true });
        self
    }

    /// The rows on this page.
    #[must_use]
    pub fn rows(mut self, rows: impl IntoIterator<Item = Vec<Cell>>) -> Self {
        self.rows = rows.into_iter().collect();
        self
    }

    /// How the rows are sorted.
    #[must_use]
    pub fn sorted(mut self, sort: Sort) -> Self {
        self.sort = Some(sort);
        self
    }

    /// Which part of the list the rows are.
    #[must_use]
    pub fn paged(mut self, paging: Paging) -> Self {
        self.paging = Some(paging);
        self
    }

    /// The rows on this page, for a file.
    pub fn table(&self) -> Table {
        Table::new(self.columns.iter().map(|column| column.name), self.rows.clone())
    }

    pub(crate) fn meta(&self) -> &Meta {
        &self.meta
    }

    fn head(&self, out: &mut Markup) {
        out.tag("thead").open();
        out.tag("tr").open();
        for column in &self.columns {
            let sorted = self.sort.filter(|sort| Some(sort.column) == column.sort);
            let order = sorted.map(|sort| if sort.descending { "descending" } else { "ascending" });
            let words = (!column.is_number).then_some("words");
            out.tag("th").attr("scope", "col").maybe("class", words).maybe("aria-sort", order).open();
            match column.sort {
                Some(name) => self.heading(out, column, name, sorted),
                None => out.text(column.name),
            }
            out.close("th");
        }
        out.close("tr");
        out.close("thead");
    }

    /// A second click turns the order round; numbers start with the largest, words with the first.
    fn heading(&self, out: &mut Markup, column: &Column, name: &'static str, sorted: Option<Sort>) {
        let descending = sorted.map_or(column.is_number, |sort| !sort.descending);
        let href = self.query.with("sort", &Sort { column: name, descending }.text()).href(&self.path);
        out.tag("a").attr("href", &href).attr("data-filter", "").attr("data-key", name).open();
        out.text(column.name);
        if let Some(sort) = sorted {
            out.tag("span").attr("aria-hidden", "true").text(if sort.descending { " ▼" } else { " ▲" });
        }
        out.close("a");
    }

    fn pages(&self, out: &mut Markup) {
        let Some(paging) = self.paging.filter(|paging| paging.last() > 1) else { return };
        let label = format!("{}, pages", self.meta.title());
        out.tag("nav").attr("class", "pages").attr("aria-label", &label).open();
        let link = |out: &mut Markup, name: &str, page: usize| {
            let query = self.query.with("page", if page > 1 { page.to_string() } else { String::new() }.as_str());
            out.tag("a")
                .attr("href", &query.href(&self.path))
                .attr("data-filter", "")
                .attr("data-key", name)
                .text(name);
        };
        if paging.page > 1 {
            link(out, "Previous", paging.page - 1);
        }
        let count = Format::number(0);
        let [page, last] = [paging.page, paging.last()].map(|n| count.text(n as f64));
        out.tag("span").text(&format!("Page {page} of {last}"));
        if paging.page < paging.last() {
            link(out, "Next", paging.page + 1);
        }
        out.close("nav");
    }

    fn markup(&self) -> Markup {
        let mut out = Markup::default();
        self.meta.open(&mut out, "chart-table");
        if self.rows.is_empty() {
            out.tag("p").attr("class", "chart-empty").text("No data for this selection.");
            out.close("figure");
            return out;
        }
        let mut scroll = out.tag("div").attr("class", "scroll").attr("role", "region");
        scroll = scroll.attr("aria-label", self.meta.title()).attr("tabindex", "0");
        scroll.open();
        out.tag("table").attr("class", "list").open();
        self.head(&mut out);
        self.table().body(&mut out);
        out.close("table");
        out.close("div");
        out.tag("div").attr("class", "chart-foot").open();
        self.pages(&mut out);
        self.meta.link(&mut out);
        out.close("div");
        out.close("figure");
        out
    }
}

impl fmt::Display for DataTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.markup().as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_plain_numbers_where_people_see_grouped_ones() {
        let row = vec![
            Cell::text("=A"),
            Cell::Number(-1_234.5, Format::compact()),
            Cell::Number(0.468_123_49, Format::percent(0)),
            Cell::Number(f64::NAN, Format::compact()),
        ];
        let table = Table::new(["Name", "Value", "Share", "None"], vec![row]);
        assert_eq!(table.csv(), "Name,Value,Share,None\r\n'=A,-1234.5,0.468123,\r\n");
        assert_eq!(table.rows[0].iter().map(Cell::shown).collect::<Vec<_>>(), ["=A", "-1,234.5", "47%", ""]);
    }

    #[test]
    fn an_order_or_a_page_that_there_is_not_is_the_nearest_that_there_is() {
        let default = Sort { column: "clv", descending: true };
        let read = |asked| Sort::read(asked, &["clv", "orders"], default).text();
        assert_eq!(
            [read(None), read(Some("orders")), read(Some("-orders")), read(Some("x"))],
            ["-clv", "orders", "-orders", "-clv"]
        );
        let range = |asked, total| Paging::read(asked, 20, total).range();
        assert_eq!(
            [range(None, 41), range(Some("3"), 41), range(Some("9"), 41), range(Some("0"), 41)],
            [0..20, 40..41, 40..41, 0..20]
        );
        assert_eq!([range(Some("x"), 0), range(Some("2"), 20)], [0..0, 0..20]);
    }

    #[test]
    fn its_links_sort_and_page_and_keep_the_filters() {
        let asked = Query::parse("segment=Loyal&sort=-clv&page=2").unwrap();
        let paging = Paging::read(asked.get("page"), 1, 3);
        let filters = Filters::new("/", asked).keep("sort").select("segment", "Segment", "All", ["Loyal"]).unwrap();
        let html = DataTable::new(Meta::new("t", "Best & worst"), &filters)
            .words("Customer", Some("id"))
            .numbers("CLV", Some("clv"))
            .rows([vec![
                Cell::Link("<A>".into(), "/customer?customer=A".into()),
                Cell::Number(2_950.0, Format::number(0)),
            ]])
            .sorted(Sort { column: "clv", descending: true })
            .paged(paging)
            .to_string();
        for part in [
            "aria-sort=\"descending\"><a href=\"/?segment=Loyal&amp;sort=clv\" data-filter=\"\" data-key=\"clv\">CLV<span aria-hidden=\"true\"> ▼",
            "<th scope=\"col\" class=\"words\"><a href=\"/?segment=Loyal&amp;sort=id\"",
            "<th scope=\"row\"><a href=\"/customer?customer=A\">&lt;A&gt;</a></th><td>2,950</td>",
            "href=\"/?segment=Loyal&amp;sort=-clv\" data-filter=\"\" data-key=\"Previous\"",
            "href=\"/?segment=Loyal&amp;sort=-clv&amp;page=3\"",
            "Page 2 of 3",
            "aria-label=\"Best &amp; worst, pages\"",
        ] {
            assert!(html.contains(part), "{part}\nin\n{html}");
        }
    }
}
