//! The page: what the address selects of a book, as key figures, charts and lists. Pure, but for the visitor's name in the head.

mod credit;
mod kpis;
mod market;
mod obligor;
mod watch;

use axum::http::StatusCode;
use jiff::civil::Date;
use kyros_dashboard_kit::{
    Filters, Notice, Page, Visitor,
    charts::{Date as ChartDate, Format, Meta, Tone},
    csv,
};

pub(crate) use obligor::{NAME as OBLIGOR_NAME, page as obligor_page};

use crate::{
    book::{Book, Scope},
    credit::Credit,
    load::Failure,
    market::Market,
    model::{Exposure, RiskError},
    selection,
};

/// What the dashboard is called.
pub(crate) const TITLE: &str = "Risk Analysis";
/// The file of the positions that are selected.
pub(crate) const POSITIONS: &str = "positions";

/// Whether a list is shown in part, or whole for a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent<'a> {
    /// The rows of the page that the address names, or of the first.
    Paged(Option<&'a str>),
    /// All rows.
    Whole,
}

/// What the page draws.
struct View<'a> {
    book: &'a Book,
    filters: &'a Filters,
    month: usize,
    scope: Scope<'a>,
    credit: Credit,
    market: Result<Market, RiskError>,
    /// The rows of lists.
    extent: Extent<'a>,
}

impl<'a> View<'a> {
    fn of(book: &'a Book, filters: &'a Filters, extent: Extent<'a>) -> Result<Self, RiskError> {
        let (month, scope) = (selection::month(book, filters), selection::scope(filters));
        let day = |place: usize| book.months.get(place).and_then(|month| month.as_of);
        let before = month.checked_sub(1).and_then(day);
        Ok(Self {
            credit: Credit::of(book, month, &scope)?,
            market: Market::of(book, filters.get("desk"), day(month), before),
            book,
            filters,
            month,
            scope,
            extent,
        })
    }

    /// A panel whose data can be had as a file.
    fn meta(&self, id: &str, title: &str) -> Meta {
        Meta::new(id, title).csv(self.filters.query().href(&format!("/export/{id}.csv")))
    }

    /// The day of the snapshot that is shown.
    fn as_of(&self) -> Option<Date> {
        self.book.months.get(self.month)?.as_of
    }
}

/// A page that says what its data reaches to.
pub(crate) fn dated(visitor: Visitor, book: &Book) -> Page {
    let day = book.last_day().and_then(chart_date);
    Page::new(TITLE, visitor).as_of(day.map_or_else(|| "a day that the data does not name".to_owned(), ChartDate::long))
}

/// The whole page for a selection.
pub(crate) fn page(visitor: Visitor, book: &Book, filters: Filters, extent: Extent<'_>) -> Page {
    let page = dated(visitor, book);
    let view = match View::of(book, &filters, extent) {
        Ok(view) => view,
        Err(error) => return page.notice(figures(&error, &filters.query().href(selection::PAGE))),
    };
    if view.credit.positions.is_empty() {
        let month = view.month;
        let left = |name: &str| !book.part(month, &selection::scope_without(&filters, name)).is_empty();
        let notice = Notice::empty("exposures", &filters, left);
        return page.filters(filters).notice(notice);
    }
    let page = page
        .export("Export CSV", filters.query().href(&format!("/export/{POSITIONS}.csv")))
        .summary(summary(&view))
        .kpis(kpis::kpis(&view))
        .panels(credit::panels(&view))
        .panels(watch::panels(&view))
        .panels(market::panels(&view));
    let page = remarks(&view).into_iter().fold(page, |page, remark| page.remark(Tone::Plain, remark));
    page.filters(filters)
}

/// What is missing, and what the page therefore does not show.
fn remarks(view: &View<'_>) -> Vec<String> {
    let mut remarks = Vec::new();
    if !view.book.has_history() {
        remarks.push(
            "This tenant has no dataset “history” with monthly snapshots, so the page shows the exposures as they are now: \
             no trends, arrears, migration, vintages or watch list."
                .to_owned(),
        );
    }
    if view.book.pnl.is_empty() {
        remarks.push(
            "This tenant has no dataset “pnl” with daily results, so the page shows no value at risk and no backtest."
                .to_owned(),
        );
    } else if let Err(error) = &view.market {
        remarks.push(format!("Value at risk and its backtest cannot be computed for this selection: {error}."));
    }
    remarks
}

fn summary(view: &View<'_>) -> String {
    let names = Format::number(0).text(view.credit.positions.len() as f64);
    let day = view.as_of().and_then(chart_date).map_or_else(|| "now".to_owned(), |day| format!("on {}", day.long()));
    let noun = match (view.book.has_history(), view.credit.positions.len()) {
        (true, 1) => "obligor",
        (true, _) => "obligors",
        (false, 1) => "exposure",
        (false, _) => "exposures",
    };
    let part = if view.scope.is_part() { "in the selected part of the book" } else { "in the book" };
    format!(
        "{names} {noun} {part} {day}, {} owed.",
        Format::compact().text(view.credit.now().map_or(0.0, |now| now.exposure))
    )
}

/// A page that says why there are no figures.
pub(crate) fn failure(visitor: Visitor, failure: &Failure, here: &str) -> Page {
    let notice = match failure {
        Failure::Data(error) => Notice::data(error, here, "/export/exposures.csv"),
        Failure::Figures(error) => figures(error, here),
        Failure::BrokenOff => Notice::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "The figures could not be computed",
            "The calculation was broken off. The data is well; what computes with it is not.",
            ("Try again", here),
        ),
    };
    Page::new(TITLE, visitor).notice(notice)
}

/// The data is there, and a number in it makes no sense.
fn figures(error: &RiskError, here: &str) -> Notice {
    let text = format!("These figures cannot be computed: {error}. Whoever delivers the data can mend it.");
    Notice::new(StatusCode::UNPROCESSABLE_ENTITY, "The data does not fit this dashboard", text, ("Try again", here))
}

/// The positions of a selection as a file, one line for each.
pub(crate) fn positions_csv(book: &Book, filters: &Filters) -> Result<String, RiskError> {
    let month = selection::month(book, filters);
    let positions = book.part(month, &selection::scope(filters));
    let as_of = book.months.get(month).and_then(|month| month.as_of).map_or_else(String::new, |day| day.to_string());
    let mut out = String::new();
    let head =
        "as_of,counterparty,sector,country,rating,ead,pd,lgd,maturity,days_past_due,defaulted,expected_loss,capital";
    csv::record(&mut out, head.split(','));
    for (position, exposure) in positions.iter().zip(book.exposures(&positions)) {
        // Without snapshots nothing is known of arrears, which is not the same as none.
        let days = if book.has_history() { position.days_past_due.to_string() } else { String::new() };
        let numbers = [position.ead, position.pd, position.lgd, exposure.maturity].map(|number| number.to_string());
        let [ead, pd, lgd, maturity] = &numbers;
        let loss = format!("{:.2}", position.expected_loss());
        let capital = format!("{:.2}", exposure.risk()?.capital);
        let defaulted = if position.defaulted { "1" } else { "0" };
        let Exposure { counterparty, sector, country, rating, .. } = &exposure;
        let fields =
            [&as_of, counterparty, sector, country, rating, ead, pd, lgd, maturity, &days, defaulted, &loss, &capital];
        csv::record(&mut out, fields);
    }
    Ok(out)
}

/// A day for the charts.
pub(crate) fn chart_date(day: Date) -> Option<ChartDate> {
    ChartDate::new(day.year(), u8::try_from(day.month()).ok()?, u8::try_from(day.day()).ok()?)
}

/// The name of a month: `Sep 2026`.
pub(crate) fn month_name(day: Option<Date>) -> String {
    day.and_then(chart_date).map_or_else(String::new, ChartDate::month)
}
