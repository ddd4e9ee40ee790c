//! The closed lists of values in the messages. Pure.

use serde::Deserialize;

#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(in crate::sandbox) enum AccountType {
    #[serde(alias = "PRODUCT_UNSPECIFIED")]
    #[serde(rename = "ACCOUNT_TYPE_UNSPECIFIED")]
    Unspecified,
    GoogleAds,
    DisplayVideoPartner,
    DisplayVideoAdvertiser,
    DataPartner,
    GoogleAnalyticsProperty,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(in crate::sandbox) enum Encoding {
    #[serde(rename = "ENCODING_UNSPECIFIED")]
    Unspecified,
    Hex,
    Base64,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(in crate::sandbox) enum ConsentStatus {
    #[serde(rename = "CONSENT_STATUS_UNSPECIFIED")]
    Unspecified,
    #[serde(rename = "CONSENT_GRANTED")]
    Granted,
    #[serde(rename = "CONSENT_DENIED")]
    Denied,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(in crate::sandbox) enum EventSource {
    #[serde(rename = "EVENT_SOURCE_UNSPECIFIED")]
    Unspecified,
    Web,
    App,
    InStore,
    Phone,
    Message,
    Other,
}

#[derive(Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(in crate::sandbox) enum CustomerType {
    #[serde(rename = "CUSTOMER_TYPE_UNSPECIFIED")]
    Unspecified,
    New,
    Returning,
    Reengaged,
}

#[derive(Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(in crate::sandbox) enum CustomerValueBucket {
    #[serde(rename = "CUSTOMER_VALUE_BUCKET_UNSPECIFIED")]
    Unspecified,
    Low,
    Medium,
    High,
}
