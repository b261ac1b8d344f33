//! The watch list: the names that want a look, each leading to its own page.

use kyros_dashboard_kit::{
    Cell, DataTable, Paging, Panel, Sort,
    charts::{Format, Size},
};

use super::{Extent, View, month_name, obligor};
use crate::model::watch::{Reason, Watched};

/// Rows of one page.
const ROWS: usize = 15;
/// The columns that one can sort by.
const SORTABLE: [&str; 6] = ["obligor", "change", "pd", "ead", "loss", "days"];
/// The order of the list itself: the gravest reason first.
const GRAVITY: Sort = Sort { column: "gravity", descending: true };

/// The list; nothing where there are no snapshots to watch.
pub(super) fn panels(view: &View<'_>) -> Option<Panel> {
    if !view.book.has_history() {
        return None;
    }
    let asked = view.filters.query();
    let sort = Sort::read(asked.get("sort"), &SORTABLE, GRAVITY);
    let mut list: Vec<&Watched> = view.credit.watch.iter().collect();
    order(view, &mut list, sort);
    let paging = match view.extent {
        Extent::Paged(page) => Paging::read(page, ROWS, list.len()),
        Extent::Whole => Paging::read(None, list.len(), list.len()),
    };
    let count = Format::number(0);
    let [watched, all] = [list.len(), view.credit.positions.len()].map(|number| count.text(number as f64));
    let since = view.credit.migration.as_ref().map(|(day, _)| format!(", changes since {}", month_name(Some(*day))));
    let note = format!("{watched} of {all} obligors{}", since.unwrap_or_default());
    let table = DataTable::new(view.meta("watch", "Watch list").note(note).size(Size::Full), view.filters)
        .words("Obligor", Some("obligor"))
        .words("Why", None)
        .words("Rating", None)
        .words("Change", Some("change"))
        .numbers("PD", Some("pd"))
        .numbers("LGD", None)
        .numbers("EAD", Some("ead"))
        .numbers("Expected loss", Some("loss"))
        .numbers("Days past due", Some("days"))
        .rows(list[paging.range()].iter().map(|watched| row(view, watched)));
    let table = if sort == GRAVITY { table } else { table.sorted(sort) };
    Some(Panel::list(&table.paged(paging)))
}

fn name<'a>(view: &View<'a>, watched: &Watched) -> &'a str {
    &view.book.obligors[watched.position.obligor].name
}

/// Where two are equal the gravest reason decides.
fn order(view: &View<'_>, list: &mut [&Watched], sort: Sort) {
    let key: fn(&Watched) -> f64 = match sort.column {
        "obligor" => return by_name(view, list, sort.descending),
        "change" => |one| one.notches.map_or(f64::NEG_INFINITY, f64::from),
        "pd" => |one| one.position.pd,
        "ead" => |one| one.position.ead,
        "loss" => |one| one.position.expected_loss(),
        "days" => |one| f64::from(one.position.days_past_due),
        _ => return,
    };
    list.sort_by(|left, right| {
        let ascending = key(left).total_cmp(&key(right));
        if sort.descending { ascending.reverse() } else { ascending }
    });
}

fn by_name(view: &View<'_>, list: &mut [&Watched], descending: bool) {
    list.sort_by(|left, right| {
        let ascending = name(view, left).cmp(name(view, right));
        if descending { ascending.reverse() } else { ascending }
    });
}

fn row(view: &View<'_>, watched: &Watched) -> Vec<Cell> {
    let (position, name) = (&watched.position, name(view, watched));
    let reasons: Vec<&str> = watched.reasons.iter().copied().map(Reason::label).collect();
    vec![
        Cell::Link(name.to_owned(), obligor::href(view.filters, name)),
        Cell::text(reasons.join(", ")),
        Cell::text(&*position.rating),
        Cell::text(change(watched.notches)),
        Cell::Number(position.pd, Format::percent(2)),
        Cell::Number(position.lgd, Format::percent(0)),
        Cell::Number(position.ead, Format::number(0)),
        Cell::Number(position.expected_loss(), Format::number(0)),
        Cell::Number(f64::from(position.days_past_due), Format::number(0)),
    ]
}

/// A change of rating with an arrow and words.
pub(super) fn change(notches: Option<i32>) -> String {
    let noun = |notches: i32| if notches.abs() == 1 { "notch" } else { "notches" };
    match notches {
        None => "New".to_owned(),
        Some(0) => "No change".to_owned(),
        Some(worse) if worse > 0 => format!("▼ {worse} {} down", noun(worse)),
        Some(better) => format!("▲ {} {} up", better.abs(), noun(better)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_of_rating_has_an_arrow_and_a_word() {
        let words = [None, Some(0), Some(1), Some(3), Some(-2)].map(change);
        assert_eq!(words, ["New", "No change", "▼ 1 notch down", "▼ 3 notches down", "▲ 2 notches up"]);
    }
}
