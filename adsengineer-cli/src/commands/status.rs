//! `status`: where every destination stands.

use adsengineer_core::{
    delivery::State,
    org::{Caller, Role},
    shape::{Standing, Status},
};
use jiff::Timestamp;
use serde_json::json;

use super::views;
use crate::{
    api::{Api, Local},
    context::Context,
    error::CliError,
    output::{Report, table},
};

/// Show where every destination stands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Show it again every two seconds, until interrupted
    #[arg(long)]
    watch: bool,
    /// Of every organization in the database
    #[arg(long)]
    all_orgs: bool,
}

/// Runs the command.
pub async fn run(args: &Args, context: &Context) -> Result<Report, CliError> {
    if args.all_orgs {
        context.only_here("status --all-orgs")?;
    }
    let api = if args.all_orgs { None } else { Some(context.api().await?) };
    loop {
        let status = match &api {
            Some(api) => api.status().await?,
            None => of_all(context).await?,
        };
        let report = Report::of(text(&status, context.clock().now()), &status);
        if !args.watch {
            return Ok(report);
        }
        context.out.report(report);
        tokio::select! {
            () = tokio::time::sleep(std::time::Duration::from_secs(2)) => {}
            _ = tokio::signal::ctrl_c() => return Ok(Report::ok("", json!({})).exit(crate::error::Exit::Interrupted)),
        }
    }
}

/// Of every organization in this machine's database.
async fn of_all(context: &Context) -> Result<Status, CliError> {
    let engine = context.engine().await?;
    let mut all = Status { destinations: Vec::new(), leads: adsengineer_core::store::LeadCounts::default() };
    for org in engine.store().organizations().await? {
        let one = Local::new(engine.clone(), Caller::trusted(org, Role::Owner)).status().await?;
        all.destinations.extend(one.destinations);
        all.leads.stored += one.leads.stored;
        all.leads.updated += one.leads.updated;
        all.leads.denied += one.leads.denied;
    }
    Ok(all)
}

/// Where everything stands, for people.
pub fn text(status: &Status, now: Timestamp) -> String {
    let leads = status.leads;
    let mut text = destinations(&status.destinations, now);
    if leads.stored + leads.updated + leads.denied > 0 {
        text += &format!("\nleads: {} stored, {} updated, {} denied for want of consent", leads.stored, leads.updated, leads.denied);
    }
    text
}

fn destinations(all: &[Standing], now: Timestamp) -> String {
    if all.is_empty() {
        return "no destinations yet; `adsengineer upload FILE --to google …` or `adsengineer destination add` makes one".to_owned();
    }
    let row = |s: &Standing| {
        let n = |states: &[State]| states.iter().filter_map(|state| s.states.get(state.as_str())).sum::<u64>().to_string();
        vec![
            s.name.clone(),
            n(&[State::Queued, State::InFlight, State::Retrying]),
            n(&[State::Held]),
            n(&[State::AwaitingConfirmation]),
            n(&[State::Delivered, State::DeliveredUnverified]),
            n(&[State::Dead]),
            n(&[State::Suppressed, State::Superseded, State::Discarded]),
            s.value_at_risk.iter().map(|(currency, value)| format!("{value} {currency}")).collect::<Vec<_>>().join("\n"),
        ]
    };
    let mut text = table(
        &["destination", "to send", "held", "awaiting verdict", "delivered", "dead", "stopped", "value at risk"],
        all.iter().map(row),
    );
    for s in all {
        for held in &s.held {
            text += &format!(
                "\n{}: {} held since {} because {}: {}\n  → {}",
                s.name,
                held.count,
                views::local(held.since),
                held.reason,
                held.detail,
                held.next_action
            );
        }
        if s.breaker != "closed" {
            text += &format!("\n{}: the breaker is {}; the platform failed several times in a row", s.name, s.breaker);
        }
        for (what, at) in [
            ("next attempt", s.next_due_at),
            ("next question for a verdict", s.next_verdict_at),
            ("paused until", s.paused_until.filter(|until| *until > now)),
        ] {
            text += &at.map(|at| format!("\n{}: {what} {}", s.name, views::local(at))).unwrap_or_default();
        }
        if s.states.get(State::Dead.as_str()).is_some_and(|n| *n > 0) {
            text += &format!("\n{}: `adsengineer dlq list --destination {}` shows the dead letters", s.name, s.name);
        }
    }
    text
}
