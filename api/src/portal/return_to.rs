//! Where a person goes after sign-in: a path on the portal and nothing else, and what it leads to in words. Pure.

use kyros_shared_config::{DashboardSlug, TenantId};

/// Longest address that is kept through sign-in, in bytes.
const MAX_LENGTH: usize = 4096;

/// A path on this origin, or the tenant selection: never an open redirector (RFC 9700, section 4.11).
pub(crate) fn safe(return_to: &str) -> &str {
    let plain = return_to.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    let local = return_to.starts_with('/') && !return_to.starts_with("//") && return_to.len() <= MAX_LENGTH;
    if plain && local { return_to } else { "/tenants" }
}

/// What an address leads to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Destination {
    pub(crate) tenant: String,
    pub(crate) dashboard: Option<String>,
}

/// What an address says by itself. Nobody is signed in yet, so nothing is looked up: titles would tell strangers what exists.
pub(crate) fn destination(return_to: &str) -> Option<Destination> {
    let (path, query) = return_to.split_once('?').unwrap_or((return_to, ""));
    if path == "/oauth/authorize" {
        return destination_of_callback(query);
    }
    let mut parts = path.strip_prefix("/t/")?.split('/');
    let tenant = parts.next()?.parse::<TenantId>().ok()?;
    let dashboard = match (parts.next(), parts.next()) {
        (Some("d"), Some(slug)) => Some(slug.parse::<DashboardSlug>().ok()?.to_string()),
        _ => None,
    };
    Some(Destination { tenant: tenant.to_string(), dashboard })
}

/// A dashboard's own address: its first label is `dashboard--tenant`.
fn destination_of_callback(query: &str) -> Option<Destination> {
    let callback = url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "redirect_uri")?.1;
    let host = url::Url::parse(&callback).ok()?.host_str()?.to_owned();
    let (dashboard, tenant) = host.split('.').next()?.split_once("--")?;
    let (dashboard, tenant) = (dashboard.parse::<DashboardSlug>().ok()?, tenant.parse::<TenantId>().ok()?);
    Some(Destination { tenant: tenant.to_string(), dashboard: Some(dashboard.to_string()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_return_address_stays_on_the_portal() {
        for evil in
            ["https://evil", "//evil", "/\\evil", "\\\\evil", "javascript:alert(1)", "", "/a\nb", "evil", "/\t/evil"]
        {
            assert_eq!(safe(evil), "/tenants", "{evil:?}");
        }
        for good in ["/", "/t/acme", "/oauth/authorize?client_id=dashboard%3Aclv"] {
            assert_eq!(safe(good), good);
        }
    }

    #[test]
    fn the_login_page_can_say_where_it_leads() {
        let to = |tenant: &str, dashboard: Option<&str>| {
            Some(Destination { tenant: tenant.to_owned(), dashboard: dashboard.map(str::to_owned) })
        };
        assert_eq!(destination("/t/acme"), to("acme", None));
        assert_eq!(destination("/t/acme/d/clv/customers?segment=Loyal"), to("acme", Some("clv")));
        let callback =
            "/oauth/authorize?redirect_uri=http%3A%2F%2Fclv--acme.kyros.localhost%3A8080%2F.kyros%2Fcallback";
        assert_eq!(destination(callback), to("acme", Some("clv")));
        for nothing in ["/tenants", "/t/", "/t/A_B", "/t/acme/d/<b>", "/oauth/authorize?redirect_uri=x"] {
            assert_eq!(destination(nothing), None, "{nothing:?}");
        }
    }
}
