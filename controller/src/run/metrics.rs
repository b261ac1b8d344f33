//! What the leader counts. Labels are fixed words, never names of tenants or dashboards.

use std::sync::Arc;

use kyros_http_server::admin::Operations;
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Kind {
    kind: &'static str,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Pass {
    kind: &'static str,
    outcome: &'static str,
}

/// The controller's metrics.
pub struct Metrics {
    registry: Registry,
    leading: Gauge,
    backing_off: Gauge,
    writes: Family<Kind, Counter>,
    passes: Family<Pass, Counter>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("kyros_controller");
        let (leading, backing_off) = (Gauge::default(), Gauge::default());
        let (writes, passes) = (Family::default(), Family::default());
        registry.register("leading", "1 while this process leads", leading.clone());
        registry.register("backing_off", "Objects that failed last time", backing_off.clone());
        registry.register("writes", "Requests that change something, by kind", Family::clone(&writes));
        registry.register("passes", "Reconciliations by kind and outcome", Family::clone(&passes));
        Self { registry, leading, backing_off, writes, passes }
    }
}

impl Metrics {
    pub(super) fn leads(&self, is_leading: bool) {
        self.leading.set(i64::from(is_leading));
    }

    pub(super) fn writes(&self, kind: &'static str) {
        self.writes.get_or_create(&Kind { kind }).inc();
    }

    pub(super) fn passed(&self, kind: &'static str, outcome: &'static str, backing_off: usize) {
        self.passes.get_or_create(&Pass { kind, outcome }).inc();
        self.backing_off.set(i64::try_from(backing_off).unwrap_or(i64::MAX));
    }
}

impl Operations for Metrics {
    /// A contender that does not lead is ready to: that is what it is there for.
    fn not_ready_because(&self) -> Vec<String> {
        Vec::new()
    }

    fn metrics(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

/// The metrics as what the operations port serves.
pub(crate) fn operations(metrics: &Arc<Metrics>) -> Arc<dyn Operations> {
    metrics.clone()
}
