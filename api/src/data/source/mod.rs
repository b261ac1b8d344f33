//! Where datasets come from, behind one small trait: this machine's disk, an object store, a database.
//!
//! A source is asked for a [`Place`], and a place is made of a verified [`TenantScope`]: no source ever sees a tenant's name
//! that a client wrote, and none can be asked for two tenants at once.

mod address;
pub(crate) mod bucket;
mod credential;
mod local;
pub(crate) mod postgres;
#[cfg(test)]
mod testing;

use std::{
    collections::HashMap,
    fmt, io,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use futures_util::future::BoxFuture;
use kyros_shared_config::{DashboardSlug, DatasetName, TenantId, TenantScope};
use thiserror::Error;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

use crate::engine::{self, Table};

pub(crate) use local::{DashboardFolder, LocalFolder, open_dataset, open_plain_dir};

/// One dataset of one dashboard of one tenant.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    // The tenant comes first: no key of one tenant can be another's.
    tenant: TenantId,
    dashboard: DashboardSlug,
    dataset: DatasetName,
}

impl Place {
    /// The scope's own dataset of that name, whether there is one or not.
    pub(crate) fn new(scope: &TenantScope, dataset: &DatasetName) -> Self {
        Self { tenant: scope.tenant().clone(), dashboard: scope.dashboard().clone(), dataset: dataset.clone() }
    }

    pub(crate) fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    pub(crate) fn dashboard(&self) -> &DashboardSlug {
        &self.dashboard
    }

    pub(crate) fn dataset(&self) -> &DatasetName {
        &self.dataset
    }
}

/// Which content a dataset has: another content has another version.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Version(Arc<str>);

impl Version {
    pub(crate) fn new(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A dataset as a source had it.
pub(crate) struct Fetched {
    pub(crate) version: Version,
    pub(crate) table: Table,
}

/// Why a source has no dataset to give. The texts are for the log.
#[derive(Debug, Clone, Error)]
pub(crate) enum SourceError {
    /// There is none.
    #[error("there is no such dataset")]
    Absent,
    /// There is one, and it cannot be served as it is. The same version need not be read again.
    #[error("{detail}")]
    Broken {
        /// Which one, where that is known.
        version: Option<Version>,
        /// What is wrong with it.
        detail: String,
    },
    /// Somebody is writing it. Ask again after so long.
    #[error("the file is still being written")]
    Unsettled(Duration),
    /// Nobody knows now: the source does not answer.
    #[error("{0}")]
    Unreachable(String),
}

impl SourceError {
    /// A content that cannot be read.
    pub(crate) fn broken(version: &Version, error: &engine::Error) -> Self {
        Self::Broken { version: Some(version.clone()), detail: error.to_string() }
    }
}

impl From<io::Error> for SourceError {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::NotFound { Self::Absent } else { Self::Unreachable(error.to_string()) }
    }
}

/// Reads of one source at the same time: each holds a file and the table made of it.
const READS_AT_ONCE: usize = 3;
/// How many of them one tenant's may be, so that there is one left for somebody else.
const READS_PER_TENANT: usize = 2;

/// A source, and the turns to read it. One that hangs holds up nobody who reads another.
pub(crate) struct Origin {
    pub(crate) source: Arc<dyn Source>,
    all: Arc<Semaphore>,
    /// Of the tenants that read now.
    by_tenant: Mutex<HashMap<TenantId, Weak<Semaphore>>>,
}

/// The turn of one read.
pub(crate) struct ReadTurn {
    _all: OwnedSemaphorePermit,
    _tenants: OwnedSemaphorePermit,
}

impl Origin {
    pub(crate) fn new(source: Arc<dyn Source>) -> Arc<Self> {
        Arc::new(Self { source, all: Arc::new(Semaphore::new(READS_AT_ONCE)), by_tenant: Mutex::default() })
    }

    /// Waits for a turn to read something of this tenant.
    pub(crate) async fn turn(&self, tenant: &TenantId) -> Result<ReadTurn, AcquireError> {
        let tenants = self.of_tenant(tenant).acquire_owned().await?;
        Ok(ReadTurn { _all: self.all.clone().acquire_owned().await?, _tenants: tenants })
    }

    fn of_tenant(&self, tenant: &TenantId) -> Arc<Semaphore> {
        let mut by_tenant = self.by_tenant.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(turns) = by_tenant.get(tenant).and_then(Weak::upgrade) {
            return turns;
        }
        by_tenant.retain(|_, turns| turns.strong_count() > 0);
        let turns = Arc::new(Semaphore::new(READS_PER_TENANT));
        by_tenant.insert(tenant.clone(), Arc::downgrade(&turns));
        turns
    }
}

/// Something that holds tenants' datasets.
pub(crate) trait Source: Send + Sync + 'static {
    /// How long what was fetched may be served before the source is asked again.
    fn believed_for(&self) -> Duration;

    /// The dataset as it is now, whole; `None` if it is still the version that is `known`.
    fn fetch(&self, place: Place, known: Option<Version>) -> BoxFuture<'static, Result<Option<Fetched>, SourceError>>;

    /// Whether there is one now. Its content is not read.
    fn exists(&self, place: Place) -> BoxFuture<'static, Result<bool, SourceError>>;
}
