//! The proof that a request may see one tenant's data in one dashboard.

use crate::{Actor, DashboardSlug, TenantId, claims::TenantClaims};

/// One person, one tenant, one dashboard: what a verified tenant token allows.
///
/// There is no public constructor, no `Deserialize` and no `Default`: a value exists only as the result of
/// [`TenantVerifier::verify`](crate::TenantVerifier::verify). Every function that reaches a tenant's data takes one.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TenantScope {
    tenant: TenantId,
    tenant_uid: String,
    dashboard: DashboardSlug,
    subject: String,
    email: Option<String>,
    roles: Vec<String>,
    session: String,
    token_id: String,
    issued_at: i64,
    not_before: i64,
    expires_at: i64,
    actor: Option<Actor>,
}

impl TenantScope {
    /// Called by the verifier alone, after every check has passed.
    pub(crate) fn from_verified(claims: TenantClaims) -> Self {
        Self {
            tenant: claims.tenant_id,
            tenant_uid: claims.tenant_uid,
            dashboard: claims.dashboard,
            subject: claims.sub,
            email: claims.email,
            roles: claims.roles,
            session: claims.sid,
            token_id: claims.jti,
            issued_at: claims.iat,
            not_before: claims.nbf,
            expires_at: claims.exp,
            actor: claims.act,
        }
    }

    /// The one tenant.
    pub fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    /// The uid of the tenant's resource when the token was issued: a tenant made anew under the same name is another.
    pub fn tenant_uid(&self) -> &str {
        &self.tenant_uid
    }

    /// The one dashboard.
    pub fn dashboard(&self) -> &DashboardSlug {
        &self.dashboard
    }

    /// The person.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// The person's e-mail address, when the identity provider gave one.
    pub fn email(&self) -> Option<&str> {
        self.email.as_deref()
    }

    /// The person's roles in this tenant.
    pub fn roles(&self) -> &[String] {
        &self.roles
    }

    /// The id of the session that the token belongs to; revocations name it.
    pub fn session(&self) -> &str {
        &self.session
    }

    /// The token's own id (`jti`).
    pub fn token_id(&self) -> &str {
        &self.token_id
    }

    /// When the token was issued, in Unix seconds.
    pub fn issued_at(&self) -> i64 {
        self.issued_at
    }

    /// When both the token's issue and its `nbf` have come, in Unix seconds.
    pub(crate) fn begins_at(&self) -> i64 {
        self.issued_at.max(self.not_before)
    }

    /// When the token ends, in Unix seconds.
    pub fn expires_at(&self) -> i64 {
        self.expires_at
    }

    /// Who acts for the person, when somebody does.
    pub fn actor(&self) -> Option<&Actor> {
        self.actor.as_ref()
    }
}
