//! The Gamma-Gamma model of spend per purchase (FH 2013): fit, conditional expectation, population mean.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use statrs::function::gamma::ln_gamma;

use crate::model::error::ModelError;
use crate::model::optim::minimize;
use crate::model::summary::CustomerSummary;

/// Repeat customers with positive spend below which no fit is tried.
pub const MIN_REPEATERS: usize = 10;
/// Range of `ln p` and of `ln(q - 1)`.
const LOG_SHAPE_BOUNDS: (f64, f64) = (-9.0, 9.0);
/// Range of `ln(v / mean spend)`.
const LOG_SCALE_BOUNDS: (f64, f64) = (-16.0, 16.0);
/// Starting points `(p, q)`; `v` follows from the mean spend.
const STARTS: [(f64, f64); 4] = [(6.0, 4.0), (1.0, 2.0), (20.0, 10.0), (2.0, 30.0)];
/// Mean spends closer together than this (relative) are the same.
const SAME_SPEND: f64 = 1e-9;
/// Customers by which the starting points are compared; the fit itself takes all.
const SAMPLE: usize = 2_000;

/// Parameters of the Gamma-Gamma model.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct GammaGammaParams {
    /// Shape of the Gamma distribution of a customer's purchases (no unit).
    pub p: f64,
    /// Shape of the Gamma distribution of the customers' rate parameter (no unit); above 1 in every fit, as the mean
    /// spend of the population is infinite otherwise.
    pub q: f64,
    /// Rate parameter of that distribution, in money (`γ` in FH 2013, `v` elsewhere).
    pub v: f64,
}

/// A maximum likelihood fit of the Gamma-Gamma model.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct GammaGammaFit {
    /// The parameters found.
    #[serde(flatten)]
    pub params: GammaGammaParams,
    /// Log likelihood at these parameters, summed over the repeat customers.
    pub log_likelihood: f64,
    /// Repeat customers with positive spend the fit rests on.
    pub repeaters: usize,
    /// Iterations of the optimiser, all starts together.
    pub iterations: u64,
    /// The optimiser settled.
    pub converged: bool,
    /// A parameter ran against the edge of its range, for example `q` against 1.
    pub at_boundary: bool,
    /// Pearson correlation of frequency and mean spend. The model takes them as independent (FH 2013, section 1); far
    /// from 0 its figures are biased. 0 where either does not vary.
    pub frequency_spend_correlation: f64,
}

impl GammaGammaParams {
    /// `E[M] = p v / (q - 1)`: mean spend per purchase over the population, in money. Infinite for `q <= 1`.
    pub fn population_mean(&self) -> f64 {
        if self.q > 1.0 { self.p * self.v / (self.q - 1.0) } else { f64::INFINITY }
    }

    /// `E[M | mean, x] = p (v + x mean) / (p x + q - 1)`: expected spend per purchase of a customer with `frequency`
    /// repeat purchases of `monetary` on average (FH 2013, equation 5), in money. The population mean for a customer
    /// without a repeat purchase or without positive spend.
    pub fn conditional_expected_spend(&self, frequency: u32, monetary: f64) -> f64 {
        if frequency == 0 || monetary <= 0.0 {
            return self.population_mean();
        }
        let x = f64::from(frequency);
        self.p * (self.v + x * monetary) / (self.p * x + self.q - 1.0)
    }

    /// `ln f(mean | p, q, v; x)` (FH 2013, equation 1a).
    fn log_density(&self, x: f64, mean: f64) -> f64 {
        let Self { p, q, v } = *self;
        let shape = p * x;
        ln_gamma(shape + q) - ln_gamma(shape) - ln_gamma(q) + shape * x.ln() + (shape - 1.0) * mean.ln() + q * v.ln()
            - (shape + q) * (v + x * mean).ln()
    }
}

/// Fits the Gamma-Gamma model by maximum likelihood on the repeat customers with positive mean spend; the others say
/// nothing about it and are left out.
pub fn fit(summaries: &[CustomerSummary]) -> Result<GammaGammaFit, ModelError> {
    let usable = usable_repeaters(summaries)?;
    if usable.len() < MIN_REPEATERS {
        return Err(ModelError::TooFewRepeaters { found: usable.len(), needed: MIN_REPEATERS });
    }
    let customers = usable.len() as f64;
    let mean = usable.iter().map(|(_, spend)| spend).sum::<f64>() / customers;
    if usable.iter().all(|(_, spend)| (spend / mean - 1.0).abs() < SAME_SPEND) {
        return Err(ModelError::NoSpendVariation);
    }
    let log_mean = mean.ln();
    let bounds = [LOG_SHAPE_BOUNDS, LOG_SHAPE_BOUNDS, (log_mean + LOG_SCALE_BOUNDS.0, log_mean + LOG_SCALE_BOUNDS.1)];
    let starts: Vec<Vec<f64>> =
        STARTS.iter().map(|&(p, q)| vec![p.ln(), (q - 1.0).ln(), (mean * (q - 1.0) / p).ln()]).collect();
    let densities = Densities::of(&usable);
    let sample: Vec<(u32, f64)> = usable.iter().step_by(usable.len().div_ceil(SAMPLE)).copied().collect();
    let (sampled, rough_densities) = (sample.len() as f64, Densities::of(&sample));
    let cost = |point: &[f64]| -densities.summed(&from_logs(point)) / customers;
    let rough = |point: &[f64]| -rough_densities.summed(&from_logs(point)) / sampled;
    let found = minimize(&cost, &rough, &starts, &bounds)?;
    Ok(GammaGammaFit {
        params: from_logs(&found.point),
        log_likelihood: -found.cost * customers,
        repeaters: usable.len(),
        iterations: found.iterations,
        converged: found.converged,
        at_boundary: found.at_boundary,
        frequency_spend_correlation: correlation(&usable),
    })
}

/// The sum over the repeat customers with positive mean spend of `ln f(mean | p, q, v; x)` (FH 2013, equation 1a).
pub fn log_likelihood(summaries: &[CustomerSummary], params: &GammaGammaParams) -> Result<f64, ModelError> {
    let usable = usable_repeaters(summaries)?;
    Ok(usable.iter().map(|&(x, spend)| params.log_density(f64::from(x), spend)).sum())
}

/// Frequency and mean spend of the repeat customers with positive spend.
fn usable_repeaters(summaries: &[CustomerSummary]) -> Result<Vec<(u32, f64)>, ModelError> {
    let mut usable = Vec::new();
    for summary in summaries.iter().filter(|summary| summary.frequency > 0) {
        if !summary.monetary.is_finite() {
            return Err(ModelError::NotFinite { what: "mean spend", whose: summary.customer_id.clone() });
        }
        if summary.monetary > 0.0 {
            usable.push((summary.frequency, summary.monetary));
        }
    }
    Ok(usable)
}

/// The repeat customers, so laid out that a sum of log densities takes one logarithm for each and the gamma functions once per
/// frequency.
struct Densities {
    /// Frequency, customers of it, and the sum of the logarithms of their mean spends.
    frequencies: Vec<(f64, f64, f64)>,
    /// Place of the frequency, and frequency times mean spend, of each customer.
    customers: Vec<(usize, f64)>,
}

impl Densities {
    fn of(usable: &[(u32, f64)]) -> Self {
        let mut sums: BTreeMap<u32, (f64, f64)> = BTreeMap::new();
        for (frequency, spend) in usable {
            let (customers, logs) = sums.entry(*frequency).or_default();
            *customers += 1.0;
            *logs += spend.ln();
        }
        let known: Vec<u32> = sums.keys().copied().collect();
        let place = |frequency: u32| known.partition_point(|other| *other < frequency);
        let customers = usable.iter().map(|(x, spend)| (place(*x), f64::from(*x) * spend)).collect();
        let frequencies = sums.into_iter().map(|(x, (customers, logs))| (f64::from(x), customers, logs)).collect();
        Self { frequencies, customers }
    }

    /// The sum of `ln f(mean | p, q, v; x)` (FH 2013, equation 1a).
    fn summed(&self, params: &GammaGammaParams) -> f64 {
        let GammaGammaParams { p, q, v } = *params;
        let of_frequency = |&(x, customers, logs): &(f64, f64, f64)| {
            let shape = p * x;
            let alike = ln_gamma(shape + q) - ln_gamma(shape) - ln_gamma(q) + shape * x.ln() + q * v.ln();
            customers * alike + (shape - 1.0) * logs
        };
        let own = |&(place, total): &(usize, f64)| (p * self.frequencies[place].0 + q) * (v + total).ln();
        self.frequencies.iter().map(of_frequency).sum::<f64>() - self.customers.iter().map(own).sum::<f64>()
    }
}

/// Pearson correlation of frequency and mean spend.
fn correlation(usable: &[(u32, f64)]) -> f64 {
    let n = usable.len() as f64;
    let mean_x = usable.iter().map(|(x, _)| f64::from(*x)).sum::<f64>() / n;
    let mean_spend = usable.iter().map(|(_, spend)| spend).sum::<f64>() / n;
    let (mut cross, mut var_x, mut var_spend) = (0.0, 0.0, 0.0);
    for (x, spend) in usable {
        let (dx, ds) = (f64::from(*x) - mean_x, spend - mean_spend);
        cross += dx * ds;
        var_x += dx * dx;
        var_spend += ds * ds;
    }
    let norm = (var_x * var_spend).sqrt();
    if norm > 0.0 { cross / norm } else { 0.0 }
}

/// The parameters at a point of the search space `(ln p, ln(q - 1), ln v)`.
fn from_logs(point: &[f64]) -> GammaGammaParams {
    GammaGammaParams { p: point[0].exp(), q: 1.0 + point[1].exp(), v: point[2].exp() }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    /// FH 2013, section 4: the CDNOW sample.
    const CDNOW: GammaGammaParams = GammaGammaParams { p: 6.25, q: 3.74, v: 15.44 };

    fn customer(frequency: u32, monetary: f64) -> CustomerSummary {
        CustomerSummary {
            customer_id: "c".into(),
            first_purchase: date(1997, 1, 1),
            last_purchase: date(1997, 2, 1),
            frequency,
            recency: 4.0,
            age: 8.0,
            monetary,
            total_revenue: monetary,
            holdout_frequency: None,
        }
    }

    #[test]
    fn the_fast_sum_is_the_sum_of_the_densities() {
        let usable: Vec<(u32, f64)> = (0..500_u32).map(|n| (n % 23 + 1, 0.5 + f64::from(n * 37 % 211))).collect();
        let densities = Densities::of(&usable);
        for params in
            [CDNOW, GammaGammaParams { p: 0.3, q: 1.001, v: 900.0 }, GammaGammaParams { p: 90.0, q: 70.0, v: 0.1 }]
        {
            let expected: f64 = usable.iter().map(|(x, spend)| params.log_density(f64::from(*x), *spend)).sum();
            let found = densities.summed(&params);
            assert!((found / expected - 1.0).abs() < 1e-9, "{found} instead of {expected}");
        }
    }

    #[test]
    fn expectations_follow_the_formulas() {
        let mean = CDNOW.population_mean();
        assert!((mean - 35.219).abs() < 1e-3, "{mean}");
        let spend = CDNOW.conditional_expected_spend(2, 22.35);
        assert!((spend - 6.25 * (15.44 + 44.7) / 15.24).abs() < 1e-9);
        assert!((CDNOW.conditional_expected_spend(0, 0.0) - mean).abs() < 1e-12);
        // Many purchases outweigh the population.
        assert!((CDNOW.conditional_expected_spend(10_000, 80.0) - 80.0).abs() < 0.1);
    }

    #[test]
    fn density_integrates_to_one() {
        let step = 0.01;
        let mass: f64 = (0..400_000).map(|i| CDNOW.log_density(3.0, (f64::from(i) + 0.5) * step).exp() * step).sum();
        assert!((mass - 1.0).abs() < 1e-5, "{mass}");
    }

    #[test]
    fn degenerate_data_are_refused() {
        let same: Vec<_> = (0..20).map(|_| customer(2, 30.0)).collect();
        assert_eq!(fit(&same), Err(ModelError::NoSpendVariation));
        assert_eq!(fit(&same[..4]), Err(ModelError::TooFewRepeaters { found: 4, needed: MIN_REPEATERS }));
        let free: Vec<_> = (0..20).map(|_| customer(2, 0.0)).collect();
        assert_eq!(fit(&free), Err(ModelError::TooFewRepeaters { found: 0, needed: MIN_REPEATERS }));
        assert!(matches!(fit(&[customer(1, f64::INFINITY)]), Err(ModelError::NotFinite { .. })));
    }
}
