//! The JSON form of leads, as `POST /api/v1/leads` takes it.

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::judge::{self, Parsed};
use crate::{
    body::{self, BodyError, Object, Shape, Text},
    conversion::input::DecimalText,
};

/// Reads one lead or an array of at most `max`, as of `now_s` (Unix seconds). One that cannot be used refuses all;
/// people who did not agree to storage are no error.
pub fn parse_leads(body: &[u8], max: usize, now_s: i64) -> Result<Parsed, BodyError> {
    let read = body::read::<LeadInput<'_>>(body, max, &SHAPE)?;
    judge::all(&read, now_s)
}

/// A lead as JSON says it.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct LeadInput<'a> {
    #[serde(borrow)]
    pub external_id: Option<Text<'a>>,
    #[serde(borrow)]
    pub email: Option<Text<'a>>,
    #[serde(borrow)]
    pub phone: Option<Text<'a>>,
    #[serde(borrow)]
    pub gclid: Option<Text<'a>>,
    #[serde(borrow)]
    pub gbraid: Option<Text<'a>>,
    #[serde(borrow)]
    pub wbraid: Option<Text<'a>>,
    #[serde(borrow)]
    pub fbclid: Option<Text<'a>>,
    #[serde(borrow)]
    pub fbc: Option<Text<'a>>,
    #[serde(borrow)]
    pub fbp: Option<Text<'a>>,
    #[serde(borrow)]
    pub msclkid: Option<Text<'a>>,
    #[serde(borrow)]
    pub ttclid: Option<Text<'a>>,
    #[serde(borrow)]
    pub landing_page: Option<Text<'a>>,
    #[serde(borrow)]
    pub utm: Option<Object<UtmInput<'a>>>,
    #[serde(borrow)]
    pub site_id: Option<Text<'a>>,
    #[serde(borrow)]
    pub company: Option<Text<'a>>,
    #[serde(borrow)]
    pub tags: Option<Vec<Text<'a>>>,
    pub budget: Option<BudgetText>,
    #[serde(borrow)]
    pub vertical: Option<Text<'a>>,
    #[serde(borrow)]
    pub status: Option<Text<'a>>,
    pub value: Option<DecimalText>,
    #[serde(borrow)]
    pub currency: Option<Text<'a>>,
    #[serde(borrow)]
    pub occurred_at: Option<Text<'a>>,
    #[serde(borrow)]
    pub consent: Option<Object<ConsentInput<'a>>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct UtmInput<'a> {
    #[serde(borrow)]
    pub source: Option<Text<'a>>,
    #[serde(borrow)]
    pub medium: Option<Text<'a>>,
    #[serde(borrow)]
    pub campaign: Option<Text<'a>>,
    #[serde(borrow)]
    pub content: Option<Text<'a>>,
    #[serde(borrow)]
    pub term: Option<Text<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ConsentInput<'a> {
    #[serde(borrow)]
    pub storage: Option<Text<'a>>,
    #[serde(borrow)]
    pub ad_user_data: Option<Text<'a>>,
    #[serde(borrow)]
    pub ad_personalization: Option<Text<'a>>,
    #[serde(borrow)]
    pub method: Option<Text<'a>>,
    #[serde(borrow)]
    pub at: Option<Text<'a>>,
    #[serde(borrow)]
    pub text_version: Option<Text<'a>>,
    #[serde(borrow)]
    pub tcf: Option<Text<'a>>,
    pub gpc: Option<bool>,
}

const UTM: Shape = Shape::Object(&[
    ("source", Shape::Text),
    ("medium", Shape::Text),
    ("campaign", Shape::Text),
    ("content", Shape::Text),
    ("term", Shape::Text),
]);

const CONSENT: Shape = Shape::Object(&[
    ("storage", Shape::Text),
    ("ad_user_data", Shape::Text),
    ("ad_personalization", Shape::Text),
    ("method", Shape::Text),
    ("at", Shape::Text),
    ("text_version", Shape::Text),
    ("tcf", Shape::Text),
    ("gpc", Shape::Flag),
]);

const SHAPE: Shape = Shape::Object(&[
    ("external_id", Shape::Text),
    ("email", Shape::Text),
    ("phone", Shape::Text),
    ("gclid", Shape::Text),
    ("gbraid", Shape::Text),
    ("wbraid", Shape::Text),
    ("fbclid", Shape::Text),
    ("fbc", Shape::Text),
    ("fbp", Shape::Text),
    ("msclkid", Shape::Text),
    ("ttclid", Shape::Text),
    ("landing_page", Shape::Text),
    ("utm", UTM),
    ("site_id", Shape::Text),
    ("company", Shape::Text),
    ("tags", Shape::Texts),
    ("budget", Shape::Decimal),
    ("vertical", Shape::Text),
    ("status", Shape::Text),
    ("value", Shape::Decimal),
    ("currency", Shape::Text),
    ("occurred_at", Shape::Text),
    ("consent", CONSENT),
]);

/// A budget as text. A JSON number has no thousands separators, so it is written with no or two decimals, which
/// cannot be mistaken for them.
pub(super) struct BudgetText(pub String);

/// More than anybody spends; scoring has no use for larger numbers.
const BUDGET_MAX: f64 = 1e15;

impl<'de> Deserialize<'de> for BudgetText {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        let raw = <&RawValue>::deserialize(json)?;
        let DecimalText(text) = serde_json::from_str(raw.get()).map_err(serde::de::Error::custom)?;
        if raw.get().starts_with('"') {
            return Ok(Self(text));
        }
        Ok(Self(match text.split_once('.') {
            _ if text.len() > 30 || text.contains(['e', 'E']) => {
                text.parse::<f64>().map_or(text, |number| format!("{:.2}", number.clamp(-BUDGET_MAX, BUDGET_MAX)))
            }
            Some((whole, fraction)) => format!("{whole}.{fraction:0<2.2}"),
            None => text,
        }))
    }
}

#[cfg(test)]
mod tests;
