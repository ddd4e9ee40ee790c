//! What became of rows: settling, holding, repairing and stopping them.

use super::{Delivery, PersonKey, StoreError, World};
use crate::{
    breaker::Breaker,
    delivery::{Next, State},
    id::{DeliveryId, DestinationId},
    org::OrgId,
    outcome::{HoldScope, Why},
    store::{Guard, Hold, Repair, RepairAction, Repaired, Settle, StopCause, after_stop, suppressed_person},
};
use std::{collections::HashMap, sync::Arc};

impl Delivery {
    fn enter(&mut self, next: &Next, part: i64, removed: bool, now_ms: i64) {
        if let Some(why) = &next.why {
            self.history.push((now_ms, why.clone()));
        }
        self.state = after_stop(next.state, self.stop, removed);
        (self.due_ms, self.attempts) = (next.due_ms.filter(|_| self.state.is_claimable()), next.attempts);
        (self.round, self.part, self.lease, self.changed_ms) = (next.round, part, None, now_ms);
        self.why.clone_from(&next.why);
        self.review = self.state == State::Held && next.hold == Some(HoldScope::Row);
    }

    /// Makes the row due again.
    fn queue(&mut self, due_ms: i64, now_ms: i64) {
        self.state = if self.first_sent_ms.is_some() { State::Retrying } else { State::Queued };
        (self.due_ms, self.changed_ms, self.review) = (Some(due_ms), now_ms, false);
    }
}

impl World {
    pub(super) fn settle(&mut self, settle: Settle) -> u64 {
        let removed = self.removed.contains(&settle.destination) || !self.destinations.contains_key(&settle.destination);
        let mut changed = 0;
        for settled in &settle.rows {
            for id in &settled.deliveries {
                let Some(row) = self.deliveries.get_mut(id) else { continue };
                let ours = match settle.guard {
                    Guard::Lease(lease) => row.state == State::InFlight && row.lease.is_some_and(|l| l.is(lease)),
                    Guard::Verdict(upload) => row.state == State::AwaitingConfirmation && row.upload == Some(upload),
                };
                if ours {
                    row.enter(&settled.next, settled.part, removed, settle.now_ms);
                    changed += 1;
                }
            }
        }
        if let Some(result) = settle.upload
            && let Some(upload) = self.uploads.get_mut(&result.upload)
        {
            (upload.answered, upload.asker) = (true, None);
            let request_id = result.request_id.clone().or(upload.result.request_id.take());
            let poll_at_ms = result.poll_at_ms.filter(|_| !removed);
            upload.result = crate::store::UploadResult { request_id, poll_at_ms, ..result };
        }
        if let Some(destination) = self.destinations.get_mut(&settle.destination) {
            if let Some(breaker) = settle.breaker {
                destination.health.breaker = breaker;
            }
            if settle.paused_until_ms.is_some() {
                destination.health.paused_until_ms = settle.paused_until_ms;
            }
        }
        changed
    }

    pub(super) fn hold(&mut self, id: DestinationId, action_id: Option<&Arc<str>>, scope: HoldScope, why: &Why, now_ms: i64) -> u64 {
        let Some(destination) = self.destinations.get_mut(&id) else { return 0 };
        let hold = Hold { scope, why: why.clone(), since_ms: now_ms };
        destination.health.add_hold(action_id, hold);
        let wanted = |d: &Delivery| d.destination == id && d.state.is_claimable() && action_id.is_none_or(|a| *a == d.action_id);
        let mut held = 0;
        for row in self.deliveries.values_mut().filter(|d| wanted(d)) {
            (row.state, row.due_ms, row.why, row.changed_ms) = (State::Held, None, Some(why.clone()), now_ms);
            held += 1;
        }
        held
    }

    pub(super) fn release(&mut self, org: &OrgId, id: DestinationId, reviewed: bool, now_ms: i64) -> Result<u64, StoreError> {
        let health = &mut self.destination_mut(org, id)?.health;
        (health.hold, health.breaker) = (None, Breaker::default());
        health.held_actions.clear();
        let mut released = 0;
        let goes = |d: &Delivery| d.destination == id && d.state == State::Held && (reviewed || !d.review);
        for row in self.deliveries.values_mut().filter(|d| goes(d)) {
            row.queue(now_ms, now_ms);
            row.why = None;
            released += 1;
        }
        Ok(released)
    }

    pub(super) fn repair(&mut self, repair: &Repair) -> Vec<Repaired> {
        let mut position = 0;
        let mut latest: HashMap<_, DeliveryId> = HashMap::new();
        for (id, row) in &self.deliveries {
            latest.insert((row.conversion, row.destination), *id);
        }
        let mut one = |id| {
            let Some(row) = self.deliveries.get_mut(id).filter(|d| d.org == repair.org) else { return Repaired::NotFound };
            if row.state != State::Dead {
                return Repaired::NotDead;
            }
            if latest.get(&(row.conversion, row.destination)).is_some_and(|newest| newest > id) && repair.action != RepairAction::Discard {
                (row.state, row.changed_ms) = (State::Superseded, repair.now_ms);
                return Repaired::NotDead;
            }
            match repair.action {
                RepairAction::Replay { every_ms } => {
                    row.queue(repair.now_ms.saturating_add(every_ms.saturating_mul(position)), repair.now_ms);
                    (row.attempts, row.round, row.part, row.why) = (0, 0, 0, None);
                    position += 1;
                }
                RepairAction::Discard => (row.state, row.changed_ms) = (State::Discarded, repair.now_ms),
            }
            Repaired::Done
        };
        repair.deliveries.iter().map(&mut one).collect()
    }

    pub(super) fn suppress(&mut self, org: &OrgId, persons: &[PersonKey], now_ms: i64) -> u64 {
        self.suppressed.extend(persons.iter().map(|person| (org.clone(), *person)));
        let theirs: std::collections::HashSet<_> = self
            .conversions
            .iter()
            .filter(|(_, c)| c.org == *org && c.new.persons.iter().any(|p| persons.contains(p)))
            .map(|(id, _)| *id)
            .collect();
        self.stop_deliveries(now_ms, StopCause::Consent, &suppressed_person(), |d| theirs.contains(&d.conversion))
    }

    /// Stops what is open or dead; what is on its way right now is not sent again.
    pub(super) fn stop_deliveries(&mut self, now_ms: i64, cause: StopCause, why: &Why, wanted: impl Fn(&Delivery) -> bool) -> u64 {
        let mut stopped = 0;
        for row in self.deliveries.values_mut().filter(|d| wanted(d)) {
            let on_its_way = row.state == State::InFlight && row.upload.is_some();
            let awaits = row.state == State::AwaitingConfirmation;
            if awaits && cause == StopCause::Removed {
                (row.state, row.changed_ms, row.why) = (State::DeliveredUnverified, now_ms, Some(why.clone()));
                stopped += 1;
            } else if on_its_way || awaits {
                row.stop = true;
            } else if !row.state.is_final() || row.state == State::Dead {
                (row.state, row.due_ms, row.lease, row.changed_ms) = (State::Suppressed, None, None, now_ms);
                row.why = Some(why.clone());
                stopped += 1;
            }
        }
        stopped
    }
}
