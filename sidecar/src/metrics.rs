//! What the sidecar counts. Labels are fixed words, never names of people, tenants or paths.

use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
    reason: &'static str,
}

/// The sidecar's metrics.
#[derive(Clone)]
pub(crate) struct Metrics {
    registry: Arc<Mutex<Registry>>,
    requests: Family<Outcome, Counter>,
    pub(crate) open_sockets: Gauge,
    pub(crate) sockets_ended: Counter,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("kyros_sidecar");
        let requests = Family::default();
        let open_sockets = Gauge::default();
        let sockets_ended = Counter::default();
        registry.register("requests", "Requests by outcome and reason", requests.clone());
        registry.register("open_sockets", "WebSockets open now", open_sockets.clone());
        registry.register("sockets_ended", "WebSockets closed because their authority ended", sockets_ended.clone());
        Self { registry: Arc::new(Mutex::new(registry)), requests, open_sockets, sockets_ended }
    }

    pub(crate) fn forwarded(&self) {
        self.count("forwarded", "");
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

    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = encode(&mut text, &self.registry.lock().unwrap_or_else(PoisonError::into_inner));
        text
    }
}
