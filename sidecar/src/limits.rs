//! How much a dashboard, a tenant and a person may have under way at a time. Who asks for more is told at once and with a
//! number of seconds, rather than kept waiting.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use clap::Args;
use kyros_http_server::Limits;
use kyros_shared_config::TenantId;

use crate::{answer::Refusal, settings::seconds};

/// What one sidecar takes on.
#[derive(Debug, Clone, Copy, Args)]
pub struct LimitSettings {
    /// Connections at a time; further ones wait in the kernel's queue.
    #[arg(long, env = "KYROS_MAX_CONNECTIONS", default_value_t = Self::default().max_connections)]
    pub max_connections: usize,

    /// Requests under way at a time, answers being streamed included; further ones get 503.
    #[arg(long, env = "KYROS_MAX_IN_FLIGHT", default_value_t = Self::default().max_in_flight)]
    pub max_in_flight: usize,

    /// The same for one tenant; further ones get 429.
    #[arg(long, env = "KYROS_MAX_IN_FLIGHT_PER_TENANT", default_value_t = Self::default().max_in_flight_per_tenant)]
    pub max_in_flight_per_tenant: usize,

    /// `WebSockets` open at a time; further ones get 503.
    #[arg(long, env = "KYROS_MAX_SOCKETS", default_value_t = Self::default().max_sockets)]
    pub max_sockets: usize,

    /// The same for one tenant; further ones get 429. Half of all where nothing is said.
    #[arg(long, env = "KYROS_MAX_SOCKETS_PER_TENANT")]
    pub max_sockets_per_tenant: Option<usize>,

    /// The same for one session; further ones get 429.
    #[arg(long, env = "KYROS_MAX_SOCKETS_PER_SESSION", default_value_t = Self::default().max_sockets_per_session)]
    pub max_sockets_per_session: usize,

    /// How long a client may take nothing of what it is sent, in seconds; then its connection is reset. Behind a gateway, more
    /// than the gateway's.
    #[arg(long, env = "KYROS_WRITE_TIMEOUT", default_value = "60", value_parser = seconds)]
    pub write_timeout: Duration,
}

impl Default for LimitSettings {
    fn default() -> Self {
        Self {
            max_connections: 8192,
            max_in_flight: 1024,
            max_in_flight_per_tenant: 512,
            max_sockets: 4096,
            max_sockets_per_tenant: None,
            max_sockets_per_session: 64,
            write_timeout: Limits::default().write_timeout,
        }
    }
}

impl LimitSettings {
    fn max_sockets_per_tenant(&self) -> usize {
        self.max_sockets_per_tenant.unwrap_or_else(|| self.max_sockets.div_ceil(2))
    }
}

/// A place among those allowed at a time, given back when dropped.
pub(crate) struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(count: &Arc<AtomicUsize>, limit: usize) -> Option<Self> {
        // Whoever finds the last place taken steps back at once, so the count is never wrong for long.
        let place = Self(count.clone());
        (count.fetch_add(1, Ordering::Relaxed) < limit).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The count of one tenant or session, looked up once and kept with its identity.
pub(crate) type Count = OnceLock<Arc<AtomicUsize>>;

/// Counts by name. A name is forgotten when nothing of it is under way and the table would grow.
struct Counts<K>(Mutex<HashMap<K, Arc<AtomicUsize>>>);

impl<K: std::hash::Hash + Eq> Counts<K> {
    fn of(&self, key: K) -> Arc<AtomicUsize> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.len() == counts.capacity() {
            // An identity may still hold a count that is zero now.
            counts.retain(|_, count| Arc::strong_count(count) > 1);
        }
        counts.entry(key).or_default().clone()
    }
}

/// What is under way.
pub(crate) struct InFlight {
    settings: LimitSettings,
    requests: Arc<AtomicUsize>,
    sockets: Arc<AtomicUsize>,
    by_tenant: Counts<TenantId>,
    sockets_by_tenant: Counts<TenantId>,
    sockets_by_session: Counts<String>,
}

impl InFlight {
    pub(crate) fn new(settings: LimitSettings) -> Self {
        Self {
            settings,
            requests: Arc::default(),
            sockets: Arc::default(),
            by_tenant: Counts(Mutex::default()),
            sockets_by_tenant: Counts(Mutex::default()),
            sockets_by_session: Counts(Mutex::default()),
        }
    }

    /// Places for one request of a tenant. The tenant's own limit is looked at first: its storm is its own affair.
    pub(crate) fn request(&self, tenant: &TenantId, count: &Count) -> Result<[Place; 2], Refusal> {
        let count = count.get_or_init(|| self.by_tenant.of(tenant.clone()));
        let of_tenant = Place::take(count, self.settings.max_in_flight_per_tenant).ok_or(Refusal::TENANT_BUSY)?;
        let of_all = Place::take(&self.requests, self.settings.max_in_flight).ok_or(Refusal::DASHBOARD_BUSY)?;
        Ok([of_tenant, of_all])
    }

    /// Places for one socket of a tenant's session. Whoever signs in often has many sessions, and still one tenant.
    pub(crate) fn socket(&self, tenant: &TenantId, session: &str) -> Result<[Place; 3], Refusal> {
        let settings = &self.settings;
        let count = self.sockets_by_session.of(session.to_owned());
        let of_session = Place::take(&count, settings.max_sockets_per_session).ok_or(Refusal::SESSION_BUSY)?;
        let count = self.sockets_by_tenant.of(tenant.clone());
        let of_tenant = Place::take(&count, settings.max_sockets_per_tenant()).ok_or(Refusal::TENANT_SOCKETS)?;
        let of_all = Place::take(&self.sockets, settings.max_sockets).ok_or(Refusal::DASHBOARD_BUSY)?;
        Ok([of_session, of_tenant, of_all])
    }

    /// Requests under way now.
    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenants_storm_ends_at_its_own_limit_and_places_come_back() {
        let limits = LimitSettings { max_in_flight: 3, max_in_flight_per_tenant: 2, ..LimitSettings::default() };
        let (flight, acme, globex) = (InFlight::new(limits), Count::new(), Count::new());
        let (a, g): (TenantId, TenantId) = ("acme".parse().unwrap(), "globex".parse().unwrap());
        let held: Vec<_> = (0..2).map(|_| flight.request(&a, &acme).unwrap()).collect();
        assert_eq!(flight.request(&a, &acme).err(), Some(Refusal::TENANT_BUSY));
        assert_eq!(flight.request(&a, &Count::new()).err(), Some(Refusal::TENANT_BUSY), "another token of the tenant");
        let other = flight.request(&g, &globex).unwrap();
        assert_eq!(flight.request(&g, &globex).err(), Some(Refusal::DASHBOARD_BUSY));
        assert_eq!(flight.requests(), 3, "a refused request holds no place");
        drop((held, other));
        assert!(flight.request(&a, &acme).is_ok());
        assert_eq!(flight.requests(), 0);
    }

    #[test]
    fn sockets_are_counted_by_session_and_in_all() {
        let limits = LimitSettings {
            max_sockets: 2,
            max_sockets_per_tenant: Some(2),
            max_sockets_per_session: 1,
            ..LimitSettings::default()
        };
        let (flight, acme) = (InFlight::new(limits), "acme".parse().unwrap());
        let one = flight.socket(&acme, "one").unwrap();
        assert_eq!(flight.socket(&acme, "one").err(), Some(Refusal::SESSION_BUSY));
        let globex = "globex".parse().unwrap();
        let two = flight.socket(&globex, "two").unwrap();
        assert_eq!(flight.socket(&globex, "three").err(), Some(Refusal::DASHBOARD_BUSY));
        drop(one);
        assert!(flight.socket(&acme, "one").is_ok());
        drop(two);
    }

    #[test]
    fn a_tenant_has_half_of_the_sockets_however_many_sessions_it_begins() {
        let limits = LimitSettings { max_sockets: 4, ..LimitSettings::default() };
        let flight = InFlight::new(limits);
        let (acme, globex): (TenantId, TenantId) = ("acme".parse().unwrap(), "globex".parse().unwrap());
        let held = [flight.socket(&acme, "one").unwrap(), flight.socket(&acme, "two").unwrap()];
        assert_eq!(flight.socket(&acme, "three").err(), Some(Refusal::TENANT_SOCKETS));
        let others = [flight.socket(&globex, "a").unwrap(), flight.socket(&globex, "a").unwrap()];
        drop(held);
        assert!(flight.socket(&acme, "three").is_ok(), "its places come back");
        drop(others);
        assert_eq!(LimitSettings::default().max_sockets_per_tenant(), 2048);
        let told = LimitSettings { max_sockets_per_tenant: Some(7), ..limits };
        assert_eq!(told.max_sockets_per_tenant(), 7);
    }
}
