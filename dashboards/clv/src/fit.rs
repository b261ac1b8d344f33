//! The models on a whole book, once per version of the data and end of the calibration. Filters never refit. Pure.

use std::collections::HashMap;

use jiff::civil::Date;

use crate::{
    book::{Book, days_before},
    model::{
        BgNbdFit, ClvOptions, CustomerSummary, GammaGammaFit, ModelError, bgnbd, customer_table, gamma_gamma,
        rfm::{self, Segment},
        summary::days_between,
        tracking::{self, TrackingPoint},
    },
};

/// Weeks that a customer's value looks ahead: a year.
pub(crate) const HORIZON_WEEKS: u32 = 52;
/// Customary cost of capital for such a figure.
pub(crate) const ANNUAL_DISCOUNT: f64 = 0.10;
/// A quarter: how far back the value is compared.
pub(crate) const QUARTER_DAYS: i64 = 91;

const DAYS_PER_WEEK: usize = 7;

/// What the models say of one customer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Worth {
    /// Present value of a year's margin.
    pub(crate) clv: f64,
    /// Probability that the customer is still one.
    pub(crate) p_alive: f64,
    /// Purchases expected within a year.
    pub(crate) purchases: f64,
    /// Revenue expected per purchase.
    pub(crate) spend: f64,
    /// The value a quarter earlier, under the same models; `None` who came since.
    pub(crate) before: Option<f64>,
}

/// One customer at the end of the calibration.
#[derive(Debug, Clone)]
pub(crate) struct Standing {
    /// By recency, frequency and money.
    pub(crate) segment: Segment,
    /// Where a model fits.
    pub(crate) worth: Option<Worth>,
}

/// The fitted models, and how they did.
#[derive(Debug, Clone)]
pub(crate) struct Model {
    /// The purchase model.
    pub(crate) purchases: BgNbdFit,
    /// The spend model.
    pub(crate) spend: GammaGammaFit,
    /// Repeat purchases as they were and as the model says, by week.
    pub(crate) tracking: Vec<TrackingPoint>,
}

/// What was computed of a book.
#[derive(Debug, Clone)]
pub(crate) struct Fit {
    /// The models saw what was bought until this day.
    pub(crate) until: Date,
    /// One per customer of the book; `None` who came later.
    pub(crate) standings: Vec<Option<Standing>>,
    /// The models, or why there are none.
    pub(crate) model: Result<Model, ModelError>,
}

impl Fit {
    /// Fits. Without `until` the models see everything.
    pub(crate) fn new(book: &Book, until: Option<Date>) -> Self {
        let until = until.map_or(book.last_day, |until| until.min(book.last_day));
        let known: Vec<Option<CustomerSummary>> = book.customers.iter().map(|one| book.summary(one, until)).collect();
        let summaries: Vec<CustomerSummary> = known.iter().flatten().cloned().collect();
        let mut segments = rfm::score(&summaries, until).into_iter().map(|score| score.segment);
        let mut standings: Vec<Option<Standing>> = known
            .iter()
            .map(|one| one.as_ref().and_then(|_| segments.next()))
            .map(|one| one.map(|segment| Standing { segment, worth: None }))
            .collect();
        let model = model(book, &summaries, until);
        let worths = model.as_ref().map_err(Clone::clone).and_then(|model| worths(book, &summaries, model, until));
        let model = match worths {
            Ok(worths) => {
                for (standing, worth) in standings.iter_mut().flatten().zip(worths) {
                    standing.worth = Some(worth);
                }
                model
            }
            Err(error) => Err(error),
        };
        Self { until, standings, model }
    }

    /// Whether the models saw everything, so that nothing is left to test them on.
    pub(crate) fn saw_everything(&self, book: &Book) -> bool {
        self.until == book.last_day
    }

    /// What the cache charges for it: roughly its bytes.
    pub(crate) fn weight(&self) -> u32 {
        u32::try_from(self.standings.len() * (size_of::<Standing>() + 32)).unwrap_or(u32::MAX)
    }
}

fn model(book: &Book, summaries: &[CustomerSummary], until: Date) -> Result<Model, ModelError> {
    let (purchases, spend) = both(|| bgnbd::fit(summaries), || gamma_gamma::fit(summaries));
    let (purchases, spend) = (purchases?, spend?);
    let days = book.customers.iter().map(|customer| book.days(customer));
    Ok(Model { purchases, spend, tracking: tracking::cumulative(days, &purchases.params, until, book.last_day) })
}

/// Every customer's value now and, with what was known then and the same models, a quarter ago. So the difference is the
/// customers', not the fit's.
fn worths(book: &Book, summaries: &[CustomerSummary], model: &Model, until: Date) -> Result<Vec<Worth>, ModelError> {
    let options = ClvOptions { weeks: HORIZON_WEEKS, annual_discount_rate: ANNUAL_DISCOUNT, margin: book.margin_rate };
    let value = |summaries: &[CustomerSummary]| {
        customer_table(summaries, &model.purchases.params, &model.spend.params, &options)
    };
    let quarter_ago = days_before(until, QUARTER_DAYS);
    let earlier: Vec<CustomerSummary> =
        book.customers.iter().filter_map(|customer| book.summary(customer, quarter_ago)).collect();
    let (now, then) = both(|| value(summaries), || value(&earlier));
    let before: HashMap<String, f64> = then?.into_iter().map(|value| (value.customer_id, value.clv)).collect();
    let worth = |value: crate::model::CustomerValue| Worth {
        clv: value.clv,
        p_alive: value.p_alive,
        purchases: value.expected_purchases,
        spend: value.expected_spend,
        before: before.get(&value.customer_id).copied(),
    };
    Ok(now?.into_iter().map(worth).collect())
}

/// Two calculations at a time: neither needs what the other finds.
fn both<A: Send, B>(first: impl FnOnce() -> A + Send, second: impl FnOnce() -> B) -> (A, B) {
    std::thread::scope(|scope| {
        let first = scope.spawn(first);
        let second = second();
        // A panic of one is a panic of both, as if they had been calculated one after the other.
        (first.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), second)
    })
}

/// How far the model is off, in repeat purchases: over the calibration, and after it where something is left.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Miss {
    /// What was bought.
    pub(crate) actual: f64,
    /// What the model says.
    pub(crate) predicted: f64,
    /// Over how many weeks.
    pub(crate) weeks: u32,
}

impl Miss {
    /// The model's surplus as a part of what was bought; `None` where nothing was.
    pub(crate) fn share(self) -> Option<f64> {
        (self.actual > 0.0).then(|| self.predicted / self.actual - 1.0)
    }

    /// The weeks that ended within the calibration, and those that began after it (none where the models saw everything). The
    /// week in which it ended is neither.
    pub(crate) fn of(model: &Model, first_day: Date, until: Date) -> (Option<Self>, Option<Self>) {
        let seen = usize::try_from(days_between(first_day, until) + 1).unwrap_or(0);
        let at = |weeks: usize| weeks.checked_sub(1).and_then(|last| model.tracking.get(last)).copied();
        let within = at((seen / DAYS_PER_WEEK).min(model.tracking.len()));
        let within = within.map(|p| Self { actual: p.actual, predicted: p.predicted, weeks: p.week });
        let split = at(seen.div_ceil(DAYS_PER_WEEK));
        let rest = split.zip(model.tracking.last()).filter(|(split, end)| end.week > split.week);
        let after = rest.map(|(split, end)| Self {
            actual: end.actual - split.actual,
            predicted: end.predicted - split.predicted,
            weeks: end.week - split.week,
        });
        (within, after)
    }
}

#[cfg(test)]
mod tests {
    use jiff::{ToSpan as _, civil::date};

    use super::*;
    use crate::book::Row;

    fn book() -> Book {
        let row = |customer: i64, day: i64, revenue: f64| Row {
            customer: format!("C{customer:03}"),
            date: date(2025, 1, 1).saturating_add(day.days()),
            revenue,
            margin: None,
            channel: None,
            country: None,
        };
        let orders = |customer: i64| {
            (0..=customer % 5)
                .map(move |n| row(customer, customer + n * (17 + customer % 7), 20.0 + (customer * 7 % 31) as f64))
        };
        Book::new((0..120).flat_map(orders).collect()).unwrap()
    }

    #[test]
    fn the_quarter_before_is_what_the_same_models_say_of_what_was_known_then() {
        let book = book();
        let fit = Fit::new(&book, None);
        let model = fit.model.as_ref().unwrap();
        let then = days_before(fit.until, QUARTER_DAYS);
        let options = ClvOptions { weeks: HORIZON_WEEKS, annual_discount_rate: ANNUAL_DISCOUNT, margin: 1.0 };
        for (customer, standing) in book.customers.iter().zip(&fit.standings) {
            let worth = standing.as_ref().unwrap().worth.unwrap();
            let known = book.summary(customer, then);
            let expected = known.map(|summary| {
                customer_table(&[summary], &model.purchases.params, &model.spend.params, &options).unwrap()[0].clv
            });
            assert_eq!(worth.before, expected, "{}", customer.id);
        }
    }

    #[test]
    fn who_came_after_the_calibration_has_no_standing_and_the_rest_is_left_to_test() {
        let book = book();
        let until = days_before(book.last_day, 60);
        let fit = Fit::new(&book, Some(until));
        for (customer, standing) in book.customers.iter().zip(&fit.standings) {
            assert_eq!(standing.is_some(), book.first_order(customer) <= until);
        }
        let (within, after) = Miss::of(fit.model.as_ref().unwrap(), book.first_day, fit.until);
        let (within, after) = (within.unwrap(), after.unwrap());
        let seen = days_between(book.first_day, fit.until) + 1;
        assert_eq!(i64::from(within.weeks), seen / 7);
        let weeks = i64::try_from(fit.model.as_ref().unwrap().tracking.len()).unwrap();
        assert_eq!(i64::from(after.weeks), weeks - (seen + 6) / 7, "a week that was seen in part is no forecast");
        assert!(after.predicted > 0.0, "{after:?}");
        let whole = Fit::new(&book, None);
        assert_eq!(Miss::of(whole.model.as_ref().unwrap(), book.first_day, whole.until).1, None);
    }

    #[test]
    fn a_book_that_no_model_fits_still_has_its_customers() {
        let row = |n: i64| Row {
            customer: format!("C{n}"),
            date: date(2026, 1, 1),
            revenue: 1.0,
            margin: None,
            channel: None,
            country: None,
        };
        let fit = Fit::new(&Book::new((0..40).map(row).collect()).unwrap(), None);
        assert_eq!(fit.model.as_ref().map(|_| ()), Err(&ModelError::NoRepeaters));
        assert_eq!(fit.standings.iter().flatten().count(), 40);
    }
}
