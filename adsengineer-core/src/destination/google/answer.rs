//! What the answer to `events:ingest` means for every row of the request. Pure: a status, a body and a number of rows in, outcomes out.

use std::{collections::BTreeMap, time::Duration};

use serde_json::Value;

use super::{
    codes::{self, Class},
    failure::{Failure, Violation, event_index},
};
use crate::{
    backoff::MAX_ASKED,
    destination::Answer,
    outcome::{HoldScope, Outcome, Why},
};

/// The pause after a quota error that does not say how long.
const DEFAULT_PAUSE: Duration = Duration::from_secs(60);

/// An answer as it came over HTTP.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    /// From `Retry-After`.
    pub(super) retry_after: Option<Duration>,
    /// Empty if it could not be read to its end.
    pub(super) body: Vec<u8>,
}

/// Judges the answer to a request with `rows` rows.
pub(super) fn judge(reply: &Reply, rows: usize) -> Answer {
    let failure = || Failure::parse(&reply.body);
    match reply.status {
        200..=299 => accepted(&reply.body),
        400 => failure().map_or_else(|| Answer::all(not_google(reply)), |failure| bad_request(&failure, rows)),
        413 => Answer::all(unlocated(Why::new("REQUEST_TOO_LARGE", "HTTP 413: the request is too large"), rows)),
        429 => quota(reply, &failure().unwrap_or_default()),
        408 | 409 | 499 | 500 | 502 | 504..=599 => unhealthy(Outcome::Unknown(server_error(reply))),
        503 => unhealthy(Outcome::Retry { after: reply.retry_after, counts: true, why: server_error(reply) }),
        _ => refused(reply, failure()),
    }
}

fn accepted(body: &[u8]) -> Answer {
    let Ok(json) = serde_json::from_slice::<Value>(body) else {
        let detail = format!("HTTP 200 with {} bytes that are not JSON: the events may have been taken", body.len());
        return unhealthy(Outcome::Unknown(Why::new("UNREADABLE_ANSWER", &detail)));
    };
    match json.get("requestId").and_then(Value::as_str).filter(|id| !id.is_empty()) {
        Some(id) => Answer { request_id: Some(id.into()), warnings: warnings(&json), ..Answer::all(Outcome::Pending) },
        None => unhealthy(Outcome::Unknown(Why::new(
            "ANSWER_WITHOUT_REQUEST_ID",
            "HTTP 200 without a requestId: the events may have been taken",
        ))),
    }
}

fn warnings(json: &Value) -> Vec<String> {
    let text = |warning: &Value, key: &str| warning.get(key).and_then(Value::as_str).unwrap_or("?").to_owned();
    let all = json.get("fieldWarnings").and_then(Value::as_array).into_iter().flatten();
    all.map(|w| format!("{} at {}: {}", text(w, "reason"), text(w, "field"), text(w, "description"))).collect()
}

fn unhealthy(outcome: Outcome) -> Answer {
    Answer { healthy: false, ..Answer::all(outcome) }
}

fn server_error(reply: &Reply) -> Why {
    let code = if reply.status == 408 || reply.status == 504 { "DEADLINE_EXCEEDED" } else { "PLATFORM_UNAVAILABLE" };
    match Failure::parse(&reply.body) {
        Some(failure) => failure.why(code),
        None => Why::new(code, &without_json(reply)),
    }
}

fn without_json(reply: &Reply) -> String {
    format!("HTTP {} without Google's JSON ({} bytes)", reply.status, reply.body.len())
}

fn not_google(reply: &Reply) -> Outcome {
    let code = match reply.status {
        300..=399 => "REDIRECTED",
        404 => "ENDPOINT_NOT_FOUND",
        405 => "METHOD_NOT_ALLOWED",
        _ => "NOT_GOOGLE",
    };
    Outcome::Hold(HoldScope::Destination, Why::new(code, &format!("{}: the version is retired or the URL is wrong", without_json(reply))))
}

fn quota(reply: &Reply, failure: &Failure) -> Answer {
    let pause = failure.retry_delay.or(reply.retry_after).unwrap_or(DEFAULT_PAUSE).min(MAX_ASKED);
    let why = failure.why("RESOURCE_EXHAUSTED");
    Answer { pause: Some(pause), ..Answer::all(Outcome::Retry { after: Some(pause), counts: false, why }) }
}

/// Refused as a whole, by somebody who may or may not be Google.
fn refused(reply: &Reply, failure: Option<Failure>) -> Answer {
    let fallback = match reply.status {
        401 => "UNAUTHENTICATED",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        _ => "NOT_GOOGLE",
    };
    let Some(failure) = failure else {
        let unauthenticated = || Outcome::Hold(HoldScope::Credentials, Why::new("UNAUTHENTICATED", &without_json(reply)));
        return Answer::all(if reply.status == 401 { unauthenticated() } else { not_google(reply) });
    };
    let why = failure.why(fallback);
    match codes::known_class(&why.code) {
        Some(Class::Quota) => quota(reply, &failure),
        Some(class @ Class::Hold(_)) => Answer::all(class.outcome(why)),
        _ => Answer::all(codes::class(fallback).outcome(why)),
    }
}

/// Nothing of a refused request was processed: rows that are named are judged by their code, their neighbours go again at once.
fn bad_request(failure: &Failure, rows: usize) -> Answer {
    let row_of = |violation: &&Violation| event_index(&violation.field).is_some_and(|row| row < rows);
    let (located, whole): (Vec<_>, Vec<_>) = failure.violations.iter().partition(row_of);
    let rows_at_fault = by_row(failure, &located);
    let whole = whole.first().map(|violation| whole_request(failure, violation, rows));
    let default = match whole {
        Some(hold @ Outcome::Hold(..)) => hold,
        _ if !rows_at_fault.is_empty() => neighbour(),
        Some(outcome) => outcome,
        None => of_whole(failure.why("INVALID_ARGUMENT"), rows),
    };
    let request_id = failure.request_id.as_deref().map(Into::into);
    Answer { rows: rows_at_fault, request_id, ..Answer::all(default) }
}

fn neighbour() -> Outcome {
    let why = Why::new("NEIGHBOUR_REFUSED", "another row of the request was refused, so Google processed none of it");
    Outcome::Retry { after: Some(Duration::ZERO), counts: false, why }
}

/// One outcome for each row: its first reason, with the others mentioned.
fn by_row(failure: &Failure, located: &[&Violation]) -> Vec<(usize, Outcome)> {
    let mut rows: BTreeMap<usize, (&str, String)> = BTreeMap::new();
    for violation in located {
        let Some(row) = event_index(&violation.field) else { continue };
        let code = code_of(failure, violation);
        match rows.get_mut(&row) {
            Some((_, detail)) => *detail = format!("{detail}; also {code} at {}", violation.field),
            None => drop(rows.insert(row, (code, format!("{}: {}", violation.field, violation.description)))),
        }
    }
    rows.into_iter().map(|(row, (code, detail))| (row, codes::class(code).outcome(Why::new(code, &detail)))).collect()
}

fn code_of<'a>(failure: &'a Failure, violation: &'a Violation) -> &'a str {
    [violation.reason.as_str(), failure.code.as_str()].into_iter().find(|code| !code.is_empty()).unwrap_or("INVALID_ARGUMENT")
}

/// A violation outside the events: a fault of the row class is then one of the destination, which no smaller request puts right.
fn whole_request(failure: &Failure, violation: &Violation, rows: usize) -> Outcome {
    let code = code_of(failure, violation);
    let why = Why::new(code, format!("{}: {}", violation.field, violation.description).trim_start_matches(": "));
    let in_events = violation.field.is_empty() || violation.field.starts_with("events");
    match codes::class(code) {
        Class::Row if !in_events => Outcome::Hold(HoldScope::Destination, why),
        _ => of_whole(why, rows),
    }
}

fn of_whole(why: Why, rows: usize) -> Outcome {
    match codes::class(&why.code) {
        Class::Row => unlocated(why, rows),
        class => class.outcome(why),
    }
}

/// A single row needs no search.
fn unlocated(why: Why, rows: usize) -> Outcome {
    if rows <= 1 { Outcome::Rejected(why) } else { Outcome::Unlocated(why) }
}

#[cfg(test)]
mod tests;
