//! The one setting from which all addresses follow: `KYROS_PUBLIC_URL`, and the host names derived from it.

use std::{fmt, str::FromStr};

use thiserror::Error;
use url::{Host, Url};

use crate::{DashboardSlug, TenantId};

/// Where people reach the portal, e.g. `http://kyros.localhost:8080`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicUrl {
    secure: bool,
    domain: String,
    port: Option<u16>,
}

/// Why a text is not a public URL.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PublicUrlError {
    /// Not a URL at all.
    #[error("not a URL: {0}; write it like http://kyros.localhost:8080")]
    Syntax(String),
    /// Something other than http or https.
    #[error("the scheme must be http or https")]
    Scheme,
    /// An address instead of a name: dashboards need host names below it.
    #[error("the host must be a domain name with at least two labels, such as kyros.localhost")]
    Host,
    /// A path, a query, a fragment or credentials.
    #[error("only scheme, host and port may be given")]
    Extra,
}

/// The host of one dashboard for one tenant: `{dashboard}--{tenant}.{base domain}`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DashboardHost {
    /// The dashboard, left of `--`.
    pub dashboard: DashboardSlug,
    /// The tenant, right of `--`.
    pub tenant: TenantId,
}

/// What a request's `Host` names, by its grammar alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Site {
    /// The base domain: portal and API.
    Portal,
    /// A dashboard's host. Whether such a dashboard or tenant exists is not known here.
    Dashboard(DashboardHost),
    /// A bare `localhost` or loopback address, where a person may have landed by habit.
    Loopback,
    /// None of ours.
    Unknown,
}

impl PublicUrl {
    /// Whether cookies must be `Secure`.
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// `localhost` or a name below it: the only place where the mock identity provider may run.
    pub fn is_local(&self) -> bool {
        self.domain == "localhost" || self.domain.ends_with(".localhost")
    }

    /// `http` or `https`.
    pub fn scheme(&self) -> &'static str {
        if self.secure { "https" } else { "http" }
    }

    /// Host and port as they stand in a `Host` header, e.g. `kyros.localhost:8080`.
    pub fn authority(&self) -> String {
        self.with_port(&self.domain)
    }

    /// The origin of the portal, without a trailing slash; it is also the issuer of tenant tokens.
    pub fn origin(&self) -> String {
        format!("{}://{}", self.scheme(), self.authority())
    }

    /// The same URL on another port, as when the system picks a free one.
    #[must_use]
    pub fn on_port(&self, port: u16) -> Self {
        let default = if self.secure { 443 } else { 80 };
        Self { port: (port != default).then_some(port), ..self.clone() }
    }

    /// The origin of a dashboard for a tenant, without a trailing slash.
    pub fn dashboard_origin(&self, host: &DashboardHost) -> String {
        format!("{}://{}", self.scheme(), self.dashboard_authority(host))
    }

    /// Host and port of a dashboard for a tenant.
    pub fn dashboard_authority(&self, host: &DashboardHost) -> String {
        self.with_port(&format!("{}--{}.{}", host.dashboard, host.tenant, self.domain))
    }

    /// Takes a `Host` header apart. Case does not matter (RFC 9110, section 4.2.3), a wrong port does not match.
    pub fn site_of(&self, host_header: &str) -> Site {
        let lower = host_header.to_ascii_lowercase();
        let (name, port) = match lower.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !port.is_empty() => {
                let Ok(port) = port.parse::<u16>() else { return Site::Unknown };
                (name, Some(port))
            }
            Some(_) if lower.starts_with('[') => (lower.as_str(), None),
            Some(_) => return Site::Unknown,
            None => (lower.as_str(), None),
        };
        if matches!(name, "localhost" | "127.0.0.1" | "[::1]") {
            return Site::Loopback;
        }
        if port.unwrap_or(self.default_port()) != self.port.unwrap_or(self.default_port()) {
            return Site::Unknown;
        }
        if name == self.domain {
            return Site::Portal;
        }
        name.strip_suffix(&self.domain)
            .and_then(|rest| rest.strip_suffix('.'))
            .and_then(|label| label.parse().ok())
            .map_or(Site::Unknown, Site::Dashboard)
    }

    fn default_port(&self) -> u16 {
        if self.secure { 443 } else { 80 }
    }

    fn with_port(&self, host: &str) -> String {
        self.port.map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
    }
}

impl FromStr for PublicUrl {
    type Err = PublicUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let url = Url::parse(text).map_err(|error| PublicUrlError::Syntax(error.to_string()))?;
        let secure = match url.scheme() {
            "http" => false,
            "https" => true,
            _ => return Err(PublicUrlError::Scheme),
        };
        if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
            return Err(PublicUrlError::Extra);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(PublicUrlError::Extra);
        }
        match url.host() {
            Some(Host::Domain(domain)) if domain.contains('.') && !domain.ends_with('.') => {
                Ok(Self { secure, domain: domain.to_owned(), port: url.port() })
            }
            _ => Err(PublicUrlError::Host),
        }
    }
}

impl fmt::Display for PublicUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.origin())
    }
}

impl FromStr for DashboardHost {
    type Err = crate::NameError;

    fn from_str(label: &str) -> Result<Self, Self::Err> {
        let (dashboard, tenant) = label.split_once("--").ok_or(crate::NameError::Edge)?;
        Ok(Self { dashboard: dashboard.parse()?, tenant: tenant.parse()? })
    }
}

impl fmt::Display for DashboardHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}--{}", self.dashboard, self.tenant)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local() -> PublicUrl {
        "http://kyros.localhost:8080".parse().unwrap()
    }

    #[test]
    fn a_host_names_the_portal_a_dashboard_or_nothing() {
        let url = local();
        assert_eq!(url.site_of("kyros.localhost:8080"), Site::Portal);
        assert_eq!(url.site_of("KYROS.localhost:8080"), Site::Portal);
        let Site::Dashboard(host) = url.site_of("clv--acme.kyros.localhost:8080") else { panic!("a dashboard") };
        assert_eq!((host.dashboard.as_str(), host.tenant.as_str()), ("clv", "acme"));
        assert_eq!(url.site_of("localhost:8080"), Site::Loopback);
        assert_eq!(url.site_of("127.0.0.1:8080"), Site::Loopback);
        for strange in [
            "kyros.localhost",
            "kyros.localhost:80",
            "evil.example:8080",
            "acme.kyros.localhost:8080",
            "a--b--c.kyros.localhost:8080",
            "x.clv--acme.kyros.localhost:8080",
            "clv--acme.kyros.localhost.evil:8080",
            "clv--acmekyros.localhost:8080",
            "kyros.localhost:8080:8080",
            "",
            ".kyros.localhost:8080",
        ] {
            assert_eq!(url.site_of(strange), Site::Unknown, "{strange}");
        }
    }

    #[test]
    fn a_port_that_is_none_does_not_stand_for_the_default_one() {
        let url: PublicUrl = "http://kyros.localhost".parse().unwrap();
        assert_eq!(url.site_of("kyros.localhost:80"), Site::Portal);
        assert_eq!(url.site_of("kyros.localhost:65616"), Site::Unknown);
        assert_eq!(url.site_of("clv--acme.kyros.localhost:99999"), Site::Unknown);
    }

    #[test]
    fn origins_follow_from_the_one_setting() {
        let url = local();
        let host: DashboardHost = "clv--acme".parse().unwrap();
        assert_eq!(url.origin(), "http://kyros.localhost:8080");
        assert_eq!(url.dashboard_origin(&host), "http://clv--acme.kyros.localhost:8080");
        assert_eq!("https://kyros.example".parse::<PublicUrl>().unwrap().origin(), "https://kyros.example");
    }

    #[test]
    fn only_localhost_is_local() {
        assert!(local().is_local());
        for remote in ["https://kyros.example", "http://localhost.example", "http://kyros.localhost.example"] {
            assert!(!remote.parse::<PublicUrl>().unwrap().is_local(), "{remote}");
        }
    }

    #[test]
    fn a_public_url_is_an_origin_and_no_more() {
        for bad in
            ["kyros", "ftp://kyros.localhost", "http://127.0.0.1", "http://localhost", "http://a.b/x", "http://u@a.b"]
        {
            assert!(bad.parse::<PublicUrl>().is_err(), "{bad}");
        }
    }
}
