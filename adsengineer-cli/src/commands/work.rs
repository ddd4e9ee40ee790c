//! `work`: everything that is due.

use std::time::Duration;

use super::running;
use crate::{context::Context, error::CliError, output::Report};

/// Do everything that is due: sends, retries, verdicts; safe in cron.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Rows held for credentials or configuration are let go first and tried again; rows held for review wait for `destination check`. Exit codes: 4 credentials, 5 configuration, 8 platform down, 9 quota, 3 rows died.\n\nExamples:\n  adsengineer work\n  */10 * * * * adsengineer work --quiet"
)]
pub struct Args {
    /// One round only, without waiting for retries a few seconds away
    #[arg(long)]
    once: bool,
    /// Until everything is final, verdicts included, or this time has passed
    #[arg(long, value_name = "DURATION", num_args = 0..=1, default_missing_value = "1h", require_equals = true, value_parser = adsengineer_server::config::parse_duration)]
    wait: Option<Duration>,
}

/// Runs the command.
pub async fn run(args: &Args, context: &Context) -> Result<Report, CliError> {
    let (engine, caller) = (context.engine()?, context.caller()?);
    let mut only = Vec::new();
    let mut open = 0;
    for status in engine.status(&caller).await? {
        engine.release(&caller, &status.destination).await?;
        open += status.states.iter().filter(|(state, _)| !state.is_final()).map(|(_, n)| n).sum::<u64>();
        only.push(status.destination.id);
    }
    let stop = running::stop_signal();
    let report = running::work(context, &engine, only, running::goal(args.wait, args.once, &engine), open, stop.clone()).await?;
    let exit = running::exit(&report, false, *stop.borrow());
    Ok(Report::ok(running::text(&report), running::to_json(&report)).exit(exit))
}
