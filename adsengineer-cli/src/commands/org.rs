//! `org list`.

use serde_json::json;

use crate::{context::Context, error::CliError, output::Report};

/// List organizations.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// List organizations that have anything
    List,
}

/// Runs the command.
pub async fn run(args: &Args, context: &Context) -> Result<Report, CliError> {
    let Verb::List = args.verb;
    let orgs = context.engine().await?.store().organizations().await?;
    let names: Vec<_> = orgs.iter().map(ToString::to_string).collect();
    Ok(Report::ok(names.join("\n"), json!({"organizations": names})))
}
