//! `GET /api/me`, `/api/tenant`, `/api/dashboards`: what a person or a token may know of the resources.

use axum::{
    extract::{Path, State},
    http::StatusCode,
    response::Response,
};
use kyros_metadata::{Branding, DashboardRecord, Isolation, Limits};
use kyros_shared_config::{DashboardHost, DashboardSlug, DatasetName, TenantId, TenantScope};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    auth::{Person, Scoped},
    reply::{ProblemReply, json_no_store},
    state::{App, access_of},
};

/// The person who asks.
#[derive(Serialize, ToSchema)]
pub(crate) struct Me {
    sub: String,
    email: Option<String>,
    name: Option<String>,
    /// The tenants that the token lists, whether or not they can be opened.
    #[schema(value_type = Vec<String>)]
    tenant_ids: Vec<TenantId>,
    /// The tenants that the person may choose.
    tenants: Vec<MyTenant>,
}

/// A tenant that a person may choose.
#[derive(Serialize, ToSchema)]
pub(crate) struct MyTenant {
    #[schema(value_type = String)]
    id: TenantId,
    display_name: String,
    suspended: bool,
    roles: Vec<String>,
    #[schema(value_type = Vec<String>)]
    dashboards: Vec<DashboardSlug>,
}

/// Who I am, by session cookie or user token.
#[utoipa::path(get, path = "/api/me", tag = "identity", responses(
    (status = 200, description = "The person", body = Me),
    (status = 401, description = "Neither a session nor a valid user token"),
))]
pub(crate) async fn me(State(app): State<App>, Person(identity): Person) -> Response {
    let snapshot = app.metadata.snapshot();
    let tenants = identity
        .tenant_ids
        .iter()
        .filter_map(|id| snapshot.membership(&access_of(&identity), id))
        .map(|(record, roles)| MyTenant {
            id: record.id.clone(),
            display_name: record.display_name.clone(),
            suspended: record.suspended,
            roles,
            dashboards: record.dashboards.clone(),
        })
        .collect();
    let me = Me {
        sub: identity.subject,
        email: identity.email,
        name: identity.name,
        tenant_ids: identity.tenant_ids,
        tenants,
    };
    json_no_store(StatusCode::OK, &me)
}

/// The token's own tenant.
#[derive(Serialize, ToSchema)]
pub(crate) struct TenantView {
    #[schema(value_type = String)]
    id: TenantId,
    display_name: String,
    #[schema(value_type = Object)]
    branding: Branding,
    #[schema(value_type = Object)]
    limits: Limits,
}

/// The tenant of the token.
#[utoipa::path(get, path = "/api/tenant", tag = "metadata", responses(
    (status = 200, description = "The tenant", body = TenantView),
    (status = 400, description = "The request tries to choose a tenant"),
    (status = 401, description = "No valid tenant token"),
))]
pub(crate) async fn tenant(State(app): State<App>, Scoped(scope): Scoped) -> Result<Response, ProblemReply> {
    let snapshot = app.metadata.snapshot();
    let record = snapshot.tenants.get(scope.tenant()).ok_or_else(ProblemReply::unauthorized)?;
    let view = TenantView {
        id: record.id.clone(),
        display_name: record.display_name.clone(),
        branding: record.branding.clone(),
        limits: record.limits,
    };
    Ok(json_no_store(StatusCode::OK, &view))
}

/// A dashboard that the token's tenant may open.
#[derive(Serialize, ToSchema)]
pub(crate) struct DashboardView {
    #[schema(value_type = String)]
    slug: DashboardSlug,
    title: String,
    description: String,
    #[schema(value_type = String)]
    isolation: Isolation,
    #[schema(value_type = Vec<String>)]
    datasets: Vec<DatasetName>,
    /// Where the tenant opens it.
    url: String,
}

fn view(app: &App, scope: &TenantScope, record: &DashboardRecord) -> DashboardView {
    let host = DashboardHost { dashboard: record.slug.clone(), tenant: scope.tenant().clone() };
    DashboardView {
        slug: record.slug.clone(),
        title: record.title.clone(),
        description: record.description.clone(),
        isolation: record.isolation,
        datasets: record.datasets.clone(),
        url: app.public_url.dashboard_origin(&host),
    }
}

/// The dashboards that the token's tenant may open.
#[utoipa::path(get, path = "/api/dashboards", tag = "metadata", responses(
    (status = 200, description = "The dashboards", body = [DashboardView]),
    (status = 400, description = "The request tries to choose a tenant"),
    (status = 401, description = "No valid tenant token"),
))]
pub(crate) async fn dashboards(State(app): State<App>, Scoped(scope): Scoped) -> Response {
    let snapshot = app.metadata.snapshot();
    let granted = snapshot.tenants.get(scope.tenant()).map(|record| record.dashboards.as_slice()).unwrap_or_default();
    let views: Vec<_> =
        granted.iter().filter_map(|slug| snapshot.dashboards.get(slug)).map(|r| view(&app, &scope, r)).collect();
    json_no_store(StatusCode::OK, &views)
}

/// One dashboard that the token's tenant may open.
#[utoipa::path(get, path = "/api/dashboards/{slug}", tag = "metadata",
    params(("slug" = String, Path, description = "The dashboard's slug")),
    responses(
        (status = 200, description = "The dashboard", body = DashboardView),
        (status = 400, description = "The request tries to choose a tenant"),
        (status = 401, description = "No valid tenant token"),
        (status = 404, description = "No such dashboard for this tenant"),
    ))]
pub(crate) async fn dashboard(
    State(app): State<App>,
    Scoped(scope): Scoped,
    Path(slug): Path<String>,
) -> Result<Response, ProblemReply> {
    let snapshot = app.metadata.snapshot();
    let slug: DashboardSlug = slug.parse().map_err(|_| ProblemReply::not_found())?;
    let granted = snapshot.tenants.get(scope.tenant()).is_some_and(|record| record.dashboards.contains(&slug));
    let record = snapshot.dashboards.get(&slug).filter(|_| granted).ok_or_else(ProblemReply::not_found)?;
    Ok(json_no_store(StatusCode::OK, &view(&app, &scope, record)))
}
