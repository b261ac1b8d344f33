//! The portal's style and script: named by their content, so that browsers keep them for ever and never keep old ones.

use std::sync::LazyLock;

use axum::{
    Router,
    extract::Query,
    http::header,
    response::{IntoResponse as _, Response},
    routing::get,
};
use kyros_shared_config::crypto;
use serde::Deserialize;

use crate::state::App;

const STYLE: &str = include_str!("../../assets/kyros.css");
const SHELL: &str = include_str!("../../assets/shell.js");
const FRAMED: &str = include_str!("../../assets/framed.js");
/// Bytes of the content's hash in an address.
const TAG_BYTES: usize = 6;

/// What the pages link to.
pub(crate) static LINKS: LazyLock<Links> = LazyLock::new(|| Links {
    style: link("kyros.css", STYLE),
    shell: link("shell.js", SHELL),
    framed: link("framed.js", FRAMED),
});

/// The addresses, each with its content's hash.
pub(crate) struct Links {
    pub(crate) style: String,
    pub(crate) shell: String,
    pub(crate) framed: String,
}

fn tag(content: &str) -> String {
    crypto::hex(&crypto::sha256(content.as_bytes())[..TAG_BYTES])
}

fn link(name: &str, content: &str) -> String {
    format!("/assets/{name}?v={}", tag(content))
}

/// Their routes.
pub(crate) fn router() -> Router<App> {
    Router::new()
        .route("/assets/kyros.css", get(async |version| asset(&version, "text/css; charset=utf-8", STYLE)))
        .route("/assets/shell.js", get(async |version| asset(&version, "text/javascript; charset=utf-8", SHELL)))
        .route("/assets/framed.js", get(async |version| asset(&version, "text/javascript; charset=utf-8", FRAMED)))
}

#[derive(Deserialize)]
struct Version {
    #[serde(default)]
    v: String,
}

/// Another version's address gets today's content and keeps it for no time: it is a page from before an upgrade.
fn asset(version: &Query<Version>, kind: &'static str, content: &'static str) -> Response {
    let keep = if version.v == tag(content) { "public, max-age=31536000, immutable" } else { "no-cache" };
    ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, keep)], content).into_response()
}
