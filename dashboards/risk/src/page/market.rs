//! The market panels: daily results against the value at risk of both methods, how each did, tail risk by level, outcomes.

use kyros_dashboard_kit::{
    Cell, DataTable, Panel,
    charts::{Backtest as BacktestChart, Day, Format, Histogram, Meta, Size},
};

use super::{View, chart_date};
use crate::{
    market::Market,
    model::{Backtest, BacktestPoint, VarMethod, Zone, backtest::CONFIDENCE},
};

/// Bins of the outcomes.
const BINS: usize = 20;

/// In the order of the page; none where there are too few days.
pub(super) fn panels(view: &View<'_>) -> Vec<Panel> {
    let Ok(market) = &view.market else { return Vec::new() };
    let chart = |method: VarMethod, meta: Meta| {
        let tested = market.tests.iter().find(|(tested, _)| *tested == method);
        tested.map(|(_, tested)| Panel::chart(&chart(meta, tested)))
    };
    // A wide panel and a half one make a row.
    let historical = view.meta("backtest", "Backtest: historical simulation").size(Size::Wide);
    let normal = view.meta("backtest-normal", "Backtest: normal distribution").size(Size::Half);
    let charts = [chart(VarMethod::Historical, historical), chart(VarMethod::Normal, normal)];
    let rest = [verdicts(view, market), outcomes(view, market), tails(view, market)];
    charts.into_iter().flatten().chain(rest).collect()
}

fn method_name(method: VarMethod) -> &'static str {
    match method {
        VarMethod::Historical => "Historical simulation",
        VarMethod::Normal => "Normal distribution",
    }
}

/// The days that the traffic light counts, so that the marks and the figures agree.
fn counted(tested: &Backtest) -> &[BacktestPoint] {
    &tested.points[tested.points.len().saturating_sub(tested.observations)..]
}

fn expected(tested: &Backtest) -> f64 {
    tested.observations as f64 * (1.0 - CONFIDENCE)
}

fn chart(meta: Meta, tested: &Backtest) -> BacktestChart {
    let day =
        |point: &BacktestPoint| Some(Day { date: chart_date(point.date)?, pnl: point.pnl, var: point.value_at_risk });
    let note = format!(
        "Daily result against 99 % value at risk. {} exceptions in {} days, {} expected",
        tested.exceptions,
        tested.observations,
        Format::number(1).text(expected(tested)),
    );
    BacktestChart::new(meta.note(note), Format::compact(), CONFIDENCE, counted(tested).iter().filter_map(day).collect())
}

fn zone_words(zone: Zone) -> &'static str {
    match zone {
        Zone::Green => "Green: no doubt about the model",
        Zone::Yellow => "Yellow: the model is in doubt",
        Zone::Red => "Red: the model is presumed wrong",
    }
}

fn verdicts(view: &View<'_>, market: &Market) -> Panel {
    let number = |decimals| Format::number(decimals);
    let rows = market.tests.iter().map(|(method, tested)| {
        let kupiec = if tested.kupiec.rejected { "Rate rejected at 95 %" } else { "Rate not rejected" };
        vec![
            Cell::text(method_name(*method)),
            Cell::Number(tested.observations as f64, number(0)),
            Cell::Number(expected(tested), number(1)),
            Cell::Number(tested.exceptions as f64, number(0)),
            Cell::Number(tested.kupiec.likelihood_ratio, number(2)),
            Cell::Number(tested.kupiec.p_value, number(3)),
            Cell::text(kupiec),
            Cell::text(zone_words(tested.zone)),
        ]
    });
    let meta =
        view.meta("verdicts", "How the models did").note("Exceptions of the last 250 days, at 99 %").size(Size::Full);
    let list = DataTable::new(meta, view.filters)
        .words("Method", None)
        .numbers("Days", None)
        .numbers("Expected", None)
        .numbers("Observed", None)
        .numbers("Kupiec LR", None)
        .numbers("Kupiec p", None)
        .words("Kupiec’s test", None)
        .words("Traffic light", None)
        .rows(rows);
    Panel::list(&list)
}

fn tails(view: &View<'_>, market: &Market) -> Panel {
    let money = |value| Cell::Number(value, Format::number(0));
    let rows = market.levels.iter().map(|level| {
        vec![
            Cell::text(format!("{} %", 100.0 * level.historical.confidence)),
            money(level.historical.value_at_risk),
            money(level.historical.expected_shortfall),
            money(level.normal.value_at_risk),
            money(level.normal.expected_shortfall),
        ]
    });
    let meta = view.meta("tails", "One-day tail risk").note("Last 250 trading days").size(Size::Wide);
    let list = DataTable::new(meta, view.filters)
        .words("Level", None)
        .numbers("VaR, historical", None)
        .numbers("ES, historical", None)
        .numbers("VaR, normal", None)
        .numbers("ES, normal", None)
        .rows(rows);
    Panel::list(&list)
}

fn outcomes(view: &View<'_>, market: &Market) -> Panel {
    let days = Format::number(0).text(market.daily.len() as f64);
    let meta =
        view.meta("outcomes", "Daily outcomes").rows("Result").note(format!("{days} days by result")).size(Size::Half);
    let amounts: Vec<f64> = market.daily.iter().map(|day| day.pnl).collect();
    Panel::chart(&Histogram::from_samples(meta, Format::compact(), &amounts, BINS, None).marker(0.0, "zero"))
}

#[cfg(test)]
mod tests {
    use jiff::{ToSpan as _, civil::date};

    use super::*;
    use crate::model::{DailyPnl, backtest};

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
        assert_eq!(chart(Meta::new("backtest", "Backtest"), &tested).exceptions(), tested.exceptions);
        assert!((expected(&tested) - 2.5).abs() < 1e-12);
    }
}
