//! The OpenAPI document: paths and schemas come from the handlers, what all share is added here.

use std::sync::{Arc, Mutex, PoisonError};

use axum::{
    Router,
    body::Body,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use bytes::Bytes;
use jiff::Timestamp;
use serde_json::Value;
use utoipa::{
    OpenApi, ToSchema,
    openapi::{
        ContentBuilder, HeaderBuilder, ObjectBuilder, Ref, RefOr, Response, ResponseBuilder, ServerBuilder, Type,
        path::{Operation, Parameter, PathItem},
        security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme},
    },
};
use utoipa_swagger_ui::SwaggerUi;

use crate::{Api, router::routes};

mod calendar;
mod exact;
mod links;
mod patterns;
#[cfg(test)]
mod tests;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "AdsEngineer",
        description = "Delivers what happened after an ad click to the ad platforms once, provably, or says why not.\n\nEvery answer carries `x-request-id` and rate-limit headers; every error is a problem of RFC 9457 with a stable `code`.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0")
    ),
    components(schemas(ProblemShape)),
    tags(
        (name = "leads", description = "People's enquiries, with their consent"),
        (name = "conversions", description = "What happened and is worth money, and what becomes of it"),
        (name = "dead letters", description = "Deliveries that need a human"),
        (name = "status", description = "Where everything stands"),
        (name = "destinations", description = "Accounts at ad platforms"),
        (name = "rules", description = "Which change of a lead becomes a conversion"),
        (name = "tokens", description = "Who may use the API"),
        (name = "system", description = "Whether the server works")
    )
)]
struct Base;

/// What went wrong (RFC 9457).
#[derive(ToSchema)]
#[schema(as = Problem)]
#[allow(dead_code, reason = "describes what `error.rs` writes")]
struct ProblemShape {
    /// A URN of the code.
    r#type: String,
    /// The status in words.
    title: String,
    /// The HTTP status.
    status: u16,
    /// What happened and what to do.
    detail: String,
    /// Stable, UPPER_SNAKE.
    #[schema(pattern = "^[A-Z][A-Z0-9_]*$")]
    code: String,
    /// Finds the request in the log.
    request_id: String,
    /// When to try again, in seconds.
    retry_after: Option<u64>,
    /// What is wrong with which field.
    errors: Option<Vec<FieldErrorShape>>,
}

/// What is wrong with a field.
#[derive(ToSchema)]
#[schema(as = FieldError)]
#[allow(dead_code, reason = "describes what `error.rs` writes")]
struct FieldErrorShape {
    /// A JSON pointer into the body, or `?name` for a parameter.
    pointer: String,
    /// Stable, UPPER_SNAKE.
    code: String,
    /// What happened and what to do.
    detail: String,
}

/// The document's beginning.
pub(crate) fn base() -> utoipa::openapi::OpenApi {
    Base::openapi()
}

/// The whole document.
pub fn document(url: Option<&str>) -> Value {
    finish(routes().into_openapi(), url)
}

/// Adds what all operations share, and what types cannot say.
pub(crate) fn finish(document: utoipa::openapi::OpenApi, url: Option<&str>) -> Value {
    let mut document = serde_json::to_value(shared(document, url)).unwrap_or_default();
    exact::bodies(&mut document);
    exact::parameters(&mut document);
    links::name(&mut document);
    links::link(&mut document);
    document
}

fn shared(mut document: utoipa::openapi::OpenApi, url: Option<&str>) -> utoipa::openapi::OpenApi {
    env!("CARGO_PKG_VERSION").clone_into(&mut document.info.version);
    document.servers = url.map(|url| vec![ServerBuilder::new().url(url).build()]);
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("JWT")
        .description(Some("HS256, from `adsengineer token mint`"))
        .build();
    document.components.get_or_insert_default().add_security_scheme("token", SecurityScheme::Http(bearer));
    for (path, item) in &mut document.paths.paths {
        for operation in operations(item) {
            complete(path, operation);
        }
    }
    document
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.get, &mut item.put, &mut item.post, &mut item.delete, &mut item.patch].into_iter().flatten()
}

/// Adds security, errors and headers.
fn complete(path: &str, operation: &mut Operation) {
    let open = operation.security.as_ref().is_some_and(Vec::is_empty) || !path.starts_with("/api/");
    let takes_body = operation.request_body.is_some();
    let is_named = |p: &RefOr<Parameter>| matches!(p, RefOr::T(p) if p.name != "Idempotency-Key");
    let named = operation.parameters.as_ref().is_some_and(|all| all.iter().any(is_named));
    let mut errors = vec![("429", "Too many requests"), ("500", "Something failed here"), ("503", "Not now; nothing was done")];
    if open {
        operation.security = Some(Vec::new());
        errors = vec![("500", "Something failed here")];
    } else {
        operation.security = Some(vec![SecurityRequirement::new("token", Vec::<String>::new())]);
        errors.extend([("401", "No good token"), ("403", "The role is too low")]);
    }
    if takes_body {
        errors.extend([
            ("400", "Not JSON, or an idempotency key that cannot be used"),
            ("409", "It does not fit what is there"),
            ("413", "The body is too large"),
            ("415", "The body is not JSON"),
            ("422", "Fields that cannot be used"),
        ]);
    }
    if named {
        errors.push(("422", "Parameters that cannot be used"));
    }
    if path.contains('{') || (path == "/api/v1/conversions" && takes_body) {
        errors.push(("404", "It is not there, or it is another organization's"));
    }
    let changes = matches!(operation.operation_id.as_deref(), Some("remove" | "check" | "stop" | "revoke"));
    if changes && !path.contains("/rules/") {
        errors.push(("409", "It does not fit what is there"));
    }
    for (status, description) in errors {
        operation.responses.responses.entry(status.to_owned()).or_insert_with(|| RefOr::T(problem(description)));
    }
    for (status, response) in &mut operation.responses.responses {
        if let RefOr::T(response) = response {
            add_headers(status, response);
        }
    }
}

fn problem(description: &str) -> Response {
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    ResponseBuilder::new().description(description).content("application/problem+json", content).build()
}

fn add_headers(status: &str, response: &mut Response) {
    let mut add = |name: &str, kind: Type, description: &str| {
        let header = HeaderBuilder::new().schema(Some(ObjectBuilder::new().schema_type(kind))).description(Some(description)).build();
        response.headers.insert(name.to_owned(), header.into());
    };
    add("x-request-id", Type::String, "Finds the request in the log; a valid incoming one is kept");
    add("RateLimit", Type::String, "What remains of the budget that the request spent (IETF draft)");
    add("RateLimit-Policy", Type::String, "That budget");
    add("X-RateLimit-Limit", Type::Integer, "Requests in the window");
    add("X-RateLimit-Remaining", Type::Integer, "Requests that remain");
    add("X-RateLimit-Reset", Type::Integer, "Seconds until the budget is full, or until the next request fits");
    if matches!(status, "429" | "503") {
        add("Retry-After", Type::Integer, "When to try again, in seconds");
    }
    if status == "401" {
        add("WWW-Authenticate", Type::String, "Bearer");
    }
}

/// The document and its browser.
pub(crate) fn pages(document: Value) -> Router<Api> {
    let today = Arc::new(Today { document, text: Mutex::default() });
    let json = move |State(api): State<Api>| {
        let text = today.text(api.engine().clock().now());
        async move { (StatusCode::OK, [(header::CONTENT_TYPE, "application/json")], Body::from(text)).into_response() }
    };
    let ui: Router<Api> = SwaggerUi::new("/docs").config(utoipa_swagger_ui::Config::from("/openapi.json")).into();
    Router::new().route("/openapi.json", get(json)).merge(ui)
}

/// The document with the times of the day on which it was asked for last.
struct Today {
    document: Value,
    text: Mutex<(i64, Bytes)>,
}

impl Today {
    fn text(&self, now: Timestamp) -> Bytes {
        let day = now.as_second().div_euclid(86_400);
        let mut kept = self.text.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.1.is_empty() || kept.0 != day {
            let mut document = self.document.clone();
            calendar::tell(&mut document, now);
            *kept = (day, document.to_string().into());
        }
        kept.1.clone()
    }
}
