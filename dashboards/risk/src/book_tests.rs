//! The book as its rows make it, and what a part of it is.

use jiff::civil::date;
use proptest::prelude::*;

use super::*;

/// A row of a month of 2026.
pub(crate) fn row(month: i8, name: &str, sector: &str, rating: &str, ead: f64, days_past_due: u32) -> SnapshotRow {
    SnapshotRow {
        as_of: date(2026, month, 1).last_of_month(),
        exposure: Exposure {
            counterparty: name.into(),
            sector: sector.into(),
            country: if ead > 500.0 { "DE" } else { "FR" }.into(),
            rating: rating.into(),
            ead,
            pd: 0.02,
            lgd: 0.5,
            maturity: 0.0,
        },
        days_past_due,
        originated: Some(date(2026, 1, 1)),
        defaulted: rating == "D",
    }
}

#[test]
fn snapshots_become_months_and_names() {
    let rows = [
        row(2, "Alder", "Energy", "BB", 100.0, 0),
        row(1, "Alder", "Energy", "A", 90.0, 0),
        row(2, "Birch", "Health", "D", 700.0, 95),
        row(3, "Birch", "Health", "D", 600.0, 125),
    ];
    let mut exposure = rows[0].exposure.clone();
    exposure.maturity = 4.0;
    let book = Book::new(&[exposure], &rows, Vec::new()).unwrap();
    let days: Vec<_> = book.months.iter().filter_map(|month| month.as_of).collect();
    assert_eq!(days, [date(2026, 1, 31), date(2026, 2, 28), date(2026, 3, 31)]);
    assert_eq!(book.ratings, ["A", "BB", "D"]);
    assert_eq!(
        (book.portfolios.as_slice(), book.countries.as_slice()),
        (&["Energy".into(), "Health".into()][..], &["DE".into(), "FR".into()][..])
    );
    let maturities: Vec<(&str, f64)> = book.obligors.iter().map(|one| (one.name.as_str(), one.maturity)).collect();
    assert_eq!(maturities, [("Alder", 4.0), ("Birch", UNKNOWN_MATURITY)]);
    assert_eq!(book.obligors[1].defaulted, Some(date(2026, 2, 28)));
    assert_eq!(book.last_day(), Some(date(2026, 3, 31)));
}

#[test]
fn facilities_of_one_name_are_one_position() {
    let mut second = row(1, "Alder", "Energy", "B", 300.0, 40);
    second.exposure.pd = 0.06;
    let book = Book::new(&[], &[row(1, "Alder", "Energy", "A", 100.0, 0), second], Vec::new()).unwrap();
    let [position] = book.months[0].positions.as_slice() else { panic!("one position") };
    assert!((position.ead - 400.0).abs() < 1e-9 && (position.pd - 0.05).abs() < 1e-12);
    assert_eq!((&*position.rating, position.days_past_due), ("B", 40));
}

#[test]
fn without_snapshots_the_exposures_are_one_month_without_a_day() {
    let exposures =
        [row(1, "Alder", "Energy", "A", 100.0, 0).exposure, row(1, "Alder", "Energy", "A", 50.0, 0).exposure];
    let book = Book::new(&exposures, &[], Vec::new()).unwrap();
    assert!(!book.has_history() && book.last_day().is_none());
    assert_eq!((book.months.len(), book.months[0].positions.len(), book.obligors.len()), (1, 2, 1));
}

#[test]
fn a_senseless_number_is_named_and_not_computed_with() {
    let mut bad = row(1, "Alder", "Energy", "A", 100.0, 0);
    bad.exposure.pd = 7.0;
    let error = Book::new(&[], &[bad], Vec::new()).unwrap_err();
    assert_eq!(error.to_string(), "probability of default of Alder is out of range: 7");
}

#[test]
fn a_year_before_is_the_same_month_or_the_first_that_there_is() {
    let rows: Vec<_> = (1..=9).map(|month| row(month, "Alder", "Energy", "A", 1.0, 0)).collect();
    let book = Book::new(&[], &rows, Vec::new()).unwrap();
    assert_eq!(months_before(&book, 8, 3), Some(5));
    assert_eq!(months_before(&book, 8, 12), Some(0));
    assert_eq!(months_before(&book, 0, 12), None);
}

fn book() -> impl Strategy<Value = Book> {
    let one = (1..4_i8, 0..12_usize, 0..3_usize, 0..3_usize, 1.0..1_000.0_f64);
    proptest::collection::vec(one, 1..60).prop_map(|rows| {
        let rows: Vec<_> = rows
            .into_iter()
            .map(|(month, name, sector, grade, ead)| {
                let (sector, grade) = (["Energy", "Health", "Steel"][sector], ["A", "BB", "CCC"][grade]);
                row(month, &format!("Name {name}"), sector, grade, ead, 0)
            })
            .collect();
        Book::new(&[], &rows, Vec::new()).unwrap()
    })
}

proptest! {
    #[test]
    fn filters_commute_and_only_narrow(book in book(), month in 0..3_usize) {
        let all = book.part(month, &Scope::default());
        let portfolio = Scope { portfolio: Some("Energy"), ..Scope::default() };
        let rating = Scope { rating: Some("BB"), ..Scope::default() };
        let both = Scope { rating: Some("BB"), ..portfolio };
        let narrowed = |first: &Scope<'_>, second: &Scope<'_>| -> Vec<Position> {
            book.part(month, first).into_iter().filter(|position| book.is_in(position, second)).collect()
        };
        prop_assert_eq!(narrowed(&portfolio, &rating), narrowed(&rating, &portfolio));
        prop_assert_eq!(narrowed(&portfolio, &rating), book.part(month, &both));
        prop_assert!(book.part(month, &both).iter().all(|position| all.contains(position)));
    }

    #[test]
    fn the_portfolios_are_a_partition_of_the_book(book in book(), month in 0..3_usize) {
        let parts: usize = book
            .portfolios
            .iter()
            .map(|portfolio| book.part(month, &Scope { portfolio: Some(portfolio), ..Scope::default() }).len())
            .sum();
        prop_assert_eq!(parts, book.part(month, &Scope::default()).len());
    }
}
