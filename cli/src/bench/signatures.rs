//! What signatures cost on this machine with nothing around them: the floor under every figure that has some in it.

use std::time::{Duration, Instant};

use anyhow::anyhow;
use aws_lc_rs::{
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, ParsedPublicKey,
    },
};

/// As long as a token's header and claims.
const MESSAGE: [u8; 400] = [b'a'; 400];

/// A key, and something that it signed.
pub(super) struct Signatures {
    pair: EcdsaKeyPair,
    public: ParsedPublicKey,
    random: SystemRandom,
    signature: Vec<u8>,
}

impl Signatures {
    /// Of ES256 (RFC 7518, section 3.4), by the library that Kyros signs with.
    pub(super) fn new() -> anyhow::Result<Self> {
        let failed = |_| anyhow!("no key");
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(failed)?;
        let public = ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, pair.public_key().as_ref())?;
        let random = SystemRandom::new();
        let signature = pair.sign(&random, &MESSAGE).map_err(failed)?.as_ref().to_vec();
        Ok(Self { pair, public, random, signature })
    }

    /// How long it takes to verify so many, one after the other.
    pub(super) fn verify(&self, times: u32) -> anyhow::Result<Duration> {
        let begun = Instant::now();
        for _ in 0..times {
            self.public.verify_sig(&MESSAGE, &self.signature).map_err(|_| anyhow!("not its signature"))?;
        }
        Ok(begun.elapsed())
    }

    /// How long it takes to make so many.
    pub(super) fn sign(&self, times: u32) -> anyhow::Result<Duration> {
        let begun = Instant::now();
        for _ in 0..times {
            self.pair.sign(&self.random, &MESSAGE).map_err(|_| anyhow!("not signed"))?;
        }
        Ok(begun.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_timed_is_a_signature() {
        let mut signatures = Signatures::new().unwrap();
        assert!(signatures.verify(1).unwrap() > Duration::ZERO && signatures.sign(1).unwrap() > Duration::ZERO);
        signatures.signature[7] ^= 1;
        assert!(signatures.verify(1).is_err());
    }
}
