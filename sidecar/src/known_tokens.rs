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
use kyros_shared_config::{KeyRing, KeySet};

use crate::identity::Identity;

/// Tokens in each of the two tables, at most.
const CAPACITY: usize = 5_000;
/// Kept no longer than this, so that what nobody asks for any more is forgotten soon.
const LIFE: Duration = Duration::from_mins(1);

/// By the token itself, which its identity holds anyway: a digest would cost more than everything else on the way.
type Table = HashMap<Box<str>, Known, RandomState>;

struct Known {
    identity: Arc<Identity>,
    verified: Instant,
    /// What the verification stands on.
    keys: Arc<KeySet>,
}

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

    /// Whose token it is, if it was verified less than a minute ago and with the keys of the ring's that are in use: once new
    /// ones have been read, its own may be no more among them.
    pub(crate) fn get(&self, token: &str, ring: &KeyRing, now: Instant) -> Option<Arc<Identity>> {
        let mut tables = self.tables();
        tables.turn(now);
        let known = tables.new.get(token).or_else(|| tables.old.get(token))?;
        let is_good = now.saturating_duration_since(known.verified) < LIFE && ring.is_current(&known.keys);
        is_good.then(|| known.identity.clone())
    }

    /// A token that has been verified now, with these keys.
    pub(crate) fn insert(&self, token: &str, identity: Arc<Identity>, keys: Arc<KeySet>, now: Instant) {
        let mut tables = self.tables();
        tables.turn(now);
        tables.new.insert(token.into(), Known { identity, verified: now, keys });
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
    use kyros_shared_config::{Issuer, KeySource, crypto::random_id};

    use super::*;
    use crate::testing::{issuer, verified};

    fn identity() -> Arc<Identity> {
        let (scope, token) = verified("s1", "acme");
        Arc::new(Identity::new(scope, &token).unwrap())
    }

    fn ring() -> (KeyRing, Arc<KeySet>) {
        let ring = KeyRing::new(KeySource::Fixed(issuer().jwks())).unwrap();
        let keys = ring.current().unwrap();
        (ring, keys)
    }

    #[tokio::test]
    async fn a_token_is_known_no_longer_than_its_keys_are_in_use() {
        let path = std::env::temp_dir().join(format!("kyros-{}.json", random_id()));
        let publish = |issuer: &Issuer| std::fs::write(&path, issuer.jwks()).unwrap();
        publish(&issuer());
        let ring = KeyRing::new(KeySource::File(path.clone())).unwrap();
        let (known, identity, now) = (KnownTokens::new(), identity(), Instant::now());
        known.insert("t", identity.clone(), ring.current().unwrap(), now);
        assert!(known.get("t", &ring, now).is_some());
        publish(&issuer());
        ring.refresh().await;
        assert!(known.get("t", &ring, now).is_none(), "its key was removed");
        known.insert("t", identity, ring.current().unwrap(), now);
        assert!(known.get("t", &ring, now).is_some(), "verified once more");
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_token_is_known_for_a_minute_and_no_longer() {
        let (known, identity, begun) = (KnownTokens::new(), identity(), Instant::now());
        let (ring, keys) = ring();
        let at = |seconds| begun + Duration::from_secs(seconds);
        known.insert("early", identity.clone(), keys.clone(), at(1));
        known.insert("late", identity.clone(), keys.clone(), at(59));
        assert!(known.get("early", &ring, at(60)).is_some() && known.get("never", &ring, at(60)).is_none());
        assert!(known.get("early", &ring, at(61)).is_none());
        // Whatever table it is in by now.
        assert!(known.get("late", &ring, at(118)).is_some());
        assert!(known.get("late", &ring, at(119)).is_none());
        assert!(known.get("late", &ring, at(200)).is_none());
        assert_eq!(Arc::strong_count(&identity), 1, "nothing is held that nobody asks for");
    }

    #[test]
    fn what_is_taken_back_is_unknown_at_once_and_there_is_never_too_much() {
        let (known, identity) = (KnownTokens::new(), identity());
        let (ring, keys) = ring();
        let now = Instant::now();
        known.insert("t", identity.clone(), keys.clone(), now);
        assert!(known.get("t", &ring, now).is_some());
        known.remove("t");
        assert!(known.get("t", &ring, now).is_none());
        // Also once it stands in the older table.
        let at = |seconds| now + Duration::from_secs(seconds);
        known.insert("u", identity.clone(), keys.clone(), at(59));
        assert!(known.get("u", &ring, at(61)).is_some());
        known.remove("u");
        assert!(known.get("u", &ring, at(61)).is_none());
        let now = at(61);
        for number in 0..3 * CAPACITY {
            known.insert(&number.to_string(), identity.clone(), keys.clone(), now);
        }
        assert!(Arc::strong_count(&identity) <= 2 * CAPACITY + 1);
        assert!(
            known.get(&(3 * CAPACITY - 1).to_string(), &ring, now).is_some() && known.get("0", &ring, now).is_none()
        );
    }
}
