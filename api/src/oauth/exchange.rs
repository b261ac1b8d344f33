//! `POST /api/token/exchange`: a user's token for one tenant's, by RFC 8693 or in a short JSON form.

use axum::{
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse as _, Response},
};
use kyros_shared_config::{
    DashboardSlug, TenantId, UserIdentity,
    crypto::{ordered_id, random_id},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    OAuthError, OAuthForm,
    form::{is_form, media_type},
    grant::{self, Decision},
};
use crate::{
    auth::bearer,
    reply::{ProblemReply, json_no_store},
    state::App,
    store::{AuditLine, NewExchange, Outcome},
};

const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

/// The short form; the user token is the request's Bearer token.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ShortForm {
    /// The one tenant.
    #[schema(value_type = String)]
    tenant_id: String,
    /// The one dashboard.
    #[schema(value_type = String)]
    dashboard: String,
}

/// A successful exchange (RFC 8693, section 2.2.1).
#[derive(Serialize, ToSchema)]
pub(crate) struct Exchanged {
    access_token: String,
    issued_token_type: &'static str,
    token_type: &'static str,
    /// Seconds.
    expires_in: i64,
}

/// Exchange a user token for a tenant token.
///
/// The RFC 8693 form takes `grant_type`, `subject_token`, `subject_token_type`, `audience=dashboard:<slug>` and `tenant_id`;
/// the JSON form takes the user token as Bearer. Both give the same answer.
#[utoipa::path(post, path = "/api/token/exchange", tag = "tokens",
    request_body(content = ShortForm, description = "the JSON form, or an RFC 8693 form"),
    responses(
        (status = 200, description = "A tenant token for one dashboard", body = Exchanged),
        (status = 400, description = "invalid_request, invalid_target or unsupported_grant_type"),
        (status = 401, description = "No valid user token (JSON form)"),
        (status = 415, description = "Neither a form nor JSON"),
        (status = 503, description = "temporarily_unavailable: grants are not certain now, ask again"),
    ))]
pub(crate) async fn exchange(State(app): State<App>, headers: HeaderMap, body: Bytes) -> Response {
    let result = if is_form(&headers) {
        by_form(&app, &body).await
    } else if media_type(&headers).is_some_and(|kind| kind.eq_ignore_ascii_case("application/json")) {
        match by_json(&app, &headers, &body).await {
            Ok(result) => result,
            Err(problem) => return problem.into_response(),
        }
    } else {
        let title = "Send application/x-www-form-urlencoded or application/json";
        return ProblemReply::of(StatusCode::UNSUPPORTED_MEDIA_TYPE, "media-type", title).into_response();
    };
    match result {
        Ok(exchanged) => json_no_store(StatusCode::OK, &exchanged),
        Err(error) => error.into_response(),
    }
}

async fn by_form(app: &App, body: &[u8]) -> Result<Exchanged, OAuthError> {
    let form = OAuthForm::parse(body)?;
    if form.required("grant_type")? != GRANT_TYPE {
        return Err(OAuthError::unsupported_grant_type());
    }
    let subject_token = form.required("subject_token")?;
    if ![ACCESS_TOKEN, JWT].contains(&form.required("subject_token_type")?) {
        return Err(OAuthError::invalid_request("subject_token_type must be access_token or jwt"));
    }
    if form.get("actor_token").is_some() || form.get("actor_token_type").is_some() {
        return Err(OAuthError::invalid_request("delegation by actor_token is not served here"));
    }
    if form.get("requested_token_type").is_some_and(|wanted| ![ACCESS_TOKEN, JWT].contains(&wanted)) {
        return Err(OAuthError::invalid_request("requested_token_type must be access_token or jwt"));
    }
    if form.get("scope").is_some() {
        return Err(OAuthError::invalid_request("scopes are not served here; the dashboard is the scope"));
    }
    let tenant = form.required("tenant_id")?;
    let audience = form.required("audience")?;
    // RFC 8693, section 2.2.2: an invalid subject token is an invalid request, not an invalid grant.
    let identity = app
        .verify_user(subject_token)
        .await
        .map_err(|_| OAuthError::invalid_request("the subject token is not valid here"))?;
    narrow(app, &identity, tenant.parse().ok(), DashboardSlug::from_audience(audience)).await
}

async fn by_json(app: &App, headers: &HeaderMap, body: &[u8]) -> Result<Result<Exchanged, OAuthError>, ProblemReply> {
    let token = bearer(headers).ok_or_else(ProblemReply::unauthorized)?;
    let identity = app.verify_user(token).await.map_err(|_| ProblemReply::unauthorized())?;
    let Ok(wanted) = serde_json::from_slice::<ShortForm>(body) else {
        return Ok(Err(OAuthError::invalid_request("send {\"tenant_id\": …, \"dashboard\": …}")));
    };
    Ok(narrow(app, &identity, wanted.tenant_id.parse().ok(), wanted.dashboard.parse().ok()).await)
}

/// Grants exactly what was asked or nothing. A name that cannot be one is as unknown as any other.
async fn narrow(
    app: &App,
    identity: &UserIdentity,
    tenant: Option<TenantId>,
    dashboard: Option<DashboardSlug>,
) -> Result<Exchanged, OAuthError> {
    let decision = random_id();
    let line = |outcome, reason| AuditLine {
        decision: decision.clone(),
        action: "exchange",
        outcome,
        reason,
        subject: Some(identity.subject.clone()),
        tenant: tenant.as_ref().map(ToString::to_string),
        dashboard: dashboard.as_ref().map(ToString::to_string),
    };
    let denied = || OAuthError { decision: decision.clone(), ..OAuthError::invalid_target() };
    let (Some(tenant_id), Some(slug)) = (&tenant, &dashboard) else {
        app.note(line(Outcome::Denied, "no_such_name")).await;
        return Err(denied());
    };
    let session = ordered_id();
    let request = grant::Request {
        identity,
        tenant: tenant_id,
        dashboard: slug,
        session: &session,
        client_id: "exchange",
        actor: None,
        not_after: identity.expires_at,
    };
    match grant::decide(app, &request).map_err(|error| OAuthError::server_error(&error))? {
        Decision::Unavailable => Err(OAuthError::temporarily_unavailable()),
        Decision::Denied => {
            app.note(line(Outcome::Denied, "not_granted")).await;
            Err(denied())
        }
        Decision::Granted { token, tenant_uid, granted_by } => {
            let exchange = NewExchange {
                sid: &session,
                identity,
                tenant: tenant_id,
                tenant_uid: &tenant_uid,
                dashboard: slug,
                expires_at: token.expires_at,
            };
            // Before the answer: a token that a lost grant could not reach must not be in anybody's hands.
            let written = app.remember(&exchange, line(Outcome::Allowed, "granted")).await;
            written.map_err(|error| OAuthError::server_error(&error))?;
            // A change until now is seen here, a later one by the revoker. The line that allowed it is on the disk, and this
            // one after it says that nobody got the token.
            if grant::still_granted(app, granted_by, &tenant_uid, &request).is_none() {
                app.note(line(Outcome::Denied, "lost_meanwhile")).await;
                return Err(denied());
            }
            Ok(Exchanged {
                access_token: token.token.expose().clone(),
                issued_token_type: ACCESS_TOKEN,
                token_type: "Bearer",
                expires_in: token.expires_in,
            })
        }
    }
}
