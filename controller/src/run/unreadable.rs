//! The status of an object that this program cannot read: of a newer definition, or one that the schema let through.
//!
//! Nothing else is done with it. What runs for it goes on running and what it was granted stays, but not without a word: a
//! person who applied it would otherwise wait for ever.

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Condition, jiff::Timestamp};
use kube::{
    Api, Resource, ResourceExt as _,
    api::{ApiResource, DynamicObject, Patch, PatchParams},
    core::NamespaceResourceScope,
    runtime::controller::Action,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{
    conditions::{ACCEPTED, READY, Verdict, reason_of, updated},
    context::{Context, WriteError},
    dashboard::build::MANAGER,
};
use crate::cluster::call;

/// The reason of every condition of such an object.
const UNREADABLE: &str = "Unreadable";

/// Says in the object's own status that it cannot be read, and why. `details` are its conditions beside [`ACCEPTED`] and
/// [`READY`], of which nothing can be said.
pub(super) async fn tell_unreadable<K>(context: &Context, name: &str, details: &[&str]) -> Result<Action, WriteError>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + DeserializeOwned,
{
    let kind = K::kind(&());
    let api: Api<DynamicObject> =
        Api::namespaced_with(context.client.clone(), context.namespace(), &ApiResource::erase::<K>(&()));
    let Some(found) = call(|| format!("reading {kind} {name}"), api.get_opt(name)).await? else {
        return Ok(Action::await_change());
    };
    let raw = serde_json::to_value(&found).unwrap_or_default();
    // Mended meanwhile: the watch will say so.
    let Err(error) = serde_json::from_value::<K>(raw) else { return Ok(Action::await_change()) };
    tracing::error!(%kind, name, %error, "not readable, left as it is");
    let before = found.data.get("status").cloned().unwrap_or_else(|| json!({}));
    let generation = found.metadata.generation.unwrap_or_default();
    let next = status(&before, &error.to_string(), details, generation, Timestamp::now());
    if next == before {
        return Ok(Action::await_change());
    }
    let (api_version, uid) = (K::api_version(&()), found.uid());
    let body = json!({
        "apiVersion": api_version, "kind": kind, "metadata": {"name": name, "uid": uid}, "status": next,
    });
    let (params, patch) = (PatchParams::apply(MANAGER).force(), Patch::Apply(&body));
    let action = || format!("status of {kind} {name}");
    match context.write("UnreadableStatus", action, api.patch_status(name, &params, &patch)).await {
        // It went away meanwhile.
        Err(WriteError::Cluster(error)) if error.is_not_found() => return Ok(Action::await_change()),
        done => done?,
    };
    if reason_of(&conditions(&before), ACCEPTED).is_none_or(|(reason, _)| reason != UNREADABLE) {
        let mut reference = found.object_ref(&ApiResource::erase::<K>(&()));
        reference.resource_version = None;
        context.tell(&reference, true, UNREADABLE, "Reconcile", &error.to_string()).await;
    }
    Ok(Action::await_change())
}

/// The status that was there, with other conditions: what it says of pods is still so.
fn status(before: &Value, error: &str, details: &[&str], generation: i64, now: Timestamp) -> Value {
    let message =
        format!("cannot be read: {error}; correct it, or install the definitions of this controller's version");
    let refused = Verdict::no(UNREADABLE, message);
    let unknown = || Verdict::unknown(UNREADABLE, "see Accepted");
    let mut verdicts = vec![(ACCEPTED, refused.clone())];
    verdicts.extend(details.iter().map(|detail| (*detail, unknown())));
    verdicts.push((READY, refused));
    let mut next = before.clone();
    next["observedGeneration"] = json!(generation);
    next["conditions"] = json!(updated(&conditions(before), &verdicts, generation, now));
    next
}

/// The conditions of a status, each that can be read: what was written here before always can, so its time stamps stay.
fn conditions(status: &Value) -> Vec<Condition> {
    let all = status["conditions"].as_array().into_iter().flatten();
    all.filter_map(|condition| serde_json::from_value(condition.clone()).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::conditions::AVAILABLE;

    #[test]
    fn what_runs_is_still_told_and_looking_again_changes_nothing() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let before = json!({
            "observedGeneration": 1, "readyReplicas": 2, "unknown": {"of": "a newer version"},
            "conditions": [{"type": "Ready", "status": 7}],
        });
        let once = status(&before, "no port", &[AVAILABLE], 4, at(1));
        assert_eq!((&once["readyReplicas"], &once["observedGeneration"]), (&json!(2), &json!(4)));
        assert_eq!(once["unknown"], before["unknown"]);
        assert_eq!(reason_of(&conditions(&once), ACCEPTED), Some((UNREADABLE, false)));
        assert_eq!(reason_of(&conditions(&once), READY), Some((UNREADABLE, false)));
        assert_eq!(status(&once, "no port", &[AVAILABLE], 4, at(2)), once);
        assert_ne!(status(&once, "no port", &[AVAILABLE], 5, at(2)), once, "another generation was looked at");
    }
}
