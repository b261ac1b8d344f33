//! The page: from exposures and daily results to charts.

use kyros_dashboard_kit::{
    Page, Panel, Visitor,
    charts::{
        Backtest as BacktestChart, Bar, Bars, Date as ChartDate, Day, Format, Heat, Histogram, Kpi, Kpis, Meta, Size,
        Tone,
    },
};

use crate::model::{
    Backtest, DailyPnl, Dimension, Exposure, PnlRecord, RiskError, VarMethod, Zone, assess, backtest, breakdown,
    daily_totals, herfindahl, historical, normal, top, var::CONFIDENCE_LEVELS,
};

/// Bars and rows on the page.
const LARGEST: usize = 10;

/// Draws it.
pub(crate) fn page(
    title: &'static str,
    exports: &'static [&'static str],
    visitor: Visitor,
    exposures: &[Exposure],
    pnl: &[PnlRecord],
) -> Result<Page, RiskError> {
    let daily = daily_totals(pnl)?;
    let tested = backtest(&daily, VarMethod::Historical)?;
    let panels = vec![
        Panel::new(&backtest_chart(&tested)),
        tail_facts(&daily)?,
        Panel::new(&by_dimension(exposures, Dimension::Sector, "sectors", "Risk-weighted assets by sector")?),
        Panel::new(&by_dimension(exposures, Dimension::Rating, "ratings", "Risk-weighted assets by rating")?),
        Panel::new(&largest(exposures)?),
        Panel::new(&grid(exposures)?),
        Panel::new(&outcomes(&daily)),
    ];
    Ok(Page { title, visitor, exports, head: head(exposures, &tested)?, panels })
}

fn head(exposures: &[Exposure], tested: &Backtest) -> Result<String, RiskError> {
    let money = Format::compact();
    let book = assess(exposures)?;
    let concentration = herfindahl(exposures, Dimension::Counterparty)?;
    let (tone, zone) = match tested.zone {
        Zone::Green => (Tone::Good, "green"),
        Zone::Yellow => (Tone::Warn, "yellow"),
        Zone::Red => (Tone::Bad, "red"),
    };
    let rejected = if tested.kupiec.rejected { "rejected" } else { "not rejected" };
    let kpis = Kpis::new([
        Kpi::new("Exposure at default", money.text(book.ead)),
        Kpi::new("Expected loss", money.text(book.expected_loss)),
        Kpi::new("IRB capital", money.text(book.capital)),
        Kpi::new("Risk-weighted assets", money.text(book.risk_weighted_assets)),
        Kpi::new("Concentration (HHI)", Format::number(4).text(concentration)),
        Kpi::new("Backtest exceptions", format!("{} of {}", tested.exceptions, tested.observations)).state(
            tone,
            format!("Traffic light {zone}"),
            format!("Kupiec p = {:.3}, {rejected}", tested.kupiec.p_value),
        ),
    ]);
    Ok(kpis.to_string())
}

fn tail_facts(daily: &[DailyPnl]) -> Result<Panel, RiskError> {
    let amounts: Vec<f64> = daily.iter().map(|day| day.pnl).collect();
    let money = Format::compact();
    let mut facts = Vec::new();
    for level in CONFIDENCE_LEVELS {
        let (past, bell) = (historical(&amounts, level)?, normal(&amounts, level)?);
        let name = match level {
            0.95 => ["95 % VaR, historical", "95 % ES, historical", "95 % VaR, normal", "95 % ES, normal"],
            0.975 => ["97.5 % VaR, historical", "97.5 % ES, historical", "97.5 % VaR, normal", "97.5 % ES, normal"],
            _ => ["99 % VaR, historical", "99 % ES, historical", "99 % VaR, normal", "99 % ES, normal"],
        };
        let values = [past.value_at_risk, past.expected_shortfall, bell.value_at_risk, bell.expected_shortfall];
        facts.extend(name.into_iter().zip(values.map(|value| money.text(value))));
    }
    Ok(Panel::facts("One-day tail risk", &facts))
}

fn backtest_chart(tested: &Backtest) -> BacktestChart {
    let meta = Meta::new("backtest", "Backtest").note("Daily result against 99 % value at risk").size(Size::Full);
    let day = |point: &crate::model::BacktestPoint| {
        let date: ChartDate = point.date.to_string().parse().ok()?;
        Some(Day { date, pnl: point.pnl, var: point.value_at_risk })
    };
    // The days that the traffic light counts, so that the marks and the figure above agree.
    let counted = &tested.points[tested.points.len().saturating_sub(tested.observations)..];
    BacktestChart::new(meta, Format::compact(), 0.99, counted.iter().filter_map(day).collect())
}

fn by_dimension(
    exposures: &[Exposure],
    dimension: Dimension,
    id: &'static str,
    title: &'static str,
) -> Result<Bars, RiskError> {
    let meta = Meta::new(id, title).note("Basel IRB, corporate").size(Size::Half);
    let rows = breakdown(exposures, dimension)?;
    Ok(Bars::vertical(meta, Format::compact())
        .bars(rows.into_iter().take(LARGEST).map(|row| Bar::new(row.key, row.risk_weighted_assets))))
}

fn largest(exposures: &[Exposure]) -> Result<Bars, RiskError> {
    let meta = Meta::new("largest", "Largest counterparties").note("Exposure at default").size(Size::Half);
    let rows = top(exposures, Dimension::Counterparty, LARGEST)?;
    Ok(Bars::horizontal(meta, Format::compact()).bars(rows.into_iter().map(|row| Bar::new(row.key, row.ead))))
}

fn grid(exposures: &[Exposure]) -> Result<Heat, RiskError> {
    let meta = Meta::new("grid", "Exposure by sector and rating").note("Millions");
    let mut ratings: Vec<String> = exposures.iter().map(|exposure| exposure.rating.clone()).collect();
    ratings.sort_by_key(|rating| (scale(rating), rating.clone()));
    ratings.dedup();
    let mut heat = Heat::new(meta, Format::number(1), ratings.iter().cloned());
    for sector in breakdown(exposures, Dimension::Sector)? {
        let cell = |rating: &String| {
            let here = exposures.iter().filter(|e| e.sector == sector.key && e.rating == *rating);
            here.map(|exposure| exposure.ead / 1e6).sum::<f64>()
        };
        heat = heat.row(sector.key.clone(), ratings.iter().map(cell).collect::<Vec<_>>());
    }
    Ok(heat)
}

/// Where a rating stands on the customary scale; unknown ones come last.
fn scale(rating: &str) -> usize {
    ["AAA", "AA", "A", "BBB", "BB", "B", "CCC", "CC", "C", "D"].iter().position(|r| *r == rating).unwrap_or(usize::MAX)
}

fn outcomes(daily: &[DailyPnl]) -> Histogram {
    let meta = Meta::new("outcomes", "Daily outcomes").note("Days by result").size(Size::Half);
    let amounts: Vec<f64> = daily.iter().map(|day| day.pnl).collect();
    Histogram::from_samples(meta, Format::compact(), &amounts, 20, None).marker(0.0, "zero")
}

#[cfg(test)]
mod tests {
    use jiff::{ToSpan as _, civil::date};

    use super::*;

    #[test]
    fn the_chart_marks_as_many_exceptions_as_the_figure_counts() {
        // A loss that grows every fourth day: more days are tested than the traffic light counts.
        let daily: Vec<DailyPnl> = (0..600_i32)
            .map(|day| DailyPnl {
                date: date(2024, 1, 1).saturating_add(day.days()),
                pnl: if day % 4 == 0 { -f64::from(day) } else { 1.0 },
            })
            .collect();
        let tested = backtest(&daily, VarMethod::Historical).unwrap();
        assert!(tested.points.len() > tested.observations && tested.exceptions > 0);
        assert_eq!(backtest_chart(&tested).exceptions(), tested.exceptions);
    }
}
