//! The smallest real installation: manifests, the read model made from them, a trusted issuer, and `kyros-api` on it.

use std::{
    fs::File,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
};

use anyhow::{Context as _, bail};
use kyros_controller::{
    ProjectSettings, Projector,
    project::{COMPARE_EVERY, CONFIRM_EVERY, Source},
};
use kyros_shared_config::{Issuer, TenantId, crypto::random_id, issuer::Person};
use serde::Deserialize;
use tempfile::TempDir;

use super::{
    API,
    dataset::{DATASETS, Data, TENANTS},
    queries,
};
use crate::bench::{
    cluster::Process,
    processes::{free_address, until_answered},
};

/// Who vouches for the people of the run.
const ISSUER: &str = "https://people.example";
/// Everybody is in it, and every tenant names it.
const GROUP: &str = "bench";
/// The most that a tenant may be allowed.
const CONCURRENT_QUERIES: i32 = kyros_controller::limits::CONCURRENT_QUERIES_MAX;
const REQUESTS_PER_SECOND: i32 = kyros_controller::limits::REQUESTS_PER_SECOND_MAX;
/// Longer than any run, since nobody confirms the read model while it lasts, in seconds.
const PROJECTION_MAX_AGE: &str = "86400";
/// How much of its last words is shown of an API that does not start, in bytes.
const LAST_WORDS: usize = 2_000;

/// Everything that an API needs to start.
pub(super) struct Installation {
    api: PathBuf,
    data: PathBuf,
    issuer: Issuer,
    tenants: Vec<TenantId>,
    folder: TempDir,
}

/// A started API; it ends with this value.
pub(super) struct Api<'a> {
    pub(super) address: SocketAddr,
    pub(super) process: Process,
    installation: &'a Installation,
    log: PathBuf,
    /// Keeps no connection: the API closes those that wait, which is not noticed while something is measured.
    http: reqwest::Client,
}

#[derive(Deserialize)]
struct Exchanged {
    access_token: String,
}

impl Installation {
    /// Writes the files and the read model.
    pub(super) async fn prepare(api: PathBuf, data: &Data) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let path = |name: &str| folder.path().join(name);
        std::fs::create_dir(path("manifests"))?;
        std::fs::write(path("manifests").join("all.yaml"), manifests())?;
        let project = ProjectSettings {
            source: Source::Folder(path("manifests")),
            metadata_db: path("metadata.db"),
            cluster_keys: None,
            confirm_every: CONFIRM_EVERY,
            compare_every: COMPARE_EVERY,
        };
        Projector::start(&project).await?;
        let issuer = Issuer::generate(ISSUER)?;
        std::fs::write(path("people.json"), issuer.jwks())?;
        let trusted = serde_json::json!([{"issuer": ISSUER, "jwks": path("people.json")}]);
        // JSON is YAML.
        std::fs::write(path("issuers.yaml"), trusted.to_string())?;
        let tenants = TENANTS.iter().map(|(tenant, _)| tenant.parse()).collect::<Result<_, _>>()?;
        Ok(Self { api, data: data.folder().to_owned(), issuer, tenants, folder })
    }

    /// Starts an API with a state of its own, and waits until it answers.
    pub(super) fn start(&self, start: impl FnOnce(&mut Command) -> anyhow::Result<Process>) -> anyhow::Result<Api<'_>> {
        let address = free_address()?;
        let path = |name: &str| self.folder.path().join(name);
        let log = path("api.log");
        let mut command = Command::new(&self.api);
        command
            .env_clear()
            .env("KYROS_LOG", "error")
            .arg("--listen")
            .arg(address.to_string())
            .args(["--public-url", "http://kyros.localhost", "--projection-max-age", PROJECTION_MAX_AGE])
            .arg("--state-dir")
            .arg(path(&format!("state-{}", random_id())))
            .arg("--metadata-db")
            .arg(path("metadata.db"))
            .arg("--data-dir")
            .arg(&self.data)
            .arg("--trusted-issuers")
            .arg(path("issuers.yaml"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log)?);
        let mut process = start(&mut command)?;
        let alive = format!("GET /.well-known/jwks.json HTTP/1.1\r\nHost: {address}\r\n\r\n");
        until_answered(&mut process.0, address, alive.as_bytes())
            .with_context(|| format!("{}: {}", self.api.display(), last_words(&log)))?;
        let http = reqwest::Client::builder().pool_max_idle_per_host(0).build()?;
        Ok(Api { address, process, installation: self, log, http })
    }

    /// The token of a person with this number.
    pub(super) fn user_token(&self, person: usize) -> anyhow::Result<String> {
        let (subject, email) = (format!("person-{person}"), format!("person-{person}@people.example"));
        let person = Person {
            subject: &subject,
            email: &email,
            name: "A Person",
            groups: &[GROUP.to_owned()],
            tenant_ids: &self.tenants,
        };
        Ok(self.issuer.user_token(&person)?.token.expose().clone())
    }
}

impl Api<'_> {
    /// An error while it was measured, with what the API itself had to say.
    pub(super) fn explain(&self, error: anyhow::Error) -> anyhow::Error {
        let words = last_words(&self.log);
        if words.is_empty() { error } else { error.context(format!("{API} said: {words}")) }
    }

    /// A tenant's token for a dashboard, by the exchange. It lives for five minutes, so every round gets new ones.
    pub(super) async fn token(&self, tenant: &str, dashboard: &str) -> anyhow::Result<String> {
        let request = self
            .http
            .post(format!("http://{}/api/token/exchange", self.address))
            .bearer_auth(self.installation.user_token(0)?)
            .json(&serde_json::json!({"tenant_id": tenant, "dashboard": dashboard}));
        let answer = accepted(request.send().await?).await.context("exchanging a token")?;
        Ok(answer.json::<Exchanged>().await?.access_token)
    }

    /// A token of every tenant for the dashboard that reads transactions.
    pub(super) async fn tokens(&self) -> anyhow::Result<Vec<String>> {
        let mut tokens = Vec::new();
        for (tenant, _) in TENANTS {
            tokens.push(self.token(tenant, "clv").await?);
        }
        Ok(tokens)
    }

    /// The tag of an answer, which must be 200.
    pub(super) async fn etag(&self, path: &str, token: &str) -> anyhow::Result<String> {
        let answer = self.get(path, token).await?;
        let etag = answer.headers().get(reqwest::header::ETAG).context("an answer without an ETag")?;
        Ok(etag.to_str()?.to_owned())
    }

    /// Reads every frame of every tenant once.
    pub(super) async fn load_everything(&self) -> anyhow::Result<()> {
        for (tenant, _) in TENANTS {
            for (dashboard, dataset, query) in DATASETS {
                let token = self.token(tenant, dashboard).await?;
                self.get(&format!("/api/data/{dataset}?{query}"), &token).await?.bytes().await?;
            }
        }
        Ok(())
    }

    /// Why an answer is refused; nothing if it is not. Its body is read to its end.
    pub(super) async fn refusal(&self, path: &str, token: &str) -> anyhow::Result<Option<String>> {
        let answer = self.http.get(format!("http://{}{path}", self.address)).bearer_auth(token).send().await?;
        match accepted(answer).await {
            Ok(answer) => Ok(answer.bytes().await.map(|_| None)?),
            Err(error) => Ok(Some(error.to_string())),
        }
    }

    async fn get(&self, path: &str, token: &str) -> anyhow::Result<reqwest::Response> {
        let answer = self.http.get(format!("http://{}{path}", self.address)).bearer_auth(token).send().await?;
        accepted(answer).await.with_context(|| path.to_owned())
    }

    /// Requests of so many people who were not seen before, each for one of the tenants.
    pub(super) fn exchanges(&self, people: std::ops::Range<usize>) -> anyhow::Result<Vec<Arc<[u8]>>> {
        let request = |person: usize| {
            let (tenant, _) = TENANTS[person % TENANTS.len()];
            anyhow::Ok(queries::exchange(self.address, tenant, "clv", &self.installation.user_token(person)?))
        };
        people.map(request).collect()
    }
}

/// The answer, or what it says is wrong.
async fn accepted(answer: reqwest::Response) -> anyhow::Result<reqwest::Response> {
    let status = answer.status();
    if status.is_success() {
        return Ok(answer);
    }
    let text = answer.text().await.unwrap_or_default();
    bail!("answered {}: {}", status.as_u16(), what_is_wrong(&text))
}

/// The details of a problem (RFC 9457), or all of a text that is none.
fn what_is_wrong(text: &str) -> String {
    #[derive(Deserialize)]
    struct Problem {
        title: String,
        #[serde(default)]
        errors: Vec<Detail>,
    }
    #[derive(Deserialize)]
    struct Detail {
        detail: String,
    }
    match serde_json::from_str::<Problem>(text) {
        Ok(Problem { title, errors }) => {
            let details = errors.into_iter().map(|error| error.detail);
            std::iter::once(title).chain(details).collect::<Vec<_>>().join(": ")
        }
        Err(_) => text.to_owned(),
    }
}

fn last_words(log: &Path) -> String {
    let words = std::fs::read(log).unwrap_or_default();
    String::from_utf8_lossy(&words[words.len().saturating_sub(LAST_WORDS)..]).trim().to_owned()
}

fn manifests() -> String {
    let mut all = String::new();
    for dashboard in ["clv", "risk"] {
        let datasets: Vec<_> =
            DATASETS.iter().filter(|(owner, ..)| *owner == dashboard).map(|(_, dataset, _)| *dataset).collect();
        all.push_str(&format!(
            "---\napiVersion: kyros.dev/v1alpha1\nkind: Dashboard\nmetadata: {{name: {dashboard}}}\n\
             spec: {{title: {dashboard}, image: \"localhost/{dashboard}:1\", datasets: [{}]}}\n",
            datasets.join(", ")
        ));
    }
    for (tenant, _) in TENANTS {
        all.push_str(&format!(
            "---\napiVersion: kyros.dev/v1alpha1\nkind: Tenant\nmetadata: {{name: {tenant}}}\n\
             spec:\n  displayName: {tenant}\n  members: [{{group: {GROUP}, roles: [viewer]}}]\n  dashboards: [clv, risk]\n  \
             limits: {{concurrentQueries: {CONCURRENT_QUERIES}, requestsPerSecond: {REQUESTS_PER_SECOND}}}\n"
        ));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manifests_are_good_ones() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("all.yaml"), manifests()).unwrap();
        let set = kyros_controller::directory::load(folder.path()).unwrap();
        assert_eq!((set.tenants.len(), set.dashboards.len(), set.warnings.len()), (4, 2, 0));
    }

    #[test]
    fn a_problem_is_told_in_its_own_words() {
        let problem =
            r#"{"title": "Too much", "status": 422, "errors": [{"detail": "at most 5", "parameter": "limit"}]}"#;
        assert_eq!(what_is_wrong(problem), "Too much: at most 5");
        assert_eq!(what_is_wrong("gone"), "gone");
    }
}
