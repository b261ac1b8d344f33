//! The type of a column of texts: what Polars' CSV reader infers from all of them, in a fraction of the time.
//!
//! Polars tries a regular expression after another on every cell, and then fifty patterns of dates. Here the common ways
//! to write a value are recognised byte by byte; for all others Polars' own function is asked, so that the answer is the
//! same (the tests beside [`super::csv`] hold the two against each other).

use polars::io::csv::read::schema_inference::{finish_infer_field_schema, infer_field_schema};
use polars::prelude::{DataType, PlIndexSet, StringChunked, TimeUnit};

use super::literal::zone;

/// A shape that is common enough to be recognised without Polars. Its value is its bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Common {
    Integer = 1,
    Float = 2,
    Date = 4,
    Datetime = 8,
    Instant = 16,
}

/// The one type that all values have; a text where they have none in common, or where there are none.
pub(super) fn dtype_of(texts: &StringChunked) -> DataType {
    let mut seen = PlIndexSet::default();
    let mut common = 0u8;
    for text in texts.iter().flatten() {
        let dtype = match Common::of(text.as_bytes()) {
            Some(shape) if common & shape as u8 != 0 => continue,
            Some(shape) => {
                common |= shape as u8;
                shape.dtype()
            }
            // Polars infers from a cell as it is in the file, where such a one has quotes inside of quotes.
            None if text.contains('"') => DataType::String,
            None => match infer_field_schema(text, true, false) {
                // A column has microseconds; Polars would cut off what is finer.
                DataType::Datetime(..) if is_finer(text) => DataType::String,
                dtype => dtype,
            },
        };
        // Nothing that comes later makes a text anything else.
        if seen.insert(dtype) && finish_infer_field_schema(&seen) == DataType::String {
            break;
        }
    }
    match finish_infer_field_schema(&seen) {
        // A time of a day is no type that is served, and a good text.
        DataType::Time => DataType::String,
        dtype => dtype,
    }
}

impl Common {
    fn dtype(self) -> DataType {
        match self {
            Self::Integer => DataType::Int64,
            Self::Float => DataType::Float64,
            Self::Date => DataType::Date,
            Self::Datetime => DataType::Datetime(TimeUnit::Microseconds, None),
            Self::Instant => DataType::Datetime(TimeUnit::Microseconds, zone(true)),
        }
    }

    fn of(text: &[u8]) -> Option<Self> {
        /// So many digits fit into 64 bits whatever they are.
        const MAX_DIGITS: usize = 18;
        let number = text.strip_prefix(b"-").unwrap_or(text);
        let whole = digits(number);
        match &number[whole..] {
            [] if (1..=MAX_DIGITS).contains(&whole) => Some(Self::Integer),
            [b'.', fraction @ ..] if !fraction.is_empty() && digits(fraction) == fraction.len() => Some(Self::Float),
            [b'-', ..] => Self::of_time(text),
            _ => None,
        }
    }

    /// `YYYY-MM-DD`, alone or with `THH:MM:SS`, a fraction and `Z`.
    fn of_time(text: &[u8]) -> Option<Self> {
        let (date, rest) = text.split_at_checked("2026-01-31".len())?;
        let [_, _, _, _, b'-', month @ .., b'-', _, _] = date else { return None };
        // Whether a month has a 29th is Polars' to say.
        let is_date = digits(date) == 4 && within(month, 1, 12) && within(&date[8..], 1, 28);
        let (clock, rest) = match rest {
            [] => return is_date.then_some(Self::Date),
            [b'T' | b' ', rest @ ..] if is_date => rest.split_at_checked("09:30:00".len())?,
            _ => return None,
        };
        let [hour @ .., b':', _, _, b':', _, _] = clock else { return None };
        if !(within(hour, 0, 23) && within(&clock[3..5], 0, 59) && within(&clock[6..], 0, 59)) {
            return None;
        }
        let rest = match rest {
            [b'.', fraction @ ..] if (1..=MICROSECONDS).contains(&digits(fraction)) => &fraction[digits(fraction)..],
            rest => rest,
        };
        match rest {
            [] => Some(Self::Datetime),
            b"Z" => Some(Self::Instant),
            _ => None,
        }
    }
}

/// Digits of a second's fraction that a column holds.
const MICROSECONDS: usize = 6;

/// Whether a time has a fraction of a second that microseconds cannot hold.
fn is_finer(text: &str) -> bool {
    let fraction = text.rsplit_once('.').map_or("", |(_, fraction)| fraction);
    let length = digits(fraction.as_bytes());
    fraction[..length].get(MICROSECONDS..).is_some_and(|rest| rest.bytes().any(|digit| digit != b'0'))
}

/// How many digits it starts with.
fn digits(text: &[u8]) -> usize {
    text.iter().take_while(|byte| byte.is_ascii_digit()).count()
}

/// Whether it is a number of two digits in these bounds.
fn within(text: &[u8], low: u8, high: u8) -> bool {
    matches!(text, [tens @ b'0'..=b'9', ones @ b'0'..=b'9'] if (low..=high).contains(&((tens - b'0') * 10 + ones - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_not_cut_to_what_a_column_holds() {
        let dtype = |text: &str| dtype_of(&StringChunked::from_iter([Some(text)]));
        for (text, is_time) in [
            ("2026-01-31T09:30:00.123456", true),
            ("2026-01-31T09:30:00.123456000Z", true),
            ("2026-01-31T09:30:00.1234567", false),
            ("2026-01-31T09:30:00.000000001Z", false),
        ] {
            assert_eq!(matches!(dtype(text), DataType::Datetime(..)), is_time, "{text}: {}", dtype(text));
        }
    }

    #[test]
    fn a_common_shape_is_what_polars_says_it_is() {
        let texts = [
            "0",
            "-0",
            "007",
            "-12",
            "1.5",
            "-.5",
            "0.10",
            "999999999999999999",
            "9999999999999999999",
            "1.",
            ".",
            "-",
            "2026-01-31",
            "2026-02-28",
            "2026-02-29",
            "2024-02-29",
            "2026-13-01",
            "0000-01-01",
            "2026-00-10",
            "-2026-01-31",
            "2026-01-31T09:30:00",
            "2026-01-31 23:59:59",
            "2026-01-31T24:00:00",
            "2026-01-31T09:30:60",
            "2026-01-31T09:30",
            "2026-01-31T09:30:00Z",
            "2026-01-31 09:30:00Z",
            "2026-01-31T09:30:00.123Z",
            "2026-01-31T09:30:00.123456789",
            "2026-01-31T09:30:00.",
            "2026-01-31T09:30:00.1234567890",
            "2026-01-31T09:30:00+01:00",
            "2026-01-31T09:30:00z",
            "2026-01-31-09:30:00",
            "12-31-2026",
            "31-12-2026",
            "09:30:00",
            "1-2",
            "2026-01-3",
            "20260131",
            "+5",
            " 5",
        ];
        for text in texts {
            if let Some(common) = Common::of(text.as_bytes()) {
                assert_eq!(common.dtype(), infer_field_schema(text, true, false), "{text:?}");
            }
        }
        for (text, common) in [
            ("12", Common::Integer),
            ("-0.5", Common::Float),
            ("2026-01-28", Common::Date),
            ("2026-01-28T09:30:00.5", Common::Datetime),
            ("2026-01-28 09:30:00Z", Common::Instant),
        ] {
            assert_eq!(Common::of(text.as_bytes()), Some(common), "{text:?}");
        }
    }
}
