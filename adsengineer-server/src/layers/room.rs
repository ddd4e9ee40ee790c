//! How many requests are worked on at a time, and for how long each.

use axum::{
    extract::{Request, State},
    http::StatusCode,
    middleware::Next,
    response::{IntoResponse, Response},
};

use crate::{Api, error::Problem};

pub(crate) async fn room(State(api): State<Api>, request: Request, next: Next) -> Response {
    let Ok(place) = api.places().clone().try_acquire_owned() else { return Problem::overloaded().into_response() };
    let answer = tokio::time::timeout(api.timeout(), next.run(request)).await;
    drop(place);
    answer.unwrap_or_else(|_| {
        let detail = "the request took too long and was given up; if it was to change something, ask before sending it again";
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "TIMEOUT", detail).retry_after(5).into_response()
    })
}
