//! The figures of groups, a few at a time, and sums that are right or null.

use polars::prelude::{AnyValue, DataFrame, DataType, Expr, NULL, PolarsResult, QuantileMethod, len, lit, when};

use super::{Between, column, widest};
use crate::engine::check::{Figure, Source};
use crate::engine::error::{Error, internal};
use crate::engine::literal::PRECISION;
use crate::engine::query::Func;
use crate::engine::schema::Kind;
use crate::engine::table::Table;

/// So many figures are one step. A query may have more than anybody should wait for at once.
const AT_ONCE: usize = 4;
/// A float's sum may be off by far less than this part of it.
const FLOATS_ARE_EXACT_TO: f64 = 1e-6;

/// Whether the figures take several steps, and the groups must come in the same order each time.
pub(super) fn take_steps(figures: &[Figure]) -> bool {
    figures.len() > AT_ONCE
}

/// Computes all figures, few at a time. Of each time the first `keys` columns are the groups' keys.
pub(super) fn in_steps(
    table: &Table,
    figures: &[Figure],
    keys: usize,
    between: &mut Between,
    mut compute: impl FnMut(Vec<Expr>) -> PolarsResult<DataFrame>,
) -> Result<DataFrame, Error> {
    let exprs = |figures: &[Figure]| figures.iter().map(|figure| expr(table, figure)).collect();
    let (first, rest) = figures.split_at(figures.len().min(AT_ONCE));
    let mut found = compute(exprs(first))?;
    for some in rest.chunks(AT_ONCE) {
        between()?;
        let more = compute(exprs(some))?;
        if !(0..keys).all(|index| more.columns()[index].equals_missing(&found.columns()[index])) {
            return Err(internal("the groups come in another order"));
        }
        found.hstack_mut(&more.columns()[keys..])?;
    }
    Ok(found)
}

fn expr(table: &Table, figure: &Figure) -> Expr {
    let value = match &figure.source {
        Source::Rows => len().cast(DataType::Int64),
        Source::Column { name, kind, func } => value(table, name, *kind, *func),
    };
    value.alias(figure.alias.as_str())
}

fn value(table: &Table, name: &str, kind: Kind, func: Func) -> Expr {
    let column = column(name);
    let float = |column: Expr| column.cast(DataType::Float64);
    match func {
        Func::Count => column.count().cast(DataType::Int64),
        Func::CountDistinct => column.drop_nulls().n_unique().cast(DataType::Int64),
        Func::Sum => sum(table, name, kind),
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

/// The largest unscaled value of a decimal: as many nines as its precision says.
const MOST_UNSCALED: u128 = 10u128.pow(38) - 1;
const _: () = assert!(PRECISION == 38);

/// A sum, or null where its type cannot hold it: Polars would go on from the other end.
fn sum(table: &Table, name: &str, kind: Kind) -> Expr {
    let column = || column(name).cast(widest(kind));
    match kind {
        Kind::Integer if may_exceed(table, name, i64::MAX.unsigned_abs().into()) => {
            column().cast(DataType::Decimal(PRECISION, 0)).sum().cast(DataType::Int64)
        }
        Kind::Decimal { scale } if may_exceed(table, name, MOST_UNSCALED) => {
            let most = 10f64.powi(i32::try_from(PRECISION.saturating_sub(scale)).unwrap_or_default())
                * (1.0 - FLOATS_ARE_EXACT_TO);
            let float = || column().cast(DataType::Float64);
            let part = |is_in: Expr| when(is_in).then(float()).otherwise(lit(0.0)).sum();
            // Neither on the way there: Polars may add what is below zero last.
            let fits = part(float().gt(lit(0.0))).lt(lit(most)).and(part(float().lt(lit(0.0))).gt(lit(-most)));
            // What does not fit is not even tried.
            let sum = when(fits.clone()).then(column()).otherwise(lit(NULL)).sum();
            when(fits).then(sum).otherwise(lit(NULL))
        }
        _ => column().sum(),
    }
}

/// Whether the sum of some of the column's values may be further from 0 than so much.
fn may_exceed(table: &Table, name: &str, most: u128) -> bool {
    let Ok(column) = table.frame().column(name) else { return true };
    // Of narrower ones no table has enough rows.
    if !matches!(column.dtype(), DataType::Int64 | DataType::Decimal(..)) {
        return false;
    }
    let magnitude = |value: &AnyValue| match value {
        AnyValue::Null => Some(0),
        AnyValue::Decimal(unscaled, ..) => Some(unscaled.unsigned_abs()),
        value => value.extract::<i64>().map(|value| value.unsigned_abs().into()),
    };
    let [least, greatest] =
        [column.min_reduce(), column.max_reduce()].map(|end| end.ok().and_then(|end| magnitude(end.value())));
    least.zip(greatest).is_none_or(|(least, greatest)| least.max(greatest).saturating_mul(table.rows() as u128) > most)
}
