//! `INSERT` of many rows in few statements: what one statement costs beside its rows is as much as five rows.

/// Most rows in a statement: far fewer parameters than `SQLite` takes (32,766), and enough that more would gain nothing.
const MOST: usize = 64;
/// Statements that a connection must keep prepared: two tables are written so, and others one by one.
pub(super) const PREPARED: usize = 2 * MOST + 100;

/// The statements that insert into one table, one for each number of rows.
pub(super) struct ManyRows(Vec<String>);

impl ManyRows {
    /// `head` is everything up to `VALUES`.
    pub(super) fn new(head: &'static str, columns: usize) -> Self {
        let row = format!("({})", vec!["?"; columns].join(", "));
        let statement = |rows: usize| format!("{head} VALUES {}", vec![row.as_str(); rows].join(", "));
        Self((1..=MOST).map(statement).collect())
    }

    /// The rows in order, in chunks, each with the statement for as many.
    pub(super) fn chunks<'a, T>(&'static self, rows: &'a [T]) -> impl Iterator<Item = (&'static str, &'a [T])> {
        rows.chunks(MOST).map(|chunk| (self.0[chunk.len() - 1].as_str(), chunk))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;

    #[test]
    fn every_row_is_in_one_chunk_and_in_its_place() {
        static INSERT: LazyLock<ManyRows> = LazyLock::new(|| ManyRows::new("INSERT INTO t (a, b)", 2));
        for count in [0, 1, 2, MOST - 1, MOST, MOST + 1, 3 * MOST] {
            let rows: Vec<usize> = (0..count).collect();
            let chunks: Vec<_> = INSERT.chunks(&rows).collect();
            assert_eq!(chunks.iter().flat_map(|(_, chunk)| chunk.iter().copied()).collect::<Vec<_>>(), rows);
            assert!(chunks.iter().all(|(text, chunk)| text.matches("(?, ?)").count() == chunk.len()), "{count}");
        }
    }
}
