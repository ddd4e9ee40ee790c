//! The schema and its changes: embedded, numbered, only ever added to.
//!
//! While a release is rolled out, programs of the one before it go on, and may start again, on the new schema. So each change says
//! from which schema on programs can work with it: that of the release before, or its own number where it had to break with that.

use super::{
    args::args,
    columns::get,
    connect::{Conn, Server},
    fault::Fault,
};
use crate::store::{Migrate, MigrationStatus, StoreError};

/// One change of the schema.
struct Migration {
    number: i64,
    name: &'static str,
    /// Programs that know the schema up to this number, and not this change, work with it.
    works_from: i64,
    sql: &'static str,
}

const MIGRATIONS: &[Migration] =
    &[Migration { number: 1, name: "start", works_from: 1, sql: include_str!("../migrations/postgres/0001_start.sql") }];

/// Two that migrate at once wait for each other: `AdsE`.
const LOCK: i32 = 0x4164_7345;

/// Which migrations the schema has. Changes nothing.
pub(super) async fn status(server: &Server, schema: &str) -> Result<Vec<MigrationStatus>, StoreError> {
    let conn = server.connect().await?;
    conn.begin().await?;
    let version = version(&conn, schema).await?;
    conn.run("COMMIT").await?;
    Ok(MIGRATIONS.iter().map(|m| MigrationStatus { number: m.number, name: m.name, applied: m.number <= version }).collect())
}

/// Brings the schema up to date, or says why not.
pub(super) async fn prepare(server: &Server, schema: &str, migrate: Migrate) -> Result<(), StoreError> {
    Ok(prepare_with(server, schema, migrate, MIGRATIONS).await?)
}

async fn prepare_with(server: &Server, schema: &str, migrate: Migrate, known: &[Migration]) -> Result<(), Fault> {
    let latest = known.last().map_or(0, |m| m.number);
    let conn = server.connect().await?;
    conn.begin().await?;
    if migrate == Migrate::Auto {
        conn.query("SELECT pg_advisory_xact_lock($1, hashtext($2))", args![LOCK, schema]).await?;
    }
    let found = version(&conn, schema).await?;
    if found > latest && !works_with(&conn, found, latest).await? {
        return Err(Fault::Broken(StoreError::Schema(format!(
            "the database has schema {found}, and this program knows schemas up to {latest}: install the newer version that wrote it"
        ))));
    }
    if found < latest && migrate != Migrate::Auto {
        let has = if found == 0 { "is empty".to_owned() } else { format!("has schema {found}") };
        return Err(Fault::Broken(StoreError::Schema(format!(
            "the database {has}, and this program needs schema {latest}: run `adsengineer migrate`"
        ))));
    }
    if found < latest {
        apply(&conn, schema, known.iter().filter(|m| m.number > found)).await?;
    }
    conn.run("COMMIT").await
}

async fn apply(conn: &Conn, schema: &str, missing: impl Iterator<Item = &Migration>) -> Result<(), Fault> {
    conn.run(&format!(
        "CREATE SCHEMA IF NOT EXISTS {schema};
         CREATE TABLE IF NOT EXISTS schema_migrations (
             number BIGINT PRIMARY KEY, name TEXT NOT NULL, works_from BIGINT NOT NULL, at TIMESTAMPTZ NOT NULL DEFAULT now())"
    ))
    .await?;
    for migration in missing {
        conn.run(migration.sql).await?;
        let note = "INSERT INTO schema_migrations (number, name, works_from) VALUES ($1, $2, $3)";
        conn.execute(note, args![migration.number, migration.name, migration.works_from]).await?;
    }
    Ok(())
}

/// Whether a program that knows schemas up to `latest` works with a newer one: only the next, and only if that says so.
async fn works_with(conn: &Conn, found: i64, latest: i64) -> Result<bool, Fault> {
    let row = conn.first("SELECT works_from FROM schema_migrations WHERE number = $1", args![found]).await?;
    let works_from = row.map(|row| get::<i64>(&row, 0)).transpose()?;
    let works = found == latest + 1 && works_from.is_some_and(|from| from <= latest);
    if works {
        tracing::warn!(schema = found, known = latest, "the database is of the next release; install that here too");
    }
    Ok(works)
}

/// The schema's number; 0 where there is none.
async fn version(conn: &Conn, schema: &str) -> Result<i64, Fault> {
    let table = "SELECT count(*) FROM pg_catalog.pg_tables WHERE schemaname = $1 AND tablename = 'schema_migrations'";
    let there = conn.first(table, args![schema]).await?;
    if there.map(|row| get::<i64>(&row, 0)).transpose()? != Some(1) {
        return Ok(0);
    }
    let row = conn.first("SELECT COALESCE(max(number), 0) FROM schema_migrations", args![]).await?;
    row.map_or(Ok(0), |row| get(&row, 0))
}
