//! Conditions: their words, and the one way to set them. Pure.
//!
//! A time stamp that moved with every look would make every look a change; it moves only when the status flips.

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta, Time},
    jiff::Timestamp,
};

/// Whether the resource can be carried out as it is written.
pub const ACCEPTED: &str = "Accepted";
/// Whether pods serve it.
pub const AVAILABLE: &str = "Available";
/// Whether every dashboard that a tenant names exists.
pub const DASHBOARDS_RESOLVED: &str = "DashboardsResolved";
/// The summary of all others.
pub const READY: &str = "Ready";

/// The reason of a resource that is being deleted and that somebody's finalizer still holds.
pub const TERMINATING: &str = "Terminating";

/// Longest message: a condition is read in a terminal.
const MAX_MESSAGE: usize = 1024;

/// Whether a condition holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holds {
    /// It does.
    Yes,
    /// It does not.
    No,
    /// Nobody here can say.
    Unknown,
}

/// What one condition says now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Whether the condition holds.
    pub holds: Holds,
    /// One word in `PascalCase`, also the reason of the Event and the label of the metric.
    pub reason: &'static str,
    /// What happened and what a person can do, or nothing.
    pub message: String,
}

impl Verdict {
    /// It holds.
    pub fn yes(reason: &'static str) -> Self {
        Self { holds: Holds::Yes, reason, message: String::new() }
    }

    /// It does not hold, for this reason.
    pub fn no(reason: &'static str, message: impl Into<String>) -> Self {
        Self::of(Holds::No, reason, message.into())
    }

    /// Nobody here can say, for this reason.
    pub fn unknown(reason: &'static str, message: impl Into<String>) -> Self {
        Self::of(Holds::Unknown, reason, message.into())
    }

    /// Whether it holds for certain.
    pub fn is_yes(&self) -> bool {
        self.holds == Holds::Yes
    }

    fn of(holds: Holds, reason: &'static str, mut message: String) -> Self {
        if message.len() > MAX_MESSAGE {
            message.truncate(message.floor_char_boundary(MAX_MESSAGE));
        }
        Self { holds, reason, message }
    }
}

/// Why nobody is let in to a resource that is still there, for a person who looks at it.
pub(super) fn terminating(metadata: &ObjectMeta) -> String {
    let finalizers = metadata.finalizers.as_deref().unwrap_or_default().join(", ");
    format!("deleted, and nobody is let in any more; it goes when its finalizers are taken out: {finalizers}")
}

/// The conditions after a look, from those before it: in the given order, with time stamps kept where nothing flipped.
pub fn updated(before: &[Condition], verdicts: &[(&str, Verdict)], generation: i64, now: Timestamp) -> Vec<Condition> {
    let condition = |(kind, verdict): &(&str, Verdict)| {
        let status = match verdict.holds {
            Holds::Yes => "True",
            Holds::No => "False",
            Holds::Unknown => "Unknown",
        };
        let known = before.iter().find(|known| known.type_ == *kind && known.status == status);
        Condition {
            type_: (*kind).to_owned(),
            status: status.to_owned(),
            reason: verdict.reason.to_owned(),
            message: verdict.message.clone(),
            observed_generation: Some(generation),
            last_transition_time: known.map_or(Time(now), |known| known.last_transition_time.clone()),
        }
    };
    verdicts.iter().map(condition).collect()
}

/// The reason of a condition, and whether it holds for certain, if it was ever set.
pub fn reason_of<'a>(conditions: &'a [Condition], kind: &str) -> Option<(&'a str, bool)> {
    conditions.iter().find(|known| known.type_ == kind).map(|known| (known.reason.as_str(), known.status == "True"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn the_time_moves_only_when_the_status_flips() {
        let first = updated(&[], &[(READY, Verdict::no("RolloutInProgress", "0 of 1"))], 1, at(10));
        let same = updated(&first, &[(READY, Verdict::no("RolloutStuck", "0 of 1"))], 2, at(20));
        assert_eq!(same[0].last_transition_time, Time(at(10)));
        assert_eq!((same[0].reason.as_str(), same[0].observed_generation), ("RolloutStuck", Some(2)));
        let flipped = updated(&same, &[(READY, Verdict::yes("Ready"))], 2, at(30));
        assert_eq!(flipped[0].last_transition_time, Time(at(30)));
        assert_eq!(reason_of(&flipped, READY), Some(("Ready", true)));
        assert_eq!(reason_of(&flipped, AVAILABLE), None);
    }

    #[test]
    fn looking_again_changes_nothing() {
        let verdicts = [(ACCEPTED, Verdict::yes("Accepted")), (READY, Verdict::yes("Ready"))];
        let first = updated(&[], &verdicts, 1, at(10));
        assert_eq!(updated(&first, &verdicts, 1, at(99)), first);
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let verdict = Verdict::no("InvalidSpec", "ü".repeat(2000));
        assert!(verdict.message.len() <= MAX_MESSAGE && verdict.message.chars().all(|c| c == 'ü'));
    }
}
