//! A column of texts as small numbers: groups of numbers can be counted, those of texts must be hashed.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use polars::prelude::{
    Column, IdxCa, IdxSize, IntoColumn, NamedFrom, NewChunkedArray, PlSmallStr, PolarsResult, StringChunked,
    UInt16Chunked,
};

/// A null's number, so that a column has fewer texts than this.
const NULL: u16 = u16::MAX;
/// What a row's number takes, in bytes.
pub(super) const BYTES: usize = size_of::<u16>();

/// A column with at most 65,535 different texts.
pub(super) struct Codes {
    numbers: UInt16Chunked,
    texts: Column,
}

impl Codes {
    /// None if there are too many texts, or if they are none.
    pub(super) fn of(column: &Column) -> Option<Self> {
        let column = column.str().ok()?;
        let (mut known, mut texts, mut numbers) = (HashMap::new(), Vec::new(), Vec::with_capacity(column.len()));
        for text in column.iter() {
            numbers.push(match text.map(|text| (text, known.entry(text))) {
                None => NULL,
                Some((_, Entry::Occupied(number))) => *number.get(),
                Some((text, Entry::Vacant(place))) => {
                    let number = u16::try_from(texts.len()).ok().filter(|number| *number < NULL)?;
                    texts.push(text);
                    *place.insert(number)
                }
            });
        }
        let texts = StringChunked::from_slice(PlSmallStr::EMPTY, &texts).into_column();
        Some(Self { numbers: UInt16Chunked::from_vec(PlSmallStr::EMPTY, numbers), texts })
    }

    /// The number of every row, under this name.
    pub(super) fn numbers(&self, name: PlSmallStr) -> Column {
        self.numbers.clone().with_name(name).into_column()
    }

    /// How many different values there are, with null. A row's number is below this, or null's.
    pub(super) fn count(&self) -> IdxSize {
        IdxSize::try_from(self.texts.len()).unwrap_or(IdxSize::from(NULL)) + 1
    }

    /// The texts of numbers; the last of [`Codes::count`] is null.
    pub(super) fn texts(&self, numbers: impl Iterator<Item = IdxSize>, name: PlSmallStr) -> PolarsResult<Column> {
        let found = numbers.map(|number| (number < self.count() - 1).then_some(number));
        let found = IdxCa::new(PlSmallStr::EMPTY, found.collect::<Vec<_>>());
        Ok(self.texts.take(&found)?.with_name(name))
    }
}
