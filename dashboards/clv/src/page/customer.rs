//! One customer: what was bought and when, and what the model makes of it.

use std::collections::BTreeMap;

use jiff::{ToSpan as _, civil::Date};
use kyros_dashboard_kit::{
    Cell, DataTable, Page, Paging, Panel, Visitor,
    charts::{Axis, Bar, Bars, Format, Kpi, Kpis, Line, Meta, Series, Size},
};

use super::{Shown, TITLE, count, money};
use crate::{
    fit::{HORIZON_WEEKS, Model, Standing},
    model::summary::weeks_between,
    selection::day,
};

/// Orders on a page.
const ORDERS: usize = 50;
/// Days between two points of the line.
const STEP_DAYS: i64 = 7;

/// The page of the customer at `place`.
pub(crate) fn customer(shown: &Shown<'_>, place: usize, visitor: Visitor) -> Page {
    let customer = &shown.book.customers[place];
    let orders = shown.book.orders(customer);
    let page = Page::new(TITLE, visitor)
        .detail(format!("Customer {}", customer.id), TITLE, shown.filters.query().href("/"))
        .as_of(day(shown.book.last_day).long())
        .kpis(kpis(shown, place))
        .summary(summary(shown, place))
        .panel(Panel::chart(&bought(shown, place)));
    let standing = shown.fit.standings[place].as_ref();
    let page = match (&shown.fit.model, standing) {
        (Ok(model), Some(_)) => page.panel(Panel::chart(&alive(shown, place, model))),
        _ => page,
    };
    let paging = Paging::read(shown.asked.get("page"), ORDERS, orders.len());
    let row = |order: &crate::book::Order| {
        vec![
            Cell::text(order.date.to_string()),
            Cell::Number(order.revenue, Format::number(2)),
            Cell::Number(order.margin, Format::number(2)),
        ]
    };
    // The newest first.
    let newest: Vec<_> = orders.iter().rev().map(row).collect();
    let list = DataTable::new(meta(shown, place, "orders", "Orders").size(Size::Full), &shown.filters)
        .at("/customer", &[("customer", &customer.id)])
        .words("Day", None)
        .numbers("Revenue", None)
        .numbers("Margin", None);
    let part = list.clone().rows(newest[paging.range()].iter().cloned()).paged(paging);
    page.panel(Panel::list(&part).with_data(list.rows(newest).table()))
}

/// Files of this page are found beside it, and know whose they are.
fn meta(shown: &Shown<'_>, place: usize, id: &str, title: &str) -> Meta {
    let query = shown.filters.query().with("customer", &shown.book.customers[place].id);
    Meta::new(id, title).csv(query.href(&format!("/customer/{id}.csv")))
}

fn summary(shown: &Shown<'_>, place: usize) -> String {
    let customer = &shown.book.customers[place];
    let orders = shown.book.orders(customer);
    let name = |names: &[String], place: Option<u16>| place.and_then(|place| names.get(usize::from(place)).cloned());
    let segment = shown.fit.standings[place].as_ref().map(|standing| standing.segment.label().to_owned());
    let parts = [segment, name(&shown.book.channels, customer.channel), name(&shown.book.countries, customer.country)];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    let [first, last] =
        [orders.first(), orders.last()].map(|order| order.map_or_else(String::new, |o| day(o.date).long()));
    format!("{}. First order {first}, last order {last}.", parts.join(" · "))
}

fn kpis(shown: &Shown<'_>, place: usize) -> Kpis {
    let orders = shown.book.orders(&shown.book.customers[place]);
    let spent: f64 = orders.iter().map(|order| order.revenue).sum();
    let mut kpis = Vec::new();
    let until = day(shown.fit.until).long();
    if let Some(Standing { worth: Some(worth), .. }) = &shown.fit.standings[place] {
        kpis.extend([
            Kpi::new(format!("Expected value, {HORIZON_WEEKS} weeks"), money().text(worth.clv))
                .about(format!("Present value of the margin expected in the {HORIZON_WEEKS} weeks after {until}.")),
            Kpi::new("Likely active", Format::percent(0).text(worth.p_alive))
                .about(format!("The model's probability that this is still a customer, on {until}.")),
            Kpi::new(format!("Purchases expected, {HORIZON_WEEKS} weeks"), Format::number(1).text(worth.purchases))
                .about("Days with a purchase, times the probability that this is still a customer."),
            Kpi::new("Spend expected per purchase", money().text(worth.spend)).about(
                "Between the customer's own mean and everybody's: the fewer the purchases, the nearer to everybody's.",
            ),
        ]);
    }
    kpis.push(Kpi::new("Orders", count(orders.len())));
    kpis.push(Kpi::new("Revenue", money().text(spent)));
    Kpis::new(kpis)
}

fn bought(shown: &Shown<'_>, place: usize) -> Bars {
    let orders = shown.book.orders(&shown.book.customers[place]);
    let mut months: BTreeMap<Date, f64> = BTreeMap::new();
    let mut month = orders[0].date.first_of_month();
    while month <= shown.book.last_day {
        months.insert(month, 0.0);
        month = month.saturating_add(1.month());
    }
    for order in orders {
        *months.entry(order.date.first_of_month()).or_default() += order.revenue;
    }
    let meta =
        meta(shown, place, "bought", "Orders over time").note("Revenue by month, since the first order").rows("Month");
    let bar = |(month, revenue): (&Date, &f64)| Bar::new(day(*month).month(), *revenue);
    Bars::vertical(meta, money()).value_name("Revenue").bars(months.iter().map(bar))
}

/// The probability as it was seen week by week, with what was known then.
fn alive(shown: &Shown<'_>, place: usize, model: &Model) -> Line {
    let customer = &shown.book.customers[place];
    let days: Vec<Date> = shown.book.days(customer).filter(|day| *day <= shown.fit.until).collect();
    let first = shown.book.first_order(customer);
    let mut dates = Vec::new();
    let mut date = first;
    while date < shown.fit.until {
        dates.push(date);
        date = date.saturating_add(STEP_DAYS.days());
    }
    dates.push(shown.fit.until);
    let probability = |date: &Date| {
        let known = &days[..days.partition_point(|day| day <= date)];
        let last = known.last().copied().unwrap_or(first);
        let frequency = u32::try_from(known.len().saturating_sub(1)).unwrap_or(u32::MAX);
        model.purchases.params.p_alive(frequency, weeks_between(first, last), weeks_between(first, *date))
    };
    let meta = meta(shown, place, "alive", "Likely active, week by week")
        .note("The model's probability that this is still a customer")
        .rows("Day")
        .summary("It falls while nothing is bought and rises with each order")
        .size(Size::Half);
    let axis: Vec<_> = dates.iter().map(|date| day(*date)).collect();
    Line::new(meta, Axis::days(&axis), Format::percent(0))
        .series(Series::new("Likely active", dates.iter().map(probability)))
}
