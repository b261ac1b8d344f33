//! Step 4, apply: makes the cluster have what is desired, and not have what is no longer. Needs a client.
//!
//! A child that is as it was written last is not written again. One that is absent is made without force, so that whoever was
//! faster is not overwritten; one that is ours is written with force and with the uid that was seen, so that a namesake is
//! never hit; one that is somebody else's is left alone. What others add to a child of ours is theirs, but for the sidecar's
//! settings, which are ours to the last key.

use k8s_openapi::{
    api::{
        apps::v1::{Deployment, DeploymentStatus},
        core::v1::{ConfigMap, Service, ServiceAccount},
        networking::v1::NetworkPolicy,
        policy::v1::PodDisruptionBudget,
    },
    apimachinery::pkg::apis::meta::v1::OwnerReference,
};
use kube::{
    ResourceExt,
    api::{DeleteParams, Patch, PatchParams, Preconditions},
};
use kyros_shared_config::crypto::sha256;
use serde_json::{Map, Value, json};
use thiserror::Error;

use super::{
    build::{Applied, Children, DASHBOARD_LABEL, Desired, MANAGER},
    observe::{Existing, existing, version_of},
    validate::Plan,
};
use crate::{
    cluster::ClusterError,
    run::context::{Child, Context, WriteError, Written},
};

/// Why not everything is as desired.
#[derive(Debug, Error)]
pub(in crate::run) enum ApplyError {
    /// An object that is not ours has the name of one that would be.
    #[error("{kind} {name} exists and belongs to somebody else: delete it, or name the dashboard differently")]
    NameTaken {
        /// The kind.
        kind: &'static str,
        /// The name.
        name: String,
    },
    /// A child of an earlier resource of the same name is still there.
    #[error("{kind} {name} of the earlier dashboard of this name is still being deleted")]
    Orphaned {
        /// The kind.
        kind: &'static str,
        /// The name.
        name: String,
    },
    /// Not written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl From<ClusterError> for ApplyError {
    fn from(error: ClusterError) -> Self {
        Self::Write(error.into())
    }
}

/// Writes what differs, in the order in which one child needs another, and prunes the rest. Pods come last: what lets the
/// gateway in is there before they are. One tenant's trouble does not keep the others' workloads from what they need, nor the
/// rest from being pruned; the first error is told.
pub(in crate::run) async fn apply(
    context: &Context,
    plan: &Plan,
    desired: Vec<Children<Desired>>,
    may_prune: bool,
) -> Result<Vec<(Children<Applied>, Option<DeploymentStatus>)>, ApplyError> {
    let owner = &plan.owner;
    let wanted = Wanted::of(&desired);
    let mut applied = Vec::with_capacity(desired.len());
    let mut failed = None;
    for children in desired {
        match apply_one_workload(context, owner, &children).await {
            Ok(()) => (),
            Err(lost @ ApplyError::Write(WriteError::Lost(_))) => return Err(lost),
            Err(error) => {
                failed.get_or_insert(error);
                continue;
            }
        }
        let deployment = children.deployment.as_ref().map(ResourceExt::name_any);
        let status = deployment.and_then(|name| context.deployment_status(&name));
        applied.push((children.applied(), status));
    }
    if may_prune {
        prune(context, &owner.uid, plan.dashboard.as_str(), &wanted).await?;
    }
    failed.map_or(Ok(applied), Err)
}

async fn apply_one_workload(
    context: &Context,
    owner: &OwnerReference,
    children: &Children<Desired>,
) -> Result<(), ApplyError> {
    // Without `..`: a new kind of child that nobody applies shall not compile.
    let Children {
        workload: _,
        service_account,
        config_map,
        network_policy,
        service,
        pod_disruption_budget,
        deployment,
        stage: _,
    } = children;
    apply_child(context, owner, service_account).await?;
    if let Some(found) = apply_child(context, owner, config_map).await? {
        take_foreign_settings_out(context, config_map, &found).await?;
    }
    apply_child(context, owner, network_policy).await?;
    apply_child(context, owner, service).await?;
    if let Some(budget) = pod_disruption_budget {
        apply_child(context, owner, budget).await?;
    }
    if let Some(deployment) = deployment {
        apply_child(context, owner, deployment).await?;
    }
    Ok(())
}

/// The child as it is after a write; `None` where nothing had to be written.
async fn apply_child<K: Child>(
    context: &Context,
    owner: &OwnerReference,
    desired: &K,
) -> Result<Option<K>, ApplyError> {
    let (kind, name) = (kind::<K>(), desired.name_any());
    let mut body = serde_json::to_value(desired).map_err(|error| {
        let source = Box::new(kube::Error::SerdeError(error));
        ClusterError::Call { action: format!("writing {kind} {name}"), source }
    })?;
    let digest = sha256(body.to_string().as_bytes());
    let mut params = PatchParams::apply(MANAGER);
    match existing::<K>(context, &name, owner).await? {
        Existing::Orphaned => return Err(ApplyError::Orphaned { kind, name }),
        Existing::Foreign => return Err(ApplyError::NameTaken { kind, name }),
        Existing::Ours { uid, version } => {
            let is_as_written =
                |written: &Written| (&written.digest, &written.uid, &written.version) == (&digest, &uid, &version);
            if context.written(kind, &name).as_ref().is_some_and(is_as_written) {
                return Ok(None);
            }
            body["metadata"]["uid"] = Value::String(uid);
            params = params.force();
        }
        Existing::Absent => (),
    }
    let api = context.api::<K>();
    let patch = Patch::Apply(&body);
    let applied = context
        .write(kind, || format!("writing {kind} {name}"), api.patch(&name, &params, &patch))
        .await
        .inspect_err(|_| context.forget(kind, &name))?;
    let version = version_of(applied.meta());
    let (uid, generation) = (applied.uid().unwrap_or_default(), applied.meta().generation);
    context.remember(kind, &name, Written { digest, uid, version, generation });
    Ok(Some(applied))
}

/// Server-side apply leaves keys alone that somebody else added. No sidecar reads them, but people who look would believe so.
async fn take_foreign_settings_out(
    context: &Context,
    desired: &ConfigMap,
    found: &ConfigMap,
) -> Result<(), ApplyError> {
    let is_ours = |key: &String| desired.data.as_ref().is_some_and(|data| data.contains_key(key));
    let foreign = found.data.iter().flatten().map(|(key, _)| key).filter(|key| !is_ours(key));
    let nulls: Map<String, Value> = foreign.map(|key| (key.clone(), Value::Null)).collect();
    if nulls.is_empty() && found.binary_data.is_none() {
        return Ok(());
    }
    let (kind, name) = (kind::<ConfigMap>(), desired.name_any());
    // Whoever puts them back at once would be answered at once, for ever.
    if !context.may_take_out(&name) {
        return Ok(());
    }
    tracing::warn!(name, keys = ?nulls.keys(), "settings that are not ours are taken out");
    // Whether this fails or not, what was written is not what is there: the next look writes again.
    context.forget(kind, &name);
    let body = json!({"metadata": {"uid": found.uid()}, "data": nulls, "binaryData": null});
    let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    let (api, patch) = (context.api::<ConfigMap>(), Patch::Merge(&body));
    context.write(kind, || format!("mending {kind} {name}"), api.patch_metadata(&name, &params, &patch)).await?;
    Ok(())
}

/// The names of everything that a plan asks for, by kind.
struct Wanted {
    /// Service accounts, settings and policies are named alike.
    workloads: Vec<String>,
    services: Vec<String>,
    budgets: Vec<String>,
    deployments: Vec<String>,
}

impl Wanted {
    fn of(desired: &[Children<Desired>]) -> Self {
        let names = |of: fn(&Children<Desired>) -> Option<String>| desired.iter().filter_map(of).collect();
        Self {
            workloads: names(|children| Some(children.workload.name())),
            services: names(|children| Some(children.service.name_any())),
            budgets: names(|children| children.pod_disruption_budget.as_ref().map(ResourceExt::name_any)),
            deployments: names(|children| children.deployment.as_ref().map(ResourceExt::name_any)),
        }
    }
}

/// Deletes children of earlier specs, pods first. Nothing waits for them to end: until they have, the chart's own policy
/// (`workloads-networkpolicy.yaml`), which no deletion takes along, lets nobody in and nothing out.
async fn prune(context: &Context, owner: &str, dashboard: &str, wanted: &Wanted) -> Result<(), ApplyError> {
    prune_kind::<Deployment>(context, owner, dashboard, &wanted.deployments).await?;
    prune_kind::<PodDisruptionBudget>(context, owner, dashboard, &wanted.budgets).await?;
    prune_kind::<Service>(context, owner, dashboard, &wanted.services).await?;
    prune_kind::<ConfigMap>(context, owner, dashboard, &wanted.workloads).await?;
    prune_kind::<ServiceAccount>(context, owner, dashboard, &wanted.workloads).await?;
    prune_kind::<NetworkPolicy>(context, owner, dashboard, &wanted.workloads).await
}

async fn prune_kind<K: Child>(
    context: &Context,
    owner: &str,
    dashboard: &str,
    wanted: &[String],
) -> Result<(), ApplyError> {
    let kind = kind::<K>();
    for object in K::labelled(&context.caches, DASHBOARD_LABEL, dashboard) {
        let (Some(name), Some(uid)) = (object.name, object.uid) else { continue };
        let mut owners = object.owner_references.iter().flatten();
        let is_ours = owners.any(|reference| reference.uid == owner && reference.controller == Some(true));
        if !is_ours || wanted.contains(&name) || object.deletion_timestamp.is_some() {
            continue;
        }
        let params = DeleteParams {
            preconditions: Some(Preconditions { uid: Some(uid), resource_version: None }),
            ..DeleteParams::background()
        };
        let api = context.api::<K>();
        match context.write(kind, || format!("deleting {kind} {name}"), api.delete(&name, &params)).await {
            Ok(_) => tracing::info!(kind, name, "pruned"),
            // Gone already, or another one has the name now.
            Err(WriteError::Cluster(ClusterError::Conflict { .. })) => (),
            Err(WriteError::Cluster(error)) if error.is_not_found() => (),
            Err(error) => return Err(error.into()),
        }
        context.forget(kind, &name);
    }
    Ok(())
}

/// The kind's name, for memory, metrics and messages.
fn kind<K: Child>() -> &'static str {
    match K::kind(&()) {
        std::borrow::Cow::Borrowed(kind) => kind,
        // Kinds of `k8s-openapi` are constants.
        std::borrow::Cow::Owned(_) => "object",
    }
}
