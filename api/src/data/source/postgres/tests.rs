//! A database with policies that hold, and with every way in which they do not, against a real server.

use std::path::PathBuf;

use kyros_shared_config::crypto::random_id;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use super::*;
use crate::data::source::testing::{lines, new_lines, place, service};

/// A database of one test's own, and a role that may only read in it.
struct World {
    folder: PathBuf,
    address: (String, u16),
    name: String,
    superuser: PgConnectOptions,
}

const POLICY: &str = "USING (tenant_id = current_setting('kyros.tenant', true))";

impl World {
    async fn new() -> Option<Self> {
        let (address, password) = (service("KYROS_TEST_POSTGRES")?, service("KYROS_TEST_POSTGRES_PASSWORD")?);
        let (host, port) = address.rsplit_once(':').unwrap();
        let address = (host.to_owned(), port.parse().unwrap());
        let name = format!("kyros_{}", random_id().to_lowercase().replace(['-', '_'], "x"));
        let superuser = PgConnectOptions::new_without_pgpass()
            .host(&address.0)
            .port(address.1)
            .username("postgres")
            .password(&password)
            .ssl_mode(PgSslMode::Disable)
            .database("postgres");
        let folder = std::env::temp_dir().join(&name);
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("password"), "first\n").unwrap();
        let world = Self { folder, address, superuser: superuser.clone().database(&name), name };
        run(&superuser, &format!("CREATE DATABASE {0}", world.name)).await;
        let role = format!(
            "CREATE ROLE {0} LOGIN PASSWORD 'first'; CREATE SCHEMA kyros; GRANT USAGE ON SCHEMA kyros TO {0}",
            world.name
        );
        run(&world.superuser, &role).await;
        Some(world)
    }

    /// A table of which the policy shows each tenant its own rows.
    async fn table(&self, dataset: &str, columns: &str, rows: &str) {
        self.table_under(dataset, columns, rows, POLICY).await;
    }

    async fn table_under(&self, dataset: &str, columns: &str, rows: &str, policy: &str) {
        self.sql(&format!(
            "CREATE TABLE kyros.\"{dataset}\" ({columns}); INSERT INTO kyros.\"{dataset}\" VALUES {rows}; \
             ALTER TABLE kyros.\"{dataset}\" ENABLE ROW LEVEL SECURITY; \
             CREATE POLICY tenants ON kyros.\"{dataset}\" {policy}; GRANT SELECT ON kyros.\"{dataset}\" TO {}",
            self.name
        ))
        .await;
    }

    async fn sql(&self, sql: &str) {
        run(&self.superuser, &sql.replace("ROLE_", &self.name)).await;
    }

    fn source(&self) -> Postgres {
        self.source_with("tls: disabled")
    }

    fn source_with(&self, more: &str) -> Postgres {
        let (host, port) = &self.address;
        let text = format!(
            "{{host: {host}, port: {port}, database: {0}, user: {0}, password: {{file: password}}, {more}}}",
            self.name
        );
        let mut settings: PostgresSettings = serde_yaml::from_str(&text).unwrap();
        assert_eq!(settings.check(&self.folder), Vec::<String>::new());
        Postgres::new("warehouse".parse().unwrap(), settings)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

async fn run(options: &PgConnectOptions, sql: &str) {
    let mut connection = PgConnection::connect_with(options).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
        .execute(&mut connection)
        .await
        .unwrap_or_else(|error| panic!("{sql}: {error}"));
    connection.close().await.unwrap();
}

/// Why nothing of a dataset is served.
async fn refused(source: &Postgres, dataset: &str) -> String {
    match source.fetch(place("acme", dataset), None).await {
        Err(SourceError::Broken { detail, .. }) => detail,
        Err(error) => panic!("{error:?}"),
        Ok(fetched) => panic!("served: {:?}", fetched.map(|fetched| lines(&fetched.table))),
    }
}

const TWO_TENANTS: &str = "('acme', 1), ('globex', 2), ('acme', 3)";

#[tokio::test]
async fn each_tenant_is_shown_its_own_rows_and_not_the_column_that_says_so() {
    let Some(world) = World::new().await else { return };
    world.table("orders", "tenant_id text, n int4", TWO_TENANTS).await;
    let source = world.source();
    let acme = source.fetch(place("acme", "orders"), None).await.unwrap().unwrap();
    assert_eq!(lines(&acme.table), [r#"{"n":1}"#, r#"{"n":3}"#]);
    assert_eq!(new_lines(source.fetch(place("globex", "orders"), None).await.unwrap()), [r#"{"n":2}"#]);
    let nobody = source.fetch(place("nobody", "orders"), None).await.unwrap().unwrap();
    assert_eq!((nobody.table.rows(), nobody.table.schema().names().collect::<Vec<_>>()), (0, vec!["n"]));

    assert!(matches!(source.fetch(place("acme", "nothing"), None).await, Err(SourceError::Absent)));
    assert!(source.exists(place("acme", "orders")).await.unwrap());
    assert!(!source.exists(place("acme", "nothing")).await.unwrap());
}

#[tokio::test]
async fn an_unchanged_table_keeps_its_version_and_any_change_of_the_tenants_own_rows_ends_it() {
    let Some(world) = World::new().await else { return };
    world.table("orders", "tenant_id text, n int4, t text", "('acme', 1, NULL), ('globex', 2, 'x')").await;
    let source = world.source();
    let fetch = |known: Option<Version>| source.fetch(place("acme", "orders"), known);
    let first = fetch(None).await.unwrap().unwrap().version;
    assert!(fetch(Some(first.clone())).await.unwrap().is_none());
    world.sql("UPDATE kyros.orders SET n = 7 WHERE tenant_id = 'globex'").await;
    assert!(fetch(Some(first.clone())).await.unwrap().is_none(), "another tenant's row");
    world.sql("UPDATE kyros.orders SET t = '' WHERE tenant_id = 'acme'").await;
    let second = fetch(Some(first.clone())).await.unwrap().unwrap().version;
    assert_ne!(first, second, "nothing and an empty text are two contents");
}

#[tokio::test]
async fn a_policy_can_tell_dashboards_apart_and_the_settings_end_with_the_transaction() {
    let Some(world) = World::new().await else { return };
    let policy = "USING (tenant_id = current_setting('kyros.tenant', true) \
         AND dashboard = current_setting('kyros.dashboard', true))";
    world
        .table_under(
            "orders",
            "tenant_id text, dashboard text, n int4",
            "('acme', 'clv', 1), ('acme', 'risk', 2)",
            policy,
        )
        .await;
    let source = world.source();
    let expected = [r#"{"dashboard":"clv","n":1}"#];
    assert_eq!(new_lines(source.fetch(place("acme", "orders"), None).await.unwrap()), expected);

    let options = source.0.settings.connect_options().unwrap();
    let session = Session::begin(options.connect().await.unwrap(), &place("acme", "orders")).await.unwrap();
    let mut connection = session.into_connection();
    sqlx::query("ROLLBACK").execute(&mut connection).await.unwrap();
    let left: Option<String> =
        sqlx::query_scalar("SELECT current_setting('kyros.tenant', true)").fetch_one(&mut connection).await.unwrap();
    assert_eq!(left.unwrap_or_default(), "");
}

#[tokio::test]
async fn without_row_level_security_in_force_nothing_is_served() {
    let Some(world) = World::new().await else { return };
    world.table("orders", "tenant_id text, n int4", TWO_TENANTS).await;
    let source = world.source();
    world.sql("ALTER TABLE kyros.orders DISABLE ROW LEVEL SECURITY").await;
    assert!(refused(&source, "orders").await.contains("not in force"));

    world.sql("ALTER TABLE kyros.orders ENABLE ROW LEVEL SECURITY; ALTER TABLE kyros.orders OWNER TO ROLE_").await;
    assert!(refused(&source, "orders").await.contains("not own the table"), "an owner is above its policies");
    world.sql("ALTER TABLE kyros.orders FORCE ROW LEVEL SECURITY").await;
    assert_eq!(new_lines(source.fetch(place("acme", "orders"), None).await.unwrap()).len(), 2, "unless forced");
}

#[tokio::test]
async fn a_role_above_the_policies_is_served_nothing() {
    let Some(world) = World::new().await else { return };
    world.table("orders", "tenant_id text, n int4", TWO_TENANTS).await;
    let source = world.source();
    for (above, below) in [
        ("ALTER ROLE ROLE_ BYPASSRLS", "ALTER ROLE ROLE_ NOBYPASSRLS"),
        ("ALTER ROLE ROLE_ SUPERUSER", "ALTER ROLE ROLE_ NOSUPERUSER"),
        ("CREATE ROLE ROLE_all BYPASSRLS; GRANT ROLE_all TO ROLE_", "REVOKE ROLE_all FROM ROLE_"),
    ] {
        world.sql(above).await;
        assert!(refused(&source, "orders").await.contains("no policy holds it"), "{above}");
        world.sql(below).await;
        assert!(source.fetch(place("acme", "orders"), None).await.unwrap().is_some(), "{below}");
    }
}

#[tokio::test]
async fn a_policy_that_shows_other_tenants_rows_is_found_out() {
    let Some(world) = World::new().await else { return };
    let source = world.source();
    world.table_under("wrong", "tenant_id text, n int4", TWO_TENANTS, "USING (true)").await;
    assert!(refused(&source, "wrong").await.contains("rows of another one"));
    world.table_under("nobodys", "tenant_id text, n int4", "('acme', 1), (NULL, 2)", "USING (true)").await;
    assert!(refused(&source, "nobodys").await.contains("rows of another one"));
    // Only rows of others: none of its own comes first.
    world.table_under("others", "n int4, tenant_id text", "(1, 'acme2')", "USING (true)").await;
    assert!(refused(&source, "others").await.contains("rows of another one"));

    world.table_under("columnless", "n int4", "(1)", "USING (true)").await;
    assert!(refused(&source, "columnless").await.contains("when kyros.tenant is empty"));
    let policy = "USING (n = length(nullif(current_setting('kyros.tenant', true), '')))";
    world.table_under("derived", "n int4", "(4), (6)", policy).await;
    assert_eq!(new_lines(source.fetch(place("acme", "derived"), None).await.unwrap()), [r#"{"n":4}"#]);
}

#[tokio::test]
async fn the_column_that_names_the_tenant_is_the_operators_to_choose() {
    let Some(world) = World::new().await else { return };
    let policy = "USING (customer = current_setting('kyros.tenant', true))";
    world.table_under("orders", "customer varchar(30), n int4", TWO_TENANTS, policy).await;
    let source = world.source_with("tls: disabled, tenant_column: customer");
    assert_eq!(new_lines(source.fetch(place("acme", "orders"), None).await.unwrap()), [r#"{"n":1}"#, r#"{"n":3}"#]);
    world.table("without", "tenant_id text, n int4", TWO_TENANTS).await;
    assert!(refused(&source, "without").await.contains("there is no column \"customer\""));
    world.table_under("number", "customer int4, n int4", "(1, 1)", "USING (true)").await;
    assert!(refused(&source, "number").await.contains("is no text"));
    world.sql("REVOKE SELECT ON kyros.orders FROM ROLE_; GRANT SELECT (n) ON kyros.orders TO ROLE_").await;
    assert!(refused(&source, "orders").await.contains("column \"customer\" names the tenant and may not be read"));
}

#[tokio::test]
async fn a_column_that_tells_whose_a_row_is_and_may_not_be_read_is_no_way_around_the_second_look() {
    let Some(world) = World::new().await else { return };
    let rows = "('acme', 1), ('globex', 2)";
    // Nothing for nobody, and everything for everybody else.
    let policy = "USING (current_setting('kyros.tenant', true) <> '')";
    world.table_under("orders", "tenant_id text, n int4", rows, policy).await;
    world.sql("REVOKE SELECT ON kyros.orders FROM ROLE_; GRANT SELECT (n) ON kyros.orders TO ROLE_").await;
    assert!(refused(&world.source(), "orders").await.contains("may not be read"));
}

#[tokio::test]
async fn columns_that_the_role_may_not_read_are_not_there() {
    let Some(world) = World::new().await else { return };
    world.table("orders", "tenant_id text, n int4, salary int4", "('acme', 1, 9)").await;
    world.sql("REVOKE SELECT ON kyros.orders FROM ROLE_; GRANT SELECT (tenant_id, n) ON kyros.orders TO ROLE_").await;
    let source = world.source();
    assert_eq!(new_lines(source.fetch(place("acme", "orders"), None).await.unwrap()), [r#"{"n":1}"#]);
    world.sql("REVOKE SELECT (tenant_id, n) ON kyros.orders FROM ROLE_").await;
    assert!(refused(&source, "orders").await.contains("GRANT SELECT"));
    world.sql("REVOKE USAGE ON SCHEMA kyros FROM ROLE_; GRANT SELECT (tenant_id, n) ON kyros.orders TO ROLE_").await;
    assert!(refused(&source, "orders").await.contains("42501"));
}

#[tokio::test]
async fn only_tables_are_datasets() {
    let Some(world) = World::new().await else { return };
    world.table("orders", "tenant_id text, n int4", TWO_TENANTS).await;
    world
        .sql(
            "CREATE VIEW kyros.seen AS SELECT * FROM kyros.orders; GRANT SELECT ON kyros.seen TO ROLE_; \
             CREATE MATERIALIZED VIEW kyros.kept AS SELECT * FROM kyros.orders; GRANT SELECT ON kyros.kept TO ROLE_; \
             CREATE SEQUENCE kyros.counted",
        )
        .await;
    let source = world.source();
    for dataset in ["seen", "kept"] {
        assert!(refused(&source, dataset).await.contains("no table of its own"), "{dataset}");
    }
    assert!(matches!(source.fetch(place("acme", "counted"), None).await, Err(SourceError::Absent)));
    world
        .sql(&format!(
            "CREATE TABLE kyros.parted (tenant_id text, n int4) PARTITION BY LIST (tenant_id); \
             CREATE TABLE kyros.parted_a PARTITION OF kyros.parted FOR VALUES IN ('acme'); \
             CREATE TABLE kyros.parted_g PARTITION OF kyros.parted DEFAULT; \
             INSERT INTO kyros.parted VALUES {TWO_TENANTS}; ALTER TABLE kyros.parted ENABLE ROW LEVEL SECURITY; \
             CREATE POLICY tenants ON kyros.parted {POLICY}; GRANT SELECT ON kyros.parted, kyros.parted_a TO ROLE_"
        ))
        .await;
    assert_eq!(new_lines(source.fetch(place("acme", "parted"), None).await.unwrap()).len(), 2);
    assert!(refused(&source, "parted_a").await.contains("not in force"), "a part has no policy of its own");
}

#[tokio::test]
async fn every_type_that_is_served_is_read_exactly() {
    let Some(world) = World::new().await else { return };
    world
        .sql("CREATE TYPE kyros.mood AS ENUM ('sad', 'happy'); CREATE DOMAIN kyros.price AS numeric(12, 3) CHECK (VALUE >= 0)")
        .await;
    let columns = "tenant_id text, b bool, i2 int2, i4 int4, i8 int8, f4 float4, f8 float8, d numeric(38, 6), p kyros.price, \
         t text, v varchar(9), c char(4), day date, at timestamp, instant timestamptz, u uuid, m kyros.mood, j jsonb, \
         \"odd \"\" name; --\" int4";
    let row = "('acme', true, -32768, 2147483647, -9223372036854775808, 0.1, 0.1, -12345678901234567890123456789012.000001, 9.5, \
         'a\"b\\n,;ü€😀', 'v', 'c', '2000-02-29', '1999-12-31 23:59:59.999999', '2026-11-24 12:00:00+02', \
         '00000000-0000-0000-0000-00000000000A', 'happy', '{\"a\":1}', 5)";
    let nothing = format!("('acme'{})", ", NULL".repeat(18));
    let zero = "('acme', false, 0, 0, 0, 0, 0, 0, 0, '', '', '', '1970-01-01', '1970-01-01', '1970-01-01 00:00+00', \
         '00000000-0000-0000-0000-000000000000', 'sad', '\"\"', 0)";
    world.table("all", columns, &format!("{row}, {nothing}, {zero}")).await;
    let lines = new_lines(world.source().fetch(place("acme", "all"), None).await.unwrap());
    let rows: Vec<serde_json::Value> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let first = &rows[0];
    assert_eq!((&first["b"], &first["i2"], &first["i4"]), (&true.into(), &(-32768).into(), &2_147_483_647.into()));
    assert_eq!((first["i8"].as_i64(), first["f8"].as_f64()), (Some(i64::MIN), Some(0.1)));
    assert!(lines[0].contains("-12345678901234567890123456789012.000001"), "{}", lines[0]);
    assert!(lines[0].contains("9.500"), "{}", lines[0]);
    assert_eq!(first["t"], "a\"b\\n,;ü€😀");
    assert_eq!((&first["v"], &first["c"], &first["m"]), (&"v".into(), &"c".into(), &"happy".into()));
    assert_eq!((&first["day"], &first["u"]), (&"2000-02-29".into(), &"00000000-0000-0000-0000-00000000000a".into()));
    assert!(first["at"].as_str().unwrap().starts_with("1999-12-31T23:59:59.999999"), "{}", first["at"]);
    assert!(first["instant"].as_str().unwrap().starts_with("2026-11-24T10:00:00"), "{}", first["instant"]);
    assert_eq!((&first["j"], &first["odd \" name; --"]), (&"{\"a\": 1}".into(), &5.into()));
    assert!(rows[1].as_object().unwrap().values().all(serde_json::Value::is_null), "{}", lines[1]);
    assert_eq!((&rows[2]["t"], &rows[2]["c"], &rows[2]["day"]), (&"".into(), &"".into(), &"1970-01-01".into()));
}

#[tokio::test]
async fn what_has_no_counterpart_is_refused_by_the_columns_name() {
    let Some(world) = World::new().await else { return };
    let source = world.source();
    for (dataset, kind, value, said) in [
        ("free", "numeric", "1", "give it one, such as numeric(18, 2)"),
        ("list", "int4[]", "'{1}'", "column \"x\" has a type (_int4)"),
        ("bytes", "bytea", "'a'", "column \"x\" has a type (bytea)"),
        ("span", "interval", "'1 day'", "column \"x\" has a type (interval)"),
        ("forever", "date", "'infinity'", "column \"x\" holds infinity"),
        ("always", "timestamptz", "'-infinity'", "column \"x\" holds infinity"),
        ("ancient", "date", "'0044-03-15 BC'", "outside of the years 1 to 9999"),
        ("nan", "numeric(5, 2)", "'NaN'", "column \"x\" holds NaN"),
        ("long", "text", "repeat('ü', 1000001)", "more than 1,000,000 characters"),
    ] {
        world.table(dataset, &format!("tenant_id text, x {kind}"), &format!("('acme', {value})")).await;
        let detail = refused(&source, dataset).await;
        assert!(detail.contains(said), "{dataset}: {detail}");
    }
    world.table("longest", "tenant_id text, x text", "('acme', repeat('ü', 1000000))").await;
    assert_eq!(new_lines(source.fetch(place("acme", "longest"), None).await.unwrap()).len(), 1);
}

#[tokio::test]
async fn more_bytes_than_allowed_end_the_reading() {
    let Some(world) = World::new().await else { return };
    // Six hundred megabytes that the database makes up while it sends them, where it could.
    world.table("huge", "tenant_id text, x text", "('acme', repeat('x', 1000000))").await;
    world.sql("INSERT INTO kyros.huge SELECT h.* FROM kyros.huge h, generate_series(1, 599)").await;
    assert!(refused(&world.source(), "huge").await.contains("bytes"));
}

#[tokio::test]
async fn a_rotated_password_counts_from_the_next_fetch_on() {
    let Some(world) = World::new().await else { return };
    world.table("orders", "tenant_id text, n int4", TWO_TENANTS).await;
    let source = world.source();
    world.sql("ALTER ROLE ROLE_ PASSWORD 'second'").await;
    let refused = source.fetch(place("acme", "orders"), None).await.err().unwrap();
    assert!(matches!(refused, SourceError::Unreachable(_)), "{refused}");
    std::fs::write(world.folder.join("password"), "second").unwrap();
    assert!(source.fetch(place("acme", "orders"), None).await.unwrap().is_some());
}

#[tokio::test]
async fn over_tls_only_a_server_with_a_certificate_of_ours_is_believed() {
    let Some(world) = World::new().await else { return };
    let Some(ca) = service("KYROS_TEST_POSTGRES_CA") else { return };
    world.table("orders", "tenant_id text, n int4", TWO_TENANTS).await;
    let source = world.source_with(&format!("ca_file: {ca}"));
    assert!(source.fetch(place("acme", "orders"), None).await.unwrap().is_some());
    let stranger = world.source_with("tls: required").fetch(place("acme", "orders"), None).await.err().unwrap();
    assert!(matches!(stranger, SourceError::Unreachable(_)), "{stranger}");
}

#[tokio::test]
async fn a_database_that_is_down_is_unreachable_and_not_empty() {
    let folder = std::env::temp_dir().join(format!("kyros-{}", random_id()));
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("password"), "secret").unwrap();
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let text =
        format!("{{host: 127.0.0.1, port: {port}, database: d, user: u, password: {{file: password}}, tls: disabled}}");
    let mut settings: PostgresSettings = serde_yaml::from_str(&text).unwrap();
    settings.check(&folder);
    let source = Postgres::new("warehouse".parse().unwrap(), settings);
    for outcome in
        [source.fetch(place("acme", "orders"), None).await.err(), source.exists(place("acme", "orders")).await.err()]
    {
        assert!(matches!(outcome, Some(SourceError::Unreachable(_))), "{outcome:?}");
    }
    std::fs::remove_dir_all(folder).unwrap();
}
