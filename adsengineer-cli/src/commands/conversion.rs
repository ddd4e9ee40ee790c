//! `conversion list|show`.

use adsengineer_core::{delivery::State, id::ConversionId, shape::Conversion, store::ConversionQuery};

use super::views;
use crate::{
    context::Context,
    error::CliError,
    output::{Report, table},
};

/// List and show conversions.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// List conversions with their deliveries
    List(List),
    /// Show one conversion
    Show {
        /// conv_…, dlv_… or an order id
        id: String,
    },
}

#[derive(Debug, clap::Args)]
struct List {
    /// Only those with a delivery in this state, for example dead
    #[arg(long, value_parser = state)]
    state: Option<State>,
    /// Only those created or changed since: 2h, 2026-11-20 or RFC 3339
    #[arg(long, value_name = "WHEN")]
    since: Option<String>,
    /// Only the one with this order id
    #[arg(long)]
    order_id: Option<String>,
    /// Newest first
    #[arg(long)]
    newest: bool,
    /// How many at most
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    limit: u64,
    /// Where the page before ended
    #[arg(long, value_parser = cursor::<ConversionId>)]
    cursor: Option<String>,
}

fn state(text: &str) -> Result<State, String> {
    let names = || State::ALL.map(State::as_str).join(", ");
    State::ALL.into_iter().find(|state| state.as_str() == text).ok_or_else(|| format!("one of {}", names()))
}

/// The id with which a page ended.
pub fn cursor<Id: std::str::FromStr + ToString>(text: &str) -> Result<String, String> {
    let known = text.parse::<Id>();
    known.map(|id| id.to_string()).map_err(|_| "take it from the page before, where it stands at the end".to_owned())
}

/// `2h`, a day or an instant, as Unix milliseconds.
pub fn since_ms(text: &str, now_ms: i64) -> Result<i64, CliError> {
    if let Ok(ago) = adsengineer_server::config::parse_duration(text) {
        return Ok(now_ms.saturating_sub(adsengineer_core::delivery::millis(ago)));
    }
    if let Ok(day) = text.parse::<jiff::civil::Date>()
        && let Ok(start) = day.to_zoned_datetime(jiff::tz::TimeZone::system())
    {
        return Ok(start.timestamp().as_millisecond());
    }
    let instant = text.parse::<jiff::Timestamp>();
    instant
        .map(jiff::Timestamp::as_millisecond)
        .map_err(|_| CliError::usage(format!("`{text}` is not a time: write 2h, 2026-11-20 or 2026-11-20T12:00:00Z")))
}

/// Runs the command.
pub async fn run(args: &Args, context: &Context) -> Result<Report, CliError> {
    let api = context.api().await?;
    let list = match &args.verb {
        Verb::Show { id } => return Ok(shown(&api.explain(id).await?)),
        Verb::List(list) => list,
    };
    let query = ConversionQuery {
        state: list.state,
        updated_since_ms: list.since.as_deref().map(|text| since_ms(text, context.clock().now_ms())).transpose()?,
        order_id: list.order_id.clone(),
        descending: list.newest,
        cursor: list.cursor.clone(),
        limit: usize::try_from(list.limit).unwrap_or(usize::MAX),
    };
    let page = api.conversions(&query).await?;
    let text = if page.conversions.is_empty() { "no conversions".to_owned() } else { list_table(&page.conversions) };
    Ok(Report::of(text + &more(page.next_cursor.as_deref()), &page))
}

/// A conversion with its story.
pub fn shown(conversion: &Conversion) -> Report {
    Report::of(views::story(conversion), conversion)
}

/// How to go on after a page.
pub fn more(next_cursor: Option<&str>) -> String {
    next_cursor.map(|cursor| format!("\nmore with --cursor {cursor}")).unwrap_or_default()
}

fn list_table(conversions: &[Conversion]) -> String {
    let row = |c: &Conversion| {
        let states = c.deliveries.iter().map(|d| match &d.reason {
            Some(reason) => format!("{}: {} ({reason})", d.destination, d.state.as_str()),
            None => format!("{}: {}", d.destination, d.state.as_str()),
        });
        vec![
            c.id.clone(),
            c.action.clone(),
            views::name(c.order_id.as_deref(), c.click_id.as_deref()),
            views::money(c.value.as_deref(), c.currency.as_deref()),
            views::local(c.occurred_at),
            states.collect::<Vec<_>>().join("\n"),
        ]
    };
    table(&["id", "action", "order or click", "value", "occurred", "deliveries"], conversions.iter().map(row))
}
