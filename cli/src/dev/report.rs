//! A line for every request that the dashboard received, as the sidecar tells it. No token and no session id is shown whole, and
//! no query: dashboards keep filters there, and people keep secrets.

use std::time::Instant;

use http::{HeaderMap, HeaderName, StatusCode, header};
use jiff::Zoned;
use kyros_shared_config::headers;
use kyros_sidecar::observer::{Observer, Received, Sighting};

use super::{
    outlet::shortened,
    screen::{Screen, print},
};
use crate::output::visible;

/// Longest path shown.
const MAX_PATH: usize = 200;
/// What the sidecar writes into requests beside `x-kyros-` and `x-forwarded-`.
const INJECTED: [HeaderName; 3] = [header::AUTHORIZATION, headers::REQUEST_ID, headers::TRACEPARENT];
const INJECTED_PREFIXES: [&str; 2] = ["x-kyros-", "x-forwarded-"];

/// Prints what the dashboard receives.
pub(super) struct Reporter {
    screen: Screen,
    shows_headers: bool,
}

impl Reporter {
    pub(super) fn new(screen: Screen, shows_headers: bool) -> Self {
        Self { screen, shows_headers }
    }
}

impl Observer for Reporter {
    fn received(&self, request: &Received<'_>) -> Box<dyn Sighting> {
        let text = |name: &HeaderName| request.headers.get(name).and_then(|value| value.to_str().ok()).map(visible);
        let person = text(&headers::EMAIL).or_else(|| text(&headers::USER)).unwrap_or_default();
        let method = if request.is_socket { "WS" } else { request.method.as_str() };
        Box::new(Line {
            screen: self.screen.clone(),
            begun: Instant::now(),
            time: Zoned::now().strftime("%H:%M:%S").to_string(),
            what: format!("{method:<4} {}", path(request)),
            whose: format!("{}  {person}", text(&headers::TENANT).unwrap_or_default()),
            headers: if self.shows_headers { injected(request.headers) } else { Vec::new() },
            is_socket: request.is_socket,
            is_told: false,
        })
    }
}

fn path(request: &Received<'_>) -> String {
    let path = visible(request.uri.path());
    let mut shown: String = path.chars().take(MAX_PATH).collect();
    if shown.len() < path.len() {
        shown.push('…');
    }
    if request.uri.query().is_some() {
        shown.push_str("?…");
    }
    shown
}

/// The headers that the sidecar wrote, those that are secrets shortened.
fn injected(all: &HeaderMap) -> Vec<String> {
    let is_ours = |name: &HeaderName| {
        INJECTED.contains(name) || INJECTED_PREFIXES.iter().any(|prefix| name.as_str().starts_with(prefix))
    };
    let shown = |(name, value): (&HeaderName, &http::HeaderValue)| {
        let value = visible(&String::from_utf8_lossy(value.as_bytes()));
        let value = match (name, value.split_once(' ')) {
            (name, Some((scheme, token))) if name == header::AUTHORIZATION => format!("{scheme} {}", shortened(token)),
            (name, _) if name == header::AUTHORIZATION || name == headers::SESSION => shortened(&value),
            _ => value,
        };
        format!("{name}: {value}")
    };
    let mut lines: Vec<String> = all.iter().filter(|(name, _)| is_ours(name)).map(shown).collect();
    lines.sort();
    lines
}

/// One request on its way.
struct Line {
    screen: Screen,
    begun: Instant,
    time: String,
    what: String,
    whose: String,
    headers: Vec<String>,
    is_socket: bool,
    is_told: bool,
}

impl Line {
    fn tell(&mut self, how: &str) {
        self.is_told = true;
        let took = self.begun.elapsed().as_millis();
        let line = format!("{}  {}  {how}  {took} ms  {}", self.screen.dim(&self.time), self.what, self.whose);
        // One print, so that nothing comes between a request and its headers.
        let headers = std::mem::take(&mut self.headers).into_iter().map(|line| format!("\n          {line}"));
        print(&headers.fold(line, |text, line| text + &line));
    }
}

impl Sighting for Line {
    fn answered(&mut self, status: StatusCode) {
        let opened = if self.is_socket && status == StatusCode::SWITCHING_PROTOCOLS { " open" } else { "" };
        self.tell(&format!("{}{opened}", self.screen.status(status)));
    }

    fn unanswered(&mut self, status: StatusCode, code: &'static str) {
        self.tell(&format!("{} {code}", self.screen.status(status)));
    }

    fn closed(&mut self, code: u16) {
        self.time = Zoned::now().strftime("%H:%M:%S").to_string();
        let seconds = self.begun.elapsed().as_secs();
        let (time, what, whose) = (self.screen.dim(&self.time), &self.what, &self.whose);
        print(&format!("{time}  {what}  closed {code}  after {seconds} s  {whose}"));
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if !self.is_told {
            self.tell("the browser left");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_the_injected_ones_and_no_secret_is_whole() {
        let mut all = HeaderMap::new();
        for (name, value) in [
            ("authorization", "Bearer eyJhbGciOi.eyJzdWIi.c2lnbmF0dXJl"),
            ("x-kyros-session", "s-0123456789abcdef"),
            ("x-kyros-tenant", "acme"),
            ("x-forwarded-host", "sales--acme.kyros-dev.localhost:8090"),
            ("cookie", "own=secret"),
            ("accept", "*/*"),
        ] {
            all.insert(name, value.parse().unwrap());
        }
        let lines = injected(&all);
        assert_eq!(
            lines,
            [
                "authorization: Bearer eyJhbG… (32 characters)",
                "x-forwarded-host: sales--acme.kyros-dev.localhost:8090",
                "x-kyros-session: s-0123… (18 characters)",
                "x-kyros-tenant: acme",
            ]
        );
        all.insert("authorization", "opaquetoken1234".parse().unwrap());
        assert_eq!(injected(&all)[0], "authorization: opaque… (15 characters)");
    }

    #[test]
    fn a_path_is_shown_without_its_query_and_not_without_end() {
        let uri: http::Uri = format!("/{}?token=secret", "x".repeat(500)).parse().unwrap();
        let (method, headers) = (http::Method::GET, HeaderMap::new());
        let shown = path(&Received { method: &method, uri: &uri, headers: &headers, is_socket: false });
        assert!(
            !shown.contains("secret") && shown.ends_with("…?…") && shown.chars().count() == MAX_PATH + 3,
            "{shown}"
        );
    }
}
