//! The chart's policies on pods that ask for a sidecar: each is given one that is safe, or is refused with a sentence.

use std::process::Command;

use k8s_openapi::api::core::v1::{ConfigMap, Pod, Service};
use kube::{
    Api,
    api::{DeleteParams, PostParams},
};
use kyros_controller::resources::Dashboard;
use serde_json::{Value, json};

use crate::{
    chaos::Chaos,
    world::{World, json_of, merge},
};

/// Installs the policies for the world's namespace; says whether there is a helm to render them with.
fn install(world: &World, system: &str) -> bool {
    let Some(helm) = world.plane.helm() else { return false };
    let chart = concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/kyros");
    let output = Command::new(helm)
        .args(["template", "kyros", chart, "--namespace", system, "--kube-version", "1.36.0"])
        .args(["--api-versions", "admissionregistration.k8s.io/v1/MutatingAdmissionPolicy"])
        .args(["--set", "injection.enabled=true", "--set", &format!("resourceNamespace={}", world.namespace)])
        .args(["--show-only", "templates/injection.yaml"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    world.plane.kubectl_ok(&["apply", "-f", "-"], &String::from_utf8_lossy(&output.stdout)).unwrap();
    world.plane.kubectl_ok(&["label", "namespace", &world.namespace, "kyros.dev/injection=enabled"], "").unwrap();
    true
}

/// A pod that asks for the sidecar of `old`, with more in its spec.
fn pod(more: Value) -> Value {
    let mut pod = json!({
        "metadata": {"name": "legacy", "labels": {"app": "legacy", "kyros.dev/inject": "old"}},
        "spec": {"serviceAccountName": "dash-old", "containers": [container("app", &[])]},
    });
    merge(&mut pod["spec"], more);
    pod
}

fn container(name: &str, volumes: &[&str]) -> Value {
    let mounts: Vec<Value> =
        volumes.iter().map(|volume| json!({"name": volume, "mountPath": format!("/{volume}")})).collect();
    json!({"name": name, "image": "localhost/legacy:1", "volumeMounts": mounts})
}

/// The pod as it would be made in a namespace, or why it would not.
async fn made(world: &World, namespace: &str, pod: Value) -> Result<Value, String> {
    let pods: Api<Pod> = Api::namespaced(world.client.clone(), namespace);
    let pod: Pod = serde_json::from_value(pod).unwrap();
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    pods.create(&dry, &pod).await.map(|pod| json_of(&pod)).map_err(|error| error.to_string())
}

fn is_guarded(pod: &Value) -> bool {
    pod["spec"]["initContainers"][0]["name"] == "kyros-sidecar"
}

/// Whoever mounts what, the sidecar alone has its token.
fn has_token_to_itself(pod: &Value) -> bool {
    let all = ["containers", "initContainers"].map(|list| pod["spec"][list].as_array().cloned().unwrap_or_default());
    let mounts = |container: &Value| {
        let mounts = container["volumeMounts"].as_array().cloned().unwrap_or_default();
        mounts.iter().any(|mount| mount["name"] == "kyros-workload")
    };
    all.concat().iter().all(|container| mounts(container) == (container["name"] == "kyros-sidecar"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_asks_for_a_sidecar_is_safely_guarded_or_refused_with_a_sentence() {
    let Some(mut world) = World::new("inject").await else { return };
    let system = format!("{}-system", world.namespace);
    world.plane.kubectl_ok(&["create", "namespace", &system], "").unwrap();
    if !install(&world, &system) {
        return;
    }
    // A policy is in force a little after it is there.
    world
        .until("the policies are in force", async || {
            let refused = made(&world, &world.namespace, pod(json!({"hostNetwork": true}))).await.is_err();
            refused && made(&world, &world.namespace, pod(json!({}))).await.is_ok_and(|pod| is_guarded(&pod))
        })
        .await;
    let scratch = json!([{"name": "scratch", "emptyDir": {}}]);
    let copied = json!([{"name": "kyros-workload", "hostPath": {"path": "/"}}]);
    for (what, more) in [
        ("a plain one", json!({})),
        ("switches that are off", json!({"hostPID": false, "hostIPC": false, "shareProcessNamespace": false})),
        (
            "volumes and init containers of its own",
            json!({
                "volumes": scratch,
                "initContainers": [container("first", &["scratch"])],
                "containers": [container("app", &["scratch"])],
            }),
        ),
        (
            "one that was copied, with its sidecar",
            json!({"volumes": copied, "initContainers": [container("kyros-sidecar", &["kyros-workload"])]}),
        ),
    ] {
        let pod = made(&world, &world.namespace, pod(more)).await.unwrap_or_else(|error| panic!("{what}: {error}"));
        assert!(is_guarded(&pod), "{what}: {pod}");
        assert!(has_token_to_itself(&pod), "{what}: {pod}");
        assert_eq!(pod["metadata"]["labels"]["kyros.dev/dashboard"], "old", "{what}");
        let volumes = pod["spec"]["volumes"].as_array().unwrap();
        let token: Vec<&Value> = volumes.iter().filter(|volume| volume["name"] == "kyros-workload").collect();
        assert_eq!(token.len(), 1, "{what}");
        let source = &token[0]["projected"]["sources"][0]["serviceAccountToken"];
        assert_eq!(source["audience"], "kyros-internal", "{what}: {token:?}");
    }
    for (sentence, more) in [
        ("cannot be had with hostNetwork", json!({"hostNetwork": true})),
        ("cannot be had with shareProcessNamespace", json!({"shareProcessNamespace": true})),
        ("cannot be had with hostPID", json!({"hostPID": true})),
        ("cannot be had with hostIPC", json!({"hostIPC": true})),
        ("mounts the volume kyros-workload", json!({"containers": [container("app", &["kyros-workload"])]})),
        (
            "mounts the volume kyros-workload",
            json!({"containers": [container("app", &[]), container("second", &["kyros-workload"])]}),
        ),
        ("mounts the volume kyros-workload", json!({"initContainers": [container("first", &["kyros-workload"])]})),
        (
            "mounts the volume kyros-workload",
            json!({"volumes": copied, "containers": [container("app", &["kyros-workload"])]}),
        ),
        ("needs serviceAccountName: dash-old", json!({"serviceAccountName": "default"})),
    ] {
        let said = made(&world, &world.namespace, pod(more.clone())).await.expect_err(&more.to_string());
        assert!(said.contains(sentence), "{more}: {said}");
    }
    let said = made(&world, &system, pod(json!({}))).await.expect_err("no sidecar is put in there");
    assert!(said.contains("would run without one"), "{said}");
    let mut other = pod(json!({"serviceAccountName": "dash-a--b"}));
    other["metadata"]["labels"]["kyros.dev/inject"] = json!("a--b");
    let said = made(&world, &world.namespace, other).await.expect_err("no dashboard can have this name");
    assert!(said.contains("must be the name of a Dashboard"), "{said}");

    a_key_that_somebody_adds_is_not_the_sidecars(&mut world).await;
}

/// What the sidecar is told, from what the controller wrote and somebody added to.
async fn a_key_that_somebody_adds_is_not_the_sidecars(world: &mut World) {
    world.run(&Chaos::none()).await;
    let theirs = json!({
        "metadata": {"name": "legacy"}, "spec": {"selector": {"app": "legacy"}, "ports": [{"port": 3000}]},
    });
    let theirs: Service = serde_json::from_value(theirs).unwrap();
    world.api::<Service>().create(&PostParams::default(), &theirs).await.unwrap();
    let spec = json!({"title": "Old", "serviceRef": {"name": "legacy"}, "port": 3000});
    world.apply::<Dashboard>("old", spec).await;
    world.until_dashboard("old", "Accepted", "Accepted").await;
    let written: Vec<String> =
        world.api::<ConfigMap>().get("dash-old").await.unwrap().data.unwrap().into_keys().collect();
    let pod = made(world, &world.namespace, pod(json!({}))).await.unwrap();
    let sidecar = &pod["spec"]["initContainers"][0];
    assert!(sidecar.get("envFrom").is_none(), "{sidecar}");
    let mut told: Vec<String> = Vec::new();
    for variable in sidecar["env"].as_array().unwrap() {
        let (name, from) = (variable["name"].as_str().unwrap(), &variable["valueFrom"]);
        if name == "KYROS_POD_IP" {
            assert_eq!(from["fieldRef"]["fieldPath"], "status.podIP");
            continue;
        }
        assert_eq!(from["configMapKeyRef"]["name"], "dash-old");
        assert_eq!(from["configMapKeyRef"]["key"], name);
        told.push(name.to_owned());
    }
    assert_eq!(told, written);
    world.api::<Dashboard>().delete("old", &DeleteParams::default()).await.unwrap();
}
