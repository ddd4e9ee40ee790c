//! Destinations, where they stand, and the sum.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::time;
use crate::{
    delivery::State,
    destination::google::codes,
    outcome::HoldScope,
    store::{self, DestinationStatus, HeldCount, Hold, StoredDestination},
};

/// A destination as it is set up; its credentials are never shown.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Destination {
    /// Its name, unique in the organization.
    pub name: String,
    /// Its id.
    pub id: String,
    /// Platform and interface: `google`.
    pub kind: String,
    /// The account that owns the conversion actions, such as 123-456-7890.
    pub customer_id: String,
    /// The manager account through which the credentials reach it.
    pub login_customer_id: Option<String>,
    /// Conversion action names and the platform's ids for them.
    pub actions: BTreeMap<String, String>,
    /// Put before every order id.
    pub order_id_prefix: Option<String>,
    /// Whether anything is sent to it.
    pub enabled: bool,
    /// `stored`, `configured`, `refused` or `missing`.
    pub credentials: String,
    /// The circuit breaker: `closed`, `half_open` or `open`.
    pub breaker: String,
    /// Why everything is held, if it is.
    pub hold: Option<Held>,
}

/// A page of destinations.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Destinations {
    /// All of them, by name.
    pub destinations: Vec<Destination>,
    /// Always null: there is one page.
    pub next_cursor: Option<String>,
}

/// Rows that are held for one reason.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Held {
    /// The code.
    pub reason: String,
    /// What the platform said.
    pub detail: String,
    /// How many rows.
    pub count: u64,
    /// Since when.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub since: Timestamp,
    /// What a human should do about it.
    pub next_action: String,
}

/// Where a destination stands.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Standing {
    /// The organization.
    pub org_id: String,
    /// The destination's name.
    pub name: String,
    /// Its id.
    pub id: String,
    /// Platform and interface.
    pub kind: String,
    /// The account, such as 123-456-7890.
    pub customer_id: String,
    /// Whether anything is sent to it.
    pub enabled: bool,
    /// Deliveries in every state.
    pub states: BTreeMap<String, u64>,
    /// Held rows by reason.
    pub held: Vec<Held>,
    /// The circuit breaker.
    pub breaker: String,
    /// Nothing is sent before this time.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = DateTime))]
    pub paused_until: Option<Timestamp>,
    /// Why everything is held, if it is.
    pub hold: Option<Held>,
    /// `stored`, `configured`, `refused` or `missing`.
    pub credentials: String,
    /// When its earliest unfinished row is due.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = DateTime))]
    pub next_due_at: Option<Timestamp>,
    /// When its earliest verdict is to be asked for.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = DateTime))]
    pub next_verdict_at: Option<Timestamp>,
    /// Age of the oldest row that is due and not claimed, in seconds.
    pub oldest_due_seconds: Option<i64>,
    /// Value of what is open or dead, by currency, as decimals.
    pub value_at_risk: BTreeMap<String, String>,
}

/// Where an organization stands.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Status {
    /// Its destinations by name.
    pub destinations: Vec<Standing>,
    /// Its leads.
    #[serde(default)]
    pub leads: store::LeadCounts,
}

/// The sum: what came in must equal what became of it, in deliveries.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Reconciliation {
    /// Deliveries that the accepted batches say were made.
    pub captured: u64,
    /// Deliveries by state, counted from their rows.
    pub states: BTreeMap<String, u64>,
    /// Whether both are equal.
    pub closes: bool,
    /// Rows read.
    pub rows: u64,
    /// Rows refused.
    pub refused: u64,
    /// Rows whose person said no.
    pub denied: u64,
    /// Rows known already.
    pub duplicates: u64,
    /// Conversions captured.
    pub conversions: u64,
}

fn credentials(d: &StoredDestination) -> String {
    match &d.health.hold {
        Some(hold) if hold.scope == HoldScope::Credentials => "refused",
        _ if d.credentials.is_some() => "stored",
        _ if d.spec.credentials_ref.is_some() => "configured",
        _ => "missing",
    }
    .to_owned()
}

impl Held {
    fn everything(hold: &Hold) -> Self {
        Self::new(&hold.why.code, &hold.why.detail, 0, hold.since_ms)
    }

    fn new(code: &str, detail: &str, count: u64, since_ms: i64) -> Self {
        let next_action = codes::next_action(code).to_owned();
        Self { reason: code.to_owned(), detail: detail.to_owned(), count, since: time(since_ms), next_action }
    }
}

impl From<&HeldCount> for Held {
    fn from(held: &HeldCount) -> Self {
        Self::new(&held.why.code, &held.why.detail, held.count, held.since_ms)
    }
}

impl From<&StoredDestination> for Destination {
    fn from(d: &StoredDestination) -> Self {
        Self {
            name: d.name.to_string(),
            id: d.id.to_string(),
            kind: d.spec.kind.to_string(),
            customer_id: d.spec.customer_id.to_string(),
            login_customer_id: d.spec.login_customer_id.map(|id| id.to_string()),
            actions: d.spec.actions.clone(),
            order_id_prefix: d.spec.order_id_prefix.clone(),
            enabled: d.spec.enabled,
            credentials: credentials(d),
            breaker: d.health.breaker.as_str().to_owned(),
            hold: d.health.hold.as_ref().map(Held::everything),
        }
    }
}

impl From<&DestinationStatus> for Standing {
    fn from(s: &DestinationStatus) -> Self {
        let d = &s.destination;
        let states = State::ALL.iter().map(|state| (state.as_str().to_owned(), s.states.get(state).copied().unwrap_or(0)));
        Self {
            org_id: d.org.to_string(),
            name: d.name.to_string(),
            id: d.id.to_string(),
            kind: d.spec.kind.to_string(),
            customer_id: d.spec.customer_id.to_string(),
            enabled: d.spec.enabled,
            states: states.collect(),
            held: s.held.iter().map(Held::from).collect(),
            breaker: d.health.breaker.as_str().to_owned(),
            paused_until: d.health.paused_until_ms.map(time),
            hold: d.health.hold.as_ref().map(Held::everything),
            credentials: credentials(d),
            next_due_at: s.next_due_ms.map(time),
            next_verdict_at: s.next_poll_ms.map(time),
            oldest_due_seconds: s.oldest_due_ms.map(|ms| ms / 1000),
            value_at_risk: s.value_at_risk.clone(),
        }
    }
}

impl From<&store::Reconciliation> for Reconciliation {
    fn from(sum: &store::Reconciliation) -> Self {
        Self {
            captured: sum.captured,
            states: sum.states.iter().map(|(state, n)| (state.as_str().to_owned(), *n)).collect(),
            closes: sum.closes(),
            rows: sum.rows,
            refused: sum.refused,
            denied: sum.denied,
            duplicates: sum.duplicates,
            conversions: sum.conversions,
        }
    }
}
