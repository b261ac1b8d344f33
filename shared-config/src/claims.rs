//! What tokens say, and the identities that a verification makes of it.
//!
//! The claim structs are read with derived `Deserialize` on purpose: a derived struct refuses a repeated member, where a
//! `serde_json::Value` silently keeps the last one.

use serde::{Deserialize, Serialize};

use crate::{DashboardSlug, TenantId};

/// On whose behalf something acts (RFC 8693, section 4.1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// The acting workload or person.
    pub sub: String,
}

/// A list that some issuers write as a single string.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    /// The only member; `None` when there is none or more than one.
    pub(crate) fn only(&self) -> Option<&str> {
        match self {
            Self::One(value) => Some(value),
            Self::Many(values) => match values.as_slice() {
                [value] => Some(value),
                _ => None,
            },
        }
    }
}

/// The claims that every kind of token has.
pub(crate) trait RegisteredClaims {
    fn iss(&self) -> &str;
    fn aud(&self) -> &OneOrMany;
    fn sub(&self) -> &str;
    fn exp(&self) -> i64;
    fn nbf(&self) -> Option<i64>;
    fn iat(&self) -> i64;
}

macro_rules! registered {
    ($name:ident, $nbf:expr) => {
        impl RegisteredClaims for $name {
            fn iss(&self) -> &str {
                &self.iss
            }
            fn aud(&self) -> &OneOrMany {
                &self.aud
            }
            fn sub(&self) -> &str {
                &self.sub
            }
            fn exp(&self) -> i64 {
                self.exp
            }
            fn nbf(&self) -> Option<i64> {
                let nbf: fn(&Self) -> Option<i64> = $nbf;
                nbf(self)
            }
            fn iat(&self) -> i64 {
                self.iat
            }
        }
    };
}

/// The claims of a user's access token: whom it names and which tenants that person may choose.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserClaims {
    pub(crate) iss: String,
    pub(crate) aud: OneOrMany,
    pub(crate) sub: String,
    pub(crate) exp: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) nbf: Option<i64>,
    pub(crate) iat: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) jti: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) email: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    #[serde(default)]
    pub(crate) groups: Vec<String>,
}
registered!(UserClaims, |claims| claims.nbf);

/// The claims of a tenant token: one person, one tenant, one dashboard, a few minutes.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TenantClaims {
    pub(crate) iss: String,
    pub(crate) aud: OneOrMany,
    pub(crate) sub: String,
    pub(crate) exp: i64,
    pub(crate) nbf: i64,
    pub(crate) iat: i64,
    pub(crate) jti: String,
    pub(crate) client_id: String,
    pub(crate) tenant_id: TenantId,
    pub(crate) tenant_uid: String,
    pub(crate) dashboard: DashboardSlug,
    pub(crate) roles: Vec<String>,
    pub(crate) sid: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) email: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) act: Option<Actor>,
}
registered!(TenantClaims, |claims| Some(claims.nbf));

/// The claims of a workload token: which workload speaks.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkloadClaims {
    pub(crate) iss: String,
    pub(crate) aud: OneOrMany,
    pub(crate) sub: String,
    pub(crate) exp: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) nbf: Option<i64>,
    pub(crate) iat: i64,
}
registered!(WorkloadClaims, |claims| claims.nbf);

/// A verified person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserIdentity {
    /// Who vouches for the person.
    pub issuer: String,
    /// The person, unique within the issuer.
    pub subject: String,
    /// For display and for matching members of a tenant.
    pub email: Option<String>,
    /// For display.
    pub name: Option<String>,
    /// Groups that a tenant's members may name.
    pub groups: Vec<String>,
    /// Tenants that the issuer lets the person choose. A grant needs the tenant's and the dashboard's consent too.
    pub tenant_ids: Vec<TenantId>,
    /// When the token ends, in Unix seconds.
    pub expires_at: i64,
}

/// A verified workload, e.g. a dashboard's sidecar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkloadIdentity {
    /// The subject as its issuer names it.
    pub subject: String,
}
