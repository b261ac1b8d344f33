//! The `Dashboard`: what runs, how its tenants are kept apart, and what data it may read. It holds no grant.

use k8s_openapi::{
    api::core::v1::{EnvVar, Probe, ResourceRequirements},
    apimachinery::pkg::apis::meta::v1::Condition,
};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    limits,
    resources::{rules, schema},
};

/// What a platform engineer says about a dashboard. Who may open it stands on the Tenant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "kyros.dev",
    version = "v1alpha1",
    kind = "Dashboard",
    namespaced,
    status = "DashboardStatus",
    shortname = "dash",
    category = "kyros",
    derive = "PartialEq",
    doc = "A dashboard: the image that runs, the data it may read, and how its tenants are kept apart. Grants stand on \
           the Tenant.",
    scale(
        spec_replicas_path = ".spec.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    printcolumn(name = "Title", type_ = "string", json_path = ".spec.title", description = "Name for people"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#,
        description = "Whether it serves"
    ),
    printcolumn(name = "Replicas", type_ = "integer", json_path = ".status.readyReplicas", description = "Ready pods"),
    printcolumn(name = "URL", type_ = "string", json_path = ".status.url", description = "Address, for any tenant"),
    printcolumn(
        name = "Isolation",
        type_ = "string",
        json_path = ".spec.isolation",
        description = "How tenants are kept apart",
        priority = 1
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].reason"#,
        description = "Why it is or is not ready",
        priority = 1
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = rules::name_format(),
    validation = rules::name_length(),
    validation = rules::image_or_service(),
    validation = rules::unix_needs_image()
)]
#[serde(rename_all = "camelCase")]
pub struct DashboardSpec {
    /// The dashboard's name for people.
    #[schemars(length(min = 1, max = limits::TITLE_LENGTH))]
    pub title: String,

    /// What it shows, in a sentence or two.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = limits::DESCRIPTION_LENGTH))]
    pub description: String,

    /// The container image that the controller runs. Leave it out for a workload that exists: see `serviceRef`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = limits::IMAGE_LENGTH), regex(pattern = limits::IMAGE_PATTERN))]
    pub image: Option<String>,

    /// A workload that somebody else runs and that the sidecar is injected into.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_ref: Option<ServiceRef>,

    /// Where the sidecar finds the container's server: a port on loopback, or a Unix socket.
    #[serde(default)]
    pub transport: Transport,

    /// Where the container listens, on loopback. With `transport: Unix` nothing listens there; the number is then only how a
    /// probe names the dashboard.
    #[serde(default = "default_port")]
    #[schemars(range(min = limits::PORT_MIN, max = limits::PORT_MAX))]
    #[x_kube(validation = rules::port_not_reserved())]
    pub port: i32,

    /// How its tenants are kept apart.
    #[serde(default)]
    pub isolation: Isolation,

    /// The only data that its tokens can read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = limits::DATASETS),
        inner(length(min = 1, max = limits::DATASET_LENGTH), regex(pattern = limits::DATASET_PATTERN))
    )]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub datasets: Vec<String>,

    /// Where the data lies of tenants that name no source of their own: the name of a source that the API's operator has set
    /// up. Without it, `local`: the API's data folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = limits::NAME_LENGTH), regex(pattern = limits::NAME_PATTERN))]
    pub source: Option<String>,

    /// How many pods run it (of each workload, where every tenant has one of its own).
    #[serde(default = "default_replicas")]
    #[schemars(range(min = 0, max = limits::REPLICAS_MAX))]
    pub replicas: i32,

    /// Environment variables of the container. Names that begin with `KYROS_` are Kyros's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::env")]
    pub env: Vec<EnvVar>,

    /// Resources of the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::resources")]
    pub resources: Option<ResourceRequirements>,

    /// Tells when the container has started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::probe")]
    pub startup_probe: Option<Probe>,

    /// Tells when the container may receive requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::probe")]
    pub readiness_probe: Option<Probe>,

    /// Tells when the container must be restarted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::probe")]
    pub liveness_probe: Option<Probe>,
}

/// The Service in front of a workload that exists. Its selector says which pods are guarded: from then on only the gateway
/// reaches them, and only through their sidecar.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceRef {
    /// The Service's name, in the same namespace.
    #[schemars(length(min = 1, max = limits::SERVICE_NAME_LENGTH), regex(pattern = limits::SERVICE_NAME_PATTERN))]
    pub name: String,
}

/// How the tenants of one dashboard are kept apart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Isolation {
    /// One workload for all tenants: trusts the dashboard's code to keep requests apart.
    #[default]
    Shared,
    /// One workload per tenant, its sidecar pinned to it.
    PerTenant,
}

/// How the sidecar reaches the dashboard.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Transport {
    /// `port` on loopback. The container is told by `KYROS_DASHBOARD_LISTEN`, `HOST` and `PORT`.
    #[default]
    #[serde(rename = "TCP")]
    Tcp,
    /// The Unix socket that `KYROS_DASHBOARD_LISTEN=unix:PATH` names: no port, so no way around the sidecar. The socket must
    /// be writable for its group, because the sidecar is another user. Needs `image`.
    Unix,
}

/// What the controller found out about a dashboard.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct DashboardStatus {
    /// The generation of the spec that this status describes in full.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// Pods that exist; the scale subresource reads it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,

    /// Pods that serve.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_replicas: Option<i32>,

    /// Label selector of the pods, as text; an autoscaler reads it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,

    /// Address pattern of the dashboard, such as `http://clv--{tenant}.kyros.localhost:8080`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = limits::URL_LENGTH))]
    pub url: Option<String>,

    /// `Ready` and its parts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = limits::CONDITIONS))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

fn default_port() -> i32 {
    limits::PORT_DEFAULT
}

fn default_replicas() -> i32 {
    limits::REPLICAS_DEFAULT
}
