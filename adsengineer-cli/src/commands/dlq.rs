//! `dlq list|show|replay|discard|export`.

use std::{path::PathBuf, sync::Arc};

use adsengineer_core::{
    engine::Engine,
    id::DeliveryId,
    org::Caller,
    store::{DeadLetter, DeadLetterQuery, RepairAction, Repaired},
};
use serde_json::json;

use super::{
    conversion::{cursor, since_ms},
    views,
};
use crate::{
    context::Context,
    error::{CliError, Exit},
    output::{Report, table},
};

/// Look at dead letters, send them again or give them up.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  adsengineer dlq list --reason INVALID_GCLID\n  adsengineer dlq show dlv_…\n  adsengineer dlq replay --all --dry-run\n  adsengineer dlq replay --destination google-1234567890 --rate 50/s --note 'action was repaired'"
)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// List dead letters with reason and next action
    List {
        #[command(flatten)]
        filter: Filter,
        /// How many at most
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=100_000))]
        limit: u64,
        /// Where the page before ended
        #[arg(long, value_parser = cursor::<DeliveryId>)]
        cursor: Option<String>,
    },
    /// Show one dead letter with its history
    Show {
        /// dlv_…
        id: String,
    },
    /// Queue dead letters again; `work` then sends them
    Replay(Replay),
    /// Give dead letters up
    Discard(Choice),
    /// Write dead letters as JSON lines
    Export {
        #[command(flatten)]
        filter: Filter,
        /// Into this file instead of standard output
        #[arg(long, short)]
        output: Option<PathBuf>,
    },
}

#[derive(Clone, Debug, Default, clap::Args)]
struct Filter {
    /// Only of this kind
    #[arg(long, value_parser = ["delivery", "webhook"])]
    kind: Option<String>,
    /// Only with this reason, for example INVALID_GCLID
    #[arg(long, value_name = "CODE")]
    reason: Option<String>,
    /// Only of this source
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// Only of this destination
    #[arg(long, value_name = "NAME")]
    destination: Option<String>,
    /// Only those that died since: 2h, 2026-11-20 or RFC 3339
    #[arg(long, value_name = "WHEN")]
    since: Option<String>,
    /// Only those that died before
    #[arg(long, value_name = "WHEN")]
    until: Option<String>,
}

#[derive(Debug, clap::Args)]
struct Choice {
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

#[derive(Debug, clap::Args)]
struct Replay {
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
    let wrong = || "write it as 50/s, 100/m or 1000/h".to_owned();
    let (number, unit) = text.split_once('/').ok_or_else(wrong)?;
    let period = match unit {
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(wrong()),
    };
    let number: i64 = number.parse().map_err(|_| wrong())?;
    if (1..=period).contains(&number) { Ok(period / number) } else { Err(wrong()) }
}

/// Runs the command.
pub async fn run(args: &Args, context: &Context) -> Result<Report, CliError> {
    let (engine, caller) = (context.engine()?, context.caller()?);
    match &args.verb {
        Verb::List { filter, limit, cursor } => {
            let query =
                DeadLetterQuery { cursor: cursor.clone(), limit: usize::try_from(*limit).unwrap_or(usize::MAX), ..query(filter, &engine)? };
            let Some(query) = only_deliveries(filter, query) else { return Ok(empty()) };
            let page = engine.dead_letters(&caller, &query).await?;
            Ok(list(&page.items, page.next_cursor.as_deref(), &caller))
        }
        Verb::Show { id } => show(id, &engine, &caller).await,
        Verb::Replay(replay) => {
            let every_ms = replay.rate.unwrap_or(0);
            repair(&replay.choice, RepairAction::Replay { every_ms }, replay.accept_duplicates, context, &engine, &caller).await
        }
        Verb::Discard(choice) => repair(choice, RepairAction::Discard, true, context, &engine, &caller).await,
        Verb::Export { filter, output } => export(filter, output.as_ref(), context, &engine, &caller).await,
    }
}

fn query(filter: &Filter, engine: &Engine) -> Result<DeadLetterQuery, CliError> {
    let now_ms = engine.clock().now_ms();
    let time = |text: &Option<String>| text.as_deref().map(|text| since_ms(text, now_ms)).transpose();
    Ok(DeadLetterQuery {
        reason: filter.reason.clone(),
        destination: filter.destination.clone(),
        since_ms: time(&filter.since)?,
        until_ms: time(&filter.until)?,
        ..DeadLetterQuery::default()
    })
}

/// Webhooks and sources leave no dead letters in this version.
fn only_deliveries(filter: &Filter, query: DeadLetterQuery) -> Option<DeadLetterQuery> {
    (filter.kind.as_deref() != Some("webhook") && filter.source.is_none()).then_some(query)
}

fn empty() -> Report {
    Report::ok("no dead letters", json!({"dead_letters": [], "next_cursor": null}))
}

fn list(letters: &[DeadLetter], next_cursor: Option<&str>, caller: &Caller) -> Report {
    let org = caller.org().as_str();
    let json =
        json!({"dead_letters": letters.iter().map(|l| views::dead_letter_json(l, org)).collect::<Vec<_>>(), "next_cursor": next_cursor});
    if letters.is_empty() {
        return Report { json, ..empty() };
    }
    let row = |l: &DeadLetter| {
        vec![
            l.delivery.id.to_string(),
            l.delivery.destination.to_string(),
            views::name(&l.conversion),
            views::money(&l.conversion),
            format!("{}\n{}", l.delivery.reason.as_deref().unwrap_or(""), l.delivery.detail.as_deref().unwrap_or("")),
            views::next_action(&l.delivery),
        ]
    };
    let mut text = table(&["id", "destination", "order or click", "value", "reason", "next action"], letters.iter().map(row));
    if let Some(cursor) = next_cursor {
        text += &format!("\nmore with --cursor {cursor}");
    }
    Report::ok(text, json)
}

async fn show(id: &str, engine: &Engine, caller: &Caller) -> Result<Report, CliError> {
    let missing =
        || CliError::new(Exit::NotFound, "NOT_FOUND", format!("there is no dead letter `{id}`")).hint("`adsengineer dlq list` shows them");
    let id: DeliveryId = id.parse().map_err(|_| missing())?;
    let conversion = engine.explain(caller, &id.to_string()).await.map_err(|_| missing())?;
    let delivery =
        conversion.deliveries.iter().find(|d| d.id == id && d.state == adsengineer_core::delivery::State::Dead).ok_or_else(missing)?;
    let died_at = delivery.history.last().map_or(conversion.captured_at, |a| a.at);
    let letter = DeadLetter {
        delivery: delivery.clone(),
        first_failed_at: delivery.history.first().map_or(died_at, |a| a.at),
        died_at,
        may_duplicate: delivery.reason.as_deref() == Some(adsengineer_core::delivery::OUTCOME_UNKNOWN),
        conversion: conversion.clone(),
    };
    Ok(Report::ok(views::story(&conversion), views::dead_letter_json(&letter, caller.org().as_str())))
}

/// Every dead letter that the filters leave, page by page.
async fn all(
    filter: &Filter,
    engine: &Engine,
    caller: &Caller,
    mut each: impl FnMut(DeadLetter) -> Result<(), CliError>,
) -> Result<(), CliError> {
    let Some(mut query) = only_deliveries(filter, query(filter, engine)?) else { return Ok(()) };
    query.limit = 1000;
    loop {
        let page = engine.dead_letters(caller, &query).await?;
        page.items.into_iter().try_for_each(&mut each)?;
        match page.next_cursor {
            Some(cursor) => query.cursor = Some(cursor),
            None => return Ok(()),
        }
    }
}

async fn repair(
    choice: &Choice,
    action: RepairAction,
    accept_duplicates: bool,
    context: &Context,
    engine: &Engine,
    caller: &Caller,
) -> Result<Report, CliError> {
    let filtered = choice.filter.reason.is_some()
        || choice.filter.destination.is_some()
        || choice.filter.since.is_some()
        || choice.filter.until.is_some();
    if choice.ids.is_empty() && !choice.all && !filtered {
        return Err(CliError::usage("nothing says which dead letters").hint("give ids, a filter such as --reason CODE, or --all"));
    }
    let mut ids: Vec<DeliveryId> =
        choice.ids.iter().map(|id| id.parse().map_err(|e| CliError::usage(format!("{e}")))).collect::<Result<_, _>>()?;
    let mut risky = 0_u64;
    if choice.ids.is_empty() {
        all(&choice.filter, engine, caller, |letter| {
            if letter.may_duplicate && !accept_duplicates {
                risky += 1;
            } else {
                ids.push(letter.delivery.id);
            }
            Ok(())
        })
        .await?;
    }
    let (verb, done) = match action {
        RepairAction::Replay { .. } => ("replay", "queued again; `adsengineer work` sends them"),
        RepairAction::Discard => ("discard", "given up"),
    };
    if choice.dry_run {
        let json = json!({"matched": ids.len(), "needs_accept_duplicates": risky, "dry_run": true});
        return Ok(Report::ok(format!("would {verb} {} dead letters{}", ids.len(), left_out(risky)), json));
    }
    if choice.ids.is_empty() && !ids.is_empty() {
        context.confirm(&format!("{verb} {} dead letters?", ids.len()))?;
    }
    let mut results = Vec::with_capacity(ids.len());
    for chunk in ids.chunks(2000) {
        results.extend(engine.repair(caller, chunk.to_vec(), action, choice.note.as_deref().map(Arc::from)).await?);
    }
    let count = |wanted: Repaired| results.iter().filter(|r| **r == wanted).count();
    let (repaired, not_dead, missing) = (count(Repaired::Done), count(Repaired::NotDead), count(Repaired::NotFound));
    let mut text = format!("{repaired} dead letters {done}{}", left_out(risky));
    if not_dead > 0 {
        text += &format!("\n{not_dead} are not dead (any more)");
    }
    if missing > 0 {
        text += &format!("\n{missing} are not there");
    }
    let json =
        json!({"matched": ids.len(), "repaired": repaired, "not_dead": not_dead, "not_found": missing, "needs_accept_duplicates": risky});
    let exit = match (missing, not_dead) {
        (1.., _) => Exit::NotFound,
        (0, 1..) => Exit::Conflict,
        _ => Exit::Ok,
    };
    Ok(Report::ok(text, json).exit(exit))
}

fn left_out(risky: u64) -> String {
    if risky == 0 { String::new() } else { format!("; {risky} may count twice and need --accept-duplicates") }
}

async fn export(
    filter: &Filter,
    output: Option<&PathBuf>,
    context: &Context,
    engine: &Engine,
    caller: &Caller,
) -> Result<Report, CliError> {
    use std::io::Write as _;
    let failed = |e: std::io::Error| CliError::new(Exit::Usage, "OUTPUT", format!("the export cannot be written: {e}"));
    let mut file = output.map(std::fs::File::create).transpose().map_err(failed)?.map(std::io::BufWriter::new);
    let mut written = 0_u64;
    all(filter, engine, caller, |letter| {
        let mut json = views::dead_letter_json(&letter, caller.org().as_str());
        json["schema_version"] = crate::output::SCHEMA_VERSION.into();
        written += 1;
        match &mut file {
            Some(file) => writeln!(file, "{json}").map_err(failed),
            None => {
                context.out.line(&json.to_string());
                Ok(())
            }
        }
    })
    .await?;
    let Some(mut file) = file else { return Ok(Report::silent()) };
    file.flush().map_err(failed)?;
    Ok(Report::ok(format!("wrote {written} dead letters"), json!({"written": written})))
}
