//! Workload tokens where no Kubernetes makes them: one file per dashboard, readable by its owner, replaced in time.

use std::{path::Path, time::Duration};

use kyros_shared_config::issuer::write_private;

use crate::state::App;

/// Six times in a token's life.
const REWRITE_EVERY: Duration = Duration::from_mins(10);

/// Keeps `folder/<slug>/token` fresh for every dashboard, for ever.
pub(crate) async fn keep_fresh(app: App, folder: std::path::PathBuf) {
    let mut changes = app.metadata.changes();
    loop {
        if let Err(error) = write_all(&app, &folder) {
            tracing::error!(%error, folder = %folder.display(), "workload tokens not written");
        }
        tokio::select! {
            _ = changes.changed() => (),
            () = tokio::time::sleep(REWRITE_EVERY) => (),
        }
    }
}

/// Writes them once.
pub(crate) fn write_all(app: &App, folder: &Path) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    std::fs::create_dir_all(folder)?;
    for slug in app.metadata.snapshot().dashboards.keys() {
        let token = app.issuer.workload_token(&slug.audience())?;
        // A folder each, so that each sidecar can be shown its own and no other.
        let own = folder.join(slug.as_str());
        std::fs::create_dir_all(&own)?;
        write_private(&own.join("token"), token.token.expose().as_bytes())?;
    }
    Ok(())
}
