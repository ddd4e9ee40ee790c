//! The schema and its changes: embedded, numbered, only ever added to.

use std::{
    fs::{self, OpenOptions},
    path::{Path, PathBuf},
};

use rusqlite::Connection;

use super::error::damaged;
use crate::store::{Migrate, MigrationStatus, StoreError};

/// Marks the file as ours: `AdsE`.
const APPLICATION_ID: i64 = 0x4164_7345;

/// One change of the schema.
struct Migration {
    number: i64,
    name: &'static str,
    sql: &'static str,
}

const MIGRATIONS: &[Migration] = &[Migration { number: 1, name: "start", sql: include_str!("../migrations/sqlite/0001_start.sql") }];

/// Which migrations the database at `path` has. Changes nothing, and creates no file.
pub fn migration_status(path: &Path) -> Result<Vec<MigrationStatus>, StoreError> {
    let version = if path.exists() {
        let conn = Connection::open_with_flags(path, rusqlite::OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        version(&conn, path)?
    } else {
        0
    };
    Ok(MIGRATIONS.iter().map(|m| MigrationStatus { number: m.number, name: m.name, applied: m.number <= version }).collect())
}

/// Creates the file, readable by its owner alone, if it is not there.
pub(super) fn create_file(path: &Path) -> Result<(), StoreError> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(StoreError::Unavailable(format!("cannot create {}: {error}", path.display()))),
    }
}

fn pragma(conn: &Connection, name: &str) -> Result<i64, StoreError> {
    Ok(conn.query_row(&format!("PRAGMA {name}"), [], |r| r.get(0))?)
}

/// The schema's number; 0 for an empty file.
fn version(conn: &Connection, path: &Path) -> Result<i64, StoreError> {
    let (application, version) = (pragma(conn, "application_id")?, pragma(conn, "user_version")?);
    let tables: i64 = conn.query_row("SELECT count(*) FROM sqlite_schema", [], |r| r.get(0))?;
    if application != APPLICATION_ID && (tables > 0 || version > 0) {
        return Err(StoreError::Schema(format!("{} is a database of another program; name another file", path.display())));
    }
    Ok(version)
}

/// Brings the schema up to date, or says why not.
pub(super) fn prepare(conn: &mut Connection, path: &Path, migrate: Migrate) -> Result<(), StoreError> {
    prepare_with(conn, path, migrate, MIGRATIONS)
}

fn prepare_with(conn: &mut Connection, path: &Path, migrate: Migrate, known: &[Migration]) -> Result<(), StoreError> {
    let latest = known.last().map_or(0, |m| m.number);
    let found = version(conn, path)?;
    if found > latest {
        return Err(StoreError::Schema(format!(
            "{} has schema {found}, and this program knows schemas up to {latest}: install the newer version that wrote it",
            path.display()
        )));
    }
    if found == latest {
        return Ok(());
    }
    if migrate == Migrate::Off || (migrate == Migrate::Check && found > 0) {
        return Err(StoreError::Schema(format!(
            "{} has schema {found}, and this program needs {latest}: run `adsengineer migrate`",
            path.display()
        )));
    }
    if found > 0 {
        copy(conn, path, found)?;
    }
    let tx = conn.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let found = version(&tx, path)?;
    for migration in known.iter().filter(|m| m.number > found) {
        tx.execute_batch(migration.sql)?;
    }
    tx.pragma_update(None, "application_id", APPLICATION_ID)?;
    tx.pragma_update(None, "user_version", latest)?;
    tx.commit()?;
    Ok(())
}

/// Copies the database beside itself before its schema changes.
fn copy(conn: &Connection, path: &Path, version: i64) -> Result<PathBuf, StoreError> {
    let mut name = path.file_name().ok_or_else(|| damaged("the database's path"))?.to_owned();
    name.push(format!(".schema-{version}"));
    let copy = path.with_file_name(name);
    let io = |error: std::io::Error| StoreError::Unavailable(format!("cannot write {}: {error}", copy.display()));
    if copy.exists() {
        fs::remove_file(&copy).map_err(io)?;
    }
    create_file(&copy)?;
    conn.execute("VACUUM INTO ?1", [copy.to_string_lossy()])?;
    Ok(copy)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(path: &Path) -> Connection {
        create_file(path).unwrap();
        Connection::open(path).unwrap()
    }

    #[test]
    fn a_newer_schema_is_refused_and_the_text_says_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        let mut conn = opened(&path);
        prepare(&mut conn, &path, Migrate::Auto).unwrap();
        conn.pragma_update(None, "user_version", 99).unwrap();
        let error = prepare(&mut conn, &path, Migrate::Auto).unwrap_err().to_string();
        assert!(error.contains("schema 99") && error.contains("install the newer version"), "{error}");
    }

    #[test]
    fn a_database_of_another_program_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        let mut conn = opened(&path);
        conn.execute_batch("CREATE TABLE theirs (a)").unwrap();
        assert!(matches!(prepare(&mut conn, &path, Migrate::Auto), Err(StoreError::Schema(_))));
    }

    #[test]
    fn an_older_schema_is_copied_before_it_is_changed_and_refused_where_it_may_not_be() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        let mut conn = opened(&path);
        prepare(&mut conn, &path, Migrate::Check).unwrap();
        let next = [Migration { number: 1, name: "start", sql: "" }, Migration { number: 2, name: "more", sql: "CREATE TABLE more (a)" }];
        for refusing in [Migrate::Check, Migrate::Off] {
            let error = prepare_with(&mut conn, &path, refusing, &next).unwrap_err().to_string();
            assert!(error.contains("run `adsengineer migrate`"), "{error}");
        }
        prepare_with(&mut conn, &path, Migrate::Auto, &next).unwrap();
        assert_eq!(pragma(&conn, "user_version").unwrap(), 2);
        let copy = Connection::open(folder.path().join("a.db.schema-1")).unwrap();
        assert_eq!(pragma(&copy, "user_version").unwrap(), 1);
    }

    #[test]
    fn the_status_lists_migrations_and_creates_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        assert!(!migration_status(&path).unwrap()[0].applied);
        assert!(!path.exists());
        prepare(&mut opened(&path), &path, Migrate::Auto).unwrap();
        assert!(migration_status(&path).unwrap().iter().all(|m| m.applied));
    }
}

#[cfg(test)]
mod plans {
    use super::{super::queue, super::reads, super::rows, super::standing, *};

    /// Each query of the queue must find its rows by an index, so that finished rows never slow it.
    #[test]
    fn claims_polls_holds_and_dead_letters_use_their_index_and_sort_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        create_file(&path).unwrap();
        let mut conn = Connection::open(&path).unwrap();
        prepare(&mut conn, &path, Migrate::Auto).unwrap();
        for (sql, index) in [
            (queue::DUE, "deliveries_due"),
            (queue::POLLS, "uploads_poll"),
            (queue::ASKED_BY, "uploads_asked"),
            (standing::NEXT_DUE, "deliveries_due"),
            (standing::NEXT_POLL, "uploads_poll"),
            (reads::DEAD_AFTER, "deliveries_dead"),
            (rows::CLAIMABLE, "deliveries_due"),
            (rows::HELD, "deliveries_held"),
            (rows::DEAD, "deliveries_dead"),
        ] {
            let mut explain = conn.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
            for at in 1..=explain.parameter_count() {
                explain.raw_bind_parameter(at, 1).unwrap();
            }
            let (mut plan, mut lines) = (String::new(), explain.raw_query());
            while let Some(row) = lines.next().unwrap() {
                plan += &row.get::<_, String>(3).unwrap();
                plan.push('\n');
            }
            assert!(plan.contains(index) && !plan.contains("TEMP B-TREE") && !plan.contains("SCAN"), "{sql}\n{plan}");
        }
    }
}
