//! People, autoscalers and other controllers beside ours: what is ours is put right again, what is not is left alone.

use std::collections::BTreeMap;

use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Service},
    networking::v1::NetworkPolicy,
};
use kube::api::{DeleteParams, PostParams};
use kyros_controller::resources::Dashboard;
use serde_json::json;

use crate::{chaos::Chaos, world::World};

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_changes_or_deletes_is_put_right() {
    let Some(mut world) = World::new("edits").await else { return };
    let chaos = Chaos::none();
    world.run(&chaos).await;
    world.dashboard("clv", json!({"replicas": 2})).await;
    world.until_dashboard("clv", "Accepted", "Accepted").await;
    world.until_quiet(&chaos).await;
    let opened = json!({"spec": {"ingress": [{}]}});
    world.patch::<NetworkPolicy>("dash-clv", opened).await;
    world
        .until("the policy is narrow again", async || {
            let policy = world.api::<NetworkPolicy>().get("dash-clv").await.unwrap();
            policy.spec.unwrap().ingress.unwrap()[0].from.is_some()
        })
        .await;
    let around = json!({"spec": {"ports": [{"name": "http", "port": 80, "protocol": "TCP", "targetPort": 8050}]}});
    world.patch::<Service>("dash-clv", around).await;
    world
        .until("the service leads to the sidecar again", async || {
            let service = world.api::<Service>().get("dash-clv").await.unwrap();
            service.spec.unwrap().ports.unwrap()[0].target_port
                == Some(k8s_openapi::apimachinery::pkg::util::intstr::IntOrString::Int(15_001))
        })
        .await;
    let written = world.api::<ConfigMap>().get("dash-clv").await.unwrap().data;
    let foreign = json!({"KYROS_TENANT": "acme", "KYROS_ISSUER": "evil", "HTTP_PROXY": "http://evil:1"});
    world.patch::<ConfigMap>("dash-clv", json!({"data": foreign, "binaryData": {"OTEL": "eA=="}})).await;
    world
        .until("the configuration is ours again, and nobody else's besides", async || {
            let config = world.api::<ConfigMap>().get("dash-clv").await.unwrap();
            config.data == written && config.binary_data.is_none()
        })
        .await;
    world.until_quiet(&chaos).await;
    world.patch::<Deployment>("dash-clv", json!({"spec": {"replicas": 7}})).await;
    world
        .until("as many pods as asked for", async || {
            world.api::<Deployment>().get("dash-clv").await.unwrap().spec.unwrap().replicas == Some(2)
        })
        .await;
    // Neither a generation nor a status tells of these.
    let labels =
        json!({"metadata": {"labels": {"kyros.dev/dashboard": "another", "app.kubernetes.io/managed-by": null}}});
    world.patch::<Deployment>("dash-clv", labels).await;
    world
        .until("the deployment's labels are ours again", async || {
            let labels = world.api::<Deployment>().get("dash-clv").await.unwrap().metadata.labels.unwrap();
            labels["kyros.dev/dashboard"] == "clv" && labels.contains_key("app.kubernetes.io/managed-by")
        })
        .await;
    // A child without our labels is still ours, and is found by its name.
    world.patch::<Service>("dash-clv", json!({"metadata": {"labels": null}})).await;
    world.until("labelled again", async || world.names::<Service>().await == ["dash-clv"]).await;
    let before = world.children().await;
    for child in before.keys() {
        let (kind, name) = child.split_once(' ').unwrap();
        world.plane.kubectl_ok(&["-n", &world.namespace, "delete", kind, name, "--wait=false"], "").unwrap();
    }
    world
        .until("all are there again, as others", async || {
            let after = world.children().await;
            after.len() == before.len() && after.iter().all(|(name, version)| before.get(name) != Some(version))
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_is_somebody_elses_is_never_taken_over() {
    let Some(mut world) = World::new("foreign").await else { return };
    let theirs: Service = serde_json::from_value(json!({
        "metadata": {"name": "dash-clv"}, "spec": {"selector": {"app": "theirs"}, "ports": [{"port": 1234}]},
    }))
    .unwrap();
    world.api::<Service>().create(&PostParams::default(), &theirs).await.unwrap();
    world.run(&Chaos::none()).await;
    world.dashboard("clv", json!({})).await;
    world.until_dashboard("clv", "Ready", "NameTaken").await;
    let found = world.api::<Service>().get("dash-clv").await.unwrap();
    assert_eq!(found.metadata.owner_references, None);
    assert_eq!(found.spec.unwrap().selector, Some(BTreeMap::from([("app".to_owned(), "theirs".to_owned())])));
    assert!(world.names::<Deployment>().await.is_empty(), "no pods before their service");
    let message = world.api::<Dashboard>().get("clv").await.unwrap().status.unwrap().conditions[0].message.clone();
    assert!(message.contains("Service dash-clv exists and belongs to somebody else"), "{message}");
    world.api::<Service>().delete("dash-clv", &DeleteParams::default()).await.unwrap();
    // No watch shows what is not ours: it is looked for every half minute.
    world.until_dashboard("clv", "Accepted", "Accepted").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dashboard_made_anew_waits_for_the_children_of_the_old_one_to_go() {
    let Some(mut world) = World::new("anew").await else { return };
    world.run(&Chaos::none()).await;
    for _ in 0..3 {
        world.dashboard("clv", json!({})).await;
        world.until_dashboard("clv", "Accepted", "Accepted").await;
        world.api::<Dashboard>().delete("clv", &DeleteParams::default()).await.unwrap();
    }
    let last = world.dashboard("clv", json!({})).await;
    world.until_dashboard("clv", "Accepted", "Accepted").await;
    let owner = world.api::<Deployment>().get("dash-clv").await.unwrap().metadata.owner_references.unwrap();
    assert_eq!(Some(&owner[0].uid), last.metadata.uid.as_ref());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_existing_workload_is_guarded_and_not_started() {
    let Some(mut world) = World::new("existing").await else { return };
    world.run(&Chaos::none()).await;
    let spec = json!({"title": "Old", "serviceRef": {"name": "legacy"}, "port": 3000});
    world.apply::<Dashboard>("old", spec).await;
    world.until_dashboard("old", "Ready", "ServiceNotFound").await;
    let theirs: Service = serde_json::from_value(json!({
        "metadata": {"name": "legacy"}, "spec": {"selector": {"app": "legacy"}, "ports": [{"port": 3000}]},
    }))
    .unwrap();
    world.api::<Service>().create(&PostParams::default(), &theirs).await.unwrap();
    // Touched, so that nobody need wait half a minute.
    world.patch::<Dashboard>("old", json!({"spec": {"title": "Older"}})).await;
    world.until_dashboard("old", "Ready", "NotWatched").await;
    let status = world.api::<Dashboard>().get("old").await.unwrap().status.unwrap();
    let ready = status.conditions.iter().find(|condition| condition.type_ == "Ready").unwrap();
    assert_eq!(ready.status, "Unknown", "there is not one pod, and nobody looked");
    world.tenant("acme", &["old"], false).await;
    world.until_tenant("acme", "Ready", "Ready").await;
    assert!(world.names::<Deployment>().await.is_empty());
    let policy = world.api::<NetworkPolicy>().get("dash-old").await.unwrap().spec.unwrap();
    let selector = policy.pod_selector.unwrap().match_labels.unwrap();
    assert_eq!(selector, BTreeMap::from([("app".to_owned(), "legacy".to_owned())]));
    let config = world.api::<ConfigMap>().get("dash-old").await.unwrap().data.unwrap();
    assert_eq!(config["KYROS_UPSTREAM"], "127.0.0.1:3000");
}
