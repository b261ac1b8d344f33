//! From a person to a tenant token: the one place where a grant becomes a signature.

use std::sync::Arc;

use kyros_metadata::Snapshot;
use kyros_shared_config::{
    Actor, DashboardSlug, TenantId, UserIdentity, WebOrigin,
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
    /// A token, the uid of the tenant that it is for, and what granted it.
    Granted { token: SignedToken, tenant_uid: String, granted_by: Arc<Snapshot> },
    /// Not a member, not granted, suspended, or not there: one answer.
    Denied,
    /// An earlier change of grants is not in force yet, or nobody knows whether there was one; ask again.
    Unavailable,
}

/// Grants or denies. Never widens: the tenant must be in the token, in the tenant's members, and the dashboard in its list.
pub(crate) fn decide(app: &App, request: &Request<'_>) -> Result<Decision, IssuerError> {
    // Fail closed: a change that is not in force yet, or that the read model may not have heard of.
    if !app.revoker.is_enforcing() || !app.projection_is_current() {
        return Ok(Decision::Unavailable);
    }
    let asked = app.metadata.snapshot();
    let Some((tenant_uid, roles)) = granted(&asked, request) else {
        return Ok(Decision::Denied);
    };
    let token = app.issuer.tenant_token(&TenantGrant {
        subject: &request.identity.subject,
        email: request.identity.email.as_deref(),
        tenant: request.tenant,
        tenant_uid: &tenant_uid,
        dashboard: request.dashboard,
        roles: &roles,
        session: request.session,
        client_id: request.client_id,
        actor: request.actor.clone(),
        not_after: request.not_after,
    })?;
    // A change that came while the token was being signed would name an earlier second than the token does. It is seen here;
    // one that comes later names a later second and covers the token.
    Ok(match still_granted(app, asked, &tenant_uid, request) {
        Some(granted_by) => Decision::Granted { token, tenant_uid, granted_by },
        None => Decision::Denied,
    })
}

/// The read model that grants now what `earlier` granted, if one does. A snapshot never changes, so the same one is not
/// asked twice.
pub(crate) fn still_granted(
    app: &App,
    earlier: Arc<Snapshot>,
    tenant_uid: &str,
    request: &Request<'_>,
) -> Option<Arc<Snapshot>> {
    let now = app.metadata.snapshot();
    if Arc::ptr_eq(&now, &earlier) {
        return Some(earlier);
    }
    granted(&now, request).is_some_and(|(uid, _)| uid == tenant_uid).then_some(now)
}

/// Whose pages may frame a tenant's dashboards.
pub(crate) fn frame_ancestors(granted_by: &Snapshot, tenant: &TenantId) -> Vec<WebOrigin> {
    granted_by.tenants.get(tenant).map(|record| record.allowed_origins.clone()).unwrap_or_default()
}

fn granted(snapshot: &Snapshot, request: &Request<'_>) -> Option<(String, Vec<String>)> {
    let (record, _, roles) = snapshot.grant(&access_of(request.identity), request.tenant, request.dashboard)?;
    Some((record.uid.clone(), roles))
}
