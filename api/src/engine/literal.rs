//! Values of a query, parsed once into the type of the column that they are compared with.

use std::{borrow::Cow, ops::RangeInclusive};

use jiff::civil::{Date, DateTime};
use jiff::fmt::temporal::{Pieces, PiecesOffset};
use jiff::{SignedDuration, Span, Unit};
use polars::prelude as pl;
use serde::Serialize;

use super::query::Scalar;
use super::schema::Kind;

/// The precision that every decimal is computed in: the most that 128 bits hold.
pub(super) const PRECISION: usize = 38;

const MICROS_PER_SECOND: i64 = 1_000_000;
const MICROS_PER_DAY: i64 = 86_400 * MICROS_PER_SECOND;

/// Day 0 of a column.
const EPOCH: Date = Date::constant(1970, 1, 1);
/// The days that can be written: those of the years 1 to 9999. Both ends are used for "always" and "never".
pub(super) const DAYS: RangeInclusive<i32> = -719_162..=2_932_896;

/// A value of a column's type.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) enum Literal {
    Integer(i64),
    Float(f64),
    Decimal { unscaled: i128, scale: usize },
    String(String),
    Boolean(bool),
    Date(i32),
    Datetime { micros: i64, zoned: bool },
}

impl Literal {
    /// Reads a value as one of the kind, or says what would be one.
    pub(super) fn parse(kind: Kind, scalar: &Scalar) -> Result<Self, &'static str> {
        match (kind, scalar) {
            (Kind::Boolean, Scalar::Boolean(flag)) => Ok(Self::Boolean(*flag)),
            (Kind::Float, Scalar::Number(number)) => Self::parse_text(kind, number),
            (Kind::Integer | Kind::Decimal { .. }, Scalar::Number(number)) => {
                Self::parse_text(kind, &plain(number).ok_or(expected(kind))?)
            }
            (_, Scalar::Text(text)) => Self::parse_text(kind, text),
            _ => Err(expected(kind)),
        }
    }

    pub(super) fn parse_text(kind: Kind, text: &str) -> Result<Self, &'static str> {
        let literal = match kind {
            Kind::Integer => text.parse().ok().map(Self::Integer),
            Kind::Float => text.parse().ok().filter(|number: &f64| number.is_finite()).map(Self::Float),
            Kind::Decimal { scale } => decimal(text, scale).map(|unscaled| Self::Decimal { unscaled, scale }),
            Kind::String => Some(Self::String(text.to_owned())),
            Kind::Boolean => text.parse().ok().map(Self::Boolean),
            Kind::Date => date(text).and_then(days).map(Self::Date),
            Kind::Datetime { zoned } => instant(text, zoned).map(|micros| Self::Datetime { micros, zoned }),
        };
        literal.ok_or(expected(kind))
    }

    /// The value as Polars has it, with its exact type.
    pub(super) fn scalar(&self) -> pl::Scalar {
        match self {
            Self::Integer(number) => (*number).into(),
            Self::Float(number) => (*number).into(),
            Self::Decimal { unscaled, scale } => pl::Scalar::new_decimal(*unscaled, PRECISION, *scale),
            Self::String(text) => pl::PlSmallStr::from_str(text).into(),
            Self::Boolean(flag) => (*flag).into(),
            Self::Date(days) => pl::Scalar::new_date(*days),
            Self::Datetime { micros, zoned } => {
                pl::Scalar::new_datetime(*micros, pl::TimeUnit::Microseconds, zone(*zoned))
            }
        }
    }
}

/// The time zone of a column: instants are always kept in UTC.
pub(super) fn zone(zoned: bool) -> Option<pl::TimeZone> {
    zoned.then_some(pl::TimeZone::UTC)
}

/// A day as text, if it lies in the years -9999 to 9999.
pub(super) fn date_text(days: i32) -> Option<String> {
    let at = EPOCH.checked_add(Span::new().try_days(days).ok()?).ok()?;
    Some(at.to_string())
}

/// A point in time as text (RFC 3339, and without an offset where the column has no zone), if it lies in those years.
pub(super) fn datetime_text(micros: i64, zoned: bool) -> Option<String> {
    let at = EPOCH.to_datetime(jiff::civil::Time::midnight()).checked_add(SignedDuration::from_micros(micros)).ok()?;
    Some(if zoned { format!("{at}Z") } else { at.to_string() })
}

/// Whether the column's days, or instants, can all be written.
pub(super) fn are_written(kind: Kind, least: i64, greatest: i64) -> bool {
    let days = match kind {
        Kind::Date => [least, greatest],
        Kind::Datetime { .. } => [least, greatest].map(|micros| micros.div_euclid(MICROS_PER_DAY)),
        _ => return true,
    };
    days.iter().all(|day| i32::try_from(*day).is_ok_and(|day| DAYS.contains(&day)))
}

fn expected(kind: Kind) -> &'static str {
    match kind {
        Kind::Integer => "a whole number of 64 bits",
        Kind::Float => "a number",
        Kind::Decimal { .. } => "a number with no more decimals than the column has",
        Kind::String => "a text",
        Kind::Boolean => "true or false",
        Kind::Date => "a date such as 2026-01-31",
        Kind::Datetime { zoned: true } => "a date, or a time such as 2026-01-31T09:30:00Z",
        Kind::Datetime { zoned: false } => "a date, or a time without an offset such as 2026-01-31T09:30:00",
    }
}

/// `YYYY-MM-DD` and nothing else: jiff would take a longer text and drop its time.
fn date(text: &str) -> Option<Date> {
    if text.len() == "2026-01-31".len() { text.parse().ok() } else { None }
}

fn days(date: Date) -> Option<i32> {
    Some(EPOCH.until((Unit::Day, date)).ok()?.get_days())
}

/// Microseconds since 1970. A date is its midnight. A zoned column wants an offset, and takes UTC for none; the other kind
/// refuses one. The name of a zone is no offset.
fn instant(text: &str, zoned: bool) -> Option<i64> {
    if let Some(date) = date(text) {
        return micros(date.into());
    }
    let read = Pieces::parse(text).ok()?;
    if read.time_zone_annotation().is_some() {
        return None;
    }
    let offset = match read.offset() {
        Some(_) if !zoned => return None,
        Some(PiecesOffset::Numeric(offset)) => i64::from(offset.offset().seconds()),
        Some(_) | None => 0,
    };
    micros(read.date().to_datetime(read.time()?))?.checked_sub(offset * MICROS_PER_SECOND)
}

fn micros(at: DateTime) -> Option<i64> {
    const NANOS_PER_MICRO: i128 = 1000;
    let nanos = at.time().duration_since(jiff::civil::Time::midnight()).as_nanos();
    // The column has microseconds: a finer value could never be equal to one.
    let of_day = if nanos % NANOS_PER_MICRO == 0 { i64::try_from(nanos / NANOS_PER_MICRO).ok()? } else { return None };
    i64::from(days(at.date())?).checked_mul(MICROS_PER_DAY)?.checked_add(of_day)
}

/// A JSON number without an exponent (RFC 8259, section 6): what writes large numbers with one means no other number.
fn plain(number: &str) -> Option<Cow<'_, str>> {
    let Some((digits, exponent)) = number.split_once(['e', 'E']) else { return Some(number.into()) };
    let exponent: i32 = exponent.parse().ok()?;
    if usize::try_from(exponent.unsigned_abs()).is_ok_and(|exponent| exponent > PRECISION) {
        return None;
    }
    let (sign, digits) = digits.strip_prefix('-').map_or(("", digits), |digits| ("-", digits));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let digits = format!("{whole}{fraction}");
    let point = i32::try_from(whole.len()).ok()? + exponent;
    let (leading, point) = if point > 0 { (0, point) } else { (1 - point, 1) };
    let [leading, point] = [leading, point].map(|count| usize::try_from(count).unwrap_or_default());
    let mut text = "0".repeat(leading) + &digits;
    while text.len() < point {
        text.push('0');
    }
    let (whole, fraction) = text.split_at(point);
    let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
    let whole = if whole.is_empty() { "0" } else { whole };
    let dot = if fraction.is_empty() { "" } else { "." };
    Some(format!("{sign}{whole}{dot}{fraction}").into())
}

/// A plain decimal number as its unscaled integer.
fn decimal(text: &str, scale: usize) -> Option<i128> {
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let is_plain = !whole.is_empty() && whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit());
    if !is_plain || fraction.len() > scale || whole.len() + scale > PRECISION {
        return None;
    }
    let unscaled: i128 = format!("{whole}{fraction:0<scale$}").parse().ok()?;
    Some(if negative { -unscaled } else { unscaled })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(kind: Kind, text: &str) -> Option<Literal> {
        Literal::parse(kind, &Scalar::Text(text.to_owned())).ok()
    }

    #[test]
    fn values_are_of_their_columns_type_or_refused() {
        assert_eq!(text(Kind::Integer, "-7"), Some(Literal::Integer(-7)));
        for wrong in ["7.0", "9223372036854775808", "", "1e3", " 7"] {
            assert_eq!(text(Kind::Integer, wrong), None, "{wrong}");
        }
        assert_eq!(text(Kind::Float, "NaN"), None);
        assert_eq!(text(Kind::Float, "1e999"), None);
        assert_eq!(text(Kind::Boolean, "TRUE"), None);
        assert_eq!(Literal::parse(Kind::Integer, &Scalar::Boolean(true)).ok(), None);
        assert_eq!(Literal::parse(Kind::String, &Scalar::Number("7".to_owned())).ok(), None);
    }

    #[test]
    fn decimals_are_exact() {
        let two = Kind::Decimal { scale: 2 };
        let literal = |unscaled| Some(Literal::Decimal { unscaled, scale: 2 });
        assert_eq!(text(two, "-1.5"), literal(-150));
        assert_eq!(text(two, "-0.05"), literal(-5));
        assert_eq!(text(two, "12"), literal(1_200));
        for wrong in ["1.234", "1e2", "", ".", "-", "+1", "1.2.3", &"9".repeat(37)] {
            assert_eq!(text(two, wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_json_number_is_the_one_that_was_written() {
        let number = |kind, text: &str| Literal::parse(kind, &Scalar::Number(text.to_owned())).ok();
        assert_eq!(number(Kind::Float, "2.0011174602765958"), Some(Literal::Float(2.001_117_460_276_595_8)));
        let money = |text| number(Kind::Decimal { scale: 2 }, text);
        let literal = |unscaled| Some(Literal::Decimal { unscaled, scale: 2 });
        assert_eq!(money("1234567890123456.78"), literal(123_456_789_012_345_678));
        for (text, unscaled) in [("1e3", 100_000), ("-1.5E+1", -1_500), ("125e-2", 125), ("0.5e1", 500), ("0e5", 0)] {
            assert_eq!(money(text), literal(unscaled), "{text}");
        }
        assert_eq!((money("125e-3"), money("1e99")), (None, None));
        assert_eq!(number(Kind::Integer, "12e2"), Some(Literal::Integer(1200)));
        assert_eq!(number(Kind::Integer, "1e99"), None);
    }

    #[test]
    fn times_are_to_the_microsecond() {
        assert_eq!(text(Kind::Date, "1970-01-02"), Some(Literal::Date(1)));
        assert_eq!(text(Kind::Date, "1969-12-31"), Some(Literal::Date(-1)));
        for wrong in ["1970-01-02T00:00", "1970-1-2", "1970-02-30", "19700102"] {
            assert_eq!(text(Kind::Date, wrong), None, "{wrong}");
        }
        for zoned in [true, false] {
            let kind = Kind::Datetime { zoned };
            let second = Some(Literal::Datetime { micros: MICROS_PER_SECOND, zoned });
            assert_eq!(text(kind, "1970-01-01T00:00:01"), second);
            assert_eq!(text(kind, "1970-01-01T01:00:01+01:00").is_some(), zoned);
            assert_eq!(text(kind, "1970-01-01T00:00:00.0000001"), None);
            assert_eq!(text(kind, "1970-01-01"), Some(Literal::Datetime { micros: 0, zoned }));
            for named in ["1970-01-01T00:00:00[Europe/Berlin]", "1970-01-01T00:00:00Z[UTC]", "1970-01-01[UTC]"] {
                assert_eq!(text(kind, named), None, "{named}");
            }
        }
    }

    #[test]
    fn times_are_written_as_they_are_read() {
        assert_eq!(date_text(-1).as_deref(), Some("1969-12-31"));
        assert_eq!(date_text(i32::MAX), None);
        assert_eq!(datetime_text(1_500_000, true).as_deref(), Some("1970-01-01T00:00:01.5Z"));
        assert_eq!(datetime_text(-1, false).as_deref(), Some("1969-12-31T23:59:59.999999"));
        assert_eq!(datetime_text(i64::MIN, true), None);
        // The last day there is stands for "never".
        assert_eq!(text(Kind::Date, "9999-12-31"), Some(Literal::Date(*DAYS.end())));
        assert_eq!(date_text(*DAYS.end()).as_deref(), Some("9999-12-31"));
        assert_eq!(date_text(*DAYS.start()).as_deref(), Some("0001-01-01"));
        for (zoned, last) in [(true, "9999-12-31T23:59:59.999999Z"), (false, "9999-12-31T23:59:59.999999")] {
            let Some(Literal::Datetime { micros, .. }) = text(Kind::Datetime { zoned }, last) else { panic!("{last}") };
            assert_eq!(datetime_text(micros, zoned).as_deref(), Some(last));
            assert!(
                are_written(Kind::Datetime { zoned }, 0, micros)
                    && !are_written(Kind::Datetime { zoned }, 0, micros + 1)
            );
        }
    }
}
