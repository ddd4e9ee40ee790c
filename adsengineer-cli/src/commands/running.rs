//! Running the worker from the command line, and what its report means for the exit code.

use std::time::Duration;

use adsengineer_core::{
    delivery::State,
    destination::google::codes,
    engine::Engine,
    id::DestinationId,
    outcome::{HoldScope, Why},
    store::ConversionQuery,
    worker::{DestinationReport, Goal, Progress, RunReport, WorkerSettings},
};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::views;
use crate::{
    context::Context,
    error::{CliError, Exit},
};

/// Waits that `upload` and `work` sit out.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// A stop signal that Ctrl-C or SIGTERM gives.
pub fn stop_signal() -> watch::Receiver<bool> {
    let (sender, receiver) = watch::channel(false);
    tokio::spawn(async move {
        wait_for_signal().await;
        let _nobody_left = sender.send(true);
        // A second signal does not wait for anybody.
        wait_for_signal().await;
        std::process::exit(i32::from(Exit::Interrupted as u8));
    });
    receiver
}

async fn wait_for_signal() {
    #[cfg(unix)]
    if let Ok(mut terminate) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        }
        return;
    }
    let _unavailable = tokio::signal::ctrl_c().await;
}

/// Works on `only` until the goal, with a progress bar over `expected` rows.
pub async fn work(
    context: &Context,
    engine: &Engine,
    only: Vec<DestinationId>,
    goal: Goal,
    expected: u64,
    stop: watch::Receiver<bool>,
) -> Result<RunReport, CliError> {
    let settings = WorkerSettings { only: Some(only), ..engine.worker_settings().clone() };
    let worker = engine.worker(settings)?;
    let bar = context.out.bar(expected, "sending");
    let mut progress = worker.progress();
    let shown = bar.clone();
    let drawing = tokio::spawn(async move {
        while progress.changed().await.is_ok() {
            let Progress { delivered, awaiting, dead, held, suppressed, .. } = *progress.borrow_and_update();
            shown.set_position(delivered + awaiting + dead + held + suppressed);
        }
    });
    let report = worker.run_until(goal, stop).await;
    drawing.abort();
    bar.finish_and_clear();
    let mut report = report?;
    recall(context, engine, &mut report).await?;
    Ok(report)
}

/// Says of rows that wait since an earlier run why they do.
async fn recall(context: &Context, engine: &Engine, report: &mut RunReport) -> Result<(), CliError> {
    let silent = |d: &DestinationReport| d.next_due_ms.is_some() && d.last_error.is_none();
    if !report.destinations.values().any(silent) {
        return Ok(());
    }
    let query = ConversionQuery { state: Some(State::Retrying), limit: 1000, descending: true, ..ConversionQuery::default() };
    let waiting = engine.conversions(&context.caller()?, &query).await?.items;
    for destination in report.destinations.values_mut().filter(|d| silent(d)) {
        let deliveries = waiting.iter().flat_map(|c| &c.deliveries);
        let first = deliveries.filter(|d| d.state == State::Retrying && *d.destination == *destination.name).find_map(|d| {
            let reason = d.reason.as_deref()?;
            Some(Why::new(reason, d.detail.as_deref().unwrap_or_default()))
        });
        destination.last_error = first;
    }
    Ok(())
}

/// Whether rows wait because something failed, not because the platform wants them later.
fn waits_for_repair(destination: &DestinationReport) -> bool {
    let failed = |why: &Why| !matches!(codes::class(&why.code), codes::Class::Later { .. });
    destination.next_due_ms.is_some() && destination.last_error.as_ref().is_some_and(failed)
}

/// The exit code that a run deserves: what must be put right first, then what is down, then what was refused.
pub fn exit(report: &RunReport, refused: bool, stopped: bool) -> Exit {
    let any = |wanted: fn(&DestinationReport) -> bool| report.destinations.values().any(wanted);
    if stopped {
        Exit::Interrupted
    } else if any(|d| holds(d, |scope| scope == HoldScope::Credentials)) {
        Exit::Auth
    } else if any(|d| holds(d, |_| true)) {
        Exit::Config
    } else if any(|d| d.quota && d.paused_until_ms.is_some()) {
        Exit::Quota
    } else if any(|d| d.breaker_open || waits_for_repair(d)) {
        Exit::Unavailable
    } else if refused || report.progress.dead > 0 {
        Exit::Refused
    } else {
        Exit::Ok
    }
}

fn holds(destination: &DestinationReport, wanted: impl Fn(HoldScope) -> bool) -> bool {
    destination.hold.iter().chain(&destination.holds).any(|hold| wanted(hold.scope))
}

/// A run as JSON.
pub fn to_json(report: &RunReport) -> Value {
    let p = report.progress;
    let time = |ms: Option<i64>| ms.and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    let destinations: Vec<_> = report
        .destinations
        .values()
        .map(|d| {
            json!({
                "name": d.name, "holds": d.holds, "breaker_open": d.breaker_open, "paused_until": time(d.paused_until_ms),
                "next_due_at": time(d.next_due_ms), "next_verdict_at": time(d.next_poll_ms), "last_error": d.last_error, "dead": d.dead,
            })
        })
        .collect();
    json!({
        "sent": p.sent, "delivered": p.delivered, "awaiting_confirmation": p.awaiting, "retrying": p.retrying, "held": p.held,
        "dead": p.dead, "suppressed": p.suppressed, "destinations": destinations, "warnings": report.warnings,
    })
}

/// A run for people: counts, what stands in the way, and what to do next.
pub fn text(report: &RunReport) -> String {
    let p = report.progress;
    let mut lines = Vec::new();
    let counts =
        [(p.delivered, "delivered"), (p.awaiting, "taken, verdict to come"), (p.dead, "dead"), (p.held, "held"), (p.suppressed, "stopped")];
    let counts: Vec<_> = counts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
    let failed = report.destinations.values().any(|d| d.last_error.is_some());
    lines.push(match (counts.is_empty(), failed) {
        (false, _) => counts.join(", "),
        (true, false) => "nothing was due".to_owned(),
        (true, true) => "nothing is settled yet".to_owned(),
    });
    for d in report.destinations.values() {
        for hold in &d.holds {
            lines.push(format!("{}: held because {}: {}", d.name, hold.why.code, hold.why.detail));
            let then = match hold.scope {
                HoldScope::Row => format!("`adsengineer destination check {}`, which lets the rows go, and `adsengineer work`", d.name),
                _ => "`adsengineer work`".to_owned(),
            };
            lines.push(format!("  → {}; then {then}", codes::next_action(&hold.why.code)));
        }
        for (code, n) in &d.dead {
            lines.push(format!("{}: {n} dead because {code}: {}", d.name, codes::next_action(code)));
        }
        if d.breaker_open {
            let why = d.last_error.as_ref().map_or_else(String::new, |why| format!(" ({}: {})", why.code, why.detail));
            lines.push(format!("{}: the platform fails{why}; it is safe to run `adsengineer work` later", d.name));
        } else if let Some(until) = d.paused_until_ms {
            lines.push(format!("{}: the platform asked for a pause until {}; run `adsengineer work` then", d.name, views::local_ms(until)));
        } else if let (Some(at), Some(why)) = (d.next_due_ms, &d.last_error) {
            let why = format!("{}: {}", why.code, why.detail);
            lines.push(format!(
                "{}: rows wait for another attempt at {} ({why}); run `adsengineer work` then",
                d.name,
                views::local_ms(at)
            ));
        }
    }
    if p.dead > 0 {
        lines.push("`adsengineer dlq list` shows the dead letters and what to do".to_owned());
    }
    lines.extend(report.warnings.iter().map(|warning| format!("the platform remarks: {warning}")));
    let awaiting: Vec<i64> = report.destinations.values().filter_map(|d| d.next_poll_ms).collect();
    if let Some(first) = awaiting.iter().min() {
        let first = clock(*first);
        lines.push(match (p.sent, p.awaiting) {
            (0, _) | (_, 0) => format!("verdicts are still to come, the next after {first}; run `adsengineer work` then"),
            (sent, awaiting) => {
                format!("{sent} sent, {awaiting} await the platform's verdict, first answer after {first}; run `adsengineer work` then")
            }
        });
    }
    lines.join("\n")
}

fn clock(ms: i64) -> String {
    let at = jiff::Timestamp::from_millisecond(ms).unwrap_or_default().to_zoned_datetime(jiff::tz::TimeZone::system());
    at.strftime("%H:%M").to_string()
}

/// The goal of `--wait`, of `--once`, or of neither.
pub fn goal(wait: Option<Duration>, once: bool, engine: &Engine) -> Goal {
    match wait {
        Some(wait) => Goal::Final {
            deadline: engine
                .clock()
                .now()
                .saturating_add(jiff::SignedDuration::try_from(wait).unwrap_or_default())
                .unwrap_or(jiff::Timestamp::MAX),
        },
        None if once => Goal::Settled { patience: Duration::ZERO },
        None => Goal::Settled { patience: PATIENCE },
    }
}
