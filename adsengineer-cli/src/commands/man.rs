//! `man`.

use clap::CommandFactory;
use serde_json::json;

use crate::{cli::Cli, error::CliError, output::Report};

/// Print the manual page, for `man -l -`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs the command.
pub fn run(_: &Args) -> Result<Report, CliError> {
    let mut page = Vec::new();
    clap_mangen::Man::new(Cli::command()).render(&mut page)?;
    let page = String::from_utf8_lossy(&page).into_owned();
    Ok(Report::ok(page.clone(), json!({"page": page})))
}
