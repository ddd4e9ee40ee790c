//! Claims, uploads, questions for verdicts, and recovery.

use rusqlite::{Connection, OptionalExtension, params};

use super::{
    columns::{click, consent, ids, ids_blob, money},
    destinations::{Stored, stored},
    error::damaged,
    rows::{Row, fail, state},
    tx::Tx,
};
use crate::{
    delivery::State,
    id::{ConversionId, DeliveryId, DestinationId, UploadId},
    org::OrgId,
    rate_limit::{self, Quota},
    store::{Begin, Begun, Claimed, Hold, Lease, PREDECESSOR_WAIT_MS, PendingRow, PendingUpload, StoreError, WorkerId, answer_lost},
};

/// The rows of a destination that are due, earliest first.
pub(super) const DUE: &str = "SELECT d.id, d.conversion, d.revision, d.action_id,
        COALESCE(d.transaction_id, c.order_id, lower(hex(c.natural_key))), d.attempts, d.first_sent_ms, d.round, d.part, d.event_hash,
        c.occurred_at, d.mantissa, d.scale, d.currency, c.click_kind, c.click, c.consent, c.identifiers, d.after, d.state
    FROM deliveries d CROSS JOIN conversions c ON c.id = d.conversion
    WHERE d.destination = ?1 AND d.due_ms <= ?2 ORDER BY d.due_ms, d.id LIMIT ?3";

/// The uploads of a destination whose verdict is due, earliest first.
pub(super) const POLLS: &str = "SELECT id, request_id, sent_ms, polls, round, rows, action_id FROM uploads
    WHERE destination = ?1 AND poll_at_ms <= ?2 ORDER BY poll_at_ms, id LIMIT ?3";

/// Makes the questions due that a worker had taken.
pub(super) const ASKED_BY: &str = "UPDATE uploads SET poll_at_ms = min(poll_at_ms, ?1), asker = NULL WHERE asker = ?2";

pub(super) fn claim(
    tx: &mut Tx<'_>,
    destination: DestinationId,
    limit: usize,
    lease: Lease,
    now_ms: i64,
) -> Result<Vec<Claimed>, StoreError> {
    if holder(tx.conn, lease.token)?.is_some_and(|worker| worker != lease.worker) {
        return Err(StoreError::Busy);
    }
    let Some(Stored { destination: place, removed: false }) = stored(tx.conn, destination)? else { return Ok(Vec::new()) };
    if !place.spec.enabled || place.health.paused_until_ms.is_some_and(|until| now_ms < until) {
        return Ok(Vec::new());
    }
    let (mut claimed, mut from) = (Vec::new(), Vec::new());
    for Due { row, after, state } in due(tx.conn, destination, &place.org, limit, now_ms)? {
        if let Some(hold) = place.health.hold_on(&row.action_id) {
            hold_row(tx, row.id, hold, now_ms)?;
        } else if waits(tx.conn, after)? {
            let mut wait = tx.conn.prepare_cached("UPDATE deliveries SET due_ms = ?2 WHERE id = ?1")?;
            wait.execute(params![row.id.0, now_ms + PREDECESSOR_WAIT_MS])?;
        } else {
            claimed.push(row);
            from.push(state);
        }
    }
    take(tx, destination, &claimed, &from, lease)?;
    Ok(claimed)
}

/// A due row, the older revision's delivery before it, and its state.
struct Due {
    row: Claimed,
    after: Option<i64>,
    state: State,
}

fn due(conn: &Connection, destination: DestinationId, org: &OrgId, limit: usize, now_ms: i64) -> Result<Vec<Due>, StoreError> {
    let mut read = conn.prepare_cached(DUE)?;
    let mut rows = read.query(params![destination.0, now_ms, i64::try_from(limit).unwrap_or(i64::MAX)])?;
    let mut found: Vec<Due> = Vec::new();
    while let Some(row) = rows.next()? {
        let action = row.get_ref(3)?.as_str().map_err(|_| damaged("an action id"))?;
        let action_id = match found.last() {
            Some(last) if &*last.row.action_id == action => last.row.action_id.clone(),
            _ => action.into(),
        };
        let claimed = Claimed {
            id: DeliveryId(row.get(0)?),
            conversion: ConversionId(row.get(1)?),
            revision: row.get(2)?,
            org: org.clone(),
            action_id,
            transaction_id: row.get_ref(4)?.as_str().map_err(|_| damaged("a transaction id"))?.into(),
            attempts: row.get(5)?,
            first_sent_ms: row.get(6)?,
            round: row.get(7)?,
            part: row.get(8)?,
            event_hash: row.get::<_, Option<i64>>(9)?.map(i64::cast_unsigned),
            occurred_at: row.get(10)?,
            value: money(row, 11)?,
            click_id: click(row, 14)?,
            consent: consent(row.get(16)?)?,
            identifiers: row.get::<_, Option<Vec<u8>>>(17)?.map(Vec::into_boxed_slice),
        };
        found.push(Due { row: claimed, after: row.get(18)?, state: state(row.get(19)?)? });
    }
    Ok(found)
}

/// Whether an older revision's delivery is not final yet.
fn waits(conn: &Connection, after: Option<i64>) -> Result<bool, StoreError> {
    let Some(after) = after else { return Ok(false) };
    Ok(Row::read(conn, DeliveryId(after))?.is_some_and(|row| !row.state.is_final()))
}

fn hold_row(tx: &mut Tx<'_>, id: DeliveryId, hold: &Hold, now_ms: i64) -> Result<(), StoreError> {
    let why = tx.why_number(&hold.why)?;
    let row = Row::read(tx.conn, id)?.ok_or_else(|| damaged("a due row"))?;
    row.stop_in(tx, State::Held, Some(why), now_ms)
}

/// Claims rows, each of which was in the state `from` says.
fn take(tx: &mut Tx<'_>, destination: DestinationId, rows: &[Claimed], from: &[State], lease: Lease) -> Result<(), StoreError> {
    if rows.is_empty() {
        return Ok(());
    }
    let mut update = tx.conn.prepare_cached("UPDATE deliveries SET state = 1, due_ms = NULL, lease = ?2, upload = NULL WHERE id = ?1")?;
    for (row, from) in rows.iter().zip(from) {
        update.execute([row.id.0, lease.token])?;
        tx.tally.moved(destination, *from, State::InFlight, row.value.as_ref());
    }
    let mut insert = tx.conn.prepare_cached(
        "INSERT INTO leases (token, worker, until_ms, open, rows) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT DO UPDATE SET until_ms = excluded.until_ms, open = open + excluded.open, rows = CAST(rows || excluded.rows AS BLOB)",
    )?;
    let blob = ids_blob(rows.iter().map(|r| r.id));
    insert.execute(params![lease.token, lease.worker.0, lease.until_ms, rows.len(), blob])?;
    Ok(())
}

/// Whose rows are under a token.
fn holder(conn: &Connection, token: i64) -> Result<Option<WorkerId>, StoreError> {
    let mut read = conn.prepare_cached("SELECT worker FROM leases WHERE token = ?1")?;
    Ok(read.query_row([token], |r| r.get(0)).optional()?.map(WorkerId))
}

/// Whether the claim is still the worker's own; rows name it by its token alone.
pub(super) fn owns(conn: &Connection, lease: Lease) -> Result<bool, StoreError> {
    Ok(holder(conn, lease.token)? == Some(lease.worker))
}

pub(super) fn begin(tx: &mut Tx<'_>, begin: &Begin) -> Result<Begun, StoreError> {
    if stored(tx.conn, begin.destination)?.is_none() {
        return Err(StoreError::NotFound(format!("destination {}", begin.destination)));
    }
    let (lost, round) = lost(tx.conn, begin)?;
    if !lost.is_empty() {
        return Ok(Begun::Lost(lost));
    }
    let upload = UploadId(tx.next_id(begin.now_ms));
    let mut update = tx.conn.prepare_cached(
        "UPDATE deliveries SET upload = ?2, first_sent_ms = COALESCE(first_sent_ms, ?3), event_hash = COALESCE(event_hash, ?4) WHERE id = ?1",
    )?;
    for (id, hash) in &begin.rows {
        update.execute(params![id.0, upload.0, begin.now_ms, hash.cast_signed()])?;
    }
    let mut insert = tx.conn.prepare_cached(
        "INSERT INTO uploads (id, destination, action_id, body_hash, rows, sent_ms, round) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?;
    let rows = ids_blob(begin.rows.iter().map(|(id, _)| *id));
    insert.execute(params![upload.0, begin.destination.0, &*begin.action_id, begin.body_hash, rows, begin.now_ms, round])?;
    Ok(Begun::Upload(upload))
}

/// Rows that are not the claim's any more, and how often the batch was split.
fn lost(conn: &Connection, begin: &Begin) -> Result<(Vec<DeliveryId>, u8), StoreError> {
    let mut read = conn.prepare_cached("SELECT round FROM deliveries WHERE id = ?1 AND state = 1 AND lease = ?2 AND destination = ?3")?;
    let (mut lost, mut round) = (Vec::new(), 0);
    if !owns(conn, begin.lease)? {
        return Ok((begin.rows.iter().map(|(id, _)| *id).collect(), round));
    }
    for (id, _) in &begin.rows {
        match read.query_row([id.0, begin.lease.token, begin.destination.0], |r| r.get(0)).optional()? {
            Some(found) => round = found,
            None => lost.push(*id),
        }
    }
    Ok((lost, round))
}

/// Takes one request out of a quota.
pub(super) fn reserve(tx: &Tx<'_>, quota: &str, limits: &[Quota], now_ms: i64) -> Result<i64, StoreError> {
    let mut read = tx.conn.prepare_cached("SELECT tats_us FROM quotas WHERE name = ?1")?;
    let stored = read.query_row([quota], |r| r.get::<_, String>(0)).optional()?;
    let mut tats: Vec<i64> = match stored {
        Some(text) => serde_json::from_str(&text).map_err(|_| damaged("a quota"))?,
        None => Vec::new(),
    };
    let at_ms = rate_limit::reserve(limits, &mut tats, now_ms);
    let text = serde_json::to_string(&tats).map_err(|_| damaged("a quota"))?;
    tx.conn.prepare_cached("INSERT OR REPLACE INTO quotas (name, tats_us) VALUES (?1, ?2)")?.execute([quota, &text])?;
    Ok(at_ms)
}

pub(super) fn claim_polls(
    tx: &mut Tx<'_>,
    destination: DestinationId,
    limit: usize,
    lease: Lease,
    now_ms: i64,
) -> Result<Vec<PendingUpload>, StoreError> {
    let mut read = tx.conn.prepare_cached(POLLS)?;
    let mut rows = read.query(params![destination.0, now_ms, i64::try_from(limit).unwrap_or(i64::MAX)])?;
    let (mut found, mut touched) = (Vec::new(), Vec::new());
    while let Some(row) = rows.next()? {
        touched.push(row.get::<_, i64>(0)?);
        let Some(request_id) = row.get::<_, Option<String>>(1)? else { continue };
        let deliveries = ids(row.get_ref(5)?.as_blob().map_err(|_| damaged("an upload's rows"))?);
        found.push(PendingUpload {
            id: UploadId(row.get(0)?),
            request_id: request_id.into(),
            action_id: row.get::<_, String>(6)?.into(),
            sent_ms: row.get(2)?,
            polls: row.get::<_, u32>(3)? + 1,
            round: row.get(4)?,
            rows: deliveries.into_iter().map(|id| pending(tx.conn, id)).collect::<Result<_, _>>()?,
        });
    }
    let mut update = tx.conn.prepare_cached("UPDATE uploads SET polls = polls + 1, poll_at_ms = ?2, asker = ?3 WHERE id = ?1")?;
    for id in touched {
        update.execute([id, lease.until_ms, lease.worker.0])?;
    }
    Ok(found)
}

fn pending(conn: &Connection, id: DeliveryId) -> Result<PendingRow, StoreError> {
    let mut read = conn.prepare_cached(
        "SELECT d.attempts, d.first_sent_ms, c.occurred_at FROM deliveries d JOIN conversions c ON c.id = d.conversion WHERE d.id = ?1",
    )?;
    Ok(read.query_row([id.0], |r| Ok(PendingRow { id, attempts: r.get(0)?, first_sent_ms: r.get(1)?, occurred_at: r.get(2)? }))?)
}

pub(super) fn recover(tx: &mut Tx<'_>, gone: &[WorkerId], now_ms: i64) -> Result<u64, StoreError> {
    let mut asked = tx.conn.prepare_cached(ASKED_BY)?;
    for worker in gone {
        asked.execute([now_ms, worker.0])?;
    }
    drop(asked);
    let mut read = tx.conn.prepare_cached("SELECT token, worker, until_ms, rows FROM leases")?;
    let mut rows = read.query([])?;
    let mut lost = Vec::new();
    while let Some(row) = rows.next()? {
        if row.get::<_, i64>(2)? <= now_ms || gone.contains(&WorkerId(row.get(1)?)) {
            lost.push((row.get::<_, i64>(0)?, ids(row.get_ref(3)?.as_blob().map_err(|_| damaged("a claim's rows"))?)));
        }
    }
    drop(rows);
    let mut freed = 0;
    for (token, deliveries) in lost {
        for id in deliveries {
            freed += u64::from(recover_row(tx, id, token, now_ms)?);
        }
    }
    Ok(freed)
}

fn recover_row(tx: &mut Tx<'_>, id: DeliveryId, token: i64, now_ms: i64) -> Result<bool, StoreError> {
    let Some(row) = Row::read(tx.conn, id)?.filter(|r| r.state == State::InFlight && r.lease == Some(token)) else { return Ok(false) };
    let mut why = None;
    if row.upload.is_some() {
        let number = tx.why_number(&answer_lost())?;
        fail(tx.conn, id, number, now_ms)?;
        why = Some(number);
    }
    let open = if row.first_sent_ms.is_some() { State::Retrying } else { State::Queued };
    let (to, due_ms) = if row.stop { (State::Suppressed, None) } else { (open, Some(now_ms)) };
    let mut update = tx.conn.prepare_cached(
        "UPDATE deliveries SET state = ?2, due_ms = ?3, lease = NULL, why = COALESCE(?4, why), changed_ms = ?5 WHERE id = ?1",
    )?;
    update.execute(params![id.0, to as u8, due_ms, why, now_ms])?;
    drop(update);
    row.counted(tx, to)?;
    Ok(true)
}

/// Workers with rows in flight or with a question for a verdict.
pub(super) fn workers(conn: &Connection) -> Result<Vec<WorkerId>, StoreError> {
    let mut read = conn.prepare_cached("SELECT worker FROM leases UNION SELECT asker FROM uploads WHERE asker IS NOT NULL ORDER BY 1")?;
    let workers = read.query_map([], |r| r.get(0).map(WorkerId))?.collect::<Result<_, _>>()?;
    Ok(workers)
}
