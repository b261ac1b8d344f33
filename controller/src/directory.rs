//! The directory source: the manifests that a cluster would take, read from files, and checked at least as strictly.
//!
//! ```text
//! files ──► tree (YAML with lines) ──► check (schema) ──► kind (CEL rules) ──► typed resources
//! ```
//!
//! All or nothing: one mistake anywhere and nothing is returned but the list of all mistakes, so that a caller keeps
//! what it had. Differences to a cluster, all on purpose: unknown fields are refused at every depth, a namespace is
//! ignored, and so is everything that a cluster fills in (`status`, `metadata.uid` and the like).

mod check;
mod files;
mod kind;
mod problem;
mod tree;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    path::{Path, PathBuf},
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

pub use self::problem::{Problem, Reason, nearest};
use self::{
    check::{Checker, Findings},
    files::Manifest,
    kind::Kind,
    problem::Problems,
    tree::{Item, Step},
};
use crate::{
    limits,
    resources::{API_VERSION, Dashboard, Tenant},
};

/// Everything that a manifest directory defines, sorted by name.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ResourceSet {
    /// The tenants.
    pub tenants: Vec<Tenant>,
    /// The dashboards.
    pub dashboards: Vec<Dashboard>,
    /// What is allowed but probably not meant, such as a tenant that refers to a dashboard that does not exist.
    pub warnings: Vec<Problem>,
}

/// Reads every `*.yaml` and `*.yml` file of `dir`.
///
/// # Errors
///
/// All problems of all files, by file and line. Never empty.
pub fn load(dir: &Path) -> Result<ResourceSet, Vec<Problem>> {
    let mut loader = Loader::new();
    let manifests = files::read(dir, &mut loader.problems);
    for manifest in manifests {
        loader.manifest(&manifest);
    }
    loader.finish()
}

/// The `uid` of a resource that no cluster gave one: derived from kind and name, the same at every load and on every
/// machine. A directory cannot tell a resource from its successor of the same name; a cluster can.
pub fn uid(kind: &str, name: &str) -> String {
    uuid_of(format!("https://kyros.dev/{kind}/{name}").as_bytes())
}

/// A custom UUID (RFC 9562, section 5.8) of some bytes' SHA-256.
fn uuid_of(bytes: &[u8]) -> String {
    let mut id = [0; 16];
    id.copy_from_slice(&kyros_shared_config::crypto::sha256(bytes)[..16]);
    let id = (u128::from_be_bytes(id) & !(0xf << 76) & !(0x3 << 62)) | (0x8 << 76) | (0x2 << 62);
    let hex = format!("{id:032x}");
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

/// Where something stands.
#[derive(Debug, Clone)]
struct Place {
    file: PathBuf,
    line: u64,
}

struct Loader {
    tenant: Kind,
    dashboard: Kind,
    checker: Checker,
    documents: usize,
    /// Where each kind and name was first defined, including resources that are otherwise wrong.
    defined: HashMap<(&'static str, String), Place>,
    problems: Problems,
    warnings: Problems,
    tenants: Vec<Tenant>,
    dashboards: Vec<Dashboard>,
    /// Tenant, dashboard, place.
    references: Vec<(String, String, Place)>,
}

// === impl Loader ===

impl Loader {
    fn new() -> Self {
        Self {
            tenant: Kind::tenant(),
            dashboard: Kind::dashboard(),
            checker: Checker::default(),
            documents: 0,
            defined: HashMap::new(),
            problems: Problems::default(),
            warnings: Problems::default(),
            tenants: Vec::new(),
            dashboards: Vec::new(),
            references: Vec::new(),
        }
    }

    fn manifest(&mut self, manifest: &Manifest) {
        for document in tree::parse(&manifest.text) {
            self.documents += 1;
            if self.documents > limits::DOCUMENTS {
                // Said once, for the first document too many.
                if self.documents == limits::DOCUMENTS + 1 {
                    let line = document.map_or_else(|error| error.line, |document| document.line);
                    self.report(&manifest.file, line, Reason::TooManyDocuments);
                }
                return;
            }
            match document {
                Ok(document) => self.document(&manifest.file, &document),
                Err(error) => self.report(&manifest.file, error.line, Reason::Syntax(error.message)),
            }
        }
    }

    fn document(&mut self, file: &Path, document: &Item) {
        let is_tenant = match header(document) {
            Ok("Tenant") => true,
            Ok(_) => false,
            Err((line, reason)) => return self.report(file, line, reason),
        };
        let kind = if is_tenant { &self.tenant } else { &self.dashboard };
        let name = kind.name;
        let Findings { mistakes, warnings } = kind.check(&mut self.checker, document);
        let is_first = self.define(name, file, document);
        let is_sound = mistakes.is_empty() && is_first;
        for finding in mistakes {
            self.report(file, finding.line, finding.reason);
        }
        for finding in warnings {
            self.warnings.push(Problem { file: file.to_owned(), line: finding.line, reason: finding.reason });
        }
        if !is_sound {
            return;
        }
        if is_tenant {
            if let Some(tenant) = self.typed::<Tenant>(name, file, document) {
                self.refer(&tenant, file, document);
                self.tenants.push(tenant);
            }
        } else if let Some(dashboard) = self.typed::<Dashboard>(name, file, document) {
            self.dashboards.push(dashboard);
        }
    }

    /// Remembers the name. False for one that is taken.
    fn define(&mut self, kind: &'static str, file: &Path, document: &Item) -> bool {
        let metadata = document.tree.entry("metadata");
        let Some((name, line)) = metadata.and_then(|metadata| metadata.tree.text("name")) else {
            return true;
        };
        let place = Place { file: file.to_owned(), line };
        let Some(first) = self.defined.get(&(kind, name.to_owned())).cloned() else {
            self.defined.insert((kind, name.to_owned()), place);
            return true;
        };
        let name = name.to_owned();
        self.report(
            file,
            line,
            Reason::DuplicateResource { kind, name, first_file: first.file, first_line: first.line },
        );
        false
    }

    fn typed<K>(&mut self, kind: &'static str, file: &Path, document: &Item) -> Option<K>
    where
        K: DeserializeOwned + Serialize + ResourceExt,
    {
        let mut json = document.tree.to_json();
        if let Some(object) = json.as_object_mut() {
            object.remove("status");
        }
        let result = reduce(&mut json)
            .and_then(|()| serde_json::from_value::<K>(json))
            .and_then(|mut resource| stamp(kind, &mut resource).map(|()| resource));
        match result {
            Ok(resource) => Some(resource),
            Err(error) => {
                self.report(file, document.line, Reason::Shape { kind, message: error.to_string() });
                None
            }
        }
    }

    fn refer(&mut self, tenant: &Tenant, file: &Path, document: &Item) {
        for (index, dashboard) in tenant.spec.dashboards.iter().enumerate() {
            let path = ["spec", "dashboards"].map(|key| Step::Key(key.to_owned())).into_iter();
            let path = tree::Path(path.chain([Step::Index(index)]).collect());
            let place = Place { file: file.to_owned(), line: document.line_of(&path) };
            self.references.push((tenant.name_any(), dashboard.clone(), place));
        }
    }

    fn report(&mut self, file: &Path, line: u64, reason: Reason) {
        self.problems.push(Problem { file: file.to_owned(), line, reason });
    }

    fn finish(self) -> Result<ResourceSet, Vec<Problem>> {
        let Self { problems, mut warnings, mut tenants, mut dashboards, references, .. } = self;
        if !problems.is_empty() {
            return Err(problems.into_sorted());
        }
        tenants.sort_by_key(ResourceExt::name_any);
        dashboards.sort_by_key(ResourceExt::name_any);
        let existing: BTreeSet<_> = dashboards.iter().map(ResourceExt::name_any).collect();
        for (tenant, dashboard, place) in references {
            if !existing.contains(&dashboard) {
                let reason = Reason::UnknownDashboard { tenant, dashboard };
                warnings.push(Problem { file: place.file, line: place.line, reason });
            }
        }
        Ok(ResourceSet { tenants, dashboards, warnings: warnings.into_sorted() })
    }
}

/// The kind of a document that says what it is.
fn header(document: &Item) -> Result<&str, (u64, Reason)> {
    if !matches!(document.tree, tree::Tree::Map(_)) {
        return Err((document.line, Reason::NotAMapping { found: document.tree.type_name() }));
    }
    let text = |key: &str| {
        let Some(entry) = document.tree.entry(key) else {
            return Err((document.line, Reason::MissingField { field: key.to_owned() }));
        };
        document.tree.text(key).ok_or_else(|| {
            let (field, expected, found) = (key.to_owned(), "a string", entry.tree.type_name());
            (entry.line, Reason::Type { field, expected, found })
        })
    };
    let (kind, kind_line) = text("kind")?;
    let (version, version_line) = text("apiVersion")?;
    // The kind first: a `List` has another apiVersion too, and the kind explains more.
    if !matches!(kind, "Tenant" | "Dashboard") {
        return Err((kind_line, Reason::Kind { found: kind.to_owned() }));
    }
    if version != API_VERSION {
        return Err((version_line, Reason::ApiVersion { found: version.to_owned() }));
    }
    Ok(kind)
}

/// Keeps of the metadata what a person writes.
fn reduce(json: &mut Value) -> Result<(), serde_json::Error> {
    let metadata = json.get_mut("metadata").map(Value::take).unwrap_or_default();
    let name = metadata.get("name").and_then(Value::as_str).map(str::to_owned);
    let kept = |key: &str| metadata.get(key).cloned().map(serde_json::from_value::<BTreeMap<_, _>>).transpose();
    json["metadata"] = serde_json::to_value(ObjectMeta {
        name,
        labels: kept("labels")?,
        annotations: kept("annotations")?,
        ..ObjectMeta::default()
    })?;
    Ok(())
}

/// Fills in what a cluster would: the uid, and a version that changes exactly when the content does.
fn stamp<K: Serialize + ResourceExt>(kind: &str, resource: &mut K) -> Result<(), serde_json::Error> {
    let content = serde_json::to_vec(resource)?;
    let name = resource.name_any();
    let metadata = resource.meta_mut();
    metadata.uid = Some(uid(kind, &name));
    metadata.resource_version = Some(uuid_of(&content));
    Ok(())
}

#[cfg(test)]
mod tests;
