//! Concentration of a portfolio: Herfindahl-Hirschman index, breakdown by a dimension, largest shares.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::error::RiskError;
use crate::model::exposure::Exposure;

/// What exposures are put together by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dimension {
    /// By debtor.
    Counterparty,
    /// By sector.
    Sector,
    /// By country.
    Country,
    /// By rating grade.
    Rating,
}

impl Dimension {
    fn key(self, exposure: &Exposure) -> &str {
        match self {
            Self::Counterparty => &exposure.counterparty,
            Self::Sector => &exposure.sector,
            Self::Country => &exposure.country,
            Self::Rating => &exposure.rating,
        }
    }
}

/// The part of the portfolio with one key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Breakdown {
    /// Debtor, sector, country or grade.
    pub key: String,
    /// Number of exposures.
    pub exposures: usize,
    /// Exposure at default, in money.
    pub ead: f64,
    /// Part of the total exposure, a fraction.
    pub share: f64,
    /// Expected loss, in money.
    pub expected_loss: f64,
    /// Risk-weighted assets, in money.
    pub risk_weighted_assets: f64,
}

/// The portfolio by key, largest exposure first (equal ones by key).
pub fn breakdown(exposures: &[Exposure], dimension: Dimension) -> Result<Vec<Breakdown>, RiskError> {
    if exposures.is_empty() {
        return Err(RiskError::NoExposures);
    }
    let mut parts: BTreeMap<&str, Breakdown> = BTreeMap::new();
    let mut total = 0.0;
    for exposure in exposures {
        let risk = exposure.risk()?;
        let key = dimension.key(exposure);
        let part = parts.entry(key).or_insert_with(|| Breakdown {
            key: key.to_owned(),
            exposures: 0,
            ead: 0.0,
            share: 0.0,
            expected_loss: 0.0,
            risk_weighted_assets: 0.0,
        });
        part.exposures += 1;
        part.ead += exposure.ead;
        part.expected_loss += risk.expected_loss;
        part.risk_weighted_assets += risk.risk_weighted_assets;
        total += exposure.ead;
    }
    if total <= 0.0 {
        return Err(RiskError::ZeroExposure);
    }
    let mut parts: Vec<Breakdown> = parts.into_values().collect();
    for part in &mut parts {
        part.share = part.ead / total;
    }
    parts.sort_by(|left, right| right.ead.total_cmp(&left.ead));
    Ok(parts)
}

/// Herfindahl-Hirschman index of the exposures by a dimension: the sum of the squared shares, from `1 / n` (evenly
/// spread over `n` keys) to 1 (all in one). Times 10 000 for the scale of competition law.
pub fn herfindahl(exposures: &[Exposure], dimension: Dimension) -> Result<f64, RiskError> {
    Ok(breakdown(exposures, dimension)?.iter().map(|part| part.share * part.share).sum())
}

/// The `count` largest keys of a dimension by exposure.
pub fn top(exposures: &[Exposure], dimension: Dimension, count: usize) -> Result<Vec<Breakdown>, RiskError> {
    let mut parts = breakdown(exposures, dimension)?;
    parts.truncate(count);
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exposure(counterparty: &str, sector: &str, ead: f64) -> Exposure {
        Exposure {
            counterparty: counterparty.into(),
            sector: sector.into(),
            country: "DE".into(),
            rating: "BBB".into(),
            ead,
            pd: 0.01,
            lgd: 0.45,
            maturity: 2.5,
        }
    }

    fn portfolio() -> Vec<Exposure> {
        vec![exposure("a", "steel", 10.0), exposure("b", "retail", 50.0), exposure("a", "steel", 40.0)]
    }

    #[test]
    fn index_is_the_sum_of_squared_shares() {
        let by = |dimension| herfindahl(&portfolio(), dimension).unwrap();
        assert!((by(Dimension::Counterparty) - 0.5).abs() < 1e-12);
        assert!((by(Dimension::Sector) - 0.5).abs() < 1e-12);
        assert!((by(Dimension::Country) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn parts_are_sorted_and_complete() {
        let parts = breakdown(&portfolio(), Dimension::Counterparty).unwrap();
        assert_eq!(parts.iter().map(|part| part.key.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(parts[0].exposures, 2);
        assert!((parts.iter().map(|part| part.share).sum::<f64>() - 1.0).abs() < 1e-12);
        assert!((parts[1].expected_loss - 0.225).abs() < 1e-12);
        assert_eq!(top(&portfolio(), Dimension::Sector, 1).unwrap()[0].key, "retail");
    }

    #[test]
    fn nothing_has_no_concentration() {
        assert_eq!(herfindahl(&[], Dimension::Rating), Err(RiskError::NoExposures));
        assert_eq!(herfindahl(&[exposure("a", "s", 0.0)], Dimension::Rating), Err(RiskError::ZeroExposure));
    }
}
