//! The words of a query: operations, aggregates and grains, each with the one spelling that every format uses.

use std::fmt;

use serde::{Serialize, Serializer};

use super::Arity;

/// Defines an enum of words with their spelling, `ALL`, `name`, `parse`, `Display` and `Serialize`.
macro_rules! words {
    ($(#[$doc:meta])* $type:ident { $($(#[$word_doc:meta])* $word:ident = $name:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $type { $($(#[$word_doc])* $word,)* }

        impl $type {
            /// Every word, in the order of the documentation.
            pub const ALL: &[Self] = &[$(Self::$word,)*];

            /// Its spelling.
            pub fn name(self) -> &'static str {
                match self { $(Self::$word => $name,)* }
            }

            /// The word with this spelling.
            pub fn parse(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|word| word.name() == name)
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.name())
            }
        }
    };
}

words! {
    /// A comparison.
    Op {
        /// Equal.
        Eq = "eq",
        /// Not equal.
        Ne = "ne",
        /// One of the values.
        In = "in",
        /// None of the values.
        NotIn = "not_in",
        /// Less than.
        Lt = "lt",
        /// Less than or equal.
        Le = "le",
        /// Greater than.
        Gt = "gt",
        /// Greater than or equal.
        Ge = "ge",
        /// From the first value to the second, both included.
        Between = "between",
        /// There is no value.
        IsNull = "is_null",
        /// There is a value.
        NotNull = "not_null",
        /// The text has this text in it, literally.
        Contains = "contains",
        /// The text starts with this text, literally.
        StartsWith = "starts_with",
    }
}

words! {
    /// How coarse a time is.
    Grain {
        /// The hour; of a point in time only.
        Hour = "hour",
        /// The day.
        Day = "day",
        /// The week, from Monday.
        Week = "week",
        /// The month.
        Month = "month",
        /// The quarter.
        Quarter = "quarter",
        /// The year.
        Year = "year",
    }
}

words! {
    /// A figure of a column. Nulls do not count, except for `first` and `last`, which are those of the file's order.
    Func {
        /// How many values, or rows for `*`.
        Count = "count",
        /// How many different values.
        CountDistinct = "count_distinct",
        /// The sum; 0 of nothing.
        Sum = "sum",
        /// The arithmetic mean.
        Mean = "mean",
        /// The least value.
        Min = "min",
        /// The greatest value.
        Max = "max",
        /// The median: `p50`.
        Median = "median",
        /// The 5th percentile, linear between values, as all of them.
        P05 = "p05",
        /// The 10th percentile.
        P10 = "p10",
        /// The 25th percentile.
        P25 = "p25",
        /// The 50th percentile.
        P50 = "p50",
        /// The 75th percentile.
        P75 = "p75",
        /// The 90th percentile.
        P90 = "p90",
        /// The 95th percentile.
        P95 = "p95",
        /// The 99th percentile.
        P99 = "p99",
        /// The standard deviation of a sample.
        Std = "std",
        /// The first row's value.
        First = "first",
        /// The last row's value.
        Last = "last",
    }
}

impl Op {
    /// How many values it takes.
    pub fn arity(self) -> Arity {
        match self {
            Self::IsNull | Self::NotNull => Arity::None,
            Self::Between => Arity::Two,
            Self::In | Self::NotIn => Arity::Many,
            _ => Arity::One,
        }
    }
}

impl Func {
    /// The share of values below the figure, if it is a percentile.
    pub fn quantile(self) -> Option<f64> {
        match self {
            Self::P05 => Some(0.05),
            Self::P10 => Some(0.10),
            Self::P25 => Some(0.25),
            Self::Median | Self::P50 => Some(0.50),
            Self::P75 => Some(0.75),
            Self::P90 => Some(0.90),
            Self::P95 => Some(0.95),
            Self::P99 => Some(0.99),
            _ => None,
        }
    }
}

impl Grain {
    /// The grain as Polars writes a duration.
    pub(in crate::engine) fn duration(self) -> &'static str {
        match self {
            Self::Hour => "1h",
            Self::Day => "1d",
            Self::Week => "1w",
            Self::Month => "1mo",
            Self::Quarter => "1q",
            Self::Year => "1y",
        }
    }
}
