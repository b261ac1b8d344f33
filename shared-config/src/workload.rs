//! What runs for a dashboard, and the names that follow from it: the controller makes them, the API recognises them, and
//! both routes and service accounts are spelled by this file alone.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{
    DashboardSlug, NameError, TenantId,
    crypto::{hex, sha256},
};

/// Begins every workload's name, so that it begins with a letter, as a Service's name must (RFC 1035, section 2.3.1).
const PREFIX: &str = "dash-";
/// Stands between dashboard and tenant; neither name may contain it.
const SEPARATOR: &str = "--";
/// Longest name of a Service: one DNS label (RFC 1035, section 2.3.4).
const MAX_SERVICE_NAME: usize = 63;
/// Hexadecimal digits that replace the end of a name that is too long for a Service.
const DIGEST_DIGITS: usize = 10;
/// How Kubernetes names a service account in a token's `sub`.
const ACCOUNT_PREFIX: &str = "system:serviceaccount:";

/// One workload: a dashboard for all its tenants, or for one alone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Workload {
    /// The dashboard that runs.
    pub dashboard: DashboardSlug,
    /// The only tenant that it serves; `None` where it serves all.
    pub tenant: Option<TenantId>,
}

impl Workload {
    /// The workload that serves every tenant of a dashboard.
    pub fn shared(dashboard: DashboardSlug) -> Self {
        Self { dashboard, tenant: None }
    }

    /// The workload that serves one tenant of a dashboard.
    pub fn pinned(dashboard: DashboardSlug, tenant: TenantId) -> Self {
        Self { dashboard, tenant: Some(tenant) }
    }

    /// The name of its service account and of everything else that may be as long as a DNS subdomain.
    pub fn name(&self) -> String {
        self.to_string()
    }

    /// The name of its Service, which must fit one DNS label: where the plain name does not, its end gives way to a digest
    /// of the whole, after a second `--`, which no plain name has.
    pub fn service_name(&self) -> String {
        let name = self.name();
        if name.len() <= MAX_SERVICE_NAME {
            return name;
        }
        let digest = hex(&sha256(name.as_bytes()));
        let kept = name[..MAX_SERVICE_NAME - DIGEST_DIGITS - SEPARATOR.len()].trim_end_matches('-');
        format!("{kept}{SEPARATOR}{}", &digest[..DIGEST_DIGITS])
    }

    /// The workload whose service account this `sub` names, if the account is one of `namespace`. Anything else is nobody.
    pub fn from_service_account(subject: &str, namespace: &str) -> Option<Self> {
        let (found, name) = subject.strip_prefix(ACCOUNT_PREFIX)?.split_once(':')?;
        if found == namespace { name.parse().ok() } else { None }
    }

    /// Whether the workload may act for a tenant.
    pub fn serves(&self, tenant: &TenantId) -> bool {
        self.tenant.as_ref().is_none_or(|own| own == tenant)
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", self.dashboard)?;
        self.tenant.as_ref().map_or(Ok(()), |tenant| write!(f, "{SEPARATOR}{tenant}"))
    }
}

impl FromStr for Workload {
    type Err = NameError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let rest = name.strip_prefix(PREFIX).ok_or(NameError::Edge)?;
        match rest.split_once(SEPARATOR) {
            Some((dashboard, tenant)) => Ok(Self::pinned(dashboard.parse()?, tenant.parse()?)),
            None => Ok(Self::shared(rest.parse()?)),
        }
    }
}

/// A service account as a `sub` names it: `NAMESPACE:NAME`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceAccountName {
    namespace: String,
    name: String,
}

/// Why a text names no service account.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not NAMESPACE:NAME")]
pub struct ServiceAccountNameError(String);

impl ServiceAccountName {
    /// Whether a token's `sub` is this account.
    pub fn is_subject(&self, subject: &str) -> bool {
        subject.strip_prefix(ACCOUNT_PREFIX).and_then(|account| account.split_once(':'))
            == Some((self.namespace.as_str(), self.name.as_str()))
    }
}

impl FromStr for ServiceAccountName {
    type Err = ServiceAccountNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() && !name.contains(':') => {
                Ok(Self { namespace: namespace.to_owned(), name: name.to_owned() })
            }
            _ => Err(ServiceAccountNameError(text.to_owned())),
        }
    }
}

/// Where the gateway finds each dashboard: what the API tells it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteTable {
    /// Dashboards that one workload serves for all tenants, and pairs that have a workload of their own.
    pub workloads: Vec<Workload>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_dashboard_and_tenant_and_reads_back() {
        for (name, workload) in [
            ("dash-clv", Workload::shared("clv".parse().unwrap())),
            ("dash-1a", Workload::shared("1a".parse().unwrap())),
            ("dash-clv--acme", Workload::pinned("clv".parse().unwrap(), "acme".parse().unwrap())),
            ("dash-a-b--c-d", Workload::pinned("a-b".parse().unwrap(), "c-d".parse().unwrap())),
        ] {
            assert_eq!(workload.name(), name);
            assert_eq!(name.parse(), Ok(workload));
        }
        for nobody in ["clv", "dash-", "dash--", "dash-a--", "dash-a--b--c", "dash-A", "dash-a--B", ""] {
            assert!(nobody.parse::<Workload>().is_err(), "{nobody}");
        }
    }

    #[test]
    fn a_service_name_is_one_dns_label_and_no_two_are_alike() {
        let long = |last: char| {
            let dashboard = format!("{}a", "d".repeat(29));
            Workload::pinned(dashboard.parse().unwrap(), format!("{}{last}", "t".repeat(29)).parse().unwrap())
        };
        let (one, other) = (long('x').service_name(), long('y').service_name());
        assert!(one.len() <= 63 && other.len() <= 63);
        assert_ne!(one, other);
        assert!(!one.contains("---") && one.starts_with("dash-"), "{one}");
        assert!(one.parse::<Workload>().is_err(), "{one} could be somebody else's plain name");
        assert_eq!(Workload::shared("clv".parse().unwrap()).service_name(), "dash-clv");
    }

    #[test]
    fn only_accounts_of_the_one_namespace_are_workloads() {
        let of = |subject: &str| Workload::from_service_account(subject, "dashboards");
        assert_eq!(of("system:serviceaccount:dashboards:dash-clv"), "dash-clv".parse().ok());
        for stranger in [
            "system:serviceaccount:elsewhere:dash-clv",
            "system:serviceaccount:dashboards:default",
            "system:serviceaccount:dashboards:dash-clv:x",
            "system:serviceaccount:dash-clv",
            "dash-clv",
            "system:node:dash-clv",
        ] {
            assert_eq!(of(stranger), None, "{stranger}");
        }
        let gateway: ServiceAccountName = "kyros-system:kyros-gateway".parse().unwrap();
        assert!(gateway.is_subject("system:serviceaccount:kyros-system:kyros-gateway"));
        assert!(!gateway.is_subject("system:serviceaccount:default:kyros-gateway"));
        assert!("kyros-gateway".parse::<ServiceAccountName>().is_err());
    }

    #[test]
    fn a_pinned_workload_serves_its_tenant_alone() {
        let (acme, globex): (TenantId, TenantId) = ("acme".parse().unwrap(), "globex".parse().unwrap());
        let pinned = Workload::pinned("clv".parse().unwrap(), acme.clone());
        assert!(pinned.serves(&acme) && !pinned.serves(&globex));
        assert!(Workload::shared("clv".parse().unwrap()).serves(&globex));
    }
}
