//! Conversions, deliveries, dead letters and their replays.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    consent::AdConsent,
    delivery::State,
    destination::google::codes,
    org::OrgId,
    store::{self, AttemptView, ConversionView, DeliveryView, ReplayState},
};

/// A conversion and what becomes of it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Conversion {
    /// Its id.
    #[cfg_attr(feature = "openapi", schema(example = "conv_06cvmz3k80001"))]
    pub id: String,
    /// The conversion action's name.
    pub action: String,
    /// When it happened.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub occurred_at: Timestamp,
    /// The value of its latest revision, as a decimal; absent: the action's default.
    pub value: Option<String>,
    /// The currency of the value, ISO 4217.
    pub currency: Option<String>,
    /// The user's own id.
    pub order_id: Option<String>,
    /// The kind of its click id: `gclid`, `gbraid`, `wbraid`.
    pub click_id_kind: Option<String>,
    /// The click id, shortened.
    pub click_id: Option<String>,
    /// Whether it has identifiers; they are never shown.
    pub has_identifiers: bool,
    /// What the person agreed to.
    pub consent: AdConsent,
    /// The latest revision, from 1.
    pub revision: u32,
    /// When it was captured.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub captured_at: Timestamp,
    /// Its deliveries, oldest first.
    pub deliveries: Vec<Delivery>,
}

/// One revision of a conversion on its way to one destination.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Delivery {
    /// Its id.
    pub id: String,
    /// The destination's name.
    pub destination: String,
    /// Which revision of the conversion.
    pub revision: u32,
    /// Where it stands.
    pub state: State,
    /// The code of why it is there.
    pub reason: Option<String>,
    /// What the platform said.
    pub detail: Option<String>,
    /// Attempts that counted.
    pub attempts: u16,
    /// When it is due.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = DateTime))]
    pub next_attempt_at: Option<Timestamp>,
    /// What the platform deduplicates on.
    pub transaction_id: String,
    /// When it was first sent.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = DateTime))]
    pub first_sent_at: Option<Timestamp>,
    /// The platform's id of the latest request that it was in.
    pub request_id: Option<String>,
    /// Failures so far, oldest first.
    pub history: Vec<Attempt>,
    /// What a human should do about it.
    pub next_action: String,
}

/// A failed attempt.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Attempt {
    /// When.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub at: Timestamp,
    /// The code of what went wrong.
    pub error: String,
    /// What the platform said.
    pub detail: String,
}

/// A page of conversions.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Conversions {
    /// The page.
    pub conversions: Vec<Conversion>,
    /// Where the next page starts; null: this was the last.
    pub next_cursor: Option<String>,
}

/// A delivery that needs a human.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DeadLetter {
    /// The delivery's id.
    pub id: String,
    /// `delivery`.
    pub kind: String,
    /// The conversion.
    pub conversion_id: String,
    /// The organization.
    pub org_id: OrgIdText,
    /// The destination's name.
    pub destination: String,
    /// The platform's code.
    pub reason: Option<String>,
    /// What the platform said.
    pub detail: Option<String>,
    /// Failures, oldest first.
    pub attempts: Vec<Attempt>,
    /// When it first failed.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub first_failed_at: Timestamp,
    /// When it died.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub died_at: Timestamp,
    /// What a human should do about it.
    pub next_action: String,
    /// Whether sending it again may count it twice; a replay then needs `accept_duplicates`.
    pub may_duplicate: bool,
    /// What was to be sent, without personal data.
    pub payload: Payload,
}

/// The name of an organization.
pub type OrgIdText = String;

/// What was to be sent; identifiers only where they were asked for.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Payload {
    /// The conversion action's name.
    pub action: String,
    /// When it happened.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub occurred_at: Timestamp,
    /// What it is worth.
    pub value: Option<String>,
    /// The currency of the value.
    pub currency: Option<String>,
    /// The user's own id.
    pub order_id: Option<String>,
    /// The click id, shortened.
    pub click_id: Option<String>,
    /// Its kind.
    pub click_id_kind: Option<String>,
    /// What the platform deduplicates on.
    pub transaction_id: String,
    /// Whether it has identifiers.
    pub has_identifiers: bool,
    /// Who the person is: only for an admin who asks with `reveal=true`, which is audited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Object>))]
    pub identifiers: Option<serde_json::Value>,
}

/// A page of dead letters.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DeadLetters {
    /// The page.
    pub dead_letters: Vec<DeadLetter>,
    /// Where the next page starts; null: this was the last.
    pub next_cursor: Option<String>,
}

/// How far a replay is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ReplayStatus {
    /// Its id.
    pub replay_id: String,
    /// How far it is.
    pub state: ReplayState,
    /// Dead letters that matched when it began.
    pub matched: u64,
    /// Queued again so far.
    pub replayed: u64,
    /// Left out: not dead any more, or of unknown outcome without `accept_duplicates`.
    pub skipped: u64,
}

/// What a human should do about a delivery.
fn next_action(delivery: &DeliveryView) -> String {
    let by_code = || delivery.reason.as_deref().map_or("", codes::next_action).to_owned();
    match delivery.state {
        State::Queued | State::Retrying | State::InFlight => "nothing; `adsengineer work` sends it when it is due".to_owned(),
        State::AwaitingConfirmation => "nothing; `adsengineer work` asks for the verdict when it is due".to_owned(),
        State::Held => format!("{}; then `adsengineer work`", by_code()),
        State::Dead => format!("{}; then `adsengineer dlq replay {}`", by_code(), delivery.id),
        State::Delivered | State::DeliveredUnverified | State::Suppressed | State::Superseded | State::Discarded => "nothing".to_owned(),
    }
}

impl From<AttemptView> for Attempt {
    fn from(attempt: AttemptView) -> Self {
        Self { at: attempt.at, error: attempt.error.to_string(), detail: attempt.detail.to_string() }
    }
}

impl From<DeliveryView> for Delivery {
    fn from(d: DeliveryView) -> Self {
        Self {
            id: d.id.to_string(),
            next_action: next_action(&d),
            destination: d.destination.to_string(),
            revision: d.revision,
            state: d.state,
            reason: d.reason.map(|r| r.to_string()),
            detail: d.detail.map(|t| t.to_string()),
            attempts: d.attempts,
            next_attempt_at: d.next_attempt_at,
            transaction_id: d.transaction_id.to_string(),
            first_sent_at: d.first_sent_at,
            request_id: d.request_id.map(|id| id.to_string()),
            history: d.history.into_iter().map(Attempt::from).collect(),
        }
    }
}

impl From<ConversionView> for Conversion {
    fn from(c: ConversionView) -> Self {
        Self {
            id: c.id.to_string(),
            action: c.action.to_string(),
            occurred_at: c.occurred_at,
            value: c.value,
            currency: c.currency,
            order_id: c.order_id,
            click_id_kind: c.click_id_kind.map(ToOwned::to_owned),
            click_id: c.click_id,
            has_identifiers: c.has_identifiers,
            consent: c.consent,
            revision: c.revision,
            captured_at: c.captured_at,
            deliveries: c.deliveries.into_iter().map(Delivery::from).collect(),
        }
    }
}

impl From<store::Page<ConversionView>> for Conversions {
    fn from(page: store::Page<ConversionView>) -> Self {
        Self { conversions: page.items.into_iter().map(Conversion::from).collect(), next_cursor: page.next_cursor }
    }
}

impl DeadLetter {
    /// A dead letter of `org`.
    pub fn of(org: &OrgId, letter: store::DeadLetter) -> Self {
        let (c, d) = (letter.conversion, letter.delivery);
        let next_action = next_action(&d);
        let payload = Payload {
            action: c.action.to_string(),
            occurred_at: c.occurred_at,
            value: c.value,
            currency: c.currency,
            order_id: c.order_id,
            click_id: c.click_id,
            click_id_kind: c.click_id_kind.map(ToOwned::to_owned),
            transaction_id: d.transaction_id.to_string(),
            has_identifiers: c.has_identifiers,
            identifiers: None,
        };
        Self {
            id: d.id.to_string(),
            kind: "delivery".to_owned(),
            conversion_id: c.id.to_string(),
            org_id: org.to_string(),
            destination: d.destination.to_string(),
            reason: d.reason.map(|r| r.to_string()),
            detail: d.detail.map(|t| t.to_string()),
            attempts: d.history.into_iter().map(Attempt::from).collect(),
            first_failed_at: letter.first_failed_at,
            died_at: letter.died_at,
            next_action,
            may_duplicate: letter.may_duplicate,
            payload,
        }
    }
}

impl DeadLetters {
    /// A page of dead letters of `org`.
    pub fn of(org: &OrgId, page: store::Page<store::DeadLetter>) -> Self {
        Self { dead_letters: page.items.into_iter().map(|letter| DeadLetter::of(org, letter)).collect(), next_cursor: page.next_cursor }
    }
}

impl From<&store::Replay> for ReplayStatus {
    fn from(replay: &store::Replay) -> Self {
        Self {
            replay_id: replay.id.to_string(),
            state: replay.state,
            matched: replay.matched,
            replayed: replay.replayed,
            skipped: replay.skipped,
        }
    }
}
