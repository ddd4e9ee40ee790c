//! `--dry-run` and `--validate-only`: the exact requests, printed or checked by the platform.

use std::{io::Write as _, sync::Arc};

use adsengineer_core::{
    destination::{
        Destination, Event,
        google::render::{Accounts, body},
    },
    finding::{Code, Finding},
    id::DeliveryId,
    import::{Candidate, Context as FileContext, Options, Reader, RowKind},
    outcome::{Outcome, Why},
};
use serde_json::{json, value::RawValue};

use super::{Args, Target, summary_json};
use crate::{
    commands::{check::Checked, import_flags::Input},
    context::Context,
    error::{CliError, Exit},
    output::Report,
};

/// Rows of one request.
const BATCH: usize = 2000;

/// Requests on their way out.
struct Requests<'a> {
    context: &'a Context,
    accounts: Accounts,
    url: String,
    door: Option<Arc<dyn Destination>>,
    printed: u64,
    refused: Vec<(u64, Why)>,
}

/// Runs the file through without storing anything.
pub async fn run(
    args: &Args,
    context: &Context,
    input: &Input,
    options: &Options,
    file_context: &FileContext,
    target: &mut Target,
    door: Option<Arc<dyn Destination>>,
) -> Result<Report, CliError> {
    let base = context.settings.text("google_data_manager_url").unwrap_or_default().trim_end_matches('/');
    let url = format!("{base}/v1/events:ingest");
    let mut requests = Requests { context, accounts: (&target.destination.spec).into(), url, door, printed: 0, refused: Vec::new() };
    let mut checked = Checked::default();
    let mut groups: Vec<(String, Vec<Event>, Vec<u64>)> = Vec::new();
    let mut reader = Reader::open(input.read()?, options, file_context)?;
    while let Some(row) = reader.next()? {
        row.warnings.iter().for_each(|finding| checked.keep(&input.name, finding));
        let candidate = match row.kind {
            RowKind::Conversion(candidate) => candidate,
            RowKind::Refused(findings) => {
                findings.iter().for_each(|finding| checked.keep(&input.name, finding));
                continue;
            }
            _ => continue,
        };
        if !target.knows(&candidate.action) {
            let reason = format!("destination `{}` has no conversion action `{}`", target.destination.name, candidate.action);
            checked.keep(&input.name, &Finding::file(Code::UnknownAction, reason).at(row.number));
            checked.refused(Code::UnknownAction);
            continue;
        }
        let Some(action_id) = target.destination.spec.action_id(&candidate.action) else { continue };
        let group = match groups.iter().position(|(id, ..)| id == action_id) {
            Some(known) => known,
            None => {
                groups.push((action_id.to_owned(), Vec::with_capacity(BATCH), Vec::new()));
                groups.len() - 1
            }
        };
        if let Some(event) = event(candidate, target) {
            let (id, events, rows) = &mut groups[group];
            events.push(event);
            rows.push(row.number);
            if events.len() == BATCH {
                requests.out(id, events, rows).await?;
            }
        }
    }
    for (id, events, rows) in &mut groups {
        if !events.is_empty() {
            requests.out(id, events, rows).await?;
        }
    }
    let unknown = std::mem::take(&mut checked.summary);
    checked.summary = reader.summary().clone();
    checked.summary.refused += unknown.refused;
    checked.summary.accepted -= unknown.refused;
    unknown.errors.into_iter().for_each(|(code, n)| *checked.summary.errors.entry(code).or_default() += n);
    Ok(report(args, context, &checked, &requests))
}

fn event(candidate: Candidate<'_>, target: &Target) -> Option<Event> {
    let key = candidate.natural_key;
    let conversion = candidate.into_conversion();
    Some(Event {
        delivery: DeliveryId(0),
        permit: conversion.consent.permit().ok()?,
        transaction_id: adsengineer_core::engine::transaction_id(&target.destination.spec, conversion.order_id.as_ref(), &key).0,
        occurred_at: conversion.occurred_at.as_second(),
        value: conversion.value,
        click_id: conversion.click_id,
        identifiers: conversion.identifiers,
    })
}

impl Requests<'_> {
    async fn out(&mut self, action_id: &str, events: &mut Vec<Event>, rows: &mut Vec<u64>) -> Result<(), CliError> {
        self.printed += 1;
        if let Some(door) = &self.door {
            let rendered = door.render(action_id, events, true);
            let answer = door.send(&rendered, events.len()).await;
            let own: std::collections::HashMap<usize, &Outcome> = answer.rows.iter().map(|(i, outcome)| (*i, outcome)).collect();
            for (i, row) in rows.iter().enumerate() {
                let outcome = own.get(&i).copied().unwrap_or(&answer.default);
                // The rest of a request with bad rows is fine.
                let spared = !own.is_empty() && !own.contains_key(&i) && matches!(outcome, Outcome::Retry { counts: false, .. });
                if let Some(why) = outcome.why().filter(|_| !spared) {
                    self.refused.push((*row, why.clone()));
                }
            }
        } else {
            self.print(body(&self.accounts, action_id, events, false, |_| ()))?;
        }
        events.clear();
        rows.clear();
        Ok(())
    }

    /// One request, one line.
    fn print(&self, body: Vec<u8>) -> Result<(), CliError> {
        let body = String::from_utf8(body).map_err(|e| CliError::new(Exit::Internal, "INTERNAL", e.to_string()))?;
        if !self.context.out.is_json() {
            self.context.out.line(&body);
            return Ok(());
        }
        let body = RawValue::from_string(body).map_err(|e| CliError::new(Exit::Internal, "INTERNAL", e.to_string()))?;
        let mut line = Vec::new();
        write!(
            line,
            "{{\"schema_version\":{},\"request\":{{\"method\":\"POST\",\"url\":{},\"body\":",
            crate::output::SCHEMA_VERSION,
            json!(self.url)
        )?;
        line.extend_from_slice(body.get().as_bytes());
        line.extend_from_slice(b"}}");
        self.context.out.line(&String::from_utf8_lossy(&line));
        Ok(())
    }
}

fn report(args: &Args, context: &Context, checked: &Checked, requests: &Requests<'_>) -> Report {
    let mut json = summary_json(checked, None);
    json["requests"] = requests.printed.into();
    let refused = checked.summary.refused > 0 || !requests.refused.is_empty();
    let summary = crate::commands::check::summary_line(&checked.summary);
    let mut text = checked.text();
    if args.validate_only {
        let list: Vec<_> = requests.refused.iter().map(|(row, why)| json!({"row": row, "code": why.code, "reason": why.detail})).collect();
        json["validation"] = list.into();
        for (row, why) in requests.refused.iter().take(20) {
            text += &format!("row {row}: {}: {}\n", why.code, why.detail);
        }
        text += &format!(
            "{summary}\nthe platform checked {} requests and refused {} rows; nothing was stored",
            requests.printed,
            requests.refused.len()
        );
    } else {
        context.out.note(&format!("{text}{summary}\n{} requests, POST {}; nothing was sent or stored", requests.printed, requests.url));
        text = String::new();
    }
    Report::ok(text, json).exit(if refused { Exit::Refused } else { Exit::Ok })
}
