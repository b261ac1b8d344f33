//! The horizontal axis: equally spaced places with a full label each and some tick labels.

use crate::charts::format::Date;
use crate::charts::scale::{float, index};

/// Average width of a character at 12 px, on the wide side so that labels do not touch.
pub(crate) const CHAR: f64 = 6.7;

/// Estimated width of a label in pixels.
pub(crate) fn width(text: &str) -> f64 {
    float(text.chars().count()) * CHAR
}

/// Cuts a label that is wider than `room` and ends it with an ellipsis.
pub(crate) fn fit(text: &str, room: f64) -> String {
    if width(text) <= room {
        return text.to_owned();
    }
    let keep = index(room / CHAR - 1.0, 1_000);
    let mut out: String = text.chars().take(keep).collect();
    out.truncate(out.trim_end().len());
    out.push('…');
    out
}

/// Places along the horizontal axis.
#[derive(Debug, Clone, Default)]
pub struct Axis {
    labels: Vec<String>,
    keys: Vec<String>,
    ticks: Vec<(usize, String)>,
}

impl Axis {
    /// One place per label.
    pub fn categories<T: Into<String>>(labels: impl IntoIterator<Item = T>) -> Self {
        let labels: Vec<String> = labels.into_iter().map(Into::into).collect();
        Self { keys: labels.clone(), ticks: labels.iter().cloned().enumerate().collect(), labels }
    }

    /// One place per month (`Sep 2026`); ticks show the month and, in January and at the start, the year.
    #[must_use]
    pub fn months(dates: &[Date]) -> Self {
        Self::timed(dates, Date::month)
    }

    /// One place per day (`30 Sep 2026`); ticks stand at the first day of each month.
    #[must_use]
    pub fn days(dates: &[Date]) -> Self {
        Self::timed(dates, Date::long)
    }

    /// Number of places.
    #[must_use]
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is no place.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Full label of a place.
    pub(crate) fn label(&self, place: usize) -> &str {
        self.labels.get(place).map_or("", String::as_str)
    }

    /// Key of a place, for cross-highlighting.
    pub(crate) fn key(&self, place: usize) -> &str {
        self.keys.get(place).map_or("", String::as_str)
    }

    /// Tick labels that fit into `room` pixels without touching.
    pub(crate) fn ticks(&self, room: f64) -> impl Iterator<Item = (usize, &str)> {
        let widest = self.ticks.iter().map(|(_, text)| width(text)).fold(1.0, f64::max) + 10.0;
        let space = room / float(self.ticks.len().max(1));
        let every = index((widest / space.max(0.01)).ceil(), 10_000).max(1);
        self.ticks.iter().step_by(every).map(|(place, text)| (*place, text.as_str()))
    }

    fn timed(dates: &[Date], label: fn(Date) -> String) -> Self {
        let mut ticks: Vec<(usize, String)> = Vec::new();
        let mut last: Option<Date> = None;
        for (place, date) in dates.iter().enumerate() {
            if last.is_some_and(|last| last.same_month(*date)) {
                continue;
            }
            let new_year = last.is_none_or(|last| last.year() != date.year());
            ticks.push((place, if new_year { date.month() } else { date.month_name().to_owned() }));
            last = Some(*date);
        }
        // A first month that starts late would touch the second one.
        if let [(_, _), (second, _), ..] = ticks[..]
            && dates.len() > ticks.len() * 8
            && second < 8
        {
            ticks.remove(0);
        }
        Self {
            labels: dates.iter().map(|d| label(*d)).collect(),
            keys: dates.iter().map(ToString::to_string).collect(),
            ticks,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_thin_out() {
        let axis = Axis::categories((0..100).map(|i| format!("label {i}")));
        assert!(axis.ticks(300.0).count() <= 5);
        assert_eq!(axis.ticks(100_000.0).count(), 100);
        assert_eq!(Axis::default().ticks(100.0).count(), 0);
    }

    #[test]
    fn month_ticks_name_the_year_once() {
        let dates: Vec<Date> = [(2025, 11), (2025, 12), (2026, 1), (2026, 2)]
            .into_iter()
            .filter_map(|(y, m)| Date::new(y, m, 1))
            .collect();
        let axis = Axis::months(&dates);
        let ticks: Vec<&str> = axis.ticks(1_000.0).map(|(_, text)| text).collect();
        assert_eq!(ticks, ["Nov 2025", "Dec", "Jan 2026", "Feb"]);
    }

    #[test]
    fn long_labels_are_cut() {
        assert_eq!(fit("Short", 100.0), "Short");
        assert_eq!(fit("A very long counterparty name", 80.0), "A very lon…");
    }
}
