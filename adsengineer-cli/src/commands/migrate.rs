//! `migrate`: bring the database up to date.

use adsengineer_core::store::{Database, MigrationStatus};
use serde_json::json;

use crate::{
    context::Context,
    error::CliError,
    output::{Report, table},
};

/// Bring the database up to date.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "An older file is copied beside itself first; of a PostgreSQL server, make a backup. A newer one is refused and stays as it is."
)]
pub struct Args {
    /// Only show which migrations the database has
    #[arg(long)]
    status: bool,
    /// Only show what would be done
    #[arg(long)]
    dry_run: bool,
}

/// Runs the command.
pub async fn run(args: &Args, context: &Context) -> Result<Report, CliError> {
    let database = context.database()?;
    let before = database.migration_status().await?;
    let pending = before.iter().filter(|m| !m.applied).count();
    if args.status || args.dry_run {
        return Ok(report(&before, &format!("{database} has {pending} migrations to go"), pending, &database));
    }
    context.engine_migrating().await?;
    let after = database.migration_status().await?;
    let text = if pending == 0 { "already up to date".to_owned() } else { format!("applied {pending} migrations") };
    Ok(report(&after, &format!("{database}: {text}"), 0, &database))
}

fn report(all: &[MigrationStatus], text: &str, pending: usize, database: &Database) -> Report {
    let row = |m: &MigrationStatus| vec![m.number.to_string(), m.name.to_owned(), if m.applied { "applied" } else { "pending" }.to_owned()];
    let table = table(&["number", "name", "state"], all.iter().map(row));
    Report::ok(format!("{table}\n{text}"), json!({"database": database.to_string(), "migrations": all, "pending": pending}))
}
