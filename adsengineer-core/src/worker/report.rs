//! What a run did, and where every destination stands after it.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    breaker::Breaker,
    delivery::{Next, State},
    id::DestinationId,
    outcome::Why,
    store::{Agenda, Hold, StoredDestination},
};

/// Rows since the start of the worker.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Progress {
    /// Went out in a request.
    pub sent: u64,
    /// Got a new state, whichever.
    pub settled: u64,
    /// Counted by the platform.
    pub delivered: u64,
    /// Taken; the verdict comes later.
    pub awaiting: u64,
    /// To be sent again.
    pub retrying: u64,
    /// Held for a human.
    pub held: u64,
    /// Dead.
    pub dead: u64,
    /// Stopped by consent.
    pub suppressed: u64,
}

impl Progress {
    /// Counts `rows` rows that entered a state.
    pub(super) fn count(&mut self, next: &Next, rows: u64, by_verdict: bool) {
        self.settled += rows;
        if by_verdict {
            self.awaiting = self.awaiting.saturating_sub(rows);
        }
        let counter = match next.state {
            State::Delivered | State::DeliveredUnverified => &mut self.delivered,
            State::AwaitingConfirmation => &mut self.awaiting,
            State::Retrying | State::Queued | State::InFlight => &mut self.retrying,
            State::Held => &mut self.held,
            State::Dead => &mut self.dead,
            State::Suppressed | State::Superseded | State::Discarded => &mut self.suppressed,
        };
        *counter += rows;
    }
}

/// What a run did.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct RunReport {
    /// Counts of rows.
    pub progress: Progress,
    /// Where the destinations stand that had anything to do.
    pub destinations: BTreeMap<DestinationId, DestinationReport>,
    /// What the platforms remarked, each once.
    pub warnings: Vec<String>,
}

/// Where a destination stands after a run.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct DestinationReport {
    /// Its name.
    pub name: Arc<str>,
    /// Why everything of it is held.
    pub hold: Option<Hold>,
    /// Holds that this run made or met, whatever their scope.
    pub holds: Vec<Hold>,
    /// Whether its breaker keeps it from being used now.
    pub breaker_open: bool,
    /// Whether its latest pause is one that a quota asks for, not one after a failure.
    pub quota: bool,
    /// Paused until then, in Unix milliseconds.
    pub paused_until_ms: Option<i64>,
    /// When its next row is due, in Unix milliseconds.
    pub next_due_ms: Option<i64>,
    /// When its next verdict is to be asked for, in Unix milliseconds.
    pub next_poll_ms: Option<i64>,
    /// What went wrong last.
    pub last_error: Option<Why>,
    /// Rows that died in this run, by code.
    pub dead: BTreeMap<Arc<str>, u64>,
}

impl RunReport {
    /// The entry of a destination.
    pub(super) fn of(&mut self, destination: &StoredDestination) -> &mut DestinationReport {
        let entry = self.destinations.entry(destination.id).or_default();
        entry.name = destination.name.clone();
        entry
    }

    /// Keeps a remark once, and not without end.
    pub(super) fn warn(&mut self, warning: String) {
        if self.warnings.len() < 100 && !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }
}

impl DestinationReport {
    /// Notes where the destination stands now.
    pub(super) fn stands(&mut self, entry: &Agenda, now_ms: i64) {
        let health = &entry.destination.health;
        self.hold.clone_from(&health.hold);
        self.breaker_open = matches!(health.breaker, Breaker::Open { until_ms } if until_ms > now_ms);
        self.paused_until_ms = health.paused_until_ms.filter(|until| *until > now_ms);
        // A pause that was met rather than made, with nothing failing: an earlier run was asked for it.
        self.quota |= self.paused_until_ms.is_some() && self.last_error.is_none();
        (self.next_due_ms, self.next_poll_ms) = (entry.next_due_ms, entry.next_poll_ms);
    }

    /// Notes that nothing is open, until an entry of the agenda says otherwise.
    pub(super) fn stands_idle(&mut self) {
        self.hold = None;
        self.breaker_open = false;
        (self.paused_until_ms, self.next_due_ms, self.next_poll_ms) = (None, None, None);
    }

    /// Notes rows that entered a state.
    pub(super) fn note(&mut self, next: &Next, rows: u64) {
        let Some(why) = &next.why else { return };
        self.last_error = Some(why.clone());
        if next.state == State::Dead {
            *self.dead.entry(why.code.clone()).or_default() += rows;
        }
    }

    /// Notes a hold, once by reason.
    pub(super) fn held(&mut self, hold: Hold) {
        if self.holds.iter().all(|known| known.why.code != hold.why.code) {
            self.holds.push(hold);
        }
    }
}
