//! The API's side: the whole read model in memory, replaced when the file changes. The hot path does no SQL.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use kyros_shared_config::{DatasetName, TenantId};
use sqlx::{Connection as _, Row as _, SqliteConnection, sqlite::SqliteRow};
use tokio::sync::watch;

use crate::{
    Branding, DashboardRecord, Isolation, Limits, Member, MemberKind, MetadataError, Snapshot, TenantRecord,
    open::open_for_reading,
};

/// How often the file is asked whether it changed; a suspension must reach the last socket within a second.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// Reads the projection and keeps the newest snapshot at hand.
#[derive(Clone)]
pub struct Reader {
    current: Arc<ArcSwap<Snapshot>>,
    changes: watch::Receiver<i64>,
}

impl Reader {
    /// Opens the file and waits up to `patience` for the controller's first complete list: an API must not start with half
    /// a tenant list. The returned future keeps the snapshot fresh and must be polled.
    pub async fn open(
        path: &Path,
        patience: Duration,
    ) -> Result<(Self, impl Future<Output = ()> + Send + use<>), MetadataError> {
        let deadline = tokio::time::Instant::now() + patience;
        let follower = loop {
            match Follower::open(path).await {
                Ok(follower) if follower.snapshot.epoch > 0 => break follower,
                Ok(_) if tokio::time::Instant::now() >= deadline => return Err(MetadataError::NotYetWritten),
                Err(error) if tokio::time::Instant::now() >= deadline => return Err(error),
                Ok(_) | Err(_) => tokio::time::sleep(POLL_INTERVAL).await,
            }
        };
        let current = Arc::new(ArcSwap::new(follower.snapshot.clone()));
        let (announce, changes) = watch::channel(0);
        let reader = Self { current: current.clone(), changes };
        Ok((reader, follow(follower, current, announce)))
    }

    /// The newest snapshot.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// Tells whenever the snapshot has been replaced.
    pub fn changes(&self) -> watch::Receiver<i64> {
        self.changes.clone()
    }
}

struct Follower {
    path: PathBuf,
    connection: SqliteConnection,
    file: Option<(u64, u64)>,
    version: i64,
    snapshot: Arc<Snapshot>,
}

impl Follower {
    async fn open(path: &Path) -> Result<Self, MetadataError> {
        let mut connection = open_for_reading(path).await?;
        let version = data_version(&mut connection).await?;
        let snapshot = Arc::new(read(&mut connection).await?);
        Ok(Self { path: path.to_owned(), connection, file: identity(path), version, snapshot })
    }

    /// Whether there is a newer snapshot now.
    async fn poll(&mut self) -> Result<bool, MetadataError> {
        if identity(&self.path) != self.file {
            // The writer set the file aside and began another one; an old connection would never see it.
            let reopened = Self::open(&self.path).await?;
            if reopened.snapshot.epoch == 0 {
                return Ok(false);
            }
            *self = reopened;
            return Ok(true);
        }
        let version = data_version(&mut self.connection).await?;
        if version == self.version {
            return Ok(false);
        }
        self.snapshot = Arc::new(read(&mut self.connection).await?);
        self.version = version;
        Ok(true)
    }
}

async fn follow(mut follower: Follower, current: Arc<ArcSwap<Snapshot>>, announce: watch::Sender<i64>) {
    let mut failing = false;
    loop {
        tokio::time::sleep(POLL_INTERVAL).await;
        match follower.poll().await {
            Ok(true) => {
                current.store(follower.snapshot.clone());
                announce.send_modify(|count| *count += 1);
                failing = false;
            }
            Ok(false) => failing = false,
            Err(error) if !failing => {
                tracing::warn!(%error, "metadata not refreshed, the last snapshot stays");
                failing = true;
            }
            Err(_) => (),
        }
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()))
}

async fn data_version(connection: &mut SqliteConnection) -> Result<i64, MetadataError> {
    Ok(sqlx::query_scalar("PRAGMA data_version").fetch_one(connection).await?)
}

/// Reads everything in one transaction, so that no writer can come between two tables.
async fn read(connection: &mut SqliteConnection) -> Result<Snapshot, MetadataError> {
    let mut transaction = connection.begin().await?;
    let (epoch, applied_at): (i64, i64) =
        sqlx::query_as("SELECT epoch, applied_at FROM projection WHERE id = 1").fetch_one(&mut *transaction).await?;
    let mut snapshot = Snapshot { epoch, applied_at, ..Snapshot::default() };
    for row in sqlx::query("SELECT * FROM tenants").fetch_all(&mut *transaction).await? {
        let tenant = tenant_of(&row)?;
        snapshot.tenants.insert(tenant.id.clone(), tenant);
    }
    for row in sqlx::query("SELECT tenant_id, kind, subject, roles FROM members").fetch_all(&mut *transaction).await? {
        let subject: String = row.try_get("subject")?;
        let kind = if row.try_get::<&str, _>("kind")? == "user" {
            MemberKind::User(subject)
        } else {
            MemberKind::Group(subject)
        };
        let roles = json("members", &row, "roles")?;
        if let Some(tenant) = tenant_of_child(&mut snapshot, &row)? {
            tenant.members.push(Member { kind, roles });
        }
    }
    let grants = "SELECT tenant_id, dashboard FROM grants ORDER BY tenant_id, position";
    for row in sqlx::query(grants).fetch_all(&mut *transaction).await? {
        let slug = name("grants", &row, "dashboard")?;
        if let Some(tenant) = tenant_of_child(&mut snapshot, &row)? {
            tenant.dashboards.push(slug);
        }
    }
    for row in sqlx::query("SELECT * FROM dashboards").fetch_all(&mut *transaction).await? {
        let dashboard = DashboardRecord {
            slug: name("dashboards", &row, "slug")?,
            uid: row.try_get("uid")?,
            generation: row.try_get("generation")?,
            title: row.try_get("title")?,
            description: row.try_get("description")?,
            isolation: Isolation::from_stored(row.try_get("isolation")?),
            datasets: json::<Vec<DatasetName>>("dashboards", &row, "datasets")?,
            source: optional_name("dashboards", &row, "source")?,
        };
        snapshot.dashboards.insert(dashboard.slug.clone(), dashboard);
    }
    transaction.commit().await?;
    Ok(snapshot)
}

fn tenant_of(row: &SqliteRow) -> Result<TenantRecord, MetadataError> {
    Ok(TenantRecord {
        id: name("tenants", row, "id")?,
        uid: row.try_get("uid")?,
        generation: row.try_get("generation")?,
        display_name: row.try_get("display_name")?,
        suspended: row.try_get("suspended")?,
        branding: Branding { accent_color: row.try_get("accent_color")?, logo_url: row.try_get("logo_url")? },
        limits: Limits {
            concurrent_queries: row.try_get("concurrent_queries")?,
            requests_per_second: row.try_get("requests_per_second")?,
        },
        allowed_origins: json("tenants", row, "allowed_origins")?,
        source: optional_name("tenants", row, "source")?,
        members: Vec::new(),
        dashboards: Vec::new(),
    })
}

fn tenant_of_child<'a>(
    snapshot: &'a mut Snapshot,
    row: &SqliteRow,
) -> Result<Option<&'a mut TenantRecord>, MetadataError> {
    let id: TenantId = name("members", row, "tenant_id")?;
    Ok(snapshot.tenants.get_mut(&id))
}

fn name<T: std::str::FromStr<Err = kyros_shared_config::NameError>>(
    table: &'static str,
    row: &SqliteRow,
    column: &str,
) -> Result<T, MetadataError> {
    parsed(table, row.try_get(column)?)
}

fn optional_name<T: std::str::FromStr<Err = kyros_shared_config::NameError>>(
    table: &'static str,
    row: &SqliteRow,
    column: &str,
) -> Result<Option<T>, MetadataError> {
    row.try_get::<Option<String>, _>(column)?.map(|text| parsed(table, text)).transpose()
}

fn parsed<T: std::str::FromStr<Err = kyros_shared_config::NameError>>(
    table: &'static str,
    text: String,
) -> Result<T, MetadataError> {
    text.parse().map_err(|reason: kyros_shared_config::NameError| MetadataError::Inconsistent {
        table,
        row: text,
        reason: reason.to_string(),
    })
}

fn json<T: serde::de::DeserializeOwned>(
    table: &'static str,
    row: &SqliteRow,
    column: &str,
) -> Result<T, MetadataError> {
    let text: String = row.try_get(column)?;
    serde_json::from_str(&text).map_err(|reason| MetadataError::Inconsistent {
        table,
        row: text.clone(),
        reason: reason.to_string(),
    })
}
