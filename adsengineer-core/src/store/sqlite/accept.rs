//! Taking conversions in: identity, suppression, ownership of transaction ids.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use rusqlite::{OptionalExtension, params};

use super::{
    columns::{click, click_kind_number, consent_number, money, money_columns, persons, persons_blob},
    error::damaged,
    inserting::{self, Inserting},
    keys::{Kind, order_hash, print},
    tx::Tx,
};
use crate::{
    click_id::ClickId,
    conversion::NaturalKey,
    delivery::State,
    id::{ConversionId, DeliveryId, DestinationId, IntakeId},
    money::{Amount, Money},
    store::{Captured, Done, Intake, NewConversion, NewDelivery, PersonKey, StoreError, encoding::explicit},
};

static CONVERSIONS: LazyLock<String> = LazyLock::new(|| {
    let columns = "id, org, natural_key, action, occurred_at, mantissa, scale, currency, order_id, click_kind, click, consent,
        identifiers, persons, deliveries, revision";
    inserting::sql("conversions", columns)
});
static DELIVERIES: LazyLock<String> = LazyLock::new(|| {
    let columns =
        "id, conversion, destination, state, due_ms, action_id, transaction_id, owned, revision, mantissa, scale, currency, after";
    inserting::sql("deliveries", columns)
});

/// One intake on its way in.
pub(super) struct Accepting<'t, 'c> {
    pub(super) tx: &'t mut Tx<'c>,
    org: i64,
    restate: bool,
    pub(super) now_ms: i64,
    /// Whether anybody of the organization is suppressed.
    suppressing: bool,
    /// Deliveries made so far.
    made: u64,
    conversions: Inserting<'c>,
    deliveries: Inserting<'c>,
}

/// A conversion that is known already.
pub(super) struct Known {
    pub(super) id: ConversionId,
    pub(super) occurred_at: i64,
    pub(super) original: Option<Money>,
    click: Option<ClickId>,
    persons: Vec<PersonKey>,
    pub(super) deliveries: i64,
    pub(super) revision: u32,
}

/// A delivery to make, and whose it is.
pub(super) struct Making<'a> {
    pub(super) conversion: ConversionId,
    pub(super) new: &'a NewDelivery,
    /// The transaction id where it cannot be told from the conversion.
    pub(super) transaction_id: Option<&'a str>,
    pub(super) revision: u32,
    pub(super) value: Option<&'a Money>,
    pub(super) after: Option<DeliveryId>,
}

pub(super) fn accept(tx: &mut Tx<'_>, intake: &Intake) -> Result<Done, StoreError> {
    check_destinations(tx, intake)?;
    let org = tx.org_number(&intake.org)?;
    let id = tx.next_id(intake.now_ms);
    let mut any = tx.conn.prepare_cached("SELECT EXISTS (SELECT 1 FROM suppressed WHERE org = ?1)")?;
    let suppressing = any.query_row([org], |r| r.get(0))?;
    let (conversions, deliveries) = (Inserting::new(tx.conn, &CONVERSIONS)?, Inserting::new(tx.conn, &DELIVERIES)?);
    let (restate, now_ms) = (intake.restate, intake.now_ms);
    let mut accepting = Accepting { tx, org, restate, now_ms, suppressing, made: 0, conversions, deliveries };
    let captured: Vec<_> = intake.conversions.iter().map(|new| accepting.capture(new)).collect::<Result<_, _>>()?;
    let made = accepting.finish()?;
    let sums = crate::store::intake_sums(intake, &captured);
    let mut insert = tx.conn.prepare_cached(
        "INSERT INTO intakes (id, org, last_id, source, consent_proof, rows, refused, denied, duplicates, conversions, deliveries)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
    )?;
    let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    insert.execute(params![
        id,
        org,
        tx.last_id(),
        &*intake.source,
        intake.consent_proof.as_deref(),
        number(intake.rows),
        number(sums.refused),
        number(intake.denied),
        number(sums.duplicates),
        number(sums.conversions),
        number(made),
    ])?;
    Ok(Done::Accepted(IntakeId(id), captured))
}

/// Every destination must be the organization's own and still there.
fn check_destinations(tx: &Tx<'_>, intake: &Intake) -> Result<(), StoreError> {
    let wanted: BTreeSet<DestinationId> = intake.conversions.iter().flat_map(|c| c.deliveries.iter().map(|d| d.destination)).collect();
    let mut find = tx.conn.prepare_cached(
        "SELECT 1 FROM destinations d JOIN organizations o ON o.num = d.org WHERE d.id = ?1 AND o.name = ?2 AND d.removed = 0",
    )?;
    for destination in wanted {
        if find.query_row(params![destination.0, intake.org.as_str()], |_| Ok(())).optional()?.is_none() {
            return Err(StoreError::NotFound(format!("destination {destination}")));
        }
    }
    Ok(())
}

impl Accepting<'_, '_> {
    /// Writes what is not written yet: now it is there for a read.
    fn write_rows(&mut self) -> Result<(), StoreError> {
        self.conversions.flush()?;
        self.deliveries.flush()
    }

    /// Ends with the number of deliveries made.
    fn finish(mut self) -> Result<u64, StoreError> {
        self.write_rows()?;
        Ok(self.made)
    }

    fn capture(&mut self, new: &NewConversion) -> Result<Captured, StoreError> {
        if self.is_suppressed(&new.persons)? {
            return Ok(Captured::Suppressed);
        }
        match self.known(&new.key)? {
            Some(known) => {
                if self.is_suppressed(&known.persons)? {
                    return Ok(Captured::Suppressed);
                }
                self.recapture(&known, new)
            }
            None if new.adjustment.is_some() => Ok(Captured::OriginalMissing),
            None => self.capture_new(new),
        }
    }

    fn is_suppressed(&self, persons: &[PersonKey]) -> Result<bool, StoreError> {
        if !self.suppressing {
            return Ok(false);
        }
        let mut find = self.tx.conn.prepare_cached("SELECT EXISTS (SELECT 1 FROM suppressed WHERE org = ?1 AND person = ?2)")?;
        for person in persons {
            if find.query_row(params![self.org, person.0], |r| r.get(0))? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn known(&mut self, key: &NaturalKey) -> Result<Option<Known>, StoreError> {
        for candidate in self.candidates(Kind::Natural, &key.0)? {
            if let Some(known) = self.known_if(candidate, key)? {
                return Ok(Some(known));
            }
        }
        Ok(None)
    }

    /// Rows that may have the hash, written.
    fn candidates(&mut self, kind: Kind, hash: &[u8; 16]) -> Result<Vec<i64>, StoreError> {
        let candidates = self.tx.keys.find(self.tx.conn, print(kind, hash))?;
        if !candidates.is_empty() {
            self.write_rows()?;
        }
        Ok(candidates)
    }

    fn known_if(&self, candidate: i64, key: &NaturalKey) -> Result<Option<Known>, StoreError> {
        let mut read = self.tx.conn.prepare_cached(
            "SELECT org, natural_key, occurred_at, mantissa, scale, currency, click_kind, click, persons, deliveries, revision
             FROM conversions WHERE id = ?1",
        )?;
        let mut rows = read.query([candidate])?;
        let Some(row) = rows.next()? else { return Ok(None) };
        if row.get_ref(1)?.as_blob().ok() != Some(&key.0) || row.get::<_, i64>(0)? != self.org {
            return Ok(None);
        }
        Ok(Some(Known {
            id: ConversionId(candidate),
            occurred_at: row.get(2)?,
            original: money(row, 3)?,
            click: click(row, 6)?,
            persons: persons(row.get_ref(8)?.as_blob_or_null().map_err(|_| damaged("a person's key"))?),
            deliveries: row.get(9)?,
            revision: row.get(10)?,
        }))
    }

    /// The conversion that owns one of the transaction ids, unless it is `but`.
    fn owner<'d>(
        &mut self,
        wanted: impl Iterator<Item = &'d NewDelivery>,
        but: Option<ConversionId>,
    ) -> Result<Option<ConversionId>, StoreError> {
        for owned in wanted.filter_map(|d| d.owned) {
            for candidate in self.candidates(Kind::Owned, &owned)? {
                let mut read = self.tx.conn.prepare_cached("SELECT conversion FROM deliveries WHERE id = ?1 AND owned = ?2")?;
                let owner = read.query_row(params![candidate, owned], |r| r.get(0)).optional()?.map(ConversionId);
                if owner.is_some() && owner != but {
                    return Ok(owner);
                }
            }
        }
        Ok(None)
    }

    fn capture_new(&mut self, new: &NewConversion) -> Result<Captured, StoreError> {
        if let Some(owner) = self.owner(new.deliveries.iter(), None)? {
            return Ok(Captured::OrderIdTaken { owner });
        }
        let id = ConversionId(self.tx.next_id(self.now_ms));
        let (mantissa, scale, currency) = money_columns(new.value.as_ref());
        self.conversions.row(params![
            id.0,
            self.org,
            new.key.0,
            &*new.action,
            new.occurred_at,
            mantissa,
            scale,
            currency,
            new.order_id.as_ref().map(crate::conversion::OrderId::as_str),
            new.click_id.as_ref().map(|c| click_kind_number(c.kind())),
            new.click_id.as_ref().map(ClickId::as_str),
            consent_number(new.consent),
            new.identifiers.as_deref(),
            persons_blob(&new.persons),
            new.deliveries.len(),
            1,
        ])?;
        self.tx.keys.add(self.tx.conn, print(Kind::Natural, &new.key.0), id.0)?;
        if let Some(order) = &new.order_id {
            self.tx.keys.add(self.tx.conn, print(Kind::Order, &order_hash(self.org, order.as_str())), id.0)?;
        }
        for person in &new.persons {
            self.tx.keys.add(self.tx.conn, print(Kind::Person, &person.0), id.0)?;
        }
        for delivery in &new.deliveries {
            let transaction_id = explicit(delivery, new);
            let value = new.value.as_ref();
            self.deliver(&Making { conversion: id, new: delivery, transaction_id, revision: 1, value, after: None })?;
        }
        Ok(Captured::New(id))
    }

    /// An incoming conversion that is known: the same again, a new value, or other content.
    fn recapture(&mut self, known: &Known, new: &NewConversion) -> Result<Captured, StoreError> {
        let revisions = self.revisions(known)?;
        let current = super::revise::value(&revisions);
        if let Some(adjust) = new.adjustment {
            let zero = current.map(|money| Money { amount: Amount::ZERO, ..money });
            let value = if adjust.retract { zero } else { new.value };
            return self.revise(known, revisions, adjust.at, value, &new.deliveries);
        }
        let same_value = new.value == current || (!self.restate && new.value == known.original);
        let field = if !same_value {
            "value"
        } else if new.occurred_at != known.occurred_at {
            "occurred_at"
        } else if new.click_id != known.click {
            "click_id"
        } else {
            return self.redeliver(known, current.as_ref(), &new.deliveries);
        };
        let another_click = new.click_id.is_some() && new.click_id != known.click;
        if self.restate && field == "value" && another_click {
            return Ok(Captured::Different { conversion: known.id, value: current, field: "click_id".into() });
        }
        if self.restate && field == "value" {
            return self.revise(known, revisions, self.now_ms / 1000, new.value, &new.deliveries);
        }
        Ok(Captured::Different { conversion: known.id, value: current, field: field.into() })
    }

    /// Adds deliveries to destinations that have none yet.
    fn redeliver(&mut self, known: &Known, value: Option<&Money>, wanted: &[NewDelivery]) -> Result<Captured, StoreError> {
        let has = self.destinations_of(known)?;
        let missing: Vec<_> = wanted.iter().filter(|d| !has.contains_key(&d.destination)).collect();
        if missing.is_empty() {
            return Ok(Captured::Known { conversion: known.id, added: 0 });
        }
        if let Some(owner) = self.owner(missing.iter().copied(), Some(known.id))? {
            return Ok(Captured::OrderIdTaken { owner });
        }
        for new in &missing {
            let transaction_id = Some(&*new.transaction_id);
            self.deliver_later(&Making { conversion: known.id, new, transaction_id, revision: known.revision, value, after: None })?;
        }
        Ok(Captured::Known { conversion: known.id, added: u32::try_from(missing.len()).unwrap_or(u32::MAX) })
    }

    /// The newest delivery to each destination.
    pub(super) fn destinations_of(&self, known: &Known) -> Result<BTreeMap<DestinationId, DeliveryId>, StoreError> {
        let mut read = self.tx.conn.prepare_cached(
            "SELECT destination, id FROM deliveries WHERE id > ?1 AND id <= ?1 + ?2
             UNION ALL SELECT d.destination, d.id FROM later_deliveries l CROSS JOIN deliveries d ON d.id = l.delivery WHERE l.conversion = ?1",
        )?;
        let mut rows = read.query(params![known.id.0, known.deliveries])?;
        let mut latest = BTreeMap::new();
        while let Some(row) = rows.next()? {
            let entry = latest.entry(DestinationId(row.get(0)?)).or_insert(DeliveryId(0));
            *entry = DeliveryId(row.get(1)?).max(*entry);
        }
        Ok(latest)
    }

    /// Makes a delivery that does not directly follow its conversion.
    pub(super) fn deliver_later(&mut self, making: &Making<'_>) -> Result<(), StoreError> {
        let id = self.deliver(making)?;
        let mut insert = self.tx.conn.prepare_cached("INSERT INTO later_deliveries (conversion, delivery) VALUES (?1, ?2)")?;
        insert.execute([making.conversion.0, id.0])?;
        Ok(())
    }

    fn deliver(&mut self, making: &Making<'_>) -> Result<DeliveryId, StoreError> {
        let id = DeliveryId(self.tx.next_id(self.now_ms));
        let (mantissa, scale, currency) = money_columns(making.value);
        self.deliveries.row(params![
            id.0,
            making.conversion.0,
            making.new.destination.0,
            State::Queued as u8,
            making.new.due_ms,
            &*making.new.action_id,
            making.transaction_id,
            making.new.owned,
            making.revision,
            mantissa,
            scale,
            currency,
            making.after.map(|a| a.0),
        ])?;
        if let Some(owned) = making.new.owned {
            self.tx.keys.add(self.tx.conn, print(Kind::Owned, &owned), id.0)?;
        }
        self.tx.tally.made(making.new.destination, State::Queued, making.value);
        self.made += 1;
        Ok(id)
    }
}
