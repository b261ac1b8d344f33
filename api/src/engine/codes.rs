//! A column of texts as small numbers: groups of numbers can be counted, those of texts must be hashed.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use polars::prelude::{
    Column, IdxCa, IdxSize, IntoColumn, NamedFrom, NewChunkedArray, PlSmallStr, PolarsResult, StringChunked,
    UInt16Chunked,
};

/// Stands for null, so that a column has fewer texts than this.
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

    /// The number of every row, under this name. There are no nulls.
    pub(super) fn numbers(&self, name: PlSmallStr) -> Column {
        self.numbers.clone().with_name(name).into_column()
    }

    /// How many different values there are, with null.
    pub(super) fn count(&self) -> IdxSize {
        self.null() + 1
    }

    fn null(&self) -> IdxSize {
        IdxSize::try_from(self.texts.len()).unwrap_or(IdxSize::from(NULL))
    }

    /// From a row's number to one below [`Codes::count`].
    pub(super) fn dense(&self, number: u16) -> IdxSize {
        IdxSize::from(number).min(self.null())
    }

    /// The texts of dense numbers.
    pub(super) fn texts(&self, dense: impl Iterator<Item = IdxSize>, name: PlSmallStr) -> PolarsResult<Column> {
        let found = dense.map(|number| (number < self.null()).then_some(number));
        let found = IdxCa::new(PlSmallStr::EMPTY, found.collect::<Vec<_>>());
        Ok(self.texts.take(&found)?.with_name(name))
    }
}
