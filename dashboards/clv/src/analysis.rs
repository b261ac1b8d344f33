//! Everything the page shows, computed once per version of the data. Pure.

use std::collections::BTreeMap;

use jiff::civil::Date;

use crate::model::{
    BgNbdFit, ClvOptions, CustomerSummary, CustomerValue, GammaGammaFit, ModelError, SummaryOptions, Transaction,
    bgnbd, cohort,
    cohort::Cohort,
    customer_table, gamma_gamma, rfm, summarize, tracking,
    tracking::{HistogramBin, TrackingPoint},
};

/// Weeks that a customer's value looks ahead: a year.
pub(crate) const HORIZON_WEEKS: u32 = 52;
/// Customary cost of capital for such a figure.
const ANNUAL_DISCOUNT: f64 = 0.10;

/// Customers, value and revenue of one RFM segment.
pub struct SegmentValue {
    /// The segment's customary name.
    pub label: &'static str,
    /// How many customers are in it.
    pub customers: usize,
    /// Their mean value over the horizon.
    pub mean_clv: f64,
}

/// What the page shows.
pub struct Analysis {
    /// The last day on which anything was bought.
    pub last_day: Date,
    /// The fit saw transactions until this day.
    pub until: Date,
    /// How many transactions there are in all.
    pub transactions: usize,
    /// Revenue by month of the whole data.
    pub revenue: BTreeMap<Date, f64>,
    /// Customers as the fit saw them.
    pub customers: Vec<CustomerSummary>,
    /// The purchase model.
    pub purchases: BgNbdFit,
    /// The spend model.
    pub spend: GammaGammaFit,
    /// Each customer's value, the most valuable first.
    pub values: Vec<CustomerValue>,
    /// By RFM segment, the most valuable first.
    pub segments: Vec<SegmentValue>,
    /// Retention by month of the first purchase.
    pub cohorts: Vec<Cohort>,
    /// Repeat transactions as they were and as the model says.
    pub tracking: Vec<TrackingPoint>,
    /// How sure the model is that customers are still there.
    pub alive: Vec<HistogramBin>,
}

/// Computes it all. `until` ends the calibration; without it the models see everything.
pub fn analyse(transactions: &[Transaction], until: Option<Date>) -> Result<Analysis, ModelError> {
    let last_day = transactions
        .iter()
        .map(|transaction| transaction.date)
        .max()
        .ok_or(ModelError::TooFewCustomers { found: 0, needed: 1 })?;
    let until = until.map_or(last_day, |until| until.min(last_day));
    let options = SummaryOptions { observation_end: last_day, calibration_end: Some(until) };
    let customers = summarize(transactions, &options)?;
    let purchases = bgnbd::fit(&customers)?;
    let spend = gamma_gamma::fit(&customers)?;
    let clv_options = ClvOptions { weeks: HORIZON_WEEKS, annual_discount_rate: ANNUAL_DISCOUNT, margin: 1.0 };
    let mut values = customer_table(&customers, &purchases.params, &spend.params, &clv_options)?;
    values.sort_by(|left, right| right.clv.total_cmp(&left.clv));
    let segments = segments(&customers, &values, until);
    let mut revenue: BTreeMap<Date, f64> = BTreeMap::new();
    for transaction in transactions {
        *revenue.entry(transaction.date.first_of_month()).or_default() += transaction.revenue;
    }
    Ok(Analysis {
        last_day,
        until,
        transactions: transactions.len(),
        revenue,
        cohorts: cohort::retention(transactions, last_day)?,
        tracking: tracking::cumulative_tracking(transactions, &purchases.params, until, last_day)?,
        alive: tracking::p_alive_histogram(&customers, &purchases.params, 10),
        customers,
        purchases,
        spend,
        values,
        segments,
    })
}

fn segments(customers: &[CustomerSummary], values: &[CustomerValue], reference: Date) -> Vec<SegmentValue> {
    let clv: BTreeMap<&str, f64> = values.iter().map(|value| (value.customer_id.as_str(), value.clv)).collect();
    let mut sums: BTreeMap<&'static str, (usize, f64)> = BTreeMap::new();
    for score in rfm::score(customers, reference) {
        let (count, sum) = sums.entry(score.segment.label()).or_default();
        *count += 1;
        *sum += clv.get(score.customer_id.as_str()).copied().unwrap_or(0.0);
    }
    let mut segments: Vec<_> = sums
        .into_iter()
        .map(|(label, (customers, sum))| SegmentValue { label, customers, mean_clv: sum / customers as f64 })
        .collect();
    segments.sort_by(|left, right| right.mean_clv.total_cmp(&left.mean_clv));
    segments
}
