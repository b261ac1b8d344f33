//! One cell as the data API writes it in JSON, read without the detour over a tree of values.

use std::fmt;

use serde::{Deserialize, Deserializer, de};

/// A cell.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Null,
    Text(Box<str>),
    Whole(i64),
    Number(f64),
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl de::Visitor<'_> for Reader {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, a number, a truth value or null")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Text(if value { "true" } else { "false" }.into()))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Whole(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(i64::try_from(value).map_or(Value::Number(value as f64), Value::Whole))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Number(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_cell_is_read_and_lists_are_refused() {
        let cells: Vec<Value> = serde_json::from_str(r#"["a\n", 1, -2.5, 18446744073709551615, null, true]"#).unwrap();
        let text = |text: &str| Value::Text(text.into());
        let large = Value::Number(18_446_744_073_709_551_615.0);
        assert_eq!(cells, [text("a\n"), Value::Whole(1), Value::Number(-2.5), large, Value::Null, text("true")]);
        assert!(serde_json::from_str::<Vec<Value>>("[[1]]").is_err());
    }
}
