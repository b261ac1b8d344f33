//! The header rules in both directions: strip, then inject, always in this order and for upgrades too.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue, header};
use kyros_shared_config::headers;

use crate::{cookies, identity::Identity};

/// Fields of one connection, not of the message (RFC 9110, section 7.6.1), and what must not pass a proxy.
const HOP_BY_HOP: [&str; 11] = [
    "connection",
    "expect",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// What a dashboard may not say about its host: it would speak for the sidecar, or reach beyond this tenant.
const FROM_DASHBOARDS_DROPPED: [&str; 9] = [
    "alt-svc",
    "cdn-cache-control",
    "clear-site-data",
    "server",
    "service-worker-allowed",
    "strict-transport-security",
    "surrogate-control",
    "x-frame-options",
    "x-powered-by",
];

/// Where a request came from, as the sidecar knows it.
pub(crate) struct Origin<'a> {
    pub(crate) peer: Option<IpAddr>,
    /// Set by the gateway in front, and believed only where the settings say that there is one.
    pub(crate) forwarded_for: Option<&'a HeaderValue>,
    pub(crate) proto: &'static str,
    pub(crate) request_id: &'a str,
}

/// Removes everything that a client could use to speak in the sidecar's name. The only place where this is decided.
pub(crate) fn strip_request(headers: &mut HeaderMap) {
    let doomed: Vec<HeaderName> = headers
        .keys()
        .filter(|name| HOP_BY_HOP.contains(&name.as_str()) || headers::is_reserved(name.as_str()))
        .cloned()
        .collect();
    for name in doomed {
        headers.remove(name);
    }
    cookies::strip_ours(headers);
}

/// Writes who asks. `insert` throughout: a value of ours never stands beside another.
pub(crate) fn inject(headers: &mut HeaderMap, identity: &Identity, origin: &Origin<'_>) {
    headers.insert(header::AUTHORIZATION, identity.authorization.clone());
    headers.insert(headers::TENANT, identity.tenant.clone());
    headers.insert(headers::DASHBOARD, identity.dashboard.clone());
    headers.insert(headers::USER, identity.user.clone());
    if let Some(email) = &identity.email {
        headers.insert(headers::EMAIL, email.clone());
    }
    headers.insert(headers::ROLES, identity.roles.clone());
    headers.insert(headers::SESSION, identity.session.clone());
    headers.insert(headers::FORWARDED_PROTO, HeaderValue::from_static(origin.proto));
    if let Some(host) = headers.get(header::HOST).cloned() {
        headers.insert(headers::FORWARDED_HOST, host);
    }
    let peer = origin.peer.and_then(|peer| HeaderValue::from_str(&peer.to_string()).ok());
    if let Some(client) = origin.forwarded_for.cloned().or(peer) {
        headers.insert(headers::FORWARDED_FOR, client);
    }
    if let Ok(id) = HeaderValue::from_str(origin.request_id) {
        headers.insert(headers::REQUEST_ID, id);
    }
}

/// Asks the upstream for the WebSocket that the client asked for, in our own words.
pub(crate) fn inject_upgrade(headers: &mut HeaderMap) {
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
}

/// Cleans a dashboard's answer and adds what protects it in a browser: who may frame it, and that nobody else stores it.
pub(crate) fn rewrite_response(headers: &mut HeaderMap, frame_ancestors: &HeaderValue, request_id: &str) {
    let nominated: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in nominated {
        headers.remove(name);
    }
    for name in HOP_BY_HOP.iter().chain(&FROM_DASHBOARDS_DROPPED) {
        headers.remove(*name);
    }
    let ours: Vec<HeaderName> = headers.keys().filter(|name| name.as_str().starts_with("x-kyros-")).cloned().collect();
    for name in ours {
        headers.remove(name);
    }
    cookies::filter_set_cookies(headers);
    // A second policy beside the dashboard's own: browsers enforce both.
    headers.append(header::CONTENT_SECURITY_POLICY, frame_ancestors.clone());
    make_private(headers);
    if let Ok(id) = HeaderValue::from_str(request_id) {
        headers.insert(headers::REQUEST_ID, id);
    }
}

/// No shared cache may keep a tenant's answer: `public` and `s-maxage` go, `private` comes.
fn make_private(headers: &mut HeaderMap) {
    let stated = headers.get(header::CACHE_CONTROL).and_then(|value| value.to_str().ok());
    let directives: Vec<&str> = stated
        .unwrap_or("no-store")
        .split(',')
        .map(str::trim)
        .filter(|directive| {
            let lower = directive.to_ascii_lowercase();
            !lower.is_empty() && lower != "public" && lower != "private" && !lower.starts_with("s-maxage")
        })
        .collect();
    let private = std::iter::once("private").chain(directives).collect::<Vec<_>>().join(", ");
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_str(&private).unwrap_or(HeaderValue::from_static("private, no-store")),
    );
    headers.append(header::VARY, HeaderValue::from_static("Cookie, Authorization"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_carries_identity_survives_from_outside() {
        let mut request = HeaderMap::new();
        for (name, value) in [
            ("x-kyros-tenant", "globex"),
            ("x-kyros-anything", "1"),
            ("authorization", "Basic x"),
            ("x-forwarded-for", "1.2.3.4"),
            ("forwarded", "for=1.2.3.4"),
            ("x-original-url", "/admin"),
            ("proxy", "http://evil"),
            ("connection", "close"),
            ("te", "trailers"),
            ("upgrade", "h2c"),
            ("cookie", "kyros-app=s; own=1"),
            ("accept", "text/html"),
            ("host", "clv--acme.kyros.localhost"),
        ] {
            request.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }
        strip_request(&mut request);
        let mut left: Vec<&str> = request.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["accept", "cookie", "host"]);
        assert_eq!(request["cookie"], "own=1");
    }

    #[test]
    fn an_answer_is_private_and_framed_only_by_the_portal() {
        let mut answer = HeaderMap::new();
        answer.insert(header::CACHE_CONTROL, "public, max-age=60, s-maxage=600".parse().unwrap());
        answer.insert(header::CONTENT_SECURITY_POLICY, "default-src 'self'".parse().unwrap());
        answer.insert("server", "gunicorn".parse().unwrap());
        answer.insert(header::CONNECTION, "x-secret".parse().unwrap());
        answer.insert("x-secret", "1".parse().unwrap());
        rewrite_response(&mut answer, &HeaderValue::from_static("frame-ancestors http://kyros.localhost"), "r1");
        assert_eq!(answer[header::CACHE_CONTROL], "private, max-age=60");
        let policies: Vec<_> = answer.get_all(header::CONTENT_SECURITY_POLICY).iter().collect();
        assert_eq!(policies, ["default-src 'self'", "frame-ancestors http://kyros.localhost"]);
        assert!(!answer.contains_key("server") && !answer.contains_key("x-secret"));
        assert_eq!(answer["x-request-id"], "r1");
    }

    #[test]
    fn an_answer_without_a_word_on_caching_is_not_stored() {
        let mut answer = HeaderMap::new();
        rewrite_response(&mut answer, &HeaderValue::from_static("frame-ancestors 'none'"), "r1");
        assert_eq!(answer[header::CACHE_CONTROL], "private, no-store");
    }
}
