//! Random numbers: one independent stream per thing, so that adding a thing does not change the others.

use std::fmt::Display;
use std::io;

use jiff::ToSpan as _;
use jiff::civil::{Date, date};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

/// The generator of one stream of a seed.
pub(crate) fn stream(seed: u64, stream: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(stream);
    rng
}

/// FNV-1a of a text.
pub(crate) fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3))
}

/// The seed of what is made for measuring: a tenant's own, and none of those that the demo data has.
pub(crate) fn seed_of(tenant: &str, dataset: &str) -> u64 {
    hash(&format!("{tenant} {dataset}"))
}

/// Picks one of the weighted values; the last one when rounding leaves a rest.
pub(crate) fn pick<'a, T>(rng: &mut ChaCha8Rng, table: &'a [(T, f64)]) -> Option<&'a T> {
    let total: f64 = table.iter().map(|(_, weight)| weight).sum();
    let mut rest = rng.random::<f64>() * total;
    for (value, weight) in table {
        rest -= weight;
        if rest < 0.0 {
            return Some(value);
        }
    }
    table.last().map(|(value, _)| value)
}

/// Picks the text of a weighted table.
pub(crate) fn word(rng: &mut ChaCha8Rng, table: &[(&'static str, f64)]) -> &'static str {
    pick(rng, table).copied().unwrap_or("")
}

/// Turns an error about distribution parameters into an I/O error.
pub(crate) fn invalid(error: impl Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error.to_string())
}

/// The last day of all demo data.
pub(crate) fn end() -> Date {
    date(2026, 9, 30)
}

/// A day that lies `days` after `start`.
pub(crate) fn after(start: Date, days: i32) -> io::Result<Date> {
    start.checked_add(days.days()).map_err(invalid)
}

/// Whole days of a float, rounded down and kept in a range that dates can hold.
#[expect(clippy::cast_possible_truncation, reason = "clamped first")]
pub(crate) fn whole(value: f64) -> i32 {
    if value.is_finite() { value.floor().clamp(-1e6, 1e6) as i32 } else { 0 }
}
