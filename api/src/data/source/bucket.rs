//! Datasets in an object store: `PREFIX/TENANT/DASHBOARD/DATASET.parquet`, of S3 and whatever speaks like it, or of Azure.
//!
//! The key is made of the [`Place`] alone, whose parts hold neither `/` nor `.`: there is no key of two tenants. An object is
//! read with its entity tag pinned, so a half-replaced one is never seen, and its size is known before a byte of it is read.
//! It is the library of Polars' own cloud reader without Polars' defaults, which take credentials and addresses from the
//! environment, allow plain http anywhere and have no deadline (docs/decisions/0018-sources-beyond-the-disk.md).

mod store;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use futures_util::{FutureExt as _, StreamExt as _, future::BoxFuture};
use kyros_shared_config::crypto::{hex, sha256};
use object_store::{Error, GetOptions, GetResult, ObjectMeta, ObjectStore, ObjectStoreExt as _, path::Path};
use tokio::{sync::Mutex, time::timeout};

pub(crate) use store::{Azure, Provider, S3};

use super::{Fetched, Place, Source, SourceError, Version};
use crate::engine::{Format, Table, table::MAX_FILE_BYTES};

/// For the answer to a question about an object, retries included.
const HEAD_PATIENCE: Duration = Duration::from_secs(10);
/// For a whole object: half a gigabyte at 5 MB/s. Silence in between ends it sooner (`store::SILENCE`).
const GET_PATIENCE: Duration = Duration::from_secs(100);
/// How often an object may be replaced under the reader before it is given up.
const ATTEMPTS: usize = 3;

/// An object store's bucket or container.
pub(crate) struct Bucket(Arc<Inner>);

struct Inner {
    provider: Provider,
    opened: Mutex<Option<Opened>>,
}

/// A store, and which secrets it was opened with.
struct Opened {
    secrets: [u8; 32],
    store: Arc<dyn ObjectStore>,
}

impl Bucket {
    pub(crate) fn new(provider: Provider) -> Self {
        Self(Arc::new(Inner { provider, opened: Mutex::new(None) }))
    }
}

impl Source for Bucket {
    fn believed_for(&self) -> Duration {
        self.0.provider.believed_for()
    }

    fn fetch(&self, place: Place, known: Option<Version>) -> BoxFuture<'static, Result<Option<Fetched>, SourceError>> {
        self.0.clone().fetch(place, known).boxed()
    }

    fn exists(&self, place: Place) -> BoxFuture<'static, Result<bool, SourceError>> {
        let inner = self.0.clone();
        async move {
            let store = inner.store().await?;
            match head(&*store, &inner.key(&place)).await {
                Ok(_) => Ok(true),
                Err(SourceError::Absent) => Ok(false),
                Err(error) => Err(error),
            }
        }
        .boxed()
    }
}

impl Inner {
    fn key(&self, place: &Place) -> Path {
        let file = format!("{}.parquet", place.dataset());
        let own = [place.tenant().as_str(), place.dashboard().as_str(), &file];
        self.provider.prefix().split('/').filter(|part| !part.is_empty()).chain(own).collect()
    }

    async fn fetch(self: Arc<Self>, place: Place, known: Option<Version>) -> Result<Option<Fetched>, SourceError> {
        let store = self.store().await?;
        let key = self.key(&place);
        for _ in 0..ATTEMPTS {
            let meta = head(&*store, &key).await?;
            let version = version_of(&meta)?;
            if known.as_ref() == Some(&version) {
                return Ok(None);
            }
            if let Some(bytes) = read(&*store, &key, &meta, &version).await? {
                return parse(bytes, version).await.map(Some);
            }
        }
        Err(SourceError::Unreachable(format!("{key} was replaced {ATTEMPTS} times while it was read")))
    }

    /// The store, opened with the secrets as they are now.
    async fn store(self: &Arc<Self>) -> Result<Arc<dyn ObjectStore>, SourceError> {
        let inner = self.clone();
        let secrets = blocking(move || inner.provider.secrets()).await?.map_err(SourceError::Unreachable)?;
        let mut digest: Vec<u8> = Vec::new();
        for secret in &secrets {
            digest.extend(sha256(secret.expose().as_bytes()));
        }
        let digest = sha256(&digest);
        let mut opened = self.opened.lock().await;
        if let Some(Opened { secrets, store }) = &*opened
            && *secrets == digest
        {
            return Ok(store.clone());
        }
        let inner = self.clone();
        let store = blocking(move || inner.provider.open(&secrets)).await?.map_err(SourceError::Unreachable)?;
        *opened = Some(Opened { secrets: digest, store: store.clone() });
        Ok(store)
    }
}

async fn head(store: &dyn ObjectStore, key: &Path) -> Result<ObjectMeta, SourceError> {
    timeout(HEAD_PATIENCE, store.head(key))
        .await
        .map_err(|_| too_slow(key, HEAD_PATIENCE))?
        .map_err(|error| said(&error))
}

/// An object's content, whole and of the version that `meta` describes; `None` if there is another one by now.
async fn read(
    store: &dyn ObjectStore,
    key: &Path,
    meta: &ObjectMeta,
    version: &Version,
) -> Result<Option<Vec<u8>>, SourceError> {
    if meta.size > MAX_FILE_BYTES {
        let detail = format!("{key} has {} bytes, of at most {MAX_FILE_BYTES}", meta.size);
        return Err(SourceError::Broken { version: Some(version.clone()), detail });
    }
    let pinned = GetOptions { if_match: meta.e_tag.clone(), ..GetOptions::default() };
    let reading = async {
        match store.get_opts(key, pinned).await {
            Ok(result) if result.meta.e_tag == meta.e_tag => collect(result, meta.size).await,
            // Replaced or removed: the next question tells which.
            Ok(_) | Err(Error::Precondition { .. } | Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(said(&error)),
        }
    };
    timeout(GET_PATIENCE, reading).await.map_err(|_| too_slow(key, GET_PATIENCE))?
}

/// The bytes that were promised: no more are taken, and fewer are no object.
async fn collect(result: GetResult, size: u64) -> Result<Option<Vec<u8>>, SourceError> {
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
    let mut stream = result.into_stream();
    while let Some(chunk) = stream.next().await {
        bytes.extend_from_slice(&chunk.map_err(|error| said(&error))?);
        if bytes.len() as u64 > size {
            break;
        }
    }
    Ok((bytes.len() as u64 == size).then_some(bytes))
}

async fn parse(bytes: Vec<u8>, version: Version) -> Result<Fetched, SourceError> {
    let table = blocking(move || Table::from_bytes(bytes, Format::Parquet)).await?;
    let table = table.map_err(|error| SourceError::broken(&version, &error))?;
    Ok(Fetched { version, table })
}

/// A content's name. Without an entity tag a replaced object could pass for the old one.
fn version_of(meta: &ObjectMeta) -> Result<Version, SourceError> {
    let Some(tag) = &meta.e_tag else {
        let detail = "the object store gives no entity tags, so a replaced object could not be told".to_owned();
        return Err(SourceError::Broken { version: None, detail });
    };
    let number = meta.version.as_deref().unwrap_or_default();
    let text = format!("{tag}\n{number}\n{}\n{}", meta.size, meta.last_modified.timestamp_micros());
    Ok(Version::new(hex(&sha256(text.as_bytes()))))
}

fn said(error: &Error) -> SourceError {
    match error {
        Error::NotFound { .. } => SourceError::Absent,
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => SourceError::Unreachable(format!(
            "refused; check the credentials, and that they may read and list (without listing, some stores refuse what is \
             not there): {error}"
        )),
        _ => SourceError::Unreachable(error.to_string()),
    }
}

fn too_slow(key: &Path, patience: Duration) -> SourceError {
    SourceError::Unreachable(format!("no answer about {key} within {} s", patience.as_secs()))
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, SourceError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| SourceError::Unreachable(error.to_string()))
}
