//! Every figure of the page, from a book, its fit and a selection. One walk over the customers; nothing is refitted. Pure.

use std::collections::BTreeMap;

use jiff::civil::Date;

use crate::{
    acquisition::Acquisition,
    book::Book,
    fit::{Fit, QUARTER_DAYS, Worth},
    model::{cohort::months_between, rfm::Segment, summary::days_between},
    selection::Selection,
};

/// A customer is active who bought within as many days.
pub(crate) const ACTIVE_DAYS: i64 = 90;
/// Retained is who buys in the window of as many days after the first as many days.
pub(crate) const RETAINED_DAYS: i64 = 90;
/// Months of a small line in a key figure.
const SPARK_MONTHS: usize = 12;

/// A figure now and a quarter before, where there is one.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Figure {
    /// Now.
    pub(crate) now: Option<f64>,
    /// A quarter before.
    pub(crate) before: Option<f64>,
    /// By month, old to new.
    pub(crate) spark: Vec<f64>,
}

/// A segment or channel.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Group<K> {
    /// Which.
    pub(crate) key: K,
    /// Its customers with a value.
    pub(crate) customers: usize,
    /// Their mean value.
    pub(crate) clv: f64,
    /// What it cost to win one, where that is known.
    pub(crate) cac: Option<f64>,
}

/// What the page shows.
#[derive(Debug, Clone, Default)]
pub(crate) struct View {
    /// The customers that are shown, by their place in the book; the most valuable first.
    pub(crate) customers: Vec<usize>,
    /// Their orders within the period.
    pub(crate) orders: usize,
    /// How many of them came after the models' last day.
    pub(crate) unvalued: usize,
    /// Mean value.
    pub(crate) clv: Figure,
    /// Customers who bought within the last [`ACTIVE_DAYS`].
    pub(crate) active: Figure,
    /// Share of new customers who came again after [`RETAINED_DAYS`].
    pub(crate) retained: Figure,
    /// What was bought; its `now` is of the whole period, `last_quarter` and `before` are of a quarter each.
    pub(crate) revenue: Figure,
    /// Revenue of the last quarter of the period.
    pub(crate) last_quarter: f64,
    /// Revenue by month.
    pub(crate) months: BTreeMap<Date, f64>,
    /// What it cost to win a customer.
    pub(crate) cac: Option<f64>,
    /// By segment, all of them, the most valuable first.
    pub(crate) segments: Vec<Group<Segment>>,
    /// By channel, all of them, the most valuable first.
    pub(crate) channels: Vec<Group<u16>>,
}

impl View {
    /// Computes it all.
    pub(crate) fn new(book: &Book, fit: &Fit, acquisition: Option<&Acquisition>, selection: &Selection) -> Self {
        let mut view = Self::default();
        let end = selection.end(book);
        let mut walk = Walk::new(end);
        for place in 0..book.customers.len() {
            if selection.has(book, fit, place) {
                walk.customer(book, place, selection, &mut view);
            }
        }
        let worth = |place: usize| fit.standings[place].as_ref().and_then(|standing| standing.worth);
        let clv = |place: &usize| worth(*place).map_or(f64::NEG_INFINITY, |worth| worth.clv);
        view.customers.sort_by(|a, b| clv(b).total_cmp(&clv(a)).then(a.cmp(b)));
        let worths: Vec<Worth> = view.customers.iter().filter_map(|place| worth(*place)).collect();
        view.unvalued = view.customers.iter().filter(|place| fit.standings[**place].is_none()).count();
        view.clv = Figure {
            now: mean(worths.iter().map(|worth| worth.clv)),
            before: mean(worths.iter().filter_map(|worth| worth.before)),
            spark: Vec::new(),
        };
        walk.finish(&mut view);
        view.revenue.now = Some(view.months.values().sum());
        view.revenue.spark = view.months.values().copied().collect();
        if let Some(acquisition) = acquisition {
            let channel = selection.channel;
            view.cac = cost(book, acquisition, selection, channel);
        }
        view.segments = segments(book, fit, &selection.without("segment"));
        view.channels = channels(book, fit, &selection.without("channel"), acquisition);
        view
    }
}

/// Counts that grow while the customers are walked.
struct Walk {
    end: Date,
    active: [usize; 2],
    by_month: BTreeMap<Date, usize>,
    /// New customers whose window is over, and those of them who came again: the last quarter of such, the one before.
    windows: [(usize, usize); 2],
    all: (usize, usize),
    of_month: BTreeMap<Date, (usize, usize)>,
    quarters: [f64; 2],
}

impl Walk {
    fn new(end: Date) -> Self {
        Self {
            end,
            active: [0; 2],
            by_month: BTreeMap::new(),
            windows: [(0, 0); 2],
            all: (0, 0),
            of_month: BTreeMap::new(),
            quarters: [0.0; 2],
        }
    }

    fn customer(&mut self, book: &Book, place: usize, selection: &Selection, view: &mut View) {
        let orders = book.orders(&book.customers[place]);
        let mut is_active = [false; 2];
        let mut last_month = None;
        let mut shown = 0;
        for order in orders {
            let age = days_between(order.date, self.end);
            if age < 0 {
                break;
            }
            if let Some(window) = usize::try_from(age / ACTIVE_DAYS).ok().and_then(|window| is_active.get_mut(window)) {
                *window = true;
            }
            if let Some(quarter) = usize::try_from(age / QUARTER_DAYS).ok().and_then(|q| self.quarters.get_mut(q)) {
                *quarter += order.revenue;
            }
            let month = order.date.first_of_month();
            if last_month != Some(month) {
                *self.by_month.entry(month).or_default() += 1;
                last_month = Some(month);
            }
            if selection.takes(order) {
                shown += 1;
                *view.months.entry(month).or_default() += order.revenue;
            }
        }
        for (count, is_active) in self.active.iter_mut().zip(is_active) {
            *count += usize::from(is_active);
        }
        if shown > 0 {
            view.customers.push(place);
            view.orders += shown;
        }
        self.window(orders[0].date, orders.iter().map(|order| order.date), selection);
    }

    /// Counts a customer whose second window is over by the end, so that all had the same chance to come again.
    fn window(&mut self, first: Date, mut dates: impl Iterator<Item = Date>, selection: &Selection) {
        let over = days_between(first, self.end) - 2 * RETAINED_DAYS;
        if over < 0 {
            return;
        }
        let is_back = dates.any(|date| {
            let since = days_between(first, date);
            since > RETAINED_DAYS && since <= 2 * RETAINED_DAYS
        });
        let count = |(new, back): &mut (usize, usize)| {
            *new += 1;
            *back += usize::from(is_back);
        };
        if let Some(quarter) = usize::try_from(over / QUARTER_DAYS).ok().and_then(|q| self.windows.get_mut(q)) {
            count(quarter);
        }
        if selection.within(first) {
            count(&mut self.all);
            count(self.of_month.entry(first.first_of_month()).or_default());
        }
    }

    fn finish(self, view: &mut View) {
        let share = |(new, back): (usize, usize)| (new > 0).then(|| back as f64 / new as f64);
        let last = |values: Vec<f64>| values[values.len().saturating_sub(SPARK_MONTHS)..].to_vec();
        let [now, before] = self.active.map(|count| count as f64);
        let months = self.by_month.values().map(|count| *count as f64).collect();
        view.active = Figure { now: Some(now), before: (before > 0.0).then_some(before), spark: last(months) };
        // The trend compares quarters of new customers; the figure is of all of the period.
        let [recent, earlier] = self.windows.map(share);
        let now = share(self.all);
        let before = now.zip(recent).zip(earlier).map(|((now, recent), earlier)| now - (recent - earlier));
        view.retained = Figure { now, before, spark: last(self.of_month.into_values().filter_map(share).collect()) };
        let [recent, earlier] = self.quarters;
        view.last_quarter = recent;
        view.revenue.before = (earlier > 0.0).then_some(earlier);
    }
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (count, sum) = values.fold((0_usize, 0.0), |(count, sum), value| (count + 1, sum + value));
    (count > 0).then(|| sum / count as f64)
}

/// Spend over new customers, in the whole months of the period that spend is known of. The spend of a segment or a country
/// is not known, so both are of everybody who came by the channel.
fn cost(book: &Book, acquisition: &Acquisition, selection: &Selection, channel: Option<u16>) -> Option<f64> {
    let (first, last) = acquisition.months()?;
    let from = selection.from.unwrap_or(book.first_day).first_of_month().max(first);
    let to = selection.end(book).first_of_month().min(last);
    let of = |one: &&crate::book::Customer| {
        (channel.is_none() || one.channel == channel) && (from..=to).contains(&book.first_order(one).first_of_month())
    };
    let new = book.customers.iter().filter(of).count();
    let name = channel.map(|place| book.channels[usize::from(place)].as_str());
    let spend = acquisition.total(name, from, to);
    (new > 0 && spend > 0.0).then(|| spend / new as f64)
}

fn groups<K: Ord + Copy>(
    book: &Book,
    fit: &Fit,
    selection: &Selection,
    key: impl Fn(usize) -> Option<K>,
) -> Vec<Group<K>> {
    let mut sums: BTreeMap<K, (usize, f64)> = BTreeMap::new();
    for place in 0..book.customers.len() {
        let worth = fit.standings[place].as_ref().and_then(|standing| standing.worth);
        let (Some(worth), Some(key)) = (worth, key(place)) else { continue };
        if selection.shows(book, fit, place) {
            let (customers, sum) = sums.entry(key).or_default();
            *customers += 1;
            *sum += worth.clv;
        }
    }
    let mut groups: Vec<Group<K>> = sums
        .into_iter()
        .map(|(key, (customers, sum))| Group { key, customers, clv: sum / customers as f64, cac: None })
        .collect();
    groups.sort_by(|a, b| b.clv.total_cmp(&a.clv));
    groups
}

fn segments(book: &Book, fit: &Fit, selection: &Selection) -> Vec<Group<Segment>> {
    groups(book, fit, selection, |place| fit.standings[place].as_ref().map(|standing| standing.segment))
}

fn channels(book: &Book, fit: &Fit, selection: &Selection, acquisition: Option<&Acquisition>) -> Vec<Group<u16>> {
    let mut groups = groups(book, fit, selection, |place| book.customers[place].channel);
    for group in &mut groups {
        group.cac = acquisition.and_then(|acquisition| cost(book, acquisition, selection, Some(group.key)));
    }
    groups
}

/// Customers who first bought in the same month.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Cohort {
    /// The month's first day.
    pub(crate) month: Date,
    /// How many they are.
    pub(crate) customers: usize,
    /// The share of them who bought in each month after it, up to that of the end.
    pub(crate) retention: Vec<f64>,
}

/// Retention by month of the first order, for those whose first order lies within the period.
pub(crate) fn retention(book: &Book, fit: &Fit, selection: &Selection) -> Vec<Cohort> {
    let end = selection.end(book);
    let mut cohorts: BTreeMap<Date, (usize, Vec<usize>)> = BTreeMap::new();
    for (place, customer) in book.customers.iter().enumerate() {
        let first = book.first_order(customer);
        if !selection.within(first) || !selection.has(book, fit, place) {
            continue;
        }
        let month = first.first_of_month();
        let fresh = || (0, vec![0; months_between(month, end) + 1]);
        let (count, active) = cohorts.entry(month).or_insert_with(fresh);
        *count += 1;
        let mut last = None;
        for order in book.orders(customer).iter().filter(|order| order.date <= end) {
            let since = months_between(month, order.date);
            if last != Some(since) {
                active[since] += 1;
                last = Some(since);
            }
        }
    }
    let share = |(month, (customers, active)): (Date, (usize, Vec<usize>))| {
        let retention = active.into_iter().map(|active| active as f64 / customers as f64).collect();
        Cohort { month, customers, retention }
    };
    cohorts.into_iter().map(share).collect()
}

/// The cumulative margin per customer of those who first bought in one quarter, by months since the first order.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Curve {
    /// `2026 Q1`.
    pub(crate) name: String,
    /// How many they are.
    pub(crate) customers: usize,
    /// After 0, 1, 2 … months, as far as all of them have been customers that long.
    pub(crate) value: Vec<f64>,
}

/// Mean days of a month.
const MONTH_DAYS: f64 = 365.25 / 12.0;

/// The curves of the quarters within the period, old to new.
pub(crate) fn curves(book: &Book, fit: &Fit, selection: &Selection) -> Vec<Curve> {
    let end = selection.end(book);
    let month = |from: Date, to: Date| whole(days_between(from, to) as f64 / MONTH_DAYS);
    let mut quarters: BTreeMap<(i16, i8), (usize, usize, Vec<f64>)> = BTreeMap::new();
    for (place, customer) in book.customers.iter().enumerate() {
        let first = book.first_order(customer);
        if !selection.within(first) || !selection.has(book, fit, place) {
            continue;
        }
        let quarter = quarters.entry((first.year(), (first.month() - 1) / 3 + 1));
        let (customers, months, gains) = quarter.or_insert((0, usize::MAX, Vec::new()));
        *customers += 1;
        // As far as the youngest of them has been a customer.
        *months = (*months).min(month(first, end));
        for order in book.orders(customer).iter().filter(|order| order.date <= end) {
            // The first day is month 0; what comes within the first month after it counts for month 1.
            let after = if order.date == first { 0 } else { month(first, order.date) + 1 };
            if gains.len() <= after {
                gains.resize(after + 1, 0.0);
            }
            gains[after] += order.margin;
        }
    }
    let curve = |((year, quarter), (customers, months, gains)): ((i16, i8), (usize, usize, Vec<f64>))| {
        let mut sum = 0.0;
        let value = (0..=months).map(|after| {
            sum += gains.get(after).copied().unwrap_or(0.0);
            sum / customers as f64
        });
        Curve { name: format!("{year} Q{quarter}"), customers, value: value.collect() }
    };
    quarters.into_iter().map(curve).collect()
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "days of a calendar, not below zero")]
fn whole(months: f64) -> usize {
    months.max(0.0) as usize
}

/// How sure the model is that the customers are still there: ten equal steps from 0 to 1.
pub(crate) fn alive(fit: &Fit, customers: &[usize]) -> [usize; 10] {
    let mut steps = [0; 10];
    for worth in customers.iter().filter_map(|place| fit.standings[*place].as_ref()?.worth) {
        steps[whole(worth.p_alive * 10.0).min(9)] += 1;
    }
    steps
}

#[cfg(test)]
#[path = "view_tests.rs"]
mod tests;
