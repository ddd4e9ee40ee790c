//! Whether the server lives, can work, and how everything is doing.

use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    Api,
    health::{Condition, Report},
};

/// Says how everything is doing
#[utoipa::path(get, path = "/health", tag = "system", security(), responses((status = 200, description = "Everything works, at least in part", body = Report), (status = 503, description = "Something does not work", body = Report)))]
pub(crate) async fn health(State(api): State<Api>) -> Response {
    let report = api.health().report().await;
    let status = if report.status == Condition::Unhealthy { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    plain(status, &report)
}

/// Says that the process is up
#[utoipa::path(get, path = "/livez", tag = "system", security(), responses((status = 200, description = "It is", body = Alive)))]
pub(crate) async fn livez() -> Json<Alive> {
    Json(Alive { status: "ok" })
}

/// Says whether a durable write is possible
#[utoipa::path(get, path = "/readyz", tag = "system", security(), responses((status = 200, description = "It is", body = Ready), (status = 503, description = "It is not", body = Ready)))]
pub(crate) async fn readyz(State(api): State<Api>) -> Response {
    let check = api.health().database().await;
    let (status, ready) = match check.status {
        Condition::Unhealthy => (StatusCode::SERVICE_UNAVAILABLE, Ready { ready: false, detail: check.detail }),
        _ => (StatusCode::OK, Ready { ready: true, detail: None }),
    };
    plain(status, &ready)
}

/// A body of its own also where the status is an error: watchers read it.
fn plain(status: StatusCode, body: &impl Serialize) -> Response {
    let bytes = serde_json::to_vec(body).unwrap_or_default();
    let mut response = (status, [(header::CONTENT_TYPE, "application/json")], bytes).into_response();
    response.extensions_mut().insert(OwnBody);
    response
}

/// The answer's body is complete although its status is an error.
#[derive(Clone, Copy)]
pub(crate) struct OwnBody;

/// The process is up.
#[derive(Debug, Serialize, ToSchema)]
pub struct Alive {
    /// `ok`.
    status: &'static str,
}

/// Whether a durable write is possible.
#[derive(Debug, Serialize, ToSchema)]
pub struct Ready {
    /// Whether it is.
    ready: bool,
    /// What is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}
