//! What one tenant may ask for at a time: requests per second, queries at once, and a short queue; the rest is told when to
//! come again.

use std::{
    collections::HashMap,
    num::NonZeroU32,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use governor::{
    DefaultDirectRateLimiter, Quota, RateLimiter,
    clock::{Clock as _, DefaultClock},
};
use kyros_metadata::Limits;
use kyros_shared_config::TenantId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{DataError, TooMany};

/// Queries that wait, for every one that may run.
const WAITING_PER_RUNNING: usize = 16;
/// How long a query waits for its turn before the answer is 429.
const QUEUE_PATIENCE: Duration = Duration::from_secs(5);
/// When to come again after the queue was full.
const COME_AGAIN: Duration = Duration::from_secs(1);
/// Answers of one tenant that are sent piece by piece at the same time: each holds its rows in memory.
const STREAMS_AT_ONCE: usize = 4;

/// Every tenant's lane.
#[derive(Default)]
pub(crate) struct Lanes(Mutex<HashMap<TenantId, Arc<Lane>>>);

/// One tenant's lane, for as long as its limits stay as they are.
pub(crate) struct Lane {
    tenant: TenantId,
    limits: Limits,
    rate: DefaultDirectRateLimiter,
    clock: DefaultClock,
    running: Arc<Semaphore>,
    /// Those that run and those that wait.
    present: Arc<Semaphore>,
    streams: Arc<Semaphore>,
    patience: Duration,
}

/// A query's right to run beside others of its tenant, until it really ends.
pub(crate) struct Entered {
    _running: OwnedSemaphorePermit,
    _present: OwnedSemaphorePermit,
}

/// One large answer too many.
pub(crate) fn too_many_streams() -> DataError {
    DataError::TooMany { of: TooMany::Streams, retry_after: COME_AGAIN }
}

impl Lanes {
    /// The tenant's lane under these limits.
    pub(crate) fn of(&self, tenant: &TenantId, limits: Limits) -> Arc<Lane> {
        let mut lanes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match lanes.get(tenant) {
            Some(lane) if lane.limits == limits => lane.clone(),
            // What runs under the old limits keeps its old place; the new ones count for what comes now.
            _ => {
                let lane = Arc::new(Lane::new(tenant.clone(), limits, QUEUE_PATIENCE));
                lanes.insert(tenant.clone(), lane.clone());
                lane
            }
        }
    }
}

impl Lane {
    fn new(tenant: TenantId, limits: Limits, patience: Duration) -> Self {
        let running = usize::try_from(limits.concurrent_queries).unwrap_or(1).max(1);
        let per_second = NonZeroU32::new(limits.requests_per_second).unwrap_or(NonZeroU32::MIN);
        Self {
            tenant,
            limits,
            rate: RateLimiter::direct(Quota::per_second(per_second)),
            clock: DefaultClock::default(),
            running: Arc::new(Semaphore::new(running)),
            present: Arc::new(Semaphore::new(running * (1 + WAITING_PER_RUNNING))),
            streams: Arc::new(Semaphore::new(STREAMS_AT_ONCE)),
            patience,
        }
    }

    pub(crate) fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    /// Counts a request. One second's requests may come at once.
    pub(crate) fn admit(&self) -> Result<(), DataError> {
        self.rate.check().map_err(|until| {
            let retry_after = until.wait_time_from(self.clock.now());
            DataError::TooMany { of: TooMany::Requests, retry_after }
        })
    }

    /// Waits for a right to run among the tenant's running queries.
    pub(crate) async fn enter(&self) -> Result<Entered, DataError> {
        let busy = |_| DataError::TooMany { of: TooMany::Queries, retry_after: COME_AGAIN };
        let present = self.present.clone().try_acquire_owned().map_err(busy)?;
        match tokio::time::timeout(self.patience, self.running.clone().acquire_owned()).await {
            Ok(Ok(running)) => Ok(Entered { _running: running, _present: present }),
            Ok(Err(closed)) => Err(DataError::Internal(closed.to_string())),
            Err(_) => Err(DataError::TooMany { of: TooMany::Queries, retry_after: COME_AGAIN }),
        }
    }

    /// Whether there is room for another one, before anything is computed for it.
    pub(crate) fn may_stream(&self) -> Result<(), DataError> {
        self.stream().map(drop)
    }

    /// The right to an answer that is sent piece by piece.
    pub(crate) fn stream(&self) -> Result<OwnedSemaphorePermit, DataError> {
        self.streams.clone().try_acquire_owned().map_err(|_| too_many_streams())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane(concurrent_queries: u32, requests_per_second: u32) -> Lane {
        let limits = Limits { concurrent_queries, requests_per_second };
        Lane::new("acme".parse().unwrap(), limits, Duration::from_millis(50))
    }

    #[test]
    fn a_second_has_so_many_requests_and_then_says_when_to_come_again() {
        let lane = lane(1, 5);
        assert!((0..5).all(|_| lane.admit().is_ok()));
        let Err(DataError::TooMany { retry_after, .. }) = lane.admit() else { panic!("a sixth was admitted") };
        assert!(retry_after <= Duration::from_millis(200) && !retry_after.is_zero());
    }

    #[tokio::test]
    async fn a_queue_is_short_and_patience_ends() {
        let lane = lane(2, 1);
        let running = [lane.enter().await.unwrap(), lane.enter().await.unwrap()];
        let queue = (0..2 * WAITING_PER_RUNNING).map(|_| lane.enter());
        let mut queue = Box::pin(futures_util::future::join_all(queue));
        assert!(futures_util::poll!(&mut queue).is_pending());
        assert!(
            matches!(lane.enter().await, Err(DataError::TooMany { of: TooMany::Queries, .. })),
            "the queue is full"
        );
        let waited = queue.await;
        assert!(waited.iter().all(|entered| matches!(entered, Err(DataError::TooMany { .. }))));
        drop(running);
        assert!(lane.enter().await.is_ok());
    }

    #[test]
    fn new_limits_count_at_once_and_the_same_ones_keep_the_lane() {
        let lanes = Lanes::default();
        let tenant = "acme".parse().unwrap();
        let limits = Limits { concurrent_queries: 1, requests_per_second: 1 };
        let lane = lanes.of(&tenant, limits);
        assert!(lane.admit().is_ok() && lanes.of(&tenant, limits).admit().is_err());
        assert!(lanes.of(&tenant, Limits { requests_per_second: 2, ..limits }).admit().is_ok());
    }
}
