//! The printed address: signs the current mock person in through the portal, and leads the browser to the current tenant's
//! dashboard.
//!
//! Why this weakens nothing:
//!
//! - It exists in `kyros dev` only, listens on 127.0.0.1 only, and has no part in any other program. The portal has no back
//!   door for it: it is a client that GETs the portal's login page and POSTs its form, with the page's own CSRF token and the
//!   portal's Origin, as a browser does. Whoever reaches this port also reaches that form, which asks for no password. From
//!   there on the browser goes the ordinary way: session, authorization code, the sidecar's own cookie.
//! - The session's cookie is handed on as the portal wrote it (`HttpOnly`, `SameSite=Lax`, host-only). It counts for the portal
//!   because cookies belong to a host and not to a port, and because this is reached under the portal's very name. Under any
//!   other name (DNS rebinding, a proxy, `localhost`) it is refused before anything happens, so no other host is ever given it.
//! - Another site may not sign somebody in behind their back: browsers say where a navigation comes from, and one that began
//!   on another page gets a page with a link to click instead, which no frame may show. What is no navigation is refused. So
//!   are all methods but GET.
//! - Nothing is taken from the request but the portal's own session cookie: person and tenant are those of the terminal.

use std::sync::Arc;

use anyhow::{Context as _, bail};
use axum::{
    Router,
    extract::State,
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use kyros_http_server::{Limits, serve_router};
use kyros_shared_config::{PublicUrl, headers::CookieNames};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use url::form_urlencoded;

use super::cast::{Cast, Player, Portal};

/// The listener's state.
#[derive(Clone)]
pub(super) struct Entry {
    /// Host and port as they must stand in the `Host` header.
    authority: String,
    cookies: CookieNames,
    portal: Portal,
    cast: Arc<Cast>,
}

impl Entry {
    pub(super) fn new(public_url: &PublicUrl, port: u16, portal: Portal, cast: Arc<Cast>) -> Self {
        let authority = public_url.on_port(port).authority();
        Self { authority, cookies: CookieNames::new(public_url.is_secure()), portal, cast }
    }

    /// What is printed.
    pub(super) fn address(&self) -> String {
        format!("http://{}", self.authority)
    }

    /// Serves until `shutdown`.
    pub(super) async fn serve(self, listener: TcpListener, shutdown: CancellationToken) {
        let router = Router::new().fallback(enter).with_state(self);
        serve_router(listener, Limits::default(), router, shutdown).await;
    }

    /// Where the dashboard is, and the cookies to get there with: none when the browser is signed in as this person already,
    /// so that a second tab does not end the first one's session.
    async fn sign_in(&self, player: &Player, session: Option<String>) -> anyhow::Result<Vec<HeaderValue>> {
        if let Some(session) = &session
            && self.portal.subject_of(session).await?.as_ref() == Some(&player.sub)
        {
            return Ok(Vec::new());
        }
        let page = self.portal.client.get(format!("{}/login", self.portal.origin)).send().await?;
        let csrf = set_cookies(page.headers()).find_map(|cookie| value_in(cookie, self.cookies.csrf));
        let csrf = csrf.context("the login page gave no CSRF token")?;
        // The old session goes along, so that the portal ends it when another person signs in.
        let cookies = [Some(format!("{}={csrf}", self.cookies.csrf)), session].into_iter().flatten();
        let form = form_urlencoded::Serializer::new(String::new())
            .extend_pairs([("sub", player.sub.as_str()), ("csrf", &csrf), ("return_to", "/tenants")])
            .finish();
        let answer = self
            .portal
            .client
            .post(format!("{}/login", self.portal.origin))
            .header(header::ORIGIN, &self.portal.origin)
            .header(header::COOKIE, cookies.collect::<Vec<_>>().join("; "))
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form)
            .send()
            .await?;
        if !answer.status().is_redirection() {
            bail!("the portal did not sign {} in: {}", player.sub, answer.status());
        }
        Ok(answer.headers().get_all(header::SET_COOKIE).iter().cloned().collect())
    }
}

async fn enter(State(entry): State<Entry>, method: Method, headers: HeaderMap) -> Response {
    match check(&entry.authority, &method, &headers) {
        Passage::Refused(status, reason) => return (status, format!("{reason}\n")).into_response(),
        Passage::Ask => return ask(&entry),
        Passage::Open => (),
    }
    let (player, tenant) = entry.cast.now();
    let session = session_of(&headers, entry.cookies.session);
    let cookies = match entry.sign_in(&player, session).await {
        Ok(cookies) => cookies,
        Err(error) => {
            tracing::warn!("entry: {error:#}");
            return (StatusCode::BAD_GATEWAY, format!("{error}\n")).into_response();
        }
    };
    let target = format!("{}/t/{tenant}/d/{}", entry.portal.origin, entry.cast.dashboard);
    let mut response = (StatusCode::SEE_OTHER, [(header::LOCATION, target)]).into_response();
    for cookie in cookies {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    protect(response)
}

/// What becomes of a request, before anything is done for it.
#[derive(Debug, PartialEq, Eq)]
enum Passage {
    Refused(StatusCode, &'static str),
    /// It began on another page: a person must click.
    Ask,
    Open,
}

/// Refused first: other names, other methods, what is no navigation.
fn check(authority: &str, method: &Method, headers: &HeaderMap) -> Passage {
    let mut hosts = headers.get_all(header::HOST).iter();
    let is_ours = hosts.next().is_some_and(|host| host.as_bytes().eq_ignore_ascii_case(authority.as_bytes()));
    if !is_ours || hosts.next().is_some() {
        return Passage::Refused(StatusCode::MISDIRECTED_REQUEST, "open the address exactly as kyros dev prints it");
    }
    if method != Method::GET {
        return Passage::Refused(StatusCode::METHOD_NOT_ALLOWED, "this address only leads to the dashboard");
    }
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("unreadable"));
    let is_navigation = text("sec-fetch-mode").is_none_or(|mode| mode == "navigate")
        && text("sec-fetch-dest").is_none_or(|destination| destination == "document");
    if !is_navigation {
        return Passage::Refused(StatusCode::FORBIDDEN, "open this address in a tab of its own");
    }
    match text("sec-fetch-site") {
        // Typed, a bookmark, a link of a terminal; or a link of the page below; or a program that is no browser.
        Some("none" | "same-origin") | None => Passage::Open,
        Some(_) => Passage::Ask,
    }
}

fn ask(entry: &Entry) -> Response {
    // Names are DNS labels; a person's name is shown nowhere, so nothing here needs escaping.
    let (_, tenant) = entry.cast.now();
    let page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Kyros</title><main><h1>Open {dashboard}?</h1>\
         <p>Another page led here.</p><p><a href=\"/\">Open it for {tenant}</a></p></main></html>",
        dashboard = entry.cast.dashboard
    );
    let mut response = (StatusCode::OK, [(header::CONTENT_TYPE, "text/html; charset=utf-8")], page).into_response();
    let policy = HeaderValue::from_static("default-src 'none'; base-uri 'none'; frame-ancestors 'none'");
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    protect(response)
}

fn protect(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert("cross-origin-opener-policy", HeaderValue::from_static("same-origin"));
    response
}

/// The portal's session among the browser's cookies, as `name=value`, and none of the others.
fn session_of(headers: &HeaderMap, name: &str) -> Option<String> {
    let pairs = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = pairs.flat_map(|value| value.split(';')).map(str::trim);
    pairs.find(|pair| value_in(pair, name).is_some()).map(str::to_owned)
}

fn set_cookies(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    headers.get_all(header::SET_COOKIE).iter().filter_map(|value| value.to_str().ok())
}

fn value_in(cookie: &str, name: &str) -> Option<String> {
    let value = cookie.strip_prefix(name)?.strip_prefix('=')?;
    Some(value.split(';').next().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: &str = "kyros-dev.localhost:8091";

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn another_name_another_method_and_what_is_no_navigation_get_nothing() {
        for host in ["evil.example:8091", "localhost:8091", "127.0.0.1:8091", "kyros-dev.localhost:8090", ""] {
            let passage = check(OURS, &Method::GET, &headers(&[("host", host)]));
            assert!(matches!(passage, Passage::Refused(StatusCode::MISDIRECTED_REQUEST, _)), "{host}: {passage:?}");
        }
        let twice = headers(&[("host", OURS), ("host", "evil.example")]);
        assert!(matches!(check(OURS, &Method::GET, &twice), Passage::Refused(..)));
        for method in [Method::POST, Method::HEAD, Method::OPTIONS] {
            assert!(matches!(check(OURS, &method, &headers(&[("host", OURS)])), Passage::Refused(..)), "{method}");
        }
        for (name, value) in [("sec-fetch-mode", "cors"), ("sec-fetch-mode", "no-cors"), ("sec-fetch-dest", "iframe")] {
            let passage = check(OURS, &Method::GET, &headers(&[("host", OURS), (name, value)]));
            assert!(matches!(passage, Passage::Refused(StatusCode::FORBIDDEN, _)), "{name}: {value}");
        }
    }

    #[test]
    fn a_navigation_that_began_on_another_page_must_be_clicked() {
        let from = |site: &str| {
            let request = [("host", OURS), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")];
            check(OURS, &Method::GET, &headers(&[&request[..], &[("sec-fetch-site", site)]].concat()))
        };
        assert_eq!(from("none"), Passage::Open);
        assert_eq!(from("same-origin"), Passage::Open);
        for site in ["cross-site", "same-site", "anything"] {
            assert_eq!(from(site), Passage::Ask, "{site}");
        }
    }

    #[test]
    fn only_the_portals_own_cookie_goes_on() {
        let request = headers(&[("cookie", "a=1; kyros-session=abc; kyros-sessionx=2"), ("cookie", "kyros-csrf=3")]);
        assert_eq!(session_of(&request, "kyros-session").as_deref(), Some("kyros-session=abc"));
        assert_eq!(session_of(&headers(&[("cookie", "kyros-sessionx=2")]), "kyros-session"), None);
    }
}
