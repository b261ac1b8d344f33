//! The form of a token request: one media type, every parameter at most once (RFC 6749, section 3.2).

use axum::{
    body::Bytes,
    extract::{FromRequest, Request},
    http::{Method, header},
};

use super::OAuthError;

/// A form's parameters.
#[derive(Debug, Default)]
pub(crate) struct OAuthForm(Vec<(String, String)>);

/// Only these may stand twice (RFC 8693, section 2.1); here they still must not, since a token has one target.
const MAX_PARAMETERS: usize = 32;

impl OAuthForm {
    /// Reads a form's text; a repeated parameter is refused.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, OAuthError> {
        let mut parameters: Vec<(String, String)> = Vec::new();
        for (name, value) in url::form_urlencoded::parse(text) {
            if parameters.iter().any(|(known, _)| *known == name) {
                return Err(OAuthError::invalid_request("a parameter is there twice"));
            }
            if parameters.len() == MAX_PARAMETERS {
                return Err(OAuthError::invalid_request("too many parameters"));
            }
            parameters.push((name.into_owned(), value.into_owned()));
        }
        Ok(Self(parameters))
    }

    /// A parameter's value; an empty one counts as absent (RFC 6749, section 3.2).
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    /// A parameter that must be there.
    pub(crate) fn required(&self, name: &str) -> Result<&str, OAuthError> {
        self.get(name).ok_or_else(|| OAuthError::invalid_request("a required parameter is missing"))
    }
}

/// Whether the body is a form.
pub(crate) fn is_form(headers: &axum::http::HeaderMap) -> bool {
    media_type(headers).is_some_and(|kind| kind.eq_ignore_ascii_case("application/x-www-form-urlencoded"))
}

/// The bare media type of the body.
pub(crate) fn media_type(headers: &axum::http::HeaderMap) -> Option<&str> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    Some(value.split(';').next().unwrap_or_default().trim())
}

impl<S: Send + Sync> FromRequest<S> for OAuthForm {
    type Rejection = OAuthError;

    async fn from_request(request: Request, state: &S) -> Result<Self, OAuthError> {
        if request.method() != Method::POST || !is_form(request.headers()) {
            return Err(OAuthError::invalid_request("send a form: application/x-www-form-urlencoded"));
        }
        let body = Bytes::from_request(request, state)
            .await
            .map_err(|_| OAuthError::invalid_request("the form is too large or broke off"))?;
        Self::parse(&body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_stands_once_or_the_request_is_invalid() {
        assert_eq!(OAuthForm::parse(b"a=1&b=").unwrap().get("a"), Some("1"));
        assert_eq!(OAuthForm::parse(b"a=1&b=").unwrap().get("b"), None);
        assert_eq!(OAuthForm::parse(b"a=1&a=1").unwrap_err().code, "invalid_request");
    }
}
