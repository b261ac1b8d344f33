//! A column of texts as small numbers: groups of numbers can be counted, those of texts must be hashed.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use polars::prelude::{Column, IdxCa, IdxSize, IntoColumn, NamedFrom, PlSmallStr, PolarsResult, UInt16Chunked};

/// A null's number. Texts have those below it.
const NULL: u16 = u16::MAX;
/// What a row's number takes, in bytes.
pub(super) const BYTES: usize = size_of::<u16>();

/// A column with at most 65,535 different texts.
pub(super) struct Codes {
    numbers: UInt16Chunked,
    /// The column, for its texts: they are not copied.
    texts: Column,
    /// The row in which each text stands first.
    firsts: Vec<IdxSize>,
}

impl Codes {
    /// None if there are too many texts, or if the column is not one of texts.
    pub(super) fn of(column: &Column) -> Option<Self> {
        let texts = column.str().ok()?;
        let (mut known, mut firsts, mut numbers) = (HashMap::new(), Vec::new(), Vec::with_capacity(texts.len()));
        for (row, text) in (0..).zip(texts.iter()) {
            numbers.push(match text.map(|text| known.entry(text)) {
                None => NULL,
                Some(Entry::Occupied(number)) => *number.get(),
                Some(Entry::Vacant(place)) => {
                    let number = u16::try_from(firsts.len()).ok().filter(|number| *number < NULL)?;
                    firsts.push(row);
                    *place.insert(number)
                }
            });
        }
        Some(Self { numbers: UInt16Chunked::from_vec(PlSmallStr::EMPTY, numbers), texts: column.clone(), firsts })
    }

    /// The number of every row, under this name.
    pub(super) fn numbers(&self, name: PlSmallStr) -> Column {
        self.numbers.clone().with_name(name).into_column()
    }

    /// How many different values there are, with null. A row's number is below this, or null's.
    pub(super) fn count(&self) -> IdxSize {
        IdxSize::try_from(self.firsts.len()).unwrap_or(IdxSize::from(NULL)) + 1
    }

    /// The texts of numbers; the last of [`Codes::count`] is null.
    pub(super) fn texts(&self, numbers: impl Iterator<Item = IdxSize>, name: PlSmallStr) -> PolarsResult<Column> {
        let rows = numbers.map(|number| self.firsts.get(number as usize).copied());
        let rows = IdxCa::new(PlSmallStr::EMPTY, rows.collect::<Vec<_>>());
        Ok(self.texts.take(&rows)?.with_name(name))
    }
}
