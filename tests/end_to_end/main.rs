//! Kyros as people and programs meet it: every test starts `kyros up` on a free port with folders of its own.

mod attacks;
mod browser;
mod compose;
mod dashboards;
mod dev;
mod document;
mod frameworks;
mod kubernetes;
mod lifecycle;
mod matrix;
mod new_dashboard;
mod portal;
mod preferences;
mod programs;
mod quality;
mod sources;

use std::path::Path;

use kyros_tests::{Up, UpOptions};

/// Starts the program that Cargo built for these tests, on the manifests and people of the repository.
fn up() -> Up {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("../data");
    Up::start(&UpOptions { program: env!("CARGO_BIN_EXE_kyros").into(), sources }).expect("kyros up starts")
}

/// The same on manifests and people that `change` has edited in a copy.
fn up_with(change: impl FnOnce(&Path)) -> Up {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../data");
    let sources = tempfile::TempDir::with_prefix("kyros-sources-").expect("a temporary folder");
    std::fs::create_dir(sources.path().join("manifests")).expect("a folder");
    for file in ["people.yaml", "manifests/tenants.yaml", "manifests/dashboards.yaml"] {
        std::fs::copy(from.join(file), sources.path().join(file)).expect("a copy");
    }
    change(sources.path());
    let options = UpOptions { program: env!("CARGO_BIN_EXE_kyros").into(), sources: sources.path().into() };
    Up::start(&options).expect("kyros up starts")
}

/// `kyros data import` of a file for a tenant's dashboard, as an operator would run it beside `kyros up`.
fn import(up: &Up, file: &Path, tenant: &str, dashboard: &str, dataset: &str) -> std::process::Output {
    std::process::Command::new(env!("CARGO_BIN_EXE_kyros"))
        .args(["data", "import"])
        .arg(file)
        .args(["--tenant", tenant, "--dashboard", dashboard, "--dataset", dataset, "--data"])
        .arg(up.path("data"))
        .output()
        .expect("the program starts")
}
