//! A rule: which change of a lead becomes a conversion of which action.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    body::{self, BodyError, Fields, Shape},
    conversion::{Conversion, input::DecimalText},
    identity::Identifiers,
    lead::{Lead, LeadStatus},
    money::{Amount, Currency, Money},
    scoring::Score,
};

/// What makes a rule fire.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trigger {
    /// A lead was stored for the first time.
    Created,
    /// A lead entered this status.
    Status(LeadStatus),
}

/// Which change of a lead becomes a conversion.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// What makes it fire: `lead.created`, `lead.contacted`, `lead.qualified`, `lead.won`, `lead.lost`.
    #[serde(with = "trigger")]
    pub on: Trigger,
    /// The conversion action's name.
    pub action: Arc<str>,
    /// What each conversion is worth, as a decimal; else the lead's own value, else its scored one where `currency` is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// The currency of `value`, or of scored values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub currency: Option<String>,
    /// Names of destinations; none: every one that has the action.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub destinations: Vec<Arc<str>>,
}

impl Trigger {
    const ALL: [Self; 5] = [
        Self::Created,
        Self::Status(LeadStatus::Contacted),
        Self::Status(LeadStatus::Qualified),
        Self::Status(LeadStatus::Won),
        Self::Status(LeadStatus::Lost),
    ];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created | Self::Status(LeadStatus::New) => "lead.created",
            Self::Status(LeadStatus::Contacted) => "lead.contacted",
            Self::Status(LeadStatus::Qualified) => "lead.qualified",
            Self::Status(LeadStatus::Won) => "lead.won",
            Self::Status(LeadStatus::Lost) => "lead.lost",
        }
    }

    fn named(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|trigger| trigger.as_str() == text)
    }
}

mod trigger {
    use serde::{Deserialize, Deserializer, Serializer, de};

    use super::Trigger;

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over the field itself")]
    pub(super) fn serialize<S: Serializer>(trigger: &Trigger, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(trigger.as_str())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Trigger, D::Error> {
        let text = std::borrow::Cow::<'_, str>::deserialize(d)?;
        Trigger::named(&text).ok_or_else(|| de::Error::custom("an unknown trigger"))
    }
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RuleInput {
    on: Option<String>,
    action: Option<String>,
    value: Option<DecimalText>,
    currency: Option<String>,
    destinations: Option<Vec<String>>,
}

const SHAPE: Shape = Shape::Object(&[
    ("on", Shape::Text),
    ("action", Shape::Text),
    ("value", Shape::Decimal),
    ("currency", Shape::Text),
    ("destinations", Shape::Texts),
]);

/// Most destinations that a rule may name.
const DESTINATIONS_MAX: usize = 50;

/// Reads the body of a rule.
pub fn parse_rule(body: &[u8]) -> Result<Rule, BodyError> {
    let input = body::read_one::<RuleInput>(body, &SHAPE)?;
    let mut errors = Vec::new();
    let mut fields = Fields::new(None, &mut errors);
    let on = input.on.as_deref().and_then(Trigger::named);
    if on.is_none() {
        let names = Trigger::ALL.map(Trigger::as_str).join(", ");
        fields.fail("/on", "INVALID_TRIGGER", format!("the rule needs one of {names}"));
    }
    let action = fields.text("/action", input.action.as_deref(), 100).unwrap_or_default().to_owned();
    if action.is_empty() {
        fields.fail("/action", "ACTION_REQUIRED", "the rule needs the name of a conversion action");
    }
    let currency = input.currency.as_deref();
    if input.value.is_some() {
        fields.money(input.value.as_ref(), currency);
    } else if currency.is_some_and(|c| c.parse::<Currency>().is_err()) {
        fields.fail("/currency", "INVALID_CURRENCY", "the currency is not a code of ISO 4217, such as EUR");
    }
    if input.destinations.as_ref().is_some_and(|names| names.len() > DESTINATIONS_MAX) {
        fields.fail("/destinations", "TOO_MANY", format!("the rule names more than {DESTINATIONS_MAX} destinations"));
    }
    if !errors.is_empty() {
        return Err(BodyError::Invalid(errors));
    }
    Ok(Rule {
        on: on.unwrap_or(Trigger::Created),
        action: action.into(),
        value: input.value.map(|v| v.0),
        currency: currency.map(ToOwned::to_owned),
        destinations: input.destinations.unwrap_or_default().into_iter().map(Arc::from).collect(),
    })
}

impl Rule {
    /// The conversion that it makes of a lead as of `now_s` (Unix seconds), or the code of why it makes none.
    pub fn apply(&self, lead: &Lead, score: &Score, now_s: i64) -> Result<Conversion, &'static str> {
        let consent = lead.consent.ads();
        consent.permit().map_err(|_| "CONSENT_REQUIRED")?;
        let now = Timestamp::from_second(now_s).unwrap_or(Timestamp::UNIX_EPOCH);
        let occurred_at = lead.occurred_at.filter(|_| self.on == Trigger::Created).unwrap_or(now);
        let (action, value) = (self.action.clone(), self.worth(lead, score));
        let identifiers = Identifiers::default();
        let mut conversion = Conversion { action, occurred_at, value, order_id: None, click_id: None, identifiers, consent };
        conversion.complete(lead, now_s);
        if conversion.click_id.is_none() && conversion.identifiers.is_empty() {
            return Err("NO_IDENTIFIER");
        }
        Ok(conversion)
    }

    fn worth(&self, lead: &Lead, score: &Score) -> Option<Money> {
        let currency = self.currency.as_deref().and_then(|c| c.parse::<Currency>().ok());
        let fixed = self.value.as_deref().and_then(|v| v.parse::<Amount>().ok()).zip(currency);
        let scored = || Some(Money { amount: Amount::from_parts(score.value_cents, 2)?, currency: currency? });
        fixed.map(|(amount, currency)| Money { amount, currency }).or(lead.value).or_else(scored)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(fields: &str) -> Vec<(String, &'static str)> {
        match parse_rule(format!(r#"{{"on":"lead.won","action":" Sale ",{fields}}}"#).as_bytes()) {
            Ok(rule) => {
                assert_eq!(&*rule.action, "Sale");
                Vec::new()
            }
            Err(BodyError::Invalid(errors)) => errors.into_iter().map(|e| (e.pointer, e.code)).collect(),
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_value_needs_a_currency_and_a_currency_stands_alone() {
        for good in [r#""value":null"#, r#""currency":"EUR""#, r#""value":19.990000000000002,"currency":"EUR""#] {
            assert_eq!(codes(good), [], "{good}");
        }
        for (bad, pointer, code) in [
            (r#""value":"1""#, "/currency", "CURRENCY_MISSING"),
            (r#""value":"1","currency":"""#, "/currency", "INVALID_CURRENCY"),
            (r#""currency":"""#, "/currency", "INVALID_CURRENCY"),
            (r#""currency":"AAA""#, "/currency", "INVALID_CURRENCY"),
            (r#""value":"","currency":"EUR""#, "/value", "INVALID_VALUE"),
        ] {
            assert_eq!(codes(bad), [(pointer.to_owned(), code)], "{bad}");
        }
    }
}
