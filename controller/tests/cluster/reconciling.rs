//! From a resource to its children and its status, and back: what comes, what goes, what stays as it is.

use std::time::Duration;

use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Service, ServiceAccount},
    events::v1::Event,
    networking::v1::NetworkPolicy,
    policy::v1::PodDisruptionBudget,
};
use kube::{
    Api, Resource, ResourceExt as _,
    api::{DeleteParams, ListParams, Patch, PatchParams},
    core::NamespaceResourceScope,
};
use kyros_controller::{
    resources::{Dashboard, Tenant},
    run::dashboard::{build, validate, validate::Surroundings},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;

use crate::{
    chaos::Chaos,
    world::{World, json_of},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_dashboard_gets_its_children_and_is_ready_when_its_pods_are() {
    let Some(mut world) = World::new("whole").await else { return };
    world.run(&Chaos::none()).await;
    world.dashboard("clv", json!({"replicas": 2})).await;
    world.until_dashboard("clv", "Ready", "RolloutInProgress").await;
    for names in [
        world.names::<ServiceAccount>().await,
        world.names::<ConfigMap>().await,
        world.names::<NetworkPolicy>().await,
        world.names::<Service>().await,
        world.names::<PodDisruptionBudget>().await,
        world.names::<Deployment>().await,
    ] {
        assert_eq!(names, ["dash-clv"]);
    }
    world
        .until("ready", async || {
            world.make_pods_ready().await;
            let status = world.api::<Dashboard>().get("clv").await.unwrap().status.unwrap();
            status.ready_replicas == Some(2) && crate::world::has(&status.conditions, "Ready", "Ready")
        })
        .await;
    let events: Api<Event> = world.api();
    world
        .until("an event says so", async || {
            let told = events.list(&ListParams::default()).await.unwrap().items;
            told.iter().any(|event| event.reason.as_deref() == Some("Ready"))
        })
        .await;
    // As an autoscaler does, through the scale subresource.
    let scale = json!({"spec": {"replicas": 1}});
    world.api::<Dashboard>().patch_scale("clv", &PatchParams::default(), &Patch::Merge(&scale)).await.unwrap();
    world
        .until("scaled", async || {
            let deployment = world.api::<Deployment>().get("dash-clv").await.unwrap();
            deployment.spec.unwrap().replicas == Some(1) && world.names::<PodDisruptionBudget>().await.is_empty()
        })
        .await;
    // Nobody deletes the children but the cluster's garbage collector.
    world.api::<Dashboard>().delete("clv", &DeleteParams::default()).await.unwrap();
    world.until("gone", async || world.children().await.is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_tenant_of_a_per_tenant_dashboard_has_its_own_workload() {
    let Some(mut world) = World::new("pertenant").await else { return };
    world.run(&Chaos::none()).await;
    world.dashboard("own", json!({"isolation": "PerTenant"})).await;
    world.until_dashboard("own", "Ready", "NoTenant").await;
    world.tenant("acme", &["own"], false).await;
    world.tenant("globex", &["own"], true).await;
    world
        .until("two workloads", async || world.names::<Deployment>().await == ["dash-own--acme", "dash-own--globex"])
        .await;
    let replicas = async |name: &str| world.api::<Deployment>().get(name).await.unwrap().spec.unwrap().replicas;
    assert_eq!(replicas("dash-own--acme").await, Some(1));
    assert_eq!(replicas("dash-own--globex").await, Some(0), "suspended");
    let config = world.api::<ConfigMap>().get("dash-own--acme").await.unwrap().data.unwrap();
    assert_eq!(config["KYROS_TENANT"], "acme");
    world.tenant("globex", &["own"], false).await;
    world.until("globex runs", async || replicas("dash-own--globex").await == Some(1)).await;
    world.tenant("acme", &[], false).await;
    world
        .until("acme's is gone", async || {
            let left = world.children().await;
            !left.is_empty() && left.keys().all(|name| name.ends_with("dash-own--globex"))
        })
        .await;
    world.dashboard("own", json!({"isolation": "Shared"})).await;
    world.until("one for all", async || world.names::<Deployment>().await == ["dash-own"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_says_what_it_lacks_until_it_is_there() {
    let Some(mut world) = World::new("tenant").await else { return };
    world.run(&Chaos::none()).await;
    world.tenant("acme", &["clv", "risk"], false).await;
    world.until_tenant("acme", "Ready", "DashboardNotFound").await;
    world.dashboard("clv", json!({})).await;
    world.dashboard("risk", json!({})).await;
    world.until_tenant("acme", "Ready", "Ready").await;
    world.patch::<Tenant>("acme", json!({"spec": {"suspended": true}})).await;
    world.until_tenant("acme", "Ready", "Suspended").await;
    world.patch::<Tenant>("acme", json!({"spec": {"suspended": false}})).await;
    world.until_tenant("acme", "Ready", "Ready").await;
    world.api::<Dashboard>().delete("risk", &DeleteParams::default()).await.unwrap();
    world.until_tenant("acme", "Ready", "DashboardNotFound").await;
    let columns =
        world.plane.kubectl_ok(&["-n", &world.namespace, "get", "tenants.kyros.dev,dashboards.kyros.dev"], "");
    let columns = columns.unwrap();
    for column in ["DISPLAY", "STATE", "MEMBERS", "DASHBOARDS", "READY", "URL", "AGE", "Active", "clv--{tenant}"] {
        assert!(columns.contains(column), "{column} in\n{columns}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_by_a_finalizer_says_that_it_is_going() {
    let Some(mut world) = World::new("terminating").await else { return };
    let chaos = Chaos::none();
    world.run(&chaos).await;
    world.dashboard("clv", json!({})).await;
    world.tenant("acme", &["clv"], false).await;
    world.tenant("globex", &["clv"], false).await;
    world.until_tenant("globex", "Ready", "Ready").await;
    let held = json!({"metadata": {"finalizers": ["example.com/hold"]}});
    world.patch::<Tenant>("acme", held.clone()).await;
    world.patch::<Dashboard>("clv", held).await;
    world.api::<Tenant>().delete("acme", &DeleteParams::default()).await.unwrap();
    world.api::<Dashboard>().delete("clv", &DeleteParams::default()).await.unwrap();
    world.until_tenant("acme", "Ready", "Terminating").await;
    world.until_dashboard("clv", "Ready", "Terminating").await;
    // Nobody is let in to it any more, so whoever names it is told.
    world.until_tenant("globex", "Ready", "DashboardNotFound").await;
    world.until_quiet(&chaos).await;
    let free = json!({"metadata": {"finalizers": null}});
    world.patch::<Tenant>("acme", free.clone()).await;
    world.patch::<Dashboard>("clv", free).await;
    world.until("gone", async || world.children().await.is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_nothing_differs_nothing_is_written() {
    let Some(mut world) = World::new("silence").await else { return };
    let chaos = Chaos::none();
    world.run(&chaos).await;
    for number in 0..5 {
        world.dashboard(&format!("d{number}"), json!({"replicas": 2})).await;
    }
    world.dashboard("own", json!({"isolation": "PerTenant"})).await;
    world.dashboard("socket", json!({"transport": "Unix"})).await;
    world.tenant("acme", &["d0", "own", "missing"], false).await;
    world.until_tenant("acme", "Ready", "DashboardNotFound").await;
    world.until_quiet(&chaos).await;
    let (before, children) = (chaos.writes(), world.children().await);
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(chaos.writes(), before, "{:#?}", chaos.log().iter().rev().take(5).collect::<Vec<_>>());
    assert_eq!(world.children().await, children);
    // A restart finds everything as it should be: it asks, and changes nothing.
    world.kill().await;
    world.run(&chaos).await;
    world.until_quiet(&chaos).await;
    assert_eq!(world.children().await, children);
}

#[tokio::test(flavor = "multi_thread")]
async fn applying_a_child_twice_changes_nothing() {
    let Some(world) = World::new("twice").await else { return };
    let probe = json!({"httpGet": {"path": "/up", "port": 8050}, "periodSeconds": 3});
    let corpus = [
        json!({}),
        json!({"transport": "Unix", "readinessProbe": probe}),
        json!({"replicas": 0}),
        json!({"replicas": 3, "env": [{"name": "COLOUR", "value": "blue"}, {"name": "EMPTY"}]}),
        json!({"resources": {"requests": {"cpu": "0.5", "memory": "0.5Gi"}, "limits": {"memory": 1_073_741_824}}}),
        json!({"readinessProbe": probe, "livenessProbe": {"exec": {"command": ["true"]}}}),
        json!({"env": [{"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}]}),
    ];
    for (number, spec) in corpus.into_iter().enumerate() {
        let dashboard = world.dashboard(&format!("d{number}"), spec).await;
        let plan = validate(&dashboard, &Surroundings::default()).unwrap();
        for children in build(&plan, &world.platform()) {
            twice(&world, &children.service_account).await;
            twice(&world, &children.config_map).await;
            twice(&world, &children.network_policy).await;
            twice(&world, &children.service).await;
            if let Some(budget) = &children.pod_disruption_budget {
                twice(&world, budget).await;
            }
            twice(&world, children.deployment.as_ref().unwrap()).await;
        }
    }
}

async fn twice<K>(world: &World, object: &K)
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + Serialize
        + DeserializeOwned,
{
    let (api, name) = (world.api::<K>(), object.name_any());
    let params = PatchParams::apply("kyros-controller").force();
    let mut generations = Vec::new();
    let mut contents = Vec::new();
    for _ in 0..3 {
        let applied = api.patch(&name, &params, &Patch::Apply(object)).await.unwrap();
        generations.push(applied.meta().generation);
        let mut content = json_of(&applied);
        // A Deployment's own controller writes these at any time.
        for volatile in ["status", "metadata"] {
            content.as_object_mut().unwrap().remove(volatile);
        }
        contents.push(content);
    }
    let kind = K::kind(&());
    assert!(generations.iter().all(|generation| *generation == generations[0]), "{kind} {name}: {generations:?}");
    assert_eq!(contents[1], contents[2], "{kind} {name}");
    let owned = world.api::<K>().get(&name).await.unwrap();
    let managers = owned.metadata_managers();
    assert!(
        managers.iter().filter(|manager| *manager == "kyros-controller").count() == 1,
        "{kind} {name}: {managers:?}"
    );
}

trait Managers {
    fn metadata_managers(&self) -> Vec<String>;
}

impl<K: Resource> Managers for K {
    /// Who owns fields of the spec.
    fn metadata_managers(&self) -> Vec<String> {
        let fields = self.meta().managed_fields.iter().flatten();
        fields.filter(|entry| entry.subresource.is_none()).filter_map(|entry| entry.manager.clone()).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_controller_that_crashes_after_any_write_is_made_good_by_the_next() {
    let Some(mut world) = World::new("crash").await else { return };
    for write in 0..12 {
        let name = format!("d{write}");
        let chaos = Chaos::none();
        chaos.crash_after(write);
        world.run(&chaos).await;
        world.dashboard(&name, json!({"replicas": 2})).await;
        world.until("as many writes as it has", async || chaos.writes() > write.min(8)).await;
        world.kill().await;
        let healthy = Chaos::none();
        world.run(&healthy).await;
        world.until_dashboard(&name, "Accepted", "Accepted").await;
        let children = world.children().await;
        let own = children.keys().filter(|child| child.ends_with(&format!("dash-{name}"))).count();
        assert_eq!(own, 6, "after {write} writes: {children:#?}");
        world.kill().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_for_comes_about_and_stays_however_writes_fail() {
    let Some(mut world) = World::new("chaos").await else { return };
    let chaos = Chaos::none();
    chaos.fail(300);
    world.run(&chaos).await;
    for number in 0..8 {
        world.dashboard(&format!("d{number}"), json!({"replicas": 2})).await;
    }
    world.tenant("acme", &["d0", "d1"], false).await;
    for number in 0..8 {
        world.dashboard(&format!("d{number}"), json!({"replicas": number % 3})).await;
    }
    let is_done = async || {
        let children = world.children().await;
        let budgets = children.keys().filter(|name| name.starts_with("PodDisruptionBudget")).count();
        children.len() == 8 * 5 + budgets && budgets == 2
    };
    world.until("all children and no more", is_done).await;
    chaos.fail(0);
    for number in 0..8 {
        world.until_dashboard(&format!("d{number}"), "Accepted", "Accepted").await;
    }
    world.until_tenant("acme", "Ready", "Ready").await;
    world.until_quiet(&chaos).await;
    assert!(is_done().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_repeated_and_expired_events_are_made_good() {
    let Some(mut world) = World::new("lossy").await else { return };
    let chaos = Chaos::none();
    chaos.lose(300);
    world.run(&chaos).await;
    for round in 0..6 {
        for number in 0..6 {
            world.dashboard(&format!("d{number}"), json!({"replicas": (number + round) % 3})).await;
        }
        world.tenant("acme", &["d0", "d1"], round % 2 == 0).await;
    }
    // What was lost comes with the next complete list, which an expiry asks for; something must come to tell it with.
    chaos.lose(0);
    chaos.expire(true);
    let is_done = async || {
        let nudge = json!({"metadata": {"labels": {"nudge": format!("{}", rand::random::<u32>())}}});
        world.patch::<Tenant>("acme", nudge.clone()).await;
        world.patch::<Dashboard>("d0", nudge).await;
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        chaos.expire(false);
        let mut done = true;
        for number in 0..6 {
            let deployment = world.api::<Deployment>().get_opt(&format!("dash-d{number}")).await.unwrap();
            done &= deployment.is_some_and(|found| found.spec.unwrap().replicas == Some((number + 5) % 3));
        }
        let acme = world.api::<Tenant>().get("acme").await.unwrap();
        done && acme.status.is_some_and(|status| crate::world::has(&status.conditions, "Ready", "Ready"))
    };
    // One that waits before it begins anew must not miss its turn.
    for _ in 0..3 {
        chaos.expire(true);
        is_done().await;
    }
    world.until("what was asked for last", is_done).await;
}
