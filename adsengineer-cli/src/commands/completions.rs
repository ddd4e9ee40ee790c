//! `completions`.

use clap::CommandFactory;
use serde_json::json;

use crate::{cli::Cli, error::CliError, output::Report};

/// Print completions for a shell.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Which shell
    shell: clap_complete::Shell,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<Report, CliError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "adsengineer", &mut script);
    let script = String::from_utf8_lossy(&script).into_owned();
    Ok(Report::ok(script.clone(), json!({"script": script})))
}
