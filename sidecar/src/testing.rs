//! Tenant tokens for the tests of this crate, signed by an issuer of their own.

use std::sync::Arc;

use kyros_shared_config::{
    Issuer, KeyRing, KeySource, TenantScope, TenantVerifier, crypto::install_provider, issuer::TenantGrant,
};

pub(crate) fn issuer() -> Issuer {
    install_provider();
    Issuer::generate("http://kyros.localhost").unwrap()
}

/// Ana's token for a tenant's dashboard.
pub(crate) fn token(issuer: &Issuer, session: &str, tenant: &str, not_after: i64) -> String {
    let (tenant, dashboard) = (tenant.parse().unwrap(), "clv".parse().unwrap());
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

/// What such a token says once it is verified, and the token.
pub(crate) fn verified(session: &str, tenant: &str) -> (TenantScope, String) {
    let issuer = issuer();
    let token = token(&issuer, session, tenant, i64::MAX);
    let keys = Arc::new(KeyRing::new(KeySource::Fixed(issuer.jwks())).unwrap());
    (TenantVerifier::for_data_api(issuer.name(), keys).verify(&token).unwrap(), token)
}
