//! The `OpenAPI` document against the running API, by a fuzzer that makes its requests from the document alone.
//!
//! `KYROS_TEST_SCHEMATHESIS` names the program that `tests/services/schemathesis` installed.

use std::process::{Command, Stdio};

use kyros_tests::Client;
use serde_json::{Value, json};

use crate::up;

/// Requests per operation that the fuzzer makes up, beside those that the document's limits suggest.
const EXAMPLES: &str = "60";
/// What must hold of every answer.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance";

#[tokio::test(flavor = "multi_thread")]
async fn a_fuzzer_that_reads_the_document_finds_no_undocumented_answer_and_no_fault() {
    let Some(program) = std::env::var_os("KYROS_TEST_SCHEMATHESIS") else {
        assert!(std::env::var_os("KYROS_TEST_REQUIRE_SERVICES").is_none(), "KYROS_TEST_SCHEMATHESIS is not set");
        eprintln!("skipped: KYROS_TEST_SCHEMATHESIS is not set");
        return;
    };
    let up = up();
    let client = Client::new(&up.portal()).unwrap();
    let token = client.tenant_token("ana", "acme", "clv").await.unwrap();
    let mut document = client.get("/openapi.json", None).await.unwrap().json();
    name_a_dataset(&mut document);
    let file = up.path("document.json");
    std::fs::write(&file, document.to_string()).unwrap();
    let host = up.portal().trim_start_matches("http://").to_owned();
    // By number, as the fuzzer's own resolver does not know names under localhost.
    let address = host.replace("kyros.localhost", "127.0.0.1");
    let output = tokio::task::spawn_blocking(move || {
        Command::new(program)
            .arg("run")
            .arg(file)
            .args(["--url", &format!("http://{address}"), "--header", &format!("Host: {host}")])
            .args(["--header", &format!("Authorization: Bearer {token}")])
            .args(["--include-path-regex", "^/api/(data|tenant|dashboards)", "--checks", CHECKS])
            .args(["--phases", "coverage,fuzzing", "--max-examples", EXAMPLES, "--no-color"])
            .stdin(Stdio::null())
            .output()
    });
    let output = output.await.unwrap().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let tested = said.lines().find(|line| line.contains(" generated, ")).unwrap_or_default();
    let count: u32 = tested.split_whitespace().next().and_then(|count| count.parse().ok()).unwrap_or(0);
    assert!(count > 300, "only {count} requests were made: {said}");
}

/// Made-up names would only ever be answered with 404.
fn name_a_dataset(document: &mut Value) {
    let operations = document["paths"].as_object_mut().unwrap().values_mut();
    let operations = operations.flat_map(|path| path.as_object_mut().unwrap().values_mut());
    for parameter in operations.filter_map(|operation| operation.get_mut("parameters")?.as_array_mut()).flatten() {
        if parameter["name"] == "dataset" {
            parameter["schema"] = json!({"type": "string", "enum": ["transactions"]});
        }
    }
}
