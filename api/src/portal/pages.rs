//! The portal's pages as templates, and the few that other parts answer with.

use askama::Template;
use axum::{
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use kyros_metadata::TenantRecord;
use kyros_shared_config::PublicUrl;

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

/// A tenant as pages show it.
pub(crate) struct TenantCard {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) initials: String,
    pub(crate) suspended: bool,
    pub(crate) dashboards: usize,
}

impl TenantCard {
    pub(crate) fn of(record: &TenantRecord) -> Self {
        let letters = record.display_name.split_whitespace().filter_map(|word| word.chars().next());
        Self {
            id: record.id.to_string(),
            name: record.display_name.clone(),
            initials: letters.take(2).collect::<String>().to_uppercase(),
            suspended: record.suspended,
            dashboards: record.dashboards.len(),
        }
    }
}

/// A demo person as the login page shows it.
pub(crate) struct PersonCard {
    pub(crate) sub: String,
    pub(crate) name: String,
    pub(crate) email: String,
    pub(crate) tenants: String,
}

/// A dashboard as the gallery shows it.
pub(crate) struct DashboardCard {
    pub(crate) slug: String,
    pub(crate) title: String,
    pub(crate) description: String,
}

#[derive(Template)]
#[template(path = "login.html")]
pub(crate) struct Login {
    pub(crate) people: Vec<PersonCard>,
    pub(crate) csrf: String,
    pub(crate) return_to: String,
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
    pub(crate) tenant: TenantCard,
    pub(crate) dashboards: Vec<DashboardCard>,
    pub(crate) csrf: String,
}

#[derive(Template)]
#[template(path = "view.html")]
pub(crate) struct View {
    pub(crate) tenant: TenantCard,
    pub(crate) title: String,
    pub(crate) src: String,
    pub(crate) csrf: String,
}

#[derive(Template)]
#[template(path = "message.html")]
struct Message<'a> {
    title: &'a str,
    text: &'a str,
    link: Option<(&'a str, &'a str)>,
    decision: Option<&'a str>,
}

/// Renders a page that may frame dashboards and post forms, and nothing else.
pub(crate) fn render(
    status: StatusCode,
    framing: Framing,
    public_url: Option<&PublicUrl>,
    page: &impl Template,
) -> Response {
    let html = match page.render() {
        Ok(html) => html,
        Err(error) => {
            tracing::error!(%error, "page not rendered");
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        }
    };
    // A sign-in form's answer redirects to a dashboard's host, and a frame's first request comes by the portal's own
    // /oauth/authorize: browsers apply form-action and frame-src to redirects too.
    let dashboards = public_url.map(|url| format!("{}://*.{}", url.scheme(), url.authority())).unwrap_or_default();
    let policy = format!(
        "default-src 'none'; style-src 'self'; img-src 'self' data:; frame-src 'self' {dashboards}; form-action 'self' \
         {dashboards}; base-uri 'none'; frame-ancestors {}",
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
            title: "Your session ended",
            text: "Sign in again to go on.",
            link: Some(("/login", "Sign in")),
            decision: None,
        };
        return render(StatusCode::UNAUTHORIZED, framing, None, &page);
    }
    let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("return_to", return_to).finish();
    see_other(&format!("/login?{query}"))
}

/// An authorization request that must not be answered with a redirect.
pub(crate) fn bad_request(framing: Framing) -> Response {
    let page = Message {
        title: "This link is not complete",
        text: "Open the dashboard again from the portal.",
        link: Some(("/", "To the portal")),
        decision: None,
    };
    render(StatusCode::BAD_REQUEST, framing, None, &page)
}

/// The same page for what does not exist and for what is not yours.
pub(crate) fn error_page(status: StatusCode, framing: Framing, decision: &str) -> Response {
    let (title, text) = if status == StatusCode::NOT_FOUND {
        ("There is nothing here for you", "This address does not exist, or it is not open to you.")
    } else {
        ("Something went wrong on our side", "Try again; if it stays, tell the people who run this installation.")
    };
    let page = Message { title, text, link: Some(("/", "To the portal")), decision: Some(decision) };
    render(status, framing, None, &page)
}

/// For a member of a tenant that is closed for the time being.
pub(crate) fn suspended(tenant: &str) -> Response {
    let page = Message {
        title: &format!("{tenant} is suspended"),
        text: "It is closed for everybody until further notice. Ask the people who run this installation.",
        link: Some(("/tenants", "Choose another tenant")),
        decision: None,
    };
    render(StatusCode::FORBIDDEN, Framing::Top, None, &page)
}
