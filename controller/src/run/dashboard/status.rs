//! Step 5, status: what a person should know, from what was applied. Pure; needs no client.

use k8s_openapi::{api::apps::v1::DeploymentStatus, jiff::Timestamp};
use kyros_shared_config::{DashboardHost, PublicUrl, Workload};

use super::build::{Applied, Children, DASHBOARD_LABEL};
use crate::{
    resources::{Dashboard, DashboardStatus, Isolation},
    run::conditions::{ACCEPTED, AVAILABLE, READY, Verdict, updated},
};

/// What a pass over a dashboard came to.
#[derive(Debug)]
pub enum Outcome<'a> {
    /// Everything it asks for is written; beside each workload stands what its Deployment says of itself.
    Applied(&'a [(Children<Applied>, Option<DeploymentStatus>)]),
    /// It cannot be carried out as it is written.
    Refused {
        /// The condition's reason.
        reason: &'static str,
        /// What a person can do.
        message: String,
    },
}

/// The status after a pass. Its `observedGeneration` moves only here, so it never runs ahead of what was done.
pub fn status(dashboard: &Dashboard, outcome: &Outcome<'_>, public_url: &PublicUrl, now: Timestamp) -> DashboardStatus {
    let generation = dashboard.metadata.generation.unwrap_or_default();
    let before = dashboard.status.clone().unwrap_or_default();
    let name = dashboard.metadata.name.as_deref().unwrap_or_default();
    let base = DashboardStatus {
        observed_generation: Some(generation),
        // Where every tenant has its own pods, one number for all of them would mislead an autoscaler.
        selector: (dashboard.spec.isolation == Isolation::Shared).then(|| format!("{DASHBOARD_LABEL}={name}")),
        url: url(name, public_url),
        ..DashboardStatus::default()
    };
    match outcome {
        Outcome::Refused { reason, message } => {
            let refused = Verdict::no(reason, message.clone());
            let unknown = Verdict::no(reason, "see Accepted");
            let verdicts = [(ACCEPTED, refused.clone()), (AVAILABLE, unknown), (READY, refused)];
            // What runs goes on running: a mistake in a new version takes nothing away from the old one.
            DashboardStatus {
                replicas: before.replicas,
                ready_replicas: before.ready_replicas,
                conditions: updated(&before.conditions, &verdicts, generation, now),
                ..base
            }
        }
        Outcome::Applied(children) => {
            let count = |field: fn(&DeploymentStatus) -> Option<i32>| -> i32 {
                children.iter().filter_map(|(_, status)| field(status.as_ref()?)).sum()
            };
            let is_counted = dashboard.spec.service_ref.is_none();
            let available = availability(dashboard, children);
            let ready = if available.is_yes() { Verdict::yes("Ready") } else { available.clone() };
            let verdicts = [(ACCEPTED, Verdict::yes("Accepted")), (AVAILABLE, available), (READY, ready)];
            DashboardStatus {
                // Of pods that nobody here counts, none is not the number.
                replicas: is_counted.then(|| count(|status| status.replicas)),
                ready_replicas: is_counted.then(|| count(|status| status.ready_replicas)),
                conditions: updated(&before.conditions, &verdicts, generation, now),
                ..base
            }
        }
    }
}

/// The address for any tenant, such as `http://clv--{tenant}.kyros.localhost:8080`.
fn url(name: &str, public_url: &PublicUrl) -> Option<String> {
    let host = DashboardHost { dashboard: name.parse().ok()?, tenant: "tenant".parse().ok()? };
    Some(public_url.dashboard_origin(&host).replacen("--tenant.", "--{tenant}.", 1))
}

fn availability(dashboard: &Dashboard, children: &[(Children<Applied>, Option<DeploymentStatus>)]) -> Verdict {
    if children.is_empty() && dashboard.spec.isolation == Isolation::PerTenant {
        let message = "no tenant may open it: add it to spec.dashboards of a Tenant";
        return Verdict::no("NoTenant", message);
    }
    // Pods that somebody else runs are not looked at: the controller may not read pods. The gateway finds them or says 502.
    // Ready says the same as this, neither yes nor no: to know nothing is no failure. A Tenant's Ready asks only whether its
    // dashboards exist, so it does not wait for one of these.
    if let Some(service) = &dashboard.spec.service_ref {
        let name = &service.name;
        let message = format!("Kyros does not watch the pods of Service {name}; see: kubectl get pods,endpointslices");
        return Verdict::unknown("NotWatched", message);
    }
    let deployments = children.iter().filter_map(|(children, status)| {
        let spec = children.deployment.as_ref()?.spec.as_ref()?;
        Some((&children.workload, spec.replicas.unwrap_or(1), status.clone().unwrap_or_default()))
    });
    let mut asked_for = 0;
    let mut waiting: Vec<String> = Vec::new();
    for (workload, wanted, status) in deployments {
        asked_for += wanted;
        if let Some(stuck) = stuck(&status) {
            return Verdict::no("RolloutStuck", format!("{stuck}; see: {}", look(workload)));
        }
        // As `kubectl rollout status` has it: all pods are of this version, and no others are left.
        let updated = status.updated_replicas.unwrap_or(0);
        let others = status.replicas.unwrap_or(0) - updated;
        let available = status.available_replicas.unwrap_or(0) - others.max(0);
        if updated < wanted || others > 0 || available < wanted {
            waiting.push(format!("{workload}: {} of {wanted} pods are ready", available.clamp(0, updated)));
        }
    }
    if let Some(first) = waiting.first() {
        let more = if waiting.len() > 1 { format!(", and {} more", waiting.len() - 1) } else { String::new() };
        return Verdict::no("RolloutInProgress", format!("{first}{more}"));
    }
    if asked_for == 0 {
        return Verdict::no("ScaledToZero", "no pods are asked for: raise spec.replicas");
    }
    Verdict::yes("Available")
}

/// The Deployment's own word that it gets no further: past its deadline, or refused its pods (a quota, pod security).
fn stuck(status: &DeploymentStatus) -> Option<String> {
    let stopped = [("ReplicaFailure", "True"), ("Progressing", "False")];
    let mut conditions = status.conditions.iter().flatten();
    let found =
        conditions.find(|condition| stopped.contains(&(condition.type_.as_str(), condition.status.as_str())))?;
    Some(found.message.clone().unwrap_or_else(|| "the rollout makes no progress".to_owned()))
}

fn look(workload: &Workload) -> String {
    format!("kubectl describe pods -l kyros.dev/workload={}", workload.service_name())
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::apps::v1::DeploymentCondition;

    use super::*;
    use crate::{
        resources::ServiceRef,
        run::{
            conditions::reason_of,
            dashboard::{build, validate, validate::Surroundings},
            fixtures::{dashboard, platform},
        },
    };

    fn verdict(dashboard: &Dashboard, deployment: Option<&DeploymentStatus>) -> (DashboardStatus, String) {
        verdict_in(dashboard, deployment, &Surroundings::default())
    }

    fn verdict_in(
        dashboard: &Dashboard,
        deployment: Option<&DeploymentStatus>,
        surroundings: &Surroundings,
    ) -> (DashboardStatus, String) {
        let plan = validate(dashboard, surroundings).unwrap();
        let children: Vec<_> =
            build(&plan, &platform()).into_iter().map(|children| (children.applied(), deployment.cloned())).collect();
        let now = Timestamp::from_second(100).unwrap();
        let status = status(dashboard, &Outcome::Applied(&children), &platform().public_url, now);
        let reason = reason_of(&status.conditions, READY).unwrap().0.to_owned();
        (status, reason)
    }

    fn pods(ready: i32) -> DeploymentStatus {
        DeploymentStatus {
            replicas: Some(2),
            updated_replicas: Some(2),
            ready_replicas: Some(ready),
            available_replicas: Some(ready),
            ..DeploymentStatus::default()
        }
    }

    #[test]
    fn an_old_pod_that_serves_does_not_make_a_new_version_ready() {
        let surge = DeploymentStatus {
            replicas: Some(2),
            updated_replicas: Some(1),
            ready_replicas: Some(1),
            available_replicas: Some(1),
            ..DeploymentStatus::default()
        };
        let (status, reason) = verdict(&dashboard("clv"), Some(&surge));
        assert_eq!(reason, "RolloutInProgress");
        assert!(status.conditions[2].message.contains("0 of 1 pods"), "{:?}", status.conditions);
    }

    #[test]
    fn a_rollout_is_told_from_its_beginning_to_its_end() {
        let mut clv = dashboard("clv");
        clv.spec.replicas = 2;
        clv.metadata.generation = Some(7);
        let (fresh, reason) = verdict(&clv, None);
        assert_eq!(reason, "RolloutInProgress");
        assert!(fresh.conditions[2].message.contains("0 of 2 pods"), "{:?}", fresh.conditions);
        let (ready, reason) = verdict(&clv, Some(&pods(2)));
        assert_eq!((reason.as_str(), ready.ready_replicas, ready.observed_generation), ("Ready", Some(2), Some(7)));
        assert_eq!(ready.url.as_deref(), Some("http://clv--{tenant}.kyros.localhost:8080"));
        assert_eq!(ready.selector.as_deref(), Some("kyros.dev/dashboard=clv"));
    }

    #[test]
    fn a_rollout_that_is_stuck_says_where_to_look() {
        let mut status = pods(1);
        status.conditions = Some(vec![DeploymentCondition {
            type_: "Progressing".into(),
            status: "False".into(),
            message: Some("exceeded its progress deadline".into()),
            ..DeploymentCondition::default()
        }]);
        let (status, reason) = verdict(&dashboard("clv"), Some(&status));
        assert_eq!(reason, "RolloutStuck");
        assert!(status.conditions[2].message.contains("kubectl describe pods -l kyros.dev/workload=dash-clv"));
    }

    #[test]
    fn no_pods_and_no_tenants_are_told_apart() {
        let mut clv = dashboard("clv");
        clv.spec.replicas = 0;
        assert_eq!(verdict(&clv, None).1, "ScaledToZero");
        clv.spec.isolation = Isolation::PerTenant;
        assert_eq!(verdict(&clv, None).1, "NoTenant");
    }

    #[test]
    fn of_pods_that_somebody_else_runs_nothing_is_claimed() {
        let mut old = dashboard("old");
        old.spec.image = None;
        old.spec.service_ref = Some(ServiceRef { name: "legacy".into() });
        let service_selector = Some([("app".to_owned(), "legacy".to_owned())].into());
        let (status, reason) = verdict_in(&old, None, &Surroundings { service_selector, ..Surroundings::default() });
        assert_eq!(reason, "NotWatched");
        let told: Vec<_> =
            status.conditions.iter().map(|found| (found.type_.as_str(), found.status.as_str())).collect();
        assert_eq!(told, [(ACCEPTED, "True"), (AVAILABLE, "Unknown"), (READY, "Unknown")]);
        assert_eq!((status.replicas, status.ready_replicas), (None, None));
    }

    #[test]
    fn a_refusal_takes_nothing_away_from_what_runs() {
        let mut clv = dashboard("clv");
        clv.status = Some(verdict(&clv, Some(&pods(2))).0);
        let refused = Outcome::Refused { reason: "NameTaken", message: "somebody has the name".into() };
        let now = Timestamp::from_second(200).unwrap();
        let after = status(&clv, &refused, &platform().public_url, now);
        assert_eq!(after.ready_replicas, Some(2));
        assert_eq!(reason_of(&after.conditions, ACCEPTED), Some(("NameTaken", false)));
        assert_eq!(reason_of(&after.conditions, READY), Some(("NameTaken", false)));
    }
}
