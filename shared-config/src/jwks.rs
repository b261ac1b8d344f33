//! Which key sets are believed, and which keys in them.
//!
//! A set is refused as a whole when it is dangerous (a symmetric key, a repeated `kid`, too large); a single key is skipped
//! when it is merely of no use here. `jsonwebtoken` checks signatures well and keys hardly at all, hence this layer.

use std::collections::HashMap;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ParsedPublicKey};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use thiserror::Error;

use crate::token::{MAX_KID_LENGTH, algorithm_named, read_object};

/// Largest key-set document, in bytes.
pub const MAX_DOCUMENT_BYTES: usize = 64 * 1024;
/// Most keys in a set.
pub const MAX_KEYS: usize = 32;

const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=4096;

/// Why a key set is refused as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum KeySetError {
    /// More bytes or keys than any honest set has.
    #[error("the key set is larger than {MAX_DOCUMENT_BYTES} bytes or {MAX_KEYS} keys")]
    TooLarge,
    /// Not JSON, or not a key set (RFC 7517, section 5).
    #[error("not a JSON web key set: {0}")]
    Syntax(String),
    /// A symmetric key in a published set: everybody who reads the set could sign.
    #[error("the key set holds a symmetric key")]
    Symmetric,
    /// Two keys under one id.
    #[error("two keys have the id {0:?}")]
    DuplicateKid(String),
    /// Nothing in it can verify anything.
    #[error("the key set holds no usable key")]
    NoUsableKey,
}

/// One key, bound to the one algorithm that it may verify.
pub(crate) struct VerificationKey {
    pub(crate) algorithm: Algorithm,
    public: PublicKey,
}

enum PublicKey {
    /// On P-256, its point checked and held ready: the key of Kyros' own tokens and of most providers'.
    Point(ParsedPublicKey),
    Other(DecodingKey),
}

impl VerificationKey {
    /// Whether the signature (base64url) of a token is this key's.
    pub(crate) fn has_signed(&self, signing_input: &str, signature: &str) -> bool {
        match &self.public {
            PublicKey::Point(key) => {
                decode(signature).is_some_and(|signature| key.verify_sig(signing_input.as_bytes(), &signature).is_ok())
            }
            PublicKey::Other(key) => {
                let fits = jsonwebtoken::crypto::verify(signature, signing_input.as_bytes(), key, self.algorithm);
                matches!(fits, Ok(true))
            }
        }
    }
}

/// An accepted set of public keys, looked up by `kid`.
pub struct KeySet {
    keys: HashMap<String, VerificationKey>,
}

#[derive(Deserialize)]
struct Document {
    keys: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
struct PublishedKey {
    kty: String,
    alg: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
    n: Option<String>,
    e: Option<String>,
}

impl KeySet {
    /// Reads a key set (RFC 7517, section 5).
    pub fn parse(document: &[u8]) -> Result<Self, KeySetError> {
        if document.len() > MAX_DOCUMENT_BYTES {
            return Err(KeySetError::TooLarge);
        }
        // RFC 8259, section 8.1: JSON is UTF-8, also where a member is skipped and serde would not look.
        std::str::from_utf8(document).map_err(|error| KeySetError::Syntax(error.to_string()))?;
        let document: Document = read_object(document).map_err(|error| KeySetError::Syntax(error.to_string()))?;
        if document.keys.len() > MAX_KEYS {
            return Err(KeySetError::TooLarge);
        }
        let mut seen = std::collections::HashSet::new();
        let mut keys = HashMap::new();
        for value in document.keys {
            if value.get("kty").and_then(|kty| kty.as_str()) == Some("oct") {
                return Err(KeySetError::Symmetric);
            }
            // Before the rest is read: a key that is of no use here may still claim another one's id.
            let Some(kid) = value.get("kid").and_then(|kid| kid.as_str()).map(str::to_owned) else { continue };
            if !seen.insert(kid.clone()) {
                return Err(KeySetError::DuplicateKid(kid));
            }
            let Ok(published) = serde_json::from_value::<PublishedKey>(value) else { continue };
            if kid.is_empty() || kid.len() > MAX_KID_LENGTH {
                continue;
            }
            if let Some(key) = accept(&published) {
                keys.insert(kid, key);
            }
        }
        if keys.is_empty() { Err(KeySetError::NoUsableKey) } else { Ok(Self { keys }) }
    }

    pub(crate) fn get(&self, kid: &str) -> Option<&VerificationKey> {
        self.keys.get(kid)
    }

    /// How many keys can verify.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether no key can verify; an accepted set always has one.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

/// The key with its one algorithm, or `None` when any of its members speaks against using it.
fn accept(key: &PublishedKey) -> Option<VerificationKey> {
    if key.usage.as_deref().is_some_and(|usage| usage != "sig") {
        return None;
    }
    if key.key_ops.as_ref().is_some_and(|operations| !operations.iter().any(|operation| operation == "verify")) {
        return None;
    }
    match (key.kty.as_str(), key.crv.as_deref()) {
        ("EC", Some("P-256")) => {
            let (x, y) = (key.x.as_deref()?, key.y.as_deref()?);
            bound(key, Algorithm::ES256, PublicKey::Point(on_p256(&decode(x)?, &decode(y)?)?))
        }
        ("OKP", Some("Ed25519")) => {
            let x = key.x.as_deref()?;
            if decode(x)?.len() != 32 {
                return None;
            }
            bound(key, Algorithm::EdDSA, PublicKey::Other(DecodingKey::from_ed_components(x).ok()?))
        }
        ("RSA", None) => {
            let (modulus, exponent) = (decode(key.n.as_deref()?)?, decode(key.e.as_deref()?)?);
            if !acceptable_modulus(&modulus) || !acceptable_exponent(&exponent) {
                return None;
            }
            let public = PublicKey::Other(DecodingKey::from_rsa_raw_components(&modulus, &exponent));
            bound(key, Algorithm::RS256, public)
        }
        _ => None,
    }
}

/// One algorithm per key: what the key's type implies, and the set's `alg` must say the same (RFC 8725, section 3.1).
fn bound(key: &PublishedKey, algorithm: Algorithm, public: PublicKey) -> Option<VerificationKey> {
    let declared = algorithm_named(key.alg.as_deref()?)?;
    (declared == algorithm).then_some(VerificationKey { algorithm, public })
}

fn decode(value: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(value).ok()
}

/// The point is checked by the library that will use it: importing a point off the curve fails.
fn on_p256(x: &[u8], y: &[u8]) -> Option<ParsedPublicKey> {
    if x.len() != 32 || y.len() != 32 {
        return None;
    }
    ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, [&[4], x, y].concat()).ok()
}

fn acceptable_exponent(exponent: &[u8]) -> bool {
    let significant: Vec<u8> = exponent.iter().copied().skip_while(|byte| *byte == 0).collect();
    if significant.is_empty() || significant.len() > 4 {
        return false;
    }
    let value = significant.iter().fold(0_u64, |value, byte| (value << 8) | u64::from(*byte));
    value >= 65_537 && value % 2 == 1
}

fn acceptable_modulus(modulus: &[u8]) -> bool {
    let significant: &[u8] = &modulus[modulus.iter().take_while(|byte| **byte == 0).count()..];
    let Some(first) = significant.first() else { return false };
    let bits = significant.len() * 8 - first.leading_zeros() as usize;
    RSA_BITS.contains(&bits) && !has_roca_fingerprint(significant)
}

/// Whether a modulus was made by the broken generator of CVE-2017-15361 (ROCA): then `N mod p` is a power of 65537 modulo
/// every one of these small primes (Nemec et al., CCS 2017, section 2.2).
fn has_roca_fingerprint(modulus: &[u8]) -> bool {
    const PRIMES: [u32; 38] = [
        3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103, 107,
        109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
    ];
    PRIMES.iter().all(|&prime| {
        let remainder = modulus.iter().fold(0, |rest, &byte| (rest * 256 + u32::from(byte)) % prime);
        let mut power = 1;
        (0..prime).any(|_| {
            power = power * (65_537 % prime) % prime;
            power == remainder
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Issuer;

    fn set_with(change: impl Fn(&mut serde_json::Value)) -> Result<KeySet, KeySetError> {
        let mut set: serde_json::Value =
            serde_json::from_str(&Issuer::generate("https://a.example").unwrap().jwks()).unwrap();
        change(&mut set);
        KeySet::parse(set.to_string().as_bytes())
    }

    #[test]
    fn a_published_set_is_accepted() {
        assert_eq!(set_with(|_| {}).unwrap().len(), 1);
    }

    #[test]
    fn a_set_that_is_not_utf_8_is_refused_also_where_nothing_reads_it() {
        let text = Issuer::generate("https://a.example").unwrap().jwks();
        let spoilt = [b"{\"unread\":\"\xff\",", &text.as_bytes()[1..]].concat();
        assert!(matches!(KeySet::parse(&spoilt).err(), Some(KeySetError::Syntax(_))));
    }

    #[test]
    fn dangerous_sets_are_refused_whole() {
        let symmetric = set_with(|set| {
            let keys = set["keys"].as_array_mut().unwrap();
            keys.push(serde_json::json!({"kty": "oct", "k": "AAAA", "kid": "h"}));
        });
        assert_eq!(symmetric.err(), Some(KeySetError::Symmetric));
        let twice = set_with(|set| {
            let copy = set["keys"][0].clone();
            set["keys"].as_array_mut().unwrap().push(copy);
        });
        assert!(matches!(twice.err(), Some(KeySetError::DuplicateKid(_))));
        let beside_a_broken_one = set_with(|set| {
            let broken = serde_json::json!({"kty": 5, "kid": set["keys"][0]["kid"]});
            set["keys"].as_array_mut().unwrap().push(broken);
        });
        assert!(matches!(beside_a_broken_one.err(), Some(KeySetError::DuplicateKid(_))));
        let as_array = set_with(|set| *set = serde_json::json!([set["keys"]]));
        assert!(matches!(as_array.err(), Some(KeySetError::Syntax(_))));
        let many = set_with(|set| set["keys"] = serde_json::json!(vec![serde_json::json!({}); MAX_KEYS + 1]));
        assert_eq!(many.err(), Some(KeySetError::TooLarge));
        assert!(matches!(KeySet::parse(b"<html>").err(), Some(KeySetError::Syntax(_))));
        assert_eq!(KeySet::parse(&vec![b' '; MAX_DOCUMENT_BYTES + 1]).err(), Some(KeySetError::TooLarge));
    }

    #[test]
    fn keys_meant_for_something_else_are_skipped() {
        for (member, value) in [
            ("use", serde_json::json!("enc")),
            ("key_ops", serde_json::json!(["encrypt"])),
            ("alg", serde_json::json!("RS256")),
            ("alg", serde_json::json!(null)),
            ("alg", serde_json::json!("HS256")),
            ("crv", serde_json::json!("P-384")),
            ("crv", serde_json::json!("secp256k1")),
            ("x", serde_json::json!("AAAA")),
            ("x", serde_json::json!(URL_SAFE_NO_PAD.encode([1; 32]))),
            ("kid", serde_json::json!("")),
        ] {
            let result = set_with(|set| set["keys"][0][member] = value.clone());
            assert_eq!(result.err(), Some(KeySetError::NoUsableKey), "{member} = {value}");
        }
    }

    #[test]
    fn weak_rsa_keys_are_skipped() {
        let rsa = |bits: usize, exponent: &[u8]| {
            let mut modulus = vec![0xff; bits / 8];
            modulus[bits / 8 - 1] = 0xfd;
            let set = serde_json::json!({"keys": [{"kty": "RSA", "kid": "r", "alg": "RS256",
                "n": URL_SAFE_NO_PAD.encode(modulus), "e": URL_SAFE_NO_PAD.encode(exponent)}]});
            KeySet::parse(set.to_string().as_bytes()).is_ok()
        };
        assert!(rsa(2048, &[1, 0, 1]));
        assert!(!rsa(1024, &[1, 0, 1]));
        assert!(!rsa(8192, &[1, 0, 1]));
        assert!(!rsa(2048, &[3]));
        assert!(!rsa(2048, &[1, 0, 2]));
        assert!(!rsa(2048, &[]));
    }

    #[test]
    fn a_power_of_65537_is_recognised_as_roca() {
        let power: u128 = 65_537 * 65_537 * 65_537 * 65_537;
        assert!(has_roca_fingerprint(&power.to_be_bytes()));
        assert!(!has_roca_fingerprint(&(power + 2).to_be_bytes()));
    }
}
