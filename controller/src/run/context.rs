//! What every reconciliation shares: the client, the caches, what was written last, and the one way to write.

use std::{
    collections::HashMap,
    fmt::Debug,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use k8s_openapi::{
    api::{
        apps::v1::{Deployment, DeploymentStatus},
        core::v1::{ConfigMap, ObjectReference, Service, ServiceAccount},
        networking::v1::NetworkPolicy,
        policy::v1::PodDisruptionBudget,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Api, Client, Resource,
    core::{DeserializeGuard, NamespaceResourceScope, PartialObjectMeta},
    runtime::{
        events::{Event, EventType, Recorder, Reporter},
        reflector::{ObjectRef, Store},
    },
};
use kyros_shared_config::{DashboardSlug, TenantId};
use serde::{Serialize, de::DeserializeOwned};
use thiserror::Error;

use super::{backoff::Backoff, dashboard::build::Platform, metrics::Metrics};
use crate::{
    cluster::{CALL_TIMEOUT, ClusterError},
    lease::{Fence, Lost},
    resources::{Dashboard, Tenant},
};

/// Longest note of an Event that an API server takes, with a margin.
const MAX_NOTE: usize = 1000;

/// How often foreign settings are taken out of one `ConfigMap` at most.
const TAKE_OUT_EVERY: Duration = Duration::from_mins(1);

/// Why nothing was written.
#[derive(Debug, Error)]
pub(crate) enum WriteError {
    /// Somebody else leads now.
    #[error(transparent)]
    Lost(#[from] Lost),
    /// The API server did not do it.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
}

/// What the watches know, without the parts that nobody here reads.
pub(crate) struct Caches {
    pub(crate) tenants: Store<DeserializeGuard<Tenant>>,
    pub(crate) dashboards: Store<DeserializeGuard<Dashboard>>,
    pub(crate) service_accounts: Store<PartialObjectMeta<ServiceAccount>>,
    pub(crate) config_maps: Store<PartialObjectMeta<ConfigMap>>,
    pub(crate) network_policies: Store<PartialObjectMeta<NetworkPolicy>>,
    pub(crate) services: Store<PartialObjectMeta<Service>>,
    pub(crate) pod_disruption_budgets: Store<PartialObjectMeta<PodDisruptionBudget>>,
    pub(crate) deployments: Store<Deployment>,
}

impl Caches {
    /// Waits until every watch has listed once.
    pub(crate) async fn synced(&self) {
        // An error means that a watch was dropped, which happens at the end alone.
        let _ = tokio::join!(
            self.tenants.wait_until_ready(),
            self.dashboards.wait_until_ready(),
            self.service_accounts.wait_until_ready(),
            self.config_maps.wait_until_ready(),
            self.network_policies.wait_until_ready(),
            self.services.wait_until_ready(),
            self.pod_disruption_budgets.wait_until_ready(),
            self.deployments.wait_until_ready(),
        );
    }
}

/// A kind of child, and where its cache is.
pub(crate) trait Child:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + Debug
    + Serialize
    + DeserializeOwned
    + Send
    + Sync
    + 'static
{
    fn cached(caches: &Caches, name: &ObjectRef<Self>) -> Option<ObjectMeta>;

    /// Those with the given label's value.
    fn labelled(caches: &Caches, label: &str, value: &str) -> Vec<ObjectMeta>;
}

macro_rules! child_with_metadata {
    ($($kind:ty => $cache:ident),*) => {$(
        impl Child for $kind {
            fn cached(caches: &Caches, name: &ObjectRef<Self>) -> Option<ObjectMeta> {
                let name = ObjectRef::new(&name.name).within(name.namespace.as_deref().unwrap_or_default());
                caches.$cache.get(&name).map(|object| object.metadata.clone())
            }

            fn labelled(caches: &Caches, label: &str, value: &str) -> Vec<ObjectMeta> {
                let found = caches.$cache.state_filter(|object| has_label(&object.metadata, label, value));
                found.iter().map(|object| object.metadata.clone()).collect()
            }
        }
    )*};
}

child_with_metadata! {
    ServiceAccount => service_accounts,
    ConfigMap => config_maps,
    NetworkPolicy => network_policies,
    Service => services,
    PodDisruptionBudget => pod_disruption_budgets,
    Deployment => deployments
}

fn has_label(metadata: &ObjectMeta, label: &str, value: &str) -> bool {
    metadata.labels.as_ref().and_then(|labels| labels.get(label)).is_some_and(|found| found == value)
}

/// What was written last under a name, to tell whether anything differs from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) digest: [u8; 32],
    pub(crate) uid: String,
    pub(crate) version: String,
    pub(crate) generation: Option<i64>,
}

/// Shared by all reconciliations.
pub(crate) struct Context {
    pub(crate) client: Client,
    pub(crate) platform: Platform,
    pub(crate) caches: Caches,
    pub(crate) backoff: Backoff,
    pub(crate) metrics: Arc<Metrics>,
    fence: Fence,
    recorder: Recorder,
    written: Mutex<HashMap<(&'static str, String), Written>>,
    /// When foreign settings were taken out of a `ConfigMap`.
    taken_out: Mutex<HashMap<String, Instant>>,
}

impl Context {
    pub(crate) fn new(
        client: Client,
        platform: Platform,
        caches: Caches,
        fence: Fence,
        identity: String,
        metrics: Arc<Metrics>,
    ) -> Self {
        let reporter = Reporter { controller: "kyros.dev/controller".to_owned(), instance: Some(identity) };
        let recorder = Recorder::new(client.clone(), reporter);
        let (backoff, written, taken_out) = (Backoff::default(), Mutex::default(), Mutex::default());
        Self { client, platform, caches, backoff, metrics, fence, recorder, written, taken_out }
    }

    pub(crate) fn namespace(&self) -> &str {
        &self.platform.namespace
    }

    pub(crate) fn api<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), self.namespace())
    }

    /// The only way to write: while this process leads, and no longer than a follower would wait.
    pub(crate) async fn write<T>(
        &self,
        kind: &'static str,
        action: impl FnOnce() -> String,
        call: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, WriteError> {
        let left = self.fence.check()?;
        self.metrics.writes(kind);
        let bounded = tokio::time::timeout(left.min(CALL_TIMEOUT), crate::cluster::call(action, call)).await;
        match bounded {
            Ok(done) => Ok(done?),
            Err(_) => Err(Lost.into()),
        }
    }

    /// Whether there is a tenant that cannot be read, and of which nobody can say what it may open.
    pub(crate) fn has_unreadable_tenant(&self) -> bool {
        self.caches.tenants.find(|guarded| guarded.0.is_err()).is_some()
    }

    /// Tenants that may open a dashboard, by name, and whether each is suspended.
    pub(crate) fn tenants_that_open(&self, dashboard: &DashboardSlug) -> Vec<(TenantId, bool)> {
        let names_it = |guarded: &DeserializeGuard<Tenant>| {
            guarded.0.as_ref().is_ok_and(|tenant| tenant.spec.dashboards.iter().any(|slug| slug == dashboard.as_str()))
        };
        let mut tenants: Vec<(TenantId, bool)> = self
            .caches
            .tenants
            .state_filter(names_it)
            .iter()
            .filter_map(|guarded| guarded.0.as_ref().ok())
            .filter(|tenant| tenant.metadata.deletion_timestamp.is_none())
            .filter_map(|tenant| Some((tenant.metadata.name.as_deref()?.parse().ok()?, tenant.spec.suspended)))
            .collect();
        tenants.sort();
        tenants
    }

    /// What a Deployment says of itself as it was written last. Of an earlier version only the counts are worth telling: that
    /// its pods are ready says nothing about those that come now.
    pub(crate) fn deployment_status(&self, name: &str) -> Option<DeploymentStatus> {
        let deployment = self.caches.deployments.get(&ObjectRef::new(name).within(self.namespace()))?;
        let status = deployment.status.clone()?;
        let written = self.written("Deployment", name).and_then(|written| written.generation);
        if status.observed_generation >= written.max(deployment.metadata.generation) {
            return Some(status);
        }
        Some(DeploymentStatus { updated_replicas: None, conditions: None, ..status })
    }

    pub(crate) fn written(&self, kind: &'static str, name: &str) -> Option<Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner).get(&(kind, name.to_owned())).cloned()
    }

    pub(crate) fn remember(&self, kind: &'static str, name: &str, written: Written) {
        self.written.lock().unwrap_or_else(PoisonError::into_inner).insert((kind, name.to_owned()), written);
    }

    /// Whether foreign settings of that name may be taken out now: not when that was done a moment ago.
    pub(crate) fn may_take_out(&self, name: &str) -> bool {
        let now = Instant::now();
        let mut taken_out = self.taken_out.lock().unwrap_or_else(PoisonError::into_inner);
        taken_out.retain(|_, at| now - *at < TAKE_OUT_EVERY);
        if taken_out.contains_key(name) {
            return false;
        }
        taken_out.insert(name.to_owned(), now);
        true
    }

    pub(crate) fn forget(&self, kind: &'static str, name: &str) {
        self.written.lock().unwrap_or_else(PoisonError::into_inner).remove(&(kind, name.to_owned()));
    }

    /// Tells people what happened to an object. Events are a courtesy: one that cannot be written is only logged.
    pub(crate) async fn tell(&self, object: &ObjectReference, is_bad: bool, reason: &str, action: &str, note: &str) {
        let mut note = note.to_owned();
        note.truncate(note.floor_char_boundary(MAX_NOTE));
        let event = Event {
            type_: if is_bad { EventType::Warning } else { EventType::Normal },
            reason: reason.to_owned(),
            note: (!note.is_empty()).then_some(note),
            action: action.to_owned(),
            secondary: None,
        };
        let told = self.write("Event", || format!("Event {reason}"), self.recorder.publish(&event, object)).await;
        if let Err(error) = told {
            tracing::debug!(%error, reason, "event not written");
        }
    }
}

/// How long until an object that is well is looked at again; spread, so that a thousand do not come together.
pub(crate) fn next_look() -> Duration {
    Duration::from_mins(10).mul_f64(rand::random_range(0.9..1.1))
}
