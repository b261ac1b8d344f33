//! The local folder: tenants' files behind directory handles that lead nowhere else.
//!
//! A file may be dropped in place. It counts once it has been left alone for [`SETTLED`], so that a copy under way is never
//! read as if it were whole.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use cap_std::{ambient_authority, fs::Dir};
use futures_util::future::BoxFuture;
use kyros_shared_config::{DashboardSlug, DatasetName, TenantId};

use super::{Fetched, Place, Source, SourceError, Version};
use crate::engine::{Format, Table};

const FORMATS: [(&str, Format); 2] = [("parquet", Format::Parquet), ("csv", Format::Csv)];
/// How old the last change of a file must be.
const SETTLED: Duration = Duration::from_millis(300);
/// A changed file is seen within this time and [`SETTLED`].
const BELIEVED_FOR: Duration = Duration::from_millis(250);

/// `data/tenants` on this machine.
pub(crate) struct LocalFolder {
    tenants: Arc<PathBuf>,
    most: u64,
}

/// One tenant's folder for one dashboard.
pub(crate) struct DashboardFolder(pub(crate) Dir);

/// A dataset's file, open.
pub(crate) struct DatasetFile {
    pub(crate) file: File,
    pub(crate) format: Format,
    state: FileState,
}

/// Which file it is: a replaced or changed one has another state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileState {
    inode: u64,
    length: u64,
    modified: SystemTime,
    /// Whatever sets the other time back changes this one; seconds and nanoseconds.
    changed: (i64, i64),
}

impl LocalFolder {
    /// Files that unfold to more than so many bytes are not read.
    pub(crate) fn new(data_dir: &Path, most: u64) -> Self {
        Self { tenants: Arc::new(data_dir.join("tenants")), most }
    }
}

impl Source for LocalFolder {
    fn believed_for(&self) -> Duration {
        BELIEVED_FOR
    }

    fn fetch(&self, place: Place, known: Option<Version>) -> BoxFuture<'static, Result<Option<Fetched>, SourceError>> {
        let (tenants, most) = (self.tenants.clone(), self.most);
        Box::pin(blocking(move || fetch(&tenants, &place, known.as_ref(), most)))
    }

    fn exists(&self, place: Place) -> BoxFuture<'static, Result<bool, SourceError>> {
        let tenants = self.tenants.clone();
        Box::pin(blocking(move || match open(&tenants, &place) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error.into()),
        }))
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SourceError> + Send + 'static,
) -> Result<T, SourceError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(SourceError::Unreachable(error.to_string())))
}

fn fetch(tenants: &Path, place: &Place, known: Option<&Version>, most: u64) -> Result<Option<Fetched>, SourceError> {
    loop {
        let found = open(tenants, place)?;
        let version = found.state.version();
        if known == Some(&version) {
            return Ok(None);
        }
        if let Some(rest) = found.state.unsettled_for() {
            return Err(SourceError::Unsettled(rest));
        }
        let read = Table::from_file_within(found.file, found.format, most);
        // Whoever wrote in the meantime wrote into what was read.
        if open(tenants, place).is_ok_and(|now| now.state == found.state) {
            let table = read.map_err(|error| SourceError::broken(&version, &error))?;
            return Ok(Some(Fetched { version, table }));
        }
    }
}

fn open(tenants: &Path, place: &Place) -> io::Result<DatasetFile> {
    open_dataset(tenants, place.tenant(), place.dashboard(), place.dataset())
}

/// Opens a dataset's file below the folder `tenants`.
pub(crate) fn open_dataset(
    tenants: &Path,
    tenant: &TenantId,
    dashboard: &DashboardSlug,
    dataset: &DatasetName,
) -> io::Result<DatasetFile> {
    let root = Dir::open_ambient_dir(tenants, ambient_authority())?;
    let tenant = open_plain_dir(&root, tenant.as_str())?;
    let folder = DashboardFolder(open_plain_dir(&tenant, dashboard.as_str())?);
    folder.open(dataset)?.ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// A link, even to a place inside, would let one tenant's folder be another's.
pub(crate) fn open_plain_dir(parent: &Dir, name: &str) -> io::Result<Dir> {
    if parent.symlink_metadata(name)?.is_dir() { parent.open_dir(name) } else { Err(io::ErrorKind::NotFound.into()) }
}

impl DashboardFolder {
    /// Opens a dataset's file; `None` when there is none. Parquet counts before CSV. A link is treated as if it were not
    /// there.
    pub(crate) fn open(&self, dataset: &DatasetName) -> io::Result<Option<DatasetFile>> {
        for (extension, format) in FORMATS {
            let name = format!("{dataset}.{extension}");
            match self.0.symlink_metadata(&name) {
                Ok(metadata) if metadata.is_file() => {
                    let file = self.0.open(&name)?.into_std();
                    let state = FileState::of(&file)?;
                    return Ok(Some(DatasetFile { file, format, state }));
                }
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(_) | Err(_) => (),
            }
        }
        Ok(None)
    }
}

impl FileState {
    fn of(file: &File) -> io::Result<Self> {
        use std::os::unix::fs::MetadataExt as _;
        let metadata = file.metadata()?;
        let changed = (metadata.ctime(), metadata.ctime_nsec());
        Ok(Self { inode: metadata.ino(), length: metadata.len(), modified: metadata.modified()?, changed })
    }

    /// How long to wait until the file has been left alone for long enough. A time in the future is nobody writing now.
    fn unsettled_for(&self) -> Option<Duration> {
        let age = self.modified.elapsed().ok()?;
        SETTLED.checked_sub(age)
    }

    fn version(&self) -> Version {
        let modified = self.modified.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let (seconds, nanoseconds) = self.changed;
        Version::new(format!("{:x}-{:x}-{modified:x}-{seconds:x}-{nanoseconds:x}", self.inode, self.length))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::scope;

    fn folder() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let tenants = folder.path().join("tenants");
        for dashboard in ["acme/clv", "globex/clv"] {
            std::fs::create_dir_all(tenants.join(dashboard)).unwrap();
        }
        std::fs::write(tenants.join("globex/clv/secret.csv"), "a\nCANARY\n").unwrap();
        std::fs::write(tenants.join("acme/clv/own.csv"), "a\n1\n").unwrap();
        (folder, tenants)
    }

    fn place(tenant: &str, dashboard: &str, dataset: &str) -> Place {
        Place::new(&scope(tenant, dashboard), &dataset.parse().unwrap())
    }

    #[test]
    fn a_place_opens_its_own_tenants_file_only() {
        let (_folder, tenants) = folder();
        assert!(open(&tenants, &place("acme", "clv", "own")).is_ok());
        for (tenant, dashboard, dataset) in
            [("acme", "clv", "secret"), ("acme", "risk", "own"), ("nobody", "clv", "own")]
        {
            let error = open(&tenants, &place(tenant, dashboard, dataset)).err().unwrap();
            assert_eq!(error.kind(), io::ErrorKind::NotFound, "{tenant} {dashboard} {dataset}");
        }
    }

    #[test]
    fn links_into_another_tenants_folder_lead_nowhere() {
        use std::os::unix::fs::symlink;
        let (_folder, tenants) = folder();
        symlink("../../globex/clv/secret.csv", tenants.join("acme/clv/linked.csv")).unwrap();
        symlink(tenants.join("globex/clv/secret.csv"), tenants.join("acme/clv/absolute.csv")).unwrap();
        symlink("../globex/clv", tenants.join("acme/risk")).unwrap();
        symlink("globex", tenants.join("initech")).unwrap();
        for (tenant, dashboard, dataset) in [
            ("acme", "clv", "linked"),
            ("acme", "clv", "absolute"),
            ("acme", "risk", "secret"),
            ("initech", "clv", "secret"),
        ] {
            let error = open(&tenants, &place(tenant, dashboard, dataset)).err().unwrap();
            assert_eq!(error.kind(), io::ErrorKind::NotFound, "{tenant} {dashboard} {dataset}");
        }
    }

    #[test]
    fn a_file_that_is_being_written_is_read_when_it_is_complete() {
        use std::{io::Write as _, thread};
        let (_folder, tenants) = folder();
        let place = place("acme", "clv", "growing");
        let mut file = File::create(tenants.join("acme/clv/growing.csv")).unwrap();
        let writer = thread::spawn(move || {
            file.write_all(b"a\n").unwrap();
            for _ in 0..10 {
                file.write_all(b"1\n").unwrap();
                thread::sleep(SETTLED / 4);
            }
        });
        let fetched = loop {
            match fetch(&tenants, &place, None, u64::MAX) {
                Err(SourceError::Unsettled(rest)) => thread::sleep(rest),
                fetched => break fetched.unwrap().unwrap(),
            }
        };
        writer.join().unwrap();
        assert_eq!(fetched.table.rows(), 10);
        assert!(fetch(&tenants, &place, Some(&fetched.version), u64::MAX).unwrap().is_none());
    }
}
