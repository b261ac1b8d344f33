//! Writer and reader on one file: whole snapshots, pruning, uids, damaged files.

use std::{path::PathBuf, time::Duration};

use kyros_metadata::{
    Branding, Change, CompleteList, DashboardRecord, Isolation, Limits, Listed, Member, MemberKind, MetadataError,
    Reader, TenantRecord, Writer,
};

fn file() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metadata.db");
    (folder, path)
}

fn tenant(id: &str, uid: &str) -> TenantRecord {
    TenantRecord {
        id: id.parse().unwrap(),
        uid: uid.to_owned(),
        generation: 3,
        display_name: format!("{id} Ltd"),
        suspended: false,
        branding: Branding { accent_color: "#0b6bcb".into(), logo_url: String::new() },
        limits: Limits { concurrent_queries: 4, requests_per_second: 50 },
        allowed_origins: vec!["https://intranet.example:8443".parse().unwrap(), "https://a.example".parse().unwrap()],
        source: Some("lake".parse().unwrap()),
        members: vec![Member { kind: MemberKind::User("ana".into()), roles: vec!["viewer".into()] }],
        dashboards: vec!["risk".parse().unwrap(), "clv".parse().unwrap()],
    }
}

fn dashboard(slug: &str) -> DashboardRecord {
    DashboardRecord {
        slug: slug.parse().unwrap(),
        uid: format!("uid-{slug}"),
        generation: 5,
        title: slug.to_owned(),
        description: "said in words".into(),
        isolation: Isolation::PerTenant,
        datasets: vec!["transactions".parse().unwrap()],
        source: Some("warehouse".parse().unwrap()),
    }
}

fn list(tenants: &[TenantRecord], dashboards: &[DashboardRecord]) -> CompleteList {
    CompleteList { tenants: Some(tenants.to_vec().into()), dashboards: Some(dashboards.to_vec().into()) }
}

async fn eventually(reader: &Reader, wanted: impl Fn(&kyros_metadata::Snapshot) -> bool) {
    for _ in 0..100 {
        if wanted(&reader.snapshot()) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the reader never saw it: {:?}", reader.snapshot());
}

#[tokio::test]
async fn what_is_written_is_read_and_what_a_list_leaves_out_is_pruned() {
    let (_folder, path) = file();
    let mut writer = Writer::open(&path).await.unwrap();
    let all = [tenant("acme", "u1"), tenant("globex", "u2")];
    writer.relist(&list(&all, &[dashboard("clv"), dashboard("risk")])).await.unwrap();
    let (reader, follow) = Reader::open(&path, Duration::ZERO).await.unwrap();
    tokio::spawn(follow);
    let snapshot = reader.snapshot();
    assert_eq!(snapshot.tenants.values().cloned().collect::<Vec<_>>(), all);
    assert_eq!(snapshot.dashboards.values().cloned().collect::<Vec<_>>(), [dashboard("clv"), dashboard("risk")]);
    let mut changes = reader.changes();
    let applied = writer.relist(&list(&all[..1], &[dashboard("clv")])).await.unwrap();
    assert_eq!((applied.tenants_pruned, applied.dashboards_pruned), (1, 1));
    tokio::time::timeout(Duration::from_secs(5), changes.changed()).await.unwrap().unwrap();
    assert_eq!(reader.snapshot().tenants.len(), 1);
}

#[tokio::test]
async fn a_removal_takes_only_the_resource_with_its_uid() {
    let (_folder, path) = file();
    let mut writer = Writer::open(&path).await.unwrap();
    writer.relist(&list(&[tenant("acme", "new")], &[dashboard("clv")])).await.unwrap();
    let (reader, follow) = Reader::open(&path, Duration::ZERO).await.unwrap();
    tokio::spawn(follow);
    let remove_tenant = |uid: &str| Change::RemoveTenant { name: "acme".into(), uid: uid.into() };
    let remove_dashboard = |uid: &str| Change::RemoveDashboard { name: "clv".into(), uid: uid.into() };
    writer.apply(&[remove_tenant("old"), remove_dashboard("another")]).await.unwrap();
    assert_eq!(writer.versions().await.unwrap().len(), 2);
    writer.apply(&[remove_tenant("new"), remove_dashboard("uid-clv")]).await.unwrap();
    eventually(&reader, |snapshot| snapshot.tenants.is_empty() && snapshot.dashboards.is_empty()).await;
}

#[tokio::test]
async fn a_list_of_one_kind_leaves_the_other_as_it_is() {
    let (_folder, path) = file();
    let mut writer = Writer::open(&path).await.unwrap();
    writer.relist(&list(&[tenant("acme", "u1")], &[dashboard("clv")])).await.unwrap();
    let tenants_alone = CompleteList { tenants: Some(vec![].into()), dashboards: None };
    let applied = writer.relist(&tenants_alone).await.unwrap();
    assert_eq!((applied.tenants_pruned, applied.dashboards_pruned), (1, 0));
    assert_eq!(writer.versions().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_reader_does_not_start_on_half_a_list() {
    let (_folder, path) = file();
    assert!(Reader::open(&path, Duration::from_millis(50)).await.is_err(), "no file yet");
    let mut writer = Writer::open(&path).await.unwrap();
    writer.apply(&[Change::PutTenant(tenant("acme", "u1"))]).await.unwrap();
    let early = Reader::open(&path, Duration::from_millis(50)).await;
    assert!(matches!(early.err(), Some(MetadataError::NotYetWritten)));
    writer.relist(&list(&[], &[])).await.unwrap();
    assert!(Reader::open(&path, Duration::ZERO).await.is_ok());
}

#[tokio::test]
async fn a_damaged_file_is_set_aside_and_rebuilt_and_the_reader_follows() {
    let (folder, path) = file();
    let mut writer = Writer::open(&path).await.unwrap();
    writer.relist(&list(&[tenant("acme", "u1")], &[])).await.unwrap();
    let (reader, follow) = Reader::open(&path, Duration::ZERO).await.unwrap();
    tokio::spawn(follow);
    drop(writer);
    for garbage in [&b"not a database"[..], &[0; 8192]] {
        let aside = |name: &std::ffi::OsStr| name.to_string_lossy().contains("corrupt");
        for file in std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()) {
            if file.extension().is_some_and(|extension| extension != "db") && !aside(file.file_name().unwrap()) {
                std::fs::remove_file(file).unwrap();
            }
        }
        std::fs::write(&path, garbage).unwrap();
        let mut writer = Writer::open(&path).await.unwrap();
        writer.relist(&list(&[tenant("globex", "u2")], &[])).await.unwrap();
        eventually(&reader, |snapshot| snapshot.tenants.keys().any(|id| id.as_str() == "globex")).await;
        assert!(std::fs::read_dir(folder.path()).unwrap().any(|entry| aside(&entry.unwrap().file_name())));
    }
}

#[tokio::test]
async fn a_file_of_a_newer_schema_is_set_aside_too() {
    use sqlx::{ConnectOptions as _, Connection as _};
    let (_folder, path) = file();
    drop(Writer::open(&path).await.unwrap());
    let mut connection = sqlx::sqlite::SqliteConnectOptions::new().filename(&path).connect().await.unwrap();
    sqlx::query("INSERT INTO _sqlx_migrations VALUES (99990101000000, 'future', 0, 1, x'00', 0)")
        .execute(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
    let mut writer = Writer::open(&path).await.unwrap();
    assert_eq!(writer.relist(&list(&[], &[])).await.unwrap().epoch, 1);
}

#[tokio::test]
async fn half_a_list_neither_begins_a_read_model_nor_confirms_it() {
    let (_folder, path) = file();
    let mut writer = Writer::open(&path).await.unwrap();
    let tenants_alone = CompleteList { tenants: Some(vec![tenant("acme", "u1")].into()), dashboards: None };
    assert!(matches!(writer.relist(&tenants_alone).await, Err(MetadataError::NotYetWritten)));
    writer.relist(&list(&[], &[])).await.unwrap();
    let (reader, follow) = Reader::open(&path, Duration::ZERO).await.unwrap();
    tokio::spawn(follow);
    let confirmed = reader.snapshot().applied_at;
    // Times are in seconds.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    writer.relist(&tenants_alone).await.unwrap();
    writer.apply(&[Change::PutDashboard(dashboard("clv"))]).await.unwrap();
    eventually(&reader, |snapshot| snapshot.tenants.len() == 1 && snapshot.dashboards.len() == 1).await;
    assert_eq!(reader.snapshot().applied_at, confirmed);
    writer.confirm().await.unwrap();
    eventually(&reader, |snapshot| snapshot.applied_at > confirmed).await;
}

#[tokio::test]
async fn what_a_list_names_and_cannot_read_keeps_its_last_good_row() {
    let (_folder, path) = file();
    let mut writer = Writer::open(&path).await.unwrap();
    writer.relist(&list(&[tenant("acme", "u1"), tenant("globex", "u2")], &[dashboard("clv")])).await.unwrap();
    let unreadable = |uid: &str| CompleteList {
        tenants: Some(Listed { records: Vec::new(), unreadable: vec![("acme".to_owned(), uid.to_owned())] }),
        dashboards: None,
    };
    assert_eq!(writer.relist(&unreadable("u1")).await.unwrap().tenants_pruned, 1);
    // Another uid is another tenant: of that one there is no good row.
    assert_eq!(writer.relist(&unreadable("u3")).await.unwrap().tenants_pruned, 1);
}

#[tokio::test]
async fn the_versions_say_what_the_rows_show() {
    let (_folder, path) = file();
    let mut writer = Writer::open(&path).await.unwrap();
    writer.relist(&list(&[tenant("acme", "u1")], &[dashboard("clv")])).await.unwrap();
    let versions = writer.versions().await.unwrap();
    let seen: Vec<_> =
        versions.iter().map(|version| (version.kind, version.name.as_str(), version.generation)).collect();
    assert_eq!(seen, [("Tenant", "acme", 3), ("Dashboard", "clv", 5)]);
}
