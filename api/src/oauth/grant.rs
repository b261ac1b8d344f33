//! From a person to a tenant token: the one place where a grant becomes a signature.

use kyros_metadata::Snapshot;
use kyros_shared_config::{
    Actor, DashboardSlug, TenantId, UserIdentity,
    issuer::{IssuerError, SignedToken, TenantGrant},
};

use crate::state::{App, access_of};

/// Who asks, for what.
pub(crate) struct Request<'a> {
    pub(crate) identity: &'a UserIdentity,
    pub(crate) tenant: &'a TenantId,
    pub(crate) dashboard: &'a DashboardSlug,
    pub(crate) session: &'a str,
    pub(crate) client_id: &'a str,
    pub(crate) actor: Option<Actor>,
    /// The token ends no later than this (Unix seconds).
    pub(crate) not_after: i64,
}

/// What became of it.
pub(crate) enum Decision {
    /// A token, and the uid of the tenant that it is for.
    Granted { token: SignedToken, tenant_uid: String },
    /// Not a member, not granted, suspended, or not there: one answer.
    Denied,
}

/// Grants or denies. Never widens: the tenant must be in the token, in the tenant's members, and the dashboard in its list.
pub(crate) fn decide(app: &App, request: &Request<'_>) -> Result<Decision, IssuerError> {
    let snapshot: &Snapshot = &app.metadata.snapshot();
    let granted = snapshot.grant(&access_of(request.identity), request.tenant, request.dashboard);
    let Some((record, _, roles)) = granted.filter(|_| app.revoker.is_enforcing()) else {
        return Ok(Decision::Denied);
    };
    let token = app.issuer.tenant_token(&TenantGrant {
        subject: &request.identity.subject,
        email: request.identity.email.as_deref(),
        tenant: request.tenant,
        tenant_uid: &record.uid,
        dashboard: request.dashboard,
        roles: &roles,
        session: request.session,
        client_id: request.client_id,
        actor: request.actor.clone(),
        not_after: request.not_after,
    })?;
    Ok(Decision::Granted { token, tenant_uid: record.uid.clone() })
}
