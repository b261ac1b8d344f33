//! The portal's pages as templates, and the few that other parts answer with.

use askama::Template;
use axum::{
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use kyros_shared_config::{DashboardSlug, PublicUrl};

use super::{
    assets::LINKS,
    cards::{Bar, PersonCard, TenantCard},
    return_to::Destination,
    theme::Theme,
};

/// Whether the page is shown inside the portal's own frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    Top,
    Framed,
}

impl Framing {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        match headers.get("sec-fetch-dest").and_then(|value| value.to_str().ok()) {
            Some("iframe" | "frame") => Self::Framed,
            _ => Self::Top,
        }
    }

    fn ancestors(self) -> &'static str {
        match self {
            Self::Top => "'none'",
            Self::Framed => "'self'",
        }
    }
}

#[derive(Template)]
#[template(path = "login.html")]
pub(crate) struct Login {
    pub(crate) people: Vec<PersonCard>,
    pub(crate) csrf: String,
    pub(crate) return_to: String,
    pub(crate) destination: Option<Destination>,
    pub(crate) message: Option<&'static str>,
}

#[derive(Template)]
#[template(path = "tenants.html")]
pub(crate) struct Tenants {
    pub(crate) cards: Vec<TenantCard>,
    pub(crate) person: String,
    pub(crate) csrf: String,
}

#[derive(Template)]
#[template(path = "gallery.html")]
pub(crate) struct Gallery {
    pub(crate) bar: Bar,
    pub(crate) found: Vec<usize>,
    pub(crate) query: String,
}

#[derive(Template)]
#[template(path = "view.html")]
pub(crate) struct View {
    pub(crate) bar: Bar,
    pub(crate) slug: DashboardSlug,
    pub(crate) title: String,
    pub(crate) src: String,
    pub(crate) origin: String,
}

impl View {
    /// Why a view may end, each with the one way out.
    fn endings(&self) -> [Ending; 4] {
        let sign_in = || ("Sign in".to_owned(), "/login".to_owned(), true);
        let ending = |id, title: String, text, (action, href, returns): (String, String, bool)| Ending {
            id,
            title,
            text,
            action,
            href,
            returns,
        };
        let tenant = &self.bar.tenant;
        [
            ending(
                "expired",
                "Your session has ended".into(),
                "Sign in again, and you come back to this view with the same filters.",
                sign_in(),
            ),
            ending("signed-out", "You are signed out".into(), "Sign in again to come back to this view.", sign_in()),
            ending(
                "suspended",
                format!("{} is suspended", tenant.name),
                "It is closed for everybody until further notice. Ask the people who run this installation.",
                ("Choose another tenant".into(), "/tenants".into(), false),
            ),
            ending(
                "not-granted",
                "This dashboard is no longer open to you".into(),
                "Somebody changed what you may open. Ask the people who run this installation.",
                ("All dashboards".into(), format!("/t/{}", tenant.id), false),
            ),
        ]
    }
}

/// A cover over a view whose right has ended.
struct Ending {
    id: &'static str,
    title: String,
    text: &'static str,
    action: String,
    href: String,
    /// Whether the way out leads back to this view.
    returns: bool,
}

#[derive(Template)]
#[template(path = "message.html")]
struct Message<'a> {
    title: &'a str,
    text: &'a str,
    link: (&'a str, &'a str),
    decision: Option<&'a str>,
    /// Shown in the portal's own frame, whose view is told: it knows why, and offers the way on.
    framed: bool,
}

/// What of other hosts a page needs.
#[derive(Default)]
pub(crate) struct Needs<'a> {
    /// Its forms and frames lead to dashboards.
    pub(crate) dashboards_of: Option<&'a PublicUrl>,
    /// Where a tenant's logo lies.
    pub(crate) logos: Vec<String>,
}

/// Renders a page that may frame dashboards, post forms and run the portal's own script, and nothing else.
pub(crate) fn render(status: StatusCode, framing: Framing, needs: &Needs<'_>, page: &impl Template) -> Response {
    let html = match page.render() {
        Ok(html) => html,
        Err(error) => {
            tracing::error!(%error, "page not rendered");
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        }
    };
    // A sign-in form's answer redirects to a dashboard's host, and a frame's first request comes by the portal's own
    // /oauth/authorize: browsers apply form-action and frame-src to redirects too.
    let dashboards =
        needs.dashboards_of.map(|url| format!("{}://*.{}", url.scheme(), url.authority())).unwrap_or_default();
    let policy = format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data: {}; \
         frame-src 'self' {dashboards}; form-action 'self' {dashboards}; base-uri 'none'; frame-ancestors {}",
        needs.logos.join(" "),
        framing.ancestors()
    );
    let mut response = (status, [(header::CONTENT_TYPE, "text/html; charset=utf-8")], html).into_response();
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    response
}

/// 303: the next request is a GET, whatever this one was.
pub(crate) fn see_other(location: &str) -> Response {
    match HeaderValue::from_str(location) {
        Ok(location) => (StatusCode::SEE_OTHER, [(header::LOCATION, location)]).into_response(),
        Err(_) => StatusCode::BAD_REQUEST.into_response(),
    }
}

/// To the login page, and back from there. Inside a frame nothing may be signed in: a small page says what to do.
pub(crate) fn sign_in_first(framing: Framing, return_to: &str) -> Response {
    if framing == Framing::Framed {
        let page = Message {
            title: "Your session has ended",
            text: "Sign in again to go on.",
            link: ("/login", "Sign in"),
            decision: None,
            framed: true,
        };
        return render(StatusCode::UNAUTHORIZED, framing, &Needs::default(), &page);
    }
    let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("return_to", return_to).finish();
    see_other(&format!("/login?{query}"))
}

/// An authorization request that must not be answered with a redirect.
pub(crate) fn bad_request(framing: Framing) -> Response {
    let page = Message {
        title: "This link is not complete",
        text: "Open the dashboard again from the portal.",
        link: ("/", "To the portal"),
        decision: None,
        framed: framing == Framing::Framed,
    };
    render(StatusCode::BAD_REQUEST, framing, &Needs::default(), &page)
}

/// The same page for what does not exist and for what is not yours.
pub(crate) fn error_page(status: StatusCode, framing: Framing, decision: &str) -> Response {
    let (title, text) = if status == StatusCode::NOT_FOUND {
        ("There is nothing here for you", "This address does not exist, or it is not open to you.")
    } else {
        ("Something went wrong on our side", "Try again; if it stays, tell the people who run this installation.")
    };
    let framed = framing == Framing::Framed;
    let page = Message { title, text, link: ("/", "To the portal"), decision: Some(decision), framed };
    render(status, framing, &Needs::default(), &page)
}

/// For a member of a tenant that is closed for the time being.
pub(crate) fn suspended(framing: Framing, tenant: &str) -> Response {
    let page = Message {
        title: &format!("{tenant} is suspended"),
        text: "It is closed for everybody until further notice. Ask the people who run this installation.",
        link: ("/tenants", "Choose another tenant"),
        decision: None,
        framed: framing == Framing::Framed,
    };
    render(StatusCode::FORBIDDEN, framing, &Needs::default(), &page)
}
