//! Role `project`: keeps the read model equal to the resources, live, from a folder or from a cluster.
//!
//! ```text
//!  folder of YAML ──┐
//!                   ├──► records ──► Writer ──► metadata.db
//!  Kubernetes API ──┘ └─► the cluster's issuer and keys ──► a file, for the API
//! ```
//!
//! Starting means that the first complete list is written: whoever waits for that never sees half a tenant list. Nothing is
//! ever resumed from a stored position; a start lists everything, and what the list does not name is pruned.

mod cluster;
mod folder;
mod metrics;
mod reading;
mod records;

use std::{path::PathBuf, str::FromStr, sync::Arc, time::Duration};

use clap::Args;
use kube::Client;
use kyros_metadata::MetadataError;
use thiserror::Error;
use tokio_util::sync::CancellationToken;

use self::{cluster::ClusterProjector, folder::FolderProjector};
pub use self::{metrics::ProjectionMetrics, records::BadName};
use crate::{
    cluster::{ClusterError, connect},
    directory::Problem,
};

/// What the projector is told at the start.
#[derive(Debug, Clone, Args)]
pub struct ProjectSettings {
    /// Where the resources are: dir:FOLDER or cluster:NAMESPACE.
    #[arg(long, env = "KYROS_SOURCE", default_value = "dir:data/manifests")]
    pub source: Source,

    /// The read model's file.
    #[arg(long, env = "KYROS_METADATA_DB", default_value = ".kyros/metadata.db")]
    pub metadata_db: PathBuf,

    /// Where to write the cluster's issuer of workload tokens and its public keys, for the API.
    #[arg(long, env = "KYROS_CLUSTER_KEYS")]
    pub cluster_keys: Option<PathBuf>,

    /// How often an unchanged state is confirmed, in seconds: readers hand out nothing when nobody does for long.
    #[arg(long, env = "KYROS_CONFIRM_EVERY", default_value = "60", value_parser = seconds)]
    pub confirm_every: Duration,

    /// How often the read model is compared with a fresh list of the cluster's, in seconds: what a watch lost without a word
    /// shows only there.
    #[arg(long, env = "KYROS_COMPARE_EVERY", default_value = "600", value_parser = seconds)]
    pub compare_every: Duration,
}

/// How often an unchanged state is confirmed where nobody says.
pub const CONFIRM_EVERY: Duration = Duration::from_mins(1);
/// How often it is compared where nobody says; a tenth more or less.
pub const COMPARE_EVERY: Duration = Duration::from_mins(10);

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: u64 = text.parse().map_err(|_| "a whole number of seconds".to_owned())?;
    if seconds == 0 { Err("at least one second".to_owned()) } else { Ok(Duration::from_secs(seconds)) }
}

/// Where the resources are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A folder of manifests.
    Folder(PathBuf),
    /// A namespace of the cluster that this process belongs to, or that its kubeconfig names.
    Cluster(String),
}

/// Why a text names no source.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0:?}: write dir:FOLDER or cluster:NAMESPACE")]
pub struct SourceError(String);

impl FromStr for Source {
    type Err = SourceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            Some(("dir", folder)) if !folder.is_empty() => Ok(Self::Folder(folder.into())),
            Some(("cluster", namespace)) if !namespace.is_empty() => Ok(Self::Cluster(namespace.to_owned())),
            _ => Err(SourceError(text.to_owned())),
        }
    }
}

/// Why the projector cannot work.
#[derive(Debug, Error)]
pub enum ProjectError {
    /// The first set must be right: there is no last good one to keep.
    #[error("{} in the manifests:\n{}", count(.0.len()), lines(.0))]
    Manifests(Vec<Problem>),
    /// The read model cannot be written.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// A resource has a name that is none.
    #[error(transparent)]
    Name(#[from] BadName),
    /// The cluster cannot be asked.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The keys' file cannot be written.
    #[error("cluster keys {path}: {source}")]
    Keys {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A client was given for a folder.
    #[error("a folder has no cluster")]
    NotACluster,
    /// Stopped before the first complete list.
    #[error("stopped before the first complete list")]
    Stopped,
}

fn count(problems: usize) -> String {
    if problems == 1 { "1 mistake".to_owned() } else { format!("{problems} mistakes") }
}

fn lines(problems: &[Problem]) -> String {
    let line = |problem: &Problem| format!("  {problem}\n    {}", problem.hint());
    problems.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Keeps the read model equal to one source.
pub struct Projector(Kind);

enum Kind {
    Folder(FolderProjector),
    Cluster(Box<ClusterProjector>),
}

impl Projector {
    /// Opens the read model and applies the first complete set. An error here means that nothing may start.
    pub async fn start(settings: &ProjectSettings) -> Result<Self, ProjectError> {
        Self::start_until(settings, Arc::default(), &CancellationToken::new()).await
    }

    /// Like [`start`](Self::start), with the metrics of the operations port. A cluster that does not answer is asked again
    /// until `shutdown`.
    pub async fn start_until(
        settings: &ProjectSettings,
        metrics: Arc<ProjectionMetrics>,
        shutdown: &CancellationToken,
    ) -> Result<Self, ProjectError> {
        let kind = match &settings.source {
            Source::Folder(folder) => {
                let projector = FolderProjector::start(folder, &settings.metadata_db).await?;
                metrics.synced();
                Kind::Folder(projector)
            }
            Source::Cluster(_) => return Self::start_on(connect().await?, settings, metrics, shutdown).await,
        };
        Ok(Self(kind))
    }

    /// Projects the namespace that the settings name, with a client of the caller's.
    pub async fn start_on(
        client: Client,
        settings: &ProjectSettings,
        metrics: Arc<ProjectionMetrics>,
        shutdown: &CancellationToken,
    ) -> Result<Self, ProjectError> {
        let projector = ClusterProjector::start(client, settings, metrics, shutdown).await?;
        Ok(Self(Kind::Cluster(Box::new(projector))))
    }

    /// Follows the source until `shutdown`.
    pub async fn run(self, shutdown: CancellationToken) {
        match self.0 {
            Kind::Folder(projector) => projector.run(shutdown).await,
            Kind::Cluster(projector) => projector.run(shutdown).await,
        }
    }
}
