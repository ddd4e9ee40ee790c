//! Taking conversions in: identity, suppression, ownership of transaction ids, revisions.

use std::collections::BTreeSet;

use super::{Captured, Conversion, Delivery, IntakeRow, Revision, World};
use crate::{
    delivery::State,
    id::{ConversionId, DeliveryId, DestinationId, IntakeId},
    money::{Amount, Money},
    org::OrgId,
    store::{Done, Intake, NewConversion, NewDelivery},
};

impl World {
    pub(super) fn accept(&mut self, intake: Intake) -> Done {
        let id = IntakeId(self.next_id(intake.now_ms));
        let before = self.deliveries.len();
        let captured: Vec<_> =
            intake.conversions.into_iter().map(|new| self.capture(&intake.org, new, intake.restate, intake.now_ms)).collect();
        let count = |wanted: fn(&Captured) -> bool| captured.iter().filter(|c| wanted(c)).count() as u64;
        let refused_here = count(|c| {
            matches!(c, Captured::Different { .. } | Captured::OrderIdTaken { .. } | Captured::Suppressed | Captured::OriginalMissing)
        });
        self.intakes.push(IntakeRow {
            org: intake.org,
            rows: intake.rows,
            refused: intake.refused + refused_here,
            denied: intake.denied,
            duplicates: count(|c| matches!(c, Captured::Known { .. })),
            conversions: count(|c| matches!(c, Captured::New(_))),
            deliveries: (self.deliveries.len() - before) as u64,
        });
        Done::Accepted(id, captured)
    }

    fn capture(&mut self, org: &OrgId, new: NewConversion, restate: bool, now_ms: i64) -> Captured {
        if new.persons.iter().any(|person| self.suppressed.contains(&(org.clone(), *person))) {
            return Captured::Suppressed;
        }
        match self.by_key.get(&new.key).copied() {
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
        let revisions = vec![Revision { at: new.occurred_at.min(now_ms / 1000), value }];
        self.conversions.insert(id, Conversion { org: org.clone(), new, revisions, captured_ms: now_ms, updated_ms: now_ms });
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
        let same_value = new.value == current || new.value == known.new.value;
        let field = if !same_value {
            "value"
        } else if new.occurred_at != known.new.occurred_at {
            "occurred_at"
        } else if new.click_id != known.new.click_id {
            "click_id"
        } else {
            return self.redeliver(id, &new.deliveries, now_ms);
        };
        if restate && new.value != current && field == "value" {
            return self.revise(id, Revision { at: now_ms / 1000, value: new.value }, &new.deliveries, now_ms);
        }
        Captured::Different { conversion: id, value: current, field }
    }

    /// Adds deliveries to destinations that have none yet.
    fn redeliver(&mut self, id: ConversionId, wanted: &[NewDelivery], now_ms: i64) -> Captured {
        let has: BTreeSet<DestinationId> = self.deliveries.values().filter(|d| d.conversion == id).map(|d| d.destination).collect();
        let missing: Vec<_> = wanted.iter().filter(|d| !has.contains(&d.destination)).collect();
        if let Some(owner) = missing.iter().filter_map(|d| d.owned).find_map(|owned| self.owners.get(&owned).copied().filter(|o| *o != id))
        {
            return Captured::OrderIdTaken { owner };
        }
        let (revision, value) = (self.revision_of(id), self.conversions[&id].value());
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
        let number = self.revision_of(id) + 1;
        let latest = self.latest_deliveries(id);
        for (old, delivery) in latest {
            let after = self.supersede(old, now_ms);
            self.deliver(id, &NewDelivery { due_ms: now_ms, ..delivery }, number, value, after, now_ms);
        }
        let has: BTreeSet<_> = self.deliveries.values().filter(|d| d.conversion == id).map(|d| d.destination).collect();
        for delivery in wanted.iter().filter(|d| !has.contains(&d.destination)) {
            self.deliver(id, delivery, number, value, None, now_ms);
        }
        Captured::Restated { conversion: id, revision: number }
    }

    /// The highest revision that has a delivery.
    fn revision_of(&self, id: ConversionId) -> u32 {
        self.deliveries.values().filter(|d| d.conversion == id).map(|d| d.revision).max().unwrap_or(1)
    }

    /// The newest delivery to each destination that was not stopped for good.
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
        latest.into_values().filter(|(id, _)| !matches!(self.deliveries[id].state, State::Suppressed)).collect()
    }

    /// Takes an unsent delivery out of the way; returns one that was sent and must be final before its successor goes.
    fn supersede(&mut self, id: DeliveryId, now_ms: i64) -> Option<DeliveryId> {
        let row = self.deliveries.get_mut(&id)?;
        let unsent = row.first_sent_ms.is_none() && row.upload.is_none();
        if unsent && matches!(row.state, State::Queued | State::Retrying | State::Held | State::Dead | State::InFlight) {
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
            changed_ms: now_ms,
            history: Vec::new(),
        };
        self.deliveries.insert(id, row);
    }
}
