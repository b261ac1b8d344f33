//! Bearer tokens that were verified a moment ago, so that a client's next request costs no signature check.
//!
//! Two tables take turns: the older one is forgotten as a whole. A cache that keeps count of who asks for what would cost more
//! on every request than it could ever save here.

use std::{
    collections::HashMap,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use foldhash::quality::RandomState;

use crate::identity::Identity;

/// Tokens in each of the two tables, at most.
const CAPACITY: usize = 5_000;
/// Kept no longer than this, so that a retired key stops working soon.
const LIFE: Duration = Duration::from_mins(1);

/// By the token itself, which its identity holds anyway: a digest would cost more than everything else on the way.
type Table = HashMap<Box<str>, (Arc<Identity>, Instant), RandomState>;

struct Tables {
    new: Table,
    old: Table,
    /// When the new one was begun.
    begun: Instant,
}

/// Verified tokens and whose they are.
pub(crate) struct KnownTokens(Mutex<Tables>);

impl KnownTokens {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Tables { new: Table::default(), old: Table::default(), begun: Instant::now() }))
    }

    /// Whose token it is, if it was verified less than a minute ago.
    pub(crate) fn get(&self, token: &str, now: Instant) -> Option<Arc<Identity>> {
        let mut tables = self.tables();
        tables.turn(now);
        let (identity, verified) = tables.new.get(token).or_else(|| tables.old.get(token))?;
        (now.saturating_duration_since(*verified) < LIFE).then(|| identity.clone())
    }

    /// A token that has been verified now.
    pub(crate) fn insert(&self, token: &str, identity: Arc<Identity>, now: Instant) {
        let mut tables = self.tables();
        tables.turn(now);
        tables.new.insert(token.into(), (identity, now));
    }

    pub(crate) fn remove(&self, token: &str) {
        let mut tables = self.tables();
        tables.new.remove(token);
        tables.old.remove(token);
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tables {
    /// Forgets the older table when nothing in it is valid any more, or the newer one is full.
    fn turn(&mut self, now: Instant) {
        if self.new.len() >= CAPACITY || now.saturating_duration_since(self.begun) >= LIFE {
            self.old = mem::take(&mut self.new);
            self.begun = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::verified;

    fn identity() -> Arc<Identity> {
        let (scope, token) = verified("s1", "acme");
        Arc::new(Identity::new(scope, &token).unwrap())
    }

    #[test]
    fn a_token_is_known_for_a_minute_and_no_longer() {
        let (known, identity, begun) = (KnownTokens::new(), identity(), Instant::now());
        let at = |seconds| begun + Duration::from_secs(seconds);
        known.insert("early", identity.clone(), at(1));
        known.insert("late", identity.clone(), at(59));
        assert!(known.get("early", at(60)).is_some() && known.get("never", at(60)).is_none());
        assert!(known.get("early", at(61)).is_none());
        // Whatever table it is in by now.
        assert!(known.get("late", at(118)).is_some());
        assert!(known.get("late", at(119)).is_none());
        assert!(known.get("late", at(200)).is_none());
        assert_eq!(Arc::strong_count(&identity), 1, "nothing is held that nobody asks for");
    }

    #[test]
    fn what_is_taken_back_is_unknown_at_once_and_there_is_never_too_much() {
        let (known, identity) = (KnownTokens::new(), identity());
        let now = Instant::now();
        known.insert("t", identity.clone(), now);
        assert!(known.get("t", now).is_some());
        known.remove("t");
        assert!(known.get("t", now).is_none());
        // Also once it stands in the older table.
        let at = |seconds| now + Duration::from_secs(seconds);
        known.insert("u", identity.clone(), at(59));
        assert!(known.get("u", at(61)).is_some());
        known.remove("u");
        assert!(known.get("u", at(61)).is_none());
        let now = at(61);
        for number in 0..3 * CAPACITY {
            known.insert(&number.to_string(), identity.clone(), now);
        }
        assert!(Arc::strong_count(&identity) <= 2 * CAPACITY + 1);
        assert!(known.get(&(3 * CAPACITY - 1).to_string(), now).is_some() && known.get("0", now).is_none());
    }
}
