//! The credit panels: loss against its limit, largest exposures, arrears, migration, vintages, capital by what it is for.

use kyros_dashboard_kit::{
    Panel,
    charts::{Axis, Bar, Bars, Date as ChartDate, Format, Heat, Line, Series, Size},
};

use super::{View, chart_date, month_name, obligor};
use crate::model::{Breakdown, Dimension, arrears::Bucket, grade, limits, limits::State, top};

/// Bars on the page.
const LARGEST: usize = 10;
/// Money in the grid of sectors and ratings is in millions from this exposure on, else in thousands.
const MILLIONS_FROM: f64 = 1e8;

/// In the order of the page.
pub(super) fn panels(view: &View<'_>) -> Vec<Panel> {
    // A wide panel and a half one make a row.
    let mut panels = Vec::new();
    if view.book.has_history() {
        panels.push(loss(view));
    }
    panels.extend(largest(view));
    if view.book.has_history() {
        panels.push(arrears(view));
    }
    panels.push(by_portfolio(view));
    if view.book.has_history() {
        panels.extend(migration(view));
    }
    panels.push(by_rating(view));
    if view.book.has_history() {
        panels.push(vintages(view));
    }
    panels.push(grid(view));
    panels
}

fn months(view: &View<'_>) -> Axis {
    let days: Vec<ChartDate> = view.credit.series.iter().filter_map(|month| chart_date(month.as_of?)).collect();
    Axis::months(&days)
}

/// A share of nothing is a gap.
fn share(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { f64::NAN }
}

fn loss(view: &View<'_>) -> Panel {
    let limit = Format::percent(2).text(limits::EXPECTED_LOSS);
    let series = &view.credit.series;
    let since =
        series.iter().rev().take_while(|month| State::of(month.expected_loss, month.loss_limit()) == State::Over);
    let finding = match (since.last(), series.last()) {
        (Some(first), _) => format!("Over the limit since {}", month_name(first.as_of)),
        (None, Some(now)) => format!("{} the limit now", State::of(now.expected_loss, now.loss_limit()).word()),
        (None, None) => String::new(),
    };
    let note = format!("% of exposure, month end; dashed: the limit of {limit}. {finding}");
    let meta = view.meta("loss", "Expected loss against limit").rows("Month").note(note);
    let line = Line::new(
        meta.summary(format!("The limit is {limit} of exposure. {finding}")),
        months(view),
        Format::percent(2),
    )
    .series(Series::new("Expected loss", series.iter().map(|month| share(month.expected_loss, month.exposure))))
    // The note names it: beside the dashes a label would stand in the line that comes near them.
    .reference(limits::EXPECTED_LOSS, "");
    Panel::chart(&line)
}

fn largest(view: &View<'_>) -> Option<Panel> {
    let exposures = view.book.exposures(&view.credit.positions);
    // An empty book or one of nothing has no largest name.
    let rows = top(&exposures, Dimension::Counterparty, LARGEST).ok()?;
    let together: f64 = rows.iter().map(|row| row.share).sum();
    let note = format!("{} of exposure is with these {}", Format::percent(1).text(together), rows.len());
    let meta = view.meta("largest", "Largest exposures").rows("Obligor").note(note).size(Size::Half);
    let bars = rows.into_iter().map(|row| {
        let href = obligor::href(view.filters, &row.key);
        Bar::new(row.key, row.ead).link(href)
    });
    Some(obligor::opening(&Bars::horizontal(meta, Format::compact()).value_name("Exposure at default").bars(bars)))
}

fn arrears(view: &View<'_>) -> Panel {
    let meta = view
        .meta("arrears", "Exposure by days past due")
        .rows("Month")
        .note("% of exposure, month end; what is current is left out")
        .summary("Each line is a bucket of days past due");
    let series = &view.credit.series;
    let line = Bucket::LATE.iter().enumerate().fold(
        Line::new(meta, months(view), Format::percent(2)),
        |line, (place, bucket)| {
            line.series(Series::new(bucket.label(), series.iter().map(|month| month.late[place].unwrap_or(f64::NAN))))
        },
    );
    Panel::chart(&line)
}

fn migration(view: &View<'_>) -> Option<Panel> {
    let (from, found) = view.credit.migration.as_ref()?;
    let note = format!(
        "% of exposure from {} to {}. Row: from, column: to; D: in default, Left: repaid or written off",
        month_name(Some(*from)),
        month_name(view.as_of())
    );
    let meta = view.meta("migration", "Rating migration").rows("From").note(note);
    let heat = Heat::new(meta, Format::percent(1), found.columns.iter().map(ToString::to_string));
    let heat = heat.range(0.0, 1.0);
    let heat = found.rows.iter().fold(heat, |heat, row| {
        // Cells that nothing moved to stay blank, so that the eye finds the others.
        let cell = |column| row.share(column).filter(|share| *share > 0.0).unwrap_or(f64::NAN);
        heat.row(&*row.from, (0..found.columns.len()).map(cell))
    });
    let heat = heat.data_column("Obligors", Format::number(0), found.rows.iter().map(|row| row.names as f64));
    let heat = heat.data_column("Exposure", Format::number(0), found.rows.iter().map(|row| row.exposure));
    Some(Panel::chart(&heat))
}

fn vintages(view: &View<'_>) -> Panel {
    let vintages = &view.credit.vintages;
    let longest = vintages.iter().map(|vintage| vintage.curve.len()).max().unwrap_or(0);
    let rating = if view.scope.rating.is_some() { " The rating filter does not apply" } else { "" };
    let note = "Cumulative share of obligors in default, by months on book; in brackets how many there are. A line ends where \
                its youngest obligor is today.";
    let meta = view
        .meta("vintages", "Default by vintage")
        .rows("Months on book")
        .note(format!("{note}{rating}"))
        .summary("A steeper line means that loans of that half year fail sooner")
        .size(Size::Full);
    let axis = Axis::categories((0..longest).map(|month| month.to_string()));
    let line = vintages.iter().fold(Line::new(meta, axis, Format::percent(1)), |line, vintage| {
        line.series(Series::new(format!("{} ({})", vintage.label, vintage.names), vintage.curve.iter().copied()))
    });
    Panel::chart(&line)
}

/// Capital of the selection, by the internal ratings based approach; names in default carry none: their loss is no longer
/// unexpected.
fn capital(view: &View<'_>) -> String {
    let Some(risk) = &view.credit.capital else { return String::new() };
    let money = Format::compact();
    let [capital, assets] = [risk.capital, risk.risk_weighted_assets].map(|amount| money.text(amount));
    format!("Basel IRB: {capital}, 8% of {assets} risk-weighted assets. Select a bar to filter the page")
}

fn by_portfolio(view: &View<'_>) -> Panel {
    let meta = view.meta("portfolios", "Capital by portfolio").rows("Portfolio").note(capital(view));
    let mut parts = view.credit.by_portfolio.clone();
    parts.sort_by(|left, right| right.risk_weighted_assets.total_cmp(&left.risk_weighted_assets));
    bars(view, "portfolio", Bars::horizontal(meta.size(Size::Half), Format::compact()), &parts)
}

fn by_rating(view: &View<'_>) -> Panel {
    let meta = view.meta("ratings", "Capital by rating").rows("Rating").note(capital(view));
    let mut parts = view.credit.by_rating.clone();
    parts.sort_by(|left, right| grade::order(&left.key, &right.key));
    bars(view, "rating", Bars::vertical(meta.size(Size::Half), Format::compact()), &parts)
}

fn bars(view: &View<'_>, filter: &'static str, bars: Bars, parts: &[Breakdown]) -> Panel {
    let bar = |part: &Breakdown| {
        let capital = part.risk_weighted_assets / crate::model::irb::ASSETS_PER_CAPITAL;
        Bar::new(&*part.key, capital)
            .link(view.filters.toggle(filter, &part.key))
            .selected(view.filters.get(filter) == Some(part.key.as_str()))
    };
    Panel::chart(&bars.value_name("Capital").bars(parts.iter().map(bar)))
}

fn grid(view: &View<'_>) -> Panel {
    let exposures = view.book.exposures(&view.credit.positions);
    let total: f64 = exposures.iter().map(|exposure| exposure.ead).sum();
    let (unit, name) = if total >= MILLIONS_FROM { (1e6, "Millions") } else { (1e3, "Thousands") };
    let meta = view.meta("grid", "Exposure by portfolio and rating").rows("Portfolio").note(name).size(Size::Full);
    let mut ratings: Vec<&str> = exposures.iter().map(|exposure| exposure.rating.as_str()).collect();
    ratings.sort_by(|left, right| grade::order(left, right));
    ratings.dedup();
    let mut portfolios: Vec<&str> = exposures.iter().map(|exposure| exposure.sector.as_str()).collect();
    portfolios.sort_unstable();
    portfolios.dedup();
    let heat = Heat::new(meta, Format::number(1), ratings.iter().copied());
    let heat = portfolios.into_iter().fold(heat, |heat, portfolio| {
        let cell = |rating: &&str| {
            let here = exposures.iter().filter(|one| one.sector == portfolio && one.rating == **rating);
            let sum: f64 = here.map(|one| one.ead / unit).sum();
            if sum > 0.0 { sum } else { f64::NAN }
        };
        heat.row(portfolio, ratings.iter().map(cell).collect::<Vec<_>>())
    });
    Panel::chart(&heat)
}
