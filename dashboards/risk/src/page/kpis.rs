//! Key figures: each with its limit, a word for how it stands to it, and the change on the month before.

use kyros_dashboard_kit::charts::{Format, Kpi, Kpis, Tone};

use super::{View, month_name};
use crate::model::{limits, limits::State};

/// Without a limit: what a part of the book is not held against.
const NO_LIMIT: &str = "No limit for a part of the book";

/// A figure that is held against a limit.
struct Limited {
    label: &'static str,
    about: String,
    value: f64,
    format: Format,
    /// Of the month before.
    before: Option<f64>,
    /// The limit, and what it is in words.
    limit: Option<(f64, String)>,
    /// What is said where there is no limit.
    no_limit: &'static str,
}

impl Limited {
    fn kpi(self, month_before: &str) -> Kpi {
        let change = self.before.map(|before| change(self.value - before, &self.format, month_before));
        let (tone, word, words) = match self.limit {
            Some((limit, words)) => {
                let state = State::of(self.value, limit);
                let tone = match state {
                    State::Within => Tone::Good,
                    State::Near => Tone::Warn,
                    State::Over => Tone::Bad,
                };
                (tone, format!("{} limit", state.word()), words)
            }
            None => (Tone::Plain, self.no_limit.to_owned(), String::new()),
        };
        let note: Vec<String> = [Some(words).filter(|words| !words.is_empty()), change].into_iter().flatten().collect();
        let kpi = Kpi::new(self.label, self.format.text(self.value));
        kpi.state(tone, word, note.join(" · ")).about(self.about)
    }
}

/// `▲ up 1.2 k on Aug 2026`. A difference of shares is in percentage points, lest it be taken for a change in per cent.
fn change(amount: f64, format: &Format, since: &str) -> String {
    let text = format.text(amount.abs()).replace('%', "\u{a0}pts");
    if text == format.text(0.0).replace('%', "\u{a0}pts") {
        return format!("unchanged on {since}");
    }
    let (arrow, word) = if amount > 0.0 { ('▲', "up") } else { ('▼', "down") };
    format!("{arrow} {word} {text} on {since}")
}

/// All of them.
pub(super) fn kpis(view: &View<'_>) -> Kpis {
    let before = month_name(view.credit.before().and_then(|month| month.as_of));
    let credit = [exposure(view), expected_loss(view), past_due(view), concentration(view)];
    let market = [value_at_risk(view), expected_shortfall(view)];
    Kpis::new(credit.into_iter().chain(market).flatten().map(|figure| figure.kpi(&before)))
}

fn exposure(view: &View<'_>) -> Option<Limited> {
    let now = view.credit.now()?;
    let money = Format::compact();
    let limit = view.credit.exposure_a_year_before().map(|before| {
        let limit = before * limits::EXPOSURE_GROWTH;
        let growth = Format::percent(0).text(limits::EXPOSURE_GROWTH - 1.0);
        (limit, format!("{}, {growth} above a year before", money.text(limit)))
    });
    Some(Limited {
        label: "Exposure at default",
        about: format!(
            "What would be owed if every obligor failed now, those in default included ({}). The limit is on its growth \
             over twelve months, or since the first snapshot where the data is younger.",
            money.text(now.in_default)
        ),
        value: now.exposure,
        before: view.credit.before().map(|month| month.exposure),
        format: money,
        limit,
        no_limit: "No month to compare with",
    })
}

fn expected_loss(view: &View<'_>) -> Option<Limited> {
    let now = view.credit.now()?;
    let money = Format::compact();
    let share = Format::percent(2).text(limits::EXPECTED_LOSS);
    Some(Limited {
        label: "Expected loss",
        about: "PD × LGD × exposure at default, of a year, of the names that are not in default: what those have lost is no \
                longer expected."
            .to_owned(),
        value: now.expected_loss,
        before: view.credit.before().map(|month| month.expected_loss),
        limit: Some((now.loss_limit(), format!("{}, {share} of exposure", money.text(now.loss_limit())))),
        format: money,
        no_limit: "",
    })
}

fn past_due(view: &View<'_>) -> Option<Limited> {
    if !view.book.has_history() {
        return None;
    }
    let percent = Format::percent(2);
    Some(Limited {
        label: "30+ days past due",
        about: "Share of the exposure whose oldest payment is more than 30 days late, names in default included."
            .to_owned(),
        value: view.credit.now()?.past_due_30?,
        before: view.credit.before().and_then(|month| month.past_due_30),
        limit: Some((limits::PAST_DUE_30, format!("{} of exposure", percent.text(limits::PAST_DUE_30)))),
        format: percent,
        no_limit: "",
    })
}

fn concentration(view: &View<'_>) -> Option<Limited> {
    let number = Format::number(4);
    let limit = (!view.scope.is_part()).then(|| (limits::CONCENTRATION, number.text(limits::CONCENTRATION)));
    Some(Limited {
        label: "Concentration (HHI)",
        about: "Herfindahl-Hirschman index by obligor: the sum of the squared shares of the exposure. 1 is all with one; its \
                reciprocal is the number of equal obligors that would be as concentrated."
            .to_owned(),
        value: view.credit.now()?.concentration?,
        before: view.credit.before().and_then(|month| month.concentration),
        limit,
        format: number,
        no_limit: NO_LIMIT,
    })
}

/// The exposure of the whole book, which the limits of market risk are shares of, and the words of such a limit.
fn market_limit(view: &View<'_>, share: f64) -> Option<(f64, String)> {
    if view.filters.get("desk").is_some() {
        return None;
    }
    let exposure = crate::model::position::exposure(&view.book.months.get(view.month)?.positions);
    let limit = share * exposure;
    (limit > 0.0).then(|| {
        let words = format!("{}, {} of all exposure", Format::compact().text(limit), Format::percent(2).text(share));
        (limit, words)
    })
}

fn value_at_risk(view: &View<'_>) -> Option<Limited> {
    let market = view.market.as_ref().ok()?;
    Some(Limited {
        label: "Value at risk 99 %",
        about: "The loss of one day that the history of the last 250 trading days exceeded on one day in a hundred."
            .to_owned(),
        value: market.tail.value_at_risk,
        before: market.before.map(|before| before.value_at_risk),
        format: Format::compact(),
        limit: market_limit(view, limits::VALUE_AT_RISK),
        no_limit: "No limit for one desk",
    })
}

fn expected_shortfall(view: &View<'_>) -> Option<Limited> {
    let market = view.market.as_ref().ok()?;
    Some(Limited {
        label: "Expected shortfall 97.5 %",
        about: "The mean loss of the worst 2.5 % of the last 250 trading days.".to_owned(),
        value: market.tail.expected_shortfall,
        before: market.before.map(|before| before.expected_shortfall),
        format: Format::compact(),
        limit: market_limit(view, limits::EXPECTED_SHORTFALL),
        no_limit: "No limit for one desk",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_said_with_an_arrow_and_a_word() {
        let money = Format::compact();
        assert_eq!(change(1_200.0, &money, "Aug 2026"), "▲ up 1.2\u{a0}k on Aug 2026");
        assert_eq!(change(-0.006, &Format::percent(2), "Aug 2026"), "▼ down 0.60\u{a0}pts on Aug 2026");
        assert_eq!(change(0.000_01, &Format::percent(2), "Aug 2026"), "unchanged on Aug 2026");
    }
}
