//! A checked query over a table, in Polars' lazy in-memory engine.
//!
//! The order of an answer is total: groups are sorted by what was asked and then by their remaining keys, rows by what
//! was asked and then by their place in the file. So pages do not overlap, and the same query has the same answer.

mod counted;
mod figures;

use polars::prelude::{
    ClosedInterval, DataFrame, DataType, Expr, IdxSize, IntoColumn, IntoLazy, LazyFrame, NamedFrom, PlSmallStr,
    PolarsResult, Series, SortMultipleOptions, lit,
};

use super::check::{CheckedQuery, Comparison, Condition, Figure, Key, Order, Page, Shape, Test};
use super::cursor::Cursor;
use super::error::{Error, Overdue, attempting};
use super::literal::{Literal, PRECISION, zone};
use super::schema::Kind;
use super::table::Table;

/// What a query found.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The rows from `offset` on, at most `limit` of them.
    pub table: Table,
    /// How many rows there are without `limit` and `offset`, if that was asked.
    pub total: Option<usize>,
    /// Whether rows follow after the last one.
    pub truncated: bool,
    /// Where they begin.
    pub next: Option<Cursor>,
}

/// Runs a query for one page. It must have been checked against this very table's schema; any failure is ours, and for the
/// log.
///
/// Blocks, for as long as it takes.
pub fn run(table: &Table, page: &Page) -> Result<Answer, Error> {
    run_in_steps(table, page, &mut || Ok(()))
}

/// What is called between any two steps of a query: it may wait, and it may end the work.
pub type Between<'a> = dyn FnMut() -> Result<(), Overdue> + 'a;

/// As [`run`], with a call between any two steps of the work. Ends with [`Error::Overdue`] when that says so.
pub fn run_in_steps(table: &Table, page: &Page, between: &mut Between) -> Result<Answer, Error> {
    let (frame, found) = attempting(|| {
        let found = find(table, &page.query, between)?;
        between()?;
        let rows = found.height();
        Ok((cut(found, page)?, rows))
    })?;
    let rows = frame.height();
    let truncated = rows.saturating_add(page.offset as usize) < found;
    let total = page.wants_total().then_some(found);
    // A page without rows would lead to itself.
    let next = if truncated && rows > 0 { page.after(rows) } else { None };
    Ok(Answer { table: Table::from_frame(frame)?, total, truncated, next })
}

/// Every row of the answer, in no particular order for groups, and in the file's order for rows.
fn find(table: &Table, query: &CheckedQuery, between: &mut Between) -> Result<DataFrame, Error> {
    let filter = query.filter.as_ref().map(|filter| holds(table, filter)).transpose()?;
    match &query.shape {
        Shape::Rows(columns) => {
            let columns: Vec<_> = columns.iter().map(column).collect();
            Ok(kept(table.frame().clone(), filter).select(columns).collect()?)
        }
        Shape::Groups { keys, figures } if keys.is_empty() => figures::in_steps(table, figures, 0, between, |exprs| {
            kept(table.frame().clone(), filter.clone()).select(exprs).collect()
        }),
        Shape::Groups { keys, figures } => match counted::groups(table, filter.clone(), keys, figures, between)? {
            Some(found) => Ok(found),
            None => hashed_groups(table, filter, keys, figures, between),
        },
    }
}

/// The rows for which the filter holds.
fn kept(frame: DataFrame, filter: Option<Expr>) -> LazyFrame {
    match filter {
        Some(filter) => frame.lazy().filter(filter),
        None => frame.lazy(),
    }
}

fn hashed_groups(
    table: &Table,
    filter: Option<Expr>,
    keys: &[Key],
    figures: &[Figure],
    between: &mut Between,
) -> Result<DataFrame, Error> {
    let mut names: Vec<_> = counted::sources(figures);
    names.extend(keys.iter().map(|key| key.column.as_str()));
    names.sort_unstable();
    names.dedup();
    // Polars hashes a decimal only beside another key.
    let same = counted::unused_name(table, figures, 0);
    let mut rows =
        kept(table.frame().clone(), filter).select(names.into_iter().map(column).collect::<Vec<_>>()).collect()?;
    between()?;
    let mut by: Vec<_> = keys.iter().map(key).collect();
    let is_decimal = |key: &Key| {
        table.frame().column(&key.column).is_ok_and(|column| matches!(column.dtype(), DataType::Decimal(..)))
    };
    let wants_another = matches!(keys, [key] if is_decimal(key));
    if wants_another {
        rows.with_column(Series::new(same.clone(), vec![false; rows.height()]).into_column())?;
        by.push(column(&same));
    }
    let in_order = figures::take_steps(figures);
    let mut found = figures::in_steps(table, figures, by.len(), between, |exprs| {
        let rows = rows.clone().lazy();
        let groups = if in_order { rows.group_by_stable(by.clone()) } else { rows.group_by(by.clone()) };
        groups.agg(exprs).collect()
    })?;
    if wants_another {
        found.drop_in_place(&same)?;
    }
    Ok(found)
}

/// The rows asked for, in order.
fn cut(found: DataFrame, page: &Page) -> PolarsResult<DataFrame> {
    let mut frame = found.lazy();
    let sort = &page.query.sort;
    if !sort.is_empty() {
        let names: Vec<PlSmallStr> = sort.iter().map(|Order { column, .. }| column.as_str().into()).collect();
        let options = SortMultipleOptions::default()
            .with_order_descending_multi(sort.iter().map(|order| order.desc))
            .with_nulls_last(true)
            .with_maintain_order(true);
        frame = frame.sort(names, options);
    }
    frame.slice(i64::from(page.offset), IdxSize::from(page.limit())).collect()
}

/// A column by its exact name: `col` alone would take `*` and `^..$` for patterns.
fn column(name: impl AsRef<str>) -> Expr {
    Expr::Column(name.as_ref().into())
}

fn key(key: &Key) -> Expr {
    match key.every {
        Some(every) => column(&key.column).dt().truncate(lit(every.duration())),
        None => column(&key.column),
    }
}

/// The type in which every value of the kind, and every literal, can be held.
fn widest(kind: Kind) -> DataType {
    match kind {
        Kind::Integer => DataType::Int64,
        Kind::Float => DataType::Float64,
        Kind::Decimal { scale } => DataType::Decimal(PRECISION, scale),
        Kind::String => DataType::String,
        Kind::Boolean => DataType::Boolean,
        Kind::Date => DataType::Date,
        Kind::Datetime { zoned } => DataType::Datetime(polars::prelude::TimeUnit::Microseconds, zone(zoned)),
    }
}

fn holds(table: &Table, condition: &Condition) -> PolarsResult<Expr> {
    Ok(match condition {
        Condition::All(parts) => joined(table, parts, true, Expr::and)?,
        Condition::Any(parts) => joined(table, parts, false, Expr::or)?,
        Condition::Not(part) => holds(table, part)?.not(),
        Condition::Test { column: name, test } => passes(column(name), table.frame().column(name)?.dtype(), test)?,
    })
}

fn joined(table: &Table, parts: &[Condition], empty: bool, join: fn(Expr, Expr) -> Expr) -> PolarsResult<Expr> {
    let mut parts = parts.iter().map(|part| holds(table, part));
    let first = parts.next().unwrap_or_else(|| Ok(lit(empty)))?;
    parts.try_fold(first, |left, right| Ok(join(left, right?)))
}

fn passes(column: Expr, dtype: &DataType, test: &Test) -> PolarsResult<Expr> {
    // Beyond the narrow floats every number is compared as the wide one that it is.
    let is_beyond = |value: &Literal| matches!(value, Literal::Float(number) if narrow(*number).is_none());
    let goes_beyond = match test {
        Test::Between(low, high) => is_beyond(low) || is_beyond(high),
        Test::Compare(_, value) => is_beyond(value),
        _ => false,
    };
    let (column, dtype) = match dtype {
        DataType::Float32 if goes_beyond => (column.cast(DataType::Float64), &DataType::Float64),
        dtype => (column, dtype),
    };
    let literal = |value: &Literal| compared(value, dtype);
    Ok(match test {
        Test::IsNull => column.is_null(),
        Test::NotNull => column.is_not_null(),
        Test::Between(low, high) => column.is_between(literal(low), literal(high), ClosedInterval::Both),
        Test::OneOf(values, kind) => one_of(column, dtype, values, *kind)?,
        Test::NoneOf(values, kind) => one_of(column, dtype, values, *kind)?.not(),
        Test::Contains(part) => column.str().contains_literal(lit(part.as_str())),
        Test::StartsWith(part) => column.str().starts_with(lit(part.as_str())),
        Test::Compare(comparison, value) => {
            let value = literal(value);
            match comparison {
                Comparison::Eq => column.eq(value),
                Comparison::Ne => column.neq(value),
                Comparison::Lt => column.lt(value),
                Comparison::Le => column.lt_eq(value),
                Comparison::Gt => column.gt(value),
                Comparison::Ge => column.gt_eq(value),
            }
        }
    })
}

/// What a value of the column is compared with. A number that is shown of a narrow float must find it again, so it is made as
/// narrow.
fn compared(value: &Literal, dtype: &DataType) -> Expr {
    match value {
        Literal::Float(number) if *dtype == DataType::Float32 => narrow(*number).map_or_else(|| lit(*number), lit),
        value => lit(value.scalar()),
    }
}

/// The nearest narrow float, if there is one.
#[expect(clippy::cast_possible_truncation, reason = "the nearest one is meant")]
fn narrow(number: f64) -> Option<f32> {
    Some(number as f32).filter(|narrow| narrow.is_finite())
}

/// Membership wants both sides of one type; a null is a member of nothing, and not a member of nothing either.
fn one_of(column: Expr, dtype: &DataType, values: &[Literal], kind: Kind) -> PolarsResult<Expr> {
    if *dtype == DataType::Float32 {
        let number = |value: &Literal| if let Literal::Float(number) = value { narrow(*number) } else { None };
        let list = Series::new(PlSmallStr::EMPTY, values.iter().filter_map(number).collect::<Vec<_>>());
        return Ok(column.is_in(lit(list).implode(true), false));
    }
    let dtype = widest(kind);
    let values: Vec<_> = values.iter().map(|value| value.scalar().into_value()).collect();
    let list = Series::from_any_values_and_dtype(PlSmallStr::EMPTY, &values, &dtype, true)?;
    Ok(column.cast(dtype).is_in(lit(list).implode(true), false))
}

#[cfg(test)]
mod tests;
