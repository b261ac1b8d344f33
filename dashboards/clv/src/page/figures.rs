//! The key figures, each with its definition and what it was a quarter ago.

use kyros_dashboard_kit::charts::{Format, Kpi, Kpis, Tone, Wish};

use super::{Shown, money};
use crate::{
    fit::{ANNUAL_DISCOUNT, HORIZON_WEEKS, QUARTER_DAYS},
    selection::day,
    view::{ACTIVE_DAYS, Figure, RETAINED_DAYS, View},
};

/// A customary rule: a customer should bring three times what it costs to win one.
const CLV_TO_CAC: f64 = 3.0;

pub(super) fn kpis(shown: &Shown<'_>, view: &View) -> Kpis {
    let mut kpis = Vec::new();
    if shown.fit.model.is_ok() {
        kpis.push(clv(shown, view));
    }
    kpis.push(active(shown, view));
    if shown.fit.model.is_ok() {
        kpis.push(clv_to_cac(shown, view));
    }
    kpis.extend([retained(view), revenue(view)]);
    Kpis::new(kpis)
}

/// The change as a part of what it was.
fn relative(now: Option<f64>, before: Option<f64>) -> f64 {
    now.zip(before).filter(|(_, before)| *before != 0.0).map_or(f64::NAN, |(now, before)| now / before - 1.0)
}

fn shown_as(value: Option<f64>, format: &Format) -> String {
    value.map_or_else(|| "n/a".to_owned(), |value| format.text(value))
}

fn clv(shown: &Shown<'_>, view: &View) -> Kpi {
    let Figure { now, before, .. } = view.clv;
    let margin = if shown.book.has_margin {
        format!(" × gross margin ({})", Format::percent(1).text(shown.book.margin_rate))
    } else {
        " (revenue: the data has no margins)".to_owned()
    };
    Kpi::new(format!("Average value, {HORIZON_WEEKS} weeks"), shown_as(now, &money()))
        .trend(relative(now, before), &Format::percent(1), Wish::Up, "vs a quarter ago")
        .about(format!(
            "Purchases expected of a customer × spend expected per purchase{margin}, over the {HORIZON_WEEKS} weeks after \
             {}, discounted by {} a year. The comparison values the customers as they were known {QUARTER_DAYS} days \
             before, with the same fitted models: it shows how the customers changed, not how the fit did.",
            day(shown.fit.until).long(),
            Format::percent(0).text(ANNUAL_DISCOUNT),
        ))
}

fn active(shown: &Shown<'_>, view: &View) -> Kpi {
    let Figure { now, before, spark } = &view.active;
    Kpi::new("Active customers", shown_as(*now, &Format::number(0)))
        .trend(relative(*now, *before), &Format::percent(1), Wish::Up, format!("vs the {ACTIVE_DAYS} days before"))
        .spark(spark.iter().copied())
        .about(format!(
            "Customers with an order in the {ACTIVE_DAYS} days up to {}. The line counts them month by month.",
            day(shown.selection.end(shown.book)).long()
        ))
}

fn clv_to_cac(shown: &Shown<'_>, view: &View) -> Kpi {
    let label = "Value to acquisition cost";
    let about = "Average value ÷ cost to win a customer (CAC): what was spent in the months of the period, divided by the \
                 customers who first bought in these months. What was spent on a segment or a country is not known, so CAC \
                 follows the period and the channel only.";
    let Some((clv, cac)) = view.clv.now.zip(view.cac) else {
        let why = if shown.acquisition.is_some() { "in this period or channel" } else { "for this tenant" };
        return Kpi::new(label, "n/a").state(Tone::Plain, "No spend is known", why).about(about);
    };
    let ratio = Format::number(1);
    let (tone, word) = if clv / cac >= CLV_TO_CAC { (Tone::Good, "Above") } else { (Tone::Warn, "Below") };
    let was =
        view.clv.before.map(|before| format!("was {} a quarter ago; ", ratio.text(before / cac))).unwrap_or_default();
    let note = format!("{was}CAC {}", money().text(cac));
    Kpi::new(label, ratio.text(clv / cac))
        .state(tone, format!("{word} the {} target", ratio.text(CLV_TO_CAC)), note)
        .about(about)
}

fn retained(view: &View) -> Kpi {
    let Figure { now, before, spark } = &view.retained;
    let points = now.zip(*before).map_or(f64::NAN, |(now, before)| (now - before) * 100.0);
    Kpi::new(format!("Retained after {RETAINED_DAYS} days"), shown_as(*now, &Format::percent(1)))
        .trend(points, &Format::number(1).suffix(" pts"), Wish::Up, "vs the quarter before")
        .spark(spark.iter().copied())
        .about(format!(
            "Of the customers who first bought in the period, the share who bought again between day {} and day {} after. \
             Only those count for whom day {} has come, so that all had the same chance. The change is that of the latest \
             {QUARTER_DAYS} days of such customers against the {QUARTER_DAYS} before; the line is by month of the first order.",
            RETAINED_DAYS + 1,
            2 * RETAINED_DAYS,
            2 * RETAINED_DAYS,
        ))
}

fn revenue(view: &View) -> Kpi {
    let change = relative(Some(view.last_quarter), view.revenue.before);
    Kpi::new("Revenue", shown_as(view.revenue.now, &money()))
        .trend(change, &Format::percent(1), Wish::Up, format!("over {QUARTER_DAYS} days vs the {QUARTER_DAYS} before"))
        .spark(view.revenue.spark.iter().copied())
        .about("All orders of the customers shown, within the period. The line is by month.")
}
