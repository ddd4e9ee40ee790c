//! Destinations: an account at a platform, what is sent to it, and the door through which it goes.

pub mod google;
#[cfg(feature = "http")]
pub mod http;
#[cfg(feature = "http")]
pub mod oauth;

use std::{collections::BTreeMap, fmt, str::FromStr};
#[cfg(feature = "engine")]
use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

#[cfg(feature = "engine")]
use crate::{click_id::ClickId, money::Money};
#[cfg(feature = "engine")]
use crate::{
    consent::UploadPermit,
    id::{DeliveryId, UploadId},
    identity::Identifiers,
    outcome::Outcome,
};

/// Which platform, by which of its interfaces.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DestinationKind {
    /// Google through the Data Manager API.
    Google,
}

impl DestinationKind {
    /// The kind's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Google => "google",
        }
    }
}

impl fmt::Display for DestinationKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A Google Ads customer id: ten digits, shown as `123-456-7890`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CustomerId(u64);

/// Why a text is not a customer id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a customer id: it has ten digits, with or without dashes, such as 123-456-7890")]
pub struct InvalidCustomerId(String);

impl FromStr for CustomerId {
    type Err = InvalidCustomerId;

    fn from_str(text: &str) -> Result<Self, InvalidCustomerId> {
        let digits: String = text.trim().chars().filter(|c| *c != '-').collect();
        let number = (digits.len() == 10 && digits.bytes().all(|b| b.is_ascii_digit())).then(|| digits.parse().ok()).flatten();
        number.map(Self).ok_or_else(|| InvalidCustomerId(text.chars().take(40).collect()))
    }
}

impl TryFrom<String> for CustomerId {
    type Error = InvalidCustomerId;

    fn try_from(text: String) -> Result<Self, InvalidCustomerId> {
        text.parse()
    }
}

impl From<CustomerId> for String {
    fn from(id: CustomerId) -> Self {
        id.digits()
    }
}

impl CustomerId {
    /// Ten digits without dashes, as the platform's requests want it.
    pub fn digits(self) -> String {
        format!("{:010}", self.0)
    }
}

impl fmt::Display for CustomerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.digits();
        write!(f, "{}-{}-{}", &digits[..3], &digits[3..6], &digits[6..])
    }
}

/// How a destination is set up; everything but its credentials.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DestinationSpec {
    /// Platform and interface.
    pub kind: DestinationKind,
    /// The account that owns the conversion actions.
    pub customer_id: CustomerId,
    /// The manager account through which the credentials reach it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login_customer_id: Option<CustomerId>,
    /// Conversion action names and the platform's ids for them.
    #[serde(default)]
    pub actions: BTreeMap<String, String>,
    /// Put before every order id to make it unique at the platform.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order_id_prefix: Option<String>,
    /// Names credentials in the configuration of the machine instead of stored ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_ref: Option<String>,
    /// Whether anything is sent to it.
    #[serde(default = "enabled")]
    pub enabled: bool,
}

fn enabled() -> bool {
    true
}

impl DestinationSpec {
    /// The platform's id for the conversion action called `name`; a name that is itself a known id stands for itself.
    pub fn action_id(&self, name: &str) -> Option<&str> {
        self.actions.get(name).or_else(|| self.actions.values().find(|id| *id == name)).map(String::as_str)
    }
}

/// One row on its way to a platform: everything its event is made of. It cannot be built without a permit.
#[cfg(feature = "engine")]
#[derive(Clone, Debug)]
pub struct Event {
    /// The delivery that it belongs to.
    pub delivery: DeliveryId,
    /// Proof of consent.
    pub permit: UploadPermit,
    /// What the platform deduplicates on.
    pub transaction_id: Arc<str>,
    /// Unix seconds.
    pub occurred_at: i64,
    /// What it is worth.
    pub value: Option<Money>,
    /// The click.
    pub click_id: Option<ClickId>,
    /// The person.
    pub identifiers: Identifiers,
}

/// A request ready to be persisted and sent: the same events make the same bytes.
#[cfg(feature = "engine")]
#[derive(Clone, Debug)]
pub struct Rendered {
    /// The body exactly as it goes out.
    pub body: Vec<u8>,
    /// The first 8 bytes of SHA-256 of each event as sent, in order: what makes a changed resend visible.
    pub event_hashes: Vec<u64>,
}

/// What one request brought back.
#[cfg(feature = "engine")]
#[derive(Clone, Debug)]
pub struct Answer {
    /// The outcome of every row not named in `rows`.
    pub default: Outcome,
    /// Rows with an outcome of their own, by position in the request.
    pub rows: Vec<(usize, Outcome)>,
    /// The platform's id of the request, for later questions and for its support.
    pub request_id: Option<Arc<str>>,
    /// Whether the platform is well: `false` counts against the breaker.
    pub healthy: bool,
    /// The platform asked for a pause of the whole destination (quota).
    pub pause: Option<Duration>,
    /// Worth telling the user, though nothing failed.
    pub warnings: Vec<String>,
}

#[cfg(feature = "engine")]
impl Answer {
    /// One outcome for every row of a platform that is well.
    pub fn all(default: Outcome) -> Self {
        Self { default, rows: Vec::new(), request_id: None, healthy: true, pause: None, warnings: Vec::new() }
    }
}

/// What asking for a verdict brought back.
#[cfg(feature = "engine")]
#[derive(Clone, Debug)]
pub enum Verdict {
    /// Not decided yet, or the question could not be asked: ask again later.
    NotYet(Option<crate::outcome::Why>),
    /// Decided: the outcome of each row.
    Final(Answer),
    /// Some rows failed, and the platform does not say which; the outcomes of those that failed, none if it does not even say why.
    Partly {
        /// How many rows have which outcome.
        counts: Vec<(u64, Outcome)>,
    },
    /// The verdict can never be had.
    Gone(crate::outcome::Why),
}

/// One thing found out by trying a destination.
#[cfg(feature = "engine")]
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CheckFinding {
    /// Stable code.
    pub code: String,
    /// Whether nothing can be sent before it is put right.
    pub blocking: bool,
    /// What was found.
    pub reason: String,
    /// What to do.
    pub hint: String,
}

/// What a platform allows.
#[cfg(feature = "engine")]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Rows in one request.
    pub batch: usize,
    /// How long it recognises a transaction id; `None`: for as long as matters.
    pub dedupe_window: Option<Duration>,
    /// Latest time after the event at which it still takes it.
    pub event_window: Duration,
}

/// The door to one account at a platform.
#[cfg(feature = "engine")]
#[async_trait::async_trait]
pub trait Destination: Send + Sync {
    /// What the platform allows.
    fn limits(&self) -> Limits;

    /// The request for `events`, all of one conversion action. Pure: the same events make the same bytes.
    fn render(&self, action_id: &str, events: &[Event], validate_only: bool) -> Rendered;

    /// Sends a rendered request of `rows` rows. Every failure is an outcome; nothing is retried here but one refused token.
    async fn send(&self, request: &Rendered, rows: usize) -> Answer;

    /// Asks for the verdict on an earlier request.
    async fn poll(&self, upload: &Polled) -> Verdict;

    /// Tries the credentials and the account without storing anything there.
    async fn check(&self) -> Vec<CheckFinding>;
}

/// An upload whose verdict is wanted.
#[cfg(feature = "engine")]
#[derive(Clone, Debug)]
pub struct Polled {
    /// Ours.
    pub upload: UploadId,
    /// The platform's.
    pub request_id: Arc<str>,
    /// Rows in it.
    pub rows: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn customer_ids_have_ten_digits_with_or_without_dashes() {
        for text in ["123-456-7890", "1234567890", " 1234567890 "] {
            assert_eq!(text.parse::<CustomerId>().map(|c| c.to_string()), Ok("123-456-7890".to_owned()));
        }
        assert_eq!("0123456789".parse::<CustomerId>().map(CustomerId::digits), Ok("0123456789".to_owned()));
        for bad in ["", "123", "12345678901", "12345678x0", "123 456 7890"] {
            assert!(bad.parse::<CustomerId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn an_action_is_found_by_name_or_by_its_own_id() {
        let spec: DestinationSpec =
            serde_json::from_str(r#"{"kind":"google","customer_id":"1234567890","actions":{"Qualified lead":"987654321"}}"#).unwrap();
        assert_eq!(spec.action_id("Qualified lead"), Some("987654321"));
        assert_eq!(spec.action_id("987654321"), Some("987654321"));
        assert_eq!(spec.action_id("Sale"), None);
        assert!(spec.enabled);
    }
}
