//! Destinations: setting them up, trying them, removing them.

use std::collections::BTreeMap;

use adsengineer_core::{
    destination::{CheckFinding, CustomerId, DestinationKind, DestinationSpec},
    engine::{Credentials, MOST_ACTIONS},
    secret::Secret,
    shape::{Destination, Destinations},
};
use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::{
    Api,
    error::Problem,
    extract::{Admin, As, JsonBytes, Name, Query, Viewer, json},
};

/// Longest name.
const NAME_MAX: usize = 64;

/// Lists destinations
#[utoipa::path(get, path = "/api/v1/destinations", tag = "destinations", responses((status = 200, description = "All of them, by name", body = Destinations)))]
pub(crate) async fn list(caller: As<Viewer>, State(api): State<Api>) -> Result<Json<Destinations>, Problem> {
    let all = api.engine().destinations(&caller.0).await?;
    Ok(Json(Destinations { destinations: all.iter().map(Destination::from).collect(), next_cursor: None }))
}

/// Shows a destination
#[utoipa::path(get, path = "/api/v1/destinations/{name}", tag = "destinations", params(("name" = String, Path, description = "Its name")), responses((status = 200, description = "The destination", body = Destination)))]
pub(crate) async fn show(caller: As<Viewer>, State(api): State<Api>, Name(name): Name) -> Result<Json<Destination>, Problem> {
    Ok(Json(Destination::from(&api.engine().destination(&caller.0, &name).await?)))
}

/// Creates or replaces a destination
///
/// Credentials are stored sealed and never shown: left out they stay as they are, `null` removes them.
#[utoipa::path(
    put, path = "/api/v1/destinations/{name}", tag = "destinations",
    params(("name" = String, Path, description = "Its name: 1 to 64 of a-z 0-9 - _ .", min_length = 1, max_length = 64, pattern = "^[a-z0-9][a-z0-9_.-]*$")),
    request_body = DestinationBody, responses((status = 200, description = "It is stored", body = Stored))
)]
pub(crate) async fn put(
    caller: As<Admin>,
    State(api): State<Api>,
    Name(name): Name,
    JsonBytes(body): JsonBytes,
) -> Result<Json<Stored>, Problem> {
    named(&name)?;
    let body: DestinationBody = json(&body)?;
    let (spec, credentials) = body.read()?;
    let stored = api.engine().set_destination(&caller.0, &name, spec, credentials).await?;
    Ok(Json(Stored { name, id: stored.id.to_string() }))
}

/// Removes a destination
///
/// With open deliveries only with `force=true`; they become suppressed.
#[utoipa::path(delete, path = "/api/v1/destinations/{name}", tag = "destinations", params(("name" = String, Path, description = "Its name"), Force), responses((status = 200, description = "It is gone", body = RemovedDestination)))]
pub(crate) async fn remove(
    caller: As<Admin>,
    State(api): State<Api>,
    Name(name): Name,
    Query(force): Query<Force>,
) -> Result<Json<RemovedDestination>, Problem> {
    let suppressed = api.engine().remove_destination(&caller.0, &name, force.force).await?;
    Ok(Json(RemovedDestination { removed: true, suppressed }))
}

/// Tries a destination
///
/// Tries token and account; on success closes the breaker and lets held rows go.
#[utoipa::path(post, path = "/api/v1/destinations/{name}/check", tag = "destinations", params(("name" = String, Path, description = "Its name")), responses((status = 200, description = "What was found", body = CheckAnswer)))]
pub(crate) async fn check(caller: As<Admin>, State(api): State<Api>, Name(name): Name) -> Result<Json<CheckAnswer>, Problem> {
    let (findings, released) = api.engine().check_destination(&caller.0, &name).await?;
    let ok = !findings.iter().any(|finding| finding.blocking);
    Ok(Json(CheckAnswer { ok, findings: findings.into_iter().map(CheckShape::from).collect(), released }))
}

/// A name that can stand in a path.
pub(super) fn named(name: &str) -> Result<(), Problem> {
    let starts_well = name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    let allowed = name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.'));
    if starts_well && allowed && name.len() <= NAME_MAX {
        return Ok(());
    }
    Err(Problem::field("/name", "INVALID_NAME", "use 1 to 64 of a-z, 0-9, `-`, `_`, `.`, starting with a letter or digit"))
}

/// How a destination is set up.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"kind": "google", "customer_id": "123-456-7890", "actions": {"Qualified lead": "987654321"}}))]
pub struct DestinationBody {
    /// Platform and interface.
    #[schema(pattern = "^google$")]
    kind: String,
    /// The account that owns the conversion actions, with or without dashes.
    #[schema(pattern = "^[0-9]{3}-?[0-9]{3}-?[0-9]{4}$")]
    customer_id: String,
    /// The manager account through which the credentials reach it.
    #[schema(pattern = "^[0-9]{3}-?[0-9]{3}-?[0-9]{4}$")]
    login_customer_id: Option<String>,
    /// Conversion action names and the platform's ids for them.
    #[serde(default)]
    #[schema(required = false)]
    actions: BTreeMap<String, String>,
    /// Put before every order id.
    #[schema(max_length = 64)]
    order_id_prefix: Option<String>,
    /// Whether anything is sent to it.
    #[serde(default = "yes")]
    #[schema(required = false, default = true)]
    enabled: bool,
    /// `authorized_user` or `service_account` JSON. Left out: they stay; null: they are removed.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    credentials: Given,
}

/// What a body says of credentials: `null` is not the same as nothing.
#[derive(Debug, Default)]
enum Given {
    #[default]
    Nothing,
    Null,
    Value(serde_json::Value),
}

impl<'de> Deserialize<'de> for Given {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Option::deserialize(d).map(|value| value.map_or(Self::Null, Self::Value))
    }
}

fn yes() -> bool {
    true
}

impl DestinationBody {
    pub(crate) fn read(self) -> Result<(DestinationSpec, Credentials), Problem> {
        let account = |field: &str, text: &str| {
            text.parse::<CustomerId>().map_err(|why| Problem::field(format!("/{field}"), "INVALID_CUSTOMER_ID", why.to_string()))
        };
        if self.kind != "google" {
            return Err(Problem::field("/kind", "UNKNOWN_KIND", "this version sends to `google` (Data Manager) only"));
        }
        if self.actions.len() > MOST_ACTIONS {
            return Err(Problem::field("/actions", "TOO_MANY", format!("a destination has at most {MOST_ACTIONS} actions")));
        }
        for (name, id) in &self.actions {
            let pointer = format!("/actions/{}", name.replace('~', "~0").replace('/', "~1"));
            if name.trim().is_empty() || name.chars().count() > 256 || name.chars().any(char::is_control) {
                return Err(Problem::field(pointer, "INVALID_ACTION", "an action's name has 1 to 256 characters"));
            }
            if id.is_empty() || id.len() > 20 || !id.bytes().all(|b| b.is_ascii_digit()) {
                return Err(Problem::field(pointer, "INVALID_ACTION", "an action's id has digits only, as Google Ads shows it"));
            }
        }
        if self.order_id_prefix.as_ref().is_some_and(|p| p.chars().count() > 64 || p.chars().any(char::is_control)) {
            return Err(Problem::field(
                "/order_id_prefix",
                "INVALID_PREFIX",
                "the prefix is longer than 64 characters or has control characters",
            ));
        }
        let spec = DestinationSpec {
            kind: DestinationKind::Google,
            customer_id: account("customer_id", &self.customer_id)?,
            login_customer_id: self.login_customer_id.as_deref().map(|id| account("login_customer_id", id)).transpose()?,
            actions: self.actions,
            order_id_prefix: self.order_id_prefix,
            credentials_ref: None,
            enabled: self.enabled,
        };
        let credentials = match self.credentials {
            Given::Nothing => Credentials::Keep,
            Given::Null => Credentials::Remove,
            Given::Value(value) if value.get("ref").is_some() => {
                return Err(Problem::field(
                    "/credentials/ref",
                    "REF_NOT_ALLOWED",
                    "a reference to the server's own credentials is set on the server",
                ));
            }
            Given::Value(value @ serde_json::Value::Object(_)) => Credentials::Set(Secret::new(value.to_string())),
            Given::Value(_) => return Err(Problem::field("/credentials", "INVALID_TYPE", "the credentials are a JSON object")),
        };
        Ok((spec, credentials))
    }
}

/// Something is stored.
#[derive(Debug, Serialize, ToSchema)]
pub struct Stored {
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: String,
}

/// Whether open deliveries are stopped.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Force {
    /// Even with open deliveries
    #[serde(default)]
    #[param(required = false)]
    force: bool,
}

/// A destination is gone.
#[derive(Debug, Serialize, ToSchema)]
pub struct RemovedDestination {
    /// Always true.
    removed: bool,
    /// Deliveries that were stopped.
    suppressed: u64,
}

/// What trying a destination found.
#[derive(Debug, Serialize, ToSchema)]
pub struct CheckAnswer {
    /// Whether it can be sent to.
    ok: bool,
    /// What was found.
    findings: Vec<CheckShape>,
    /// Held rows that were let go.
    released: u64,
}

/// One thing that trying a destination found.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CheckFinding)]
pub struct CheckShape {
    /// Stable, UPPER_SNAKE.
    code: String,
    /// Whether nothing can be sent before it is put right.
    blocking: bool,
    /// What was found.
    reason: String,
    /// What to do.
    hint: String,
}

impl From<CheckFinding> for CheckShape {
    fn from(f: CheckFinding) -> Self {
        Self { code: f.code, blocking: f.blocking, reason: f.reason, hint: f.hint }
    }
}
