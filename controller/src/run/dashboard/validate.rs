//! Step 2, validate: from what was observed to a plan of which every part can be built. Pure; needs no client.
//!
//! The schema has already refused what it can see. Here is what it cannot: relations to other resources, and what a
//! Deployment would take and never run.

use std::{collections::BTreeMap, fmt};

use k8s_openapi::{
    api::core::v1::{EnvVar, Probe, ResourceRequirements},
    apimachinery::pkg::{apis::meta::v1::OwnerReference, util::intstr::IntOrString},
};
use kube::ResourceExt as _;
use kyros_shared_config::{DashboardSlug, NameError, TenantId, Workload};
use thiserror::Error;

use super::owner_of;
use crate::{
    limits,
    resources::{Dashboard, DashboardSpec, Isolation, Transport},
};

/// Where the folder of the dashboard's socket is mounted, in both containers.
pub const SOCKET_FOLDER: &str = "/run/dashboard";
/// The socket's name in [`SOCKET_FOLDER`].
const SOCKET_NAME: &str = "app.sock";
/// What a probe's port is written as to mean the dashboard, wherever that listens.
const UPSTREAM_PROBE: &str = "upstream";

/// Why a resource cannot be carried out as it is written. The variant is the condition's reason.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidSpec {
    /// The name cannot become part of a host name.
    #[error("metadata.name {name:?} {reason}")]
    Name {
        /// The name.
        name: String,
        /// What is wrong.
        reason: NameError,
    },
    /// Neither or both.
    #[error("set exactly one of spec.image and spec.serviceRef")]
    ImageOrService,
    /// A socket that no folder could hold.
    #[error("transport: Unix needs spec.image: a workload behind spec.serviceRef is reached on its port")]
    UnixNeedsImage,
    /// The port is none.
    #[error("spec.port {0} is not a port")]
    Port(i32),
    /// A probe that nobody could carry out.
    #[error("spec.{probe}: {reason}")]
    Probe {
        /// Which one.
        probe: &'static str,
        /// What is wrong and what to write instead.
        reason: &'static str,
    },
    /// The Service in front of an existing workload is not there.
    #[error("there is no Service {0:?} in this namespace: create it, or correct spec.serviceRef.name")]
    ServiceNotFound(String),
    /// It is there and selects nothing.
    #[error("Service {0:?} has no selector, so no pods can be guarded: serviceRef needs a Service that selects pods")]
    ServiceSelectsNothing(String),
}

impl InvalidSpec {
    /// The reason of the condition, the Event and the metric.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Name { .. } | Self::ImageOrService | Self::UnixNeedsImage | Self::Port(_) | Self::Probe { .. } => {
                "InvalidSpec"
            }
            Self::ServiceNotFound(_) => "ServiceNotFound",
            Self::ServiceSelectsNothing(_) => "ServiceSelectsNothing",
        }
    }
}

/// What the outside says about a dashboard.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Surroundings {
    /// Tenants that may open it, and whether each is suspended; only asked for `isolation: PerTenant`.
    pub tenants: Vec<(TenantId, bool)>,
    /// There is a tenant that cannot be read: what is not in the list may still be granted.
    pub is_incomplete: bool,
    /// The selector of the Service that `serviceRef` names: `None` when there is no such Service.
    pub service_selector: Option<BTreeMap<String, String>>,
}

/// A dashboard that can be built, whatever the rest of this file had to check.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The name of the resource.
    pub dashboard: DashboardSlug,
    /// Where the container listens.
    pub address: Address,
    /// What the children refer to as their owner.
    pub owner: OwnerReference,
    /// What runs.
    pub runs: Runs,
}

/// Where a dashboard listens; as text it is what the container and its sidecar are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Address {
    /// A port on loopback.
    Loopback(u16),
    /// The socket in [`SOCKET_FOLDER`].
    Socket,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Loopback(port) => write!(f, "127.0.0.1:{port}"),
            Self::Socket => write!(f, "unix:{SOCKET_FOLDER}/{SOCKET_NAME}"),
        }
    }
}

/// What runs.
#[derive(Debug, Clone, PartialEq)]
pub enum Runs {
    /// Containers that the controller starts.
    Image {
        /// What all of them are.
        container: Box<Container>,
        /// The workloads, and how many pods each has.
        workloads: Vec<(Workload, i32)>,
    },
    /// Pods that somebody else starts.
    Existing {
        /// How to find them.
        selector: BTreeMap<String, String>,
    },
}

/// The dashboard's own container.
#[derive(Debug, Clone, PartialEq)]
pub struct Container {
    /// Its image.
    pub image: String,
    /// Its variables.
    pub env: Vec<EnvVar>,
    /// Its resources.
    pub resources: Option<ResourceRequirements>,
    /// Its probes, each as the kubelet runs it and, where the sidecar must ask in the kubelet's place, what it asks.
    pub startup: Option<PlannedProbe>,
    /// The same for readiness.
    pub readiness: Option<PlannedProbe>,
    /// The same for liveness.
    pub liveness: Option<PlannedProbe>,
}

/// A probe of a container that listens on loopback or on a socket, where no kubelet reaches it.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedProbe {
    /// Timings, and the handler where it is a command.
    pub probe: Probe,
    /// What the sidecar asks: `PORT` on loopback or `upstream` to connect, `PORT/path` or `upstream/path` to GET.
    pub asked_by_sidecar: Option<String>,
}

/// Plans a dashboard, or says why it cannot be.
pub fn validate(dashboard: &Dashboard, surroundings: &Surroundings) -> Result<Plan, InvalidSpec> {
    let name = dashboard.name_any();
    let slug: DashboardSlug = name.parse().map_err(|reason| InvalidSpec::Name { name, reason })?;
    let spec = &dashboard.spec;
    let address = address(spec)?;
    let runs = match (&spec.image, &spec.service_ref) {
        (Some(image), None) => Runs::Image {
            container: Box::new(container(image, spec)?),
            workloads: workloads(&slug, spec, surroundings),
        },
        (None, Some(_)) if address == Address::Socket => return Err(InvalidSpec::UnixNeedsImage),
        (None, Some(service)) => {
            let selector = surroundings.service_selector.as_ref();
            let selector = selector.ok_or_else(|| InvalidSpec::ServiceNotFound(service.name.clone()))?;
            if selector.is_empty() {
                return Err(InvalidSpec::ServiceSelectsNothing(service.name.clone()));
            }
            Runs::Existing { selector: selector.clone() }
        }
        (None, None) | (Some(_), Some(_)) => return Err(InvalidSpec::ImageOrService),
    };
    Ok(Plan { dashboard: slug, address, owner: owner_of(dashboard), runs })
}

fn address(spec: &DashboardSpec) -> Result<Address, InvalidSpec> {
    match spec.transport {
        Transport::Tcp => {
            let port = u16::try_from(spec.port).ok().filter(|port| *port > 0).ok_or(InvalidSpec::Port(spec.port))?;
            Ok(Address::Loopback(port))
        }
        Transport::Unix => Ok(Address::Socket),
    }
}

/// One workload for all, or one for each tenant; what a suspended tenant has keeps its place and runs nothing.
fn workloads(slug: &DashboardSlug, spec: &DashboardSpec, surroundings: &Surroundings) -> Vec<(Workload, i32)> {
    match spec.isolation {
        Isolation::Shared => vec![(Workload::shared(slug.clone()), spec.replicas)],
        Isolation::PerTenant => {
            let pinned = |(tenant, suspended): &(TenantId, bool)| {
                let replicas = if *suspended { 0 } else { spec.replicas };
                (Workload::pinned(slug.clone(), tenant.clone()), replicas)
            };
            surroundings.tenants.iter().map(pinned).collect()
        }
    }
}

fn container(image: &str, spec: &DashboardSpec) -> Result<Container, InvalidSpec> {
    let plan = |name, probe: &Option<Probe>| probe.as_ref().map(|probe| planned(name, probe, spec)).transpose();
    Ok(Container {
        image: image.to_owned(),
        env: spec.env.clone(),
        resources: spec.resources.clone(),
        startup: plan("startupProbe", &spec.startup_probe)?,
        readiness: plan("readinessProbe", &spec.readiness_probe)?,
        liveness: plan("livenessProbe", &spec.liveness_probe)?,
    })
}

/// The kubelet asks a pod's address, and the dashboard listens on loopback or on a socket alone: the sidecar asks in its place.
fn planned(name: &'static str, probe: &Probe, spec: &DashboardSpec) -> Result<PlannedProbe, InvalidSpec> {
    let wrong = |reason| InvalidSpec::Probe { probe: name, reason };
    let target_of = |port: &IntOrString| match port {
        // Kubernetes wants a port in every probe, and a socket has none: the dashboard's number stands for it.
        IntOrString::Int(port) if spec.transport == Transport::Unix && *port == spec.port => {
            Some(UPSTREAM_PROBE.to_owned())
        }
        // The sidecar would ask itself.
        IntOrString::Int(port) if limits::PORTS_RESERVED.contains(port) => None,
        IntOrString::Int(port) => u16::try_from(*port).ok().filter(|port| *port > 0).map(|port| port.to_string()),
        IntOrString::String(_) => None,
    };
    let number = "write the dashboard's port as a number: names and the sidecar's ports lead nowhere";
    let handlers = [probe.exec.is_some(), probe.http_get.is_some(), probe.tcp_socket.is_some(), probe.grpc.is_some()];
    if handlers.iter().filter(|is_set| **is_set).count() != 1 {
        return Err(wrong("set exactly one of exec, httpGet and tcpSocket"));
    }
    let asked_by_sidecar = if let Some(get) = &probe.http_get {
        if get.scheme.as_deref().is_some_and(|scheme| scheme != "HTTP") || get.http_headers.is_some() {
            return Err(wrong("the sidecar asks over plain HTTP on loopback: leave scheme and httpHeaders out"));
        }
        let path = get.path.as_deref().unwrap_or("/");
        if !path.starts_with('/') || path.parse::<http::uri::PathAndQuery>().is_err() {
            return Err(wrong("httpGet.path must be a path that begins with \"/\""));
        }
        Some(format!("{}{path}", target_of(&get.port).ok_or_else(|| wrong(number))?))
    } else if let Some(socket) = &probe.tcp_socket {
        Some(target_of(&socket.port).ok_or_else(|| wrong(number))?)
    } else if probe.grpc.is_some() {
        return Err(wrong("grpc is not asked here: use exec, httpGet or tcpSocket"));
    } else {
        None
    };
    Ok(PlannedProbe { probe: Probe { http_get: None, tcp_socket: None, ..probe.clone() }, asked_by_sidecar })
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::{ExecAction, GRPCAction, HTTPGetAction, TCPSocketAction};

    use super::*;
    use crate::run::fixtures::dashboard;

    fn probe_error(probe: Probe) -> InvalidSpec {
        let mut dashboard = dashboard("clv");
        dashboard.spec.readiness_probe = Some(probe);
        validate(&dashboard, &Surroundings::default()).unwrap_err()
    }

    #[test]
    fn a_shared_dashboard_has_one_workload_and_a_per_tenant_one_as_many_as_tenants() {
        let mut clv = dashboard("clv");
        clv.spec.replicas = 3;
        let tenants = vec![("acme".parse().unwrap(), false), ("globex".parse().unwrap(), true)];
        let surroundings = Surroundings { tenants, ..Surroundings::default() };
        let names = |plan: &Plan| -> Vec<(String, i32)> {
            let Runs::Image { workloads, .. } = &plan.runs else { panic!("an image") };
            workloads.iter().map(|(workload, replicas)| (workload.name(), *replicas)).collect()
        };
        assert_eq!(names(&validate(&clv, &surroundings).unwrap()), [("dash-clv".to_owned(), 3)]);
        clv.spec.isolation = Isolation::PerTenant;
        let plan = validate(&clv, &surroundings).unwrap();
        assert_eq!(names(&plan), [("dash-clv--acme".to_owned(), 3), ("dash-clv--globex".to_owned(), 0)]);
    }

    #[test]
    fn the_sidecar_asks_what_the_kubelet_cannot_reach() {
        let mut clv = dashboard("clv");
        let get = HTTPGetAction { path: Some("/up?x=1".into()), port: IntOrString::Int(8050), ..Default::default() };
        clv.spec.readiness_probe = Some(Probe { http_get: Some(get), period_seconds: Some(3), ..Probe::default() });
        let socket = TCPSocketAction { port: IntOrString::Int(8050), host: None };
        clv.spec.startup_probe = Some(Probe { tcp_socket: Some(socket), ..Probe::default() });
        let exec = ExecAction { command: Some(vec!["true".into()]) };
        clv.spec.liveness_probe = Some(Probe { exec: Some(exec), ..Probe::default() });
        let plan = validate(&clv, &Surroundings::default()).unwrap();
        let Runs::Image { container, .. } = plan.runs else { panic!("an image") };
        let asked = |probe: &Option<PlannedProbe>| probe.as_ref().unwrap().asked_by_sidecar.clone();
        assert_eq!(asked(&container.readiness).as_deref(), Some("8050/up?x=1"));
        assert_eq!(asked(&container.startup).as_deref(), Some("8050"));
        assert_eq!(asked(&container.liveness), None);
        assert_eq!(container.readiness.unwrap().probe.period_seconds, Some(3));
    }

    #[test]
    fn a_probe_of_a_dashboard_on_a_socket_asks_the_socket_and_another_port_stays() {
        let mut clv = dashboard("clv");
        clv.spec.transport = Transport::Unix;
        let get = |port| HTTPGetAction { path: Some("/up".into()), port: IntOrString::Int(port), ..Default::default() };
        clv.spec.readiness_probe = Some(Probe { http_get: Some(get(8050)), ..Probe::default() });
        let socket = TCPSocketAction { port: IntOrString::Int(8050), host: None };
        clv.spec.startup_probe = Some(Probe { tcp_socket: Some(socket), ..Probe::default() });
        clv.spec.liveness_probe = Some(Probe { http_get: Some(get(9000)), ..Probe::default() });
        let asked = |clv: &Dashboard| {
            let Runs::Image { container, .. } = validate(clv, &Surroundings::default()).unwrap().runs else {
                panic!("an image")
            };
            [container.startup, container.readiness, container.liveness]
                .map(|probe| probe.unwrap().asked_by_sidecar.unwrap_or_default())
        };
        assert_eq!(asked(&clv), ["upstream", "upstream/up", "9000/up"]);
        let exec = ExecAction { command: Some(vec!["true".into()]) };
        clv.spec.liveness_probe = Some(Probe { exec: Some(exec), ..Probe::default() });
        assert_eq!(asked(&clv)[2], "");
        clv.spec.transport = Transport::Tcp;
        assert_eq!(asked(&clv), ["8050", "8050/up", ""]);
    }

    #[test]
    fn the_address_is_a_port_on_loopback_or_the_socket() {
        let mut clv = dashboard("clv");
        let address = |clv: &Dashboard| validate(clv, &Surroundings::default()).map(|plan| plan.address.to_string());
        assert_eq!(address(&clv).as_deref(), Ok("127.0.0.1:8050"));
        clv.spec.port = 0;
        assert_eq!(address(&clv), Err(InvalidSpec::Port(0)));
        clv.spec.transport = Transport::Unix;
        assert_eq!(address(&clv).as_deref(), Ok("unix:/run/dashboard/app.sock"), "the port means nothing");
    }

    #[test]
    fn a_probe_that_nobody_could_carry_out_is_refused_in_words() {
        let grpc = GRPCAction { port: 1, service: None };
        let named = TCPSocketAction { port: IntOrString::String("web".into()), host: None };
        let own = TCPSocketAction { port: IntOrString::Int(15_002), host: None };
        let https = HTTPGetAction { port: IntOrString::Int(1), scheme: Some("HTTPS".into()), ..Default::default() };
        let relative = HTTPGetAction { port: IntOrString::Int(1), path: Some("up".into()), ..Default::default() };
        for probe in [
            Probe::default(),
            Probe { grpc: Some(grpc), ..Probe::default() },
            Probe { tcp_socket: Some(named), ..Probe::default() },
            Probe { tcp_socket: Some(own), ..Probe::default() },
            Probe { http_get: Some(https), ..Probe::default() },
            Probe { http_get: Some(relative), ..Probe::default() },
        ] {
            let error = probe_error(probe);
            assert_eq!(error.reason(), "InvalidSpec");
            assert!(error.to_string().starts_with("spec.readinessProbe: "), "{error}");
        }
    }

    #[test]
    fn an_existing_workload_is_guarded_only_where_a_service_selects_it() {
        let mut clv = dashboard("clv");
        clv.spec.image = None;
        clv.spec.service_ref = Some(crate::resources::ServiceRef { name: "old".into() });
        let with = |clv: &Dashboard, selector: Option<BTreeMap<String, String>>| {
            validate(clv, &Surroundings { service_selector: selector, ..Surroundings::default() })
        };
        assert_eq!(with(&clv, None).unwrap_err().reason(), "ServiceNotFound");
        assert_eq!(with(&clv, Some(BTreeMap::new())).unwrap_err().reason(), "ServiceSelectsNothing");
        let selector = BTreeMap::from([("app".to_owned(), "old".to_owned())]);
        assert!(matches!(with(&clv, Some(selector.clone())).unwrap().runs, Runs::Existing { .. }));
        clv.spec.transport = Transport::Unix;
        let error = with(&clv, Some(selector)).unwrap_err();
        assert_eq!((error.reason(), error), ("InvalidSpec", InvalidSpec::UnixNeedsImage));
        clv.spec.image = Some("both:1".into());
        assert_eq!(validate(&clv, &Surroundings::default()).unwrap_err(), InvalidSpec::ImageOrService);
    }
}
