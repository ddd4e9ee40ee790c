//! A change of a lead's status or value.

use serde::Deserialize;

use super::LeadStatus;
use crate::{
    body::{self, BodyError, Fields, Shape, Text},
    conversion::input::DecimalText,
    money::Money,
};

/// What is to change; at least one of the two.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LeadPatch {
    /// The new status; whether the lead may take it is [`LeadStatus::may_become`]'s to say.
    pub status: Option<LeadStatus>,
    /// The new value.
    pub value: Option<Money>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct PatchInput<'a> {
    #[serde(borrow)]
    status: Option<Text<'a>>,
    value: Option<DecimalText>,
    #[serde(borrow)]
    currency: Option<Text<'a>>,
}

const SHAPE: Shape = Shape::Object(&[("status", Shape::Text), ("value", Shape::Decimal), ("currency", Shape::Text)]);

/// Reads the body of a change.
pub fn parse_patch(body: &[u8]) -> Result<LeadPatch, BodyError> {
    let input = body::read_one::<PatchInput<'_>>(body, &SHAPE)?;
    let mut errors = Vec::new();
    let mut fields = Fields::new(None, &mut errors);
    let status = input.status.and_then(|text| text.parse().map_err(|why| fields.fail("/status", "INVALID_STATUS", format!("{why}"))).ok());
    let value = fields.money(input.value.as_ref(), input.currency.as_deref());
    if !errors.is_empty() {
        return Err(BodyError::Invalid(errors));
    }
    if status.is_none() && value.is_none() {
        return Err(body::invalid("", "EMPTY_PATCH", "nothing is to change; give a status, or a value with its currency"));
    }
    Ok(LeadPatch { status, value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_and_value_change_alone_or_together() {
        let patch = |body: &str| parse_patch(body.as_bytes()).map(|p| (p.status, p.value.map(|v| v.to_string())));
        assert_eq!(patch(r#"{"status":"won"}"#), Ok((Some(LeadStatus::Won), None)));
        assert_eq!(patch(r#"{"value":99.5,"currency":"EUR","status":null}"#), Ok((None, Some("99.50 EUR".to_owned()))));
    }

    #[test]
    fn other_fields_wrong_ones_and_nothing_at_all_are_refused() {
        for (body, pointer, code) in [
            ("{}", "", "EMPTY_PATCH"),
            (r#"{"status":null}"#, "", "EMPTY_PATCH"),
            (r#"{"status":"closed"}"#, "/status", "INVALID_STATUS"),
            (r#"{"status":1}"#, "/status", "INVALID_TYPE"),
            (r#"{"email":"a@example.com"}"#, "/email", "UNKNOWN_FIELD"),
            (r#"{"score":99}"#, "/score", "UNKNOWN_FIELD"),
            (r#"{"value":"1"}"#, "/currency", "CURRENCY_MISSING"),
            ("[]", "", "INVALID_TYPE"),
        ] {
            let Err(BodyError::Invalid(errors)) = parse_patch(body.as_bytes()) else { panic!("{body}") };
            assert_eq!((errors[0].pointer.as_str(), errors[0].code), (pointer, code), "{body}");
        }
        assert!(matches!(parse_patch(b"{"), Err(BodyError::Malformed { .. })));
    }
}
