//! Where a test's data is: a database of its own on the tests' PostgreSQL server.

use adsengineer_core::store::Database;

#[path = "../support/postgres.rs"]
mod support;

/// What is in every database: the name of its first migration.
pub const MARK: &str = "start";

pub struct Base(String);

/// A transaction of another process that keeps everybody from writing, until it is dropped.
pub struct Held(Option<support::Session>);

impl Base {
    pub fn new() -> Self {
        Self(support::database())
    }

    pub fn database(&self) -> Database {
        self.0.parse().unwrap()
    }

    /// Whether any column of any table holds these bytes.
    pub fn keeps(&self, wanted: &[u8]) -> bool {
        let mut session = support::Session::open(&self.0);
        let tables = session.run("SELECT tablename FROM pg_tables WHERE schemaname = 'adsengineer'");
        let text = String::from_utf8_lossy(wanted).into_owned();
        let hex = wanted.iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
        tables.iter().any(|table| {
            let rows = session.run(&format!("SELECT t::text FROM adsengineer.{table} t"));
            rows.iter().any(|row| row.contains(&text) || row.contains(&hex))
        })
    }

    pub fn hold(&self) -> Held {
        let mut session = support::Session::open(&self.0);
        session.run("BEGIN; LOCK TABLE adsengineer.slots IN ACCESS EXCLUSIVE MODE");
        Held(Some(session))
    }

    /// Makes every dead letter one of unknown outcome.
    pub fn lose_outcomes(&self) {
        let sql = "UPDATE adsengineer.deliveries SET why_code = 'OUTCOME_UNKNOWN', why_detail = 'lost'";
        support::Session::open(&self.0).run(sql);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(mut session) = self.0.take() {
            session.run("ROLLBACK");
        }
    }
}
