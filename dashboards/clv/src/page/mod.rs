//! The page: from figures to charts. What a file of a chart holds is what the chart shows.

mod charts;
mod customer;
mod figures;
mod model;

use kyros_dashboard_kit::{
    Filters, Notice, Page, Panel, Query, Visitor,
    charts::{Format, Meta, Tone},
};

pub(crate) use charts::all_customers;
pub(crate) use customer::customer;

use crate::{
    acquisition::Acquisition,
    book::Book,
    fit::Fit,
    selection::{Selection, day},
    view::View,
};

pub(crate) const TITLE: &str = "Customer Lifetime Value";
/// The file of the page's rows.
pub(crate) const ROWS: &str = "/export/transactions.csv";

/// What a page is drawn from.
pub(crate) struct Shown<'a> {
    pub(crate) book: &'a Book,
    pub(crate) fit: &'a Fit,
    pub(crate) acquisition: Option<&'a Acquisition>,
    pub(crate) selection: Selection,
    pub(crate) filters: Filters,
    pub(crate) asked: &'a Query,
}

impl Shown<'_> {
    /// What every panel has: its id, its title, and where its data can be had under the same filters.
    fn meta(&self, id: &str, title: &str) -> Meta {
        Meta::new(id, title).csv(self.filters.query().href(&format!("/export/{id}.csv")))
    }

    fn view(&self) -> View {
        View::new(self.book, self.fit, self.acquisition, &self.selection)
    }
}

/// How money is shown, everywhere.
fn money() -> Format {
    Format::compact()
}

fn count(n: usize) -> String {
    Format::number(0).text(n as f64)
}

/// Draws it.
pub(crate) fn page(shown: &Shown<'_>, visitor: Visitor) -> Page {
    let view = shown.view();
    let query = shown.filters.query();
    let page = Page::new(TITLE, visitor)
        .as_of(day(shown.book.last_day).long())
        .filters(shown.filters.clone())
        .export("Export CSV", query.href(ROWS));
    if view.customers.is_empty() {
        let matches = |name: &str| {
            let selection = shown.selection.without(name);
            (0..shown.book.customers.len()).any(|place| selection.shows(shown.book, shown.fit, place))
        };
        return page.notice(Notice::empty("customers", &shown.filters, matches));
    }
    let summary = format!("{} customers, {} orders.", count(view.customers.len()), count(view.orders));
    let page = model::remarks(shown, &view).into_iter().fold(page, |page, text| page.remark(Tone::Warn, text));
    page.summary(summary).kpis(figures::kpis(shown, &view)).panels(panels(shown, &view))
}

fn panels(shown: &Shown<'_>, view: &View) -> Vec<Panel> {
    let mut panels = vec![Panel::chart(&charts::curves(shown, view))];
    let has_model = shown.fit.model.is_ok();
    if has_model {
        panels.push(Panel::chart(&charts::segments(shown, view)));
    }
    panels.push(Panel::chart(&charts::retention(shown)));
    if has_model {
        panels.push(Panel::chart(&charts::spread(shown, view)));
    }
    panels.push(Panel::chart(&charts::revenue(shown, view)));
    if has_model && !view.channels.is_empty() {
        panels.push(Panel::chart(&charts::channels(shown, view)));
    }
    panels.push(Panel::list(&charts::customers(shown, view)));
    panels.extend(model::panels(shown, view));
    panels
}
