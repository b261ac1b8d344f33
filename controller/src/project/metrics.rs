//! What the projector tells the operations port: whether it has begun, when it last heard anything, what went wrong.

use std::sync::atomic::{AtomicBool, Ordering};

use kyros_http_server::admin::Operations;
use prometheus_client::{
    encoding::text::encode,
    metrics::{counter::Counter, gauge::Gauge},
    registry::Registry,
};

/// What the projector tells the operations port.
pub struct ProjectionMetrics {
    registry: Registry,
    is_synced: AtomicBool,
    pub(super) last_event: Gauge,
    pub(super) changes: Counter,
    pub(super) drifted: Counter,
    pub(super) unreadable: Counter,
}

impl Default for ProjectionMetrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("kyros_projection");
        let (last_event, changes) = (Gauge::default(), Counter::default());
        let (drifted, unreadable) = (Counter::default(), Counter::default());
        registry.register("last_event_seconds", "When anything was last heard, Unix time", last_event.clone());
        registry.register("changes", "Changes written between complete lists", changes.clone());
        registry.register("drifted", "Times that the read model was not what the source had", drifted.clone());
        registry.register("unreadable", "Resources that could not be read, each time", unreadable.clone());
        Self { registry, is_synced: AtomicBool::new(false), last_event, changes, drifted, unreadable }
    }
}

impl ProjectionMetrics {
    pub(super) fn synced(&self) {
        self.is_synced.store(true, Ordering::Release);
    }

    pub(super) fn is_synced(&self) -> bool {
        self.is_synced.load(Ordering::Acquire)
    }
}

impl Operations for ProjectionMetrics {
    fn not_ready_because(&self) -> Vec<String> {
        if self.is_synced() { Vec::new() } else { vec!["no complete list of tenants and dashboards yet".to_owned()] }
    }

    fn metrics(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}
