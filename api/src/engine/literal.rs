//! Values of a query, parsed once into the type of the column that they are compared with.

use jiff::civil::{Date, DateTime};
use jiff::tz::{Offset, TimeZone};
use jiff::{Timestamp, Unit};
use polars::prelude as pl;
use serde::Serialize;

use super::query::Scalar;
use super::schema::Kind;

/// The precision that every decimal is computed in: the most that 128 bits hold.
pub(super) const PRECISION: usize = 38;

const MICROS_PER_SECOND: i64 = 1_000_000;
const SECONDS_PER_DAY: i64 = 86_400;

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
            (Kind::Integer | Kind::Float | Kind::Decimal { .. }, Scalar::Number(number)) => {
                Self::parse_text(kind, &number.to_string())
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
            Kind::Datetime { zoned } => {
                instant(text, zoned).map(|at| Self::Datetime { micros: at.as_microsecond(), zoned })
            }
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
    let at = Timestamp::from_second(i64::from(days) * SECONDS_PER_DAY).ok()?;
    Some(Offset::UTC.to_datetime(at).date().to_string())
}

/// A point in time as text (RFC 3339, and without an offset where the column has no zone), if it lies in those years.
pub(super) fn datetime_text(micros: i64, zoned: bool) -> Option<String> {
    let at = Timestamp::from_microsecond(micros).ok()?;
    Some(if zoned { at.to_string() } else { Offset::UTC.to_datetime(at).to_string() })
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
    let at = utc(date.into())?;
    i32::try_from(at.as_second().div_euclid(SECONDS_PER_DAY)).ok()
}

/// A date is its midnight. A zoned column wants an offset, and takes UTC for none; the other kind refuses one.
fn instant(text: &str, zoned: bool) -> Option<Timestamp> {
    if let Some(date) = date(text) {
        return utc(date.into());
    }
    let at = match (text.parse::<Timestamp>(), zoned) {
        (Ok(at), true) => at,
        (Ok(_), false) => return None,
        (Err(_), _) => utc(text.parse().ok()?)?,
    };
    // The column has microseconds: a finer value could never be equal to one.
    (at.round(Unit::Microsecond).ok()? == at).then_some(at)
}

fn utc(at: DateTime) -> Option<Timestamp> {
    let at = at.to_zoned(TimeZone::UTC).ok()?.timestamp();
    at.as_second().checked_mul(MICROS_PER_SECOND).map(|_| at)
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
        assert_eq!(Literal::parse(Kind::String, &Scalar::Number(7.into())).ok(), None);
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
        }
    }

    #[test]
    fn times_are_written_as_they_are_read() {
        assert_eq!(date_text(-1).as_deref(), Some("1969-12-31"));
        assert_eq!(date_text(i32::MAX), None);
        assert_eq!(datetime_text(1_500_000, true).as_deref(), Some("1970-01-01T00:00:01.5Z"));
        assert_eq!(datetime_text(-1, false).as_deref(), Some("1969-12-31T23:59:59.999999"));
        assert_eq!(datetime_text(i64::MIN, true), None);
    }
}
