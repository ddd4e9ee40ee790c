//! The only mapping of what went wrong to HTTP: RFC 9457 problems.
//!
//! A [`Problem`] answers with its status and itself as an extension; the outermost layer writes the body, so that every
//! error of every origin has the same shape and its request id. A 5xx never says what happened inside.

use adsengineer_core::{
    engine::EngineError,
    lead::{BodyError, FieldError},
    store::StoreError,
};
use axum::{
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Serialize;

/// Why a request was not done.
#[derive(Clone, Debug)]
pub struct Problem {
    /// The HTTP status.
    pub status: StatusCode,
    /// Stable, UPPER_SNAKE.
    pub code: &'static str,
    /// What happened and what to do; never personal data.
    pub detail: String,
    /// When to try again, in seconds.
    pub retry_after: Option<u64>,
    /// What is wrong with which field.
    pub errors: Vec<FieldError>,
}

/// The body of a problem (RFC 9457).
#[derive(Serialize)]
struct Body<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    code: &'a str,
    request_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<u64>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [FieldError],
}

impl Problem {
    /// A problem without further members.
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, detail: detail.into(), retry_after: None, errors: Vec::new() }
    }

    /// Says when to try again.
    #[must_use]
    pub fn retry_after(self, seconds: u64) -> Self {
        Self { retry_after: Some(seconds), ..self }
    }

    /// Something inside failed; what it was is in the log, under the request's id.
    pub fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL", "something failed here; the request id finds it in the log")
    }

    /// Too much is going on.
    pub fn overloaded() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "OVERLOADED", "too much is going on; nothing was done, try again").retry_after(1)
    }

    /// The limiter cannot be asked, so nothing is let through.
    pub fn no_limiter() -> Self {
        let detail = "the rate limiter cannot be asked; nothing was done, try again";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "RATE_LIMIT_CONFIG_ERROR", detail).retry_after(60)
    }

    /// There is nothing at this address, or it belongs to somebody else.
    pub fn not_found(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "NOT_FOUND", format!("there is no {what}"))
    }

    /// One field of the query or path cannot be used.
    pub fn field(pointer: impl Into<String>, code: &'static str, detail: impl Into<String>) -> Self {
        let error = FieldError { pointer: pointer.into(), code, detail: detail.into() };
        let errors = vec![error];
        Self { errors, ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, "VALIDATION_FAILED", "a field cannot be used; nothing was done") }
    }

    /// What a status says where nobody said more.
    pub(crate) fn of_status(status: StatusCode) -> Self {
        let (code, detail) = match status {
            StatusCode::BAD_REQUEST => ("BAD_REQUEST", "the request cannot be read"),
            StatusCode::NOT_FOUND => ("NOT_FOUND", "there is nothing at this address"),
            StatusCode::METHOD_NOT_ALLOWED => {
                ("METHOD_NOT_ALLOWED", "this address does not know the method; the `allow` header names those it knows")
            }
            StatusCode::PAYLOAD_TOO_LARGE => ("BODY_TOO_LARGE", "the body is larger than this server reads"),
            StatusCode::URI_TOO_LONG => ("URI_TOO_LONG", "the address is longer than this server reads"),
            _ if status.is_server_error() => return Self { status, ..Self::internal() },
            _ => ("REQUEST_REFUSED", "the request was refused"),
        };
        Self::new(status, code, detail)
    }

    /// The body.
    pub(crate) fn body(&self, request_id: &str) -> Vec<u8> {
        let body = Body {
            r#type: format!("urn:adsengineer:problem:{}", self.code.to_ascii_lowercase()),
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            detail: &self.detail,
            code: self.code,
            request_id,
            retry_after: self.retry_after,
            errors: &self.errors,
        };
        serde_json::to_vec(&body).unwrap_or_default()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl From<BodyError> for Problem {
    fn from(error: BodyError) -> Self {
        let detail = error.to_string();
        match error {
            BodyError::Invalid(errors) => invalid(errors),
            BodyError::TooMany { .. } => Self::new(StatusCode::UNPROCESSABLE_ENTITY, "TOO_MANY_ITEMS", detail),
            _ => Self::new(StatusCode::BAD_REQUEST, "MALFORMED_JSON", detail),
        }
    }
}

/// What is wrong with fields.
fn invalid(errors: Vec<FieldError>) -> Problem {
    let detail = format!("{} of the body's fields cannot be used; nothing was done", errors.len());
    Problem { errors, ..Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "VALIDATION_FAILED", detail) }
}

/// What a sound request names and does not find, or finds in a state that it cannot be used in.
fn unmatched(errors: Vec<FieldError>) -> Problem {
    if errors.iter().any(|error| matches!(error.code, "LEAD_NOT_FOUND" | "UNKNOWN_DESTINATION")) {
        let problem = Problem::new(StatusCode::NOT_FOUND, "NOT_FOUND", "the request names something that is not there; nothing was done");
        return Problem { errors, ..problem };
    }
    let problem = Problem::new(StatusCode::CONFLICT, "CONFLICT", "the request does not fit what it names; nothing was done");
    Problem { errors, ..problem }
}

impl From<EngineError> for Problem {
    fn from(error: EngineError) -> Self {
        let conflict = |code, error: &EngineError| Self::new(StatusCode::CONFLICT, code, error.to_string());
        match error {
            EngineError::Forbidden { needed, .. } => forbidden(needed.as_str()),
            EngineError::Invalid(errors) => unmatched(errors),
            EngineError::Refused(ref refusal) => Self::field("/action", "UNKNOWN_ACTION", refusal.to_string()),
            EngineError::NoDestination { ref name, .. } => Self::not_found(&format!("destination `{name}`")),
            EngineError::NotFound(ref what) => Self::not_found(what),
            EngineError::KeyReused => conflict("IDEMPOTENCY_KEY_REUSED", &error),
            EngineError::Status { .. } => conflict("INVALID_STATUS_CHANGE", &error),
            EngineError::TooManyRevoked => conflict("TOO_MANY_REVOKED", &error),
            EngineError::TooMany { .. } => conflict("TOO_MANY", &error),
            EngineError::OpenDeliveries(_) => conflict("OPEN_DELIVERIES", &error),
            EngineError::Store(error) => error.into(),
            other => {
                tracing::error!(error = %other, "an operation failed");
                Self::internal()
            }
        }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Busy => Self::overloaded(),
            StoreError::Unavailable(why) | StoreError::DiskFull(why) => {
                tracing::error!(why, "the database cannot be used");
                let detail = "the database cannot be used now; nothing was done, try again";
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "DATABASE_UNAVAILABLE", detail).retry_after(5)
            }
            StoreError::Conflict(why) => Self::new(StatusCode::CONFLICT, "CONFLICT", why),
            StoreError::NotFound(what) => Self::not_found(&what),
            other => {
                tracing::error!(error = %other, "the database cannot be used");
                Self::internal()
            }
        }
    }
}

/// The caller's role is too low.
pub(crate) fn forbidden(needed: &str) -> Problem {
    Problem::new(StatusCode::FORBIDDEN, "FORBIDDEN", format!("this needs the role {needed} or a higher one"))
}

#[cfg(test)]
mod tests {
    use adsengineer_core::{
        engine::{MOST_REVOKED, Refusal},
        lead::LeadStatus,
        org::Role,
    };

    use super::*;

    fn told(problem: &Problem) -> (u16, &'static str, Option<u64>) {
        (problem.status.as_u16(), problem.code, problem.retry_after)
    }

    #[test]
    fn what_the_engine_refuses_has_a_status_and_a_code() {
        let refusal = Refusal::UnknownAction { destination: "shop".into(), action: "Sale".into() };
        for (error, expected) in [
            (EngineError::Forbidden { needed: Role::Admin, has: Role::Viewer }, (403, "FORBIDDEN", None)),
            (EngineError::Refused(refusal), (422, "VALIDATION_FAILED", None)),
            (EngineError::NoDestination { name: "till".into(), names: vec!["shop".into()] }, (404, "NOT_FOUND", None)),
            (EngineError::NotFound("lead `x`".into()), (404, "NOT_FOUND", None)),
            (EngineError::KeyReused, (409, "IDEMPOTENCY_KEY_REUSED", None)),
            (EngineError::Status { from: LeadStatus::Won, to: LeadStatus::New }, (409, "INVALID_STATUS_CHANGE", None)),
            (EngineError::TooManyRevoked, (409, "TOO_MANY_REVOKED", None)),
            (EngineError::TooMany { what: "rules", most: 3 }, (409, "TOO_MANY", None)),
            (EngineError::Store(StoreError::Busy), (503, "OVERLOADED", Some(1))),
        ] {
            assert_eq!(told(&error.into()), expected);
        }
        assert!(Problem::from(EngineError::TooManyRevoked).detail.contains(&MOST_REVOKED.to_string()));
    }

    #[test]
    fn an_unknown_destination_does_not_name_the_known_ones() {
        let problem = Problem::from(EngineError::NoDestination { name: "till".into(), names: vec!["shop".into()] });
        assert_eq!(problem.detail, "there is no destination `till`");
    }

    #[test]
    fn what_is_wrong_with_the_database_stays_inside() {
        let secret = || "/var/lib/adsengineer/db.sqlite at 10.0.0.1".to_owned();
        for (error, expected) in [
            (StoreError::Unavailable(secret()), (503, "DATABASE_UNAVAILABLE", Some(5))),
            (StoreError::DiskFull(secret()), (503, "DATABASE_UNAVAILABLE", Some(5))),
            (StoreError::Damaged(secret()), (500, "INTERNAL", None)),
            (StoreError::Schema(secret()), (500, "INTERNAL", None)),
        ] {
            let problem = Problem::from(error);
            assert_eq!(told(&problem), expected);
            assert!(!problem.detail.contains("10.0.0.1") && !problem.detail.contains("/var"), "{}", problem.detail);
        }
        let io = EngineError::Lock(std::io::Error::other(secret()));
        assert_eq!(told(&io.into()), (500, "INTERNAL", None));
        assert_eq!(told(&StoreError::Conflict("it runs".to_owned()).into()), (409, "CONFLICT", None));
        assert_eq!(told(&StoreError::NotFound("rule `x`".to_owned()).into()), (404, "NOT_FOUND", None));
    }

    #[test]
    fn every_status_that_a_library_answers_has_a_problem() {
        for (status, code) in [
            (400, "BAD_REQUEST"),
            (404, "NOT_FOUND"),
            (405, "METHOD_NOT_ALLOWED"),
            (413, "BODY_TOO_LARGE"),
            (414, "URI_TOO_LONG"),
            (418, "REQUEST_REFUSED"),
            (500, "INTERNAL"),
            (504, "INTERNAL"),
        ] {
            let problem = Problem::of_status(StatusCode::from_u16(status).unwrap());
            assert_eq!(told(&problem), (status, code, None));
        }
    }

    #[test]
    fn the_body_of_a_problem_is_as_rfc_9457_has_it() {
        let problem = Problem::field("/email", "INVALID_EMAIL", "no address").retry_after(3);
        let body: serde_json::Value = serde_json::from_slice(&problem.body("req_1")).unwrap();
        let expected = serde_json::json!({
            "type": "urn:adsengineer:problem:validation_failed", "title": "Unprocessable Entity", "status": 422,
            "detail": "a field cannot be used; nothing was done", "code": "VALIDATION_FAILED", "request_id": "req_1", "retry_after": 3,
            "errors": [{"pointer": "/email", "code": "INVALID_EMAIL", "detail": "no address"}]
        });
        assert_eq!(body, expected);
    }

    #[test]
    fn what_a_sound_request_names_and_does_not_find_is_missing_or_a_conflict() {
        let error = |code| FieldError { pointer: "/lead_id".to_owned(), code, detail: String::new() };
        let missing = Problem::from(EngineError::Invalid(vec![error("UNKNOWN_ACTION"), error("LEAD_NOT_FOUND")]));
        assert_eq!((missing.status.as_u16(), missing.code, missing.errors.len()), (404, "NOT_FOUND", 2));
        let unfit = Problem::from(EngineError::Invalid(vec![error("UNKNOWN_ACTION")]));
        assert_eq!((unfit.status.as_u16(), unfit.code), (409, "CONFLICT"));
    }
}
