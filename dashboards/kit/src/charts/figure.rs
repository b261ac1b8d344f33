//! The frame around every chart: caption, the drawing at two widths, a key and the data table.

use std::fmt::Write as _;

use crate::{charts::markup::Markup, table::Table};

/// How wide the panel is on the page. It sets the width of the drawing, so that text keeps its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Size {
    /// The whole page.
    Full,
    /// A little more than half of the page.
    #[default]
    Wide,
    /// Half of the page or less.
    Half,
}

/// What every chart has: an id, a title, a note beside it and one sentence that says what the chart shows.
#[derive(Debug, Clone)]
pub struct Meta {
    id: String,
    title: String,
    note: String,
    summary: String,
    rows: String,
    csv: Option<String>,
    size: Size,
}

impl Meta {
    /// The id must be unique on the page; characters that an id reference cannot hold become `-`.
    #[must_use]
    pub fn new(id: &str, title: impl Into<String>) -> Self {
        let id = id.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' }).collect();
        Self {
            id,
            title: title.into(),
            note: String::new(),
            summary: String::new(),
            rows: "Name".into(),
            csv: None,
            size: Size::default(),
        }
    }

    /// A short line under or beside the title: unit, period, how to read it.
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }

    /// One sentence with the finding, for people who cannot see the drawing.
    #[must_use]
    pub fn summary(mut self, summary: impl Into<String>) -> Self {
        self.summary = summary.into();
        self
    }

    /// What each row of the data is, for the head of the first column: `Month`.
    #[must_use]
    pub fn rows(mut self, rows: impl Into<String>) -> Self {
        self.rows = rows.into();
        self
    }

    /// Where the data can be had as a file.
    #[must_use]
    pub fn csv(mut self, href: impl Into<String>) -> Self {
        self.csv = Some(href.into());
        self
    }

    /// The width of the panel.
    #[must_use]
    pub fn size(mut self, size: Size) -> Self {
        self.size = size;
        self
    }

    /// The id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The title.
    pub(crate) fn title(&self) -> &str {
        &self.title
    }

    /// The head of the first column of the data.
    pub(crate) fn row_name(&self) -> &str {
        &self.rows
    }

    /// The link to the data as a file.
    pub(crate) fn link(&self, out: &mut Markup) {
        let Some(href) = &self.csv else { return };
        out.tag("a").attr("class", "csv").attr("href", href).attr("download", "").open();
        out.tag("span").attr("class", "chart-sr").text(&format!("{}, ", self.title));
        out.text("CSV");
        out.close("a");
    }

    /// The sentence for people who cannot see the drawing, with `facts` behind it.
    pub(crate) fn description(&self, facts: &str) -> String {
        match (self.summary.trim_end_matches('.'), facts) {
            ("", facts) => facts.to_owned(),
            (summary, "") => format!("{summary}."),
            (summary, facts) => format!("{summary}. {facts}"),
        }
    }

    /// Opens the figure and writes its caption.
    pub(crate) fn open(&self, out: &mut Markup, kind: &'static str) {
        let size = match self.size {
            Size::Full => "chart-full",
            Size::Wide => "chart-wide",
            Size::Half => "chart-half",
        };
        out.tag("figure").attr("class", &format!("chart {kind} {size}")).attr("id", &self.id).open();
        out.tag("figcaption").open();
        out.tag("h2").text(&self.title);
        if !self.note.is_empty() {
            out.tag("p").text(&self.note);
        }
        out.close("figcaption");
    }
}

/// The space of one drawing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Canvas {
    pub(crate) width: f64,
    pub(crate) narrow: bool,
}

/// Which key stands under the drawing.
pub(crate) enum Key {
    /// None.
    None,
    /// Only where the drawing is narrow; elsewhere lines carry their labels.
    Narrow(Vec<String>),
    /// Always.
    Always(Vec<String>),
}

/// A chart that is drawn as SVG.
pub(crate) trait Drawing {
    /// Class of the figure.
    const CLASS: &'static str;

    fn meta(&self) -> &Meta;
    /// Facts for the description: counts, extremes.
    fn facts(&self) -> String;
    fn height(&self, canvas: Canvas) -> f64;
    fn draw(&self, out: &mut Markup, canvas: Canvas);
    fn table(&self) -> Table;
    fn is_empty(&self) -> bool;

    fn key(&self) -> Key {
        Key::None
    }

    /// Whether marks are links; then each mark is a tab stop and the drawing is a group, not one picture.
    fn linked(&self) -> bool {
        false
    }
}

/// Renders the whole figure.
pub(crate) fn render<D: Drawing>(chart: &D) -> Markup {
    let mut out = Markup::default();
    let meta = chart.meta();
    meta.open(&mut out, D::CLASS);
    if chart.is_empty() {
        out.tag("p").attr("class", "chart-empty").text("No data for this selection.");
        out.close("figure");
        return out;
    }
    let width = match meta.size {
        Size::Full => 1_120.0,
        Size::Wide => 680.0,
        Size::Half => 460.0,
    };
    out.tag("div").attr("class", "chart-body").open();
    svg(&mut out, chart, Canvas { width, narrow: false });
    svg(&mut out, chart, Canvas { width: 340.0, narrow: true });
    key(&mut out, &chart.key());
    out.close("div");
    foot(&mut out, meta, &chart.table());
    out.close("figure");
    out
}

fn svg<D: Drawing>(out: &mut Markup, chart: &D, canvas: Canvas) {
    let meta = chart.meta();
    let variant = if canvas.narrow { "n" } else { "w" };
    let (title, desc) = (format!("{}-{variant}-t", meta.id), format!("{}-{variant}-d", meta.id));
    let mut view = String::from("0 0 ");
    // Writing to a String cannot fail.
    let _ = write!(view, "{:.0} {:.0}", canvas.width, chart.height(canvas));
    let linked = chart.linked();
    out.tag("svg")
        .attr("class", variant)
        .attr("viewBox", &view)
        .attr("role", if linked { "group" } else { "img" })
        .attr("aria-labelledby", &format!("{title} {desc}"))
        .maybe("tabindex", (!linked).then_some("0"))
        .maybe("data-nav", (!linked).then_some("line"))
        .open();
    out.tag("title").attr("id", &title).text(&meta.title);
    out.tag("desc").attr("id", &desc).text(&meta.description(&chart.facts()));
    chart.draw(out, canvas);
    out.close("svg");
}

fn key(out: &mut Markup, key: &Key) {
    let (class, names) = match key {
        Key::None => return,
        Key::Narrow(names) => ("chart-key n", names),
        Key::Always(names) => ("chart-key", names),
    };
    out.tag("ul").attr("class", class).open();
    for (i, name) in names.iter().enumerate() {
        out.tag("li").open();
        out.tag("i").attr("class", colour(i)).text("");
        out.text(name);
        out.close("li");
    }
    out.close("ul");
}

/// What stands under every chart: its data as a table, and as a file.
pub(crate) fn foot(out: &mut Markup, meta: &Meta, table: &Table) {
    out.tag("div").attr("class", "chart-foot").open();
    out.tag("details").attr("class", "data").open();
    out.tag("summary").open();
    out.text("Show data");
    out.tag("span").attr("class", "chart-sr").text(&format!(" of {}", meta.title));
    out.close("summary");
    let label = format!("{}, data", meta.title);
    let scroll = out.tag("div").attr("class", "scroll").attr("role", "region").attr("aria-label", &label);
    scroll.attr("tabindex", "0").open();
    out.tag("table").open();
    out.tag("thead").open();
    out.tag("tr").open();
    for name in &table.head {
        out.tag("th").attr("scope", "col").text(name);
    }
    out.close("tr");
    out.close("thead");
    table.body(out);
    for name in ["table", "div", "details"] {
        out.close(name);
    }
    meta.link(out);
    out.close("div");
}

/// Colour class of the series at `place`; there are five, then they repeat.
pub(crate) fn colour(place: usize) -> &'static str {
    ["c1", "c2", "c3", "c4", "c5"][place % 5]
}

/// What a panel needs of a chart beside its markup: its id, and its data for a file.
pub trait Chart: std::fmt::Display {
    /// Unique on the page; the file's name too.
    fn id(&self) -> &str;
    /// The numbers behind it.
    fn data(&self) -> Table;
}

impl<D: Drawing + std::fmt::Display> Chart for D {
    fn id(&self) -> &str {
        &self.meta().id
    }

    fn data(&self) -> Table {
        self.table()
    }
}
