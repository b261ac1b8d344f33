//! The portal's routes. Whatever changes something is a POST from the portal's own origin with the session's CSRF token.

use axum::{
    Router,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use kyros_shared_config::crypto::random_id;

use super::{
    assets, browse,
    pages::{Framing, error_page},
    person, sign_in,
};
use crate::{reply::ProblemReply, state::App};

/// The portal's routes.
pub(crate) fn router() -> Router<App> {
    Router::new()
        .route("/", get(browse::home))
        .route("/login", get(sign_in::login_page).post(sign_in::login))
        .route("/logout", post(sign_in::logout))
        .route("/session", get(person::standing))
        .route("/theme", post(person::choose_theme))
        .route("/tenants", get(browse::tenants))
        .route("/t/{tenant}", get(browse::gallery))
        .route("/t/{tenant}/d/{dashboard}", get(browse::view))
        .route("/t/{tenant}/d/{dashboard}/", get(browse::view))
        .route("/t/{tenant}/d/{dashboard}/{*rest}", get(browse::view))
        .route("/assets/person.css", get(browse::personal_style))
        .merge(assets::router())
}

/// Everything that has no route: a page for people, a problem for programs.
pub(crate) async fn not_found(headers: HeaderMap) -> Response {
    let wants_page =
        headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).is_some_and(|a| a.contains("text/html"));
    if wants_page {
        error_page(StatusCode::NOT_FOUND, Framing::Top, &random_id())
    } else {
        ProblemReply::not_found().into_response()
    }
}
