//! Datasets in `PostgreSQL`: the table `SCHEMA.DATASET`, of which the database's own row-level security shows one tenant's rows.
//!
//! The tenant and the dashboard are told to the database as `kyros.tenant` and `kyros.dashboard`, bound as values and for one
//! transaction, and its policies read them. That is believed only as far as it can be seen: row-level security must be in
//! force for this role on this table, and every row must say that it is this tenant's. A connection serves one fetch and is
//! closed, so nothing of one tenant's is ever left for another's.

mod columns;
mod session;
#[cfg(test)]
mod tests;

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use aws_lc_rs::digest::{Context, SHA256};
use futures_util::{FutureExt as _, TryStreamExt as _, future::BoxFuture};
use kyros_shared_config::{SourceName, crypto::hex};
use serde::Deserialize;
use sqlx::{
    ConnectOptions as _, Row as _, ValueRef as _,
    postgres::{PgConnectOptions, PgRow, PgSslMode},
};
use tokio::{sync::Semaphore, time::timeout};

use self::{
    columns::{Column, cell},
    session::{Session, broken},
};
use super::{
    Fetched, Place, Source, SourceError, Version,
    address::{authorities, is_loopback},
    credential::Credential,
};
use crate::engine::{
    rows::{CellKind, TableBuilder},
    table::{MAX_FILE_BYTES, MAX_ROWS},
};

/// How long a fetched table is believed when the operator does not say, in seconds: every look reads it whole.
const REFRESH_SECONDS: u16 = 60;
/// The database's own port.
const PORT: u16 = 5432;
/// The schema when the operator does not say.
const SCHEMA: &str = "kyros";
/// The column that names a row's tenant when the operator does not say; tables without it are shown by policy alone.
const TENANT_COLUMN: &str = "tenant_id";
/// Connections of one source at once. A database has a hundred for everybody.
const CONNECTIONS: usize = 4;
/// For one of these connections to become free.
const QUEUE_PATIENCE: Duration = Duration::from_secs(10);
/// For a connection to stand, with TLS and password.
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);
/// For a whole fetch; the database ends its statement a little sooner ([`session::STATEMENT_SECONDS`]).
const FETCH_PATIENCE: Duration = Duration::from_secs(70);
/// The most bytes of a tenant's table, as the database sends its values; each counts [`CELL_BYTES`] more.
const MAX_BYTES: u64 = MAX_FILE_BYTES;
/// What a cell takes in memory beside its value, about.
const CELL_BYTES: u64 = 8;
/// Longest name of anything in `PostgreSQL`, in bytes.
const MAX_IDENTIFIER: usize = 63;
/// Longest host name.
const MAX_HOST: usize = 253;

/// What an operator says about a database.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PostgresSettings {
    host: String,
    #[serde(default = "port")]
    port: u16,
    database: String,
    user: String,
    password: Credential,
    #[serde(default = "schema")]
    schema: String,
    tenant_column: Option<String>,
    #[serde(default)]
    tls: Tls,
    ca_file: Option<PathBuf>,
    #[serde(default = "refresh_seconds")]
    refresh_seconds: u16,
}

/// Whether the connection is encrypted and the server proves who it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Tls {
    #[default]
    Required,
    /// On this machine's loopback alone.
    Disabled,
}

fn port() -> u16 {
    PORT
}

fn schema() -> String {
    SCHEMA.to_owned()
}

fn refresh_seconds() -> u16 {
    REFRESH_SECONDS
}

impl PostgresSettings {
    /// Everything that keeps this from ever working, and what to do. Relative paths get `folder` before them.
    pub(crate) fn check(&mut self, folder: &Path) -> Vec<String> {
        self.password.resolve(folder);
        self.ca_file = self.ca_file.take().map(|path| folder.join(path));
        let mut problems = Vec::new();
        if !is_host(&self.host) {
            problems.push("host: give a host name or an IP address, without scheme and port".to_owned());
        }
        if self.tls == Tls::Disabled && !is_loopback(&self.host) {
            problems.push("tls: may be disabled on this machine's loopback alone; leave it out".to_owned());
        }
        let names = [
            ("database", Some(&self.database)),
            ("user", Some(&self.user)),
            ("schema", Some(&self.schema)),
            ("tenant_column", self.tenant_column.as_ref()),
        ];
        for (key, name) in names {
            if name.is_some_and(|name| name.is_empty() || name.len() > MAX_IDENTIFIER || name.contains('\0')) {
                problems.push(format!("{key}: give 1 to {MAX_IDENTIFIER} bytes"));
            }
        }
        if self.port == 0 || self.refresh_seconds == 0 {
            problems.push("port and refresh_seconds: must be at least 1".to_owned());
        }
        problems.extend(self.password.read().err());
        problems.extend(self.ca_file.as_deref().and_then(|path| authorities(path).err()));
        problems
    }

    /// The way in, with the password as it is now. Reads a file.
    fn connect_options(&self) -> Result<PgConnectOptions, SourceError> {
        let password = self.password.read().map_err(SourceError::Unreachable)?;
        let mode = if self.tls == Tls::Required { PgSslMode::VerifyFull } else { PgSslMode::Disable };
        let mut options = PgConnectOptions::new_without_pgpass()
            .host(&self.host)
            .port(self.port)
            .database(&self.database)
            .username(&self.user)
            .password(password.expose())
            .application_name("kyros-api")
            .ssl_mode(mode)
            // The log is no place for a tenant's table.
            .disable_statement_logging();
        if let Some(path) = &self.ca_file {
            options = options.ssl_root_cert(path);
        }
        Ok(options)
    }
}

/// Never a path: that would be a socket on this machine.
fn is_host(host: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
    let is_name = !host.is_empty() && host.len() <= MAX_HOST && host.bytes().all(allowed);
    is_name || host.parse::<IpAddr>().is_ok()
}

/// A database whose policies keep tenants apart.
pub(crate) struct Postgres(Arc<Inner>);

struct Inner {
    name: SourceName,
    settings: PostgresSettings,
    connections: Semaphore,
}

impl Postgres {
    pub(crate) fn new(name: SourceName, settings: PostgresSettings) -> Self {
        Self(Arc::new(Inner { name, settings, connections: Semaphore::new(CONNECTIONS) }))
    }
}

impl Source for Postgres {
    fn believed_for(&self) -> Duration {
        Duration::from_secs(self.0.settings.refresh_seconds.into())
    }

    fn fetch(&self, place: Place, known: Option<Version>) -> BoxFuture<'static, Result<Option<Fetched>, SourceError>> {
        let inner = self.0.clone();
        async move {
            let (version, rows) = inner.in_time(inner.read(&place)).await?;
            if known.as_ref() == Some(&version) {
                return Ok(None);
            }
            let table = tokio::task::spawn_blocking(move || rows.finish()).await;
            let table = table.map_err(|error| SourceError::Unreachable(error.to_string()))?;
            let table = table.map_err(|error| SourceError::broken(&version, &error))?;
            Ok(Some(Fetched { version, table }))
        }
        .boxed()
    }

    fn exists(&self, place: Place) -> BoxFuture<'static, Result<bool, SourceError>> {
        let inner = self.0.clone();
        async move {
            let looking = async {
                let mut session = inner.connect(&place).await?;
                let found = match session.table(&inner.settings.schema, place.dataset()).await {
                    Ok(_) => true,
                    Err(SourceError::Absent) => false,
                    Err(error) => return Err(error),
                };
                session.close().await;
                Ok(found)
            };
            inner.in_time(looking).await
        }
        .boxed()
    }
}

impl Inner {
    /// One of the connections, for as long as the work takes, which is bounded.
    async fn in_time<T>(&self, work: impl Future<Output = Result<T, SourceError>>) -> Result<T, SourceError> {
        let unreachable = |text: String| SourceError::Unreachable(format!("{}: {text}", self.name));
        let _permit = match timeout(QUEUE_PATIENCE, self.connections.acquire()).await {
            Ok(Ok(permit)) => permit,
            Ok(Err(closed)) => return Err(unreachable(closed.to_string())),
            Err(_) => return Err(unreachable(format!("all {CONNECTIONS} connections are busy"))),
        };
        match timeout(FETCH_PATIENCE, work).await {
            Ok(done) => done,
            Err(_) => Err(unreachable(format!("took longer than {} s", FETCH_PATIENCE.as_secs()))),
        }
    }

    /// A connection of its own, in a transaction that knows the tenant.
    async fn connect(self: &Arc<Self>, place: &Place) -> Result<Session, SourceError> {
        let inner = self.clone();
        let options = tokio::task::spawn_blocking(move || inner.settings.connect_options()).await;
        let options = options.map_err(|error| SourceError::Unreachable(error.to_string()))??;
        match timeout(CONNECT_PATIENCE, options.connect()).await {
            Ok(Ok(connection)) => Session::begin(connection, place).await,
            Ok(Err(error)) => Err(SourceError::Unreachable(format!("{}: {error}", self.name))),
            Err(_) => {
                let seconds = CONNECT_PATIENCE.as_secs();
                Err(SourceError::Unreachable(format!("{}: no connection within {seconds} s", self.name)))
            }
        }
    }

    async fn read(self: &Arc<Self>, place: &Place) -> Result<(Version, TableBuilder), SourceError> {
        let mut session = self.connect(place).await?;
        let table = session.table(&self.settings.schema, place.dataset()).await?;
        let table = session.hold(table, &self.settings.schema, place.dataset()).await?;
        session.demand_row_security(&table).await?;
        let named = self.settings.tenant_column.as_deref().unwrap_or(TENANT_COLUMN);
        let columns = session.columns(&table, named).await?;
        let (tenant, shown) = self.tenant_column(columns)?;
        if tenant.is_none() {
            session.demand_nothing_for_nobody(&table).await?;
        }
        let statement = table.select(tenant.as_ref(), &shown);
        let mut content = Content::new(&shown);
        let mut rows = session.rows(&statement);
        while let Some(row) = rows.try_next().await.map_err(session::said)? {
            if tenant.is_some() {
                self.demand_own(&row, place)?;
            }
            content.take(&row, usize::from(tenant.is_some()))?;
        }
        drop(rows);
        session.close().await;
        Ok(content.finish())
    }

    /// Takes the column that names a row's tenant out of what is shown.
    fn tenant_column(&self, mut columns: Vec<Column>) -> Result<(Option<Column>, Vec<Column>), SourceError> {
        let wanted = self.settings.tenant_column.as_deref();
        let position = columns.iter().position(|column| column.name() == wanted.unwrap_or(TENANT_COLUMN));
        let tenant = position.map(|position| columns.remove(position));
        match (&tenant, wanted) {
            (None, Some(wanted)) => {
                return Err(broken(format!("there is no column {wanted:?} (tenant_column) that the role may read")));
            }
            (Some(column), _) if !column.is_text() => {
                return Err(broken(format!("column {:?} names the tenant and is no text; make it one", column.name())));
            }
            _ => (),
        }
        if columns.is_empty() {
            return Err(broken("there is no column that the role may read; GRANT SELECT on the table"));
        }
        Ok((tenant, columns))
    }

    /// The second look, behind the database's policies: a row that is not this tenant's ends everything.
    fn demand_own(&self, row: &PgRow, place: &Place) -> Result<(), SourceError> {
        let value = row.try_get_raw(0).map_err(session::said)?;
        let own = value.as_bytes().is_ok_and(|bytes| bytes == place.tenant().as_str().as_bytes());
        if own {
            return Ok(());
        }
        tracing::error!(
            target: "kyros_api::security",
            source = %self.name,
            tenant = %place.tenant(),
            dashboard = %place.dashboard(),
            dataset = %place.dataset(),
            "the database's policy shows a tenant rows that are not its own; nothing of the table is served"
        );
        Err(broken("the policy of the table shows this tenant rows of another one; mend the policy"))
    }
}

/// What was read so far: the cells, a digest of them, and how much it is.
struct Content {
    kinds: Vec<(String, CellKind)>,
    rows: TableBuilder,
    digest: Context,
    row_count: u64,
    bytes: u64,
}

impl Content {
    fn new(columns: &[Column]) -> Self {
        let kinds: Vec<_> = columns.iter().map(|column| (column.name().to_owned(), column.kind())).collect();
        let rows = TableBuilder::new(kinds.iter().map(|(name, kind)| (name.as_str(), *kind)));
        let mut digest = Context::new(&SHA256);
        for (name, kind) in &kinds {
            digest.update(format!("{name:?} {kind:?}\n").as_bytes());
        }
        Self { kinds, rows, digest, row_count: 0, bytes: 0 }
    }

    /// Takes a row, whose first `skipped` values are not shown.
    fn take(&mut self, row: &PgRow, skipped: usize) -> Result<(), SourceError> {
        self.row_count += 1;
        if self.row_count > MAX_ROWS {
            return Err(broken(format!("the tenant has more than {MAX_ROWS} rows")));
        }
        for (index, (name, kind)) in self.kinds.iter().enumerate() {
            let raw = row.try_get_raw(index + skipped).map_err(session::said)?;
            let bytes =
                if raw.is_null() { None } else { Some(raw.as_bytes().map_err(|error| broken(error.to_string()))?) };
            self.bytes += bytes.map_or(0, |bytes| bytes.len() as u64) + CELL_BYTES;
            // The length first, and one that no value has for what is not there: two rows never look alike.
            self.digest.update(&bytes.map_or(u64::MAX, |bytes| bytes.len() as u64).to_le_bytes());
            self.digest.update(bytes.unwrap_or_default());
            let value = bytes.map(|bytes| cell(*kind, bytes)).transpose();
            let value = value.map_err(|why| broken(format!("column {name:?} holds {why}")))?;
            self.rows.push(index, value).map_err(|error| broken(error.to_string()))?;
        }
        if self.bytes > MAX_BYTES {
            return Err(broken(format!("the tenant's rows take more than {MAX_BYTES} bytes")));
        }
        Ok(())
    }

    fn finish(self) -> (Version, TableBuilder) {
        (Version::new(hex(self.digest.finish().as_ref())), self.rows)
    }
}
