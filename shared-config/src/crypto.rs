//! The few primitives that Kyros needs beside tokens: random handles, digests, equality in constant time.

use aws_lc_rs::{constant_time, digest, hkdf, rand};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::clock::unix_now_millis;

/// Bytes of randomness in a handle: 256 bits, so that guessing is out of the question.
pub const HANDLE_BYTES: usize = 32;

/// Chooses `aws-lc-rs` for JSON Web Tokens and TLS. Every `main` calls it first; calling it again does no harm.
pub fn install_provider() {
    // An error only says that a provider is installed already, and no other one is compiled in.
    let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

/// Fills a fixed array with randomness from the operating system's generator.
pub fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    // aws-lc's generator is seeded by the kernel and does not fail afterwards; without randomness nothing here is safe.
    rand::fill(&mut bytes).expect("the operating system provides randomness");
    bytes
}

/// A fresh, unguessable, URL-safe handle of 43 characters.
pub fn random_handle() -> String {
    URL_SAFE_NO_PAD.encode(random_bytes::<HANDLE_BYTES>())
}

/// A short random identifier (128 bits) for things that are named, not guarded: decisions, requests.
pub fn random_id() -> String {
    URL_SAFE_NO_PAD.encode(random_bytes::<16>())
}

/// Like [`random_id`], with the millisecond in front: what is written together stands together in a database's index, where
/// ids without an order would touch a page each.
pub fn ordered_id() -> String {
    format!("{:011x}{}", unix_now_millis(), random_id())
}

/// SHA-256 of some bytes: what is stored of a handle, so that a stolen database opens nothing.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    out
}

/// Base64url (no padding) of SHA-256, the form of PKCE challenges (RFC 7636, section 4.2) and key thumbprints.
pub fn sha256_base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(sha256(bytes))
}

/// Lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A key for one purpose, from a secret that serves several (HKDF with SHA-256, RFC 5869). Whoever has one of the keys
/// learns nothing of the others or of the secret.
pub fn derive_key(secret: &[u8], purpose: &str) -> [u8; 32] {
    struct Length;
    impl hkdf::KeyType for Length {
        fn len(&self) -> usize {
            32
        }
    }
    let mut key = [0; 32];
    let extracted = hkdf::Salt::new(hkdf::HKDF_SHA256, b"kyros").extract(secret);
    // 32 bytes are one block of SHA-256, far below the 255 blocks that HKDF gives at most.
    let expanded = [purpose.as_bytes()];
    extracted
        .expand(&expanded, Length)
        .and_then(|material| material.fill(&mut key))
        .expect("HKDF gives one block of its hash");
    key
}

/// Compares without telling by its duration where the two differ.
pub fn constant_time_eq(left: &[u8], right: &[u8]) -> bool {
    constant_time::verify_slices_are_equal(left, right).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles_are_long_and_never_repeat() {
        let (first, second) = (random_handle(), random_handle());
        assert_eq!(first.len(), 43);
        assert_ne!(first, second);
    }

    #[test]
    fn ordered_ids_sort_by_time_and_are_no_easier_to_guess() {
        let earlier = ordered_id();
        std::thread::sleep(std::time::Duration::from_millis(2));
        let later = ordered_id();
        assert!(earlier < later, "{earlier} {later}");
        assert_eq!(earlier.len(), 11 + random_id().len());
    }

    #[test]
    fn pkce_challenge_matches_rfc7636_appendix_b() {
        let challenge = sha256_base64url(b"dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
        assert_eq!(challenge, "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
    }

    #[test]
    fn keys_for_two_purposes_have_nothing_in_common_and_stay_the_same() {
        let (one, other) = (derive_key(b"secret", "sign-in dash-clv"), derive_key(b"secret", "sign-in dash-risk"));
        assert_ne!(one, other);
        assert_eq!(one, derive_key(b"secret", "sign-in dash-clv"));
        assert_ne!(one, derive_key(b"another", "sign-in dash-clv"));
        assert_eq!(hex(&[0, 255, 16]), "00ff10");
    }

    #[test]
    fn equality_needs_the_same_length_and_bytes() {
        assert!(constant_time_eq(b"abc", b"abc"));
        assert!(!constant_time_eq(b"abc", b"abd"));
        assert!(!constant_time_eq(b"abc", b"abcd"));
    }
}
