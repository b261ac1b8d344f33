//! What a person opened last, kept in their own browser: it only orders what they may open anyway. Pure.

use kyros_shared_config::{DashboardSlug, TenantId, crypto};

/// Dashboards remembered.
const KEPT: usize = 12;
/// How long they are remembered, in seconds.
pub(crate) const LIFE: i64 = 90 * 24 * 3600;
/// Bytes of the mark that says whose list it is.
const MARK_BYTES: usize = 8;

/// A person's dashboards, the last one first. Names in it are wishes: whoever shows them asks for the grant.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Recent(Vec<(TenantId, DashboardSlug)>);

impl Recent {
    /// Reads the cookie. Another person's list on the same browser is no list.
    pub(crate) fn read(cookie: Option<&str>, subject: &str) -> Self {
        let Some(list) = cookie.and_then(|cookie| cookie.strip_prefix(&mark(subject))?.strip_prefix('!')) else {
            return Self::default();
        };
        let names = list.split('!').filter_map(|entry| {
            let (tenant, dashboard) = entry.split_once('.')?;
            Some((tenant.parse().ok()?, dashboard.parse().ok()?))
        });
        Self(names.take(KEPT).collect())
    }

    /// Puts one first.
    pub(crate) fn opened(mut self, tenant: &TenantId, dashboard: &DashboardSlug) -> Self {
        self.0.retain(|(other_tenant, other)| other_tenant != tenant || other != dashboard);
        self.0.insert(0, (tenant.clone(), dashboard.clone()));
        self.0.truncate(KEPT);
        self
    }

    /// The cookie's value.
    pub(crate) fn to_cookie(&self, subject: &str) -> String {
        let entries = self.0.iter().map(|(tenant, dashboard)| format!("!{tenant}.{dashboard}"));
        mark(subject) + &entries.collect::<String>()
    }

    /// How long ago a tenant was opened, in places; nothing when it never was.
    pub(crate) fn place_of_tenant(&self, tenant: &TenantId) -> Option<usize> {
        self.0.iter().position(|(other, _)| other == tenant)
    }

    /// How long ago a dashboard was opened, in places; nothing when it never was.
    pub(crate) fn place_of(&self, tenant: &TenantId, dashboard: &DashboardSlug) -> Option<usize> {
        self.0.iter().position(|(other_tenant, other)| other_tenant == tenant && other == dashboard)
    }
}

fn mark(subject: &str) -> String {
    crypto::hex(&crypto::sha256(subject.as_bytes())[..MARK_BYTES])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_one_comes_first_and_survives_the_cookie() {
        let (acme, globex, clv) = ("acme".parse().unwrap(), "globex".parse().unwrap(), "clv".parse().unwrap());
        let recent = Recent::default().opened(&acme, &clv).opened(&globex, &clv).opened(&acme, &clv);
        let read = Recent::read(Some(&recent.to_cookie("ana")), "ana");
        assert_eq!(read, recent);
        assert_eq!((read.place_of_tenant(&acme), read.place_of_tenant(&globex)), (Some(0), Some(1)));
        assert_eq!(read.place_of(&globex, &"risk".parse().unwrap()), None);
    }

    #[test]
    fn another_person_on_the_same_browser_sees_nothing_of_it() {
        let recent = Recent::default().opened(&"acme".parse().unwrap(), &"clv".parse().unwrap());
        assert_eq!(Recent::read(Some(&recent.to_cookie("ana")), "bob"), Recent::default());
        for damaged in ["", "x", "!acme.clv", &format!("{}acme.clv", mark("ana"))] {
            assert_eq!(Recent::read(Some(damaged), "ana"), Recent::default(), "{damaged:?}");
        }
    }

    #[test]
    fn a_list_does_not_grow_without_end() {
        let acme = "acme".parse().unwrap();
        let many = (0..50)
            .fold(Recent::default(), |recent, number| recent.opened(&acme, &format!("d{number}").parse().unwrap()));
        assert_eq!(many.0.len(), KEPT);
        assert_eq!(many.place_of(&acme, &"d49".parse().unwrap()), Some(0));
    }
}
