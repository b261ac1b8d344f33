//! Transactions: who bought what, when, for how much.

use std::io::{self, Write};

use jiff::civil::Date;
use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution as _, Gamma, Normal};

use crate::csv;
use crate::model::BgNbd;
use crate::random::{after, end, invalid, seed_of, stream, whole, word};

const DAYS: i32 = 78 * 7;
const COUNTRIES: [(&str, f64); 6] = [("US", 38.0), ("GB", 18.0), ("DE", 16.0), ("FR", 12.0), ("NL", 9.0), ("PL", 7.0)];

/// One transaction before it has an order number.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) customer: u32,
    pub(crate) date: Date,
    channel: &'static str,
    country: &'static str,
    category: &'static str,
    quantity: i32,
    revenue: f64,
    margin: f64,
}

/// The transactions of a tenant, in order of date.
#[derive(Debug)]
pub(crate) struct Book {
    letter: char,
    /// The customer whose id carries the canary.
    marked: u32,
    pub(crate) rows: Vec<Row>,
}

impl Book {
    fn new(letter: char, mut rows: Vec<Row>) -> Self {
        rows.sort_by_key(|row| (row.date, row.customer));
        Self { letter, marked: typical(&rows), rows }
    }
}

/// The lowest number of a customer with three transactions: ordinary, and seen in every view of repeat buyers.
fn typical(rows: &[Row]) -> u32 {
    let mut numbers: Vec<u32> = rows.iter().map(|row| row.customer).collect();
    numbers.sort_unstable();
    numbers
        .chunk_by(|a, b| a == b)
        .find(|chunk| chunk.len() == 3)
        .or_else(|| numbers.chunk_by(|a, b| a == b).next())
        .map_or(0, |chunk| chunk[0])
}

/// First day of the window.
pub(crate) fn start() -> io::Result<Date> {
    after(end(), 1 - DAYS)
}

/// A gamma-gamma spend: shape of one basket, shape and rate of the spread between customers.
#[derive(Debug, Clone)]
struct Spend {
    p: f64,
    q: f64,
    gamma: f64,
}

impl Spend {
    const CDNOW: Self = Self { p: 6.25, q: 3.74, gamma: 15.44 };

    /// The distribution of one customer's baskets.
    fn customer(&self, rng: &mut ChaCha8Rng) -> io::Result<Gamma<f64>> {
        let rate = Gamma::new(self.q, self.gamma.recip()).map_err(invalid)?.sample(rng);
        Gamma::new(self.p, rate.max(1e-6).recip()).map_err(invalid)
    }
}

/// How a shop's customers behave.
#[derive(Debug, Clone)]
struct Shop {
    seed: u64,
    customers: u32,
    model: BgNbd,
    spend: Spend,
    channels: &'static [(&'static str, f64)],
    categories: &'static [(&'static str, f64)],
    /// Price of one piece, for quantities.
    piece: f64,
    margin: f64,
    seasonal: bool,
}

const ACME: Shop = Shop {
    seed: 0xac3e_0001,
    customers: 9_000,
    model: BgNbd::CDNOW,
    spend: Spend::CDNOW,
    channels: &[("Organic", 31.0), ("Paid search", 24.0), ("Email", 18.0), ("Paid social", 15.0), ("Referral", 12.0)],
    categories: &[("Home", 27.0), ("Music", 22.0), ("Books", 20.0), ("Toys", 17.0), ("Garden", 14.0)],
    piece: 14.0,
    margin: 0.38,
    seasonal: true,
};

const INITECH: Shop = Shop {
    seed: 0x1417_0001,
    customers: 600,
    model: BgNbd { r: 1.1, alpha: 12.0, a: 0.35, b: 6.0 },
    spend: Spend { p: 2.2, q: 3.1, gamma: 260.0 },
    channels: &[("Branch", 42.0), ("Relationship manager", 35.0), ("Online", 23.0)],
    categories: &[("Payments", 40.0), ("Trade finance", 24.0), ("Custody", 20.0), ("Advisory", 16.0)],
    piece: 400.0,
    margin: 0.61,
    seasonal: false,
};

/// Baskets grow before Christmas and shrink in February.
fn season(date: Date) -> f64 {
    match date.month() {
        11 => 1.18,
        12 => 1.34,
        2 => 0.88,
        7 | 8 => 0.94,
        _ => 1.0,
    }
}

/// The days after the start of the window on which a customer first buys; a little more arrive before Christmas.
fn arrival(rng: &mut ChaCha8Rng, first: Date) -> io::Result<i32> {
    loop {
        let day = whole(rng.random::<f64>() * f64::from(DAYS - 14));
        let weight = if matches!(after(first, day)?.month(), 11 | 12) { 1.0 } else { 0.7 };
        if rng.random::<f64>() < weight {
            return Ok(day);
        }
    }
}

impl Shop {
    fn book(&self, letter: char) -> io::Result<Book> {
        let mut rows = Vec::new();
        for customer in 0..self.customers {
            self.customer(customer, &mut rows)?;
        }
        Ok(Book::new(letter, rows))
    }

    fn customer(&self, customer: u32, rows: &mut Vec<Row>) -> io::Result<()> {
        let rng = &mut stream(self.seed, u64::from(customer));
        let first = start()?;
        let arrival = arrival(rng, first)?;
        let basket = self.spend.customer(rng)?;
        let country = word(rng, &COUNTRIES);
        let channel = word(rng, self.channels);
        let weeks = f64::from(DAYS - arrival) / 7.0;
        let repeats = self.model.repeats(rng, weeks)?;
        for week in std::iter::once(0.0).chain(repeats) {
            let date = after(first, arrival + whole(week * 7.0))?;
            let factor = if self.seasonal { season(date) } else { 1.0 };
            let revenue = (basket.sample(rng) * factor).max(1.0);
            let margin = revenue * (self.margin + 0.16 * (rng.random::<f64>() - 0.5));
            let category = word(rng, self.categories);
            let quantity = 1 + whole(revenue / self.piece);
            rows.push(Row { customer, date, channel, country, category, quantity, revenue, margin });
        }
        Ok(())
    }
}

/// A retailer: many customers, most of them buy once.
pub(crate) fn acme() -> io::Result<Book> {
    ACME.book('A')
}

/// A bank's fees: few customers who stay.
pub(crate) fn initech() -> io::Result<Book> {
    INITECH.book('N')
}

/// Subscriptions: a payment each month at a fixed price, growing, with few who leave.
pub(crate) fn globex() -> io::Result<Book> {
    let mut rows = Vec::new();
    for customer in 0..2_400 {
        subscriber(0x610b_0001, customer, &mut rows)?;
    }
    Ok(Book::new('G', rows))
}

fn subscriber(seed: u64, customer: u32, rows: &mut Vec<Row>) -> io::Result<()> {
    const PLANS: [(&str, f64); 3] = [("Starter", 9.0), ("Team", 29.0), ("Business", 99.0)];
    const MIX: [(usize, f64); 3] = [(0, 52.0), (1, 34.0), (2, 14.0)];
    const CHANNELS: [(&str, f64); 4] =
        [("Self-service", 55.0), ("Sales", 22.0), ("Partner", 14.0), ("Marketplace", 9.0)];
    let jitter = Normal::new(0.0, 0.8).map_err(invalid)?;
    let rng = &mut stream(seed, u64::from(customer));
    // The square root makes sign-ups grow over the window.
    let mut day = rng.random::<f64>().sqrt() * f64::from(DAYS - 1);
    let mut plan = crate::random::pick(rng, &MIX).copied().unwrap_or(0);
    let mut seats = if plan == 0 { 1 } else { 1 + whole(rng.random::<f64>().powi(3) * 12.0) };
    let (country, channel) = (word(rng, &COUNTRIES), word(rng, &CHANNELS));
    let dropout = [0.035, 0.018, 0.008][plan];
    while day < f64::from(DAYS) {
        let (category, price) = PLANS[plan];
        let revenue = price * f64::from(seats);
        let margin = revenue * (0.81 + 0.02 * (rng.random::<f64>() - 0.5));
        let date = after(start()?, whole(day))?;
        rows.push(Row { customer, date, channel, country, category, quantity: seats, revenue, margin });
        if rng.random::<f64>() < dropout {
            break;
        }
        if rng.random::<f64>() < 0.012 && plan < 2 {
            plan += 1;
        }
        if plan > 0 && rng.random::<f64>() < 0.06 {
            seats += 1;
        }
        day += f64::max(30.4 + jitter.sample(rng), 27.0);
    }
    Ok(())
}

/// Exactly so many transactions, for measuring: as many customers as it takes, the last of whom may lack some.
pub(crate) fn of_rows(tenant: &str, count: usize) -> io::Result<Book> {
    let seed = seed_of(tenant, "transactions");
    let shop = Shop { seed, ..if tenant == "initech" { INITECH } else { ACME } };
    let mut rows = Vec::with_capacity(count);
    let mut customer = 0;
    while rows.len() < count {
        match tenant {
            "globex" => subscriber(seed, customer, &mut rows)?,
            _ => shop.customer(customer, &mut rows)?,
        }
        customer += 1;
    }
    rows.truncate(count);
    Ok(Book::new(tenant.chars().next().map_or('X', |letter| letter.to_ascii_uppercase()), rows))
}

/// Writes the transactions; one customer's id carries the canary.
pub(crate) fn write(book: &Book, canary: &str, out: &mut impl Write) -> io::Result<()> {
    let head =
        ["customer_id", "order_id", "order_date", "channel", "country", "category", "quantity", "revenue", "margin"];
    csv::line(out, head)?;
    for (order, row) in book.rows.iter().enumerate() {
        let mut customer = format!("{}{:05}", book.letter, row.customer + 10_000);
        if row.customer == book.marked {
            customer = format!("{customer}-{canary}");
        }
        let order = format!("{}-{}", book.letter, order + 100_001);
        let (date, quantity) = (row.date.to_string(), row.quantity.to_string());
        let (revenue, margin) = (format!("{:.2}", row.revenue), format!("{:.2}", row.margin));
        let fields = [&customer, &order, &date, row.channel, row.country, row.category, &quantity, &revenue, &margin];
        csv::line(out, fields)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn acme_repeats_as_often_as_the_closed_form_says() {
        let first = start().expect("a valid date");
        let mut seen: BTreeMap<u32, (Date, f64)> = BTreeMap::new();
        for row in acme().expect("valid parameters").rows {
            seen.entry(row.customer).and_modify(|(_, n)| *n += 1.0).or_insert((row.date, 0.0));
        }
        assert_eq!(seen.len(), 9_000);
        let (mut repeats, mut expected) = (0.0, 0.0);
        for (date, count) in seen.values() {
            let days = f64::from(first.until(*date).expect("dates in order").get_days());
            repeats += count;
            expected += BgNbd::CDNOW.expected_repeats((f64::from(DAYS) - days) / 7.0);
        }
        assert!((repeats / expected - 1.0).abs() < 0.03, "{repeats} repeats, {expected} expected");
    }
}
