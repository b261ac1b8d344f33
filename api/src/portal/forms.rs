//! What the portal's forms share: whose page they came from, and the cookies that they set.

use axum::{
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::Response,
};
use kyros_shared_config::crypto::constant_time_eq;

use crate::{reply::ProblemReply, state::App, store::Session};

/// Refuses a form that did not come from a page that the portal made for this session.
pub(crate) fn check_genuine(app: &App, headers: &HeaderMap, session: &Session, csrf: &str) -> Result<(), ProblemReply> {
    if is_own_origin(app, headers) && constant_time_eq(session.csrf.as_bytes(), csrf.as_bytes()) {
        return Ok(());
    }
    Err(ProblemReply::of(StatusCode::FORBIDDEN, "csrf", "This request did not come from the portal"))
}

/// Whether a page of the portal sent this. Browsers send `Origin` with every POST; one without it did not come from us.
pub(crate) fn is_own_origin(app: &App, headers: &HeaderMap) -> bool {
    headers.get(header::ORIGIN).and_then(|origin| origin.to_str().ok()) == Some(&app.public_url.origin())
}

/// Sets a cookie of the portal's host that no script can read; 0 seconds remove it.
pub(crate) fn set_cookie(app: &App, response: &mut Response, name: &str, value: &str, max_age: i64) {
    let secure = if app.public_url.is_secure() { "; Secure" } else { "" };
    let cookie = format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax; Max-Age={max_age}{secure}");
    if let Ok(cookie) = HeaderValue::from_str(&cookie) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
}
