//! `lead list|show|delete`.

use adsengineer_core::{id::ChangeId, lead::LeadStatus, shape::Lead};
use serde_json::json;

use super::{
    conversion::{cursor, more, since_ms},
    views,
};
use crate::{
    api::LeadFilter,
    context::Context,
    error::CliError,
    output::{Report, table},
};

/// List, show and delete leads.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Leads come in through the HTTP API. Examples:\n  adsengineer lead list --status qualified --newest\n  adsengineer lead show lead_…"
)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// List leads in the order of their latest changes
    List(List),
    /// Show one lead
    Show {
        /// lead_…
        id: String,
    },
    /// Delete a lead; its conversions stay, and the record of what its person agreed to
    Delete {
        /// lead_…
        id: String,
    },
}

#[derive(Debug, clap::Args)]
struct List {
    /// Only those with this status: new, contacted, qualified, won or lost
    #[arg(long)]
    status: Option<LeadStatus>,
    /// Only those stored or changed since: 2h, 2026-11-20 or RFC 3339
    #[arg(long, value_name = "WHEN")]
    since: Option<String>,
    /// Latest change first
    #[arg(long)]
    newest: bool,
    /// How many at most
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    limit: u64,
    /// Where the page before ended
    #[arg(long, value_parser = cursor::<ChangeId>)]
    cursor: Option<String>,
}

/// Runs the command.
pub async fn run(args: &Args, context: &Context) -> Result<Report, CliError> {
    let api = context.api().await?;
    match &args.verb {
        Verb::List(list) => {
            let query = LeadFilter {
                status: list.status,
                updated_since_ms: list.since.as_deref().map(|text| since_ms(text, context.clock().now_ms())).transpose()?,
                descending: list.newest,
                cursor: list.cursor.as_deref().and_then(|text| text.parse().ok()),
                limit: usize::try_from(list.limit).unwrap_or(usize::MAX),
            };
            let page = api.leads(&query).await?;
            let text = if page.leads.is_empty() { "no leads".to_owned() } else { list_table(&page.leads) };
            Ok(Report::of(text + &more(page.next_cursor.as_deref()), &page))
        }
        Verb::Show { id } => {
            let lead = api.lead(id).await?;
            Ok(Report::of(story(&lead), &lead))
        }
        Verb::Delete { id } => {
            api.lead(id).await?;
            context.confirm(&format!("delete {id}?"))?;
            api.delete_lead(id).await?;
            Ok(Report::ok(format!("deleted {id}"), json!({"id": id, "deleted": true})))
        }
    }
}

fn name(lead: &Lead) -> String {
    let known = [&lead.external_id, &lead.email, &lead.phone].into_iter().flatten().next();
    known.cloned().unwrap_or_else(|| "click id only".to_owned())
}

fn list_table(leads: &[Lead]) -> String {
    let row = |l: &Lead| {
        let value = l.value.as_ref().map(|_| views::money(l.value.as_deref(), l.currency.as_deref())).unwrap_or_default();
        let score = if l.qualified { format!("{} qualified", l.score) } else { l.score.to_string() };
        vec![l.id.clone(), name(l), l.status.as_str().to_owned(), score, value, views::local(l.updated_at)]
    };
    table(&["id", "who", "status", "score", "value", "changed"], leads.iter().map(row))
}

/// What is known of a lead, field by field.
fn story(lead: &Lead) -> String {
    let mut text = format!("{}  {}  {}\n  stored {}", lead.id, name(lead), lead.status.as_str(), views::local(lead.created_at));
    text += &format!(
        ", changed {}\n  score {}, {}",
        views::local(lead.updated_at),
        lead.score,
        if lead.qualified { "qualified" } else { "not qualified" }
    );
    let fields = [
        ("external id", &lead.external_id),
        ("site", &lead.site_id),
        ("e-mail", &lead.email),
        ("phone", &lead.phone),
        ("company", &lead.company),
        ("vertical", &lead.vertical),
        ("budget", &lead.budget),
        ("landing page", &lead.landing_page),
    ];
    for (what, value) in fields {
        text += &value.as_ref().map(|value| format!("\n  {what} {value}")).unwrap_or_default();
    }
    if lead.value.is_some() {
        text += &format!("\n  worth {}", views::money(lead.value.as_deref(), lead.currency.as_deref()));
    }
    text
}
