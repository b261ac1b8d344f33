//! A table made row by row, for sources that are no files.

use polars::prelude::{
    self as pl, BooleanChunkedBuilder, ChunkedBuilder as _, DataFrame, IntoColumn as _, IntoSeries as _,
    PrimitiveChunkedBuilder, StringChunkedBuilder, TimeUnit,
};

use super::error::{Error, internal, working};
use super::literal::zone;
use super::table::Table;

/// What the cells of a column are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CellKind {
    Boolean,
    Int16,
    Int32,
    Int64,
    Float32,
    Float64,
    /// An unscaled number, for a fixed number of digits after the point.
    Decimal {
        precision: u8,
        scale: u8,
    },
    Text,
    /// Days since 1970.
    Date,
    /// Microseconds since 1970.
    Datetime {
        zoned: bool,
    },
}

/// A value that is there.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Cell<'a> {
    Boolean(bool),
    Int16(i16),
    Int32(i32),
    Int64(i64),
    Float32(f32),
    Float64(f64),
    Decimal(i128),
    Text(&'a str),
    Date(i32),
    Datetime(i64),
}

enum Column {
    Boolean(BooleanChunkedBuilder),
    Int16(PrimitiveChunkedBuilder<pl::Int16Type>),
    Int32(PrimitiveChunkedBuilder<pl::Int32Type>),
    Int64(PrimitiveChunkedBuilder<pl::Int64Type>),
    Float32(PrimitiveChunkedBuilder<pl::Float32Type>),
    Float64(PrimitiveChunkedBuilder<pl::Float64Type>),
    Decimal { values: PrimitiveChunkedBuilder<pl::Int128Type>, precision: usize, scale: usize },
    Text(StringChunkedBuilder),
    Date(PrimitiveChunkedBuilder<pl::Int32Type>),
    Datetime { values: PrimitiveChunkedBuilder<pl::Int64Type>, zoned: bool },
}

/// Columns that grow together. Whoever fills it bounds it.
pub(crate) struct TableBuilder {
    columns: Vec<Column>,
}

impl TableBuilder {
    pub(crate) fn new<'a>(columns: impl IntoIterator<Item = (&'a str, CellKind)>) -> Self {
        Self { columns: columns.into_iter().map(|(name, kind)| Column::new(name, kind)).collect() }
    }

    /// Adds the next cell of a column. Every column must be given one for every row.
    pub(crate) fn push(&mut self, column: usize, cell: Option<Cell<'_>>) -> Result<(), Error> {
        let column = self.columns.get_mut(column).ok_or_else(|| internal("there is no such column"))?;
        if column.push(cell) { Ok(()) } else { Err(internal("a cell is not of its column's kind")) }
    }

    /// The table. This blocks.
    pub(crate) fn finish(self) -> Result<Table, Error> {
        let frame = working(|| {
            let columns: Vec<_> = self.columns.into_iter().map(Column::finish).collect();
            DataFrame::new_infer_height(columns)
        })?;
        working(|| Ok(Table::from_frame(frame)))?
    }
}

impl Column {
    fn new(name: &str, kind: CellKind) -> Self {
        let name = pl::PlSmallStr::from_str(name);
        match kind {
            CellKind::Boolean => Self::Boolean(BooleanChunkedBuilder::new(name, 0)),
            CellKind::Int16 => Self::Int16(PrimitiveChunkedBuilder::new(name, 0)),
            CellKind::Int32 => Self::Int32(PrimitiveChunkedBuilder::new(name, 0)),
            CellKind::Int64 => Self::Int64(PrimitiveChunkedBuilder::new(name, 0)),
            CellKind::Float32 => Self::Float32(PrimitiveChunkedBuilder::new(name, 0)),
            CellKind::Float64 => Self::Float64(PrimitiveChunkedBuilder::new(name, 0)),
            CellKind::Decimal { precision, scale } => {
                let (precision, scale) = (precision.into(), scale.into());
                Self::Decimal { values: PrimitiveChunkedBuilder::new(name, 0), precision, scale }
            }
            CellKind::Text => Self::Text(StringChunkedBuilder::new(name, 0)),
            CellKind::Date => Self::Date(PrimitiveChunkedBuilder::new(name, 0)),
            CellKind::Datetime { zoned } => Self::Datetime { values: PrimitiveChunkedBuilder::new(name, 0), zoned },
        }
    }

    /// Whether the cell is of this column's kind.
    fn push(&mut self, cell: Option<Cell<'_>>) -> bool {
        match (self, cell) {
            (Self::Boolean(values), None) => values.append_null(),
            (Self::Boolean(values), Some(Cell::Boolean(value))) => values.append_value(value),
            (Self::Int16(values), None) => values.append_null(),
            (Self::Int16(values), Some(Cell::Int16(value))) => values.append_value(value),
            (Self::Int32(values) | Self::Date(values), None) => values.append_null(),
            (Self::Int32(values), Some(Cell::Int32(value))) | (Self::Date(values), Some(Cell::Date(value))) => {
                values.append_value(value);
            }
            (Self::Int64(values) | Self::Datetime { values, .. }, None) => values.append_null(),
            (Self::Int64(values), Some(Cell::Int64(value)))
            | (Self::Datetime { values, .. }, Some(Cell::Datetime(value))) => values.append_value(value),
            (Self::Float32(values), None) => values.append_null(),
            (Self::Float32(values), Some(Cell::Float32(value))) => values.append_value(value),
            (Self::Float64(values), None) => values.append_null(),
            (Self::Float64(values), Some(Cell::Float64(value))) => values.append_value(value),
            (Self::Decimal { values, .. }, None) => values.append_null(),
            (Self::Decimal { values, .. }, Some(Cell::Decimal(value))) => values.append_value(value),
            (Self::Text(values), None) => values.append_null(),
            (Self::Text(values), Some(Cell::Text(value))) => values.append_value(value),
            _ => return false,
        }
        true
    }

    fn finish(self) -> pl::Column {
        let series = match self {
            Self::Boolean(values) => values.finish().into_series(),
            Self::Int16(values) => values.finish().into_series(),
            Self::Int32(values) => values.finish().into_series(),
            Self::Int64(values) => values.finish().into_series(),
            Self::Float32(values) => values.finish().into_series(),
            Self::Float64(values) => values.finish().into_series(),
            Self::Decimal { values, precision, scale } => {
                values.finish().into_decimal_unchecked(precision, scale).into_series()
            }
            Self::Text(values) => values.finish().into_series(),
            Self::Date(values) => values.finish().into_date().into_series(),
            Self::Datetime { values, zoned } => {
                values.finish().into_datetime(TimeUnit::Microseconds, zone(zoned)).into_series()
            }
        };
        series.into_column()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::schema::Kind;

    #[test]
    fn every_kind_of_cell_and_its_absence_become_a_table() {
        let kinds = [
            (CellKind::Boolean, Cell::Boolean(true), Kind::Boolean),
            (CellKind::Int16, Cell::Int16(-1), Kind::Integer),
            (CellKind::Int32, Cell::Int32(-1), Kind::Integer),
            (CellKind::Int64, Cell::Int64(-1), Kind::Integer),
            (CellKind::Float32, Cell::Float32(0.5), Kind::Float),
            (CellKind::Float64, Cell::Float64(0.5), Kind::Float),
            (CellKind::Decimal { precision: 6, scale: 2 }, Cell::Decimal(-125), Kind::Decimal { scale: 2 }),
            (CellKind::Text, Cell::Text(""), Kind::String),
            (CellKind::Date, Cell::Date(20_000), Kind::Date),
            (CellKind::Datetime { zoned: false }, Cell::Datetime(1), Kind::Datetime { zoned: false }),
            (CellKind::Datetime { zoned: true }, Cell::Datetime(1), Kind::Datetime { zoned: true }),
        ];
        let names: Vec<String> = (0..kinds.len()).map(|index| format!("c{index}")).collect();
        let mut builder = TableBuilder::new(names.iter().zip(&kinds).map(|(name, kind)| (name.as_str(), kind.0)));
        for (index, (_, cell, _)) in kinds.iter().enumerate() {
            builder.push(index, Some(*cell)).unwrap();
            builder.push(index, None).unwrap();
        }
        let table = builder.finish().unwrap();
        assert_eq!(table.rows(), 2);
        for (index, (kind, _, served)) in kinds.iter().enumerate() {
            assert_eq!(table.schema().columns()[index].kind, *served, "{kind:?}");
            assert_eq!(table.frame().columns()[index].null_count(), 1, "{kind:?}");
        }
    }

    #[test]
    fn a_table_without_rows_keeps_its_columns() {
        let table = TableBuilder::new([("a", CellKind::Text), ("b", CellKind::Date)]).finish().unwrap();
        assert_eq!((table.rows(), table.schema().names().collect::<Vec<_>>()), (0, vec!["a", "b"]));
    }

    #[test]
    fn a_cell_of_another_kind_and_columns_of_unequal_length_are_refused() {
        let mut builder = TableBuilder::new([("a", CellKind::Int32), ("b", CellKind::Date)]);
        assert!(builder.push(0, Some(Cell::Date(1))).is_err());
        assert!(builder.push(2, None).is_err());
        builder.push(0, Some(Cell::Int32(1))).unwrap();
        assert!(matches!(builder.finish(), Err(Error::Internal { .. })));
    }
}
