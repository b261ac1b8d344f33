//! The tenants, people and data that a dashboard is developed with: the developer's own where they are given, demo ones
//! elsewhere.
//!
//! What is made up lies in the state folder and is made anew at every start. It goes through the same checks as manifests and
//! data of a real installation.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use kyros_api::{
    engine::{Format, Table},
    operator::{NamedDataset, publish},
};
use kyros_controller::{
    directory::{self, ResourceSet},
    resources::{Dashboard, Isolation},
};
use kyros_shared_config::{DashboardSlug, DatasetName, TenantId};
use serde::Serialize;

use super::{
    DevArgs,
    datasets::{self, Given},
};
use crate::{new::title_of, output::counted};

/// A dashboard's own manifest, as `kyros new` writes it.
const OWN_MANIFEST: &str = "kyros.yaml";
const DEMO_TENANTS: &str = include_str!("../../templates/dev/tenants.yaml");
const DEMO_PEOPLE: &str = include_str!("../../templates/dev/people.yaml");
const DEMO_DASHBOARD: &str = include_str!("../../templates/dev/dashboard.yaml");
/// What the demo data holds where nothing else is asked for.
const DEMO_DATASET: &str = "transactions";
/// What demo data can be made of.
const DEMO_DATASETS: [&str; 3] = [DEMO_DATASET, "exposures", "pnl"];
/// Enough for charts with a shape, and made in a moment.
const DEMO_ROWS: usize = 4000;

/// Everything that there is beside the command.
pub(super) struct World {
    pub(super) dashboard: DashboardSlug,
    pub(super) manifests: PathBuf,
    pub(super) people: PathBuf,
    pub(super) data: PathBuf,
    /// What a developer should know about it.
    pub(super) notes: Vec<String>,
    tenants: Vec<TenantId>,
    given: Vec<Given>,
}

impl World {
    /// Finds or makes all of it. Nothing of the developer's is written to.
    pub(super) fn build(args: &DevArgs) -> anyhow::Result<Self> {
        // Sessions and keys are not for version control.
        written(&args.state.join(".gitignore"), "*\n")?;
        let mut given = args.data.as_deref().map(datasets::in_folder).transpose()?.unwrap_or_default();
        given.extend(args.dataset.iter().cloned());
        let (manifests, is_demo) = match &args.manifests {
            Some(folder) => (folder.clone(), false),
            None => demo_manifests(args, &given)?,
        };
        let set = load(&manifests)?;
        let dashboard = chosen(&set, args, &manifests)?;
        let name = dashboard.metadata.name.clone().unwrap_or_default();
        if dashboard.spec.isolation == Isolation::PerTenant {
            bail!(
                "dashboard {name} asks for isolation: PerTenant, and kyros dev runs one process; write isolation: Shared"
            );
        }
        let tenants = tenants_of(&set, &name)?;
        let people = match (&args.people, is_demo) {
            (Some(people), _) => people.clone(),
            (None, true) => written(&args.state.join("people.yaml"), DEMO_PEOPLE)?,
            (None, false) => written(&args.state.join("people.yaml"), &members(&set, &tenants)?)?,
        };
        let data = args.state.join("data");
        let mut world = Self { dashboard: name.parse()?, manifests, people, data, notes: Vec::new(), tenants, given };
        world.fill(&dashboard.spec.datasets)?;
        Ok(world)
    }

    /// The given dataset that is read from this file.
    pub(super) fn dataset_of(&self, path: &Path) -> Option<Given> {
        let path = path.canonicalize().ok()?;
        self.given.iter().find(|given| given.file.canonicalize().is_ok_and(|file| file == path)).cloned()
    }

    /// Makes a file the dataset of its tenants, and says so.
    pub(super) fn publish(&self, given: &Given) -> anyhow::Result<String> {
        let table = given.read()?;
        let tenants: Vec<_> = self.tenants.iter().filter(|tenant| self.is_for(given, tenant)).collect();
        for tenant in &tenants {
            publish(&self.data, &self.place(tenant, &given.dataset), &table)?;
        }
        let names = tenants.iter().map(|tenant| tenant.as_str()).collect::<Vec<_>>().join(" and ");
        Ok(format!("{} has {} for {names}", given.dataset, counted(table.rows(), "row")))
    }

    /// A file for one tenant replaces one for all.
    fn is_for(&self, given: &Given, tenant: &TenantId) -> bool {
        match &given.tenant {
            Some(only) => only == tenant,
            None => !self.given.iter().any(|own| own.dataset == given.dataset && own.tenant.as_ref() == Some(tenant)),
        }
    }

    /// Gives the dashboard its data, from the start.
    fn fill(&mut self, allowed: &[String]) -> anyhow::Result<()> {
        if self.data.exists() {
            std::fs::remove_dir_all(&self.data)?;
        }
        for given in &self.given {
            if !allowed.iter().any(|name| name == given.dataset.as_str()) {
                bail!(
                    "{0} may not read {1}: add {1} under spec.datasets of its Dashboard",
                    self.dashboard,
                    given.dataset
                );
            }
            if let Some(tenant) = given.tenant.as_ref().filter(|tenant| !self.tenants.contains(tenant)) {
                bail!("{} is for {tenant}, for whom {} is not open", given.file.display(), self.dashboard);
            }
            self.notes.push(self.publish(given)?);
        }
        for dataset in allowed {
            let dataset: DatasetName = dataset.parse()?;
            let missing: Vec<_> = self.tenants.iter().filter(|tenant| !self.is_given(tenant, &dataset)).collect();
            if missing.is_empty() {
                continue;
            }
            let is_known = DEMO_DATASETS.contains(&dataset.as_str());
            for tenant in missing.iter().filter(|_| is_known) {
                let mut csv = Vec::new();
                kyros_demo_data::generate_rows(tenant.as_str(), dataset.as_str(), DEMO_ROWS, &mut csv)?;
                publish(&self.data, &self.place(tenant, &dataset), &Table::from_bytes(csv, Format::Csv)?)?;
            }
            let names = missing.iter().map(|tenant| tenant.as_str()).collect::<Vec<_>>().join(" and ");
            self.notes.push(if is_known {
                format!("{dataset} has demo rows for {names}; give your own with --dataset {dataset}=FILE")
            } else {
                format!("{dataset} has no rows for {names}; give some with --dataset {dataset}=FILE")
            });
        }
        Ok(())
    }

    fn is_given(&self, tenant: &TenantId, dataset: &DatasetName) -> bool {
        self.given.iter().any(|given| given.dataset == *dataset && self.is_for(given, tenant))
    }

    fn place(&self, tenant: &TenantId, dataset: &DatasetName) -> NamedDataset {
        NamedDataset { tenant: tenant.clone(), dashboard: self.dashboard.clone(), dataset: dataset.clone() }
    }
}

/// The demo tenants, with the folder's own Dashboard or one made up; whether the people may be the demo ones, too.
fn demo_manifests(args: &DevArgs, given: &[Given]) -> anyhow::Result<(PathBuf, bool)> {
    let folder = args.state.join("manifests");
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    std::fs::create_dir_all(&folder)?;
    let own = Path::new(OWN_MANIFEST);
    let name = if own.exists() {
        std::fs::copy(own, folder.join(OWN_MANIFEST))?;
        let set = load(&folder)?;
        let [dashboard] = &set.dashboards[..] else {
            bail!("{OWN_MANIFEST} must hold one Dashboard; for several resources use --manifests FOLDER");
        };
        let name = dashboard.metadata.name.clone().unwrap_or_default();
        if let Some(other) = args.name.as_ref().filter(|other| other.as_str() != name) {
            bail!(
                "{OWN_MANIFEST} calls the dashboard {name}, and --name {other}; leave --name out, or change the file"
            );
        }
        if !set.tenants.is_empty() {
            return Ok((folder, false));
        }
        name
    } else {
        let name = match &args.name {
            Some(name) => name.to_string(),
            None => slug_of(&std::env::current_dir()?),
        };
        let mut datasets: BTreeSet<&str> = given.iter().map(|given| given.dataset.as_str()).collect();
        if datasets.is_empty() {
            datasets.insert(DEMO_DATASET);
        }
        let datasets = datasets.into_iter().collect::<Vec<_>>().join(", ");
        let manifest = DEMO_DASHBOARD.replace("__DASHBOARD__", &name).replace("__TITLE__", &title_of(&name));
        written(&folder.join(OWN_MANIFEST), &manifest.replace("__DATASETS__", &datasets))?;
        name
    };
    written(&folder.join("tenants.yaml"), &DEMO_TENANTS.replace("__DASHBOARD__", &name))?;
    Ok((folder, true))
}

/// The dashboard that is meant among those of the manifests.
fn chosen<'a>(set: &'a ResourceSet, args: &DevArgs, folder: &Path) -> anyhow::Result<&'a Dashboard> {
    let here = std::env::current_dir().map(|folder| slug_of(&folder)).unwrap_or_default();
    let called = |name: &str| set.dashboards.iter().find(|dashboard| dashboard.metadata.name.as_deref() == Some(name));
    let found = match (&args.name, &set.dashboards[..]) {
        (Some(name), _) => called(name.as_str()),
        (None, [only]) => Some(only),
        (None, _) => called(&here),
    };
    let names = || {
        let names = set.dashboards.iter().filter_map(|dashboard| dashboard.metadata.name.as_deref());
        names.collect::<Vec<_>>().join(", ")
    };
    found.with_context(|| match &args.name {
        Some(name) => format!("{} has no Dashboard {name}, but: {}", folder.display(), names()),
        None => format!("say with --name which dashboard of {} it is: {}", folder.display(), names()),
    })
}

fn tenants_of(set: &ResourceSet, dashboard: &str) -> anyhow::Result<Vec<TenantId>> {
    let open = set.tenants.iter().filter(|tenant| tenant.spec.dashboards.iter().any(|name| name == dashboard));
    let names: Vec<TenantId> = open.filter_map(|tenant| tenant.metadata.name.as_deref()?.parse().ok()).collect();
    if names.is_empty() {
        bail!("no Tenant may open {dashboard}: add it under spec.dashboards of one");
    }
    Ok(names)
}

/// A mock person, as the file of people has them.
#[derive(Serialize)]
struct Person {
    sub: String,
    name: String,
    email: String,
    tenant_ids: Vec<TenantId>,
}

/// The people whom the tenants name as members, as a file of people.
fn members(set: &ResourceSet, tenants: &[TenantId]) -> anyhow::Result<String> {
    let mut found: BTreeMap<&str, Vec<TenantId>> = BTreeMap::new();
    for tenant in &set.tenants {
        let id = tenants.iter().find(|id| tenant.metadata.name.as_deref() == Some(id.as_str()));
        for (id, user) in id.into_iter().flat_map(|id| tenant.spec.members.iter().map(move |m| (id, m.user.as_deref())))
        {
            found.entry(user.unwrap_or_default()).or_default().push(id.clone());
        }
    }
    found.remove("");
    if found.is_empty() {
        bail!("the manifests name no member by e-mail address: give the people with --people FILE");
    }
    let person = |(email, tenant_ids): (&str, Vec<TenantId>)| {
        let name = email.split('@').next().unwrap_or(email);
        Person { sub: email.to_owned(), name: title_of(name), email: email.to_owned(), tenant_ids }
    };
    // JSON is YAML.
    Ok(serde_json::to_string_pretty(&found.into_iter().map(person).collect::<Vec<_>>())?)
}

fn load(folder: &Path) -> anyhow::Result<ResourceSet> {
    directory::load(folder).map_err(|problems| {
        let lines = problems.iter().map(|problem| format!("{problem}\n  {}", problem.hint()));
        anyhow::anyhow!("{}", lines.collect::<Vec<_>>().join("\n"))
    })
}

fn written(file: &Path, text: &str) -> anyhow::Result<PathBuf> {
    std::fs::write(file, text).with_context(|| format!("{}", file.display()))?;
    Ok(file.to_owned())
}

/// A folder's name as a dashboard's: what does not fit becomes a hyphen.
fn slug_of(folder: &Path) -> String {
    let name = folder.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
    let words = name.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let mut slug = words.collect::<Vec<_>>().join("-");
    slug.truncate(kyros_shared_config::names::MAX_NAME_LENGTH);
    let slug = slug.trim_end_matches('-');
    if slug.is_empty() { "dashboard".to_owned() } else { slug.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folders_name_becomes_a_dashboards() {
        for (folder, slug) in [
            ("/x/My Sales_Report v2", "my-sales-report-v2"),
            ("/", "dashboard"),
            ("/x/--", "dashboard"),
            ("/x/a-very-long-name-that-goes-on-and-on", "a-very-long-name-that-goes-on"),
        ] {
            assert_eq!(slug_of(Path::new(folder)), slug, "{folder}");
            assert!(slug.parse::<DashboardSlug>().is_ok());
        }
    }

    #[test]
    fn the_demo_world_passes_the_checks_of_real_manifests() {
        let folder = tempfile::TempDir::new().unwrap();
        let fill = |text: &str| {
            text.replace("__DASHBOARD__", "sales").replace("__TITLE__", "Sales").replace("__DATASETS__", DEMO_DATASET)
        };
        written(&folder.path().join("tenants.yaml"), &fill(DEMO_TENANTS)).unwrap();
        written(&folder.path().join("dashboard.yaml"), &fill(DEMO_DASHBOARD)).unwrap();
        let set = load(folder.path()).unwrap();
        assert!(set.warnings.is_empty(), "{:?}", set.warnings);
        let tenants = tenants_of(&set, "sales").unwrap();
        assert_eq!(tenants.len(), 2);
        let people = members(&set, &tenants).unwrap();
        assert!(people.contains("\"ana@acme.example\"") && people.matches("\"sub\"").count() == 3, "{people}");
    }
}
