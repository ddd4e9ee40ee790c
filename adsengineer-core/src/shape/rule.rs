//! Rules.

use serde::{Deserialize, Serialize};

/// Which change of a lead becomes a conversion.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Rule {
    /// Its name.
    pub name: String,
    /// What makes it fire.
    pub on: String,
    /// The conversion action's name.
    pub action: String,
    /// What each conversion is worth.
    pub value: Option<String>,
    /// The currency of `value`, or of scored values.
    pub currency: Option<String>,
    /// Names of destinations; none: every one that has the action.
    pub destinations: Vec<String>,
}

/// All rules.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Rules {
    /// By name.
    pub rules: Vec<Rule>,
    /// Always null: there is one page.
    pub next_cursor: Option<String>,
}

impl Rule {
    /// The rule called `name`.
    pub fn of(name: &str, rule: &crate::rule::Rule) -> Self {
        Self {
            name: name.to_owned(),
            on: rule.on.as_str().to_owned(),
            action: rule.action.to_string(),
            value: rule.value.clone(),
            currency: rule.currency.clone(),
            destinations: rule.destinations.iter().map(ToString::to_string).collect(),
        }
    }
}
