//! The sources that the API's operator has set up, by name. A resource only ever names one: it can neither point the API at
//! an address nor read a credential, and a name that is not here is never answered from somewhere else.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    fmt,
    path::Path,
    sync::Arc,
};

use kyros_shared_config::SourceName;
use serde::Deserialize;
use thiserror::Error;

use super::source::{
    Origin, Source, SourceError,
    bucket::{Azure, Bucket, Provider, S3},
    postgres::{Postgres, PostgresSettings},
};

/// What resources call the API's own data folder.
const LOCAL: &str = "local";
/// The largest file, in bytes.
const MAX_FILE: u64 = 256 * 1024;

/// Why the API does not start: every mistaken value in the file, or the first thing that is not written as it should be.
#[derive(Debug, Error)]
#[error("data sources {path}: {}", .problems.join("; "))]
pub struct SourcesError {
    /// The file.
    path: String,
    /// What is wrong with it, and what to do.
    problems: Vec<String>,
}

/// Where datasets come from.
pub(crate) struct Sources {
    local: Arc<Origin>,
    named: BTreeMap<SourceName, Arc<Origin>>,
}

/// One entry of the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: SourceName,
    s3: Option<S3>,
    azure: Option<Azure>,
    postgres: Option<PostgresSettings>,
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.named.keys()).finish()
    }
}

impl Sources {
    /// The local folder, and what the operator's file names, if there is one.
    pub(crate) fn open(local: Arc<dyn Source>, file: Option<&Path>) -> Result<Self, SourcesError> {
        let local = Origin::new(local);
        let Some(path) = file else {
            return Ok(Self { local, named: BTreeMap::new() });
        };
        let error = |problems| SourcesError { path: path.display().to_string(), problems };
        let text = read(path).map_err(|problem| error(vec![problem]))?;
        let folder = path.parent().map(Path::to_owned).unwrap_or_default();
        let named = parse(&text, &folder).map_err(error)?;
        for name in named.keys() {
            tracing::info!(%name, "data source");
        }
        let named = named.into_iter().map(|(name, source)| (name, Origin::new(source))).collect();
        Ok(Self { local, named })
    }

    /// The source of that name; without a name the local folder.
    pub(crate) fn of(&self, name: Option<&SourceName>) -> Result<Arc<Origin>, SourceError> {
        match name {
            None => Ok(self.local.clone()),
            Some(name) if name.as_str() == LOCAL => Ok(self.local.clone()),
            Some(name) => self.named.get(name).cloned().ok_or_else(|| {
                let known = self.named.keys().map(SourceName::as_str).chain([LOCAL]).collect::<Vec<_>>().join(", ");
                SourceError::Unreachable(format!(
                    "no data source is called {name}, there are {known}; add it to the file that --data-sources names, or \
                     correct spec.source of the tenant or dashboard"
                ))
            }),
        }
    }
}

fn read(path: &Path) -> Result<String, String> {
    let length = std::fs::metadata(path).map_err(|error| error.to_string())?.len();
    if length > MAX_FILE {
        return Err(format!("has {length} bytes, of at most {MAX_FILE}"));
    }
    std::fs::read_to_string(path).map_err(|error| error.to_string())
}

fn parse(text: &str, folder: &Path) -> Result<BTreeMap<SourceName, Arc<dyn Source>>, Vec<String>> {
    // Without the lines around a mistake: they may hold what should have been a secret.
    let options = serde_yaml::options! { with_snippet: false };
    let written: Vec<Written> =
        serde_yaml::from_str_with_options(text, options).map_err(|error| vec![error.without_snippet().to_string()])?;
    let mut named = BTreeMap::new();
    let mut problems = Vec::new();
    for entry in written {
        let name = entry.name.clone();
        let source = open(entry, folder);
        problems.extend(source.as_ref().err().into_iter().flatten().map(|problem| format!("{name}: {problem}")));
        if name.as_str() == LOCAL {
            problems.push(format!("{LOCAL}: the name of the API's own data folder; choose another"));
        }
        match named.entry(name) {
            Entry::Occupied(taken) => problems.push(format!("{}: is there twice; rename one", taken.key())),
            Entry::Vacant(free) => {
                if let Ok(source) = source {
                    free.insert(source);
                }
            }
        }
    }
    if problems.is_empty() { Ok(named) } else { Err(problems) }
}

fn open(entry: Written, folder: &Path) -> Result<Arc<dyn Source>, Vec<String>> {
    let checked =
        |problems: Vec<String>, source: Arc<dyn Source>| if problems.is_empty() { Ok(source) } else { Err(problems) };
    let bucket = |mut provider: Provider| {
        let problems = provider.check(folder);
        checked(problems, Arc::new(Bucket::new(provider)))
    };
    match entry {
        Written { s3: Some(s3), azure: None, postgres: None, .. } => bucket(Provider::S3(s3)),
        Written { azure: Some(azure), s3: None, postgres: None, .. } => bucket(Provider::Azure(azure)),
        Written { name, postgres: Some(mut settings), s3: None, azure: None } => {
            let problems = settings.check(folder);
            checked(problems, Arc::new(Postgres::new(name, settings)))
        }
        Written { .. } => Err(vec!["give exactly one of s3, azure and postgres".to_owned()]),
    }
}

#[cfg(test)]
mod tests;
