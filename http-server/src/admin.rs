//! The operations port: `/healthz`, `/readyz` with reasons, `/metrics`. It carries no authority and no tenant's data.

use std::sync::Arc;

use axum::{
    Router,
    http::{StatusCode, header},
    response::IntoResponse as _,
    routing::get,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{Limits, serve_router};

/// What the operations port asks a part about itself.
pub trait Operations: Send + Sync + 'static {
    /// Why the part cannot serve yet; empty when it can.
    fn not_ready_because(&self) -> Vec<String>;

    /// The part's metrics in the Prometheus text format.
    fn metrics(&self) -> String;
}

/// Serves the operations port until `shutdown`.
pub async fn serve_admin(listener: TcpListener, part: Arc<dyn Operations>, shutdown: CancellationToken) {
    let (ready, metrics) = (part.clone(), part);
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
        );
    serve_router(listener, Limits::default(), router, shutdown).await;
}
