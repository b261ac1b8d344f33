//! The models, shown honestly: actual against predicted, how far off in words, what was fitted, and what to be wary of.

use jiff::civil::Date;
use kyros_dashboard_kit::{
    Panel,
    charts::{Axis, Bar, Bars, Format, Line, Series, Size},
};

use super::{Shown, count, money};
use crate::{
    fit::{Miss, Model},
    model::{GammaGammaFit, summary::days_between},
    selection::day,
    view::{self, View},
};

/// Frequency and spend more alike than this are not independent, which the spend model takes them to be.
const CORRELATED: f64 = 0.3;
/// A forecast further off than this is no basis for a decision.
const FAR_OFF: f64 = 0.10;

/// What to bear in mind when reading the figures.
pub(super) fn remarks(shown: &Shown<'_>, view: &View) -> Vec<String> {
    let mut remarks = Vec::new();
    if shown.book.left_out > 0 {
        let left_out = count(shown.book.left_out);
        remarks.push(format!("{left_out} rows have no customer, no day or no amount and are left out."));
    }
    let model = match &shown.fit.model {
        Ok(model) => model,
        Err(error) => {
            remarks.push(format!("No model fits this data: {error}. What customers are worth is left out."));
            return remarks;
        }
    };
    if !(model.purchases.converged && model.spend.converged) {
        remarks.push("The fit did not settle: the values are the best found, not the best there are.".to_owned());
    }
    if model.purchases.at_boundary || model.spend.at_boundary {
        remarks.push(
            "Some parameter is not determined by this data: it ran against the end of its range. Order customers by value, \
             but do not take the amounts at their word."
                .to_owned(),
        );
    }
    if model.spend.frequency_spend_correlation.abs() > CORRELATED {
        remarks.push(format!(
            "Customers who buy often spend {} per order (correlation {:.2}), while the model takes both as independent: values \
             are biased.",
            if model.spend.frequency_spend_correlation > 0.0 { "more" } else { "less" },
            model.spend.frequency_spend_correlation
        ));
    }
    if view.unvalued > 0 {
        remarks.push(format!(
            "{} of the customers shown came after {}, the last day that the models saw, and have no value yet.",
            count(view.unvalued),
            day(shown.fit.until).long()
        ));
    }
    remarks
}

pub(super) fn panels(shown: &Shown<'_>, view: &View) -> Vec<Panel> {
    let Ok(model) = &shown.fit.model else { return Vec::new() };
    vec![Panel::chart(&tracking(shown, model)), facts(shown, model), Panel::chart(&alive(shown, view))]
}

fn tracking(shown: &Shown<'_>, model: &Model) -> Line {
    let meta = shown
        .meta("tracking", "Repeat purchases: actual against model")
        .note("All customers, cumulative, by week; filters do not refit the models")
        .rows("Week")
        .summary(in_words(shown, model).join(" "));
    let weeks = model.tracking.iter().map(|point| point.week.to_string());
    let line = Line::new(meta, Axis::categories(weeks), Format::compact())
        .series(Series::new("Actual", model.tracking.iter().map(|point| point.actual)))
        .series(Series::new("Model", model.tracking.iter().map(|point| point.predicted)));
    match calibration_week(shown.book.first_day, shown.fit.until) {
        Some(place) if !shown.fit.saw_everything(shown.book) => {
            line.mark(place, format!("the models saw until {}", day(shown.fit.until).long()))
        }
        _ => line,
    }
}

/// The place on the axis of the week in which the calibration ended.
fn calibration_week(first: Date, until: Date) -> Option<usize> {
    usize::try_from(days_between(first, until) / 7).ok()
}

/// How far the model is off, as a person would say it.
fn in_words(shown: &Shown<'_>, model: &Model) -> Vec<String> {
    let said = |miss: Miss| {
        let [predicted, actual] = [miss.predicted, miss.actual].map(|n| Format::number(0).text(n));
        let off = match miss.share() {
            Some(share) if share.abs() < 0.0005 => "exactly as many".to_owned(),
            Some(share) => {
                let side = if share > 0.0 { "too many" } else { "too few" };
                format!("{} {side}", Format::percent(1).text(share.abs()))
            }
            None => "none came".to_owned(),
        };
        (predicted, actual, off)
    };
    let (within, after) = Miss::of(model, shown.book.first_day, shown.fit.until);
    let mut words = Vec::new();
    if let Some(miss) = within {
        let (predicted, actual, off) = said(miss);
        words.push(format!(
            "Over the {} weeks that it saw, the model says {predicted} repeat purchases and {actual} came: {off}.",
            miss.weeks
        ));
    }
    match after {
        Some(miss) => {
            let (predicted, actual, off) = said(miss);
            let verdict = match miss.share() {
                Some(share) if share.abs() <= FAR_OFF => "",
                _ => " That is too far off to plan with.",
            };
            words.push(format!(
                "In the {} weeks after, which it did not see, it predicted {predicted} and {actual} came: {off}.{verdict}",
                miss.weeks
            ));
        }
        None => words.push(
            "The models saw everything, so nothing is left to test them on: hold some weeks back to see a forecast."
                .to_owned(),
        ),
    }
    words
}

fn facts(shown: &Shown<'_>, model: &Model) -> Panel {
    let (purchases, spend) = (&model.purchases, &model.spend);
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
            ("Customers seen", count(shown.fit.standings.iter().flatten().count())),
            ("Fitted until", shown.fit.until.to_string()),
            ("Converged", yes_no(purchases.converged && spend.converged)),
            ("Some parameter is not determined by this data", yes_no(purchases.at_boundary || spend.at_boundary)),
        ],
        &in_words(shown, model),
    )
}

/// At a boundary the mean of the fitted distribution says more about the boundary than about the customers.
fn mean_spend(spend: &GammaGammaFit) -> String {
    if spend.at_boundary { "not determined".to_owned() } else { money().text(spend.params.population_mean()) }
}

fn alive(shown: &Shown<'_>, view: &View) -> Bars {
    let meta = shown
        .meta("alive", "Still customers?")
        .note("Customers shown, by the model's probability that they are")
        .rows("Probability")
        .size(Size::Full);
    let bar =
        |(step, customers): (usize, usize)| Bar::new(format!("{}–{}%", step * 10, (step + 1) * 10), customers as f64);
    Bars::vertical(meta, Format::compact())
        .value_name("Customers")
        .bars(view::alive(shown.fit, &view.customers).into_iter().enumerate().map(bar))
}
