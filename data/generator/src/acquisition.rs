//! Acquisition: what was spent each month on each channel to win customers.

use std::io::{self, Write};

use jiff::{ToSpan as _, civil::Date};
use rand::RngExt as _;

use crate::{
    csv,
    random::{end, invalid, seed_of, stream},
    transactions::start,
};

/// How a tenant spends.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Budget {
    seed: u64,
    /// Channel as the orders name it, and what is spent on it in an ordinary month.
    channels: &'static [(&'static str, f64)],
    /// What wins nobody in particular and counts all the same; it carries the canary.
    fair: (&'static str, f64),
    /// How much more is spent before Christmas.
    season: f64,
    /// How much more is spent at the end of the window than at its beginning.
    growth: f64,
}

/// A retailer that pays for search and social traffic.
pub(crate) const ACME: Budget = Budget {
    seed: 0xac3e_0004,
    channels: &[
        ("Organic", 90.0),
        ("Paid search", 760.0),
        ("Email", 140.0),
        ("Paid social", 690.0),
        ("Referral", 210.0),
    ],
    fair: ("Trade fairs", 60.0),
    season: 1.5,
    growth: 0.1,
};

/// Subscriptions: sales people cost most, and more each month.
pub(crate) const GLOBEX: Budget = Budget {
    seed: 0x610b_0004,
    channels: &[("Self-service", 3_200.0), ("Sales", 8_800.0), ("Partner", 2_900.0), ("Marketplace", 1_500.0)],
    fair: ("Conferences", 900.0),
    season: 1.0,
    growth: 0.8,
};

/// A bank: advisers and branches.
pub(crate) const INITECH: Budget = Budget {
    seed: 0x1417_0004,
    channels: &[("Branch", 2_900.0), ("Relationship manager", 3_800.0), ("Online", 900.0)],
    fair: ("Sponsoring", 400.0),
    season: 1.0,
    growth: 0.05,
};

/// The budget of a tenant, for measuring.
pub(crate) fn of(tenant: &str) -> Budget {
    let budget = match tenant {
        "globex" => GLOBEX,
        "initech" => INITECH,
        _ => ACME,
    };
    Budget { seed: seed_of(tenant, "acquisition"), ..budget }
}

const HEAD: [&str; 3] = ["month", "channel", "spend"];

/// Writes the months of the orders' window.
pub(crate) fn write(budget: &Budget, canary: &str, out: &mut impl Write) -> io::Result<()> {
    csv::line(out, HEAD)?;
    let months = window(start()?.first_of_month())?;
    for (place, month) in months.iter().enumerate() {
        let age = place as f64 / (months.len() - 1).max(1) as f64;
        month_of(budget, canary, "", (*month, place, age), |line| csv::line(out, line))?;
    }
    Ok(())
}

/// Writes exactly so many rows: the months of the window, again and again for more regions, the last cut short.
pub(crate) fn write_rows(budget: &Budget, canary: &str, rows: usize, out: &mut impl Write) -> io::Result<()> {
    csv::line(out, HEAD)?;
    let months = window(start()?.first_of_month())?;
    let mut left = rows;
    let mut stretch = 0_usize;
    while left > 0 {
        let (region, place) = (stretch / months.len(), stretch % months.len());
        month_of(budget, canary, &format!(" {region}"), (months[place], stretch, 0.5), |line| {
            if left == 0 {
                return Ok(());
            }
            left -= 1;
            csv::line(out, line)
        })?;
        stretch += 1;
    }
    Ok(())
}

fn window(first: Date) -> io::Result<Vec<Date>> {
    let mut months = Vec::new();
    let mut month = first;
    while month <= end() {
        months.push(month);
        month = month.checked_add(1.month()).map_err(invalid)?;
    }
    Ok(months)
}

/// The rows of one month; `age` is how far through the window it is, from 0 to 1.
fn month_of(
    budget: &Budget,
    canary: &str,
    region: &str,
    (month, number, age): (Date, usize, f64),
    mut each: impl FnMut([&str; 3]) -> io::Result<()>,
) -> io::Result<()> {
    let rng = &mut stream(budget.seed, u64::try_from(number).unwrap_or(u64::MAX));
    let season = if matches!(month.month(), 11 | 12) { budget.season } else { 1.0 };
    let (fair, cost) = budget.fair;
    let marked = format!("{fair}{region} {canary}");
    let ordinary = budget.channels.iter().map(|(name, amount)| (format!("{name}{region}"), *amount));
    for (name, amount) in ordinary.chain([(marked, cost)]) {
        let noise = 0.88 + 0.24 * rng.random::<f64>();
        let spend = amount * season * (1.0 + budget.growth * age) * noise;
        each([&month.to_string(), &name, &format!("{spend:.2}")])?;
    }
    Ok(())
}
