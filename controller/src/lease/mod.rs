//! Leader election: at most one controller writes, and another takes over soon after it is gone.
//!
//! ```text
//!  Elector ── get, create, replace ──► Lease (coordination.k8s.io)      the API server compares and swaps
//!     │
//!     └─ Fence ──► every write asks: am I still the leader?
//! ```
//!
//! **Guarantees.** A change of the Lease insists on the resource version that was read, so of two contenders one wins. Whether
//! another holder has expired is judged by a local monotonic clock, from the moment its last change was *seen*: clocks of two
//! machines are never compared. A leader that could not renew for ten seconds stops at once, while nobody may follow before
//! fifteen.
//!
//! **Assumptions.** Monotonic clocks of different machines run at about the same speed (within a third).
//!
//! **Caveat.** A process that was stopped between asking its [`Fence`] and sending may still send that one write afterwards.
//! Writes to children therefore also insist on the child's uid.
//!
//! The timing is client-go's. No published crate was fit for use: see docs/decisions.

mod kube_lease;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use thiserror::Error;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use kube_lease::KubeLease;

use crate::cluster::ClusterError;

/// How far each wait varies, so that contenders do not move in step.
const JITTER: f64 = 0.2;

/// How long everything takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// How long a holder that is not heard of keeps the lease.
    pub lease: Duration,
    /// How long a leader may fail to renew before it gives up; shorter than `lease`, so that it stops first.
    pub renew_deadline: Duration,
    /// How long to wait between attempts.
    pub retry: Duration,
    /// How long one attempt may take: a request that hangs must leave time for another on a fresh connection.
    pub attempt: Duration,
}

/// client-go's timing: whoever is gone is followed within twenty seconds.
pub const TIMING: Timing = Timing {
    lease: Duration::from_secs(15),
    renew_deadline: Duration::from_secs(10),
    retry: Duration::from_secs(2),
    attempt: Duration::from_secs(4),
};

/// What a Lease says of its holder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Who holds it; empty for one that was given back.
    pub holder: String,
    /// How long the holder wants to be believed.
    pub duration: Duration,
    /// Changes with every change, and is never compared but for equality.
    pub version: String,
    /// How often it changed hands.
    pub transitions: i32,
}

/// Where the lease is kept.
pub trait LeaseStore: Send + Sync {
    /// The lease, if there is one.
    fn get(&self) -> impl Future<Output = Result<Option<Record>, ClusterError>> + Send;
    /// Makes it; fails when somebody else was faster.
    fn create(&self, holder: &str, duration: Duration) -> impl Future<Output = Result<Record, ClusterError>> + Send;
    /// Replaces exactly the version in `seen`; fails when it is no longer that.
    fn replace(&self, seen: &Record, next: &Claim<'_>) -> impl Future<Output = Result<Record, ClusterError>> + Send;
}

/// What a lease shall say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim<'a> {
    /// The holder; empty gives it back.
    pub holder: &'a str,
    /// How long to be believed.
    pub duration: Duration,
    /// Whether the holder changes.
    pub is_takeover: bool,
}

/// The lease is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("leadership lost: the lease could not be renewed in time")]
pub struct Lost;

/// Says whether this process may write.
#[derive(Clone, Default)]
pub struct Fence {
    until: Arc<Mutex<Option<Until>>>,
}

#[derive(Clone, Copy)]
struct Until {
    /// No write may begin later.
    begin: Instant,
    /// No write may last longer: soon after, somebody else may lead.
    end: Instant,
}

impl Fence {
    /// A fence that is always open: for a process that is alone by other means, such as a test.
    pub fn open() -> Self {
        let fence = Self::default();
        let far = Instant::now() + Duration::from_hours(24 * 365);
        fence.set(Some(Until { begin: far, end: far }));
        fence
    }

    fn set(&self, until: Option<Until>) {
        *self.until.lock().unwrap_or_else(PoisonError::into_inner) = until;
    }

    /// How long a write that begins now may take at most. Refuses when the lease is not, or no longer, held.
    pub fn check(&self) -> Result<Duration, Lost> {
        let until = self.until.lock().unwrap_or_else(PoisonError::into_inner).ok_or(Lost)?;
        let now = Instant::now();
        if now < until.begin { Ok(until.end.saturating_duration_since(now)) } else { Err(Lost) }
    }
}

/// One contender.
pub struct Elector<S> {
    store: S,
    identity: String,
    timing: Timing,
    fence: Fence,
    /// The lease as last seen, and when its change was seen.
    observed: Option<(Record, Instant)>,
}

impl<S: LeaseStore> Elector<S> {
    /// A contender under a name that no other has.
    pub fn new(store: S, identity: impl Into<String>, timing: Timing) -> Self {
        Self { store, identity: identity.into(), timing, fence: Fence::default(), observed: None }
    }

    /// Open while this contender leads.
    pub fn fence(&self) -> Fence {
        self.fence.clone()
    }

    /// Waits until this contender leads; `false` when `shutdown` came first.
    pub async fn acquire(&mut self, shutdown: &CancellationToken) -> bool {
        loop {
            let patience = self.timing.attempt;
            let attempt = tokio::select! {
                attempt = tokio::time::timeout(patience, self.attempt()) => attempt,
                () = shutdown.cancelled() => return false,
            };
            match attempt {
                Ok(Ok(true)) => return true,
                Ok(Ok(false)) => (),
                Ok(Err(error)) => tracing::warn!(%error, "lease"),
                Err(_) => tracing::warn!("lease: no answer in time"),
            }
            tokio::select! {
                () = tokio::time::sleep(jittered(self.timing.retry)) => (),
                () = shutdown.cancelled() => return false,
            }
        }
    }

    /// Renews until `shutdown`, or until it could not for as long as a leader may.
    pub async fn hold(&mut self, shutdown: &CancellationToken) -> Result<(), Lost> {
        let mut renewed = Instant::now();
        loop {
            tokio::select! {
                () = tokio::time::sleep(jittered(self.timing.retry)) => (),
                () = shutdown.cancelled() => return Ok(()),
            }
            let begun = Instant::now();
            // An attempt that outlives the deadline is as good as a failed one.
            let until = (begun + self.timing.attempt).min(renewed + self.timing.renew_deadline);
            match tokio::time::timeout_at(until, self.attempt()).await {
                Ok(Ok(true)) => renewed = begun,
                Ok(Ok(false)) => {
                    self.fence.set(None);
                    return Err(Lost);
                }
                Ok(Err(error)) => tracing::warn!(%error, "lease not renewed"),
                Err(_) => (),
            }
            if renewed.elapsed() >= self.timing.renew_deadline {
                self.fence.set(None);
                return Err(Lost);
            }
        }
    }

    /// Gives the lease back, so that another need not wait for it to expire.
    pub async fn release(&mut self) {
        self.fence.set(None);
        let Some((seen, _)) = self.observed.take().filter(|(seen, _)| seen.holder == self.identity) else { return };
        let nobody = Claim { holder: "", duration: Duration::from_secs(1), is_takeover: false };
        if let Err(error) = self.store.replace(&seen, &nobody).await {
            tracing::debug!(%error, "lease not given back, it expires");
        }
    }

    /// Takes or renews the lease, if it may be taken.
    async fn attempt(&mut self) -> Result<bool, ClusterError> {
        let begun = Instant::now();
        let Some(seen) = self.store.get().await? else {
            let made = self.store.create(&self.identity, self.timing.lease).await?;
            return Ok(self.lead(made, begun));
        };
        let is_news = self.observed.as_ref().is_none_or(|(known, _)| *known != seen);
        let seen_at = match &self.observed {
            Some((_, at)) if !is_news => *at,
            _ => Instant::now(),
        };
        self.observed = Some((seen.clone(), seen_at));
        let is_mine = seen.holder == self.identity;
        let is_free = seen.holder.is_empty() || seen_at.elapsed() >= seen.duration;
        if !is_mine && !is_free {
            return Ok(false);
        }
        let claim = Claim { holder: &self.identity, duration: self.timing.lease, is_takeover: !is_mine };
        let held = self.store.replace(&seen, &claim).await?;
        Ok(self.lead(held, begun))
    }

    fn lead(&mut self, held: Record, begun: Instant) -> bool {
        self.observed = Some((held, Instant::now()));
        // Counted from before the call: whoever saw the change saw it later.
        let Timing { lease, renew_deadline, .. } = self.timing;
        self.fence.set(Some(Until { begin: begun + renew_deadline, end: begun + (lease + renew_deadline) / 2 }));
        true
    }
}

fn jittered(period: Duration) -> Duration {
    period.mul_f64(rand::random_range(1.0..1.0 + JITTER))
}

#[cfg(test)]
mod tests;
