//! What the API is told at the start: flags, or `KYROS_` variables of the same name.

use std::{net::SocketAddr, path::PathBuf};

use clap::Args;
use kyros_shared_config::{KeySource, PublicUrl, ServiceAccountName, verifier::USER_AUDIENCE};
use serde::Deserialize;

/// Memory for datasets when nothing else is said, in MiB.
pub const FRAME_CACHE_MIB: usize = 512;

/// The API.
#[derive(Debug, Clone, Args)]
pub struct ApiSettings {
    /// Where the gateway and the sidecars connect.
    #[arg(long, env = "KYROS_LISTEN", default_value = "127.0.0.1:8081")]
    pub listen: SocketAddr,

    /// Health, readiness and metrics.
    #[arg(long, env = "KYROS_ADMIN_LISTEN")]
    pub admin_listen: Option<SocketAddr>,

    /// Where people reach the portal; also the issuer of tenant tokens.
    #[arg(long, env = "KYROS_PUBLIC_URL", default_value = "http://kyros.localhost:8080")]
    pub public_url: PublicUrl,

    /// The folder for sessions and keys. Precious.
    #[arg(long, env = "KYROS_STATE_DIR", default_value = ".kyros")]
    pub state_dir: PathBuf,

    /// The read model that the controller writes.
    #[arg(long, env = "KYROS_METADATA_DB", default_value = ".kyros/metadata.db")]
    pub metadata_db: PathBuf,

    /// The folder with tenants/TENANT/DASHBOARD/DATASET.parquet.
    #[arg(long, env = "KYROS_DATA_DIR", default_value = "data")]
    pub data_dir: PathBuf,

    /// A YAML list of the places beside the data folder that tenants and dashboards may name (docs/data-sources.md).
    #[arg(long, env = "KYROS_DATA_SOURCES")]
    pub data_sources: Option<PathBuf>,

    /// The private signing key (PKCS#8 PEM on P-256). Made in the state folder when not given.
    #[arg(long, env = "KYROS_SIGNING_KEY")]
    pub signing_key: Option<PathBuf>,

    /// People of the mock identity provider. Only with a public URL on localhost.
    #[arg(long, env = "KYROS_MOCK_PEOPLE")]
    pub mock_people: Option<PathBuf>,

    /// A YAML list of issuers whose user tokens are accepted: {issuer, jwks, audience, `tenants_claim`}.
    #[arg(long, env = "KYROS_TRUSTED_ISSUERS")]
    pub trusted_issuers: Option<PathBuf>,

    /// The cluster's issuer and keys, as the projector writes them: sidecars then speak with their service accounts.
    #[arg(long, env = "KYROS_CLUSTER_KEYS", conflicts_with = "workload_dir")]
    pub cluster_keys: Option<PathBuf>,

    /// The namespace of dashboards' service accounts; those of any other are nobody.
    #[arg(long, env = "KYROS_WORKLOAD_NAMESPACE", default_value = "default")]
    pub workload_namespace: String,

    /// The gateway's service account, as NAMESPACE:NAME.
    #[arg(long, env = "KYROS_GATEWAY_ACCOUNT")]
    pub gateway_account: Option<ServiceAccountName>,

    /// Nobody gets a new token from a read model that nobody confirmed for this long, in seconds.
    #[arg(long, env = "KYROS_PROJECTION_MAX_AGE", default_value_t = 900)]
    pub projection_max_age: i64,

    /// Where to write one workload token per dashboard, SLUG/token, where no Kubernetes does it.
    #[arg(long, env = "KYROS_WORKLOAD_DIR")]
    pub workload_dir: Option<PathBuf>,

    /// Queries that run at once. Short ones of two tenants never do: they would slow each other down by more than a wait.
    #[arg(long, env = "KYROS_QUERY_CONCURRENCY", default_value_t = 2)]
    pub query_concurrency: usize,

    /// Memory for datasets, in MiB; one tenant has at most half of it.
    #[arg(long, env = "KYROS_FRAME_CACHE_MIB", default_value_t = FRAME_CACHE_MIB)]
    pub frame_cache_mib: usize,
}

/// An issuer whose user tokens are accepted.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrustedIssuer {
    /// The exact `iss`.
    pub issuer: String,
    /// Its keys: an http(s) address or a file.
    pub jwks: String,
    /// The `aud` that its tokens carry for Kyros.
    #[serde(default = "default_audience")]
    pub audience: String,
    /// The claim that lists tenant ids.
    #[serde(default = "default_tenants_claim")]
    pub tenants_claim: String,
}

fn default_audience() -> String {
    USER_AUDIENCE.to_owned()
}

fn default_tenants_claim() -> String {
    "tenant_ids".to_owned()
}

impl TrustedIssuer {
    /// Where its keys are.
    pub fn key_source(&self) -> KeySource {
        let Ok(source) = self.jwks.parse();
        source
    }
}
