//! The types of a table's columns, and a value of each from the bytes that `PostgreSQL` sends.
//!
//! Values come in `PostgreSQL`'s binary form, which has one meaning, and no date or number is parsed from a text. What has no
//! counterpart is refused with the column's name: a table with a column missing would be another table.

use crate::engine::rows::{Cell, CellKind};

use super::session::quoted;

/// Longest text, in characters.
pub(super) const MAX_TEXT: usize = 1_000_000;
/// Digits of the longest decimal that is served.
const MAX_PRECISION: i32 = 38;
/// Days between 1970, from which we count, and 2000, from which `PostgreSQL` does.
const EPOCH_DAYS: i32 = 10_957;
/// The same in microseconds.
const EPOCH_MICROSECONDS: i64 = 10_957 * 86_400_000_000;
/// The first and the last day that is served, 0001-01-01 and 9999-12-31, counted from 1970.
const DAYS: std::ops::RangeInclusive<i32> = -719_162..=2_932_896;
/// The same in microseconds.
const MICROSECONDS: std::ops::RangeInclusive<i64> = -719_162 * 86_400_000_000..=2_932_897 * 86_400_000_000 - 1;

/// A column, of a type that is served.
#[derive(Debug)]
pub(super) struct Column {
    name: String,
    kind: CellKind,
}

/// A type as the database's catalogue describes it; a domain as the type below it.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct Described {
    name: String,
    /// The type's name, if it is one of `PostgreSQL`'s own.
    builtin: Option<String>,
    is_enum: bool,
    modifier: i32,
    is_readable: bool,
}

impl Described {
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn is(&self, name: &str) -> bool {
        self.name == name
    }

    pub(super) fn is_readable(&self) -> bool {
        self.is_readable
    }
}

impl Column {
    pub(super) fn of(described: Described) -> Result<Self, String> {
        let Described { name, builtin, is_enum, modifier, is_readable: _ } = described;
        let kind = match builtin.as_deref() {
            Some("bool") => CellKind::Boolean,
            Some("int2") => CellKind::Int16,
            Some("int4") => CellKind::Int32,
            Some("int8") => CellKind::Int64,
            Some("float4") => CellKind::Float32,
            Some("float8") => CellKind::Float64,
            Some("numeric") => decimal(modifier).ok_or_else(|| {
                format!(
                    "column {name:?} is a numeric without a fixed precision of at most {MAX_PRECISION} digits and a scale within \
                     it; give it one, such as numeric(18, 2)"
                )
            })?,
            Some("text" | "varchar" | "bpchar" | "name" | "uuid" | "json" | "jsonb") => CellKind::Text,
            None if is_enum => CellKind::Text,
            Some("date") => CellKind::Date,
            Some("timestamp") => CellKind::Datetime { zoned: false },
            Some("timestamptz") => CellKind::Datetime { zoned: true },
            other => {
                let other = other.unwrap_or("not PostgreSQL's own");
                let advice = "give it another one, or revoke it from the role";
                return Err(format!("column {name:?} has a type ({other}) that is not served; {advice}"));
            }
        };
        Ok(Self { name, kind })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn kind(&self) -> CellKind {
        self.kind
    }

    pub(super) fn is_text(&self) -> bool {
        self.kind == CellKind::Text
    }

    /// The column in a list of what is selected. A text is cut to one character more than is served.
    pub(super) fn selected(&self) -> String {
        let name = quoted(&self.name);
        if self.is_text() { format!("pg_catalog.left({name}::pg_catalog.text, {})", MAX_TEXT + 1) } else { name }
    }
}

/// `numeric(precision, scale)` from its type modifier.
fn decimal(modifier: i32) -> Option<CellKind> {
    let bits = modifier.checked_sub(4).filter(|bits| *bits >= 0)?;
    let (precision, scale) = (bits >> 16, bits & 0x7ff);
    // A scale that is negative has the highest of its eleven bits set, and so is larger than any precision.
    let served = (1..=MAX_PRECISION).contains(&precision) && scale <= precision;
    served.then_some(CellKind::Decimal { precision: u8::try_from(precision).ok()?, scale: u8::try_from(scale).ok()? })
}

/// A value of the kind, or what it is instead.
pub(super) fn cell(kind: CellKind, bytes: &[u8]) -> Result<Cell<'_>, &'static str> {
    Ok(match kind {
        CellKind::Boolean => Cell::Boolean(array::<1>(bytes)? != [0]),
        CellKind::Int16 => Cell::Int16(i16::from_be_bytes(array(bytes)?)),
        CellKind::Int32 => Cell::Int32(i32::from_be_bytes(array(bytes)?)),
        CellKind::Int64 => Cell::Int64(i64::from_be_bytes(array(bytes)?)),
        CellKind::Float32 => Cell::Float32(f32::from_be_bytes(array(bytes)?)),
        CellKind::Float64 => Cell::Float64(f64::from_be_bytes(array(bytes)?)),
        CellKind::Decimal { scale, .. } => Cell::Decimal(unscaled(bytes, scale)?),
        CellKind::Text => Cell::Text(text(bytes)?),
        CellKind::Date => {
            let days = i32::from_be_bytes(array(bytes)?).checked_add(EPOCH_DAYS);
            Cell::Date(days.filter(|days| DAYS.contains(days)).ok_or(NO_DAY)?)
        }
        CellKind::Datetime { .. } => {
            let at = i64::from_be_bytes(array(bytes)?).checked_add(EPOCH_MICROSECONDS);
            Cell::Datetime(at.filter(|at| MICROSECONDS.contains(at)).ok_or(NO_DAY)?)
        }
    })
}

const NO_DAY: &str = "infinity, or a day outside of the years 1 to 9999";
const NO_NUMBER: &str = "NaN or infinity";
const BAD_LENGTH: &str = "a value of a length that its type does not have";

fn array<const N: usize>(bytes: &[u8]) -> Result<[u8; N], &'static str> {
    bytes.try_into().map_err(|_| BAD_LENGTH)
}

fn text(bytes: &[u8]) -> Result<&str, &'static str> {
    let text = std::str::from_utf8(bytes).map_err(|_| "a text that is not UTF-8")?;
    // Nothing that is short enough in bytes needs to be counted.
    if text.len() > MAX_TEXT && text.chars().count() > MAX_TEXT {
        Err("a text of more than 1,000,000 characters")
    } else {
        Ok(text)
    }
}

/// A numeric as a whole number of its column's smallest unit.
///
/// It comes as a count of digits, the weight of the first, a sign and a scale, of 16 bits each, and then its digits, each of
/// which is one of 10,000.
fn unscaled(bytes: &[u8], scale: u8) -> Result<i128, &'static str> {
    let (header, digits) = bytes.split_at_checked(8).ok_or(BAD_LENGTH)?;
    let field = |index: usize| i16::from_be_bytes([header[2 * index], header[2 * index + 1]]);
    let (weight, sign) = (i32::from(field(1)), field(2).cast_unsigned());
    if !matches!(sign, 0 | 0x4000) {
        return Err(NO_NUMBER);
    }
    if digits.len() != 2 * usize::from(field(0).cast_unsigned()) {
        return Err(BAD_LENGTH);
    }
    let too_large = "a number that its type does not have";
    let mut sum: i128 = 0;
    for (position, digit) in (0..).zip(digits.chunks_exact(2)) {
        let digit = i128::from(u16::from_be_bytes([digit[0], digit[1]]));
        let exponent = 4 * (weight - position) + i32::from(scale);
        let power = 10_i128.checked_pow(exponent.unsigned_abs());
        let part = match power {
            _ if digit == 0 => Some(0),
            Some(power) if exponent >= 0 => digit.checked_mul(power),
            // What lies below the column's scale must be nothing.
            Some(power) if digit % power == 0 => Some(digit / power),
            _ => None,
        };
        sum = part.and_then(|part| sum.checked_add(part)).ok_or(too_large)?;
    }
    Ok(if sign == 0 { sum } else { -sum })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numeric(weight: i16, sign: u16, digits: &[u16]) -> Vec<u8> {
        let count = u16::try_from(digits.len()).unwrap();
        let header = [count, weight.cast_unsigned(), sign, 0];
        header.iter().chain(digits).flat_map(|field| field.to_be_bytes()).collect()
    }

    #[test]
    fn a_numeric_is_read_to_its_last_digit() {
        for (bytes, scale, value) in [
            (numeric(0, 0, &[]), 2, 0),
            (numeric(0, 0, &[1]), 2, 100),
            (numeric(0, 0, &[1, 2500]), 2, 125),
            (numeric(0, 0x4000, &[1, 2500]), 2, -125),
            (numeric(-1, 0, &[5]), 4, 5),
            (numeric(-1, 0, &[500]), 2, 5),
            (numeric(1, 0, &[1, 0]), 0, 10_000),
            (numeric(1, 0, &[1]), 0, 10_000),
            (numeric(9, 0, &[99, 9999, 9999, 9999, 9999, 9999, 9999, 9999, 9999, 9999]), 0, 10_i128.pow(38) - 1),
        ] {
            assert_eq!(unscaled(&bytes, scale), Ok(value));
        }
    }

    #[test]
    fn what_is_no_number_of_its_type_is_refused() {
        for bytes in [
            numeric(0, 0xC000, &[]),
            numeric(0, 0xD000, &[]),
            numeric(0, 0xF000, &[]),
            numeric(-1, 0, &[5]),
            numeric(i16::MAX, 0, &[1]),
            numeric(20, 0, &[1]),
            numeric(0, 0, &[1])[..8].to_vec(),
            vec![0; 3],
            vec![0xff; 9],
            Vec::new(),
        ] {
            assert!(unscaled(&bytes, 2).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn days_are_counted_from_1970_and_infinity_is_none() {
        assert_eq!(cell(CellKind::Date, &0_i32.to_be_bytes()), Ok(Cell::Date(10_957)));
        let zoned = CellKind::Datetime { zoned: true };
        assert_eq!(cell(zoned, &1_i64.to_be_bytes()), Ok(Cell::Datetime(946_684_800_000_001)));
        for days in [i32::MAX, i32::MIN, -719_163 - 10_957, 2_932_897 - 10_957] {
            assert_eq!(cell(CellKind::Date, &days.to_be_bytes()), Err(NO_DAY));
        }
        for at in [i64::MAX, i64::MIN] {
            assert_eq!(cell(zoned, &at.to_be_bytes()), Err(NO_DAY));
        }
    }

    #[test]
    fn a_scale_below_nothing_or_above_the_precision_is_not_served() {
        let modifier = |precision: i32, scale: i32| (precision << 16 | (scale & 0x7ff)) + 4;
        assert_eq!(decimal(modifier(18, 2)), Some(CellKind::Decimal { precision: 18, scale: 2 }));
        assert_eq!(decimal(modifier(38, 38)), Some(CellKind::Decimal { precision: 38, scale: 38 }));
        for (precision, scale) in [(39, 2), (2, 3), (5, -2), (1000, 0)] {
            assert_eq!(decimal(modifier(precision, scale)), None);
        }
        assert_eq!(decimal(-1), None);
    }
}
