//! The outermost layer: request ids, panics, the bodies of errors, security headers, and the log.

use std::{panic::AssertUnwindSafe, time::Instant};

use axum::{
    body::Body,
    extract::{Request, State},
    http::{HeaderName, HeaderValue, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use futures_util::FutureExt;

use crate::{Api, error::Problem, handlers::system::OwnBody};

/// The request's id: every answer has it, and every log line.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longest id that is taken over from a client.
const ID_MAX: usize = 128;
/// Pages of the API's browser run their own scripts and styles; everything else runs nothing.
const DOCS_POLICY: &str = "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";
const POLICY: &str = "default-src 'none'; frame-ancestors 'none'";

pub(crate) async fn edge(State(api): State<Api>, mut request: Request, next: Next) -> Response {
    let id = request.headers().get(REQUEST_ID).filter(|id| is_valid(id)).cloned().unwrap_or_else(new_id);
    let (method, path, started) = (request.method().clone(), request.uri().path().to_owned(), Instant::now());
    request.headers_mut().insert(REQUEST_ID, id.clone());
    let mut response = guarded(&id, next.run(request)).await;
    let failed = response.status().is_client_error() || response.status().is_server_error();
    if failed && response.extensions().get::<OwnBody>().is_none() {
        response = told(response, &id);
    }
    let status = response.status().as_u16();
    let elapsed_us = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
    if response.status().is_server_error() {
        tracing::warn!(%method, path, status, elapsed_us, request_id = ?id, "answered");
    } else {
        tracing::debug!(%method, path, status, elapsed_us, request_id = ?id, "answered");
    }
    let policy = if path.starts_with("/docs") { DOCS_POLICY } else { POLICY };
    secure(&mut response, policy, api.is_tls());
    response.headers_mut().insert(REQUEST_ID, id);
    response
}

/// What panics answers 500 and says no more than its id; the panic itself is in the log.
pub(crate) async fn guarded(id: &HeaderValue, answer: impl Future<Output = Response>) -> Response {
    AssertUnwindSafe(answer).catch_unwind().await.unwrap_or_else(|_| {
        tracing::error!(request_id = ?id, "a handler panicked");
        Problem::internal().into_response()
    })
}

fn is_valid(id: &HeaderValue) -> bool {
    let allowed = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b':');
    (1..=ID_MAX).contains(&id.len()) && id.as_bytes().iter().all(allowed)
}

fn new_id() -> HeaderValue {
    let id = format!("req_{:032x}", rand::random::<u128>());
    HeaderValue::from_str(&id).unwrap_or(HeaderValue::from_static("req"))
}

/// Writes the body of an error.
fn told(response: Response, id: &HeaderValue) -> Response {
    let (mut parts, _) = response.into_parts();
    let problem = parts.extensions.remove::<Problem>().unwrap_or_else(|| Problem::of_status(parts.status));
    let body = problem.body(id.to_str().unwrap_or_default());
    parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    parts.headers.remove(header::CONTENT_LENGTH);
    if let Some(seconds) = problem.retry_after {
        parts.headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    if parts.status == axum::http::StatusCode::UNAUTHORIZED {
        let challenge = if problem.code == "TOKEN_MISSING" {
            "Bearer realm=\"adsengineer\""
        } else {
            "Bearer realm=\"adsengineer\", error=\"invalid_token\""
        };
        parts.headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    }
    Response::from_parts(parts, Body::from(body))
}

fn secure(response: &mut Response, policy: &'static str, tls: bool) {
    let headers = response.headers_mut();
    let mut set = |name: HeaderName, value: &'static str| {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    };
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(header::REFERRER_POLICY, "no-referrer");
    set(header::CONTENT_SECURITY_POLICY, policy);
    set(header::X_FRAME_OPTIONS, "DENY");
    set(header::CACHE_CONTROL, "no-store");
    if tls {
        set(header::STRICT_TRANSPORT_SECURITY, "max-age=31536000");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_clients_are_kept_if_they_are_short_and_plain() {
        for good in ["a", "7f3a-9.b_c:1", &"x".repeat(ID_MAX)] {
            assert!(is_valid(&HeaderValue::from_str(good).unwrap()), "{good}");
        }
        for bad in ["", "a b", "a\"b", "<script>", &"x".repeat(ID_MAX + 1)] {
            assert!(!is_valid(&HeaderValue::from_str(bad).unwrap()), "{bad}");
        }
        assert!(is_valid(&new_id()) && new_id() != new_id());
    }
}
