//! The whole read model at one moment, in memory, and the one decision made on it: may this person open that?

use std::collections::BTreeMap;

use kyros_shared_config::{DashboardSlug, SourceName, TenantId};

use crate::{DashboardRecord, MemberKind, TenantRecord};

/// All tenants and dashboards as of one epoch.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Snapshot {
    /// Counts the writer's complete lists; 0 before the first.
    pub epoch: i64,
    /// When the writer last wrote a complete list of both kinds or confirmed the state, in Unix seconds.
    pub applied_at: i64,
    /// By id.
    pub tenants: BTreeMap<TenantId, TenantRecord>,
    /// By slug.
    pub dashboards: BTreeMap<DashboardSlug, DashboardRecord>,
}

/// What somebody brings to the decision.
#[derive(Debug, Clone, Copy)]
pub struct Access<'a> {
    /// The person's subject.
    pub subject: &'a str,
    /// The person's e-mail address.
    pub email: Option<&'a str>,
    /// The groups that the person's token lists.
    pub groups: &'a [String],
    /// The tenants that the person's token lists.
    pub tenant_ids: &'a [TenantId],
}

impl Snapshot {
    /// The tenant, if the person may choose it: the token lists it and the tenant names the person or a group of theirs.
    /// A suspended tenant is returned too; whether it may be opened is [`Snapshot::grant`]'s business.
    pub fn membership(&self, access: &Access<'_>, tenant: &TenantId) -> Option<(&TenantRecord, Vec<String>)> {
        let listed = access.tenant_ids.contains(tenant);
        let record = self.tenants.get(tenant)?;
        let mut entries = record.members.iter().filter(|member| is_named(&member.kind, access)).peekable();
        if !listed || entries.peek().is_none() {
            return None;
        }
        let mut roles: Vec<String> = entries.flat_map(|member| member.roles.iter().cloned()).collect();
        roles.sort_unstable();
        roles.dedup();
        Some((record, roles))
    }

    /// `tenant ∈ token.tenant_ids ∩ members ∩ grants`, not suspended, and the dashboard exists. Anything else is `None`:
    /// unknown and forbidden are one answer.
    pub fn grant(
        &self,
        access: &Access<'_>,
        tenant: &TenantId,
        dashboard: &DashboardSlug,
    ) -> Option<(&TenantRecord, &DashboardRecord, Vec<String>)> {
        let (record, roles) = self.membership(access, tenant)?;
        let dashboard = self.opened_dashboard(record, dashboard)?;
        Some((record, dashboard, roles))
    }

    /// The tenant and the dashboard of a token issued earlier, if both still stand as they did then.
    pub fn still_granted(
        &self,
        tenant: &TenantId,
        tenant_uid: &str,
        dashboard: &DashboardSlug,
    ) -> Option<(&TenantRecord, &DashboardRecord)> {
        let record = self.tenants.get(tenant).filter(|record| record.uid == tenant_uid)?;
        Some((record, self.opened_dashboard(record, dashboard)?))
    }

    /// Where a tenant's data for a dashboard lies; `None` is the API's own disk. The tenant's word comes first: where its data
    /// lies is a property of the tenant.
    pub fn source_of(&self, tenant: &TenantId, dashboard: &DashboardSlug) -> Option<&SourceName> {
        let tenants = self.tenants.get(tenant).and_then(|record| record.source.as_ref());
        tenants.or_else(|| self.dashboards.get(dashboard)?.source.as_ref())
    }

    fn opened_dashboard(&self, tenant: &TenantRecord, dashboard: &DashboardSlug) -> Option<&DashboardRecord> {
        if tenant.suspended || !tenant.dashboards.contains(dashboard) {
            return None;
        }
        self.dashboards.get(dashboard)
    }
}

fn is_named(kind: &MemberKind, access: &Access<'_>) -> bool {
    match kind {
        MemberKind::User(name) => {
            name == access.subject || access.email.is_some_and(|email| email.eq_ignore_ascii_case(name))
        }
        MemberKind::Group(name) => access.groups.contains(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Branding, Isolation, Limits, Member};

    fn tenant(id: &str) -> TenantRecord {
        TenantRecord {
            id: id.parse().unwrap(),
            uid: format!("uid-{id}"),
            generation: 1,
            display_name: id.to_owned(),
            suspended: false,
            branding: Branding { accent_color: String::new(), logo_url: String::new() },
            limits: Limits { concurrent_queries: 4, requests_per_second: 50 },
            allowed_origins: Vec::new(),
            source: None,
            members: vec![
                Member { kind: MemberKind::User("ana@acme.example".into()), roles: vec!["viewer".into()] },
                Member { kind: MemberKind::Group("auditors".into()), roles: vec!["auditor".into()] },
            ],
            dashboards: vec!["clv".parse().unwrap()],
        }
    }

    fn snapshot() -> Snapshot {
        let dashboard = |slug: &str| DashboardRecord {
            slug: slug.parse().unwrap(),
            uid: format!("uid-{slug}"),
            generation: 1,
            title: slug.to_owned(),
            description: String::new(),
            isolation: Isolation::Shared,
            datasets: vec!["transactions".parse().unwrap()],
            source: None,
        };
        Snapshot {
            epoch: 1,
            applied_at: 1,
            tenants: [("acme".parse().unwrap(), tenant("acme"))].into(),
            dashboards: ["clv", "risk"].map(|slug| (slug.parse().unwrap(), dashboard(slug))).into(),
        }
    }

    fn may(snapshot: &Snapshot, email: &str, groups: &[&str], listed: &[&str], tenant: &str, dashboard: &str) -> bool {
        let groups: Vec<String> = groups.iter().map(|group| (*group).to_owned()).collect();
        let tenant_ids: Vec<TenantId> = listed.iter().map(|id| id.parse().unwrap()).collect();
        let access = Access { subject: "s", email: Some(email), groups: &groups, tenant_ids: &tenant_ids };
        snapshot.grant(&access, &tenant.parse().unwrap(), &dashboard.parse().unwrap()).is_some()
    }

    #[test]
    fn a_tenants_source_comes_before_the_dashboards_and_without_either_there_is_none() {
        let mut snapshot = snapshot();
        let (acme, clv) = ("acme".parse().unwrap(), "clv".parse().unwrap());
        let source = |snapshot: &Snapshot| snapshot.source_of(&acme, &clv).map(ToString::to_string);
        assert_eq!(source(&snapshot), None);
        snapshot.dashboards.get_mut(&clv).unwrap().source = Some("warehouse".parse().unwrap());
        assert_eq!(source(&snapshot).as_deref(), Some("warehouse"));
        snapshot.tenants.get_mut(&acme).unwrap().source = Some("lake".parse().unwrap());
        assert_eq!(source(&snapshot).as_deref(), Some("lake"));
        let other = snapshot.source_of(&"globex".parse().unwrap(), &"risk".parse().unwrap());
        assert_eq!(other, None);
    }

    #[test]
    fn token_members_and_grants_must_all_agree() {
        let all = snapshot();
        assert!(may(&all, "ana@acme.example", &[], &["acme"], "acme", "clv"));
        assert!(may(&all, "Ana@ACME.example", &[], &["acme"], "acme", "clv"));
        assert!(may(&all, "x", &["auditors"], &["acme"], "acme", "clv"));
        assert!(!may(&all, "ana@acme.example", &[], &[], "acme", "clv"), "the token does not list the tenant");
        assert!(!may(&all, "x", &[], &["acme"], "acme", "clv"), "the tenant does not name the person");
        assert!(!may(&all, "ana@acme.example", &[], &["acme"], "acme", "risk"), "the tenant may not open it");
        assert!(!may(&all, "ana@acme.example", &[], &["acme"], "globex", "clv"), "no such tenant");
    }

    #[test]
    fn a_suspended_tenant_opens_nothing_but_is_still_known_to_its_members() {
        let mut all = snapshot();
        let acme: TenantId = "acme".parse().unwrap();
        all.tenants.get_mut(&acme).unwrap().suspended = true;
        assert!(!may(&all, "ana@acme.example", &[], &["acme"], "acme", "clv"));
        let ids = [acme.clone()];
        let access = Access { subject: "ana@acme.example", email: None, groups: &[], tenant_ids: &ids };
        assert!(all.membership(&access, &acme).is_some());
    }

    #[test]
    fn a_tenant_made_anew_under_the_same_name_inherits_nothing() {
        let all = snapshot();
        let (acme, clv) = ("acme".parse().unwrap(), "clv".parse().unwrap());
        assert!(all.still_granted(&acme, "uid-acme", &clv).is_some());
        assert!(all.still_granted(&acme, "uid-of-the-old-one", &clv).is_none());
    }

    #[test]
    fn a_granted_dashboard_that_does_not_exist_opens_nothing() {
        let mut all = snapshot();
        all.dashboards.clear();
        assert!(!may(&all, "ana@acme.example", &[], &["acme"], "acme", "clv"));
    }
}
