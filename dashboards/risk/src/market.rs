//! The market half of the page: value at risk, expected shortfall and their backtest, up to a day and for one desk or all. Pure.

use jiff::civil::Date;

use crate::{
    book::Book,
    model::{
        Backtest, DailyPnl, RiskError, TailRisk, VarMethod, backtest,
        backtest::{CONFIDENCE, WINDOW},
        daily_totals, historical, normal,
        var::CONFIDENCE_LEVELS,
    },
};

/// Confidence level at which the expected shortfall is reported (Basel Committee 2019, MAR33.3).
pub const SHORTFALL_CONFIDENCE: f64 = 0.975;

/// One day's tail, from the 250 days up to it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tail {
    /// Value at risk at 99 %.
    pub value_at_risk: f64,
    /// Expected shortfall at 97.5 %.
    pub expected_shortfall: f64,
}

/// A confidence level with both methods.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Level {
    /// From the history itself.
    pub historical: TailRisk,
    /// From a normal distribution.
    pub normal: TailRisk,
}

/// What the market half shows.
#[derive(Debug, Clone, PartialEq)]
pub struct Market {
    /// Daily results up to the day, oldest first.
    pub daily: Vec<DailyPnl>,
    /// Of the last 250 days.
    pub tail: Tail,
    /// Of the 250 days up to the month before; nothing where there are too few.
    pub before: Option<Tail>,
    /// The customary levels, of the last 250 days.
    pub levels: Vec<Level>,
    /// Both methods tested.
    pub tests: Vec<(VarMethod, Backtest)>,
}

impl Market {
    /// The results of a desk, or of all, up to the day `until`; `month_before` is the day to compare with.
    pub fn of(
        book: &Book,
        desk: Option<&str>,
        until: Option<Date>,
        month_before: Option<Date>,
    ) -> Result<Self, RiskError> {
        let records: Vec<_> = book
            .pnl
            .iter()
            .filter(|record| desk.is_none_or(|desk| record.desk == desk))
            .filter(|record| until.is_none_or(|until| record.date <= until))
            .cloned()
            .collect();
        let daily = daily_totals(&records)?;
        let amounts: Vec<f64> = daily.iter().map(|day| day.pnl).collect();
        let tests = [VarMethod::Historical, VarMethod::Normal]
            .into_iter()
            .map(|method| Ok((method, backtest(&daily, method)?)))
            .collect::<Result<_, RiskError>>()?;
        let window = last(&amounts);
        let level =
            |level: &f64| Ok(Level { historical: historical(window, *level)?, normal: normal(window, *level)? });
        let before = month_before.map(|day| daily.iter().filter(|one| one.date <= day).count());
        Ok(Self {
            tail: tail(&amounts)?,
            before: before.and_then(|days| tail(&amounts[..days]).ok()),
            levels: CONFIDENCE_LEVELS.iter().map(level).collect::<Result<_, RiskError>>()?,
            tests,
            daily,
        })
    }
}

/// The last days, as many as a value at risk is computed from.
fn last(amounts: &[f64]) -> &[f64] {
    &amounts[amounts.len().saturating_sub(WINDOW)..]
}

fn tail(amounts: &[f64]) -> Result<Tail, RiskError> {
    if amounts.len() < WINDOW {
        return Err(RiskError::TooFewDays { found: amounts.len(), needed: WINDOW });
    }
    let window = last(amounts);
    Ok(Tail {
        value_at_risk: historical(window, CONFIDENCE)?.value_at_risk,
        expected_shortfall: historical(window, SHORTFALL_CONFIDENCE)?.expected_shortfall,
    })
}

#[cfg(test)]
mod tests {
    use jiff::{ToSpan as _, civil::date};

    use super::*;
    use crate::model::PnlRecord;

    /// Two desks over so many days; the losses of the first grow day by day.
    fn book(days: i32) -> Book {
        let day = |number: i32| date(2025, 1, 1).saturating_add(number.days());
        let record = |number: i32, desk: &str, pnl: f64| PnlRecord { date: day(number), desk: desk.into(), pnl };
        let records =
            (0..days).flat_map(|number| [record(number, "Rates", -f64::from(number)), record(number, "FX", 1_000.0)]);
        Book::new(&[], &[], records.collect()).unwrap()
    }

    #[test]
    fn a_desk_and_a_day_narrow_the_results() {
        let market = Market::of(&book(300), Some("Rates"), Some(date(2025, 10, 1)), Some(date(2025, 9, 30))).unwrap();
        // 274 days from 0 to 273; of the last 250 losses, 24 to 273, the third worst is 271.
        assert_eq!(market.daily.len(), 274);
        assert!((market.tail.value_at_risk - 271.0).abs() < 1e-9);
        assert!((market.before.unwrap().value_at_risk - 270.0).abs() < 1e-9);
        let all = Market::of(&book(300), None, None, None).unwrap();
        assert!((all.tail.value_at_risk - (297.0 - 1_000.0)).abs() < 1e-9);
    }

    #[test]
    fn both_methods_are_tested_on_the_same_days() {
        let market = Market::of(&book(300), None, None, None).unwrap();
        let tested: Vec<(VarMethod, usize)> =
            market.tests.iter().map(|(method, tested)| (*method, tested.observations)).collect();
        assert_eq!(tested, [(VarMethod::Historical, 50), (VarMethod::Normal, 50)]);
        assert_eq!(market.levels.len(), CONFIDENCE_LEVELS.len());
    }

    #[test]
    fn too_few_days_are_said_to_be_so() {
        let error = Market::of(&book(250), None, None, None).unwrap_err();
        assert_eq!(error, RiskError::TooFewDays { found: 250, needed: 251 });
    }
}
