//! What an operator says about an object store, what is wrong with it, and the store opened.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use kyros_shared_config::{Secret, http_client};
use object_store::{
    BackoffConfig, ClientOptions, ObjectStore, RetryConfig,
    aws::AmazonS3Builder,
    azure::{AzureConfigKey, MicrosoftAzureBuilder},
    client::{HttpClient, HttpConnector},
};
use serde::Deserialize;
use url::Url;

use crate::data::source::{
    address::{authorities, is_loopback},
    credential::Credential,
};

/// How long a fetched object is believed when the operator does not say, in seconds.
const REFRESH_SECONDS: u16 = 10;
/// For a connection.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);
/// For the next bytes on a connection.
const SILENCE: Duration = Duration::from_secs(15);
/// How often a request that the store could not answer is sent again, all within [`super::HEAD_PATIENCE`].
const RETRIES: RetryConfig = RetryConfig {
    backoff: BackoffConfig { init_backoff: Duration::from_millis(100), max_backoff: Duration::from_secs(1), base: 2. },
    max_retries: 2,
    retry_timeout: Duration::from_secs(5),
};
/// Longest prefix: with the names after it a key stays far below the 1,024 bytes that stores take.
const MAX_PREFIX: usize = 256;
/// What Azure's webhook tells a pod that has a workload identity.
const AZURE_IDENTITY: [(&str, AzureConfigKey); 3] = [
    ("AZURE_CLIENT_ID", AzureConfigKey::ClientId),
    ("AZURE_TENANT_ID", AzureConfigKey::AuthorityId),
    ("AZURE_FEDERATED_TOKEN_FILE", AzureConfigKey::FederatedTokenFile),
];

/// Whose object store it is.
#[derive(Debug)]
pub(crate) enum Provider {
    S3(S3),
    Azure(Azure),
}

/// A bucket of S3 or of what speaks like it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct S3 {
    bucket: String,
    #[serde(default)]
    prefix: String,
    region: String,
    endpoint: Option<Url>,
    access_key_id: Credential,
    secret_access_key: Credential,
    session_token: Option<Credential>,
    ca_file: Option<PathBuf>,
    #[serde(default = "refresh_seconds")]
    refresh_seconds: u16,
}

/// A container of Azure Blob Storage.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Azure {
    account: String,
    container: String,
    #[serde(default)]
    prefix: String,
    endpoint: Option<Url>,
    access_key: Option<Credential>,
    sas_token: Option<Credential>,
    #[serde(default)]
    workload_identity: bool,
    ca_file: Option<PathBuf>,
    #[serde(default = "refresh_seconds")]
    refresh_seconds: u16,
}

fn refresh_seconds() -> u16 {
    REFRESH_SECONDS
}

impl Provider {
    pub(super) fn prefix(&self) -> &str {
        match self {
            Self::S3(s3) => &s3.prefix,
            Self::Azure(azure) => &azure.prefix,
        }
    }

    pub(super) fn believed_for(&self) -> Duration {
        let seconds = match self {
            Self::S3(s3) => s3.refresh_seconds,
            Self::Azure(azure) => azure.refresh_seconds,
        };
        Duration::from_secs(seconds.into())
    }

    /// The secrets as they are now, in the order in which [`Provider::open`] takes them. Reads files.
    pub(super) fn secrets(&self) -> Result<Vec<Secret<String>>, String> {
        self.credentials().into_iter().map(Credential::read).collect()
    }

    fn credentials(&self) -> Vec<&Credential> {
        match self {
            Self::S3(s3) => [Some(&s3.access_key_id), Some(&s3.secret_access_key), s3.session_token.as_ref()]
                .into_iter()
                .flatten()
                .collect(),
            Self::Azure(azure) => azure.access_key.iter().chain(&azure.sas_token).collect(),
        }
    }

    pub(super) fn open(&self, secrets: &[Secret<String>]) -> Result<Arc<dyn ObjectStore>, String> {
        match self {
            Self::S3(s3) => s3.open(secrets),
            Self::Azure(azure) => azure.open(secrets),
        }
    }

    /// Everything that keeps this from ever working, and what to do. Relative paths get `folder` before them.
    pub(crate) fn check(&mut self, folder: &Path) -> Vec<String> {
        let mut problems = match self {
            Self::S3(s3) => s3.check(folder),
            Self::Azure(azure) => azure.check(folder),
        };
        if !is_prefix(self.prefix()) {
            problems.push(format!(
                "prefix: give folders such as \"data/kyros\": letters, digits, \"-\", \"_\" and \".\", no empty one, none of \
                 dots alone, at most {MAX_PREFIX} characters"
            ));
        }
        if self.believed_for().is_zero() {
            problems.push("refresh_seconds: must be at least 1".to_owned());
        }
        if problems.is_empty()
            && let Err(problem) = self.secrets().and_then(|secrets| self.open(&secrets))
        {
            problems.push(problem);
        }
        problems
    }
}

impl S3 {
    fn check(&mut self, folder: &Path) -> Vec<String> {
        let credentials = [&mut self.access_key_id, &mut self.secret_access_key];
        credentials.into_iter().chain(&mut self.session_token).for_each(|credential| credential.resolve(folder));
        self.ca_file = self.ca_file.take().map(|path| folder.join(path));
        let mut problems = Vec::new();
        if !is_name(&self.bucket, 3, 63, b"-.") {
            problems.push("bucket: give 3 to 63 characters of a-z, 0-9, \"-\" and \".\"".to_owned());
        }
        if !is_name(&self.region, 1, 32, b"-") {
            problems
                .push("region: give one such as eu-central-1; stores without regions mostly take us-east-1".to_owned());
        }
        problems.extend(self.endpoint.as_ref().and_then(endpoint_problem));
        problems
    }

    fn open(&self, secrets: &[Secret<String>]) -> Result<Arc<dyn ObjectStore>, String> {
        let connector = Connector::new(self.endpoint.as_ref(), self.ca_file.as_deref())?;
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(&self.bucket)
            .with_region(&self.region)
            .with_retry(RETRIES)
            .with_allow_http(connector.plain)
            .with_http_connector(connector);
        if let Some(endpoint) = &self.endpoint {
            builder = builder.with_endpoint(endpoint.as_str().trim_end_matches('/'));
        }
        let mut secrets = secrets.iter().map(|secret| secret.expose().as_str());
        if let (Some(id), Some(key)) = (secrets.next(), secrets.next()) {
            builder = builder.with_access_key_id(id).with_secret_access_key(key);
        }
        if let Some(token) = secrets.next() {
            builder = builder.with_token(token);
        }
        builder.build().map(|store| Arc::new(store) as _).map_err(|error| error.to_string())
    }
}

impl Azure {
    fn check(&mut self, folder: &Path) -> Vec<String> {
        let credentials = self.access_key.iter_mut().chain(&mut self.sas_token);
        credentials.for_each(|credential| credential.resolve(folder));
        self.ca_file = self.ca_file.take().map(|path| folder.join(path));
        let mut problems = Vec::new();
        if !is_name(&self.account, 3, 24, b"") {
            problems.push("account: give 3 to 24 characters of a-z and 0-9".to_owned());
        }
        if !is_name(&self.container, 3, 63, b"-") {
            problems.push("container: give 3 to 63 characters of a-z, 0-9 and \"-\"".to_owned());
        }
        let ways = [self.access_key.is_some(), self.sas_token.is_some(), self.workload_identity];
        if ways.into_iter().filter(|way| *way).count() != 1 {
            problems.push("give exactly one of access_key, sas_token and workload_identity: true".to_owned());
        }
        if self.workload_identity {
            let missing = AZURE_IDENTITY.iter().filter(|(variable, _)| std::env::var_os(variable).is_none());
            problems.extend(missing.map(|(variable, _)| {
                format!("workload_identity: {variable} is not set; give the pod Azure's workload identity, or another way in")
            }));
        }
        problems.extend(self.endpoint.as_ref().and_then(endpoint_problem));
        problems
    }

    fn open(&self, secrets: &[Secret<String>]) -> Result<Arc<dyn ObjectStore>, String> {
        let connector = Connector::new(self.endpoint.as_ref(), self.ca_file.as_deref())?;
        let mut builder = MicrosoftAzureBuilder::new()
            .with_account(&self.account)
            .with_container_name(&self.container)
            .with_retry(RETRIES)
            .with_allow_http(connector.plain)
            .with_http_connector(connector);
        if let Some(endpoint) = &self.endpoint {
            builder = builder.with_endpoint(endpoint.as_str().trim_end_matches('/').to_owned());
        }
        if let Some(secret) = secrets.first() {
            let key = if self.sas_token.is_some() { AzureConfigKey::SasKey } else { AzureConfigKey::AccessKey };
            builder = builder.with_config(key, secret.expose());
        } else {
            for (variable, key) in AZURE_IDENTITY {
                builder = builder.with_config(key, std::env::var(variable).unwrap_or_default());
            }
            if let Ok(authority) = std::env::var("AZURE_AUTHORITY_HOST") {
                builder = builder.with_authority_host(authority);
            }
        }
        builder.build().map(|store| Arc::new(store) as _).map_err(|_| self.refused())
    }

    /// What is wrong when the store cannot be opened: all but the secret was looked at, and what the library says of that is
    /// about what it holds.
    fn refused(&self) -> String {
        match (&self.access_key, &self.sas_token) {
            (Some(credential), _) => format!("access_key: {credential}: give the account's key, which is in base64"),
            (_, Some(credential)) => {
                format!("sas_token: {credential}: give a shared access signature: name=value, joined by \"&\"")
            }
            (None, None) => "workload_identity: what Azure's webhook told this pod is of no use".to_owned(),
        }
    }
}

/// Connections with our deadlines, to our address alone: a store's redirect is not followed.
#[derive(Debug)]
struct Connector {
    plain: bool,
    client: reqwest::Client,
}

impl Connector {
    fn new(endpoint: Option<&Url>, ca_file: Option<&Path>) -> Result<Self, String> {
        let plain = endpoint.is_some_and(|endpoint| endpoint.scheme() == "http" && is_own_machine(endpoint));
        let anywhere = Url::parse("https://localhost").map_err(|error| error.to_string())?;
        let mut client = http_client(endpoint.unwrap_or(&anywhere))
            .https_only(!plain)
            .connect_timeout(CONNECT_PATIENCE)
            .read_timeout(SILENCE);
        for authority in ca_file.map(authorities).transpose()?.unwrap_or_default() {
            client = client.add_root_certificate(authority);
        }
        // Each authority in `ca_file` was tried already.
        let client = client.build().map_err(|_| "this machine's own root certificates cannot be used".to_owned())?;
        Ok(Self { plain, client })
    }
}

impl HttpConnector for Connector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.client.clone()))
    }
}

fn endpoint_problem(endpoint: &Url) -> Option<String> {
    let bare = endpoint.username().is_empty()
        && endpoint.password().is_none()
        && endpoint.query().is_none()
        && endpoint.fragment().is_none();
    let safe = endpoint.scheme() == "https" || (endpoint.scheme() == "http" && is_own_machine(endpoint));
    // Not repeated: somebody may have written a password into it.
    (!bare || !safe || endpoint.host().is_none()).then(|| {
        "endpoint: give an https:// address without user, query and fragment; http:// is for this machine's loopback alone"
            .to_owned()
    })
}

fn is_own_machine(url: &Url) -> bool {
    url.host_str().is_some_and(is_loopback)
}

fn is_name(text: &str, least: usize, most: usize, also: &[u8]) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || also.contains(&byte);
    (least..=most).contains(&text.len()) && text.bytes().all(allowed)
}

fn is_prefix(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let is_folder = |part: &str| part.bytes().all(allowed) && part.bytes().any(|byte| byte != b'.');
    text.is_empty() || (text.len() <= MAX_PREFIX && text.split('/').all(is_folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_that_cannot_be_one_is_told_by_its_field_and_never_repeated() {
        let folder = tempfile::TempDir::new().unwrap();
        std::fs::write(folder.path().join("secret"), "hunter2!").unwrap();
        for field in ["access_key", "sas_token"] {
            let text = format!("{{account: acc, container: kyros, {field}: {{file: secret}}}}");
            let problems = Provider::Azure(serde_yaml::from_str(&text).unwrap()).check(folder.path());
            assert!(problems.len() == 1 && problems[0].starts_with(&format!("{field}: secret file ")), "{problems:?}");
            assert!(!problems[0].contains("hunter2"), "{problems:?}");
        }
    }
}
