//! `GET /oauth/authorize`: from a signed-in browser to a one-time code for one dashboard and tenant.

use axum::{
    extract::{RawQuery, State},
    http::{HeaderMap, StatusCode},
    response::Response,
};
use kyros_shared_config::{DashboardHost, DashboardSlug, crypto::random_id, headers::CALLBACK_PATH, public_url::Site};

use super::OAuthForm;
use crate::{
    auth::SignedIn,
    portal::{self, Framing},
    state::{App, access_of},
    store::{AuditLine, NewCode, Outcome},
};

/// An authorization request that is safe to answer.
struct Wanted<'a> {
    host: DashboardHost,
    redirect_uri: &'a str,
    state: &'a str,
    code_challenge: &'a str,
}

/// Until the redirect address is known to be one of ours nothing is redirected (RFC 6749, section 4.1.2.1).
fn parse<'a>(app: &App, form: &'a OAuthForm) -> Option<Wanted<'a>> {
    if form.get("response_type") != Some("code") || form.get("code_challenge_method") != Some("S256") {
        return None;
    }
    let dashboard = DashboardSlug::from_audience(form.get("client_id")?)?;
    let redirect_uri = form.get("redirect_uri")?;
    let url = url::Url::parse(redirect_uri).ok()?;
    let authority = match (url.host_str()?, url.port()) {
        (host, Some(port)) => format!("{host}:{port}"),
        (host, None) => host.to_owned(),
    };
    let Site::Dashboard(host) = app.public_url.site_of(&authority) else { return None };
    // Compared as text with what it must be: no normalisation can make another address of it.
    let exact = format!("{}{CALLBACK_PATH}", app.public_url.dashboard_origin(&host));
    let code_challenge = form.get("code_challenge").filter(|challenge| challenge.len() == 43)?;
    let state = form.get("state").filter(|state| state.len() <= 512)?;
    (redirect_uri == exact && host.dashboard == dashboard).then_some(Wanted {
        host,
        redirect_uri,
        state,
        code_challenge,
    })
}

/// The authorization endpoint, for browsers: a code, the login page, or the page that says nothing about what exists.
#[utoipa::path(get, path = "/oauth/authorize", tag = "workloads",
    params(
        ("response_type" = String, Query, description = "code"),
        ("client_id" = String, Query, description = "dashboard:<slug>"),
        ("redirect_uri" = String, Query, description = "The dashboard host's /.kyros/callback"),
        ("state" = String, Query, description = "Given back as it is"),
        ("code_challenge" = String, Query, description = "RFC 7636"),
        ("code_challenge_method" = String, Query, description = "S256"),
    ),
    responses(
        (status = 303, description = "To the dashboard with a code, or to the login page"),
        (status = 400, description = "Not a request that may be answered with a redirect"),
        (status = 401, description = "Nobody is signed in, inside a frame"),
        (status = 403, description = "The person's tenant is suspended"),
        (status = 404, description = "Nothing here for this person"),
    ))]
pub(crate) async fn authorize(
    State(app): State<App>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    signed_in: Option<SignedIn>,
) -> Response {
    let query = query.unwrap_or_default();
    let framing = Framing::of(&headers);
    let Ok(form) = OAuthForm::parse(query.as_bytes()) else { return portal::bad_request(framing) };
    let Some(wanted) = parse(&app, &form) else { return portal::bad_request(framing) };
    let Some(SignedIn(session)) = signed_in else {
        return portal::sign_in_first(framing, &format!("/oauth/authorize?{query}"));
    };
    let decision = random_id();
    let snapshot = app.metadata.snapshot();
    let access = access_of(&session.identity);
    let granted = snapshot.grant(&access, &wanted.host.tenant, &wanted.host.dashboard).is_some();
    app.note(AuditLine {
        decision: decision.clone(),
        action: "authorize",
        outcome: if granted { Outcome::Allowed } else { Outcome::Denied },
        reason: if granted { "granted" } else { "not_granted" },
        subject: Some(session.identity.subject.clone()),
        tenant: Some(wanted.host.tenant.to_string()),
        dashboard: Some(wanted.host.dashboard.to_string()),
    })
    .await;
    if !granted {
        // A member is told, as the portal's own pages tell; to others it does not exist.
        let member_of = snapshot.membership(&access, &wanted.host.tenant);
        if let Some((record, _)) = member_of.filter(|(record, _)| record.suspended) {
            return portal::suspended(framing, &record.display_name);
        }
        return portal::error_page(StatusCode::NOT_FOUND, framing, &decision);
    }
    let code = NewCode {
        session_sid: &session.sid,
        tenant: &wanted.host.tenant,
        dashboard: &wanted.host.dashboard,
        redirect_uri: wanted.redirect_uri,
        code_challenge: wanted.code_challenge,
    };
    match app.store.make_code(&code).await {
        Ok(code) => {
            let query = url::form_urlencoded::Serializer::new(String::new())
                .append_pair("code", code.expose())
                .append_pair("state", wanted.state)
                // RFC 9207, section 2: the client can tell who answered.
                .append_pair("iss", &app.public_url.origin())
                .finish();
            portal::see_other(&format!("{}?{query}", wanted.redirect_uri))
        }
        Err(error) => {
            tracing::error!(decision, %error, "no code could be made");
            portal::error_page(StatusCode::INTERNAL_SERVER_ERROR, framing, &decision)
        }
    }
}
