//! The page: from an analysis to charts.

use jiff::civil::Date;
use kyros_dashboard_kit::{
    Page, Panel, Visitor,
    charts::{Axis, Bar, Bars, Date as ChartDate, Format, Heat, Histogram, Kpi, Kpis, Line, Meta, Series, Size},
};

use crate::{
    analysis::{Analysis, HORIZON_WEEKS},
    model::GammaGammaFit,
};

/// Cohorts on the page, the newest.
const COHORTS: usize = 12;

/// Draws it.
pub(crate) fn page(
    title: &'static str,
    exports: &'static [&'static str],
    visitor: Visitor,
    analysis: &Analysis,
) -> Page {
    let panels = vec![
        Panel::new(&tracking(analysis)),
        model_facts(analysis),
        Panel::new(&retention(analysis)),
        Panel::new(&segments(analysis)),
        Panel::new(&alive(analysis)),
        Panel::new(&spread(analysis)),
        Panel::new(&revenue(analysis)),
    ];
    Page { title, visitor, exports, head: head(analysis), panels }
}

fn head(analysis: &Analysis) -> String {
    let money = Format::compact();
    let customers = analysis.customers.len() as f64;
    let repeaters = analysis.customers.iter().filter(|customer| customer.frequency > 0).count() as f64;
    let clv: f64 = analysis.values.iter().map(|value| value.clv).sum();
    let expected: f64 = analysis.values.iter().map(|value| value.expected_purchases).sum();
    let total: f64 = analysis.revenue.values().sum();
    let kpis = Kpis::new([
        Kpi::new("Customers", Format::number(0).text(customers)),
        Kpi::new("Revenue", money.text(total)).spark(analysis.revenue.values().copied().collect::<Vec<_>>()),
        Kpi::new("Buy again", Format::percent(1).text(repeaters / customers)),
        Kpi::new(format!("Value per customer, {HORIZON_WEEKS} weeks"), Format::number(2).text(clv / customers)),
        Kpi::new(format!("Purchases expected, {HORIZON_WEEKS} weeks"), money.text(expected)),
    ]);
    format!(
        "{kpis}<form method=\"get\" class=\"panel\"><label>Fit the models on purchases until <input type=\"date\" \
         name=\"until\" value=\"{}\" max=\"{}\"></label> <button>Fit</button></form>",
        analysis.until, analysis.last_day
    )
}

fn model_facts(analysis: &Analysis) -> Panel {
    let (purchases, spend) = (&analysis.purchases, &analysis.spend);
    let yes_no = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
    Panel::facts(
        "Fitted models",
        &[
            ("BG/NBD r", format!("{:.3}", purchases.params.r)),
            ("BG/NBD α", format!("{:.3}", purchases.params.alpha)),
            ("BG/NBD a", format!("{:.3}", purchases.params.a)),
            ("BG/NBD b", format!("{:.3}", purchases.params.b)),
            ("Log-likelihood", format!("{:.1}", purchases.log_likelihood)),
            ("Gamma-Gamma p", format!("{:.3}", spend.params.p)),
            ("Gamma-Gamma q", format!("{:.3}", spend.params.q)),
            ("Gamma-Gamma v", format!("{:.3}", spend.params.v)),
            ("Mean spend of the population", mean_spend(spend)),
            ("Fitted until", analysis.until.to_string()),
            ("Converged", yes_no(purchases.converged && spend.converged)),
            ("Some parameter is not determined by this data", yes_no(purchases.at_boundary || spend.at_boundary)),
        ],
    )
}

/// At a boundary the mean of the fitted distribution says more about the boundary than about the customers.
fn mean_spend(spend: &GammaGammaFit) -> String {
    if spend.at_boundary { "not determined".to_owned() } else { format!("{:.2}", spend.params.population_mean()) }
}

fn tracking(analysis: &Analysis) -> Line {
    let meta = Meta::new("tracking", "Repeat purchases: as they were and as the model says")
        .note("Cumulative, by week since the first purchase of all")
        .summary("The closer the lines, the better the fit; after the fit's last day the model predicts");
    let weeks = analysis.tracking.iter().map(|point| point.week.to_string());
    Line::new(meta, Axis::categories(weeks), Format::compact())
        .series(Series::new("Actual", analysis.tracking.iter().map(|point| point.actual)))
        .series(Series::new("Model", analysis.tracking.iter().map(|point| point.predicted)))
}

fn retention(analysis: &Analysis) -> Heat {
    let meta = Meta::new("retention", "Retention by cohort")
        .note("Share of each month's new customers who buy again")
        .summary("Each row is the month of the first purchase, each column a month after it");
    let cohorts = &analysis.cohorts[analysis.cohorts.len().saturating_sub(COHORTS)..];
    let columns = cohorts.iter().map(|cohort| cohort.retention.len()).max().unwrap_or(0).min(COHORTS + 1);
    let mut heat = Heat::new(meta, Format::percent(0), (1..columns).map(|month| format!("M{month}")));
    for cohort in cohorts {
        let label = chart_date(cohort.month).map_or_else(|| cohort.month.to_string(), ChartDate::month);
        heat = heat.row(label, cohort.retention.iter().copied().skip(1).take(COHORTS));
    }
    heat
}

fn segments(analysis: &Analysis) -> Bars {
    let meta = Meta::new("segments", "Value by segment")
        .note(format!("Mean value over {HORIZON_WEEKS} weeks, by recency, frequency and spend"))
        .size(Size::Half);
    let label = |segment: &crate::analysis::SegmentValue| format!("{} ({})", segment.label, segment.customers);
    Bars::horizontal(meta, Format::compact())
        .bars(analysis.segments.iter().map(|segment| Bar::new(label(segment), segment.mean_clv)))
}

fn alive(analysis: &Analysis) -> Bars {
    let meta = Meta::new("alive", "Still customers?")
        .note("Customers by the model's probability that they are")
        .size(Size::Half);
    let label = |low: f64, high: f64| format!("{:.0}–{:.0} %", low * 100.0, high * 100.0);
    Bars::vertical(meta, Format::compact())
        .bars(analysis.alive.iter().map(|bin| Bar::new(label(bin.low, bin.high), f64::from(bin.customers))))
}

fn spread(analysis: &Analysis) -> Histogram {
    let meta = Meta::new("spread", "How value is spread").note("Customers by expected value");
    let values: Vec<f64> = analysis.values.iter().map(|value| value.clv).collect();
    let high = values.get(values.len() / 20).copied().unwrap_or(0.0);
    let median = values.get(values.len() / 2).copied().unwrap_or(0.0);
    let money = Format::number(0);
    let label = format!("median {}", money.text(median));
    Histogram::from_samples(meta, money, &values, 20, Some((high * 1.5).max(1.0))).marker(median, label)
}

fn revenue(analysis: &Analysis) -> Line {
    let months: Vec<ChartDate> = analysis.revenue.keys().filter_map(|month| chart_date(*month)).collect();
    let meta = Meta::new("revenue", "Revenue").note("By month");
    Line::new(meta, Axis::months(&months), Format::compact())
        .series(Series::new("Revenue", analysis.revenue.values().copied()))
}

fn chart_date(date: Date) -> Option<ChartDate> {
    date.to_string().parse().ok()
}
