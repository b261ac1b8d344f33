//! The pre-forward gate: what a request must be before anybody looks at who sent it. Pure; one function per rule.
//!
//! Every rule here closes a class of request smuggling or identity forgery that was found in a proxy of the same kind. A
//! refusal answers and closes the connection.

use http::{HeaderMap, Method, Version, header, request::Parts, uri::Authority};

use crate::answer::Refusal;

/// Longest header name that is forwarded.
const MAX_HEADER_NAME: usize = 64;
/// Methods that dashboards get. CONNECT and TRACE have no meaning behind a reverse proxy.
const METHODS: [Method; 7] =
    [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS];
/// What `Connection` may name; naming anything else would strip it on the way (CVE-2025-48865).
const CONNECTION_OPTIONS: [&str; 4] = ["close", "keep-alive", "upgrade", "te"];

/// What the gate learnt about a request that passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Passed {
    /// The client asks for a WebSocket.
    pub(crate) websocket: bool,
    /// The declared length of the body.
    pub(crate) content_length: Option<u64>,
}

/// Runs every rule, in the order of their cost.
pub(crate) fn check(request: &Parts) -> Result<Passed, Refusal> {
    check_method(&request.method)?;
    check_target(request)?;
    check_host(&request.headers, request.version)?;
    let present = check_names(&request.headers)?;
    if present.connection {
        check_connection(&request.headers)?;
    }
    if present.transfer_encoding {
        check_transfer_encoding(&request.method, &request.headers, request.version)?;
    }
    let content_length = if present.content_length { check_content_length(&request.headers)? } else { None };
    if present.expect {
        check_expect(&request.headers)?;
    }
    let may_upgrade = present.connection || present.upgrade;
    let websocket = may_upgrade && check_upgrade(request, content_length)?;
    Ok(Passed { websocket, content_length })
}

/// Rule 5.
fn check_method(method: &Method) -> Result<(), Refusal> {
    if METHODS.contains(method) {
        return Ok(());
    }
    Err(Refusal::new(http::StatusCode::METHOD_NOT_ALLOWED, "method", "This method is not allowed here"))
}

/// Rule 2: origin-form only, visible ASCII, nothing that another parser would normalise to something else.
fn check_target(request: &Parts) -> Result<(), Refusal> {
    const BAD: Refusal = Refusal::bad_request("target", "The request's target is not a plain path");
    if request.uri.scheme().is_some() || request.uri.authority().is_some() {
        return Err(BAD);
    }
    let target = request.uri.path_and_query().map_or("", |target| target.as_str());
    if !target.starts_with('/') || !target.bytes().all(|byte| byte.is_ascii_graphic()) || target.contains('\\') {
        return Err(BAD);
    }
    let path = request.uri.path();
    if has_encoded_control(path) || segments(path).any(is_dot_segment) {
        return Err(BAD);
    }
    Ok(())
}

/// The parts between slashes, encoded ones too: WSGI servers decode a path before they take it apart.
fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').flat_map(|part| {
        let mut rest = Some(part);
        std::iter::from_fn(move || {
            let part = rest?;
            let slash = part.as_bytes().windows(3).position(|window| window.eq_ignore_ascii_case(b"%2f"));
            rest = slash.map(|at| &part[at + 3..]);
            Some(slash.map_or(part, |at| &part[..at]))
        })
    })
}

/// `.` and `..`, also percent-encoded: the dashboard's server may resolve them, the next proxy may not.
fn is_dot_segment(segment: &str) -> bool {
    // Servers of Java cut a segment at `;`, hence `..;`.
    if !segment.starts_with(['.', '%']) {
        return false;
    }
    let bare = segment.split(';').next().unwrap_or_default();
    if bare.len() > 6 {
        return false;
    }
    let decoded = bare.to_ascii_lowercase().replace("%2e", ".");
    decoded == "." || decoded == ".."
}

/// An encoded NUL, control character or backslash.
fn has_encoded_control(path: &str) -> bool {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    path.contains('%')
        && path.as_bytes().windows(3).any(|window| match (window[0], digit(window[1]), digit(window[2])) {
            (b'%', Some(high), Some(low)) => matches!(high * 16 + low, 0..0x20 | 0x7f | 0x5c),
            _ => false,
        })
}

/// Rule 1: exactly one `Host` of plain characters. Which hosts are served is decided by the caller.
fn check_host(headers: &HeaderMap, version: Version) -> Result<(), Refusal> {
    const BAD: Refusal = Refusal::bad_request("host", "Exactly one Host header is required");
    let mut hosts = headers.get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) => {
            if is_name_and_port(host.as_bytes()) {
                return Ok(());
            }
            let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b':' | b'[' | b']');
            let is_shaped =
                host.to_str().is_ok_and(|host| host.parse::<Authority>().is_ok_and(|a| !a.host().is_empty()));
            if host.as_bytes().iter().all(plain) && is_shaped { Ok(()) } else { Err(BAD) }
        }
        (None, _) if version == Version::HTTP_10 => Err(BAD),
        _ => Err(BAD),
    }
}

/// What nearly every `Host` is: a name and, where it has a colon, a port. All others are parsed.
fn is_name_and_port(host: &[u8]) -> bool {
    let is_in_name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
    match host.iter().position(|byte| !is_in_name(byte)) {
        None => !host.is_empty(),
        Some(end) => {
            // Below 60000, so that none is too large.
            let is_port = |port: &[u8]| match port {
                [first, _, _, _, _] => *first < b'6' && port.iter().all(u8::is_ascii_digit),
                _ => (1..=4).contains(&port.len()) && port.iter().all(u8::is_ascii_digit),
            };
            end > 0 && host[end..].strip_prefix(b":").is_some_and(is_port)
        }
    }
}

/// Which of the fields that have rules of their own are there; most requests have none of them.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a field of a request")]
struct Present {
    connection: bool,
    transfer_encoding: bool,
    content_length: bool,
    expect: bool,
    upgrade: bool,
}

/// Rule 6: no name that a WSGI or CGI server would fold into another one. Also finds what else is to be looked at.
fn check_names(headers: &HeaderMap) -> Result<Present, Refusal> {
    let folds = |name: &str| name.len() > MAX_HEADER_NAME || name.bytes().any(|byte| matches!(byte, b'_' | b'.'));
    let mut present = Present::default();
    for name in headers.keys() {
        if folds(name.as_str()) {
            return Err(Refusal::bad_request("header-name", "A header's name holds \"_\" or \".\", or is too long"));
        }
        present.connection |= *name == header::CONNECTION;
        present.transfer_encoding |= *name == header::TRANSFER_ENCODING;
        present.content_length |= *name == header::CONTENT_LENGTH;
        present.expect |= *name == header::EXPECT;
        present.upgrade |= *name == header::UPGRADE;
    }
    Ok(present)
}

/// Rule 7.
fn check_connection(headers: &HeaderMap) -> Result<(), Refusal> {
    const BAD: Refusal = Refusal::bad_request("connection", "The Connection header names something it may not");
    for value in headers.get_all(header::CONNECTION) {
        let text = value.to_str().map_err(|_| BAD)?;
        let mut options = text.split(',').map(str::trim).filter(|option| !option.is_empty());
        if !options.all(|option| CONNECTION_OPTIONS.iter().any(|known| option.eq_ignore_ascii_case(known))) {
            return Err(BAD);
        }
    }
    Ok(())
}

/// Rule 3: absent, or exactly one `chunked`; never together with `Content-Length`, never on HTTP/1.0. Nor may a body without
/// a length come with GET or HEAD (RFC 9110, section 9.3.1, gives it no meaning): hyper would drop it in silence, and a
/// dashboard that does not look for one would read it as its next request.
fn check_transfer_encoding(method: &Method, headers: &HeaderMap, version: Version) -> Result<(), Refusal> {
    const BAD: Refusal = Refusal::bad_request("transfer-encoding", "Only a single \"chunked\" is understood");
    let mut encodings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let Some(first) = encodings.next() else { return Ok(()) };
    let single = encodings.next().is_none() && first.as_bytes().eq_ignore_ascii_case(b"chunked");
    if !single || version == Version::HTTP_10 || headers.contains_key(header::CONTENT_LENGTH) {
        return Err(BAD);
    }
    if matches!(*method, Method::GET | Method::HEAD) {
        let title = "A body of GET or HEAD must have a Content-Length";
        return Err(Refusal::new(http::StatusCode::LENGTH_REQUIRED, "transfer-encoding", title));
    }
    Ok(())
}

/// Rule 4: one decimal number of at most 15 digits, without a leading zero.
fn check_content_length(headers: &HeaderMap) -> Result<Option<u64>, Refusal> {
    const BAD: Refusal = Refusal::bad_request("content-length", "Content-Length is not one plain number");
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    let Some(first) = lengths.next() else { return Ok(None) };
    let text = first.to_str().map_err(|_| BAD)?;
    let plain = (1..=15).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    if lengths.next().is_some() || !plain || (text.len() > 1 && text.starts_with('0')) {
        return Err(BAD);
    }
    text.parse().map(Some).map_err(|_| BAD)
}

/// Rule 9.
fn check_expect(headers: &HeaderMap) -> Result<(), Refusal> {
    let only_continue = |value: &http::HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"100-continue");
    if headers.get_all(header::EXPECT).iter().all(only_continue) {
        return Ok(());
    }
    Err(Refusal::new(http::StatusCode::EXPECTATION_FAILED, "expect", "Only \"100-continue\" can be expected"))
}

/// Rule 8: an upgrade is a WebSocket handshake (RFC 6455, section 4.1) or nothing.
fn check_upgrade(request: &Parts, content_length: Option<u64>) -> Result<bool, Refusal> {
    const BAD: Refusal = Refusal::bad_request("upgrade", "Only a WebSocket handshake may upgrade");
    let headers = &request.headers;
    let wants_upgrade = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|option| option.trim().eq_ignore_ascii_case("upgrade"));
    let mut upgrades = headers.get_all(header::UPGRADE).iter();
    let (Some(first), None) = (upgrades.next(), upgrades.next()) else {
        return if wants_upgrade || headers.get_all(header::UPGRADE).iter().count() > 1 { Err(BAD) } else { Ok(false) };
    };
    let one = |name: header::HeaderName| {
        let mut values = headers.get_all(name).iter();
        values.next().filter(|_| values.next().is_none()).map(http::HeaderValue::as_bytes)
    };
    let is_handshake = wants_upgrade
        && first.as_bytes().eq_ignore_ascii_case(b"websocket")
        && request.method == Method::GET
        && request.version == Version::HTTP_11
        && content_length.unwrap_or(0) == 0
        && !headers.contains_key(header::TRANSFER_ENCODING)
        && one(header::SEC_WEBSOCKET_VERSION) == Some(b"13".as_slice())
        && one(header::SEC_WEBSOCKET_KEY).is_some_and(|key| key.len() == 24);
    if is_handshake { Ok(true) } else { Err(BAD) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn verdict(method: &str, target: &str, version: Version, headers: &[(&str, &str)]) -> Result<Passed, Refusal> {
        let mut builder = Request::builder().method(method).uri(target).version(version);
        for (name, value) in headers {
            builder = builder.header(*name, *value);
        }
        check(&builder.body(()).unwrap().into_parts().0)
    }

    fn get(target: &str) -> Result<Passed, Refusal> {
        verdict("GET", target, Version::HTTP_11, &[("host", "a.localhost:8080")])
    }

    fn with(headers: &[(&str, &str)]) -> Result<Passed, Refusal> {
        let mut all = vec![("host", "a.localhost")];
        all.extend_from_slice(headers);
        verdict("POST", "/", Version::HTTP_11, &all)
    }

    const HANDSHAKE: [(&str, &str); 5] = [
        ("host", "a.localhost"),
        ("connection", "keep-alive, Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];

    #[test]
    fn ordinary_requests_pass() {
        for target in [
            "/",
            "/a/b?c=d&e=%20",
            "/_dash-component-suites/x.v1.js",
            "/file=a%2Fb",
            "/a//b",
            "/a.b/..c",
            "/%7Eana",
            "/100%+free",
            "/a%2F%2Fb",
        ] {
            assert!(get(target).is_ok(), "{target}");
        }
    }

    #[test]
    fn targets_that_two_parsers_read_differently_are_refused() {
        for target in [
            "/..",
            "/a/../b",
            "/a/%2e%2E/b",
            "/.%2e",
            "/a/./b",
            "/..;/a",
            "/a%2F..%2fb",
            "/..%2fb",
            "/a%2f%2e%2e/b",
            "/a%00",
            "/a%5cb",
            "/a%0d%0ab",
            "http://evil/",
        ] {
            assert_eq!(get(target).unwrap_err().code, "target", "{target}");
        }
    }

    #[test]
    fn methods_without_meaning_here_are_refused() {
        for method in ["TRACE", "CONNECT", "PROPFIND", "get"] {
            let refused = verdict(method, "/", Version::HTTP_11, &[("host", "a")]).unwrap_err();
            assert_eq!(refused.status, http::StatusCode::METHOD_NOT_ALLOWED, "{method}");
        }
    }

    #[test]
    fn exactly_one_plain_host_is_needed() {
        for headers in [
            &[][..],
            &[("host", "a"), ("host", "a")],
            &[("host", "")],
            &[("host", "a/b")],
            &[("host", "u@a")],
            &[("host", "]:[")],
            &[("host", ":80")],
        ] {
            assert_eq!(verdict("GET", "/", Version::HTTP_11, headers).unwrap_err().code, "host", "{headers:?}");
        }
    }

    #[test]
    fn a_host_that_need_not_be_parsed_would_be_taken_all_the_same() {
        for host in ["a", "a.b-c.localhost", "127.0.0.1:8080", "a:1", "a:59999", "-", ".", "A:00000"] {
            assert!(is_name_and_port(host.as_bytes()), "{host}");
            assert!(host.parse::<Authority>().is_ok_and(|a| !a.host().is_empty()), "{host}");
        }
        for host in
            ["", ":", ":80", "a:", "a:60000", "a:123456", "a:8b", "a::1", "[::1]", "u@a", "a/b", "a b", "\u{e4}"]
        {
            assert!(!is_name_and_port(host.as_bytes()), "{host}");
        }
    }

    #[test]
    fn names_that_fold_into_identity_headers_are_refused() {
        for name in ["x_kyros_tenant", "x.kyros.tenant", "a_b", &"a".repeat(65)] {
            assert_eq!(with(&[(name, "evil")]).unwrap_err().code, "header-name", "{name}");
        }
    }

    #[test]
    fn connection_may_not_nominate_headers_away() {
        for value in ["X-Kyros-Tenant", "close, authorization", "keep-alive, cookie", "upgrade, host"] {
            assert_eq!(with(&[("connection", value)]).unwrap_err().code, "connection", "{value}");
        }
        assert_eq!(with(&[("connection", "close"), ("connection", "authorization")]).unwrap_err().code, "connection");
        assert!(with(&[("connection", "Keep-Alive, TE")]).is_ok());
    }

    #[test]
    fn framing_that_smuggles_is_refused() {
        for value in [",chunked", "cow, chunked", "gzip, chunked", "chunked, chunked", "identity", " chunked x", ""] {
            assert_eq!(with(&[("transfer-encoding", value)]).unwrap_err().code, "transfer-encoding", "{value:?}");
        }
        let twice = [("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")];
        assert_eq!(with(&twice).unwrap_err().code, "transfer-encoding");
        let both = [("transfer-encoding", "chunked"), ("content-length", "3")];
        assert_eq!(with(&both).unwrap_err().code, "transfer-encoding");
        for value in ["01", "+1", "-1", "1 ", "0x1", "1,1", "9999999999999999", ""] {
            assert_eq!(with(&[("content-length", value)]).unwrap_err().code, "content-length", "{value:?}");
        }
        let chunked = [("host", "a"), ("transfer-encoding", "chunked")];
        assert_eq!(verdict("POST", "/", Version::HTTP_10, &chunked).unwrap_err().code, "transfer-encoding");
        for method in ["GET", "HEAD"] {
            let refused = verdict(method, "/", Version::HTTP_11, &chunked).unwrap_err();
            assert_eq!((refused.status.as_u16(), refused.code), (411, "transfer-encoding"), "{method}");
            assert!(verdict(method, "/", Version::HTTP_11, &[("host", "a"), ("content-length", "5")]).is_ok());
        }
        assert!(verdict("DELETE", "/", Version::HTTP_11, &chunked).is_ok());
        assert_eq!(with(&[("content-length", "12")]).unwrap().content_length, Some(12));
    }

    #[test]
    fn only_100_continue_may_be_expected() {
        assert!(with(&[("expect", "100-Continue")]).is_ok());
        assert_eq!(with(&[("expect", "200-ok")]).unwrap_err().code, "expect");
    }

    #[test]
    fn an_upgrade_is_a_websocket_handshake_or_nothing() {
        assert!(verdict("GET", "/ws", Version::HTTP_11, &HANDSHAKE).unwrap().websocket);
        for (index, (name, value)) in
            [(2, ("upgrade", "h2c")), (3, ("sec-websocket-version", "8")), (4, ("sec-websocket-key", "short"))]
        {
            let mut headers = HANDSHAKE;
            headers[index] = (name, value);
            assert_eq!(verdict("GET", "/ws", Version::HTTP_11, &headers).unwrap_err().code, "upgrade", "{name}");
        }
        for missing in 1..HANDSHAKE.len() {
            let headers: Vec<_> =
                HANDSHAKE.iter().enumerate().filter(|(i, _)| *i != missing).map(|(_, h)| *h).collect();
            assert_eq!(verdict("GET", "/ws", Version::HTTP_11, &headers).unwrap_err().code, "upgrade", "{missing}");
        }
        assert_eq!(verdict("POST", "/ws", Version::HTTP_11, &HANDSHAKE).unwrap_err().code, "upgrade");
        assert_eq!(verdict("GET", "/ws", Version::HTTP_10, &HANDSHAKE).unwrap_err().code, "upgrade");
        let mut with_body = HANDSHAKE.to_vec();
        with_body.push(("content-length", "5"));
        assert_eq!(verdict("GET", "/ws", Version::HTTP_11, &with_body).unwrap_err().code, "upgrade");
    }
}
