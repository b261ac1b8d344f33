//! The small pages that people see when a dashboard cannot be shown: what happened, and one way on. And the script beside the
//! portal's frame.

use std::sync::LazyLock;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use kyros_shared_config::{PublicUrl, crypto::sha256};

use crate::{answer::Refusal, bodies::Body};

const STYLE: &str = include_str!("../assets/page.css");
const EMBED: &str = include_str!("../assets/embed.js");
/// Where dashboards find the script.
pub(crate) const EMBED_PATH: &str = "/.kyros/embed.js";
/// Browsers may keep the script for so long; an upgrade is seen after it at the latest.
const KEEP_EMBED: &str = "private, max-age=300";

/// The style is part of the page, as this host's paths are the dashboard's; so the policy names it by its hash (CSP 3, section 6.7.3).
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let hash = BASE64_STANDARD.encode(sha256(STYLE.as_bytes()));
    let policy = format!("default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'");
    HeaderValue::from_str(&policy).unwrap_or(HeaderValue::from_static("default-src 'none'"))
});

/// What a page says.
pub(crate) struct Text<'a> {
    pub(crate) title: &'a str,
    pub(crate) advice: &'a str,
    pub(crate) action: Action,
}

/// The one way on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// The same address again; the page does so by itself after these seconds.
    Again(u16),
    /// The dashboard's first page.
    Start,
}

impl Refusal {
    /// What a person can do about it.
    pub(crate) fn text(self) -> Text<'static> {
        let advice = match (self.code, self.status) {
            ("dashboard-starting", _) => {
                "It may be starting, or it may have stopped. This page shows it as soon as it answers."
            }
            ("dashboard-timeout" | "dashboard-broken", _) => {
                "The dashboard itself has a problem; your other dashboards still work. Try again, or tell the people who run it."
            }
            ("identity-unavailable" | "no-keys", _) => {
                "This page tries again by itself. Nothing that you entered is lost."
            }
            (_, StatusCode::TOO_MANY_REQUESTS) | ("dashboard-busy", _) => {
                "This page tries again by itself in a moment."
            }
            (_, StatusCode::NOT_FOUND) => "This address does not exist, or it is not open to you.",
            _ => "The address or what was sent with it cannot be used. Begin at the dashboard's first page.",
        };
        let action = match self.retry_after {
            Some(seconds) => Action::Again(seconds.max(2)),
            None if self.status.is_server_error() => Action::Again(10),
            None => Action::Start,
        };
        Text { title: self.title, advice, action }
    }
}

/// A page of our own: no script, no style from elsewhere, nothing to store.
pub(crate) fn page(status: StatusCode, text: &Text<'_>, decision: &str) -> Response<Body> {
    let Text { title, advice, action } = text;
    let (refresh, link) = match action {
        Action::Again(seconds) => {
            (format!("<meta http-equiv=\"refresh\" content=\"{seconds}\">"), "<a href=\"\">Try again</a>")
        }
        Action::Start => (String::new(), "<a href=\"/\">Open the dashboard</a>"),
    };
    let html = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width,initial-scale=1\"><meta name=\"color-scheme\" content=\"light dark\">{refresh}\
         <title>{title} · Kyros</title><style>{STYLE}</style></head><body><main><h1>{title}</h1><p>{advice}</p><p>{link}</p>\
         <p><small>Decision <code>{decision}</code></small></p></main></body></html>"
    );
    let mut response = Response::new(Body::from(Bytes::from(html)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::CONTENT_SECURITY_POLICY, POLICY.clone());
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    if let Ok(value) = HeaderValue::from_str(decision) {
        headers.insert(kyros_shared_config::headers::REQUEST_ID, value);
    }
    response
}

/// The script beside the portal's frame. It holds nothing but the portal's address, so it is the same for every host.
pub(crate) fn embed_script(portal: &PublicUrl) -> Response<Body> {
    // An origin has no character that could end the string.
    let script = EMBED.replacen("$PORTAL", &portal.origin(), 1);
    let mut response = Response::new(Body::from(Bytes::from(script)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/javascript; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(KEEP_EMBED));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_by_itself_is_tried_again_by_itself() {
        assert_eq!(Refusal::UPSTREAM_DOWN.text().action, Action::Again(2));
        assert_eq!(Refusal::UPSTREAM_TIMEOUT.text().action, Action::Again(10));
        assert_eq!(Refusal::NOT_FOUND.text().action, Action::Start);
    }

    #[test]
    fn the_script_talks_to_the_portal_and_to_nobody_else() {
        let portal: PublicUrl = "https://kyros.example:8443".parse().unwrap();
        assert_eq!(embed_script(&portal).status(), StatusCode::OK);
        let script = EMBED.replacen("$PORTAL", &portal.origin(), 1);
        assert!(script.contains("const PORTAL = \"https://kyros.example:8443\";") && !script.contains("$PORTAL"));
        assert!(!script.contains("\"*\""));
    }

    #[test]
    fn the_style_is_the_only_thing_that_the_policy_lets_in() {
        let response = page(StatusCode::BAD_GATEWAY, &Refusal::UPSTREAM_BROKEN.text(), "d");
        let policy = response.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'; style-src 'sha256-") && !policy.contains("unsafe"), "{policy}");
    }
}
