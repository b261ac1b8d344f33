//! Small things about the signed-in person: whether a view's right still stands, and the theme they chose.

use axum::{
    Form, Json,
    extract::{Query, State},
    http::HeaderMap,
    response::Response,
};
use kyros_shared_config::{DashboardSlug, TenantId, clock::unix_now};
use serde::{Deserialize, Serialize};

use super::{
    forms::{check_genuine, set_cookie},
    pages::see_other,
    return_to,
    theme::{self, Theme},
};
use crate::{
    auth::SignedIn,
    reply::ProblemReply,
    state::{App, access_of},
    store::Session,
};

#[derive(Deserialize)]
pub(crate) struct Showing {
    tenant: String,
    dashboard: String,
}

/// Whether a page may go on showing what it shows.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Standing {
    Open,
    SignedOut,
    Suspended,
    NotGranted,
}

#[derive(Serialize)]
pub(crate) struct Answer {
    state: Standing,
    /// Until the session ends, in seconds.
    expires_in: i64,
}

/// Asked by the portal's own script while a dashboard is open: what a frame shows must not outlive the right to see it. Another
/// origin cannot read the answer.
pub(crate) async fn standing(
    State(app): State<App>,
    Query(showing): Query<Showing>,
    signed_in: Option<SignedIn>,
) -> Json<Answer> {
    let Some(SignedIn(session)) = signed_in else {
        return Json(Answer { state: Standing::SignedOut, expires_in: 0 });
    };
    Json(Answer { state: standing_of(&app, &session, &showing), expires_in: (session.expires_at - unix_now()).max(0) })
}

fn standing_of(app: &App, session: &Session, showing: &Showing) -> Standing {
    let names = showing.tenant.parse::<TenantId>().ok().zip(showing.dashboard.parse::<DashboardSlug>().ok());
    let Some((tenant, dashboard)) = names else { return Standing::NotGranted };
    let snapshot = app.metadata.snapshot();
    let access = access_of(&session.identity);
    match snapshot.membership(&access, &tenant) {
        Some((record, _)) if record.suspended => Standing::Suspended,
        Some(_) if snapshot.grant(&access, &tenant, &dashboard).is_some() => Standing::Open,
        _ => Standing::NotGranted,
    }
}

#[derive(Deserialize)]
pub(crate) struct ThemeForm {
    theme: Theme,
    csrf: String,
    #[serde(default)]
    return_to: String,
}

/// Keeps the choice and comes back.
pub(crate) async fn choose_theme(
    State(app): State<App>,
    headers: HeaderMap,
    signed_in: Option<SignedIn>,
    Form(form): Form<ThemeForm>,
) -> Result<Response, ProblemReply> {
    let Some(SignedIn(session)) = signed_in else { return Ok(see_other("/login")) };
    check_genuine(&app, &headers, &session, &form.csrf)?;
    let mut response = see_other(return_to::safe(&form.return_to));
    let life = if form.theme == Theme::System { 0 } else { theme::LIFE };
    set_cookie(&app, &mut response, app.cookies.theme, form.theme.as_str(), life);
    Ok(response)
}
