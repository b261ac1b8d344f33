//! The charts of customers and orders, and the list of the most valuable customers.

use std::cmp::Ordering;

use kyros_dashboard_kit::{
    Cell, DataTable, Paging, Sort, Table,
    charts::{Axis, Bar, Bars, Format, Heat, Histogram, Line, Series, Size},
};

use super::{Shown, money};
use crate::{
    fit::HORIZON_WEEKS,
    selection::day,
    view::{self, View},
};

/// Cohorts of the heat map, the newest; and its months.
const COHORTS: usize = 12;
/// Curves, the newest: more than five colours cannot be told apart.
const CURVES: usize = 5;
/// Bars of a chart; what is more is in the list of choices.
const BARS: usize = 12;
/// Customers on a page.
const ROWS: usize = 20;
/// The columns that the list can be sorted by.
const SORTS: [&str; 7] = ["customer", "segment", "channel", "clv", "orders", "last", "alive"];

pub(super) fn curves(shown: &Shown<'_>, view: &View) -> Line {
    let mut curves = view::curves(shown.book, shown.fit, &shown.selection);
    // One that has only begun is a point on the axis.
    curves.retain(|curve| curve.value.len() > 1);
    curves.drain(..curves.len().saturating_sub(CURVES));
    let months = curves.iter().map(|curve| curve.value.len()).max().unwrap_or(0);
    let what = if shown.book.has_margin { "gross margin" } else { "revenue" };
    let note = match view.cac {
        Some(_) => format!("Cumulative {what}. Dashed line: cost to win a customer"),
        None if shown.acquisition.is_none() => format!("Cumulative {what}. The cost to win a customer is not known"),
        None => format!("Cumulative {what}. No spend is known of this period"),
    };
    let meta = shown
        .meta("cohort-value", "Value per customer by cohort")
        .note(note)
        .rows("Months since the first order")
        .summary("Each line is the quarter of the first order; where it crosses the dashed line the cost is paid back");
    let mut line = Line::new(meta, Axis::categories((0..months).map(|month| format!("M{month}"))), money());
    for curve in curves {
        line = line.series(Series::new(curve.name, curve.value));
    }
    match view.cac {
        Some(cac) => line.reference(cac, format!("CAC {}", money().text(cac))),
        None => line,
    }
}

pub(super) fn retention(shown: &Shown<'_>) -> Heat {
    let mut cohorts = view::retention(shown.book, shown.fit, &shown.selection);
    // The month of the end has no month after it.
    cohorts.retain(|cohort| cohort.retention.len() > 1);
    let cohorts = &cohorts[cohorts.len().saturating_sub(COHORTS)..];
    let columns = cohorts.iter().map(|cohort| cohort.retention.len()).max().unwrap_or(0).min(COHORTS + 1);
    let meta = shown
        .meta("retention", "Retention by cohort")
        .note("Share of each month's new customers who buy again")
        .rows("Cohort")
        .summary("Each row is the month of the first order, each column a month after it");
    let mut heat = Heat::new(meta, Format::percent(0), (1..columns).map(|month| format!("M{month}"))).data_column(
        "Customers",
        Format::number(0),
        cohorts.iter().map(|cohort| cohort.customers as f64),
    );
    for cohort in cohorts {
        heat = heat.row(day(cohort.month).month(), cohort.retention.iter().copied().skip(1).take(COHORTS));
    }
    heat
}

pub(super) fn segments(shown: &Shown<'_>, view: &View) -> Bars {
    let meta = shown
        .meta("segments", "Value by segment")
        .note("Mean value. Select a bar to filter the page")
        .rows("Segment")
        .size(Size::Half);
    let bar = |group: &view::Group<_>| {
        let name = crate::model::rfm::Segment::label(group.key);
        Bar::new(name, group.clv)
            .count(group.customers)
            .link(shown.filters.toggle("segment", name))
            .selected(shown.filters.get("segment") == Some(name))
    };
    Bars::horizontal(meta, money()).value_name("Mean value").count_name("Customers").bars(view.segments.iter().map(bar))
}

pub(super) fn channels(shown: &Shown<'_>, view: &View) -> Bars {
    let has_cost = view.channels.iter().any(|group| group.cac.is_some());
    let note = if has_cost {
        "Bar: mean value. Tick: cost to win a customer"
    } else {
        "Mean value, by the channel of the first order"
    };
    let meta = shown.meta("channels", "Value by channel").note(note).rows("Channel").size(Size::Half);
    let bar = |group: &view::Group<u16>| {
        let name = shown.book.channels[usize::from(group.key)].as_str();
        let bar = Bar::new(name, group.clv)
            .count(group.customers)
            .link(shown.filters.toggle("channel", name))
            .selected(shown.filters.get("channel") == Some(name));
        match group.cac {
            Some(cac) => bar.target(cac),
            None => bar,
        }
    };
    Bars::horizontal(meta, money())
        .value_name("Mean value")
        .count_name("Customers")
        .target_name("Cost to win a customer")
        .bars(view.channels.iter().take(BARS).map(bar))
}

pub(super) fn spread(shown: &Shown<'_>, view: &View) -> Histogram {
    let meta = shown
        .meta("spread", "How value is spread")
        .note(format!("Customers by expected value, {HORIZON_WEEKS} weeks"))
        .size(Size::Half);
    // The most valuable come first.
    let values: Vec<f64> =
        view.customers.iter().filter_map(|place| Some(shown.fit.standings[*place].as_ref()?.worth?.clv)).collect();
    let at = |share: usize| values.get(values.len() * share / 100).copied().unwrap_or(0.0);
    let (median, p90) = (at(50), at(10));
    // The upper end of the scale; the few above it share the last bar.
    let cap = (at(5) * 1.5).max(f64::MIN_POSITIVE);
    Histogram::from_samples(meta, money(), &values, 20, Some(cap))
        .marker(median, format!("median {}", money().text(median)))
        .marker(p90, format!("P90 {}", money().text(p90)))
}

pub(super) fn revenue(shown: &Shown<'_>, view: &View) -> Line {
    let months: Vec<_> = view.months.keys().map(|month| day(*month)).collect();
    let meta = shown.meta("revenue", "Revenue").note("By month").rows("Month");
    Line::new(meta, Axis::months(&months), money()).series(Series::new("Revenue", view.months.values().copied()))
}

/// How the list is sorted.
fn sorting(shown: &Shown<'_>) -> Sort {
    Sort::read(shown.asked.get("sort"), &SORTS, Sort { column: "clv", descending: true })
}

/// The customers in the order of the list.
fn sorted(shown: &Shown<'_>, view: &View) -> Vec<usize> {
    let mut customers = view.customers.clone();
    let Sort { column, descending } = sorting(shown);
    let worth = |place: usize| shown.fit.standings[place].as_ref().and_then(|standing| standing.worth);
    let number = |place: usize| match column {
        "clv" => worth(place).map_or(f64::NEG_INFINITY, |worth| worth.clv),
        "alive" => worth(place).map_or(f64::NEG_INFINITY, |worth| worth.p_alive),
        _ => shown.book.orders(&shown.book.customers[place]).len() as f64,
    };
    let one = |place: usize| &shown.book.customers[place];
    let by = |a: usize, b: usize| -> Ordering {
        match column {
            "customer" => one(a).id.cmp(&one(b).id),
            "channel" => name(&shown.book.channels, one(a).channel).cmp(name(&shown.book.channels, one(b).channel)),
            "segment" => segment(shown, a).cmp(segment(shown, b)),
            "last" => last(shown, a).cmp(&last(shown, b)),
            _ => number(a).total_cmp(&number(b)),
        }
    };
    // Stable, so that equal ones stay in the order of their value.
    customers.sort_by(|a, b| if descending { by(*b, *a) } else { by(*a, *b) });
    customers
}

fn name(names: &[String], place: Option<u16>) -> &str {
    place.and_then(|place| names.get(usize::from(place))).map_or("", String::as_str)
}

fn segment(shown: &Shown<'_>, place: usize) -> &'static str {
    shown.fit.standings[place].as_ref().map_or("", |standing| standing.segment.label())
}

fn last(shown: &Shown<'_>, place: usize) -> Option<jiff::civil::Date> {
    shown.book.orders(&shown.book.customers[place]).last().map(|order| order.date)
}

fn row(shown: &Shown<'_>, place: usize) -> Vec<Cell> {
    let customer = &shown.book.customers[place];
    let orders = shown.book.orders(customer);
    let worth = shown.fit.standings[place].as_ref().and_then(|standing| standing.worth);
    let href = shown.filters.query().with("customer", &customer.id).href("/customer");
    let number = |value: Option<f64>, format| Cell::Number(value.unwrap_or(f64::NAN), format);
    vec![
        Cell::Link(customer.id.clone(), href),
        Cell::text(segment(shown, place)),
        Cell::text(name(&shown.book.channels, customer.channel)),
        number(worth.map(|worth| worth.clv), Format::number(2)),
        number(Some(orders.len() as f64), Format::number(0)),
        Cell::text(last(shown, place).map(|date| date.to_string()).unwrap_or_default()),
        number(worth.map(|worth| worth.p_alive), Format::percent(0)),
    ]
}

fn list(shown: &Shown<'_>) -> DataTable {
    let meta = shown
        .meta("customers", "Most valuable customers")
        .note("All orders of each; select one to see them")
        .size(Size::Full);
    DataTable::new(meta, &shown.filters)
        .words("Customer", Some("customer"))
        .words("Segment", Some("segment"))
        .words("Channel", Some("channel"))
        .numbers("Value", Some("clv"))
        .numbers("Orders", Some("orders"))
        .words("Last order", Some("last"))
        .numbers("Likely active", Some("alive"))
        .sorted(sorting(shown))
}

pub(super) fn customers(shown: &Shown<'_>, view: &View) -> DataTable {
    let all = sorted(shown, view);
    let paging = Paging::read(shown.asked.get("page"), ROWS, all.len());
    list(shown).rows(all[paging.range()].iter().map(|place| row(shown, *place))).paged(paging)
}

/// The whole list, for a file.
pub(crate) fn all_customers(shown: &Shown<'_>) -> Table {
    let all = sorted(shown, &shown.view());
    list(shown).rows(all.iter().map(|place| row(shown, *place))).table()
}
