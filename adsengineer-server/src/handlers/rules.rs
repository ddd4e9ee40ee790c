//! Rules: which change of a lead becomes a conversion.

use adsengineer_core::{
    rule::parse_rule,
    shape::{Rule, Rules},
};
use axum::{Json, extract::State};
use utoipa::ToSchema;

use super::{destinations::named, leads::Decimal};
use crate::{
    Api,
    error::Problem,
    extract::{Admin, As, JsonBytes, Name, Viewer},
};

/// Lists rules
#[utoipa::path(get, path = "/api/v1/rules", tag = "rules", responses((status = 200, description = "All of them, by name", body = Rules)))]
pub(crate) async fn list(caller: As<Viewer>, State(api): State<Api>) -> Result<Json<Rules>, Problem> {
    let rules = api.engine().rules(&caller.0).await?;
    Ok(Json(Rules { rules: rules.into_iter().map(|(name, rule)| Rule::of(&name, &rule)).collect(), next_cursor: None }))
}

/// Shows a rule
#[utoipa::path(get, path = "/api/v1/rules/{name}", tag = "rules", params(("name" = String, Path, description = "Its name")), responses((status = 200, description = "The rule", body = Rule)))]
pub(crate) async fn show(caller: As<Viewer>, State(api): State<Api>, Name(name): Name) -> Result<Json<Rule>, Problem> {
    let rules = api.engine().rules(&caller.0).await?;
    let found = rules.iter().find(|(known, _)| **known == *name).map(|(name, rule)| Rule::of(name, rule));
    found.map(Json).ok_or_else(|| Problem::not_found("such rule"))
}

/// Creates or replaces a rule
#[utoipa::path(
    put, path = "/api/v1/rules/{name}", tag = "rules",
    params(("name" = String, Path, description = "Its name: 1 to 64 of a-z 0-9 - _ .", min_length = 1, max_length = 64, pattern = "^[a-z0-9][a-z0-9_.-]*$")),
    request_body = RuleBody, responses((status = 200, description = "It is stored", body = Rule))
)]
pub(crate) async fn put(
    caller: As<Admin>,
    State(api): State<Api>,
    Name(name): Name,
    JsonBytes(body): JsonBytes,
) -> Result<Json<Rule>, Problem> {
    named(&name)?;
    let rule = parse_rule(&body)?;
    api.engine().put_rule(&caller.0, &name, &rule).await?;
    Ok(Json(Rule::of(&name, &rule)))
}

/// Removes a rule
#[utoipa::path(delete, path = "/api/v1/rules/{name}", tag = "rules", params(("name" = String, Path, description = "Its name")), responses((status = 200, description = "It is gone", body = super::Removed)))]
pub(crate) async fn remove(caller: As<Admin>, State(api): State<Api>, Name(name): Name) -> Result<Json<super::Removed>, Problem> {
    api.engine().remove_rule(&caller.0, &name).await?;
    Ok(Json(super::Removed { removed: true }))
}

/// Which change of a lead becomes a conversion.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"on": "lead.won", "action": "Closed won"}))]
#[allow(dead_code, reason = "describes what the core reads")]
pub(crate) struct RuleBody {
    /// What makes it fire.
    #[schema(pattern = "^lead\\.(created|contacted|qualified|won|lost)$")]
    on: String,
    /// The conversion action's name.
    #[schema(max_length = 100)]
    action: String,
    /// What each conversion is worth, with `currency`; else the lead's own value, else its scored one.
    value: Option<Decimal>,
    /// The currency of `value`, or of scored values.
    #[schema(pattern = "^[A-Za-z]{3}$")]
    currency: Option<String>,
    /// Names of destinations; none: every one that has the action.
    #[schema(max_items = 50)]
    destinations: Option<Vec<String>>,
}
