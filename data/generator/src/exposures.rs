//! Exposures: how much each counterparty owes, how likely it fails, what is lost then.

use std::io::{self, Write};

use rand::RngExt as _;
use rand_distr::{Beta, Distribution as _, LogNormal};

use crate::csv;
use crate::random::{invalid, seed_of, stream, whole, word};

#[rustfmt::skip]
const FIRST: [&str; 40] = [
    "Harbour", "Nordlicht", "Sato", "Delmar", "Quay", "Bright", "Lumen", "Alder", "Castell", "Orion", "Vega", "Maple",
    "Stein", "Rhone", "Tatra", "Baltic", "Cedar", "Monarch", "Pinnacle", "Summit", "Granite", "Lark", "Meridian",
    "Novak", "Osprey", "Prairie", "Ridge", "Silver", "Thorn", "Union", "Valley", "Willow", "Zephyr", "Amber", "Beacon",
    "Crown", "Drift", "Ember", "Falcon", "Glen",
];
/// Second word of a name and the sector it belongs to.
#[rustfmt::skip]
const SECOND: [(&str, &str); 32] = [
    ("Foods", "Consumer"), ("Brewing", "Consumer"), ("Apparel", "Consumer"), ("Markets", "Consumer"),
    ("Freight", "Transport"), ("Lines", "Transport"), ("Aviation", "Transport"), ("Logistics", "Transport"),
    ("Energy", "Energy"), ("Power", "Energy"), ("Solar", "Energy"), ("Pipelines", "Energy"),
    ("Homes", "Real estate"), ("Estates", "Real estate"), ("Property", "Real estate"), ("Land", "Real estate"),
    ("Steel", "Industry"), ("Textiles", "Industry"), ("Chemicals", "Industry"), ("Machines", "Industry"),
    ("Parts", "Industry"), ("Paper", "Industry"), ("Software", "Technology"), ("Networks", "Technology"),
    ("Devices", "Technology"), ("Data", "Technology"), ("Clinics", "Health"), ("Pharma", "Health"),
    ("Care", "Health"), ("Capital", "Financials"), ("Leasing", "Financials"), ("Insurance", "Financials"),
];
/// Grades, best first.
pub(crate) const RATINGS: [&str; 7] = ["AAA", "AA", "A", "BBB", "BB", "B", "CCC"];
/// Typical chance of default within a year, by grade.
pub(crate) const PD: [f64; 7] = [0.0002, 0.0004, 0.0009, 0.0028, 0.0110, 0.0420, 0.1650];
/// Highest chance of default of a counterparty that still pays.
pub(crate) const PD_CAP: f64 = 0.6;

/// How a book of exposures looks.
#[derive(Debug, Clone)]
pub(crate) struct Book {
    seed: u64,
    count: usize,
    /// Logarithm of the median exposure, and its spread.
    size: (f64, f64),
    /// Weights of the ratings, best first.
    ratings: [f64; 7],
    countries: &'static [(&'static str, f64)],
    lgd: (f64, f64),
    /// Longest time to maturity in days.
    longest: f64,
}

/// Trade credit of a retailer: small, short, middling.
pub(crate) const ACME: Book = Book {
    seed: 0xac3e_0002,
    count: 180,
    size: (10.6, 0.9),
    ratings: [0.0, 2.0, 9.0, 30.0, 36.0, 19.0, 4.0],
    countries: &[("US", 60.0), ("CA", 20.0), ("MX", 12.0), ("GB", 8.0)],
    lgd: (9.0, 6.0),
    longest: 150.0,
};

/// A bank's book: large, long, mostly investment grade, with a few giants.
pub(crate) const INITECH: Book = Book {
    seed: 0x1417_0002,
    count: 1_200,
    size: (14.2, 1.25),
    ratings: [3.0, 9.0, 22.0, 34.0, 20.0, 10.0, 2.0],
    countries: &[("DE", 26.0), ("FR", 18.0), ("GB", 16.0), ("US", 14.0), ("IT", 9.0), ("NL", 9.0), ("PL", 8.0)],
    lgd: (6.0, 8.0),
    longest: 2_600.0,
};

/// A book of so many exposures, for measuring: a bank's for one that is a bank, otherwise a retailer's.
pub(crate) fn of_rows(tenant: &str, rows: usize) -> Book {
    let book = if tenant == "initech" { INITECH } else { ACME };
    Book { seed: seed_of(tenant, "exposures"), count: rows, ..book }
}

/// A name that no other number gets, with its sector.
fn name(seed: u64, number: usize) -> (String, &'static str) {
    let total = FIRST.len() * SECOND.len();
    // 787 shares no factor with 1,280, so this visits every pair once.
    let place = (number % total * 787 + usize::try_from(seed % 1_000).unwrap_or(0)) % total;
    let (second, sector) = SECOND[place / FIRST.len()];
    let pair = format!("{} {second}", FIRST[place % FIRST.len()]);
    // After all pairs each comes again, with a number: there are companies of the same name, too.
    if number < total { (pair, sector) } else { (format!("{pair} {}", number / total + 1), sector) }
}

/// One counterparty as it stands on the last day.
#[derive(Debug, Clone)]
pub(crate) struct Exposure {
    pub(crate) counterparty: String,
    pub(crate) sector: &'static str,
    pub(crate) country: &'static str,
    /// Place in [`RATINGS`], best first.
    pub(crate) grade: usize,
    pub(crate) ead: f64,
    pub(crate) pd: f64,
    pub(crate) lgd: f64,
    days: i32,
}

impl Book {
    /// The counterparty that carries the canary: the one in the middle.
    pub(crate) fn marked(&self) -> usize {
        self.count / 2
    }

    /// Number of counterparties.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// The counterparty of a number, which may lie past the book's end; the marked one carries the canary.
    pub(crate) fn exposure(&self, number: usize, canary: &str) -> io::Result<Exposure> {
        let size = LogNormal::new(self.size.0, self.size.1).map_err(invalid)?;
        let loss = Beta::new(self.lgd.0, self.lgd.1).map_err(invalid)?;
        let noise = LogNormal::new(0.0, 0.18).map_err(invalid)?;
        let grades: Vec<(usize, f64)> = self.ratings.iter().copied().enumerate().collect();
        let rng = &mut stream(self.seed, u64::try_from(number).unwrap_or(u64::MAX));
        let (mut counterparty, sector) = name(self.seed, number);
        if number == self.marked() {
            counterparty = format!("{counterparty} {canary}");
        }
        let country = word(rng, self.countries);
        let grade = crate::random::pick(rng, &grades).copied().unwrap_or(3);
        // Weak names get less credit.
        let ead = size.sample(rng) * [1.6, 1.5, 1.3, 1.0, 0.7, 0.5, 0.4][grade];
        Ok(Exposure {
            counterparty,
            sector,
            country,
            grade,
            ead: (ead / 100.0).round() * 100.0,
            pd: (PD[grade] * noise.sample(rng)).min(PD_CAP),
            lgd: loss.sample(rng),
            days: whole(14.0 + rng.random::<f64>().powi(2) * self.longest),
        })
    }
}

/// Writes the exposures.
pub(crate) fn write(book: &Book, canary: &str, out: &mut impl Write) -> io::Result<()> {
    csv::line(out, ["counterparty", "sector", "country", "rating", "ead", "pd", "lgd", "maturity"])?;
    for number in 0..book.count {
        let row = book.exposure(number, canary)?;
        let (ead, pd, lgd) = (format!("{:.2}", row.ead), format!("{:.6}", row.pd), format!("{:.4}", row.lgd));
        // Years, as the capital formula takes it.
        let maturity = format!("{:.2}", f64::from(row.days) / 365.25);
        let rating = RATINGS[row.grade];
        csv::line(out, [&row.counterparty, row.sector, row.country, rating, &ead, &pd, &lgd, &maturity])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique() {
        for count in [INITECH.count, 10_000] {
            let names: BTreeSet<String> = (0..count).map(|n| name(INITECH.seed, n).0).collect();
            assert_eq!(names.len(), count);
        }
    }
}
