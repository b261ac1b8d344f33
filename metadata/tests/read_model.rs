//! Writer and reader on one file: whole snapshots, pruning, uids, damaged files.

use std::{path::PathBuf, time::Duration};

use kyros_metadata::{
    Branding, DashboardRecord, Isolation, Limits, Member, MemberKind, MetadataError, Reader, TenantRecord, Writer,
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
        display_name: format!("{id} Ltd"),
        suspended: false,
        branding: Branding { accent_color: "#0b6bcb".into(), logo_url: String::new() },
        limits: Limits { concurrent_queries: 4, requests_per_second: 50 },
        members: vec![Member { kind: MemberKind::User("ana".into()), roles: vec!["viewer".into()] }],
        dashboards: vec!["risk".parse().unwrap(), "clv".parse().unwrap()],
    }
}

fn dashboard(slug: &str) -> DashboardRecord {
    DashboardRecord {
        slug: slug.parse().unwrap(),
        uid: format!("uid-{slug}"),
        title: slug.to_owned(),
        description: "said in words".into(),
        isolation: Isolation::PerTenant,
        datasets: vec!["transactions".parse().unwrap()],
    }
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
    writer.relist(&all, &[dashboard("clv"), dashboard("risk")]).await.unwrap();
    let (reader, follow) = Reader::open(&path, Duration::ZERO).await.unwrap();
    tokio::spawn(follow);
    let snapshot = reader.snapshot();
    assert_eq!(snapshot.tenants.values().cloned().collect::<Vec<_>>(), all);
    assert_eq!(snapshot.dashboards.values().cloned().collect::<Vec<_>>(), [dashboard("clv"), dashboard("risk")]);
    let mut changes = reader.changes();
    let applied = writer.relist(&all[..1], &[dashboard("clv")]).await.unwrap();
    assert_eq!((applied.tenants_pruned, applied.dashboards_pruned), (1, 1));
    tokio::time::timeout(Duration::from_secs(5), changes.changed()).await.unwrap().unwrap();
    assert_eq!(reader.snapshot().tenants.len(), 1);
}

#[tokio::test]
async fn a_removal_takes_only_the_resource_with_its_uid() {
    let (_folder, path) = file();
    let mut writer = Writer::open(&path).await.unwrap();
    writer.relist(&[tenant("acme", "new")], &[dashboard("clv")]).await.unwrap();
    let acme = "acme".parse().unwrap();
    assert!(!writer.remove_tenant(&acme, "old").await.unwrap());
    assert!(writer.remove_tenant(&acme, "new").await.unwrap());
    assert!(!writer.remove_dashboard(&"clv".parse().unwrap(), "another").await.unwrap());
    assert!(writer.remove_dashboard(&"clv".parse().unwrap(), "uid-clv").await.unwrap());
}

#[tokio::test]
async fn a_reader_does_not_start_on_half_a_list() {
    let (_folder, path) = file();
    assert!(Reader::open(&path, Duration::from_millis(50)).await.is_err(), "no file yet");
    let mut writer = Writer::open(&path).await.unwrap();
    writer.apply_tenant(&tenant("acme", "u1")).await.unwrap();
    let early = Reader::open(&path, Duration::from_millis(50)).await;
    assert!(matches!(early.err(), Some(MetadataError::NotYetWritten)));
    writer.relist(&[], &[]).await.unwrap();
    assert!(Reader::open(&path, Duration::ZERO).await.is_ok());
}

#[tokio::test]
async fn a_damaged_file_is_set_aside_and_rebuilt_and_the_reader_follows() {
    let (folder, path) = file();
    let mut writer = Writer::open(&path).await.unwrap();
    writer.relist(&[tenant("acme", "u1")], &[]).await.unwrap();
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
        writer.relist(&[tenant("globex", "u2")], &[]).await.unwrap();
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
    assert_eq!(writer.relist(&[], &[]).await.unwrap().epoch, 1);
}
