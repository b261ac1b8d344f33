//! What the address selects: a month, a part of the book, a desk. The values on offer are those of the tenant's own book.

use kyros_dashboard_kit::{Choice, FilterError, Filters, Keep, Query};

use crate::{
    book::{Book, Month, Scope},
    page::month_name,
};

/// The page's own path.
pub(crate) const PAGE: &str = "/";

/// Choices in a list. A source with more distinct portfolios than this has put something else into that column.
const CHOICES: usize = 200;

/// The filters of the page; a value that the book has not is refused.
pub(crate) fn filters(book: &Book, asked: Query) -> Result<Filters, FilterError> {
    let mut filters = Filters::new(PAGE, asked).keep("sort");
    if let Some((latest, earlier)) = book.months.split_last().filter(|_| book.has_history()) {
        let choices = earlier.iter().rev().map(|month| Choice::named(month_value(month), month_name(month.as_of)));
        // The latest month can be named too, so that a link to it still shows it when a newer one has come.
        let choices = std::iter::once(Choice::named(month_value(latest), month_name(latest.as_of))).chain(choices);
        filters = filters.select("as_of", "As of", "Latest month", choices)?;
    }
    let first = |values: &[String]| values.iter().take(CHOICES).cloned().collect::<Vec<_>>();
    filters = filters
        .select("portfolio", "Portfolio", "All portfolios", first(&book.portfolios))?
        .select("rating", "Rating", "All ratings", first(&book.ratings))?
        .select("country", "Country", "All countries", first(&book.countries))?;
    if book.desks.is_empty() { Ok(filters) } else { filters.select("desk", "Desk", "All desks", first(&book.desks)) }
}

/// Which rows of a raw dataset the filters let through: those that have the values asked for in the columns of that name.
/// A dataset is not narrowed by a filter that it has no column for.
pub(crate) fn keep(asked: &Query, columns: &[String]) -> Keep {
    const COLUMNS: [(&str, &str); 5] =
        [("as_of", "as_of"), ("portfolio", "sector"), ("rating", "rating"), ("country", "country"), ("desk", "desk")];
    let wanted = |(filter, column): (&str, &str)| {
        let place = columns.iter().position(|name| name == column)?;
        Some((place, asked.get(filter)?.to_owned(), filter == "as_of"))
    };
    let wanted: Vec<(usize, String, bool)> = COLUMNS.into_iter().filter_map(wanted).collect();
    Box::new(move |row| {
        wanted.iter().all(|(place, value, is_month)| {
            row.get(*place).is_some_and(|field| if *is_month { field.starts_with(value) } else { field == value })
        })
    })
}

/// The place of the month that is shown.
pub(crate) fn month(book: &Book, filters: &Filters) -> usize {
    let latest = book.months.len().saturating_sub(1);
    let asked = filters.get("as_of");
    asked.and_then(|asked| book.months.iter().position(|month| month_value(month) == asked)).unwrap_or(latest)
}

/// The part of the book that is shown.
pub(crate) fn scope(filters: &Filters) -> Scope<'_> {
    Scope { portfolio: filters.get("portfolio"), country: filters.get("country"), rating: filters.get("rating") }
}

/// The part that is shown without one of the filters.
pub(crate) fn scope_without<'a>(filters: &'a Filters, name: &str) -> Scope<'a> {
    let mut scope = scope(filters);
    match name {
        "portfolio" => scope.portfolio = None,
        "country" => scope.country = None,
        "rating" => scope.rating = None,
        _ => {}
    }
    scope
}

fn month_value(month: &Month) -> String {
    month.as_of.map_or_else(String::new, |day| format!("{:04}-{:02}", day.year(), day.month()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::book::tests::row;

    fn book() -> Book {
        let rows = [row(1, "Alder", "Energy", "A", 1.0, 0), row(2, "Alder", "Energy", "BB", 1.0, 0)];
        Book::new(&[], &rows, Vec::new()).unwrap()
    }

    fn set(query: &str) -> Result<Filters, FilterError> {
        filters(&book(), Query::parse(query).unwrap())
    }

    #[test]
    fn the_latest_month_is_shown_unless_the_address_names_another() {
        let shown = |query: &str| month(&book(), &set(query).unwrap());
        assert_eq!([shown(""), shown("as_of=2026-01"), shown("as_of=2026-02")], [1, 0, 1]);
    }

    #[test]
    fn raw_rows_are_kept_where_all_filters_fit() {
        let columns: Vec<String> = ["as_of", "sector", "ead"].map(str::to_owned).to_vec();
        let query = Query::parse("as_of=2026-01&portfolio=Energy&desk=Rates").unwrap();
        let keep = keep(&query, &columns);
        let kept = |row: [&str; 3]| keep(&row.map(str::to_owned));
        assert!(kept(["2026-01-31", "Energy", "5"]));
        assert!(!kept(["2026-02-28", "Energy", "5"]) && !kept(["2026-01-31", "Health", "5"]));
    }

    #[test]
    fn what_the_book_has_not_cannot_be_selected() {
        for query in ["portfolio=Steel", "rating=AA", "country=US", "as_of=2025-12", "as_of=x"] {
            assert!(set(query).is_err(), "{query}");
        }
        let filters = set("portfolio=Energy&rating=BB&other=1").unwrap();
        let expected = Scope { portfolio: Some("Energy"), rating: Some("BB"), country: None };
        assert_eq!(scope(&filters), expected);
        assert_eq!(scope_without(&filters, "rating"), Scope { rating: None, ..expected });
        assert_eq!(filters.query().href("/"), "/?portfolio=Energy&rating=BB");
    }
}
