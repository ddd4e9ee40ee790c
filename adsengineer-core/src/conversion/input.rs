//! The JSON form of a conversion, as `POST /api/v1/conversions` and JSON lines files have it.
//!
//! Nothing is judged here but names and types; values never pass through floating point, and strings keep every digit.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, de};
use serde_json::value::RawValue;

use crate::{
    body::{self, Shape},
    money::Amount,
};

/// A conversion as JSON says it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConversionInput {
    /// The conversion action's name.
    pub action: Option<String>,
    /// When it happened.
    pub occurred_at: Option<String>,
    /// What it is worth, as the decimal text that the JSON has.
    pub value: Option<DecimalText>,
    /// ISO 4217 code.
    pub currency: Option<String>,
    /// The user's own id for the sale.
    pub order_id: Option<String>,
    /// The lead that it comes from; only where leads are at hand.
    pub lead_id: Option<String>,
    /// Google click id.
    pub gclid: Option<String>,
    /// Google click id of an iOS app click.
    pub gbraid: Option<String>,
    /// Google click id of an iOS web click.
    pub wbraid: Option<String>,
    /// Who the person is.
    #[serde(deserialize_with = "body::object")]
    pub identifiers: Option<IdentifiersInput>,
    /// What the person agreed to.
    #[serde(deserialize_with = "body::object")]
    pub consent: Option<ConsentInput>,
    /// Names of destinations; only where destinations are at hand.
    pub destinations: Option<Vec<String>>,
}

/// Who a person is, plain or hashed.
#[derive(Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct IdentifiersInput {
    /// E-mail address.
    pub email: Option<String>,
    /// Phone number.
    pub phone: Option<String>,
    /// Given name.
    pub first_name: Option<String>,
    /// Family name.
    pub last_name: Option<String>,
    /// ISO 3166-1 alpha-2 code.
    pub country: Option<String>,
    /// Postal code.
    pub postal_code: Option<String>,
}

impl std::fmt::Debug for IdentifiersInput {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// What a person agreed to; missing is unspecified.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConsentInput {
    /// May personal data go to the platform for advertising?
    pub ad_user_data: Option<String>,
    /// May it be used for personalised advertising?
    pub ad_personalization: Option<String>,
}

/// The fields above, for the second look at a refused body.
pub(super) const SHAPE: Shape = Shape::Object(&[
    ("action", Shape::Text),
    ("occurred_at", Shape::Text),
    ("value", Shape::Decimal),
    ("currency", Shape::Text),
    ("order_id", Shape::Text),
    ("lead_id", Shape::Text),
    ("gclid", Shape::Text),
    ("gbraid", Shape::Text),
    ("wbraid", Shape::Text),
    ("identifiers", IDENTIFIERS),
    ("consent", CONSENT),
    ("destinations", Shape::Texts),
]);

const IDENTIFIERS: Shape = Shape::Object(&[
    ("email", Shape::Text),
    ("phone", Shape::Text),
    ("first_name", Shape::Text),
    ("last_name", Shape::Text),
    ("country", Shape::Text),
    ("postal_code", Shape::Text),
]);

const CONSENT: Shape = Shape::Object(&[("ad_user_data", Shape::Text), ("ad_personalization", Shape::Text)]);

/// A decimal, from a JSON string as written or from a JSON number as [`Amount::from_json_number`] reads it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DecimalText(pub String);

impl<'de> Deserialize<'de> for DecimalText {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let raw = <&RawValue>::deserialize(d)?.get();
        match raw.as_bytes().first() {
            Some(b'"') => serde_json::from_str::<Cow<'_, str>>(raw).map(|text| Self(text.into_owned())).map_err(de::Error::custom),
            Some(b'-' | b'0'..=b'9') => Ok(Self(Amount::from_json_number(raw).map_or_else(|| raw.to_owned(), |amount| amount.to_string()))),
            _ => Err(de::Error::custom("value must be a decimal string or a number")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(json: &str) -> Result<Option<String>, String> {
        serde_json::from_str::<ConversionInput>(json).map(|input| input.value.map(|v| v.0)).map_err(|e| e.to_string())
    }

    #[test]
    fn strings_keep_every_digit_and_numbers_lose_their_noise() {
        assert_eq!(value(r#"{"value": "0.10000000000000000001"}"#), Ok(Some("0.10000000000000000001".to_owned())));
        assert_eq!(value(r#"{"value": 0.30000000000000004}"#), Ok(Some("0.3".to_owned())));
        assert_eq!(value(r#"{"value": -1.50}"#), Ok(Some("-1.50".to_owned())));
        assert_eq!(value(r#"{"value": "120.00"}"#), Ok(Some("120.00".to_owned())));
        assert_eq!(value(r#"{"value": null}"#), Ok(None));
        assert_eq!(value("{}"), Ok(None));
        assert!(value(r#"{"value": [1]}"#).is_err());
        assert!(value(r#"{"value": true}"#).is_err());
    }

    #[test]
    fn unknown_keys_are_refused_at_every_level_and_debug_hides_persons() {
        for bad in [r#"{"x":1}"#, r#"{"identifiers":{"mail":"a"}}"#, r#"{"consent":{"storage":"granted"}}"#, r#"{"consent":["granted"]}"#] {
            assert!(serde_json::from_str::<ConversionInput>(bad).is_err(), "{bad}");
        }
        let input = serde_json::from_str::<ConversionInput>(r#"{"identifiers":{"email":"ada@example.com"}}"#).unwrap();
        assert!(!format!("{input:?}").contains("ada"));
    }
}
