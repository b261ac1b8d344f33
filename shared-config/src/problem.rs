//! Errors for programs: `application/problem+json` (RFC 9457) with a stable type and the id of the decision.

use http::{HeaderValue, Response, StatusCode, header};
use serde::{Deserialize, Serialize};

/// The media type of a problem document.
pub const MEDIA_TYPE: &str = "application/problem+json";
/// Every `type` starts with this.
pub const TYPE_PREFIX: &str = "urn:kyros:problem:";

/// The part of a request that something is wrong with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Location {
    /// A JSON pointer into the body (RFC 6901); empty for the whole body.
    Pointer(String),
    /// The name of a query parameter.
    Parameter(String),
}

/// One thing wrong with one part of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Detail {
    /// Where it is: a member `pointer` or `parameter`.
    #[serde(flatten)]
    pub location: Location,
    /// A stable word for the kind of mistake.
    pub code: String,
    /// A sentence for people.
    pub detail: String,
    /// What would have been right.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowed: Vec<String>,
}

/// A problem document (RFC 9457, section 3).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Identifies the kind of problem: [`TYPE_PREFIX`] and a code.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What to do about this occurrence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The decision, as the audit log and `X-Request-Id` name it.
    pub instance: String,
    /// Every mistake in the request, when there are several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<Detail>,
}

impl Problem {
    /// A problem of the kind `code`, under the id of the decision that refused the request.
    pub fn new(status: StatusCode, code: &str, title: &str, decision: &str) -> Self {
        Self {
            kind: format!("{TYPE_PREFIX}{code}"),
            title: title.to_owned(),
            status: status.as_u16(),
            detail: None,
            instance: format!("urn:kyros:decision:{decision}"),
            errors: Vec::new(),
        }
    }

    /// Adds a sentence on this occurrence. Never put a name into it that the asker may not know.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Adds the single mistakes.
    #[must_use]
    pub fn with_errors(mut self, errors: Vec<Detail>) -> Self {
        self.errors = errors;
        self
    }

    /// The id of the decision.
    pub fn decision(&self) -> &str {
        self.instance.strip_prefix("urn:kyros:decision:").unwrap_or_default()
    }

    /// 401 (RFC 6750, section 3): the same words whatever was wrong with the token.
    pub fn unauthorized(decision: &str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", "A valid token is required", decision)
    }

    /// 404: for what does not exist and for what is not yours, in the same words.
    pub fn not_found(decision: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "There is nothing here for you", decision)
    }

    /// The body.
    pub fn to_json(&self) -> Vec<u8> {
        // A struct of strings and numbers always serialises.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// A whole answer, not to be stored by anybody.
    pub fn into_response<B: From<Vec<u8>>>(self) -> Response<B> {
        let mut response = Response::new(B::from(self.to_json()));
        *response.status_mut() = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if let Ok(value) = HeaderValue::from_str(self.decision())
            && !value.is_empty()
        {
            headers.insert(crate::headers::REQUEST_ID, value);
        }
        if self.status == StatusCode::UNAUTHORIZED.as_u16() {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(r#"Bearer realm="kyros""#));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_has_the_members_of_rfc9457_and_its_decision() {
        let response: Response<Vec<u8>> = Problem::not_found("d1").into_response();
        assert_eq!(response.status(), StatusCode::NOT_FOUND);
        assert_eq!(response.headers()[header::CONTENT_TYPE], MEDIA_TYPE);
        assert_eq!(response.headers()["x-request-id"], "d1");
        let body = String::from_utf8(response.into_body()).unwrap();
        assert_eq!(
            body,
            r#"{"type":"urn:kyros:problem:not-found","title":"There is nothing here for you","status":404,"instance":"urn:kyros:decision:d1"}"#
        );
    }

    #[test]
    fn a_mistake_names_its_place_as_a_pointer_or_as_a_parameter() {
        for (location, expected) in [
            (Location::Pointer("/sort/0".to_owned()), r#"{"pointer":"/sort/0","code":"c","detail":"d"}"#),
            (Location::Parameter("sort".to_owned()), r#"{"parameter":"sort","code":"c","detail":"d"}"#),
        ] {
            let mistake = Detail { location, code: "c".to_owned(), detail: "d".to_owned(), allowed: Vec::new() };
            assert_eq!(serde_json::to_string(&mistake).unwrap(), expected);
            assert_eq!(serde_json::from_str::<Detail>(expected).unwrap(), mistake);
        }
    }

    #[test]
    fn a_401_says_how_to_authenticate_and_not_why_it_failed() {
        let response: Response<Vec<u8>> = Problem::unauthorized("d1").into_response();
        assert_eq!(response.headers()[header::WWW_AUTHENTICATE], r#"Bearer realm="kyros""#);
    }
}
