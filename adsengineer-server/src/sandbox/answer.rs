//! Answers in Google's error shape: `google.rpc.Status` with `ErrorInfo`, `RequestInfo`, `BadRequest` and `RetryInfo`.

use std::{borrow::Cow, time::Duration};

use axum::{
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use super::wire::PayloadError;

const API: &str = "datamanager.googleapis.com";

/// One reason why nothing of a request was processed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Violation {
    /// The place, as `events.events[3].ad_identifiers.gclid`.
    pub(super) field: String,
    pub(super) description: Cow<'static, str>,
    /// A value of `ErrorReason`.
    pub(super) reason: Cow<'static, str>,
}

/// An answer that is JSON.
pub(super) fn json(status: StatusCode, body: &Value) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json; charset=UTF-8")], body.to_string()).into_response()
}

/// 200 for a request that was taken.
pub(super) fn taken(request_id: &str) -> Response {
    json(StatusCode::OK, &json!({ "requestId": request_id }))
}

/// 400 of the front end: the body is not the message.
pub(super) fn bad_payload(error: &PayloadError) -> Response {
    let violation = if error.field.is_empty() {
        json!({ "description": error.description })
    } else {
        json!({ "field": error.field, "description": error.description })
    };
    status(400, "INVALID_ARGUMENT", &error.description, &[bad_request(&[violation])])
}

/// 400 of the API: the message breaks rules. `located` is false where Google leaves the places out.
pub(super) fn violations(request_id: &str, violations: &[Violation], located: bool) -> Response {
    let shown: Vec<Value> = violations
        .iter()
        .map(|it| {
            let mut shown = json!({ "description": it.description, "reason": it.reason });
            if located {
                shown["field"] = json!(it.field);
            }
            shown
        })
        .collect();
    let details = [
        error_info("INVALID_ARGUMENT", API, &json!({ "requestId": request_id })),
        json!({ "@type": "type.googleapis.com/google.rpc.RequestInfo", "requestId": request_id }),
        bad_request(&shown),
    ];
    status(400, "INVALID_ARGUMENT", "There was a problem with the request.", &details)
}

/// 401, `reason` as `ACCESS_TOKEN_EXPIRED` or `CREDENTIALS_MISSING`.
pub(super) fn unauthenticated(reason: &str, method: &str) -> Response {
    let text = "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid authentication credential.";
    let mut answer = status(401, "UNAUTHENTICATED", text, &[error_info(reason, "googleapis.com", &served(method))]);
    let challenge = header::HeaderValue::from_static("Bearer realm=\"https://accounts.google.com/\"");
    answer.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    answer
}

/// 403 for a token whose grant lacks the Data Manager scope.
pub(super) fn scope_missing(method: &str) -> Response {
    let info = error_info("ACCESS_TOKEN_SCOPE_INSUFFICIENT", "googleapis.com", &served(method));
    status(403, "PERMISSION_DENIED", "Request had insufficient authentication scopes.", &[info])
}

/// 403 for a project in which the API is switched off.
pub(super) fn service_disabled() -> Response {
    let text = "Data Manager API has not been used in project 123456789012 before or it is disabled.";
    let metadata = json!({ "service": API, "consumer": "projects/123456789012" });
    status(403, "PERMISSION_DENIED", text, &[error_info("SERVICE_DISABLED", "googleapis.com", &metadata)])
}

/// 429 with the quota's name, and the wait where Google says one.
pub(super) fn quota(retry_delay: Option<Duration>) -> Response {
    let metadata = json!({ "service": API, "quota_limit": "IngestionRequestsPerMinutePerProject", "quota_limit_value": "300" });
    let mut details = vec![error_info("RATE_LIMIT_EXCEEDED", "googleapis.com", &metadata)];
    if let Some(delay) = retry_delay {
        let seconds = format!("{}s", delay.as_secs_f64());
        details.push(json!({ "@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": seconds }));
    }
    status(429, "RESOURCE_EXHAUSTED", "Quota exceeded for quota metric 'Ingestion requests'.", &details)
}

/// 503 of a backend that is away for a moment.
pub(super) fn unavailable() -> Response {
    status(503, "UNAVAILABLE", "The service is currently unavailable.", &[])
}

/// 404 for a path that is no method.
pub(super) fn no_method() -> Response {
    status(404, "NOT_FOUND", "Requested entity was not found.", &[])
}

/// 502 of something between, in HTML.
pub(super) fn bad_gateway() -> Response {
    let page = "<!DOCTYPE html><html lang=en><title>Error 502 (Server Error)!!1</title><p>The server encountered a temporary error.</html>";
    (StatusCode::BAD_GATEWAY, [(header::CONTENT_TYPE, "text/html; charset=UTF-8")], page).into_response()
}

/// 200 whose body cannot be read.
pub(super) fn garbage() -> Response {
    (StatusCode::OK, [(header::CONTENT_TYPE, "application/json; charset=UTF-8")], "{\"requestId\": \"t-\u{fffd}").into_response()
}

fn status(code: u16, name: &str, message: &str, details: &[Value]) -> Response {
    let mut error = json!({ "code": code, "message": message, "status": name });
    if !details.is_empty() {
        error["details"] = json!(details);
    }
    json(StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), &json!({ "error": error }))
}

fn error_info(reason: &str, domain: &str, metadata: &Value) -> Value {
    json!({ "@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason, "domain": domain, "metadata": metadata })
}

fn bad_request(violations: &[Value]) -> Value {
    json!({ "@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": violations })
}

fn served(method: &str) -> Value {
    json!({ "service": API, "method": format!("google.ads.datamanager.v1.IngestionService.{method}") })
}
