//! Discounted customer lifetime value: the purchases BG/NBD expects times the spend Gamma-Gamma expects.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::model::bgnbd::BgNbdParams;
use crate::model::error::ModelError;
use crate::model::gamma_gamma::GammaGammaParams;
use crate::model::summary::CustomerSummary;

/// Mean weeks of a year (365.25 days), by which an annual rate becomes a weekly one.
pub const WEEKS_PER_YEAR: f64 = 365.25 / 7.0;

/// Horizon and valuation of the customer table.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ClvOptions {
    /// Weeks to look ahead.
    pub weeks: u32,
    /// Discount rate per year, for example 0.10.
    pub annual_discount_rate: f64,
    /// Part of the revenue that counts as value, for example 0.3; 1 values revenue itself.
    pub margin: f64,
}

/// What one customer is worth.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CustomerValue {
    /// Who.
    pub customer_id: String,
    /// `x`: repeat purchase days.
    pub frequency: u32,
    /// `t_x`, weeks from the first to the last purchase.
    pub recency: f64,
    /// `T`, weeks from the first purchase to the end of the period.
    pub age: f64,
    /// Mean revenue of the repeat purchase days.
    pub monetary: f64,
    /// Probability that the customer is still active.
    pub p_alive: f64,
    /// Purchases expected within the horizon (undiscounted).
    pub expected_purchases: f64,
    /// Revenue expected per purchase.
    pub expected_spend: f64,
    /// Present value of the horizon's margin, in money.
    pub clv: f64,
}

/// Weekly discount rate that compounds to `annual` over a year.
pub fn weekly_discount_rate(annual: f64) -> f64 {
    (annual.ln_1p() / WEEKS_PER_YEAR).exp_m1()
}

/// Purchases of a living customer over the horizon.
#[derive(Clone, Copy)]
struct Horizon {
    expected: f64,
    discounted: f64,
}

/// Values every customer, in the order given: `clv = margin E[M] P(alive) Σ_w (E[Y(w)] - E[Y(w-1)]) / (1+d)^w`, a
/// week's purchases being discounted from the end of the week.
pub fn customer_table(
    summaries: &[CustomerSummary],
    purchases: &BgNbdParams,
    spend: &GammaGammaParams,
    options: &ClvOptions,
) -> Result<Vec<CustomerValue>, ModelError> {
    check(options)?;
    // Customers of the same frequency and age differ in P(alive) only.
    let mut horizons: HashMap<(u32, u64), Horizon> = HashMap::new();
    let value = |summary: &CustomerSummary| {
        let p_alive = purchases.p_alive(summary.frequency, summary.recency, summary.age);
        let horizon = *horizons
            .entry((summary.frequency, summary.age.to_bits()))
            .or_insert_with(|| horizon(purchases, summary.frequency, summary.age, options));
        let expected_spend = spend.conditional_expected_spend(summary.frequency, summary.monetary);
        CustomerValue {
            customer_id: summary.customer_id.clone(),
            frequency: summary.frequency,
            recency: summary.recency,
            age: summary.age,
            monetary: summary.monetary,
            p_alive,
            expected_purchases: p_alive * horizon.expected,
            expected_spend,
            clv: options.margin * expected_spend * p_alive * horizon.discounted,
        }
    };
    let table: Vec<CustomerValue> = summaries.iter().map(value).collect();
    match table.iter().find(|row| !row.clv.is_finite()) {
        Some(row) => Err(ModelError::NotFinite { what: "lifetime value", whose: row.customer_id.clone() }),
        None => Ok(table),
    }
}

fn check(options: &ClvOptions) -> Result<(), ModelError> {
    let out = |what| Err(ModelError::OutOfRange { what, whose: "the options".into() });
    if options.weeks == 0 {
        return out("number of weeks");
    }
    if !options.annual_discount_rate.is_finite() || options.annual_discount_rate <= -1.0 {
        return out("discount rate");
    }
    if !options.margin.is_finite() || options.margin < 0.0 {
        return out("margin");
    }
    Ok(())
}

fn horizon(purchases: &BgNbdParams, frequency: u32, age: f64, options: &ClvOptions) -> Horizon {
    let factor = 1.0 / (1.0 + weekly_discount_rate(options.annual_discount_rate));
    let mut found = Horizon { expected: 0.0, discounted: 0.0 };
    let mut discount = 1.0;
    for week in 1..=options.weeks {
        discount *= factor;
        let expected = purchases.expected_purchases_if_alive(frequency, age, f64::from(week));
        found.discounted += (expected - found.expected) * discount;
        found.expected = expected;
    }
    found
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    const PURCHASES: BgNbdParams = BgNbdParams { r: 0.243, alpha: 4.414, a: 0.793, b: 2.426 };
    const SPEND: GammaGammaParams = GammaGammaParams { p: 6.25, q: 3.74, v: 15.44 };

    fn customer(frequency: u32, recency: f64, monetary: f64) -> CustomerSummary {
        CustomerSummary {
            customer_id: frequency.to_string(),
            first_purchase: date(1997, 1, 1),
            last_purchase: date(1997, 1, 1),
            frequency,
            recency,
            age: 38.86,
            monetary,
            total_revenue: 50.0,
            holdout_frequency: None,
        }
    }

    #[test]
    fn without_discount_value_is_purchases_times_spend() {
        let options = ClvOptions { weeks: 39, annual_discount_rate: 0.0, margin: 1.0 };
        let all = [customer(2, 30.43, 22.35), customer(0, 0.0, 0.0)];
        let table = customer_table(&all, &PURCHASES, &SPEND, &options).unwrap();
        assert!((table[0].expected_purchases - 1.226).abs() < 5e-4);
        for row in &table {
            assert!((row.clv - row.expected_purchases * row.expected_spend).abs() < 1e-9);
        }
        assert!((table[1].expected_spend - SPEND.population_mean()).abs() < 1e-12);
        assert!((table[1].p_alive - 1.0).abs() < 1e-12);
    }

    #[test]
    fn discount_and_margin_reduce_the_value() {
        let value = |annual_discount_rate, margin| {
            let options = ClvOptions { weeks: 52, annual_discount_rate, margin };
            customer_table(&[customer(2, 30.43, 22.35)], &PURCHASES, &SPEND, &options).unwrap()[0].clv
        };
        assert!(value(0.15, 1.0) < value(0.0, 1.0) && value(0.15, 1.0) > value(0.0, 1.0) / 1.15);
        assert!((value(0.15, 0.3) - 0.3 * value(0.15, 1.0)).abs() < 1e-9);
    }

    #[test]
    fn weekly_rate_compounds_to_the_annual_rate() {
        let weekly = weekly_discount_rate(0.1);
        assert!(((1.0 + weekly).powf(WEEKS_PER_YEAR) - 1.1).abs() < 1e-12);
    }

    #[test]
    fn senseless_options_are_refused() {
        for (weeks, annual_discount_rate, margin) in [(0, 0.1, 1.0), (9, -1.0, 1.0), (9, 0.1, -0.5), (9, 0.1, f64::NAN)]
        {
            let options = ClvOptions { weeks, annual_discount_rate, margin };
            let refused = customer_table(&[], &PURCHASES, &SPEND, &options);
            assert!(matches!(refused, Err(ModelError::OutOfRange { .. })));
        }
    }
}
