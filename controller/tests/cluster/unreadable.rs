//! Objects that the cluster takes and the controller cannot read, as when the installed definitions are not this version's.

use std::sync::LazyLock;

use k8s_openapi::api::apps::v1::Deployment;
use kube::{
    Api, ResourceExt,
    api::{ApiResource, DynamicObject, ListParams},
};
use kyros_control_plane::ControlPlane;
use kyros_controller::resources::{Dashboard, Tenant, crds};
use serde_json::{Value, json};

use crate::{
    chaos::Chaos,
    world::{World, start},
};

/// A control plane of its own: its definitions are not those of the other tests.
static PLANE: LazyLock<Option<ControlPlane>> = LazyLock::new(|| {
    let other = crds().into_iter().map(|crd| {
        let mut crd = serde_json::to_value(crd).unwrap();
        let spec = crd.pointer_mut("/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties").unwrap();
        if let Some(port) = spec.pointer_mut("/readinessProbe/properties/httpGet/properties/port") {
            *port = json!({"x-kubernetes-int-or-string": true});
        }
        if let Some(suspended) = spec.get_mut("suspended") {
            *suspended = json!({"type": "string"});
        }
        crd
    });
    start(&other.collect::<Vec<_>>())
});

/// One object as it is, whatever it is.
async fn raw<K: kube::Resource<DynamicType = ()>>(world: &World, name: &str) -> Value {
    let resource = ApiResource::erase::<K>(&());
    let api: Api<DynamicObject> = Api::namespaced_with(world.client.clone(), &world.namespace, &resource);
    serde_json::to_value(api.get(name).await.unwrap()).unwrap()
}

/// Its generation's conditions: kind, status and reason.
fn told(object: &Value) -> Vec<[String; 3]> {
    let status = &object["status"];
    if status["observedGeneration"] != object["metadata"]["generation"] {
        return Vec::new();
    }
    let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
    conditions
        .iter()
        .map(|condition| ["type", "status", "reason"].map(|field| condition[field].as_str().unwrap().to_owned()))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_cannot_be_read_says_so_and_keeps_what_runs() {
    let Some(mut world) = World::on(&PLANE, "unreadable").await else { return };
    let chaos = Chaos::none();
    world.run(&chaos).await;
    world.dashboard("clv", json!({})).await;
    world.until_dashboard("clv", "Accepted", "Accepted").await;
    let kubectl = |arguments: &[&str], input: &str| {
        let arguments = [&["-n", world.namespace.as_str()], arguments].concat();
        world.plane.kubectl_ok(&arguments, input).unwrap();
    };
    let probe = r#"{"spec":{"title":"Newer","readinessProbe":{"httpGet":{"port":99999999999}}}}"#;
    kubectl(&["patch", "dashboard.kyros.dev", "clv", "--type", "merge", "-p", probe], "");
    let tenant = r#"{"apiVersion":"kyros.dev/v1alpha1","kind":"Tenant","metadata":{"name":"acme"},
        "spec":{"displayName":"Acme","suspended":"perhaps"}}"#;
    kubectl(&["apply", "-f", "-"], tenant);
    let expected = |detail: &str| {
        [["Accepted", "False", "Unreadable"], [detail, "Unknown", "Unreadable"], ["Ready", "False", "Unreadable"]]
            .map(|condition| condition.map(str::to_owned))
            .to_vec()
    };
    world.until("said", async || told(&raw::<Dashboard>(&world, "clv").await) == expected("Available")).await;
    world.until("said", async || told(&raw::<Tenant>(&world, "acme").await) == expected("DashboardsResolved")).await;
    let clv = raw::<Dashboard>(&world, "clv").await;
    let message = clv["status"]["conditions"][0]["message"].as_str().unwrap();
    assert!(message.contains("99999999999") && message.contains("correct it"), "{message}");
    assert_eq!(clv["status"]["url"], "http://clv--{tenant}.kyros.localhost:8080", "what was known stays");
    let deployments = world.api::<Deployment>().list(&ListParams::default()).await.unwrap().items;
    assert_eq!(deployments.iter().map(ResourceExt::name_any).collect::<Vec<_>>(), ["dash-clv"]);
    world.until_quiet(&chaos).await;
    let mended = r#"{"spec":{"readinessProbe":null}}"#;
    kubectl(&["patch", "dashboard.kyros.dev", "clv", "--type", "merge", "-p", mended], "");
    world.until_dashboard("clv", "Accepted", "Accepted").await;
    kubectl(
        &["patch", "tenant.kyros.dev", "acme", "--type", "json", "-p", r#"[{"op":"remove","path":"/spec/suspended"}]"#],
        "",
    );
    world.until_tenant("acme", "Ready", "Ready").await;
    let left = told(&raw::<Tenant>(&world, "acme").await);
    assert!(!left.iter().flatten().any(|word| word == "Unreadable"), "{left:?}");
}
