//! Choosing a tenant, its gallery, and one dashboard in its frame.

use axum::{
    extract::{OriginalUri, Path, Query, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use kyros_metadata::{Snapshot, TenantRecord};
use kyros_shared_config::{DashboardHost, DashboardSlug, TenantId, clock::unix_now, crypto::random_id};
use serde::Deserialize;

use super::{
    cards::{Bar, BarOf, display_name, frame_address, tenant_colours, tenants_of},
    forms::set_cookie,
    pages::{Framing, Gallery, Needs, Tenants, View, error_page, render, see_other, sign_in_first, suspended},
    recent::{self, Recent},
    theme::Theme,
};
use crate::{
    auth::{SignedIn, cookie},
    state::{App, access_of},
    store::Session,
};

/// To wherever this person begins.
pub(crate) async fn home(signed_in: Option<SignedIn>) -> Response {
    see_other(if signed_in.is_some() { "/tenants" } else { "/login" })
}

/// The tenant selection; who has one tenant has nothing to select.
pub(crate) async fn tenants(State(app): State<App>, headers: HeaderMap, signed_in: Option<SignedIn>) -> Response {
    let Some(SignedIn(session)) = signed_in else { return see_other("/login") };
    let recent = recent_of(&app, &headers, &session);
    let cards = tenants_of(&session, &app.metadata.snapshot(), &recent);
    if let [only] = cards.as_slice()
        && !only.suspended
    {
        return see_other(&format!("/t/{}", only.id));
    }
    let logos = cards.iter().filter_map(super::cards::TenantCard::logo_origin).collect();
    let page = Tenants { cards, person: display_name(&session), csrf: session.csrf.clone() };
    render(StatusCode::OK, Framing::Top, &Needs { dashboards_of: None, logos }, &page)
}

#[derive(Deserialize)]
pub(crate) struct Search {
    #[serde(default)]
    q: String,
}

/// Longest search text, in characters; the rest of a longer one is not looked for.
const MAX_SEARCH: usize = 200;

/// A tenant's dashboards.
pub(crate) async fn gallery(
    State(app): State<App>,
    Path(tenant): Path<String>,
    Query(search): Query<Search>,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
    signed_in: Option<SignedIn>,
) -> Response {
    let Some(SignedIn(session)) = signed_in else { return sign_in_first(Framing::Top, &here(&uri)) };
    let snapshot = app.metadata.snapshot();
    let record = match member_of(&session, &snapshot, &tenant) {
        Ok(record) => record,
        Err(refusal) => return refusal,
    };
    let visit = Visit::new(&app, &headers, &session);
    let Some(bar) = visit.bar(record, &snapshot, &uri) else { return nothing_here() };
    let query: String = search.q.trim().chars().take(MAX_SEARCH).collect();
    let found = (0..bar.dashboards.len()).filter(|&at| bar.dashboards[at].matches(&query)).collect();
    let logos = bar.tenant.logo_origin().into_iter().collect();
    render(StatusCode::OK, Framing::Top, &Needs { dashboards_of: None, logos }, &Gallery { bar, found, query })
}

/// One dashboard, at whatever address of its own stands after the portal's.
pub(crate) async fn view(
    State(app): State<App>,
    Path(names): Path<Vec<(String, String)>>,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
    signed_in: Option<SignedIn>,
) -> Response {
    let Some(SignedIn(session)) = signed_in else { return sign_in_first(Framing::Top, &here(&uri)) };
    let part = |wanted: &str| names.iter().find(|(name, _)| name == wanted).map_or("", |(_, value)| value.as_str());
    let snapshot = app.metadata.snapshot();
    let record = match member_of(&session, &snapshot, part("tenant")) {
        Ok(record) => record,
        Err(refusal) => return refusal,
    };
    let granted = part("dashboard")
        .parse::<DashboardSlug>()
        .ok()
        .and_then(|slug| snapshot.grant(&access_of(&session.identity), &record.id, &slug));
    let Some((_, dashboard, _)) = granted else { return nothing_here() };
    let visit = Visit::new(&app, &headers, &session);
    let Some(bar) = visit.bar(record, &snapshot, &uri) else { return nothing_here() };
    let host = DashboardHost { dashboard: dashboard.slug.clone(), tenant: record.id.clone() };
    let portal_part = format!("/t/{}/d/{}", record.id, dashboard.slug);
    let Some(tail) = uri.path_and_query().and_then(|all| all.as_str().strip_prefix(&portal_part)) else {
        return nothing_here();
    };
    let needs = Needs { dashboards_of: Some(&app.public_url), logos: bar.tenant.logo_origin().into_iter().collect() };
    let page = View {
        bar,
        slug: dashboard.slug.clone(),
        title: dashboard.title.clone(),
        src: frame_address(&app.public_url, &host, tail),
        origin: app.public_url.dashboard_origin(&host),
    };
    let mut response = render(StatusCode::OK, Framing::Top, &needs, &page);
    let opened = visit.recent.opened(&record.id, &dashboard.slug).to_cookie(&session.identity.subject);
    set_cookie(&app, &mut response, app.cookies.recent, &opened, recent::LIFE);
    response
}

/// What a person's own style sheet says: the theme they chose, and the colours of those tenants that they may choose. A strict
/// policy allows no inline style.
pub(crate) async fn personal_style(
    State(app): State<App>,
    headers: HeaderMap,
    signed_in: Option<SignedIn>,
) -> Response {
    let mut css = theme_of(&app, &headers).css().to_owned();
    if let Some(SignedIn(session)) = signed_in {
        let snapshot = app.metadata.snapshot();
        css.push_str(&tenant_colours(&tenants_of(&session, &snapshot, &Recent::default()), &snapshot));
    }
    let kind = HeaderValue::from_static("text/css; charset=utf-8");
    ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, HeaderValue::from_static("private, no-store"))], css)
        .into_response()
}

/// The tenant, when the person is a member and it is open; otherwise the page that says so.
fn member_of<'a>(session: &Session, snapshot: &'a Snapshot, tenant: &str) -> Result<&'a TenantRecord, Response> {
    let id = tenant.parse::<TenantId>().map_err(|_| nothing_here())?;
    let (record, _) = snapshot.membership(&access_of(&session.identity), &id).ok_or_else(nothing_here)?;
    if record.suspended { Err(suspended(Framing::Top, &record.display_name)) } else { Ok(record) }
}

/// What a person's browser brings along.
struct Visit<'a> {
    session: &'a Session,
    recent: Recent,
    theme: Theme,
}

impl<'a> Visit<'a> {
    fn new(app: &App, headers: &HeaderMap, session: &'a Session) -> Self {
        Self { session, recent: recent_of(app, headers, session), theme: theme_of(app, headers) }
    }

    fn bar(&self, record: &TenantRecord, snapshot: &Snapshot, uri: &axum::http::Uri) -> Option<Bar> {
        let from = BarOf {
            session: self.session,
            snapshot,
            recent: &self.recent,
            theme: self.theme,
            here: here(uri),
            now: unix_now(),
        };
        Bar::new(record, &from)
    }
}

fn recent_of(app: &App, headers: &HeaderMap, session: &Session) -> Recent {
    Recent::read(cookie(headers, app.cookies.recent), &session.identity.subject)
}

pub(crate) fn theme_of(app: &App, headers: &HeaderMap) -> Theme {
    Theme::read(cookie(headers, app.cookies.theme))
}

fn here(uri: &axum::http::Uri) -> String {
    uri.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string)
}

fn nothing_here() -> Response {
    error_page(StatusCode::NOT_FOUND, Framing::Top, &random_id())
}
