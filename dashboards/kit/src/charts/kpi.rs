//! Key figures: a label, a number, a sparkline and a trend in words.

use std::fmt;

use crate::charts::format::Format;
use crate::charts::markup::{Markup, Path};
use crate::charts::scale::{Linear, extent, float};

/// How to judge a figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// As wished.
    Good,
    /// Near or over a limit.
    Warn,
    /// Not as wished.
    Bad,
    /// Neither.
    Plain,
}

impl Tone {
    pub(crate) fn class(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Warn => "warn",
            Self::Bad => "bad",
            Self::Plain => "plain",
        }
    }
}

/// Which direction of change is wished for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// More is better.
    Up,
    /// Less is better.
    Down,
    /// Neither.
    Either,
}

/// One key figure.
#[derive(Debug, Clone)]
pub struct Kpi {
    label: String,
    value: String,
    spark: Vec<f64>,
    state: Option<(Tone, String)>,
    note: String,
    about: String,
}

impl Kpi {
    /// A figure that is already formatted, so that it can be any text.
    #[must_use]
    pub fn new(label: impl Into<String>, value: impl Into<String>) -> Self {
        Self {
            label: label.into(),
            value: value.into(),
            spark: Vec::new(),
            state: None,
            note: String::new(),
            about: String::new(),
        }
    }

    /// Recent values, old to new, for a small line.
    #[must_use]
    pub fn spark(mut self, values: impl IntoIterator<Item = f64>) -> Self {
        self.spark = values.into_iter().filter(|v| v.is_finite()).collect();
        self
    }

    /// A change with an arrow, and what it is compared with (`vs last quarter`).
    #[must_use]
    pub fn trend(self, change: f64, format: &Format, wish: Wish, note: impl Into<String>) -> Self {
        if !change.is_finite() {
            return self.state(Tone::Plain, "No comparison", note);
        }
        let amount = format.text(change.abs());
        if amount == format.text(0.0) {
            return self.state(Tone::Plain, "No change", note);
        }
        let up = change > 0.0;
        let tone = match wish {
            Wish::Either => Tone::Plain,
            Wish::Up if up => Tone::Good,
            Wish::Down if !up => Tone::Good,
            Wish::Up | Wish::Down => Tone::Bad,
        };
        self.state(tone, format!("{} {amount}", if up { '▲' } else { '▼' }), note)
    }

    /// A state in words (`Within limit`), and a note behind it (`limit 0.080`).
    #[must_use]
    pub fn state(mut self, tone: Tone, text: impl Into<String>, note: impl Into<String>) -> Self {
        self.state = Some((tone, text.into()));
        self.note = note.into();
        self
    }

    /// How the figure is defined; a button beside the label shows it.
    #[must_use]
    pub fn about(mut self, text: impl Into<String>) -> Self {
        self.about = text.into();
        self
    }

    fn write(&self, out: &mut Markup, place: usize) {
        let id = format!("about-{place}");
        out.tag("div").attr("class", "kpi").open();
        out.tag("dt").open();
        out.text(&self.label);
        if !self.about.is_empty() {
            out.tag("button").attr("type", "button").attr("class", "about").attr("popovertarget", &id).open();
            out.tag("span").attr("aria-hidden", "true").text("?");
            out.tag("span").attr("class", "chart-sr").text(&format!("What is {}?", self.label));
            out.close("button");
        }
        out.close("dt");
        out.tag("dd").attr("class", "kpi-value").open();
        out.tag("span").text(&self.value);
        self.sparkline(out);
        out.close("dd");
        if let Some((tone, text)) = &self.state {
            out.tag("dd").attr("class", "kpi-trend").open();
            out.tag("b").attr("class", tone.class()).open();
            words(out, text);
            out.close("b");
            out.text(" ");
            out.text(&self.note);
            out.close("dd");
        }
        if !self.about.is_empty() {
            out.tag("dd").attr("class", "kpi-about").attr("id", &id).attr("popover", "auto").text(&self.about);
        }
        out.close("div");
    }

    fn sparkline(&self, out: &mut Markup) {
        let (Some(range), [first, .., last]) = (extent(self.spark.iter().copied()), self.spark.as_slice()) else {
            return;
        };
        let y = Linear::new(range, (21.0, 3.0));
        let step = 80.0 / float(self.spark.len() - 1);
        let mut path = Path::default();
        for (i, value) in self.spark.iter().enumerate() {
            let x = 2.0 + float(i) * step;
            if i == 0 {
                path.go(x, y.at(*value));
            } else {
                path.line(x, y.at(*value));
            }
        }
        let way = match last.total_cmp(first) {
            std::cmp::Ordering::Less => "lower than at the start",
            std::cmp::Ordering::Equal => "same as at the start",
            std::cmp::Ordering::Greater => "higher than at the start",
        };
        out.tag("svg")
            .attr("class", "spark")
            .attr("viewBox", "0 0 84 24")
            .attr("role", "img")
            .attr("aria-label", &format!("{}: {way}", self.label))
            .open();
        out.tag("path").attr("class", "line c1").attr("d", path.data()).empty();
        out.tag("circle").attr("class", "dot c1").num("cx", 82.0).num("cy", y.at(*last)).num("r", 2.0).empty();
        out.close("svg");
    }
}

/// Text that may begin with an arrow: a screen reader gets a word for it.
fn words(out: &mut Markup, text: &str) {
    let said = match text.chars().next() {
        Some('▲') => "up",
        Some('▼') => "down",
        _ => return out.text(text),
    };
    let rest = text.trim_start_matches(['▲', '▼']);
    out.tag("span").attr("aria-hidden", "true").text(&text[..text.len() - rest.len()]);
    out.tag("span").attr("class", "chart-sr").text(said);
    out.text(rest);
}

/// A row of key figures. Display writes a description list.
#[derive(Debug, Clone, Default)]
pub struct Kpis(Vec<Kpi>);

impl Kpis {
    /// A row of figures.
    pub fn new(kpis: impl IntoIterator<Item = Kpi>) -> Self {
        Self(kpis.into_iter().collect())
    }
}

impl fmt::Display for Kpis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = Markup::default();
        out.tag("dl").attr("class", "kpis").open();
        for (place, kpi) in self.0.iter().enumerate() {
            kpi.write(&mut out, place);
        }
        out.close("dl");
        f.write_str(out.as_str())
    }
}
