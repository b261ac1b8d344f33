//! Step 1, observe: what there is, before anything is decided. Reads caches, and the API server where a cache cannot know.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use k8s_openapi::{
    api::core::v1::Service,
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};
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
    /// It belonged to a resource of the same name that is gone; the garbage collector will take it.
    Orphaned,
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
        found.is_incomplete = context.has_unreadable_tenant();
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
    owner: &OwnerReference,
) -> Result<Existing, ClusterError> {
    let reference = ObjectRef::new(name).within(context.namespace());
    if let Some(cached) = K::cached(&context.caches, &reference) {
        return Ok(whose(&cached, owner));
    }
    let api: Api<K> = context.api();
    let found = call(|| format!("looking for {} {name}", K::kind(&())), api.get_metadata_opt(name)).await?;
    Ok(found.map_or(Existing::Absent, |object| whose(&object.metadata, owner)))
}

fn whose(object: &ObjectMeta, owner: &OwnerReference) -> Existing {
    let controller = object.owner_references.iter().flatten().find(|reference| reference.controller == Some(true));
    match (&object.uid, controller) {
        (Some(uid), Some(found)) if found.uid == owner.uid => {
            Existing::Ours { uid: uid.clone(), version: version_of(object) }
        }
        (_, Some(found)) if (&found.kind, &found.name) == (&owner.kind, &owner.name) => Existing::Orphaned,
        _ => Existing::Foreign,
    }
}

/// The generation, which a status does not move, and what it does not count: labels and owners. Where a kind counts no
/// generation, the resource version.
pub(in crate::run) fn version_of(object: &ObjectMeta) -> String {
    let Some(generation) = object.generation else { return object.resource_version.clone().unwrap_or_default() };
    let mut hasher = DefaultHasher::new();
    object.labels.hash(&mut hasher);
    for owner in object.owner_references.iter().flatten() {
        (&owner.uid, owner.controller).hash(&mut hasher);
    }
    format!("{generation}-{:x}", hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(name: &str, uid: &str, controller: Option<bool>) -> OwnerReference {
        let (kind, name, uid) = ("Dashboard".into(), name.into(), uid.into());
        OwnerReference { kind, name, uid, controller, ..OwnerReference::default() }
    }

    fn owned(by: OwnerReference) -> ObjectMeta {
        ObjectMeta {
            uid: Some("child".into()),
            resource_version: Some("7".into()),
            owner_references: Some(vec![by]),
            ..ObjectMeta::default()
        }
    }

    #[test]
    fn only_a_child_that_the_very_resource_controls_is_ours() {
        let ours = Existing::Ours { uid: "child".into(), version: "7".into() };
        let clv = owner("clv", "d1", Some(true));
        assert_eq!(whose(&owned(clv.clone()), &clv), ours);
        assert_eq!(whose(&owned(owner("clv", "d0", Some(true))), &clv), Existing::Orphaned, "of its predecessor");
        assert_eq!(whose(&owned(owner("risk", "d2", Some(true))), &clv), Existing::Foreign, "of another");
        assert_eq!(whose(&owned(owner("clv", "d1", None)), &clv), Existing::Foreign, "related is not controlled");
        assert_eq!(whose(&ObjectMeta::default(), &clv), Existing::Foreign, "a person's");
    }

    #[test]
    fn a_status_does_not_move_the_version_where_a_generation_is_counted_and_labels_do() {
        let mut object = owned(owner("clv", "d1", Some(true)));
        object.generation = Some(2);
        let before = version_of(&object);
        object.resource_version = Some("8".into());
        assert_eq!(version_of(&object), before);
        object.labels = Some([("kyros.dev/dashboard".to_owned(), "clv".to_owned())].into());
        assert_ne!(version_of(&object), before);
    }
}
