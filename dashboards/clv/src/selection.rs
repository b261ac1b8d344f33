//! Which customers and orders are looked at: the address's filters, understood. Pure.

use jiff::{ToSpan as _, civil::Date};
use kyros_dashboard_kit::{FilterError, Filters, Query, charts::Date as Day};

use crate::{
    book::{Book, Customer, Order},
    fit::Fit,
    model::rfm::Segment,
};

/// Choices in a list. A source with more distinct channels than this has put something else into that column.
const CHOICES: usize = 200;
/// Presets of how much is held back from the models, in weeks.
const HELD_BACK: [i64; 2] = [13, 26];

/// The filters, understood.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Selection {
    /// Orders from this day.
    pub(crate) from: Option<Date>,
    /// Orders to this day.
    pub(crate) to: Option<Date>,
    /// Customers of this segment.
    pub(crate) segment: Option<Segment>,
    /// Customers of this channel (its place in the book).
    pub(crate) channel: Option<u16>,
    /// Customers of this country (its place in the book).
    pub(crate) country: Option<u16>,
}

impl Selection {
    /// Whether an order is within the period.
    pub(crate) fn takes(&self, order: &Order) -> bool {
        self.within(order.date)
    }

    /// Whether a day is within the period.
    pub(crate) fn within(&self, day: Date) -> bool {
        self.from.is_none_or(|from| day >= from) && self.to.is_none_or(|to| day <= to)
    }

    /// Whether a customer is one of those looked at, whenever the orders were.
    pub(crate) fn has(&self, book: &Book, fit: &Fit, place: usize) -> bool {
        let Customer { channel, country, .. } = book.customers[place];
        let segment = || fit.standings[place].as_ref().map(|standing| standing.segment);
        (self.channel.is_none() || self.channel == channel)
            && (self.country.is_none() || self.country == country)
            && (self.segment.is_none() || self.segment == segment())
    }

    /// Whether a customer is looked at and bought within the period.
    pub(crate) fn shows(&self, book: &Book, fit: &Fit, place: usize) -> bool {
        self.has(book, fit, place) && book.orders(&book.customers[place]).iter().any(|order| self.takes(order))
    }

    /// The same without one filter.
    #[must_use]
    pub(crate) fn without(self, name: &str) -> Self {
        match name {
            "from" => Self { from: None, ..self },
            "to" => Self { to: None, ..self },
            "segment" => Self { segment: None, ..self },
            "channel" => Self { channel: None, ..self },
            "country" => Self { country: None, ..self },
            _ => self,
        }
    }

    /// The last day that counts: the period's, or the book's.
    pub(crate) fn end(&self, book: &Book) -> Date {
        self.to.map_or(book.last_day, |to| to.min(book.last_day))
    }
}

/// The day until which the models are to see; it is known before there is any data.
pub(crate) fn until(asked: &Query) -> Result<Option<Date>, FilterError> {
    let any = Day::new(2000, 1, 1).zip(Day::new(2000, 1, 1));
    let Some((earliest, latest)) = any else { return Ok(None) };
    let filters = Filters::new("/", asked.clone()).date("until", "Fit until", earliest, latest)?;
    Ok(filters.day("until").and_then(civil))
}

/// The page's filters, as this book has choices for them.
pub(crate) fn filters(asked: Query, book: &Book, fit: &Fit) -> Result<(Filters, Selection), FilterError> {
    let first = |names: &[String]| names.iter().take(CHOICES).cloned().collect::<Vec<_>>();
    let present = |segment: &&Segment| fit.standings.iter().flatten().any(|standing| standing.segment == **segment);
    let segments: Vec<Segment> = Segment::ALL.iter().filter(present).copied().collect();
    let (earliest, latest) = (day(book.first_day), day(book.last_day));
    let mut filters = Filters::new("/", asked)
        .keep("sort")
        .date("from", "From", earliest, latest)?
        .date("to", "To", earliest, latest)?
        .ordered("from", "to", "Period")?
        .select("segment", "Segment", "All segments", segments.iter().map(|segment| segment.label()))?;
    if !book.channels.is_empty() {
        filters = filters.select("channel", "Channel", "All channels", first(&book.channels))?;
    }
    if !book.countries.is_empty() {
        filters = filters.select("country", "Country", "All countries", first(&book.countries))?;
    }
    filters = filters.date("until", "Fit until", earliest, latest)?;
    let place = |names: &[String], name: &str| {
        filters
            .get(name)
            .and_then(|asked| names.iter().position(|known| known == asked))
            .and_then(|p| u16::try_from(p).ok())
    };
    let selection = Selection {
        from: filters.day("from").and_then(civil),
        to: filters.day("to").and_then(civil),
        segment: filters.get("segment").and_then(|name| segments.iter().find(|s| s.label() == name)).copied(),
        channel: place(&book.channels, "channel"),
        country: place(&book.countries, "country"),
    };
    Ok((presets(filters, book), selection))
}

fn presets(mut filters: Filters, book: &Book) -> Filters {
    let last = book.last_day;
    let tomorrow = last.saturating_add(1.day());
    let starts = [
        ("All", None),
        ("Last 12 months", Some(tomorrow.saturating_sub(12.months()))),
        ("Last 6 months", Some(tomorrow.saturating_sub(6.months()))),
        ("Last 90 days", Some(tomorrow.saturating_sub(90.days()))),
        ("Year to date", Some(last.first_of_year())),
    ];
    for (label, from) in starts {
        let from = from.map(|from| from.to_string()).unwrap_or_default();
        filters = filters.preset("Period", label, &[("from", &from), ("to", "")]);
    }
    filters = filters.preset("Models", "See all data", &[("until", "")]);
    for weeks in HELD_BACK {
        let until = last.saturating_sub(weeks.weeks());
        if until > book.first_day {
            filters = filters.preset("Models", format!("Hold back {weeks} weeks"), &[("until", &until.to_string())]);
        }
    }
    filters
}

/// A day as charts and filters have it.
pub(crate) fn day(date: Date) -> Day {
    let fits = u8::try_from(date.month()).ok().zip(u8::try_from(date.day()).ok());
    let day = fits.and_then(|(month, day)| Day::new(date.year(), month, day));
    day.unwrap_or_default()
}

/// A day of the kit's calendar in ours; both know the same days.
fn civil(day: Day) -> Option<Date> {
    day.to_string().parse().ok()
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;
    use proptest::prelude::*;

    use super::*;
    use crate::book::Row;

    fn book() -> Book {
        let row = |customer: &str, month: i8, channel: &str, country: &str| Row {
            customer: customer.into(),
            date: date(2026, month, 1),
            revenue: 1.0,
            margin: None,
            channel: Some(channel.into()),
            country: Some(country.into()),
        };
        Book::new(vec![row("a", 1, "Email", "DE"), row("a", 5, "Email", "DE"), row("b", 3, "Paid & more", "FR")])
            .unwrap()
    }

    fn select(query: &str) -> Result<Selection, String> {
        let book = book();
        let fit = Fit::new(&book, None);
        filters(Query::parse(query).unwrap(), &book, &fit)
            .map(|(_, selection)| selection)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn filters_choose_customers_and_the_period_their_orders() {
        let book = book();
        let fit = Fit::new(&book, None);
        let shown = |query: &str| {
            let selection = select(query).unwrap();
            (0..2).filter(|place| selection.shows(&book, &fit, *place)).collect::<Vec<_>>()
        };
        assert_eq!(shown(""), [0, 1]);
        assert_eq!(shown("channel=Paid+%26+more"), [1]);
        assert_eq!(shown("country=DE"), [0]);
        assert_eq!(shown("from=2026-04-01"), [0]);
        assert_eq!(shown("to=2026-02-28&country=FR"), [] as [usize; 0]);
        assert_eq!(select("to=2027-01-01").unwrap().end(&book), book.last_day);
    }

    #[test]
    fn what_the_data_does_not_know_is_refused() {
        assert!(select("channel=email").unwrap_err().starts_with("Channel"));
        assert!(select("segment=Champion").unwrap_err().starts_with("Segment"));
        assert!(select("from=2026-02-01&to=2026-01-31").unwrap_err().starts_with("Period"));
        assert!(until(&Query::parse("until=1997-09-31").unwrap()).is_err());
        assert_eq!(until(&Query::parse("until=1997-09-30").unwrap()).unwrap(), Some(date(1997, 9, 30)));
    }

    proptest! {
        #[test]
        fn any_address_is_a_selection_or_a_refusal(query in "(from|to|segment|channel|country|x)=.{0,12}(&(to|channel)=[-0-9A-Za-z%+]{0,12})?") {
            if let Ok(asked) = Query::parse(&query) {
                let book = book();
                let fit = Fit::new(&book, None);
                if let Ok((filters, selection)) = filters(asked, &book, &fit) {
                    prop_assert_eq!(selection.channel.is_some(), filters.get("channel").is_some());
                    prop_assert_eq!(selection.from.is_some(), filters.get("from").is_some());
                    for active in filters.active() {
                        prop_assert_ne!(selection.without(active.name), selection, "{:?}", active);
                    }
                }
            }
        }

        #[test]
        fn both_calendars_know_the_same_days(year in 1_i16..9999, month in 0_i8..14, day in 0_i8..33) {
            let text = format!("{year:04}-{month:02}-{day:02}");
            prop_assert_eq!(text.parse::<Day>().is_ok(), text.parse::<Date>().is_ok(), "{}", text);
        }
    }
}
