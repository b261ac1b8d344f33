//! A tenant's orders in memory, by customer and day, so that a filter is a walk and not a question to the API. Pure.

use std::{collections::HashMap, ops::Range};

use jiff::{ToSpan as _, civil::Date};

use crate::model::{CustomerSummary, summary::weeks_between};

/// One row of the source.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    /// Who bought.
    pub(crate) customer: String,
    /// When.
    pub(crate) date: Date,
    /// For how much.
    pub(crate) revenue: f64,
    /// What was left after the cost of the goods, where the source says it.
    pub(crate) margin: Option<f64>,
    /// By which way, where the source says it.
    pub(crate) channel: Option<String>,
    /// From where, where the source says it.
    pub(crate) country: Option<String>,
}

/// One order.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Order {
    /// When.
    pub(crate) date: Date,
    /// For how much.
    pub(crate) revenue: f64,
    /// What was left of it.
    pub(crate) margin: f64,
}

/// One customer, with the way and the country of the first order.
#[derive(Debug, Clone)]
pub(crate) struct Customer {
    /// Who.
    pub(crate) id: String,
    /// Place of the channel in [`Book::channels`].
    pub(crate) channel: Option<u16>,
    /// Place of the country in [`Book::countries`].
    pub(crate) country: Option<u16>,
    orders: Range<usize>,
}

/// Everything that was bought.
#[derive(Debug, Clone)]
pub(crate) struct Book {
    /// By id.
    pub(crate) customers: Vec<Customer>,
    /// The channels' names, the most frequent first.
    pub(crate) channels: Vec<String>,
    /// The countries' names, the most frequent first.
    pub(crate) countries: Vec<String>,
    /// The first day on which anything was bought.
    pub(crate) first_day: Date,
    /// The last one.
    pub(crate) last_day: Date,
    /// What part of the revenue is margin; 1 where the source says nothing about margins.
    pub(crate) margin_rate: f64,
    /// Whether the source says what the margins are.
    pub(crate) has_margin: bool,
    /// Rows of the source without a customer, a day or an amount.
    pub(crate) left_out: usize,
    orders: Vec<Order>,
}

impl Book {
    /// The orders by customer and day; `None` where there are none.
    pub(crate) fn new(mut rows: Vec<Row>) -> Option<Self> {
        rows.sort_by(|a, b| (&a.customer, a.date).cmp(&(&b.customer, b.date)));
        let first_day = rows.iter().map(|row| row.date).min()?;
        let last_day = rows.iter().map(|row| row.date).max()?;
        let channels = names(rows.iter().filter_map(|row| row.channel.as_deref()));
        let countries = names(rows.iter().filter_map(|row| row.country.as_deref()));
        let [channel_at, country_at] = [&channels, &countries].map(|names| places(names));
        let has_margin = rows.iter().any(|row| row.margin.is_some());
        let mut customers: Vec<Customer> = Vec::new();
        for (place, row) in rows.iter().enumerate() {
            match customers.last_mut().filter(|last| last.id == row.customer) {
                Some(last) => last.orders.end = place + 1,
                None => customers.push(Customer {
                    id: row.customer.clone(),
                    channel: row.channel.as_ref().and_then(|name| channel_at.get(name).copied()),
                    country: row.country.as_ref().and_then(|name| country_at.get(name).copied()),
                    orders: place..place + 1,
                }),
            }
        }
        let margin = |row: &Row| if has_margin { row.margin.unwrap_or(0.0) } else { row.revenue };
        let orders: Vec<Order> =
            rows.iter().map(|row| Order { date: row.date, revenue: row.revenue, margin: margin(row) }).collect();
        let sum = |of: fn(&Order) -> f64| orders.iter().map(of).sum::<f64>();
        let (revenue, margins) = (sum(|order| order.revenue), sum(|order| order.margin));
        // A loss on the whole is no rate that a future purchase could be valued with.
        let margin_rate = if has_margin && revenue > 0.0 { (margins / revenue).clamp(0.0, 1.0) } else { 1.0 };
        Some(Self { customers, channels, countries, first_day, last_day, margin_rate, has_margin, left_out: 0, orders })
    }

    /// A customer's orders, old to new.
    pub(crate) fn orders(&self, customer: &Customer) -> &[Order] {
        &self.orders[customer.orders.clone()]
    }

    /// The day of a customer's first order.
    pub(crate) fn first_order(&self, customer: &Customer) -> Date {
        self.orders[customer.orders.start].date
    }

    /// The customer of an id.
    pub(crate) fn find(&self, id: &str) -> Option<usize> {
        self.customers.binary_search_by(|customer| customer.id.as_str().cmp(id)).ok()
    }

    /// The days on which a customer bought, each once, old to new.
    pub(crate) fn days(&self, customer: &Customer) -> impl Iterator<Item = Date> {
        self.orders(customer).chunk_by(|a, b| a.date == b.date).map(|day| day[0].date)
    }

    /// What the models know of a customer on the evening of `until`; `None` who came later. The same as
    /// [`summarize`](crate::model::summarize) gives, from the index.
    pub(crate) fn summary(&self, customer: &Customer, until: Date) -> Option<CustomerSummary> {
        let first = Some(self.first_order(customer)).filter(|first| *first <= until)?;
        let mut summary = CustomerSummary {
            customer_id: customer.id.clone(),
            first_purchase: first,
            last_purchase: first,
            frequency: 0,
            recency: 0.0,
            age: weeks_between(first, until),
            monetary: 0.0,
            total_revenue: 0.0,
            holdout_frequency: None,
        };
        let (mut repeat, mut later) = (0.0, 0_u32);
        for day in self.orders(customer).chunk_by(|a, b| a.date == b.date) {
            let revenue: f64 = day.iter().map(|order| order.revenue).sum();
            if day[0].date > until {
                later += 1;
                continue;
            }
            summary.total_revenue += revenue;
            if day[0].date > first {
                summary.last_purchase = day[0].date;
                summary.frequency += 1;
                repeat += revenue;
            }
        }
        if summary.frequency > 0 {
            summary.monetary = repeat / f64::from(summary.frequency);
            summary.recency = weeks_between(first, summary.last_purchase);
        }
        summary.holdout_frequency = Some(later);
        Some(summary)
    }

    /// What the cache charges for it: roughly its bytes.
    pub(crate) fn weight(&self) -> u32 {
        let bytes = self.orders.len() * size_of::<Order>() + self.customers.len() * (size_of::<Customer>() + 32);
        u32::try_from(bytes).unwrap_or(u32::MAX)
    }
}

/// Distinct names, the most frequent first. More than fit into the index (65,535) are nameless.
fn names<'a>(all: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for name in all.filter(|name| !name.is_empty()) {
        *counts.entry(name).or_default() += 1;
    }
    let mut names: Vec<(&str, usize)> = counts.into_iter().collect();
    names.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
    names.into_iter().take(usize::from(u16::MAX)).map(|(name, _)| name.to_owned()).collect()
}

fn places(names: &[String]) -> HashMap<String, u16> {
    (0..u16::MAX).zip(names).map(|(place, name)| (name.clone(), place)).collect()
}

/// A day so many days before another, or the first that the calendar has.
pub(crate) fn days_before(date: Date, days: i64) -> Date {
    date.saturating_sub(days.days())
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;
    use crate::model::{SummaryOptions, Transaction, summarize};

    pub(crate) fn row(customer: &str, date: Date, revenue: f64) -> Row {
        Row { customer: customer.into(), date, revenue, margin: None, channel: None, country: None }
    }

    /// Deterministic orders of some customers with days in common, and several orders on a day.
    fn rows() -> Vec<Row> {
        let next = |n: u64| n.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let mut state = 7_u64;
        let mut draw = |below: u64| {
            state = next(state);
            (state >> 33) % below
        };
        (0..600)
            .map(|_| {
                let customer = format!("C{}", draw(90));
                let day = i64::try_from(draw(300)).unwrap();
                row(&customer, date(2025, 1, 1).saturating_add(day.days()), draw(900) as f64 / 10.0)
            })
            .collect()
    }

    #[test]
    fn the_index_tells_the_models_what_the_transactions_do() {
        let transactions: Vec<Transaction> = rows()
            .into_iter()
            .map(|row| Transaction { customer_id: row.customer, date: row.date, revenue: row.revenue })
            .collect();
        let book = Book::new(rows()).unwrap();
        for until in [date(2025, 3, 1), date(2025, 8, 1), book.last_day] {
            let options = SummaryOptions { observation_end: book.last_day, calibration_end: Some(until) };
            let mut expected = summarize(&transactions, &options).unwrap();
            let found: Vec<CustomerSummary> =
                book.customers.iter().filter_map(|customer| book.summary(customer, until)).collect();
            assert_eq!(found.len(), expected.len());
            for (found, expected) in found.iter().zip(&mut expected) {
                assert!((found.monetary - expected.monetary).abs() < 1e-9, "{found:?} {expected:?}");
                assert!((found.total_revenue - expected.total_revenue).abs() < 1e-9, "{found:?} {expected:?}");
                expected.monetary = found.monetary;
                expected.total_revenue = found.total_revenue;
                assert_eq!(found, expected);
            }
        }
    }

    #[test]
    fn a_customer_has_the_channel_of_the_first_order() {
        let of = |customer: &str, day: i8, channel: &str| Row {
            channel: Some(channel.into()),
            margin: Some(2.0),
            ..row(customer, date(2026, 1, day), 8.0)
        };
        let book =
            Book::new(vec![of("a", 9, "Email"), of("a", 2, "Paid"), of("b", 3, "Email"), of("b", 4, "Email")]).unwrap();
        assert_eq!(book.channels, ["Email", "Paid"]);
        assert_eq!(book.customers.iter().map(|customer| customer.channel).collect::<Vec<_>>(), [Some(1), Some(0)]);
        assert!((book.margin_rate - 0.25).abs() < 1e-12 && book.has_margin);
        assert_eq!((book.find("b"), book.find("c"), book.orders.len()), (Some(1), None, 4));
    }

    #[test]
    fn without_margins_revenue_is_the_value() {
        let book = Book::new(vec![row("a", date(2026, 1, 1), 8.0)]).unwrap();
        assert!(!book.has_margin && (book.margin_rate - 1.0).abs() < 1e-12);
        assert!(Book::new(Vec::new()).is_none());
    }
}
