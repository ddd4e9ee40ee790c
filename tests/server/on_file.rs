//! Where a test's data is: a SQLite file of its own.

use adsengineer_core::store::Database;

/// What is in every database.
pub const MARK: &str = "CREATE TABLE leads";

pub struct Base(tempfile::TempDir);

/// A transaction of another process that keeps everybody from writing, until it is dropped.
pub struct Held(rusqlite::Connection);

impl Base {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn database(&self) -> Database {
        self.0.path().join("server.db").into()
    }

    /// Whether any file of the database holds these bytes.
    pub fn keeps(&self, wanted: &[u8]) -> bool {
        let files = std::fs::read_dir(self.0.path()).unwrap();
        let read = |file: std::io::Result<std::fs::DirEntry>| std::fs::read(file.unwrap().path()).unwrap_or_default();
        files.map(read).any(|bytes| bytes.windows(wanted.len()).any(|window| window == wanted))
    }

    pub fn hold(&self) -> Held {
        let conn = self.open();
        conn.execute_batch("BEGIN IMMEDIATE").unwrap();
        Held(conn)
    }

    /// Makes every dead letter one of unknown outcome.
    pub fn lose_outcomes(&self) {
        let sql = "INSERT INTO whys (code, detail) VALUES ('OUTCOME_UNKNOWN', 'lost'); UPDATE deliveries SET why = last_insert_rowid()";
        self.open().execute_batch(sql).unwrap();
    }

    fn open(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.0.path().join("server.db")).unwrap()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.execute_batch("ROLLBACK").unwrap();
    }
}
