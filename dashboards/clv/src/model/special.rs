//! Special functions the closed forms need: Gauss' hypergeometric function and the log of rising factorials.

use statrs::function::gamma::ln_gamma;

/// Terms after which a power series is given up. Up to `SERIES_REACH` some four hundred terms reach double precision,
/// in a Taylor step some fifty, more only where the parameters are large.
const MAX_TERMS: u32 = 20_000;
/// Argument up to which the power series around 0 is summed.
const SERIES_REACH: f64 = 0.9;
/// From this value of `c - a - b` on the terms fall off as fast as `n^-7` even at 1, so the series does throughout.
const FAST_DECAY: f64 = 6.0;
/// Up to this length a rising factorial is summed factor by factor, which loses no digits to cancellation.
const DIRECT_FACTORS: u32 = 32;

/// `ln(z (z+1) ... (z+n-1)) = ln Γ(z+n) - ln Γ(z)` for `z > 0`.
pub fn ln_rising(z: f64, n: u32) -> f64 {
    if n <= DIRECT_FACTORS {
        (0..n).map(|i| (z + f64::from(i)).ln()).sum()
    } else {
        ln_gamma(z + f64::from(n)) - ln_gamma(z)
    }
}

/// `ln(e^a + e^b)` without overflow, to 10⁻¹⁶ absolutely. What is added is at most `ln 2`, so `ln_1p`'s digits of a vanishing rest
/// would be lost in the sum; it takes three times as long.
pub fn ln_add_exp(a: f64, b: f64) -> f64 {
    let (high, low) = if a > b { (a, b) } else { (b, a) };
    if low == f64::NEG_INFINITY { high } else { high + (1.0 + (low - high).exp()).ln() }
}

/// Gauss' hypergeometric function `2F1(a, b; c; z)` for `z` in `[0, 1)`; `NaN` outside that range or where `c` is zero
/// or a negative integer.
///
/// Where `c - a - b < 0`, Euler's transformation (Abramowitz, Stegun 15.3.3) takes the pole at `z = 1` out. Up to
/// `z = 0.9`, and throughout where the terms fall off quickly, the power series is summed. Beyond, the solution of the
/// hypergeometric differential equation is carried on by Taylor series, each covering half of the distance left to the
/// singularity: the number of terms grows with `ln(1 / (1 - z))` only and, unlike with the connection formula 15.3.6,
/// nothing degenerates where `c - a - b` is an integer.
///
/// Meant for `a` and `b` from about -5 to about 50; beyond, the series loses digits to cancellation.
pub fn hyp2f1(a: f64, b: f64, c: f64, z: f64) -> f64 {
    let pole = c <= 0.0 && c.fract() == 0.0;
    if !(0.0..1.0).contains(&z) || pole {
        return f64::NAN;
    }
    if c - a - b < 0.0 { (1.0 - z).powf(c - a - b) * continued(c - a, c - b, c, z) } else { continued(a, b, c, z) }
}

/// The power series around 0 as far as it serves, Taylor steps from there. Expects `c - a - b >= 0`.
fn continued(a: f64, b: f64, c: f64, z: f64) -> f64 {
    if z <= SERIES_REACH || c - a - b >= FAST_DECAY {
        return power_series(a, b, c, z);
    }
    let mut center = SERIES_REACH;
    let mut value = power_series(a, b, c, center);
    let mut slope = a * b / c * power_series(a + 1.0, b + 1.0, c + 1.0, center);
    while center < z {
        // The step is taken from the rounded next center: close to 1 the rounding would count.
        let next = z.min(center + 0.5 * (1.0 - center));
        (value, slope) = taylor_step([a, b, c], center, next - center, value, slope);
        center = next;
    }
    value
}

/// `sum (a)_n (b)_n / ((c)_n n!) z^n`.
fn power_series(a: f64, b: f64, c: f64, z: f64) -> f64 {
    let mut term = 1.0;
    let mut sum = 1.0;
    for index in 0..MAX_TERMS {
        let index = f64::from(index);
        term *= (a + index) * (b + index) / ((c + index) * (index + 1.0)) * z;
        sum += term;
        if is_negligible(term, sum) && index > a.abs().max(b.abs()) {
            break;
        }
    }
    sum
}

/// One step of the equation `z(1-z) f'' + (c - (a+b+1) z) f' - ab f = 0` from `center` to `center + step`; gives value
/// and slope there. With `f = sum g_n h^n` around `center` and `s = step` the scaled coefficients `g_n s^n` follow
/// `z(1-z)(n+2)(n+1) g_{n+2} = -(n+1)((1-2z) n + c - (a+b+1) z) g_{n+1} + (n+a)(n+b) g_n`.
fn taylor_step([a, b, c]: [f64; 3], center: f64, step: f64, value: f64, slope: f64) -> (f64, f64) {
    let curvature = center * (1.0 - center);
    let (mut earlier, mut current) = (value, slope * step);
    let mut new_value = earlier + current;
    // Sum of n g_n s^n, which is the slope times the step.
    let mut new_slope = current;
    for n in 0..MAX_TERMS {
        let n = f64::from(n);
        let first = (n + 1.0) * ((1.0 - 2.0 * center) * n + c - (a + b + 1.0) * center) * current * step;
        let second = (n + a) * (n + b) * earlier * step * step;
        let next = (second - first) / (curvature * (n + 1.0) * (n + 2.0));
        new_value += next;
        new_slope += (n + 2.0) * next;
        (earlier, current) = (current, next);
        let settled = is_negligible(earlier, new_value) && is_negligible((n + 2.0) * next, new_slope);
        if settled && n > a.abs().max(b.abs()) {
            break;
        }
    }
    (new_value, new_slope / step)
}

fn is_negligible(term: f64, sum: f64) -> bool {
    term.abs() <= 0.25 * f64::EPSILON * sum.abs()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: f64, expected: f64, relative: f64) {
        assert!((found / expected - 1.0).abs() < relative, "{found} instead of {expected}");
    }

    #[test]
    fn hyp2f1_matches_elementary_functions() {
        for z in [1e-9, 0.1, 0.5, 0.75, 0.9, 0.99, 0.999_9, 1.0 - 1e-9] {
            // 2F1(1,1;2;z) = -ln(1-z)/z
            close(hyp2f1(1.0, 1.0, 2.0, z), -(-z).ln_1p() / z, 1e-11);
            // 2F1(a,b;b;z) = (1-z)^-a
            close(hyp2f1(0.7, 2.3, 2.3, z), (1.0 - z).powf(-0.7), 1e-11);
            // 2F1(1/2,1/2;3/2;z²) = asin(z)/z
            close(hyp2f1(0.5, 0.5, 1.5, z * z), z.asin() / z, 1e-11);
            // 2F1(-2,b;c;z) is a polynomial
            let polynomial = 1.0 - 2.0 * 3.0 / 4.0 * z + 3.0 * 4.0 / (4.0 * 5.0) * z * z;
            close(hyp2f1(-2.0, 3.0, 4.0, z), polynomial, 1e-11);
        }
        close(hyp2f1(0.3, 0.4, 5.0, 0.0), 1.0, 1e-15);
        // Gauss' sum at 1: Γ(c) Γ(c-a-b) / (Γ(c-a) Γ(c-b))
        for (a, b, c) in [(2.2, -0.2, 62.2), (1.5, 0.5, 7.5), (20.0, 15.0, 40.0)] {
            let sum = (ln_gamma(c) + ln_gamma(c - a - b) - ln_gamma(c - a) - ln_gamma(c - b)).exp();
            close(hyp2f1(a, b, c, 1.0 - 1e-15), sum, 1e-9);
        }
    }

    #[test]
    fn hyp2f1_refuses_what_it_cannot_give() {
        assert!(hyp2f1(1.0, 1.0, 2.0, 1.0).is_nan());
        assert!(hyp2f1(1.0, 1.0, -2.0, 0.5).is_nan());
    }

    #[test]
    fn logs_agree_with_their_definitions() {
        close(ln_rising(0.243, 3), (0.243_f64 * 1.243 * 2.243).ln(), 1e-14);
        close(ln_rising(2.5, 40), ln_gamma(42.5) - ln_gamma(2.5), 1e-14);
        close(ln_add_exp(-1000.0, -1000.0), -1000.0 + 2.0_f64.ln(), 1e-15);
        close(ln_add_exp(f64::NEG_INFINITY, -3.0), -3.0, 1e-15);
    }
}
