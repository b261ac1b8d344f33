//! What an operator can write, and what is said about what nobody should.

use std::time::Duration;

use futures_util::future::BoxFuture;
use kyros_shared_config::crypto::{install_provider, random_id};

use super::*;
use crate::data::source::{Fetched, Place, Version};

struct Disk;

impl Source for Disk {
    fn believed_for(&self) -> Duration {
        Duration::from_millis(7)
    }

    fn fetch(&self, _: Place, _: Option<Version>) -> BoxFuture<'static, Result<Option<Fetched>, SourceError>> {
        Box::pin(async { Err(SourceError::Absent) })
    }

    fn exists(&self, _: Place) -> BoxFuture<'static, Result<bool, SourceError>> {
        Box::pin(async { Ok(false) })
    }
}

/// Reads a file that stands beside a secret, and gives what the API would say.
fn open(yaml: &str) -> Result<Sources, String> {
    install_provider();
    let folder = std::env::temp_dir().join(format!("kyros-{}", random_id()));
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("secret"), "c2VjcmV0\n").unwrap();
    std::fs::write(folder.join("sas"), "?sv=2024-11-04&sp=rl&sig=c2lnbmF0dXJl").unwrap();
    std::fs::write(folder.join("sources.yaml"), yaml).unwrap();
    let opened = Sources::open(Arc::new(Disk), Some(&folder.join("sources.yaml")));
    std::fs::remove_dir_all(folder).unwrap();
    opened.map_err(|error| error.to_string())
}

const S3: &str = "region: eu-central-1, access_key_id: {file: secret}, secret_access_key: {file: secret}";
const POSTGRES: &str = "host: db.example, database: kyros, user: kyros_reader, password: {file: secret}";

fn s3(rest: &str) -> String {
    format!("- name: lake\n  s3: {{bucket: kyros, {S3}, {rest}}}\n")
}

#[test]
fn everything_that_an_operator_can_say_is_understood() {
    let yaml = format!(
        "- name: lake\n  s3: {{bucket: kyros, prefix: data/of-kyros, endpoint: 'https://s3.example', refresh_seconds: 5, {S3}, \
         session_token: {{file: secret}}}}\n\
         - name: emulator\n  azure: {{account: acc, container: kyros, endpoint: 'http://127.0.0.1:10000/acc', \
         access_key: {{file: secret}}}}\n\
         - name: shared\n  azure: {{account: acc, container: kyros, prefix: data, sas_token: {{file: sas}}}}\n\
         - name: warehouse\n  postgres: {{{POSTGRES}, port: 5433, schema: marts, tenant_column: customer, tls: required}}\n\
         - name: beside\n  postgres: {{host: 127.0.0.1, database: kyros, user: u, password: {{file: secret}}, tls: disabled}}\n"
    );
    let sources = open(&yaml).unwrap();
    let seconds = |name: &str| sources.of(Some(&name.parse().unwrap())).unwrap().source.believed_for().as_secs();
    assert_eq!((seconds("lake"), seconds("shared"), seconds("warehouse")), (5, 10, 60));
}

#[test]
fn a_name_that_is_not_there_is_no_other_source() {
    let sources = open(&s3("prefix: data")).unwrap();
    let disk = Duration::from_millis(7);
    assert_eq!(sources.of(None).unwrap().source.believed_for(), disk);
    assert_eq!(sources.of(Some(&"local".parse().unwrap())).unwrap().source.believed_for(), disk);
    let unknown = sources.of(Some(&"lakes".parse().unwrap())).err().unwrap();
    assert!(matches!(&unknown, SourceError::Unreachable(text) if text.contains("lake, local")), "{unknown}");
    let none = Sources::open(Arc::new(Disk), None).unwrap();
    assert!(none.of(Some(&"lake".parse().unwrap())).is_err());
}

#[test]
fn every_mistake_says_what_to_do() {
    let postgres = |rest: &str| format!("- name: warehouse\n  postgres: {{{POSTGRES}, {rest}}}\n");
    let azure = |rest: &str| format!("- name: blobs\n  azure: {{account: acc, container: kyros, {rest}}}\n");
    for (yaml, said) in [
        (s3("endpoint: 'http://s3.example'"), "lake: endpoint: give an https:// address"),
        (s3("endpoint: 'http://127.0.0.1.example'"), "lake: endpoint: give an https:// address"),
        (s3("endpoint: 'https://ana:hunter2@s3.example'"), "lake: endpoint: give an https:// address without user"),
        (s3("endpoint: 'https://s3.example/?hunter2'"), "lake: endpoint: give an https:// address without user"),
        (s3("endpoint: 'file:///etc/passwd'"), "lake: endpoint: give an https:// address"),
        (s3("prefix: a/../b"), "lake: prefix: give folders"),
        (s3("prefix: /a"), "lake: prefix: give folders"),
        (s3("prefix: 'a*'"), "lake: prefix: give folders"),
        (s3("refresh_seconds: 0"), "lake: refresh_seconds: must be at least 1"),
        (s3("ca_file: nowhere.pem"), "nowhere.pem"),
        (s3("ca_file: secret"), "secret: holds no certificate in PEM"),
        (s3("acces_key_id: x"), "unknown field `acces_key_id`"),
        (s3("").replace("kyros", "Kyros/x"), "lake: bucket: give 3 to 63 characters"),
        (s3("").replace("file: secret}", "file: gone}"), "gone: No such file"),
        (s3("").replace("access_key_id: {file: secret}", "access_key_id: hunter2"), "a secret is never written here"),
        (s3("").replace("{file: secret}", "{env: KYROS_TEST_NO_SUCH}"), "secret variable KYROS_TEST_NO_SUCH: not set"),
        (s3("").replace("name: lake", "name: a--lake"), "must not contain \"--\""),
        (s3("").replace("name: lake", "name: local"), "local: the name of the API's own data folder"),
        (s3("") + &s3(""), "lake: is there twice; rename one"),
        ("- name: lake\n".into(), "lake: give exactly one of s3, azure and postgres"),
        (azure("prefix: a"), "blobs: give exactly one of access_key, sas_token and workload_identity"),
        (azure("access_key: {file: secret}, workload_identity: true"), "blobs: give exactly one of access_key"),
        (azure("workload_identity: true"), "blobs: workload_identity: AZURE_CLIENT_ID is not set"),
        (azure("access_key: {env: PATH}"), "blobs: "),
        (postgres("tls: disabled"), "warehouse: tls: may be disabled on this machine's loopback alone"),
        (postgres("tls: prefer"), "unknown variant `prefer`"),
        (postgres("port: 0"), "warehouse: port and refresh_seconds: must be at least 1"),
        (postgres("tenant_column: ''"), "warehouse: tenant_column: give 1 to 63 bytes"),
        (postgres("ca_file: secret"), "secret: holds no certificate in PEM"),
        (postgres("").replace("db.example", "/var/run/postgresql"), "warehouse: host: give a host name"),
        (postgres("").replace("db.example", "db.example:5432"), "warehouse: host: give a host name"),
        (postgres("").replace("{file: secret}", "12345"), "a secret is never written here"),
        ("name: lake\n".into(), "data sources"),
    ] {
        let error = open(&yaml).err().unwrap_or_else(|| panic!("taken: {yaml}"));
        assert!(error.contains(said), "{yaml}\nsays: {error}");
        assert!(!error.contains("hunter2") && !error.contains("12345"), "a secret in: {error}");
    }
}

#[test]
fn all_mistakes_are_told_at_once() {
    let yaml = format!("{}- name: warehouse\n  postgres: {{{POSTGRES}, port: 0, schema: ''}}\n", s3("prefix: '..'"));
    let error = open(&yaml).err().unwrap();
    for said in ["lake: prefix", "warehouse: schema", "warehouse: port"] {
        assert!(error.contains(said), "{error}");
    }
}
