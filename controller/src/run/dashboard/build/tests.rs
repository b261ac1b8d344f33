//! What is built, and what must never be.

use serde_json::{Value, json};

use super::*;
use crate::{
    resources::{Dashboard, Isolation, ServiceRef, Transport},
    run::{
        dashboard::validate::{Surroundings, validate},
        fixtures::{dashboard, platform},
    },
};

/// What puts the sidecar into pods that somebody else runs.
const INJECTION: &str = include_str!("../../../../../charts/kyros/templates/injection.yaml");

fn built(dashboard: &Dashboard, surroundings: &Surroundings) -> Vec<Children<Desired>> {
    build(&validate(dashboard, surroundings).unwrap(), &platform())
}

fn shared(name: &str) -> Children<Desired> {
    built(&dashboard(name), &Surroundings::default()).remove(0)
}

fn on_a_socket(name: &str) -> Dashboard {
    let mut dashboard = dashboard(name);
    dashboard.spec.transport = Transport::Unix;
    dashboard
}

fn json_of(value: &impl serde::Serialize) -> Value {
    serde_json::to_value(value).unwrap()
}

fn objects(children: &Children<Desired>) -> Vec<Value> {
    let optional = [children.pod_disruption_budget.as_ref().map(json_of), children.deployment.as_ref().map(json_of)];
    let always = [
        json_of(&children.service_account),
        json_of(&children.config_map),
        json_of(&children.network_policy),
        json_of(&children.service),
    ];
    always.into_iter().chain(optional.into_iter().flatten()).collect()
}

fn walk(value: &Value, path: &str, visit: &mut impl FnMut(&str, &Value)) {
    visit(path, value);
    match value {
        Value::Object(map) => map.iter().for_each(|(key, value)| walk(value, &format!("{path}/{key}"), visit)),
        Value::Array(list) => list.iter().for_each(|value| walk(value, path, visit)),
        _ => {}
    }
}

#[test]
fn no_list_or_map_is_ever_empty() {
    let (mut clv, mut risk) = (dashboard("clv"), on_a_socket("risk"));
    clv.spec.replicas = 2;
    risk.spec.replicas = 2;
    for children in [clv, risk].iter().flat_map(|dashboard| built(dashboard, &Surroundings::default())) {
        for object in objects(&children) {
            walk(&object, object["kind"].as_str().unwrap(), &mut |path, value| {
                let is_empty = value.as_array().is_some_and(Vec::is_empty)
                    || value.as_object().is_some_and(serde_json::Map::is_empty);
                assert!(!is_empty, "{path}: an empty one can change with every apply");
            });
        }
    }
}

#[test]
fn every_child_is_owned_named_and_labelled_alike() {
    let mut clv = dashboard("clv");
    clv.spec.isolation = Isolation::PerTenant;
    clv.spec.replicas = 2;
    let surroundings = Surroundings { tenants: vec![("acme".parse().unwrap(), false)], ..Surroundings::default() };
    let children = built(&clv, &surroundings).remove(0);
    let objects = objects(&children);
    assert_eq!(objects.len(), 6);
    for object in objects {
        let metadata = &object["metadata"];
        assert_eq!(metadata["name"], "dash-clv--acme");
        assert_eq!(metadata["namespace"], "dashboards");
        assert_eq!(metadata["ownerReferences"][0]["uid"], "uid-clv");
        assert_eq!(metadata["ownerReferences"][0]["controller"], true);
        assert_eq!(metadata["labels"][DASHBOARD_LABEL], "clv");
        assert_eq!(metadata["labels"][TENANT_LABEL], "acme");
        assert_eq!(metadata["labels"][MANAGED_BY_LABEL], MANAGER);
    }
    assert_eq!(children.config_map.data.unwrap()["KYROS_TENANT"], "acme");
}

#[test]
fn the_service_leads_to_the_sidecar_by_number() {
    let service = json_of(&shared("clv").service);
    let ports = service["spec"]["ports"].as_array().unwrap();
    assert_eq!(ports.len(), 1);
    assert_eq!(ports[0]["targetPort"], json!(PROXY_PORT));
}

#[test]
fn only_the_sidecar_holds_the_workloads_token() {
    let pod = json_of(&shared("clv").deployment)["spec"]["template"]["spec"].take();
    assert_eq!(pod["automountServiceAccountToken"], false);
    let (sidecar, dashboard) = (&pod["initContainers"][0], &pod["containers"][0]);
    assert_eq!(sidecar["restartPolicy"], "Always");
    assert_eq!(sidecar["volumeMounts"][0]["name"], "kyros-workload");
    assert!(sidecar.get("envFrom").is_none(), "a key that somebody adds must not become the sidecar's");
    let mounts = dashboard["volumeMounts"].as_array().unwrap();
    assert!(mounts.iter().all(|mount| mount["name"] == "tmp"), "{mounts:?}");
    let token = &pod["volumes"][0]["projected"]["sources"][0]["serviceAccountToken"];
    assert_eq!((&token["audience"], &token["expirationSeconds"]), (&json!("kyros-internal"), &json!(3600)));
}

#[test]
fn both_containers_are_restricted_and_run_as_different_users() {
    let pod = json_of(&shared("clv").deployment)["spec"]["template"]["spec"].take();
    for container in [&pod["initContainers"][0], &pod["containers"][0]] {
        let security = &container["securityContext"];
        assert_eq!(security["runAsNonRoot"], true);
        assert_eq!(security["allowPrivilegeEscalation"], false);
        assert_eq!(security["readOnlyRootFilesystem"], true);
        assert_eq!(security["capabilities"]["drop"], json!(["ALL"]));
        assert_eq!(security["seccompProfile"]["type"], "RuntimeDefault");
    }
    assert_eq!(pod["initContainers"][0]["securityContext"]["runAsUser"], 65_533);
}

#[test]
fn a_socket_is_in_a_folder_of_the_two_containers_and_is_all_that_they_are_told() {
    let children = built(&on_a_socket("clv"), &Surroundings::default()).remove(0);
    let address = json!("unix:/run/dashboard/app.sock");
    assert_eq!(json_of(&children.config_map)["data"]["KYROS_UPSTREAM"], address);
    let pod = json_of(&children.deployment)["spec"]["template"]["spec"].take();
    let volume = json!({"name": "dashboard-socket", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}});
    assert_eq!(pod["volumes"][2], volume);
    let (sidecar, dashboard) = (&pod["initContainers"][0], &pod["containers"][0]);
    let mounts = |container: &Value| container["volumeMounts"].as_array().unwrap().clone();
    let own = json!({"name": "dashboard-socket", "mountPath": "/run/dashboard"});
    assert_eq!(mounts(dashboard)[1..], [own]);
    let connects = json!({"name": "dashboard-socket", "mountPath": "/run/dashboard", "readOnly": true});
    assert_eq!(mounts(sidecar)[1..], [connects]);
    assert_eq!(pod["securityContext"]["fsGroup"], 65_531, "the sidecar is another user, and must write to connect");
    let env = dashboard["env"].as_array().unwrap();
    let value = |name: &str| env.iter().find(|variable| variable["name"] == name).map(|variable| &variable["value"]);
    assert_eq!(value("KYROS_DASHBOARD_LISTEN"), Some(&address));
    assert_eq!((value("HOST"), value("PORT")), (None, None), "there is no port");
}

#[test]
fn a_dashboard_on_a_port_has_no_trace_of_the_socket() {
    let children = built(&dashboard("clv"), &Surroundings::default()).remove(0);
    assert_eq!(json_of(&children.config_map)["data"]["KYROS_UPSTREAM"], "127.0.0.1:8050");
    let pod = json_of(&children.deployment)["spec"]["template"]["spec"].take();
    assert!(pod["securityContext"].get("fsGroup").is_none());
    assert!(!pod.to_string().contains("/run/dashboard") && !pod.to_string().contains("dashboard-socket"), "{pod}");
}

#[test]
fn the_policy_lets_the_gateway_in_and_names_and_the_api_out() {
    let policy = json_of(&shared("clv").network_policy)["spec"].take();
    assert_eq!(policy["policyTypes"], json!(["Ingress", "Egress"]));
    let ingress = policy["ingress"].as_array().unwrap();
    assert_eq!(ingress.len(), 1);
    assert_eq!(ingress[0]["ports"], json!([{"protocol": "TCP", "port": PROXY_PORT}]));
    let from = &ingress[0]["from"][0];
    assert_eq!(from["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"], "kyros-system");
    assert_eq!(from["podSelector"]["matchLabels"]["app.kubernetes.io/component"], "gateway");
    let ports: Vec<i64> = policy["egress"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|rule| rule["ports"].as_array().unwrap())
        .map(|port| port["port"].as_i64().unwrap())
        .collect();
    assert_eq!(ports, [53, 53, 8080]);
}

#[test]
fn while_a_workloads_own_policy_is_not_there_its_pods_reach_nobody_and_nobody_reaches_them() {
    let standing = include_str!("../../../../../charts/manifests/base/workloads-networkpolicy.yaml");
    let standing: NetworkPolicy = serde_yaml::from_str(standing).unwrap();
    let spec = json_of(&standing)["spec"].take();
    let selector = json!({"matchExpressions": [{"key": WORKLOAD_LABEL, "operator": "Exists"}]});
    assert_eq!(spec, json!({"podSelector": selector, "policyTypes": ["Ingress", "Egress"]}), "and no rules");
    let template = json_of(&shared("clv").deployment)["spec"]["template"].take();
    assert!(template["metadata"]["labels"].get(WORKLOAD_LABEL).is_some());
    assert!(!INJECTION.contains(WORKLOAD_LABEL), "pods that somebody else runs keep the way to their database");
}

#[test]
fn a_probe_of_the_kubelet_is_asked_by_the_sidecar() {
    let mut clv = dashboard("clv");
    let get = json!({"httpGet": {"path": "/up", "port": 8050}, "periodSeconds": 3});
    clv.spec.readiness_probe = Some(serde_json::from_value(get).unwrap());
    let children = built(&clv, &Surroundings::default()).remove(0);
    assert_eq!(children.config_map.data.as_ref().unwrap()["KYROS_PROBE_READINESS"], "8050/up");
    let pod = json_of(&children.deployment)["spec"]["template"]["spec"].take();
    let probe = &pod["containers"][0]["readinessProbe"];
    clv.spec.transport = Transport::Unix;
    let on_socket = built(&clv, &Surroundings::default()).remove(0);
    assert_eq!(on_socket.config_map.data.as_ref().unwrap()["KYROS_PROBE_READINESS"], "upstream/up");
    let pod_on_socket = json_of(&on_socket.deployment)["spec"]["template"]["spec"].take();
    assert_eq!(&pod_on_socket["containers"][0]["readinessProbe"], probe);
    assert_eq!(probe["httpGet"]["path"], "/probe/readiness");
    assert_eq!((&probe["httpGet"]["port"], &probe["periodSeconds"]), (&json!(ADMIN_PORT), &json!(3)));
}

#[test]
fn a_changed_configuration_makes_new_pods() {
    let annotation = |dashboard: &Dashboard| {
        let children = built(dashboard, &Surroundings::default()).remove(0);
        json_of(&children.deployment)["spec"]["template"]["metadata"]["annotations"]["kyros.dev/config"].take()
    };
    let mut clv = dashboard("clv");
    let before = annotation(&clv);
    clv.spec.title = "Another".into();
    assert_eq!(annotation(&clv), before, "a title is nothing to the sidecar");
    clv.spec.port = 8051;
    assert_ne!(annotation(&clv), before);
    clv.spec.transport = Transport::Unix;
    let on_socket = annotation(&clv);
    assert_ne!(on_socket, before);
    clv.spec.port = 8052;
    assert_eq!(annotation(&clv), on_socket, "nothing listens on a port");
}

#[test]
fn a_variable_of_the_resource_wins_unless_it_is_kyros_own() {
    let mut clv = dashboard("clv");
    let variable = |name: &str| serde_json::from_value(json!({"name": name, "value": "theirs"})).unwrap();
    clv.spec.env = vec![variable("HOST"), variable("KYROS_API_URL"), variable("COLOUR")];
    let children = built(&clv, &Surroundings::default()).remove(0);
    let pod = json_of(&children.deployment)["spec"]["template"]["spec"].take();
    let env = pod["containers"][0]["env"].as_array().unwrap();
    let values = |name: &str| -> Vec<&str> {
        let of_name = env.iter().filter(|variable| variable["name"] == name);
        of_name.map(|variable| variable["value"].as_str().unwrap()).collect()
    };
    assert_eq!(values("HOST"), ["theirs"]);
    assert_eq!(values("COLOUR"), ["theirs"]);
    assert_eq!(values("KYROS_API_URL"), ["http://127.0.0.1:15003"]);
}

#[test]
fn an_injected_sidecar_is_told_exactly_what_the_controller_writes_for_it() {
    assert!(!INJECTION.contains("envFrom"), "a key that somebody adds must not become the sidecar's");
    let words = INJECTION.split('"').filter(|word| word.starts_with("KYROS_"));
    let mut listed: Vec<&str> = words.filter(|word| *word != "KYROS_POD_IP").collect();
    listed.sort_unstable();
    let written = existing("old").config_map.data.unwrap();
    assert_eq!(listed, written.keys().collect::<Vec<_>>());
    // The list is the Deployment's too, but for what only a workload of our own can have.
    let own = json_of(&shared("clv").deployment)["spec"]["template"]["spec"]["initContainers"][0]["env"].take();
    let own = own.as_array().unwrap().iter().map(|variable| variable["name"].as_str().unwrap());
    assert_eq!(own.filter(|name| *name != "KYROS_POD_IP").collect::<Vec<_>>(), listed);
}

fn existing(name: &str) -> Children<Desired> {
    let mut old = dashboard(name);
    old.spec.image = None;
    old.spec.service_ref = Some(ServiceRef { name: "legacy".into() });
    let selector = BTreeMap::from([("app".to_owned(), "legacy".to_owned())]);
    let surroundings = Surroundings { service_selector: Some(selector), ..Surroundings::default() };
    built(&old, &surroundings).remove(0)
}

#[test]
fn an_existing_workload_gets_a_guard_and_no_pods() {
    let children = existing("old");
    assert!(children.deployment.is_none() && children.pod_disruption_budget.is_none());
    let policy = json_of(&children.network_policy);
    assert_eq!(policy["spec"]["podSelector"]["matchLabels"], json!({"app": "legacy"}));
    assert_eq!(policy["spec"]["policyTypes"], json!(["Ingress"]), "its database is its own affair");
    assert_eq!(json_of(&children.service)["spec"]["selector"], json!({"app": "legacy"}));
}
