//! What the sidecar counts. Labels are fixed words, never names of people, tenants or paths.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

/// From five microseconds, about what a cached token costs, to a hundred milliseconds.
const ADDED_SECONDS: [f64; 14] = [5e-6, 1e-5, 2e-5, 3e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 5e-2, 1e-1];
/// What people wait for.
const UPSTREAM_SECONDS: [f64; 12] = [1e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0];

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
    reason: &'static str,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Found {
    result: &'static str,
}

/// The sidecar's metrics.
#[derive(Clone)]
pub(crate) struct Metrics {
    registry: Arc<Mutex<Registry>>,
    requests: Family<Outcome, Counter>,
    forwarded: Counter,
    added: Histogram,
    upstream: Histogram,
    cache_hits: Counter,
    cache_misses: Counter,
    pub(crate) open_sockets: Gauge,
    pub(crate) sockets_ended: Counter,
    in_flight: Gauge,
    key_age: Gauge<f64, std::sync::atomic::AtomicU64>,
    lines_dropped: Gauge,
}

/// What is read only when somebody asks.
pub(crate) struct Now {
    pub(crate) in_flight: usize,
    pub(crate) key_age: Option<Duration>,
    pub(crate) lines_dropped: u64,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("kyros_sidecar");
        let requests = Family::<Outcome, Counter>::default();
        let cache = Family::<Found, Counter>::default();
        let metrics = Self {
            // Looked up once: this one counts on every request.
            forwarded: requests.get_or_create_owned(&Outcome { outcome: "forwarded", reason: "" }),
            cache_hits: cache.get_or_create_owned(&Found { result: "hit" }),
            cache_misses: cache.get_or_create_owned(&Found { result: "miss" }),
            added: Histogram::new(ADDED_SECONDS),
            upstream: Histogram::new(UPSTREAM_SECONDS),
            open_sockets: Gauge::default(),
            sockets_ended: Counter::default(),
            in_flight: Gauge::default(),
            key_age: Gauge::default(),
            lines_dropped: Gauge::default(),
            requests,
            registry: Arc::default(),
        };
        registry.register("requests", "Requests by outcome and reason", metrics.requests.clone());
        let seconds = Unit::Seconds;
        let added = "Time that the sidecar added to a forwarded request";
        registry.register_with_unit("added", added, seconds, metrics.added.clone());
        let upstream = "Time from a request to the beginning of the dashboard's answer";
        registry.register_with_unit("upstream", upstream, Unit::Seconds, metrics.upstream.clone());
        registry.register("token_cache", "Tokens and cookies by whether they were known already", cache);
        registry.register("open_sockets", "WebSockets open now", metrics.open_sockets.clone());
        let ended = "WebSockets closed because their authority ended";
        registry.register("sockets_ended", ended, metrics.sockets_ended.clone());
        registry.register("in_flight", "Requests under way now", metrics.in_flight.clone());
        let age = "Time since the keys were last read, -1 when they never were";
        registry.register_with_unit("key_age", age, Unit::Seconds, metrics.key_age.clone());
        let dropped = "Access lines that found no room";
        registry.register("access_lines_dropped", dropped, metrics.lines_dropped.clone());
        Self { registry: Arc::new(Mutex::new(registry)), ..metrics }
    }

    /// A request that went to the dashboard, and what it cost here and there.
    pub(crate) fn forwarded(&self, added: Duration, upstream: Duration) {
        self.forwarded.inc();
        self.added.observe(added.as_secs_f64());
        self.upstream.observe(upstream.as_secs_f64());
    }

    pub(crate) fn cache(&self, is_hit: bool) {
        if is_hit {
            self.cache_hits.inc()
        } else {
            self.cache_misses.inc()
        };
    }

    pub(crate) fn refused(&self, reason: &'static str) {
        self.count("refused", reason);
    }

    pub(crate) fn answered(&self, reason: &'static str) {
        self.count("answered", reason);
    }

    fn count(&self, outcome: &'static str, reason: &'static str) {
        self.requests.get_or_create(&Outcome { outcome, reason }).inc();
    }

    pub(crate) fn text(&self, now: &Now) -> String {
        self.in_flight.set(i64::try_from(now.in_flight).unwrap_or(i64::MAX));
        self.key_age.set(now.key_age.map_or(-1.0, |age| age.as_secs_f64()));
        self.lines_dropped.set(i64::try_from(now.lines_dropped).unwrap_or(i64::MAX));
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = encode(&mut text, &self.registry.lock().unwrap_or_else(PoisonError::into_inner));
        text
    }
}
