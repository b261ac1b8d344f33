//! Groups whose keys have few values: every row is counted into its group's place, which takes a fraction of what it takes
//! Polars to hash it. The rows of a group then lie together, in the file's order, and Polars computes its figures from slices.

use polars::prelude::{
    Column, DataFrame, DataType, Expr, IdxCa, IdxSize, IntoColumn, IntoLazy, NamedFrom, PlSmallStr, PolarsResult,
    Series, UInt32Chunked,
};
use polars::series::IsSorted;

use super::{Between, column, figures, kept, key};
use crate::engine::check::{Figure, Key, Source};
use crate::engine::codes::Codes;
use crate::engine::error::Error;
use crate::engine::schema::Kind;
use crate::engine::table::Table;

/// So many places are always worth it; more only where there are as many rows.
const MOST_PLACES: IdxSize = 1 << 16;
/// A grain moves a day to the first of its year at most.
const YEAR: i64 = 366;

/// How the values of a key become numbers from 0 on.
enum Numbering<'a> {
    /// As they already are.
    Texts(&'a Codes),
    /// By their distance from the least of them; the number after the last stands for null.
    Distance { dtype: &'a DataType, least: i64, count: IdxSize },
}

/// A key with the numbers of its values.
struct NumberedKey<'a> {
    key: &'a Key,
    numbering: Numbering<'a>,
    /// Of the column in which its numbers are read.
    name: PlSmallStr,
}

/// The groups of the rows for which `filter` holds, in the order of their places. None if their keys may have too many values,
/// or are not of a kind that can be numbered.
pub(super) fn groups(
    table: &Table,
    filter: Option<Expr>,
    keys: &[Key],
    figures: &[Figure],
    between: &mut Between,
) -> Result<Option<DataFrame>, Error> {
    let place_name = unused_name(table, figures, keys.len());
    let numbered = |(index, key)| {
        Some(NumberedKey { key, numbering: Numbering::of(table, key)?, name: unused_name(table, figures, index) })
    };
    let Some(keys) = keys.iter().enumerate().map(numbered).collect::<Option<Vec<_>>>() else {
        return Ok(None);
    };
    let count = keys.iter().map(|key| key.numbering.count()).fold(1, IdxSize::saturating_mul);
    let are_few = |rows: usize| count <= MOST_PLACES.max(IdxSize::try_from(rows).unwrap_or(IdxSize::MAX));
    if !are_few(table.rows()) {
        return Ok(None);
    }
    let rows = read(table, filter, &keys, figures)?;
    if !are_few(rows.height()) {
        return Ok(None);
    }
    between()?;
    let sorted = in_places(&rows, &keys, count, &place_name, figures)?;
    drop(rows);
    between()?;
    let found = figures::in_steps(table, figures, 1, between, |exprs| {
        sorted.clone().lazy().group_by([column(&place_name)]).agg(exprs).collect()
    })?;
    let places = found.column(&place_name)?.u32()?.into_no_null_iter().collect();
    let mut columns = values(places, &keys)?;
    columns.extend(found.into_columns().into_iter().filter(|found| *found.name() != place_name));
    Ok(Some(DataFrame::new_infer_height(columns)?))
}

/// What the figures are made of, the rows of a place together, and the place of each.
fn in_places(
    rows: &DataFrame,
    keys: &[NumberedKey],
    count: IdxSize,
    place_name: &PlSmallStr,
    figures: &[Figure],
) -> PolarsResult<DataFrame> {
    let mut places = vec![0; rows.height()];
    for key in keys {
        key.numbering.add_to(&mut places, rows.column(&key.name)?)?;
    }
    let (order, sorted) = counting_sort(&places, count);
    drop(places);
    let sources = rows.select(sources(figures))?;
    let mut columns = sources.take(&IdxCa::from_vec(PlSmallStr::EMPTY, order))?.into_columns();
    let mut sorted = UInt32Chunked::from_vec(place_name.clone(), sorted);
    // Polars takes the groups of a sorted column from where it changes.
    sorted.set_sorted_flag(IsSorted::Ascending);
    columns.push(sorted.into_column());
    DataFrame::new(rows.height(), columns)
}

/// The keys that each place stands for.
fn values(mut places: Vec<IdxSize>, keys: &[NumberedKey]) -> PolarsResult<Vec<Column>> {
    let mut columns = Vec::with_capacity(keys.len());
    for NumberedKey { key, numbering, .. } in keys.iter().rev() {
        let count = numbering.count();
        columns.push(numbering.values(places.iter().map(|place| place % count), key.column.as_str().into())?);
        for place in &mut places {
            *place /= count;
        }
    }
    columns.reverse();
    Ok(columns)
}

/// The rows for which the filter holds: each key's numbers, and what the figures are made of.
fn read(table: &Table, filter: Option<Expr>, keys: &[NumberedKey], figures: &[Figure]) -> PolarsResult<DataFrame> {
    let mut frame = table.frame().clone();
    let mut wanted = Vec::with_capacity(keys.len() + figures.len());
    for NumberedKey { key: each, numbering, name } in keys {
        wanted.push(match numbering {
            Numbering::Texts(codes) => {
                frame.with_column(codes.numbers(name.clone()))?;
                column(name)
            }
            Numbering::Distance { .. } => key(each).to_physical().cast(DataType::Int64).alias(name.clone()),
        });
    }
    wanted.extend(sources(figures).into_iter().map(column));
    let mut rows = kept(frame, filter).select(wanted).collect()?;
    rows.rechunk_mut_par();
    Ok(rows)
}

/// The columns that figures are made of, each once.
pub(super) fn sources(figures: &[Figure]) -> Vec<&str> {
    let mut names: Vec<_> = figures
        .iter()
        .filter_map(|figure| match &figure.source {
            Source::Rows => None,
            Source::Column { name, .. } => Some(name.as_str()),
        })
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// A name that neither a column nor a figure has, another one for each number.
pub(super) fn unused_name(table: &Table, figures: &[Figure], number: usize) -> PlSmallStr {
    let mut name = format!("#{number}");
    while table.frame().get_column_index(&name).is_some() || figures.iter().any(|figure| figure.alias == name) {
        name.insert(0, '#');
    }
    name.into()
}

/// The rows, those of the first place first and each place's in their order; and the place of each of these.
fn counting_sort(places: &[IdxSize], count: IdxSize) -> (Vec<IdxSize>, Vec<IdxSize>) {
    let mut next = vec![0; count as usize];
    for place in places {
        next[*place as usize] += 1;
    }
    let mut sorted = vec![0; places.len()];
    let mut from: IdxSize = 0;
    for (place, rows) in (0..).zip(&mut next) {
        let until = from + *rows;
        sorted[from as usize..until as usize].fill(place);
        *rows = from;
        from = until;
    }
    let mut order = vec![0; places.len()];
    for (row, place) in (0..).zip(places) {
        let next = &mut next[*place as usize];
        order[*next as usize] = row;
        *next += 1;
    }
    (order, sorted)
}

impl<'a> Numbering<'a> {
    fn of(table: &'a Table, key: &Key) -> Option<Self> {
        let column = table.frame().column(&key.column).ok()?;
        match Kind::of(column.dtype())? {
            Kind::String => table.codes(&key.column).map(Self::Texts),
            Kind::Boolean | Kind::Integer | Kind::Date => {
                let [least, most] = [column.min_reduce(), column.max_reduce()]
                    .map(|end| end.ok().and_then(|end| end.value().extract::<i64>()));
                let least = least.map(|least| if key.every.is_some() { least.saturating_sub(YEAR) } else { least });
                let count = least.zip(most).map_or(0, |(least, most)| distance(most, least).saturating_add(1));
                Some(Self::Distance {
                    dtype: column.dtype(),
                    least: least.unwrap_or_default(),
                    count: count.saturating_add(1),
                })
            }
            // Their values are as good as never few and close together.
            Kind::Float | Kind::Decimal { .. } | Kind::Datetime { .. } => None,
        }
    }

    /// How many values there are, with null.
    fn count(&self) -> IdxSize {
        match self {
            Self::Texts(codes) => codes.count(),
            Self::Distance { count, .. } => *count,
        }
    }

    /// Makes the places so many times as many as this key has values.
    fn add_to(&self, places: &mut [IdxSize], numbers: &Column) -> PolarsResult<()> {
        let count = self.count();
        let null = count - 1;
        match self {
            Self::Texts(_) => {
                // There are no nulls among them, and one chunk.
                for (place, number) in places.iter_mut().zip(numbers.u16()?.cont_slice()?) {
                    *place = *place * count + IdxSize::from(*number).min(null);
                }
            }
            Self::Distance { least, .. } => {
                for (place, number) in places.iter_mut().zip(numbers.i64()?.iter()) {
                    *place = *place * count + number.map_or(null, |number| distance(number, *least));
                }
            }
        }
        Ok(())
    }

    /// The values that numbers stand for.
    fn values(&self, numbers: impl Iterator<Item = IdxSize>, name: PlSmallStr) -> PolarsResult<Column> {
        match self {
            Self::Texts(codes) => codes.texts(numbers, name),
            Self::Distance { dtype, least, count } => {
                let value = |number| (number < count - 1).then(|| least.saturating_add_unsigned(u64::from(number)));
                let values = Series::new(name, numbers.map(value).collect::<Vec<Option<i64>>>());
                Ok(values.cast(&dtype.to_physical())?.cast(dtype)?.into_column())
            }
        }
    }
}

fn distance(number: i64, least: i64) -> IdxSize {
    IdxSize::try_from(number.saturating_sub(least)).unwrap_or(IdxSize::MAX)
}

#[cfg(test)]
mod tests {
    use polars::prelude::{SortMultipleOptions, df};

    use super::*;
    use crate::engine::check::{CheckedQuery, Shape, validate};
    use crate::engine::query::Query;
    use crate::engine::run::{hashed_groups, holds};

    /// More rows than texts, days and numbers, and some of all missing.
    fn table() -> Table {
        const ROWS: i32 = 500;
        let some = |row: i32, every: i32| (row % every != 0).then_some(row);
        let text = |row: i32| some(row, 7).map(|row| ["web", "store", "", "ä"][row.unsigned_abs() as usize % 4]);
        let days: Vec<_> = (0..ROWS).map(|row| some(row, 11).map(|row| row * 37 % 400 - 200)).collect();
        let mut frame = df!(
            "channel" => (0..ROWS).map(text).collect::<Vec<_>>(),
            "#0" => (0..ROWS).map(|row| row % 3 == 0).collect::<Vec<_>>(),
            "units" => (0..ROWS).map(|row| some(row, 5).map(|row| i64::from(row % 6) - 3)).collect::<Vec<_>>(),
            "id" => (0..ROWS).map(|row| i64::from(row) << 40).collect::<Vec<_>>(),
            "revenue" => (0..ROWS).map(|row| some(row, 13).map(|row| f64::from(row * 71 % 97) / 4.0)).collect::<Vec<_>>(),
        )
        .unwrap();
        let days = Series::new("day".into(), days).cast(&DataType::Date).unwrap();
        frame.with_column(days.into_column()).unwrap();
        Table::from_frame(frame).unwrap()
    }

    fn checked(table: &Table, query: &str) -> CheckedQuery {
        let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap());
        validate(&Query::from_pairs(pairs).unwrap(), table.schema()).unwrap()
    }

    /// The groups by counting and by hashing.
    fn both(query: &str) -> (Option<DataFrame>, DataFrame) {
        let table = table();
        let query = checked(&table, query);
        let Shape::Groups { keys, figures } = &query.shape else { panic!("rows") };
        let filter = query.filter.as_ref().map(|filter| holds(&table, filter).unwrap());
        let counted = groups(&table, filter.clone(), keys, figures, &mut || Ok(())).unwrap();
        let hashed = hashed_groups(&table, filter, keys, figures, &mut || Ok(())).unwrap();
        let sorted =
            |frame: DataFrame| frame.sort(keys.iter().map(|key| &key.column), SortMultipleOptions::default()).unwrap();
        (counted.map(sorted), sorted(hashed))
    }

    #[test]
    fn counted_and_hashed_groups_are_the_same() {
        const FIGURES: &str = "agg=*:count,units:first,units:last,units:sum,revenue:max,revenue:p90,channel:count_distinct,\
                               day:min";
        for keys in
            ["channel", "#0", "units", "day", "day:month", "day:year,channel", "channel,#0,units", "units,day:quarter"]
        {
            for filter in ["", "&filter=revenue:gt:12", "&filter=units:is_null", "&filter=revenue:gt:9999"] {
                let query = format!("group_by={keys}&{FIGURES}{filter}");
                let (counted, hashed) = both(&query);
                let counted = counted.unwrap_or_else(|| panic!("not counted: {query}"));
                assert_eq!(counted.schema(), hashed.schema(), "{query}");
                assert!(counted.equals_missing(&hashed), "{query}\n{counted}\n{hashed}");
            }
        }
        let (counted, hashed) = both("group_by=units,channel");
        assert!(counted.unwrap().equals_missing(&hashed), "groups without figures");
    }

    #[test]
    fn a_column_that_is_not_sorted_as_it_says_has_the_groups_that_it_has() {
        let mut ids = Series::new("id".into(), [5i64, 1, 9, 1]);
        ids.set_sorted_flag(IsSorted::Ascending);
        let channels = Series::new("channel".into(), ["a", "b", "a", "b"]);
        let frame = DataFrame::new_infer_height(vec![ids.into_column(), channels.into_column()]).unwrap();
        let table = Table::from_frame(frame).unwrap();
        for keys in ["id", "channel,id"] {
            let query = checked(&table, &format!("group_by={keys}"));
            let Shape::Groups { keys, figures } = &query.shape else { panic!("rows") };
            let counted = groups(&table, None, keys, figures, &mut || Ok(())).unwrap().unwrap();
            let hashed = hashed_groups(&table, None, keys, figures, &mut || Ok(())).unwrap();
            assert_eq!((counted.height(), hashed.height()), (3, 3), "{counted}");
        }
    }

    #[test]
    fn values_far_apart_or_of_no_number_are_not_counted() {
        for keys in ["id", "channel,id", "revenue"] {
            assert!(both(&format!("group_by={keys}&agg=*:count")).0.is_none(), "{keys}");
        }
    }

    #[test]
    fn a_column_of_too_many_texts_is_not_counted() {
        let count = |texts: usize| {
            let texts = (0..texts).map(|text| text.to_string()).collect::<Vec<_>>();
            let table = Table::from_frame(df!("order" => texts).unwrap()).unwrap();
            table.codes("order").map(Codes::count)
        };
        assert_eq!(count(65_535), Some(65_536));
        assert_eq!(count(65_536), None);
    }
}
