//! What handlers take: callers by role, bodies, queries and ids, each refused with a problem of its own.

use std::marker::PhantomData;

use adsengineer_core::{
    org::{Caller, Role},
    store::Once,
};
use axum::{
    extract::{FromRequest, FromRequestParts, Request},
    http::{Method, StatusCode, header, request::Parts},
};
use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use serde::de::DeserializeOwned;
use serde_path_to_error::Segment;

use crate::{Api, error::Problem, error::forbidden, state::Running};

/// The largest body, in bytes.
pub const BODY_MAX: usize = 4 << 20;

/// A role as a type.
pub trait Permission: Send + Sync + 'static {
    /// The weakest role that suffices.
    const ROLE: Role;
}

macro_rules! permissions {
    ($($name:ident)*) => {$(
        #[doc = concat!("Needs the role ", stringify!($name), " or a higher one.")]
        #[derive(Debug)]
        pub enum $name {}

        impl Permission for $name {
            const ROLE: Role = Role::$name;
        }
    )*};
}

permissions! { Viewer Member Admin Owner }

/// Whoever sent the request; it has at least the role `P`.
#[derive(Debug)]
pub struct As<P: Permission>(pub Caller, PhantomData<P>);

impl<P: Permission, S: Send + Sync> FromRequestParts<S> for As<P> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        match parts.extensions.get::<Caller>() {
            Some(caller) if caller.role() >= P::ROLE => Ok(Self(caller.clone(), PhantomData)),
            Some(_) => Err(forbidden(P::ROLE.as_str())),
            None => Err(no_token()),
        }
    }
}

/// The request has no token.
pub(crate) fn no_token() -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, "TOKEN_MISSING", "the request has no token: send `Authorization: Bearer …`")
}

/// A body that says it is JSON, as bytes; [`BODY_MAX`] at most.
#[derive(Debug)]
pub struct JsonBytes(pub Bytes);

impl<S: Send + Sync> FromRequest<S> for JsonBytes {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        if kind != "application/json" && !(kind.starts_with("application/") && kind.ends_with("+json")) {
            let detail = "the body must be JSON: send `Content-Type: application/json`";
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UNSUPPORTED_MEDIA_TYPE", detail));
        }
        read(request).await.map(Self)
    }
}

async fn read(request: Request) -> Result<Bytes, Problem> {
    let too_large = || {
        let detail = format!("the body is larger than {} MiB; send several requests", BODY_MAX >> 20);
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "BODY_TOO_LARGE", detail)
    };
    let length = request.headers().get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()).and_then(|v| v.parse::<usize>().ok());
    if length.is_some_and(|length| length > BODY_MAX) {
        return Err(too_large());
    }
    match Limited::new(request.into_body(), BODY_MAX).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => Err(too_large()),
        Err(_) => Err(Problem::new(StatusCode::BAD_REQUEST, "BODY_BROKEN", "the connection ended in the middle of the body")),
    }
}

/// A body as `T`.
pub fn json<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    let mut text = serde_json::Deserializer::from_slice(body);
    let read = serde_path_to_error::deserialize(&mut text).map_err(|error| {
        let mut pointer = String::new();
        error.path().iter().for_each(|segment| push(&mut pointer, segment));
        unread(error.inner(), pointer)
    })?;
    text.end().map_err(|error| unread(&error, String::new()))?;
    Ok(read)
}

/// Adds a step to a JSON pointer. Source: RFC 6901, section 3.
fn push(pointer: &mut String, segment: &Segment) {
    let name = match segment {
        Segment::Seq { index } => index.to_string(),
        Segment::Map { key } => key.replace('~', "~0").replace('/', "~1"),
        _ => return,
    };
    pointer.push('/');
    pointer.push_str(&name);
}

/// Why a body cannot be read, and at which field.
fn unread(error: &serde_json::Error, mut pointer: String) -> Problem {
    if error.classify() != serde_json::error::Category::Data {
        let detail = format!("the body is not JSON: it breaks at line {} column {}", error.line(), error.column());
        return Problem::new(StatusCode::BAD_REQUEST, "MALFORMED_JSON", detail);
    }
    let text = error.to_string();
    let (code, name, detail) = match text.split('`').collect::<Vec<_>>()[..] {
        // The place of an unknown field is its own already, that of a repeated or missing one the object's.
        ["unknown field ", ..] => ("UNKNOWN_FIELD", None, "this field is not known here".to_owned()),
        ["duplicate field ", name, ..] => ("DUPLICATE_FIELD", Some(name), "this field stands twice".to_owned()),
        ["missing field ", name, ..] => ("FIELD_REQUIRED", Some(name), "this field is required".to_owned()),
        _ => ("INVALID_TYPE", None, format!("a value of the wrong type at line {} column {}", error.line(), error.column())),
    };
    if let Some(name) = name {
        push(&mut pointer, &Segment::Map { key: name.to_owned() });
    }
    Problem::field(pointer, code, detail)
}

/// A query string as `T`; unknown and repeated parameters are refused.
#[derive(Debug)]
pub struct Query<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let query = axum::extract::Query::<T>::try_from_uri(&parts.uri);
        query.map(|query| Self(query.0)).map_err(|error| {
            let text = error.body_text();
            let detail = text.rsplit("query string: ").next().unwrap_or_default().to_owned();
            let name = match detail.split('`').collect::<Vec<_>>()[..] {
                ["unknown field " | "duplicate field ", name, ..] => name.to_owned(),
                _ => detail
                    .split(':')
                    .next()
                    .filter(|n| n.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'))
                    .unwrap_or_default()
                    .to_owned(),
            };
            let detail =
                if detail.starts_with("unknown field") { "this parameter is not known here" } else { "the parameter cannot be read" };
            Problem::field(format!("?{name}"), "INVALID_PARAMETER", detail)
        })
    }
}

/// A path parameter as an id; what is none names nothing.
#[derive(Debug)]
pub struct Id<T>(pub T);

impl<T: std::str::FromStr + Send, S: Send + Sync> FromRequestParts<S> for Id<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let text = Name::from_request_parts(parts, state).await?.0;
        text.parse().map(Self).map_err(|_| Problem::not_found("such thing"))
    }
}

/// A path parameter as text.
#[derive(Debug)]
pub struct Name(pub String);

impl<S: Send + Sync> FromRequestParts<S> for Name {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = axum::extract::Path::<String>::from_request_parts(parts, state).await;
        path.map(|path| Self(path.0)).map_err(|_| Problem::not_found("such thing"))
    }
}

/// The request's idempotency key, if it has one; quoted and bare are one key.
#[derive(Debug)]
pub struct IdempotencyKey {
    key: Option<String>,
    method: Method,
    path: String,
}

/// Longest idempotency key.
const KEY_MAX: usize = 255;

impl<S: Send + Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let wrong = || {
            let detail = format!("the Idempotency-Key must be 1 to {KEY_MAX} printable ASCII characters, quoted or bare, and stand once");
            Problem::new(StatusCode::BAD_REQUEST, "INVALID_IDEMPOTENCY_KEY", detail)
        };
        let mut values = parts.headers.get_all("idempotency-key").iter();
        let key = match (values.next(), values.next()) {
            (None, _) => None,
            (Some(value), None) => {
                let text = value.to_str().map_err(|_| wrong())?.trim();
                let bare = text.strip_prefix('"').and_then(|t| t.strip_suffix('"')).unwrap_or(text);
                let fits = (1..=KEY_MAX).contains(&bare.len()) && bare.bytes().all(|b| (b' '..=b'~').contains(&b) && b != b'"');
                Some(if fits { bare.to_owned() } else { return Err(wrong()) })
            }
            (Some(_), Some(_)) => return Err(wrong()),
        };
        Ok(Self { key, method: parts.method.clone(), path: parts.uri.path().to_owned() })
    }
}

impl IdempotencyKey {
    /// The key for the engine, held until the request ends: another one with it is told that this one still runs.
    pub(crate) fn hold(&self, api: &Api, caller: &Caller, body: &[u8]) -> Result<Option<Held>, Problem> {
        let Some(key) = &self.key else { return Ok(None) };
        let once = api.engine().once(caller, key, &[self.method.as_str().as_bytes(), self.path.as_bytes(), body]);
        match api.running().hold(once.key) {
            Some(running) => Ok(Some(Held { once, _running: running })),
            None => {
                let detail = "a request with this idempotency key still runs; ask again when it has ended";
                Err(Problem::new(StatusCode::CONFLICT, "IDEMPOTENCY_KEY_IN_USE", detail).retry_after(1))
            }
        }
    }
}

/// An idempotency key in use.
pub(crate) struct Held {
    once: Once,
    _running: Running,
}

impl Held {
    /// The key for the engine.
    pub(crate) fn once(held: Option<&Self>) -> Option<Once> {
        held.map(|held| held.once.clone())
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code, reason = "only read")]
    struct Inner {
        since: String,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code, reason = "only read")]
    struct Outer {
        #[serde(default)]
        ids: Vec<String>,
        #[serde(rename = "a/b~", default)]
        odd: Option<u32>,
        filter: Option<Inner>,
    }

    fn refused(body: &str) -> (u16, String, &'static str) {
        let problem = json::<Outer>(body.as_bytes()).unwrap_err();
        let (pointer, code) = problem.errors.first().map_or((String::new(), problem.code), |error| (error.pointer.clone(), error.code));
        (problem.status.as_u16(), pointer, code)
    }

    #[test]
    fn faults_of_a_body_are_told_by_pointer_however_deep() {
        for (body, pointer, code) in [
            (r#"{"ids":["a",1]}"#, "/ids/1", "INVALID_TYPE"),
            (r#"{"ids":"a"}"#, "/ids", "INVALID_TYPE"),
            (r#"{"a/b~":"x"}"#, "/a~1b~0", "INVALID_TYPE"),
            (r#"{"filter":{"since":1}}"#, "/filter/since", "INVALID_TYPE"),
            (r#"{"filter":{}}"#, "/filter/since", "FIELD_REQUIRED"),
            (r#"{"filter":{"since":"x","more":1}}"#, "/filter/more", "UNKNOWN_FIELD"),
            (r#"{"more":1}"#, "/more", "UNKNOWN_FIELD"),
            (r#"{"ids":[],"ids":[]}"#, "/ids", "DUPLICATE_FIELD"),
            ("1", "", "INVALID_TYPE"),
            ("null", "", "INVALID_TYPE"),
        ] {
            assert_eq!(refused(body), (422, pointer.to_owned(), code), "{body}");
        }
    }

    #[test]
    fn what_is_not_one_json_value_is_malformed() {
        for body in ["", "{", "{} {}", "{}x", "{\"ids\":[}", "\u{feff}{}", "{'ids':[]}"] {
            assert_eq!(refused(body), (400, String::new(), "MALFORMED_JSON"), "{body}");
        }
        assert!(json::<Outer>(b" {\"ids\": []} ").is_ok());
    }
}
