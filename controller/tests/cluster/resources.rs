//! The definitions as an API server takes them, and the chart as a whole.

use std::process::Command;

use kyros_controller::resources::crds;

use crate::world::{World, plane};

#[tokio::test(flavor = "multi_thread")]
async fn the_definitions_install_without_a_warning() {
    let Some(plane) = tokio::task::spawn_blocking(plane).await.unwrap() else { return };
    for crd in crds() {
        let name = crd.metadata.name.clone().unwrap();
        let applied = plane.kubectl(
            &["apply", "--server-side", "--force-conflicts", "-f", "-"],
            &serde_json::to_string(&crd).unwrap(),
        );
        let applied = applied.unwrap();
        assert!(applied.status.success());
        assert_eq!(String::from_utf8_lossy(&applied.stderr), "", "{name}");
        let conditions =
            plane.kubectl_ok(&["get", "crd", &name, "-o", "jsonpath={.status.conditions[*].type}"], "").unwrap();
        assert!(!conditions.contains("NonStructuralSchema"), "{name}: {conditions}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_is_taken_as_it_is() {
    let Some(world) = World::new("demo").await else { return };
    let manifests = concat!(env!("CARGO_MANIFEST_DIR"), "/../data/manifests/");
    let applied = world.plane.kubectl(&["-n", &world.namespace, "apply", "-f", manifests], "").unwrap();
    assert_eq!(String::from_utf8_lossy(&applied.stderr), "");
    assert!(applied.status.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_example_of_values_is_taken_by_an_api_server() {
    let Some(world) = World::new("chart").await else { return };
    let Some(helm) = world.plane.helm() else { return };
    let chart = concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/kyros");
    let mut examples = 0;
    for example in std::fs::read_dir(format!("{chart}/examples")).unwrap() {
        let example = example.unwrap().path();
        let rendered = Command::new(helm)
            .args(["template", "kyros", chart, "--namespace", &world.namespace, "--kube-version", "1.36.0"])
            .args(["--api-versions", "admissionregistration.k8s.io/v1/MutatingAdmissionPolicy"])
            .arg("--values")
            .arg(&example)
            // The namespaces of the examples do not exist here.
            .args(["--set", "resourceNamespace=default"])
            .output()
            .unwrap();
        assert!(rendered.status.success(), "{}", String::from_utf8_lossy(&rendered.stderr));
        let manifests = String::from_utf8_lossy(&rendered.stdout);
        let applied = world.plane.kubectl(&["apply", "--dry-run=server", "-f", "-"], &manifests).unwrap();
        let said = String::from_utf8_lossy(&applied.stderr).into_owned();
        assert!(applied.status.success() && !said.contains("Warning"), "{}: {said}", example.display());
        examples += 1;
    }
    assert!(examples >= 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn mock_people_on_a_public_address_are_refused_before_anything_is_installed() {
    let Some(plane) = tokio::task::spawn_blocking(plane).await.unwrap() else { return };
    let Some(helm) = plane.helm() else { return };
    let chart = concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/kyros");
    let refused = |value: &str| {
        let output = Command::new(helm)
            .args([
                "template",
                "kyros",
                chart,
                "--namespace",
                "kyros-system",
                "--kube-version",
                "1.36.0",
                "--set",
                value,
            ])
            .output()
            .unwrap();
        (!output.status.success()).then(|| String::from_utf8_lossy(&output.stderr).into_owned())
    };
    for value in ["publicUrl=https://kyros.example.com", "publicUrl=http://localhost.evil.example:8080"] {
        let said = refused(value).expect(value);
        assert!(said.contains("mock"), "{said}");
    }
    assert!(refused("resourceNamespace=kyros-system").is_some(), "keys and pods in one namespace");
    assert!(refused("identity.mock.enabled=false").is_some(), "nobody could sign in");
    assert_eq!(refused("publicUrl=http://kyros.localhost:9000"), None);
}
