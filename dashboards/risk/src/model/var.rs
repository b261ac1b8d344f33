//! One-day value at risk and expected shortfall, from the history itself and from a normal distribution.

use std::collections::BTreeMap;

use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use statrs::distribution::{Continuous, ContinuousCDF, Normal};

use crate::model::error::RiskError;

/// Confidence levels customarily reported.
pub const CONFIDENCE_LEVELS: [f64; 3] = [0.95, 0.975, 0.99];
/// Slack against rounding when a number of days is taken from a confidence level (1000 times 0.99 is not 990).
const ROUNDING: f64 = 1e-9;
/// Days a standard deviation needs.
const MIN_DAYS_NORMAL: usize = 2;

/// Profit (positive) or loss (negative) of one desk on one day.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PnlRecord {
    /// Day.
    pub date: Date,
    /// Desk.
    pub desk: String,
    /// Profit or loss, in money.
    pub pnl: f64,
}

/// Profit or loss of all desks on one day.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct DailyPnl {
    /// Day.
    pub date: Date,
    /// Profit or loss, in money.
    pub pnl: f64,
}

/// Value at risk and expected shortfall at one confidence level.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TailRisk {
    /// Confidence level, for example 0.99.
    pub confidence: f64,
    /// Loss not exceeded at that level, in money; positive for a loss, negative where even the tail is a profit.
    pub value_at_risk: f64,
    /// Mean loss of the tail beyond that level, in money.
    pub expected_shortfall: f64,
}

/// Totals by day, oldest first.
pub fn daily_totals(records: &[PnlRecord]) -> Result<Vec<DailyPnl>, RiskError> {
    let mut totals: BTreeMap<Date, f64> = BTreeMap::new();
    for record in records {
        if !record.pnl.is_finite() {
            return Err(RiskError::NotFinite { what: "profit or loss", whose: record.desk.clone() });
        }
        *totals.entry(record.date).or_insert(0.0) += record.pnl;
    }
    Ok(totals.into_iter().map(|(date, pnl)| DailyPnl { date, pnl }).collect())
}

/// Days the historical figures need at a confidence level: enough for one day to lie in the tail.
pub fn days_needed(confidence: f64) -> usize {
    let days = (1.0 / (1.0 - confidence) - ROUNDING).ceil();
    // Confidence levels are checked to lie within (0, 1): the number is positive, and a cast saturates.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let days = days as usize;
    days.max(1)
}

/// Historical simulation: the value at risk is the loss of rank `⌈n c⌉` in ascending order (the lower empirical
/// quantile); the expected shortfall is the mean of the worst `n (1 - c)` losses, the last of them in part (Acerbi,
/// Tasche 2002, definition 2.6).
pub fn historical(pnl: &[f64], confidence: f64) -> Result<TailRisk, RiskError> {
    check(pnl, confidence)?;
    let needed = days_needed(confidence);
    if pnl.len() < needed {
        return Err(RiskError::TooFewDays { found: pnl.len(), needed });
    }
    // Worst first, as losses.
    let mut losses: Vec<f64> = pnl.iter().map(|value| -value).collect();
    losses.sort_by(|left, right| right.total_cmp(left));
    let tail = losses.len() as f64 * (1.0 - confidence);
    // At least one day and less than all of them, as `needed` days are there and the level is within (0, 1).
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let whole = ((tail + ROUNDING).floor() as usize).min(losses.len() - 1);
    let value_at_risk = losses[whole];
    let beyond: f64 = losses[..whole].iter().sum();
    let expected_shortfall = (beyond + (tail - whole as f64).max(0.0) * value_at_risk) / tail;
    Ok(TailRisk { confidence, value_at_risk, expected_shortfall })
}

/// Normal distribution with the mean `μ` and standard deviation `σ` (n - 1) of the history: `VaR = z σ - μ`,
/// `ES = σ φ(z) / (1 - c) - μ`.
pub fn normal(pnl: &[f64], confidence: f64) -> Result<TailRisk, RiskError> {
    check(pnl, confidence)?;
    if pnl.len() < MIN_DAYS_NORMAL {
        return Err(RiskError::TooFewDays { found: pnl.len(), needed: MIN_DAYS_NORMAL });
    }
    let days = pnl.len() as f64;
    let mean = pnl.iter().sum::<f64>() / days;
    let variance = pnl.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (days - 1.0);
    let (quantile, tail_mean) = normal_multipliers(confidence);
    let deviation = variance.sqrt();
    Ok(TailRisk {
        confidence,
        value_at_risk: quantile * deviation - mean,
        expected_shortfall: tail_mean * deviation - mean,
    })
}

/// Value at risk and expected shortfall of the standard normal distribution.
pub fn normal_multipliers(confidence: f64) -> (f64, f64) {
    let standard = Normal::standard();
    let quantile = standard.inverse_cdf(confidence);
    (quantile, standard.pdf(quantile) / (1.0 - confidence))
}

fn check(pnl: &[f64], confidence: f64) -> Result<(), RiskError> {
    let inside = confidence > 0.0 && confidence < 1.0;
    if !inside {
        return Err(RiskError::OutOfRange { what: "confidence level", whose: "the figure".into(), value: confidence });
    }
    if pnl.iter().all(|value| value.is_finite()) {
        Ok(())
    } else {
        Err(RiskError::NotFinite { what: "profit or loss", whose: "a day".into() })
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    #[test]
    fn desks_add_up_by_day() {
        let record = |day, desk: &str, pnl| PnlRecord { date: date(2024, 1, day), desk: desk.into(), pnl };
        let totals = daily_totals(&[record(3, "fx", 1.0), record(2, "fx", 5.0), record(3, "rates", -4.0)]).unwrap();
        assert_eq!(
            totals,
            [DailyPnl { date: date(2024, 1, 2), pnl: 5.0 }, DailyPnl { date: date(2024, 1, 3), pnl: -3.0 }]
        );
        assert!(matches!(daily_totals(&[record(1, "fx", f64::NAN)]), Err(RiskError::NotFinite { .. })));
    }

    #[test]
    fn normal_multipliers_are_the_known_ones() {
        for (confidence, quantile, tail_mean) in
            [(0.95, 1.6449, 2.0627), (0.975, 1.9600, 2.3378), (0.99, 2.3263, 2.6652)]
        {
            let found = normal_multipliers(confidence);
            println!("{confidence}: {:.6} {:.6}", found.0, found.1);
            assert!((found.0 - quantile).abs() < 5e-5 && (found.1 - tail_mean).abs() < 5e-5);
        }
    }

    #[test]
    fn historical_figures_count_the_tail() {
        // Losses 1 to 1000.
        let pnl: Vec<f64> = (1..=1000).map(|loss| -f64::from(loss)).collect();
        let found = historical(&pnl, 0.99).unwrap();
        assert!((found.value_at_risk - 990.0).abs() < 1e-9);
        assert!((found.expected_shortfall - 995.5).abs() < 1e-6);
        // 250 days: the third worst, and the two worst with half of the third.
        let found = historical(&pnl[..250], 0.99).unwrap();
        assert!((found.value_at_risk - 248.0).abs() < 1e-9);
        assert!((found.expected_shortfall - (250.0 + 249.0 + 124.0) / 2.5).abs() < 1e-9);
    }

    #[test]
    fn normal_figures_follow_mean_and_deviation() {
        let found = normal(&[-1.0, 3.0], 0.99).unwrap();
        assert!((found.value_at_risk - (2.326_348 * 8.0_f64.sqrt() - 1.0)).abs() < 1e-5);
        assert!(found.expected_shortfall > found.value_at_risk);
    }

    #[test]
    fn too_little_is_refused() {
        assert_eq!(historical(&[1.0; 99], 0.99), Err(RiskError::TooFewDays { found: 99, needed: 100 }));
        assert_eq!(historical(&[1.0; 19], 0.95), Err(RiskError::TooFewDays { found: 19, needed: 20 }));
        assert_eq!(normal(&[1.0], 0.95), Err(RiskError::TooFewDays { found: 1, needed: 2 }));
        assert!(matches!(normal(&[1.0, 2.0], 1.0), Err(RiskError::OutOfRange { .. })));
        assert!(matches!(historical(&[f64::NAN; 300], 0.9), Err(RiskError::NotFinite { .. })));
    }
}
