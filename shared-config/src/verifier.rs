//! The one way from a token's text to an identity. There are no options: what is checked is decided by the kind of token.
//!
//! In order, cheapest first: size and shape, header allow-list, key by `(issuer, kid)`, algorithm by key, signature, then
//! the claims. Whatever is not understood is refused (RFC 8725; RFC 9068, section 4).

use std::sync::Arc;

use serde::de::{DeserializeSeed as _, MapAccess, Visitor};
use thiserror::Error;

use crate::{
    DashboardSlug, KeyRing, KeySet, TenantClaims, TenantId, TenantScope, UserClaims, UserIdentity, WorkloadClaims,
    WorkloadIdentity,
    claims::RegisteredClaims,
    clock::unix_now,
    key_ring::RefreshOutcome,
    token::{TokenType, UnverifiedToken, algorithm_named, read_object},
};

/// How far two clocks may differ, in seconds.
pub const LEEWAY: i64 = 5;
/// Life of a tenant token, in seconds.
pub const TENANT_TOKEN_LIFE: i64 = 300;
/// Life of a user token that the mock identity provider issues, in seconds.
pub const USER_TOKEN_LIFE: i64 = 3600;
/// Longest life of a user token from any issuer, in seconds; Entra ID draws up to 90 minutes.
pub const MAX_USER_TOKEN_LIFE: i64 = 5400;
/// Longest life of a workload token, in seconds.
pub const WORKLOAD_TOKEN_LIFE: i64 = 3600;
/// The audience of user tokens.
pub const USER_AUDIENCE: &str = "kyros";
/// The audience of workload tokens.
pub const WORKLOAD_AUDIENCE: &str = "kyros-internal";
/// Times later than this are nonsense, not dates (2^53, the last integer that every JSON reader keeps).
const LATEST_TIME: i64 = 1 << 53;
/// Longest subject, session or token id.
const MAX_ID_LENGTH: usize = 255;
/// Most tenants that a user token may list.
const MAX_TENANTS: usize = 1000;

/// Why a token is refused. For logs, metrics and the audit; the sender learns only that the token is invalid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum VerifyError {
    /// Longer than any honest token.
    #[error("token too large")]
    TooLarge,
    /// Not three base64url parts.
    #[error("not a token")]
    Shape,
    /// A header that is not exactly `alg`, `typ` and `kid`.
    #[error("header not allowed")]
    Header,
    /// A `typ` of another kind of token.
    #[error("wrong kind of token")]
    Type,
    /// No key under this id, or no keys yet.
    #[error("unknown key")]
    UnknownKey,
    /// The header's algorithm is not the key's.
    #[error("algorithm does not belong to the key")]
    Algorithm,
    /// The signature does not fit.
    #[error("bad signature")]
    Signature,
    /// A claim is missing, repeated or of the wrong type.
    #[error("claims missing or malformed")]
    Claims,
    /// Another issuer.
    #[error("wrong issuer")]
    Issuer,
    /// Another audience, or not exactly one.
    #[error("wrong audience")]
    Audience,
    /// Too late.
    #[error("expired")]
    Expired,
    /// Too early, or issued in the future.
    #[error("not yet valid")]
    NotYetValid,
    /// Lives longer than this kind of token may.
    #[error("life too long")]
    LifeTooLong,
    /// For another dashboard than the verifier's own.
    #[error("another dashboard's token")]
    Dashboard,
}

impl VerifyError {
    /// A short, fixed word for metric labels.
    pub fn reason(self) -> &'static str {
        match self {
            Self::TooLarge => "too_large",
            Self::Shape => "shape",
            Self::Header => "header",
            Self::Type => "typ",
            Self::UnknownKey => "unknown_key",
            Self::Algorithm => "algorithm",
            Self::Signature => "signature",
            Self::Claims => "claims",
            Self::Issuer => "issuer",
            Self::Audience => "audience",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::LifeTooLong => "life_too_long",
            Self::Dashboard => "dashboard",
        }
    }
}

/// What one kind of token must be.
struct Policy<'a> {
    issuer: &'a str,
    audience: &'a str,
    typ: TokenType,
    max_life: i64,
}

/// Header, key and signature; then the claims are worth reading.
pub(crate) fn check_signature<'a>(
    token: &'a str,
    keys: Option<&KeySet>,
    typ: TokenType,
) -> Result<UnverifiedToken<'a>, VerifyError> {
    let unverified = UnverifiedToken::parse(token)?;
    if !typ.accepts(unverified.header.typ.as_deref()) {
        return Err(VerifyError::Type);
    }
    let algorithm = algorithm_named(&unverified.header.alg).ok_or(VerifyError::Algorithm)?;
    let key = keys.and_then(|set| set.get(&unverified.header.kid)).ok_or(VerifyError::UnknownKey)?;
    if key.algorithm != algorithm {
        return Err(VerifyError::Algorithm);
    }
    let fits = key.has_signed(unverified.signing_input, unverified.signature);
    if fits { Ok(unverified) } else { Err(VerifyError::Signature) }
}

/// The registered claims (RFC 7519, section 4.1), every one of them required.
fn check_claims(claims: &impl RegisteredClaims, policy: &Policy<'_>, now: i64) -> Result<(), VerifyError> {
    if claims.iss() != policy.issuer {
        return Err(VerifyError::Issuer);
    }
    if claims.aud().only() != Some(policy.audience) {
        return Err(VerifyError::Audience);
    }
    if claims.sub().is_empty() || claims.sub().len() > MAX_ID_LENGTH {
        return Err(VerifyError::Claims);
    }
    let (exp, iat, nbf) = (claims.exp(), claims.iat(), claims.nbf().unwrap_or(claims.iat()));
    if [exp, iat, nbf].iter().any(|time| !(0..LATEST_TIME).contains(time)) {
        return Err(VerifyError::Claims);
    }
    check_times(exp, iat.max(nbf), now)?;
    if exp - iat > policy.max_life + LEEWAY {
        return Err(VerifyError::LifeTooLong);
    }
    Ok(())
}

/// What of a token depends on the moment: it has begun and not ended. Asked again at every use of a kept verification.
fn check_times(ends: i64, begins: i64, now: i64) -> Result<(), VerifyError> {
    if ends <= now - LEEWAY {
        return Err(VerifyError::Expired);
    }
    if begins > now + LEEWAY {
        return Err(VerifyError::NotYetValid);
    }
    Ok(())
}

/// Verifies tenant tokens: at a sidecar for its own dashboard alone, at the data API for whatever dashboard they name.
pub struct TenantVerifier {
    issuer: String,
    keys: Arc<KeyRing>,
    dashboard: Option<DashboardSlug>,
}

/// A verification that may be used again, by [`TenantVerifier::recheck`] alone: the scope, and the keys that it stands on.
#[derive(Clone)]
pub struct Kept {
    scope: Arc<TenantScope>,
    keys: Arc<KeySet>,
}

impl TenantVerifier {
    /// A verifier that accepts one dashboard's tokens: what a sidecar has.
    pub fn for_dashboard(issuer: impl Into<String>, keys: Arc<KeyRing>, dashboard: DashboardSlug) -> Self {
        Self { issuer: issuer.into(), keys, dashboard: Some(dashboard) }
    }

    /// A verifier for the data API: the audience must still be the token's own dashboard.
    pub fn for_data_api(issuer: impl Into<String>, keys: Arc<KeyRing>) -> Self {
        Self { issuer: issuer.into(), keys, dashboard: None }
    }

    /// The keys it verifies with.
    pub fn keys(&self) -> &Arc<KeyRing> {
        &self.keys
    }

    /// Verifies with the keys at hand. The only source of a [`TenantScope`].
    pub fn verify(&self, token: &str) -> Result<TenantScope, VerifyError> {
        self.verify_at(token, unix_now())
    }

    /// Verifies with the keys at hand, once for many uses: a signature does not change, but the clock and the keys do.
    pub fn verify_to_keep(&self, token: &str) -> Result<Kept, VerifyError> {
        let keys = self.keys.current().ok_or(VerifyError::UnknownKey)?;
        let scope = Arc::new(self.verify_with(token, Some(&keys), unix_now())?);
        Ok(Kept { scope, keys })
    }

    /// What a verification of this verifier's says now. Refused: one made with another set of keys than the ring's current
    /// one, even if its own key is in both; one whose token has ended; one whose token has not begun, by a clock that was
    /// set back.
    pub fn recheck(&self, kept: &Kept) -> Result<Arc<TenantScope>, VerifyError> {
        self.recheck_at(kept, unix_now())
    }

    fn recheck_at(&self, kept: &Kept, now: i64) -> Result<Arc<TenantScope>, VerifyError> {
        if !self.keys.is_current(&kept.keys) {
            return Err(VerifyError::UnknownKey);
        }
        check_times(kept.scope.expires_at(), kept.scope.begins_at(), now)?;
        self.check_dashboard(kept.scope.dashboard())?;
        Ok(kept.scope.clone())
    }

    pub(crate) fn verify_at(&self, token: &str, now: i64) -> Result<TenantScope, VerifyError> {
        self.verify_with(token, self.keys.current().as_deref(), now)
    }

    fn verify_with(&self, token: &str, keys: Option<&KeySet>, now: i64) -> Result<TenantScope, VerifyError> {
        let unverified = check_signature(token, keys, TokenType::AccessToken)?;
        let claims: TenantClaims = unverified.claims()?;
        let audience = claims.dashboard.audience();
        let policy = Policy {
            issuer: &self.issuer,
            audience: &audience,
            typ: TokenType::AccessToken,
            max_life: TENANT_TOKEN_LIFE,
        };
        check_claims(&claims, &policy, now)?;
        for id in [&claims.sid, &claims.jti, &claims.tenant_uid, &claims.client_id] {
            if id.is_empty() || id.len() > MAX_ID_LENGTH {
                return Err(VerifyError::Claims);
            }
        }
        self.check_dashboard(&claims.dashboard)?;
        Ok(TenantScope::from_verified(claims))
    }

    fn check_dashboard(&self, named: &DashboardSlug) -> Result<(), VerifyError> {
        if self.dashboard.as_ref().is_some_and(|own| own != named) { Err(VerifyError::Dashboard) } else { Ok(()) }
    }

    /// Like [`verify`](Self::verify); an unknown key id makes it look for new keys once, as often as the ring allows.
    pub async fn verify_refreshing(&self, token: &str) -> Result<TenantScope, VerifyError> {
        self.verify_refreshing_with_keys(token).await.map(|(scope, _)| scope)
    }

    /// The same, and the keys that it stands on. Whoever keeps the scope must verify again when these are not
    /// [current](KeyRing::is_current) any more.
    pub async fn verify_refreshing_with_keys(&self, token: &str) -> Result<(TenantScope, Arc<KeySet>), VerifyError> {
        match self.verify_with_current(token) {
            Err(VerifyError::UnknownKey) if self.keys.refresh().await == RefreshOutcome::Refreshed => {
                self.verify_with_current(token)
            }
            result => result,
        }
    }

    fn verify_with_current(&self, token: &str) -> Result<(TenantScope, Arc<KeySet>), VerifyError> {
        let keys = self.keys.current();
        let scope = self.verify_with(token, keys.as_deref(), unix_now())?;
        keys.map(|keys| (scope, keys)).ok_or(VerifyError::UnknownKey)
    }
}

/// Verifies user tokens of one trusted issuer.
pub struct UserVerifier {
    issuer: String,
    audience: String,
    tenants_claim: String,
    keys: Arc<KeyRing>,
}

impl UserVerifier {
    /// Trusts `issuer` to name people, with tokens for `audience` whose claim `tenants_claim` lists tenant ids.
    pub fn new(
        issuer: impl Into<String>,
        audience: impl Into<String>,
        tenants_claim: impl Into<String>,
        keys: Arc<KeyRing>,
    ) -> Self {
        Self { issuer: issuer.into(), audience: audience.into(), tenants_claim: tenants_claim.into(), keys }
    }

    /// Who vouches.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Verifies with the keys at hand.
    pub fn verify(&self, token: &str) -> Result<UserIdentity, VerifyError> {
        let policy = Policy {
            issuer: &self.issuer,
            audience: &self.audience,
            typ: TokenType::AsItsIssuerDoes,
            max_life: MAX_USER_TOKEN_LIFE,
        };
        let payload = check_signature(token, self.keys.current().as_deref(), policy.typ)?.payload_bytes()?;
        let claims: UserClaims = read_object(&payload).map_err(|_| VerifyError::Claims)?;
        check_claims(&claims, &policy, unix_now())?;
        let tenant_ids = tenants_in(&payload, &self.tenants_claim)?;
        Ok(UserIdentity {
            issuer: claims.iss,
            subject: claims.sub,
            email: claims.email,
            name: claims.name,
            groups: claims.groups,
            tenant_ids,
            expires_at: claims.exp,
        })
    }

    /// Like [`verify`](Self::verify), looking for new keys once when the key id is unknown.
    pub async fn verify_refreshing(&self, token: &str) -> Result<UserIdentity, VerifyError> {
        match self.verify(token) {
            Err(VerifyError::UnknownKey) if self.keys.refresh().await == RefreshOutcome::Refreshed => {
                self.verify(token)
            }
            result => result,
        }
    }
}

/// Verifies workload tokens: Kubernetes' projected service-account tokens, or those that the API writes where there is none.
pub struct WorkloadVerifier {
    issuer: String,
    keys: Arc<KeyRing>,
}

impl WorkloadVerifier {
    /// Trusts one issuer of workload tokens.
    pub fn new(issuer: impl Into<String>, keys: Arc<KeyRing>) -> Self {
        Self { issuer: issuer.into(), keys }
    }

    /// Verifies with the keys at hand.
    pub fn verify(&self, token: &str) -> Result<WorkloadIdentity, VerifyError> {
        let policy = Policy {
            issuer: &self.issuer,
            audience: WORKLOAD_AUDIENCE,
            typ: TokenType::AsItsIssuerDoes,
            max_life: WORKLOAD_TOKEN_LIFE,
        };
        let unverified = check_signature(token, self.keys.current().as_deref(), policy.typ)?;
        let claims: WorkloadClaims = unverified.claims()?;
        check_claims(&claims, &policy, unix_now())?;
        Ok(WorkloadIdentity { subject: claims.sub })
    }

    /// Like [`verify`](Self::verify), looking for new keys once when the key id is unknown: clusters rotate theirs.
    pub async fn verify_refreshing(&self, token: &str) -> Result<WorkloadIdentity, VerifyError> {
        match self.verify(token) {
            Err(VerifyError::UnknownKey) if self.keys.refresh().await == RefreshOutcome::Refreshed => {
                self.verify(token)
            }
            result => result,
        }
    }
}

/// Reads the claim that lists tenants. Its name is configured, so it cannot be a struct field; a repeated claim and a
/// name that is no tenant id are refused all the same.
fn tenants_in(payload: &[u8], claim: &str) -> Result<Vec<TenantId>, VerifyError> {
    struct Named<'a>(&'a str);
    impl<'de> Visitor<'de> for Named<'_> {
        type Value = Option<Vec<TenantId>>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object of claims")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut found = None;
            while let Some(name) = map.next_key::<String>()? {
                if name != self.0 {
                    map.next_value::<serde::de::IgnoredAny>()?;
                } else if found.replace(map.next_value()?).is_some() {
                    return Err(serde::de::Error::custom("repeated claim"));
                }
            }
            Ok(found)
        }
    }
    impl<'de> serde::de::DeserializeSeed<'de> for Named<'_> {
        type Value = Option<Vec<TenantId>>;

        fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
            deserializer.deserialize_map(self)
        }
    }
    let mut deserializer = serde_json::Deserializer::from_slice(payload);
    let tenants = Named(claim).deserialize(&mut deserializer).map_err(|_| VerifyError::Claims)?.unwrap_or_default();
    if tenants.len() > MAX_TENANTS { Err(VerifyError::Claims) } else { Ok(tenants) }
}

#[cfg(test)]
mod tests;
