//! Where the gateway finds a workload's sidecars: their port and no other.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{Service, ServicePort, ServiceSpec},
    apimachinery::pkg::util::intstr::IntOrString,
};

use super::{Child, PROXY_PORT};

pub(super) fn build(child: &Child<'_>, pods: &BTreeMap<String, String>) -> Service {
    Service {
        metadata: child.metadata_named(child.workload.service_name()),
        spec: Some(ServiceSpec {
            selector: Some(pods.clone()),
            ports: Some(vec![ServicePort {
                name: Some("http".to_owned()),
                port: 80,
                target_port: Some(IntOrString::Int(PROXY_PORT)),
                protocol: Some("TCP".to_owned()),
                ..ServicePort::default()
            }]),
            type_: Some("ClusterIP".to_owned()),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}
