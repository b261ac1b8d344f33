//! The text of a token before any cryptography: size, shape, header. Most attacks end here, at no cost.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::Algorithm;
use serde::Deserialize;

use crate::VerifyError;

/// Longest token that is looked at, in bytes.
pub const MAX_TOKEN_BYTES: usize = 8 * 1024;
/// Longest key id.
pub const MAX_KID_LENGTH: usize = 64;

/// The only header members that a token may carry. Everything else (`crit`, `jku`, `jwk`, `x5u`, `b64`, …) would ask the
/// verifier to trust something that the sender wrote (RFC 8725, sections 3.1, 3.8 and 3.10).
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TokenHeader {
    pub(crate) alg: String,
    #[serde(default)]
    pub(crate) typ: Option<String>,
    pub(crate) kid: String,
}

/// A token taken apart, nothing of it verified.
pub(crate) struct UnverifiedToken<'a> {
    pub(crate) header: TokenHeader,
    pub(crate) signing_input: &'a str,
    pub(crate) payload: &'a str,
    pub(crate) signature: &'a str,
}

impl<'a> UnverifiedToken<'a> {
    /// Refuses anything that is not three non-empty base64url parts with an allowed header.
    pub(crate) fn parse(token: &'a str) -> Result<Self, VerifyError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(VerifyError::TooLarge);
        }
        let is_base64url = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        if !token.bytes().all(|b| is_base64url(b) || b == b'.') {
            return Err(VerifyError::Shape);
        }
        let (signing_input, signature) = token.rsplit_once('.').ok_or(VerifyError::Shape)?;
        let (header, payload) = signing_input.split_once('.').ok_or(VerifyError::Shape)?;
        if payload.contains('.') || header.is_empty() || payload.is_empty() || signature.is_empty() {
            return Err(VerifyError::Shape);
        }
        let header: TokenHeader = from_base64url_json(header).map_err(|()| VerifyError::Header)?;
        let kid_is_plain = header.kid.bytes().all(is_base64url);
        if header.kid.is_empty() || header.kid.len() > MAX_KID_LENGTH || !kid_is_plain {
            return Err(VerifyError::Header);
        }
        Ok(Self { header, signing_input, payload, signature })
    }

    /// The claims, to be trusted only after the signature has been checked.
    pub(crate) fn claims<T: serde::de::DeserializeOwned>(&self) -> Result<T, VerifyError> {
        from_base64url_json(self.payload).map_err(|()| VerifyError::Claims)
    }

    /// The payload's bytes, for claims whose names are configured.
    pub(crate) fn payload_bytes(&self) -> Result<Vec<u8>, VerifyError> {
        URL_SAFE_NO_PAD.decode(self.payload).map_err(|_| VerifyError::Claims)
    }
}

fn from_base64url_json<T: serde::de::DeserializeOwned>(part: &str) -> Result<T, ()> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| ())?;
    read_object(&bytes).map_err(|_| ())
}

/// Reads a JSON object and nothing else: a derived struct would also take its members from an array, in their order.
pub(crate) fn read_object<T: serde::de::DeserializeOwned>(json: &[u8]) -> serde_json::Result<T> {
    if !json.trim_ascii_start().starts_with(b"{") {
        return Err(serde::de::Error::custom("not an object"));
    }
    serde_json::from_slice(json)
}

/// What the header's `typ` must be for a kind of token (RFC 8725, section 3.11).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenType {
    /// `at+jwt` (RFC 9068, section 2.1).
    AccessToken,
    /// `at+jwt`, or `JWT`, or none: providers that do not follow RFC 9068 and Kubernetes' service-account tokens.
    AsItsIssuerDoes,
}

impl TokenType {
    pub(crate) fn accepts(self, typ: Option<&str>) -> bool {
        let bare = typ.map(str::to_ascii_lowercase);
        let bare = bare.as_deref().map(|value| value.strip_prefix("application/").unwrap_or(value));
        match self {
            Self::AccessToken => bare == Some("at+jwt"),
            Self::AsItsIssuerDoes => matches!(bare, None | Some("at+jwt" | "jwt")),
        }
    }
}

/// The signature algorithms that Kyros verifies; `none` and all of HMAC are not among them.
pub(crate) fn algorithm_named(name: &str) -> Option<Algorithm> {
    match name {
        "ES256" => Some(Algorithm::ES256),
        "RS256" => Some(Algorithm::RS256),
        "EdDSA" => Some(Algorithm::EdDSA),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_header(header: &str) -> String {
        format!("{}.e30.c2ln", URL_SAFE_NO_PAD.encode(header))
    }

    #[test]
    fn only_three_base64url_parts_are_a_token() {
        let good = with_header(r#"{"alg":"ES256","kid":"k"}"#);
        assert!(UnverifiedToken::parse(&good).is_ok());
        for bad in
            ["", "a", "a.b", "a.b.c.d", "..", "a..c", &format!("{good}\n"), &format!("{good}="), &format!(" {good}")]
        {
            assert!(UnverifiedToken::parse(bad).is_err(), "{bad:?}");
        }
        assert!(matches!(UnverifiedToken::parse(&"a".repeat(MAX_TOKEN_BYTES + 1)), Err(VerifyError::TooLarge)));
    }

    #[test]
    fn headers_that_ask_for_trust_are_refused() {
        for header in [
            r#"{"alg":"ES256"}"#,
            r#"{"alg":"ES256","kid":""}"#,
            r#"{"alg":"ES256","kid":"../../etc/passwd"}"#,
            r#"{"alg":"ES256","kid":"k","crit":["x"]}"#,
            r#"{"alg":"ES256","kid":"k","jku":"http://evil"}"#,
            r#"{"alg":"ES256","kid":"k","jwk":{}}"#,
            r#"{"alg":"ES256","kid":"k","x5c":[]}"#,
            r#"{"alg":"ES256","kid":"k","b64":false}"#,
            r#"{"alg":"ES256","alg":"none","kid":"k"}"#,
            r#"{"alg":5,"kid":"k"}"#,
            "[]",
            r#"["ES256","at+jwt","k"]"#,
        ] {
            assert!(UnverifiedToken::parse(&with_header(header)).is_err(), "{header}");
        }
    }

    #[test]
    fn hmac_and_none_are_no_algorithms_here() {
        for name in ["none", "None", "HS256", "HS512", "", "es256"] {
            assert_eq!(algorithm_named(name), None, "{name}");
        }
    }

    #[test]
    fn kinds_of_token_are_told_apart_by_typ() {
        assert!(TokenType::AccessToken.accepts(Some("application/AT+JWT")));
        for typ in [None, Some("JWT"), Some("logout+jwt"), Some("dpop+jwt")] {
            assert!(!TokenType::AccessToken.accepts(typ), "{typ:?}");
        }
        assert!(!TokenType::AsItsIssuerDoes.accepts(Some("id+jwt")));
    }
}
