//! Backtest of the one-day value at risk: rolling window, traffic light of the Basel Committee (January 1996,
//! "Supervisory framework for the use of backtesting"), proportion of failures test (Kupiec 1995).

use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use statrs::distribution::{Binomial, DiscreteCDF};
use statrs::function::erf::erfc;

use crate::model::error::RiskError;
use crate::model::var::{DailyPnl, historical, normal};

/// Days a value at risk is computed from, and days of the traffic light.
pub const WINDOW: usize = 250;
/// Confidence level of the value at risk tested.
pub const CONFIDENCE: f64 = 0.99;
/// A zone begins where the probability of so many or fewer exceptions reaches this level under a right model (paper of
/// 1996, table 2); over 250 days at 99 % that is 5 exceptions for yellow and 10 for red.
const YELLOW_FROM: f64 = 0.95;
const RED_FROM: f64 = 0.999_9;
/// 95 % quantile of the chi-squared distribution with one degree of freedom.
const KUPIEC_CRITICAL: f64 = 3.841_458_820_694_124;

/// How the value at risk of the window is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VarMethod {
    /// Empirical quantile.
    Historical,
    /// Normal distribution.
    Normal,
}

/// Zone of the traffic light.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Zone {
    /// No doubt about the model: 0 to 4 exceptions in 250 days.
    Green,
    /// Doubtful: 5 to 9 exceptions.
    Yellow,
    /// The model is presumed wrong: 10 exceptions or more.
    Red,
}

/// One tested day, for the chart.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct BacktestPoint {
    /// Day.
    pub date: Date,
    /// Profit or loss of the day, in money.
    pub pnl: f64,
    /// Value at risk computed from the days before, in money; a positive number is a loss.
    pub value_at_risk: f64,
    /// The loss of the day exceeded it.
    pub exception: bool,
}

/// Proportion of failures test: does the rate of exceptions fit the confidence level?
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Kupiec {
    /// Likelihood ratio, chi-squared with one degree of freedom under a right model.
    pub likelihood_ratio: f64,
    /// Probability of a ratio at least as large under a right model.
    pub p_value: f64,
    /// The ratio exceeds its 95 % quantile (3.841): the model is rejected.
    pub rejected: bool,
}

/// Outcome of the backtest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Backtest {
    /// Every tested day, oldest first.
    pub points: Vec<BacktestPoint>,
    /// Days the count of exceptions covers: the last 250, or all where fewer could be tested.
    pub observations: usize,
    /// Exceptions within them.
    pub exceptions: usize,
    /// Traffic light of these exceptions.
    pub zone: Zone,
    /// Test of their rate.
    pub kupiec: Kupiec,
}

/// Tests the 99 % value at risk of each day, computed from the 250 days before it. `days` must be in order of time, as
/// `daily_totals` gives them. Needs 251 days; the traffic light has its full meaning from 500.
pub fn backtest(days: &[DailyPnl], method: VarMethod) -> Result<Backtest, RiskError> {
    if days.len() <= WINDOW {
        return Err(RiskError::TooFewDays { found: days.len(), needed: WINDOW + 1 });
    }
    let pnl: Vec<f64> = days.iter().map(|day| day.pnl).collect();
    let tested = days.iter().skip(WINDOW).zip(pnl.windows(WINDOW));
    let points = tested.map(|(day, window)| point(day, window, method)).collect::<Result<Vec<_>, _>>()?;
    let last = &points[points.len().saturating_sub(WINDOW)..];
    let observations = last.len();
    let exceptions = last.iter().filter(|point| point.exception).count();
    Ok(Backtest {
        zone: zone(exceptions, observations),
        kupiec: kupiec(exceptions, observations, 1.0 - CONFIDENCE),
        observations,
        exceptions,
        points,
    })
}

fn point(day: &DailyPnl, window: &[f64], method: VarMethod) -> Result<BacktestPoint, RiskError> {
    if !day.pnl.is_finite() {
        return Err(RiskError::NotFinite { what: "profit or loss", whose: day.date.to_string() });
    }
    let risk = match method {
        VarMethod::Historical => historical(window, CONFIDENCE)?,
        VarMethod::Normal => normal(window, CONFIDENCE)?,
    };
    Ok(BacktestPoint {
        date: day.date,
        pnl: day.pnl,
        value_at_risk: risk.value_at_risk,
        exception: -day.pnl > risk.value_at_risk,
    })
}

/// Zone of `exceptions` in `observations` days at 99 %, by the cumulative binomial probability the Committee drew its
/// borders with; exactly 0 to 4, 5 to 9, 10 and more for 250 days, and the like for other numbers of days.
pub fn zone(exceptions: usize, observations: usize) -> Zone {
    let cumulative = Binomial::new(1.0 - CONFIDENCE, observations as u64)
        // The probability is a constant within [0, 1], so the distribution exists.
        .map_or(0.0, |distribution| distribution.cdf(exceptions as u64));
    // All days being exceptions has cumulative probability 1 even where there is one day only.
    match cumulative {
        level if level >= RED_FROM => Zone::Red,
        level if level >= YELLOW_FROM => Zone::Yellow,
        _ => Zone::Green,
    }
}

/// Kupiec's test of `exceptions` in `observations` days against the expected `rate`:
/// `LR = -2 ln((1-p)^(n-x) p^x / ((1-x/n)^(n-x) (x/n)^x))`. Without observations there is nothing to reject.
pub fn kupiec(exceptions: usize, observations: usize, rate: f64) -> Kupiec {
    let (x, n) = (exceptions as f64, observations as f64);
    // 0 ln 0 = 0
    let term = |count: f64, probability: f64| if count > 0.0 { count * probability.ln() } else { 0.0 };
    let expected = term(n - x, 1.0 - rate) + term(x, rate);
    let found = term(n - x, 1.0 - x / n) + term(x, x / n);
    let likelihood_ratio = (2.0 * (found - expected)).max(0.0);
    Kupiec {
        likelihood_ratio,
        // Survival function of chi-squared with one degree of freedom.
        p_value: erfc((likelihood_ratio / 2.0).sqrt()),
        rejected: likelihood_ratio > KUPIEC_CRITICAL,
    }
}

#[cfg(test)]
mod tests {
    use jiff::ToSpan;
    use jiff::civil::date;

    use super::*;

    /// Normal-like figures without a generator: the golden ratio spreads the ranks evenly.
    fn series(days: usize) -> Vec<DailyPnl> {
        let rank = |index: usize| (index as f64 * 0.618_033_988_749_894_9).fract() - 0.5;
        let mut day = date(2022, 1, 3);
        (0..days)
            .map(|index| {
                let total = DailyPnl { date: day, pnl: 100.0 * rank(index + 1) };
                day = day.checked_add(1.day()).unwrap();
                total
            })
            .collect()
    }

    #[test]
    fn borders_of_the_zones_are_those_of_the_committee() {
        let zones: Vec<Zone> = (0..=11).map(|exceptions| zone(exceptions, 250)).collect();
        assert!(zones[..5].iter().all(|zone| *zone == Zone::Green));
        assert!(zones[5..10].iter().all(|zone| *zone == Zone::Yellow));
        assert!(zones[10..].iter().all(|zone| *zone == Zone::Red));
    }

    #[test]
    fn kupiec_matches_hand_computed_ratios() {
        // n = 250, p = 1 %: LR(0) = -500 ln 0.99 = 5.0252, LR(2) = 0.1084, LR(7) = 5.4970.
        for (exceptions, ratio) in [(0, 5.025_168), (2, 0.108_435), (7, 5.496_990)] {
            let found = kupiec(exceptions, 250, 0.01);
            println!("{exceptions}: {} {}", found.likelihood_ratio, found.p_value);
            assert!((found.likelihood_ratio - ratio).abs() < 1e-4, "{found:?}");
            assert_eq!(found.rejected, found.p_value < 0.05);
        }
        assert!(kupiec(250, 250, 0.01).rejected && !kupiec(0, 0, 0.01).rejected);
    }

    #[test]
    fn exceptions_are_losses_beyond_the_days_before() {
        let mut days = series(520);
        // A crash of six days at the end.
        for (place, day) in days.iter_mut().rev().take(6).enumerate() {
            day.pnl = -1_000.0 - place as f64;
        }
        let found = backtest(&days, VarMethod::Normal).unwrap();
        assert_eq!((found.points.len(), found.observations), (270, 250));
        assert!(found.exceptions >= 5 && found.zone == Zone::Yellow, "{}", found.exceptions);
        assert_eq!(found.points[0].date, days[250].date);
        let first = normal(&days[..250].iter().map(|day| day.pnl).collect::<Vec<_>>(), 0.99).unwrap();
        assert!((found.points[0].value_at_risk - first.value_at_risk).abs() < 1e-12);
    }

    #[test]
    fn a_quiet_history_is_green() {
        let found = backtest(&series(600), VarMethod::Historical).unwrap();
        assert_eq!(found.zone, Zone::Green);
        let short = backtest(&series(300), VarMethod::Historical).unwrap();
        assert_eq!((short.points.len(), short.observations), (50, 50));
    }

    #[test]
    fn too_short_or_broken_series_are_refused() {
        let days = series(251);
        assert_eq!(backtest(&days[..250], VarMethod::Normal), Err(RiskError::TooFewDays { found: 250, needed: 251 }));
        let mut broken = days;
        broken[250].pnl = f64::NAN;
        assert!(matches!(backtest(&broken, VarMethod::Normal), Err(RiskError::NotFinite { .. })));
    }
}
