//! The request body of `events:ingest` as protobuf JSON: camelCase names, snake_case accepted, unknown fields refused.
//!
//! Names and types: Data Manager API v1, `IngestEventsRequest` and what it holds.

#![expect(clippy::struct_field_names, reason = "the messages' own names")]

mod place;
mod values;

use serde::{Deserialize, de::IgnoredAny};
use serde_json::value::RawValue;

pub(super) use values::{AccountType, ConsentStatus, Encoding, EventSource};
use values::{CustomerType, CustomerValueBucket};

/// The outermost object. Destinations and events stay text until each is read, so that a fault can name its place.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Envelope<'a> {
    #[serde(borrow)]
    destinations: Option<Vec<&'a RawValue>>,
    #[serde(borrow)]
    events: Option<Vec<&'a RawValue>>,
    consent: Option<Consent>,
    #[serde(alias = "validate_only")]
    validate_only: Option<bool>,
    encoding: Option<Encoding>,
    #[serde(alias = "encryption_info")]
    encryption_info: Option<IgnoredAny>,
}

/// A request whose JSON is well formed; nothing about its meaning has been checked.
pub(super) struct Request<'a> {
    pub(super) destinations: Vec<(Destination, &'a RawValue)>,
    pub(super) events: Vec<(Event<'a>, &'a RawValue)>,
    pub(super) consent: Consent,
    pub(super) validate_only: bool,
    pub(super) encoding: Option<Encoding>,
    pub(super) encrypted: bool,
}

/// JSON that is not the message it should be.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PayloadError {
    /// Where, as `events[3]`; empty for the body itself.
    pub(super) field: String,
    /// What, in the words of Google's front end.
    pub(super) description: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Destination {
    pub(super) reference: Option<String>,
    #[serde(alias = "operating_account")]
    pub(super) operating_account: Option<Account>,
    #[serde(alias = "login_account")]
    pub(super) login_account: Option<Account>,
    #[serde(alias = "linked_account")]
    pub(super) linked_account: Option<Account>,
    #[serde(alias = "product_destination_id")]
    pub(super) product_destination_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Account {
    #[serde(alias = "account_type")]
    pub(super) account_type: Option<AccountType>,
    #[serde(alias = "account_id")]
    pub(super) account_id: Option<String>,
    /// An older name of `accountType`, still in the message.
    pub(super) product: Option<AccountType>,
}

#[derive(Deserialize, Clone, Copy, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Consent {
    #[serde(alias = "ad_user_data")]
    pub(super) ad_user_data: Option<ConsentStatus>,
    #[serde(alias = "ad_personalization", rename = "adPersonalization")]
    _ad_personalization: Option<ConsentStatus>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Event<'a> {
    #[serde(alias = "destination_references")]
    pub(super) destination_references: Option<Vec<String>>,
    #[serde(alias = "transaction_id")]
    pub(super) transaction_id: Option<String>,
    #[serde(alias = "event_timestamp")]
    pub(super) event_timestamp: Option<String>,
    #[serde(alias = "last_updated_timestamp")]
    pub(super) last_updated_timestamp: Option<String>,
    #[serde(alias = "user_data")]
    pub(super) user_data: Option<UserData>,
    pub(super) consent: Option<Consent>,
    #[serde(alias = "ad_identifiers")]
    pub(super) ad_identifiers: Option<AdIdentifiers>,
    pub(super) currency: Option<String>,
    /// Kept as it was written: a decimal passed through a float is another decimal.
    #[serde(borrow, alias = "conversion_value")]
    pub(super) conversion_value: Option<&'a RawValue>,
    #[serde(borrow, alias = "conversion_count")]
    pub(super) conversion_count: Option<&'a RawValue>,
    #[serde(alias = "event_source")]
    pub(super) event_source: Option<EventSource>,
    #[serde(alias = "custom_variables")]
    pub(super) custom_variables: Option<Vec<CustomVariable>>,
    #[serde(alias = "user_properties", rename = "userProperties")]
    _user_properties: Option<UserProperties>,
    #[serde(alias = "event_device_info", rename = "eventDeviceInfo")]
    _event_device_info: Option<IgnoredAny>,
    #[serde(alias = "cart_data", rename = "cartData")]
    _cart_data: Option<IgnoredAny>,
    #[serde(alias = "experimental_fields", rename = "experimentalFields")]
    _experimental_fields: Option<IgnoredAny>,
    #[serde(alias = "event_name", rename = "eventName")]
    _event_name: Option<String>,
    #[serde(alias = "client_id", rename = "clientId")]
    _client_id: Option<String>,
    #[serde(alias = "user_id", rename = "userId")]
    _user_id: Option<String>,
    #[serde(alias = "additional_event_parameters", rename = "additionalEventParameters")]
    _additional_event_parameters: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct AdIdentifiers {
    #[serde(alias = "session_attributes")]
    pub(super) session_attributes: Option<String>,
    pub(super) gclid: Option<String>,
    pub(super) gbraid: Option<String>,
    pub(super) wbraid: Option<String>,
    #[serde(alias = "landing_page_device_info", rename = "landingPageDeviceInfo")]
    _landing_page_device_info: Option<IgnoredAny>,
    #[serde(alias = "mobile_device_id", rename = "mobileDeviceId")]
    _mobile_device_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct UserData {
    #[serde(alias = "user_identifiers")]
    pub(super) user_identifiers: Option<Vec<UserIdentifier>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct UserIdentifier {
    #[serde(alias = "email_address")]
    pub(super) email_address: Option<String>,
    #[serde(alias = "phone_number")]
    pub(super) phone_number: Option<String>,
    pub(super) address: Option<Address>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Address {
    #[serde(alias = "given_name")]
    pub(super) given_name: Option<String>,
    #[serde(alias = "family_name")]
    pub(super) family_name: Option<String>,
    #[serde(alias = "region_code")]
    pub(super) region_code: Option<String>,
    #[serde(alias = "postal_code")]
    pub(super) postal_code: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct CustomVariable {
    pub(super) variable: Option<String>,
    pub(super) value: Option<String>,
    #[serde(alias = "destination_references")]
    pub(super) destination_references: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct UserProperties {
    #[serde(alias = "customer_type", rename = "customerType")]
    _customer_type: Option<CustomerType>,
    #[serde(alias = "customer_value_bucket", rename = "customerValueBucket")]
    _customer_value_bucket: Option<CustomerValueBucket>,
}

impl<'a> Request<'a> {
    /// Reads a body; the first thing that is not in the message ends it.
    pub(super) fn read(body: &'a [u8]) -> Result<Self, PayloadError> {
        let envelope: Envelope<'a> = serde_json::from_slice(body).map_err(|error| PayloadError::new(String::new(), &error))?;
        Ok(Self {
            destinations: each("destinations", envelope.destinations)?,
            events: each("events", envelope.events)?,
            consent: envelope.consent.unwrap_or_default(),
            validate_only: envelope.validate_only.unwrap_or_default(),
            encoding: envelope.encoding.filter(|encoding| *encoding != Encoding::Unspecified),
            encrypted: envelope.encryption_info.is_some(),
        })
    }
}

fn each<'a, T: Deserialize<'a>>(name: &str, items: Option<Vec<&'a RawValue>>) -> Result<Vec<(T, &'a RawValue)>, PayloadError> {
    let read = |(index, raw): (usize, &'a RawValue)| match serde_json::from_str(raw.get()) {
        Ok(item) => Ok((item, raw)),
        Err(error) => Err(match place::of_fault(raw) {
            Some((part, error)) => PayloadError::new(format!("{name}[{index}].{part}"), &error),
            None => PayloadError::new(format!("{name}[{index}]"), &error),
        }),
    };
    items.unwrap_or_default().into_iter().enumerate().map(read).collect()
}

impl PayloadError {
    fn new(field: String, error: &serde_json::Error) -> Self {
        let text = error.to_string();
        let place = if field.is_empty() { String::new() } else { format!(" at '{field}'") };
        let description = match text.strip_prefix("unknown field `").and_then(|rest| rest.split_once('`')) {
            Some((name, _)) => format!("Invalid JSON payload received. Unknown name \"{name}\"{place}: Cannot find field."),
            None => format!("Invalid JSON payload received. Invalid value{place}: {text}"),
        };
        Self { field, description }
    }
}
