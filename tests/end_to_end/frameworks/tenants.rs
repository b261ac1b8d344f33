//! Two tenants that may open the framework's dashboard, and the rows that each of them alone has.

use std::{fs::File, io::Write as _, path::Path};

use kyros_tests::Up;
use tempfile::TempDir;

use super::table::Framework;
use crate::import;

/// What the tests know of a tenant's rows.
pub(super) struct Tenant {
    pub(super) name: &'static str,
    pub(super) channel: &'static str,
    pub(super) country: &'static str,
    pub(super) rows: &'static [&'static str],
}

pub(super) const ACME: Tenant = Tenant {
    name: "acme",
    channel: "Shop",
    country: "Norway",
    rows: &["A1,2026-01-05,Shop,Norway,70", "A2,2026-01-06,Shop,Norway,50", "A2,2026-01-07,Phone,Chile,20"],
};

pub(super) const GLOBEX: Tenant = Tenant {
    name: "globex",
    channel: "Partner",
    country: "Japan",
    rows: &["G1,2026-01-05,Partner,Japan,900", "G2,2026-01-06,Direct,Kenya,100"],
};

/// What arrives for Acme while its page is open.
pub(super) const NEW_ROW: &str = "A3,2026-01-08,Shop,Norway,10";
const COLUMNS: &str = "customer_id,order_date,channel,country,revenue\n";

/// The repository's people, and the two tenants.
pub(super) fn sources(framework: &Framework, port: u16) -> TempDir {
    let sources = TempDir::with_prefix("kyros-sources-").unwrap();
    let people = Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/people.yaml");
    std::fs::copy(people, sources.path().join("people.yaml")).unwrap();
    std::fs::create_dir(sources.path().join("manifests")).unwrap();
    let mut file = File::create(sources.path().join("manifests/frameworks.yaml")).unwrap();
    let (name, transport) = (framework.name, framework.transport);
    writeln!(
        file,
        "apiVersion: kyros.dev/v1alpha1\nkind: Dashboard\nmetadata: {{name: {name}}}\nspec:\n  title: Sales\n  \
         image: localhost/{name}:0.1.0\n  transport: {transport}\n  port: {port}\n  datasets: [transactions]"
    )
    .unwrap();
    for tenant in [ACME.name, GLOBEX.name] {
        writeln!(
            file,
            "---\napiVersion: kyros.dev/v1alpha1\nkind: Tenant\nmetadata: {{name: {tenant}}}\n\
             spec:\n  displayName: {tenant}\n  members: [{{user: ana@acme.example, roles: [viewer]}}]\n  \
             dashboards: [{name}]"
        )
        .unwrap();
    }
    sources
}

/// Gives a tenant these rows and no others.
pub(super) fn publish(up: &Up, framework: &Framework, tenant: &Tenant, rows: &[&str]) {
    let file = up.path("rows.csv");
    std::fs::write(&file, format!("{COLUMNS}{}\n", rows.join("\n"))).unwrap();
    let imported = import(up, &file, tenant.name, framework.name, "transactions");
    assert!(imported.status.success(), "{imported:?}");
}
