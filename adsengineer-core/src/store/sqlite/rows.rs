//! One delivery's row as the writer changes it.

use rusqlite::{Connection, params};

use super::{columns::money, error::damaged, tx::Tx};
use crate::{
    delivery::State,
    id::{DeliveryId, DestinationId, UploadId},
    money::Money,
    store::StoreError,
};

/// What a change of a delivery must know of it.
pub(super) struct Row {
    pub(super) id: DeliveryId,
    pub(super) conversion: i64,
    pub(super) destination: DestinationId,
    pub(super) state: State,
    pub(super) lease: Option<i64>,
    pub(super) upload: Option<UploadId>,
    pub(super) first_sent_ms: Option<i64>,
    pub(super) stop: bool,
    /// Held by itself, for a human's review.
    pub(super) review: bool,
    pub(super) after: Option<DeliveryId>,
    pub(super) value: Option<Money>,
}

impl Row {
    pub(super) fn read(conn: &Connection, id: DeliveryId) -> Result<Option<Self>, StoreError> {
        let mut read = conn.prepare_cached(
            "SELECT conversion, destination, state, lease, upload, first_sent_ms, stop, after, mantissa, scale, currency, review
             FROM deliveries WHERE id = ?1",
        )?;
        let mut rows = read.query([id.0])?;
        let Some(row) = rows.next()? else { return Ok(None) };
        Ok(Some(Self {
            id,
            conversion: row.get(0)?,
            destination: DestinationId(row.get(1)?),
            state: state(row.get(2)?)?,
            lease: row.get(3)?,
            upload: row.get::<_, Option<i64>>(4)?.map(UploadId),
            first_sent_ms: row.get(5)?,
            stop: row.get(6)?,
            after: row.get::<_, Option<i64>>(7)?.map(DeliveryId),
            value: money(row, 8)?,
            review: row.get(11)?,
        }))
    }

    /// Records that the row enters `to`; the row itself is changed by the caller.
    pub(super) fn counted(&self, tx: &mut Tx<'_>, to: State) -> Result<(), StoreError> {
        tx.tally.moved(self.destination, self.state, to, self.value.as_ref());
        if let (State::InFlight, Some(token)) = (self.state, self.lease) {
            free(tx.conn, token, 1)?;
        }
        Ok(())
    }

    /// Takes the row out of the queue for a reason.
    pub(super) fn stop_in(&self, tx: &mut Tx<'_>, to: State, why: Option<i64>, now_ms: i64) -> Result<(), StoreError> {
        let mut update = tx.conn.prepare_cached(
            "UPDATE deliveries SET state = ?2, due_ms = NULL, lease = NULL, why = COALESCE(?3, why), changed_ms = ?4 WHERE id = ?1",
        )?;
        update.execute(params![self.id.0, to as u8, why, now_ms])?;
        drop(update);
        self.counted(tx, to)
    }

    /// Makes the row due again, without a reason.
    pub(super) fn queue(&self, tx: &mut Tx<'_>, due_ms: i64, fresh: bool, now_ms: i64) -> Result<(), StoreError> {
        let to = if self.first_sent_ms.is_some() { State::Retrying } else { State::Queued };
        let mut update = tx.conn.prepare_cached(
            "UPDATE deliveries SET state = ?2, due_ms = ?3, why = NULL, review = 0, changed_ms = ?4, attempts = iif(?5, 0, attempts),
                round = iif(?5, 0, round), part = iif(?5, 0, part) WHERE id = ?1",
        )?;
        update.execute(params![self.id.0, to as u8, due_ms, now_ms, fresh])?;
        drop(update);
        self.counted(tx, to)
    }
}

/// `count` rows of a claim are no longer in flight; a claim without any is forgotten.
pub(super) fn free(conn: &Connection, token: i64, count: usize) -> Result<(), StoreError> {
    conn.prepare_cached("UPDATE leases SET open = open - ?2 WHERE token = ?1")?.execute(params![token, count])?;
    conn.prepare_cached("DELETE FROM leases WHERE token = ?1 AND open <= 0")?.execute([token])?;
    Ok(())
}

pub(super) fn state(number: u8) -> Result<State, StoreError> {
    State::from_number(number).ok_or_else(|| damaged("a state"))
}

/// Remembers a failure of the row.
pub(super) fn fail(conn: &Connection, id: DeliveryId, why: i64, now_ms: i64) -> Result<(), StoreError> {
    let mut insert = conn.prepare_cached(
        "INSERT INTO failures (delivery, number, at_ms, why)
         VALUES (?1, (SELECT COALESCE(max(number), 0) + 1 FROM failures WHERE delivery = ?1), ?2, ?3)",
    )?;
    insert.execute(params![id.0, now_ms, why])?;
    Ok(())
}

/// Held rows of a destination.
pub(super) const HELD: &str = "SELECT id FROM deliveries WHERE destination = ?1 AND state = 3 ORDER BY id";
/// Dead rows of a destination.
pub(super) const DEAD: &str = "SELECT id FROM deliveries WHERE destination = ?1 AND state = 7 ORDER BY id";
/// Rows of a destination that a worker may claim, due or not.
pub(super) const CLAIMABLE: &str = "SELECT id FROM deliveries WHERE destination = ?1 AND due_ms IS NOT NULL";
