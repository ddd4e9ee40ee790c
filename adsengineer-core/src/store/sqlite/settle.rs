//! What became of rows: settling, holding, repairing and stopping them.

use std::collections::BTreeSet;

use rusqlite::{Connection, OptionalExtension, params};

use super::{
    columns::persons,
    destinations::{ids, own, put_health, stored},
    keys::{Kind, print},
    queue::owns,
    rows::{CLAIMABLE, HELD, Row, fail},
    tx::{Tx, known_org},
};
use crate::{
    breaker::Breaker,
    delivery::{Next, State},
    id::{DeliveryId, DestinationId},
    org::OrgId,
    outcome::{HoldScope, Why},
    store::{
        Guard, Hold, PersonKey, Repair, RepairAction, Repaired, Settle, Settled, StopCause, StoreError, UploadResult, suppressed_person,
    },
};

pub(super) fn settle(tx: &mut Tx<'_>, settle: &Settle) -> Result<u64, StoreError> {
    let place = stored(tx.conn, settle.destination)?;
    let removed = place.as_ref().is_none_or(|p| p.removed);
    let ours = match settle.guard {
        Guard::Lease(lease) if !settle.rows.is_empty() => owns(tx.conn, lease)?,
        Guard::Lease(_) | Guard::Verdict(_) => true,
    };
    let mut changed = 0;
    for settled in settle.rows.iter().filter(|_| ours) {
        changed += enter(tx, settle, settled, removed)?;
    }
    if let Guard::Lease(lease) = settle.guard
        && changed > 0
    {
        super::rows::free(tx.conn, lease.token, usize::try_from(changed).unwrap_or(usize::MAX))?;
    }
    if let Some(result) = &settle.upload {
        judge(tx, result, removed)?;
    }
    if let Some(place) = place.filter(|_| settle.breaker.is_some() || settle.paused_until_ms.is_some()) {
        let mut health = place.destination.health;
        health.breaker = settle.breaker.unwrap_or(health.breaker);
        health.paused_until_ms = settle.paused_until_ms.or(health.paused_until_ms);
        put_health(tx.conn, settle.destination, &health)?;
    }
    Ok(changed)
}

/// Moves the rows that are still ours; returns how many.
fn enter(tx: &mut Tx<'_>, settle: &Settle, settled: &Settled, removed: bool) -> Result<u64, StoreError> {
    let next = &settled.next;
    let why = next.why.as_ref().map(|why| tx.why_number(why)).transpose()?;
    let mut changed = 0;
    for id in &settled.deliveries {
        let Some(row) = Row::read(tx.conn, *id)? else { continue };
        let ours = match settle.guard {
            Guard::Lease(lease) => row.state == State::InFlight && row.lease == Some(lease.token),
            Guard::Verdict(upload) => row.state == State::AwaitingConfirmation && row.upload == Some(upload),
        };
        if !ours {
            continue;
        }
        if let Some(why) = why {
            fail(tx.conn, *id, why, settle.now_ms)?;
        }
        let to = crate::store::after_stop(next.state, row.stop, removed);
        write(tx, *id, next, to, settled.part, why, settle.now_ms)?;
        tx.tally.moved(row.destination, row.state, to, row.value.as_ref());
        changed += 1;
    }
    Ok(changed)
}

fn write(tx: &Tx<'_>, id: DeliveryId, next: &Next, to: State, part: i64, why: Option<i64>, now_ms: i64) -> Result<(), StoreError> {
    let mut update = tx.conn.prepare_cached(
        "UPDATE deliveries SET state = ?2, due_ms = ?3, attempts = ?4, round = ?5, part = ?6, lease = NULL, why = ?7, changed_ms = ?8,
            review = ?9 WHERE id = ?1",
    )?;
    let due_ms = next.due_ms.filter(|_| to.is_claimable());
    let review = to == State::Held && next.hold == Some(HoldScope::Row);
    update.execute(params![id.0, to as u8, due_ms, next.attempts, next.round, part, why, now_ms, review])?;
    Ok(())
}

fn judge(tx: &Tx<'_>, result: &UploadResult, removed: bool) -> Result<(), StoreError> {
    let why = result.why.as_ref().map(|why| tx.why_number(why)).transpose()?;
    let mut update = tx.conn.prepare_cached(
        "UPDATE uploads SET answered = 1, asker = NULL, request_id = COALESCE(?2, request_id), poll_at_ms = ?3, why = ?4 WHERE id = ?1",
    )?;
    let poll_at_ms = result.poll_at_ms.filter(|_| !removed);
    update.execute(params![result.upload.0, result.request_id.as_deref(), poll_at_ms, why])?;
    Ok(())
}

pub(super) fn hold(
    tx: &mut Tx<'_>,
    id: DestinationId,
    action_id: Option<&std::sync::Arc<str>>,
    scope: HoldScope,
    why: &Why,
    now_ms: i64,
) -> Result<u64, StoreError> {
    let Some(place) = stored(tx.conn, id)? else { return Ok(0) };
    let mut health = place.destination.health;
    health.add_hold(action_id, Hold { scope, why: why.clone(), since_ms: now_ms });
    put_health(tx.conn, id, &health)?;
    let number = tx.why_number(why)?;
    let mut action = tx.conn.prepare_cached("SELECT 1 FROM deliveries WHERE id = ?1 AND action_id = ?2")?;
    let mut held = 0;
    for delivery in ids(tx.conn, CLAIMABLE, id)? {
        let wanted = match action_id {
            Some(wanted) => action.query_row(params![delivery.0, &**wanted], |_| Ok(())).optional()?.is_some(),
            None => true,
        };
        if let Some(row) = Row::read(tx.conn, delivery)?.filter(|_| wanted) {
            row.stop_in(tx, State::Held, Some(number), now_ms)?;
            held += 1;
        }
    }
    Ok(held)
}

pub(super) fn release(tx: &mut Tx<'_>, org: &OrgId, id: DestinationId, reviewed: bool, now_ms: i64) -> Result<u64, StoreError> {
    let mut health = own(tx.conn, org, id)?.health;
    // A pause that the platform asked for is not ours to end.
    (health.hold, health.breaker) = (None, Breaker::default());
    health.held_actions.clear();
    put_health(tx.conn, id, &health)?;
    let mut released = 0;
    for delivery in ids(tx.conn, HELD, id)? {
        if let Some(row) = Row::read(tx.conn, delivery)?.filter(|row| reviewed || !row.review) {
            row.queue(tx, now_ms, false, now_ms)?;
            released += 1;
        }
    }
    Ok(released)
}

pub(super) fn repair(tx: &mut Tx<'_>, repair: &Repair) -> Result<Vec<Repaired>, StoreError> {
    let org = known_org(tx.conn, &repair.org)?;
    let mut owner = tx.conn.prepare_cached("SELECT 1 FROM conversions WHERE id = ?1 AND org = ?2")?;
    let (mut done, mut position) = (Vec::with_capacity(repair.deliveries.len()), 0);
    for id in &repair.deliveries {
        let row = match Row::read(tx.conn, *id)? {
            Some(row) if owner.query_row(params![row.conversion, org], |_| Ok(())).optional()?.is_some() => row,
            _ => {
                done.push(Repaired::NotFound);
                continue;
            }
        };
        if row.state != State::Dead {
            done.push(Repaired::NotDead);
            continue;
        }
        if repair.action != RepairAction::Discard && is_outdated(tx.conn, *id, &row)? {
            row.stop_in(tx, State::Superseded, None, repair.now_ms)?;
            done.push(Repaired::NotDead);
            continue;
        }
        match repair.action {
            RepairAction::Replay { every_ms } => {
                let due_ms = repair.now_ms.saturating_add(every_ms.saturating_mul(position));
                row.queue(tx, due_ms, true, repair.now_ms)?;
                position += 1;
            }
            RepairAction::Discard => row.stop_in(tx, State::Discarded, None, repair.now_ms)?,
        }
        done.push(Repaired::Done);
    }
    Ok(done)
}

/// Whether a newer revision of the conversion goes to the same destination: sent after it, the older value would win.
fn is_outdated(conn: &Connection, id: DeliveryId, row: &Row) -> Result<bool, StoreError> {
    let mut newer = conn.prepare_cached(
        "SELECT 1 FROM later_deliveries l CROSS JOIN deliveries d ON d.id = l.delivery
            WHERE l.conversion = ?1 AND d.destination = ?2 AND d.id > ?3 LIMIT 1",
    )?;
    Ok(newer.query_row(params![row.conversion, row.destination.0, id.0], |_| Ok(())).optional()?.is_some())
}

pub(super) fn suppress(tx: &mut Tx<'_>, org: &OrgId, people: &[PersonKey], now_ms: i64) -> Result<u64, StoreError> {
    let number = tx.org_number(org)?;
    let mut insert = tx.conn.prepare_cached("INSERT OR IGNORE INTO suppressed (org, person, at_ms) VALUES (?1, ?2, ?3)")?;
    let mut theirs = BTreeSet::new();
    let mut read = tx.conn.prepare_cached("SELECT persons FROM conversions WHERE id = ?1 AND org = ?2")?;
    for person in people {
        insert.execute(params![number, person.0, now_ms])?;
        for candidate in tx.keys.find(tx.conn, print(Kind::Person, &person.0))? {
            let blob = read.query_row([candidate, number], |r| r.get::<_, Option<Vec<u8>>>(0)).optional()?.flatten();
            if persons(blob.as_deref()).contains(person) {
                theirs.insert(candidate);
            }
        }
    }
    let mut stopped = 0;
    for conversion in theirs {
        for delivery in super::reads::deliveries_of(tx.conn, conversion)? {
            stopped += stop(tx, delivery, StopCause::Consent, &suppressed_person(), now_ms)?;
        }
    }
    Ok(stopped)
}

/// Stops a row that is open or dead; what is on its way right now is not sent again. Returns how many rows stopped.
pub(super) fn stop(tx: &mut Tx<'_>, id: DeliveryId, stop: StopCause, why: &Why, now_ms: i64) -> Result<u64, StoreError> {
    let Some(row) = Row::read(tx.conn, id)? else { return Ok(0) };
    let on_its_way = row.state == State::InFlight && row.upload.is_some();
    let to = match (row.state, stop) {
        (State::AwaitingConfirmation, StopCause::Removed) => State::DeliveredUnverified,
        (State::AwaitingConfirmation, StopCause::Consent) => {
            tx.conn.prepare_cached("UPDATE deliveries SET stop = 1 WHERE id = ?1")?.execute([id.0])?;
            return Ok(0);
        }
        _ if on_its_way => {
            tx.conn.prepare_cached("UPDATE deliveries SET stop = 1 WHERE id = ?1")?.execute([id.0])?;
            return Ok(0);
        }
        (state, _) if state.is_final() && state != State::Dead => return Ok(0),
        _ => State::Suppressed,
    };
    let number = tx.why_number(why)?;
    row.stop_in(tx, to, Some(number), now_ms)?;
    Ok(1)
}
