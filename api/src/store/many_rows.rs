//! `INSERT` of many rows in few statements, and many statements in one go: what a statement costs beside its rows is as much as
//! five rows, and what stands between two of them is a way to the connection's thread and back.

use sqlx::{Arguments as _, AssertSqlSafe, Encode, Sqlite, SqliteConnection, Type, sqlite::SqliteArguments};

use super::StoreError;

/// Most rows in a statement: far fewer parameters than `SQLite` takes (32,766), and enough that more would gain nothing.
pub(super) const MOST: usize = 64;
/// Statements that a connection must keep prepared: as many as there are numbers of rows, and others one by one.
pub(super) const PREPARED: usize = 2 * MOST + 100;

/// Rows of one table: everything up to `VALUES`, and how many columns it names.
pub(super) struct Rows {
    pub(super) head: &'static str,
    pub(super) columns: usize,
}

/// Statements that are run one after the other without a pause, up to the first that fails.
#[derive(Default)]
pub(super) struct Script {
    text: String,
    arguments: SqliteArguments,
}

impl Script {
    /// Adds a statement without parameters.
    pub(super) fn then(&mut self, statement: &'static str) {
        self.text.push_str(statement);
        self.text.push(';');
    }

    /// Adds the insertion of so many rows; no rows are no statement. The values are bound next, row by row.
    pub(super) fn insert(&mut self, rows: &Rows, count: usize) {
        if count == 0 {
            return;
        }
        self.text.push_str(rows.head);
        for row in 0..count {
            self.text.push_str(if row == 0 { " VALUES (" } else { ", (" });
            for column in 0..rows.columns {
                self.text.push_str(if column == 0 { "?" } else { ", ?" });
            }
            self.text.push(')');
        }
        self.text.push(';');
    }

    /// Binds the next value.
    pub(super) fn bind<'v>(&mut self, value: impl Encode<'v, Sqlite> + Type<Sqlite>) -> Result<(), StoreError> {
        Ok(self.arguments.add(value).map_err(sqlx::Error::Encode)?)
    }

    /// Runs all of it.
    pub(super) async fn run(self, connection: &mut SqliteConnection) -> Result<(), StoreError> {
        // Safe: made of texts that stand in this program.
        sqlx::query_with(AssertSqlSafe(self.text), self.arguments).execute(connection).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_has_a_parameter_for_every_value_and_no_statement_for_no_rows() {
        const ROWS: Rows = Rows { head: "INSERT INTO t (a, b)", columns: 2 };
        let text = |count| {
            let mut script = Script::default();
            script.insert(&ROWS, count);
            script.then("COMMIT");
            script.text
        };
        assert_eq!(text(0), "COMMIT;");
        assert_eq!(text(1), "INSERT INTO t (a, b) VALUES (?, ?);COMMIT;");
        assert_eq!(text(2), "INSERT INTO t (a, b) VALUES (?, ?), (?, ?);COMMIT;");
        assert_eq!(text(MOST).matches("(?, ?)").count(), MOST);
    }
}
