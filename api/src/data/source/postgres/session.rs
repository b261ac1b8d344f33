//! One transaction of one tenant: what the database is told first, and what it must say before a row is read.

use futures_util::stream::BoxStream;
use kyros_shared_config::DatasetName;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, postgres::PgRow};

use super::columns::{Column, Described};
use crate::data::source::{Place, SourceError};

/// After which the database itself ends a statement, in seconds.
pub(super) const STATEMENT_SECONDS: u64 = 60;
/// After which it gives up waiting for a lock, in seconds.
const LOCK_SECONDS: u64 = 5;

/// Read-only, and one moment for all statements.
const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
/// All of it ends with the transaction. Rows come in the table's own order, so that the same table looks the same: without
/// another reader's position, and without parallel ones.
const SETTINGS: &str = "SELECT pg_catalog.set_config(name, value, true) FROM (VALUES \
     ('kyros.tenant', $1), ('kyros.dashboard', $2), ('statement_timeout', $3), ('lock_timeout', $4), ('row_security', 'on'), \
     ('synchronize_seqscans', 'off'), ('max_parallel_workers_per_gather', '0')) AS settings (name, value)";
const FIND: &str = "SELECT c.oid::pg_catalog.int8, c.relkind IN ('r', 'p') FROM pg_catalog.pg_class c \
     JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = $2 \
     AND c.relkind IN ('r', 'p', 'v', 'm', 'f')";
/// Whoever can switch to a role that sees everything sees everything.
const GUARDED: &str = "SELECT pg_catalog.row_security_active($1::pg_catalog.int8::pg_catalog.oid), \
     EXISTS (SELECT 1 FROM pg_catalog.pg_roles r WHERE (r.rolsuper OR r.rolbypassrls) AND (r.rolname IN (current_user, \
     session_user) OR pg_catalog.pg_has_role(session_user, r.oid, 'MEMBER')))";
const COLUMNS: &str = "SELECT a.attname::pg_catalog.text AS name, \
     CASE WHEN n.nspname = 'pg_catalog' THEN b.typname::pg_catalog.text END AS builtin, b.typtype = 'e' AS is_enum, \
     CASE WHEN t.typtype = 'd' THEN t.typtypmod ELSE a.atttypmod END AS modifier, \
     pg_catalog.has_column_privilege(a.attrelid, a.attnum, 'SELECT') AS is_readable FROM pg_catalog.pg_attribute a \
     JOIN pg_catalog.pg_type t ON t.oid = a.atttypid \
     JOIN pg_catalog.pg_type b ON b.oid = CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.oid END \
     JOIN pg_catalog.pg_namespace n ON n.oid = b.typnamespace \
     WHERE a.attrelid = $1::pg_catalog.int8::pg_catalog.oid AND a.attnum > 0 AND NOT a.attisdropped \
     ORDER BY a.attnum";

/// A connection in its only transaction.
pub(super) struct Session(PgConnection);

/// A table that was found.
pub(super) struct Found {
    oid: i64,
    schema: String,
    name: String,
}

impl Session {
    pub(super) async fn begin(mut connection: PgConnection, place: &Place) -> Result<Self, SourceError> {
        sqlx::query(BEGIN).persistent(false).execute(&mut connection).await.map_err(said)?;
        sqlx::query(SETTINGS)
            .persistent(false)
            .bind(place.tenant().as_str())
            .bind(place.dashboard().as_str())
            .bind(format!("{STATEMENT_SECONDS}s"))
            .bind(format!("{LOCK_SECONDS}s"))
            .fetch_all(&mut connection)
            .await
            .map_err(said)?;
        Ok(Self(connection))
    }

    /// The dataset's table, by its names as values.
    pub(super) async fn table(&mut self, schema: &str, dataset: &DatasetName) -> Result<Found, SourceError> {
        let found: Option<(i64, bool)> = sqlx::query_as(FIND)
            .persistent(false)
            .bind(schema)
            .bind(dataset.as_str())
            .fetch_optional(&mut self.0)
            .await
            .map_err(said)?;
        match found {
            None => Err(SourceError::Absent),
            Some((_, false)) => Err(broken(format!(
                "{schema}.{dataset} is no table of its own: row-level security of a view is its owner's; make a table"
            ))),
            Some((oid, true)) => Ok(Found { oid, schema: schema.to_owned(), name: dataset.to_string() }),
        }
    }

    /// Makes sure that what is checked is what is read: rows are selected by name, and another table could take that name in
    /// between. The lock that the statement takes keeps the name where it is until the transaction ends.
    pub(super) async fn hold(
        &mut self,
        table: Found,
        schema: &str,
        dataset: &DatasetName,
    ) -> Result<Found, SourceError> {
        let statement = format!("SELECT FROM {} LIMIT 0", table.quoted());
        sqlx::query(AssertSqlSafe(statement)).persistent(false).execute(&mut self.0).await.map_err(
            |error| match said(error) {
                SourceError::Broken { detail, .. } => broken(format!("{detail}; GRANT SELECT on what is to be served")),
                error => error,
            },
        )?;
        let held = self.table(schema, dataset).await?;
        if held.oid == table.oid {
            Ok(held)
        } else {
            Err(SourceError::Unreachable(format!("{schema}.{dataset} was replaced just now")))
        }
    }

    /// Refuses a table or a role for which policies do not count.
    pub(super) async fn demand_row_security(&mut self, table: &Found) -> Result<(), SourceError> {
        let (active, above): (bool, bool) =
            sqlx::query_as(GUARDED).persistent(false).bind(table.oid).fetch_one(&mut self.0).await.map_err(said)?;
        if above {
            return Err(broken(
                "the role is a superuser, has BYPASSRLS, or may become one that does, so no policy holds it; give it neither",
            ));
        }
        if !active {
            return Err(broken(format!(
                "row-level security is not in force on {}.{} for this role; ALTER TABLE .. ENABLE ROW LEVEL SECURITY, and let \
                 the role not own the table",
                table.schema, table.name
            )));
        }
        Ok(())
    }

    /// Where no column says whose a row is, the policy at least must show nothing to nobody.
    pub(super) async fn demand_nothing_for_nobody(&mut self, table: &Found) -> Result<(), SourceError> {
        let settings = "SELECT pg_catalog.set_config('kyros.tenant', $1, true)";
        let own: String = sqlx::query_scalar("SELECT pg_catalog.current_setting('kyros.tenant')")
            .persistent(false)
            .fetch_one(&mut self.0)
            .await
            .map_err(said)?;
        sqlx::query(settings).persistent(false).bind("").execute(&mut self.0).await.map_err(said)?;
        let probe = format!("SELECT EXISTS (SELECT 1 FROM {})", table.quoted());
        let shows: bool =
            sqlx::query_scalar(AssertSqlSafe(probe)).persistent(false).fetch_one(&mut self.0).await.map_err(said)?;
        sqlx::query(settings).persistent(false).bind(own).execute(&mut self.0).await.map_err(said)?;
        if shows {
            return Err(broken(
                "the policy shows rows when kyros.tenant is empty, and no column says whose they are; mend the policy, or name \
                 the column in tenant_column",
            ));
        }
        Ok(())
    }

    /// The columns that the role may read, in the table's order. `tenant` is the name of the one that says whose a row is.
    pub(super) async fn columns(&mut self, table: &Found, tenant: &str) -> Result<Vec<Column>, SourceError> {
        let described: Vec<Described> =
            sqlx::query_as(COLUMNS).persistent(false).bind(table.oid).fetch_all(&mut self.0).await.map_err(said)?;
        // One that tells whose a row is and may not be read would leave the rows unchecked.
        if let Some(hidden) = described.iter().find(|column| column.is(tenant) && !column.is_readable()) {
            return Err(broken(format!(
                "column {:?} names the tenant and may not be read: GRANT SELECT on it",
                hidden.name()
            )));
        }
        let readable = described.into_iter().filter(Described::is_readable);
        readable.map(|column| Column::of(column).map_err(broken)).collect()
    }

    /// The rows, one after another: whoever stops asking stops the reading.
    pub(super) fn rows(&mut self, statement: &str) -> BoxStream<'_, Result<PgRow, sqlx::Error>> {
        sqlx::query(AssertSqlSafe(statement.to_owned())).persistent(false).fetch(&mut self.0)
    }

    #[cfg(test)]
    pub(super) fn into_connection(self) -> PgConnection {
        self.0
    }

    /// Says goodbye. Nothing depends on it: a connection that is dropped is closed too.
    pub(super) async fn close(self) {
        let _ = self.0.close().await;
    }
}

impl Found {
    fn quoted(&self) -> String {
        format!("{}.{}", quoted(&self.schema), quoted(&self.name))
    }

    /// What reads the table. Every name in it is quoted and comes from the operator, the catalogue or a dataset's name.
    pub(super) fn select(&self, tenant: Option<&Column>, shown: &[Column]) -> String {
        let columns: Vec<_> = tenant.into_iter().chain(shown).map(Column::selected).collect();
        format!("SELECT {} FROM {}", columns.join(", "), self.quoted())
    }
}

/// A name as SQL reads it whatever it holds.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

pub(super) fn broken(detail: impl Into<String>) -> SourceError {
    SourceError::Broken { version: None, detail: detail.into() }
}

/// What the database said: that it cannot now, or that it never will.
#[expect(clippy::needless_pass_by_value, reason = "it stands in map_err")]
pub(super) fn said(error: sqlx::Error) -> SourceError {
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code).unwrap_or_default().into_owned();
    // Syntax and access, data, a missing object: the same answer tomorrow.
    let is_lasting = ["22", "2F", "38", "39", "42", "P0"].iter().any(|class| code.starts_with(class));
    if is_lasting { broken(format!("{error} ({code})")) } else { SourceError::Unreachable(error.to_string()) }
}
