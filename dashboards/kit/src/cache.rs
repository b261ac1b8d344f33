//! What is computed once per tenant and version of the data, however many people look: bounded, and one computation at a time.

use std::{
    future::Future,
    hash::Hash,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use moka::future::Cache as Moka;

/// Nobody has looked for this long: the memory is better used otherwise.
const IDLE: Duration = Duration::from_mins(15);

/// A bounded cache. Its keys must hold the tenant and the version of the data, asked for with the visitor's own authority.
///
/// Two who ask for the same at a time wait for one computation. A failure is nobody's but the one's whose computation it was:
/// those who waited compute themselves, with their own authority.
pub struct Cache<K, V>(Moka<K, Arc<V>>);

impl<K, V> Clone for Cache<K, V> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<K: Hash + Eq + Send + Sync + 'static, V: Send + Sync + 'static> Cache<K, V> {
    /// Holds values of `most` in all, by what `weigh` says each takes.
    pub fn new(most: u64, weigh: impl Fn(&V) -> u32 + Send + Sync + 'static) -> Self {
        let builder = Moka::builder().max_capacity(most).time_to_idle(IDLE);
        Self(builder.weigher(move |_, value: &Arc<V>| weigh(value)).build())
    }

    /// The value of a key, from `compute` where it is not there.
    pub async fn get<E, F>(&self, key: K, compute: impl Fn() -> F) -> Result<Arc<V>, Arc<E>>
    where
        K: Clone,
        E: Send + Sync + 'static,
        F: Future<Output = Result<V, E>>,
    {
        loop {
            let is_mine = AtomicBool::new(false);
            let found = self.0.try_get_with(key.clone(), async {
                is_mine.store(true, Ordering::Relaxed);
                compute().await.map(Arc::new)
            });
            match found.await {
                Err(_) if !is_mine.load(Ordering::Relaxed) => (),
                answer => return answer,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn two_who_ask_at_a_time_wait_for_one_computation() {
        let cache: Cache<&str, u32> = Cache::new(10, |_| 1);
        let (runs, go) = (AtomicUsize::new(0), Notify::new());
        let compute = || async {
            runs.fetch_add(1, Ordering::SeqCst);
            go.notified().await;
            Ok::<_, String>(7)
        };
        let release = async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            go.notify_one();
        };
        let (first, second, ()) = tokio::join!(cache.get("a", compute), cache.get("a", compute), release);
        assert_eq!((*first.unwrap(), *second.unwrap(), runs.load(Ordering::SeqCst)), (7, 7, 1));
    }

    #[tokio::test]
    async fn a_failure_is_not_kept_and_is_not_handed_to_those_who_waited() {
        let cache: Cache<&str, u32> = Cache::new(10, |_| 1);
        let fails = || async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            Err::<u32, _>("signed out")
        };
        let (first, second) = tokio::join!(cache.get("a", fails), cache.get("a", || async { Ok::<_, &str>(7) }));
        assert_eq!(first.map_err(|error| *error), Err("signed out"));
        assert_eq!(second.as_deref(), Ok(&7));
    }

    #[tokio::test]
    async fn it_holds_no_more_than_it_may() {
        let cache: Cache<usize, u32> = Cache::new(10, |_| 4);
        for key in 0..50 {
            cache.get(key, || async { Ok::<_, String>(1) }).await.unwrap();
        }
        cache.0.run_pending_tasks().await;
        assert!(cache.0.weighted_size() <= 10, "{}", cache.0.weighted_size());
    }
}
