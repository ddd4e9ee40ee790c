//! The sandbox's routes and handlers.

use std::{collections::HashMap, sync::Arc, time::Duration};

use axum::{
    Form, Router,
    body::Bytes,
    extract::{ConnectInfo, DefaultBodyLimit, Query, State, rejection::FormRejection},
    http::{HeaderMap, StatusCode, header},
    response::Response,
    routing::{get, post},
};
use jiff::Timestamp;
use serde_json::json;
use tokio::time::Instant;

use super::{
    Fault,
    answer::{self, Violation},
    ingest,
    line::Line,
    oauth,
    options::Access,
    wire::PayloadError,
    world::{World, is_out},
};

/// 2000 events with ten identifiers each are about 4 MB.
const MAX_BODY: usize = 32 << 20;
const LONGEST_HANG: Duration = Duration::from_secs(300);

pub(super) fn router(world: Arc<World>) -> Router {
    Router::new()
        .route("/v1/events:ingest", post(ingest_events))
        .route("/v1/requestStatus:retrieve", get(retrieve_status))
        .route("/token", post(token))
        .fallback(async || answer::no_method())
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(world)
}

async fn ingest_events(State(world): State<Arc<World>>, ConnectInfo(line): ConnectInfo<Line>, headers: HeaderMap, body: Bytes) -> Response {
    let fault = world.state().next_fault();
    if let Some(fault) = fault.filter(|fault| !fault.commits()) {
        return suffer(&world, &line, fault).await;
    }
    let answer = match refusal(&world, &headers, "IngestEvents") {
        Some(refusal) => {
            world.state().counters.requests_refused += 1;
            refusal
        }
        None if !is_json(&headers) => {
            world.state().counters.requests_refused += 1;
            let description = "Invalid content type; application/json is expected.".to_owned();
            answer::bad_payload(&PayloadError { field: String::new(), description })
        }
        None => ingest::process(&world, &body),
    };
    match fault {
        Some(fault) => suffer(&world, &line, fault).await,
        None => answer,
    }
}

async fn retrieve_status(State(world): State<Arc<World>>, headers: HeaderMap, Query(query): Query<HashMap<String, String>>) -> Response {
    let out = {
        let mut state = world.state();
        state.counters.polls += 1;
        is_out(&mut state.poll_outage)
    };
    if out {
        return answer::unavailable();
    }
    if let Some(refusal) = refusal(&world, &headers, "RetrieveRequestStatus") {
        return refusal;
    }
    let id = query.get("requestId").or_else(|| query.get("request_id")).map(String::as_str).unwrap_or_default();
    let mut state = world.state();
    let (indices, located) = (state.options.record_indices, !state.options.omit_locations);
    if let Some(taken) = state.taken.get_mut(id) {
        return answer::json(StatusCode::OK, &taken.poll(Instant::now(), indices));
    }
    let violation =
        Violation { field: "request_id".into(), description: "The request ID is unknown.".into(), reason: "INVALID_REQUEST_ID".into() };
    answer::violations(&world.fresh_request_id(), &[violation], located)
}

async fn token(State(world): State<Arc<World>>, form: Result<Form<oauth::Form>, FormRejection>) -> Response {
    let fresh = world.fresh_token();
    let form = form.map(|Form(form)| form).unwrap_or_default();
    let mut state = world.state();
    let state = &mut *state;
    if is_out(&mut state.token_outage) {
        state.counters.tokens_refused += 1;
        let body = json!({ "error": "temporarily_unavailable", "error_description": "Try again later." });
        return answer::json(StatusCode::SERVICE_UNAVAILABLE, &body);
    }
    match state.tokens.grant(&form, &state.options, &fresh, Timestamp::now().as_second()) {
        Ok(answer) => {
            state.counters.tokens_issued += 1;
            answer::json(StatusCode::OK, &answer)
        }
        Err(refusal) => {
            state.counters.tokens_refused += 1;
            let status = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::BAD_REQUEST);
            answer::json(status, &json!({ "error": refusal.error, "error_description": refusal.description }))
        }
    }
}

/// What speaks against the caller rather than the request.
fn refusal(world: &World, headers: &HeaderMap, method: &str) -> Option<Response> {
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(|value| value.strip_prefix("Bearer "));
    let Some(token) = bearer else {
        return Some(answer::unauthenticated("CREDENTIALS_MISSING", method));
    };
    let state = world.state();
    if !state.tokens.is_live(token) {
        return Some(answer::unauthenticated("ACCESS_TOKEN_EXPIRED", method));
    }
    match state.options.access {
        Access::Granted => None,
        Access::ScopeMissing => Some(answer::scope_missing(method)),
        Access::ServiceDisabled => Some(answer::service_disabled()),
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

async fn suffer(world: &World, line: &Line, fault: Fault) -> Response {
    match fault {
        Fault::Unavailable503 => answer::unavailable(),
        Fault::Html502 => answer::bad_gateway(),
        Fault::GarbageAfterCommit => answer::garbage(),
        Fault::Quota429 { retry_delay } => answer::quota(retry_delay),
        Fault::ExpiredToken401 => {
            world.state().tokens.expire_all();
            answer::unauthenticated("ACCESS_TOKEN_EXPIRED", "IngestEvents")
        }
        Fault::ResetBefore | Fault::ResetAfterCommit => {
            line.cut();
            answer::unavailable()
        }
        Fault::Hang(time) | Fault::HangAfterCommit(time) => {
            hang(world, time).await;
            line.cut();
            answer::unavailable()
        }
    }
}

/// Until the time is over or the sandbox stops.
async fn hang(world: &World, time: Duration) {
    let mut stopped = world.stopped.clone();
    tokio::select! {
        () = tokio::time::sleep(time.min(LONGEST_HANG)) => {}
        _ = stopped.changed() => {}
    }
}
