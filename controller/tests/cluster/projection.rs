//! Role `project` as a process, against a cluster: whatever happens to it, its file is what the cluster has.

use std::{
    collections::BTreeMap,
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use kube::api::{DeleteParams, ListParams};
use kyros_controller::{
    ProjectSettings, Projector,
    project::{CONFIRM_EVERY, Source},
    resources::{Dashboard, Tenant},
};
use kyros_metadata::{Reader, Snapshot};
use kyros_shared_config::{ClusterKeys, KeySet};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::{
    chaos::Chaos,
    world::{PATIENCE, World, client},
};

struct ProjectorProcess(Child);

impl ProjectorProcess {
    fn start(world: &World, folder: &Path) -> Self {
        let child = Command::new(env!("CARGO_BIN_EXE_kyros-controller"))
            .args(["project", "--source", &format!("cluster:{}", world.namespace)])
            .arg("--metadata-db")
            .arg(folder.join("metadata.db"))
            .arg("--cluster-keys")
            .arg(folder.join("cluster-keys.json"))
            .env("KUBECONFIG", world.plane.kubeconfig())
            .env("KYROS_LOG", "error")
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        Self(child)
    }

    fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for ProjectorProcess {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What a read model of the cluster as it is now would show.
async fn expected(world: &World) -> BTreeMap<String, (String, i64, bool)> {
    let all = ListParams::default();
    let tenants = world.api::<Tenant>().list(&all).await.unwrap();
    let dashboards = world.api::<Dashboard>().list_metadata(&all).await.unwrap();
    let tenants = tenants.items.into_iter().map(|tenant| {
        let metadata = tenant.metadata;
        let shown = (metadata.uid.unwrap(), metadata.generation.unwrap(), tenant.spec.suspended);
        (format!("Tenant {}", metadata.name.unwrap()), shown)
    });
    let dashboards = dashboards.items.into_iter().map(|dashboard| {
        let metadata = dashboard.metadata;
        (format!("Dashboard {}", metadata.name.unwrap()), (metadata.uid.unwrap(), metadata.generation.unwrap(), false))
    });
    tenants.chain(dashboards).collect()
}

fn shown(snapshot: &Snapshot) -> BTreeMap<String, (String, i64, bool)> {
    let tenants = snapshot
        .tenants
        .values()
        .map(|tenant| (format!("Tenant {}", tenant.id), (tenant.uid.clone(), tenant.generation, tenant.suspended)));
    let dashboards = snapshot.dashboards.values().map(|dashboard| {
        (format!("Dashboard {}", dashboard.slug), (dashboard.uid.clone(), dashboard.generation, false))
    });
    tenants.chain(dashboards).collect()
}

async fn until_equal(world: &World, reader: &Reader) {
    let begun = Instant::now();
    loop {
        let (expected, shown) = (expected(world).await, shown(&reader.snapshot()));
        if expected == shown {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "cluster: {expected:#?}\nshown: {shown:#?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_read_model_follows_the_cluster_and_survives_being_killed() {
    let Some(world) = World::new("project").await else { return };
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("metadata.db");
    for number in 0..20 {
        world.tenant(&format!("t{number}"), &["clv"], false).await;
    }
    world.dashboard("clv", json!({"datasets": ["transactions"]})).await;
    let mut projector = ProjectorProcess::start(&world, folder.path());
    let (reader, follow) = Reader::open(&database, PATIENCE).await.unwrap();
    tokio::spawn(follow);
    assert_eq!(shown(&reader.snapshot()).len(), 21, "the first that is seen is complete");
    until_equal(&world, &reader).await;
    let keys = folder.path().join("cluster-keys.json");
    assert_eq!(ClusterKeys::read(&keys).unwrap().issuer, "https://kubernetes.default.svc.cluster.local");
    assert!(!KeySet::parse(&std::fs::read(&keys).unwrap()).unwrap().is_empty());
    for round in 0..25_u64 {
        // Changes, deletions and namesakes while it runs, and while it does not.
        world.tenant(&format!("t{}", round % 20), &[], round % 2 == 0).await;
        if round % 5 == 0 {
            let name = format!("t{}", (round + 1) % 20);
            world.api::<Tenant>().delete(&name, &DeleteParams::default()).await.unwrap();
            world.tenant(&name, &["clv"], false).await;
        }
        if round % 3 == 0 {
            tokio::time::sleep(Duration::from_millis(round * 7 % 40)).await;
            projector.kill();
            world.tenant("late", &[], round % 2 == 1).await;
            projector = ProjectorProcess::start(&world, folder.path());
        }
    }
    until_equal(&world, &reader).await;
    world.api::<Tenant>().delete("late", &DeleteParams::default()).await.unwrap();
    world.api::<Dashboard>().delete("clv", &DeleteParams::default()).await.unwrap();
    until_equal(&world, &reader).await;
    // From nothing it is the same again.
    projector.kill();
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{suffix}", database.display()));
    }
    let _projector = ProjectorProcess::start(&world, folder.path());
    let (rebuilt, follow) = Reader::open(&database, PATIENCE).await.unwrap();
    tokio::spawn(follow);
    assert_eq!(shown(&rebuilt.snapshot()), expected(&world).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_read_model_is_right_in_the_end_whatever_the_watch_loses() {
    let Some(world) = World::new("lossyproject").await else { return };
    let folder = tempfile::tempdir().unwrap();
    let settings = ProjectSettings {
        source: Source::Cluster(world.namespace.clone()),
        metadata_db: folder.path().join("metadata.db"),
        cluster_keys: None,
        confirm_every: CONFIRM_EVERY,
    };
    let chaos = Chaos::none();
    chaos.lose(450);
    let client = client(world.plane.kubeconfig(), &chaos).await;
    let stop = CancellationToken::new();
    let projector = Projector::start_on(client, &settings, Arc::default(), &stop).await.unwrap();
    tokio::spawn(projector.run(stop.clone()));
    let (reader, follow) = Reader::open(&settings.metadata_db, PATIENCE).await.unwrap();
    tokio::spawn(follow);
    for round in 0..40 {
        let name = format!("t{}", round % 7);
        if round >= 7 && round % 5 == 4 {
            world.api::<Tenant>().delete(&name, &DeleteParams::default()).await.unwrap();
        }
        world.tenant(&name, &["clv"], round % 2 == 0).await;
    }
    // What was lost comes with the next complete list, which an expiry asks for; something must come to tell it with. A watch
    // that waits before it begins anew must not miss its turn.
    chaos.lose(0);
    for round in 0..4 {
        chaos.expire(true);
        world.tenant("nudge", &[], round % 2 == 0).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        chaos.expire(false);
    }
    until_equal(&world, &reader).await;
    stop.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_where_nothing_changes_is_believed_again_after_it_was_away() {
    let Some(world) = World::new("away").await else { return };
    let folder = tempfile::tempdir().unwrap();
    let settings = ProjectSettings {
        source: Source::Cluster(world.namespace.clone()),
        metadata_db: folder.path().join("metadata.db"),
        cluster_keys: None,
        confirm_every: Duration::from_millis(200),
    };
    world.tenant("acme", &[], false).await;
    let chaos = Chaos::none();
    let client = client(world.plane.kubeconfig(), &chaos).await;
    let stop = CancellationToken::new();
    let projector = Projector::start_on(client, &settings, Arc::default(), &stop).await.unwrap();
    tokio::spawn(projector.run(stop.clone()));
    let (reader, follow) = Reader::open(&settings.metadata_db, PATIENCE).await.unwrap();
    tokio::spawn(follow);
    let applied_at = || reader.snapshot().applied_at;
    let until_confirmed_after = async |moment: i64| {
        let begun = Instant::now();
        while applied_at() <= moment {
            assert!(begun.elapsed() < PATIENCE, "never confirmed again");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    until_confirmed_after(applied_at()).await;
    chaos.cut(true);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let while_away = applied_at();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(applied_at(), while_away, "nobody may confirm what nobody can see");
    chaos.cut(false);
    // No event comes: nothing has changed.
    until_confirmed_after(while_away).await;
    // What changed while the way was cut is there, and not only confirmed.
    chaos.cut(true);
    world.tenant("acme", &[], true).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    chaos.cut(false);
    until_equal(&world, &reader).await;
    stop.cancel();
}
