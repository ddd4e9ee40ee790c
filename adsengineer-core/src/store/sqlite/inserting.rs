//! Rows on their way into a table, several to a statement: what a statement costs of itself is shared by them.

use std::fmt::Write as _;

use rusqlite::{CachedStatement, Connection, ToSql};

use crate::store::StoreError;

/// Rows to a statement.
const ROWS: usize = 16;

/// The text of a statement that inserts up to [`ROWS`] rows: those whose first column was not given are left out.
pub(super) fn sql(table: &str, columns: &str) -> String {
    let count = columns.split(',').count();
    let row = format!("({})", vec!["?"; count].join(", "));
    let mut sql = format!("INSERT INTO {table} ({columns}) SELECT * FROM (VALUES ");
    for n in 0..ROWS {
        let _ = write!(sql, "{}{row}", if n == 0 { "" } else { ", " });
    }
    sql + ") WHERE column1 IS NOT NULL"
}

/// Rows not written yet; they are not there for a read before [`Inserting::flush`].
pub(super) struct Inserting<'c> {
    statement: CachedStatement<'c>,
    bound: usize,
    rows: usize,
}

impl<'c> Inserting<'c> {
    /// `sql` is what [`sql`] made.
    pub(super) fn new(conn: &'c Connection, sql: &str) -> Result<Self, StoreError> {
        Ok(Self { statement: conn.prepare_cached(sql)?, bound: 0, rows: 0 })
    }

    /// Takes the values of a row, all columns of the statement in order.
    pub(super) fn row(&mut self, values: &[&dyn ToSql]) -> Result<(), StoreError> {
        for value in values {
            self.bound += 1;
            self.statement.raw_bind_parameter(self.bound, value)?;
        }
        self.rows += 1;
        if self.rows == ROWS { self.flush() } else { Ok(()) }
    }

    /// Writes what was taken.
    pub(super) fn flush(&mut self) -> Result<(), StoreError> {
        if self.rows > 0 {
            (self.bound, self.rows) = (0, 0);
            self.statement.raw_execute()?;
            self.statement.clear_bindings();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_written_once_whatever_their_number() {
        for count in [1, 15, 16, 17, 33] {
            let conn = Connection::open_in_memory().unwrap();
            conn.execute_batch("CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT, b BLOB)").unwrap();
            let mut rows = Inserting::new(&conn, &sql("t", "id, a, b")).unwrap();
            for n in 0..count {
                rows.row(&[&n, &n.to_string(), &None::<i64>]).unwrap();
            }
            rows.flush().unwrap();
            rows.flush().unwrap();
            let found: i64 = conn.query_row("SELECT count(*) FROM t WHERE a = id AND b IS NULL", [], |r| r.get(0)).unwrap();
            assert_eq!(found, count);
        }
    }
}
