//! `status`: where every destination stands.

use adsengineer_core::{
    delivery::State,
    destination::google::codes,
    org::{Caller, Role},
    store::DestinationStatus,
};
use serde_json::{Value, json};

use super::views;
use crate::{
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
    let engine = context.engine()?;
    loop {
        let orgs = if args.all_orgs { engine.store().organizations().await? } else { vec![context.org()?] };
        let mut all = Vec::new();
        for org in orgs {
            all.extend(engine.status(&Caller::trusted(org, Role::Owner)).await?);
        }
        let report = Report::ok(text(&all, engine.clock().now_ms()), json!({"destinations": all.iter().map(to_json).collect::<Vec<_>>()}));
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

fn to_json(status: &DestinationStatus) -> Value {
    let d = &status.destination;
    let states: serde_json::Map<_, _> =
        State::ALL.iter().map(|state| (state.as_str().to_owned(), status.states.get(state).copied().unwrap_or(0).into())).collect();
    let time = |ms: Option<i64>| ms.and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    let held: Vec<_> = status
        .held
        .iter()
        .map(|h| json!({"reason": h.why.code, "detail": h.why.detail, "count": h.count, "since": time(Some(h.since_ms)), "next_action": codes::next_action(&h.why.code)}))
        .collect();
    json!({
        "org_id": d.org, "name": d.name, "id": d.id, "kind": d.spec.kind, "customer_id": d.spec.customer_id, "enabled": d.spec.enabled,
        "states": states, "held": held, "breaker": d.health.breaker.as_str(), "paused_until": time(d.health.paused_until_ms),
        "hold": d.health.hold, "credentials": credentials(status),
        "next_due_at": time(status.next_due_ms), "next_verdict_at": time(status.next_poll_ms),
        "oldest_due_seconds": status.oldest_due_ms.map(|ms| ms / 1000), "value_at_risk": status.value_at_risk,
    })
}

fn credentials(status: &DestinationStatus) -> &'static str {
    let d = &status.destination;
    match &d.health.hold {
        Some(hold) if hold.scope == adsengineer_core::outcome::HoldScope::Credentials => "refused",
        _ if d.credentials.is_some() => "stored",
        _ if d.spec.credentials_ref.is_some() => "configured",
        _ => "missing",
    }
}

/// Where destinations stand, for people.
pub fn text(all: &[DestinationStatus], now_ms: i64) -> String {
    if all.is_empty() {
        return "no destinations yet; `adsengineer upload FILE --to google …` or `adsengineer destination add` makes one".to_owned();
    }
    let row = |s: &DestinationStatus| {
        let n = |states: &[State]| states.iter().filter_map(|state| s.states.get(state)).sum::<u64>().to_string();
        vec![
            s.destination.name.to_string(),
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
                s.destination.name,
                held.count,
                views::local_ms(held.since_ms),
                held.why.code,
                held.why.detail,
                codes::next_action(&held.why.code)
            );
        }
        let health = &s.destination.health;
        if health.breaker.as_str() != "closed" {
            text += &format!(
                "\n{}: the breaker is {}; the platform failed several times in a row",
                s.destination.name,
                health.breaker.as_str()
            );
        }
        for (what, at) in [
            ("next attempt", s.next_due_ms),
            ("next question for a verdict", s.next_poll_ms),
            ("paused until", health.paused_until_ms.filter(|until| *until > now_ms)),
        ] {
            text += &at.map(|at| format!("\n{}: {what} {}", s.destination.name, views::local_ms(at))).unwrap_or_default();
        }
        if s.states.get(&State::Dead).is_some_and(|n| *n > 0) {
            text +=
                &format!("\n{}: `adsengineer dlq list --destination {}` shows the dead letters", s.destination.name, s.destination.name);
        }
    }
    text
}
