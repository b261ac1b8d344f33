//! `POST /oauth/token`, `/oauth/revoke` and `/oauth/introspect`: for sidecars, which authenticate with their workload's own
//! token (RFC 7523, section 2.2).

use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use kyros_shared_config::{
    Actor, TenantId, WebOrigin, Workload,
    clock::unix_now,
    crypto::{random_id, sha256_base64url},
};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use super::{
    OAuthError, OAuthForm,
    grant::{self, Decision},
};
use crate::{
    reply::json_no_store,
    state::App,
    store::{AppSession, AuditLine, CodeGrant, Outcome, TakenCode},
    workload_trust::Caller,
};

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// A tenant token for a sidecar (RFC 6749, section 5.1).
#[derive(Serialize, ToSchema)]
pub(crate) struct IssuedToken {
    access_token: String,
    token_type: &'static str,
    /// Seconds.
    expires_in: i64,
    /// The app session's handle; only for a code.
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<String>,
    /// How long the app session may live at most, in seconds.
    refresh_expires_in: i64,
    /// Origins, besides the portal's, whose pages may frame the token's tenant's dashboards: that tenant's
    /// `embedding.allowedOrigins` as they are now. Left out when there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>, required = false, example = json!(["https://intranet.acme.example"]))]
    frame_ancestors: Vec<WebOrigin>,
}

/// The workload whose sidecar speaks.
async fn client(app: &App, form: &OAuthForm) -> Result<Workload, OAuthError> {
    if form.get("client_assertion_type") != Some(ASSERTION_TYPE) {
        return Err(OAuthError::invalid_client());
    }
    let assertion = form.get("client_assertion").ok_or_else(OAuthError::invalid_client)?;
    match app.caller(assertion).await {
        Some(Caller::Sidecar(workload)) => Ok(workload),
        Some(Caller::Gateway) | None => Err(OAuthError::invalid_client()),
    }
}

/// Redeem an authorization code or renew a tenant token.
#[utoipa::path(post, path = "/oauth/token", tag = "workloads",
    request_body(content = Object, content_type = "application/x-www-form-urlencoded", description = "grant_type=authorization_code or refresh_token, with client_assertion (RFC 7523)"),
    responses(
        (status = 200, description = "A tenant token and, for a code, an app session", body = IssuedToken),
        (status = 400, description = "invalid_request, invalid_grant or unsupported_grant_type"),
        (status = 401, description = "invalid_client"),
        (status = 503, description = "temporarily_unavailable: grants are not certain now, ask again"),
    ))]
pub(crate) async fn token(State(app): State<App>, form: OAuthForm) -> Response {
    let result = async {
        let workload = client(&app, &form).await?;
        match form.required("grant_type")? {
            "authorization_code" => redeem(&app, &form, &workload).await,
            "refresh_token" => renew(&app, &form, &workload).await,
            _ => Err(OAuthError::unsupported_grant_type()),
        }
    };
    match result.await {
        Ok(answer) => json_no_store(StatusCode::OK, &answer),
        Err(error) => error.into_response(),
    }
}

/// RFC 6749, section 4.1.3, with PKCE (RFC 7636, section 4.6).
async fn redeem(app: &App, form: &OAuthForm, workload: &Workload) -> Result<IssuedToken, OAuthError> {
    let code_challenge = sha256_base64url(form.required("code_verifier")?.as_bytes());
    let sid = random_id();
    let taken = TakenCode {
        code: form.required("code")?,
        dashboard: &workload.dashboard,
        redirect_uri: form.required("redirect_uri")?,
        code_challenge: &code_challenge,
        app_sid: &sid,
    };
    let snapshot = app.metadata.snapshot();
    let uid_of = |tenant: &TenantId| snapshot.tenants.get(tenant).map(|record| record.uid.clone());
    let granted = app.store.take_code(&taken, uid_of).await.map_err(|error| OAuthError::server_error(&error))?;
    match granted {
        CodeGrant::Granted { handle, app: session } => match issue(app, &session, workload).await {
            Ok(answer) => Ok(IssuedToken { refresh_token: Some(handle.expose().clone()), ..answer }),
            // The code is spent and nobody has the handle: a session that could never be used must not live on.
            Err(error) => {
                end(app, sid).await?;
                Err(error)
            }
        },
        CodeGrant::Invalid => Err(OAuthError::invalid_grant()),
        CodeGrant::Replayed { app_sid } => {
            // RFC 6749, section 4.1.2: whoever came first may have been the thief.
            if let Some(sid) = app_sid {
                end(app, sid).await?;
            }
            Err(OAuthError::invalid_grant())
        }
    }
}

async fn end(app: &App, sid: String) -> Result<(), OAuthError> {
    app.revoker.end_by_ids(vec![sid]).await.map_err(|error| OAuthError::server_error(&error))
}

/// RFC 6749, section 6. The handle stays the same: it is bound to this workload and never seen by a script.
async fn renew(app: &App, form: &OAuthForm, workload: &Workload) -> Result<IssuedToken, OAuthError> {
    let handle = form.required("refresh_token")?;
    let found = app.store.app_session(handle, &workload.dashboard).await;
    let found = found.map_err(|error| OAuthError::server_error(&error))?;
    issue(app, &found.ok_or_else(OAuthError::invalid_grant)?, workload).await
}

/// A token for an app session, as the grants are now. A workload that serves one tenant gets no other's, whatever it holds.
async fn issue(app: &App, app_session: &AppSession, workload: &Workload) -> Result<IssuedToken, OAuthError> {
    let AppSession { sid, tenant, tenant_uid, dashboard, session } = app_session;
    if !workload.serves(tenant) {
        return Err(OAuthError::invalid_grant());
    }
    let decision = random_id();
    let client_id = dashboard.audience();
    let request = grant::Request {
        identity: &session.identity,
        tenant,
        dashboard,
        session: sid,
        client_id: &client_id,
        actor: Some(Actor { sub: client_id.clone() }),
        not_after: session.expires_at,
    };
    let decided = match grant::decide(app, &request).map_err(|error| OAuthError::server_error(&error))? {
        // A tenant made anew under the same name has granted nothing to this session.
        Decision::Granted { tenant_uid: uid_now, .. } if uid_now != *tenant_uid => Decision::Denied,
        decided => decided,
    };
    let (outcome, reason) = match &decided {
        Decision::Granted { .. } => (Outcome::Allowed, "granted"),
        Decision::Denied => (Outcome::Denied, "not_granted"),
        Decision::Unavailable => return Err(OAuthError::temporarily_unavailable()),
    };
    app.note(AuditLine {
        decision: decision.clone(),
        action: "issue",
        outcome,
        reason,
        subject: Some(session.identity.subject.clone()),
        tenant: Some(tenant.to_string()),
        dashboard: Some(dashboard.to_string()),
    })
    .await;
    match decided {
        Decision::Denied | Decision::Unavailable => Err(OAuthError { decision, ..OAuthError::invalid_grant() }),
        Decision::Granted { token, granted_by, .. } => Ok(IssuedToken {
            access_token: token.token.expose().clone(),
            token_type: "Bearer",
            expires_in: token.expires_in,
            refresh_token: None,
            refresh_expires_in: session.expires_at - unix_now(),
            frame_ancestors: grant::frame_ancestors(&granted_by, tenant),
        }),
    }
}

/// End an app session (RFC 7009). Unknown tokens are answered like known ones (section 2.2).
#[utoipa::path(post, path = "/oauth/revoke", tag = "workloads",
    request_body(content = Object, content_type = "application/x-www-form-urlencoded", description = "token, with client_assertion"),
    responses(
        (status = 200, description = "Ended, or was never there", body = serde_json::Value),
        (status = 400, description = "invalid_request"),
        (status = 401, description = "invalid_client"),
    ))]
pub(crate) async fn revoke(State(app): State<App>, form: OAuthForm) -> Response {
    let result = async {
        let workload = client(&app, &form).await?;
        let handle = form.required("token")?;
        app.revoker.end_app_session(handle, &workload.dashboard).await.map_err(|error| OAuthError::server_error(&error))
    };
    match result.await {
        Ok(()) => json_no_store(StatusCode::OK, &json!({})),
        Err(error) => error.into_response(),
    }
}

/// What a tenant token of the asking dashboard is worth now (RFC 7662). Anything else is inactive, without a reason.
#[utoipa::path(post, path = "/oauth/introspect", tag = "workloads",
    request_body(content = Object, content_type = "application/x-www-form-urlencoded", description = "token, with client_assertion"),
    responses(
        (status = 200, description = "Active with claims, or only active: false", body = serde_json::Value),
        (status = 400, description = "invalid_request"),
        (status = 401, description = "invalid_client"),
    ))]
pub(crate) async fn introspect(State(app): State<App>, form: OAuthForm) -> Response {
    let result = async { Ok((client(&app, &form).await?, form.required("token")?)) };
    let (workload, token) = match result.await {
        Ok(found) => found,
        Err(error) => return OAuthError::into_response(error),
    };
    let scope = app.tenant_tokens.verify(token).ok().filter(|scope| {
        let snapshot = app.metadata.snapshot();
        *scope.dashboard() == workload.dashboard
            && workload.serves(scope.tenant())
            && !app.revoker.is_revoked(scope)
            && snapshot.still_granted(scope.tenant(), scope.tenant_uid(), scope.dashboard()).is_some()
    });
    let body = match scope {
        None => json!({"active": false}),
        Some(scope) => json!({
            "active": true,
            "token_type": "Bearer",
            "iss": app.issuer.name(),
            "aud": scope.dashboard().audience(),
            "sub": scope.subject(),
            "tenant_id": scope.tenant(),
            "dashboard": scope.dashboard(),
            "roles": scope.roles(),
            "jti": scope.token_id(),
            "iat": scope.issued_at(),
            "exp": scope.expires_at(),
        }),
    };
    json_no_store(StatusCode::OK, &body)
}
