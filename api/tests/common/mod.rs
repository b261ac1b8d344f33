//! What every test of a running API starts from.

use std::{net::SocketAddr, path::Path};

use kyros_api::ApiSettings;

/// An API on a public address that trusts the issuers listed in `home/issuers.yaml`.
pub(crate) fn settings(home: &Path) -> ApiSettings {
    ApiSettings {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        admin_listen: None,
        public_url: "https://kyros.example".parse().unwrap(),
        state_dir: home.join("state"),
        metadata_db: home.join("metadata.db"),
        data_dir: home.join("data"),
        signing_key: None,
        mock_people: None,
        trusted_issuers: Some(home.join("issuers.yaml")),
        cluster_keys: None,
        workload_namespace: String::new(),
        gateway_account: None,
        projection_max_age: 900,
        workload_dir: None,
        query_concurrency: 1,
    }
}
