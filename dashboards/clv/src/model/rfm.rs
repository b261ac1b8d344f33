//! Recency, frequency and money scores by quintile, and the eleven customary segments.

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use crate::model::summary::{CustomerSummary, days_between};

/// Scores 1 (worst) to 5 (best) of one customer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RfmScore {
    /// Who.
    pub customer_id: String,
    /// Days from the last purchase to the reference day.
    pub days_since_last: i64,
    /// Recency: 5 for the fifth of the customers who bought last.
    pub recency: u8,
    /// Frequency: 5 for the fifth with the most purchase days.
    pub frequency: u8,
    /// Money: 5 for the fifth with the highest total revenue.
    pub monetary: u8,
    /// Segment the scores put the customer in.
    pub segment: Segment,
}

/// The customary named segments. `R` is the recency score, `FM` the mean of frequency and money scores, halves up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Segment {
    /// R 5, FM 4 to 5: bought just now, often and much.
    Champions,
    /// R 3 to 4, FM 4 to 5: buy often and much.
    LoyalCustomers,
    /// R 4 to 5, FM 2 to 3: recent, with more than one purchase or a good one.
    PotentialLoyalists,
    /// R 5, FM 1: came just now.
    NewCustomers,
    /// R 4, FM 1: came recently, spent little.
    Promising,
    /// R 3, FM 3: middle on every count.
    NeedAttention,
    /// R 3, FM 1 to 2: below the middle, fading.
    AboutToSleep,
    /// R 1 to 2, FM 3 to 4: were good, have not come back.
    AtRisk,
    /// R 1 to 2, FM 5: were the best, have not come back.
    CannotLoseThem,
    /// R 1 to 2, FM 1 to 2 except the lowest: long away, small.
    Hibernating,
    /// R 1, FM 1: lowest on every count.
    Lost,
}

impl Segment {
    /// All segments, from the best down.
    pub const ALL: [Self; 11] = [
        Self::Champions,
        Self::LoyalCustomers,
        Self::PotentialLoyalists,
        Self::NewCustomers,
        Self::Promising,
        Self::NeedAttention,
        Self::AboutToSleep,
        Self::AtRisk,
        Self::CannotLoseThem,
        Self::Hibernating,
        Self::Lost,
    ];

    /// Name for people.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Champions => "Champions",
            Self::LoyalCustomers => "Loyal customers",
            Self::PotentialLoyalists => "Potential loyalists",
            Self::NewCustomers => "New customers",
            Self::Promising => "Promising",
            Self::NeedAttention => "Need attention",
            Self::AboutToSleep => "About to sleep",
            Self::AtRisk => "At risk",
            Self::CannotLoseThem => "Cannot lose them",
            Self::Hibernating => "Hibernating",
            Self::Lost => "Lost",
        }
    }

    /// The segment of three scores from 1 to 5; higher and lower scores count as 5 and 1.
    pub fn of(recency: u8, frequency: u8, monetary: u8) -> Self {
        let [recency, frequency, monetary] = [recency, frequency, monetary].map(|score| score.clamp(1, 5));
        let value = (frequency + monetary).div_ceil(2);
        match (recency, value) {
            (5, 4 | 5) => Self::Champions,
            (3 | 4, 4 | 5) => Self::LoyalCustomers,
            (4 | 5, 2 | 3) => Self::PotentialLoyalists,
            (5, _) => Self::NewCustomers,
            (4, _) => Self::Promising,
            (3, 3) => Self::NeedAttention,
            (3, _) => Self::AboutToSleep,
            (_, 5) => Self::CannotLoseThem,
            (_, 3 | 4) => Self::AtRisk,
            (1, 1) => Self::Lost,
            _ => Self::Hibernating,
        }
    }
}

/// Scores every customer as of `reference` (usually the end of the period), in the order given.
///
/// A score is `1 + floor(5 k / n)` with `k` of the `n` customers having a strictly lower value: equal customers get
/// equal scores, so a fifth can be larger or smaller where many share a value.
pub fn score(summaries: &[CustomerSummary], reference: Date) -> Vec<RfmScore> {
    let days: Vec<i64> = summaries.iter().map(|summary| days_between(summary.last_purchase, reference)).collect();
    let recency = quintiles(&days.iter().map(|days| -(*days as f64)).collect::<Vec<_>>());
    let frequency = quintiles(&summaries.iter().map(|summary| f64::from(summary.frequency)).collect::<Vec<_>>());
    let monetary = quintiles(&summaries.iter().map(|summary| summary.total_revenue).collect::<Vec<_>>());
    summaries
        .iter()
        .enumerate()
        .map(|(index, summary)| RfmScore {
            customer_id: summary.customer_id.clone(),
            days_since_last: days[index],
            recency: recency[index],
            frequency: frequency[index],
            monetary: monetary[index],
            segment: Segment::of(recency[index], frequency[index], monetary[index]),
        })
        .collect()
}

/// Scores 1 to 5, higher for higher values.
fn quintiles(values: &[f64]) -> Vec<u8> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = |value: &f64| {
        let lower = sorted.partition_point(|other| other.total_cmp(value).is_lt());
        match 5 * lower / sorted.len() {
            0 => 1,
            1 => 2,
            2 => 3,
            3 => 4,
            _ => 5,
        }
    };
    values.iter().map(place).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use jiff::civil::date;

    use super::*;

    #[test]
    fn quintiles_split_evenly_and_keep_ties_together() {
        let even: Vec<f64> = (0..10).map(f64::from).collect();
        assert_eq!(quintiles(&even), [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]);
        assert_eq!(quintiles(&[1.0, 1.0, 1.0, 2.0, 9.0]), [1, 1, 1, 4, 5]);
        assert!(quintiles(&[]).is_empty());
    }

    #[test]
    fn every_score_has_a_segment_and_every_segment_a_score() {
        let mut seen = BTreeSet::new();
        for recency in 1..=5 {
            for frequency in 1..=5 {
                for monetary in 1..=5 {
                    seen.insert(Segment::of(recency, frequency, monetary));
                }
            }
        }
        assert_eq!(seen.into_iter().collect::<Vec<_>>(), Segment::ALL);
        assert_eq!(Segment::of(5, 5, 4), Segment::Champions);
        assert_eq!(Segment::of(5, 1, 1), Segment::NewCustomers);
        assert_eq!(Segment::of(2, 5, 5), Segment::CannotLoseThem);
        assert_eq!(Segment::of(1, 1, 1), Segment::Lost);
        assert_eq!(Segment::of(2, 1, 1), Segment::Hibernating);
    }

    #[test]
    fn the_latest_buyer_has_the_best_recency() {
        let customer = |id: &str, month: i8, frequency: u32| CustomerSummary {
            customer_id: id.into(),
            first_purchase: date(2024, 1, 1),
            last_purchase: date(2024, month, 1),
            frequency,
            recency: 1.0,
            age: 52.0,
            monetary: 10.0,
            total_revenue: 10.0 * f64::from(frequency + 1),
            holdout_frequency: None,
        };
        let all: Vec<_> = (1..=5_i8).map(|m| customer(&m.to_string(), m, u32::from(m.unsigned_abs()))).collect();
        let scores = score(&all, date(2024, 6, 1));
        assert_eq!((scores[4].recency, scores[4].frequency, scores[4].monetary), (5, 5, 5));
        assert_eq!((scores[0].recency, scores[0].segment), (1, Segment::Lost));
        assert_eq!(scores[4].days_since_last, 31);
    }
}
