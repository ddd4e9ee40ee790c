//! `work`: everything that is due.

use std::time::Duration;

use adsengineer_core::{destination::google::codes, store::HeldCount};

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
    let (engine, caller) = (context.engine().await?, context.caller()?);
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
    let mut text = running::text(&report);
    for status in engine.status(&caller).await? {
        let known =
            |code: &str| report.destinations.get(&status.destination.id).is_some_and(|d| d.holds.iter().any(|h| &*h.why.code == code));
        for held in status.held.iter().filter(|held| !known(&held.why.code)) {
            text += &still_held(&status.destination.name, held);
        }
    }
    Ok(Report::ok(text, running::to_json(&report)).exit(exit))
}

/// A reminder of rows that an earlier run held and this one left alone.
fn still_held(destination: &str, held: &HeldCount) -> String {
    let (count, code) = (held.count, &held.why.code);
    format!(
        "\n{destination}: {count} still held because {code}\n  → {}; then `adsengineer destination check {destination}`, which lets the rows go",
        codes::next_action(code)
    )
}
