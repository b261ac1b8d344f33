//! Capital for corporate exposures by the internal ratings based approach (Basel II, June 2006, paragraph 272),
//! without the scaling factor of 1.06.

use statrs::distribution::{ContinuousCDF, Normal};

use crate::model::error::RiskError;

/// Lowest probability of default the formula takes (paragraph 285): 0.03 %.
pub const PD_FLOOR: f64 = 0.000_3;
/// Range of the effective maturity, years (paragraph 320).
pub const MATURITY_RANGE: (f64, f64) = (1.0, 5.0);
/// Capital ratio of 8 % turned around: risk-weighted assets per unit of capital.
pub const ASSETS_PER_CAPITAL: f64 = 12.5;
/// Confidence level of the systematic factor.
const CONFIDENCE: f64 = 0.999;
/// Asset correlation of the best and of the worst debtors.
const CORRELATION_LOW: f64 = 0.12;
const CORRELATION_HIGH: f64 = 0.24;
const CORRELATION_DECAY: f64 = 50.0;
/// Maturity the formula is centred on, years.
const STANDARD_MATURITY: f64 = 2.5;

/// Asset correlation `R`: 0.24 for the best debtors falling to 0.12 for the worst. `pd` is a fraction.
pub fn correlation(pd: f64) -> f64 {
    let weight = (-CORRELATION_DECAY * pd).exp_m1() / (-CORRELATION_DECAY).exp_m1();
    CORRELATION_LOW * weight + CORRELATION_HIGH * (1.0 - weight)
}

/// Maturity adjustment `b = (0.11852 - 0.05478 ln PD)²`. `pd` is a fraction above 0.
pub fn maturity_adjustment(pd: f64) -> f64 {
    (0.118_52 - 0.054_78 * pd.ln()).powi(2)
}

/// Capital requirement `K` per unit of exposure at default:
/// `(LGD N((G(PD) + √R G(0.999)) / √(1-R)) - PD LGD) (1 + (M - 2.5) b) / (1 - 1.5 b)`.
///
/// `pd` and `lgd` are fractions from 0 to 1, `maturity` is in years. `pd` counts as at least `PD_FLOOR`, `maturity` as
/// within `MATURITY_RANGE`. For a debtor in default (`pd` = 1) the unexpected loss of the formula is 0: the loss is an
/// expected one.
pub fn capital_requirement(pd: f64, lgd: f64, maturity: f64) -> Result<f64, RiskError> {
    const WHOSE: &str = "the exposure";
    RiskError::check("probability of default", WHOSE, pd, 0.0..=1.0)?;
    RiskError::check("loss given default", WHOSE, lgd, 0.0..=1.0)?;
    RiskError::check("maturity", WHOSE, maturity, 0.0..=f64::MAX)?;
    if pd >= 1.0 {
        return Ok(0.0);
    }
    let pd = pd.max(PD_FLOOR);
    let maturity = maturity.clamp(MATURITY_RANGE.0, MATURITY_RANGE.1);
    let normal = Normal::standard();
    let correlation = correlation(pd);
    let systematic = correlation.sqrt() * normal.inverse_cdf(CONFIDENCE);
    let stressed = normal.cdf((normal.inverse_cdf(pd) + systematic) / (1.0 - correlation).sqrt());
    let adjustment = maturity_adjustment(pd);
    let factor = (1.0 + (maturity - STANDARD_MATURITY) * adjustment) / (1.0 - 1.5 * adjustment);
    // For debtors all but certain to default the difference can end a rounding error below 0.
    Ok((lgd * (stressed - pd) * factor).max(0.0))
}

/// Risk weight, a fraction of the exposure at default: `12.5 K`.
pub fn risk_weight(pd: f64, lgd: f64, maturity: f64) -> Result<f64, RiskError> {
    Ok(ASSETS_PER_CAPITAL * capital_requirement(pd, lgd, maturity)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Basel II, annex 5: illustrative risk weights of corporate exposures, LGD 45 %, maturity 2.5 years; in per cent.
    const PUBLISHED: [(f64, f64); 19] = [
        (0.03, 14.44),
        (0.05, 19.65),
        (0.10, 29.65),
        (0.25, 49.47),
        (0.40, 62.72),
        (0.50, 69.61),
        (0.75, 82.78),
        (1.00, 92.32),
        (1.30, 100.95),
        (1.50, 105.59),
        (2.00, 114.86),
        (2.50, 122.16),
        (3.00, 128.44),
        (4.00, 139.58),
        (5.00, 149.86),
        (6.00, 159.61),
        (10.00, 193.09),
        (15.00, 221.54),
        (20.00, 238.23),
    ];

    #[test]
    fn published_risk_weights_are_met() {
        for (pd, published) in PUBLISHED {
            let found = 100.0 * risk_weight(pd / 100.0, 0.45, 2.5).unwrap();
            println!("PD {pd} %: {found:.4} % (published {published} %)");
            assert!((found - published).abs() <= 0.01, "PD {pd} %: {found} instead of {published}");
        }
    }

    #[test]
    fn floors_and_limits_hold() {
        let weight = |pd, maturity| risk_weight(pd, 0.45, maturity).unwrap();
        assert!((weight(0.0, 2.5) - weight(PD_FLOOR, 2.5)).abs() < 1e-15);
        assert!((weight(0.01, 0.2) - weight(0.01, 1.0)).abs() < 1e-15);
        assert!((weight(0.01, 30.0) - weight(0.01, 5.0)).abs() < 1e-15);
        assert!(weight(0.01, 5.0) > weight(0.01, 1.0));
        assert!(weight(1.0, 2.5).abs() < 1e-15);
        assert!(weight(0.999_999, 2.5) >= 0.0);
        assert!((correlation(0.0) - 0.24).abs() < 1e-12 && (correlation(1.0) - 0.12).abs() < 1e-12);
    }

    #[test]
    fn senseless_numbers_are_refused() {
        for (pd, lgd, maturity) in [(-0.1, 0.4, 1.0), (1.1, 0.4, 1.0), (0.1, 1.4, 1.0), (0.1, 0.4, -1.0)] {
            assert!(matches!(capital_requirement(pd, lgd, maturity), Err(RiskError::OutOfRange { .. })));
        }
        assert!(matches!(capital_requirement(f64::NAN, 0.4, 1.0), Err(RiskError::NotFinite { .. })));
    }
}
