//! The controller's side: every change is one transaction that the reader sees whole or not at all.

use std::path::Path;

use kyros_shared_config::{SourceName, clock::unix_now};
use sqlx::{Connection as _, SqliteConnection, SqliteTransaction};

use crate::{DashboardRecord, MemberKind, MetadataError, TenantRecord, Version, open::open_for_writing};

/// Writes the read model. One per file.
pub struct Writer {
    connection: SqliteConnection,
}

/// Everything that there is of one kind at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Listed<T> {
    /// The resources.
    pub records: Vec<T>,
    /// Name and uid of those that exist and cannot be read, as when a newer version gave a field another type.
    pub unreadable: Vec<(String, String)>,
}

impl<T> From<Vec<T>> for Listed<T> {
    fn from(records: Vec<T>) -> Self {
        Self { records, unreadable: Vec::new() }
    }
}

/// A complete list of one kind or of both. The first one must be of both: readers wait for it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CompleteList {
    /// The tenants; `None` leaves them as they are.
    pub tenants: Option<Listed<TenantRecord>>,
    /// The dashboards; `None` leaves them as they are.
    pub dashboards: Option<Listed<DashboardRecord>>,
}

/// A change between complete lists.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// Adds or changes a tenant.
    PutTenant(TenantRecord),
    /// Adds or changes a dashboard.
    PutDashboard(DashboardRecord),
    /// Removes a tenant, but only the one with this uid: a late deletion must not remove a namesake made since.
    RemoveTenant {
        /// Its name.
        name: String,
        /// Its uid.
        uid: String,
    },
    /// Removes a dashboard, but only the one with this uid.
    RemoveDashboard {
        /// Its name.
        name: String,
        /// Its uid.
        uid: String,
    },
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

    /// Makes the read model equal to a complete list: what the list does not name is pruned, in the same transaction. What
    /// it names and cannot read keeps its last good row.
    pub async fn relist(&mut self, list: &CompleteList) -> Result<Applied, MetadataError> {
        let mut transaction = self.connection.begin_with(BEGIN).await?;
        // Half a list says nothing of how the other half stands, and is no list to begin with.
        let is_whole = list.tenants.is_some() && list.dashboards.is_some();
        let statement = if is_whole {
            "UPDATE projection SET epoch = epoch + 1, applied_at = $1 WHERE id = 1 RETURNING epoch"
        } else {
            "UPDATE projection SET epoch = epoch + 1 WHERE id = 1 AND epoch > 0 RETURNING epoch"
        };
        let epoch = sqlx::query_scalar(statement).bind(unix_now()).fetch_optional(&mut *transaction).await?;
        let epoch: i64 = epoch.ok_or(MetadataError::NotYetWritten)?;
        let mut applied = Applied { epoch, tenants_pruned: 0, dashboards_pruned: 0 };
        if let Some(Listed { records, unreadable }) = &list.tenants {
            for tenant in records {
                put_tenant(&mut transaction, tenant, epoch).await?;
            }
            keep(&mut transaction, "UPDATE tenants SET epoch = $1 WHERE id = $2 AND uid = $3", unreadable, epoch)
                .await?;
            applied.tenants_pruned = prune(&mut transaction, "DELETE FROM tenants WHERE epoch <> $1", epoch).await?;
        }
        if let Some(Listed { records, unreadable }) = &list.dashboards {
            for dashboard in records {
                put_dashboard(&mut transaction, dashboard, epoch).await?;
            }
            let statement = "UPDATE dashboards SET epoch = $1 WHERE slug = $2 AND uid = $3";
            keep(&mut transaction, statement, unreadable, epoch).await?;
            applied.dashboards_pruned =
                prune(&mut transaction, "DELETE FROM dashboards WHERE epoch <> $1", epoch).await?;
        }
        transaction.commit().await?;
        Ok(applied)
    }

    /// Applies changes between complete lists, all of them or none.
    pub async fn apply(&mut self, changes: &[Change]) -> Result<(), MetadataError> {
        let mut transaction = self.connection.begin_with(BEGIN).await?;
        // Not a confirmation: a change of one kind says nothing of the other.
        let epoch: i64 =
            sqlx::query_scalar("SELECT epoch FROM projection WHERE id = 1").fetch_one(&mut *transaction).await?;
        for change in changes {
            match change {
                Change::PutTenant(tenant) => put_tenant(&mut transaction, tenant, epoch).await?,
                Change::PutDashboard(dashboard) => put_dashboard(&mut transaction, dashboard, epoch).await?,
                Change::RemoveTenant { name, uid } => {
                    remove(&mut transaction, "DELETE FROM tenants WHERE id = $1 AND uid = $2", name, uid).await?;
                }
                Change::RemoveDashboard { name, uid } => {
                    remove(&mut transaction, "DELETE FROM dashboards WHERE slug = $1 AND uid = $2", name, uid).await?;
                }
            }
        }
        transaction.commit().await?;
        Ok(())
    }

    /// The version of every resource that the read model shows.
    pub async fn versions(&mut self) -> Result<Vec<Version>, MetadataError> {
        let mut versions = Vec::new();
        for (kind, statement) in [
            ("Tenant", "SELECT id, uid, generation FROM tenants"),
            ("Dashboard", "SELECT slug, uid, generation FROM dashboards"),
        ] {
            let rows: Vec<(String, String, i64)> = sqlx::query_as(statement).fetch_all(&mut self.connection).await?;
            let version = |(name, uid, generation)| Version { kind, name, uid, generation };
            versions.extend(rows.into_iter().map(version));
        }
        Ok(versions)
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

async fn keep(
    transaction: &mut SqliteTransaction<'_>,
    statement: &'static str,
    unreadable: &[(String, String)],
    epoch: i64,
) -> Result<(), MetadataError> {
    for (name, uid) in unreadable {
        sqlx::query(statement).bind(epoch).bind(name).bind(uid).execute(&mut **transaction).await?;
    }
    Ok(())
}

async fn prune(
    transaction: &mut SqliteTransaction<'_>,
    statement: &'static str,
    epoch: i64,
) -> Result<u64, MetadataError> {
    Ok(sqlx::query(statement).bind(epoch).execute(&mut **transaction).await?.rows_affected())
}

async fn remove(
    transaction: &mut SqliteTransaction<'_>,
    statement: &'static str,
    name: &str,
    uid: &str,
) -> Result<(), MetadataError> {
    sqlx::query(statement).bind(name).bind(uid).execute(&mut **transaction).await?;
    Ok(())
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
         requests_per_second, allowed_origins, source, epoch, generation) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
    )
    .bind(tenant.id.as_str())
    .bind(&tenant.uid)
    .bind(&tenant.display_name)
    .bind(tenant.suspended)
    .bind(&tenant.branding.accent_color)
    .bind(&tenant.branding.logo_url)
    .bind(tenant.limits.concurrent_queries)
    .bind(tenant.limits.requests_per_second)
    .bind(serde_json::json!(tenant.allowed_origins).to_string())
    .bind(tenant.source.as_ref().map(SourceName::as_str))
    .bind(epoch)
    .bind(tenant.generation)
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
        "INSERT INTO dashboards (slug, uid, title, description, isolation, datasets, source, epoch, \
         generation) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(dashboard.slug.as_str())
    .bind(&dashboard.uid)
    .bind(&dashboard.title)
    .bind(&dashboard.description)
    .bind(dashboard.isolation.as_str())
    .bind(serde_json::json!(dashboard.datasets).to_string())
    .bind(dashboard.source.as_ref().map(SourceName::as_str))
    .bind(epoch)
    .bind(dashboard.generation)
    .execute(&mut **transaction)
    .await?;
    Ok(())
}
