//! The portal's routes. Whatever changes something is a POST from the portal's own origin with the session's CSRF token.

use axum::{
    Form, Router,
    extract::{Path, Query, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use kyros_shared_config::{
    DashboardHost, DashboardSlug, TenantId,
    crypto::{constant_time_eq, random_handle, random_id},
};
use serde::Deserialize;

use super::pages::{
    DashboardCard, Framing, Gallery, Login, PersonCard, TenantCard, Tenants, View, error_page, render, see_other,
    suspended,
};
use crate::{
    auth::{SignedIn, cookie},
    reply::ProblemReply,
    state::{App, access_of},
    store::{AuditLine, Outcome, SESSION_LIFE, Session},
};

const STYLE: &str = include_str!("../../assets/kyros.css");

/// The portal's routes.
pub(crate) fn router() -> Router<App> {
    Router::new()
        .route("/", get(home))
        .route("/login", get(login_page).post(login))
        .route("/logout", post(logout))
        .route("/tenants", get(tenants))
        .route("/t/{tenant}", get(gallery))
        .route("/t/{tenant}/d/{dashboard}", get(view))
        .route("/assets/kyros.css", get(style))
        .route("/assets/tenants.css", get(tenant_style))
}

async fn home(signed_in: Option<SignedIn>) -> Response {
    see_other(if signed_in.is_some() { "/tenants" } else { "/login" })
}

#[derive(Deserialize)]
struct ReturnTo {
    #[serde(default)]
    return_to: String,
}

/// A path on this origin, or the tenant selection: never an open redirector (RFC 9700, section 4.11).
fn safe_return(return_to: &str) -> &str {
    let plain = return_to.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    let local = return_to.starts_with('/') && !return_to.starts_with("//") && return_to.len() <= 4096;
    if plain && local { return_to } else { "/tenants" }
}

async fn login_page(State(app): State<App>, Query(query): Query<ReturnTo>) -> Response {
    login_form(&app, safe_return(&query.return_to), None)
}

fn login_form(app: &App, return_to: &str, message: Option<&'static str>) -> Response {
    let card = |person: &crate::mock::MockPerson| {
        let snapshot = app.metadata.snapshot();
        let names: Vec<String> = person
            .tenant_ids
            .iter()
            .map(|id| snapshot.tenants.get(id).map_or_else(|| id.to_string(), |record| record.display_name.clone()))
            .collect();
        PersonCard {
            sub: person.sub.clone(),
            name: person.name.clone(),
            email: person.email.clone(),
            tenants: if names.is_empty() { "no tenant yet".to_owned() } else { names.join(", ") },
        }
    };
    let people = app.mock.as_ref().map(|mock| mock.people.iter().map(card).collect()).unwrap_or_default();
    let csrf = random_handle();
    let page = Login { people, csrf: csrf.clone(), return_to: return_to.to_owned(), message };
    let status = if message.is_some() { StatusCode::FORBIDDEN } else { StatusCode::OK };
    let mut response = render(status, Framing::Top, Some(&app.public_url), &page);
    set_cookie(app, &mut response, app.cookies.csrf, &csrf, 600);
    response
}

#[derive(Deserialize)]
struct LoginForm {
    sub: String,
    csrf: String,
    #[serde(default)]
    return_to: String,
}

/// Signs a mock person in: through the same verification that a real provider's token would pass.
async fn login(
    State(app): State<App>,
    headers: HeaderMap,
    signed_in: Option<SignedIn>,
    Form(form): Form<LoginForm>,
) -> Result<Response, ProblemReply> {
    let return_to = safe_return(&form.return_to);
    let expected = cookie(&headers, app.cookies.csrf).unwrap_or_default();
    if !is_own_origin(&app, &headers)
        || expected.is_empty()
        || !constant_time_eq(expected.as_bytes(), form.csrf.as_bytes())
    {
        return Ok(login_form(&app, return_to, Some("That did not work. Please choose again.")));
    }
    let person = app.mock.as_ref().and_then(|mock| mock.person(&form.sub).map(|person| mock.token_of(person)));
    let Some(token) = person else { return Ok(login_form(&app, return_to, Some("There is no such person."))) };
    let (token, _) = token.map_err(|error| ProblemReply::internal(&error))?;
    let identity = app.verify_user(&token).await.map_err(|error| ProblemReply::internal(&error))?;
    if let Some(SignedIn(old)) = signed_in {
        end(&app, &old).await?;
    }
    let (handle, _) = app.store.begin_session(&identity).await.map_err(|error| ProblemReply::internal(&error))?;
    app.note(line("login", &identity.subject)).await;
    let mut response = see_other(return_to);
    set_cookie(&app, &mut response, app.cookies.session, handle.expose(), SESSION_LIFE);
    set_cookie(&app, &mut response, app.cookies.csrf, "", 0);
    Ok(response)
}

#[derive(Deserialize)]
struct LogoutForm {
    csrf: String,
}

/// Signs out here and, through the revocation stream, on every dashboard.
async fn logout(
    State(app): State<App>,
    headers: HeaderMap,
    signed_in: Option<SignedIn>,
    Form(form): Form<LogoutForm>,
) -> Result<Response, ProblemReply> {
    let mut response = see_other("/login");
    if let Some(SignedIn(session)) = signed_in {
        let genuine = is_own_origin(&app, &headers) && constant_time_eq(session.csrf.as_bytes(), form.csrf.as_bytes());
        if !genuine {
            return Err(ProblemReply::of(StatusCode::FORBIDDEN, "csrf", "This request did not come from the portal"));
        }
        end(&app, &session).await?;
        app.note(line("logout", &session.identity.subject)).await;
    }
    set_cookie(&app, &mut response, app.cookies.session, "", 0);
    response.headers_mut().insert("clear-site-data", HeaderValue::from_static("\"cache\""));
    Ok(response)
}

async fn end(app: &App, session: &Session) -> Result<(), ProblemReply> {
    app.revoker.end_session(&session.sid).await.map_err(|error| ProblemReply::internal(&error))
}

fn line(action: &'static str, subject: &str) -> AuditLine {
    AuditLine {
        decision: random_id(),
        action,
        outcome: Outcome::Allowed,
        reason: "",
        subject: Some(subject.to_owned()),
        tenant: None,
        dashboard: None,
    }
}

/// Browsers send `Origin` with every POST; one without it did not come from a page of ours.
fn is_own_origin(app: &App, headers: &HeaderMap) -> bool {
    headers.get(header::ORIGIN).and_then(|origin| origin.to_str().ok()) == Some(&app.public_url.origin())
}

fn set_cookie(app: &App, response: &mut Response, name: &str, value: &str, max_age: i64) {
    let secure = if app.public_url.is_secure() { "; Secure" } else { "" };
    let cookie = format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax; Max-Age={max_age}{secure}");
    if let Ok(cookie) = HeaderValue::from_str(&cookie) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
}

fn display_name(session: &Session) -> String {
    let identity = &session.identity;
    identity.name.clone().or_else(|| identity.email.clone()).unwrap_or_else(|| identity.subject.clone())
}

async fn tenants(State(app): State<App>, signed_in: Option<SignedIn>) -> Response {
    let Some(SignedIn(session)) = signed_in else { return see_other("/login") };
    let snapshot = app.metadata.snapshot();
    let access = access_of(&session.identity);
    let cards = session
        .identity
        .tenant_ids
        .iter()
        .filter_map(|id| snapshot.membership(&access, id))
        .map(|(record, _)| TenantCard::of(record))
        .collect();
    let page = Tenants { cards, person: display_name(&session), csrf: session.csrf.clone() };
    render(StatusCode::OK, Framing::Top, Some(&app.public_url), &page)
}

async fn gallery(State(app): State<App>, Path(tenant): Path<String>, signed_in: Option<SignedIn>) -> Response {
    let Some(SignedIn(session)) = signed_in else {
        return super::sign_in_first(Framing::Top, &format!("/t/{tenant}"));
    };
    let snapshot = app.metadata.snapshot();
    let access = access_of(&session.identity);
    let found = tenant.parse::<TenantId>().ok().and_then(|id| snapshot.membership(&access, &id));
    let Some((record, _)) = found else { return nothing_here() };
    if record.suspended {
        return suspended(&record.display_name);
    }
    let dashboards = record
        .dashboards
        .iter()
        .filter_map(|slug| snapshot.dashboards.get(slug))
        .map(|dashboard| DashboardCard {
            slug: dashboard.slug.to_string(),
            title: dashboard.title.clone(),
            description: dashboard.description.clone(),
        })
        .collect();
    let page = Gallery { tenant: TenantCard::of(record), dashboards, csrf: session.csrf.clone() };
    render(StatusCode::OK, Framing::Top, Some(&app.public_url), &page)
}

async fn view(
    State(app): State<App>,
    Path((tenant, dashboard)): Path<(String, String)>,
    signed_in: Option<SignedIn>,
) -> Response {
    let Some(SignedIn(session)) = signed_in else {
        return super::sign_in_first(Framing::Top, &format!("/t/{tenant}/d/{dashboard}"));
    };
    let snapshot = app.metadata.snapshot();
    let names = tenant.parse::<TenantId>().ok().zip(dashboard.parse::<DashboardSlug>().ok());
    let Some((tenant, dashboard)) = names else { return nothing_here() };
    let Some((tenant, dashboard, _)) = snapshot.grant(&access_of(&session.identity), &tenant, &dashboard) else {
        return nothing_here();
    };
    let host = DashboardHost { dashboard: dashboard.slug.clone(), tenant: tenant.id.clone() };
    let page = View {
        tenant: TenantCard::of(tenant),
        title: dashboard.title.clone(),
        src: format!("{}/", app.public_url.dashboard_origin(&host)),
        csrf: session.csrf.clone(),
    };
    render(StatusCode::OK, Framing::Top, Some(&app.public_url), &page)
}

fn nothing_here() -> Response {
    error_page(StatusCode::NOT_FOUND, Framing::Top, &random_id())
}

/// Everything that has no route: a page for people, a problem for programs.
pub(crate) async fn not_found(headers: HeaderMap) -> Response {
    let wants_page =
        headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).is_some_and(|a| a.contains("text/html"));
    if wants_page { nothing_here() } else { ProblemReply::not_found().into_response() }
}

async fn style() -> Response {
    let headers = [(header::CONTENT_TYPE, "text/css; charset=utf-8"), (header::CACHE_CONTROL, "public, max-age=300")];
    (headers, STYLE).into_response()
}

/// The tenants' colours, for those tenants that the person may choose: a strict policy allows no inline style.
async fn tenant_style(State(app): State<App>, signed_in: Option<SignedIn>) -> Response {
    let mut css = String::new();
    if let Some(SignedIn(session)) = signed_in {
        let snapshot = app.metadata.snapshot();
        let access = access_of(&session.identity);
        for (record, _) in session.identity.tenant_ids.iter().filter_map(|id| snapshot.membership(&access, id)) {
            // The colour passed the schema's pattern; names are labels. Neither can end the rule.
            if !record.branding.accent_color.is_empty() {
                css.push_str(&format!(".t-{}{{--tenant:{}}}\n", record.id, record.branding.accent_color));
            }
        }
    }
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8"), (header::CACHE_CONTROL, "private, no-store")], css)
        .into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_return_address_stays_on_the_portal() {
        for evil in
            ["https://evil", "//evil", "/\\evil", "\\\\evil", "javascript:alert(1)", "", "/a\nb", "evil", "/\t/evil"]
        {
            assert_eq!(safe_return(evil), "/tenants", "{evil:?}");
        }
        for good in ["/", "/t/acme", "/oauth/authorize?client_id=dashboard%3Aclv"] {
            assert_eq!(safe_return(good), good);
        }
    }
}
