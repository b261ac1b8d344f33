//! The cluster source: the read model is kept equal to the `Tenant` and `Dashboard` resources of one namespace.
//!
//! The order of events within one watch is the API server's; nothing is decided by comparing resource versions. A watch that
//! had to begin anew lists everything, so what was missed meanwhile is made good. Events are written in batches: one
//! transaction for all that came together.
//!
//! A resource that is being deleted is absent, however long somebody's finalizer holds it: whoever deletes a tenant means that
//! nobody shall be let in.

use std::{collections::HashSet, path::PathBuf, sync::Arc, time::Duration};

use futures_util::StreamExt as _;
use kube::{Api, Client, Resource, ResourceExt as _, api::ListParams, runtime::watcher::Event};
use kyros_metadata::{
    Change, CompleteList, DashboardRecord, Listed, MetadataError, TenantRecord, Version, Writer, digest,
};
use kyros_shared_config::clock::unix_now;
use tokio::{task::JoinHandle, time::MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::{
    ProjectError, ProjectSettings, ProjectionMetrics, Source,
    reading::{DASHBOARD, Events, Guarded, Seen, TENANT, is_terminating, versions, watch, write_keys},
    records::{BadName, dashboard_record, tenant_record},
};
use crate::{
    cluster::{ClusterError, call},
    resources::{Dashboard, Tenant},
};

/// A difference that is still there after this long is no change under way.
const DRIFT_SETTLE: Duration = Duration::from_secs(5);
/// How often the cluster's keys are read; a rotated key is published long before it signs.
const KEYS_EVERY: Duration = Duration::from_mins(5);
/// How long to wait before what failed is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// Projects one namespace of a cluster.
pub(super) struct ClusterProjector {
    client: Client,
    namespace: String,
    writer: Writer,
    keys: Option<PathBuf>,
    confirm_every: Duration,
    compare_every: Duration,
    metrics: Arc<ProjectionMetrics>,
    events: Events,
    tenants: Listing<TenantRecord>,
    dashboards: Listing<DashboardRecord>,
    /// Changes not written yet: those of this batch, and before the first complete list all that came early.
    pending: Vec<Change>,
    /// Kind and name of what is there and cannot be read.
    unreadable: HashSet<(&'static str, String)>,
    check: Option<Check>,
    /// A watch failed: whether it lost anything shows only in a comparison.
    is_doubtful: bool,
    last_problem: String,
}

/// A comparison under way: the second time, a difference is no change that was under way.
struct Check {
    is_second: bool,
    listing: JoinHandle<Result<Vec<Version>, ClusterError>>,
}

/// One kind's list while it is being read.
struct Listing<R> {
    reading: Option<Listed<R>>,
    complete: Option<Listed<R>>,
}

impl<R> Default for Listing<R> {
    fn default() -> Self {
        Self { reading: None, complete: None }
    }
}

impl ClusterProjector {
    /// Writes the first complete list of both kinds and the cluster's keys; asks on until the cluster answers or `shutdown`.
    pub(super) async fn start(
        client: Client,
        settings: &ProjectSettings,
        metrics: Arc<ProjectionMetrics>,
        shutdown: &CancellationToken,
    ) -> Result<Self, ProjectError> {
        let Source::Cluster(namespace) = &settings.source else { return Err(ProjectError::NotACluster) };
        let writer = Writer::open(&settings.metadata_db).await?;
        let mut projector = Self {
            events: watch(&client, namespace),
            client,
            namespace: namespace.to_owned(),
            writer,
            keys: settings.cluster_keys.clone(),
            confirm_every: settings.confirm_every,
            compare_every: settings.compare_every,
            metrics,
            tenants: Listing::default(),
            dashboards: Listing::default(),
            pending: Vec::new(),
            unreadable: HashSet::new(),
            check: None,
            is_doubtful: false,
            last_problem: String::new(),
        };
        let first = async {
            while let Err(error) = write_keys(&projector.client, projector.keys.as_deref()).await {
                tracing::warn!(%error, "cluster keys not read yet");
                tokio::time::sleep(RETRY).await;
            }
            while !projector.metrics.is_synced() {
                if let Some(batch) = projector.events.next().await {
                    projector.take_in(batch).await?;
                }
            }
            Ok(())
        };
        tokio::select! {
            done = first => done.map(|()| projector),
            () = shutdown.cancelled() => Err(ProjectError::Stopped),
        }
    }

    /// Follows the cluster until `shutdown`.
    pub(super) async fn run(mut self, shutdown: CancellationToken) {
        let mut confirm = ticks(self.confirm_every);
        let mut keys = ticks(KEYS_EVERY);
        // Spread, so that many pods do not ask at once.
        let mut drift = ticks(jittered(self.compare_every));
        loop {
            let done = tokio::select! {
                Some(batch) = self.events.next() => self.take_in(batch).await,
                _ = confirm.tick() => self.confirm().await,
                _ = keys.tick() => {
                    self.refresh_keys();
                    Ok(())
                }
                _ = drift.tick() => {
                    self.begin_check(Duration::ZERO, false);
                    Ok(())
                }
                Some((is_second, listed)) = listed(&mut self.check) => self.compare(is_second, listed).await,
                () = shutdown.cancelled() => return,
            };
            match done {
                Ok(()) => (),
                // What could not be written is lost to this watch: begin again with a complete list.
                Err(ProjectError::Metadata(error)) => {
                    tracing::error!(%error, "not projected, listing again");
                    tokio::time::sleep(RETRY).await;
                    self.start_over();
                }
                Err(error) => self.report(error.to_string()),
            }
        }
    }

    fn start_over(&mut self) {
        self.events = watch(&self.client, &self.namespace);
        self.check = None;
        self.pending.clear();
        self.tenants.reading = None;
        self.dashboards.reading = None;
    }

    /// Says a problem once, not with every attempt.
    fn report(&mut self, problem: String) {
        if problem != self.last_problem {
            tracing::error!("the last good state stays: {problem}");
        }
        self.last_problem = problem;
    }

    async fn take_in(&mut self, batch: Vec<Result<Seen, String>>) -> Result<(), ProjectError> {
        for seen in batch {
            match seen {
                Ok(Seen::Tenant(event)) => self.take_tenant(*event).await?,
                Ok(Seen::Dashboard(event)) => self.take_dashboard(*event).await?,
                Err(problem) => {
                    self.is_doubtful = true;
                    self.report(problem);
                    continue;
                }
            }
            self.metrics.last_event.set(unix_now());
        }
        self.flush().await?;
        Ok(())
    }

    async fn take_tenant(&mut self, event: Event<Guarded<Tenant>>) -> Result<(), MetadataError> {
        let read = |guarded: &Guarded<Tenant>| readable(guarded, tenant_record);
        let change = match event {
            Event::Init => {
                self.tenants.begin();
                // What the list will say is newer.
                self.pending.retain(|change| !matches!(change, Change::PutTenant(_) | Change::RemoveTenant { .. }));
                self.unreadable.retain(|(kind, _)| *kind != TENANT);
                None
            }
            Event::InitApply(tenant) if is_terminating(&tenant) => None,
            Event::InitApply(tenant) => {
                let record = read(&tenant);
                self.note(TENANT, &tenant, record.is_some());
                self.tenants.add(record, &tenant);
                None
            }
            Event::InitDone => {
                self.flush().await?;
                self.tenants.end();
                return self.relist().await;
            }
            Event::Apply(tenant) if !is_terminating(&tenant) => {
                let record = read(&tenant);
                self.note(TENANT, &tenant, record.is_some());
                record.map(Change::PutTenant)
            }
            Event::Apply(tenant) | Event::Delete(tenant) => {
                self.unreadable.remove(&(TENANT, tenant.name_any()));
                Some(Change::RemoveTenant { name: tenant.name_any(), uid: uid(&tenant) })
            }
        };
        self.pending.extend(change);
        Ok(())
    }

    async fn take_dashboard(&mut self, event: Event<Guarded<Dashboard>>) -> Result<(), MetadataError> {
        let read = |guarded: &Guarded<Dashboard>| readable(guarded, dashboard_record);
        let change = match event {
            Event::Init => {
                self.dashboards.begin();
                let is_dashboard =
                    |change: &Change| matches!(change, Change::PutDashboard(_) | Change::RemoveDashboard { .. });
                self.pending.retain(|change| !is_dashboard(change));
                self.unreadable.retain(|(kind, _)| *kind != DASHBOARD);
                None
            }
            Event::InitApply(dashboard) if is_terminating(&dashboard) => None,
            Event::InitApply(dashboard) => {
                let record = read(&dashboard);
                self.note(DASHBOARD, &dashboard, record.is_some());
                self.dashboards.add(record, &dashboard);
                None
            }
            Event::InitDone => {
                self.flush().await?;
                self.dashboards.end();
                return self.relist().await;
            }
            Event::Apply(dashboard) if !is_terminating(&dashboard) => {
                let record = read(&dashboard);
                self.note(DASHBOARD, &dashboard, record.is_some());
                record.map(Change::PutDashboard)
            }
            Event::Apply(dashboard) | Event::Delete(dashboard) => {
                self.unreadable.remove(&(DASHBOARD, dashboard.name_any()));
                Some(Change::RemoveDashboard { name: dashboard.name_any(), uid: uid(&dashboard) })
            }
        };
        self.pending.extend(change);
        Ok(())
    }

    /// Writes what is complete: both kinds the first time, whichever was listed again later.
    async fn relist(&mut self) -> Result<(), MetadataError> {
        let first = !self.metrics.is_synced();
        if first && (self.tenants.complete.is_none() || self.dashboards.complete.is_none()) {
            return Ok(());
        }
        let list = CompleteList { tenants: self.tenants.complete.take(), dashboards: self.dashboards.complete.take() };
        let applied = self.writer.relist(&list).await?;
        tracing::info!(
            epoch = applied.epoch,
            tenants = list.tenants.as_ref().map(|listed| listed.records.len()),
            dashboards = list.dashboards.as_ref().map(|listed| listed.records.len()),
            pruned = applied.tenants_pruned + applied.dashboards_pruned,
            "applied"
        );
        self.metrics.synced();
        self.flush().await
    }

    async fn flush(&mut self) -> Result<(), MetadataError> {
        if !self.metrics.is_synced() || self.pending.is_empty() {
            return Ok(());
        }
        self.writer.apply(&self.pending).await?;
        self.metrics.changes.inc_by(self.pending.len() as u64);
        self.pending.clear();
        Ok(())
    }

    fn note(&mut self, kind: &'static str, object: &impl Resource, is_readable: bool) {
        let name = (kind, object.name_any());
        if is_readable {
            self.unreadable.remove(&name);
        } else {
            self.metrics.unreadable.inc();
            self.unreadable.insert(name);
        }
    }

    /// Confirms the state if the cluster answers. After a watch that failed a comparison must come first: a watch that goes on
    /// where it was tells nobody so, and one that lost something would otherwise look current. One whose server went silent
    /// looks current too, until it fails for its silence (`SILENCE` in `crate::cluster`): two and a half minutes, of the
    /// fifteen after which nobody gets a token any more.
    async fn confirm(&mut self) -> Result<(), ProjectError> {
        if self.is_doubtful {
            self.begin_check(Duration::ZERO, false);
            return Ok(());
        }
        let tenants: Api<Tenant> = Api::namespaced(self.client.clone(), &self.namespace);
        let one = ListParams::default().limit(1);
        call(|| "confirming the state".to_owned(), tenants.list_metadata(&one)).await?;
        self.confirmed().await
    }

    async fn confirmed(&mut self) -> Result<(), ProjectError> {
        self.last_problem.clear();
        self.metrics.last_event.set(unix_now());
        Ok(self.writer.confirm().await?)
    }

    /// Lists the versions of everything beside the watch, which goes on meanwhile.
    fn begin_check(&mut self, after: Duration, is_second: bool) {
        if self.check.is_some() {
            return;
        }
        let (client, namespace) = (self.client.clone(), self.namespace.clone());
        let listing = tokio::spawn(async move {
            tokio::time::sleep(after).await;
            let mut there = versions::<Tenant>(&client, &namespace, TENANT).await?;
            there.extend(versions::<Dashboard>(&client, &namespace, DASHBOARD).await?);
            Ok(there)
        });
        self.check = Some(Check { is_second, listing });
    }

    /// Compares the read model with a fresh list; a difference that lasts means that a watch lost something.
    async fn compare(
        &mut self,
        is_second: bool,
        listed: Result<Vec<Version>, ClusterError>,
    ) -> Result<(), ProjectError> {
        let here = self.writer.versions().await?;
        let readable = |version: &Version| !self.unreadable.contains(&(version.kind, version.name.clone()));
        let there = listed?.into_iter().filter(readable).collect();
        let here = here.into_iter().filter(readable).collect();
        if digest(there) == digest(here) {
            self.is_doubtful = false;
            return self.confirmed().await;
        }
        if is_second {
            tracing::error!("the read model is not what the cluster has, listing again");
            self.metrics.drifted.inc();
            self.is_doubtful = false;
            self.start_over();
        } else {
            self.begin_check(DRIFT_SETTLE, true);
        }
        Ok(())
    }

    fn refresh_keys(&self) {
        let (client, path) = (self.client.clone(), self.keys.clone());
        tokio::spawn(async move {
            if let Err(error) = write_keys(&client, path.as_deref()).await {
                tracing::warn!(%error, "cluster keys not read, the last ones stay");
            }
        });
    }
}

/// What the comparison under way listed; never anything while there is none.
async fn listed(check: &mut Option<Check>) -> Option<(bool, Result<Vec<Version>, ClusterError>)> {
    let Some(Check { is_second, listing }) = check else { return std::future::pending().await };
    let is_second = *is_second;
    let listed = listing.await;
    *check = None;
    match listed {
        Ok(listed) => Some((is_second, listed)),
        Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
    }
}

impl<R> Listing<R> {
    fn begin(&mut self) {
        self.reading = Some(Listed { records: Vec::new(), unreadable: Vec::new() });
    }

    fn add<K: Resource>(&mut self, record: Option<R>, object: &K) {
        let listed = self.reading.get_or_insert_with(|| Listed { records: Vec::new(), unreadable: Vec::new() });
        match record {
            Some(record) => listed.records.push(record),
            None => listed.unreadable.push((object.name_any(), uid(object))),
        }
    }

    fn end(&mut self) {
        self.complete = self.reading.take();
    }
}

/// The record of a resource; `None`, and a line in the log, for one that cannot be read. One such object must not stop the
/// watch, and must not take its last good row along.
fn readable<K, R>(guarded: &Guarded<K>, record: impl Fn(&K) -> Result<R, BadName>) -> Option<R>
where
    K: Resource<DynamicType = ()>,
{
    let reason = match &guarded.0 {
        Ok(resource) => match record(resource) {
            Ok(record) => return Some(record),
            Err(error) => error.to_string(),
        },
        Err(invalid) => invalid.error.clone(),
    };
    tracing::error!(kind = %K::kind(&()), name = guarded.name_any(), reason, "not readable, its last good row stays");
    None
}

fn uid<K: Resource>(object: &K) -> String {
    object.uid().unwrap_or_default()
}

fn ticks(period: Duration) -> tokio::time::Interval {
    let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + period, period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

fn jittered(period: Duration) -> Duration {
    period.mul_f64(rand::random_range(0.9..1.1))
}
