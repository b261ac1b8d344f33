//! The page's figures, recomputed the slow and obvious way.

use jiff::{ToSpan as _, civil::date};

use super::*;
use crate::{acquisition::Spend, book::Row};

fn row(customer: i64, day: i64) -> Row {
    Row {
        customer: format!("C{customer:03}"),
        date: date(2025, 1, 1).saturating_add(day.days()),
        revenue: 20.0 + (customer * 7 % 31) as f64,
        margin: Some(10.0),
        channel: Some(if customer % 3 == 0 { "Email" } else { "Paid" }.into()),
        country: Some(if customer % 2 == 0 { "DE" } else { "FR" }.into()),
    }
}

fn book() -> Book {
    let orders = |customer: i64| (0..=customer % 5).map(move |n| row(customer, customer * 3 + n * (37 + customer % 7)));
    Book::new((0..120).flat_map(orders).collect()).unwrap()
}

fn email() -> Selection {
    let book = book();
    let place = book.channels.iter().position(|name| name == "Email").unwrap();
    Selection { channel: u16::try_from(place).ok(), ..Selection::default() }
}

#[test]
fn the_figures_are_those_of_the_customers_and_orders_selected() {
    let book = book();
    let fit = Fit::new(&book, None);
    let period = Selection { from: Some(date(2025, 4, 1)), to: Some(date(2025, 12, 31)), ..email() };
    for selection in [Selection::default(), email(), period] {
        let view = View::new(&book, &fit, None, &selection);
        let end = selection.end(&book);
        let (mut orders, mut revenue, mut active, mut shown) = (0, 0.0, 0, 0);
        for (place, customer) in book.customers.iter().enumerate() {
            if !selection.has(&book, &fit, place) {
                continue;
            }
            let taken = || book.orders(customer).iter().filter(|order| selection.takes(order));
            orders += taken().count();
            revenue += taken().map(|order| order.revenue).sum::<f64>();
            shown += usize::from(taken().next().is_some());
            let recent = |order: &&crate::book::Order| (0..ACTIVE_DAYS).contains(&days_between(order.date, end));
            active += usize::from(book.orders(customer).iter().any(|order| recent(&order)));
        }
        assert_eq!((view.orders, view.customers.len(), view.active.now), (orders, shown, Some(active as f64)));
        assert!((view.revenue.now.unwrap() - revenue).abs() < 1e-6);
        let clv = |place: usize| fit.standings[place].as_ref().unwrap().worth.unwrap().clv;
        let mean = view.customers.iter().map(|place| clv(*place)).sum::<f64>() / shown as f64;
        assert!((view.clv.now.unwrap() - mean).abs() < 1e-9);
        assert!(view.customers.windows(2).all(|pair| clv(pair[0]) >= clv(pair[1])), "the most valuable first");
    }
}

#[test]
fn retained_counts_those_alone_whose_second_window_is_over() {
    // Two came long ago, one of them again on day 120; one came too late to tell.
    let rows = vec![row(1, 0), row(1, 120), row(2, 5), row(2, 60), row(3, 250), row(3, 300)];
    let book = Book::new(rows).unwrap();
    let view = View::new(&book, &Fit::new(&book, None), None, &Selection::default());
    assert_eq!(view.retained.now, Some(0.5));
}

#[test]
fn a_filter_on_one_chart_does_not_empty_the_chart_it_was_set_in() {
    let book = book();
    let fit = Fit::new(&book, None);
    let all = View::new(&book, &fit, None, &Selection::default());
    let one = View::new(&book, &fit, None, &email());
    assert_eq!(all.channels, one.channels);
    assert!(one.customers.len() < all.customers.len());
    assert_eq!(one.segments.iter().map(|group| group.customers).sum::<usize>(), one.customers.len());
}

#[test]
fn the_cost_of_a_customer_is_spend_over_the_new_ones_of_the_same_months() {
    let book = book();
    let fit = Fit::new(&book, None);
    let of =
        |month: i8, channel: &str, amount: f64| Spend { month: date(2025, month, 1), channel: channel.into(), amount };
    let spend =
        Acquisition::new(vec![of(1, "Email", 30.0), of(2, "Email", 50.0), of(1, "Paid", 100.0), of(2, "Fair", 40.0)]);
    let new = |channel: Option<&str>| {
        let of = |one: &&crate::book::Customer| {
            channel.is_none_or(|name| book.channels[usize::from(one.channel.unwrap())] == name)
                && book.first_order(one) < date(2025, 3, 1)
        };
        book.customers.iter().filter(of).count() as f64
    };
    let cac = |selection: &Selection| View::new(&book, &fit, Some(&spend), selection).cac.unwrap();
    assert!((cac(&Selection::default()) - 220.0 / new(None)).abs() < 1e-9);
    assert!((cac(&email()) - 80.0 / new(Some("Email"))).abs() < 1e-9);
    let country = Selection { country: Some(0), ..email() };
    assert!((cac(&country) - 80.0 / new(Some("Email"))).abs() < 1e-9, "spend is not known by country");
    let later = Selection { from: Some(date(2025, 6, 1)), ..Selection::default() };
    assert_eq!(View::new(&book, &fit, Some(&spend), &later).cac, None);
}

#[test]
fn cohorts_are_those_of_the_model_and_curves_end_with_their_youngest_customer() {
    let book = book();
    let fit = Fit::new(&book, None);
    let transactions: Vec<crate::model::Transaction> = book
        .customers
        .iter()
        .flat_map(|customer| book.orders(customer).iter().map(|order| (customer.id.clone(), *order)))
        .map(|(customer_id, order)| crate::model::Transaction { customer_id, date: order.date, revenue: order.revenue })
        .collect();
    let expected = crate::model::cohort::retention(&transactions, book.last_day).unwrap();
    let found = retention(&book, &fit, &Selection::default());
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert_eq!((found.month, u32::try_from(found.customers)), (expected.month, Ok(expected.customers)));
        assert_eq!(found.retention, expected.retention);
    }
    let curves = curves(&book, &fit, &Selection::default());
    assert_eq!(curves.iter().map(|curve| curve.customers).sum::<usize>(), book.customers.len());
    for curve in &curves {
        assert!(curve.value.windows(2).all(|pair| pair[1] >= pair[0]) && curve.value[0] >= 10.0, "{curve:?}");
    }
    assert!(curves[0].value.len() > curves.last().unwrap().value.len());
}

#[test]
fn everybody_with_a_value_is_in_one_step_of_the_probabilities() {
    let book = book();
    let fit = Fit::new(&book, None);
    let all: Vec<usize> = (0..book.customers.len()).collect();
    assert_eq!(alive(&fit, &all).iter().sum::<usize>(), all.len());
}
