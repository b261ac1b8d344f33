//! Daily profit and loss per desk: calm at first, then stormy.

use std::io::{self, Write};

use jiff::civil::{Date, Weekday};
use rand_distr::{Distribution as _, StudentT};

use crate::csv;
use crate::random::{after, end, invalid, seed_of, stream};

/// Trading days per desk: about two years.
const DAYS: usize = 520;

/// How the desks of a tenant earn.
#[derive(Debug, Clone)]
pub(crate) struct Book {
    seed: u64,
    /// Name, typical daily move, mean per day. The last desk carries the canary.
    desks: &'static [(&'static str, f64, f64)],
    /// Degrees of freedom: fewer make fatter tails.
    freedom: f64,
    /// Number of last days that are stormy, and how much larger their moves are.
    storm: (usize, f64),
    /// Share of a move that all desks have in common.
    common: f64,
}

/// A retailer that hedges currency and runs a trade credit book.
pub(crate) const ACME: Book = Book {
    seed: 0xac3e_0003,
    desks: &[("Trade credit", 9_000.0, 900.0), ("FX hedging", 14_000.0, 0.0)],
    freedom: 8.0,
    storm: (60, 1.3),
    common: 0.2,
};

/// A bank that was calm until the last half year.
pub(crate) const INITECH: Book = Book {
    seed: 0x1417_0003,
    desks: &[
        ("Rates", 620_000.0, 30_000.0),
        ("Credit", 480_000.0, 26_000.0),
        ("Equities", 390_000.0, 18_000.0),
        ("FX", 260_000.0, 9_000.0),
        ("Run-off", 60_000.0, -1_500.0),
    ],
    freedom: 4.0,
    storm: (125, 2.6),
    common: 0.45,
};

/// The last working days, old to new.
fn calendar() -> io::Result<Vec<Date>> {
    let mut days = Vec::with_capacity(DAYS);
    let mut back = 0;
    while days.len() < DAYS {
        let day = after(end(), -back)?;
        if !matches!(day.weekday(), Weekday::Saturday | Weekday::Sunday) {
            days.push(day);
        }
        back += 1;
    }
    days.reverse();
    Ok(days)
}

/// The desks of a tenant, for measuring: a bank's for one that is a bank, otherwise a retailer's.
pub(crate) fn of(tenant: &str) -> Book {
    let book = if tenant == "initech" { INITECH } else { ACME };
    Book { seed: seed_of(tenant, "pnl"), ..book }
}

/// Writes the profit and loss; the smallest desk carries the canary in all its rows, so its history stays whole.
pub(crate) fn write(book: &Book, canary: &str, out: &mut impl Write) -> io::Result<()> {
    csv::line(out, HEAD)?;
    history(book, book.seed, &calendar()?, |day, desk, pnl| line(book, canary, "", day, desk, pnl, out))
}

/// Writes exactly so many rows: the desks' history, that of as many more desks as it takes, and a last one cut short.
pub(crate) fn write_rows(book: &Book, canary: &str, rows: usize, out: &mut impl Write) -> io::Result<()> {
    csv::line(out, HEAD)?;
    let days = calendar()?;
    let mut left = rows;
    let mut branch = 0_u64;
    while left > 0 {
        let of_branch = format!(" {branch}");
        history(book, book.seed.wrapping_add(branch), &days, |day, desk, pnl| {
            if left == 0 {
                return Ok(());
            }
            left -= 1;
            line(book, canary, &of_branch, day, desk, pnl, out)
        })?;
        branch += 1;
    }
    Ok(())
}

const HEAD: [&str; 3] = ["date", "desk", "pnl"];

fn line(
    book: &Book,
    canary: &str,
    branch: &str,
    day: Date,
    desk: usize,
    pnl: f64,
    out: &mut impl Write,
) -> io::Result<()> {
    let last = desk + 1 == book.desks.len();
    let name = book.desks.get(desk).map_or("", |(name, ..)| name);
    let name = if last { format!("{name}{branch} {canary}") } else { format!("{name}{branch}") };
    csv::line(out, [&day.to_string(), &name, &format!("{pnl:.2}")])
}

/// What each desk earned on each of the days.
fn history(
    book: &Book,
    seed: u64,
    days: &[Date],
    mut each: impl FnMut(Date, usize, f64) -> io::Result<()>,
) -> io::Result<()> {
    let shock = StudentT::new(book.freedom).map_err(invalid)?;
    // Volatility clusters: a large move makes the next day's moves larger.
    let mut heat = 1.0_f64;
    for (place, day) in days.iter().enumerate() {
        let rng = &mut stream(seed, u64::try_from(place).unwrap_or(u64::MAX));
        let target = if days.len() - place <= book.storm.0 { book.storm.1 } else { 1.0 };
        let market = shock.sample(rng);
        heat = (0.86 * heat + 0.14 * target * (0.6 + 0.4 * market.abs())).clamp(0.4, 6.0);
        for (desk, (_, size, mean)) in book.desks.iter().enumerate() {
            let own = shock.sample(rng);
            let scale = size * heat / (book.freedom / (book.freedom - 2.0)).sqrt();
            let pnl = mean + scale * (book.common.sqrt() * market + (1.0 - book.common).sqrt() * own);
            each(*day, desk, pnl)?;
        }
    }
    Ok(())
}
