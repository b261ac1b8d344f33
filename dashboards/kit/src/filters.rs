//! A page's filters: which there are, what the address sets them to, and where a change leads. The address is the only state.

use thiserror::Error;

use crate::{Query, charts::Date};

/// One value that a filter can have, and its name for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    pub(crate) value: String,
    pub(crate) label: String,
}

impl Choice {
    /// A value with a name of its own.
    pub fn named(value: impl Into<String>, label: impl Into<String>) -> Self {
        Self { value: value.into(), label: label.into() }
    }
}

impl From<&str> for Choice {
    fn from(text: &str) -> Self {
        Self::named(text, text)
    }
}

impl From<String> for Choice {
    fn from(text: String) -> Self {
        Self { label: text.clone(), value: text }
    }
}

#[derive(Debug, Clone)]
pub(crate) enum Kind {
    Select { all: &'static str, choices: Vec<Choice> },
    Date { earliest: Date, latest: Date },
}

#[derive(Debug, Clone)]
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) label: &'static str,
    pub(crate) kind: Kind,
}

/// Some filters at once, as a link: `Last 90 days`.
#[derive(Debug, Clone)]
pub(crate) struct Preset {
    pub(crate) label: String,
    pub(crate) href: String,
    pub(crate) current: bool,
}

/// A filter that is set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Active {
    /// Its name in the address.
    pub name: &'static str,
    /// Its name for people.
    pub label: &'static str,
    /// What it is set to, for people.
    pub value: String,
    /// The page without it.
    pub clear: String,
}

/// What is wrong with a filter's value. The value itself is never repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum FilterProblem {
    /// Not one of the choices.
    #[error("the data has no such value")]
    Unknown,
    /// Not a day.
    #[error("a day is written as in 2026-09-30")]
    NotADate,
    /// The first day is after the last one.
    #[error("it ends before it begins")]
    Backwards,
}

/// A filter that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{label}: {problem}")]
pub struct FilterError {
    /// The filter's name for people.
    pub label: &'static str,
    /// What is wrong.
    pub problem: FilterProblem,
    /// The page without that filter.
    pub clear: String,
}

/// The filters of one page.
///
/// Names that no filter has are left out of every address that this makes, so nothing unknown is carried along.
#[derive(Debug, Clone)]
pub struct Filters {
    path: &'static str,
    asked: Query,
    pub(crate) fields: Vec<Field>,
    pub(crate) presets: Vec<(&'static str, Vec<Preset>)>,
    kept: Vec<&'static str>,
}

impl Filters {
    /// No filter yet; `path` is the page's own and `asked` what its address says.
    pub fn new(path: &'static str, asked: Query) -> Self {
        Self { path, asked, fields: Vec::new(), presets: Vec::new(), kept: Vec::new() }
    }

    /// A list to choose from; `all` is the name of no choice.
    pub fn select<C: Into<Choice>>(
        mut self,
        name: &'static str,
        label: &'static str,
        all: &'static str,
        choices: impl IntoIterator<Item = C>,
    ) -> Result<Self, FilterError> {
        let choices: Vec<Choice> = choices.into_iter().map(Into::into).collect();
        let asked = self.asked.get(name);
        if asked.is_some_and(|asked| choices.iter().all(|choice| choice.value != asked)) {
            return Err(self.error(name, label, FilterProblem::Unknown));
        }
        self.fields.push(Field { name, label, kind: Kind::Select { all, choices } });
        Ok(self)
    }

    /// A day; the calendar offers the days from `earliest` to `latest`, the address may name any.
    pub fn date(
        mut self,
        name: &'static str,
        label: &'static str,
        earliest: Date,
        latest: Date,
    ) -> Result<Self, FilterError> {
        if self.asked.get(name).is_some_and(|asked| asked.parse::<Date>().is_err()) {
            return Err(self.error(name, label, FilterProblem::NotADate));
        }
        self.fields.push(Field { name, label, kind: Kind::Date { earliest, latest } });
        Ok(self)
    }

    /// Refuses a period that ends before it begins.
    pub fn ordered(self, from: &'static str, to: &'static str, label: &'static str) -> Result<Self, FilterError> {
        match (self.day(from), self.day(to)) {
            (Some(first), Some(last)) if first > last => Err(self.error(to, label, FilterProblem::Backwards)),
            _ => Ok(self),
        }
    }

    /// A link, in the group `group`, that sets some filters and leaves the others. An empty value unsets.
    #[must_use]
    pub fn preset(mut self, group: &'static str, label: impl Into<String>, pairs: &[(&str, &str)]) -> Self {
        let current = pairs.iter().all(|(name, value)| self.asked.get(name).unwrap_or_default() == *value);
        let query = pairs.iter().fold(self.asked.clone(), |query, (name, value)| query.with(name, value));
        let preset = Preset { label: label.into(), href: self.tidy(&query).href(self.path), current };
        match self.presets.iter_mut().find(|(known, _)| *known == group) {
            Some((_, presets)) => presets.push(preset),
            None => self.presets.push((group, vec![preset])),
        }
        self
    }

    /// A name that is no filter and is carried along: how a table is sorted.
    #[must_use]
    pub fn keep(mut self, name: &'static str) -> Self {
        self.kept.push(name);
        self
    }

    /// What a filter is set to.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.fields.iter().any(|field| field.name == name).then(|| self.asked.get(name)).flatten()
    }

    /// The day that a filter is set to.
    pub fn day(&self, name: &str) -> Option<Date> {
        self.get(name)?.parse().ok()
    }

    /// The filters that are set, and what is kept beside them, for links to other pages and to files.
    pub fn query(&self) -> Query {
        self.tidy(&self.asked)
    }

    /// This page with one filter set and the others as they are.
    pub fn with(&self, name: &str, value: &str) -> String {
        self.tidy(&self.asked.with(name, value)).href(self.path)
    }

    /// This page without one filter.
    pub fn without(&self, name: &str) -> String {
        self.with(name, "")
    }

    /// Where a mark of a chart leads: sets the filter, or unsets it where it is set to that value already.
    pub fn toggle(&self, name: &str, value: &str) -> String {
        if self.get(name) == Some(value) { self.without(name) } else { self.with(name, value) }
    }

    /// This page without any filter.
    pub fn clear(&self) -> String {
        self.asked.only(|name| self.kept.contains(&name)).href(self.path)
    }

    /// The filters that are set, in the order of the form.
    pub fn active(&self) -> Vec<Active> {
        let active = |field: &Field| {
            let asked = self.asked.get(field.name)?;
            let value = match &field.kind {
                Kind::Date { .. } => asked.parse::<Date>().ok()?.long(),
                Kind::Select { choices, .. } => choices.iter().find(|choice| choice.value == asked)?.label.clone(),
            };
            Some(Active { name: field.name, label: field.label, value, clear: self.without(field.name) })
        };
        self.fields.iter().filter_map(active).collect()
    }

    pub(crate) fn path(&self) -> &'static str {
        self.path
    }

    /// What the form carries along without showing it.
    pub(crate) fn hidden(&self) -> Query {
        self.asked.only(|name| self.kept.contains(&name))
    }

    fn tidy(&self, query: &Query) -> Query {
        query.only(|name| self.kept.contains(&name) || self.fields.iter().any(|field| field.name == name))
    }

    fn error(&self, name: &'static str, label: &'static str, problem: FilterProblem) -> FilterError {
        FilterError { label, problem, clear: self.asked.without(name).href(self.path) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn day(text: &str) -> Date {
        text.parse().unwrap()
    }

    fn filters(query: &str) -> Result<Filters, FilterError> {
        Filters::new("/", Query::parse(query).unwrap())
            .keep("sort")
            .select("segment", "Segment", "All segments", ["Loyal", "At risk"])?
            .date("from", "From", day("2025-01-01"), day("2026-09-30"))?
            .date("to", "To", day("2025-01-01"), day("2026-09-30"))?
            .ordered("from", "to", "Period")
    }

    #[test]
    fn links_change_one_filter_and_drop_what_is_unknown() {
        let set = filters("x=%3Cscript%3E&sort=-clv&segment=Loyal&from=2026-01-31").unwrap();
        assert_eq!(set.toggle("segment", "At risk"), "/?sort=-clv&segment=At+risk&from=2026-01-31");
        assert_eq!(set.toggle("segment", "Loyal"), "/?sort=-clv&from=2026-01-31");
        assert_eq!(set.clear(), "/?sort=-clv");
        let active: Vec<String> = set.active().iter().map(|a| format!("{} {} {}", a.label, a.value, a.clear)).collect();
        let clear = ["/?sort=-clv&from=2026-01-31", "/?sort=-clv&segment=Loyal"];
        assert_eq!(active, [format!("Segment Loyal {}", clear[0]), format!("From 31 Jan 2026 {}", clear[1])]);
    }

    #[test]
    fn a_value_that_is_not_offered_is_refused_with_a_way_out() {
        let problem = |query: &str| filters(query).map(|_| ()).map_err(|error| (error.problem, error.clear));
        assert_eq!(problem("segment=loyal&to=2026-01-01"), Err((FilterProblem::Unknown, "/?to=2026-01-01".into())));
        for bad in ["2026-02-30", "x", "2026-1", "9999999-01-01"] {
            assert_eq!(problem(&format!("from={bad}")), Err((FilterProblem::NotADate, "/".into())), "{bad}");
        }
        let backwards = problem("from=2026-02-01&to=2026-01-01");
        assert_eq!(backwards, Err((FilterProblem::Backwards, "/?from=2026-02-01".into())));
    }

    #[test]
    fn a_preset_is_current_when_all_its_filters_are_so() {
        let set = filters("from=2026-07-01&segment=Loyal")
            .unwrap()
            .preset("Period", "Last 90 days", &[("from", "2026-07-01"), ("to", "")])
            .preset("Period", "All", &[("from", ""), ("to", "")]);
        let [(_, presets)] = set.presets.as_slice() else { panic!("one group") };
        assert_eq!(presets.iter().map(|preset| preset.current).collect::<Vec<_>>(), [true, false]);
        assert_eq!(presets[1].href, "/?segment=Loyal");
    }

    proptest! {
        #[test]
        fn the_page_that_a_refusal_leads_to_no_longer_has_that_filter(segment in ".{1,20}", sort in ".{0,8}") {
            let query = Query::new().with("segment", &segment).with("sort", &sort);
            if let Err(error) = filters(&query.to_string()) {
                let (_, rest) = error.clear.split_once('?').unwrap_or((&error.clear, ""));
                let rest_query = Query::parse(rest).unwrap();
                prop_assert_eq!(rest_query.get("segment"), None);
                prop_assert!(filters(rest).is_ok());
            }
        }

        #[test]
        fn every_link_reads_back_as_the_filters_it_was_made_of(value in ".{1,20}") {
            let choices = [value.as_str(), "other"];
            let set = Filters::new("/", Query::new()).select("s", "S", "All", choices).unwrap();
            let href = set.with("s", &value);
            let again = Query::parse(href.strip_prefix("/?").unwrap()).unwrap();
            prop_assert_eq!(again.get("s"), Some(value.as_str()));
        }
    }
}
