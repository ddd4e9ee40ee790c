//! Later values of a conversion: the one with the latest time counts, in whatever order they arrive.

use rusqlite::params;

use super::{
    accept::{Accepting, Known, Making},
    columns::{money, money_columns},
    rows::Row,
};
use crate::{
    delivery::State,
    id::{ConversionId, DeliveryId},
    money::Money,
    store::{Captured, NewDelivery, StoreError},
};

/// A value of a conversion; the first is what it was captured with.
pub(super) struct Revision {
    at: i64,
    value: Option<Money>,
}

/// The value with the latest time; of equal times the one recorded last.
pub(super) fn value(revisions: &[Revision]) -> Option<Money> {
    revisions.iter().max_by_key(|r| r.at).and_then(|r| r.value)
}

impl Accepting<'_, '_> {
    pub(super) fn revisions(&self, known: &Known) -> Result<Vec<Revision>, StoreError> {
        let captured_s = known.id.created_at().as_millisecond() / 1000;
        let mut revisions = vec![Revision { at: known.occurred_at.min(captured_s), value: known.original }];
        let mut read =
            self.tx.conn.prepare_cached("SELECT at, mantissa, scale, currency FROM revisions WHERE conversion = ?1 ORDER BY number")?;
        let mut rows = read.query([known.id.0])?;
        while let Some(row) = rows.next()? {
            revisions.push(Revision { at: row.get(0)?, value: money(row, 1)? });
        }
        Ok(revisions)
    }

    /// Records a value; if it is now the conversion's value, delivers it wherever the conversion went or is to go.
    pub(super) fn revise(
        &mut self,
        known: &Known,
        mut revisions: Vec<Revision>,
        at: i64,
        new: Option<Money>,
        wanted: &[NewDelivery],
    ) -> Result<Captured, StoreError> {
        let unchanged = Ok(Captured::Known { conversion: known.id, added: 0 });
        if revisions.iter().skip(1).any(|r| r.at == at && r.value == new) {
            return unchanged;
        }
        let before = value(&revisions);
        let (mantissa, scale, currency) = money_columns(new.as_ref());
        let mut insert = self
            .tx
            .conn
            .prepare_cached("INSERT INTO revisions (conversion, number, at, mantissa, scale, currency) VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?;
        insert.execute(params![known.id.0, revisions.len(), at, mantissa, scale, currency])?;
        drop(insert);
        revisions.push(Revision { at, value: new });
        let value = value(&revisions);
        if value == before {
            return unchanged;
        }
        let number = known.revision + 1;
        let mut update = self.tx.conn.prepare_cached("UPDATE conversions SET revision = ?2, updated_ms = ?3 WHERE id = ?1")?;
        update.execute(params![known.id.0, number, self.now_ms])?;
        drop(update);
        self.deliver_revision(known, number, value.as_ref(), wanted)?;
        Ok(Captured::Restated { conversion: known.id, revision: number })
    }

    fn deliver_revision(&mut self, known: &Known, number: u32, value: Option<&Money>, wanted: &[NewDelivery]) -> Result<(), StoreError> {
        let latest = self.destinations_of(known)?;
        for old in latest.values() {
            let Some((delivery, state)) = self.again(*old)? else { continue };
            if state == State::Suppressed {
                continue;
            }
            let after = self.supersede(*old)?;
            self.later(known.id, &delivery, number, value, after)?;
        }
        for new in wanted.iter().filter(|d| !latest.contains_key(&d.destination)) {
            self.later(known.id, new, number, value, None)?;
        }
        Ok(())
    }

    fn later(
        &mut self,
        conversion: ConversionId,
        new: &NewDelivery,
        revision: u32,
        value: Option<&Money>,
        after: Option<DeliveryId>,
    ) -> Result<(), StoreError> {
        self.deliver_later(&Making { conversion, new, transaction_id: Some(&*new.transaction_id), revision, value, after })
    }

    /// The same delivery once more, due now, and the state of the old one; `None` where its destination was removed.
    fn again(&self, old: DeliveryId) -> Result<Option<(NewDelivery, State)>, StoreError> {
        let Some(row) = Row::read(self.tx.conn, old)? else { return Ok(None) };
        let mut read = self.tx.conn.prepare_cached(
            "SELECT d.action_id, COALESCE(d.transaction_id, c.order_id, lower(hex(c.natural_key))), t.removed
             FROM deliveries d JOIN conversions c ON c.id = d.conversion JOIN destinations t ON t.id = d.destination WHERE d.id = ?1",
        )?;
        let (action_id, transaction_id, removed): (String, String, bool) =
            read.query_row([old.0], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?)))?;
        let new = NewDelivery {
            destination: row.destination,
            action_id: action_id.into(),
            transaction_id: transaction_id.into(),
            owned: None,
            due_ms: self.now_ms,
        };
        Ok((!removed).then_some((new, row.state)))
    }

    /// Takes an unsent or dead delivery out of the way; returns one that was sent and must be final before its successor goes.
    fn supersede(&mut self, id: DeliveryId) -> Result<Option<DeliveryId>, StoreError> {
        let Some(row) = Row::read(self.tx.conn, id)? else { return Ok(None) };
        let unsent = row.first_sent_ms.is_none() && row.upload.is_none();
        let open = row.state.is_claimable() || matches!(row.state, State::Held | State::InFlight);
        if row.state != State::Dead && !(unsent && open) {
            return Ok(Some(id));
        }
        row.stop_in(self.tx, State::Superseded, None, self.now_ms)?;
        Ok(row.after)
    }
}
