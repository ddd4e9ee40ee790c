//! The closed set of commands that change what is kept.

use std::sync::Arc;

use super::{LeadBatch, Replay, Request};
use crate::{
    breaker::Breaker,
    click_id::ClickId,
    consent::AdConsent,
    conversion::{NaturalKey, OrderId},
    delivery::Next,
    destination::DestinationSpec,
    id::{DeliveryId, DestinationId, LeadId, UploadId},
    money::Money,
    org::OrgId,
    outcome::{HoldScope, Why},
    rate_limit::Quota,
};

/// A change.
#[derive(Clone, Debug)]
pub enum Write {
    /// Takes in a batch of conversions and makes their deliveries.
    Accept(Intake),
    /// Records an upload before it is sent.
    Begin(Begin),
    /// Records what became of claimed rows, of an upload and of a destination.
    Settle(Settle),
    /// Creates or replaces a destination.
    PutDestination(PutDestination),
    /// Removes a destination; its open deliveries become suppressed.
    RemoveDestination {
        /// Whose.
        org: OrgId,
        /// Which.
        destination: DestinationId,
        /// Even with deliveries that are not final; else it is refused.
        force: bool,
        /// When, in Unix milliseconds.
        now_ms: i64,
    },
    /// Holds every open, unclaimed row of a destination, or of one of its actions, and what is claimed there later.
    Hold {
        /// Which destination.
        destination: DestinationId,
        /// Which of its actions; `None`: all.
        action_id: Option<Arc<str>>,
        /// How much stops; [`HoldScope::Row`] is not allowed here.
        scope: HoldScope,
        /// Why.
        why: Why,
        /// When, in Unix milliseconds.
        now_ms: i64,
    },
    /// Lifts all holds of a destination, queues its held rows at once and closes its breaker.
    Release {
        /// Whose.
        org: OrgId,
        /// Which destination.
        destination: DestinationId,
        /// Also rows that were held one by one for a human's review ([`HoldScope::Row`]).
        reviewed: bool,
        /// When, in Unix milliseconds.
        now_ms: i64,
    },
    /// Sends dead letters again or gives them up.
    Repair(Repair),
    /// Remembers people who must not be sent, and stops what is open of theirs.
    Suppress {
        /// Whose.
        org: OrgId,
        /// Who, as keyed hashes.
        persons: Vec<PersonKey>,
        /// When, in Unix milliseconds.
        now_ms: i64,
    },
    /// Takes `cost` requests out of a platform quota shared by all processes.
    Reserve {
        /// The quota's name, for example one Cloud project's writes.
        quota: Arc<str>,
        /// What it allows.
        limits: Vec<Quota>,
        /// When, in Unix milliseconds.
        now_ms: i64,
    },
    /// Does a command on somebody's behalf, at most once where it has a key.
    Request(Box<Request>),
    /// Stores leads and the conversions that rules make of them.
    Leads(LeadBatch),
    /// Deletes a lead; what its person agreed to stays.
    DeleteLead {
        /// Whose.
        org: OrgId,
        /// Which.
        lead: LeadId,
        /// When, in Unix milliseconds.
        now_ms: i64,
    },
    /// Creates or replaces a rule, or removes it.
    PutRule {
        /// Whose.
        org: OrgId,
        /// Its name, unique in the organization.
        name: Arc<str>,
        /// What it says, as JSON; `None` removes it.
        spec: Option<Arc<str>>,
        /// When, in Unix milliseconds.
        now_ms: i64,
    },
    /// Makes a token invalid.
    RevokeToken {
        /// Whose.
        org: OrgId,
        /// The token's id.
        jti: Arc<str>,
        /// Until when, in Unix milliseconds: no token with this id can be valid later.
        until_ms: i64,
        /// When, in Unix milliseconds.
        now_ms: i64,
    },
    /// Makes a replay (one without id), or records how far it is; one that no longer runs stays as it is.
    PutReplay {
        /// The replay.
        replay: Box<Replay>,
        /// What it does with this step; what is not dead any more counts as skipped.
        repair: Option<Repair>,
        /// When, in Unix milliseconds.
        now_ms: i64,
    },
    /// Records an act that changes nothing, for the audit log.
    Note {
        /// Whose.
        org: OrgId,
        /// What was done, for example `dead_letter.revealed`.
        action: &'static str,
        /// To what: an id or a name.
        object: Arc<str>,
        /// When, in Unix milliseconds.
        now_ms: i64,
    },
}

impl Write {
    /// When it happens, in Unix milliseconds.
    pub fn now_ms(&self) -> i64 {
        match self {
            Self::Accept(intake) => intake.now_ms,
            Self::Begin(begin) => begin.now_ms,
            Self::Settle(settle) => settle.now_ms,
            Self::PutDestination(put) => put.now_ms,
            Self::Repair(repair) => repair.now_ms,
            Self::Request(request) => request.command.now_ms(),
            Self::Leads(batch) => batch.now_ms,
            Self::RemoveDestination { now_ms, .. }
            | Self::Hold { now_ms, .. }
            | Self::Release { now_ms, .. }
            | Self::Suppress { now_ms, .. }
            | Self::Reserve { now_ms, .. }
            | Self::DeleteLead { now_ms, .. }
            | Self::PutRule { now_ms, .. }
            | Self::RevokeToken { now_ms, .. }
            | Self::PutReplay { now_ms, .. }
            | Self::Note { now_ms, .. } => *now_ms,
        }
    }
}

/// A keyed hash of an identifier (HMAC-SHA-256, first 16 bytes), for finding a person without storing who it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PersonKey(pub [u8; 16]);

/// A batch of incoming rows. One append-only row says what came in; the deliveries say what became of it.
#[derive(Clone, Debug)]
pub struct Intake {
    /// Whose.
    pub org: OrgId,
    /// When, in Unix milliseconds.
    pub now_ms: i64,
    /// Where from, for example `file:deals.csv`.
    pub source: Arc<str>,
    /// How consent was established where rows did not say (who, when, file hash), as JSON.
    pub consent_proof: Option<Arc<str>>,
    /// Rows read, those not in `conversions` included.
    pub rows: u64,
    /// Rows refused before they came here.
    pub refused: u64,
    /// Rows whose person said no; nothing else is kept of them.
    pub denied: u64,
    /// Whether a known conversion with another value becomes a restatement.
    pub restate: bool,
    /// The rows to capture.
    pub conversions: Vec<NewConversion>,
}

/// A conversion to capture, its identifiers sealed.
#[derive(Clone, Debug)]
pub struct NewConversion {
    /// Identity.
    pub key: NaturalKey,
    /// The action's name.
    pub action: Arc<str>,
    /// Unix seconds.
    pub occurred_at: i64,
    /// What it is worth.
    pub value: Option<Money>,
    /// The user's own id.
    pub order_id: Option<OrderId>,
    /// The click.
    pub click_id: Option<ClickId>,
    /// What the person agreed to.
    pub consent: AdConsent,
    /// Identifiers, sealed.
    pub identifiers: Option<Box<[u8]>>,
    /// Keyed hashes of the identifiers and the click id, for suppression and look-up.
    pub persons: Vec<PersonKey>,
    /// Set for a change of a conversion that must be known already.
    pub adjustment: Option<Adjust>,
    /// Where it goes.
    pub deliveries: Vec<NewDelivery>,
}

/// A change of a known conversion's value. The one with the latest time counts, in whatever order they arrive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Adjust {
    /// When the value changed, in Unix seconds.
    pub at: i64,
    /// A retraction; the value is zero then.
    pub retract: bool,
}

/// A delivery to make.
#[derive(Clone, Debug)]
pub struct NewDelivery {
    /// Where to.
    pub destination: DestinationId,
    /// The platform's id of the conversion action.
    pub action_id: Arc<str>,
    /// The transaction id; where it is the user's own (`owned`), no other conversion may have it at that account and action.
    pub transaction_id: Arc<str>,
    /// First 16 bytes of SHA-256 over platform, account, action id and transaction id, when the transaction id is the user's own.
    pub owned: Option<[u8; 16]>,
    /// Not before, in Unix milliseconds.
    pub due_ms: i64,
}

/// A worker process.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct WorkerId(pub i64);

/// A claim on rows for a time. A settle that names a lease which is no longer the row's changes nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lease {
    /// Who.
    pub worker: WorkerId,
    /// Which claim; unique among all claims. A claim under a token that another worker's rows are under is refused.
    pub token: i64,
    /// Until when, in Unix milliseconds.
    pub until_ms: i64,
}

/// An upload about to be sent. If any of its rows is no longer ours, nothing is recorded.
#[derive(Clone, Debug)]
pub struct Begin {
    /// Where to.
    pub destination: DestinationId,
    /// The claim under which the rows are held.
    pub lease: Lease,
    /// The platform's id of the action that all rows share.
    pub action_id: Arc<str>,
    /// Rows in the order of the request, each with the hash of its event as sent.
    pub rows: Vec<(DeliveryId, u64)>,
    /// SHA-256 of the body.
    pub body_hash: [u8; 32],
    /// When, in Unix milliseconds.
    pub now_ms: i64,
}

/// Under which claim rows are settled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Guard {
    /// Claimed rows.
    Lease(Lease),
    /// Rows that await the verdict on this upload.
    Verdict(UploadId),
}

/// What became of rows, of their upload and of their destination.
#[derive(Clone, Debug)]
pub struct Settle {
    /// Which destination.
    pub destination: DestinationId,
    /// By what right.
    pub guard: Guard,
    /// When, in Unix milliseconds.
    pub now_ms: i64,
    /// Next states, each with the rows that enter it. Rows with `part` are kept together and apart from others.
    pub rows: Vec<Settled>,
    /// The upload, if one was sent or judged.
    pub upload: Option<UploadResult>,
    /// The destination's new condition; `None` leaves it.
    pub breaker: Option<Breaker>,
    /// Nothing of the destination is claimed before this time, in Unix milliseconds.
    pub paused_until_ms: Option<i64>,
}

/// Rows that enter the same state.
#[derive(Clone, Debug)]
pub struct Settled {
    /// The state.
    pub next: Next,
    /// Rows with the same part are sent together, in one request of their own; 0: no part.
    pub part: i64,
    /// Which rows.
    pub deliveries: Vec<DeliveryId>,
}

/// What became of an upload.
#[derive(Clone, Debug)]
pub struct UploadResult {
    /// Which.
    pub upload: UploadId,
    /// The platform's id of the request.
    pub request_id: Option<Arc<str>>,
    /// When to ask for the verdict, in Unix milliseconds; `None`: never (again).
    pub poll_at_ms: Option<i64>,
    /// What the platform said of the whole request, where something went wrong.
    pub why: Option<Why>,
}

/// Creates or replaces a destination.
#[derive(Clone, Debug)]
pub struct PutDestination {
    /// Whose.
    pub org: OrgId,
    /// Its name, unique in the organization.
    pub name: Arc<str>,
    /// How it is set up.
    pub spec: DestinationSpec,
    /// What happens to the credentials.
    pub credentials: CredentialsChange,
    /// When, in Unix milliseconds.
    pub now_ms: i64,
}

/// What happens to a destination's stored credentials.
#[derive(Clone, Debug)]
pub enum CredentialsChange {
    /// They stay.
    Keep,
    /// They are removed.
    Remove,
    /// These take their place, sealed.
    Set(Box<[u8]>),
}

/// Sends dead letters again or gives them up.
#[derive(Clone, Debug)]
pub struct Repair {
    /// Whose.
    pub org: OrgId,
    /// Which.
    pub deliveries: Vec<DeliveryId>,
    /// What to do.
    pub action: RepairAction,
    /// Said by the one who did it, for the audit log.
    pub note: Option<Arc<str>>,
    /// When, in Unix milliseconds.
    pub now_ms: i64,
}

/// What to do with a dead letter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RepairAction {
    /// Queue it again with fresh attempts.
    Replay {
        /// Spread over this many milliseconds per row, to keep to a rate.
        every_ms: i64,
    },
    /// Give it up.
    Discard,
}
