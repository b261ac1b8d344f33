//! From a `Dashboard` to what runs for it: observe → validate → build → apply → status, a file each.
//!
//! ```text
//!  caches, API server ──► Observed ──► Plan ──► Children<Desired> ──► Children<Applied> ──► status
//!       observe            validate    build        apply                   status
//!        (I/O)              (pure)     (pure)       (I/O)                    (pure)
//! ```
//!
//! It promises to leave alone what it does not own, to prune what the resource no longer asks for, and to write nothing when
//! nothing differs.

pub(super) mod apply;
pub mod build;
pub(super) mod observe;
pub mod status;
pub mod validate;

use std::{sync::Arc, time::Duration};

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::OwnerReference, jiff::Timestamp};
use kube::{
    Resource as _, ResourceExt as _,
    api::{Patch, PatchParams},
    core::DeserializeGuard,
    runtime::controller::Action,
};
use serde_json::json;

use self::{
    apply::{ApplyError, apply},
    build::MANAGER,
    observe::surroundings,
    status::{Outcome, status},
};
pub use self::{
    build::{Children, Desired, build},
    validate::{InvalidSpec, Plan, validate},
};
use super::{
    conditions::{AVAILABLE, READY, TERMINATING, reason_of, terminating},
    context::{Context, WriteError, next_look},
    unreadable::tell_unreadable,
};
use crate::{
    cluster::ClusterError,
    resources::{API_VERSION, Dashboard, DashboardStatus},
};

/// How soon to look again for what no watch shows: somebody else's object that is in the way, or is missing.
const LOOK_FOR_FOREIGN: Duration = Duration::from_secs(30);

/// One pass over a dashboard.
pub(super) async fn reconcile(
    guarded: Arc<DeserializeGuard<Dashboard>>,
    context: Arc<Context>,
) -> Result<Action, WriteError> {
    let Ok(dashboard) = &guarded.0 else {
        return unreadable(&context, &guarded.name_any()).await;
    };
    // The garbage collector takes the children along, once the resource is gone.
    if dashboard.metadata.deletion_timestamp.is_some() {
        let terminating = Outcome::Refused { reason: TERMINATING, message: terminating(&dashboard.metadata) };
        tell_status(&context, dashboard, &terminating).await?;
        return Ok(Action::await_change());
    }
    let surroundings = surroundings(&context, dashboard).await?;
    let outcome = match validate(dashboard, &surroundings) {
        Err(invalid) => Err((invalid.reason(), invalid.to_string())),
        Ok(plan) => {
            let desired = build(&plan, &context.platform);
            // What a tenant that cannot be read was granted goes on running, as it goes on being served.
            let may_prune = !surroundings.is_incomplete;
            // Boxed: each child is answered whole, which would make this future as large as all of them.
            match Box::pin(apply(&context, &plan, desired, may_prune)).await {
                Ok(applied) => Ok(applied),
                Err(error) => Err(refusal(error)?),
            }
        }
    };
    let refused = outcome.as_ref().err().map(|(reason, _)| *reason);
    let outcome = match &outcome {
        Ok(applied) => Outcome::Applied(applied),
        Err((reason, message)) => Outcome::Refused { reason, message: message.clone() },
    };
    tell_status(&context, dashboard, &outcome).await?;
    context.backoff.succeeded(&format!("Dashboard {}", dashboard.name_any()));
    context.metrics.passed("Dashboard", refused.unwrap_or("ok"), context.backoff.len());
    // A spec that is wrong stays so until it changes; everything else that is in the way may go without a word.
    let may_pass = refused.is_some_and(|reason| reason != "InvalidSpec");
    Ok(Action::requeue(if may_pass { LOOK_FOR_FOREIGN } else { next_look() }))
}

/// The status of one that cannot be read.
async fn unreadable(context: &Context, name: &str) -> Result<Action, WriteError> {
    let next = tell_unreadable::<Dashboard>(context, name, &[AVAILABLE]).await?;
    context.backoff.succeeded(&format!("Dashboard {name}"));
    context.metrics.passed("Dashboard", "Unreadable", context.backoff.len());
    Ok(next)
}

/// Writes the status where it says anything new.
async fn tell_status(context: &Context, dashboard: &Dashboard, outcome: &Outcome<'_>) -> Result<(), WriteError> {
    let next = status(dashboard, outcome, &context.platform.public_url, Timestamp::now());
    if dashboard.status.as_ref() != Some(&next) {
        write(context, dashboard, &next).await?;
        tell(context, dashboard, &next).await;
    }
    Ok(())
}

/// What a person must mend becomes a condition; what time mends is an error, to be tried again.
fn refusal(error: ApplyError) -> Result<(&'static str, String), WriteError> {
    match error {
        ApplyError::NameTaken { .. } => Ok(("NameTaken", error.to_string())),
        ApplyError::Orphaned { .. } => Ok(("Replacing", error.to_string())),
        ApplyError::Write(WriteError::Cluster(refused @ ClusterError::Invalid { .. })) => {
            Ok(("RefusedByCluster", refused.to_string()))
        }
        ApplyError::Write(WriteError::Cluster(refused @ ClusterError::Forbidden { .. })) => {
            Ok(("Forbidden", refused.to_string()))
        }
        ApplyError::Write(error) => Err(error),
    }
}

async fn write(context: &Context, dashboard: &Dashboard, status: &DashboardStatus) -> Result<(), WriteError> {
    let name = dashboard.name_any();
    let body = json!({
        "apiVersion": API_VERSION,
        "kind": Dashboard::kind(&()),
        "metadata": {"name": name, "uid": dashboard.uid()},
        "status": status,
    });
    let api = context.api::<Dashboard>();
    let (params, patch) = (PatchParams::apply(MANAGER).force(), Patch::Apply(&body));
    let written = context.write(
        "DashboardStatus",
        || format!("status of Dashboard {name}"),
        api.patch_status(&name, &params, &patch),
    );
    match written.await {
        // It went away meanwhile.
        Err(WriteError::Cluster(error)) if error.is_not_found() => Ok(()),
        done => done.map(|_| ()),
    }
}

/// An Event where the summary changed; a rollout that has just begun is no news.
async fn tell(context: &Context, dashboard: &Dashboard, next: &DashboardStatus) {
    let before = dashboard.status.as_ref().and_then(|status| reason_of(&status.conditions, READY));
    let Some((reason, is_ready)) = reason_of(&next.conditions, READY) else { return };
    if before.map(|(reason, _)| reason) == Some(reason) || matches!(reason, "RolloutInProgress" | "Replacing") {
        return;
    }
    let note = next.conditions.iter().find(|condition| condition.type_ == READY).map(|found| found.message.as_str());
    let is_bad = !is_ready && !matches!(reason, "ScaledToZero" | "NotWatched" | TERMINATING);
    context.tell(&dashboard.object_ref(&()), is_bad, reason, "Reconcile", note.unwrap_or_default()).await;
}

/// The owner of every child. Deleting the resource makes the cluster's garbage collector delete them: no finalizer, which
/// would keep people waiting while the controller is down.
fn owner_of(dashboard: &Dashboard) -> OwnerReference {
    OwnerReference {
        api_version: Dashboard::api_version(&()).into_owned(),
        kind: Dashboard::kind(&()).into_owned(),
        name: dashboard.name_any(),
        uid: dashboard.uid().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: None,
    }
}
