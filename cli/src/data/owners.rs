//! Whether the manifests know whom data is imported for: a name with a slip in it is data that nobody will see.

use std::path::Path;

use kyros_controller::directory::{self, nearest};

use super::Owner;

/// What to say of a tenant or a dashboard that the manifests do not have. Nothing where there are none, or none that are right:
/// data may be there before its tenant.
pub(super) fn warning(owner: &Owner, manifests: &Path) -> Option<String> {
    let set = directory::load(manifests).ok()?;
    let tenants: Vec<_> = set.tenants.iter().filter_map(|tenant| tenant.metadata.name.clone()).collect();
    let dashboards: Vec<_> = set.dashboards.iter().filter_map(|dashboard| dashboard.metadata.name.clone()).collect();
    if tenants.is_empty() && dashboards.is_empty() {
        return None;
    }
    let missing: Vec<_> = [
        unknown("Tenant", owner.tenant.as_str(), &tenants),
        unknown("Dashboard", owner.dashboard.as_str(), &dashboards),
    ]
    .into_iter()
    .flatten()
    .collect();
    (!missing.is_empty()).then(|| format!("{} has {}", manifests.display(), missing.join(" and ")))
}

fn unknown(kind: &str, name: &str, known: &[String]) -> Option<String> {
    if known.iter().any(|known| known == name) {
        return None;
    }
    Some(match nearest(name, known) {
        Some(near) => format!("no {kind} {name} (did you mean {near}?)"),
        None => format!("no {kind} {name}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(tenant: &str, dashboard: &str, manifests: &Path) -> Option<String> {
        let owner = Owner { tenant: tenant.parse().unwrap(), dashboard: dashboard.parse().unwrap() };
        warning(&owner, manifests)
    }

    #[test]
    fn names_that_the_manifests_do_not_have_are_told_with_those_that_are_near() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/manifests");
        assert_eq!(said("acme", "clv", &folder), None);
        let one = said("acmee", "clv", &folder).unwrap();
        assert!(one.ends_with("has no Tenant acmee (did you mean acme?)"), "{one}");
        let both = said("nosuch", "nosuchdash", &folder).unwrap();
        assert!(both.ends_with("has no Tenant nosuch and no Dashboard nosuchdash"), "{both}");
    }

    #[test]
    fn nothing_is_told_where_no_manifests_are() {
        let folder = tempfile::TempDir::new().unwrap();
        assert_eq!(said("nosuch", "nosuch", folder.path()), None);
        assert_eq!(said("nosuch", "nosuch", &folder.path().join("none")), None);
    }
}
