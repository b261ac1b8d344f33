//! The header rules in both directions: strip, then inject, always in this order and for upgrades too.

use http::{HeaderMap, HeaderName, HeaderValue, Uri, header};
use kyros_shared_config::headers;

use crate::{cookies, identity::Identity, upstream::UpstreamAddress};

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

/// How many fields [`inject`] writes, at most.
const INJECTED: usize = 12;

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

/// Who may load an answer as an image, a script or a style (Fetch, section 3.7): only pages of the same host.
const CROSS_ORIGIN_RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// Where a request came from, as the sidecar knows it.
pub(crate) struct Origin<'a> {
    /// The client's own address, or the gateway's.
    pub(crate) peer: Option<&'a HeaderValue>,
    /// The gateway says where the client is, and is believed.
    pub(crate) is_peer_trusted: bool,
    pub(crate) proto: &'static str,
    pub(crate) request_id: HeaderValue,
    pub(crate) traceparent: Option<HeaderValue>,
}

/// Makes a client's headers the dashboard's: strip, then inject.
pub(crate) fn prepare_request(headers: &mut HeaderMap, identity: &Identity, origin: Origin<'_>) {
    let told = if origin.is_peer_trusted { headers.get(headers::FORWARDED_FOR).cloned() } else { None };
    strip_request(headers);
    inject(headers, identity, origin, told);
}

/// Removes everything that a client could use to speak in the sidecar's name. The only place where this is decided.
pub(crate) fn strip_request(headers: &mut HeaderMap) {
    // First the one that nearly every request brings, so that all others are looked at only once.
    headers.remove(header::AUTHORIZATION);
    remove_all(headers, |name| is_hop_by_hop(name) || headers::is_reserved(name));
    cookies::strip_ours(headers);
}

/// Writes who asks. `insert` throughout: a value of ours never stands beside another.
fn inject(headers: &mut HeaderMap, identity: &Identity, origin: Origin<'_>, told: Option<HeaderValue>) {
    headers.reserve(INJECTED);
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
    if let Some(client) = told.or_else(|| origin.peer.cloned()) {
        headers.insert(headers::FORWARDED_FOR, client);
    }
    headers.insert(headers::REQUEST_ID, origin.request_id);
    if let Some(traceparent) = origin.traceparent {
        headers.insert(headers::TRACEPARENT, traceparent);
    }
}

/// Whether a field is of one connection only. Names are in lower case.
pub(crate) fn is_hop_by_hop(name: &str) -> bool {
    matches!(name.as_bytes().first(), Some(b'c' | b'e' | b'h' | b'k' | b'p' | b't' | b'u'))
        && HOP_BY_HOP.contains(&name)
}

/// Removes every field whose name is doomed; there are few or none, so nothing is gathered.
pub(crate) fn remove_all(headers: &mut HeaderMap, is_doomed: impl Fn(&str) -> bool) {
    while let Some(name) = headers.keys().find(|name| is_doomed(name.as_str())).cloned() {
        headers.remove(name);
    }
}

/// Asks the upstream for the WebSocket that the client asked for, in our own words.
pub(crate) fn inject_upgrade(headers: &mut HeaderMap) {
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
}

/// Cleans a dashboard's answer and adds what protects it in a browser: who may frame it, and that nobody else stores it.
pub(crate) fn rewrite_response(
    headers: &mut HeaderMap,
    frame_ancestors: &HeaderValue,
    request_id: HeaderValue,
    upstream: &UpstreamAddress,
) {
    let present = Present::in_answer(headers);
    if present.connection {
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
    }
    // Ours, and those by which a dashboard would open its answers to the pages of other tenants' hosts: to a browser these
    // are of the same site, so it sends them this tenant's cookies.
    let is_ours = |name: &str| name.starts_with("x-kyros-") || name.starts_with("access-control-");
    if present.content_length {
        keep_one_length(headers);
    }
    remove_all(headers, |name| {
        is_ours(name) || is_hop_by_hop(name) || FROM_DASHBOARDS_DROPPED.contains(&name) || speaks_to_proxies(name)
    });
    if present.set_cookie {
        cookies::filter_set_cookies(headers);
    }
    if present.location {
        keep_redirect_here(headers, upstream);
    }
    headers.insert(CROSS_ORIGIN_RESOURCE_POLICY, HeaderValue::from_static("same-origin"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // A second policy beside the dashboard's own: browsers enforce both. Who may frame is not the dashboard's to say, as with
    // `X-Frame-Options`: Jupyter's `frame-ancestors 'self'` would shut the portal out.
    if present.policy {
        remove_frame_ancestors(headers);
    }
    headers.append(header::CONTENT_SECURITY_POLICY, frame_ancestors.clone());
    make_private(headers, present.cache_control);
    headers.insert(headers::REQUEST_ID, request_id);
}

/// Which of the fields that have rules of their own an answer brought: one look at the names is cheaper than asking for each.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a field of an answer")]
struct Present {
    connection: bool,
    content_length: bool,
    set_cookie: bool,
    location: bool,
    policy: bool,
    cache_control: bool,
}

impl Present {
    fn in_answer(headers: &HeaderMap) -> Self {
        let mut present = Self::default();
        for name in headers.keys() {
            present.connection |= *name == header::CONNECTION;
            present.content_length |= *name == header::CONTENT_LENGTH;
            present.set_cookie |= *name == header::SET_COOKIE;
            present.location |= *name == header::LOCATION;
            present.policy |= *name == header::CONTENT_SECURITY_POLICY;
            present.cache_control |= *name == header::CACHE_CONTROL;
        }
        present
    }
}

/// Takes the directive `frame-ancestors` out of every policy of the dashboard's; all others stay as they are (Content Security
/// Policy Level 3, section 2.2: directives are parted by `;`, policies by `,`, and names know no case). A policy that is no
/// text stays too: it can only forbid.
fn remove_frame_ancestors(headers: &mut HeaderMap) {
    let policies: Vec<HeaderValue> = headers.get_all(header::CONTENT_SECURITY_POLICY).iter().cloned().collect();
    headers.remove(header::CONTENT_SECURITY_POLICY);
    for policy in policies {
        let left = policy.to_str().ok().and_then(|text| HeaderValue::from_str(&without_frame_ancestors(text)).ok());
        let left = left.unwrap_or(policy);
        if !left.is_empty() {
            headers.append(header::CONTENT_SECURITY_POLICY, left);
        }
    }
}

fn without_frame_ancestors(policies: &str) -> String {
    let is_kept = |directive: &&str| {
        let name = directive.split_ascii_whitespace().next().unwrap_or_default();
        !name.is_empty() && !name.eq_ignore_ascii_case("frame-ancestors")
    };
    let kept = |policy: &str| policy.split(';').map(str::trim).filter(is_kept).collect::<Vec<_>>().join("; ");
    policies.split(',').map(kept).filter(|policy| !policy.is_empty()).collect::<Vec<_>>().join(", ")
}

/// What a cache or a server in front would obey: caching of its own, or files to send in the answer's place. How long an event
/// stream may be held back (`X-Accel-Buffering`) is a dashboard's to say.
fn speaks_to_proxies(name: &str) -> bool {
    name.ends_with("cdn-cache-control")
        || (name.starts_with("x-accel-") && name != "x-accel-buffering")
        || matches!(name, "x-sendfile" | "x-lighttpd-send-file")
}

/// A length beside `Transfer-Encoding`, or one that is not one plain number, is not passed on: what hyper read is what counts
/// (RFC 9112, sections 6.1 and 6.3).
fn keep_one_length(headers: &mut HeaderMap) {
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    let Some(first) = lengths.next() else { return };
    let is_plain = first.as_bytes().iter().all(u8::is_ascii_digit) && !first.is_empty();
    if !is_plain || lengths.next().is_some() || headers.contains_key(header::TRANSFER_ENCODING) {
        headers.remove(header::CONTENT_LENGTH);
    }
}

/// A dashboard that takes its own loopback address for its name would send the browser there. Where else it sends people is
/// its own affair; the sidecar follows nothing.
fn keep_redirect_here(headers: &mut HeaderMap, upstream: &UpstreamAddress) {
    let Some(port) = upstream.port() else { return };
    let Some(location) = headers.get(header::LOCATION).and_then(|to| to.to_str().ok()) else { return };
    // `http::Uri` forgets a fragment, which the browser is meant to see.
    let (address, fragment) = location.split_once('#').map_or((location, None), |(a, f)| (a, Some(f)));
    let Ok(target) = address.parse::<Uri>() else { return };
    let is_loopback = matches!(target.host(), Some("localhost" | "127.0.0.1" | "0.0.0.0" | "[::1]"));
    if is_loopback
        && target.port_u16() == Some(port)
        && let Some(path) = target.path_and_query()
    {
        // A browser takes `//name` and `/\name` for another host.
        let path = path.as_str().trim_start_matches(['/', '\\']);
        let fragment = fragment.map(|fragment| format!("#{fragment}")).unwrap_or_default();
        if let Ok(here) = HeaderValue::from_str(&format!("/{path}{fragment}")) {
            headers.insert(header::LOCATION, here);
        }
    }
}

/// No shared cache may keep a tenant's answer: `public` and `s-maxage` go, `private` comes.
fn make_private(headers: &mut HeaderMap, is_stated: bool) {
    headers.append(header::VARY, HeaderValue::from_static("Cookie, Authorization"));
    if !is_stated {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
        return;
    }
    let mut lines = headers.get_all(header::CACHE_CONTROL).iter().map(HeaderValue::as_bytes);
    if matches!((lines.next(), lines.next()), (None, _) | (Some(b"no-store" | b"private, no-store"), None)) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
        return;
    }
    let lines: Result<Vec<&str>, _> = headers.get_all(header::CACHE_CONTROL).iter().map(HeaderValue::to_str).collect();
    // A quoted list of fields cannot be taken apart at its commas; what is not understood is not stored.
    let stated = lines.map(|lines| lines.join(",")).ok().filter(|text| !text.contains('"'));
    let is_kept = |directive: &&str| {
        let name = directive.split('=').next().unwrap_or_default().trim().to_ascii_lowercase();
        !directive.is_empty() && name != "public" && name != "private" && !name.starts_with("s-maxage")
    };
    // Commas alone say as little as no line at all.
    let stated = stated.filter(|text| text.split(',').any(|directive| !directive.trim().is_empty()));
    let directives = stated.as_deref().unwrap_or("no-store").split(',').map(str::trim).filter(is_kept);
    let private = std::iter::once("private").chain(directives).collect::<Vec<_>>().join(", ");
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_str(&private).unwrap_or(HeaderValue::from_static("private, no-store")),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upstream() -> UpstreamAddress {
        "127.0.0.1:8050".parse().unwrap()
    }

    #[test]
    fn a_redirect_to_the_dashboards_own_address_stays_on_its_host() {
        for (location, expected) in [
            ("http://127.0.0.1:8050/a?b=c", "/a?b=c"),
            ("http://localhost:8050", "/"),
            ("http://localhost:8050/a#b", "/a#b"),
            ("http://localhost:8050?b=c", "/?b=c"),
            ("http://localhost:8050//evil.example/a", "/evil.example/a"),
            (r"http://localhost:8050/\evil.example", "/evil.example"),
            ("http://localhost:8051/a", "http://localhost:8051/a"),
            ("https://elsewhere.example:8050/a", "https://elsewhere.example:8050/a"),
            ("//evil/a", "//evil/a"),
            ("/a", "/a"),
        ] {
            let mut answer = HeaderMap::new();
            answer.insert(header::LOCATION, location.parse().unwrap());
            keep_redirect_here(&mut answer, &upstream());
            assert_eq!(answer[header::LOCATION], expected);
        }
    }

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
        answer.insert("access-control-allow-origin", "*".parse().unwrap());
        answer.insert("access-control-allow-credentials", "true".parse().unwrap());
        rewrite_response(
            &mut answer,
            &HeaderValue::from_static("frame-ancestors http://kyros.localhost"),
            HeaderValue::from_static("r1"),
            &upstream(),
        );
        assert_eq!(answer[header::CACHE_CONTROL], "private, max-age=60");
        let policies: Vec<_> = answer.get_all(header::CONTENT_SECURITY_POLICY).iter().collect();
        assert_eq!(policies, ["default-src 'self'", "frame-ancestors http://kyros.localhost"]);
        assert!(!answer.contains_key("server") && !answer.contains_key("x-secret"));
        assert!(!answer.keys().any(|name| name.as_str().starts_with("access-control-")));
        assert_eq!(answer["cross-origin-resource-policy"], "same-origin");
        assert_eq!(answer["x-request-id"], "r1");
    }

    #[test]
    fn a_dashboard_does_not_say_who_may_frame_it() {
        for (own, expected) in [
            (&["frame-ancestors 'self'"][..], &[][..]),
            (&["frame-ancestors 'self'; report-uri /report"], &["report-uri /report"]),
            (&["Default-Src 'self';FRAME-ANCESTORS 'none' ;"], &["Default-Src 'self'"]),
            (&["frame-ancestors 'none', script-src 'self'"], &["script-src 'self'"]),
            (&["img-src *", "frame-ancestors\thttps://a.example"], &["img-src *"]),
            (&["frame-ancestors-of x; frame-src 'none'"], &["frame-ancestors-of x; frame-src 'none'"]),
        ] {
            let mut answer: HeaderMap =
                own.iter().map(|policy| (header::CONTENT_SECURITY_POLICY, policy.parse().unwrap())).collect();
            let ours = HeaderValue::from_static("frame-ancestors http://kyros.localhost");
            rewrite_response(&mut answer, &ours, HeaderValue::from_static("r1"), &upstream());
            let policies: Vec<_> = answer.get_all(header::CONTENT_SECURITY_POLICY).iter().collect();
            assert_eq!(policies, [expected, &["frame-ancestors http://kyros.localhost"]].concat(), "{own:?}");
        }
    }

    #[test]
    fn every_line_on_caching_counts() {
        for (lines, expected) in [
            (&["max-age=60", "no-store"][..], "private, max-age=60, no-store"),
            (&["no-store", "max-age=60"], "private, no-store, max-age=60"),
            (&["max-age=60, PUBLIC=1", "s-maxage = 9"], "private, max-age=60"),
            (&["private=\"set-cookie, x-own\", max-age=60"], "private, no-store"),
            (&[",, "], "private, no-store"),
        ] {
            let mut answer: HeaderMap =
                lines.iter().map(|line| (header::CACHE_CONTROL, line.parse().unwrap())).collect();
            make_private(&mut answer, true);
            assert_eq!(answer.get_all(header::CACHE_CONTROL).iter().collect::<Vec<_>>(), [expected], "{lines:?}");
        }
    }

    #[test]
    fn an_answer_without_a_word_on_caching_is_not_stored() {
        let mut answer = HeaderMap::new();
        rewrite_response(
            &mut answer,
            &HeaderValue::from_static("frame-ancestors 'none'"),
            HeaderValue::from_static("r1"),
            &upstream(),
        );
        assert_eq!(answer[header::CACHE_CONTROL], "private, no-store");
    }
}
