//! The status of a `Tenant`: whether it is served, and whether every dashboard that it names exists.
//!
//! A name that leads nowhere is a condition and never an error: people apply resources in any order. Whether the dashboards
//! are ready is theirs to say: one without pods, or whose pods nobody here watches, makes no tenant less ready.

use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;
use kube::{
    Resource as _, ResourceExt as _,
    api::{Patch, PatchParams},
    core::DeserializeGuard,
    runtime::{controller::Action, reflector::ObjectRef},
};
use serde_json::json;

use super::{
    conditions::{DASHBOARDS_RESOLVED, READY, TERMINATING, Verdict, reason_of, terminating, updated},
    context::{Context, WriteError},
    dashboard::build::MANAGER,
    unreadable::tell_unreadable,
};
use crate::{
    limits,
    resources::{API_VERSION, Tenant, TenantState, TenantStatus},
};

/// One look at a tenant.
pub(super) async fn reconcile(
    guarded: Arc<DeserializeGuard<Tenant>>,
    context: Arc<Context>,
) -> Result<Action, WriteError> {
    let Ok(tenant) = &guarded.0 else {
        let name = guarded.name_any();
        let next = tell_unreadable::<Tenant>(&context, &name, &[DASHBOARDS_RESOLVED]).await?;
        context.backoff.succeeded(&format!("Tenant {name}"));
        context.metrics.passed("Tenant", "Unreadable", context.backoff.len());
        return Ok(next);
    };
    // One that is being deleted is as good as gone.
    let exists = |name: &str| {
        let reference = ObjectRef::<DeserializeGuard<crate::resources::Dashboard>>::new(name);
        let found = context.caches.dashboards.get(&reference.within(context.namespace()));
        found.is_some_and(|dashboard| dashboard.meta().deletion_timestamp.is_none())
    };
    let next = status(tenant, exists, Timestamp::now());
    if tenant.status.as_ref() != Some(&next) {
        write(&context, tenant, &next).await?;
        tell(&context, tenant, &next).await;
    }
    context.backoff.succeeded(&format!("Tenant {}", tenant.name_any()));
    context.metrics.passed("Tenant", "ok", context.backoff.len());
    // Nothing but a watch could tell anything new, and ten thousand timers are memory.
    Ok(Action::await_change())
}

fn status(tenant: &Tenant, exists: impl Fn(&str) -> bool, now: Timestamp) -> TenantStatus {
    let generation = tenant.metadata.generation.unwrap_or_default();
    let missing: Vec<&String> = tenant.spec.dashboards.iter().filter(|name| !exists(name)).collect();
    let resolved = if missing.is_empty() {
        Verdict::yes("Resolved")
    } else {
        let names = missing.iter().take(limits::STATUS_NAMES).map(|name| name.as_str()).collect::<Vec<_>>().join(", ");
        let message = format!("no Dashboard of this name: {names}; create it, or take it out of spec.dashboards");
        Verdict::no("DashboardNotFound", message)
    };
    let (state, ready) = if tenant.metadata.deletion_timestamp.is_some() {
        (None, Verdict::no(TERMINATING, terminating(&tenant.metadata)))
    } else if tenant.spec.suspended {
        let message = "suspended on purpose: set spec.suspended to false to open it again";
        (Some(TenantState::Suspended), Verdict::no("Suspended", message))
    } else if resolved.is_yes() {
        (Some(TenantState::Active), Verdict::yes("Ready"))
    } else {
        (Some(TenantState::Active), resolved.clone())
    };
    let before = tenant.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    TenantStatus {
        observed_generation: Some(generation),
        state,
        members: i32::try_from(tenant.spec.members.len()).ok(),
        missing: missing.into_iter().take(limits::STATUS_NAMES).cloned().collect(),
        conditions: updated(before, &[(DASHBOARDS_RESOLVED, resolved), (READY, ready)], generation, now),
    }
}

async fn write(context: &Context, tenant: &Tenant, status: &TenantStatus) -> Result<(), WriteError> {
    let name = tenant.name_any();
    let body = json!({
        "apiVersion": API_VERSION,
        "kind": Tenant::kind(&()),
        "metadata": {"name": name, "uid": tenant.uid()},
        "status": status,
    });
    let api = context.api::<Tenant>();
    let (params, patch) = (PatchParams::apply(MANAGER).force(), Patch::Apply(&body));
    let written =
        context.write("TenantStatus", || format!("status of Tenant {name}"), api.patch_status(&name, &params, &patch));
    match written.await {
        // It went away meanwhile.
        Err(WriteError::Cluster(error)) if error.is_not_found() => Ok(()),
        done => done.map(|_| ()),
    }
}

/// An Event where the summary changed; not for a tenant that is new and well.
async fn tell(context: &Context, tenant: &Tenant, next: &TenantStatus) {
    let before = tenant.status.as_ref().and_then(|status| reason_of(&status.conditions, READY));
    let Some((reason, is_ready)) = reason_of(&next.conditions, READY) else { return };
    if before.map(|(reason, _)| reason) == Some(reason) || (before.is_none() && is_ready) {
        return;
    }
    let note = next.conditions.iter().find(|condition| condition.type_ == READY).map(|found| found.message.as_str());
    let is_bad = !is_ready && !matches!(reason, "Suspended" | TERMINATING);
    context.tell(&tenant.object_ref(&()), is_bad, reason, "Reconcile", note.unwrap_or_default()).await;
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;
    use crate::run::fixtures::tenant;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_tenant_is_ready_when_everything_it_names_exists() {
        let mut acme = tenant("acme", &["clv", "risk"]);
        let status_with = |acme: &Tenant, there: &[&str]| status(acme, |name| there.contains(&name), at(1));
        let all = status_with(&acme, &["clv", "risk"]);
        assert_eq!(reason_of(&all.conditions, READY), Some(("Ready", true)));
        assert_eq!((all.state, all.missing.len()), (Some(TenantState::Active), 0));
        let half = status_with(&acme, &["clv"]);
        assert_eq!(reason_of(&half.conditions, READY), Some(("DashboardNotFound", false)));
        assert_eq!(half.missing, ["risk"]);
        acme.spec.suspended = true;
        let suspended = status_with(&acme, &[]);
        assert_eq!(reason_of(&suspended.conditions, READY), Some(("Suspended", false)));
        assert_eq!(reason_of(&suspended.conditions, DASHBOARDS_RESOLVED), Some(("DashboardNotFound", false)));
    }

    #[test]
    fn a_tenant_that_somebody_holds_back_from_going_is_not_served() {
        let mut acme = tenant("acme", &["clv"]);
        acme.metadata.deletion_timestamp = Some(Time(at(1)));
        acme.metadata.finalizers = Some(vec!["example.com/hold".into()]);
        let held = status(&acme, |_| true, at(1));
        assert_eq!(reason_of(&held.conditions, READY), Some((TERMINATING, false)));
        assert_eq!(held.state, None);
        let message = &held.conditions.iter().find(|found| found.type_ == READY).unwrap().message;
        assert!(message.contains("example.com/hold"), "{message}");
    }

    #[test]
    fn looking_again_finds_nothing_to_write() {
        let mut acme = tenant("acme", &["clv"]);
        acme.status = Some(status(&acme, |_| true, at(1)));
        assert_eq!(Some(status(&acme, |_| true, at(2))), acme.status);
    }

    #[test]
    fn what_is_missing_is_told_up_to_a_bound() {
        let names: Vec<String> = (0..40).map(|number| format!("d{number}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        assert_eq!(status(&tenant("acme", &names), |_| false, at(1)).missing.len(), limits::STATUS_NAMES);
    }
}
