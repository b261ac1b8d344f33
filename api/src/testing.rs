//! What the unit tests of this crate share: tokens, and the scopes that only they give.

use std::sync::Arc;

use kyros_shared_config::{Issuer, KeyRing, KeySource, TenantScope, TenantVerifier, issuer::TenantGrant};

/// An issuer of its own, and what verifies its tokens for the data API.
pub(crate) fn issuer() -> (Issuer, TenantVerifier) {
    kyros_shared_config::crypto::install_provider();
    let issuer = Issuer::generate("http://kyros.localhost").unwrap();
    let keys = Arc::new(KeyRing::new(KeySource::Fixed(issuer.jwks())).unwrap());
    let verifier = TenantVerifier::for_data_api(issuer.name(), keys);
    (issuer, verifier)
}

/// A tenant's token for a dashboard.
pub(crate) fn token(issuer: &Issuer, tenant: &str, dashboard: &str, session: &str, not_after: i64) -> String {
    let (tenant, dashboard) = (tenant.parse().unwrap(), dashboard.parse().unwrap());
    let grant = TenantGrant {
        subject: "ana",
        email: None,
        tenant: &tenant,
        tenant_uid: "u",
        dashboard: &dashboard,
        roles: &[],
        session,
        client_id: "c",
        actor: None,
        not_after,
    };
    issuer.tenant_token(&grant).unwrap().token.expose().clone()
}

/// A scope the only way there is: by verifying a token.
pub(crate) fn scope(tenant: &str, dashboard: &str) -> TenantScope {
    let (issuer, verifier) = issuer();
    verifier.verify(&token(&issuer, tenant, dashboard, "s", i64::MAX)).unwrap()
}
