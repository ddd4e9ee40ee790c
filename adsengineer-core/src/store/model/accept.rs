//! Taking conversions in: identity, suppression, ownership of transaction ids, revisions.

use std::collections::BTreeSet;

use super::{Captured, Conversion, Delivery, IntakeRow, Revision, World};
use crate::{
    delivery::State,
    id::{ConversionId, DeliveryId, DestinationId, IntakeId},
    money::{Amount, Money},
    org::OrgId,
    store::{Done, Intake, NewConversion, NewDelivery, PersonKey, StoreError, intake_sums},
};

impl World {
    pub(super) fn accept(&mut self, intake: Intake) -> Result<Done, StoreError> {
        self.check_destinations(&intake)?;
        let id = IntakeId(self.next_id(intake.now_ms));
        let before = self.deliveries.len();
        let new = intake.conversions.clone();
        let captured: Vec<_> = new.into_iter().map(|new| self.capture(&intake.org, new, intake.restate, intake.now_ms)).collect();
        let sums = intake_sums(&intake, &captured);
        self.intakes.push(IntakeRow {
            org: intake.org,
            rows: intake.rows,
            refused: sums.refused,
            denied: intake.denied,
            duplicates: sums.duplicates,
            conversions: sums.conversions,
            deliveries: (self.deliveries.len() - before) as u64,
        });
        Ok(Done::Accepted(id, captured))
    }

    pub(super) fn check_destinations(&mut self, intake: &Intake) -> Result<(), StoreError> {
        let mut wanted = intake.conversions.iter().flat_map(|c| &c.deliveries);
        wanted.try_for_each(|delivery| self.destination_mut(&intake.org, delivery.destination).map(|_| ()))
    }

    fn capture(&mut self, org: &OrgId, new: NewConversion, restate: bool, now_ms: i64) -> Captured {
        let suppressed = |persons: &[PersonKey]| persons.iter().any(|person| self.suppressed.contains(&(org.clone(), *person)));
        if suppressed(&new.persons) {
            return Captured::Suppressed;
        }
        match self.by_key.get(&new.key).copied() {
            Some(known) if suppressed(&self.conversions[&known].new.persons) => Captured::Suppressed,
            Some(known) => self.recapture(known, &new, restate, now_ms),
            None if new.adjustment.is_some() => Captured::OriginalMissing,
            None => self.capture_new(org, new, now_ms),
        }
    }

    fn capture_new(&mut self, org: &OrgId, new: NewConversion, now_ms: i64) -> Captured {
        if let Some(owner) = new.deliveries.iter().filter_map(|d| d.owned).find_map(|owned| self.owners.get(&owned).copied()) {
            return Captured::OrderIdTaken { owner };
        }
        let id = ConversionId(self.next_id(now_ms));
        self.by_key.insert(new.key, id);
        let (deliveries, value) = (new.deliveries.clone(), new.value);
        let captured_s = id.created_at().as_millisecond() / 1000;
        let revisions = vec![Revision { at: new.occurred_at.min(captured_s), value }];
        self.conversions
            .insert(id, Conversion { org: org.clone(), new, revisions, revision: 1, updated_ms: id.created_at().as_millisecond() });
        for delivery in &deliveries {
            self.deliver(id, delivery, 1, value, None, now_ms);
        }
        Captured::New(id)
    }

    /// An incoming conversion that is known: the same again, a new value, or other content.
    fn recapture(&mut self, id: ConversionId, new: &NewConversion, restate: bool, now_ms: i64) -> Captured {
        let known = &self.conversions[&id];
        let current = known.value();
        if let Some(adjust) = new.adjustment {
            let zero = current.map(|money| Money { amount: Amount::ZERO, ..money });
            let value = if adjust.retract { zero } else { new.value };
            return self.revise(id, Revision { at: adjust.at, value }, &new.deliveries, now_ms);
        }
        let same_value = new.value == current || (!restate && new.value == known.new.value);
        let field = if !same_value {
            "value"
        } else if new.occurred_at != known.new.occurred_at {
            "occurred_at"
        } else if new.click_id != known.new.click_id {
            "click_id"
        } else {
            return self.redeliver(id, &new.deliveries, now_ms);
        };
        let another_click = new.click_id.is_some() && new.click_id != known.new.click_id;
        if restate && field == "value" && another_click {
            return Captured::Different { conversion: id, value: current, field: "click_id".into() };
        }
        if restate && field == "value" {
            return self.revise(id, Revision { at: now_ms / 1000, value: new.value }, &new.deliveries, now_ms);
        }
        Captured::Different { conversion: id, value: current, field: field.into() }
    }

    /// Adds deliveries to destinations that have none yet.
    fn redeliver(&mut self, id: ConversionId, wanted: &[NewDelivery], now_ms: i64) -> Captured {
        let has: BTreeSet<DestinationId> = self.deliveries.values().filter(|d| d.conversion == id).map(|d| d.destination).collect();
        let missing: Vec<_> = wanted.iter().filter(|d| !has.contains(&d.destination)).collect();
        if let Some(owner) = missing.iter().filter_map(|d| d.owned).find_map(|owned| self.owners.get(&owned).copied().filter(|o| *o != id))
        {
            return Captured::OrderIdTaken { owner };
        }
        let (revision, value) = (self.conversions[&id].revision, self.conversions[&id].value());
        for delivery in &missing {
            self.deliver(id, delivery, revision, value, None, now_ms);
        }
        Captured::Known { conversion: id, added: u32::try_from(missing.len()).unwrap_or(u32::MAX) }
    }

    /// Records a value; if it is now the conversion's value, delivers it wherever the conversion went or is to go.
    fn revise(&mut self, id: ConversionId, revision: Revision, wanted: &[NewDelivery], now_ms: i64) -> Captured {
        let Some(conversion) = self.conversions.get_mut(&id) else { return Captured::OriginalMissing };
        let before = conversion.value();
        if conversion.revisions.iter().skip(1).any(|r| r.at == revision.at && r.value == revision.value) {
            return Captured::Known { conversion: id, added: 0 };
        }
        conversion.revisions.push(revision);
        let value = conversion.value();
        if value == before {
            return Captured::Known { conversion: id, added: 0 };
        }
        conversion.updated_ms = now_ms;
        conversion.revision += 1;
        let number = conversion.revision;
        let has: BTreeSet<_> = self.deliveries.values().filter(|d| d.conversion == id).map(|d| d.destination).collect();
        let latest = self.latest_deliveries(id);
        for (old, delivery) in latest {
            let after = self.supersede(old, now_ms);
            self.deliver(id, &NewDelivery { due_ms: now_ms, ..delivery }, number, value, after, now_ms);
        }
        for delivery in wanted.iter().filter(|d| !has.contains(&d.destination)) {
            self.deliver(id, delivery, number, value, None, now_ms);
        }
        Captured::Restated { conversion: id, revision: number }
    }

    /// The newest delivery to each destination that is still there and to which it was not stopped for good.
    fn latest_deliveries(&self, id: ConversionId) -> Vec<(DeliveryId, NewDelivery)> {
        let mut latest = std::collections::BTreeMap::new();
        for (delivery, row) in self.deliveries.iter().filter(|(_, d)| d.conversion == id) {
            let new = NewDelivery {
                destination: row.destination,
                action_id: row.action_id.clone(),
                transaction_id: row.transaction_id.clone(),
                owned: None,
                due_ms: 0,
            };
            latest.insert(row.destination, (*delivery, new));
        }
        let goes_on =
            |id: &DeliveryId, new: &NewDelivery| self.deliveries[id].state != State::Suppressed && !self.removed.contains(&new.destination);
        latest.into_values().filter(|(id, new)| goes_on(id, new)).collect()
    }

    /// Takes an unsent or dead delivery out of the way; returns one that was sent and must be final before its successor goes.
    fn supersede(&mut self, id: DeliveryId, now_ms: i64) -> Option<DeliveryId> {
        let row = self.deliveries.get_mut(&id)?;
        let unsent = row.first_sent_ms.is_none() && row.upload.is_none();
        let open = row.state.is_claimable() || matches!(row.state, State::Held | State::InFlight);
        if row.state == State::Dead || (unsent && open) {
            (row.state, row.due_ms, row.lease, row.changed_ms) = (State::Superseded, None, None, now_ms);
            return row.after;
        }
        Some(id)
    }

    fn deliver(
        &mut self,
        conversion: ConversionId,
        new: &NewDelivery,
        revision: u32,
        value: Option<Money>,
        after: Option<DeliveryId>,
        now_ms: i64,
    ) {
        if let Some(owned) = new.owned {
            self.owners.entry(owned).or_insert(conversion);
        }
        let id = DeliveryId(self.next_id(now_ms));
        let row = Delivery {
            org: self.conversions[&conversion].org.clone(),
            conversion,
            revision,
            value,
            destination: new.destination,
            action_id: new.action_id.clone(),
            transaction_id: new.transaction_id.clone(),
            after,
            state: State::Queued,
            due_ms: Some(new.due_ms),
            lease: None,
            attempts: 0,
            first_sent_ms: None,
            event_hash: None,
            upload: None,
            round: 0,
            part: 0,
            why: None,
            stop: false,
            review: false,
            changed_ms: id.created_at().as_millisecond(),
            history: Vec::new(),
        };
        self.deliveries.insert(id, row);
    }
}
