//! Taking conversions in: identity, suppression, ownership of transaction ids.

use std::borrow::Cow;

use super::{
    columns::signed,
    fault::Fault,
    pending::{ConversionRow, DeliveryRow, IntakeRow},
    seen::{Known, Wanted},
    tx::Tx,
};
use crate::{
    delivery::State,
    id::{ConversionId, DeliveryId, IntakeId},
    store::{Captured, Done, Intake, NewConversion, NewDelivery, StoreError, encoding::explicit, intake_sums},
};

/// One intake on its way in.
pub(super) struct Accepting<'a, 't> {
    pub(super) tx: &'a mut Tx<'t>,
    pub(super) org: i64,
    pub(super) restate: bool,
    pub(super) now_ms: i64,
    /// Deliveries made so far.
    pub(super) made: u64,
}

/// Looks up what an intake needs. Refused where a destination is not the organization's own or no longer there.
pub(super) async fn prepare(tx: &mut Tx<'_>, intake: &Intake) -> Result<i64, Fault> {
    let org = tx.org_number(&intake.org).await?;
    tx.share(org).await?;
    tx.seen.look_up(tx.conn, &Wanted { intakes: vec![(org, intake)], ..Wanted::default() }).await?;
    let mut wanted = intake.conversions.iter().flat_map(|c| &c.deliveries);
    match wanted.find(|d| !tx.seen.is_own(org, d.destination)) {
        Some(foreign) => Err(StoreError::NotFound(format!("destination {}", foreign.destination)).into()),
        None => Ok(org),
    }
}

pub(super) async fn accept<'t>(tx: &mut Tx<'t>, intake: &'t Intake) -> Result<Done, Fault> {
    let org = prepare(tx, intake).await?;
    let id = tx.next_id(intake.now_ms);
    let mut accepting = Accepting { tx, org, restate: intake.restate, now_ms: intake.now_ms, made: 0 };
    let mut captured = Vec::with_capacity(intake.conversions.len());
    for new in &intake.conversions {
        captured.push(match accepting.capture(new) {
            Some(captured) => captured,
            None => {
                let captured = accepting.recapture(new).await?;
                accepting.tx.seen.changed(org, &new.key);
                captured
            }
        });
    }
    let (made, sums) = (accepting.made, intake_sums(intake, &captured));
    let counts = [intake.rows, sums.refused, intake.denied, sums.duplicates, sums.conversions, made].map(signed);
    tx.pending.intakes.push(IntakeRow { org, id, source: &intake.source, consent_proof: intake.consent_proof.as_deref(), counts });
    Ok(Done::Accepted(IntakeId(id), captured))
}

impl<'t> Accepting<'_, 't> {
    /// What can be told from what was looked up; `None`: the known conversion must be read and changed.
    fn capture(&mut self, new: &'t NewConversion) -> Option<Captured> {
        if self.tx.seen.is_suppressed(self.org, &new.persons) {
            return Some(Captured::Suppressed);
        }
        match self.tx.seen.known(self.org, &new.key) {
            Some(known) if self.tx.seen.is_suppressed(self.org, &known.persons) => Some(Captured::Suppressed),
            Some(known) => self.unchanged(known, new),
            None if new.adjustment.is_some() => Some(Captured::OriginalMissing),
            None => Some(self.capture_new(new)),
        }
    }

    /// The same again, or other content that is only reported.
    fn unchanged(&self, known: &Known, new: &NewConversion) -> Option<Captured> {
        if new.adjustment.is_some() || known.revised {
            return None;
        }
        let (conversion, value) = (known.id, known.original);
        let different = |field: &'static str| Some(Captured::Different { conversion, value, field: field.into() });
        if new.value != value {
            return if self.restate { None } else { different("value") };
        }
        if new.occurred_at != known.occurred_at {
            return different("occurred_at");
        }
        if new.click_id != known.click {
            return different("click_id");
        }
        let everywhere = new.deliveries.iter().all(|d| known.destinations.contains(&d.destination));
        everywhere.then_some(Captured::Known { conversion, added: 0 })
    }

    fn capture_new(&mut self, new: &'t NewConversion) -> Captured {
        if let Some(owner) = new.deliveries.iter().filter_map(|d| d.owned).find_map(|owned| self.tx.seen.owner(&owned)) {
            return Captured::OrderIdTaken { owner };
        }
        let id = ConversionId(self.tx.next_id(self.now_ms));
        self.tx.pending.conversions.push(ConversionRow { org: self.org, id, new });
        for delivery in &new.deliveries {
            self.own(id, delivery);
            let row = self.row(id, delivery, explicit(delivery, new).map(Cow::Borrowed), 1, new.value, None);
            self.deliver(row);
        }
        let known = Known {
            id,
            occurred_at: new.occurred_at,
            original: new.value,
            click: new.click_id.clone(),
            persons: new.persons.clone(),
            destinations: new.deliveries.iter().map(|d| d.destination).collect(),
            revised: false,
        };
        self.tx.seen.captured(self.org, new.key, known);
        Captured::New(id)
    }

    /// The first conversion with a transaction id owns it.
    pub(super) fn own(&mut self, conversion: ConversionId, delivery: &NewDelivery) {
        if let Some(owned) = delivery.owned.filter(|owned| self.tx.seen.owner(owned).is_none()) {
            self.tx.seen.owns(owned, conversion);
            self.tx.pending.owners.push((owned, conversion));
        }
    }

    /// A delivery that gets its id.
    pub(super) fn row(
        &mut self,
        conversion: ConversionId,
        new: &'t NewDelivery,
        transaction_id: Option<Cow<'t, str>>,
        revision: u32,
        value: Option<crate::money::Money>,
        after: Option<DeliveryId>,
    ) -> DeliveryRow<'t> {
        DeliveryRow {
            org: self.org,
            id: DeliveryId(self.tx.next_id(self.now_ms)),
            conversion,
            destination: new.destination,
            due_ms: new.due_ms,
            action_id: Cow::Borrowed(&new.action_id),
            transaction_id,
            revision,
            value,
            after,
        }
    }

    pub(super) fn deliver(&mut self, row: DeliveryRow<'t>) {
        self.tx.tally.made(row.destination, State::Queued, row.value.as_ref());
        self.tx.waiting.made(row.destination, row.id, row.due_ms);
        self.tx.pending.deliveries.push(row);
        self.made += 1;
    }
}
