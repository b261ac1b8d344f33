//! Step 1, observe: what there is, before anything is decided. Reads caches, and the API server where a cache cannot know.

use k8s_openapi::{api::core::v1::Service, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{Api, ResourceExt as _, runtime::reflector::ObjectRef};
use kyros_shared_config::DashboardSlug;

use super::validate::Surroundings;
use crate::{
    cluster::{ClusterError, call},
    resources::{Dashboard, Isolation},
    run::context::{Child, Context},
};

/// Whose an object under one of our names is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::run) enum Existing {
    /// Nobody has the name.
    Absent,
    /// It belongs to the dashboard.
    Ours {
        /// Its uid: what a write insists on, so that it cannot hit a namesake made since.
        uid: String,
        /// What changes whenever somebody changes what we wrote.
        version: String,
    },
    /// Somebody else has the name.
    Foreign,
}

/// The tenants and Services that matter to a dashboard.
pub(in crate::run) async fn surroundings(
    context: &Context,
    dashboard: &Dashboard,
) -> Result<Surroundings, ClusterError> {
    let mut found = Surroundings::default();
    if dashboard.spec.isolation == Isolation::PerTenant
        && let Ok(slug) = dashboard.name_any().parse::<DashboardSlug>()
    {
        found.tenants = context.tenants_that_open(&slug);
    }
    if let Some(service) = &dashboard.spec.service_ref {
        let services: Api<Service> = context.api();
        let name = &service.name;
        let service = call(|| format!("reading Service {name}"), services.get_opt(name)).await?;
        found.service_selector = service.map(|service| service.spec.and_then(|spec| spec.selector).unwrap_or_default());
    }
    Ok(found)
}

/// Looks in the cache of our children first; a name that is not there may still be somebody else's, which only the API server
/// can say.
pub(in crate::run) async fn existing<K: Child>(
    context: &Context,
    name: &str,
    owner: &str,
) -> Result<Existing, ClusterError> {
    let reference = ObjectRef::new(name).within(context.namespace());
    if let Some(cached) = K::cached(&context.caches, &reference) {
        return Ok(whose(&cached, owner));
    }
    let api: Api<K> = context.api();
    let found = call(|| format!("looking for {} {name}", K::kind(&())), api.get_metadata_opt(name)).await?;
    Ok(found.map_or(Existing::Absent, |object| whose(&object.metadata, owner)))
}

fn whose(object: &ObjectMeta, owner: &str) -> Existing {
    let mut owners = object.owner_references.iter().flatten();
    let is_ours = owners.any(|reference| reference.controller == Some(true) && reference.uid == owner);
    match &object.uid {
        Some(uid) if is_ours => Existing::Ours { uid: uid.clone(), version: version_of(object) },
        _ => Existing::Foreign,
    }
}

/// The generation, which a status does not move; where a kind counts none, the resource version.
pub(in crate::run) fn version_of(object: &ObjectMeta) -> String {
    match object.generation {
        Some(generation) => format!("generation {generation}"),
        None => object.resource_version.clone().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

    use super::*;

    fn owned(uid: &str, controller: Option<bool>) -> ObjectMeta {
        let owner = OwnerReference { uid: uid.into(), controller, ..OwnerReference::default() };
        ObjectMeta {
            uid: Some("child".into()),
            resource_version: Some("7".into()),
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        }
    }

    #[test]
    fn only_a_child_that_the_very_resource_controls_is_ours() {
        let ours = Existing::Ours { uid: "child".into(), version: "7".into() };
        assert_eq!(whose(&owned("d1", Some(true)), "d1"), ours);
        assert_eq!(whose(&owned("d0", Some(true)), "d1"), Existing::Foreign, "of an earlier resource of the same name");
        assert_eq!(whose(&owned("d1", None), "d1"), Existing::Foreign, "related is not controlled");
        assert_eq!(whose(&ObjectMeta::default(), "d1"), Existing::Foreign, "a person's");
    }

    #[test]
    fn a_status_does_not_move_the_version_where_a_generation_is_counted() {
        let mut object = owned("d1", Some(true));
        object.generation = Some(2);
        assert_eq!(version_of(&object), "generation 2");
    }
}
