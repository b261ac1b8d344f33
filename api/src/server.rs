//! The API put together: parts started in order, routes, background tasks, an orderly end.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::DefaultBodyLimit,
    http::{HeaderValue, header},
    routing::get,
};
use kyros_http_server::{Limits, admin::Operations};
use kyros_metadata::{MetadataError, Reader};
use kyros_shared_config::{
    ClusterKeys, Issuer, KeyRing, KeySource, Secret, TenantVerifier, UserVerifier,
    cluster_keys::ClusterKeysError,
    crypto::{HANDLE_BYTES, random_bytes},
    headers::CookieNames,
    issuer::{IssuerError, write_private},
    key_ring::KeyRingError,
};
use thiserror::Error;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use tower_http::{
    compression::{
        CompressionLayer, Predicate,
        predicate::{DefaultPredicate, NotForContentType, SizeAbove},
    },
    set_header::SetResponseHeaderLayer,
};

use crate::{
    ApiSettings,
    data::{DataService, SourcesError},
    internal,
    mock::{MockError, MockProvider},
    openapi, portal, reply,
    revoker::Revoker,
    settings::TrustedIssuer,
    state::{App, Parts},
    store::{Ledger, Store, StoreError},
    verified::VerifiedTokens,
    workload_trust::{Accounts, WorkloadTrust},
};

/// How long to wait for the controller's first complete list.
const METADATA_PATIENCE: Duration = Duration::from_secs(30);
/// Largest request body, in bytes; queries have their own, smaller limit.
const MAX_BODY: usize = 256 * 1024;
/// How long the last lines may take to be written at the end.
const LAST_WRITES: Duration = Duration::from_secs(5);
/// How often what can never matter again is removed.
const PURGE_EVERY: Duration = Duration::from_mins(15);

/// Why the API does not start.
#[derive(Debug, Error)]
pub enum ApiError {
    /// The state folder cannot be used.
    #[error("state folder {path}: {source}")]
    StateDir {
        /// The folder.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The signing key cannot be used.
    #[error(transparent)]
    Key(#[from] IssuerError),
    /// The state cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The read model is not there.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// The mock people cannot be used.
    #[error(transparent)]
    Mock(#[from] MockError),
    /// A trusted issuer's keys cannot be used.
    #[error("trusted issuer {issuer}: {source}")]
    Issuer {
        /// The issuer.
        issuer: String,
        /// What is wrong.
        source: KeyRingError,
    },
    /// The list of trusted issuers cannot be read.
    #[error("trusted issuers {path}: {reason}")]
    IssuerList {
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Nobody could ever sign in.
    #[error("nobody can sign in: give --mock-people FILE (on localhost) or --trusted-issuers FILE")]
    NobodyTrusted,
    /// The cluster's keys are not there or no keys.
    #[error(transparent)]
    ClusterKeys(#[from] ClusterKeysError),
    /// The data sources cannot be used.
    #[error(transparent)]
    Sources(#[from] SourcesError),
    /// Workload tokens cannot be written.
    #[error("workload tokens: {0}")]
    Workloads(String),
}

/// A started API.
pub struct Api {
    app: App,
    background: Vec<JoinHandle<()>>,
    ledger_writer: JoinHandle<()>,
}

impl Api {
    /// Opens everything. Nothing is served yet, so an error leaves nothing half started.
    pub async fn start(settings: &ApiSettings) -> Result<Self, ApiError> {
        let state_error = |source| ApiError::StateDir { path: settings.state_dir.display().to_string(), source };
        create_private_dir(&settings.state_dir).map_err(state_error)?;
        let key_path = settings.signing_key.clone().unwrap_or_else(|| settings.state_dir.join("signing-key.pem"));
        let issuer = Issuer::load_or_generate(&settings.public_url.origin(), &key_path)?;
        let own_keys = Arc::new(own_key_ring(&issuer)?);
        let (mock, user_verifiers, rings) = identity_providers(settings)?;
        let (workloads, cluster_ring) = workload_trust(settings, &issuer, own_keys.clone())?;
        let data = DataService::new(
            &settings.data_dir,
            settings.data_sources.as_deref(),
            settings.query_concurrency,
            settings.frame_cache_mib.saturating_mul(1 << 20),
        )?;
        let sealing = sealing_secret(&settings.state_dir.join("sealing-secret")).map_err(state_error)?;
        let store = Store::open(&settings.state_dir.join("state.db")).await?;
        let (metadata, follow_metadata) = Reader::open(&settings.metadata_db, METADATA_PATIENCE).await?;
        let revoker = Revoker::start(store.clone()).await?;
        let (ledger, ledger_writer) = Ledger::start(&store);
        let app = App::new(Parts {
            public_url: settings.public_url.clone(),
            cookies: CookieNames::new(settings.public_url.is_secure()),
            tenant_tokens: VerifiedTokens::new(TenantVerifier::for_data_api(issuer.name(), own_keys)),
            workloads,
            sealing,
            projection_max_age: settings.projection_max_age,
            issuer,
            user_verifiers,
            metadata: metadata.clone(),
            store,
            ledger,
            revoker: revoker.clone(),
            mock,
            data,
            stopping: CancellationToken::new(),
        });
        let mut background = vec![tokio::spawn(follow_metadata)];
        let in_force = revoker.catch_up(&metadata).await;
        background.push(tokio::spawn(revoker.follow(metadata, in_force)));
        background.extend(rings.into_iter().chain(cluster_ring).map(|ring| tokio::spawn(ring.keep_fresh())));
        if let Some(folder) = settings.workload_dir.clone() {
            // Once before anybody is served: a sidecar that starts next finds its token.
            crate::workloads::write_all(&app, &folder).map_err(|error| ApiError::Workloads(error.to_string()))?;
            background.push(tokio::spawn(crate::workloads::keep_fresh(app.clone(), folder)));
        }
        background.push(tokio::spawn(purge(app.clone())));
        Ok(Self { app, background, ledger_writer })
    }

    /// The mock people, one line each: name, e-mail address, tenants.
    pub fn mock_people(&self) -> Vec<String> {
        let people = self.app.mock.iter().flat_map(|mock| &mock.people);
        people.map(super::mock::MockPerson::in_a_line).collect()
    }

    /// What the operations port asks.
    pub fn operations(&self) -> Arc<dyn Operations> {
        Arc::new(ApiOperations(self.app.clone()))
    }

    /// Serves until `shutdown`, then writes down what is left to write.
    pub async fn serve(self, listener: TcpListener, shutdown: CancellationToken) {
        let Self { app, background, mut ledger_writer } = self;
        let stopping = app.stopping.clone();
        let stop = shutdown.clone();
        let forward = tokio::spawn(async move {
            stop.cancelled().await;
            stopping.cancel();
        });
        kyros_http_server::serve_router(listener, Limits::default(), router(app.clone()), shutdown).await;
        forward.abort();
        for task in background {
            task.abort();
            let _ = task.await;
        }
        let store = app.store.clone();
        // The ledger's writer ends once nobody can write anything any more.
        drop(app);
        if tokio::time::timeout(LAST_WRITES, &mut ledger_writer).await.is_err() {
            tracing::error!("the audit's last lines may be missing");
            ledger_writer.abort();
            let _ = ledger_writer.await;
        }
        store.close().await;
    }
}

fn own_key_ring(issuer: &Issuer) -> Result<KeyRing, ApiError> {
    KeyRing::new(KeySource::Fixed(issuer.jwks()))
        .map_err(|source| ApiError::Issuer { issuer: issuer.name().to_owned(), source })
}

/// Who vouches for sidecars: the cluster where there is one, otherwise this API itself.
fn workload_trust(
    settings: &ApiSettings,
    issuer: &Issuer,
    own_keys: Arc<KeyRing>,
) -> Result<(WorkloadTrust, Option<Arc<KeyRing>>), ApiError> {
    let Some(path) = &settings.cluster_keys else {
        return Ok((WorkloadTrust::new(issuer.name(), own_keys, Accounts::Own), None));
    };
    let cluster = ClusterKeys::read(path)?;
    let keys = KeyRing::new(KeySource::File(path.clone()))
        .map(Arc::new)
        .map_err(|source| ApiError::Issuer { issuer: cluster.issuer.clone(), source })?;
    let accounts =
        Accounts::Cluster { namespace: settings.workload_namespace.clone(), gateway: settings.gateway_account.clone() };
    Ok((WorkloadTrust::new(&cluster.issuer, keys.clone(), accounts), Some(keys)))
}

/// What sidecars' sealing keys are derived from: made once, kept with the sessions.
fn sealing_secret(path: &std::path::Path) -> std::io::Result<Secret<Vec<u8>>> {
    match std::fs::read(path) {
        Ok(secret) if secret.len() == HANDLE_BYTES => Ok(Secret::new(secret)),
        Ok(_) => Err(std::io::Error::other(format!("{} is not {HANDLE_BYTES} bytes long", path.display()))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let secret = random_bytes::<HANDLE_BYTES>();
            write_private(path, &secret)?;
            Ok(Secret::new(secret.to_vec()))
        }
        Err(error) => Err(error),
    }
}

type IdentityProviders = (Option<MockProvider>, Vec<UserVerifier>, Vec<Arc<KeyRing>>);

fn identity_providers(settings: &ApiSettings) -> Result<IdentityProviders, ApiError> {
    let mut trusted = match &settings.trusted_issuers {
        None => Vec::new(),
        Some(path) => {
            let list_error = |reason: String| ApiError::IssuerList { path: path.display().to_string(), reason };
            let text = std::fs::read_to_string(path).map_err(|error| list_error(error.to_string()))?;
            serde_yaml::from_str::<Vec<TrustedIssuer>>(&text).map_err(|error| list_error(error.to_string()))?
        }
    };
    let mut mock = None;
    if let Some(people) = &settings.mock_people {
        let (provider, trust) = MockProvider::start(people, &settings.public_url, &settings.state_dir)?;
        mock = Some(provider);
        trusted.push(trust);
    }
    if trusted.is_empty() {
        return Err(ApiError::NobodyTrusted);
    }
    let mut verifiers = Vec::new();
    let mut rings = Vec::new();
    for issuer in trusted {
        let keys = KeyRing::new(issuer.key_source())
            .map(Arc::new)
            .map_err(|source| ApiError::Issuer { issuer: issuer.issuer.clone(), source })?;
        rings.push(keys.clone());
        verifiers.push(UserVerifier::new(issuer.issuer, issuer.audience, issuer.tenants_claim, keys));
    }
    Ok((mock, verifiers, rings))
}

fn create_private_dir(path: &std::path::Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

async fn purge(app: App) {
    loop {
        if let Err(error) = app.store.purge().await {
            tracing::warn!(%error, "old sessions not removed");
        }
        tokio::time::sleep(PURGE_EVERY).await;
    }
}

fn router(app: App) -> Router {
    let (described, _) = openapi::router().split_for_parts();
    let nosniff =
        SetResponseHeaderLayer::if_not_present(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    described
        .merge(portal::router())
        .route("/openapi.json", get(openapi::json))
        .route("/docs", get(openapi::page))
        .route("/internal/revocations", get(internal::revocations))
        .route("/internal/routes", get(internal::routes))
        .route("/internal/sealing-key", get(internal::sealing_key))
        .fallback(portal::not_found)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(axum::middleware::from_fn(reply::in_problems))
        .layer(CompressionLayer::new().compress_when(is_worth_compressing()))
        .layer(nosniff)
        .layer(axum::middleware::from_fn(portal::protect))
        .with_state(app)
}

/// Small answers gain nothing, and Parquet is compressed already.
fn is_worth_compressing() -> impl Predicate {
    /// In bytes.
    const SMALL: u64 = 1024;
    let parquet = NotForContentType::const_new("application/vnd.apache.parquet");
    DefaultPredicate::new().and(SizeAbove::new(SMALL)).and(parquet)
}

struct ApiOperations(App);

impl Operations for ApiOperations {
    fn not_ready_because(&self) -> Vec<String> {
        let snapshot = self.0.metadata.snapshot();
        if snapshot.epoch == 0 { vec!["no complete list of tenants yet".to_owned()] } else { Vec::new() }
    }

    fn metrics(&self) -> String {
        let snapshot = self.0.metadata.snapshot();
        format!(
            "# HELP kyros_api_tenants Tenants in the read model.\n# TYPE kyros_api_tenants gauge\nkyros_api_tenants {}\n\
             # HELP kyros_api_dashboards Dashboards in the read model.\n# TYPE kyros_api_dashboards gauge\n\
             kyros_api_dashboards {}\n\
             # HELP kyros_api_projection_age_seconds Seconds since the read model was last confirmed.\n\
             # TYPE kyros_api_projection_age_seconds gauge\nkyros_api_projection_age_seconds {}\n",
            snapshot.tenants.len(),
            snapshot.dashboards.len(),
            self.0.projection_age()
        ) + &self.0.data.metrics()
    }
}
