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
    project::{COMPARE_EVERY, CONFIRM_EVERY, ProjectionMetrics, Source},
    resources::{self, Dashboard, Member, Tenant},
};
use kyros_http_server::admin::Operations as _;
use kyros_metadata::{
    Branding, DashboardRecord, Isolation, Limits, Member as MemberRecord, MemberKind, Reader, Snapshot, TenantRecord,
};
use kyros_shared_config::{ClusterKeys, DashboardSlug, KeySet, TenantId};
use serde_json::{Value, json};
use tokio_util::sync::{CancellationToken, DropGuard};

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

/// Everything that the API knows, by kind and name.
type Shown = (BTreeMap<TenantId, TenantRecord>, BTreeMap<DashboardSlug, DashboardRecord>);

/// What a read model of the cluster as it is now would show, field by field; what is being deleted is not there.
async fn expected(world: &World) -> Shown {
    let all = ListParams::default();
    let tenants = world.api::<Tenant>().list(&all).await.unwrap().items;
    let dashboards = world.api::<Dashboard>().list(&all).await.unwrap().items;
    let tenants = tenants.into_iter().filter(|tenant| tenant.metadata.deletion_timestamp.is_none());
    let dashboards = dashboards.into_iter().filter(|dashboard| dashboard.metadata.deletion_timestamp.is_none());
    let tenants = tenants.map(expected_tenant).map(|tenant| (tenant.id.clone(), tenant)).collect();
    let dashboards = dashboards.map(expected_dashboard).map(|dashboard| (dashboard.slug.clone(), dashboard)).collect();
    (tenants, dashboards)
}

fn expected_tenant(Tenant { metadata, spec, .. }: Tenant) -> TenantRecord {
    let member = |member: Member| MemberRecord {
        kind: match (member.user, member.group) {
            (Some(user), None) => MemberKind::User(user),
            (None, Some(group)) => MemberKind::Group(group),
            other => panic!("{other:?}"),
        },
        roles: member.roles,
    };
    let mut members: Vec<_> = spec.members.into_iter().map(member).collect();
    members.sort_by(|one, other| one.kind.cmp(&other.kind));
    TenantRecord {
        id: metadata.name.unwrap().parse().unwrap(),
        uid: metadata.uid.unwrap(),
        generation: metadata.generation.unwrap(),
        display_name: spec.display_name,
        suspended: spec.suspended,
        branding: Branding {
            accent_color: spec.branding.accent_color.unwrap_or_default(),
            logo_url: spec.branding.logo_url,
        },
        limits: Limits {
            concurrent_queries: spec.limits.concurrent_queries.try_into().unwrap(),
            requests_per_second: spec.limits.requests_per_second.try_into().unwrap(),
        },
        allowed_origins: spec.embedding.allowed_origins.iter().map(|origin| origin.parse().unwrap()).collect(),
        source: spec.source.map(|source| source.parse().unwrap()),
        members,
        dashboards: spec.dashboards.iter().map(|slug| slug.parse().unwrap()).collect(),
    }
}

fn expected_dashboard(Dashboard { metadata, spec, .. }: Dashboard) -> DashboardRecord {
    DashboardRecord {
        slug: metadata.name.unwrap().parse().unwrap(),
        uid: metadata.uid.unwrap(),
        generation: metadata.generation.unwrap(),
        title: spec.title,
        description: spec.description,
        isolation: match spec.isolation {
            resources::Isolation::Shared => Isolation::Shared,
            resources::Isolation::PerTenant => Isolation::PerTenant,
        },
        datasets: spec.datasets.iter().map(|name| name.parse().unwrap()).collect(),
        source: spec.source.map(|source| source.parse().unwrap()),
    }
}

fn shown(snapshot: &Snapshot) -> Shown {
    let (mut tenants, dashboards) = (snapshot.tenants.clone(), snapshot.dashboards.clone());
    for tenant in tenants.values_mut() {
        tenant.members.sort_by(|one, other| one.kind.cmp(&other.kind));
    }
    (tenants, dashboards)
}

/// Changes everything that a tenant and a dashboard can say to the read model, in one of two ways.
async fn change_everything(world: &World, tenant: &str, dashboard: &str, is_odd: bool) {
    let pick = |one: Value, other: Value| if is_odd { one } else { other };
    let spec = json!({
        "displayName": pick(json!("Odd"), json!("Even")),
        "suspended": is_odd,
        "members": pick(
            json!([{"user": "ana@acme.example", "roles": ["viewer"]}, {"group": "staff", "roles": ["a", "b"]}]),
            json!([{"user": "bob@acme.example"}]),
        ),
        "dashboards": pick(json!([dashboard, "risk"]), json!([])),
        "branding": pick(json!({"accentColor": "#123456", "logoUrl": "/logo.svg"}), json!({})),
        "limits": pick(json!({"concurrentQueries": 2}), json!({"requestsPerSecond": 7})),
        "embedding": pick(json!({"allowedOrigins": ["https://intranet.acme.example"]}), json!({})),
        "source": pick(json!("lake"), json!("local")),
    });
    world.apply::<Tenant>(tenant, spec).await;
    let spec = json!({
        "title": pick(json!("Odd"), json!("Even")),
        "description": pick(json!("What it shows."), json!("")),
        "image": "localhost/dashboard:1",
        "isolation": pick(json!("PerTenant"), json!("Shared")),
        "datasets": pick(json!(["transactions"]), json!(["exposures", "pnl"])),
        "source": pick(json!("lake"), json!("local")),
    });
    world.apply::<Dashboard>(dashboard, spec).await;
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
    let (tenants, dashboards) = shown(&reader.snapshot());
    assert_eq!(tenants.len() + dashboards.len(), 21, "the first that is seen is complete");
    until_equal(&world, &reader).await;
    let keys = folder.path().join("cluster-keys.json");
    assert_eq!(ClusterKeys::read(&keys).unwrap().issuer, "https://kubernetes.default.svc.cluster.local");
    assert!(!KeySet::parse(&std::fs::read(&keys).unwrap()).unwrap().is_empty());
    for round in 0..25_u64 {
        // Changes, deletions and namesakes while it runs, and while it does not.
        change_everything(&world, &format!("t{}", round % 20), "clv", round % 2 == 0).await;
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
    let settings = settings(&world, folder.path());
    let chaos = Chaos::none();
    chaos.lose(450);
    let Projecting { reader, .. } = &projecting(&world, &settings, &chaos).await;
    for round in 0..40 {
        let name = format!("t{}", round % 7);
        if round >= 7 && round % 5 == 4 {
            world.api::<Tenant>().delete(&name, &DeleteParams::default()).await.unwrap();
        }
        change_everything(&world, &name, &format!("d{}", round % 3), round % 2 == 0).await;
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
    until_equal(&world, reader).await;
}

/// A projector of this process, and what it shows.
async fn projecting(world: &World, settings: &ProjectSettings, chaos: &Chaos) -> Projecting {
    let client = client(world.plane.kubeconfig(), chaos).await;
    let (stop, metrics) = (CancellationToken::new(), Arc::<ProjectionMetrics>::default());
    let projector = Projector::start_on(client, settings, metrics.clone(), &stop).await.unwrap();
    tokio::spawn(projector.run(stop.clone()));
    let (reader, follow) = Reader::open(&settings.metadata_db, PATIENCE).await.unwrap();
    tokio::spawn(follow);
    Projecting { reader, metrics, _stop: stop.drop_guard() }
}

struct Projecting {
    reader: Reader,
    metrics: Arc<ProjectionMetrics>,
    _stop: DropGuard,
}

fn settings(world: &World, folder: &Path) -> ProjectSettings {
    ProjectSettings {
        source: Source::Cluster(world.namespace.clone()),
        metadata_db: folder.join("metadata.db"),
        cluster_keys: None,
        confirm_every: CONFIRM_EVERY,
        compare_every: COMPARE_EVERY,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_watch_loses_without_a_word_is_found_by_the_comparison() {
    let Some(world) = World::new("drift").await else { return };
    let folder = tempfile::tempdir().unwrap();
    let settings = ProjectSettings { compare_every: Duration::from_secs(1), ..settings(&world, folder.path()) };
    change_everything(&world, "acme", "clv", true).await;
    world.tenant("gone", &["clv"], false).await;
    let chaos = Chaos::none();
    let projecting = projecting(&world, &settings, &chaos).await;
    until_equal(&world, &projecting.reader).await;
    let drifted = || projecting.metrics.metrics().lines().any(|line| line == "kyros_projection_drifted_total 1");
    assert!(!drifted());
    chaos.mute(true);
    change_everything(&world, "acme", "clv", false).await;
    world.tenant("new", &["clv"], false).await;
    world.api::<Tenant>().delete("gone", &DeleteParams::default()).await.unwrap();
    // Long enough that everything was told, to nobody.
    tokio::time::sleep(Duration::from_secs(1)).await;
    chaos.mute(false);
    until_equal(&world, &projecting.reader).await;
    assert!(drifted(), "nothing but the comparison can have seen it: {}", projecting.metrics.metrics());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_being_deleted_is_gone_however_long_a_finalizer_holds_it() {
    let Some(world) = World::new("held").await else { return };
    let folder = tempfile::tempdir().unwrap();
    let settings = ProjectSettings { compare_every: Duration::from_secs(1), ..settings(&world, folder.path()) };
    change_everything(&world, "acme", "clv", true).await;
    world.dashboard("risk", json!({})).await;
    let projecting = projecting(&world, &settings, &Chaos::none()).await;
    until_equal(&world, &projecting.reader).await;
    let held = json!({"metadata": {"finalizers": ["example.com/hold"]}});
    world.patch::<Tenant>("acme", held.clone()).await;
    world.patch::<Dashboard>("clv", held).await;
    world.api::<Tenant>().delete("acme", &DeleteParams::default()).await.unwrap();
    world.api::<Dashboard>().delete("clv", &DeleteParams::default()).await.unwrap();
    let names = |reader: &Reader| -> (usize, Vec<String>) {
        let snapshot = reader.snapshot();
        (snapshot.tenants.len(), snapshot.dashboards.keys().map(ToString::to_string).collect())
    };
    let only_risk = (0, vec!["risk".to_owned()]);
    world.until("neither is shown", async || names(&projecting.reader) == only_risk).await;
    // A change of what is held brings nothing back, a comparison finds nothing amiss, and a start does not list it.
    let label = json!({"metadata": {"labels": {"touched": "yes"}}});
    world.patch::<Tenant>("acme", label.clone()).await;
    world.patch::<Dashboard>("clv", label).await;
    tokio::time::sleep(Duration::from_secs(8)).await;
    assert_eq!(names(&projecting.reader), only_risk);
    assert!(projecting.metrics.metrics().contains("kyros_projection_drifted_total 0"));
    drop(projecting);
    let again = self::projecting(&world, &settings, &Chaos::none()).await;
    assert_eq!(names(&again.reader), only_risk);
    let free = json!({"metadata": {"finalizers": null}});
    world.patch::<Tenant>("acme", free.clone()).await;
    world.patch::<Dashboard>("clv", free).await;
    world.tenant("acme", &["risk"], false).await;
    until_equal(&world, &again.reader).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_where_nothing_changes_is_believed_again_after_it_was_away() {
    let Some(world) = World::new("away").await else { return };
    let folder = tempfile::tempdir().unwrap();
    let confirm_every = Duration::from_millis(200);
    let settings = ProjectSettings { confirm_every, ..settings(&world, folder.path()) };
    world.tenant("acme", &[], false).await;
    let chaos = Chaos::none();
    let Projecting { reader, .. } = &projecting(&world, &settings, &chaos).await;
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
    until_equal(&world, reader).await;
}
