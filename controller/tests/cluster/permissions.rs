//! The chart's own roles: exactly enough, for the controller and for the projector.

use std::{process::Command, sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt as _;
use kyros_controller::{ProjectSettings, Projector, project::Source, resources::Dashboard};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::{
    chaos::Chaos,
    world::{World, client},
};

/// Applies what the chart says of accounts and roles, for a system namespace and the world's own.
fn install(world: &World, system: &str) -> bool {
    let Some(helm) = world.plane.helm() else { return false };
    world.plane.kubectl_ok(&["create", "namespace", system], "").unwrap();
    let chart = concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/kyros");
    for file in ["controller-rbac", "projector-rbac", "controller-serviceaccount", "api-serviceaccount"] {
        let output = Command::new(helm)
            .args(["template", "kyros", chart, "--namespace", system, "--kube-version", "1.36.0"])
            .args(["--set", &format!("resourceNamespace={}", world.namespace)])
            .args(["--show-only", &format!("templates/{file}.yaml")])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        world.plane.kubectl_ok(&["apply", "-f", "-"], &String::from_utf8_lossy(&output.stdout)).unwrap();
    }
    true
}

async fn client_of(world: &World, system: &str, account: &str, chaos: &Chaos) -> kube::Client {
    let token = world.plane.kubectl_ok(&["-n", system, "create", "token", account], "").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kubeconfig");
    world.plane.kubeconfig_for(token.trim(), &path).unwrap();
    client(&path, chaos).await
}

/// Role `project` with its own account: everything it reads, it may read, and it asks for nothing else.
async fn the_projector_needs_no_more(world: &World, system: &str) {
    let chaos = Chaos::none();
    let client = client_of(world, system, "kyros-api", &chaos).await;
    let folder = tempfile::tempdir().unwrap();
    let settings = ProjectSettings {
        source: Source::Cluster(world.namespace.clone()),
        metadata_db: folder.path().join("metadata.db"),
        cluster_keys: Some(folder.path().join("cluster-keys.json")),
        confirm_every: Duration::from_millis(100),
        compare_every: Duration::from_millis(100),
    };
    let stop = CancellationToken::new();
    let projector = Projector::start_on(client, &settings, Arc::default(), &stop).await.unwrap();
    let running = tokio::spawn(projector.run(stop.clone()));
    tokio::time::sleep(Duration::from_secs(1)).await;
    stop.cancel();
    running.await.unwrap();
    assert_eq!(chaos.forbidden(), Vec::<String>::new());
    assert_eq!(chaos.log(), Vec::<String>::new(), "it writes nothing to the cluster");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_charts_roles_are_exactly_enough() {
    let Some(mut world) = World::new("rights").await else { return };
    let system = format!("{}-system", world.namespace);
    if !install(&world, &system) {
        return;
    }
    let chaos = Chaos::none();
    let client = client_of(&world, &system, "kyros-controller", &chaos).await;
    world.run_as(client);
    // Everything that it ever does: make, change, prune, tell.
    world.dashboard("clv", json!({"replicas": 2})).await;
    world.until_dashboard("clv", "Accepted", "Accepted").await;
    world.patch::<ConfigMap>("dash-clv", json!({"data": {"HTTP_PROXY": "http://evil:1"}})).await;
    world
        .until("only our own settings are there", async || {
            let config = world.api::<ConfigMap>().get("dash-clv").await.unwrap();
            !config.data.unwrap().contains_key("HTTP_PROXY")
        })
        .await;
    world.dashboard("clv", json!({"isolation": "PerTenant"})).await;
    world.tenant("acme", &["clv"], false).await;
    world
        .until("one for acme alone", async || {
            let children = world.children().await;
            !children.is_empty() && children.keys().all(|name| name.contains("dash-clv--acme"))
        })
        .await;
    world.until_tenant("acme", "Ready", "Ready").await;
    world.until_quiet(&chaos).await;
    assert_eq!(chaos.forbidden(), Vec::<String>::new());
    assert!(chaos.log().iter().any(|line| line.starts_with("DELETE")), "nothing was pruned: the test proves less");

    the_projector_needs_no_more(&world, &system).await;

    let may = |account: &str, namespace: &str, verb: &str, resource: &str| {
        let account = format!("--as=system:serviceaccount:{system}:{account}");
        // `resource/name` would ask for an object of that name.
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        let subresource = format!("--subresource={subresource}");
        let question = ["auth", "can-i", "-n", namespace, verb, resource, &subresource, &account];
        let asked = world.plane.kubectl(&question, "").unwrap();
        String::from_utf8_lossy(&asked.stdout).trim() == "yes"
    };
    let own = world.namespace.as_str();
    assert!(may("kyros-controller", own, "create", "deployments.apps"));
    for (namespace, verb, resource) in [
        (own, "get", "secrets"),
        (own, "list", "pods"),
        (own, "create", "pods"),
        (own, "patch", "tenants.kyros.dev"),
        (own, "create", "dashboards.kyros.dev"),
        (own, "create", "serviceaccounts/token"),
        (own, "create", "rolebindings.rbac.authorization.k8s.io"),
        (own, "get", "leases.coordination.k8s.io"),
        (&system, "create", "deployments.apps"),
        (&system, "get", "secrets"),
        (&system, "delete", "leases.coordination.k8s.io"),
        ("default", "list", "services"),
    ] {
        assert!(!may("kyros-controller", namespace, verb, resource), "{verb} {resource} in {namespace}");
    }
    assert!(may("kyros-api", own, "watch", "tenants.kyros.dev"));
    for (namespace, verb, resource) in [
        (own, "patch", "tenants.kyros.dev"),
        (own, "patch", "tenants.kyros.dev/status"),
        (own, "list", "deployments.apps"),
        (own, "get", "secrets"),
        (&system, "get", "secrets"),
        (&system, "list", "tenants.kyros.dev"),
    ] {
        assert!(!may("kyros-api", namespace, verb, resource), "{verb} {resource} in {namespace}");
    }
    assert_eq!(world.api::<Dashboard>().get("clv").await.unwrap().name_any(), "clv");
}
