//! Resources for tests, as an API server would hand them over.

use kube::core::ObjectMeta;

use super::dashboard::build::Platform;
use crate::resources::{Dashboard, DashboardSpec, Tenant, TenantSpec};

/// A dashboard that uses every default.
pub(crate) fn dashboard(name: &str) -> Dashboard {
    let spec: DashboardSpec =
        serde_json::from_value(serde_json::json!({"title": name, "image": "localhost/dashboard:1"})).unwrap();
    Dashboard { metadata: metadata(name), spec, status: None }
}

/// A tenant that may open some dashboards.
pub(crate) fn tenant(name: &str, dashboards: &[&str]) -> Tenant {
    let spec: TenantSpec =
        serde_json::from_value(serde_json::json!({"displayName": name, "dashboards": dashboards})).unwrap();
    Tenant { metadata: metadata(name), spec, status: None }
}

/// An installation in `kyros-system` that serves `dashboards`.
pub(crate) fn platform() -> Platform {
    Platform {
        namespace: "dashboards".into(),
        system_namespace: "kyros-system".into(),
        public_url: "http://kyros.localhost:8080".parse().unwrap(),
        api_url: "http://kyros-api.kyros-system.svc:8080".parse().unwrap(),
        sidecar_image: "ghcr.io/kyros/sidecar:0.1.0".into(),
        image_pull_policy: "IfNotPresent".into(),
        monitoring_namespace: None,
    }
}

fn metadata(name: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.into()),
        namespace: Some("dashboards".into()),
        uid: Some(format!("uid-{name}")),
        generation: Some(1),
        ..ObjectMeta::default()
    }
}
