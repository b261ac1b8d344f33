//! The columns of a data set: their types, what they are for, and what a query may do with them.

use polars::prelude as pl;
use serde::Serialize;

use super::error::Error;
use super::query::{Func, Grain, Op};

/// What the values of a column are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Whole numbers of at most 64 bits with a sign.
    Integer,
    /// Floating-point numbers.
    Float,
    /// Decimal numbers of a fixed scale.
    Decimal {
        /// Digits after the point.
        scale: usize,
    },
    /// Texts.
    String,
    /// True or false.
    Boolean,
    /// Days.
    Date,
    /// Points in time, to the microsecond.
    Datetime {
        /// Whether they are instants (in UTC), and not what a clock on some wall showed.
        zoned: bool,
    },
}

impl Kind {
    /// The kind of a type as [`super::table`] normalises them.
    pub(super) fn of(dtype: &pl::DataType) -> Option<Self> {
        match dtype {
            dtype if dtype.is_integer() => Some(Self::Integer),
            dtype if dtype.is_float() => Some(Self::Float),
            pl::DataType::Decimal(_, scale) => Some(Self::Decimal { scale: *scale }),
            pl::DataType::String => Some(Self::String),
            pl::DataType::Boolean => Some(Self::Boolean),
            pl::DataType::Date => Some(Self::Date),
            pl::DataType::Datetime(_, zone) => Some(Self::Datetime { zoned: zone.is_some() }),
            _ => None,
        }
    }

    /// Its name for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Integer => "integer",
            Self::Float => "float",
            Self::Decimal { .. } => "decimal",
            Self::String => "string",
            Self::Boolean => "boolean",
            Self::Date => "date",
            Self::Datetime { .. } => "datetime",
        }
    }

    /// The comparisons that it allows.
    pub fn operations(self) -> &'static [Op] {
        // The words stand in this order: equality, order, null, text.
        match self {
            Self::String => Op::ALL,
            Self::Boolean => &[Op::Eq, Op::Ne, Op::In, Op::NotIn, Op::IsNull, Op::NotNull],
            _ => &[
                Op::Eq,
                Op::Ne,
                Op::In,
                Op::NotIn,
                Op::Lt,
                Op::Le,
                Op::Gt,
                Op::Ge,
                Op::Between,
                Op::IsNull,
                Op::NotNull,
            ],
        }
    }

    /// The aggregates that it allows.
    pub fn aggregates(self) -> &'static [Func] {
        match self {
            Self::Integer | Self::Float | Self::Decimal { .. } => Func::ALL,
            Self::Boolean => &[Func::Count, Func::CountDistinct, Func::First, Func::Last],
            Self::String | Self::Date | Self::Datetime { .. } => {
                &[Func::Count, Func::CountDistinct, Func::Min, Func::Max, Func::First, Func::Last]
            }
        }
    }

    /// The grains that it can be cut to.
    pub fn grains(self) -> &'static [Grain] {
        match self {
            Self::Datetime { .. } => Grain::ALL,
            Self::Date => &[Grain::Day, Grain::Week, Grain::Month, Grain::Quarter, Grain::Year],
            _ => &[],
        }
    }
}

/// What a column is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// To group and filter by.
    Dimension,
    /// To aggregate.
    Measure,
    /// To group by, cut to a grain.
    Time,
}

/// A column of a data set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Column {
    /// Its name, as the file has it.
    pub name: String,
    /// What its values are.
    pub kind: Kind,
    /// What it is for: a hint for people, not a rule.
    pub role: Role,
    /// The comparisons that a filter may make.
    pub operations: &'static [Op],
    /// The aggregates that may be computed.
    pub aggregates: &'static [Func],
    /// The grains that it can be cut to.
    pub grains: &'static [Grain],
}

impl Column {
    fn new(name: &str, kind: Kind) -> Self {
        let is_key = name.eq_ignore_ascii_case("id") || name.to_ascii_lowercase().ends_with("_id");
        let role = match kind {
            Kind::Integer if is_key => Role::Dimension,
            Kind::Integer | Kind::Float | Kind::Decimal { .. } => Role::Measure,
            Kind::String | Kind::Boolean => Role::Dimension,
            Kind::Date | Kind::Datetime { .. } => Role::Time,
        };
        Self {
            name: name.to_owned(),
            kind,
            role,
            operations: kind.operations(),
            aggregates: kind.aggregates(),
            grains: kind.grains(),
        }
    }
}

/// The columns of a data set, in the file's order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Schema {
    columns: Vec<Column>,
}

impl Schema {
    /// The schema of a normalised frame.
    pub(super) fn of(schema: &pl::Schema) -> Result<Self, Error> {
        let column = |(name, dtype): (&pl::PlSmallStr, &pl::DataType)| {
            let kind = Kind::of(dtype).ok_or_else(|| unsupported(name, dtype))?;
            Ok(Column::new(name, kind))
        };
        Ok(Self { columns: schema.iter().map(column).collect::<Result<_, Error>>()? })
    }

    /// The columns.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// The column of that name.
    pub fn get(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// The names of the columns.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().map(|column| column.name.as_str())
    }
}

/// The error for a column of a type that is not served.
pub(super) fn unsupported(column: &str, dtype: &pl::DataType) -> Error {
    Error::Unsupported { column: column.to_owned(), dtype: dtype.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_says_what_it_allows() {
        let fields = [
            ("customer_id", pl::DataType::Int64),
            ("revenue", pl::DataType::Float64),
            ("segment", pl::DataType::String),
            ("day", pl::DataType::Date),
        ];
        let schema = Schema::of(&fields.map(|(name, dtype)| pl::Field::new(name.into(), dtype)).into_iter().collect());
        let schema = schema.unwrap();
        let roles: Vec<_> = schema.columns().iter().map(|column| column.role).collect();
        assert_eq!(roles, [Role::Dimension, Role::Measure, Role::Dimension, Role::Time]);
        assert!(!schema.get("day").unwrap().grains.contains(&Grain::Hour));
        assert!(!schema.get("segment").unwrap().aggregates.contains(&Func::Sum));
        assert!(!schema.get("revenue").unwrap().operations.contains(&Op::Contains));
    }

    #[test]
    fn a_list_is_not_served() {
        let list = pl::DataType::List(Box::new(pl::DataType::Int64));
        let schema: pl::Schema = [pl::Field::new("tags".into(), list)].into_iter().collect();
        assert!(matches!(Schema::of(&schema), Err(Error::Unsupported { column, .. }) if column == "tags"));
    }
}
