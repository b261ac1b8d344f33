//! Who reaches a workload's pods, and whom they reach: the gateway in, name resolution and the API out, nothing else. Of a
//! workload that somebody else runs only the way in is ours to decide.
//!
//! It ends with its workload, sooner than the pods do. What holds for them then is the chart's policy for all pods with
//! [`WORKLOAD_LABEL`](super::WORKLOAD_LABEL), which allows nothing.
//!
//! A policy holds between pods, never between containers of one: that the dashboard cannot be reached around its sidecar is
//! the dashboard's listening on a socket, or on loopback, which the sidecar checks.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::networking::v1::{
        NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort,
        NetworkPolicySpec,
    },
    apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};

use super::{ADMIN_PORT, Child, PROXY_PORT};

/// Every namespace carries its own name under this label.
const NAMESPACE_LABEL: &str = "kubernetes.io/metadata.name";

/// `is_ours` where the controller runs the pods.
pub(super) fn build(child: &Child<'_>, pods: &BTreeMap<String, String>, is_ours: bool) -> NetworkPolicy {
    let platform = child.platform;
    let gateway = peer(&platform.system_namespace, Some("gateway"));
    let mut ingress =
        vec![NetworkPolicyIngressRule { from: Some(vec![gateway]), ports: Some(vec![port("TCP", PROXY_PORT)]) }];
    if let Some(monitoring) = &platform.monitoring_namespace {
        ingress.push(NetworkPolicyIngressRule {
            from: Some(vec![peer(monitoring, None)]),
            ports: Some(vec![port("TCP", ADMIN_PORT)]),
        });
    }
    let api_port = platform.api_url.port_or_known_default().unwrap_or(80);
    let egress = vec![
        NetworkPolicyEgressRule {
            // Wherever the cluster has it, which may be on the node.
            to: None,
            ports: Some(vec![port("UDP", 53), port("TCP", 53)]),
        },
        NetworkPolicyEgressRule {
            to: Some(vec![peer(&platform.system_namespace, Some("api"))]),
            ports: Some(vec![port("TCP", i32::from(api_port))]),
        },
    ];
    NetworkPolicy {
        metadata: child.metadata(),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(LabelSelector { match_labels: Some(pods.clone()), ..LabelSelector::default() }),
            policy_types: Some(if is_ours { vec!["Ingress".into(), "Egress".into()] } else { vec!["Ingress".into()] }),
            ingress: Some(ingress),
            egress: is_ours.then_some(egress),
        }),
    }
}

fn peer(namespace: &str, component: Option<&str>) -> NetworkPolicyPeer {
    let labels = |name: &str, value: &str| LabelSelector {
        match_labels: Some(BTreeMap::from([(name.to_owned(), value.to_owned())])),
        ..LabelSelector::default()
    };
    NetworkPolicyPeer {
        namespace_selector: Some(labels(NAMESPACE_LABEL, namespace)),
        pod_selector: component.map(|component| labels("app.kubernetes.io/component", component)),
        ip_block: None,
    }
}

fn port(protocol: &str, port: i32) -> NetworkPolicyPort {
    NetworkPolicyPort { protocol: Some(protocol.to_owned()), port: Some(IntOrString::Int(port)), end_port: None }
}
