//! `dlq list|show|replay|stop|discard|export`.

mod repair;

use std::path::PathBuf;

use adsengineer_core::{
    id::DeliveryId,
    shape::{DeadLetter, DeadLetters},
    store::DeadLetterQuery,
};
use serde_json::json;

use super::{
    conversion::{cursor, more, since_ms},
    views,
};
use crate::{
    api::Api,
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
    Replay(repair::Replay),
    /// Stop a replay that a server goes on with; what it has queued is sent, the rest stays dead
    Stop {
        /// The replay's id
        id: String,
    },
    /// Give dead letters up
    Discard(repair::Choice),
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

/// Runs the command.
pub async fn run(args: &Args, context: &Context) -> Result<Report, CliError> {
    let api = context.api().await?;
    let api = api.as_ref();
    match &args.verb {
        Verb::List { filter, limit, cursor } => {
            let limit = usize::try_from(*limit).unwrap_or(usize::MAX);
            let query = DeadLetterQuery { cursor: cursor.clone(), limit, ..query(filter, context)? };
            let page = if only_deliveries(filter) { api.dead_letters(&query).await? } else { none() };
            Ok(list(&page))
        }
        Verb::Show { id } => show(id, api).await,
        Verb::Replay(replay) => repair::replay(replay, context, api).await,
        Verb::Stop { id } => repair::stop(id, api).await,
        Verb::Discard(choice) => repair::discard(choice, context, api).await,
        Verb::Export { filter, output } => export(filter, output.as_ref(), context, api).await,
    }
}

fn query(filter: &Filter, context: &Context) -> Result<DeadLetterQuery, CliError> {
    let now_ms = context.clock().now_ms();
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
fn only_deliveries(filter: &Filter) -> bool {
    filter.kind.as_deref() != Some("webhook") && filter.source.is_none()
}

fn none() -> DeadLetters {
    DeadLetters { dead_letters: Vec::new(), next_cursor: None }
}

fn list(page: &DeadLetters) -> Report {
    let row = |l: &DeadLetter| {
        vec![
            l.id.clone(),
            l.destination.clone(),
            views::name(l.payload.order_id.as_deref(), l.payload.click_id.as_deref()),
            views::money(l.payload.value.as_deref(), l.payload.currency.as_deref()),
            format!("{}\n{}", l.reason.as_deref().unwrap_or(""), l.detail.as_deref().unwrap_or("")),
            l.next_action.clone(),
        ]
    };
    let text = if page.dead_letters.is_empty() {
        "no dead letters".to_owned()
    } else {
        table(&["id", "destination", "order or click", "value", "reason", "next action"], page.dead_letters.iter().map(row))
    };
    Report::of(text + &more(page.next_cursor.as_deref()), page)
}

async fn show(id: &str, api: &dyn Api) -> Result<Report, CliError> {
    let missing = |error: CliError| match error.exit {
        Exit::NotFound => {
            CliError::new(Exit::NotFound, "NOT_FOUND", format!("there is no dead letter `{id}`")).hint("`adsengineer dlq list` shows them")
        }
        _ => error,
    };
    let letter = api.dead_letter(id).await.map_err(missing)?;
    let conversion = api.explain(id).await?;
    Ok(Report::of(views::story(&conversion), &letter))
}

async fn export(filter: &Filter, output: Option<&PathBuf>, context: &Context, api: &dyn Api) -> Result<Report, CliError> {
    use std::io::Write as _;
    let failed = |e: std::io::Error| CliError::new(Exit::Usage, "OUTPUT", format!("the export cannot be written: {e}"));
    let mut file = output.map(std::fs::File::create).transpose().map_err(failed)?.map(std::io::BufWriter::new);
    let mut written = 0_u64;
    let mut query = DeadLetterQuery { limit: 1000, ..query(filter, context)? };
    loop {
        let page = if only_deliveries(filter) { api.dead_letters(&query).await? } else { none() };
        for letter in &page.dead_letters {
            let mut json = serde_json::to_value(letter).unwrap_or_default();
            json["schema_version"] = crate::output::SCHEMA_VERSION.into();
            written += 1;
            match &mut file {
                Some(file) => writeln!(file, "{json}").map_err(failed)?,
                None => context.out.line(&json.to_string()),
            }
        }
        match page.next_cursor {
            Some(cursor) => query.cursor = Some(cursor),
            None => break,
        }
    }
    let Some(mut file) = file else { return Ok(Report::silent()) };
    file.flush().map_err(failed)?;
    Ok(Report::ok(format!("wrote {written} dead letters"), json!({"written": written})))
}
