//! Which workload speaks: what a workload's token is worth here, and for which dashboard and tenant.
//!
//! A token says only which service account holds it. Whether that account may speak for a dashboard is decided against the
//! read model each time: the dashboard must exist, and the account must be that of the workload which its isolation asks for.

use std::sync::Arc;

use kyros_metadata::{Isolation, Snapshot, TenantRecord};
use kyros_shared_config::{DashboardSlug, KeyRing, ServiceAccountName, Workload, WorkloadVerifier};

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
        let subject = self.subject(token).await?;
        if let Accounts::Cluster { gateway: Some(gateway), .. } = &self.accounts
            && gateway.is_subject(&subject)
        {
            return Some(Caller::Gateway);
        }
        let workload = self.workload(&subject)?;
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

    /// The workload whose token this is, whatever the read model says: for what only takes away.
    pub(crate) async fn any(&self, token: &str) -> Option<Workload> {
        self.workload(&self.subject(token).await?)
    }

    async fn subject(&self, token: &str) -> Option<String> {
        match self.verifier.verify_refreshing(token).await {
            Ok(identity) => Some(identity.subject),
            Err(error) => {
                tracing::debug!(reason = error.reason(), "workload token refused");
                None
            }
        }
    }

    fn workload(&self, subject: &str) -> Option<Workload> {
        match &self.accounts {
            Accounts::Own => Some(Workload::shared(DashboardSlug::from_audience(subject)?)),
            Accounts::Cluster { namespace, .. } => Workload::from_service_account(subject, namespace),
        }
    }
}

/// Every workload that requests can be routed to, in a fixed order. What a suspended tenant has of its own runs no pods: its
/// host must answer as one that names nothing.
pub(crate) fn workloads(snapshot: &Snapshot) -> Vec<Workload> {
    let mut all = Vec::new();
    for dashboard in snapshot.dashboards.values() {
        match dashboard.isolation {
            Isolation::Shared => all.push(Workload::shared(dashboard.slug.clone())),
            Isolation::PerTenant => {
                let may_open =
                    |tenant: &&TenantRecord| !tenant.suspended && tenant.dashboards.contains(&dashboard.slug);
                let theirs = snapshot.tenants.values().filter(may_open);
                all.extend(theirs.map(|tenant| Workload::pinned(dashboard.slug.clone(), tenant.id.clone())));
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use kyros_metadata::{Branding, DashboardRecord, Limits};
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
            source: None,
        };
        let tenant = |id: &str, dashboards: &[&str]| TenantRecord {
            id: id.parse().unwrap(),
            uid: id.to_owned(),
            generation: 1,
            display_name: String::new(),
            suspended: false,
            branding: Branding { accent_color: String::new(), logo_url: String::new() },
            limits: Limits { concurrent_queries: 1, requests_per_second: 1 },
            allowed_origins: Vec::new(),
            source: None,
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
        // What takes away is told to whoever was a workload once.
        let token = issuer.workload_token(&account("dash-own--globex")).unwrap();
        assert_eq!(trust.any(token.token.expose()).await, "dash-own--globex".parse().ok());
        let token = issuer.workload_token("system:serviceaccount:elsewhere:dash-clv").unwrap();
        assert_eq!(trust.any(token.token.expose()).await, None);
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
        let names = |snapshot: &Snapshot| workloads(snapshot).iter().map(Workload::name).collect::<Vec<_>>();
        let mut snapshot = snapshot();
        assert_eq!(names(&snapshot), ["dash-clv", "dash-own--acme"]);
        snapshot.tenants.values_mut().for_each(|tenant| tenant.suspended = true);
        assert_eq!(names(&snapshot), ["dash-clv"], "a suspended tenant's own host is as unknown as any");
    }
}
