//! What `fuzz/` feeds with arbitrary bytes: one function for each part that decides over what strangers wrote. Each asserts
//! what must hold of whatever passes, mostly by a second, simpler reading of the same bytes.

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Version, header, request::Parts};
use kyros_shared_config::headers;

use crate::{
    api_client::{Event, EventParser},
    cookies, gate, header_rules,
    ws_frames::FrameTracker,
};

/// hyper reads no more by itself.
const MAX_HEADERS: usize = 100;
/// Names that a reader looks for, in both spellings.
const COOKIES: [&str; 4] = ["kyros-app", "__Host-kyros-app", "kyros-session", "__Host-kyros-tx-1"];

/// The bytes as the head of a request. What `http` refuses, hyper refuses before the gate.
pub fn gate(data: &[u8]) {
    let Some(request) = request_head(data) else { return };
    let Ok(passed) = gate::check(&request) else { return };
    let methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    assert!(methods.contains(&request.method.as_str()), "{}", request.method);
    check_target(&request.uri.to_string());

    let all = |name: HeaderName| request.headers.get_all(name).iter().map(HeaderValue::as_bytes).collect::<Vec<_>>();
    let hosts = all(header::HOST);
    assert_eq!(hosts.len(), 1);
    assert!(
        !hosts[0].is_empty() && hosts[0].iter().all(|byte| byte.is_ascii_alphanumeric() || b".-:[]".contains(byte))
    );
    for name in request.headers.keys().map(HeaderName::as_str) {
        assert!(name.len() <= 64 && !name.contains(['_', '.']), "{name}");
    }

    let options = listed(&all(header::CONNECTION));
    for option in &options {
        assert!(["close", "keep-alive", "upgrade", "te"].contains(&option.as_str()), "{option:?} is nominated");
    }
    let (encodings, lengths) = (all(header::TRANSFER_ENCODING), all(header::CONTENT_LENGTH));
    assert!(encodings.len() + lengths.len() <= 1, "two ways to frame one body");
    if let [encoding] = encodings[..] {
        assert!(encoding.eq_ignore_ascii_case(b"chunked") && request.version == Version::HTTP_11);
        assert!(!matches!(request.method.as_str(), "GET" | "HEAD"), "a body that hyper drops");
    }
    let length = lengths.first().map(|text| String::from_utf8_lossy(text).into_owned());
    assert_eq!(passed.content_length.map(|length| length.to_string()), length, "another spelling of a number");
    assert!(all(header::EXPECT).iter().all(|value| value.eq_ignore_ascii_case(b"100-continue")));

    let upgrades = all(header::UPGRADE);
    let asks = options.contains(&"upgrade".to_owned());
    assert!(passed.websocket == asks && asks != upgrades.is_empty(), "half an upgrade");
    if passed.websocket {
        assert!(upgrades.len() == 1 && upgrades[0].eq_ignore_ascii_case(b"websocket"));
        assert_eq!((&request.method, request.version), (&Method::GET, Version::HTTP_11));
        assert!(encodings.is_empty() && passed.content_length.unwrap_or(0) == 0, "a handshake has no body");
        assert_eq!(all(header::SEC_WEBSOCKET_VERSION), [b"13"]);
        let keys = all(header::SEC_WEBSOCKET_KEY);
        assert!(keys.len() == 1 && keys[0].len() == 24);
    }
}

/// Origin-form, visible ASCII, and no dot segment whether it is decoded before it is taken apart, as WSGI servers do, or
/// afterwards, as those of Java do.
fn check_target(target: &str) {
    assert!(target.starts_with('/') && target.bytes().all(|byte| (0x21..0x7f).contains(&byte)), "{target:?}");
    assert!(!target.contains('\\'));
    let path = target.split(['?', '#']).next().unwrap_or_default();
    let decoded = percent_decoded(path);
    assert!(!decoded.iter().any(|byte| byte.is_ascii_control() || *byte == b'\\'), "{target}");
    let is_dots = |segment: &[u8]| segment == b"." || segment == b"..";
    assert!(!decoded.split(|byte| *byte == b'/').any(is_dots), "{target}");
    let mut bare = path.split('/').map(|segment| segment.split(';').next().unwrap_or_default());
    assert!(!bare.any(|segment| is_dots(&percent_decoded(segment))), "{target}");
}

fn percent_decoded(text: &str) -> Vec<u8> {
    let digit = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
    let (bytes, mut decoded, mut index) = (text.as_bytes(), Vec::new(), 0);
    while let Some(byte) = bytes.get(index) {
        let escape = (*byte == b'%').then(|| Some((digit(bytes.get(index + 1))?, digit(bytes.get(index + 2))?)));
        if let Some(Some((high, low))) = escape {
            decoded.push(u8::try_from(high * 16 + low).expect("two digits are a byte"));
            index += 3;
        } else {
            decoded.push(*byte);
            index += 1;
        }
    }
    decoded
}

fn request_head(data: &[u8]) -> Option<Parts> {
    let (first, rest) = data.split_at(data.iter().position(|byte| *byte == b'\n')?);
    let words: Vec<&[u8]> = first.strip_suffix(b"\r").unwrap_or(first).split(|byte| *byte == b' ').collect();
    let [method, target, version] = words[..] else { return None };
    let version = match version {
        b"HTTP/1.1" => Version::HTTP_11,
        b"HTTP/1.0" => Version::HTTP_10,
        _ => return None,
    };
    let mut request = Request::builder().method(method).uri(target).version(version).body(()).ok()?;
    *request.headers_mut() = header_lines(&rest[1..])?;
    Some(request.into_parts().0)
}

/// Header lines up to an empty one, `None` where hyper would refuse them.
fn header_lines(data: &[u8]) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    let lines = data.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    for line in lines.take_while(|line| !line.is_empty()).take(MAX_HEADERS) {
        let (name, value) = line.split_at(line.iter().position(|byte| *byte == b':')?);
        let value = HeaderValue::from_bytes(trim(&value[1..])).ok()?;
        headers.append(HeaderName::from_bytes(name).ok()?, value);
    }
    Some(headers)
}

fn trim(text: &[u8]) -> &[u8] {
    let is_text = |byte: &u8| !matches!(byte, b' ' | b'\t');
    let start = text.iter().position(is_text).unwrap_or(text.len());
    let end = text.iter().rposition(is_text).map_or(start, |last| last + 1);
    &text[start..end]
}

/// The members of a list header, in lower case.
fn listed(values: &[&[u8]]) -> Vec<String> {
    let members = values.iter().flat_map(|value| value.split(|byte| *byte == b','));
    let members = members.map(|member| String::from_utf8_lossy(trim(member)).to_ascii_lowercase());
    members.filter(|member| !member.is_empty()).collect()
}

/// The bytes as header lines, once of a request and once of an answer.
pub fn header_rules(data: &[u8]) {
    let Some(headers) = header_lines(data) else { return };
    check_request(&headers);
    check_response(&headers);
}

/// Fields of one connection (RFC 9110, section 7.6.1), the older ones of RFC 2616, and those of authentication at a proxy.
const OF_ONE_CONNECTION: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

fn check_request(before: &HeaderMap) {
    let mut after = before.clone();
    header_rules::strip_request(&mut after);
    for name in after.keys().map(HeaderName::as_str) {
        let folded = name.replace(['_', '.'], "-");
        assert!(!headers::is_reserved(&folded) && !headers::selects_tenant(&folded), "{name} was left");
        assert!(!folded.starts_with("x-kyros-") && !folded.starts_with("x-forwarded-") && folded != "authorization");
        assert!(!OF_ONE_CONNECTION.contains(&folded.as_str()), "{name} was left");
    }
    for value in after.get_all(header::COOKIE) {
        assert!(!pieces(value.as_bytes()).any(is_ours), "a cookie of ours was left");
    }
    // What is nobody's business but the dashboard's passes as it came.
    for name in after.keys().filter(|name| *name != header::COOKIE) {
        assert!(after.get_all(name).iter().eq(before.get_all(name)), "{name} was changed");
    }
    for name in [header::ACCEPT, header::HOST, header::CONTENT_TYPE, headers::TRACEPARENT] {
        assert_eq!(after.contains_key(&name), before.contains_key(&name), "{name}");
    }
    let mut again = after.clone();
    header_rules::strip_request(&mut again);
    assert_eq!(again, after);
}

fn check_response(before: &HeaderMap) {
    let ours = HeaderValue::from_static("frame-ancestors http://kyros.localhost");
    let mut after = before.clone();
    let upstream = "127.0.0.1:8050".parse().expect("an upstream's address");
    header_rules::rewrite_response(&mut after, &ours, HeaderValue::from_static("r1"), &upstream);
    for name in after.keys().map(HeaderName::as_str) {
        assert!(!name.starts_with("x-kyros-") && !name.starts_with("access-control-"), "{name} was left");
        assert!(!OF_ONE_CONNECTION.contains(&name), "{name} was left");
        let speaks_for_us = ["alt-svc", "clear-site-data", "server", "strict-transport-security", "x-frame-options"];
        assert!(!speaks_for_us.contains(&name), "{name} was left");
    }
    for cookie in after.get_all(header::SET_COOKIE) {
        check_set_cookie(cookie.as_bytes());
    }
    let mut policies: Vec<&HeaderValue> = after.get_all(header::CONTENT_SECURITY_POLICY).iter().collect();
    assert_eq!(policies.pop(), Some(&ours));
    for policy in policies.iter().filter_map(|policy| policy.to_str().ok()) {
        let mut names = policy.split([';', ',']).filter_map(|directive| directive.split_ascii_whitespace().next());
        assert!(!names.any(|name| name.eq_ignore_ascii_case("frame-ancestors")), "{policy} says who may frame");
    }
    assert_eq!(after.get_all(headers::REQUEST_ID).iter().collect::<Vec<_>>(), ["r1"]);

    assert_eq!(after["x-content-type-options"], "nosniff");
    assert_eq!(after["cross-origin-resource-policy"], "same-origin");
    let redirects = |headers: &HeaderMap| headers.get_all(header::LOCATION).iter().cloned().collect::<Vec<_>>();
    let (from, to) = (redirects(before), redirects(&after));
    assert!(to.len() <= from.len());
    if let Some(location) = to.first().filter(|location| !from.contains(location)) {
        let path = location.as_bytes();
        // `//name` is another host, and browsers read `\` as `/`.
        assert!(path[0] == b'/' && !matches!(path.get(1), Some(b'/' | b'\\')), "{location:?} leaves the host");
    }

    let caching = |headers: &HeaderMap| {
        listed(&headers.get_all(header::CACHE_CONTROL).iter().map(HeaderValue::as_bytes).collect::<Vec<_>>())
    };
    let (stated, given) = (caching(before), caching(&after));
    assert_eq!(given.first().map(String::as_str), Some("private"));
    let name_of = |directive: &String| directive.split('=').next().unwrap_or_default().trim().to_owned();
    assert!(!given.iter().map(name_of).any(|name| name == "public" || name == "s-maxage"), "{given:?}");
    let forbids = |directives: &[String]| directives.iter().any(|directive| directive == "no-store");
    assert!(forbids(&given) || !(stated.is_empty() || forbids(&stated)), "{stated:?} became {given:?}");
    assert!(
        listed(&after.get_all(header::VARY).iter().map(HeaderValue::as_bytes).collect::<Vec<_>>())
            .contains(&"cookie".to_owned())
    );
}

/// The bytes as lines of `Cookie`, and as lines of `Set-Cookie`.
pub fn cookies(data: &[u8]) {
    let lines = data.split(|byte| *byte == b'\n').take(MAX_HEADERS);
    let values: Vec<HeaderValue> = lines.filter_map(|line| HeaderValue::from_bytes(line).ok()).collect();
    check_cookies(&headers_of(&header::COOKIE, &values));
    check_set_cookies(&values);
}

fn headers_of(name: &HeaderName, values: &[HeaderValue]) -> HeaderMap {
    values.iter().map(|value| (name.clone(), value.clone())).collect()
}

fn check_cookies(before: &HeaderMap) {
    let sent: Vec<&[u8]> = before.get_all(header::COOKIE).iter().flat_map(|line| pieces(line.as_bytes())).collect();
    for name in COOKIES {
        let prefix = format!("{name}=");
        let values: Vec<&[u8]> = sent.iter().filter_map(|piece| piece.strip_prefix(prefix.as_bytes())).collect();
        match (cookies::value_of(before, name), &values[..]) {
            (Ok(found), [only]) => assert_eq!(found, std::str::from_utf8(only).ok(), "{name}"),
            (Ok(found), others) => assert!(found.is_none() && others.is_empty(), "{name} was sent {}", others.len()),
            (Err(_), values) => assert!(values.len() > 1, "{name} was sent once"),
        }
    }
    let mut after = before.clone();
    cookies::strip_ours(&mut after);
    let foreign: Vec<&[u8]> = sent.into_iter().filter(|piece| !is_ours(piece)).collect();
    let left: Vec<&[u8]> = after.get_all(header::COOKIE).iter().flat_map(|line| pieces(line.as_bytes())).collect();
    assert_eq!(left, foreign);
    assert_eq!(after.get_all(header::COOKIE).iter().count(), usize::from(!foreign.is_empty()));
    assert!(COOKIES.iter().all(|name| cookies::value_of(&after, name) == Ok(None)));
}

fn check_set_cookies(values: &[HeaderValue]) {
    let mut answer = headers_of(&header::SET_COOKIE, values);
    cookies::filter_set_cookies(&mut answer);
    let kept: Vec<&HeaderValue> = answer.get_all(header::SET_COOKIE).iter().collect();
    let harmless: Vec<&HeaderValue> = values.iter().filter(|value| is_harmless(value.as_bytes())).collect();
    assert_eq!(kept, harmless);
    for cookie in kept {
        check_set_cookie(cookie.as_bytes());
    }
}

fn is_harmless(cookie: &[u8]) -> bool {
    let parts: Vec<&[u8]> = cookie.split(|byte| *byte == b';').map(trim).collect();
    let name = |part: &[u8]| trim(&part[..part.iter().position(|byte| *byte == b'=').unwrap_or(part.len())]).to_vec();
    let is_named = parts[0].contains(&b'=') && !name(parts[0]).is_empty();
    is_named && !is_ours(parts[0]) && !parts[1..].iter().any(|part| name(part).eq_ignore_ascii_case(b"domain"))
}

/// What a browser makes of a cookie (RFC 6265bis, section 5.6), and sends back, must not be read as one of ours.
fn check_set_cookie(cookie: &[u8]) {
    let parts: Vec<&[u8]> = cookie.split(|byte| *byte == b';').collect();
    for attribute in &parts[1..] {
        assert!(!trim(attribute).to_ascii_lowercase().starts_with(b"domain=") && trim(attribute) != b"domain");
    }
    let (name, value) = match parts[0].iter().position(|byte| *byte == b'=') {
        Some(equals) => (trim(&parts[0][..equals]), trim(&parts[0][equals + 1..])),
        None => (&b""[..], trim(parts[0])),
    };
    let sent_back = if name.is_empty() { value.to_vec() } else { [name, b"=", value].concat() };
    let sent_back = HeaderValue::from_bytes(&sent_back).expect("it came in a header");
    let request = headers_of(&header::COOKIE, &[sent_back]);
    assert!(COOKIES.iter().all(|name| cookies::value_of(&request, name) == Ok(None)), "{cookie:?} plants ours");
}

/// The pieces of a `Cookie` line, empty ones left out.
fn pieces(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|byte| *byte == b';').map(trim).filter(|piece| !piece.is_empty())
}

fn is_ours(piece: &[u8]) -> bool {
    let name = trim(piece.split(|byte| *byte == b'=').next().unwrap_or_default()).to_ascii_lowercase();
    let first = name.iter().position(|byte| *byte != b'"').unwrap_or(name.len());
    let name = &name[first..];
    name.strip_prefix(b"__host-").or_else(|| name.strip_prefix(b"__secure-")).unwrap_or(name).starts_with(b"kyros-")
}

/// The bytes as one direction of a WebSocket.
pub fn frames(data: &[u8]) {
    let mut by_byte = FrameTracker::default();
    let mut start = 0;
    for position in 0..=data.len() {
        if frame_length(&data[start..position]).is_some_and(|length| length == (position - start) as u128) {
            start = position;
        }
        check_missing(by_byte.missing(), &data[start..], position - start);
        if let Some(byte) = data.get(position..=position) {
            by_byte.advance(byte);
        }
    }
    for size in [2, 3, 5, 14, data.len().max(1)] {
        let mut tracker = FrameTracker::default();
        data.chunks(size).for_each(|piece| tracker.advance(piece));
        assert_eq!(tracker.missing(), by_byte.missing(), "in pieces of {size}");
    }
}

/// Nothing is missing exactly between two frames; inside one, never more than leads to its end.
fn check_missing(missing: usize, frame: &[u8], seen: usize) {
    assert_eq!(missing == 0, seen == 0, "after {seen} bytes of a frame");
    if let Some(length) = frame_length(&frame[..seen]) {
        assert_eq!(missing as u128, length - seen as u128, "after {seen} bytes of a frame of {length}");
    } else if let Some(length) = frame_length(frame) {
        assert!(missing as u128 <= length - seen as u128, "past the end of a frame of {length}");
    }
}

/// RFC 6455, section 5.2, `None` while the header is incomplete.
fn frame_length(bytes: &[u8]) -> Option<u128> {
    let [_, second, rest @ ..] = bytes else { return None };
    let mask = if second & 0x80 == 0 { 0 } else { 4 };
    let (header, payload) = match second & 0x7f {
        126 => (4, u128::from(u16::from_be_bytes(*rest.first_chunk()?))),
        127 => (10, u128::from(u64::from_be_bytes(*rest.first_chunk()?))),
        short => (2, u128::from(short)),
    };
    (bytes.len() as u128 >= header + mask).then(|| payload + header + mask)
}

/// The bytes as an event stream, under a limit that is soon reached.
pub fn events(data: &[u8]) {
    const LIMIT: usize = 64;
    let whole = events_in(data, data.len().max(1), LIMIT);
    for size in [1, 2, 3, 5, 16] {
        assert_eq!(events_in(data, size, LIMIT), whole, "in pieces of {size}");
    }
    let Some(events) = whole else { return };
    let lines = data.split(|byte| *byte == b'\n').count() - 1;
    assert!(events.len() * 2 <= lines, "more events than lines for them");
    for event in events {
        assert!(!event.data.is_empty() && event.data.len() <= LIMIT);
        for field in [event.id, event.name, event.data] {
            assert!(!field.contains('\n') && !field.ends_with('\r'), "a line's end became part of {field:?}");
        }
    }
}

/// `None` once the limit is reached.
fn events_in(data: &[u8], size: usize, limit: usize) -> Option<Vec<Event>> {
    let mut parser = EventParser::up_to(limit);
    let mut events = Vec::new();
    for piece in data.chunks(size) {
        events.extend(parser.push(piece).ok()?);
    }
    Some(events)
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    fn replay(target: &str, run: fn(&[u8])) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
        let mut seeds = 0;
        for entry in fs::read_dir(&folder).expect("the corpus is part of the sources") {
            let path = entry.unwrap().path();
            // Shown with the failure alone, so that the seed is known.
            println!("{}", path.display());
            run(&fs::read(&path).unwrap());
            seeds += 1;
        }
        assert!(seeds > 0, "{} is empty", folder.display());
    }

    #[test]
    fn every_request_of_the_corpus_keeps_the_rules() {
        replay("gate", super::gate);
    }

    #[test]
    fn all_headers_of_the_corpus_keep_the_rules() {
        replay("header_rules", super::header_rules);
    }

    #[test]
    fn every_cookie_of_the_corpus_keeps_the_rules() {
        replay("cookies", super::cookies);
    }

    #[test]
    fn every_socket_of_the_corpus_keeps_the_rules() {
        replay("frames", super::frames);
    }

    #[test]
    fn every_stream_of_the_corpus_keeps_the_rules() {
        replay("events", super::events);
    }
}
