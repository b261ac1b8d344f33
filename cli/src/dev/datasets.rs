//! The developer's own data: files, told to be datasets of one tenant or of all.

use std::{
    path::{Path, PathBuf},
    str::FromStr,
};

use anyhow::{Context as _, bail};
use kyros_api::engine::{Format, Table};
use kyros_shared_config::{DatasetName, TenantId};

/// A file as a dataset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Given {
    /// `None`: every tenant's.
    pub(super) tenant: Option<TenantId>,
    pub(super) dataset: DatasetName,
    pub(super) file: PathBuf,
}

impl FromStr for Given {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, file) =
            text.split_once('=').ok_or("write NAME=FILE or TENANT/NAME=FILE, such as orders=orders.csv")?;
        let (tenant, dataset) = match name.split_once('/') {
            Some((tenant, dataset)) => {
                let tenant = tenant.parse().map_err(|error| format!("the tenant {tenant:?} {error}"))?;
                (Some(tenant), dataset)
            }
            None => (None, name),
        };
        let dataset = dataset.parse().map_err(|error| format!("the dataset {dataset:?} {error}"))?;
        let given = Self { tenant, dataset, file: file.into() };
        given.format().map_err(|error| error.to_string())?;
        Ok(given)
    }
}

impl Given {
    /// Reads the file as a whole.
    pub(super) fn read(&self) -> anyhow::Result<Table> {
        let bytes = std::fs::read(&self.file).with_context(|| format!("{}", self.file.display()))?;
        crate::data::table(bytes, self.format()?).with_context(|| format!("{}", self.file.display()))
    }

    fn format(&self) -> anyhow::Result<Format> {
        let extension = self.file.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        Format::from_extension(&extension.to_ascii_lowercase())
            .with_context(|| format!("{} is no .csv, .parquet, .ndjson or .jsonl file", self.file.display()))
    }
}

/// The datasets of a folder: `NAME.csv` for every tenant, `TENANT/NAME.csv` for one.
pub(super) fn in_folder(folder: &Path) -> anyhow::Result<Vec<Given>> {
    let mut found = Vec::new();
    for path in entries(folder)? {
        if path.is_dir() {
            let Some(Ok(tenant)) = path.file_name().and_then(|name| name.to_str()).map(str::parse) else { continue };
            for file in entries(&path)? {
                found.extend(given(Some(&tenant), file));
            }
        } else {
            found.extend(given(None, path));
        }
    }
    if found.is_empty() {
        bail!(
            "{} holds no data: put TENANT/NAME.csv there for one tenant, or NAME.csv for all (also .parquet, .ndjson)",
            folder.display()
        );
    }
    // What is one tenant's alone comes last, and so replaces what is everybody's.
    found.sort_by_key(|given| given.tenant.is_some());
    Ok(found)
}

fn given(tenant: Option<&TenantId>, file: PathBuf) -> Option<Given> {
    let dataset = file.file_stem()?.to_str()?.parse().ok()?;
    let given = Given { tenant: tenant.cloned(), dataset, file };
    given.format().is_ok().then_some(given)
}

fn entries(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let read = std::fs::read_dir(folder).with_context(|| format!("the data folder {}", folder.display()))?;
    let mut paths = read.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dataset_is_everybodys_or_one_tenants() {
        let given: Given = "acme/orders=some/acme=1.csv".parse().unwrap();
        assert_eq!((given.tenant.unwrap().as_str(), given.dataset.as_str()), ("acme", "orders"));
        assert_eq!(given.file, PathBuf::from("some/acme=1.csv"));
        assert_eq!("orders=o.parquet".parse::<Given>().unwrap().tenant, None);
        for bad in ["orders", "orders=o.xlsx", "Acme/orders=o.csv", "a b=o.csv", "=o.csv", "orders="] {
            assert!(bad.parse::<Given>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_folder_holds_what_is_everybodys_and_what_is_one_tenants() {
        let folder = tempfile::TempDir::new().unwrap();
        std::fs::create_dir(folder.path().join("acme")).unwrap();
        for file in ["acme/orders.csv", "orders.csv", "notes.txt"] {
            std::fs::write(folder.path().join(file), "a\n1\n").unwrap();
        }
        let found = in_folder(folder.path()).unwrap();
        let names: Vec<_> = found.iter().map(|given| given.tenant.as_ref().map(TenantId::as_str)).collect();
        assert_eq!(names, [None, Some("acme")]);
        assert!(in_folder(&folder.path().join("acme/none")).is_err());
    }
}
