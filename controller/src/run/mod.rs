//! Role `run`: makes the cluster run what the `Dashboard` resources say, and tells people how it stands. One leader writes.
//!
//! ```text
//!  watches ──► caches ──► tenant.rs ──────────────────────────────► status of Tenants
//!                    └──► dashboard/ (observe … apply … status) ──► children, status of Dashboards
//!                                        every write passes the leader's Fence
//! ```
//!
//! A dashboard is looked at when it changes, when one of its children does, when a tenant of a `PerTenant` dashboard does,
//! and every ten minutes. A tenant is looked at when it changes and when a dashboard that it names comes or goes.

mod backoff;
pub mod conditions;
mod context;
pub mod dashboard;
#[cfg(test)]
mod fixtures;
mod metrics;
mod tenant;
mod unreadable;
mod watches;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use clap::Args;
use futures_util::StreamExt as _;
use kube::{
    Client, Resource, ResourceExt as _,
    core::DeserializeGuard,
    runtime::{
        Controller,
        controller::{self, Action, Config},
        reflector::ObjectRef,
    },
};
use kyros_http_server::admin::serve_admin;
use kyros_shared_config::{PublicUrl, crypto::random_id};
use thiserror::Error;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use url::Url;

use self::{
    context::{Context, WriteError},
    dashboard::build::Platform,
    metrics::{Metrics, operations},
    watches::Watches,
};
use crate::{
    cluster::{ClusterError, connect},
    lease::{Elector, Fence, KubeLease, LeaseStore, Lost, TIMING},
};

/// Reconciliations at once. More only makes an API server slower: each waits for it most of the time.
const CONCURRENCY: u16 = 8;
/// Events of one object that come together are one look. Children's events come in flocks.
const DEBOUNCE: Duration = Duration::from_millis(100);
/// How long reconciliations under way may take to end.
const DRAIN: Duration = Duration::from_secs(5);
/// The Lease that contenders compete for.
const LEASE: &str = "kyros-controller";

/// What the controller is told at the start.
#[derive(Debug, Clone, Args)]
pub struct RunSettings {
    /// The namespace of Tenants, Dashboards and their workloads.
    #[arg(long, env = "KYROS_NAMESPACE", default_value = "default")]
    pub namespace: String,

    /// The namespace of API, gateway and the controller's Lease. Keys are there, so dashboards must run elsewhere.
    #[arg(long, env = "KYROS_SYSTEM_NAMESPACE", default_value = "kyros-system")]
    pub system_namespace: String,

    /// Where people reach the portal; also the issuer of tenant tokens.
    #[arg(long, env = "KYROS_PUBLIC_URL", default_value = "http://kyros.localhost:8080")]
    pub public_url: PublicUrl,

    /// Where sidecars reach the API.
    #[arg(long, env = "KYROS_API_URL", default_value = "http://kyros-api.kyros-system.svc:8080")]
    pub api_url: Url,

    /// The sidecar's image.
    #[arg(long, env = "KYROS_SIDECAR_IMAGE", default_value = concat!("ghcr.io/kyros/sidecar:", env!("CARGO_PKG_VERSION")))]
    pub sidecar_image: String,

    /// When images are pulled.
    #[arg(long, env = "KYROS_IMAGE_PULL_POLICY", default_value = "IfNotPresent", value_parser = ["Always", "IfNotPresent", "Never"])]
    pub image_pull_policy: String,

    /// A namespace whose pods may read the sidecars' metrics.
    #[arg(long, env = "KYROS_MONITORING_NAMESPACE")]
    pub monitoring_namespace: Option<String>,

    /// This contender's name in the election; a random end is added. In a cluster: the pod's name.
    #[arg(long, env = "KYROS_IDENTITY", default_value = "kyros-controller")]
    pub identity: String,

    /// Health, readiness and metrics.
    #[arg(long, env = "KYROS_ADMIN_LISTEN")]
    pub admin_listen: Option<SocketAddr>,
}

/// Why the controller ends.
#[derive(Debug, Error)]
pub enum RunError {
    /// The cluster cannot be asked.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// Keys and dashboards would share a namespace.
    #[error("--namespace and --system-namespace are both {0:?}: whoever runs pods beside the signing key can mount it")]
    OneNamespace(String),
    /// The operations port cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// Another one leads, or will soon.
    #[error(transparent)]
    Lost(#[from] Lost),
    /// A watch or a reconciler ended by itself.
    #[error("the controller ended by itself")]
    Ended,
}

impl RunSettings {
    fn platform(&self) -> Platform {
        Platform {
            namespace: self.namespace.clone(),
            system_namespace: self.system_namespace.clone(),
            public_url: self.public_url.clone(),
            api_url: self.api_url.clone(),
            sidecar_image: self.sidecar_image.clone(),
            image_pull_policy: self.image_pull_policy.clone(),
            monitoring_namespace: self.monitoring_namespace.clone(),
        }
    }
}

/// Waits to lead, leads, and gives the lease back when asked to stop. Whoever gets [`RunError::Lost`] must end the process
/// at once: something may still be writing.
pub async fn run(settings: &RunSettings, shutdown: CancellationToken) -> Result<(), RunError> {
    if settings.namespace == settings.system_namespace {
        return Err(RunError::OneNamespace(settings.namespace.clone()));
    }
    let metrics = Arc::new(Metrics::default());
    if let Some(address) = settings.admin_listen {
        let listener = TcpListener::bind(address).await.map_err(|source| RunError::Listen { address, source })?;
        tokio::spawn(serve_admin(listener, operations(&metrics), shutdown.clone()));
    }
    let client = connect().await?;
    let identity = format!("{}-{}", settings.identity, random_id());
    let lease = KubeLease::new(client.clone(), &settings.system_namespace, LEASE);
    let mut elector = Elector::new(lease, &identity, TIMING);
    tracing::info!(identity, "waiting to lead");
    if !elector.acquire(&shutdown).await {
        return Ok(());
    }
    tracing::info!(identity, "leading");
    metrics.leads(true);
    let stop = shutdown.child_token();
    let mut work =
        tokio::spawn(lead(client, settings.platform(), elector.fence(), identity, metrics.clone(), stop.clone()));
    let held = tokio::select! {
        held = elector.hold(&shutdown) => held.map_err(RunError::from),
        // Asked to stop, it may be done before the lease's keeper has heard of it.
        _ = &mut work => if shutdown.is_cancelled() { Ok(()) } else { Err(RunError::Ended) },
    };
    metrics.leads(false);
    stop.cancel();
    let has_ended = ended(&mut work, DRAIN).await;
    held?;
    hand_over(&mut elector, has_ended).await;
    Ok(())
}

/// Whether the work ended by itself. Work that does not end in time is ended here, and not left to itself.
async fn ended(work: &mut JoinHandle<()>, drain: Duration) -> bool {
    if work.is_finished() || tokio::time::timeout(drain, &mut *work).await.is_ok() {
        return true;
    }
    work.abort();
    // An error says that it was cut off, which was the point.
    let _ = work.await;
    false
}

/// Gives the lease back. Not after work that was cut off: a write may have been sent whose answer nobody waits for any more,
/// and whoever follows must come later than that. The lease runs out by itself.
async fn hand_over<S: LeaseStore>(elector: &mut Elector<S>, has_ended: bool) {
    if has_ended {
        elector.release().await;
    } else {
        tracing::warn!("reconciliations under way were cut off, the lease is left to expire");
    }
}

/// Reconciles until `shutdown`, as long as the fence is open. Public for tests that bring a client of their own.
pub async fn lead(
    client: Client,
    platform: Platform,
    fence: Fence,
    identity: String,
    metrics: Arc<Metrics>,
    shutdown: CancellationToken,
) {
    let watches = Watches::start(&client, &platform.namespace);
    let context = Arc::new(Context::new(client, platform, watches.caches, fence, identity, metrics));
    let config = Config::default().concurrency(CONCURRENCY).debounce(DEBOUNCE);
    let tenants = Controller::for_stream(watches.tenants, context.caches.tenants.clone())
        .with_config(config.clone())
        .reconcile_on(watches.tenants_to_look_at)
        .graceful_shutdown_on(shutdown.clone().cancelled_owned())
        .run(
            |tenant, context: Arc<Context>| async move {
                context.caches.synced().await;
                tenant::reconcile(tenant, context).await
            },
            failed,
            context.clone(),
        )
        .for_each(report);
    let dashboards = Controller::for_stream(watches.dashboards, context.caches.dashboards.clone())
        .with_config(config)
        .owns_stream(watches.service_accounts)
        .owns_stream(watches.config_maps)
        .owns_stream(watches.network_policies)
        .owns_stream(watches.services)
        .owns_stream(watches.pod_disruption_budgets)
        .owns_stream(watches.deployments)
        .reconcile_on(watches.dashboards_to_look_at)
        .graceful_shutdown_on(shutdown.cancelled_owned())
        .run(
            |dashboard, context: Arc<Context>| async move {
                // A cache that is not filled yet would look like children that are gone.
                context.caches.synced().await;
                Box::pin(dashboard::reconcile(dashboard, context)).await
            },
            failed,
            context,
        )
        .for_each(report);
    tokio::join!(tenants, dashboards);
}

/// An object that failed is tried again after a wait of its own.
#[expect(clippy::needless_pass_by_value, reason = "the signature that kube asks for")]
fn failed<K>(object: Arc<DeserializeGuard<K>>, error: &WriteError, context: Arc<Context>) -> Action
where
    K: Resource<DynamicType = ()>,
{
    let (kind, name) = (K::kind(&()), object.name_any());
    let wait = context.backoff.failed(&format!("{kind} {name}"));
    tracing::warn!(%kind, name, %error, again_in = ?wait, "not reconciled");
    let kind = if kind == "Tenant" { "Tenant" } else { "Dashboard" };
    context.metrics.passed(kind, "failed", context.backoff.len());
    Action::requeue(wait)
}

async fn report<K, Q>(result: Result<(ObjectRef<K>, Action), controller::Error<WriteError, Q>>)
where
    K: Resource<DynamicType = ()>,
    Q: std::error::Error + 'static,
{
    // Failed reconciliations were reported where they failed, and failing watches by the watch.
    if let Err(controller::Error::RunnerError(error)) = result {
        tracing::error!(%error, "controller");
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::pending,
        sync::{Mutex, PoisonError},
    };

    use super::*;
    use crate::lease::{Claim, Record};

    /// A lease that remembers its holders.
    #[derive(Clone, Default)]
    struct Holders(Arc<Mutex<Vec<String>>>);

    impl Holders {
        fn record(&self, holder: &str) -> Record {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push(holder.to_owned());
            Record { holder: holder.to_owned(), duration: TIMING.lease, version: "1".to_owned(), transitions: 0 }
        }

        fn all(&self) -> Vec<String> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
        }
    }

    impl LeaseStore for Holders {
        async fn get(&self) -> Result<Option<Record>, ClusterError> {
            Ok(None)
        }

        async fn create(&self, holder: &str, _: Duration) -> Result<Record, ClusterError> {
            Ok(self.record(holder))
        }

        async fn replace(&self, _: &Record, next: &Claim<'_>) -> Result<Record, ClusterError> {
            Ok(self.record(next.holder))
        }
    }

    /// Leads, works, and stops; what the lease saw, and whether anything still works.
    async fn stopped(work: impl Future<Output = ()> + Send + 'static) -> (Vec<String>, bool) {
        let holders = Holders::default();
        let mut elector = Elector::new(holders.clone(), "me", TIMING);
        assert!(elector.acquire(&CancellationToken::new()).await);
        let alive = Arc::new(());
        let held = alive.clone();
        let mut work = tokio::spawn(async move {
            work.await;
            drop(held);
        });
        let has_ended = ended(&mut work, Duration::from_millis(20)).await;
        hand_over(&mut elector, has_ended).await;
        (holders.all(), Arc::strong_count(&alive) > 1)
    }

    #[tokio::test]
    async fn the_lease_is_given_back_only_when_nothing_can_write_any_more() {
        assert_eq!(stopped(async {}).await, (vec!["me".to_owned(), String::new()], false));
        assert_eq!(stopped(pending()).await, (vec!["me".to_owned()], false), "it was cut off");
    }
}
