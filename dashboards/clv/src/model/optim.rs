//! Maximum likelihood by Nelder-Mead over transformed parameters, with several starts and restarts.

use argmin::core::{CostFunction, Executor, State, TerminationReason};
use argmin::solver::neldermead::NelderMead;

use crate::model::error::ModelError;

/// Spread of the costs in the simplex (per observation) below which a run counts as converged.
const TOLERANCE: f64 = 1e-11;
/// The same while the starts are only compared.
const COARSE_TOLERANCE: f64 = 1e-4;
const COARSE_ITERATIONS: u64 = 150;
const ITERATIONS: u64 = 1_000;
/// A fresh simplex is put around the best point until it gains less than `RESTART_GAIN`.
const MAX_RESTARTS: u32 = 12;
const RESTART_GAIN: f64 = 1e-10;
/// Edge of the fresh simplex, in log units.
const SIMPLEX_EDGE: f64 = 0.4;
/// A point closer than this to a bound is reported as lying on it.
const BOUND_MARGIN: f64 = 1e-2;
/// Weight of the squared distance outside the bounds.
const PENALTY: f64 = 10.0;

/// The best point found.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Minimum {
    /// Position, within the bounds.
    pub(crate) point: Vec<f64>,
    /// Cost there.
    pub(crate) cost: f64,
    /// Nelder-Mead iterations of all runs together.
    pub(crate) iterations: u64,
    /// The last run converged and a fresh simplex found nothing better.
    pub(crate) converged: bool,
    /// At least one coordinate lies on a bound.
    pub(crate) at_boundary: bool,
}

/// Cost function with box bounds: outside it is the cost of the nearest point inside plus a penalty.
struct Bounded<'a, F> {
    cost: &'a F,
    bounds: &'a [(f64, f64)],
}

impl<F: Fn(&[f64]) -> f64> CostFunction for Bounded<'_, F> {
    type Param = Vec<f64>;
    type Output = f64;

    fn cost(&self, param: &Self::Param) -> Result<f64, argmin::core::Error> {
        let inside = clamped(param, self.bounds);
        let outside: f64 = param.iter().zip(&inside).map(|(raw, kept)| (raw - kept).powi(2)).sum();
        let cost = (self.cost)(&inside) + PENALTY * outside;
        // Nelder-Mead only compares; a number that compares with nothing would stall it.
        Ok(if cost.is_finite() { cost } else { f64::MAX.sqrt() })
    }
}

fn clamped(point: &[f64], bounds: &[(f64, f64)]) -> Vec<f64> {
    point.iter().zip(bounds).map(|(value, (low, high))| value.clamp(*low, *high)).collect()
}

/// One run of Nelder-Mead around `start`.
struct Run {
    point: Vec<f64>,
    cost: f64,
    iterations: u64,
    converged: bool,
}

fn run<F: Fn(&[f64]) -> f64>(
    problem: Bounded<'_, F>,
    start: &[f64],
    edge: f64,
    tolerance: f64,
    max_iterations: u64,
) -> Result<Run, ModelError> {
    let failed = |reason: argmin::core::Error| ModelError::Optimizer { reason: reason.to_string() };
    let mut simplex = vec![start.to_vec()];
    for index in 0..start.len() {
        let mut corner = start.to_vec();
        corner[index] += edge;
        simplex.push(corner);
    }
    let solver = NelderMead::new(simplex).with_sd_tolerance(tolerance).map_err(failed)?;
    let result = Executor::new(problem, solver)
        .configure(|state| state.max_iters(max_iterations))
        .ctrlc(false)
        .run()
        .map_err(failed)?;
    let state = result.state();
    let point = state
        .get_best_param()
        .cloned()
        .ok_or_else(|| ModelError::Optimizer { reason: "no point with a finite likelihood".into() })?;
    Ok(Run {
        point,
        cost: state.get_best_cost(),
        iterations: state.get_iter(),
        converged: state.get_termination_reason() == Some(&TerminationReason::SolverConverged),
    })
}

/// Minimises `cost` (mean negative log likelihood) within `bounds`: every start is followed a little way, the best is
/// refined with fresh simplices until they gain nothing. Fresh simplices get Nelder-Mead out of the flat, collapsed
/// simplices it can mistake for a minimum.
///
/// The starts are compared by `rough`, which costs less and need only have its minimum nearby.
pub(crate) fn minimize<F: Fn(&[f64]) -> f64, R: Fn(&[f64]) -> f64>(
    cost: &F,
    rough: &R,
    starts: &[Vec<f64>],
    bounds: &[(f64, f64)],
) -> Result<Minimum, ModelError> {
    let problem = || Bounded { cost, bounds };
    let mut iterations = 0;
    let mut best: Option<Run> = None;
    for start in starts {
        let rough = Bounded { cost: rough, bounds };
        let found = run(rough, &clamped(start, bounds), SIMPLEX_EDGE, COARSE_TOLERANCE, COARSE_ITERATIONS)?;
        iterations += found.iterations;
        if best.as_ref().is_none_or(|known| found.cost < known.cost) {
            best = Some(found);
        }
    }
    let mut best = best.ok_or_else(|| ModelError::Optimizer { reason: "no starting point".into() })?;
    // The rough cost there is none of the cost's.
    best.cost = f64::INFINITY;
    let mut converged = false;
    let mut edge = SIMPLEX_EDGE;
    for _ in 0..MAX_RESTARTS {
        let found = run(problem(), &clamped(&best.point, bounds), edge, TOLERANCE, ITERATIONS)?;
        iterations += found.iterations;
        let gain = best.cost - found.cost;
        let settled = found.converged && gain < RESTART_GAIN;
        if gain > 0.0 {
            best = found;
        }
        if settled {
            converged = true;
            break;
        }
        // The next simplex opens to the other side, with another size.
        edge *= -0.7;
    }
    let point = clamped(&best.point, bounds);
    let value = cost(&point);
    if !value.is_finite() {
        return Err(ModelError::Optimizer { reason: "the likelihood is not finite anywhere tried".into() });
    }
    let at_boundary =
        point.iter().zip(bounds).any(|(value, (low, high))| value - low < BOUND_MARGIN || high - value < BOUND_MARGIN);
    Ok(Minimum { point, cost: value, iterations, converged, at_boundary })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rosenbrock(point: &[f64]) -> f64 {
        (1.0 - point[0]).powi(2) + 100.0 * (point[1] - point[0].powi(2)).powi(2)
    }

    #[test]
    fn finds_the_minimum_of_a_curved_valley() {
        let found = minimize(&rosenbrock, &rosenbrock, &[vec![-1.2, 1.0], vec![3.0, -3.0]], &[(-5.0, 5.0); 2]).unwrap();
        assert!(found.converged && !found.at_boundary);
        assert!((found.point[0] - 1.0).abs() < 1e-4 && (found.point[1] - 1.0).abs() < 1e-4);
    }

    #[test]
    fn a_rough_cost_chooses_the_start_and_has_no_say_in_the_end() {
        let (starts, bounds) = ([vec![-1.2, 1.0], vec![3.0, -3.0]], [(-5.0, 5.0); 2]);
        let elsewhere = |point: &[f64]| (point[0] - 2.0).powi(2) + (point[1] + 1.0).powi(2);
        let exact = minimize(&rosenbrock, &rosenbrock, &starts, &bounds).unwrap();
        let found = minimize(&rosenbrock, &elsewhere, &starts, &bounds).unwrap();
        assert!(found.converged && (found.cost - exact.cost).abs() < 1e-9, "{found:?}");
    }

    #[test]
    fn says_when_the_minimum_lies_on_a_bound() {
        let found = minimize(&rosenbrock, &rosenbrock, &[vec![0.0, 0.0]], &[(-5.0, 0.5), (-5.0, 5.0)]).unwrap();
        assert!(found.at_boundary);
        assert!((found.point[0] - 0.5).abs() < 1e-3);
    }

    #[test]
    fn refuses_a_function_without_finite_values() {
        let nowhere = |_: &[f64]| f64::NAN;
        assert!(matches!(
            minimize(&nowhere, &nowhere, &[vec![0.0]], &[(-1.0, 1.0)]),
            Err(ModelError::Optimizer { .. })
        ));
    }
}
