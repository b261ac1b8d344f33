//! The controller's side: every change is one transaction that the reader sees whole or not at all.

use std::path::Path;

use kyros_shared_config::{DashboardSlug, TenantId, clock::unix_now};
use sqlx::{Connection as _, SqliteConnection, SqliteTransaction};

use crate::{DashboardRecord, MemberKind, MetadataError, TenantRecord, open::open_for_writing};

/// Writes the read model. One per file.
pub struct Writer {
    connection: SqliteConnection,
}

/// What a complete list changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Applied {
    /// The number of this list.
    pub epoch: i64,
    /// Tenants that are gone.
    pub tenants_pruned: u64,
    /// Dashboards that are gone.
    pub dashboards_pruned: u64,
}

/// Takes the write lock at once: a deferred transaction that reads first can fail without waiting (`SQLITE_BUSY_SNAPSHOT`).
const BEGIN: &str = "BEGIN IMMEDIATE";

impl Writer {
    /// Opens or creates the file, brings its schema up to date and rebuilds it when it is unusable.
    pub async fn open(path: &Path) -> Result<Self, MetadataError> {
        Ok(Self { connection: open_for_writing(path).await? })
    }

    /// Makes the read model equal to a complete list: what the list does not name is pruned, in the same transaction.
    pub async fn relist(
        &mut self,
        tenants: &[TenantRecord],
        dashboards: &[DashboardRecord],
    ) -> Result<Applied, MetadataError> {
        let mut transaction = self.connection.begin_with(BEGIN).await?;
        let epoch: i64 =
            sqlx::query_scalar("UPDATE projection SET epoch = epoch + 1, applied_at = $1 WHERE id = 1 RETURNING epoch")
                .bind(unix_now())
                .fetch_one(&mut *transaction)
                .await?;
        for tenant in tenants {
            put_tenant(&mut transaction, tenant, epoch).await?;
        }
        for dashboard in dashboards {
            put_dashboard(&mut transaction, dashboard, epoch).await?;
        }
        let tenants_pruned = sqlx::query("DELETE FROM tenants WHERE epoch <> $1")
            .bind(epoch)
            .execute(&mut *transaction)
            .await?
            .rows_affected();
        let dashboards_pruned = sqlx::query("DELETE FROM dashboards WHERE epoch <> $1")
            .bind(epoch)
            .execute(&mut *transaction)
            .await?
            .rows_affected();
        transaction.commit().await?;
        Ok(Applied { epoch, tenants_pruned, dashboards_pruned })
    }

    /// Adds or changes one tenant between complete lists.
    pub async fn apply_tenant(&mut self, tenant: &TenantRecord) -> Result<(), MetadataError> {
        let mut transaction = self.connection.begin_with(BEGIN).await?;
        let epoch = touch(&mut transaction).await?;
        put_tenant(&mut transaction, tenant, epoch).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Adds or changes one dashboard between complete lists.
    pub async fn apply_dashboard(&mut self, dashboard: &DashboardRecord) -> Result<(), MetadataError> {
        let mut transaction = self.connection.begin_with(BEGIN).await?;
        let epoch = touch(&mut transaction).await?;
        put_dashboard(&mut transaction, dashboard, epoch).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Removes a tenant, but only the one with this uid: a late deletion must not remove a namesake made since.
    pub async fn remove_tenant(&mut self, id: &TenantId, uid: &str) -> Result<bool, MetadataError> {
        let mut transaction = self.connection.begin_with(BEGIN).await?;
        touch(&mut transaction).await?;
        let removed = sqlx::query("DELETE FROM tenants WHERE id = $1 AND uid = $2")
            .bind(id.as_str())
            .bind(uid)
            .execute(&mut *transaction)
            .await?
            .rows_affected();
        transaction.commit().await?;
        Ok(removed > 0)
    }

    /// Removes a dashboard, but only the one with this uid.
    pub async fn remove_dashboard(&mut self, slug: &DashboardSlug, uid: &str) -> Result<bool, MetadataError> {
        let mut transaction = self.connection.begin_with(BEGIN).await?;
        touch(&mut transaction).await?;
        let removed = sqlx::query("DELETE FROM dashboards WHERE slug = $1 AND uid = $2")
            .bind(slug.as_str())
            .bind(uid)
            .execute(&mut *transaction)
            .await?
            .rows_affected();
        transaction.commit().await?;
        Ok(removed > 0)
    }

    /// Confirms that the state is still current, for the readers' check of its age.
    pub async fn confirm(&mut self) -> Result<(), MetadataError> {
        sqlx::query("UPDATE projection SET applied_at = $1 WHERE id = 1")
            .bind(unix_now())
            .execute(&mut self.connection)
            .await?;
        Ok(())
    }
}

async fn touch(transaction: &mut SqliteTransaction<'_>) -> Result<i64, MetadataError> {
    let epoch = sqlx::query_scalar("UPDATE projection SET applied_at = $1 WHERE id = 1 RETURNING epoch")
        .bind(unix_now())
        .fetch_one(&mut **transaction)
        .await?;
    Ok(epoch)
}

async fn put_tenant(
    transaction: &mut SqliteTransaction<'_>,
    tenant: &TenantRecord,
    epoch: i64,
) -> Result<(), MetadataError> {
    // Deleting first lets a changed uid take the members and grants of its namesake with it.
    sqlx::query("DELETE FROM tenants WHERE id = $1").bind(tenant.id.as_str()).execute(&mut **transaction).await?;
    sqlx::query(
        "INSERT INTO tenants (id, uid, display_name, suspended, accent_color, logo_url, concurrent_queries, \
         requests_per_second, epoch) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(tenant.id.as_str())
    .bind(&tenant.uid)
    .bind(&tenant.display_name)
    .bind(tenant.suspended)
    .bind(&tenant.branding.accent_color)
    .bind(&tenant.branding.logo_url)
    .bind(tenant.limits.concurrent_queries)
    .bind(tenant.limits.requests_per_second)
    .bind(epoch)
    .execute(&mut **transaction)
    .await?;
    for member in &tenant.members {
        let (kind, subject) = match &member.kind {
            MemberKind::User(subject) => ("user", subject),
            MemberKind::Group(subject) => ("group", subject),
        };
        sqlx::query("INSERT OR REPLACE INTO members (tenant_id, kind, subject, roles) VALUES ($1, $2, $3, $4)")
            .bind(tenant.id.as_str())
            .bind(kind)
            .bind(subject)
            .bind(serde_json::json!(member.roles).to_string())
            .execute(&mut **transaction)
            .await?;
    }
    for (position, dashboard) in (0_i64..).zip(&tenant.dashboards) {
        sqlx::query("INSERT OR REPLACE INTO grants (tenant_id, dashboard, position) VALUES ($1, $2, $3)")
            .bind(tenant.id.as_str())
            .bind(dashboard.as_str())
            .bind(position)
            .execute(&mut **transaction)
            .await?;
    }
    Ok(())
}

async fn put_dashboard(
    transaction: &mut SqliteTransaction<'_>,
    dashboard: &DashboardRecord,
    epoch: i64,
) -> Result<(), MetadataError> {
    sqlx::query("DELETE FROM dashboards WHERE slug = $1")
        .bind(dashboard.slug.as_str())
        .execute(&mut **transaction)
        .await?;
    sqlx::query(
        "INSERT INTO dashboards (slug, uid, title, description, isolation, datasets, epoch) \
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(dashboard.slug.as_str())
    .bind(&dashboard.uid)
    .bind(&dashboard.title)
    .bind(&dashboard.description)
    .bind(dashboard.isolation.as_str())
    .bind(serde_json::json!(dashboard.datasets).to_string())
    .bind(epoch)
    .execute(&mut **transaction)
    .await?;
    Ok(())
}
