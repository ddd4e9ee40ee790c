//! `key generate`.

use serde_json::json;

use crate::{context::generate_key, error::CliError, output::Report};

/// Make encryption keys.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Print a new 32-byte key in base64, fit for ADSENGINEER_ENCRYPTION_KEY
    Generate,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<Report, CliError> {
    let Verb::Generate = args.verb;
    let key = generate_key();
    Ok(Report::ok(key.expose().clone(), json!({"key": key.expose()})))
}
