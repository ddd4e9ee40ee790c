//! Dead letters: looking at them, sending them again, giving them up.

use std::sync::Arc;

use adsengineer_core::{
    engine::{Matched, ReplayRequest},
    id::{DeliveryId, ReplayId},
    org::Role,
    rate_limit::Rate,
    shape::{DeadLetter, DeadLetters, ReplayStatus},
    store::{DeadLetterQuery, RepairAction, Repaired, ReplayState},
};
use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{cursor, limit, millis};
use crate::{
    Api,
    error::{Problem, forbidden},
    extract::{Admin, As, Held, Id, IdempotencyKey, JsonBytes, Member, Query, json},
};

/// Most dead letters that one request names.
const IDS_MAX: usize = 10_000;
/// Dead letters given up in one transaction.
const STEP: usize = 2_000;

/// Lists dead letters
#[utoipa::path(get, path = "/api/v1/dlq", tag = "dead letters", params(DlqFilter), responses((status = 200, description = "A page", body = DeadLetters)))]
pub(crate) async fn list(
    caller: As<Member>,
    State(api): State<Api>,
    Query(filter): Query<DlqFilter>,
) -> Result<Json<DeadLetters>, Problem> {
    let org = caller.0.org();
    let query = DeadLetterQuery {
        cursor: cursor::<DeliveryId>(filter.cursor.as_deref())?.map(|id| id.to_string()),
        limit: limit(filter.limit)?,
        reason: filter.reason,
        destination: filter.destination,
        since_ms: millis("since", filter.since.as_deref())?,
        until_ms: millis("until", filter.until.as_deref())?,
    };
    if filter.kind == Some(Kind::Webhook) || filter.source.is_some() {
        return Ok(Json(DeadLetters { dead_letters: Vec::new(), next_cursor: None }));
    }
    Ok(Json(DeadLetters::of(org, api.engine().dead_letters(&caller.0, &query).await?)))
}

/// Shows a dead letter
///
/// Personal data is shown only to an admin who asks with `reveal=true`, and that is audited.
#[utoipa::path(get, path = "/api/v1/dlq/{id}", tag = "dead letters", params(("id" = String, Path, description = "The delivery's id"), Reveal), responses((status = 200, description = "The dead letter", body = DeadLetter)))]
pub(crate) async fn show(
    caller: As<Member>,
    State(api): State<Api>,
    Id(id): Id<DeliveryId>,
    Query(reveal): Query<Reveal>,
) -> Result<Json<DeadLetter>, Problem> {
    if reveal.reveal && caller.0.role() < Role::Admin {
        return Err(forbidden("admin"));
    }
    let letter = api.engine().dead_letter(&caller.0, id).await?;
    let mut shape = DeadLetter::of(caller.0.org(), letter);
    if reveal.reveal {
        shape.payload.identifiers = api.engine().reveal(&caller.0, id).await?;
    }
    Ok(Json(shape))
}

/// Sends dead letters again
///
/// The replay goes on by itself; follow it at `/api/v1/dlq/replays/{id}`. With `dry_run` nothing is done but counting.
#[utoipa::path(
    post, path = "/api/v1/dlq/replay", tag = "dead letters", request_body = ReplayBody,
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes the request safe to repeat for 24 hours", min_length = 1, max_length = 255, pattern = "^[!#-~]+$")),
    responses((status = 202, description = "The replay has begun", body = ReplayStatus), (status = 200, description = "What it would do", body = WouldReplay))
)]
pub(crate) async fn replay(
    caller: As<Admin>,
    State(api): State<Api>,
    key: IdempotencyKey,
    JsonBytes(body): JsonBytes,
) -> Result<Response, Problem> {
    let asked: ReplayBody = json(&body)?;
    let every_ms = asked.rate.as_deref().map(rate).transpose()?.unwrap_or(0);
    let (dry_run, accept_duplicates, note) = (asked.dry_run, asked.accept_duplicates, asked.note.clone());
    let request = choice(asked.ids, asked.filter)?;
    let request = ReplayRequest { every_ms, accept_duplicates, note: noted(note)?, ..request };
    if dry_run {
        let Matched { matched, needs_accept_duplicates } = api.engine().count_dead_letters(&caller.0, &request).await?;
        return Ok(Json(WouldReplay { dry_run: true, matched, needs_accept_duplicates }).into_response());
    }
    let held = key.hold(&api, &caller.0, &body)?;
    let replay = api.engine().start_replay(&caller.0, request, Held::once(held.as_ref())).await?;
    Ok((StatusCode::ACCEPTED, Json(ReplayStatus::from(&replay))).into_response())
}

/// Follows a replay
#[utoipa::path(get, path = "/api/v1/dlq/replays/{id}", tag = "dead letters", params(("id" = String, Path, description = "The replay's id")), responses((status = 200, description = "How far it is", body = ReplayStatus)))]
pub(crate) async fn follow(caller: As<Admin>, State(api): State<Api>, Id(id): Id<ReplayId>) -> Result<Json<ReplayStatus>, Problem> {
    Ok(Json(ReplayStatus::from(&api.engine().replay(&caller.0, id).await?)))
}

/// Stops a replay
///
/// What it has queued is sent, the rest stays dead. One that has finished cannot be stopped any more: 409.
#[utoipa::path(delete, path = "/api/v1/dlq/replays/{id}", tag = "dead letters", params(("id" = String, Path, description = "The replay's id")), responses((status = 200, description = "How far it came", body = ReplayStatus)))]
pub(crate) async fn stop(caller: As<Admin>, State(api): State<Api>, Id(id): Id<ReplayId>) -> Result<Json<ReplayStatus>, Problem> {
    let replay = api.engine().stop_replay(&caller.0, id).await?;
    if replay.state == ReplayState::Finished {
        return Err(Problem::new(StatusCode::CONFLICT, "REPLAY_FINISHED", "the replay has finished, so there is nothing to stop"));
    }
    Ok(Json(ReplayStatus::from(&replay)))
}

/// Gives dead letters up
#[utoipa::path(post, path = "/api/v1/dlq/discard", tag = "dead letters", request_body = DiscardBody, responses((status = 200, description = "What was done, or would be", body = DiscardAnswer)))]
pub(crate) async fn discard(caller: As<Admin>, State(api): State<Api>, JsonBytes(body): JsonBytes) -> Result<Json<DiscardAnswer>, Problem> {
    let asked: DiscardBody = json(&body)?;
    let (dry_run, note) = (asked.dry_run, noted(asked.note)?);
    let request = choice(asked.ids, asked.filter)?;
    let found = api.engine().matching(&caller.0, &request).await?;
    let matched = found.iter().filter(|letter| letter.may_duplicate.is_some()).count() as u64;
    if dry_run {
        return Ok(Json(DiscardAnswer { dry_run, matched, discarded: 0 }));
    }
    let mut discarded = 0;
    for found in found.chunks(STEP) {
        let ids = found.iter().map(|letter| letter.id).collect();
        let results = api.engine().repair(&caller.0, ids, RepairAction::Discard, note.clone()).await?;
        discarded += results.iter().filter(|r| **r == Repaired::Done).count() as u64;
    }
    Ok(Json(DiscardAnswer { dry_run, matched, discarded }))
}

/// The dead letters that a body names, or the filters that it has; one of both.
fn choice(ids: Option<Vec<String>>, filter: Option<FilterBody>) -> Result<ReplayRequest, Problem> {
    match (ids, filter) {
        (Some(_), Some(_)) | (None, None) => {
            Err(Problem::field("", "CHOICE_REQUIRED", "give either `ids` or `filter`; an empty filter means all dead letters"))
        }
        (Some(ids), None) => {
            if ids.is_empty() || ids.len() > IDS_MAX {
                return Err(Problem::field("/ids", "INVALID_IDS", format!("name 1 to {IDS_MAX} dead letters, or give a filter")));
            }
            let parse = |(at, id): (usize, &String)| {
                id.parse::<DeliveryId>().map_err(|why| Problem::field(format!("/ids/{at}"), "INVALID_ID", why.to_string()))
            };
            let ids = ids.iter().enumerate().map(parse).collect::<Result<_, _>>()?;
            Ok(ReplayRequest { ids, ..ReplayRequest::default() })
        }
        (None, Some(filter)) => {
            let time = |name: &str, text: &Option<String>| {
                let wrong = |mut problem: Problem| {
                    problem.errors.iter_mut().for_each(|e| e.pointer = format!("/filter/{name}"));
                    problem
                };
                millis(name, text.as_deref()).map_err(wrong)
            };
            let (since_ms, until_ms) = (time("since", &filter.since)?, time("until", &filter.until)?);
            // No webhook can be dead where none is taken: what asks for them asks for what died before there was time.
            let none = filter.kind == Some(Kind::Webhook) || filter.source.is_some();
            let until_ms = if none { Some(0) } else { until_ms };
            let filter = DeadLetterQuery {
                reason: filter.reason,
                destination: filter.destination,
                since_ms,
                until_ms,
                ..DeadLetterQuery::default()
            };
            Ok(ReplayRequest { filter, ..ReplayRequest::default() })
        }
    }
}

/// `50/s` as milliseconds between two.
fn rate(text: &str) -> Result<i64, Problem> {
    let spacing = text.parse::<Rate>().ok().and_then(Rate::spacing_ms);
    spacing.ok_or_else(|| Problem::field("/rate", "INVALID_RATE", "write the rate as 50/s, 100/m or 1000/h, at most one a millisecond"))
}

fn noted(note: Option<String>) -> Result<Option<Arc<str>>, Problem> {
    match note {
        Some(note) if note.chars().count() > 500 || note.chars().any(char::is_control) => {
            Err(Problem::field("/note", "INVALID_NOTE", "the note is longer than 500 characters or has control characters"))
        }
        note => Ok(note.map(Arc::from)),
    }
}

/// What died.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A delivery.
    Delivery,
    /// A received webhook.
    Webhook,
}

/// Which dead letters.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct DlqFilter {
    /// Only of this kind
    #[param(inline)]
    kind: Option<Kind>,
    /// Only with this reason, for example INVALID_GCLID
    reason: Option<String>,
    /// Only of this source
    source: Option<String>,
    /// Only of this destination
    destination: Option<String>,
    /// Only those that died since
    #[param(format = DateTime)]
    since: Option<String>,
    /// Only those that died before
    #[param(format = DateTime)]
    until: Option<String>,
    /// Where the page before ended
    cursor: Option<String>,
    /// How many at most
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

/// Whether personal data is shown.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Reveal {
    /// Show who the person is
    #[serde(default)]
    #[param(required = false)]
    reveal: bool,
}

/// Which dead letters are sent again, and how: either `ids` or `filter`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"filter": {"reason": "INVALID_GCLID"}, "dry_run": true, "rate": "50/s"}))]
pub struct ReplayBody {
    /// These.
    #[schema(min_items = 1, max_items = 10000)]
    ids: Option<Vec<String>>,
    /// All that the filter leaves; an empty one means all.
    filter: Option<FilterBody>,
    /// Only count.
    #[serde(default)]
    #[schema(required = false)]
    dry_run: bool,
    /// No faster than this.
    #[schema(pattern = "^[1-9][0-9]{0,3}/[smh]$", example = "50/s")]
    rate: Option<String>,
    /// Also those whose outcome is unknown and which the platform no longer recognises: they may count twice.
    #[serde(default)]
    #[schema(required = false)]
    accept_duplicates: bool,
    /// Why, for the audit log; no personal data.
    #[schema(max_length = 500)]
    note: Option<String>,
}

/// Which dead letters.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FilterBody {
    /// Only of this kind.
    kind: Option<Kind>,
    /// Only with this reason.
    reason: Option<String>,
    /// Only of this source.
    source: Option<String>,
    /// Only of this destination.
    destination: Option<String>,
    /// Only those that died since.
    #[schema(format = DateTime)]
    since: Option<String>,
    /// Only those that died before.
    #[schema(format = DateTime)]
    until: Option<String>,
}

/// Which dead letters are given up: either `ids` or `filter`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DiscardBody {
    /// These.
    #[schema(min_items = 1, max_items = 10000)]
    ids: Option<Vec<String>>,
    /// All that the filter leaves; an empty one means all.
    filter: Option<FilterBody>,
    /// Only count.
    #[serde(default)]
    #[schema(required = false)]
    dry_run: bool,
    /// Why, for the audit log; no personal data.
    #[schema(max_length = 500)]
    note: Option<String>,
}

/// What a replay would do.
#[derive(Debug, Serialize, ToSchema)]
pub struct WouldReplay {
    /// Always true.
    dry_run: bool,
    /// Dead letters that match.
    matched: u64,
    /// Of them, those that would only be sent with `accept_duplicates`.
    needs_accept_duplicates: u64,
}

/// What was given up.
#[derive(Debug, Serialize, ToSchema)]
pub struct DiscardAnswer {
    /// Whether nothing was done.
    dry_run: bool,
    /// Dead letters that matched.
    matched: u64,
    /// Those that were given up.
    discarded: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_as_time_between_two_and_never_faster_than_the_clock_ticks() {
        for (text, every_ms) in [("50/s", 20), ("1000/s", 1), ("60000/m", 1), ("1/h", 3_600_000)] {
            assert_eq!(rate(text).ok(), Some(every_ms), "{text}");
        }
        for text in ["0/s", "01/s", "+5/s", "1001/s", "5/d", "5", "/s", "s/5", ""] {
            assert!(rate(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_asks_for_dead_webhooks_matches_nothing() {
        let filter = |json: &str| choice(None, Some(serde_json::from_str(json).unwrap())).unwrap().filter.until_ms;
        assert_eq!(filter(r#"{"kind":"webhook"}"#), Some(0));
        assert_eq!(filter(r#"{"source":"shop"}"#), Some(0));
        assert_eq!(filter(r#"{"kind":"delivery"}"#), None);
    }
}
