//! Claims, leases and recovery.

use super::{Agenda, Claimed, Lease, PendingUpload, WorkerId, World};
use crate::{
    delivery::State,
    id::{DeliveryId, DestinationId, UploadId},
    store::{Begin, Begun, PREDECESSOR_WAIT_MS, PendingRow, StoreError, UploadResult, answer_lost},
};

impl World {
    pub(super) fn agenda(&self) -> Vec<Agenda> {
        let open = |id: DestinationId| Agenda {
            destination: self.destinations[&id].clone(),
            next_due_ms: self.deliveries.values().filter(|d| d.destination == id && d.state.is_claimable()).filter_map(|d| d.due_ms).min(),
            next_poll_ms: self.uploads.values().filter(|u| u.destination == id).filter_map(|u| u.result.poll_at_ms).min(),
            in_flight: self.deliveries.values().filter(|d| d.destination == id && d.state == State::InFlight).count() as u64,
        };
        let enabled = self.destinations.values().filter(|d| d.spec.enabled && !self.removed.contains(&d.id));
        enabled.map(|d| open(d.id)).filter(Agenda::is_open).collect()
    }

    pub(super) fn claim(
        &mut self,
        destination: DestinationId,
        limit: usize,
        lease: Lease,
        now_ms: i64,
    ) -> Result<Vec<Claimed>, StoreError> {
        let taken = |l: Lease| l.token == lease.token && l.worker != lease.worker;
        if self.deliveries.values().any(|d| d.state == State::InFlight && d.lease.is_some_and(taken)) {
            return Err(StoreError::Busy);
        }
        let Some(place) = self.destinations.get(&destination).filter(|d| d.spec.enabled && !self.removed.contains(&d.id)) else {
            return Ok(Vec::new());
        };
        if place.health.paused_until_ms.is_some_and(|until| now_ms < until) {
            return Ok(Vec::new());
        }
        let mut due: Vec<(i64, DeliveryId)> = self
            .deliveries
            .iter()
            .filter(|(_, d)| d.destination == destination && d.state.is_claimable())
            .filter_map(|(id, d)| d.due_ms.filter(|due| *due <= now_ms).map(|due| (due, *id)))
            .collect();
        due.sort_unstable();
        due.truncate(limit);
        Ok(due.into_iter().filter_map(|(_, id)| self.claim_one(id, lease, now_ms)).collect())
    }

    fn claim_one(&mut self, id: DeliveryId, lease: Lease, now_ms: i64) -> Option<Claimed> {
        let waits = self.deliveries[&id].after.is_some_and(|after| !self.deliveries[&after].state.is_final());
        let row = self.deliveries.get_mut(&id)?;
        if let Some(hold) = self.destinations[&row.destination].health.hold_on(&row.action_id) {
            (row.state, row.due_ms, row.why, row.changed_ms) = (State::Held, None, Some(hold.why.clone()), now_ms);
            return None;
        }
        if waits {
            row.due_ms = Some(now_ms + PREDECESSOR_WAIT_MS);
            return None;
        }
        (row.state, row.lease, row.upload, row.due_ms) = (State::InFlight, Some(lease), None, Some(lease.until_ms));
        let conversion = &self.conversions[&row.conversion];
        Some(Claimed {
            id,
            conversion: row.conversion,
            revision: row.revision,
            org: row.org.clone(),
            action_id: row.action_id.clone(),
            transaction_id: row.transaction_id.clone(),
            attempts: row.attempts,
            first_sent_ms: row.first_sent_ms,
            round: row.round,
            part: row.part,
            event_hash: row.event_hash,
            occurred_at: conversion.new.occurred_at,
            value: row.value,
            click_id: conversion.new.click_id.clone(),
            consent: conversion.new.consent,
            identifiers: conversion.new.identifiers.clone(),
        })
    }

    pub(super) fn begin(&mut self, begin: &Begin) -> Result<Begun, StoreError> {
        if !self.destinations.contains_key(&begin.destination) {
            return Err(StoreError::NotFound(format!("destination {}", begin.destination)));
        }
        let ours = |id: &DeliveryId| {
            let row = self.deliveries.get(id);
            row.is_some_and(|d| {
                d.destination == begin.destination && d.state == State::InFlight && d.lease.is_some_and(|l| l.is(begin.lease))
            })
        };
        let lost: Vec<_> = begin.rows.iter().map(|(id, _)| *id).filter(|id| !ours(id)).collect();
        if !lost.is_empty() {
            return Ok(Begun::Lost(lost));
        }
        let upload = UploadId(self.next_id(begin.now_ms));
        let mut round = 0;
        for (id, hash) in &begin.rows {
            if let Some(row) = self.deliveries.get_mut(id) {
                row.upload = Some(upload);
                row.first_sent_ms.get_or_insert(begin.now_ms);
                row.event_hash.get_or_insert(*hash);
                round = row.round;
            }
        }
        let org = self.destinations[&begin.destination].org.clone();
        let result = UploadResult { upload, request_id: None, poll_at_ms: None, why: None };
        let rows = begin.rows.iter().map(|(id, _)| *id).collect();
        let (destination, action_id) = (begin.destination, begin.action_id.clone());
        self.uploads.insert(
            upload,
            super::Upload {
                org,
                destination,
                action_id,
                rows,
                sent_ms: begin.now_ms,
                answered: false,
                round,
                polls: 0,
                asker: None,
                result,
            },
        );
        Ok(Begun::Upload(upload))
    }

    pub(super) fn claim_polls(&mut self, destination: DestinationId, limit: usize, lease: Lease, now_ms: i64) -> Vec<PendingUpload> {
        let due = |u: &super::Upload| u.destination == destination && u.result.poll_at_ms.is_some_and(|at| at <= now_ms);
        let mut ids: Vec<_> = self.uploads.iter().filter(|(_, u)| due(u)).map(|(id, u)| (u.result.poll_at_ms, *id)).collect();
        ids.sort_unstable();
        ids.truncate(limit);
        ids.into_iter().filter_map(|(_, id)| self.claim_poll(id, lease)).collect()
    }

    fn claim_poll(&mut self, id: UploadId, lease: Lease) -> Option<PendingUpload> {
        let upload = self.uploads.get_mut(&id)?;
        upload.polls += 1;
        (upload.result.poll_at_ms, upload.asker) = (Some(lease.until_ms), Some(lease.worker));
        let row = |id: &DeliveryId| {
            let d = &self.deliveries[id];
            let occurred_at = self.conversions[&d.conversion].new.occurred_at;
            PendingRow { id: *id, attempts: d.attempts, first_sent_ms: d.first_sent_ms, occurred_at }
        };
        Some(PendingUpload {
            id,
            request_id: upload.result.request_id.clone()?,
            action_id: upload.action_id.clone(),
            sent_ms: upload.sent_ms,
            polls: upload.polls,
            round: upload.round,
            rows: upload.rows.iter().map(row).collect(),
        })
    }

    pub(super) fn recover(&mut self, gone: &[WorkerId], now_ms: i64) -> u64 {
        for upload in self.uploads.values_mut().filter(|u| u.asker.is_some_and(|asker| gone.contains(&asker))) {
            upload.result.poll_at_ms = upload.result.poll_at_ms.map(|at| at.min(now_ms));
            upload.asker = None;
        }
        let lost = |lease: Lease| lease.until_ms <= now_ms || gone.contains(&lease.worker);
        let mut freed = 0;
        for row in self.deliveries.values_mut().filter(|d| d.state == State::InFlight && d.lease.is_some_and(lost)) {
            let on_its_way = row.upload.is_some();
            if on_its_way {
                let why = answer_lost();
                row.history.push((now_ms, why.clone()));
                row.why = Some(why);
            }
            row.state = if row.first_sent_ms.is_some() { State::Retrying } else { State::Queued };
            (row.due_ms, row.lease, row.changed_ms) = (Some(now_ms), None, now_ms);
            if row.stop {
                (row.state, row.due_ms) = (State::Suppressed, None);
            }
            freed += 1;
        }
        freed
    }
}
