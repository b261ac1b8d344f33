//! The operator's way in: datasets by the names of their tenant and dashboard, as a command line gives them.
//!
//! No request reaches this. What it shares with the way of a client is how folders and files are opened: links lead nowhere.

use std::{collections::BTreeSet, fmt, fs::File, io, path::Path, time::SystemTime};

use cap_std::{
    ambient_authority,
    fs::{Dir, OpenOptions},
};
use kyros_shared_config::{DashboardSlug, DatasetName, TenantId, crypto::random_id};

use super::source::{DashboardFolder, open_dataset, open_plain_dir};
use crate::engine::{self, Format, Outline, Table};

/// A dataset by its names. No scope stands behind it, unlike the place that a client's token gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedDataset {
    /// Whose it is.
    pub tenant: TenantId,
    /// The dashboard that reads it.
    pub dashboard: DashboardSlug,
    /// Its name.
    pub dataset: DatasetName,
}

impl fmt::Display for NamedDataset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} for {}", self.dataset, self.tenant, self.dashboard)
    }
}

/// A dataset in a list.
#[derive(Debug)]
pub struct Listed {
    /// Which one.
    pub place: NamedDataset,
    /// The format of its file.
    pub format: Format,
    /// The size of its file in bytes.
    pub size: u64,
    /// When the file was last written.
    pub modified: SystemTime,
    /// What a Parquet file says about itself; nothing of the other formats, which would have to be read for it.
    pub outline: Result<Option<Outline>, engine::Error>,
}

/// Makes a table a tenant's dataset, and says whether there was an older version. It takes effect as a whole: readers see
/// the old one or the new one. An error may come after that, when the disk cannot be told to keep it.
pub fn publish(data_dir: &Path, place: &NamedDataset, table: &Table) -> Result<bool, engine::Error> {
    let folder = make_folder(data_dir, place)?;
    let replaced = folder.open(&place.dataset)?.is_some();
    let NamedDataset { dataset, .. } = place;
    // Hidden, so that no reader takes it for a dataset; in the same folder, so that the rename is atomic.
    let temporary = format!(".{dataset}-{}", random_id());
    let written = (|| {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        engine::store(table, &folder.0.open_with(&temporary, &options)?.into_std())?;
        folder.0.rename(&temporary, &folder.0, format!("{dataset}.parquet"))?;
        Ok(folder.0.open(".")?.sync_all()?)
    })();
    if written.is_err() {
        // What made it fail is the error; litter that cannot be removed is hidden.
        let _ = folder.0.remove_file(&temporary);
    }
    written.map(|()| replaced)
}

/// Opens a dataset's file; `None` when there is none.
pub fn open(data_dir: &Path, named: &NamedDataset) -> io::Result<Option<(File, Format)>> {
    let NamedDataset { tenant, dashboard, dataset } = named;
    match open_dataset(&data_dir.join("tenants"), tenant, dashboard, dataset) {
        Ok(found) => Ok(Some((found.file, found.format))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Every dataset, or every one of a tenant, in the order of their names.
pub fn list(data_dir: &Path, tenant: Option<&TenantId>) -> io::Result<Vec<Listed>> {
    let mut found = Vec::new();
    for (tenant, folder) in folders::<TenantId>(&tenants(data_dir)?, tenant)? {
        for (dashboard, folder) in folders::<DashboardSlug>(&folder, None)? {
            let names = names(&folder)?;
            let datasets = names.iter().filter_map(|name| name.split('.').next()?.parse().ok());
            let folder = DashboardFolder(folder);
            for dataset in datasets.collect::<BTreeSet<DatasetName>>() {
                let place = NamedDataset { tenant: tenant.clone(), dashboard: dashboard.clone(), dataset };
                found.extend(listed(&folder, place)?);
            }
        }
    }
    Ok(found)
}

fn listed(folder: &DashboardFolder, place: NamedDataset) -> io::Result<Option<Listed>> {
    let Some(found) = folder.open(&place.dataset)? else { return Ok(None) };
    let metadata = found.file.metadata()?;
    let outline = match found.format {
        Format::Parquet => engine::outline(found.file).map(Some),
        _ => Ok(None),
    };
    Ok(Some(Listed { place, format: found.format, size: metadata.len(), modified: metadata.modified()?, outline }))
}

/// The folder `tenants`. Whether that itself is a link is the business of whoever set up the machine.
fn tenants(data_dir: &Path) -> io::Result<Dir> {
    Dir::open_ambient_dir(data_dir.join("tenants"), ambient_authority())
}

/// The folders in a folder that bear such a name, in the order of their names. Links are left out, as for clients.
fn folders<Name: std::str::FromStr + Ord>(parent: &Dir, only: Option<&Name>) -> io::Result<Vec<(Name, Dir)>> {
    let mut found = Vec::new();
    for text in names(parent)? {
        let Ok(name) = text.parse::<Name>() else { continue };
        if only.is_some_and(|only| *only != name) {
            continue;
        }
        match open_plain_dir(parent, &text) {
            Ok(folder) => found.push((name, folder)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => (),
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

fn names(folder: &Dir) -> io::Result<BTreeSet<String>> {
    folder.entries()?.filter_map(|entry| entry.map(|entry| entry.file_name().into_string().ok()).transpose()).collect()
}

/// The dashboard's folder of a tenant, made if it is not there yet.
fn make_folder(data_dir: &Path, place: &NamedDataset) -> io::Result<DashboardFolder> {
    std::fs::create_dir_all(data_dir.join("tenants"))?;
    let mut folder = tenants(data_dir)?;
    for name in [place.tenant.as_str(), place.dashboard.as_str()] {
        match folder.create_dir(name) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            Ok(()) | Err(_) => (),
        }
        // Written through a link, one tenant's data would be another's.
        folder = open_plain_dir(&folder, name).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                io::Error::other(format!("{name} in the data folder is a link or a file, not a folder"))
            }
            _ => error,
        })?;
    }
    Ok(DashboardFolder(folder))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use tempfile::TempDir;

    use super::*;

    /// A data folder that goes away with its test.
    struct Data(TempDir);

    impl Data {
        fn new() -> Self {
            Self(TempDir::new().unwrap())
        }

        fn path(&self) -> &Path {
            self.0.path()
        }

        fn publish(&self, named: &NamedDataset, csv: &str) -> Result<bool, engine::Error> {
            publish(self.path(), named, &Table::from_bytes(csv.into(), Format::Csv)?)
        }

        fn names(&self, tenant: Option<&str>) -> Vec<String> {
            let tenant = tenant.map(|tenant| tenant.parse().unwrap());
            list(self.path(), tenant.as_ref()).unwrap().into_iter().map(|listed| listed.place.to_string()).collect()
        }
    }

    fn place(tenant: &str, dashboard: &str, dataset: &str) -> NamedDataset {
        let (tenant, dashboard) = (tenant.parse().unwrap(), dashboard.parse().unwrap());
        NamedDataset { tenant, dashboard, dataset: dataset.parse().unwrap() }
    }

    #[test]
    fn a_published_table_replaces_the_older_one_and_leaves_no_litter() {
        let (data, place) = (Data::new(), place("acme", "clv", "orders"));
        assert!(open(data.path(), &place).is_ok_and(|found| found.is_none()));
        assert!(!data.publish(&place, "a\n1\n").unwrap());
        assert!(data.publish(&place, "a\n1\n2\n").unwrap());
        let (file, format) = open(data.path(), &place).unwrap().unwrap();
        assert_eq!(Table::from_file(file, format).unwrap().rows(), 2);
        assert_eq!(std::fs::read_dir(data.path().join("tenants/acme/clv")).unwrap().count(), 1);
    }

    #[test]
    fn a_list_names_what_clients_could_open_and_nothing_else() {
        let data = Data::new();
        for (tenant, dashboard, dataset) in
            [("globex", "clv", "orders"), ("acme", "risk", "pnl"), ("acme", "clv", "orders")]
        {
            data.publish(&place(tenant, dashboard, dataset), "a\n1\n").unwrap();
        }
        let tenants = data.path().join("tenants");
        std::fs::write(tenants.join("acme/clv/raw.csv"), "a\n1\n").unwrap();
        std::fs::write(tenants.join("acme/clv/orders.csv"), "a\n1\n").unwrap();
        std::fs::write(tenants.join("acme/clv/notes.txt"), "no dataset").unwrap();
        std::fs::write(tenants.join("acme/clv/damaged.parquet"), "PAR1").unwrap();
        symlink("../../globex/clv/orders.parquet", tenants.join("acme/clv/linked.parquet")).unwrap();
        symlink("globex", tenants.join("initech")).unwrap();
        symlink("../globex/clv", tenants.join("acme/linked")).unwrap();
        let acme = ["damaged of acme for clv", "orders of acme for clv", "raw of acme for clv", "pnl of acme for risk"];
        assert_eq!(data.names(Some("acme")), acme);
        assert_eq!(data.names(None), [&acme[..], &["orders of globex for clv"]].concat());
        assert!(data.names(Some("initech")).is_empty());
        let listed = list(data.path(), None).unwrap();
        assert!(listed[0].outline.is_err());
        assert_eq!((listed[1].format, listed[1].outline.as_ref().unwrap().unwrap().rows), (Format::Parquet, 1));
        assert_eq!((listed[2].format, listed[2].outline.as_ref().unwrap()), (Format::Csv, &None));
    }

    #[test]
    fn nothing_is_published_through_a_link() {
        let data = Data::new();
        data.publish(&place("globex", "clv", "orders"), "a\n1\n").unwrap();
        symlink("globex", data.path().join("tenants/acme")).unwrap();
        assert!(data.publish(&place("acme", "clv", "stolen"), "a\n1\n").is_err());
        assert!(open(data.path(), &place("acme", "clv", "orders")).unwrap().is_none());
        assert_eq!(data.names(None), ["orders of globex for clv"]);
    }
}
