//! How long to wait before an object that failed is tried again: longer each time, up to a bound, and each object for itself.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// The first wait.
const FIRST: Duration = Duration::from_secs(1);
/// The longest wait.
const LONGEST: Duration = Duration::from_mins(5);

/// Failures in a row, by object.
#[derive(Default)]
pub(super) struct Backoff {
    failures: Mutex<HashMap<String, u32>>,
}

impl Backoff {
    /// The wait after one more failure.
    pub(super) fn failed(&self, object: &str) -> Duration {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let count = failures.entry(object.to_owned()).or_default();
        let wait = FIRST.saturating_mul(1_u32.checked_shl(*count).unwrap_or(u32::MAX)).min(LONGEST);
        *count = count.saturating_add(1);
        wait
    }

    /// It worked, or the object is gone.
    pub(super) fn succeeded(&self, object: &str) {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).remove(object);
    }

    /// Objects that failed last time.
    pub(super) fn len(&self) -> usize {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_to_a_bound_and_begin_anew_after_a_success() {
        let backoff = Backoff::default();
        let waits: Vec<u64> = (0..40).map(|_| backoff.failed("clv").as_secs()).collect();
        assert_eq!(waits[..4], [1, 2, 4, 8]);
        assert_eq!(waits[39], LONGEST.as_secs());
        assert_eq!(backoff.failed("risk"), FIRST);
        assert_eq!(backoff.len(), 2);
        backoff.succeeded("clv");
        assert_eq!(backoff.failed("clv"), FIRST);
    }
}
