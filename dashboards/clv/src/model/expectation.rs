//! The one expectation behind both expected-purchase formulas of the BG/NBD model (FHL 2005, equations 9 and 10).

use crate::model::special::hyp2f1;

/// Closer than this to 1, `a` makes the closed form a quotient of two vanishing numbers.
const SINGULAR_MARGIN: f64 = 1e-3;
/// Range of the hypergeometric parameters within which the series loses no digits that matter.
const CLOSED_FORM_PARAMETERS: std::ops::RangeInclusive<f64> = -5.0..=40.0;
/// Step of the trapezoidal rule in the doubly exponential variable.
const STEP: f64 = 1.0 / 16.0;
const MAX_NODES: u32 = 400;
/// Nodes on each side after which the tail may be cut.
const MIN_NODES: u32 = 16;
const NEGLIGIBLE_WEIGHT: f64 = 1e-18;

/// Gamma distribution of the purchase rate and Beta distribution of the dropout probability of a living customer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Living {
    /// Shape of the rate: `r + x`.
    pub(crate) shape: f64,
    /// Rate parameter of the rate, weeks: `α + T`.
    pub(crate) scale: f64,
    /// First Beta parameter: `a`.
    pub(crate) a: f64,
    /// Second Beta parameter: `b + x`.
    pub(crate) b: f64,
}

impl Living {
    /// Expected purchases in the next `weeks` weeks: `E[(1 - (β / (β + p t))^s) / p]` with `p ~ Beta(a, b)`.
    ///
    /// In closed form `c / (a-1) (1 - (β/(β+t))^s 2F1(s, b; c; t/(β+t)))`, `c = a + b - 1`. That form is 0/0 at
    /// `a = 1` and `c = 0` and cancels for extreme parameters; there the expectation is integrated numerically.
    pub(crate) fn expected_purchases(&self, weeks: f64) -> f64 {
        if weeks <= 0.0 {
            return 0.0;
        }
        let c = self.a + self.b - 1.0;
        let closed = (self.a - 1.0).abs() > SINGULAR_MARGIN
            && c > SINGULAR_MARGIN
            && CLOSED_FORM_PARAMETERS.contains(&self.a)
            && CLOSED_FORM_PARAMETERS.contains(&(c - self.shape));
        if closed { self.closed_form(weeks) } else { self.integral(weeks) }
    }

    /// FHL 2005, equation 9. Where the series would diverge at 1 (`s + b > c`), Euler's transformation is applied by
    /// hand: its factor and `(β/(β+t))^s` combine to `(β/(β+t))^(a-1)`, so that nothing overflows for large `s`.
    fn closed_form(&self, weeks: f64) -> f64 {
        let c = self.a + self.b - 1.0;
        let z = weeks / (self.scale + weeks);
        // ln(1 - z)
        let log_rest = -(weeks / self.scale).ln_1p();
        let epsilon = self.a - 1.0;
        let product = if epsilon < self.shape {
            (epsilon * log_rest).exp() * hyp2f1(c - self.shape, epsilon, c, z)
        } else {
            (self.shape * log_rest).exp() * hyp2f1(self.shape, self.b, c, z)
        };
        c / epsilon * (1.0 - product)
    }

    /// The expectation over `p` by the trapezoidal rule in `u`, `logit p = logit(a/(a+b)) + w sinh u`. Every term is
    /// positive, so no digits are lost, whatever the parameters.
    fn integral(&self, weeks: f64) -> f64 {
        let center = (self.a / self.b).ln();
        let width = (1.0 / self.a + 1.0 / self.b).sqrt().min(2.0);
        let log_weight = |logit: f64| -self.a * softplus(-logit) - self.b * softplus(logit);
        let peak = log_weight(center);
        let (mut mass, mut sum) = (0.0, 0.0);
        for direction in [-1.0, 1.0] {
            let first = u32::from(direction > 0.0);
            for node in first..MAX_NODES {
                let u = direction * f64::from(node) * STEP;
                let logit = center + width * u.sinh();
                let weight = (log_weight(logit) - peak).exp() * u.cosh();
                mass += weight;
                sum += weight * self.purchases_given_dropout((-softplus(-logit)).exp(), weeks);
                if weight < NEGLIGIBLE_WEIGHT * mass && node > MIN_NODES {
                    break;
                }
            }
        }
        sum / mass
    }

    /// `(1 - (β / (β + p t))^s) / p`, its limit `s t / β` for `p` near 0.
    fn purchases_given_dropout(&self, p: f64, weeks: f64) -> f64 {
        let ratio = weeks / self.scale;
        if p < f64::MIN_POSITIVE / f64::EPSILON {
            return self.shape * ratio;
        }
        -(-self.shape * (p * ratio).ln_1p()).exp_m1() / p
    }
}

/// `ln(1 + e^y)` without overflow.
fn softplus(y: f64) -> f64 {
    y.max(0.0) + (-y.abs()).exp().ln_1p()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agree(living: Living, weeks: f64) {
        let (closed, integral) = (living.closed_form(weeks), living.integral(weeks));
        assert!((closed / integral - 1.0).abs() < 1e-9, "{living:?} {weeks}: {closed} against {integral}");
    }

    #[test]
    fn closed_form_and_integral_agree() {
        for (shape, scale) in [(0.243, 4.414), (2.243, 43.27), (4.0, 20.0), (60.0, 80.0), (300.0, 52.0)] {
            for (a, b) in [(0.793, 2.426), (0.1, 3.0), (1.5, 1.0), (3.0, 8.0), (12.0, 20.0)] {
                for weeks in [0.5, 39.0, 520.0, 5_000.0] {
                    let b = if shape > 20.0 { b + shape } else { b };
                    agree(Living { shape, scale, a, b }, weeks);
                }
            }
        }
    }

    #[test]
    fn is_smooth_across_the_singular_parameters() {
        let at = |a: f64, b: f64| Living { shape: 0.4, scale: 5.0, a, b }.expected_purchases(26.0);
        for (a, b) in [(1.0, 2.0), (0.4, 0.6), (0.2, 0.3)] {
            let (low, middle, high) = (at(a - 2e-3, b), at(a, b), at(a + 2e-3, b));
            assert!((low - high).abs() < 0.02 && (f64::midpoint(low, high) - middle).abs() < 1e-4, "{a} {b}");
        }
    }

    #[test]
    fn extreme_parameters_reach_their_limits() {
        // Nobody ever drops out, everybody buys at the same rate: a Poisson process of rate 0.1.
        let poisson = Living { shape: 5_000.0, scale: 50_000.0, a: 1e-4, b: 8_000.0 };
        assert!((poisson.expected_purchases(10.0) - 1.0).abs() < 1e-3);
        // Dropout probability 1/4 for everybody, very long horizon: four purchases on average.
        let certain = Living { shape: 500.0, scale: 50.0, a: 2_000.0, b: 6_000.0 };
        assert!((certain.expected_purchases(1e6) - 4.0).abs() < 0.01);
    }
}
