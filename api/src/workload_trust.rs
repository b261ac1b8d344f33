//! Which workload speaks: what a workload's token is worth here, and for which dashboard and tenant.
//!
//! A token says only which service account holds it. Whether that account may speak for a dashboard is decided against the
//! read model each time: the dashboard must exist, and the account must be that of the workload which its isolation asks for.

use std::sync::Arc;

use kyros_metadata::{Isolation, Snapshot};
use kyros_shared_config::{DashboardSlug, KeyRing, ServiceAccountName, VerifyError, Workload, WorkloadVerifier};

/// Who speaks, if it is anybody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Caller {
    /// A dashboard's sidecar.
    Sidecar(Workload),
    /// The gateway, which learns where sidecars are and nothing else.
    Gateway,
}

/// How a token's subject names a workload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Accounts {
    /// The API wrote the tokens itself: `dashboard:<slug>`, a workload for all tenants.
    Own,
    /// The cluster's service accounts.
    Cluster {
        /// Where dashboards' workloads are.
        namespace: String,
        /// The gateway's account.
        gateway: Option<ServiceAccountName>,
    },
}

/// Verifies workloads' tokens and maps them to what they may speak for.
pub(crate) struct WorkloadTrust {
    verifier: WorkloadVerifier,
    accounts: Accounts,
}

impl WorkloadTrust {
    pub(crate) fn new(issuer: &str, keys: Arc<KeyRing>, accounts: Accounts) -> Self {
        Self { verifier: WorkloadVerifier::new(issuer, keys), accounts }
    }

    /// Who speaks; `None` for a token that does not verify, an account that is nobody's, and a workload that the read model
    /// does not ask for.
    pub(crate) async fn caller(&self, token: &str, snapshot: &Snapshot) -> Option<Caller> {
        let identity = match self.verifier.verify_refreshing(token).await {
            Ok(identity) => identity,
            Err(VerifyError::UnknownKey | VerifyError::Expired | VerifyError::Issuer) => {
                tracing::debug!("a workload's token is not of this issuer, or not any more");
                return None;
            }
            Err(error) => {
                tracing::debug!(reason = error.reason(), "workload token refused");
                return None;
            }
        };
        self.named(&identity.subject, snapshot)
    }

    fn named(&self, subject: &str, snapshot: &Snapshot) -> Option<Caller> {
        let workload = match &self.accounts {
            Accounts::Own => Workload::shared(DashboardSlug::from_audience(subject)?),
            Accounts::Cluster { namespace, gateway } => {
                if gateway.as_ref().is_some_and(|gateway| gateway.is_subject(subject)) {
                    return Some(Caller::Gateway);
                }
                Workload::from_service_account(subject, namespace)?
            }
        };
        let isolation = snapshot.dashboards.get(&workload.dashboard)?.isolation;
        let is_asked_for = match (isolation, &workload.tenant) {
            (Isolation::Shared, None) => true,
            (Isolation::PerTenant, Some(tenant)) => {
                snapshot.tenants.get(tenant).is_some_and(|tenant| tenant.dashboards.contains(&workload.dashboard))
            }
            (Isolation::Shared, Some(_)) | (Isolation::PerTenant, None) => false,
        };
        is_asked_for.then_some(Caller::Sidecar(workload))
    }
}

/// Every workload that the read model asks for, in a fixed order.
pub(crate) fn workloads(snapshot: &Snapshot) -> Vec<Workload> {
    let mut all = Vec::new();
    for dashboard in snapshot.dashboards.values() {
        match dashboard.isolation {
            Isolation::Shared => all.push(Workload::shared(dashboard.slug.clone())),
            Isolation::PerTenant => {
                let theirs = snapshot.tenants.values().filter(|tenant| tenant.dashboards.contains(&dashboard.slug));
                all.extend(theirs.map(|tenant| Workload::pinned(dashboard.slug.clone(), tenant.id.clone())));
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use kyros_metadata::{Branding, DashboardRecord, Limits, TenantRecord};
    use kyros_shared_config::{Issuer, KeySource};

    use super::*;

    fn snapshot() -> Snapshot {
        let dashboard = |slug: &str, isolation| DashboardRecord {
            slug: slug.parse().unwrap(),
            uid: slug.to_owned(),
            generation: 1,
            title: String::new(),
            description: String::new(),
            isolation,
            datasets: Vec::new(),
        };
        let tenant = |id: &str, dashboards: &[&str]| TenantRecord {
            id: id.parse().unwrap(),
            uid: id.to_owned(),
            generation: 1,
            display_name: String::new(),
            suspended: false,
            branding: Branding { accent_color: String::new(), logo_url: String::new() },
            limits: Limits { concurrent_queries: 1, requests_per_second: 1 },
            members: Vec::new(),
            dashboards: dashboards.iter().map(|slug| slug.parse().unwrap()).collect(),
        };
        Snapshot {
            epoch: 1,
            applied_at: 1,
            tenants: [tenant("acme", &["clv", "own"]), tenant("globex", &["clv"])]
                .map(|tenant| (tenant.id.clone(), tenant))
                .into(),
            dashboards: [dashboard("clv", Isolation::Shared), dashboard("own", Isolation::PerTenant)]
                .map(|dashboard| (dashboard.slug.clone(), dashboard))
                .into(),
        }
    }

    fn trust(accounts: Accounts) -> (Issuer, WorkloadTrust) {
        kyros_shared_config::crypto::install_provider();
        let issuer = Issuer::generate("https://cluster.example").unwrap();
        let keys = Arc::new(KeyRing::new(KeySource::Fixed(issuer.jwks())).unwrap());
        let trust = WorkloadTrust::new(issuer.name(), keys, accounts);
        (issuer, trust)
    }

    fn in_cluster() -> Accounts {
        let gateway = Some("kyros-system:kyros-gateway".parse().unwrap());
        Accounts::Cluster { namespace: "default".into(), gateway }
    }

    #[tokio::test]
    async fn an_account_speaks_for_the_workload_that_is_asked_for_and_for_nothing_else() {
        let (issuer, trust) = trust(in_cluster());
        let snapshot = snapshot();
        let caller = async |account: &str| {
            let token = issuer.workload_token(account).unwrap();
            trust.caller(token.token.expose(), &snapshot).await
        };
        let account = |name: &str| format!("system:serviceaccount:default:{name}");
        assert_eq!(caller(&account("dash-clv")).await, Some(Caller::Sidecar("dash-clv".parse().unwrap())));
        assert_eq!(caller(&account("dash-own--acme")).await, Some(Caller::Sidecar("dash-own--acme".parse().unwrap())));
        assert_eq!(caller("system:serviceaccount:kyros-system:kyros-gateway").await, Some(Caller::Gateway));
        for nobody in [
            account("dash-own"),
            account("dash-clv--acme"),
            account("dash-own--globex"),
            account("dash-own--nobody"),
            account("dash-none"),
            account("default"),
            account("kyros-gateway"),
            "system:serviceaccount:elsewhere:dash-clv".to_owned(),
            "dashboard:clv".to_owned(),
        ] {
            assert_eq!(caller(&nobody).await, None, "{nobody}");
        }
    }

    #[tokio::test]
    async fn a_token_of_another_issuer_or_none_is_nobody() {
        let (_, trust) = trust(in_cluster());
        let stranger = Issuer::generate("https://cluster.example").unwrap();
        let token = stranger.workload_token("system:serviceaccount:default:dash-clv").unwrap();
        assert_eq!(trust.caller(token.token.expose(), &snapshot()).await, None);
        assert_eq!(trust.caller("", &snapshot()).await, None);
    }

    #[tokio::test]
    async fn where_there_is_no_cluster_the_api_names_dashboards_itself() {
        let (issuer, trust) = trust(Accounts::Own);
        let token = issuer.workload_token("dashboard:clv").unwrap();
        let caller = trust.caller(token.token.expose(), &snapshot()).await;
        assert_eq!(caller, Some(Caller::Sidecar("dash-clv".parse().unwrap())));
        let token = issuer.workload_token("system:serviceaccount:default:dash-clv").unwrap();
        assert_eq!(trust.caller(token.token.expose(), &snapshot()).await, None);
    }

    #[test]
    fn the_routes_are_one_workload_for_all_or_one_for_each_tenant() {
        let names: Vec<String> = workloads(&snapshot()).iter().map(Workload::name).collect();
        assert_eq!(names, ["dash-clv", "dash-own--acme"]);
    }
}
