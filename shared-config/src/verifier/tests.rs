//! Each rule of the verifier broken once, by a token that is right in everything else.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::*;
use crate::{Issuer, KeySource, issuer::TenantGrant};

const ISSUER: &str = "http://kyros.localhost:8080";

struct Bench {
    key: jsonwebtoken::EncodingKey,
    kid: String,
    ring: Arc<KeyRing>,
}

/// An issuer whose tokens a test can write claim by claim.
fn bench() -> Bench {
    crate::crypto::install_provider();
    let folder = std::env::temp_dir().join(format!("kyros-{}", crate::crypto::random_id()));
    std::fs::create_dir(&folder).unwrap();
    let path = folder.join("key.pem");
    let issuer = Issuer::load_or_generate(ISSUER, &path).unwrap();
    let key = jsonwebtoken::EncodingKey::from_ec_pem(&std::fs::read(&path).unwrap()).unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    let ring = Arc::new(KeyRing::new(KeySource::Fixed(issuer.jwks())).unwrap());
    Bench { key, kid: issuer.kid().to_owned(), ring }
}

impl Bench {
    fn sign(&self, header: &Value, claims: &str) -> String {
        let input = format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(claims));
        let signature =
            jsonwebtoken::crypto::sign(input.as_bytes(), &self.key, jsonwebtoken::Algorithm::ES256).unwrap();
        format!("{input}.{signature}")
    }

    fn header(&self) -> Value {
        json!({"alg": "ES256", "typ": "at+jwt", "kid": self.kid})
    }

    fn verifier(&self) -> TenantVerifier {
        TenantVerifier::for_dashboard(ISSUER, self.ring.clone(), "clv".parse().unwrap())
    }

    fn verify(&self, claims: &Value) -> Result<TenantScope, VerifyError> {
        self.verifier().verify(&self.sign(&self.header(), &claims.to_string()))
    }
}

fn tenant_claims() -> Value {
    let now = unix_now();
    json!({
        "iss": ISSUER, "aud": "dashboard:clv", "sub": "ana", "exp": now + 300, "nbf": now, "iat": now, "jti": "j1",
        "client_id": "dashboard:clv", "tenant_id": "acme", "tenant_uid": "u1", "dashboard": "clv", "roles": ["viewer"],
        "sid": "s1", "email": "ana@acme.example",
    })
}

#[test]
fn a_right_token_becomes_a_scope_of_its_tenant_alone() {
    let scope = bench().verify(&tenant_claims()).unwrap();
    assert_eq!((scope.tenant().as_str(), scope.dashboard().as_str(), scope.subject()), ("acme", "clv", "ana"));
    assert_eq!(scope.session(), "s1");
}

#[test]
fn each_claim_is_required_and_typed() {
    let bench = bench();
    let required = [
        "iss",
        "aud",
        "sub",
        "exp",
        "nbf",
        "iat",
        "jti",
        "client_id",
        "tenant_id",
        "tenant_uid",
        "dashboard",
        "roles",
        "sid",
    ];
    for claim in required {
        let mut claims = tenant_claims();
        claims.as_object_mut().unwrap().remove(claim);
        assert!(bench.verify(&claims).is_err(), "without {claim}");
        for wrong in [json!(null), json!({}), json!(true), json!(""), json!(-1), json!(1.5), json!([[]])] {
            let mut claims = tenant_claims();
            claims[claim] = wrong.clone();
            assert!(bench.verify(&claims).is_err(), "{claim} = {wrong}");
        }
    }
}

#[test]
fn a_claim_of_another_value_names_its_own_error() {
    let bench = bench();
    let now = unix_now();
    let cases = [
        ("iss", json!("http://evil"), VerifyError::Issuer),
        ("aud", json!("kyros"), VerifyError::Audience),
        ("aud", json!(["dashboard:clv", "dashboard:risk"]), VerifyError::Audience),
        ("aud", json!([]), VerifyError::Audience),
        ("exp", json!(now - LEEWAY), VerifyError::Expired),
        ("exp", json!(now + 1000), VerifyError::LifeTooLong),
        ("exp", json!(i64::MAX), VerifyError::Claims),
        ("nbf", json!(now + LEEWAY + 2), VerifyError::NotYetValid),
        ("iat", json!(now + LEEWAY + 2), VerifyError::NotYetValid),
        ("tenant_id", json!(["acme", "globex"]), VerifyError::Claims),
        ("tenant_id", json!("../globex"), VerifyError::Claims),
    ];
    for (claim, value, expected) in cases {
        let mut claims = tenant_claims();
        claims[claim] = value.clone();
        assert_eq!(bench.verify(&claims).err(), Some(expected), "{claim} = {value}");
    }
    let mut other = tenant_claims();
    other["dashboard"] = json!("risk");
    other["aud"] = json!("dashboard:risk");
    assert_eq!(bench.verify(&other).err(), Some(VerifyError::Dashboard));
    other["aud"] = json!("dashboard:clv");
    assert_eq!(bench.verify(&other).err(), Some(VerifyError::Audience));
}

#[test]
fn a_repeated_claim_is_refused() {
    let bench = bench();
    let text = tenant_claims().to_string().replacen('{', r#"{"tenant_id":"globex","#, 1);
    assert_eq!(bench.verifier().verify(&bench.sign(&bench.header(), &text)).err(), Some(VerifyError::Claims));
}

#[test]
fn the_algorithm_is_the_keys_and_never_the_headers() {
    let bench = bench();
    let claims = tenant_claims().to_string();
    for alg in ["none", "HS256", "RS256", "EdDSA", "ES384"] {
        let mut header = bench.header();
        header["alg"] = json!(alg);
        assert_eq!(bench.verifier().verify(&bench.sign(&header, &claims)).err(), Some(VerifyError::Algorithm), "{alg}");
    }
    let mut header = bench.header();
    header["typ"] = json!("JWT");
    assert_eq!(bench.verifier().verify(&bench.sign(&header, &claims)).err(), Some(VerifyError::Type));
    header = bench.header();
    header["kid"] = json!("another");
    assert_eq!(bench.verifier().verify(&bench.sign(&header, &claims)).err(), Some(VerifyError::UnknownKey));
}

#[test]
fn a_changed_byte_or_a_foreign_key_breaks_the_signature() {
    let (bench, other) = (bench(), self::bench());
    let token = bench.sign(&bench.header(), &tenant_claims().to_string());
    let forged_claims = URL_SAFE_NO_PAD.encode(tenant_claims().to_string().replace("acme", "glob"));
    let parts: Vec<&str> = token.split('.').collect();
    let forged = format!("{}.{forged_claims}.{}", parts[0], parts[2]);
    assert_eq!(bench.verifier().verify(&forged).err(), Some(VerifyError::Signature));
    let foreign = other.sign(&bench.header(), &tenant_claims().to_string());
    assert_eq!(bench.verifier().verify(&foreign).err(), Some(VerifyError::Signature));
}

#[test]
fn kinds_of_token_are_mutually_exclusive() {
    crate::crypto::install_provider();
    let issuer = Issuer::generate(ISSUER).unwrap();
    let ring = Arc::new(KeyRing::new(KeySource::Fixed(issuer.jwks())).unwrap());
    let tenant_id: TenantId = "acme".parse().unwrap();
    let dashboard: DashboardSlug = "clv".parse().unwrap();
    let tenant = issuer
        .tenant_token(&TenantGrant {
            subject: "ana",
            email: None,
            tenant: &tenant_id,
            tenant_uid: "u1",
            dashboard: &dashboard,
            roles: &[],
            session: "s1",
            client_id: "dashboard:clv",
            actor: None,
            not_after: i64::MAX,
        })
        .unwrap();
    let user = issuer
        .user_token(&crate::issuer::Person {
            subject: "ana",
            email: "ana@acme.example",
            name: "Ana",
            groups: &[],
            tenant_ids: std::slice::from_ref(&tenant_id),
        })
        .unwrap();
    let workload = issuer.workload_token("dashboard:clv").unwrap();
    let at_tenant = TenantVerifier::for_dashboard(ISSUER, ring.clone(), dashboard);
    let at_data = TenantVerifier::for_data_api(ISSUER, ring.clone());
    let at_user = UserVerifier::new(ISSUER, USER_AUDIENCE, "tenant_ids", ring.clone());
    let at_workload = WorkloadVerifier::new(ISSUER, ring);
    for (kind, token) in [tenant, user, workload].iter().enumerate() {
        let token = token.token.expose();
        assert_eq!(at_tenant.verify(token).is_ok(), kind == 0, "kind {kind} at a sidecar");
        assert_eq!(at_data.verify(token).is_ok(), kind == 0, "kind {kind} at the data API");
        assert_eq!(at_user.verify(token).is_ok(), kind == 1, "kind {kind} as a user");
        assert_eq!(at_workload.verify(token).is_ok(), kind == 2, "kind {kind} as a workload");
    }
}

#[test]
fn the_tenants_claim_may_have_any_name_but_only_once() {
    let payload = br#"{"org":["acme","globex"],"other":1}"#;
    assert_eq!(tenants_in(payload, "org").unwrap().len(), 2);
    assert_eq!(tenants_in(payload, "tenant_ids").unwrap(), []);
    assert!(tenants_in(br#"{"org":["acme"],"org":["globex"]}"#, "org").is_err());
    assert!(tenants_in(br#"{"org":"acme"}"#, "org").is_err());
    assert!(tenants_in(br#"{"org":["../acme"]}"#, "org").is_err());
}

#[test]
fn a_kept_verification_ends_with_its_token_and_waits_when_the_clock_is_set_back() {
    let bench = bench();
    let claims = tenant_claims();
    let verifier = bench.verifier();
    let kept = verifier.verify_to_keep(&bench.sign(&bench.header(), &claims.to_string())).ok().unwrap();
    let (begins, ends) = (claims["iat"].as_i64().unwrap(), claims["exp"].as_i64().unwrap());
    for now in [begins - LEEWAY, begins, ends, ends + LEEWAY - 1] {
        assert_eq!(verifier.recheck_at(&kept, now).unwrap().subject(), "ana", "{now}");
    }
    assert_eq!(verifier.recheck_at(&kept, ends + LEEWAY).err(), Some(VerifyError::Expired));
    assert_eq!(verifier.recheck_at(&kept, begins - LEEWAY - 1).err(), Some(VerifyError::NotYetValid));
    let risk = TenantVerifier::for_dashboard(ISSUER, bench.ring.clone(), "risk".parse().unwrap());
    assert_eq!(risk.recheck(&kept).err(), Some(VerifyError::Dashboard));
}

#[tokio::test]
async fn a_kept_verification_ends_with_the_keys_that_it_was_made_with() {
    crate::crypto::install_provider();
    let path = std::env::temp_dir().join(format!("kyros-{}.json", crate::crypto::random_id()));
    let old = Issuer::generate(ISSUER).unwrap();
    std::fs::write(&path, old.jwks()).unwrap();
    let ring = Arc::new(KeyRing::new(KeySource::File(path.clone())).unwrap());
    let verifier = TenantVerifier::for_data_api(ISSUER, ring.clone());
    let (tenant, dashboard) = ("acme".parse().unwrap(), "clv".parse().unwrap());
    let grant = TenantGrant {
        subject: "ana",
        email: None,
        tenant: &tenant,
        tenant_uid: "u1",
        dashboard: &dashboard,
        roles: &[],
        session: "s1",
        client_id: "exchange",
        actor: None,
        not_after: i64::MAX,
    };
    let token = old.tenant_token(&grant).unwrap();
    let kept = verifier.verify_to_keep(token.token.expose()).ok().unwrap();
    assert!(verifier.recheck(&kept).is_ok());
    std::fs::write(&path, Issuer::generate(ISSUER).unwrap().jwks()).unwrap();
    assert_eq!(ring.refresh().await, RefreshOutcome::Refreshed);
    assert_eq!(verifier.recheck(&kept).err(), Some(VerifyError::UnknownKey));
    assert_eq!(verifier.verify_to_keep(token.token.expose()).err(), Some(VerifyError::UnknownKey));
    std::fs::remove_file(&path).unwrap();
}
