//! A checked query over a table, in Polars' lazy in-memory engine.
//!
//! The order of an answer is total: groups are sorted by what was asked and then by their remaining keys, rows by what
//! was asked and then by their place in the file. So pages do not overlap, and the same query has the same answer.

mod counted;

use polars::prelude::{
    ClosedInterval, DataFrame, DataType, Expr, IdxSize, IntoLazy, LazyFrame, PlSmallStr, PolarsResult, QuantileMethod,
    Series, SortMultipleOptions, len, lit,
};

use super::check::{CheckedQuery, Comparison, Condition, Figure, Key, Order, Page, Shape, Source, Test};
use super::cursor::Cursor;
use super::error::{Error, working};
use super::literal::{Literal, PRECISION, zone};
use super::query::Func;
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
    run_in_steps(table, page, &mut || ())
}

/// As [`run`], with a call between any two steps of the work, in which it may wait.
pub fn run_in_steps(table: &Table, page: &Page, between: &mut dyn FnMut()) -> Result<Answer, Error> {
    let (frame, found) = working(|| {
        let found = find(table, &page.query, between)?;
        between();
        let rows = found.height();
        Ok((cut(found, page)?, rows))
    })?;
    let rows = frame.height();
    let truncated = rows.saturating_add(page.offset as usize) < found;
    let total = page.wants_total().then_some(found);
    let next = if truncated { page.after(rows) } else { None };
    Ok(Answer { table: Table::from_frame(frame)?, total, truncated, next })
}

/// Every row of the answer, in no particular order for groups, and in the file's order for rows.
fn find(table: &Table, query: &CheckedQuery, between: &mut dyn FnMut()) -> PolarsResult<DataFrame> {
    let filter = query.filter.as_ref().map(holds).transpose()?;
    match &query.shape {
        Shape::Rows(columns) => {
            kept(table.frame().clone(), filter).select(columns.iter().map(column).collect::<Vec<_>>()).collect()
        }
        Shape::Groups { keys, figures } if keys.is_empty() => {
            kept(table.frame().clone(), filter).select(exprs(figures)).collect()
        }
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
    between: &mut dyn FnMut(),
) -> PolarsResult<DataFrame> {
    let mut names: Vec<_> = counted::sources(figures);
    names.extend(keys.iter().map(|key| key.column.as_str()));
    names.sort_unstable();
    names.dedup();
    let rows =
        kept(table.frame().clone(), filter).select(names.into_iter().map(column).collect::<Vec<_>>()).collect()?;
    between();
    rows.lazy().group_by(keys.iter().map(key).collect::<Vec<_>>()).agg(exprs(figures)).collect()
}

fn exprs(figures: &[Figure]) -> Vec<Expr> {
    figures.iter().map(figure).collect()
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

fn figure(figure: &Figure) -> Expr {
    let value = match &figure.source {
        Source::Rows => len().cast(DataType::Int64),
        Source::Column { name, kind, func } => value(column(name), *kind, *func),
    };
    value.alias(figure.alias.as_str())
}

fn value(column: Expr, kind: Kind, func: Func) -> Expr {
    let float = |column: Expr| column.cast(DataType::Float64);
    match func {
        Func::Count => column.count().cast(DataType::Int64),
        Func::CountDistinct => column.drop_nulls().n_unique().cast(DataType::Int64),
        Func::Sum => column.cast(widest(kind)).sum(),
        Func::Mean => float(column).mean(),
        Func::Min => column.min(),
        Func::Max => column.max(),
        Func::Std => float(column).std(1),
        Func::First => column.first(),
        Func::Last => column.last(),
        Func::Median
        | Func::P05
        | Func::P10
        | Func::P25
        | Func::P50
        | Func::P75
        | Func::P90
        | Func::P95
        | Func::P99 => float(column).quantile(lit(func.quantile().unwrap_or(0.5)), QuantileMethod::Linear),
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

fn holds(condition: &Condition) -> PolarsResult<Expr> {
    Ok(match condition {
        Condition::All(parts) => joined(parts, true, Expr::and)?,
        Condition::Any(parts) => joined(parts, false, Expr::or)?,
        Condition::Not(part) => holds(part)?.not(),
        Condition::Test { column: name, test } => passes(column(name), test)?,
    })
}

fn joined(parts: &[Condition], empty: bool, join: fn(Expr, Expr) -> Expr) -> PolarsResult<Expr> {
    let mut parts = parts.iter().map(holds);
    let first = parts.next().unwrap_or_else(|| Ok(lit(empty)))?;
    parts.try_fold(first, |left, right| Ok(join(left, right?)))
}

fn passes(column: Expr, test: &Test) -> PolarsResult<Expr> {
    let literal = |literal: &Literal| lit(literal.scalar());
    Ok(match test {
        Test::IsNull => column.is_null(),
        Test::NotNull => column.is_not_null(),
        Test::Between(low, high) => column.is_between(literal(low), literal(high), ClosedInterval::Both),
        Test::OneOf(values, kind) => one_of(column, values, *kind)?,
        Test::NoneOf(values, kind) => one_of(column, values, *kind)?.not(),
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

/// Membership wants both sides of one type; a null is a member of nothing, and not a member of nothing either.
fn one_of(column: Expr, values: &[Literal], kind: Kind) -> PolarsResult<Expr> {
    let dtype = widest(kind);
    let values: Vec<_> = values.iter().map(|value| value.scalar().into_value()).collect();
    let list = Series::from_any_values_and_dtype(PlSmallStr::EMPTY, &values, &dtype, true)?;
    Ok(column.cast(dtype).is_in(lit(list).implode(true), false))
}

#[cfg(test)]
mod tests;
