//! A cache with a budget of bytes for each tenant and one for all: nobody's data pushes out another's while it has a share.
//!
//! A tenant over its own budget loses what it used least recently. When all together are over, the tenant that holds most
//! gives way first.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Mutex, MutexGuard, PoisonError},
};

use hashlink::LruCache;
use kyros_shared_config::TenantId;

/// The cache. Its operations are short, so a plain lock does.
pub(crate) struct QuotaCache<K, V> {
    shares: Mutex<Shares<K, V>>,
    per_tenant: usize,
    total: usize,
}

struct Shares<K, V> {
    of: HashMap<TenantId, Share<K, V>>,
    bytes: usize,
}

struct Share<K, V> {
    entries: LruCache<K, Entry<V>>,
    bytes: usize,
}

struct Entry<V> {
    value: V,
    bytes: usize,
}

impl<K: Hash + Eq, V: Clone> QuotaCache<K, V> {
    /// A cache that keeps at most so many bytes of one tenant and of all.
    pub(crate) fn new(per_tenant: usize, total: usize) -> Self {
        Self { shares: Mutex::new(Shares { of: HashMap::new(), bytes: 0 }), per_tenant, total }
    }

    /// The most bytes that one entry can have to be kept.
    pub(crate) fn largest(&self) -> usize {
        self.per_tenant.min(self.total)
    }

    /// The tenant's entry, which counts as used.
    pub(crate) fn get(&self, tenant: &TenantId, key: &K) -> Option<V> {
        self.lock().of.get_mut(tenant)?.entries.get(key).map(|entry| entry.value.clone())
    }

    /// Keeps an entry in place of an older one, if it fits at all.
    pub(crate) fn put(&self, tenant: &TenantId, key: K, value: V, bytes: usize) {
        let mut shares = self.lock();
        shares.remove(tenant, &key);
        if bytes > self.largest() {
            return;
        }
        let share = shares.of.entry(tenant.clone()).or_insert_with(Share::new);
        share.entries.insert(key, Entry { value, bytes });
        share.bytes += bytes;
        shares.bytes += bytes;
        while shares.bytes_of(tenant) > self.per_tenant {
            shares.remove_oldest(&tenant.clone());
        }
        while shares.bytes > self.total {
            let Some(largest) = shares.largest() else { break };
            shares.remove_oldest(&largest);
        }
    }

    #[cfg(test)]
    fn remove(&self, tenant: &TenantId, key: &K) {
        self.lock().remove(tenant, key);
    }

    /// Bytes of all entries.
    pub(crate) fn bytes(&self) -> usize {
        self.lock().bytes
    }

    fn lock(&self) -> MutexGuard<'_, Shares<K, V>> {
        // Nothing in here panics half way; what a poisoned lock guards is whole.
        self.shares.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Hash + Eq, V> Share<K, V> {
    fn new() -> Self {
        Self { entries: LruCache::new_unbounded(), bytes: 0 }
    }
}

impl<K: Hash + Eq, V> Shares<K, V> {
    fn bytes_of(&self, tenant: &TenantId) -> usize {
        self.of.get(tenant).map_or(0, |share| share.bytes)
    }

    fn largest(&self) -> Option<TenantId> {
        self.of.iter().max_by_key(|(_, share)| share.bytes).map(|(tenant, _)| tenant.clone())
    }

    fn remove(&mut self, tenant: &TenantId, key: &K) {
        self.take(tenant, |entries| entries.remove(key));
    }

    fn remove_oldest(&mut self, tenant: &TenantId) {
        self.take(tenant, |entries| entries.remove_lru().map(|(_, entry)| entry));
    }

    fn take(&mut self, tenant: &TenantId, which: impl FnOnce(&mut LruCache<K, Entry<V>>) -> Option<Entry<V>>) {
        let Some(share) = self.of.get_mut(tenant) else { return };
        if let Some(entry) = which(&mut share.entries) {
            share.bytes -= entry.bytes;
            self.bytes -= entry.bytes;
        }
        if share.entries.is_empty() {
            self.of.remove(tenant);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tenant(name: &str) -> TenantId {
        name.parse().unwrap()
    }

    #[test]
    fn a_tenant_pushes_out_its_own_oldest_and_nobody_elses() {
        let cache = QuotaCache::new(10, 100);
        let (acme, globex) = (tenant("acme"), tenant("globex"));
        cache.put(&globex, 1, "theirs", 10);
        for key in 0..5 {
            cache.put(&acme, key, "ours", 4);
        }
        assert_eq!(cache.get(&globex, &1), Some("theirs"));
        assert_eq!((0..5).filter(|key| cache.get(&acme, key).is_some()).collect::<Vec<_>>(), [3, 4]);
    }

    #[test]
    fn when_all_are_over_who_holds_most_gives_way() {
        let cache = QuotaCache::new(80, 100);
        let (acme, globex) = (tenant("acme"), tenant("globex"));
        cache.put(&globex, 0, (), 20);
        (0..8).for_each(|key| cache.put(&acme, key, (), 10));
        cache.put(&globex, 1, (), 20);
        assert!(cache.get(&globex, &0).is_some() && cache.get(&globex, &1).is_some());
        assert!(cache.get(&acme, &0).is_none() && cache.get(&acme, &7).is_some());
    }

    #[test]
    fn what_was_used_last_stays_longest_and_what_never_fits_is_not_kept() {
        let cache = QuotaCache::new(10, 100);
        let acme = tenant("acme");
        cache.put(&acme, 1, (), 5);
        cache.put(&acme, 2, (), 5);
        cache.get(&acme, &1);
        cache.put(&acme, 3, (), 5);
        assert!(cache.get(&acme, &1).is_some() && cache.get(&acme, &2).is_none());
        cache.put(&acme, 1, (), 11);
        assert!(cache.get(&acme, &1).is_none(), "an older value must not outlive the newer one");
    }

    proptest! {
        #[test]
        fn no_budget_is_ever_exceeded_and_none_leaks(
            puts in prop::collection::vec((0..3usize, 0..6u8, 1..40usize, any::<bool>()), 1..200)
        ) {
            let names = ["a", "b", "c"].map(tenant);
            let cache = QuotaCache::new(50, 90);
            for (who, key, bytes, removes) in puts {
                if removes {
                    cache.remove(&names[who], &key);
                } else {
                    cache.put(&names[who], key, bytes, bytes);
                    // Where room is tight the new entry may be the one that gives way; the old one never stays.
                    prop_assert!(cache.get(&names[who], &key).is_none_or(|kept| kept == bytes));
                }
                let held = names.each_ref().map(|name| {
                    (0..6).filter_map(|key| cache.get(name, &key)).sum::<usize>()
                });
                prop_assert!(held.iter().all(|bytes| *bytes <= 50));
                prop_assert!(held.iter().sum::<usize>() <= 90);
                prop_assert_eq!(held.iter().sum::<usize>(), cache.bytes());
            }
        }
    }
}
