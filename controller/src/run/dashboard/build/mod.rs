//! Step 3, build: from a plan to every child it wants. Pure; needs no client, and cannot fail.
//!
//! A list that would be empty is left out instead: server-side apply rewrites some empty lists each time, and a change each
//! time would be an endless loop.

mod config_map;
mod deployment;
mod network_policy;
mod service;

use std::{collections::BTreeMap, marker::PhantomData};

use k8s_openapi::{
    api::{
        apps::v1::Deployment,
        core::v1::{ConfigMap, Service, ServiceAccount},
        networking::v1::NetworkPolicy,
        policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec},
    },
    apimachinery::pkg::{
        apis::meta::v1::{LabelSelector, ObjectMeta},
        util::intstr::IntOrString,
    },
};
use kyros_shared_config::{PublicUrl, Workload};
use url::Url;

use super::validate::{Container, Plan, Runs};

/// Where the sidecar takes requests from the gateway. A number and never a name: a named port would find the dashboard's own
/// container first, and lead around the sidecar.
pub const PROXY_PORT: i32 = 15_001;
/// The sidecar's health, readiness, probes and metrics.
pub const ADMIN_PORT: i32 = 15_002;
/// Where the dashboard reaches the data API through the sidecar, on loopback.
pub const EGRESS_PORT: i32 = 15_003;

/// Names the pods of one workload. Only pods that the controller runs have it, which the chart's policy for them relies on.
pub const WORKLOAD_LABEL: &str = "kyros.dev/workload";
/// The dashboard that something belongs to.
pub const DASHBOARD_LABEL: &str = "kyros.dev/dashboard";
/// The tenant that something belongs to, where every tenant has its own.
pub const TENANT_LABEL: &str = "kyros.dev/tenant";
/// Who made it.
pub const MANAGED_BY_LABEL: &str = "app.kubernetes.io/managed-by";
/// The value of [`MANAGED_BY_LABEL`], and the field manager of every write.
pub const MANAGER: &str = "kyros-controller";

/// What every child depends on beside its dashboard.
#[derive(Debug, Clone)]
pub struct Platform {
    /// Where Tenants, Dashboards and their workloads are.
    pub namespace: String,
    /// Where API and gateway are.
    pub system_namespace: String,
    /// Where people reach the portal; also the issuer of tenant tokens.
    pub public_url: PublicUrl,
    /// Where sidecars reach the API.
    pub api_url: Url,
    /// The sidecar's image.
    pub sidecar_image: String,
    /// When images are pulled: Always, `IfNotPresent` or Never.
    pub image_pull_policy: String,
    /// A namespace whose pods may read the sidecars' metrics.
    pub monitoring_namespace: Option<String>,
}

/// The stage of children that only exist in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Desired {}

/// The stage of children that the API server has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {}

/// The children of one workload. A status is made of applied ones only, so it cannot speak of what was never written.
#[derive(Debug, Clone, PartialEq)]
pub struct Children<Stage> {
    /// Whose they are.
    pub workload: Workload,
    /// What the sidecar's token names.
    pub service_account: ServiceAccount,
    /// What the sidecar is told.
    pub config_map: ConfigMap,
    /// Who reaches the pods, and whom they reach.
    pub network_policy: NetworkPolicy,
    /// Where the gateway finds the sidecars.
    pub service: Service,
    /// Keeps one pod serving while nodes are drained; only where there is more than one.
    pub pod_disruption_budget: Option<PodDisruptionBudget>,
    /// The pods; none for an existing workload.
    pub deployment: Option<Deployment>,
    pub(super) stage: PhantomData<Stage>,
}

impl Children<Desired> {
    /// Says that everything has been written.
    pub(in crate::run) fn applied(self) -> Children<Applied> {
        let Self {
            workload,
            service_account,
            config_map,
            network_policy,
            service,
            pod_disruption_budget,
            deployment,
            stage: _,
        } = self;
        Children {
            workload,
            service_account,
            config_map,
            network_policy,
            service,
            pod_disruption_budget,
            deployment,
            stage: PhantomData,
        }
    }
}

/// Everything that a plan asks for.
pub fn build(plan: &Plan, platform: &Platform) -> Vec<Children<Desired>> {
    match &plan.runs {
        Runs::Image { container, workloads } => workloads
            .iter()
            .map(|(workload, replicas)| of_image(plan, container, workload, *replicas, platform))
            .collect(),
        Runs::Existing { selector } => vec![of_existing(plan, selector, platform)],
    }
}

fn of_image(
    plan: &Plan,
    container: &Container,
    workload: &Workload,
    replicas: i32,
    platform: &Platform,
) -> Children<Desired> {
    let child = Child { plan, workload, platform };
    let pods = child.pod_selector();
    let config_map = config_map::build(&child, Some(container));
    Children {
        workload: workload.clone(),
        service_account: child.service_account(),
        deployment: Some(deployment::build(&child, container, replicas, &config_map)),
        config_map,
        network_policy: network_policy::build(&child, &pods, true),
        service: service::build(&child, &pods),
        pod_disruption_budget: (replicas > 1).then(|| child.pod_disruption_budget(&pods)),
        stage: PhantomData,
    }
}

fn of_existing(plan: &Plan, selector: &BTreeMap<String, String>, platform: &Platform) -> Children<Desired> {
    let workload = Workload::shared(plan.dashboard.clone());
    let child = Child { plan, workload: &workload, platform };
    Children {
        service_account: child.service_account(),
        config_map: config_map::build(&child, None),
        network_policy: network_policy::build(&child, selector, false),
        service: service::build(&child, selector),
        pod_disruption_budget: None,
        deployment: None,
        stage: PhantomData,
        workload,
    }
}

/// What the builders of one workload's children share.
struct Child<'a> {
    plan: &'a Plan,
    workload: &'a Workload,
    platform: &'a Platform,
}

impl Child<'_> {
    /// Metadata of a child whose name may be as long as a DNS subdomain.
    fn metadata(&self) -> ObjectMeta {
        self.metadata_named(self.workload.name())
    }

    fn metadata_named(&self, name: String) -> ObjectMeta {
        ObjectMeta {
            name: Some(name),
            namespace: Some(self.platform.namespace.clone()),
            labels: Some(self.labels()),
            owner_references: Some(vec![self.plan.owner.clone()]),
            ..ObjectMeta::default()
        }
    }

    fn labels(&self) -> BTreeMap<String, String> {
        let fixed = [("app.kubernetes.io/name", "dashboard"), ("app.kubernetes.io/part-of", "kyros")];
        let mut labels = self.pod_selector();
        labels.extend(fixed.map(|(name, value)| (name.to_owned(), value.to_owned())));
        labels.insert(MANAGED_BY_LABEL.to_owned(), MANAGER.to_owned());
        labels.insert(DASHBOARD_LABEL.to_owned(), self.workload.dashboard.to_string());
        if let Some(tenant) = &self.workload.tenant {
            labels.insert(TENANT_LABEL.to_owned(), tenant.to_string());
        }
        labels
    }

    /// One label that no other workload's pods have, also while a dashboard changes its isolation.
    fn pod_selector(&self) -> BTreeMap<String, String> {
        BTreeMap::from([(WORKLOAD_LABEL.to_owned(), self.workload.service_name())])
    }

    fn service_account(&self) -> ServiceAccount {
        ServiceAccount {
            metadata: self.metadata(),
            // The sidecar's token is projected by hand, into the sidecar alone.
            automount_service_account_token: Some(false),
            ..ServiceAccount::default()
        }
    }

    fn pod_disruption_budget(&self, pods: &BTreeMap<String, String>) -> PodDisruptionBudget {
        PodDisruptionBudget {
            metadata: self.metadata(),
            spec: Some(PodDisruptionBudgetSpec {
                max_unavailable: Some(IntOrString::Int(1)),
                selector: Some(LabelSelector { match_labels: Some(pods.clone()), ..LabelSelector::default() }),
                ..PodDisruptionBudgetSpec::default()
            }),
            status: None,
        }
    }
}

#[cfg(test)]
mod tests;
