//! Dead letters that are sent again or given up.

use std::sync::Arc;

use adsengineer_core::{
    engine::{Matched, ReplayRequest},
    rate_limit::Rate,
    shape::ReplayStatus,
    store::ReplayState,
};
use serde_json::json;

use super::{Filter, only_deliveries, query};
use crate::{
    api::{Api, Mended},
    context::Context,
    error::{CliError, Exit},
    output::Report,
};

/// Which dead letters.
#[derive(Debug, clap::Args)]
pub struct Choice {
    /// dlv_…
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    /// All that the filters leave
    #[arg(long, conflicts_with = "ids")]
    all: bool,
    #[command(flatten)]
    filter: Filter,
    /// Only say how many
    #[arg(long)]
    dry_run: bool,
    /// Why, for the audit log; no personal data
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
}

/// Which dead letters are sent again, and how.
#[derive(Debug, clap::Args)]
pub struct Replay {
    #[command(flatten)]
    choice: Choice,
    /// No faster than this, for example 50/s or 100/m
    #[arg(long, value_name = "N/UNIT", value_parser = rate)]
    rate: Option<i64>,
    /// Also those whose outcome is unknown and which the platform no longer recognises: they may count twice
    #[arg(long)]
    accept_duplicates: bool,
}

/// `50/s` as milliseconds between two.
fn rate(text: &str) -> Result<i64, String> {
    let spacing = text.parse::<Rate>().map_err(|e| e.to_string())?.spacing_ms();
    spacing.ok_or_else(|| "more than one in a millisecond; write it as 50/s, 100/m or 1000/h".to_owned())
}

/// Sends dead letters again.
pub async fn replay(args: &Replay, context: &Context, api: &dyn Api) -> Result<Report, CliError> {
    let request =
        ReplayRequest { every_ms: args.rate.unwrap_or(0), accept_duplicates: args.accept_duplicates, ..request(&args.choice, context)? };
    if let Some(report) = first(&args.choice, "replay", &request, context, api).await? {
        return Ok(report);
    }
    let bar = context.out.bar(0, "replaying");
    let shown = bar.clone();
    let follow = move |status: &ReplayStatus| {
        shown.set_length(status.matched);
        shown.set_position(status.replayed + status.skipped);
    };
    let done = api.replay(&request, &follow).await;
    bar.finish_and_clear();
    Ok(report(&done?, "queued again; `adsengineer work` sends them"))
}

/// Gives dead letters up.
pub async fn discard(choice: &Choice, context: &Context, api: &dyn Api) -> Result<Report, CliError> {
    let request = ReplayRequest { accept_duplicates: true, ..request(choice, context)? };
    match first(choice, "discard", &request, context, api).await? {
        Some(report) => Ok(report),
        None => Ok(report(&api.discard(&request).await?, "given up")),
    }
}

/// Stops a server's replay.
pub async fn stop(id: &str, api: &dyn Api) -> Result<Report, CliError> {
    let status = api.stop_replay(id).await?;
    let what = if status.state == ReplayState::Finished { "had finished before" } else { "is stopped" };
    let text = format!("{id} {what}; {} of {} dead letters were queued again", status.replayed, status.matched);
    Ok(Report::of(text, &status))
}

fn request(choice: &Choice, context: &Context) -> Result<ReplayRequest, CliError> {
    let f = &choice.filter;
    let filtered = [&f.kind, &f.reason, &f.source, &f.destination, &f.since, &f.until].iter().any(|filter| filter.is_some());
    if choice.ids.is_empty() && !choice.all && !filtered {
        return Err(CliError::usage("nothing says which dead letters").hint("give ids, a filter such as --reason CODE, or --all"));
    }
    let ids = choice.ids.iter().map(|id| id.parse().map_err(|e| CliError::usage(format!("{e}")))).collect::<Result<_, _>>()?;
    let note = choice.note.as_deref().map(Arc::from);
    Ok(ReplayRequest { ids, filter: query(f, context)?, note, ..ReplayRequest::default() })
}

/// What there is to say before anything is done: the count of a dry run, or that nothing matches; asks before many are changed.
async fn first(choice: &Choice, verb: &str, request: &ReplayRequest, context: &Context, api: &dyn Api) -> Result<Option<Report>, CliError> {
    let named = !choice.ids.is_empty();
    if named && !choice.dry_run {
        return Ok(None);
    }
    let counted = if only_deliveries(&choice.filter) { api.count_dead_letters(request).await? } else { Matched::default() };
    let risky = if request.accept_duplicates { 0 } else { counted.needs_accept_duplicates };
    let matched = counted.matched.saturating_sub(risky);
    if choice.dry_run {
        let json = json!({"matched": matched, "needs_accept_duplicates": risky, "dry_run": true});
        return Ok(Some(Report::ok(format!("would {verb} {matched} dead letters{}", left_out(risky)), json)));
    }
    if matched == 0 {
        return Ok(Some(report(&Mended { needs_accept_duplicates: risky, ..Mended::default() }, "to do")));
    }
    context.confirm(&format!("{verb} {matched} dead letters?"))?;
    Ok(None)
}

fn report(done: &Mended, what: &str) -> Report {
    let mut text = format!("{} dead letters {what}{}", done.repaired, left_out(done.needs_accept_duplicates));
    if done.not_dead > 0 {
        text += &format!("\n{} are not dead (any more)", done.not_dead);
    }
    if done.not_found > 0 {
        text += &format!("\n{} are not there", done.not_found);
    }
    let running = done.unfinished.as_ref().is_some_and(|status| status.state == ReplayState::Running);
    if let Some(status) = &done.unfinished {
        text += &if running {
            format!("\nthe server goes on with it; `adsengineer dlq stop {}` stops it", status.replay_id)
        } else {
            format!("\nsomebody stopped it after {} of {}", status.replayed, status.matched)
        };
    }
    let exit = match (done.not_found, done.not_dead) {
        _ if running => Exit::Interrupted,
        (1.., _) => Exit::NotFound,
        (0, 1..) => Exit::Conflict,
        _ => Exit::Ok,
    };
    Report::of(text, done).exit(exit)
}

fn left_out(risky: u64) -> String {
    if risky == 0 { String::new() } else { format!("; {risky} may count twice and need --accept-duplicates") }
}
