//! What the store shows: rows as the worker, the CLI and the API read them.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use serde::Serialize;

use crate::{
    breaker::Breaker,
    click_id::ClickId,
    consent::AdConsent,
    delivery::State,
    destination::DestinationSpec,
    id::{ConversionId, DeliveryId, DestinationId, UploadId},
    money::Money,
    org::OrgId,
    outcome::{HoldScope, Why},
};

/// A destination as it is stored.
#[derive(Clone, Debug)]
pub struct StoredDestination {
    /// Id.
    pub id: DestinationId,
    /// Whose.
    pub org: OrgId,
    /// Name.
    pub name: Arc<str>,
    /// How it is set up.
    pub spec: DestinationSpec,
    /// Its credentials, sealed.
    pub credentials: Option<Box<[u8]>>,
    /// How it is doing.
    pub health: Health,
}

/// How a destination is doing.
#[derive(Clone, Debug, Default)]
pub struct Health {
    /// Its circuit breaker.
    pub breaker: Breaker,
    /// Nothing is claimed before this time, in Unix milliseconds.
    pub paused_until_ms: Option<i64>,
    /// Everything is held.
    pub hold: Option<Hold>,
    /// Actions whose rows are held, by the platform's id.
    pub held_actions: BTreeMap<Arc<str>, Hold>,
}

/// Why something is held, and since when.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, serde::Deserialize)]
pub struct Hold {
    /// How much.
    pub scope: HoldScope,
    /// Why.
    pub why: Why,
    /// Since when, in Unix milliseconds.
    pub since_ms: i64,
}

/// Open work of one destination.
#[derive(Clone, Debug)]
pub struct Agenda {
    /// Which.
    pub destination: StoredDestination,
    /// When its earliest claimable row is due, in Unix milliseconds.
    pub next_due_ms: Option<i64>,
    /// When its earliest verdict is to be asked for, in Unix milliseconds.
    pub next_poll_ms: Option<i64>,
    /// Rows claimed by any worker and not settled yet.
    pub in_flight: u64,
}

impl Agenda {
    /// Whether there is anything that is not final and not held.
    pub fn is_open(&self) -> bool {
        self.next_due_ms.is_some() || self.next_poll_ms.is_some() || self.in_flight > 0
    }
}

/// A claimed row: all that is needed to send it.
#[derive(Clone, Debug)]
pub struct Claimed {
    /// Which.
    pub id: DeliveryId,
    /// Of which conversion.
    pub conversion: ConversionId,
    /// Which revision of it.
    pub revision: u32,
    /// Whose.
    pub org: OrgId,
    /// The platform's id of the conversion action.
    pub action_id: Arc<str>,
    /// What the platform deduplicates on.
    pub transaction_id: Arc<str>,
    /// Attempts that counted.
    pub attempts: u16,
    /// When it was first sent, in Unix milliseconds.
    pub first_sent_ms: Option<i64>,
    /// Splits so far.
    pub round: u8,
    /// Rows with the same part go together; 0: no part.
    pub part: i64,
    /// The hash of its event as it was first sent; a resend must be the same.
    pub event_hash: Option<u64>,
    /// Unix seconds.
    pub occurred_at: i64,
    /// The value of its revision.
    pub value: Option<Money>,
    /// The click.
    pub click_id: Option<ClickId>,
    /// What the person agreed to.
    pub consent: AdConsent,
    /// Identifiers, sealed.
    pub identifiers: Option<Box<[u8]>>,
}

/// An upload whose verdict is wanted.
#[derive(Clone, Debug)]
pub struct PendingUpload {
    /// Which.
    pub id: UploadId,
    /// The platform's id of the request.
    pub request_id: Arc<str>,
    /// The platform's id of the conversion action that its rows share.
    pub action_id: Arc<str>,
    /// When it was sent, in Unix milliseconds.
    pub sent_ms: i64,
    /// Times asked so far.
    pub polls: u32,
    /// Splits that led to it.
    pub round: u8,
    /// Its rows in the order of the request, with the attempts of each and whether it had been sent before this upload.
    pub rows: Vec<PendingRow>,
}

/// A row of an upload whose verdict is wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PendingRow {
    /// Which.
    pub id: DeliveryId,
    /// Attempts that counted.
    pub attempts: u16,
    /// When it was first sent, in Unix milliseconds.
    pub first_sent_ms: Option<i64>,
    /// Unix seconds.
    pub occurred_at: i64,
}

/// One page of a list.
#[derive(Clone, Debug)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// Where the next page starts; `None`: this was the last.
    pub next_cursor: Option<String>,
}

/// Which conversions.
#[derive(Clone, Debug, Default)]
pub struct ConversionQuery {
    /// Only those with a delivery in this state.
    pub state: Option<State>,
    /// Only those created or changed since, in Unix milliseconds.
    pub updated_since_ms: Option<i64>,
    /// Only the one with this order id.
    pub order_id: Option<String>,
    /// Newest first.
    pub descending: bool,
    /// From where.
    pub cursor: Option<String>,
    /// How many at most; 0 means 50.
    pub limit: usize,
}

/// A conversion and what becomes of it.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct ConversionView {
    /// Id.
    pub id: ConversionId,
    /// The action's name.
    pub action: Arc<str>,
    /// When it happened.
    pub occurred_at: Timestamp,
    /// The value of its latest revision, as a decimal.
    pub value: Option<String>,
    /// The currency of the value.
    pub currency: Option<String>,
    /// The user's own id.
    pub order_id: Option<String>,
    /// The kind of its click id: `gclid`, `gbraid`, `wbraid`.
    pub click_id_kind: Option<&'static str>,
    /// The click id, shortened.
    pub click_id: Option<String>,
    /// Whether it has identifiers; they are never shown.
    pub has_identifiers: bool,
    /// What the person agreed to.
    pub consent: AdConsent,
    /// The latest revision.
    pub revision: u32,
    /// When it was captured.
    pub captured_at: Timestamp,
    /// Its deliveries, oldest first.
    pub deliveries: Vec<DeliveryView>,
}

/// A delivery as it is shown.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct DeliveryView {
    /// Id.
    pub id: DeliveryId,
    /// The destination's name.
    pub destination: Arc<str>,
    /// Which revision.
    pub revision: u32,
    /// Where it stands.
    pub state: State,
    /// The code of why it is there.
    pub reason: Option<Arc<str>>,
    /// What the platform said.
    pub detail: Option<Arc<str>>,
    /// Attempts that counted.
    pub attempts: u16,
    /// When it is due.
    pub next_attempt_at: Option<Timestamp>,
    /// What the platform deduplicates on.
    pub transaction_id: Arc<str>,
    /// When it was first sent.
    pub first_sent_at: Option<Timestamp>,
    /// The platform's id of the latest request that it was in.
    pub request_id: Option<Arc<str>>,
    /// Failures so far, oldest first.
    pub history: Vec<AttemptView>,
}

/// A failed attempt.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct AttemptView {
    /// When.
    pub at: Timestamp,
    /// The code of what went wrong.
    pub error: Arc<str>,
    /// What the platform said.
    pub detail: Arc<str>,
}

/// Which dead letters.
#[derive(Clone, Debug, Default)]
pub struct DeadLetterQuery {
    /// Only those with this reason.
    pub reason: Option<String>,
    /// Only those of this destination, by name.
    pub destination: Option<String>,
    /// Only those that died since, in Unix milliseconds.
    pub since_ms: Option<i64>,
    /// Only those that died before, in Unix milliseconds.
    pub until_ms: Option<i64>,
    /// From where.
    pub cursor: Option<String>,
    /// How many at most; 0 means 50.
    pub limit: usize,
}

/// A delivery that needs a human.
#[derive(Clone, PartialEq, Debug)]
pub struct DeadLetter {
    /// The conversion.
    pub conversion: ConversionView,
    /// The dead delivery.
    pub delivery: DeliveryView,
    /// When it first failed.
    pub first_failed_at: Timestamp,
    /// When it died.
    pub died_at: Timestamp,
    /// Whether it is an unknown outcome older than the platform's memory, so that sending it again may count it twice.
    pub may_duplicate: bool,
}

/// Where a destination stands.
#[derive(Clone, Debug)]
pub struct DestinationStatus {
    /// The destination.
    pub destination: StoredDestination,
    /// Deliveries by state.
    pub states: BTreeMap<State, u64>,
    /// Held rows by reason: code, how many, since when (Unix milliseconds).
    pub held: Vec<HeldCount>,
    /// When its earliest unfinished row is due, in Unix milliseconds.
    pub next_due_ms: Option<i64>,
    /// When its earliest verdict is to be asked for, in Unix milliseconds.
    pub next_poll_ms: Option<i64>,
    /// Age of the oldest row that is due and not claimed, in milliseconds.
    pub oldest_due_ms: Option<i64>,
    /// Value of what is open or dead, by currency, as exact decimals.
    pub value_at_risk: BTreeMap<String, String>,
}

/// Held rows with one reason.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HeldCount {
    /// Why.
    pub why: Why,
    /// How many.
    pub count: u64,
    /// Since when, in Unix milliseconds.
    pub since_ms: i64,
}

/// The sum: what came in must equal what became of it, in deliveries.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Reconciliation {
    /// Deliveries that the intake rows say were made.
    pub captured: u64,
    /// Deliveries by state, counted from their rows.
    pub states: BTreeMap<State, u64>,
    /// Rows read, from the intake rows.
    pub rows: u64,
    /// Rows refused.
    pub refused: u64,
    /// Rows denied.
    pub denied: u64,
    /// Rows known already.
    pub duplicates: u64,
    /// Conversions captured.
    pub conversions: u64,
}

impl Reconciliation {
    /// Whether the sum closes.
    pub fn closes(&self) -> bool {
        self.captured == self.states.values().sum::<u64>()
    }
}

/// An upload as it is shown.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct UploadView {
    /// Id.
    pub id: UploadId,
    /// The destination's name.
    pub destination: Arc<str>,
    /// Rows in it.
    pub rows: u64,
    /// When it was sent.
    pub sent_at: Timestamp,
    /// Whether the platform answered.
    pub answered: bool,
    /// The platform's id of the request.
    pub request_id: Option<Arc<str>>,
    /// When the verdict is to be asked for.
    pub next_poll_at: Option<Timestamp>,
    /// What went wrong with the whole request.
    pub error: Option<Why>,
}

/// An opaque id, shortened for screens: enough to recognise, too little to use.
pub fn shorten(id: &str) -> String {
    let head: String = id.chars().take(8).collect();
    if head.len() == id.len() { head } else { format!("{head}…") }
}
