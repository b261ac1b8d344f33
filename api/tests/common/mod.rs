//! What every test of a running API starts from.

#![allow(dead_code, reason = "each test binary uses its own part of this")]

use std::{net::SocketAddr, path::Path};

use kyros_api::ApiSettings;
use kyros_metadata::{Branding, DashboardRecord, Isolation, Limits, Member, MemberKind, TenantRecord};

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
        data_sources: None,
        cluster_keys: None,
        workload_namespace: String::new(),
        gateway_account: None,
        projection_max_age: 900,
        workload_dir: None,
        query_concurrency: 1,
        frame_cache_mib: 64,
    }
}

/// A tenant whose only member is Ana, and whose dashboard is [`clv`].
pub(crate) fn acme(allowed_origins: &[&str]) -> TenantRecord {
    TenantRecord {
        id: "acme".parse().unwrap(),
        uid: "u1".into(),
        generation: 1,
        display_name: "Acme".into(),
        suspended: false,
        branding: Branding { accent_color: String::new(), logo_url: String::new() },
        limits: Limits { concurrent_queries: 1, requests_per_second: 1 },
        allowed_origins: allowed_origins.iter().map(|origin| origin.parse().unwrap()).collect(),
        source: None,
        members: vec![Member { kind: MemberKind::User("ana".into()), roles: Vec::new() }],
        dashboards: vec!["clv".parse().unwrap()],
    }
}

/// The dashboard that [`acme`] may open.
pub(crate) fn clv() -> DashboardRecord {
    DashboardRecord {
        slug: "clv".parse().unwrap(),
        uid: "u2".into(),
        generation: 1,
        title: "CLV".into(),
        description: String::new(),
        isolation: Isolation::Shared,
        datasets: Vec::new(),
        source: None,
    }
}
