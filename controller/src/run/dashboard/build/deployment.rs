//! The pods of a workload: the dashboard, and before it the sidecar as a native sidecar.
//!
//! Native, because the dashboard then starts only after its guard, and the guard outlives it. The kubelet ends the dashboard
//! first, which is the wrong way round for what guards the way in; so the dashboard waits a little before it ends, until no
//! new requests come.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment},
        core::v1::{
            Capabilities, ConfigMap, ConfigMapKeySelector, Container as PodContainer, ContainerPort,
            EmptyDirVolumeSource, EnvVar, EnvVarSource, HTTPGetAction, Lifecycle, LifecycleHandler,
            ObjectFieldSelector, PodSecurityContext, PodSpec, PodTemplateSpec, Probe, ProjectedVolumeSource,
            ResourceRequirements, SeccompProfile, SecurityContext, ServiceAccountTokenProjection, SleepAction,
            TopologySpreadConstraint, Volume, VolumeMount, VolumeProjection,
        },
    },
    apimachinery::pkg::{
        api::resource::Quantity,
        apis::meta::v1::{LabelSelector, ObjectMeta},
        util::intstr::IntOrString,
    },
};
use kyros_shared_config::{
    crypto::{hex, sha256},
    verifier::{WORKLOAD_AUDIENCE, WORKLOAD_TOKEN_LIFE},
};

use super::{
    ADMIN_PORT, Child, EGRESS_PORT, PROXY_PORT,
    config_map::{TOKEN_FILE, TOKEN_FOLDER},
};
use crate::run::dashboard::validate::{Address, Container, PlannedProbe, SOCKET_FOLDER};

/// A changed configuration must make new pods: nothing else would restart the sidecars.
const CONFIG_ANNOTATION: &str = "kyros.dev/config";
/// The sidecar's user: another one than the dashboard's, so that the two cannot read each other's processes.
const SIDECAR_USER: i64 = 65_533;
/// The group that the two containers share where there is a socket. To connect is to write to the socket's file, and they run
/// as different users. With `fsGroup` both are members, and the folder hands its group down to what is made in it, so 0660 is
/// enough, whatever user an image runs as. The token gets this group too, and the dashboard does not mount it.
const SOCKET_GROUP: i64 = 65_531;
/// How long the dashboard goes on while endpoints and gateways forget the pod, in seconds.
const PRE_STOP_SECONDS: i64 = 5;
/// Pre-stop, then the sidecar's drain of 25 s, then a margin.
const TERMINATION_SECONDS: i64 = 40;
/// Seconds until a sidecar that does not start is restarted.
const STARTUP_TRIES: i32 = 60;
/// Replica sets kept for `kubectl rollout undo`; the resource is the record, so few.
const REVISIONS: i32 = 3;

const TOKEN_VOLUME: &str = "kyros-workload";
const SCRATCH_VOLUME: &str = "tmp";
const SOCKET_VOLUME: &str = "dashboard-socket";

pub(super) fn build(child: &Child<'_>, container: &Container, replicas: i32, config_map: &ConfigMap) -> Deployment {
    let selector = LabelSelector { match_labels: Some(child.pod_selector()), ..LabelSelector::default() };
    Deployment {
        metadata: child.metadata(),
        spec: Some(DeploymentSpec {
            replicas: Some(replicas),
            revision_history_limit: Some(REVISIONS),
            selector: selector.clone(),
            strategy: Some(DeploymentStrategy {
                type_: Some("RollingUpdate".to_owned()),
                rolling_update: Some(RollingUpdateDeployment {
                    max_surge: Some(IntOrString::Int(1)),
                    max_unavailable: Some(IntOrString::Int(0)),
                }),
            }),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta {
                    labels: Some(child.labels()),
                    annotations: Some(BTreeMap::from([(CONFIG_ANNOTATION.to_owned(), fingerprint(config_map))])),
                    ..ObjectMeta::default()
                }),
                spec: Some(pod(child, container, selector, config_map)),
            },
            ..DeploymentSpec::default()
        }),
        status: None,
    }
}

fn pod(child: &Child<'_>, container: &Container, selector: LabelSelector, config_map: &ConfigMap) -> PodSpec {
    PodSpec {
        service_account_name: Some(child.workload.name()),
        automount_service_account_token: Some(false),
        // Their variables would tell every dashboard which others there are.
        enable_service_links: Some(false),
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".to_owned(), localhost_profile: None }),
            fs_group: has_socket(child).then_some(SOCKET_GROUP),
            ..PodSecurityContext::default()
        }),
        init_containers: Some(vec![sidecar(child, config_map)]),
        containers: vec![dashboard(child, container)],
        termination_grace_period_seconds: Some(TERMINATION_SECONDS),
        topology_spread_constraints: Some(vec![TopologySpreadConstraint {
            label_selector: Some(selector),
            max_skew: 1,
            topology_key: "kubernetes.io/hostname".to_owned(),
            when_unsatisfiable: "ScheduleAnyway".to_owned(),
            ..TopologySpreadConstraint::default()
        }]),
        volumes: Some(with_socket(child, vec![token_volume(), scratch_volume()], socket_volume)),
        ..PodSpec::default()
    }
}

fn sidecar(child: &Child<'_>, config_map: &ConfigMap) -> PodContainer {
    let get = |path: &str| http_get(path, ADMIN_PORT);
    PodContainer {
        name: "kyros-sidecar".to_owned(),
        image: Some(child.platform.sidecar_image.clone()),
        image_pull_policy: Some(child.platform.image_pull_policy.clone()),
        args: Some(vec!["sidecar".to_owned()]),
        restart_policy: Some("Always".to_owned()),
        env: Some(sidecar_environment(child, config_map)),
        ports: Some([("kyros-proxy", PROXY_PORT), ("kyros-admin", ADMIN_PORT)].map(container_port).to_vec()),
        startup_probe: Some(Probe {
            failure_threshold: Some(STARTUP_TRIES),
            period_seconds: Some(1),
            ..get("/healthz")
        }),
        readiness_probe: Some(Probe { period_seconds: Some(2), failure_threshold: Some(2), ..get("/readyz") }),
        liveness_probe: Some(Probe { period_seconds: Some(10), failure_threshold: Some(3), ..get("/healthz") }),
        resources: Some(ResourceRequirements {
            requests: Some(quantities([("cpu", "10m"), ("memory", "16Mi")])),
            limits: Some(quantities([("memory", "128Mi")])),
            ..ResourceRequirements::default()
        }),
        security_context: Some(SecurityContext { run_as_user: Some(SIDECAR_USER), ..restricted() }),
        // Connecting is no change of the folder, so the sidecar cannot put anything into it.
        volume_mounts: Some(with_socket(child, vec![read_only(TOKEN_VOLUME, TOKEN_FOLDER)], || {
            read_only(SOCKET_VOLUME, SOCKET_FOLDER)
        })),
        ..PodContainer::default()
    }
}

/// Setting by setting, and not the `ConfigMap` as a whole: a key that somebody adds to it must not become the sidecar's.
fn sidecar_environment(child: &Child<'_>, config_map: &ConfigMap) -> Vec<EnvVar> {
    let variable = |name: &str, source| EnvVar { name: name.to_owned(), value: None, value_from: Some(source) };
    let setting = |key: &String| {
        let selector = ConfigMapKeySelector { name: child.workload.name(), key: key.clone(), optional: Some(false) };
        variable(key, EnvVarSource { config_map_key_ref: Some(selector), ..EnvVarSource::default() })
    };
    // The sidecar makes sure that the dashboard does not answer on the pod's own address.
    let (api_version, field_path) = (Some("v1".to_owned()), "status.podIP".to_owned());
    let field_ref = Some(ObjectFieldSelector { api_version, field_path });
    let address = variable("KYROS_POD_IP", EnvVarSource { field_ref, ..EnvVarSource::default() });
    config_map.data.iter().flatten().map(|(key, _)| setting(key)).chain([address]).collect()
}

fn dashboard(child: &Child<'_>, container: &Container) -> PodContainer {
    let asked = |probe: &Option<PlannedProbe>, name: &str| {
        probe.as_ref().map(|planned| match planned.asked_by_sidecar {
            Some(_) => {
                Probe { http_get: http_get(&format!("/probe/{name}"), ADMIN_PORT).http_get, ..planned.probe.clone() }
            }
            None => planned.probe.clone(),
        })
    };
    PodContainer {
        name: "dashboard".to_owned(),
        image: Some(container.image.clone()),
        image_pull_policy: Some(child.platform.image_pull_policy.clone()),
        env: Some(environment(child, container)),
        lifecycle: Some(Lifecycle {
            pre_stop: Some(LifecycleHandler {
                sleep: Some(SleepAction { seconds: PRE_STOP_SECONDS }),
                ..LifecycleHandler::default()
            }),
            ..Lifecycle::default()
        }),
        startup_probe: asked(&container.startup, "startup"),
        readiness_probe: asked(&container.readiness, "readiness"),
        liveness_probe: asked(&container.liveness, "liveness"),
        resources: container.resources.clone(),
        security_context: Some(restricted()),
        volume_mounts: Some(with_socket(child, vec![mount(SCRATCH_VOLUME, "/tmp")], || {
            mount(SOCKET_VOLUME, SOCKET_FOLDER)
        })),
        ..PodContainer::default()
    }
}

/// Where to listen and where the data is, in Kyros's words and in those that frameworks read; a variable of the resource's
/// own comes last, but cannot be one of Kyros's.
fn environment(child: &Child<'_>, container: &Container) -> Vec<EnvVar> {
    let address = child.plan.address;
    let mut ours = vec![
        ("KYROS_API_URL", format!("http://127.0.0.1:{EGRESS_PORT}")),
        ("KYROS_DASHBOARD_LISTEN", address.to_string()),
    ];
    if let Address::Loopback(port) = address {
        ours.extend([("HOST", "127.0.0.1".to_owned()), ("PORT", port.to_string())]);
    }
    ours.push(("HOME", "/tmp".to_owned()));
    let is_overridden = |name: &str| container.env.iter().any(|variable| variable.name == name);
    let ours = ours.into_iter().filter(|(name, _)| name.starts_with("KYROS_") || !is_overridden(name));
    let ours = ours.map(|(name, value)| EnvVar { name: name.to_owned(), value: Some(value), value_from: None });
    let theirs = container.env.iter().filter(|variable| !variable.name.starts_with("KYROS_")).cloned();
    ours.chain(theirs).collect()
}

/// Pod Security Standards, "restricted", and a read-only root besides.
fn restricted() -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), add: None }),
        read_only_root_filesystem: Some(true),
        run_as_non_root: Some(true),
        seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".to_owned(), localhost_profile: None }),
        ..SecurityContext::default()
    }
}

fn token_volume() -> Volume {
    Volume {
        name: TOKEN_VOLUME.to_owned(),
        projected: Some(ProjectedVolumeSource {
            sources: Some(vec![VolumeProjection {
                service_account_token: Some(ServiceAccountTokenProjection {
                    audience: Some(WORKLOAD_AUDIENCE.to_owned()),
                    expiration_seconds: Some(WORKLOAD_TOKEN_LIFE),
                    path: TOKEN_FILE.to_owned(),
                }),
                ..VolumeProjection::default()
            }]),
            ..ProjectedVolumeSource::default()
        }),
        ..Volume::default()
    }
}

fn scratch_volume() -> Volume {
    Volume {
        name: SCRATCH_VOLUME.to_owned(),
        empty_dir: Some(EmptyDirVolumeSource { size_limit: Some(Quantity("256Mi".to_owned())), medium: None }),
        ..Volume::default()
    }
}

/// In memory, as a socket's file holds nothing, and small, as a dashboard could fill it.
fn socket_volume() -> Volume {
    let size_limit = Some(Quantity("1Mi".to_owned()));
    Volume {
        name: SOCKET_VOLUME.to_owned(),
        empty_dir: Some(EmptyDirVolumeSource { size_limit, medium: Some("Memory".to_owned()) }),
        ..Volume::default()
    }
}

fn has_socket(child: &Child<'_>) -> bool {
    child.plan.address == Address::Socket
}

/// What a dashboard on a socket has beside what all have.
fn with_socket<T>(child: &Child<'_>, mut all: Vec<T>, more: impl FnOnce() -> T) -> Vec<T> {
    all.extend(has_socket(child).then(more));
    all
}

fn mount(volume: &str, folder: &str) -> VolumeMount {
    VolumeMount { name: volume.to_owned(), mount_path: folder.to_owned(), ..VolumeMount::default() }
}

fn read_only(volume: &str, folder: &str) -> VolumeMount {
    VolumeMount { read_only: Some(true), ..mount(volume, folder) }
}

fn http_get(path: &str, port: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::Int(port),
            ..HTTPGetAction::default()
        }),
        ..Probe::default()
    }
}

fn container_port((name, port): (&str, i32)) -> ContainerPort {
    ContainerPort { name: Some(name.to_owned()), container_port: port, ..ContainerPort::default() }
}

fn quantities<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, Quantity> {
    pairs.into_iter().map(|(name, value)| (name.to_owned(), Quantity(value.to_owned()))).collect()
}

fn fingerprint(config_map: &ConfigMap) -> String {
    let lines = config_map.data.iter().flatten().map(|(name, value)| format!("{name}={value}\n"));
    hex(&sha256(lines.collect::<String>().as_bytes())[..8])
}
