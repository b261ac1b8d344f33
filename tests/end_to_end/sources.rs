//! Where a tenant's data lies, and how much of it may be asked for, as its resource says: through the whole chain.
//!
//! `KYROS_TEST_S3` and its companions lead to the store that `tests/services/s3` started.

use std::{path::Path, process::Command, time::Duration};

use http::StatusCode;
use kyros_tests::{Client, Up, UpOptions};
use serde_json::json;
use tempfile::TempDir;

use crate::lifecycle::edit_manifest;

/// How soon a replaced object must be seen: the file of sources says every second.
const SEEN_WITHIN: Duration = Duration::from_secs(10);

/// `kyros up` whose tenant Globex has its data in the source `lake`, and whose tenant Initech names one that nobody set up.
fn up_with(lake: &str) -> Up {
    let home = TempDir::new().unwrap();
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../data");
    std::fs::create_dir(home.path().join("manifests")).unwrap();
    for entry in std::fs::read_dir(repository.join("manifests")).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), home.path().join("manifests").join(entry.file_name())).unwrap();
    }
    let tenants = home.path().join("manifests/tenants.yaml");
    let mut text = std::fs::read_to_string(&tenants).unwrap();
    for (name, source) in [("Globex Subscriptions", "lake"), ("Initech Bank", "nowhere")] {
        let title = format!("displayName: {name}\n");
        assert!(text.contains(&title));
        text = text.replace(&title, &format!("{title}  source: {source}\n"));
    }
    std::fs::write(tenants, text).unwrap();
    std::fs::copy(repository.join("people.yaml"), home.path().join("people.yaml")).unwrap();
    std::fs::write(home.path().join("data-sources.yaml"), lake).unwrap();
    let sources = home.path().to_owned();
    Up::start(&UpOptions { program: env!("CARGO_BIN_EXE_kyros").into(), sources }).unwrap()
}

/// A Parquet file of so many rows, made by an import.
fn parquet(up: &Up, rows: usize) -> std::path::PathBuf {
    let csv = up.path("made.csv");
    std::fs::write(&csv, format!("customer_id\n{}", "7\n".repeat(rows))).unwrap();
    assert!(crate::import(up, &csv, "umbrella", "clv", "made").status.success());
    up.path("data/tenants/umbrella/clv/made.parquet")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenants_data_comes_from_its_own_source_and_from_nowhere_else() {
    let Ok(endpoint) = std::env::var("KYROS_TEST_S3") else {
        assert!(std::env::var_os("KYROS_TEST_REQUIRE_SERVICES").is_none(), "KYROS_TEST_S3 is not set");
        eprintln!("unchecked: KYROS_TEST_S3 is not set");
        return;
    };
    let prefix = format!("end-to-end-{}", std::process::id());
    let secret = |name| format!("{{env: KYROS_TEST_S3_{name}_KEY}}");
    let up = up_with(&format!(
        "- name: lake\n  s3: {{bucket: kyros, prefix: {prefix}, region: us-east-1, endpoint: '{endpoint}', refresh_seconds: 1, \
         access_key_id: {}, secret_access_key: {}}}\n",
        secret("ACCESS"),
        secret("SECRET")
    ));
    let put = |rows| {
        let [id, key] = ["ACCESS", "SECRET"].map(|name| std::env::var(format!("KYROS_TEST_S3_{name}_KEY")).unwrap());
        let put = Command::new("curl")
            .args(["--fail", "--silent", "--show-error", "--aws-sigv4", "aws:amz:us-east-1:s3"])
            .args(["--header", "x-amz-content-sha256: UNSIGNED-PAYLOAD"])
            .args(["--user", &format!("{id}:{key}"), "--upload-file"])
            .arg(parquet(&up, rows))
            .arg(format!("{endpoint}/kyros/{prefix}/globex/clv/transactions.parquet"))
            .output()
            .unwrap();
        assert!(put.status.success(), "{}", String::from_utf8_lossy(&put.stderr));
    };
    let client = Client::new(&up.portal()).unwrap();
    let globex = client.tenant_token("bob", "globex", "clv").await.unwrap();
    let rows = async || client.get("/api/data/transactions?agg=*:count", Some(&globex)).await.unwrap();
    // The demo data on the disk is no answer for a tenant whose data lies elsewhere.
    assert_eq!(rows().await.status, StatusCode::NOT_FOUND);
    for count in [3, 5] {
        put(count);
        let mut answer = rows().await;
        let deadline = std::time::Instant::now() + SEEN_WITHIN;
        while answer.json()["data"] != json!([{"count": count}]) && std::time::Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(200)).await;
            answer = rows().await;
        }
        assert_eq!(answer.json()["data"], json!([{"count": count}]), "{}", answer.text());
    }
    let acme = client.tenant_token("ana", "acme", "clv").await.unwrap();
    let acme = client.get("/api/data/transactions?agg=*:count", Some(&acme)).await.unwrap();
    assert!(acme.json()["data"][0]["count"].as_u64() > Some(100), "who names no source reads the disk");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_nobody_set_up_is_unavailable_and_never_the_disk() {
    let up = up_with("[]\n");
    let client = Client::new(&up.portal()).unwrap();
    let token = client.tenant_token("ivy", "initech", "risk").await.unwrap();
    for path in ["/api/data", "/api/data/exposures?limit=1", "/api/data/exposures/schema"] {
        let answer = client.get(path, Some(&token)).await.unwrap();
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{path}: {}", answer.text());
        assert!(!answer.text().contains("nowhere"), "the name is the operator's business");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_over_its_rate_is_told_when_to_come_again_and_nobody_else_is() {
    let up = crate::up();
    edit_manifest(&up, "tenants.yaml", "requestsPerSecond: 50", "requestsPerSecond: 1");
    let client = Client::new(&up.portal()).unwrap();
    let acme = client.tenant_token("ana", "acme", "clv").await.unwrap();
    let globex = client.tenant_token("bob", "globex", "clv").await.unwrap();
    // The change of the manifest takes effect while this goes on; a malformed query counts as any other.
    let deadline = std::time::Instant::now() + SEEN_WITHIN;
    let refused = loop {
        let answer = client.get("/api/data/transactions?select=%ff", Some(&acme)).await.unwrap();
        if answer.status == StatusCode::TOO_MANY_REQUESTS || std::time::Instant::now() > deadline {
            break answer;
        }
    };
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refused.header("retry-after"), "1");
    assert_eq!(refused.json()["type"], "urn:kyros:problem:busy");
    let other = client.get("/api/data/transactions?limit=1", Some(&globex)).await.unwrap();
    assert_eq!(other.status, StatusCode::OK);
}
