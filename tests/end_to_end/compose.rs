//! The containers: `docker compose up` gives the same pages at the same addresses, and nothing else.

use std::{
    path::Path,
    process::{Command, Output},
    time::Duration,
};

use http::StatusCode;
use kyros_tests::{BrowserLike, Client};
use serde_json::Value;

/// An installation of a project of its own, which is taken down with everything it made.
struct Compose {
    project: String,
    port: u16,
}

impl Compose {
    /// `None`, and a line, where the images were not made; CI forbids that.
    fn up() -> Option<Self> {
        if std::env::var_os("KYROS_TEST_CONTAINERS").is_none() {
            eprintln!(
                "skipped: no containers: see containers/engine and containers/images, then set KYROS_TEST_CONTAINERS=1"
            );
            return None;
        }
        let port = kyros_control_plane::free_port().unwrap();
        let compose = Self { project: format!("kyros-test-{port}"), port };
        let up = compose.run(&["up", "--detach", "--no-build", "--wait", "--wait-timeout", "120"]);
        if !up.status.success() {
            let logs = compose.run(&["logs", "--no-color", "--tail", "20"]);
            panic!("{}\n{}", String::from_utf8_lossy(&up.stderr), String::from_utf8_lossy(&logs.stdout));
        }
        Some(compose)
    }

    fn run(&self, arguments: &[&str]) -> Output {
        Command::new("docker")
            .args(["compose", "--project-name", &self.project])
            .args(arguments)
            .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
            .env("KYROS_PORT", self.port.to_string())
            .output()
            .expect("docker compose")
    }

    fn inspect(&self) -> Vec<Value> {
        let ids = self.run(&["ps", "--quiet"]);
        let ids = String::from_utf8(ids.stdout).unwrap();
        let output = Command::new("docker").arg("inspect").args(ids.split_whitespace()).output().unwrap();
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn dashboard(&self, dashboard: &str, tenant: &str) -> String {
        format!("http://{dashboard}--{tenant}.kyros.localhost:{}", self.port)
    }
}

impl Drop for Compose {
    fn drop(&mut self) {
        self.run(&["down", "--volumes", "--timeout", "2"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn compose_serves_people_and_publishes_the_gateway_alone() {
    let Some(compose) = tokio::task::spawn_blocking(Compose::up).await.unwrap() else { return };
    let portal = format!("http://kyros.localhost:{}", compose.port);
    let mut ana = BrowserLike::new(Client::new(&portal).unwrap());
    ana.sign_in("ana").await.unwrap();
    for (dashboard, tenant, shown) in [("clv", "acme", "Customer Lifetime Value"), ("risk", "acme", "Risk Analysis")] {
        let (_, page) = ana.navigate(&format!("{}/", compose.dashboard(dashboard, tenant))).await.unwrap();
        assert_eq!(page.status, StatusCode::OK, "{}", page.text());
        assert!(page.text().contains(shown), "{}", page.text());
    }
    let client = Client::new(&portal).unwrap();
    let token = client.tenant_token("ana", "acme", "clv").await.unwrap();
    let rows = client.get("/api/data/transactions?limit=3&format=csv", Some(&token)).await.unwrap();
    assert_eq!((rows.status, rows.text().lines().count()), (StatusCode::OK, 4));
    let wrong = client.get(&format!("{}/", compose.dashboard("clv", "globex")), Some(&token)).await.unwrap();
    assert_eq!(wrong.status, StatusCode::UNAUTHORIZED);
    let nobody = client.get(&format!("{}/", compose.dashboard("clv", "acme")), None).await.unwrap();
    assert_eq!(nobody.status, StatusCode::UNAUTHORIZED);

    let containers = compose.inspect();
    assert!(containers.len() >= 7, "{} containers", containers.len());
    let mut published = Vec::new();
    for container in &containers {
        let name = container["Name"].as_str().unwrap();
        let host = &container["HostConfig"];
        assert_eq!(host["ReadonlyRootfs"], true, "{name}");
        assert_eq!(host["CapDrop"][0], "ALL", "{name}");
        assert_eq!(container["Config"]["User"], "65532:65532", "{name}");
        for bindings in container["NetworkSettings"]["Ports"].as_object().into_iter().flatten() {
            for binding in bindings.1.as_array().into_iter().flatten() {
                published.push((name.to_owned(), binding["HostIp"].as_str().unwrap_or_default().to_owned()));
            }
        }
    }
    assert_eq!(published.len(), 1, "{published:?}");
    assert!(published[0].0.contains("gateway") && published[0].1 == "127.0.0.1", "{published:?}");

    // A sidecar that is killed is started again, and the cookie is enough.
    let killed = compose.run(&["restart", "clv-sidecar"]);
    assert!(killed.status.success(), "{}", String::from_utf8_lossy(&killed.stderr));
    for attempt in 0.. {
        let (_, page) = ana.navigate(&format!("{}/", compose.dashboard("clv", "acme"))).await.unwrap();
        if page.status == StatusCode::OK {
            break;
        }
        assert!(attempt < 100, "never again: {}", page.text());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
