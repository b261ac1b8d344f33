//! Connections that wait for their next request, each for the tenant alone that it has served.
//!
//! HTTP/1.1 does not say which request an answer belongs to: what a dashboard writes too late, a body to HEAD or something
//! after an answer's end, is read as the answer to whatever is sent next. So it must not be somebody else's.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use kyros_shared_config::TenantId;

use super::Sender;

/// Below gunicorn's keep-alive of 2 s: a pooled connection must not be closed by the upstream as it is being reused.
const POOL_IDLE: Duration = Duration::from_millis(1500);
/// Idle connections kept to one upstream, whosever they are.
pub(super) const POOL_SIZE: usize = 64;

/// Whose requests a connection serves: one tenant's, or those of nobody in particular where the upstream is a part of Kyros.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lane(Option<Arc<str>>);

impl Lane {
    pub(super) const SHARED: &'static Self = &Self(None);

    pub(crate) fn of(tenant: &TenantId) -> Self {
        Self(Some(tenant.as_str().into()))
    }
}

struct Idle {
    sender: Sender,
    since: Instant,
}

/// The idle connections to one upstream, the one used last at the end.
#[derive(Default)]
pub(super) struct Pool(Mutex<Vec<Idle>>);

impl Pool {
    /// The connection of a lane used last, which is the least likely to be closed by now, and how long it has rested.
    pub(super) fn take(&self, lane: &Lane, now: Instant) -> Option<(Sender, Duration)> {
        let mut idle = self.idle();
        // Those at the bottom are the oldest; one look per request keeps the pool as small as it needs to be.
        if idle.first().is_some_and(|oldest| now - oldest.since > POOL_IDLE || oldest.sender.requests.is_closed()) {
            idle.remove(0);
        }
        // One that was given back just now may not have noticed yet that its answer is over; one whose upstream went on
        // talking is closed.
        let found = idle.iter().rposition(|idle| idle.sender.lane == *lane && idle.sender.requests.is_ready())?;
        let Idle { sender, since } = idle.remove(found);
        let rested = now.saturating_duration_since(since);
        (rested <= POOL_IDLE).then_some((sender, rested))
    }

    /// Keeps a connection. Where there are too many, the one unused for longest goes, so that no tenant fills the pool.
    pub(super) fn keep(&self, sender: Sender, now: Instant) {
        if sender.requests.is_closed() {
            return;
        }
        let mut idle = self.idle();
        if idle.len() >= POOL_SIZE {
            idle.remove(0);
        }
        idle.push(Idle { sender, since: now });
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.idle().len()
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Idle>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
