//! Answers in memory: an answer given before is given again without a query, and one asked for by many is computed once.

use std::{
    collections::HashMap,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use futures_util::{
    FutureExt as _,
    future::{BoxFuture, Shared},
};

use super::{DataError, quota::QuotaCache, source::Place};
use crate::engine::{Answer, Cursor, Encoding, PageKey};

/// What an answer depends on. The place, and so the tenant, comes first.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct AnswerKey {
    pub(crate) place: Place,
    pub(crate) page: PageKey,
    pub(crate) encoding: Encoding,
}

/// A computed answer.
#[derive(Clone)]
pub(crate) enum Computed {
    /// In its format, whole.
    Whole(Whole),
    /// Too large to be held in its format: whoever wants it writes it piece by piece.
    Large(Answer),
}

/// An answer in its format.
#[derive(Clone)]
pub(crate) struct Whole {
    pub(crate) bytes: Bytes,
    pub(crate) next: Option<Cursor>,
}

type Flight = Shared<BoxFuture<'static, Result<Computed, DataError>>>;

/// The answers in memory.
pub(crate) struct Answers {
    kept: QuotaCache<AnswerKey, Whole>,
    flights: Mutex<HashMap<AnswerKey, Flight>>,
}

impl Answers {
    /// Keeps at most so many bytes of one tenant and of all.
    pub(crate) fn new(per_tenant: usize, total: usize) -> Self {
        Self { kept: QuotaCache::new(per_tenant, total), flights: Mutex::default() }
    }

    /// The answer as it was given before.
    pub(crate) fn get(&self, key: &AnswerKey) -> Option<Whole> {
        self.kept.get(key.place.tenant(), key)
    }

    /// The answer, computed now unless somebody is at it. The work goes on when whoever asked has gone away.
    pub(crate) async fn compute<F>(
        self: &Arc<Self>,
        key: AnswerKey,
        work: impl FnOnce() -> F,
    ) -> Result<Computed, DataError>
    where
        F: Future<Output = Result<Computed, DataError>> + Send + 'static,
    {
        let flight = {
            let mut flights = self.flights();
            if let Some(flight) = flights.get(&key) {
                flight.clone()
            } else {
                let flight = self.clone().begin(key.clone(), work());
                flights.insert(key, flight.clone());
                flight
            }
        };
        flight.await
    }

    /// Bytes of all answers.
    pub(crate) fn bytes(&self) -> usize {
        self.kept.bytes()
    }

    fn begin(
        self: Arc<Self>,
        key: AnswerKey,
        work: impl Future<Output = Result<Computed, DataError>> + Send + 'static,
    ) -> Flight {
        let task = tokio::spawn(async move {
            // A guard, because a panic in the work must not leave a flight that never lands.
            let landing = Landing { answers: self, key };
            let computed = work.await;
            if let Ok(Computed::Whole(whole)) = &computed {
                landing.keep(whole);
            }
            computed
        });
        task.map(|ended| ended.unwrap_or_else(|error| Err(DataError::Internal(error.to_string())))).boxed().shared()
    }

    fn flights(&self) -> MutexGuard<'_, HashMap<AnswerKey, Flight>> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Landing {
    answers: Arc<Answers>,
    key: AnswerKey,
}

impl Landing {
    fn keep(&self, whole: &Whole) {
        /// What an entry costs beside its bytes.
        const OVERHEAD: usize = 512;
        let bytes = whole.bytes.len() + OVERHEAD;
        self.answers.kept.put(self.key.place.tenant(), self.key.clone(), whole.clone(), bytes);
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        self.answers.flights().remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        time::Duration,
    };

    use super::*;
    use crate::{
        engine::{Query, Table, validate},
        testing::scope,
    };

    fn key(tenant: &str) -> AnswerKey {
        let table = Table::from_bytes(b"a\n1\n".to_vec(), crate::engine::Format::Csv).unwrap();
        let page = validate(&Query::from_pairs([]).unwrap(), table.schema()).unwrap().page("v").unwrap();
        let place = Place::new(&scope(tenant, "clv"), &"own".parse().unwrap());
        AnswerKey { place, page: page.key(), encoding: Encoding::Json }
    }

    fn whole(text: &'static str) -> Computed {
        Computed::Whole(Whole { bytes: Bytes::from_static(text.as_bytes()), next: None })
    }

    #[tokio::test]
    async fn a_herd_runs_one_query_and_later_ones_none() {
        let answers = Arc::new(Answers::new(1 << 20, 1 << 20));
        let runs = Arc::new(AtomicUsize::new(0));
        let herd = (0..100).map(|_| {
            let runs = runs.clone();
            answers.compute(key("acme"), move || async move {
                runs.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(50)).await;
                Ok(whole("answer"))
            })
        });
        assert!(futures_util::future::join_all(herd).await.into_iter().all(|computed| computed.is_ok()));
        assert_eq!(runs.load(Ordering::Relaxed), 1);
        assert!(answers.get(&key("acme")).is_some());
        assert!(answers.get(&key("globex")).is_none(), "the same query of another tenant is another answer");
        assert!(answers.flights().is_empty());
    }

    #[tokio::test]
    async fn who_goes_away_does_not_stop_the_work() {
        let answers = Arc::new(Answers::new(1 << 20, 1 << 20));
        let slow = answers.compute(key("acme"), || async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            Ok(whole("late"))
        });
        assert!(tokio::time::timeout(Duration::from_millis(20), slow).await.is_err());
        while answers.get(&key("acme")).is_none() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(answers.get(&key("acme")).unwrap().bytes, "late");
    }

    #[tokio::test]
    async fn a_failure_is_not_kept_and_a_panic_blocks_nobody() {
        let answers = Arc::new(Answers::new(1 << 20, 1 << 20));
        let failed = answers.compute(key("acme"), || async { Err(DataError::Deadline) }).await;
        assert!(matches!(failed, Err(DataError::Deadline)));
        let panicked = answers.compute(key("acme"), || async { panic!("on purpose") }).await;
        assert!(matches!(panicked, Err(DataError::Internal(_))));
        assert!(answers.compute(key("acme"), || async { Ok(whole("good")) }).await.is_ok());
    }
}
