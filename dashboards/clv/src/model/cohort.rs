//! Retention of customers by month of first purchase.

use std::collections::BTreeMap;

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use crate::model::error::ModelError;
use crate::model::summary::{Transaction, purchase_days};

const MONTHS_PER_YEAR: i32 = 12;

/// Customers who first bought in the same month.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cohort {
    /// First day of the month of first purchase.
    pub month: Date,
    /// Customers who first bought in it.
    pub customers: u32,
    /// Customers who bought in the month `i` months after the first one, one entry per month up to the last day of the
    /// data. Entry 0 is the cohort itself.
    pub active: Vec<u32>,
    /// `active` as a part of `customers`, 0 to 1.
    pub retention: Vec<f64>,
}

/// The retention matrix up to `last_day`, oldest cohort first; months nobody first bought in are left out.
pub fn retention(transactions: &[Transaction], last_day: Date) -> Result<Vec<Cohort>, ModelError> {
    let customers = purchase_days(transactions, last_day)?;
    let mut cohorts: BTreeMap<Date, Cohort> = BTreeMap::new();
    for days in customers.values() {
        let Some(first) = days.keys().next().map(|day| day.first_of_month()) else { continue };
        let cohort = cohorts.entry(first).or_insert_with(|| Cohort {
            month: first,
            customers: 0,
            active: vec![0; months_between(first, last_day) + 1],
            retention: Vec::new(),
        });
        cohort.customers += 1;
        let mut months: Vec<usize> = days.keys().map(|day| months_between(first, *day)).collect();
        months.dedup();
        for month in months {
            cohort.active[month] += 1;
        }
    }
    let mut rows: Vec<Cohort> = cohorts.into_values().collect();
    for row in &mut rows {
        row.retention = row.active.iter().map(|active| f64::from(*active) / f64::from(row.customers)).collect();
    }
    Ok(rows)
}

/// Calendar months from one day to a later one, 0 within the same month.
pub(crate) fn months_between(from: Date, to: Date) -> usize {
    let months = |day: Date| i32::from(day.year()) * MONTHS_PER_YEAR + i32::from(day.month());
    usize::try_from(months(to) - months(from)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    #[test]
    fn counts_each_customer_once_a_month() {
        let buy = |id: &str, date: Date| Transaction { customer_id: id.into(), date, revenue: 1.0 };
        let transactions = [
            buy("a", date(2023, 11, 30)),
            buy("a", date(2024, 1, 1)),
            buy("a", date(2024, 1, 20)),
            buy("b", date(2023, 11, 1)),
            buy("b", date(2023, 12, 5)),
            buy("c", date(2024, 1, 2)),
            buy("c", date(2024, 3, 2)),
        ];
        let rows = retention(&transactions, date(2024, 2, 15)).unwrap();
        assert_eq!(rows.len(), 2);
        assert_eq!((rows[0].month, rows[0].customers), (date(2023, 11, 1), 2));
        assert_eq!(rows[0].active, [2, 1, 1, 0]);
        assert_eq!(rows[0].retention, [1.0, 0.5, 0.5, 0.0]);
        assert_eq!((rows[1].month, rows[1].active.as_slice()), (date(2024, 1, 1), [1, 0].as_slice()));
    }

    #[test]
    fn no_transactions_make_no_cohorts() {
        assert!(retention(&[], date(2024, 1, 1)).unwrap().is_empty());
    }
}
