//! Rules: which change of a lead becomes a conversion.

use adsengineer_core::rule::{Rule, parse_rule};
use axum::{Json, extract::State};
use serde::Serialize;
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
    Ok(Json(Rules { rules: rules.into_iter().map(|(name, rule)| NamedRule::of(&name, &rule)).collect(), next_cursor: None }))
}

/// Shows a rule
#[utoipa::path(get, path = "/api/v1/rules/{name}", tag = "rules", params(("name" = String, Path, description = "Its name")), responses((status = 200, description = "The rule", body = NamedRule)))]
pub(crate) async fn show(caller: As<Viewer>, State(api): State<Api>, Name(name): Name) -> Result<Json<NamedRule>, Problem> {
    let rules = api.engine().rules(&caller.0).await?;
    let found = rules.iter().find(|(known, _)| **known == *name).map(|(name, rule)| NamedRule::of(name, rule));
    found.map(Json).ok_or_else(|| Problem::not_found("such rule"))
}

/// Creates or replaces a rule
#[utoipa::path(
    put, path = "/api/v1/rules/{name}", tag = "rules",
    params(("name" = String, Path, description = "Its name: 1 to 64 of a-z 0-9 - _ .", min_length = 1, max_length = 64, pattern = "^[a-z0-9][a-z0-9_.-]*$")),
    request_body = RuleBody, responses((status = 200, description = "It is stored", body = NamedRule))
)]
pub(crate) async fn put(
    caller: As<Admin>,
    State(api): State<Api>,
    Name(name): Name,
    JsonBytes(body): JsonBytes,
) -> Result<Json<NamedRule>, Problem> {
    named(&name)?;
    let rule = parse_rule(&body)?;
    api.engine().put_rule(&caller.0, &name, &rule).await?;
    Ok(Json(NamedRule::of(&name, &rule)))
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
    destinations: Option<Vec<String>>,
}

/// A rule.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Rule)]
pub struct NamedRule {
    /// Its name.
    name: String,
    /// What makes it fire.
    on: &'static str,
    /// The conversion action's name.
    action: String,
    /// What each conversion is worth.
    value: Option<String>,
    /// The currency of `value`, or of scored values.
    currency: Option<String>,
    /// Names of destinations; none: every one that has the action.
    destinations: Vec<String>,
}

/// All rules.
#[derive(Debug, Serialize, ToSchema)]
pub struct Rules {
    /// By name.
    rules: Vec<NamedRule>,
    /// Always null: there is one page.
    next_cursor: Option<String>,
}

impl NamedRule {
    fn of(name: &str, rule: &Rule) -> Self {
        Self {
            name: name.to_owned(),
            on: rule.on.as_str(),
            action: rule.action.to_string(),
            value: rule.value.clone(),
            currency: rule.currency.clone(),
            destinations: rule.destinations.iter().map(ToString::to_string).collect(),
        }
    }
}
