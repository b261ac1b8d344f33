//! Datasets in memory and queries off the asynchronous runtime: a byte budget, a semaphore, a deadline.

use std::{io, path::Path, sync::Arc, time::Duration};

use kyros_shared_config::{DashboardSlug, DatasetName, TenantId, TenantScope};
use moka::sync::Cache;
use tokio::sync::Semaphore;

use super::files::{DataRoot, FileVersion};
use crate::engine::{self, Answer, CheckedQuery, Encoding, Table};

/// Memory for datasets, in bytes, as the engine estimates them.
const CACHE_BYTES: u64 = 1024 * 1024 * 1024;
/// A query that takes longer is answered with 504. It keeps its permit until it really ends.
const DEADLINE: Duration = Duration::from_secs(10);
/// How long a query waits for a permit before the answer is 429.
const QUEUE_PATIENCE: Duration = Duration::from_secs(5);

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum DataError {
    /// Not there, not granted, or another tenant's: one answer.
    NotFound,
    /// The file is damaged: this dataset alone cannot be served.
    Broken(String),
    /// Too many queries at once.
    Busy,
    /// It took too long.
    Deadline,
    /// Ours.
    Internal(String),
}

impl From<engine::Error> for DataError {
    fn from(error: engine::Error) -> Self {
        match error {
            engine::Error::Internal { .. } => Self::Internal(error.to_string()),
            _ => Self::Broken(error.to_string()),
        }
    }
}

impl From<io::Error> for DataError {
    fn from(error: io::Error) -> Self {
        Self::Broken(error.to_string())
    }
}

/// The tenant comes first: no key of one tenant can be another's.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    tenant: TenantId,
    dashboard: DashboardSlug,
    dataset: DatasetName,
    version: FileVersion,
}

/// A dataset, loaded.
#[derive(Clone)]
pub(crate) struct Loaded {
    pub(crate) table: Table,
    pub(crate) version: FileVersion,
}

/// Loads datasets and runs queries on them.
pub(crate) struct DataService {
    root: Arc<DataRoot>,
    tables: Cache<Key, Table>,
    permits: Arc<Semaphore>,
}

impl DataService {
    pub(crate) fn new(data_dir: &Path, concurrency: usize) -> Self {
        let weigh = |_: &Key, table: &Table| u32::try_from(table.estimated_size() / 1024 + 1).unwrap_or(u32::MAX);
        Self {
            root: Arc::new(DataRoot::new(data_dir)),
            tables: Cache::builder().max_capacity(CACHE_BYTES / 1024).weigher(weigh).build(),
            permits: Arc::new(Semaphore::new(concurrency.max(1))),
        }
    }

    /// Whether the scope's dataset has a file now.
    pub(crate) async fn exists(&self, scope: &TenantScope, dataset: &DatasetName) -> Result<bool, DataError> {
        let (root, scope, dataset) = (self.root.clone(), scope.clone(), dataset.clone());
        blocking(move || Ok(root.folder(&scope)?.map(|folder| folder.open(&dataset)).transpose()?.flatten().is_some()))
            .await
    }

    /// The dataset as it is on the disk now.
    pub(crate) async fn load(&self, scope: &TenantScope, dataset: &DatasetName) -> Result<Loaded, DataError> {
        let (root, tables) = (self.root.clone(), self.tables.clone());
        let (scope, dataset) = (scope.clone(), dataset.clone());
        let opened = blocking(move || {
            let folder = root.folder(&scope)?.ok_or(DataError::NotFound)?;
            let found = folder.open(&dataset)?.ok_or(DataError::NotFound)?;
            let version = found.version;
            let key = Key { tenant: scope.tenant().clone(), dashboard: scope.dashboard().clone(), dataset, version };
            Ok((tables.get(&key), key, found))
        });
        let (cached, key, found) = opened.await?;
        let version = key.version;
        if let Some(table) = cached {
            return Ok(Loaded { table, version });
        }
        let (permit, tables) = (self.permit().await?, self.tables.clone());
        let work = blocking(move || {
            // The permit goes along: who hangs up must not make room for another read beside this one.
            let _permit = permit;
            // Single flight: however many ask for a new file, it is read once.
            let read = || Table::from_file(found.file, found.format);
            let table = tables.try_get_with(key, read).map_err(|error| DataError::Broken(error.to_string()))?;
            Ok(Loaded { table, version })
        });
        tokio::time::timeout(DEADLINE, work).await.map_err(|_| DataError::Deadline)?
    }

    /// Runs a query and writes its answer.
    pub(crate) async fn run(
        &self,
        table: Table,
        query: CheckedQuery,
        encoding: Encoding,
    ) -> Result<(Vec<u8>, Answer), DataError> {
        let permit = self.permit().await?;
        let work = blocking(move || {
            // The permit goes along: a query that missed its deadline still holds its place until it ends.
            let _permit = permit;
            let answer = engine::run(&table, &query)?;
            let bytes = engine::encode(&answer, encoding)?;
            Ok((bytes, answer))
        });
        tokio::time::timeout(DEADLINE, work).await.map_err(|_| DataError::Deadline)?
    }

    async fn permit(&self) -> Result<tokio::sync::OwnedSemaphorePermit, DataError> {
        match tokio::time::timeout(QUEUE_PATIENCE, self.permits.clone().acquire_owned()).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(closed)) => Err(DataError::Internal(closed.to_string())),
            Err(_) => Err(DataError::Busy),
        }
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, DataError> + Send + 'static,
) -> Result<T, DataError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(DataError::Internal(error.to_string())),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use kyros_shared_config::{Issuer, KeyRing, KeySource, TenantVerifier, issuer::TenantGrant};

    /// A scope the only way there is: by verifying a token.
    pub(crate) fn scope(tenant: &str, dashboard: &str) -> TenantScope {
        kyros_shared_config::crypto::install_provider();
        let issuer = Issuer::generate("http://kyros.localhost").unwrap();
        let (tenant, dashboard) = (tenant.parse().unwrap(), dashboard.parse().unwrap());
        let grant = TenantGrant {
            subject: "ana",
            email: None,
            tenant: &tenant,
            tenant_uid: "u",
            dashboard: &dashboard,
            roles: &[],
            session: "s",
            client_id: "c",
            actor: None,
            not_after: i64::MAX,
        };
        let token = issuer.tenant_token(&grant).unwrap();
        let keys = Arc::new(KeyRing::new(KeySource::Fixed(issuer.jwks())).unwrap());
        TenantVerifier::for_data_api(issuer.name(), keys).verify(token.token.expose()).unwrap()
    }

    #[tokio::test]
    async fn a_truncated_file_breaks_its_own_dataset_alone_until_it_is_replaced() {
        let path = std::env::temp_dir().join(format!("kyros-{}", kyros_shared_config::crypto::random_id()));
        let folder = path.join("tenants/acme/clv");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("good.csv"), "a\n1\n").unwrap();
        std::fs::write(folder.join("bad.parquet"), "PAR1").unwrap();
        let service = DataService::new(&path, 1);
        let scope = scope("acme", "clv");
        assert!(matches!(service.load(&scope, &"bad".parse().unwrap()).await, Err(DataError::Broken(_))));
        assert_eq!(service.load(&scope, &"good".parse().unwrap()).await.unwrap().table.rows(), 1);
        std::fs::remove_file(folder.join("bad.parquet")).unwrap();
        std::fs::write(folder.join("bad.csv"), "a\n1\n2\n").unwrap();
        assert_eq!(service.load(&scope, &"bad".parse().unwrap()).await.unwrap().table.rows(), 2);
        std::fs::write(folder.join("good.csv"), "a\n1\n2\n3\n").unwrap();
        assert_eq!(service.load(&scope, &"good".parse().unwrap()).await.unwrap().table.rows(), 3);
        std::fs::remove_dir_all(path).unwrap();
    }
}
