//! A bucket against a real server, and against one that nobody serves.

use std::path::PathBuf;

use kyros_shared_config::crypto::random_id;
use object_store::PutPayload;

use super::*;
use crate::{
    data::source::testing::{new_lines, place, service},
    engine::{Table, store},
};

/// A folder with the secrets, and a prefix that no other test uses.
struct World {
    folder: PathBuf,
    prefix: String,
    endpoint: String,
    /// Of Azure; otherwise it is S3.
    account: Option<String>,
}

impl World {
    fn new(endpoint: &str, id: &str, secret: &str) -> Self {
        kyros_shared_config::crypto::install_provider();
        let world = Self {
            folder: std::env::temp_dir().join(format!("kyros-{}", random_id())),
            prefix: format!("tests/{}", random_id()),
            endpoint: endpoint.to_owned(),
            account: None,
        };
        std::fs::create_dir(&world.folder).unwrap();
        std::fs::write(world.folder.join("id"), id).unwrap();
        std::fs::write(world.folder.join("secret"), format!("{secret}\n")).unwrap();
        world
    }

    fn real(variable: &str) -> Option<Self> {
        let endpoint = service(variable)?;
        Some(Self::new(&endpoint, &service("KYROS_TEST_S3_ACCESS_KEY")?, &service("KYROS_TEST_S3_SECRET_KEY")?))
    }

    fn azure() -> Option<Self> {
        let (endpoint, account) = (service("KYROS_TEST_AZURE")?, service("KYROS_TEST_AZURE_ACCOUNT")?);
        let mut world = Self::new(&endpoint, "", &service("KYROS_TEST_AZURE_KEY")?);
        world.account = Some(account);
        Some(world)
    }

    fn bucket_with(&self, more: &str) -> Result<Bucket, Vec<String>> {
        let place = format!("prefix: {}, endpoint: '{}'{more}", self.prefix, self.endpoint);
        let mut provider = if let Some(account) = &self.account {
            let text = format!("{{account: {account}, container: kyros, access_key: {{file: secret}}, {place}}}");
            Provider::Azure(serde_yaml::from_str(&text).unwrap())
        } else {
            let keys = "access_key_id: {file: id}, secret_access_key: {file: secret}";
            let text = format!("{{bucket: kyros, region: us-east-1, {keys}, {place}}}");
            Provider::S3(serde_yaml::from_str(&text).unwrap())
        };
        let problems = provider.check(&self.folder);
        if problems.is_empty() { Ok(Bucket::new(provider)) } else { Err(problems) }
    }

    fn bucket(&self) -> Bucket {
        self.bucket_with("").unwrap()
    }

    async fn put(&self, bucket: &Bucket, key: &str, bytes: Vec<u8>) {
        let store = bucket.0.store().await.unwrap();
        let key = format!("{}/{key}", self.prefix).parse::<String>().unwrap();
        store.put(&Path::from(key), PutPayload::from(bytes)).await.unwrap();
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn parquet(csv: &str) -> Vec<u8> {
    let path = std::env::temp_dir().join(format!("kyros-{}", random_id()));
    let file = std::fs::File::options().write(true).create_new(true).open(&path).unwrap();
    store(&Table::from_bytes(csv.into(), Format::Csv).unwrap(), &file).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    std::fs::remove_file(path).unwrap();
    bytes
}

#[tokio::test]
async fn each_tenant_reads_its_own_object_and_a_replaced_one_is_seen() {
    for world in [World::real("KYROS_TEST_S3"), World::azure()].into_iter().flatten() {
        tenants_and_versions(&world).await;
    }
}

async fn tenants_and_versions(world: &World) {
    let bucket = world.bucket();
    world.put(&bucket, "acme/clv/orders.parquet", parquet("who\nacme\n")).await;
    world.put(&bucket, "globex/clv/orders.parquet", parquet("who\nCANARY\n")).await;
    world.put(&bucket, "globex/clv/secret.parquet", parquet("who\nCANARY\n")).await;

    let first = bucket.fetch(place("acme", "orders"), None).await.unwrap().unwrap();
    let version = first.version.clone();
    assert_eq!(new_lines(Some(first)), [r#"{"who":"acme"}"#]);
    assert_eq!(new_lines(bucket.fetch(place("globex", "orders"), None).await.unwrap()), [r#"{"who":"CANARY"}"#]);
    assert!(matches!(bucket.fetch(place("acme", "secret"), None).await, Err(SourceError::Absent)));
    assert!(bucket.exists(place("acme", "orders")).await.unwrap());
    assert!(!bucket.exists(place("acme", "secret")).await.unwrap());

    assert!(bucket.fetch(place("acme", "orders"), Some(version.clone())).await.unwrap().is_none());
    world.put(&bucket, "acme/clv/orders.parquet", parquet("who\nanew\n")).await;
    let second = bucket.fetch(place("acme", "orders"), Some(version.clone())).await.unwrap().unwrap();
    assert_ne!(second.version, version);
    assert_eq!(new_lines(Some(second)), [r#"{"who":"anew"}"#]);
}

#[tokio::test]
async fn an_object_that_is_replaced_while_it_is_read_is_not_read_half() {
    for world in [World::real("KYROS_TEST_S3"), World::azure()].into_iter().flatten() {
        a_replaced_object_is_noticed(&world).await;
    }
}

async fn a_replaced_object_is_noticed(world: &World) {
    let bucket = world.bucket();
    world.put(&bucket, "acme/clv/orders.parquet", parquet("who\nacme\n")).await;
    let (store, key) = (bucket.0.store().await.unwrap(), bucket.0.key(&place("acme", "orders")));
    let before = head(&*store, &key).await.unwrap();
    world.put(&bucket, "acme/clv/orders.parquet", parquet("who\nreplaced\n")).await;
    let version = version_of(&before).unwrap();
    assert!(read(&*store, &key, &before, &version).await.unwrap().is_none(), "the entity tag is pinned");
    let lied = ObjectMeta { size: before.size + 1, ..head(&*store, &key).await.unwrap() };
    assert!(read(&*store, &key, &lied, &version).await.unwrap().is_none(), "fewer bytes than promised");
}

#[tokio::test]
async fn a_damaged_object_is_broken_and_one_that_is_too_large_is_not_read() {
    let Some(world) = World::real("KYROS_TEST_S3") else { return };
    let bucket = world.bucket();
    world.put(&bucket, "acme/clv/orders.parquet", b"PAR1 nonsense".to_vec()).await;
    let broken = bucket.fetch(place("acme", "orders"), None).await.err().unwrap();
    assert!(matches!(broken, SourceError::Broken { version: Some(_), .. }), "{broken}");

    let (store, key) = (bucket.0.store().await.unwrap(), bucket.0.key(&place("acme", "orders")));
    let huge = ObjectMeta { size: MAX_FILE_BYTES + 1, ..head(&*store, &key).await.unwrap() };
    let refused = read(&*store, &key, &huge, &version_of(&huge).unwrap()).await.unwrap_err();
    assert!(matches!(&refused, SourceError::Broken { detail, .. } if detail.contains("bytes")), "{refused}");
}

#[tokio::test]
async fn a_rotated_secret_counts_from_the_next_fetch_on() {
    for world in [World::real("KYROS_TEST_S3"), World::azure()].into_iter().flatten() {
        secrets_are_read_anew(&world).await;
    }
}

async fn secrets_are_read_anew(world: &World) {
    let bucket = world.bucket();
    world.put(&bucket, "acme/clv/orders.parquet", parquet("who\nacme\n")).await;
    let secret = std::fs::read(world.folder.join("secret")).unwrap();
    // Base64, as keys of Azure are.
    std::fs::write(world.folder.join("secret"), "bm8gbG9uZ2VyIHJpZ2h0").unwrap();
    let refused = bucket.fetch(place("acme", "orders"), None).await.err().unwrap();
    assert!(matches!(refused, SourceError::Unreachable(_)), "{refused}");
    std::fs::remove_file(world.folder.join("secret")).unwrap();
    assert!(matches!(bucket.exists(place("acme", "orders")).await, Err(SourceError::Unreachable(_))));
    std::fs::write(world.folder.join("secret"), secret).unwrap();
    assert!(bucket.fetch(place("acme", "orders"), None).await.unwrap().is_some());
}

#[tokio::test]
async fn over_tls_only_a_server_with_a_certificate_of_ours_is_believed() {
    let Some(world) = World::real("KYROS_TEST_S3_TLS") else { return };
    let Some(ca) = service("KYROS_TEST_S3_CA") else { return };
    let bucket = world.bucket_with(&format!(", ca_file: {ca}")).unwrap();
    world.put(&bucket, "acme/clv/orders.parquet", parquet("who\nacme\n")).await;
    assert_eq!(new_lines(bucket.fetch(place("acme", "orders"), None).await.unwrap()), [r#"{"who":"acme"}"#]);
    let stranger = world.bucket().fetch(place("acme", "orders"), None).await.err().unwrap();
    assert!(matches!(stranger, SourceError::Unreachable(_)), "{stranger}");
}

#[tokio::test]
async fn a_server_that_is_down_is_unreachable_and_not_empty() {
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let world = World::new(&format!("http://127.0.0.1:{port}"), "id", "secret");
    let bucket = world.bucket();
    for outcome in
        [bucket.fetch(place("acme", "orders"), None).await.err(), bucket.exists(place("acme", "orders")).await.err()]
    {
        assert!(matches!(outcome, Some(SourceError::Unreachable(_))), "{outcome:?}");
    }
}

#[test]
fn a_key_is_made_of_the_place_alone() {
    let world = World::new("http://127.0.0.1:1", "id", "secret");
    let key = world.bucket().0.key(&place("acme", "orders")).to_string();
    assert_eq!(key, format!("{}/acme/clv/orders.parquet", world.prefix));
}
