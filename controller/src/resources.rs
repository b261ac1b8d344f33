//! The custom resources, group `kyros.dev`, version `v1alpha1`, and their definitions.

#[expect(unreachable_pub, reason = "KubeSchema copies each public struct into a function body")]
mod dashboard;
mod rules;
mod schema;
#[expect(unreachable_pub, reason = "KubeSchema copies each public struct into a function body")]
mod tenant;

use std::path::Path;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

pub use self::{
    dashboard::{Dashboard, DashboardSpec, DashboardStatus, Isolation, ServiceRef, Transport},
    tenant::{Branding, Embedding, Member, Subject, Tenant, TenantLimits, TenantSpec, TenantState, TenantStatus},
};

/// The API group of every resource.
pub const GROUP: &str = "kyros.dev";
/// The only version so far.
pub const VERSION: &str = "v1alpha1";
/// What a manifest writes in `apiVersion`.
pub const API_VERSION: &str = "kyros.dev/v1alpha1";

/// The definitions that a cluster installs.
pub fn crds() -> Vec<CustomResourceDefinition> {
    vec![Tenant::crd(), Dashboard::crd()]
}

/// The definitions as one YAML stream, for `kubectl apply`.
pub fn crds_yaml() -> Result<String, serde_yaml::SerializeError> {
    let mut yaml = String::new();
    for crd in crds() {
        yaml.push_str("---\n");
        yaml.push_str(&serde_yaml::to_string(&crd)?);
    }
    Ok(yaml)
}

/// Writes each definition to a file of its own, named by its plural.
pub fn write_crds(folder: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    for crd in crds() {
        let yaml = serde_yaml::to_string(&crd).map_err(std::io::Error::other)?;
        std::fs::write(folder.join(format!("{}.yaml", crd.spec.names.plural)), yaml)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
