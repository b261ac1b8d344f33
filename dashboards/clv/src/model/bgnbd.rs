//! The BG/NBD model of repeat purchases (FHL 2005): likelihood, maximum likelihood fit, expectations, P(alive).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::error::ModelError;
use crate::model::expectation::Living;
use crate::model::optim::minimize;
use crate::model::special::{ln_add_exp, ln_rising};
use crate::model::summary::CustomerSummary;

/// Customers below which no fit is tried.
pub const MIN_CUSTOMERS: usize = 10;
/// Range of `ln r`, `ln a`, `ln b`: beyond it the population is as good as uniform and the likelihood flat.
const LOG_SHAPE_BOUNDS: (f64, f64) = (-9.0, 9.0);
/// Range of `ln(α / mean age)`; wider upwards, as `α` follows `r`.
const LOG_SCALE_BOUNDS: (f64, f64) = (-12.0, 16.0);
/// Starting points `(r, a, b)`; `α` follows from the data.
const STARTS: [(f64, f64, f64); 5] =
    [(0.25, 0.8, 2.5), (1.0, 1.0, 1.0), (2.0, 0.1, 3.0), (0.5, 3.0, 10.0), (6.0, 0.5, 0.5)];

/// Groups of customers by which the starting points are compared; the fit itself takes all.
const SAMPLE: usize = 2_000;

/// Parameters of the BG/NBD model.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct BgNbdParams {
    /// Shape of the Gamma distribution of purchase rates (no unit).
    pub r: f64,
    /// Rate parameter of that distribution, in weeks: the mean purchase rate is `r / α` per week.
    pub alpha: f64,
    /// First parameter of the Beta distribution of dropout probabilities: the mean is `a / (a + b)` per purchase.
    pub a: f64,
    /// Second parameter of that distribution.
    pub b: f64,
}

/// A maximum likelihood fit of the BG/NBD model.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct BgNbdFit {
    /// The parameters found.
    #[serde(flatten)]
    pub params: BgNbdParams,
    /// Log likelihood at these parameters, summed over the customers.
    pub log_likelihood: f64,
    /// Iterations of the optimiser, all starts together.
    pub iterations: u64,
    /// The optimiser settled; without it the figures are the best found, not the best there is.
    pub converged: bool,
    /// A parameter ran against the edge of its range: the data cannot tell it (for example, nobody drops out).
    pub at_boundary: bool,
}

impl BgNbdParams {
    /// `P(alive | x, t_x, T)`: probability that the customer is still active at `age` (`T`, weeks), given `frequency`
    /// (`x`) and `recency` (`t_x`, weeks). 1 without a repeat purchase, as dropout happens after purchases only.
    pub fn p_alive(&self, frequency: u32, recency: f64, age: f64) -> f64 {
        if frequency == 0 {
            return 1.0;
        }
        let x = f64::from(frequency);
        let log_odds =
            (self.a / (self.b + x - 1.0)).ln() + (self.r + x) * ((age - recency) / (self.alpha + recency)).ln_1p();
        1.0 / (1.0 + log_odds.exp())
    }

    /// `E[X(t)]`: expected repeat purchases of a randomly chosen customer in the first `weeks` weeks (equation 9).
    pub fn expected_purchases(&self, weeks: f64) -> f64 {
        self.expected_purchases_if_alive(0, 0.0, weeks)
    }

    /// `E[Y(t) | x, t_x, T]`: expected purchases in the `weeks` weeks after `age` (equation 10).
    pub fn conditional_expected_purchases(&self, frequency: u32, recency: f64, age: f64, weeks: f64) -> f64 {
        self.p_alive(frequency, recency, age) * self.expected_purchases_if_alive(frequency, age, weeks)
    }

    /// The numerator of equation 10: expected purchases in the next `weeks` weeks of a customer known to be alive.
    /// Depends on `frequency` and `age` (weeks) only.
    pub fn expected_purchases_if_alive(&self, frequency: u32, age: f64, weeks: f64) -> f64 {
        let x = f64::from(frequency);
        Living { shape: self.r + x, scale: self.alpha + age, a: self.a, b: self.b + x }.expected_purchases(weeks)
    }
}

/// Customers with the same `(x, t_x, T)`.
#[derive(Clone, Copy)]
struct Group {
    /// Place of `x` in the table of distinct frequencies.
    frequency: usize,
    /// Places of `t_x` and `T` in the table of distinct times.
    recency: usize,
    age: usize,
    customers: f64,
}

/// Log likelihood of the BG/NBD model for one set of customers; identical customers are computed once.
pub struct Likelihood {
    groups: Vec<Group>,
    frequencies: Vec<u32>,
    /// Distinct times, ascending: days of a calendar, so there are few beside the customers.
    times: Vec<f64>,
    customers: f64,
    total_frequency: f64,
    total_age: f64,
}

impl Likelihood {
    /// Checks the summaries and groups them.
    pub fn new(summaries: &[CustomerSummary]) -> Result<Self, ModelError> {
        let mut grouped: BTreeMap<(u32, u64, u64), u32> = BTreeMap::new();
        for summary in summaries {
            check(summary)?;
            *grouped.entry((summary.frequency, summary.recency.to_bits(), summary.age.to_bits())).or_insert(0) += 1;
        }
        let mut frequencies: Vec<u32> = grouped.keys().map(|key| key.0).collect();
        frequencies.dedup();
        let mut times: Vec<f64> =
            grouped.keys().flat_map(|key| [f64::from_bits(key.1), f64::from_bits(key.2)]).collect();
        times.sort_by(f64::total_cmp);
        times.dedup_by_key(|time| time.to_bits());
        let place = |time: u64| times.partition_point(|known| known.total_cmp(&f64::from_bits(time)).is_lt());
        let groups = grouped
            .into_iter()
            .map(|((x, recency, age), customers)| Group {
                // Keys are sorted by `x`, so the number of smaller frequencies is its place.
                frequency: frequencies.partition_point(|known| *known < x),
                recency: place(recency),
                age: place(age),
                customers: f64::from(customers),
            })
            .collect();
        Ok(Self {
            groups,
            frequencies,
            times,
            customers: summaries.len() as f64,
            total_frequency: summaries.iter().map(|summary| f64::from(summary.frequency)).sum(),
            total_age: summaries.iter().map(|summary| summary.age).sum(),
        })
    }

    /// The sum over the customers of `ln L(r, α, a, b | x, t_x, T) = ln A1 + ln A2 + ln(A3 + δ A4)` (FHL 2005,
    /// appendix), with `A1 = Γ(r+x) α^r / Γ(r)`, `A2 = Γ(a+b) Γ(b+x) / (Γ(b) Γ(a+b+x))`, `A3 = (α+T)^-(r+x)` and
    /// `A4 = a / (b+x-1) (α+t_x)^-(r+x)` for repeat customers.
    pub fn log_likelihood(&self, params: &BgNbdParams) -> f64 {
        let BgNbdParams { r, alpha, a, b } = *params;
        let log_alpha = r * alpha.ln();
        // What depends on x alone: ln A1 + ln A2, -(r + x), and the factor of A4 (none without a repeat purchase).
        let by_frequency: Vec<(f64, f64, Option<f64>)> = self
            .frequencies
            .iter()
            .map(|&frequency| {
                let x = f64::from(frequency);
                let before =
                    ln_rising(r, frequency) + log_alpha + ln_rising(b, frequency) - ln_rising(a + b, frequency);
                (before, -(r + x), (frequency > 0).then(|| (a / (b + x - 1.0)).ln()))
            })
            .collect();
        let by_time: Vec<f64> = self.times.iter().map(|time| (alpha + time).ln()).collect();
        let one = |group: &Group| {
            let (before, exponent, factor) = by_frequency[group.frequency];
            let alive = exponent * by_time[group.age];
            let either = factor.map_or(alive, |factor| ln_add_exp(alive, factor + exponent * by_time[group.recency]));
            group.customers * (before + either)
        };
        self.groups.iter().map(one).sum()
    }

    /// Every so many groups of them, [`SAMPLE`] at most. They are sorted by frequency, recency and age, so a step through them
    /// takes from all kinds.
    fn sample(&self) -> Self {
        let groups: Vec<Group> = self.groups.iter().step_by(self.groups.len().div_ceil(SAMPLE)).copied().collect();
        Self {
            customers: groups.iter().map(|group| group.customers).sum(),
            groups,
            frequencies: self.frequencies.clone(),
            times: self.times.clone(),
            ..*self
        }
    }
}

/// Refuses numbers the likelihood has no value for.
fn check(summary: &CustomerSummary) -> Result<(), ModelError> {
    for (what, value) in [("recency", summary.recency), ("age", summary.age)] {
        if !value.is_finite() {
            return Err(ModelError::NotFinite { what, whose: summary.customer_id.clone() });
        }
    }
    let within = (0.0..=summary.age).contains(&summary.recency);
    if !within || (summary.frequency > 0) != (summary.recency > 0.0) {
        return Err(ModelError::OutOfRange { what: "recency", whose: summary.customer_id.clone() });
    }
    Ok(())
}

/// Fits the BG/NBD model by maximum likelihood (FHL 2005, section 4.2).
pub fn fit(summaries: &[CustomerSummary]) -> Result<BgNbdFit, ModelError> {
    if summaries.len() < MIN_CUSTOMERS {
        return Err(ModelError::TooFewCustomers { found: summaries.len(), needed: MIN_CUSTOMERS });
    }
    let likelihood = Likelihood::new(summaries)?;
    if likelihood.total_frequency <= 0.0 {
        return Err(ModelError::NoRepeaters);
    }
    // A repeat purchase needs a positive age, so both means are positive. Working relative to them makes the search
    // independent of how long and how often the customers of a shop buy.
    let mean_age = likelihood.total_age / likelihood.customers;
    let mean_rate = likelihood.total_frequency / likelihood.total_age;
    let log_age = mean_age.ln();
    let bounds = [
        LOG_SHAPE_BOUNDS,
        (log_age + LOG_SCALE_BOUNDS.0, log_age + LOG_SCALE_BOUNDS.1),
        LOG_SHAPE_BOUNDS,
        LOG_SHAPE_BOUNDS,
    ];
    let starts: Vec<Vec<f64>> = STARTS
        .iter()
        // Dropout makes the observed rate smaller than r / α.
        .map(|&(r, a, b)| vec![r.ln(), (r / (2.0 * mean_rate)).ln(), a.ln(), b.ln()])
        .collect();
    let sample = likelihood.sample();
    let cost = |point: &[f64]| -likelihood.log_likelihood(&from_logs(point)) / likelihood.customers;
    let rough = |point: &[f64]| -sample.log_likelihood(&from_logs(point)) / sample.customers;
    let found = minimize(&cost, &rough, &starts, &bounds)?;
    Ok(BgNbdFit {
        params: from_logs(&found.point),
        log_likelihood: -found.cost * likelihood.customers,
        iterations: found.iterations,
        converged: found.converged,
        at_boundary: found.at_boundary,
    })
}

/// The parameters at a point of the search space `(ln r, ln α, ln a, ln b)`.
fn from_logs(point: &[f64]) -> BgNbdParams {
    BgNbdParams { r: point[0].exp(), alpha: point[1].exp(), a: point[2].exp(), b: point[3].exp() }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    /// FHL 2005, table 2: the CDNOW sample.
    const CDNOW: BgNbdParams = BgNbdParams { r: 0.243, alpha: 4.414, a: 0.793, b: 2.426 };

    fn customer(frequency: u32, recency: f64, age: f64) -> CustomerSummary {
        CustomerSummary {
            customer_id: format!("{frequency}/{recency}/{age}"),
            first_purchase: date(1997, 1, 1),
            last_purchase: date(1997, 1, 1),
            frequency,
            recency,
            age,
            monetary: 0.0,
            total_revenue: 0.0,
            holdout_frequency: None,
        }
    }

    #[test]
    fn published_expectations_are_met() {
        let found = CDNOW.conditional_expected_purchases(2, 30.43, 38.86, 39.0);
        assert!((found - 1.226).abs() < 5e-4, "{found}");
        let found = CDNOW.p_alive(2, 30.43, 38.86);
        assert!((found - 0.7266).abs() < 5e-4, "{found}");
        let found = CDNOW.expected_purchases(39.0);
        // 1.195 with all digits of the fit; the rounded parameters of the table give 1.1967.
        assert!((found - 1.195).abs() < 2e-3, "{found}");
    }

    #[test]
    fn never_buying_again_means_alive() {
        assert!((CDNOW.p_alive(0, 0.0, 38.86) - 1.0).abs() < f64::EPSILON);
        assert!(CDNOW.p_alive(300, 10.0, 500.0) < 1e-12);
    }

    #[test]
    fn likelihood_of_single_customers_is_the_formula() {
        // x = 0: (α / (α+T))^r
        let none = Likelihood::new(&[customer(0, 0.0, 38.86)]).unwrap().log_likelihood(&CDNOW);
        assert!((none - 0.243 * (4.414_f64 / 43.274).ln()).abs() < 1e-12);
        // x = 1: r α^r (b/(a+b)) ((α+T)^-(r+1) + a/b (α+tx)^-(r+1))
        let one = Likelihood::new(&[customer(1, 10.0, 30.0)]).unwrap().log_likelihood(&CDNOW);
        let rest = 34.414_f64.powf(-1.243) + 0.793 / 2.426 * 14.414_f64.powf(-1.243);
        let expected = (0.243 * 4.414_f64.powf(0.243) * 2.426 / 3.219 * rest).ln();
        assert!((one - expected).abs() < 1e-12);
    }

    #[test]
    fn degenerate_data_are_refused() {
        let none: Vec<_> = (0..20).map(|_| customer(0, 0.0, 30.0)).collect();
        assert_eq!(fit(&none[..3]), Err(ModelError::TooFewCustomers { found: 3, needed: MIN_CUSTOMERS }));
        assert_eq!(fit(&none), Err(ModelError::NoRepeaters));
        let with = |bad: CustomerSummary| {
            let mut all = none.clone();
            all.push(bad);
            fit(&all)
        };
        assert!(matches!(with(customer(1, f64::NAN, 3.0)), Err(ModelError::NotFinite { .. })));
        assert!(matches!(with(customer(1, 4.0, 3.0)), Err(ModelError::OutOfRange { .. })));
        assert!(matches!(with(customer(1, 0.0, 3.0)), Err(ModelError::OutOfRange { .. })));
        assert!(matches!(with(customer(0, 1.0, 3.0)), Err(ModelError::OutOfRange { .. })));
    }

    #[test]
    fn uniform_customers_give_finite_figures() {
        // Everybody buys like clockwork: no heterogeneity, no dropout.
        let all: Vec<_> = (0..50).map(|_| customer(10, 29.0, 30.0)).collect();
        let found = fit(&all).unwrap();
        assert!(found.at_boundary && found.log_likelihood.is_finite());
        let next = found.params.conditional_expected_purchases(10, 29.0, 30.0, 30.0);
        assert!((next - 10.0).abs() < 1.0, "{next}");
    }
}
