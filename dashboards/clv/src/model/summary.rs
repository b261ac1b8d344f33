//! From transactions to one row per customer: repeat purchases, recency, age and mean spend (FHL 2005, section 4.1).

use std::collections::BTreeMap;

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use crate::model::error::ModelError;

const DAYS_PER_WEEK: f64 = 7.0;
const SECONDS_PER_DAY: i64 = 86_400;

/// One purchase as it stands in the source.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Transaction {
    /// Who bought.
    pub customer_id: String,
    /// Day of the purchase.
    pub date: Date,
    /// Amount, in the currency of the data. Returns (negative amounts) count as purchases of that day: leave them out
    /// beforehand where that is not meant.
    pub revenue: f64,
}

/// Which part of the transactions is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SummaryOptions {
    /// Last day of the data; later transactions are ignored.
    pub observation_end: Date,
    /// Last day of the calibration period. Where given, the summary covers the time up to that day, and purchases
    /// after it are counted as holdout. Customers who first bought later are left out.
    pub calibration_end: Option<Date>,
}

/// What the models know about one customer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CustomerSummary {
    /// Who.
    pub customer_id: String,
    /// Day of the first purchase: the origin of the customer's time.
    pub first_purchase: Date,
    /// Day of the last purchase within the (calibration) period.
    pub last_purchase: Date,
    /// `x`: days with a purchase after the first one.
    pub frequency: u32,
    /// `t_x`: weeks from the first to the last purchase; 0 without a repeat purchase.
    pub recency: f64,
    /// `T`: weeks from the first purchase to the end of the (calibration) period.
    pub age: f64,
    /// Mean revenue of the repeat purchase days; 0 without one.
    pub monetary: f64,
    /// Revenue of all purchase days of the period, the first included.
    pub total_revenue: f64,
    /// Purchase days after the calibration end; `None` without a calibration end.
    pub holdout_frequency: Option<u32>,
}

/// Weeks from one day to another (negative where `to` is earlier).
pub fn weeks_between(from: Date, to: Date) -> f64 {
    days_between(from, to) as f64 / DAYS_PER_WEEK
}

/// Whole days from one day to another (negative where `to` is earlier).
pub fn days_between(from: Date, to: Date) -> i64 {
    from.duration_until(to).as_secs() / SECONDS_PER_DAY
}

/// Purchases of one customer, one entry per day.
pub(crate) type PurchaseDays = BTreeMap<Date, f64>;

/// Merges the transactions up to `last_day` by customer and day.
pub(crate) fn purchase_days(
    transactions: &[Transaction],
    last_day: Date,
) -> Result<BTreeMap<&str, PurchaseDays>, ModelError> {
    let mut customers: BTreeMap<&str, PurchaseDays> = BTreeMap::new();
    for transaction in transactions {
        if !transaction.revenue.is_finite() {
            return Err(ModelError::NotFinite { what: "revenue", whose: transaction.customer_id.clone() });
        }
        if transaction.date <= last_day {
            let days = customers.entry(transaction.customer_id.as_str()).or_default();
            *days.entry(transaction.date).or_insert(0.0) += transaction.revenue;
        }
    }
    Ok(customers)
}

/// One row per customer, ordered by customer id. Purchases of one day count as one.
pub fn summarize(transactions: &[Transaction], options: &SummaryOptions) -> Result<Vec<CustomerSummary>, ModelError> {
    let period_end = options.calibration_end.unwrap_or(options.observation_end);
    if period_end > options.observation_end {
        return Err(ModelError::CalibrationAfterObservation);
    }
    let customers = purchase_days(transactions, options.observation_end)?;
    let rows = customers.iter().filter_map(|(id, days)| summarize_customer(id, days, period_end, options));
    Ok(rows.collect())
}

/// The row of one customer; `None` where the first purchase lies after the period.
fn summarize_customer(
    id: &str,
    days: &PurchaseDays,
    period_end: Date,
    options: &SummaryOptions,
) -> Option<CustomerSummary> {
    let (&first, &first_revenue) = days.first_key_value().filter(|(first, _)| **first <= period_end)?;
    let mut last = first;
    let mut frequency = 0_u32;
    let mut repeat_revenue = 0.0;
    for (&day, &revenue) in days.range(..=period_end).skip(1) {
        last = day;
        frequency += 1;
        repeat_revenue += revenue;
    }
    let later = days.keys().filter(|day| **day > period_end).count();
    Some(CustomerSummary {
        customer_id: id.to_owned(),
        first_purchase: first,
        last_purchase: last,
        frequency,
        recency: weeks_between(first, last),
        age: weeks_between(first, period_end),
        monetary: if frequency == 0 { 0.0 } else { repeat_revenue / f64::from(frequency) },
        total_revenue: first_revenue + repeat_revenue,
        // There are fewer days in the calendar than fit into 32 bits.
        holdout_frequency: options.calibration_end.map(|_| u32::try_from(later).unwrap_or(u32::MAX)),
    })
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    fn buy(customer_id: &str, date: Date, revenue: f64) -> Transaction {
        Transaction { customer_id: customer_id.into(), date, revenue }
    }

    fn sample() -> Vec<Transaction> {
        vec![
            buy("b", date(1997, 1, 18), 29.73),
            buy("b", date(1997, 1, 1), 29.33),
            buy("b", date(1997, 8, 2), 10.0),
            buy("b", date(1997, 8, 2), 4.96),
            buy("b", date(1997, 12, 12), 26.48),
            buy("a", date(1997, 1, 1), 5.0),
            buy("late", date(1997, 11, 1), 5.0),
        ]
    }

    #[test]
    fn merges_days_and_splits_at_the_calibration_end() {
        let options = SummaryOptions { observation_end: date(1998, 6, 30), calibration_end: Some(date(1997, 9, 30)) };
        let rows = summarize(&sample(), &options).unwrap();
        assert_eq!(rows.iter().map(|row| row.customer_id.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        let row = &rows[1];
        assert_eq!((row.frequency, row.holdout_frequency), (2, Some(1)));
        assert!((row.recency - 213.0 / 7.0).abs() < 1e-12);
        assert!((row.age - 272.0 / 7.0).abs() < 1e-12);
        assert!((row.monetary - 22.345).abs() < 1e-12);
        assert!((row.total_revenue - 74.02).abs() < 1e-12);
        assert_eq!((rows[0].frequency, rows[0].holdout_frequency), (0, Some(0)));
    }

    #[test]
    fn covers_everything_without_a_calibration_end() {
        let options = SummaryOptions { observation_end: date(1998, 6, 30), calibration_end: None };
        let rows = summarize(&sample(), &options).unwrap();
        assert_eq!(rows.len(), 3);
        assert_eq!((rows[1].frequency, rows[1].holdout_frequency), (3, None));
    }

    #[test]
    fn refuses_contradictory_dates_and_non_finite_revenue() {
        let options = SummaryOptions { observation_end: date(1997, 6, 30), calibration_end: Some(date(1997, 9, 30)) };
        assert_eq!(summarize(&sample(), &options), Err(ModelError::CalibrationAfterObservation));
        let options = SummaryOptions { observation_end: date(1998, 6, 30), calibration_end: None };
        let bad = [buy("c", date(1997, 1, 1), f64::NAN)];
        assert!(matches!(summarize(&bad, &options), Err(ModelError::NotFinite { .. })));
    }
}
