//! What a page says instead of figures: a title, a sentence, one thing to do, and the right status.

use axum::http::StatusCode;

use crate::{DataError, FilterError, Filters, QueryError, charts::markup::Markup};

/// A state that has no figures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    status: StatusCode,
    title: String,
    text: String,
    action: (String, String),
    is_filter: bool,
}

impl Notice {
    /// A state; `action` is the one thing that helps, as its name and its address.
    pub fn new(status: StatusCode, title: impl Into<String>, text: impl Into<String>, action: (&str, &str)) -> Self {
        let action = (action.0.to_owned(), action.1.to_owned());
        Self { status, title: title.into(), text: text.into(), action, is_filter: false }
    }

    /// The filters leave nothing over. `matches` says whether anything is left without the filter of that name; the first
    /// filter that is the only hindrance is the one to take away.
    pub fn empty(what: &str, filters: &Filters, matches: impl Fn(&str) -> bool) -> Self {
        let active = filters.active();
        let culprit = active.iter().find(|filter| matches(filter.name));
        let (text, label, href) = match (culprit, active.as_slice()) {
            (Some(filter), _) => (
                format!("Without the filter “{}: {}” there are some.", filter.label, filter.value),
                format!("Remove {}: {}", filter.label, filter.value),
                filter.clear.clone(),
            ),
            (None, []) => (format!("The data holds no {what} yet."), "Try again".to_owned(), filters.clear()),
            (None, _) => (
                "Only without more than one of the filters are there some.".to_owned(),
                "Clear all filters".to_owned(),
                filters.clear(),
            ),
        };
        let title =
            if active.is_empty() { format!("There are no {what}") } else { format!("No {what} match the filters") };
        Self { is_filter: true, ..Self::new(StatusCode::OK, title, text, (&label, &href)) }
    }

    /// The address asks for a filter that there is not.
    pub fn filter(error: &FilterError) -> Self {
        let title = format!("This {} cannot be used", error.label.to_lowercase());
        let text = format!("{}: {}. The link may be old, or of another tenant.", error.label, error.problem);
        let action = format!("Show the page without {}", error.label.to_lowercase());
        Self::new(StatusCode::BAD_REQUEST, title, text, (&action, &error.clear))
    }

    /// The address cannot be read.
    pub fn address(error: QueryError, path: &str) -> Self {
        let text = format!("This page cannot read its address: {error}.");
        Self::new(StatusCode::BAD_REQUEST, "This link cannot be used", text, ("Show the page without filters", path))
    }

    /// There is no data, and why. `here` is the page's own address, `export` that of its rows as a file.
    pub fn data(error: &DataError, here: &str, export: &str) -> Self {
        let of = |title: &str, text: String, action: (&str, &str)| Self::new(error.status(), title, text, action);
        match error {
            DataError::SignedOut => of(
                "Your session has ended",
                "Sign in again and you return to this page with the same filters.".to_owned(),
                ("Sign in again", here),
            ),
            DataError::Missing(dataset) => of(
                "There is no data yet",
                format!(
                    "The dataset “{dataset}” has not been delivered for this tenant. Whoever runs Kyros can import it."
                ),
                ("Try again", here),
            ),
            DataError::TooManyRows(_) => of(
                "There are too many rows",
                format!("{error}, which is more than this page can hold. The file has them all."),
                ("Export the rows", export),
            ),
            DataError::Column { .. } => of(
                "The data does not fit this dashboard",
                format!("{error}. Whoever delivers the data can mend it."),
                ("Try again", here),
            ),
            DataError::Changed(_) => of("The data has just changed", format!("{error}."), ("Show it again", here)),
            DataError::Busy => of(
                "Too many questions at once",
                "Your tenant has used up its share for the moment. A few seconds later there is room again.".to_owned(),
                ("Try again", here),
            ),
            DataError::Unreachable(_) | DataError::Unreadable(_) | DataError::Refused { .. } => of(
                "The data cannot be reached",
                format!("{error}. This page is well; what it asks is not. It mostly passes within a minute."),
                ("Try again", here),
            ),
        }
    }

    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    pub(super) fn write(&self, out: &mut Markup) {
        out.tag("section").attr("class", "panel notice").open();
        out.tag("h2").text(&self.title);
        out.tag("p").attr("class", "summary").text(&self.text);
        let link = out.tag("a").attr("class", "button primary").attr("href", &self.action.1);
        link.maybe("data-filter", self.is_filter.then_some("")).text(&self.action.0);
        out.close("section");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Query;

    fn filters(query: &str) -> Filters {
        let filters = Filters::new("/", Query::parse(query).unwrap());
        let filters = filters.select("segment", "Segment", "All", ["Loyal"]).unwrap();
        filters.select("channel", "Channel", "All", ["Email"]).unwrap()
    }

    #[test]
    fn an_empty_page_names_the_filter_that_is_in_the_way() {
        let set = filters("segment=Loyal&channel=Email");
        let notice = Notice::empty("customers", &set, |without| without == "channel");
        assert_eq!(notice.title, "No customers match the filters");
        assert_eq!(notice.action, ("Remove Channel: Email".to_owned(), "/?segment=Loyal".to_owned()));
        let notice = Notice::empty("customers", &set, |_| false);
        assert_eq!(notice.action, ("Clear all filters".to_owned(), "/".to_owned()));
        assert_eq!(Notice::empty("customers", &filters(""), |_| true).title, "There are no customers");
    }

    #[test]
    fn each_failure_has_its_status_and_one_action() {
        for (error, status, action) in [
            (DataError::SignedOut, 401, "Sign in again"),
            (DataError::Missing("pnl".into()), 404, "Try again"),
            (DataError::TooManyRows("pnl".into()), 422, "Export the rows"),
            (DataError::Changed("pnl".into()), 409, "Show it again"),
            (DataError::Busy, 429, "Try again"),
            (DataError::Refused { dataset: "pnl".into(), status: StatusCode::INTERNAL_SERVER_ERROR }, 502, "Try again"),
        ] {
            let notice = Notice::data(&error, "/?a=b", "/export/pnl.csv");
            assert_eq!((notice.status.as_u16(), notice.action.0.as_str()), (status, action), "{error}");
            assert!(notice.text.ends_with('.') && !notice.title.is_empty(), "{notice:?}");
        }
    }
}
