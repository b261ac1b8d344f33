//! What the read model keeps of a `Tenant` and of a `Dashboard`.

use kyros_shared_config::{
    DashboardSlug, DatasetName, SourceName, TenantId, WebOrigin,
    crypto::{hex, sha256},
};
use serde::Serialize;

/// How a tenant looks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Branding {
    /// `#rrggbb`, or empty for the default.
    pub accent_color: String,
    /// An address, or empty for none.
    pub logo_url: String,
}

/// What a tenant may use at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Limits {
    /// Queries that run at once.
    pub concurrent_queries: u32,
    /// Requests per second to the data API.
    pub requests_per_second: u32,
}

/// Whom a member entry names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum MemberKind {
    /// A person, by subject or e-mail address.
    User(String),
    /// Everybody whose token lists this group.
    Group(String),
}

/// Who may choose a tenant, with what roles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Whom.
    pub kind: MemberKind,
    /// The roles, passed on to the dashboards.
    pub roles: Vec<String>,
}

/// A tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantRecord {
    /// The resource's name.
    pub id: TenantId,
    /// The resource's uid: another uid under the same name is another tenant.
    pub uid: String,
    /// The resource's generation; 0 where no cluster counts it.
    pub generation: i64,
    /// For people.
    pub display_name: String,
    /// Closed for everybody until further notice.
    pub suspended: bool,
    /// How it looks.
    pub branding: Branding,
    /// What it may use.
    pub limits: Limits,
    /// Whose pages, besides the portal's, may show its dashboards in a frame.
    pub allowed_origins: Vec<WebOrigin>,
    /// Where its data lies, whatever its dashboards say.
    pub source: Option<SourceName>,
    /// Who may choose it.
    pub members: Vec<Member>,
    /// What it may open, in the order of its resource. Nothing means nothing.
    pub dashboards: Vec<DashboardSlug>,
}

/// Whether one workload serves all tenants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Isolation {
    /// One workload for all; its code is trusted to keep requests apart.
    Shared,
    /// One workload per tenant.
    PerTenant,
}

impl Isolation {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Shared => "Shared",
            Self::PerTenant => "PerTenant",
        }
    }

    /// Unknown means the stricter one.
    pub(crate) fn from_stored(text: &str) -> Self {
        if text == "Shared" { Self::Shared } else { Self::PerTenant }
    }
}

/// A dashboard. Who may open it stands on the tenants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DashboardRecord {
    /// The resource's name.
    pub slug: DashboardSlug,
    /// The resource's uid.
    pub uid: String,
    /// The resource's generation; 0 where no cluster counts it.
    pub generation: i64,
    /// For people.
    pub title: String,
    /// For people.
    pub description: String,
    /// Whether one workload serves all tenants.
    pub isolation: Isolation,
    /// The only datasets that its tokens can read.
    pub datasets: Vec<DatasetName>,
    /// Where the data lies of tenants that do not say it themselves.
    pub source: Option<SourceName>,
}

/// Which version of a resource there is: what two sides compare to find out whether they have the same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// `Tenant` or `Dashboard`.
    pub kind: &'static str,
    /// The resource's name.
    pub name: String,
    /// The resource's uid.
    pub uid: String,
    /// The resource's generation.
    pub generation: i64,
}

/// One short text for a set of versions, the same whatever their order.
pub fn digest(mut versions: Vec<Version>) -> String {
    versions.sort_unstable();
    let line =
        |version: &Version| format!("{} {} {} {}\n", version.kind, version.name, version.uid, version.generation);
    let all: String = versions.iter().map(line).collect();
    hex(&sha256(all.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_depends_on_every_version_and_on_no_order() {
        let version =
            |name: &str, generation| Version { kind: "Tenant", name: name.into(), uid: "u".into(), generation };
        let digest_of = |versions: &[Version]| digest(versions.to_vec());
        let (one, two) = (version("acme", 1), version("globex", 2));
        assert_eq!(digest_of(&[one.clone(), two.clone()]), digest_of(&[two.clone(), one.clone()]));
        assert_ne!(digest_of(&[one.clone(), two]), digest_of(&[one.clone(), version("globex", 3)]));
        assert_ne!(digest_of(&[one]), digest_of(&[]));
    }
}
