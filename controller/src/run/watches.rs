//! The watches behind the caches, and what a change of one kind means for the other.
//!
//! Caches keep what is read here and nothing else: annotations, managed fields, specs of children and the names of
//! members stay out, or ten thousand tenants would not fit.

use std::{
    collections::{HashMap, HashSet},
    fmt::Debug,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    task::Poll,
};

use futures_util::{
    Stream, StreamExt as _, TryStreamExt as _,
    future::ready,
    stream::{self, BoxStream},
};
use k8s_openapi::{
    api::{
        apps::v1::Deployment,
        core::v1::{ConfigMap, Service, ServiceAccount},
        networking::v1::NetworkPolicy,
        policy::v1::PodDisruptionBudget,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Api, Client, Resource, ResourceExt,
    core::{DeserializeGuard, NamespaceResourceScope, PartialObjectMeta},
    runtime::{
        WatchStreamExt as _,
        reflector::{self, ObjectRef, Store},
        watcher::{self, Event, watcher},
    },
};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;

use super::{
    context::Caches,
    dashboard::build::{MANAGED_BY_LABEL, MANAGER},
};
use crate::{
    cluster::watch_problem,
    resources::{Branding, Dashboard, Isolation, Member, Tenant},
};

/// Objects per page of a list.
const PAGE: u32 = 500;

type Watch<K> = BoxStream<'static, Result<K, watcher::Error>>;
type Guarded<K> = DeserializeGuard<K>;

/// Everything that is watched. The streams fill the caches while they are polled.
pub(super) struct Watches {
    pub(super) caches: Caches,
    pub(super) tenants: Watch<Guarded<Tenant>>,
    pub(super) dashboards: Watch<Guarded<Dashboard>>,
    pub(super) service_accounts: Watch<PartialObjectMeta<ServiceAccount>>,
    pub(super) config_maps: Watch<PartialObjectMeta<ConfigMap>>,
    pub(super) network_policies: Watch<PartialObjectMeta<NetworkPolicy>>,
    pub(super) services: Watch<PartialObjectMeta<Service>>,
    pub(super) pod_disruption_budgets: Watch<PartialObjectMeta<PodDisruptionBudget>>,
    pub(super) deployments: Watch<Deployment>,
    /// Tenants that name a dashboard which came or went.
    pub(super) tenants_to_look_at: BoxStream<'static, ObjectRef<Guarded<Tenant>>>,
    /// `PerTenant` dashboards, when what tenants may open changed.
    pub(super) dashboards_to_look_at: BoxStream<'static, ObjectRef<Guarded<Dashboard>>>,
}

impl Watches {
    pub(super) fn start(client: &Client, namespace: &str) -> Self {
        let everything = watcher::Config::default().page_size(PAGE);
        let ours = everything.clone().labels(&format!("{MANAGED_BY_LABEL}={MANAGER}"));
        let (tenants, tenant_events) = cached(client, namespace, &everything, slim_tenant);
        let (dashboards, dashboard_events) = cached(client, namespace, &everything, slim_dashboard);
        let (to_tenants, tenants_to_look_at) = triggers();
        let (to_dashboards, dashboards_to_look_at) = triggers();
        let mut of_tenants = TenantChanges::default();
        let mut of_dashboards = DashboardChanges::default();
        let (dashboards_seen, tenants_seen) = (dashboards.clone(), tenants.clone());
        let tenant_events = tenant_events.inspect_ok(move |event| {
            if of_tenants.matter(event) {
                for dashboard in dashboards_seen.state_filter(is_per_tenant) {
                    let _ = to_dashboards.send(ObjectRef::from_obj(dashboard.as_ref()));
                }
            }
        });
        let dashboard_events = dashboard_events.inspect_ok(move |event| {
            for tenant in tenants_seen.state_filter(|tenant| of_dashboards.concern(event, tenant)) {
                let _ = to_tenants.send(ObjectRef::from_obj(tenant.as_ref()));
            }
            of_dashboards.note(event);
        });
        let (service_accounts, service_account_events) = cached(client, namespace, &ours, slim);
        let (config_maps, config_map_events) = cached(client, namespace, &ours, slim);
        let (network_policies, network_policy_events) = cached(client, namespace, &ours, slim);
        let (services, service_events) = cached(client, namespace, &ours, slim);
        let (pod_disruption_budgets, budget_events) = cached(client, namespace, &ours, slim);
        let (deployments, deployment_events) = cached(client, namespace, &ours, slim_deployment);
        let caches = Caches {
            tenants,
            dashboards,
            service_accounts,
            config_maps,
            network_policies,
            services,
            pod_disruption_budgets,
            deployments,
        };
        Self {
            caches,
            tenants: heard(tenant_events.applied_objects()),
            dashboards: heard(dashboard_events.applied_objects()),
            service_accounts: heard(service_account_events.touched_objects()),
            config_maps: heard(config_map_events.touched_objects()),
            network_policies: heard(network_policy_events.touched_objects()),
            services: heard(service_events.touched_objects()),
            pod_disruption_budgets: heard(budget_events.touched_objects()),
            deployments: heard(deployment_events.touched_objects()),
            tenants_to_look_at,
            dashboards_to_look_at,
        }
    }
}

/// A watch that fills a cache, made smaller on the way.
fn cached<K>(
    client: &Client,
    namespace: &str,
    config: &watcher::Config,
    slim: fn(&mut K),
) -> (Store<K>, BoxStream<'static, Result<Event<K>, watcher::Error>>)
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + Sync
        + 'static,
{
    let (store, writer) = reflector::store::<K>();
    let mut last_problem = String::new();
    let events = watcher(Api::<K>::namespaced(client.clone(), namespace), config.clone())
        .default_backoff()
        .modify(slim)
        .reflect(writer)
        .inspect(move |event| match event {
            Ok(_) => last_problem.clear(),
            // A watch that fails fails again and again: said once.
            Err(error) => {
                let problem = watch_problem(&K::plural(&()), error);
                if problem != last_problem {
                    tracing::error!("{problem}");
                }
                last_problem = problem;
            }
        });
    (store, events.boxed())
}

/// What a watch heard. Its failures stay here: it waits and begins again by itself, while a controller that is told of one
/// waits with everything else too.
fn heard<K: Send + 'static>(events: impl Stream<Item = Result<K, watcher::Error>> + Send + 'static) -> Watch<K> {
    events.filter_map(|event| ready(event.ok().map(Ok))).boxed()
}

fn slim_metadata(metadata: &mut ObjectMeta) {
    metadata.managed_fields = None;
    metadata.annotations = None;
}

fn slim(object: &mut impl ResourceExt) {
    slim_metadata(object.meta_mut());
}

fn slim_tenant(tenant: &mut Guarded<Tenant>) {
    slim_metadata(tenant.meta_mut());
    tenant.meta_mut().labels = None;
    if let Ok(tenant) = &mut tenant.0 {
        // Only how many there are is told.
        tenant.spec.members.fill(Member::default());
        tenant.spec.branding = Branding::default();
        tenant.spec.display_name = String::new();
    }
}

fn slim_dashboard(dashboard: &mut Guarded<Dashboard>) {
    slim_metadata(dashboard.meta_mut());
    dashboard.meta_mut().labels = None;
    if let Ok(dashboard) = &mut dashboard.0 {
        dashboard.spec.description = String::new();
    }
}

fn slim_deployment(deployment: &mut Deployment) {
    slim_metadata(&mut deployment.metadata);
    deployment.spec = None;
}

fn is_per_tenant(dashboard: &Guarded<Dashboard>) -> bool {
    dashboard.0.as_ref().is_ok_and(|dashboard| dashboard.spec.isolation == Isolation::PerTenant)
}

fn triggers<K>() -> (mpsc::UnboundedSender<ObjectRef<K>>, BoxStream<'static, ObjectRef<K>>)
where
    K: Resource<DynamicType = ()> + Send + Sync + 'static,
{
    // Unbounded, because what fills it is polled by the same task as what empties it; the reconciler's queue holds each
    // object once.
    let (sender, mut receiver) = mpsc::unbounded_channel();
    let stream = stream::poll_fn(move |context| match receiver.poll_recv(context) {
        // A stream that ends would end the controller with it.
        Poll::Ready(None) => Poll::Pending,
        other => other,
    });
    (sender, stream.boxed())
}

/// Tells a change of what tenants may open from a change of anything else, such as a status.
#[derive(Default)]
struct TenantChanges {
    known: HashMap<String, u64>,
}

impl TenantChanges {
    fn matter(&mut self, event: &Event<Guarded<Tenant>>) -> bool {
        match event {
            Event::Init => {
                self.known.clear();
                false
            }
            Event::InitApply(tenant) => {
                self.known.insert(tenant.name_any(), grants(tenant));
                false
            }
            Event::InitDone => true,
            Event::Apply(tenant) => {
                let grants = grants(tenant);
                self.known.insert(tenant.name_any(), grants) != Some(grants)
            }
            Event::Delete(tenant) => self.known.remove(&tenant.name_any()).is_some(),
        }
    }
}

fn grants(tenant: &Guarded<Tenant>) -> u64 {
    let mut hasher = DefaultHasher::new();
    if let Ok(tenant) = &tenant.0 {
        (&tenant.spec.dashboards, tenant.spec.suspended, tenant.metadata.deletion_timestamp.is_some())
            .hash(&mut hasher);
    }
    hasher.finish()
}

/// Tells a dashboard that came or went from one that only changed. One that is being deleted has gone.
#[derive(Default)]
struct DashboardChanges {
    known: HashSet<String>,
}

impl DashboardChanges {
    fn concern(&self, event: &Event<Guarded<Dashboard>>, tenant: &Guarded<Tenant>) -> bool {
        let names = |dashboard: &Guarded<Dashboard>| {
            let name = dashboard.name_any();
            tenant.0.as_ref().is_ok_and(|tenant| tenant.spec.dashboards.contains(&name))
        };
        match event {
            Event::Init | Event::InitApply(_) => false,
            Event::InitDone => true,
            Event::Apply(dashboard) => {
                self.known.contains(&dashboard.name_any()) == is_terminating(dashboard) && names(dashboard)
            }
            Event::Delete(dashboard) => names(dashboard),
        }
    }

    fn note(&mut self, event: &Event<Guarded<Dashboard>>) {
        match event {
            Event::Init => self.known.clear(),
            Event::InitApply(dashboard) | Event::Apply(dashboard) if !is_terminating(dashboard) => {
                self.known.insert(dashboard.name_any());
            }
            Event::InitApply(dashboard) | Event::Apply(dashboard) | Event::Delete(dashboard) => {
                self.known.remove(&dashboard.name_any());
            }
            Event::InitDone => (),
        }
    }
}

fn is_terminating(object: &impl Resource) -> bool {
    object.meta().deletion_timestamp.is_some()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};

    use super::*;
    use crate::run::fixtures::{dashboard, tenant};

    #[test]
    fn only_a_change_of_grants_makes_dashboards_look_again() {
        let mut changes = TenantChanges::default();
        let mut acme = tenant("acme", &["clv"]);
        let apply = |tenant: &Tenant| Event::Apply(DeserializeGuard(Ok(tenant.clone())));
        assert!(changes.matter(&apply(&acme)));
        acme.metadata.resource_version = Some("2".into());
        assert!(!changes.matter(&apply(&acme)), "a status");
        acme.spec.suspended = true;
        assert!(changes.matter(&apply(&acme)));
        assert!(changes.matter(&Event::Delete(DeserializeGuard(Ok(acme.clone())))));
        assert!(!changes.matter(&Event::Init));
        assert!(changes.matter(&Event::InitDone));
    }

    #[test]
    fn a_dashboard_that_comes_or_goes_concerns_the_tenants_that_name_it() {
        let mut changes = DashboardChanges::default();
        let guarded = |name: &str| DeserializeGuard(Ok(dashboard(name)));
        let acme = DeserializeGuard(Ok(tenant("acme", &["clv"])));
        assert!(changes.concern(&Event::Apply(guarded("clv")), &acme));
        assert!(!changes.concern(&Event::Apply(guarded("risk")), &acme));
        changes.note(&Event::Apply(guarded("clv")));
        assert!(!changes.concern(&Event::Apply(guarded("clv")), &acme), "it was there");
        assert!(changes.concern(&Event::Delete(guarded("clv")), &acme));
        changes.note(&Event::Delete(guarded("clv")));
        assert!(changes.concern(&Event::Apply(guarded("clv")), &acme));
        changes.note(&Event::Apply(guarded("clv")));
        let mut held = dashboard("clv");
        held.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
        let held = || Event::Apply(DeserializeGuard(Ok(held.clone())));
        assert!(changes.concern(&held(), &acme), "it is being deleted");
        changes.note(&held());
        assert!(!changes.concern(&held(), &acme), "it was already");
    }

    #[test]
    fn a_cached_tenant_keeps_how_many_members_it_has() {
        let mut acme = tenant("acme", &["clv"]);
        acme.spec.members = vec![Member { user: Some("ana".into()), ..Member::default() }; 3];
        acme.metadata.annotations = Some([("last-applied".to_owned(), "x".repeat(4000))].into());
        let mut guarded = DeserializeGuard(Ok(acme));
        slim_tenant(&mut guarded);
        let acme = guarded.0.unwrap();
        assert_eq!(acme.spec.members, vec![Member::default(); 3]);
        assert_eq!((acme.metadata.annotations, acme.spec.dashboards), (None, vec!["clv".to_owned()]));
    }
}
