//! Known conversions that change: later values, further destinations. The one with the latest time counts, in whatever order
//! they arrive.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
};

use super::{
    accept::Accepting,
    args::args,
    columns::{click, count32, get, money, money_columns, signed},
    fault::{Fault, damaged},
    pending::DeliveryRow,
    rows::{Delivery, of_conversions, stop_in},
};
use crate::{
    click_id::ClickId,
    delivery::State,
    id::{ConversionId, DeliveryId, DestinationId},
    money::{Amount, Money},
    store::{Captured, NewConversion, NewDelivery},
};

/// A value of a conversion; the first is what it was captured with.
struct Revision {
    at: i64,
    value: Option<Money>,
}

/// A conversion and its deliveries, locked.
struct Conversion {
    id: ConversionId,
    occurred_at: i64,
    click: Option<ClickId>,
    revision: u32,
    /// What the platform deduplicates on, unless a delivery says otherwise.
    transaction_id: String,
    revisions: Vec<Revision>,
    deliveries: Vec<Delivery>,
}

impl Conversion {
    /// The value with the latest time; of equal times the one recorded last.
    fn value(&self) -> Option<Money> {
        self.revisions.iter().max_by_key(|r| r.at).and_then(|r| r.value)
    }

    fn original(&self) -> Option<Money> {
        self.revisions.first().and_then(|r| r.value)
    }

    /// The newest delivery to each destination.
    fn latest(&self) -> BTreeMap<DestinationId, &Delivery> {
        self.deliveries.iter().map(|row| (row.destination, row)).collect()
    }
}

impl<'t> Accepting<'_, 't> {
    /// An incoming conversion that is known: the same again, a new value, or other content.
    pub(super) async fn recapture(&mut self, new: &'t NewConversion) -> Result<Captured, Fault> {
        let id = self.tx.seen.known(self.org, &new.key).map(|known| known.id).ok_or_else(|| damaged("a known conversion"))?;
        self.tx.pending.write(self.tx.conn).await?;
        let known = self.lock_conversion(id).await?;
        let current = known.value();
        if let Some(adjust) = new.adjustment {
            let zero = current.map(|money| Money { amount: Amount::ZERO, ..money });
            let value = if adjust.retract { zero } else { new.value };
            return self.revise(known, Revision { at: adjust.at, value }, &new.deliveries).await;
        }
        let same_value = new.value == current || (!self.restate && new.value == known.original());
        let field = if !same_value {
            "value"
        } else if new.occurred_at != known.occurred_at {
            "occurred_at"
        } else if new.click_id != known.click {
            "click_id"
        } else {
            return Ok(self.redeliver(&known, current, &new.deliveries));
        };
        let another_click = new.click_id.is_some() && new.click_id != known.click;
        if self.restate && field == "value" && another_click {
            return Ok(Captured::Different { conversion: id, value: current, field: "click_id".into() });
        }
        if self.restate && field == "value" {
            return self.revise(known, Revision { at: self.now_ms / 1000, value: new.value }, &new.deliveries).await;
        }
        Ok(Captured::Different { conversion: id, value: current, field: field.into() })
    }

    async fn lock_conversion(&self, id: ConversionId) -> Result<Conversion, Fault> {
        let sql =
            "SELECT occurred_at, mantissa, scale, currency, click_kind, click, revision, COALESCE(order_id, encode(natural_key, 'hex'))
            FROM conversions WHERE org = $1 AND id = $2 FOR UPDATE";
        let conn = self.tx.conn;
        let row = conn.first(sql, args![self.org, id.0]).await?.ok_or_else(|| damaged("a conversion's id"))?;
        let occurred_at: i64 = get(&row, 0)?;
        let captured_s = id.created_at().as_millisecond() / 1000;
        let mut revisions = vec![Revision { at: occurred_at.min(captured_s), value: money(&row, 1)? }];
        let later = "SELECT at, mantissa, scale, currency FROM revisions WHERE org = $1 AND conversion = $2 ORDER BY number";
        for row in conn.query(later, args![self.org, id.0]).await? {
            revisions.push(Revision { at: get(&row, 0)?, value: money(&row, 1)? });
        }
        let deliveries = of_conversions(conn, self.org, &[id.0]).await?;
        let (click, revision, transaction_id) = (click(&row, 4)?, count32(&row, 6)?, get(&row, 7)?);
        Ok(Conversion { id, occurred_at, click, revision, transaction_id, revisions, deliveries })
    }

    /// Adds deliveries to destinations that have none yet.
    fn redeliver(&mut self, known: &Conversion, value: Option<Money>, wanted: &'t [NewDelivery]) -> Captured {
        let has = known.latest();
        let missing: Vec<_> = wanted.iter().filter(|d| !has.contains_key(&d.destination)).collect();
        let owner = |d: &&NewDelivery| d.owned.and_then(|owned| self.tx.seen.owner(&owned)).filter(|owner| *owner != known.id);
        if let Some(owner) = missing.iter().find_map(owner) {
            return Captured::OrderIdTaken { owner };
        }
        for new in &missing {
            self.further(known.id, new, known.revision, value);
        }
        Captured::Known { conversion: known.id, added: u32::try_from(missing.len()).unwrap_or(u32::MAX) }
    }

    /// A delivery to a destination that had none.
    fn further(&mut self, conversion: ConversionId, new: &'t NewDelivery, revision: u32, value: Option<Money>) {
        self.own(conversion, new);
        let row = self.row(conversion, new, Some(Cow::Borrowed(&*new.transaction_id)), revision, value, None);
        self.deliver(row);
    }

    /// Records a value; if it is now the conversion's value, delivers it wherever the conversion went or is to go.
    async fn revise(&mut self, mut known: Conversion, new: Revision, wanted: &'t [NewDelivery]) -> Result<Captured, Fault> {
        let unchanged = Ok(Captured::Known { conversion: known.id, added: 0 });
        if known.revisions.iter().skip(1).any(|r| r.at == new.at && r.value == new.value) {
            return unchanged;
        }
        let before = known.value();
        let (mantissa, scale, currency) = money_columns(new.value.as_ref());
        let number = i32::try_from(known.revisions.len()).unwrap_or(i32::MAX);
        let insert = "INSERT INTO revisions (org, conversion, number, at, mantissa, scale, currency) VALUES ($1, $2, $3, $4, $5, $6, $7)";
        self.tx.conn.execute(insert, args![self.org, known.id.0, number, new.at, mantissa, scale, currency]).await?;
        known.revisions.push(new);
        let value = known.value();
        if value == before {
            return unchanged;
        }
        let revision = known.revision + 1;
        let update = "UPDATE conversions SET revision = $3, updated_ms = $4 WHERE org = $1 AND id = $2";
        let stored = i32::try_from(signed(revision)).unwrap_or(i32::MAX);
        self.tx.conn.execute(update, args![self.org, known.id.0, stored, self.now_ms]).await?;
        self.deliver_revision(&known, revision, value, wanted).await?;
        Ok(Captured::Restated { conversion: known.id, revision })
    }

    async fn deliver_revision(
        &mut self,
        known: &Conversion,
        revision: u32,
        value: Option<Money>,
        wanted: &'t [NewDelivery],
    ) -> Result<(), Fault> {
        let latest = known.latest();
        let explicit = self.going_on(known.id).await?;
        for old in latest.values().filter(|old| old.state != State::Suppressed) {
            let Some(transaction_id) = explicit.get(&old.id) else { continue };
            let after = self.supersede(old).await?;
            let transaction_id = transaction_id.clone().unwrap_or_else(|| known.transaction_id.clone());
            let row = DeliveryRow {
                org: self.org,
                id: DeliveryId(self.tx.next_id(self.now_ms)),
                conversion: known.id,
                destination: old.destination,
                due_ms: self.now_ms,
                action_id: Cow::Owned(old.action_id.clone()),
                transaction_id: Some(Cow::Owned(transaction_id)),
                revision,
                value,
                after,
            };
            self.deliver(row);
        }
        for new in wanted.iter().filter(|d| !latest.contains_key(&d.destination)) {
            self.further(known.id, new, revision, value);
        }
        Ok(())
    }

    /// Deliveries whose destinations are still there, with the transaction ids that they say.
    async fn going_on(&self, conversion: ConversionId) -> Result<HashMap<DeliveryId, Option<String>>, Fault> {
        let sql = "SELECT d.id, d.transaction_id FROM deliveries d JOIN destinations t ON t.id = d.destination
            WHERE d.conversion = $2 AND (d.org = $1) IS TRUE AND NOT t.removed";
        let rows = self.tx.conn.query(sql, args![self.org, conversion.0]).await?;
        rows.iter().map(|row| Ok((DeliveryId(get(row, 0)?), get(row, 1)?))).collect()
    }

    /// Takes an unsent or dead delivery out of the way; returns one that was sent and must be final before its successor goes.
    async fn supersede(&mut self, row: &Delivery) -> Result<Option<DeliveryId>, Fault> {
        let unsent = row.first_sent_ms.is_none() && row.upload.is_none();
        let open = row.state.is_claimable() || matches!(row.state, State::Held | State::InFlight);
        if row.state != State::Dead && !(unsent && open) {
            return Ok(Some(row.id));
        }
        stop_in(self.tx, &[row], State::Superseded, None, None, self.now_ms).await?;
        Ok(row.after)
    }
}
