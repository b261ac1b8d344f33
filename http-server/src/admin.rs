//! The operations port: `/healthz`, `/readyz` with reasons, `/metrics`, `/probe/{name}`. It carries no authority and no tenant's data.

use std::{pin::Pin, sync::Arc};

use axum::{
    Router,
    extract::Path,
    http::{StatusCode, header},
    response::IntoResponse as _,
    routing::get,
};
use tokio_util::sync::CancellationToken;

use crate::{Limits, Listener, serve_router};

/// What the operations port asks a part about itself.
pub trait Operations: Send + Sync + 'static {
    /// Why the part cannot serve yet; empty when it can.
    fn not_ready_because(&self) -> Vec<String>;

    /// The part's metrics in the Prometheus text format.
    fn metrics(&self) -> String;

    /// Asks something that only this part can reach whether it is well, under a name agreed with the kubelet. `None` for a
    /// name that means nothing here.
    fn probe(&self, _name: &str) -> Option<Probe> {
        None
    }
}

/// The answer of [`Operations::probe`], under way: an error says what is not well.
pub type Probe = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

/// Serves the operations port until `shutdown`.
pub async fn serve_admin(listener: impl Into<Listener>, part: Arc<dyn Operations>, shutdown: CancellationToken) {
    let (ready, metrics, probed) = (part.clone(), part.clone(), part);
    let router = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route(
            "/readyz",
            get(move || async move {
                let reasons = ready.not_ready_because();
                if reasons.is_empty() {
                    (StatusCode::OK, "ready\n".to_owned())
                } else {
                    (StatusCode::SERVICE_UNAVAILABLE, format!("{}\n", reasons.join("\n")))
                }
            }),
        )
        .route(
            "/metrics",
            get(move || async move {
                let text = metrics.metrics();
                ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
            }),
        )
        .route(
            "/probe/{name}",
            get(move |Path(name): Path<String>| async move {
                match probed.probe(&name) {
                    None => (StatusCode::NOT_FOUND, "no such probe\n".to_owned()),
                    Some(probe) => match probe.await {
                        Ok(()) => (StatusCode::OK, "ok\n".to_owned()),
                        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
                    },
                }
            }),
        );
    serve_router(listener, Limits::default(), router, shutdown).await;
}
