//! The style sheet and the script: one file each, under an address that changes with the bytes, so browsers keep them.

use std::sync::LazyLock;

use axum::{
    Router,
    extract::Query,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::get,
};
use serde::Deserialize;

/// One file that pages load.
pub(super) struct Asset {
    kind: &'static str,
    text: &'static str,
    version: String,
    address: String,
}

pub(super) static STYLE: LazyLock<Asset> = LazyLock::new(|| {
    let text = concat!(include_str!("../../assets/charts.css"), include_str!("../../assets/kit.css"));
    Asset::new("/assets/kit.css", "text/css; charset=utf-8", text)
});
pub(super) static SCRIPT: LazyLock<Asset> = LazyLock::new(|| {
    let text = concat!(include_str!("../../assets/charts.js"), include_str!("../../assets/kit.js"));
    Asset::new("/assets/kit.js", "text/javascript; charset=utf-8", text)
});

impl Asset {
    fn new(path: &str, kind: &'static str, text: &'static str) -> Self {
        // FNV-1a: it only has to differ between two releases; nobody is kept out by it.
        let hash = text
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        let version = format!("{hash:016x}");
        Self { kind, text, address: format!("{path}?v={version}"), version }
    }

    /// Where pages find it.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// Whoever asks for these very bytes may keep them for good; anybody else asks again each time.
    fn answer(&self, asked: Option<&str>, headers: &HeaderMap) -> Response {
        let tag = format!("\"{}\"", self.version);
        let is_known = headers.get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes());
        let keep = if asked == Some(&self.version) { "private, max-age=31536000, immutable" } else { "no-cache" };
        let about = [
            (header::CONTENT_TYPE, HeaderValue::from_static(self.kind)),
            (header::CACHE_CONTROL, HeaderValue::from_static(keep)),
            (header::ETAG, HeaderValue::try_from(tag).unwrap_or(HeaderValue::from_static("\"\""))),
            (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        ];
        if is_known { (StatusCode::NOT_MODIFIED, about).into_response() } else { (about, self.text).into_response() }
    }
}

#[derive(Deserialize)]
struct Version {
    v: Option<String>,
}

/// The style sheet and the script that every page loads.
pub fn assets<S: Clone + Send + Sync + 'static>() -> Router<S> {
    let serve = |asset: &'static LazyLock<Asset>| {
        get(move |Query(version): Query<Version>, headers: HeaderMap| async move {
            asset.answer(version.v.as_deref(), &headers)
        })
    };
    Router::new().route("/assets/kit.css", serve(&STYLE)).route("/assets/kit.js", serve(&SCRIPT))
}
