//! Role `project` on a folder that people and Kubernetes change in their own ways.

use std::{fs, os::unix::fs::symlink, path::Path, time::Duration};

use kyros_controller::{
    ProjectSettings, Projector,
    project::{COMPARE_EVERY, CONFIRM_EVERY, ProjectError, Source},
};
use kyros_metadata::{Reader, TenantRecord};
use tokio_util::sync::CancellationToken;

fn tenant(name: &str, display: &str) -> String {
    format!(
        "apiVersion: kyros.dev/v1alpha1\nkind: Tenant\nmetadata: {{name: {name}}}\nspec:\n  displayName: {display}\n"
    )
}

struct Running {
    _folder: tempfile::TempDir,
    reader: Reader,
    stop: CancellationToken,
}

async fn start(folder: tempfile::TempDir, manifests: &Path) -> Running {
    let settings = ProjectSettings {
        source: Source::Folder(manifests.to_owned()),
        metadata_db: folder.path().join("metadata.db"),
        cluster_keys: None,
        confirm_every: CONFIRM_EVERY,
        compare_every: COMPARE_EVERY,
    };
    let projector = Projector::start(&settings).await.unwrap();
    let (reader, follow) = Reader::open(&settings.metadata_db, Duration::ZERO).await.unwrap();
    tokio::spawn(follow);
    let stop = CancellationToken::new();
    tokio::spawn(projector.run(stop.clone()));
    // The watch begins with the task; a change before it would only be seen at the next regular look.
    tokio::time::sleep(Duration::from_millis(200)).await;
    Running { _folder: folder, reader, stop }
}

impl Running {
    /// The tenants' display names, once they are as wanted.
    async fn eventually(&self, wanted: &[&str]) {
        self.eventually_each(|tenant| tenant.display_name.clone(), wanted).await;
    }

    /// One text of each tenant, once they are as wanted.
    async fn eventually_each(&self, text: impl Fn(&TenantRecord) -> String, wanted: &[&str]) {
        let texts = || -> Vec<String> { self.reader.snapshot().tenants.values().map(&text).collect() };
        for _ in 0..60 {
            if texts() == wanted {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("wanted {wanted:?}, there is {:?}", texts());
    }
}

#[tokio::test]
async fn changes_take_effect_however_an_editor_writes_them() {
    let folder = tempfile::tempdir().unwrap();
    let manifests = folder.path().join("manifests");
    fs::create_dir(&manifests).unwrap();
    fs::write(manifests.join("a.yaml"), tenant("acme", "One")).unwrap();
    let running = start(folder, &manifests).await;
    running.eventually(&["One"]).await;
    fs::write(manifests.join("a.yaml"), tenant("acme", "In place")).unwrap();
    running.eventually(&["In place"]).await;
    fs::write(manifests.join(".a.yaml.swp"), tenant("acme", "Renamed over")).unwrap();
    fs::rename(manifests.join(".a.yaml.swp"), manifests.join("a.yaml")).unwrap();
    running.eventually(&["Renamed over"]).await;
    fs::write(manifests.join("b.yaml"), tenant("globex", "Second")).unwrap();
    running.eventually(&["Renamed over", "Second"]).await;
    fs::write(manifests.join("b.yaml"), "kind: Nonsense\n").unwrap();
    fs::remove_file(manifests.join("a.yaml")).unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    running.eventually(&["Renamed over", "Second"]).await;
    fs::remove_file(manifests.join("b.yaml")).unwrap();
    running.eventually(&[]).await;
    running.stop.cancel();
}

#[tokio::test]
async fn who_may_frame_a_tenants_dashboards_follows_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let manifests = folder.path().join("manifests");
    fs::create_dir(&manifests).unwrap();
    let write = |rest: &str| fs::write(manifests.join("a.yaml"), format!("{}{rest}", tenant("acme", "Acme"))).unwrap();
    let origins =
        |tenant: &TenantRecord| tenant.allowed_origins.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    write("  embedding: {allowedOrigins: [https://intranet.acme.example]}\n");
    let running = start(folder, &manifests).await;
    running.eventually_each(origins, &["https://intranet.acme.example"]).await;
    write("  embedding: {allowedOrigins: [https://b.example, https://a.example:8443]}\n");
    running.eventually_each(origins, &["https://b.example https://a.example:8443"]).await;
    write("");
    running.eventually_each(origins, &[""]).await;
    running.stop.cancel();
}

#[tokio::test]
async fn where_a_tenants_data_lies_follows_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let manifests = folder.path().join("manifests");
    fs::create_dir(&manifests).unwrap();
    let write = |rest: &str| fs::write(manifests.join("a.yaml"), format!("{}{rest}", tenant("acme", "Acme"))).unwrap();
    let source = |tenant: &TenantRecord| tenant.source.as_ref().map(ToString::to_string).unwrap_or_default();
    write("  source: lake\n");
    let running = start(folder, &manifests).await;
    running.eventually_each(source, &["lake"]).await;
    write("");
    running.eventually_each(source, &[""]).await;
    running.stop.cancel();
}

#[tokio::test]
async fn a_configmap_swaps_its_links_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let manifests = folder.path().join("manifests");
    for (version, display) in [("..v1", "Old"), ("..v2", "New")] {
        fs::create_dir_all(manifests.join(version)).unwrap();
        fs::write(manifests.join(version).join("a.yaml"), tenant("acme", display)).unwrap();
    }
    symlink("..v1", manifests.join("..data")).unwrap();
    symlink("..data/a.yaml", manifests.join("a.yaml")).unwrap();
    let running = start(folder, &manifests).await;
    running.eventually(&["Old"]).await;
    symlink("..v2", manifests.join("..data_tmp")).unwrap();
    fs::rename(manifests.join("..data_tmp"), manifests.join("..data")).unwrap();
    running.eventually(&["New"]).await;
    running.stop.cancel();
}

#[tokio::test]
async fn nothing_starts_on_a_first_set_with_a_mistake() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.yaml"), tenant("acme", "One").replace("displayName", "name")).unwrap();
    let settings = ProjectSettings {
        source: Source::Folder(folder.path().to_owned()),
        metadata_db: folder.path().join("metadata.db"),
        cluster_keys: None,
        confirm_every: CONFIRM_EVERY,
        compare_every: COMPARE_EVERY,
    };
    let refused = Projector::start(&settings).await.err().expect("an error");
    assert!(matches!(refused, ProjectError::Manifests(_)), "{refused}");
    assert!(refused.to_string().contains("a.yaml:5"), "{refused}");
}

#[test]
fn a_source_is_a_folder_or_a_namespace() {
    assert_eq!("dir:data/manifests".parse(), Ok(Source::Folder("data/manifests".into())));
    assert_eq!("cluster:default".parse(), Ok(Source::Cluster("default".into())));
    for neither in ["https://x", "dir:", "cluster:", "default", ""] {
        assert!(neither.parse::<Source>().is_err(), "{neither}");
    }
}
