//! What the sidecar is told: the same settings that it takes anywhere else, as environment variables.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;

use super::{ADMIN_PORT, Child, EGRESS_PORT, PROXY_PORT};
use crate::run::dashboard::validate::{Container, PlannedProbe};

/// Where the workload's token is mounted, in the sidecar alone.
pub(super) const TOKEN_FOLDER: &str = "/var/run/secrets/kyros";
/// The token's file in [`TOKEN_FOLDER`].
pub(super) const TOKEN_FILE: &str = "token";

pub(super) fn build(child: &Child<'_>, container: Option<&Container>) -> ConfigMap {
    let platform = child.platform;
    let api = platform.api_url.as_str().trim_end_matches('/');
    let mut data = BTreeMap::from([
        ("KYROS_ADMIN_LISTEN", format!("0.0.0.0:{ADMIN_PORT}")),
        ("KYROS_API_URL", api.to_owned()),
        ("KYROS_BEHIND_GATEWAY", "true".to_owned()),
        ("KYROS_DASHBOARD", child.workload.dashboard.to_string()),
        ("KYROS_EGRESS_LISTEN", format!("127.0.0.1:{EGRESS_PORT}")),
        ("KYROS_ISSUER", platform.public_url.origin()),
        ("KYROS_JWKS", format!("{api}/.well-known/jwks.json")),
        ("KYROS_LISTEN", format!("0.0.0.0:{PROXY_PORT}")),
        ("KYROS_PUBLIC_URL", platform.public_url.origin()),
        ("KYROS_UPSTREAM", child.plan.address.to_string()),
        ("KYROS_WORKLOAD_TOKEN", format!("{TOKEN_FOLDER}/{TOKEN_FILE}")),
    ]);
    if let Some(tenant) = &child.workload.tenant {
        data.insert("KYROS_TENANT", tenant.to_string());
    }
    if let Some(container) = container {
        let asked = |probe: &Option<PlannedProbe>| probe.as_ref().and_then(|probe| probe.asked_by_sidecar.clone());
        let probes = [
            ("KYROS_PROBE_STARTUP", asked(&container.startup)),
            ("KYROS_PROBE_READINESS", asked(&container.readiness)),
            ("KYROS_PROBE_LIVENESS", asked(&container.liveness)),
        ];
        data.extend(probes.into_iter().filter_map(|(name, probe)| Some((name, probe?))));
    }
    ConfigMap {
        metadata: child.metadata(),
        data: Some(data.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()),
        ..ConfigMap::default()
    }
}
