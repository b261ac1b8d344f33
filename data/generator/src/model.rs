//! The BG/NBD model: how often a customer buys, and when a customer leaves.

use std::io;

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Beta, Distribution as _, Exp1, Gamma};

use crate::random::invalid;

/// Parameters of a BG/NBD process. Time is in weeks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BgNbd {
    /// Shape of the gamma distribution of purchase rates.
    pub r: f64,
    /// Rate of the gamma distribution of purchase rates.
    pub alpha: f64,
    /// First parameter of the beta distribution of dropout chances.
    pub a: f64,
    /// Second parameter of the beta distribution of dropout chances.
    pub b: f64,
}

impl BgNbd {
    /// Parameters like those of the CDNOW customers in the literature.
    pub const CDNOW: Self = Self { r: 0.243, alpha: 4.41, a: 0.79, b: 2.43 };

    /// Draws the repeat purchases of one customer: times in weeks after the first purchase, below `weeks`.
    ///
    /// # Errors
    /// When a parameter is not positive.
    pub fn repeats(&self, rng: &mut ChaCha8Rng, weeks: f64) -> io::Result<Vec<f64>> {
        let rate = Gamma::new(self.r, self.alpha.recip()).map_err(invalid)?.sample(rng);
        let dropout = Beta::new(self.a, self.b).map_err(invalid)?.sample(rng);
        let mut times = Vec::new();
        let mut now = 0.0;
        loop {
            let wait: f64 = Exp1.sample(rng);
            // A rate of zero makes the wait endless, which ends the loop.
            now += wait / rate;
            if now.is_nan() || now >= weeks {
                return Ok(times);
            }
            times.push(now);
            if rng.random::<f64>() < dropout {
                return Ok(times);
            }
        }
    }

    /// Expected number of repeat purchases in `weeks` after the first purchase (closed form; `a` must not be 1).
    #[must_use]
    pub fn expected_repeats(&self, weeks: f64) -> f64 {
        let Self { r, alpha, a, b } = *self;
        let share = weeks / (alpha + weeks);
        let alive = (alpha / (alpha + weeks)).powf(r) * hypergeometric(r, b, a + b - 1.0, share);
        (a + b - 1.0) / (a - 1.0) * (1.0 - alive)
    }
}

/// Gauss's hypergeometric function by its series, for `z` from 0 to below 1.
fn hypergeometric(a: f64, b: f64, c: f64, z: f64) -> f64 {
    let (mut term, mut sum, mut step) = (1.0, 1.0, 0.0);
    while step < 20_000.0 && f64::abs(term) > 1e-15 * f64::abs(sum) {
        term *= (a + step) * (b + step) / ((c + step) * (step + 1.0)) * z;
        sum += term;
        step += 1.0;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::stream;

    #[test]
    fn hypergeometric_has_known_values() {
        // 2F1(1, 1; 2; z) = -ln(1 - z) / z.
        assert!((hypergeometric(1.0, 1.0, 2.0, 0.5) - 2.0 * 2_f64.ln()).abs() < 1e-12);
        assert!((hypergeometric(0.3, 2.0, 2.0, 0.9) - 0.1_f64.powf(-0.3)).abs() < 1e-9);
    }

    #[test]
    fn the_simulation_agrees_with_the_closed_form() {
        let (model, customers) = (BgNbd::CDNOW, 200_000_u32);
        let mut total = 0_u32;
        for customer in 0..customers {
            let repeats = model.repeats(&mut stream(7, u64::from(customer)), 39.0).expect("valid parameters");
            total += u32::try_from(repeats.len()).expect("a small count");
        }
        let (seen, expected) = (f64::from(total) / f64::from(customers), model.expected_repeats(39.0));
        assert!((seen / expected - 1.0).abs() < 0.01, "{seen} against {expected}");
    }
}
