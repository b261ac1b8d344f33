//! What a sidecar and a gateway are told at the start: flags, or `KYROS_` variables of the same name.

use std::{net::SocketAddr, path::PathBuf, str::FromStr, time::Duration};

use clap::Args;
use kyros_shared_config::{DashboardSlug, KeySource, PublicUrl, TenantId};
use thiserror::Error;
use url::Url;

/// Largest request body by default: callbacks of Dash carry whole figures.
pub const DEFAULT_MAX_BODY_BYTES: u64 = 32 * 1024 * 1024;

/// One dashboard's sidecar.
#[derive(Debug, Clone, Args)]
pub struct SidecarSettings {
    /// Where browsers' requests arrive (from the gateway).
    #[arg(long, env = "KYROS_LISTEN", default_value = "127.0.0.1:4180")]
    pub listen: SocketAddr,

    /// The dashboard's own address, on loopback: host:port.
    #[arg(long, env = "KYROS_UPSTREAM", default_value = "127.0.0.1:8050")]
    pub upstream: String,

    /// The dashboard that this sidecar guards; tokens for any other are refused.
    #[arg(long, env = "KYROS_DASHBOARD")]
    pub dashboard: DashboardSlug,

    /// Serve this tenant alone, and refuse the tokens of every other one.
    #[arg(long, env = "KYROS_TENANT")]
    pub tenant: Option<TenantId>,

    /// Who signs tenant tokens.
    #[arg(long, env = "KYROS_ISSUER")]
    pub issuer: String,

    /// The issuer's public keys: an http(s) address or a file.
    #[arg(long, env = "KYROS_JWKS")]
    pub jwks: KeySource,

    /// Where people reach the portal. Without it only Bearer tokens are accepted.
    #[arg(long, env = "KYROS_PUBLIC_URL")]
    pub public_url: Option<PublicUrl>,

    /// The API, for signing people in, renewing tokens and hearing of revocations. Without it only Bearer tokens are
    /// accepted, until they expire.
    #[arg(long, env = "KYROS_API_URL")]
    pub api_url: Option<Url>,

    /// The file with this workload's own token, with which it speaks to the API.
    #[arg(long, env = "KYROS_WORKLOAD_TOKEN")]
    pub workload_token: Option<PathBuf>,

    /// Where the dashboard reaches the data API through this sidecar, on loopback.
    #[arg(long, env = "KYROS_EGRESS_LISTEN")]
    pub egress_listen: Option<SocketAddr>,

    /// Health, readiness and metrics; carries no authority.
    #[arg(long, env = "KYROS_ADMIN_LISTEN")]
    pub admin_listen: Option<SocketAddr>,

    /// A gateway stands in front: believe its X-Forwarded-For. Off, the header is discarded.
    #[arg(long, env = "KYROS_BEHIND_GATEWAY", default_value_t = false, action = clap::ArgAction::Set)]
    pub behind_gateway: bool,

    /// Largest request body, in bytes.
    #[arg(long, env = "KYROS_MAX_BODY_BYTES", default_value_t = DEFAULT_MAX_BODY_BYTES)]
    pub max_body_bytes: u64,

    /// How long the dashboard may take until its answer begins, in seconds.
    #[arg(long, env = "KYROS_UPSTREAM_TIMEOUT", default_value = "60", value_parser = seconds)]
    pub upstream_timeout: Duration,

    /// How long requests in flight may take to end after SIGTERM, in seconds.
    #[arg(long, env = "KYROS_DRAIN", default_value = "25", value_parser = seconds)]
    pub drain: Duration,
}

/// The gateway: host names to sidecars.
#[derive(Debug, Clone, Args)]
pub struct GatewaySettings {
    /// Where browsers connect.
    #[arg(long, env = "KYROS_LISTEN", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,

    /// Where people reach the portal, e.g. <http://kyros.localhost:8080>.
    #[arg(long, env = "KYROS_PUBLIC_URL")]
    pub public_url: PublicUrl,

    /// The API's address: host:port.
    #[arg(long, env = "KYROS_API_UPSTREAM")]
    pub api_upstream: String,

    /// Where each dashboard's sidecar is: slug=host:port, separated by commas. A template such as
    /// kyros-{dashboard}:4180 serves every slug.
    #[arg(long, env = "KYROS_ROUTES")]
    pub routes: Routes,

    /// How long requests in flight may take to end after SIGTERM, in seconds.
    #[arg(long, env = "KYROS_DRAIN", default_value = "25", value_parser = seconds)]
    pub drain: Duration,
}

/// Where the sidecars are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Routes {
    /// Named one by one.
    Table(Vec<(DashboardSlug, String)>),
    /// An address with `{dashboard}` in it.
    Template(String),
}

/// Why a text is not a set of routes.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("routes: {0:?} is not slug=host:port, and there is no {{dashboard}} in it")]
pub struct RoutesError(String);

impl FromStr for Routes {
    type Err = RoutesError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.contains("{dashboard}") {
            return Ok(Self::Template(text.to_owned()));
        }
        let entry = |part: &str| {
            let (slug, address) = part.split_once('=').ok_or_else(|| RoutesError(part.to_owned()))?;
            Ok((slug.trim().parse().map_err(|_| RoutesError(part.to_owned()))?, address.trim().to_owned()))
        };
        text.split(',').filter(|part| !part.trim().is_empty()).map(entry).collect::<Result<_, _>>().map(Self::Table)
    }
}

impl Routes {
    /// The sidecar of a dashboard, if there can be one.
    pub fn address_of(&self, dashboard: &DashboardSlug) -> Option<String> {
        match self {
            Self::Table(entries) => {
                entries.iter().find(|(slug, _)| slug == dashboard).map(|(_, address)| address.clone())
            }
            Self::Template(template) => Some(template.replace("{dashboard}", dashboard.as_str())),
        }
    }
}

fn seconds(text: &str) -> Result<Duration, std::num::ParseIntError> {
    text.parse().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_name_sidecars_or_make_their_names() {
        let clv: DashboardSlug = "clv".parse().unwrap();
        let table: Routes = "clv=127.0.0.1:1, risk=127.0.0.1:2".parse().unwrap();
        assert_eq!(table.address_of(&clv).as_deref(), Some("127.0.0.1:1"));
        assert_eq!(table.address_of(&"other".parse().unwrap()), None);
        let template: Routes = "kyros-{dashboard}:4180".parse().unwrap();
        assert_eq!(template.address_of(&clv).as_deref(), Some("kyros-clv:4180"));
        assert!("clv".parse::<Routes>().is_err());
        assert!("CLV=a:1".parse::<Routes>().is_err());
    }
}
