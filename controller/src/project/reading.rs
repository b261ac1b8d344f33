//! What the projector asks of the API server: its watches, its lists of versions, the cluster's keys. No state.

use std::path::Path;

use futures_util::{StreamExt as _, TryStreamExt as _, stream::BoxStream};
use kube::{
    Api, Client, Resource, ResourceExt as _,
    api::ListParams,
    core::DeserializeGuard,
    runtime::{
        WatchStreamExt as _,
        watcher::{self, Event},
    },
};
use kyros_metadata::Version;
use kyros_shared_config::ClusterKeys;
use serde::de::DeserializeOwned;

use super::ProjectError;
use crate::{
    cluster::{ClusterError, call, watch_problem},
    resources::{Dashboard, Tenant},
};

/// Most events that are written in one transaction.
const BATCH: usize = 256;
/// Objects per page of a list.
const PAGE: u32 = 500;
/// A kind, as versions name it.
pub(super) const TENANT: &str = "Tenant";
/// The other one.
pub(super) const DASHBOARD: &str = "Dashboard";

/// An object, or why it cannot be read.
pub(super) type Guarded<K> = DeserializeGuard<K>;

/// What a watch saw, of either kind.
pub(super) enum Seen {
    Tenant(Box<Event<Guarded<Tenant>>>),
    Dashboard(Box<Event<Guarded<Dashboard>>>),
}

/// Batches of events, or what a watch failed for.
pub(super) type Events = BoxStream<'static, Vec<Result<Seen, String>>>;

/// Whether it is being deleted, and only somebody's finalizer holds it.
pub(super) fn is_terminating(object: &impl Resource) -> bool {
    object.meta().deletion_timestamp.is_some()
}

/// What both kinds' watches see, in batches.
pub(super) fn watch(client: &Client, namespace: &str) -> Events {
    let tenants =
        watched::<Tenant>(client, namespace).map(|seen| seen.map(|event| Seen::Tenant(Box::new(event)))).boxed();
    let dashboards =
        watched::<Dashboard>(client, namespace).map(|seen| seen.map(|event| Seen::Dashboard(Box::new(event)))).boxed();
    futures_util::stream::select(tenants, dashboards).ready_chunks(BATCH).boxed()
}

fn watched<K>(client: &Client, namespace: &str) -> BoxStream<'static, Result<Event<Guarded<K>>, String>>
where
    K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned
        + Send
        + 'static,
{
    let api: Api<Guarded<K>> = Api::namespaced(client.clone(), namespace);
    watcher::watcher(api, watcher::Config::default().page_size(PAGE))
        .default_backoff()
        .map_err(|error| watch_problem(&K::plural(&()), &error))
        .boxed()
}

/// The version of everything of one kind that is there, and is not being deleted.
pub(super) async fn versions<K>(
    client: &Client,
    namespace: &str,
    kind: &'static str,
) -> Result<Vec<Version>, ClusterError>
where
    K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned,
{
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    let mut page = ListParams::default().limit(PAGE);
    let mut versions = Vec::new();
    loop {
        let listed = call(|| format!("listing {}", K::plural(&())), api.list_metadata(&page)).await?;
        versions.extend(listed.items.iter().filter(|object| !is_terminating(*object)).map(|object| Version {
            kind,
            name: object.name_any(),
            uid: object.uid().unwrap_or_default(),
            generation: object.metadata.generation.unwrap_or_default(),
        }));
        match listed.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => page = page.continue_token(&token),
            None => return Ok(versions),
        }
    }
}

/// The issuer of the cluster's service-account tokens and its keys (Kubernetes: service account issuer discovery).
pub(super) async fn write_keys(client: &Client, path: Option<&Path>) -> Result<(), ProjectError> {
    let Some(path) = path else { return Ok(()) };
    let issuer = document(client, "/.well-known/openid-configuration").await?;
    let keys = document(client, "/openid/v1/jwks").await?;
    let keys = ClusterKeys {
        issuer: issuer["issuer"].as_str().unwrap_or_default().to_owned(),
        keys: keys["keys"].as_array().cloned().unwrap_or_default(),
    };
    keys.write(path).map_err(|source| ProjectError::Keys { path: path.to_owned(), source })
}

async fn document(client: &Client, path: &str) -> Result<serde_json::Value, ClusterError> {
    let request = http::Request::get(path).body(Vec::new()).map_err(|error| ClusterError::Call {
        action: format!("reading {path}"),
        source: Box::new(kube::Error::HttpError(error)),
    })?;
    call(|| format!("reading {path}"), client.request(request)).await
}
