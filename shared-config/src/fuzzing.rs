//! What `fuzz/` feeds with arbitrary bytes: one function for each parser that reads what strangers wrote. Each asserts
//! what must hold of whatever the parser accepts, mostly by a second, simpler reading of the same bytes.

use std::{
    collections::HashSet,
    sync::{Arc, LazyLock},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::Algorithm;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;

use crate::{
    DashboardHost, DashboardSlug, DatasetName, KeyRing, KeySet, KeySource, PublicUrl, TenantClaims, TenantId,
    TenantVerifier, UserVerifier, VerifyError, WorkloadVerifier,
    jwks::{MAX_DOCUMENT_BYTES, MAX_KEYS},
    names::{MAX_DATASET_LENGTH, MAX_NAME_LENGTH},
    public_url::Site,
    token::{MAX_KID_LENGTH, MAX_TOKEN_BYTES, TokenType, UnverifiedToken},
    verifier::{LEEWAY, USER_AUDIENCE, check_signature},
};

/// Public halves of keys whose private halves were thrown away once they had signed [`CLAIMS`].
const KEYS: &str = include_str!("../../fuzz/corpus/key_set/three-algorithms");
/// The headers under which they signed.
const HEADERS: [&str; 3] = [
    r#"{"alg":"ES256","typ":"at+jwt","kid":"ec"}"#,
    r#"{"alg":"EdDSA","typ":"at+jwt","kid":"ed"}"#,
    r#"{"alg":"RS256","typ":"at+jwt","kid":"rsa"}"#,
];
/// What they signed.
const CLAIMS: &str = concat!(
    r#"{"iss":"http://kyros.localhost:8080","aud":"dashboard:clv","sub":"ana","exp":1800000300,"nbf":1800000000,"#,
    r#""iat":1800000000,"jti":"j1","client_id":"dashboard:clv","tenant_id":"acme","tenant_uid":"u1","dashboard":"clv","#,
    r#""roles":["viewer"],"sid":"s1","email":"ana@acme.example"}"#,
);
const ISSUER: &str = "http://kyros.localhost:8080";
const ISSUED: i64 = 1_800_000_000;
const EXPIRES: i64 = 1_800_000_300;

struct Bench {
    ring: Arc<KeyRing>,
    /// What was signed, for each key.
    signed: [String; 3],
    clv: TenantVerifier,
    risk: TenantVerifier,
    user: UserVerifier,
    workload: WorkloadVerifier,
}

static BENCH: LazyLock<Bench> = LazyLock::new(|| {
    let ring = Arc::new(KeyRing::new(KeySource::Fixed(KEYS.to_owned())).expect("the keys above are a key set"));
    let verifier = |slug: &str| {
        TenantVerifier::for_dashboard(ISSUER, ring.clone(), slug.parse().expect("the names below are dashboards'"))
    };
    Bench {
        signed: HEADERS.map(|header| format!("{}.{}", encode(header.as_bytes()), encode(CLAIMS.as_bytes()))),
        clv: verifier("clv"),
        risk: verifier("risk"),
        user: UserVerifier::new(ISSUER, USER_AUDIENCE, "tenant_ids", ring.clone()),
        workload: WorkloadVerifier::new(ISSUER, ring.clone()),
        ring,
    }
});

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The bytes as a compact token, and, where they are three lines, as header, claims and signature of one: mutations of
/// base64url hardly reach the JSON inside.
pub fn token(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        check_token(text);
    }
    let lines: Vec<&[u8]> = data.splitn(3, |byte| *byte == b'\n').collect();
    if let [header, claims, signature] = lines[..] {
        check_token(&format!("{}.{}.{}", encode(header), encode(claims), encode(signature)));
    }
}

fn check_token(text: &str) {
    let bench = &*BENCH;
    match UnverifiedToken::parse(text) {
        Ok(parsed) => check_shape(text, &parsed),
        Err(_) => assert!(bench.clv.verify_at(text, ISSUED).is_err(), "accepted what is no token"),
    }
    // An ECDSA signature (r, s) has a twin (r, -s) that fits too: the token's text is not unique, but what it says is.
    let genuine = |signing_input: &str| bench.signed.iter().any(|signed| signed == signing_input);
    for typ in [TokenType::AccessToken, TokenType::AsItsIssuerDoes] {
        if let Ok(parsed) = check_signature(text, bench.ring.current().as_deref(), typ) {
            assert!(genuine(parsed.signing_input), "a signature fits what was never signed");
        }
    }
    if let Ok(scope) = bench.clv.verify_at(text, ISSUED) {
        assert!(text.rsplit_once('.').is_some_and(|(signing_input, _)| genuine(signing_input)));
        assert_eq!((scope.tenant().as_str(), scope.dashboard().as_str(), scope.subject()), ("acme", "clv", "ana"));
        assert_eq!((scope.issued_at(), scope.expires_at()), (ISSUED, EXPIRES));
        assert!(bench.clv.verify_at(text, EXPIRES + LEEWAY - 1).is_ok());
        assert_eq!(bench.clv.verify_at(text, EXPIRES + LEEWAY).err(), Some(VerifyError::Expired));
        assert_eq!(bench.clv.verify_at(text, ISSUED - LEEWAY - 1).err(), Some(VerifyError::NotYetValid));
        assert_eq!(bench.risk.verify_at(text, ISSUED).err(), Some(VerifyError::Dashboard));
    }
    assert!(bench.user.verify(text).is_err() && bench.workload.verify(text).is_err(), "one kind passed for another");
}

/// RFC 8725, section 3.14, and what this project adds: base64url without a second spelling, objects without repeated
/// members, three header members and no more.
fn check_shape(text: &str, parsed: &UnverifiedToken<'_>) {
    assert!(text.len() <= MAX_TOKEN_BYTES);
    let parts: Vec<&str> = text.split('.').collect();
    assert_eq!(parts.len(), 3);
    for part in &parts {
        assert!(!part.is_empty() && part.bytes().all(is_base64url), "{text:?}");
    }
    assert_eq!((parts[1], parts[2]), (parsed.payload, parsed.signature));
    let header = decode_exactly(parts[0]);
    for name in members(&header) {
        assert!(["alg", "typ", "kid"].contains(&name.as_str()), "a header with {name}");
    }
    let kid = &parsed.header.kid;
    assert!((1..=MAX_KID_LENGTH).contains(&kid.len()) && kid.bytes().all(is_base64url));
    if let Ok(claims) = parsed.claims::<TenantClaims>() {
        let known = serde_json::to_value(&claims).expect("claims are JSON");
        let mut names = members_with_repeats(&decode_exactly(parts[1])).expect("claims are an object");
        // Members that nobody reads may say what they like.
        names.retain(|name| known.get(name).is_some());
        let count = names.len();
        assert_eq!(names.into_iter().collect::<HashSet<_>>().len(), count, "a repeated claim");
        assert!(is_label(claims.tenant_id.as_str()) && is_label(claims.dashboard.as_str()));
    }
}

fn is_base64url(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'
}

fn decode_exactly(part: &str) -> Vec<u8> {
    let bytes = URL_SAFE_NO_PAD.decode(part).expect("an accepted part decodes");
    assert_eq!(encode(&bytes), part, "a second spelling of the same bytes");
    bytes
}

/// The names of an object's members, none of them twice.
fn members(json: &[u8]) -> HashSet<String> {
    let names = members_with_repeats(json).expect("only an object is accepted");
    let count = names.len();
    let once: HashSet<String> = names.into_iter().collect();
    assert_eq!(once.len(), count, "a repeated member");
    once
}

fn members_with_repeats(json: &[u8]) -> Option<Vec<String>> {
    struct Names(Vec<String>);
    struct Collect;
    impl<'de> Visitor<'de> for Collect {
        type Value = Names;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Names, A::Error> {
            let mut names = Vec::new();
            while let Some((name, serde::de::IgnoredAny)) = map.next_entry()? {
                names.push(name);
            }
            Ok(Names(names))
        }
    }
    impl<'de> Deserialize<'de> for Names {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserializer.deserialize_map(Collect)
        }
    }
    serde_json::from_slice::<Names>(json).ok().map(|names| names.0)
}

/// The bytes as a `Host` header, as every kind of name, and as the public URL itself.
pub fn host(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    check_names(text);
    for (public_url, port) in
        [("http://kyros.localhost:8080", 8080), ("http://kyros.localhost", 80), ("https://kyros.localhost", 443)]
    {
        check_host(&public_url.parse().expect("a public URL"), port, text);
    }
    if let Ok(public_url) = text.parse::<PublicUrl>() {
        assert_eq!(public_url.origin().parse().as_ref(), Ok(&public_url), "an origin is read as another");
        assert_eq!(public_url.site_of(&public_url.authority()), Site::Portal, "{public_url}");
        let dashboard: DashboardHost = "clv--acme".parse().expect("a dashboard's host");
        let authority = public_url.dashboard_authority(&dashboard);
        assert_eq!(public_url.site_of(&authority), Site::Dashboard(dashboard), "{public_url}");
    }
}

fn check_host(public_url: &PublicUrl, own_port: u32, text: &str) {
    let site = public_url.site_of(text);
    for other in [text.to_ascii_lowercase(), text.to_ascii_uppercase()] {
        assert_eq!(public_url.site_of(&other), site, "case matters to {text:?}");
    }
    // The same decision by comparing whole names, which is all that a host may be.
    let lower = text.to_ascii_lowercase();
    let is_port = |port: &str| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let (name, port) = match lower.rsplit_once(':') {
        Some((name, port)) if is_port(port) => (name, Some(port.trim_start_matches('0').parse::<u32>().unwrap_or(0))),
        _ => (lower.as_str(), None),
    };
    let default_port = if public_url.is_secure() { 443 } else { 80 };
    let ours = port.unwrap_or(default_port) == own_port;
    match site {
        Site::Portal => assert!(ours && name == "kyros.localhost", "{text:?} is no portal"),
        Site::Dashboard(host) => {
            assert!(ours && name == format!("{host}.kyros.localhost"), "{text:?} is not {host}");
            assert!(host.to_string().len() <= 63, "no DNS label");
            assert!(is_label(host.dashboard.as_str()) && is_label(host.tenant.as_str()));
            assert_eq!(public_url.site_of(&public_url.dashboard_authority(&host)), Site::Dashboard(host));
        }
        Site::Loopback => assert!(["localhost", "127.0.0.1", "[::1]"].contains(&name)),
        Site::Unknown => {
            let label = name.strip_suffix(".kyros.localhost").and_then(|label| label.split_once("--"));
            let known = name == "kyros.localhost" || label.is_some_and(|(one, other)| is_label(one) && is_label(other));
            assert!(!(ours && known), "{text:?} is not recognised");
        }
    }
}

fn check_names(text: &str) {
    assert_eq!(text.parse::<TenantId>().is_ok(), is_label(text), "{text:?}");
    assert_eq!(text.parse::<DashboardSlug>().is_ok(), is_label(text), "{text:?}");
    let is_host = text.split_once("--").is_some_and(|(one, other)| is_label(one) && is_label(other));
    assert_eq!(text.parse::<DashboardHost>().is_ok(), is_host, "{text:?}");
    if let Ok(host) = text.parse::<DashboardHost>() {
        assert_eq!(host.to_string(), text);
    }
    if let Ok(dataset) = text.parse::<DatasetName>() {
        let plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_');
        assert!(dataset.as_str() == text && text.len() <= MAX_DATASET_LENGTH && text.bytes().all(plain));
    }
    if let Some(slug) = DashboardSlug::from_audience(text) {
        assert_eq!(slug.audience(), text);
    }
}

/// The grammar of tenants' and dashboards' names, read part by part.
fn is_label(text: &str) -> bool {
    text.len() <= MAX_NAME_LENGTH
        && text.split('-').all(|part| !part.is_empty() && part.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9')))
}

/// The bytes as a key set.
pub fn key_set(data: &[u8]) {
    let Ok(set) = KeySet::parse(data) else { return };
    assert!(data.len() <= MAX_DOCUMENT_BYTES);
    assert!((1..=MAX_KEYS).contains(&set.len()) && !set.is_empty());
    members_with_repeats(data).expect("only an object is accepted");
    let document: Value = serde_json::from_slice(data).expect("only JSON is accepted");
    let published = document["keys"].as_array().expect("only a list of keys is accepted");
    assert!(published.len() <= MAX_KEYS);
    let mut ids = HashSet::new();
    let mut usable = 0;
    for key in published {
        assert_ne!(key["kty"], "oct", "a symmetric key was accepted");
        let Some(kid) = key["kid"].as_str() else { continue };
        assert!(ids.insert(kid), "two keys have the id {kid:?}");
        if let Some(accepted) = set.get(kid) {
            check_key(key, accepted.algorithm);
            usable += 1;
        }
    }
    assert_eq!(usable, set.len(), "a key that was not published");
}

fn check_key(key: &Value, algorithm: Algorithm) {
    let kid = key["kid"].as_str().expect("it was found under its id");
    assert!((1..=MAX_KID_LENGTH).contains(&kid.len()));
    assert!(key["use"].is_null() || key["use"] == "sig");
    assert!(key["key_ops"].as_array().is_none_or(|operations| operations.contains(&Value::from("verify"))));
    let length = |member: &str| key[member].as_str().map_or(0, |text| decode_exactly(text).len());
    match algorithm {
        Algorithm::ES256 => {
            assert_eq!((&key["alg"], &key["kty"], &key["crv"]), (&"ES256".into(), &"EC".into(), &"P-256".into()));
            assert_eq!((length("x"), length("y")), (32, 32));
        }
        Algorithm::EdDSA => {
            assert_eq!((&key["alg"], &key["kty"], &key["crv"]), (&"EdDSA".into(), &"OKP".into(), &"Ed25519".into()));
            assert_eq!(length("x"), 32);
        }
        Algorithm::RS256 => {
            assert_eq!((&key["alg"], &key["kty"]), (&"RS256".into(), &"RSA".into()));
            assert!(length("n") >= 256);
        }
        other => panic!("{other:?} is not verified here"),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    fn replay(target: &str, run: fn(&[u8])) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
        let mut seeds = 0;
        for entry in fs::read_dir(&folder).expect("the corpus is part of the sources") {
            let path = entry.unwrap().path();
            // Shown with the failure alone, so that the seed is known.
            println!("{}", path.display());
            run(&fs::read(&path).unwrap());
            seeds += 1;
        }
        assert!(seeds > 0, "{} is empty", folder.display());
    }

    #[test]
    fn every_token_of_the_corpus_keeps_the_rules() {
        replay("token", token);
    }

    #[test]
    fn every_host_of_the_corpus_keeps_the_rules() {
        replay("host", host);
    }

    #[test]
    fn every_key_set_of_the_corpus_keeps_the_rules() {
        replay("key_set", key_set);
    }

    /// Otherwise the rules on accepted tokens would be tried on none.
    #[test]
    fn the_corpus_has_a_genuine_token_for_every_algorithm() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/token");
        for seed in ["genuine-es256", "genuine-es256-twin", "genuine-eddsa", "genuine-rs256"] {
            let text = fs::read_to_string(folder.join(seed)).unwrap();
            assert!(BENCH.clv.verify_at(&text, ISSUED).is_ok(), "{seed}");
        }
        assert_eq!(KeySet::parse(KEYS.as_bytes()).unwrap().len(), 3);
    }
}
