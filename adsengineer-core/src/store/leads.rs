//! Commands and views of leads, and of what surrounds requests: once-only, rules, revoked tokens, replays.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{DeadLetterQuery, Intake, PersonKey, Repaired, Write};
use crate::{
    id::{ChangeId, DeliveryId, LeadId, ReplayId},
    org::OrgId,
};

/// A command done on somebody's behalf, at most once where it has a key.
#[derive(Clone, Debug)]
pub struct Request {
    /// Who, for the audit log; never an e-mail address.
    pub by: Arc<str>,
    /// Under which key it is done once.
    pub once: Option<Once>,
    /// What is done.
    pub command: Write,
}

/// A key under which a request is done once; remembered for [`ONCE_MS`].
#[derive(Clone, Debug)]
pub struct Once {
    /// Whose.
    pub org: OrgId,
    /// The keyed hash of the key.
    pub key: [u8; 16],
    /// The keyed hash of the request.
    pub body: [u8; 16],
}

/// How long a request is remembered, in milliseconds: 24 hours.
pub const ONCE_MS: i64 = 86_400_000;

/// Leads to store, all or none.
#[derive(Clone, Debug)]
pub struct LeadBatch {
    /// Whose.
    pub org: OrgId,
    /// When, in Unix milliseconds.
    pub now_ms: i64,
    /// What is stored.
    pub leads: Vec<LeadWrite>,
    /// How many people said no; nothing else is kept of them.
    pub denied: u64,
    /// Conversions that the organization's rules make of them.
    pub intake: Option<Intake>,
}

/// One lead to store.
#[derive(Clone, Debug)]
pub struct LeadWrite {
    /// The lead and the change that this one was computed from; `None`: it is new.
    pub known: Option<(LeadId, ChangeId)>,
    /// The keyed hash of site and the site's own id, first 16 bytes; no two leads of an organization share it.
    pub external: Option<[u8; 16]>,
    /// Keyed hashes of the person's identifiers.
    pub persons: Vec<PersonKey>,
    /// The status as a number.
    pub status: u8,
    /// The score.
    pub score: u8,
    /// What the person agreed to, as JSON.
    pub consent: Arc<str>,
    /// Everything else, sealed.
    pub content: Box<[u8]>,
}

/// A lead as it is stored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredLead {
    /// Id.
    pub id: LeadId,
    /// Its latest change.
    pub changed: ChangeId,
    /// The status as a number.
    pub status: u8,
    /// The score.
    pub score: u8,
    /// What the person agreed to, as JSON.
    pub consent: Arc<str>,
    /// Everything else, sealed.
    pub content: Box<[u8]>,
}

/// Which leads.
#[derive(Clone, Debug, Default)]
pub struct LeadQuery {
    /// Only those with this status, as a number.
    pub status: Option<u8>,
    /// Only those stored or changed since, in Unix milliseconds.
    pub updated_since_ms: Option<i64>,
    /// Latest change first.
    pub descending: bool,
    /// From where: the change at which the page before ended.
    pub cursor: Option<ChangeId>,
    /// How many at most; 0 means 50.
    pub limit: usize,
}

/// How many leads an organization had.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LeadCounts {
    /// Stored for the first time.
    pub stored: u64,
    /// Updated.
    pub updated: u64,
    /// Denied; nothing else is known of them.
    pub denied: u64,
}

/// A rule as it is stored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredRule {
    /// Its name, unique in the organization.
    pub name: Arc<str>,
    /// What it says, as JSON.
    pub spec: Arc<str>,
}

/// A token that is no longer valid.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RevokedToken {
    /// Place in the order of revocations.
    pub seq: i64,
    /// Whose.
    pub org: OrgId,
    /// Its id.
    pub jti: Arc<str>,
}

/// How far a replay is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum ReplayState {
    /// It goes on.
    Running,
    /// Somebody stopped it.
    Stopped,
    /// Nothing is left to do.
    Finished,
}

/// A replay of dead letters that goes on by itself.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Replay {
    /// Id; zero for one to be made.
    #[serde(skip, default = "no_replay")]
    pub id: ReplayId,
    /// Whose.
    #[serde(skip)]
    pub org: OrgId,
    /// Who asked for it.
    pub by: Arc<str>,
    /// How far it is.
    pub state: ReplayState,
    /// Dead letters that matched when it began.
    pub matched: u64,
    /// Queued again so far.
    pub replayed: u64,
    /// Left out: not dead any more, or their outcome is unknown and duplicates were not accepted.
    pub skipped: u64,
    /// Whether the dead letters were named.
    pub by_name: bool,
    /// Those that are still to be done, if they were named.
    pub ids: Vec<DeliveryId>,
    /// Only those with this reason.
    pub reason: Option<String>,
    /// Only those of this destination.
    pub destination: Option<String>,
    /// Only those that died since, in Unix milliseconds.
    pub since_ms: Option<i64>,
    /// Only those that died before, in Unix milliseconds; later ones died of this replay.
    pub until_ms: i64,
    /// Where it goes on.
    pub cursor: Option<String>,
    /// Milliseconds between two.
    pub every_ms: i64,
    /// When its next rows are due, in Unix milliseconds.
    pub next_ms: i64,
    /// Also those of unknown outcome.
    pub accept_duplicates: bool,
    /// Said by the one who asked.
    pub note: Option<Arc<str>>,
    /// How often it was recorded; a step that was computed from an older record is refused.
    #[serde(default)]
    pub steps: u64,
}

fn no_replay() -> ReplayId {
    ReplayId(0)
}

impl Replay {
    /// Whether this was computed from `known`, which still runs.
    pub(super) fn follows(&self, known: &Self) -> bool {
        known.state == ReplayState::Running && known.org == self.org && known.steps == self.steps
    }

    /// Counts what became of a step.
    pub(super) fn count(&mut self, results: &[Repaired]) {
        let done = results.iter().filter(|r| **r == Repaired::Done).count();
        self.replayed += done as u64;
        self.skipped += (results.len() - done) as u64;
    }

    /// The dead letters that it goes on with.
    pub fn query(&self, limit: usize) -> DeadLetterQuery {
        DeadLetterQuery {
            reason: self.reason.clone(),
            destination: self.destination.clone(),
            since_ms: self.since_ms,
            until_ms: Some(self.until_ms),
            cursor: self.cursor.clone(),
            limit,
        }
    }
}

/// What became of a consent: one of the records of a lead, oldest first.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredConsent {
    /// When it was recorded.
    pub at: Timestamp,
    /// The record, as JSON.
    pub record: Arc<str>,
}
