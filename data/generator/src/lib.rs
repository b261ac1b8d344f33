//! Believable demo data from fixed seeds: the same bytes on every run.
//!
//! Three tenants with visibly different shapes. `acme` is a retailer whose customers follow a BG/NBD process with
//! gamma-gamma spend; `globex` sells subscriptions; `initech` is a bank with a large exposure book and a profit and
//! loss that turns from calm to stormy. Every file holds the canary of its tenant in ordinary rows, so a test can prove
//! that no other tenant's data reached a page.
//!
//! ```
//! let mut csv = Vec::new();
//! kyros_demo_data::generate("initech", "pnl", &mut csv)?;
//! assert!(String::from_utf8_lossy(&csv).contains(&kyros_demo_data::canary("initech")));
//! # Ok::<(), std::io::Error>(())
//! ```

mod acquisition;
mod csv;
mod exposures;
mod history;
mod model;
mod pnl;
mod random;
mod transactions;

use std::io::{self, Write};

pub use model::BgNbd;

/// Every data set: tenant, dashboard that shows it, name of the data set.
const DATASETS: [(&str, &str, &str); 12] = [
    ("acme", "clv", "acquisition"),
    ("acme", "clv", "transactions"),
    ("acme", "risk", "exposures"),
    ("acme", "risk", "history"),
    ("acme", "risk", "pnl"),
    ("globex", "clv", "acquisition"),
    ("globex", "clv", "transactions"),
    ("initech", "clv", "acquisition"),
    ("initech", "clv", "transactions"),
    ("initech", "risk", "exposures"),
    ("initech", "risk", "history"),
    ("initech", "risk", "pnl"),
];

/// Every data set as tenant, dashboard and data set.
#[must_use]
pub fn datasets() -> &'static [(&'static str, &'static str, &'static str)] {
    &DATASETS
}

/// A text that occurs in every data set of the tenant and nowhere else: `CANARY-ACME-9f3c61d27ab4e805`.
///
/// It is defined for any name, also for tenants without demo data.
#[must_use]
pub fn canary(tenant: &str) -> String {
    let tag = match tenant {
        "acme" => 0x9f3c_61d2_7ab4_e805,
        "globex" => 0x4b1e_d870_c59a_236f,
        "initech" => 0xd26a_905b_3ef1_478c,
        other => random::hash(other),
    };
    format!("CANARY-{}-{tag:016x}", tenant.to_ascii_uppercase())
}

/// Writes a data set as CSV with a header line.
///
/// # Errors
/// `InvalidInput` when there is no such data set; otherwise what the writer returns.
pub fn generate(tenant: &str, dataset: &str, out: &mut impl Write) -> io::Result<()> {
    let mark = canary(tenant);
    match (tenant, dataset) {
        ("acme", "acquisition") => acquisition::write(&acquisition::ACME, &mark, out),
        ("globex", "acquisition") => acquisition::write(&acquisition::GLOBEX, &mark, out),
        ("initech", "acquisition") => acquisition::write(&acquisition::INITECH, &mark, out),
        ("acme", "transactions") => transactions::write(&transactions::acme()?, &mark, out),
        ("globex", "transactions") => transactions::write(&transactions::globex()?, &mark, out),
        ("initech", "transactions") => transactions::write(&transactions::initech()?, &mark, out),
        ("acme", "exposures") => exposures::write(&exposures::ACME, &mark, out),
        ("initech", "exposures") => exposures::write(&exposures::INITECH, &mark, out),
        ("acme", "history") => history::write(&history::ACME, &mark, out),
        ("initech", "history") => history::write(&history::INITECH, &mark, out),
        ("acme", "pnl") => pnl::write(&pnl::ACME, &mark, out),
        ("initech", "pnl") => pnl::write(&pnl::INITECH, &mark, out),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, format!("no data set {dataset:?} of tenant {tenant:?}"))),
    }
}

/// Writes a data set of exactly so many rows as CSV with a header line, for measuring: the same columns, and the same bytes on
/// every run. Any name is a tenant's; one that has no demo data gets a retailer's.
///
/// It is another data set than that of [`generate`], also where it has as many rows.
///
/// # Errors
/// `InvalidInput` when there is no such data set; otherwise what the writer returns.
///
/// ```
/// let mut csv = Vec::new();
/// kyros_demo_data::generate_rows("umbrella", "exposures", 5_000, &mut csv)?;
/// assert_eq!(String::from_utf8_lossy(&csv).lines().count(), 5_001);
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn generate_rows(tenant: &str, dataset: &str, rows: usize, out: &mut impl Write) -> io::Result<()> {
    let mark = canary(tenant);
    match dataset {
        "acquisition" => acquisition::write_rows(&acquisition::of(tenant), &mark, rows, out),
        "transactions" => transactions::write(&transactions::of_rows(tenant, rows)?, &mark, out),
        "exposures" => exposures::write(&exposures::of_rows(tenant, rows), &mark, out),
        "history" => history::write_rows(&history::of_rows(tenant, rows), &mark, rows, out),
        "pnl" => pnl::write_rows(&pnl::of(tenant), &mark, rows, out),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, format!("no data set {dataset:?}"))),
    }
}
