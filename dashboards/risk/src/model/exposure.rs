//! Exposures and what each and all of them carry: expected loss, capital, risk-weighted assets.

use serde::{Deserialize, Serialize};

use crate::model::error::RiskError;
use crate::model::irb::{ASSETS_PER_CAPITAL, capital_requirement};

/// One exposure of the portfolio.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Exposure {
    /// Debtor.
    pub counterparty: String,
    /// Sector of the debtor.
    pub sector: String,
    /// Country of the debtor.
    pub country: String,
    /// Rating grade.
    pub rating: String,
    /// Exposure at default, in money.
    pub ead: f64,
    /// Probability of default within a year, a fraction.
    pub pd: f64,
    /// Loss given default, a fraction of the exposure.
    pub lgd: f64,
    /// Effective maturity, in years.
    pub maturity: f64,
}

/// What one exposure carries.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ExposureRisk {
    /// Expected loss of a year, `PD LGD EAD`, in money; with the PD given, not the floored one.
    pub expected_loss: f64,
    /// Capital requirement `K`, a fraction of the exposure.
    pub capital_requirement: f64,
    /// Risk weight `12.5 K`, a fraction of the exposure.
    pub risk_weight: f64,
    /// Capital `K EAD`, in money.
    pub capital: f64,
    /// Risk-weighted assets `12.5 K EAD`, in money.
    pub risk_weighted_assets: f64,
}

/// What the portfolio carries.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PortfolioRisk {
    /// Figures per exposure, in the order given.
    pub exposures: Vec<ExposureRisk>,
    /// Sum of the exposures at default, in money.
    pub ead: f64,
    /// Sum of the expected losses, in money.
    pub expected_loss: f64,
    /// Sum of the capital, in money.
    pub capital: f64,
    /// Sum of the risk-weighted assets, in money.
    pub risk_weighted_assets: f64,
    /// Mean probability of default, weighted by exposure; 0 without exposure.
    pub mean_pd: f64,
    /// Mean loss given default, weighted by exposure; 0 without exposure.
    pub mean_lgd: f64,
}

impl Exposure {
    /// Refuses numbers outside their domain.
    pub fn check(&self) -> Result<(), RiskError> {
        let whose = self.counterparty.as_str();
        RiskError::check("exposure at default", whose, self.ead, 0.0..=f64::MAX)?;
        RiskError::check("probability of default", whose, self.pd, 0.0..=1.0)?;
        RiskError::check("loss given default", whose, self.lgd, 0.0..=1.0)?;
        RiskError::check("maturity", whose, self.maturity, 0.0..=f64::MAX)
    }

    /// Expected loss and capital of this exposure.
    pub fn risk(&self) -> Result<ExposureRisk, RiskError> {
        self.check()?;
        let requirement = capital_requirement(self.pd, self.lgd, self.maturity)?;
        let capital = requirement * self.ead;
        Ok(ExposureRisk {
            expected_loss: self.pd * self.lgd * self.ead,
            capital_requirement: requirement,
            risk_weight: ASSETS_PER_CAPITAL * requirement,
            capital,
            risk_weighted_assets: ASSETS_PER_CAPITAL * capital,
        })
    }
}

/// Expected loss and capital of every exposure and of the portfolio.
pub fn assess(exposures: &[Exposure]) -> Result<PortfolioRisk, RiskError> {
    if exposures.is_empty() {
        return Err(RiskError::NoExposures);
    }
    let risks: Vec<ExposureRisk> = exposures.iter().map(Exposure::risk).collect::<Result<_, _>>()?;
    let ead: f64 = exposures.iter().map(|one| one.ead).sum();
    let weighted = |rate: fn(&Exposure) -> f64| {
        let sum: f64 = exposures.iter().map(|one| rate(one) * one.ead).sum();
        if ead > 0.0 { sum / ead } else { 0.0 }
    };
    Ok(PortfolioRisk {
        ead,
        expected_loss: risks.iter().map(|risk| risk.expected_loss).sum(),
        capital: risks.iter().map(|risk| risk.capital).sum(),
        risk_weighted_assets: risks.iter().map(|risk| risk.risk_weighted_assets).sum(),
        mean_pd: weighted(|one| one.pd),
        mean_lgd: weighted(|one| one.lgd),
        exposures: risks,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exposure(ead: f64, pd: f64, lgd: f64) -> Exposure {
        let text = String::from("x");
        Exposure {
            counterparty: "Acme".into(),
            sector: text.clone(),
            country: text.clone(),
            rating: text,
            ead,
            pd,
            lgd,
            maturity: 2.5,
        }
    }

    #[test]
    fn figures_add_up() {
        let portfolio = assess(&[exposure(1_000.0, 0.01, 0.45), exposure(3_000.0, 0.02, 0.45)]).unwrap();
        assert!((portfolio.expected_loss - (4.5 + 27.0)).abs() < 1e-9);
        assert!((portfolio.risk_weighted_assets - (923.2 + 3_445.8)).abs() < 0.5);
        assert!((portfolio.capital * 12.5 - portfolio.risk_weighted_assets).abs() < 1e-9);
        assert!((portfolio.mean_pd - 0.0175).abs() < 1e-12 && (portfolio.mean_lgd - 0.45).abs() < 1e-12);
        assert!((portfolio.exposures[0].risk_weight - 0.9232).abs() < 1e-4);
    }

    #[test]
    fn bad_exposures_are_named() {
        let error = assess(&[exposure(1.0, 7.0, 0.45)]).unwrap_err();
        assert_eq!(error.to_string(), "probability of default of Acme is out of range: 7");
        assert!(matches!(assess(&[exposure(f64::NAN, 0.1, 0.4)]), Err(RiskError::NotFinite { .. })));
        assert_eq!(assess(&[]), Err(RiskError::NoExposures));
    }
}
