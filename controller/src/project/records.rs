//! From a resource to its row in the read model. Pure.

use kube::ResourceExt as _;
use kyros_metadata::{Branding, DashboardRecord, Isolation, Limits, Member, MemberKind, TenantRecord};
use kyros_shared_config::{NameError, WebOrigin};
use thiserror::Error;

use crate::resources::{Dashboard, Isolation as ResourceIsolation, Subject, Tenant};

/// A name that passed the schema and is still none: a bug, or a cluster with another definition installed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("resource name {name:?} {reason}")]
pub struct BadName {
    /// The name.
    pub name: String,
    /// What is wrong with it.
    pub reason: NameError,
}

fn named<T: std::str::FromStr<Err = NameError>>(name: &str) -> Result<T, BadName> {
    name.parse().map_err(|reason| BadName { name: name.to_owned(), reason })
}

pub(super) fn tenant_record(tenant: &Tenant) -> Result<TenantRecord, BadName> {
    let member = |member: &crate::resources::Member| {
        let kind = match member.subject()? {
            Subject::User(user) => MemberKind::User(user.to_owned()),
            Subject::Group(group) => MemberKind::Group(group.to_owned()),
        };
        Some(Member { kind, roles: member.roles.clone() })
    };
    Ok(TenantRecord {
        id: named(&tenant.name_any())?,
        uid: tenant.uid().unwrap_or_default(),
        generation: tenant.metadata.generation.unwrap_or_default(),
        display_name: tenant.spec.display_name.clone(),
        suspended: tenant.spec.suspended,
        branding: Branding {
            accent_color: tenant.spec.branding.accent_color.clone().unwrap_or_default(),
            logo_url: tenant.spec.branding.logo_url.clone(),
        },
        limits: Limits {
            concurrent_queries: u32::try_from(tenant.spec.limits.concurrent_queries).unwrap_or(1),
            requests_per_second: u32::try_from(tenant.spec.limits.requests_per_second).unwrap_or(1),
        },
        allowed_origins: allowed_origins(&tenant.spec.embedding.allowed_origins),
        source: tenant.spec.source.as_deref().map(named).transpose()?,
        members: merge_same_subject(tenant.spec.members.iter().filter_map(member)),
        dashboards: tenant.spec.dashboards.iter().map(|slug| named(slug)).collect::<Result<_, _>>()?,
    })
}

/// A text that is no origin lets nobody in. It must not keep the rest of the tenant, such as its suspension, from the read
/// model.
fn allowed_origins(texts: &[String]) -> Vec<WebOrigin> {
    let mut origins: Vec<WebOrigin> = Vec::new();
    for origin in texts.iter().filter_map(|text| text.parse().ok()) {
        // `https://a` and `https://a:443` are two texts and one origin.
        if !origins.contains(&origin) {
            origins.push(origin);
        }
    }
    origins
}

/// One subject named twice has the roles of both entries.
fn merge_same_subject(members: impl Iterator<Item = Member>) -> Vec<Member> {
    let mut merged: Vec<Member> = Vec::new();
    for member in members {
        match merged.iter_mut().find(|known| known.kind == member.kind) {
            Some(known) => known.roles.extend(member.roles),
            None => merged.push(member),
        }
    }
    merged
}

pub(super) fn dashboard_record(dashboard: &Dashboard) -> Result<DashboardRecord, BadName> {
    Ok(DashboardRecord {
        slug: named(&dashboard.name_any())?,
        uid: dashboard.uid().unwrap_or_default(),
        generation: dashboard.metadata.generation.unwrap_or_default(),
        title: dashboard.spec.title.clone(),
        description: dashboard.spec.description.clone(),
        isolation: match dashboard.spec.isolation {
            ResourceIsolation::Shared => Isolation::Shared,
            ResourceIsolation::PerTenant => Isolation::PerTenant,
        },
        datasets: dashboard.spec.datasets.iter().map(|name| named(name)).collect::<Result<_, _>>()?,
        source: dashboard.spec.source.as_deref().map(named).transpose()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_is_no_origin_lets_nobody_in_and_keeps_nothing_back() {
        let mut tenant: Tenant = serde_json::from_value(serde_json::json!({
            "apiVersion": crate::resources::API_VERSION,
            "kind": "Tenant",
            "metadata": {"name": "acme"},
            "spec": {"displayName": "Acme", "suspended": true},
        }))
        .unwrap();
        assert_eq!(tenant_record(&tenant).unwrap().allowed_origins, []);
        tenant.spec.embedding.allowed_origins =
            ["https://b.example", "*", "https://a.example:443", "https://a.example/", "https://a.example"]
                .map(str::to_owned)
                .into();
        let record = tenant_record(&tenant).unwrap();
        let origins: Vec<_> = record.allowed_origins.iter().map(WebOrigin::as_str).collect();
        assert_eq!(origins, ["https://b.example", "https://a.example"]);
        assert!(record.suspended);
    }

    #[test]
    fn a_source_that_is_no_name_is_refused_and_never_the_default_one() {
        let mut dashboard: Dashboard = serde_json::from_value(serde_json::json!({
            "apiVersion": crate::resources::API_VERSION,
            "kind": "Dashboard",
            "metadata": {"name": "clv"},
            "spec": {"title": "CLV", "image": "a:1", "source": "warehouse"},
        }))
        .unwrap();
        assert_eq!(dashboard_record(&dashboard).unwrap().source, Some("warehouse".parse().unwrap()));
        dashboard.spec.source = Some("s3://elsewhere".to_owned());
        assert_eq!(dashboard_record(&dashboard).unwrap_err().name, "s3://elsewhere");
        dashboard.spec.source = None;
        assert_eq!(dashboard_record(&dashboard).unwrap().source, None);
    }
}
