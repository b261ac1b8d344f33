//! How the BG/NBD model tracks what happened (FHL 2005, figure 2), and how the customers spread over P(alive).

use std::collections::BTreeMap;

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use crate::model::bgnbd::BgNbdParams;
use crate::model::error::ModelError;
use crate::model::summary::{CustomerSummary, Transaction, days_between, purchase_days};

const DAYS_PER_WEEK: usize = 7;

/// Repeat purchases of all customers up to the end of one week.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TrackingPoint {
    /// Week, counted from the first purchase in the data; the first is 1.
    pub week: u32,
    /// Cumulative repeat purchase days seen.
    pub actual: f64,
    /// Cumulative repeat purchases the model expects.
    pub predicted: f64,
}

/// Cumulative repeat purchases by week, actual and predicted, for all full weeks up to `last_day`.
///
/// `cohort_end` is the last day on which a customer may have come in (the calibration end); later customers are no
/// part of what the model was fitted to. The prediction is `Σ E[X(t - t0)]` over the customers, `t0` being the day each
/// came in.
pub fn cumulative_tracking(
    transactions: &[Transaction],
    params: &BgNbdParams,
    cohort_end: Date,
    last_day: Date,
) -> Result<Vec<TrackingPoint>, ModelError> {
    let customers = purchase_days(transactions, last_day)?;
    Ok(cumulative(customers.values().map(|days| days.keys().copied()), params, cohort_end, last_day))
}

/// The same from each customer's purchase days, old to new and each once.
pub fn cumulative(
    customers: impl Iterator<Item = impl Iterator<Item = Date>>,
    params: &BgNbdParams,
    cohort_end: Date,
    last_day: Date,
) -> Vec<TrackingPoint> {
    let mut arrivals: BTreeMap<Date, u32> = BTreeMap::new();
    let mut repeats: BTreeMap<Date, u32> = BTreeMap::new();
    for days in customers {
        let mut days = days.take_while(|day| *day <= last_day);
        let Some(first) = days.next().filter(|first| *first <= cohort_end) else { continue };
        *arrivals.entry(first).or_insert(0) += 1;
        for day in days {
            *repeats.entry(day).or_insert(0) += 1;
        }
    }
    let Some(&origin) = arrivals.keys().next() else { return Vec::new() };
    let since = |counts: BTreeMap<Date, u32>| -> Vec<(usize, f64)> {
        let offset = |day: Date| usize::try_from(days_between(origin, day)).unwrap_or(0);
        counts.into_iter().map(|(day, count)| (offset(day), f64::from(count))).collect()
    };
    let (arrivals, repeats) = (since(arrivals), since(repeats));
    // A week ends with its seventh day, so the day before `origin + 7 week` must be in the data.
    let weeks = usize::try_from(days_between(origin, last_day) + 1).unwrap_or(0) / DAYS_PER_WEEK;
    // Customers who came equally long ago are expected to have bought as often: one expectation per number of days.
    let expected: Vec<f64> =
        (0..=weeks * DAYS_PER_WEEK).map(|days| params.expected_purchases(days as f64 / DAYS_PER_WEEK as f64)).collect();
    let point = |week: usize| {
        let end = week * DAYS_PER_WEEK;
        let actual = repeats.iter().take_while(|(day, _)| *day < end).map(|(_, count)| count).sum();
        let came = arrivals.iter().take_while(|(day, _)| *day < end);
        let predicted = came.map(|(day, customers)| customers * expected[end - day]).sum();
        TrackingPoint { week: u32::try_from(week).unwrap_or(u32::MAX), actual, predicted }
    };
    (1..=weeks).map(point).collect()
}

/// One bar of a histogram.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct HistogramBin {
    /// Lower end, included.
    pub low: f64,
    /// Upper end, excluded except in the last bar.
    pub high: f64,
    /// Customers in between.
    pub customers: u32,
}

/// Distribution of P(alive) over the customers in `bins` equally wide bars from 0 to 1.
pub fn p_alive_histogram(summaries: &[CustomerSummary], params: &BgNbdParams, bins: u8) -> Vec<HistogramBin> {
    let width = 1.0 / f64::from(bins);
    let mut bars: Vec<HistogramBin> = (0..bins)
        .map(|bin| HistogramBin { low: f64::from(bin) * width, high: f64::from(bin + 1) * width, customers: 0 })
        .collect();
    for summary in summaries {
        let p_alive = params.p_alive(summary.frequency, summary.recency, summary.age);
        // Bars are sorted; the last one takes what reaches its upper end.
        let above = bars.partition_point(|bar| bar.low <= p_alive);
        if let Some(bar) = bars.get_mut(above.saturating_sub(1)) {
            bar.customers += 1;
        }
    }
    bars
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;
    use crate::model::summary::{SummaryOptions, summarize};

    const CDNOW: BgNbdParams = BgNbdParams { r: 0.243, alpha: 4.414, a: 0.793, b: 2.426 };

    fn sample() -> Vec<Transaction> {
        let buy = |id: &str, date: Date| Transaction { customer_id: id.into(), date, revenue: 1.0 };
        vec![
            buy("a", date(2024, 1, 1)),
            buy("a", date(2024, 1, 7)),
            buy("a", date(2024, 1, 8)),
            buy("b", date(2024, 1, 8)),
            buy("b", date(2024, 1, 21)),
            buy("late", date(2024, 1, 20)),
            buy("late", date(2024, 1, 21)),
        ]
    }

    #[test]
    fn tracks_full_weeks_of_the_cohort() {
        let points = cumulative_tracking(&sample(), &CDNOW, date(2024, 1, 14), date(2024, 1, 25)).unwrap();
        assert_eq!(points.iter().map(|point| point.actual).collect::<Vec<_>>(), [1.0, 2.0, 3.0]);
        let expected = CDNOW.expected_purchases(2.0) + CDNOW.expected_purchases(1.0);
        assert!((points[1].predicted - expected).abs() < 1e-12);
        assert!((points[0].predicted - CDNOW.expected_purchases(1.0)).abs() < 1e-12);
    }

    #[test]
    fn nothing_to_track_without_customers() {
        assert!(cumulative_tracking(&[], &CDNOW, date(2024, 1, 1), date(2024, 9, 1)).unwrap().is_empty());
    }

    #[test]
    fn histogram_counts_everybody() {
        let options = SummaryOptions { observation_end: date(2024, 1, 25), calibration_end: None };
        let mut all = summarize(&sample(), &options).unwrap();
        all.push(CustomerSummary { frequency: 0, recency: 0.0, ..all[0].clone() });
        let bars = p_alive_histogram(&all, &CDNOW, 10);
        assert_eq!(bars.len(), 10);
        assert_eq!(bars.iter().map(|bar| bar.customers).sum::<u32>(), 4);
        assert!(bars[9].customers >= 1, "a customer without repeat purchase is alive for sure");
        assert!(p_alive_histogram(&all, &CDNOW, 0).is_empty());
    }
}
