//! Role `project`: keeps the read model equal to the resources, live.
//!
//! Every file event means "read everything again": editors rename, `ConfigMaps` swap symbolic links, and a reload is cheap.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;
use kube::ResourceExt as _;
use kyros_metadata::{
    Branding, DashboardRecord, Isolation, Limits, Member, MemberKind, MetadataError, TenantRecord, Writer,
};
use kyros_shared_config::NameError;
use notify::{RecursiveMode, Watcher as _};
use thiserror::Error;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{
    directory::{self, Problem, ResourceSet},
    resources::{Dashboard, Isolation as ResourceIsolation, Subject, Tenant},
};

/// Events that come together are one change.
const SETTLE: Duration = Duration::from_millis(50);
/// A watch can miss a change (network folders, exhausted inotify): the folder is also looked at this often.
const RESYNC: Duration = Duration::from_secs(5);
/// How often an unchanged state is confirmed, for the readers' check of its age.
const CONFIRM_EVERY: u32 = 12;

/// What the projector is told at the start.
#[derive(Debug, Clone, Args)]
pub struct ProjectSettings {
    /// Where the resources are: dir:FOLDER.
    #[arg(long, env = "KYROS_SOURCE", default_value = "dir:data/manifests")]
    pub source: String,

    /// The read model's file.
    #[arg(long, env = "KYROS_METADATA_DB", default_value = ".kyros/metadata.db")]
    pub metadata_db: PathBuf,
}

/// Why the projector cannot work.
#[derive(Debug, Error)]
pub enum ProjectError {
    /// Only folders are known here.
    #[error("source {0:?}: write dir:FOLDER")]
    Source(String),
    /// The first set must be right: there is no last good one to keep.
    #[error("{} in the manifests:\n{}", count(.0.len()), lines(.0))]
    Manifests(Vec<Problem>),
    /// The read model cannot be written.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// A name passed the schema and is still none; a bug.
    #[error("resource name {name:?} {reason}")]
    Name {
        /// The name.
        name: String,
        /// What is wrong with it.
        reason: NameError,
    },
}

fn count(problems: usize) -> String {
    if problems == 1 { "1 mistake".to_owned() } else { format!("{problems} mistakes") }
}

fn lines(problems: &[Problem]) -> String {
    let line = |problem: &Problem| format!("  {problem}\n    {}", problem.hint());
    problems.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Projects a folder of manifests.
pub struct Projector {
    folder: PathBuf,
    writer: Writer,
    applied: Option<ResourceSet>,
}

impl Projector {
    /// Opens the read model and applies the first complete set. An error here means that nothing may start.
    pub async fn start(settings: &ProjectSettings) -> Result<Self, ProjectError> {
        let folder =
            settings.source.strip_prefix("dir:").ok_or_else(|| ProjectError::Source(settings.source.clone()))?;
        let set = directory::load(Path::new(folder)).map_err(ProjectError::Manifests)?;
        let writer = Writer::open(&settings.metadata_db).await?;
        let mut projector = Self { folder: folder.into(), writer, applied: None };
        projector.apply(set).await?;
        Ok(projector)
    }

    /// Follows the folder until `shutdown`. A broken set is reported once and changes nothing.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let (events, mut changed) = mpsc::channel(1);
        let _watcher = watch(&self.folder, events);
        let mut idle_rounds = 0;
        let mut last_report = String::new();
        loop {
            tokio::select! {
                _ = changed.recv() => tokio::time::sleep(SETTLE).await,
                () = tokio::time::sleep(RESYNC) => (),
                () = shutdown.cancelled() => return,
            }
            while changed.try_recv().is_ok() {}
            let report = match self.reload().await {
                Ok(true) => {
                    idle_rounds = 0;
                    String::new()
                }
                Ok(false) => {
                    idle_rounds += 1;
                    if idle_rounds % CONFIRM_EVERY == 0
                        && let Err(error) = self.writer.confirm().await
                    {
                        tracing::warn!(%error, "state not confirmed");
                    }
                    String::new()
                }
                Err(error) => error.to_string(),
            };
            if !report.is_empty() && report != last_report {
                tracing::error!("the last good set stays: {report}");
            }
            last_report = report;
        }
    }

    /// Reads everything again; true when it changed something.
    async fn reload(&mut self) -> Result<bool, ProjectError> {
        let folder = self.folder.clone();
        let loaded = tokio::task::spawn_blocking(move || directory::load(&folder)).await;
        let set = match loaded {
            Ok(set) => set.map_err(ProjectError::Manifests)?,
            Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
        };
        if self.applied.as_ref() == Some(&set) {
            return Ok(false);
        }
        self.apply(set).await?;
        Ok(true)
    }

    async fn apply(&mut self, set: ResourceSet) -> Result<(), ProjectError> {
        for warning in &set.warnings {
            tracing::warn!("{warning}");
        }
        let tenants = set.tenants.iter().map(tenant_record).collect::<Result<Vec<_>, _>>()?;
        let dashboards = set.dashboards.iter().map(dashboard_record).collect::<Result<Vec<_>, _>>()?;
        let applied = self.writer.relist(&tenants, &dashboards).await?;
        tracing::info!(
            epoch = applied.epoch,
            tenants = tenants.len(),
            dashboards = dashboards.len(),
            pruned = applied.tenants_pruned + applied.dashboards_pruned,
            "applied"
        );
        self.applied = Some(set);
        Ok(())
    }
}

/// A watcher that says "something happened"; without one the folder is still looked at every [`RESYNC`].
fn watch(folder: &Path, events: mpsc::Sender<()>) -> Option<notify::RecommendedWatcher> {
    let handler = move |event: notify::Result<notify::Event>| {
        // Reading a folder makes access events; answering them would never end.
        if event.is_ok_and(|event| !event.kind.is_access()) {
            let _ = events.try_send(());
        }
    };
    let watched = notify::recommended_watcher(handler).and_then(|mut watcher| {
        watcher.watch(folder, RecursiveMode::NonRecursive)?;
        Ok(watcher)
    });
    watched.inspect_err(|error| tracing::warn!(%error, "no file events, looking every {RESYNC:?}")).ok()
}

fn named<T: std::str::FromStr<Err = NameError>>(name: &str) -> Result<T, ProjectError> {
    name.parse().map_err(|reason| ProjectError::Name { name: name.to_owned(), reason })
}

fn tenant_record(tenant: &Tenant) -> Result<TenantRecord, ProjectError> {
    let member = |member: &crate::resources::Member| {
        let kind = match member.subject()? {
            Subject::User(user) => MemberKind::User(user.to_owned()),
            Subject::Group(group) => MemberKind::Group(group.to_owned()),
        };
        Some(Member { kind, roles: member.roles.clone() })
    };
    Ok(TenantRecord {
        id: named(&tenant.name_any())?,
        uid: tenant.uid().unwrap_or_default(),
        display_name: tenant.spec.display_name.clone(),
        suspended: tenant.spec.suspended,
        branding: Branding {
            accent_color: tenant.spec.branding.accent_color.clone().unwrap_or_default(),
            logo_url: tenant.spec.branding.logo_url.clone(),
        },
        limits: Limits {
            concurrent_queries: u32::try_from(tenant.spec.limits.concurrent_queries).unwrap_or(1),
            requests_per_second: u32::try_from(tenant.spec.limits.requests_per_second).unwrap_or(1),
        },
        members: merge_same_subject(tenant.spec.members.iter().filter_map(member)),
        dashboards: tenant.spec.dashboards.iter().map(|slug| named(slug)).collect::<Result<_, _>>()?,
    })
}

/// One subject named twice has the roles of both entries.
fn merge_same_subject(members: impl Iterator<Item = Member>) -> Vec<Member> {
    let mut merged: Vec<Member> = Vec::new();
    for member in members {
        match merged.iter_mut().find(|known| known.kind == member.kind) {
            Some(known) => known.roles.extend(member.roles),
            None => merged.push(member),
        }
    }
    merged
}

fn dashboard_record(dashboard: &Dashboard) -> Result<DashboardRecord, ProjectError> {
    Ok(DashboardRecord {
        slug: named(&dashboard.name_any())?,
        uid: dashboard.uid().unwrap_or_default(),
        title: dashboard.spec.title.clone(),
        description: dashboard.spec.description.clone(),
        isolation: match dashboard.spec.isolation {
            ResourceIsolation::Shared => Isolation::Shared,
            ResourceIsolation::PerTenant => Isolation::PerTenant,
        },
        datasets: dashboard.spec.datasets.iter().map(|name| named(name)).collect::<Result<_, _>>()?,
    })
}
