//! What every store decides alike: pure functions over commands, rows and their conditions.

use std::sync::Arc;

use super::{
    Captured, CredentialsChange, Done, Health, Hold, Intake, Lease, RepairAction, Repaired, Replay, ReplayState, StoreError, Write,
};
use crate::{
    audit::{Entry, LEADS_STORED},
    delivery::State,
    id::{DestinationId, ReplayId},
    org::OrgId,
    outcome::Why,
};

/// How long a row waits for an older revision's delivery to become final before it is looked at again.
pub(crate) const PREDECESSOR_WAIT_MS: i64 = 5_000;

/// Why rows are stopped for good.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum StopCause {
    /// Consent was withdrawn, or the person was erased.
    Consent,
    /// The destination was removed.
    Removed,
}

/// What an intake row says beyond what came with it.
pub(crate) struct IntakeSums {
    pub(crate) refused: u64,
    pub(crate) duplicates: u64,
    pub(crate) conversions: u64,
}

pub(crate) fn intake_sums(intake: &Intake, captured: &[Captured]) -> IntakeSums {
    let count = |wanted: fn(&Captured) -> bool| captured.iter().filter(|c| wanted(c)).count() as u64;
    let refused_here = count(|c| {
        matches!(c, Captured::Different { .. } | Captured::OrderIdTaken { .. } | Captured::Suppressed | Captured::OriginalMissing)
    });
    IntakeSums {
        refused: intake.refused + refused_here,
        duplicates: count(|c| matches!(c, Captured::Known { .. })),
        conversions: count(|c| matches!(c, Captured::New(_))),
    }
}

/// The state that a row really enters: one whose consent was withdrawn on its way is never sent again, and of one whose
/// destination was removed nobody will ask for the verdict.
pub(crate) fn after_stop(next: State, stop: bool, removed: bool) -> State {
    match next {
        State::Queued | State::Retrying | State::Held | State::Dead if stop => State::Suppressed,
        State::AwaitingConfirmation if removed => State::DeliveredUnverified,
        next => next,
    }
}

impl Lease {
    /// Whether this is the same claim: a token alone could be another worker's too.
    pub fn is(self, other: Self) -> bool {
        (self.token, self.worker) == (other.token, other.worker)
    }
}

impl Health {
    /// The hold that a row of this action is under.
    pub fn hold_on(&self, action_id: &Arc<str>) -> Option<&Hold> {
        self.hold.as_ref().or_else(|| self.held_actions.get(action_id))
    }

    /// Adds a hold on one action, or on all; an earlier one stays.
    pub(crate) fn add_hold(&mut self, action_id: Option<&Arc<str>>, hold: Hold) {
        match action_id {
            Some(action) => {
                self.held_actions.entry(action.clone()).or_insert(hold);
            }
            None => {
                self.hold.get_or_insert(hold);
            }
        }
    }
}

/// The error for a destination whose account may no longer change.
pub(crate) fn moved_account(name: &str) -> StoreError {
    StoreError::Conflict(format!(
        "destination `{name}` has deliveries, so its account stays; add another destination for the other account"
    ))
}

/// Refuses to remove a destination with deliveries that are not final.
pub(crate) fn refuse_open(name: &str, open: u64) -> Result<(), StoreError> {
    match open {
        0 => Ok(()),
        n => Err(StoreError::Conflict(format!("`{name}` has {n} open deliveries, which would be stopped; force it if they should be"))),
    }
}

pub(crate) fn answer_lost() -> Why {
    Why::new("ANSWER_LOST", "the process that sent it ended before the answer was recorded")
}

pub(crate) fn destination_removed() -> Why {
    Why::new("DESTINATION_REMOVED", "its destination was removed")
}

pub(crate) fn suppressed_person() -> Why {
    Why::new("SUPPRESSED_PERSON", "the person withdrew consent or was erased")
}

/// What the audit log says of a command: acts of people, not the steps of a worker. Never personal data.
pub(crate) fn audited(command: &Write, done: &Done, org_of: &dyn Fn(DestinationId) -> Option<OrgId>) -> Option<Entry> {
    let changed = if let Done::Changed(rows) = done { *rows } else { 0 };
    let entry = |org: &OrgId, action: &str, object: String, count, detail: Option<String>| {
        Some(Entry { org: org.to_string(), action: action.to_owned(), object, count, by: None, detail })
    };
    match (command, done) {
        (Write::Accept(intake), Done::Accepted(id, captured)) => {
            let new = intake_sums(intake, captured).conversions;
            entry(&intake.org, "conversions.accepted", id.to_string(), new, intake.restate.then(|| "restate".to_owned()))
        }
        (Write::PutDestination(put), Done::Destination(id)) => {
            let credentials = match put.credentials {
                CredentialsChange::Keep => "credentials kept",
                CredentialsChange::Remove => "credentials removed",
                CredentialsChange::Set(_) => "credentials set",
            };
            entry(&put.org, "destination.put", id.to_string(), 1, Some(format!("{}: {credentials}", put.name)))
        }
        (Write::RemoveDestination { org, destination, .. }, _) => entry(org, "destination.removed", destination.to_string(), changed, None),
        (Write::Release { org, destination, reviewed, .. }, _) => {
            let detail = reviewed.then(|| "rows for review included".to_owned());
            entry(org, "destination.released", destination.to_string(), changed, detail)
        }
        (Write::Hold { destination, why, .. }, _) => {
            let org = org_of(*destination)?;
            entry(&org, "destination.held", destination.to_string(), changed, Some(why.code.to_string()))
        }
        (Write::Suppress { org, persons, .. }, _) => entry(org, "persons.suppressed", format!("{} keys", persons.len()), changed, None),
        (Write::Repair(repair), Done::Repaired(rows)) => {
            let action = if repair.action == RepairAction::Discard { "dead_letters.discarded" } else { "dead_letters.replayed" };
            let count = rows.iter().filter(|r| **r == Repaired::Done).count() as u64;
            let object = repair.deliveries.first().map_or_else(String::new, ToString::to_string);
            entry(&repair.org, action, object, count, repair.note.as_deref().map(ToOwned::to_owned))
        }
        (Write::Request(request), done) => {
            let entry = audited(&request.command, done, org_of)?;
            Some(Entry { by: Some(request.by.to_string()), ..entry })
        }
        (Write::Leads(batch), Done::Leads(ids, _)) => {
            let object = ids.first().map_or_else(String::new, ToString::to_string);
            entry(&batch.org, LEADS_STORED, object, ids.len() as u64, None)
        }
        (Write::DeleteLead { org, lead, .. }, Done::Changed(1..)) => entry(org, "lead.deleted", lead.to_string(), changed, None),
        (Write::PutRule { org, name, spec, .. }, _) => {
            entry(org, if spec.is_some() { "rule.put" } else { "rule.removed" }, name.to_string(), 1, None)
        }
        (Write::RevokeToken { org, jti, .. }, _) => entry(org, "token.revoked", jti.to_string(), 1, None),
        (Write::PutReplay { replay, .. }, Done::Replay(id)) => replay_entry(replay, *id),
        (Write::Note { org, action, object, .. }, _) => entry(org, action, object.to_string(), 1, None),
        _ => None,
    }
}

/// A replay's beginning and end.
fn replay_entry(replay: &Replay, id: ReplayId) -> Option<Entry> {
    let action = match replay.state {
        ReplayState::Running if replay.id.0 == 0 => "replay.started",
        ReplayState::Running => return None,
        ReplayState::Stopped => "replay.stopped",
        ReplayState::Finished => "replay.finished",
    };
    let detail = replay.accept_duplicates.then(|| "duplicates accepted".to_owned());
    Some(Entry { org: replay.org.to_string(), action: action.to_owned(), object: id.to_string(), count: replay.replayed, by: None, detail })
}
