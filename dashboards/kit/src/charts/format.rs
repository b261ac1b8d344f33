//! Numbers and dates for people: grouped thousands, compact units, percentages, short dates.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

/// What is shown for a value that is not finite.
const MISSING: &str = "n/a";
/// A space that does not break, between a number and its unit.
const NBSP: char = '\u{a0}';
const UNITS: [(f64, &str); 4] = [(1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")];
const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Number(usize),
    Compact,
    Percent(usize),
}

/// How a number is shown. A prefix (a currency sign) and a suffix (a unit) may be added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Format {
    kind: Kind,
    prefix: Cow<'static, str>,
    suffix: Cow<'static, str>,
}

impl Format {
    /// Grouped thousands and a fixed number of decimals: `18,204`.
    #[must_use]
    pub fn number(decimals: u8) -> Self {
        Self::of(Kind::Number(usize::from(decimals)))
    }

    /// Short, with a unit: `1.2 k`, `3.4 M`.
    #[must_use]
    pub fn compact() -> Self {
        Self::of(Kind::Compact)
    }

    /// A share as a percentage: `0.46` becomes `46%`.
    #[must_use]
    pub fn percent(decimals: u8) -> Self {
        Self::of(Kind::Percent(usize::from(decimals)))
    }

    /// Puts text before the number, after the sign.
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<Cow<'static, str>>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Puts text after the number.
    #[must_use]
    pub fn suffix(mut self, suffix: impl Into<Cow<'static, str>>) -> Self {
        self.suffix = suffix.into();
        self
    }

    /// The number as shown in a label or a tooltip.
    #[must_use]
    pub fn text(&self, value: f64) -> String {
        match self.kind {
            Kind::Number(decimals) => self.wrap(value, &grouped(value.abs(), decimals), ""),
            Kind::Percent(decimals) => self.wrap(value, &grouped(value.abs() * 100.0, decimals), "%"),
            Kind::Compact => {
                let (digits, unit) = compact(value.abs());
                self.wrap(value, &digits, unit)
            }
        }
    }

    /// The number for a data table: never shortened, and with an ASCII minus so that it can be pasted elsewhere.
    #[must_use]
    pub fn exact(&self, value: f64) -> String {
        let text = match self.kind {
            Kind::Compact => self.wrap(value, &trimmed(&grouped(value.abs(), 2)), ""),
            Kind::Number(_) | Kind::Percent(_) => self.text(value),
        };
        text.replace('\u{2212}', "-")
    }

    /// The number on an axis, with as many decimals as the step between ticks needs.
    pub(crate) fn tick(&self, value: f64, step: f64) -> String {
        let (scaled, unit, step) = match self.kind {
            Kind::Number(_) => (value.abs(), "", step),
            Kind::Percent(_) => (value.abs() * 100.0, "%", step * 100.0),
            Kind::Compact => match UNITS.iter().find(|(size, _)| value.abs() >= size * 0.999_999) {
                Some((size, unit)) => (value.abs() / size, *unit, step / size),
                None => (value.abs(), "", step),
            },
        };
        let decimals = (0..6).find(|d| (step * 10_f64.powi(*d)).fract().abs() < 1e-6).unwrap_or(6);
        let decimals = if scaled > 0.0 { usize::try_from(decimals).unwrap_or(0) } else { 0 };
        self.wrap(value, &grouped(scaled, decimals), unit)
    }

    fn of(kind: Kind) -> Self {
        Self { kind, prefix: Cow::Borrowed(""), suffix: Cow::Borrowed("") }
    }

    fn wrap(&self, value: f64, digits: &str, unit: &str) -> String {
        if !value.is_finite() {
            return MISSING.to_owned();
        }
        let zero = digits.bytes().all(|b| !b.is_ascii_digit() || b == b'0');
        let sign = if value < 0.0 && !zero { "\u{2212}" } else { "" };
        let mut text = format!("{sign}{}{digits}", self.prefix);
        if !unit.is_empty() && unit != "%" {
            text.push(NBSP);
        }
        text.push_str(unit);
        text.push_str(&self.suffix);
        text
    }
}

fn grouped(value: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$}");
    let (whole, rest) = text.find('.').map_or((text.as_str(), ""), |dot| text.split_at(dot));
    let mut out = String::with_capacity(text.len() + whole.len() / 3);
    for (i, c) in whole.chars().enumerate() {
        if i > 0 && (whole.len() - i).is_multiple_of(3) && c.is_ascii_digit() {
            out.push(',');
        }
        out.push(c);
    }
    out + rest
}

fn trimmed(text: &str) -> String {
    let short = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text };
    short.to_owned()
}

/// Digits and unit of a value that is not negative.
fn compact(value: f64) -> (String, &'static str) {
    // 999,950 would round to "1000 k", so each unit starts a little early.
    for (size, unit) in UNITS {
        if value >= size * 0.9995 {
            let scaled = value / size;
            let decimals = usize::from(scaled < 99.95);
            return (trimmed(&grouped(scaled, decimals)), unit);
        }
    }
    let decimals = if value < 1.0 { 3 } else { usize::from(value < 99.95) + usize::from(value < 9.995) };
    (trimmed(&grouped(value, decimals)), "")
}

/// A calendar day, only for showing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date {
    year: i16,
    month: u8,
    day: u8,
}

impl Date {
    /// A date; `None` when the calendar has no such day.
    #[must_use]
    pub fn new(year: i16, month: u8, day: u8) -> Option<Self> {
        let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let days = match month {
            1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
            4 | 6 | 9 | 11 => 30,
            2 if leap => 29,
            2 => 28,
            _ => return None,
        };
        ((0..=9999).contains(&year) && (1..=days).contains(&day)).then_some(Self { year, month, day })
    }

    /// The year.
    #[must_use]
    pub fn year(self) -> i16 {
        self.year
    }

    /// Short month name: `Sep`.
    #[must_use]
    pub fn month_name(self) -> &'static str {
        MONTHS.get(usize::from(self.month) - 1).copied().unwrap_or(MISSING)
    }

    /// Month and year: `Sep 2026`.
    #[must_use]
    pub fn month(self) -> String {
        format!("{} {}", self.month_name(), self.year)
    }

    /// Day, month and year: `30 Sep 2026`.
    #[must_use]
    pub fn long(self) -> String {
        format!("{} {} {}", self.day, self.month_name(), self.year)
    }

    /// Whether both dates lie in the same month of the same year.
    pub(crate) fn same_month(self, other: Self) -> bool {
        (self.year, self.month) == (other.year, other.month)
    }
}

/// A day that no data has: it stands where there is none.
impl Default for Date {
    fn default() -> Self {
        Self { year: 1970, month: 1, day: 1 }
    }
}

/// The text was not a date of the form `2026-09-30`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DateError;

impl fmt::Display for DateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected a date of the form 2026-09-30")
    }
}

impl std::error::Error for DateError {}

impl FromStr for Date {
    type Err = DateError;

    fn from_str(text: &str) -> Result<Self, DateError> {
        let mut parts = text.splitn(3, '-');
        let mut next = || parts.next().ok_or(DateError);
        let (year, month, day) = (next()?, next()?, next()?);
        if [year.len(), month.len(), day.len()] != [4, 2, 2] || !text.bytes().all(|b| b.is_ascii_digit() || b == b'-') {
            return Err(DateError);
        }
        let number = |text: &str| text.parse::<u8>().map_err(|_| DateError);
        Self::new(year.parse().map_err(|_| DateError)?, number(month)?, number(day)?).ok_or(DateError)
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compact_numbers() {
        let f = Format::compact();
        for (value, text) in [
            (0.0, "0"),
            (0.051, "0.051"),
            (12.0, "12"),
            (999.0, "999"),
            (1_234.0, "1.2\u{a0}k"),
            (999_960.0, "1\u{a0}M"),
            (3_400_000.0, "3.4\u{a0}M"),
            (-86_200_000.0, "\u{2212}86.2\u{a0}M"),
            (123_456_789_000.0, "123\u{a0}B"),
            (f64::NAN, "n/a"),
        ] {
            assert_eq!(f.text(value), text);
        }
        assert_eq!(f.exact(-1_234.5), "-1,234.5");
    }

    #[test]
    fn other_numbers() {
        assert_eq!(Format::number(0).text(18_204.4), "18,204");
        assert_eq!(Format::number(2).prefix("$").text(-1_234_567.891), "\u{2212}$1,234,567.89");
        assert_eq!(Format::number(0).text(-0.2), "0");
        assert_eq!(Format::percent(1).text(0.068), "6.8%");
        assert_eq!(Format::number(0).text(123.0), "123");
    }

    #[test]
    fn ticks_show_enough_decimals() {
        assert_eq!(Format::compact().prefix("$").tick(1_500_000.0, 500_000.0), "$1.5\u{a0}M");
        assert_eq!(Format::compact().prefix("$").tick(3_000.0, 1_000.0), "$3\u{a0}k");
        assert_eq!(Format::percent(0).tick(0.025, 0.005), "2.5%");
        assert_eq!(Format::number(0).tick(0.5, 0.5), "0.5");
        assert_eq!(Format::compact().tick(0.0, 0.2), "0");
    }

    #[test]
    fn dates() {
        let date: Date = "2026-09-30".parse().expect("valid");
        assert_eq!((date.long().as_str(), date.month().as_str()), ("30 Sep 2026", "Sep 2026"));
        assert_eq!(date.to_string(), "2026-09-30");
        for bad in [
            "",
            "2026-13-01",
            "2026-09",
            "x-y-z",
            "2026-09-32",
            "2026-02-29",
            "2100-02-29",
            "-1-01-01",
            "2026-9-30",
            "2026-+9-30",
        ] {
            assert_eq!(bad.parse::<Date>(), Err(DateError));
        }
    }
}
