//! Destinations: reading and changing them.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{error::damaged, rows, tally, tx::Tx};
use crate::{
    delivery::State,
    id::{DeliveryId, DestinationId},
    org::OrgId,
    store::{
        CredentialsChange, Health, PutDestination, StopCause, StoreError, StoredDestination, destination_removed, moved_account,
        refuse_open,
    },
};

/// A destination, and whether it was removed.
pub(super) struct Stored {
    pub(super) destination: StoredDestination,
    pub(super) removed: bool,
}

const COLUMNS: &str = "d.id, o.name, d.name, d.spec, d.credentials, d.breaker, d.paused_until_ms, d.hold, d.held_actions, d.removed
    FROM destinations d JOIN organizations o ON o.num = d.org";

fn json<T: serde::de::DeserializeOwned>(row: &Row<'_>, at: usize) -> Result<Option<T>, StoreError> {
    let Some(text) = row.get_ref(at)?.as_str_or_null().map_err(|_| damaged("a destination"))? else { return Ok(None) };
    serde_json::from_str(text).map(Some).map_err(|_| damaged("a destination"))
}

fn from_row(row: &Row<'_>) -> Result<Stored, StoreError> {
    let health = Health {
        breaker: json(row, 5)?.unwrap_or_default(),
        paused_until_ms: row.get(6)?,
        hold: json(row, 7)?,
        held_actions: json(row, 8)?.unwrap_or_default(),
    };
    let org: OrgId = row.get::<_, String>(1)?.parse().map_err(|_| damaged("an organization's name"))?;
    let destination = StoredDestination {
        id: DestinationId(row.get(0)?),
        org,
        name: row.get::<_, String>(2)?.into(),
        spec: json(row, 3)?.ok_or_else(|| damaged("a destination"))?,
        credentials: row.get::<_, Option<Vec<u8>>>(4)?.map(Vec::into_boxed_slice),
        health,
    };
    Ok(Stored { destination, removed: row.get(9)? })
}

pub(super) fn stored(conn: &Connection, id: DestinationId) -> Result<Option<Stored>, StoreError> {
    let mut read = conn.prepare_cached(&format!("SELECT {COLUMNS} WHERE d.id = ?1"))?;
    let mut rows = read.query([id.0])?;
    rows.next()?.map(from_row).transpose()
}

/// Those of one organization by name, or all; not the removed ones, of which there may be any number.
pub(super) fn all(conn: &Connection, org: Option<&OrgId>) -> Result<Vec<Stored>, StoreError> {
    let mut read =
        conn.prepare_cached(&format!("SELECT {COLUMNS} WHERE d.removed = 0 AND (?1 IS NULL OR o.name = ?1) ORDER BY d.name, d.id"))?;
    let mut rows = read.query([org.map(OrgId::as_str)])?;
    let mut list = Vec::new();
    while let Some(row) = rows.next()? {
        list.push(from_row(row)?);
    }
    Ok(list)
}

/// The organization's destination of that name. The writer waits for it, so the others are not read.
fn named(conn: &Connection, org: &OrgId, name: &str) -> Result<Option<StoredDestination>, StoreError> {
    let mut read = conn.prepare_cached(&format!("SELECT {COLUMNS} WHERE d.name = ?2 AND o.name = ?1 AND d.removed = 0"))?;
    let mut rows = read.query(params![org.as_str(), name])?;
    rows.next()?.map(from_row).transpose().map(|found| found.map(|stored| stored.destination))
}

/// The organization's own destination that was not removed.
pub(super) fn own(conn: &Connection, org: &OrgId, id: DestinationId) -> Result<StoredDestination, StoreError> {
    let found = stored(conn, id)?.filter(|s| !s.removed && s.destination.org == *org).map(|s| s.destination);
    found.ok_or_else(|| StoreError::NotFound(format!("destination {id}")))
}

pub(super) fn put(tx: &mut Tx<'_>, put: &PutDestination) -> Result<DestinationId, StoreError> {
    let old = named(tx.conn, &put.org, &put.name)?;
    if let Some(old) = &old {
        let moved = (old.spec.kind, old.spec.customer_id) != (put.spec.kind, put.spec.customer_id);
        if moved && (tx.tally.touches(old.id) || !tally::counts(tx.conn, old.id)?.is_empty()) {
            return Err(moved_account(&put.name));
        }
    }
    let org = tx.org_number(&put.org)?;
    let id = match &old {
        Some(old) => old.id,
        None => DestinationId(tx.next_id(put.now_ms)),
    };
    let credentials = match &put.credentials {
        CredentialsChange::Keep => old.and_then(|d| d.credentials),
        CredentialsChange::Remove => None,
        CredentialsChange::Set(sealed) => Some(sealed.clone()),
    };
    let spec = serde_json::to_string(&put.spec).map_err(|_| damaged("a destination"))?;
    let breaker = serde_json::to_string(&Health::default().breaker).map_err(|_| damaged("a breaker"))?;
    let mut upsert = tx.conn.prepare_cached(
        "INSERT INTO destinations (id, org, name, spec, credentials, breaker) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (id) DO UPDATE SET spec = excluded.spec, credentials = excluded.credentials",
    )?;
    upsert.execute(params![id.0, org, &*put.name, spec, credentials.as_deref(), breaker])?;
    Ok(id)
}

/// Writes how the destination is doing.
pub(super) fn put_health(conn: &Connection, id: DestinationId, health: &Health) -> Result<(), StoreError> {
    let text = |value: serde_json::Result<String>| value.map_err(|_| damaged("a destination's condition"));
    let breaker = text(serde_json::to_string(&health.breaker))?;
    let hold = health.hold.as_ref().map(|h| text(serde_json::to_string(h))).transpose()?;
    let actions = if health.held_actions.is_empty() { None } else { Some(text(serde_json::to_string(&health.held_actions))?) };
    let mut update =
        conn.prepare_cached("UPDATE destinations SET breaker = ?2, paused_until_ms = ?3, hold = ?4, held_actions = ?5 WHERE id = ?1")?;
    update.execute(params![id.0, breaker, health.paused_until_ms, hold, actions])?;
    Ok(())
}

pub(super) fn remove(tx: &mut Tx<'_>, org: &OrgId, id: DestinationId, force: bool, now_ms: i64) -> Result<u64, StoreError> {
    let destination = own(tx.conn, org, id)?;
    if !force {
        // What this transaction made is not in the table yet.
        tally::write(&mut tx.tally, tx.conn)?;
        let open: u64 = tally::counts(tx.conn, id)?.iter().filter(|(state, _)| !state.is_final()).map(|(_, n)| n).sum();
        refuse_open(&destination.name, open)?;
    }
    tx.conn.prepare_cached("UPDATE destinations SET removed = 1 WHERE id = ?1")?.execute([id.0])?;
    tx.conn.prepare_cached("UPDATE uploads SET poll_at_ms = NULL WHERE destination = ?1 AND poll_at_ms IS NOT NULL")?.execute([id.0])?;
    let mut stopped = 0;
    for delivery in open_rows(tx.conn, id)? {
        stopped += super::settle::stop(tx, delivery, StopCause::Removed, &destination_removed(), now_ms)?;
    }
    Ok(stopped)
}

/// Deliveries of a destination that are open or dead: by index, and by a scan only if some are on their way.
fn open_rows(conn: &Connection, id: DestinationId) -> Result<Vec<DeliveryId>, StoreError> {
    let counts: BTreeMap<State, u64> = tally::counts(conn, id)?;
    let on_their_way = [State::InFlight, State::AwaitingConfirmation].iter().any(|s| counts.contains_key(s));
    let wanted = if on_their_way { "state IN (0, 1, 2, 3, 4, 7)" } else { "due_ms IS NOT NULL" };
    let mut list = ids(conn, &format!("SELECT id FROM deliveries WHERE destination = ?1 AND {wanted}"), id)?;
    if !on_their_way {
        list.extend(ids(conn, rows::HELD, id)?);
        list.extend(ids(conn, rows::DEAD, id)?);
    }
    Ok(list)
}

pub(super) fn ids(conn: &Connection, sql: &str, id: DestinationId) -> Result<Vec<DeliveryId>, StoreError> {
    let mut read = conn.prepare_cached(sql)?;
    let found = read.query_map([id.0], |r| r.get(0).map(DeliveryId))?.collect::<Result<_, _>>()?;
    Ok(found)
}

/// The destination's name, whoever asks.
pub(super) fn name(conn: &Connection, id: i64) -> Result<String, StoreError> {
    let found = conn.prepare_cached("SELECT name FROM destinations WHERE id = ?1")?.query_row([id], |r| r.get(0)).optional()?;
    found.ok_or_else(|| damaged("a destination's id"))
}
