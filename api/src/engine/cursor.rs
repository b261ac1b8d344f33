//! Where the next page of an answer begins, as a text that means nothing to a client but the next page.
//!
//! A cursor belongs to one query on one version of a data set. It is no secret and grants nothing: with another token it is
//! checked against that token's own data, and refused.

use std::fmt;
use std::str::FromStr;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use kyros_shared_config::crypto::sha256;

const DIGEST: usize = 16;
const LENGTH: usize = 4 + 2 * DIGEST;

/// The place of a next page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cursor {
    offset: u32,
    basis: Basis,
}

/// What an answer was made of: the version of the data, and the query without its page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Basis {
    version: [u8; DIGEST],
    query: [u8; DIGEST],
}

/// Why a cursor does not lead on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Misplaced {
    /// It was given for another query.
    OtherQuery,
    /// The data changed since.
    OtherVersion,
}

impl Basis {
    /// The basis of a query, in any form that is the same for the same query, on a version.
    pub fn new(version: &str, query: &str) -> Self {
        let digest = |text: &str| sha256(text.as_bytes()).first_chunk().copied().unwrap_or_default();
        Self { version: digest(version), query: digest(query) }
    }

    pub(super) fn to_bytes(self) -> [u8; 2 * DIGEST] {
        let mut bytes = [0; 2 * DIGEST];
        bytes[..DIGEST].copy_from_slice(&self.version);
        bytes[DIGEST..].copy_from_slice(&self.query);
        bytes
    }
}

impl Cursor {
    /// The place after so many rows.
    pub fn new(offset: u32, basis: Basis) -> Self {
        Self { offset, basis }
    }

    /// How many rows lie before the page, if it is one of this basis.
    pub fn offset_in(self, basis: Basis) -> Result<u32, Misplaced> {
        if self.basis.query != basis.query {
            Err(Misplaced::OtherQuery)
        } else if self.basis.version != basis.version {
            Err(Misplaced::OtherVersion)
        } else {
            Ok(self.offset)
        }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [&self.offset.to_be_bytes()[..], &self.basis.version, &self.basis.query].concat();
        f.write_str(&URL_SAFE_NO_PAD.encode(bytes))
    }
}

impl FromStr for Cursor {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let read = || {
            let bytes: [u8; LENGTH] = URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()?;
            let (offset, rest) = bytes.split_first_chunk()?;
            let (version, rest) = rest.split_first_chunk()?;
            let basis = Basis { version: *version, query: *rest.first_chunk()? };
            Some(Self { offset: u32::from_be_bytes(*offset), basis })
        };
        read().ok_or("not a cursor that an answer gave")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_leads_on_in_its_own_query_and_version_only() {
        let basis = Basis::new("v1", "q");
        let cursor: Cursor = Cursor::new(7, basis).to_string().parse().unwrap();
        assert_eq!(cursor.offset_in(basis), Ok(7));
        assert_eq!(cursor.offset_in(Basis::new("v2", "q")), Err(Misplaced::OtherVersion));
        assert_eq!(cursor.offset_in(Basis::new("v1", "r")), Err(Misplaced::OtherQuery));
    }

    #[test]
    fn nothing_else_is_a_cursor() {
        let good = Cursor::new(7, Basis::new("v", "q")).to_string();
        for text in ["", "7", &good[1..], &format!("{good}A"), &format!("{good}="), &good.replacen('A', "%", 1)] {
            assert!(text.parse::<Cursor>().is_err(), "{text}");
        }
    }
}
