//! The folder source: the read model is kept equal to a directory of manifests, live.
//!
//! Every file event means "read everything again": editors rename, `ConfigMaps` swap symbolic links, and a reload is cheap.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use kyros_metadata::{CompleteList, Writer};
use notify::{RecursiveMode, Watcher as _};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{
    ProjectError,
    records::{dashboard_record, tenant_record},
};
use crate::directory::{self, ResourceSet};

/// Events that come together are one change.
const SETTLE: Duration = Duration::from_millis(50);
/// A watch can miss a change (network folders, exhausted inotify): the folder is also looked at this often.
const RESYNC: Duration = Duration::from_secs(5);
/// How often an unchanged state is confirmed, for the readers' check of its age.
const CONFIRM_EVERY: u32 = 12;

/// Projects a folder of manifests.
pub(super) struct FolderProjector {
    folder: PathBuf,
    writer: Writer,
    applied: Option<ResourceSet>,
}

/// What there is to tell after a look at the folder.
#[derive(Debug, PartialEq, Eq)]
enum News {
    /// It is wrong, or wrong in another way than before.
    Broken,
    /// It was wrong and is not any more.
    Mended,
}

impl News {
    /// From what was wrong before and what is wrong now; empty where nothing is.
    fn of(before: &str, now: &str) -> Option<Self> {
        match (before == now, now.is_empty()) {
            (true, _) => None,
            (false, true) => Some(Self::Mended),
            (false, false) => Some(Self::Broken),
        }
    }
}

impl FolderProjector {
    /// Opens the read model and applies the first complete set. An error here means that nothing may start.
    pub(super) async fn start(folder: &Path, metadata_db: &Path) -> Result<Self, ProjectError> {
        let set = directory::load(folder).map_err(ProjectError::Manifests)?;
        let writer = Writer::open(metadata_db).await?;
        let mut projector = Self { folder: folder.into(), writer, applied: None };
        projector.apply(set).await?;
        Ok(projector)
    }

    /// Follows the folder until `shutdown`. A broken set is reported once and changes nothing.
    pub(super) async fn run(mut self, shutdown: CancellationToken) {
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
            match News::of(&last_report, &report) {
                Some(News::Broken) => tracing::error!("the last good set stays: {report}"),
                // As loud as a warning: whoever read the error waits for this line.
                Some(News::Mended) => tracing::warn!("the manifests are right again, and in force"),
                None => (),
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
            tracing::warn!("{warning}; {}", warning.hint());
        }
        let tenants = set.tenants.iter().map(tenant_record).collect::<Result<Vec<_>, _>>()?;
        let dashboards = set.dashboards.iter().map(dashboard_record).collect::<Result<Vec<_>, _>>()?;
        let (tenant_count, dashboard_count) = (tenants.len(), dashboards.len());
        let list = CompleteList { tenants: Some(tenants.into()), dashboards: Some(dashboards.into()) };
        let applied = self.writer.relist(&list).await?;
        tracing::info!(
            epoch = applied.epoch,
            tenants = tenant_count,
            dashboards = dashboard_count,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_breakage_is_told_once_and_so_is_its_end() {
        let rounds = ["", "a.yaml:1: x", "a.yaml:1: x", "a.yaml:2: y", "", ""];
        let told: Vec<_> = rounds.windows(2).map(|pair| News::of(pair[0], pair[1])).collect();
        assert_eq!(told, [Some(News::Broken), None, Some(News::Broken), Some(News::Mended), None]);
    }
}
