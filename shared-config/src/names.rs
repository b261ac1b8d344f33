//! Names that become parts of hosts, folders and tokens: parsed once at the door, trusted everywhere after it.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize};
use thiserror::Error;

/// Longest tenant or dashboard name. Two of them and `--` must fit one DNS label (63 octets, RFC 1035, section 2.3.4).
pub const MAX_NAME_LENGTH: usize = 30;
/// Longest dataset name; it becomes a file name and a path segment.
pub const MAX_DATASET_LENGTH: usize = 63;

/// Why a text is not a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum NameError {
    /// Nothing there, or more than fits.
    #[error("must have 1 to {max} characters")]
    Length {
        /// The most characters this kind of name may have.
        max: usize,
    },
    /// A character outside the grammar.
    #[error("may hold only {allowed}")]
    Character {
        /// The grammar in words.
        allowed: &'static str,
    },
    /// A hyphen where a DNS label does not allow one.
    #[error("must start and end with a letter or digit")]
    Edge,
    /// `--` separates dashboard and tenant in a host name.
    #[error("must not contain \"--\"")]
    DoubleHyphen,
}

fn check_label(text: &str) -> Result<(), NameError> {
    if text.is_empty() || text.len() > MAX_NAME_LENGTH {
        return Err(NameError::Length { max: MAX_NAME_LENGTH });
    }
    if !text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') {
        return Err(NameError::Character { allowed: "a-z, 0-9 and \"-\"" });
    }
    if text.starts_with('-') || text.ends_with('-') {
        return Err(NameError::Edge);
    }
    if text.contains("--") {
        return Err(NameError::DoubleHyphen);
    }
    Ok(())
}

fn check_dataset(text: &str) -> Result<(), NameError> {
    if text.is_empty() || text.len() > MAX_DATASET_LENGTH {
        return Err(NameError::Length { max: MAX_DATASET_LENGTH });
    }
    if !text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_') {
        return Err(NameError::Character { allowed: "a-z, 0-9, \"-\" and \"_\"" });
    }
    if !text.as_bytes()[0].is_ascii_alphanumeric() || !text.as_bytes()[text.len() - 1].is_ascii_alphanumeric() {
        return Err(NameError::Edge);
    }
    Ok(())
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, $check:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                $check(text)?;
                Ok(Self(text.to_owned()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

name_type! {
    /// A tenant's id: the name of its `Tenant` resource, a DNS label of at most 30 characters without `--`.
    TenantId, check_label
}
name_type! {
    /// A dashboard's slug: the name of its `Dashboard` resource, under the same grammar as [`TenantId`].
    DashboardSlug, check_label
}
name_type! {
    /// A dataset's name, unique within a dashboard: `[a-z0-9][a-z0-9_-]*[a-z0-9]`, at most 63 characters.
    DatasetName, check_dataset
}

name_type! {
    /// The name that the API's operator gave a place where datasets come from, under the same grammar as [`TenantId`].
    SourceName, check_label
}

impl DashboardSlug {
    /// The only audience of this dashboard's tenant tokens: `dashboard:<slug>`.
    pub fn audience(&self) -> String {
        format!("dashboard:{}", self.0)
    }

    /// Reads `dashboard:<slug>`; anything else names no dashboard.
    pub fn from_audience(audience: &str) -> Option<Self> {
        audience.strip_prefix("dashboard:")?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_leave_a_folder_or_a_label_are_refused() {
        let long = "a".repeat(31);
        for bad in
            ["", "..", ".", "a/b", "a\\b", "A", "a.b", "-a", "a-", "a--b", "a b", "a%2f", "ä", "a\0", "a\n", &long]
        {
            assert!(bad.parse::<TenantId>().is_err(), "{bad:?}");
            assert!(bad.parse::<DashboardSlug>().is_err(), "{bad:?}");
            assert!(bad.parse::<SourceName>().is_err(), "{bad:?}");
        }
        for good in ["a", "acme", "a-1", "1a", &"a".repeat(30)] {
            assert!(good.parse::<TenantId>().is_ok(), "{good:?}");
        }
    }

    #[test]
    fn dataset_names_allow_underscores_but_no_path() {
        assert!("order_lines".parse::<DatasetName>().is_ok());
        for bad in ["", "_a", "a_", "a.parquet", "../a", "a/b", "*"] {
            assert!(bad.parse::<DatasetName>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn audience_names_exactly_one_dashboard() {
        let clv: DashboardSlug = "clv".parse().unwrap();
        assert_eq!(DashboardSlug::from_audience(&clv.audience()), Some(clv));
        assert_eq!(DashboardSlug::from_audience("kyros"), None);
        assert_eq!(DashboardSlug::from_audience("dashboard:"), None);
        assert_eq!(DashboardSlug::from_audience("dashboard:clv dashboard:risk"), None);
    }

    #[test]
    fn a_name_in_json_is_checked_when_read() {
        assert!(serde_json::from_str::<TenantId>("\"acme\"").is_ok());
        assert!(serde_json::from_str::<TenantId>("\"../etc\"").is_err());
    }
}
