//! Cookies on the way in and out: ours are read and taken away, the dashboard's own pass.

use http::{HeaderMap, HeaderValue, header};
use kyros_shared_config::headers::is_kyros_cookie;

use crate::answer::Refusal;

/// The value of one of our cookies. Twice under one name is an attack (cookie tossing) and refused. Other cookies are not
/// looked at: whatever bytes they hold are the dashboard's business.
pub(crate) fn value_of<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, Refusal> {
    let mut found = None;
    for (_, value) in pairs(headers).filter(|(candidate, _)| *candidate == name.as_bytes()) {
        if found.replace(value).is_some() {
            return Err(Refusal::bad_request("cookie", "A session cookie was sent twice"));
        }
    }
    Ok(found.and_then(|value| std::str::from_utf8(value).ok()))
}

fn pairs(headers: &HeaderMap) -> impl Iterator<Item = (&[u8], &[u8])> {
    headers.get_all(header::COOKIE).iter().flat_map(|line| line.as_bytes().split(|byte| *byte == b';')).filter_map(
        |pair| {
            let pair = pair.trim_ascii();
            let equals = pair.iter().position(|byte| *byte == b'=')?;
            Some((&pair[..equals], &pair[equals + 1..]))
        },
    )
}

/// Takes every cookie of ours away and joins the rest into one line, or none.
pub(crate) fn strip_ours(headers: &mut HeaderMap) {
    if !headers.contains_key(header::COOKIE) {
        return;
    }
    let rest: Vec<&[u8]> = headers
        .get_all(header::COOKIE)
        .iter()
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b';'))
        .map(<[u8]>::trim_ascii)
        .filter(|pair| !pair.is_empty() && !is_ours(pair))
        .collect();
    let joined = rest.join(&b"; "[..]);
    match HeaderValue::from_bytes(&joined) {
        Ok(value) if !joined.is_empty() => {
            headers.insert(header::COOKIE, value);
        }
        _ => {
            headers.remove(header::COOKIE);
        }
    }
}

fn is_ours(pair: &[u8]) -> bool {
    let name = pair.split(|byte| *byte == b'=').next().unwrap_or_default().trim_ascii();
    // Not only UTF-8: the dashboard decides how it reads the bytes behind "kyros-".
    is_kyros_cookie(&String::from_utf8_lossy(name))
}

/// Drops from an answer what a dashboard may not set: a cookie of ours, or one for a parent domain, which would reach
/// other tenants' hosts.
pub(crate) fn filter_set_cookies(headers: &mut HeaderMap) {
    if !headers.contains_key(header::SET_COOKIE) {
        return;
    }
    let kept: Vec<HeaderValue> =
        headers.get_all(header::SET_COOKIE).iter().filter(|value| may_be_set(value.as_bytes())).cloned().collect();
    headers.remove(header::SET_COOKIE);
    for value in kept {
        headers.append(header::SET_COOKIE, value);
    }
}

fn may_be_set(cookie: &[u8]) -> bool {
    let mut parts = cookie.split(|byte| *byte == b';');
    // A nameless cookie `=kyros-app=x` comes back as `kyros-app=x`.
    let is_named = |pair: &[u8]| pair.iter().position(|byte| *byte == b'=').is_some_and(|equals| equals > 0);
    let own = parts.next().map(<[u8]>::trim_ascii).is_some_and(|pair| is_named(pair) && !is_ours(pair));
    let attribute = |part: &[u8]| part.split(|byte| *byte == b'=').next().unwrap_or_default().trim_ascii().to_vec();
    own && !parts.any(|part| attribute(part).eq_ignore_ascii_case(b"domain"))
}

/// A cookie of ours: host-only, invisible to scripts, for the whole host.
pub(crate) fn ours(name: &str, value: &str, max_age: Option<i64>, secure: bool) -> Option<HeaderValue> {
    let age = max_age.map(|seconds| format!("; Max-Age={seconds}")).unwrap_or_default();
    let secure = if secure { "; Secure" } else { "" };
    HeaderValue::from_str(&format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax{age}{secure}")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(header::COOKIE, line.parse().unwrap());
        }
        headers
    }

    #[test]
    fn our_cookies_are_taken_away_and_the_dashboards_pass() {
        let mut lines = headers(&["a=1; kyros-app=secret; b=2", "__Host-kyros-session=secret;c=3"]);
        strip_ours(&mut lines);
        assert_eq!(lines.get_all(header::COOKIE).iter().collect::<Vec<_>>(), ["a=1; b=2; c=3"]);
        let mut only_ours = headers(&["kyros-app=secret"]);
        strip_ours(&mut only_ours);
        assert!(!only_ours.contains_key(header::COOKIE));
    }

    #[test]
    fn a_cookie_sent_twice_is_refused() {
        assert_eq!(value_of(&headers(&["kyros-app=x"]), "kyros-app").unwrap(), Some("x"));
        assert_eq!(value_of(&headers(&["a=x"]), "kyros-app").unwrap(), None);
        assert!(value_of(&headers(&["kyros-app=x; kyros-app=y"]), "kyros-app").is_err());
        assert!(value_of(&headers(&["kyros-app=x", "kyros-app=x"]), "kyros-app").is_err());
    }

    #[test]
    fn a_foreign_cookie_of_any_bytes_does_not_hide_ours() {
        let mut lines = HeaderMap::new();
        lines.insert(header::COOKIE, HeaderValue::from_bytes("name=Jos\u{e9}; kyros-app=x".as_bytes()).unwrap());
        assert_eq!(value_of(&lines, "kyros-app").unwrap(), Some("x"));
        strip_ours(&mut lines);
        assert_eq!(lines[header::COOKIE].as_bytes(), "name=Jos\u{e9}".as_bytes());
    }

    #[test]
    fn a_name_that_is_no_text_is_still_ours() {
        let strange = HeaderValue::from_bytes(b"kyros-\xff=x").unwrap();
        let mut lines = HeaderMap::new();
        lines.insert(header::COOKIE, strange.clone());
        strip_ours(&mut lines);
        assert!(lines.is_empty());
        lines.insert(header::SET_COOKIE, strange);
        filter_set_cookies(&mut lines);
        assert!(lines.is_empty());
    }

    #[test]
    fn a_dashboard_sets_neither_our_cookies_nor_a_parents() {
        let mut answer = HeaderMap::new();
        for cookie in [
            "own=1; Path=/",
            "kyros-app=x",
            "__Host-kyros-session=x",
            "own=1; Domain=kyros.localhost",
            "own=1; DOMAIN = x",
            "=kyros-app=x",
            "kyros-app",
        ] {
            answer.append(header::SET_COOKIE, cookie.parse().unwrap());
        }
        filter_set_cookies(&mut answer);
        assert_eq!(answer.get_all(header::SET_COOKIE).iter().collect::<Vec<_>>(), ["own=1; Path=/"]);
    }
}
