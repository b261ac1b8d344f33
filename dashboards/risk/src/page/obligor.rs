//! One obligor's page: what it owes, how it is rated and how late it pays, month by month.

use std::fmt;

use axum::http::StatusCode;
use jiff::civil::Date;
use kyros_dashboard_kit::{
    Cell, DataTable, Filters, Notice, Page, Panel, Table, Visitor,
    charts::{Axis, Bars, Chart, Date as ChartDate, Format, Kpi, Kpis, Line, Meta, Series, Size, Tone, Wish},
};

use super::{TITLE, chart_date, month_name, watch};
use crate::{
    book::{Book, Obligor},
    model::{grade, position::Position},
    selection,
};

/// Where the page is; the name is a parameter, because a name may hold anything.
const PATH: &str = "/obligor";
/// The parameter.
pub(crate) const NAME: &str = "name";
/// Days past due that are marked: what is watched, and default.
const MARKED_DAYS: [(f64, &str); 2] = [(30.0, "30 days"), (90.0, "90 days: default")];

/// The page of a name, which carries the filters along for the way back.
pub(super) fn href(filters: &Filters, name: &str) -> String {
    filters.query().with(NAME, name).href(PATH)
}

/// One obligor in one month.
struct Seen<'a> {
    as_of: Option<Date>,
    position: &'a Position,
    /// Notches down since the month before.
    notches: Option<i32>,
}

/// What the page draws.
struct View<'a> {
    filters: &'a Filters,
    obligor: &'a Obligor,
    /// Oldest first, up to the month that is shown; at least one.
    seen: Vec<Seen<'a>>,
    /// The month that is shown.
    shown: Option<Date>,
}

impl<'a> View<'a> {
    fn of(book: &'a Book, filters: &'a Filters, name: &str) -> Option<Self> {
        let place = book.obligors.iter().position(|obligor| obligor.name == name)?;
        let month = selection::month(book, filters);
        let mut seen: Vec<Seen<'a>> = Vec::new();
        for month in &book.months[..=month.min(book.months.len().checked_sub(1)?)] {
            for position in month.positions.iter().filter(|position| position.obligor == place) {
                let notches = seen.last().and_then(|last| grade::notches(&last.position.rating, &position.rating));
                seen.push(Seen { as_of: month.as_of, position, notches });
            }
        }
        let shown = book.months[month].as_of;
        (!seen.is_empty()).then_some(Self { filters, obligor: &book.obligors[place], seen, shown })
    }

    fn meta(&self, id: &str, title: &str) -> Meta {
        let csv = self.filters.query().with(NAME, &self.obligor.name).href(&format!("{PATH}/{id}.csv"));
        Meta::new(id, title).rows("Month").csv(csv)
    }

    fn line(&self, meta: Meta, format: Format, value: impl Fn(&Position) -> f64, name: &str) -> Line {
        let days: Vec<ChartDate> = self.seen.iter().filter_map(|seen| chart_date(seen.as_of?)).collect();
        Line::new(meta, Axis::months(&days), format)
            .series(Series::new(name, self.seen.iter().map(|seen| value(seen.position))))
    }
}

/// The page of the name that the address has, or one that says that there is no such name.
pub(crate) fn page(visitor: Visitor, book: &Book, filters: &Filters, name: &str) -> Page {
    let back = filters.query().href(selection::PAGE);
    let page = Page::new(TITLE, visitor);
    let Some(view) = View::of(book, filters, name) else {
        let text = "The book has no obligor of this name up to the month that is shown. The link may be old, or of another tenant.";
        let notice =
            Notice::new(StatusCode::NOT_FOUND, "There is no such obligor", text, ("Show the whole book", &back));
        return page.detail("Obligor", TITLE, back.clone()).notice(notice);
    };
    let day = view.shown.or(book.last_day()).and_then(chart_date).map_or_else(String::new, ChartDate::long);
    let page = page.detail(&*view.obligor.name, TITLE, back).as_of(day).summary(summary(&view)).kpis(kpis(&view));
    if !book.has_history() {
        return page.remark(Tone::Plain, "This tenant has no dataset “history”, so there is no past to show.");
    }
    page.panels(panels(&view))
}

fn summary(view: &View<'_>) -> String {
    let Obligor { sector, country, .. } = view.obligor;
    let since =
        view.obligor.originated.map(|day| format!(", on the book since {}", month_name(Some(day)))).unwrap_or_default();
    let last = view.seen.last().and_then(|seen| seen.as_of);
    let left = if last < view.shown {
        format!(". No longer in the book: last seen {}", month_name(last))
    } else {
        String::new()
    };
    format!("{sector}, {country}{since}{left}.")
}

fn kpis(view: &View<'_>) -> Kpis {
    let Some(now) = view.seen.last() else { return Kpis::default() };
    let before = view.seen.len().checked_sub(2).and_then(|place| view.seen.get(place));
    let (position, money) = (now.position, Format::compact());
    let since = before.map_or_else(String::new, |before| format!("on {}", month_name(before.as_of)));
    let amount = Kpi::new("Exposure at default", money.text(position.ead));
    let amount = match before {
        Some(before) => amount.trend(position.ead - before.position.ead, &money, Wish::Either, &since),
        None => amount,
    };
    let (tone, state) = match (position.defaulted, position.days_past_due) {
        (true, _) => (Tone::Bad, "In default"),
        (_, 0) => (Tone::Good, "Current"),
        (_, 1..=30) => (Tone::Plain, "Late"),
        _ => (Tone::Warn, "More than 30 days late"),
    };
    Kpis::new([
        amount.spark(view.seen.iter().map(|seen| seen.position.ead)),
        Kpi::new("Rating", &*position.rating).state(Tone::Plain, watch::change(now.notches), since),
        Kpi::new("Probability of default", Format::percent(2).text(position.pd)),
        Kpi::new("Loss given default", Format::percent(0).text(position.lgd)),
        Kpi::new("Expected loss", money.text(position.expected_loss())),
        Kpi::new("Days past due", Format::number(0).text(f64::from(position.days_past_due))).state(tone, state, ""),
    ])
}

fn panels(view: &View<'_>) -> Vec<Panel> {
    let ead = view.meta("exposure", "Exposure at default").note("Month end").size(Size::Wide);
    let days = view.meta("days", "Days past due").note("Month end").size(Size::Half);
    let pd = view.meta("pd", "Probability of default").note("Follows the rating, month end").size(Size::Wide);
    let late = view.line(days, Format::number(0), |position| f64::from(position.days_past_due), "Days");
    let late = MARKED_DAYS.into_iter().fold(late, |line, (days, label)| line.reference(days, label));
    vec![
        Panel::chart(&view.line(ead, Format::compact(), |position| position.ead, "Exposure")),
        Panel::chart(&late),
        Panel::chart(&view.line(pd, Format::percent(2), |position| position.pd, "PD")),
        changes(view),
        months(view),
    ]
}

/// The months in which the rating moved.
fn changes(view: &View<'_>) -> Panel {
    let meta = view.meta("changes", "Changes of rating").size(Size::Half);
    let moved = view.seen.windows(2).filter(|pair| pair[0].position.rating != pair[1].position.rating);
    let row = |pair: &[Seen<'_>]| {
        vec![
            Cell::text(month_name(pair[1].as_of)),
            Cell::text(&*pair[0].position.rating),
            Cell::text(&*pair[1].position.rating),
            Cell::text(watch::change(pair[1].notches)),
        ]
    };
    let mut rows: Vec<_> = moved.map(row).collect();
    rows.reverse();
    if rows.is_empty() {
        let note = ["The rating has been the same in every month that was seen.".to_owned()];
        return Panel::facts("Changes of rating", &[], &note);
    }
    let table = DataTable::new(meta, view.filters).words("Month", None).words("From", None).words("To", None);
    Panel::list(&table.words("Change", None).rows(rows))
}

fn months(view: &View<'_>) -> Panel {
    let row = |seen: &Seen<'_>| {
        let position = seen.position;
        vec![
            Cell::text(month_name(seen.as_of)),
            Cell::text(&*position.rating),
            Cell::Number(position.ead, Format::number(0)),
            Cell::Number(position.pd, Format::percent(2)),
            Cell::Number(position.lgd, Format::percent(0)),
            Cell::Number(position.expected_loss(), Format::number(0)),
            Cell::Number(f64::from(position.days_past_due), Format::number(0)),
            Cell::text(if position.defaulted { "In default" } else { "" }),
        ]
    };
    let table =
        DataTable::new(view.meta("months", "Month by month").note("Newest first").size(Size::Full), view.filters)
            .words("Month", None)
            .words("Rating", None)
            .numbers("EAD", None)
            .numbers("PD", None)
            .numbers("LGD", None)
            .numbers("Expected loss", None)
            .numbers("Days past due", None)
            .words("State", None)
            .rows(view.seen.iter().rev().map(row));
    Panel::list(&table)
}

/// Bars that lead to another page: they open it, where other bars filter this one.
struct Opening<'a>(&'a Bars);

impl fmt::Display for Opening<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_string().replace("Select to filter", "Select to open"))
    }
}

impl Chart for Opening<'_> {
    fn id(&self) -> &str {
        self.0.id()
    }

    fn data(&self) -> Table {
        self.0.data()
    }
}

/// The panel of bars whose links open obligors' pages.
pub(super) fn opening(bars: &Bars) -> Panel {
    Panel::chart(&Opening(bars))
}
