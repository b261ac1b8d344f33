//! The tenants' folders as capabilities: whoever holds a [`TenantFolder`] can open that tenant's files and no others.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use cap_std::{ambient_authority, fs::Dir};
use kyros_shared_config::{DashboardSlug, DatasetName, TenantId, TenantScope, crypto::random_id};

use crate::engine::{self, Format, Imported};

const FORMATS: [(&str, Format); 2] = [("parquet", Format::Parquet), ("csv", Format::Csv)];

/// `data/tenants`, opened once.
pub(crate) struct DataRoot {
    path: PathBuf,
}

/// One tenant's folder for one dashboard.
pub(crate) struct TenantFolder(Dir);

/// Which file it is: a replaced or changed one is another version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct FileVersion {
    inode: u64,
    length: u64,
    modified_ns: u128,
}

/// A dataset's file, open.
pub(crate) struct DatasetFile {
    pub(crate) file: File,
    pub(crate) format: Format,
    pub(crate) version: FileVersion,
}

impl DataRoot {
    pub(crate) fn new(data_dir: &Path) -> Self {
        Self { path: data_dir.join("tenants") }
    }

    /// The folder of the scope's own tenant and dashboard; `None` when there is none yet.
    pub(crate) fn folder(&self, scope: &TenantScope) -> io::Result<Option<TenantFolder>> {
        let opened = Dir::open_ambient_dir(&self.path, ambient_authority())
            .and_then(|root| open_plain_dir(&root, scope.tenant().as_str()))
            .and_then(|tenant| open_plain_dir(&tenant, scope.dashboard().as_str()));
        match opened {
            Ok(folder) => Ok(Some(TenantFolder(folder))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// A link, even to a place inside, would let one tenant's folder be another's.
fn open_plain_dir(parent: &Dir, name: &str) -> io::Result<Dir> {
    if parent.symlink_metadata(name)?.is_dir() {
        parent.open_dir(name)
    } else {
        Err(io::Error::new(io::ErrorKind::NotFound, "not a folder"))
    }
}

impl TenantFolder {
    /// Opens a dataset's file; `None` when there is none. Parquet counts before CSV.
    pub(crate) fn open(&self, dataset: &DatasetName) -> io::Result<Option<DatasetFile>> {
        for (extension, format) in FORMATS {
            let name = format!("{dataset}.{extension}");
            match self.0.symlink_metadata(&name) {
                Ok(metadata) if metadata.is_file() => {
                    let file = self.0.open(&name)?.into_std();
                    let version = FileVersion::of(&file)?;
                    return Ok(Some(DatasetFile { file, format, version }));
                }
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                // A link is treated as if it were not there.
                Ok(_) | Err(_) => (),
            }
        }
        Ok(None)
    }
}

impl FileVersion {
    fn of(file: &File) -> io::Result<Self> {
        use std::os::unix::fs::MetadataExt as _;
        let metadata = file.metadata()?;
        let modified = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
        Ok(Self {
            inode: metadata.ino(),
            length: metadata.len(),
            modified_ns: modified.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos(),
        })
    }

    /// For entity tags.
    pub(crate) fn tag(&self) -> String {
        format!("{:x}-{:x}-{:x}", self.inode, self.length, self.modified_ns)
    }
}

/// Converts a file into a tenant's dataset. It takes effect as a whole: readers see the old one or the new one.
///
/// This is the operator's way in, not a client's: it takes the tenant from the command line.
pub fn import_into(
    data_dir: &Path,
    tenant: &TenantId,
    dashboard: &DashboardSlug,
    dataset: &DatasetName,
    source: File,
    format: Format,
) -> Result<Imported, engine::Error> {
    let folder = data_dir.join("tenants").join(tenant.as_str()).join(dashboard.as_str());
    std::fs::create_dir_all(&folder)?;
    // Hidden, so that no reader takes it for a dataset; in the same folder, so that the rename is atomic.
    let temporary = folder.join(format!(".{dataset}-{}", random_id()));
    let result = (|| {
        let target = File::options().write(true).read(true).create_new(true).open(&temporary)?;
        let imported = engine::import(source, format, &target)?;
        std::fs::rename(&temporary, folder.join(format!("{dataset}.parquet")))?;
        File::open(&folder)?.sync_all()?;
        Ok(imported)
    })();
    if result.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::service::tests::scope;

    fn root() -> (PathBuf, DataRoot) {
        let path = std::env::temp_dir().join(format!("kyros-{}", random_id()));
        for folder in ["tenants/acme/clv", "tenants/globex/clv"] {
            std::fs::create_dir_all(path.join(folder)).unwrap();
        }
        std::fs::write(path.join("tenants/globex/clv/secret.csv"), "a\nCANARY\n").unwrap();
        std::fs::write(path.join("tenants/acme/clv/own.csv"), "a\n1\n").unwrap();
        let root = DataRoot::new(&path);
        (path, root)
    }

    #[test]
    fn a_tenants_folder_opens_its_own_files_only() {
        let (path, root) = root();
        let folder = root.folder(&scope("acme", "clv")).unwrap().unwrap();
        assert!(folder.open(&"own".parse().unwrap()).unwrap().is_some());
        assert!(folder.open(&"secret".parse().unwrap()).unwrap().is_none());
        assert!(root.folder(&scope("acme", "risk")).unwrap().is_none());
        assert!(root.folder(&scope("nobody", "clv")).unwrap().is_none());
        std::fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn links_into_another_tenants_folder_lead_nowhere() {
        use std::os::unix::fs::symlink;
        let (path, root) = root();
        let tenants = path.join("tenants");
        symlink("../../globex/clv/secret.csv", tenants.join("acme/clv/linked.csv")).unwrap();
        symlink(tenants.join("globex/clv/secret.csv"), tenants.join("acme/clv/absolute.csv")).unwrap();
        symlink("../globex/clv", tenants.join("acme/risk")).unwrap();
        symlink("globex", tenants.join("initech")).unwrap();
        let folder = root.folder(&scope("acme", "clv")).unwrap().unwrap();
        for dataset in ["linked", "absolute"] {
            assert!(folder.open(&dataset.parse().unwrap()).unwrap().is_none(), "{dataset}");
        }
        assert!(root.folder(&scope("acme", "risk")).unwrap().is_none());
        assert!(root.folder(&scope("initech", "clv")).unwrap().is_none());
        std::fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn a_failed_import_leaves_the_old_dataset_and_no_litter() {
        let (path, _) = root();
        let (tenant, dashboard, dataset) = ("acme".parse().unwrap(), "clv".parse().unwrap(), "own".parse().unwrap());
        let bad = path.join("bad.parquet");
        std::fs::write(&bad, "PAR1 nonsense").unwrap();
        let source = File::open(&bad).unwrap();
        assert!(import_into(&path, &tenant, &dashboard, &dataset, source, Format::Parquet).is_err());
        let left: Vec<_> = std::fs::read_dir(path.join("tenants/acme/clv")).unwrap().collect();
        assert_eq!(left.len(), 1);
        std::fs::remove_dir_all(path).unwrap();
    }
}
