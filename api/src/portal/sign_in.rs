//! Signing in and out. Both are POSTs from the portal's own origin with a CSRF token.

use axum::{
    Form,
    extract::{Query, State},
    http::{HeaderMap, HeaderValue, StatusCode},
    response::Response,
};
use kyros_shared_config::crypto::{constant_time_eq, random_handle, random_id};
use serde::Deserialize;

use super::{
    cards::PersonCard,
    forms::{check_genuine, is_own_origin, set_cookie},
    pages::{Framing, Login, Needs, render, see_other},
    return_to,
};
use crate::{
    auth::{SignedIn, cookie},
    reply::ProblemReply,
    state::App,
    store::{AuditLine, Outcome, SESSION_LIFE, Session},
};

#[derive(Deserialize)]
pub(crate) struct ReturnTo {
    #[serde(default)]
    return_to: String,
}

pub(crate) async fn login_page(State(app): State<App>, Query(query): Query<ReturnTo>) -> Response {
    login_form(&app, return_to::safe(&query.return_to), None)
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
    let page = Login {
        people,
        csrf: csrf.clone(),
        return_to: return_to.to_owned(),
        destination: return_to::destination(return_to),
        message,
    };
    let status = if message.is_some() { StatusCode::FORBIDDEN } else { StatusCode::OK };
    let needs = Needs { dashboards_of: Some(&app.public_url), logos: Vec::new() };
    let mut response = render(status, Framing::Top, &needs, &page);
    set_cookie(app, &mut response, app.cookies.csrf, &csrf, 600);
    response
}

#[derive(Deserialize)]
pub(crate) struct LoginForm {
    sub: String,
    csrf: String,
    #[serde(default)]
    return_to: String,
}

/// Signs a mock person in: through the same verification that a real provider's token would pass.
pub(crate) async fn login(
    State(app): State<App>,
    headers: HeaderMap,
    signed_in: Option<SignedIn>,
    Form(form): Form<LoginForm>,
) -> Result<Response, ProblemReply> {
    let return_to = return_to::safe(&form.return_to);
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
pub(crate) struct LogoutForm {
    csrf: String,
}

/// Signs out here and, through the revocation stream, on every dashboard.
pub(crate) async fn logout(
    State(app): State<App>,
    headers: HeaderMap,
    signed_in: Option<SignedIn>,
    Form(form): Form<LogoutForm>,
) -> Result<Response, ProblemReply> {
    let mut response = see_other("/login");
    if let Some(SignedIn(session)) = signed_in {
        check_genuine(&app, &headers, &session, &form.csrf)?;
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
