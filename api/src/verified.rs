//! Tenant tokens whose signature has been checked already: the same token comes with every request of a dashboard.
//!
//! Kept is the signature's verdict alone, and only a good one. What may change between two requests is asked at each: the
//! clock and the key set here, the grants and the revocations by whoever asks for a scope. The API's own key set is fixed
//! at the start, but nothing here relies on it: a verdict falls with the very set that it was reached with.

use std::{sync::Arc, time::Duration};

use kyros_shared_config::{
    TenantScope, TenantVerifier, VerifyError,
    crypto::sha256,
    token::MAX_TOKEN_BYTES,
    verifier::{Kept, LEEWAY, TENANT_TOKEN_LIFE},
};
use moka::sync::Cache;

/// Tokens kept, about a kilobyte each: more than people have dashboards open at a time. Whoever fills it with tokens of
/// their own makes others pay a signature check, no more.
const CAPACITY: u64 = 10_000;
/// When an entry is of no use to anybody any more. Not what ends a token: that is asked at every use.
const LIFE: Duration = Duration::from_secs((TENANT_TOKEN_LIFE + 2 * LEEWAY).unsigned_abs());

/// Verifies tenant tokens and remembers which it has verified.
pub(crate) struct VerifiedTokens {
    verifier: TenantVerifier,
    /// By the SHA-256 of the whole token, so that no entry is ever found by another token and no token is kept.
    known: Cache<[u8; 32], Kept>,
}

impl VerifiedTokens {
    pub(crate) fn new(verifier: TenantVerifier) -> Self {
        Self { verifier, known: Cache::builder().max_capacity(CAPACITY).time_to_live(LIFE).build() }
    }

    /// The scope of a token that is valid now. Whether it was taken back is not asked here.
    pub(crate) fn verify(&self, token: &str) -> Result<Arc<TenantScope>, VerifyError> {
        // Before anything is computed over it.
        if token.len() > MAX_TOKEN_BYTES {
            return Err(VerifyError::TooLarge);
        }
        let key = sha256(token.as_bytes());
        if let Some(kept) = self.known.get(&key) {
            match self.verifier.recheck(&kept) {
                Ok(scope) => return Ok(scope),
                // What no longer holds is verified anew, which says why it is refused if it is.
                Err(_) => self.known.invalidate(&key),
            }
        }
        let kept = self.verifier.verify_to_keep(token)?;
        let scope = self.verifier.recheck(&kept)?;
        self.known.insert(key, kept);
        Ok(scope)
    }
}

#[cfg(test)]
mod tests {
    use kyros_shared_config::{Issuer, clock::unix_now};

    use super::*;
    use crate::testing;

    fn parts() -> (Issuer, VerifiedTokens) {
        let (issuer, verifier) = testing::issuer();
        (issuer, VerifiedTokens::new(verifier))
    }

    fn token(issuer: &Issuer, session: &str, not_after: i64) -> String {
        testing::token(issuer, "acme", "clv", session, not_after)
    }

    #[test]
    fn a_token_is_verified_once_and_never_taken_for_another() {
        let (issuer, tokens) = parts();
        let (one, other) = (token(&issuer, "s1", i64::MAX), token(&issuer, "s2", i64::MAX));
        for _ in 0..2 {
            assert_eq!(tokens.verify(&one).unwrap().session(), "s1");
            assert_eq!(tokens.verify(&other).unwrap().session(), "s2");
        }
        assert!(Arc::ptr_eq(&tokens.verify(&one).unwrap(), &tokens.verify(&one).unwrap()), "the second time is known");
        tokens.known.run_pending_tasks();
        assert_eq!(tokens.known.entry_count(), 2);
    }

    #[test]
    fn a_known_token_does_not_make_a_changed_one_valid() {
        let (issuer, tokens) = parts();
        let good = token(&issuer, "s1", i64::MAX);
        tokens.verify(&good).unwrap();
        let last = if good.ends_with('A') { 'Q' } else { 'A' };
        let changed = format!("{}{last}", &good[..good.len() - 1]);
        for bad in [changed.as_str(), &good[..good.len() - 4], &format!("{good}A"), &format!("{good}\n"), ""] {
            assert!(tokens.verify(bad).is_err(), "{bad}");
        }
        assert_eq!(tokens.verify(&"a".repeat(MAX_TOKEN_BYTES + 1)).err(), Some(VerifyError::TooLarge));
        tokens.known.run_pending_tasks();
        assert_eq!(tokens.known.entry_count(), 1, "a refusal is not kept");
    }

    #[test]
    fn a_token_that_ends_is_refused_although_it_is_known() {
        let (issuer, tokens) = parts();
        // Valid for one second more, by the leeway.
        let ending = token(&issuer, "s1", unix_now() - LEEWAY + 2);
        assert!(tokens.verify(&ending).is_ok() && tokens.verify(&ending).is_ok());
        std::thread::sleep(Duration::from_millis(2100));
        assert_eq!(tokens.verify(&ending).err(), Some(VerifyError::Expired));
        tokens.known.run_pending_tasks();
        assert_eq!(tokens.known.entry_count(), 0);
    }

    #[test]
    fn no_more_tokens_are_kept_than_the_bound_says() {
        let (issuer, tokens) = parts();
        let kept = tokens.verifier.verify_to_keep(&token(&issuer, "s1", i64::MAX)).ok().unwrap();
        for n in 0..2 * CAPACITY {
            tokens.known.insert(sha256(&n.to_be_bytes()), kept.clone());
        }
        tokens.known.run_pending_tasks();
        assert!(tokens.known.entry_count() <= CAPACITY, "{}", tokens.known.entry_count());
    }
}
