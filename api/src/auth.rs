//! Who asks: extractors that are the only way from a request to a session, a person, a workload or a scope.

use std::sync::Arc;

use axum::{
    extract::{FromRequestParts, OptionalFromRequestParts},
    http::{HeaderMap, header, request::Parts},
};
use kyros_shared_config::{TenantScope, UserIdentity, Workload, crypto::random_id, headers};

use crate::{
    reply::ProblemReply,
    state::App,
    store::{AuditLine, Outcome, Session},
    workload_trust::Caller,
};

/// The one Bearer token of a request; two headers or another scheme are no token.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next().filter(|_| values.next().is_none())?;
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token)
}

/// A cookie's value; sent twice it is no value. Other cookies may hold any bytes.
pub(crate) fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut found = headers
        .get_all(header::COOKIE)
        .iter()
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b';'))
        .filter_map(|pair| pair.trim_ascii().strip_prefix(name.as_bytes())?.strip_prefix(b"="));
    found.next().filter(|_| found.next().is_none()).and_then(|value| std::str::from_utf8(value).ok())
}

/// The signed-in person's session, from the cookie.
pub(crate) struct SignedIn(pub(crate) Session);

impl OptionalFromRequestParts<App> for SignedIn {
    type Rejection = ProblemReply;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Option<Self>, ProblemReply> {
        let Some(handle) = cookie(&parts.headers, app.cookies.session) else { return Ok(None) };
        let session = app.store.session(handle).await.map_err(|error| ProblemReply::internal(&error))?;
        Ok(session.map(Self))
    }
}

/// A person, from the session's cookie or from a user token.
pub(crate) struct Person(pub(crate) UserIdentity);

impl FromRequestParts<App> for Person {
    type Rejection = ProblemReply;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ProblemReply> {
        if parts.headers.contains_key(header::AUTHORIZATION) {
            let token = bearer(&parts.headers).ok_or_else(ProblemReply::unauthorized)?;
            return app.verify_user(token).await.map(Self).map_err(|_| ProblemReply::unauthorized());
        }
        let session = <SignedIn as OptionalFromRequestParts<App>>::from_request_parts(parts, app).await?;
        session.map(|session| Self(session.0.identity)).ok_or_else(ProblemReply::unauthorized)
    }
}

/// A verified workload: this dashboard's sidecar speaks.
pub(crate) struct FromSidecar(pub(crate) Workload);

impl FromRequestParts<App> for FromSidecar {
    type Rejection = ProblemReply;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ProblemReply> {
        match caller(parts, app).await? {
            Caller::Sidecar(workload) => Ok(Self(workload)),
            Caller::Gateway => Err(ProblemReply::unauthorized()),
        }
    }
}

/// A workload speaks, perhaps one that nothing asks for any more: it must still hear what is taken back.
pub(crate) struct FromAnyWorkload;

impl FromRequestParts<App> for FromAnyWorkload {
    type Rejection = ProblemReply;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ProblemReply> {
        let token = bearer(&parts.headers).ok_or_else(ProblemReply::unauthorized)?;
        app.any_workload(token).await.map(|_| Self).ok_or_else(ProblemReply::unauthorized)
    }
}

/// The gateway speaks.
pub(crate) struct FromGateway;

impl FromRequestParts<App> for FromGateway {
    type Rejection = ProblemReply;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ProblemReply> {
        match caller(parts, app).await? {
            Caller::Gateway => Ok(Self),
            Caller::Sidecar(_) => Err(ProblemReply::unauthorized()),
        }
    }
}

async fn caller(parts: &Parts, app: &App) -> Result<Caller, ProblemReply> {
    let token = bearer(&parts.headers).ok_or_else(ProblemReply::unauthorized)?;
    app.caller(token).await.ok_or_else(ProblemReply::unauthorized)
}

/// The scope of a tenant token that still stands: not revoked, tenant and dashboard as they were, not suspended.
pub(crate) struct Scoped(pub(crate) Arc<TenantScope>);

impl FromRequestParts<App> for Scoped {
    type Rejection = ProblemReply;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ProblemReply> {
        let refuse_selection = selects_tenant(parts);
        let token = bearer(&parts.headers).ok_or_else(ProblemReply::unauthorized)?;
        let scope = app.tenant_tokens.verify(token).map_err(|_| ProblemReply::unauthorized())?;
        if refuse_selection {
            let action = if parts.uri.path().starts_with("/api/data") { "data" } else { "metadata" };
            return Err(tenant_not_selectable(app, &scope, action).await);
        }
        if !app.revoker.is_enforcing() {
            return Err(ProblemReply::unavailable("grants-changing", "Grants are being changed, try again"));
        }
        if !app.stands(&scope) {
            return Err(ProblemReply::unauthorized());
        }
        Ok(Self(scope))
    }
}

/// Whether a header or a query parameter tries to choose the tenant.
fn selects_tenant(parts: &Parts) -> bool {
    let by_header = parts.headers.keys().any(|name| headers::selects_tenant(name.as_str()));
    let query = parts.uri.query().unwrap_or_default();
    let by_query = url::form_urlencoded::parse(query.as_bytes()).any(|(name, _)| is_tenant_parameter(&name));
    by_header || by_query
}

const TENANT_PARAMETERS: [&str; 6] = ["tenant", "tenant_id", "tenantid", "tenant_uid", "tenants", "tenant_ids"];

/// The parameter and member names by which clients elsewhere choose a tenant.
pub(crate) fn is_tenant_parameter(name: &str) -> bool {
    // Asked of every parameter of every request, so nothing is copied.
    let folded = || name.bytes().map(|byte| if matches!(byte, b'-' | b'.') { b'_' } else { byte.to_ascii_lowercase() });
    TENANT_PARAMETERS.iter().any(|wanted| folded().eq(wanted.bytes()))
}

/// 400, and a line in the audit: somebody tried to leave their tenant.
pub(crate) async fn tenant_not_selectable(app: &App, scope: &TenantScope, action: &'static str) -> ProblemReply {
    let decision = random_id();
    app.note(AuditLine {
        decision: decision.clone(),
        action,
        outcome: Outcome::Denied,
        reason: "tenant_not_selectable",
        subject: Some(scope.subject().to_owned()),
        tenant: Some(scope.tenant().to_string()),
        dashboard: Some(scope.dashboard().to_string()),
    })
    .await;
    let problem = kyros_shared_config::Problem::new(
        axum::http::StatusCode::BAD_REQUEST,
        "tenant-not-selectable",
        "The tenant comes from the token alone",
        &decision,
    );
    problem.with_detail("remove the tenant from the query, the body and the headers").into()
}

#[cfg(test)]
mod tests {
    use super::is_tenant_parameter;

    #[test]
    fn every_spelling_of_a_parameter_that_chooses_a_tenant_is_known_and_no_other_name() {
        for name in ["tenant", "Tenant", "tenant-id", "TENANT.ID", "tenant_uid", "tenantId", "tenants", "tenant-ids"] {
            assert!(is_tenant_parameter(name), "{name}");
        }
        for name in ["", "tenan", "tenant_", "tenant__id", "tenancy", "x_tenant", "limit", "tenänt"] {
            assert!(!is_tenant_parameter(name), "{name}");
        }
    }
}
