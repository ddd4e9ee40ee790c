//! Claims, uploads, and questions for verdicts.

use tokio_postgres::Row;

use super::{
    args::args,
    columns::{attempts, click, consent, count32, get, money, signed, small, state},
    connect::Conn,
    destinations::{Stored, lock, stored},
    fault::{Fault, damaged},
    rows,
    tx::Tx,
};
use crate::{
    delivery::State,
    id::{ConversionId, DeliveryId, DestinationId, UploadId},
    org::OrgId,
    rate_limit::{self, Quota},
    store::{Begin, Begun, Claimed, Lease, PREDECESSOR_WAIT_MS, PendingRow, PendingUpload, StoreError, WorkerId},
};

/// The rows of a destination that are due, earliest first, locked; those that another process works on are left to it.
pub(super) const DUE: &str = "WITH due AS (
        SELECT * FROM deliveries WHERE destination = $2 AND due_ms <= $3 AND org = $1 ORDER BY due_ms, id LIMIT $4 FOR UPDATE SKIP LOCKED)
    SELECT d.id, d.conversion, d.revision, d.action_id, COALESCE(d.transaction_id, c.order_id, encode(c.natural_key, 'hex')), d.attempts,
        d.first_sent_ms, d.round, d.part, d.event_hash, c.occurred_at, d.mantissa, d.scale, d.currency, c.click_kind, c.click, c.consent,
        c.identifiers, EXISTS (SELECT 1 FROM deliveries a WHERE a.org = d.org AND a.id = d.after AND a.state < 5), d.state
    FROM due d JOIN conversions c ON c.org = d.org AND c.id = d.conversion ORDER BY d.due_ms, d.id";

/// The uploads of a destination whose verdict is due, earliest first.
pub(super) const POLLS: &str = "SELECT id, request_id, sent_ms, polls, round, rows, action_id FROM uploads
    WHERE destination = $2 AND poll_at_ms <= $3 AND org = $1 ORDER BY poll_at_ms, id LIMIT $4 FOR UPDATE SKIP LOCKED";

pub(super) async fn claim(
    tx: &mut Tx<'_>,
    destination: DestinationId,
    limit: usize,
    lease: Lease,
    now_ms: i64,
) -> Result<Vec<Claimed>, Fault> {
    let others = "SELECT EXISTS (SELECT 1 FROM deliveries WHERE lease = $1 AND worker <> $2)";
    let taken = tx.conn.first(others, args![lease.token, lease.worker.0]).await?;
    if taken.map(|row| get::<bool>(&row, 0)).transpose()? == Some(true) {
        return Err(StoreError::Busy.into());
    }
    let Some(mut place) = stored(tx.conn, destination).await? else { return Ok(Vec::new()) };
    if place.holds() {
        // Nobody may release it while its rows are being held.
        let Some(locked) = lock(tx.conn, destination).await? else { return Ok(Vec::new()) };
        place = locked;
    }
    let Stored { destination: place, org, removed } = place;
    if removed || !place.spec.enabled || place.health.paused_until_ms.is_some_and(|until| now_ms < until) {
        return Ok(Vec::new());
    }
    let (mut claimed, mut from, mut waiting, mut held) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for row in tx.conn.query(DUE, args![org, destination.0, now_ms, signed(limit)]).await? {
        let one = claimed_from(&row, &place.org, claimed.last())?;
        if let Some(hold) = place.health.hold_on(&one.action_id) {
            held.push((one.id, hold.why.clone()));
        } else if get(&row, 18)? {
            waiting.push(one.id.0);
        } else {
            from.push(state(&row, 19)?);
            claimed.push(one);
        }
    }
    let locked = rows::lock(tx.conn, org, &held.iter().map(|(id, _)| *id).collect::<Vec<_>>()).await?;
    for (id, why) in &held {
        let row = locked.get(id).ok_or_else(|| damaged("a due row"))?;
        rows::stop_in(tx, &[row], State::Held, Some(why), now_ms).await?;
    }
    if !waiting.is_empty() {
        let wait = "UPDATE deliveries SET due_ms = $3 FROM UNNEST($2) AS n (key) WHERE org = $1 AND id = n.key";
        tx.conn.execute(wait, args![org, waiting, now_ms + PREDECESSOR_WAIT_MS]).await?;
    }
    take(tx, org, destination, &claimed, &from, lease).await?;
    Ok(claimed)
}

fn claimed_from(row: &Row, org: &OrgId, last: Option<&Claimed>) -> Result<Claimed, Fault> {
    let action: &str = get(row, 3)?;
    Ok(Claimed {
        id: DeliveryId(get(row, 0)?),
        conversion: ConversionId(get(row, 1)?),
        revision: count32(row, 2)?,
        org: org.clone(),
        action_id: last.filter(|last| &*last.action_id == action).map_or_else(|| action.into(), |last| last.action_id.clone()),
        transaction_id: get::<&str>(row, 4)?.into(),
        attempts: attempts(row, 5)?,
        first_sent_ms: get(row, 6)?,
        round: small(row, 7)?,
        part: get(row, 8)?,
        event_hash: get::<Option<i64>>(row, 9)?.map(i64::cast_unsigned),
        occurred_at: get(row, 10)?,
        value: money(row, 11)?,
        click_id: click(row, 14)?,
        consent: consent(row, 16)?,
        identifiers: get::<Option<&[u8]>>(row, 17)?.map(Into::into),
    })
}

/// Claims rows, each of which was in the state `from` says.
async fn take(
    tx: &mut Tx<'_>,
    org: i64,
    destination: DestinationId,
    claimed: &[Claimed],
    from: &[State],
    lease: Lease,
) -> Result<(), Fault> {
    if claimed.is_empty() {
        return Ok(());
    }
    let ids: Vec<i64> = claimed.iter().map(|row| row.id.0).collect();
    let sql = "UPDATE deliveries SET state = 1, due_ms = NULL, lease = $3, worker = $4, lease_until_ms = $5, upload = NULL
        FROM UNNEST($2) AS n (key) WHERE org = $1 AND id = n.key";
    tx.conn.execute(sql, args![org, ids, lease.token, lease.worker.0, lease.until_ms]).await?;
    for (row, from) in claimed.iter().zip(from) {
        tx.tally.moved(destination, *from, State::InFlight, row.value.as_ref());
    }
    Ok(())
}

pub(super) async fn begin(tx: &mut Tx<'_>, begin: &Begin) -> Result<Begun, Fault> {
    let Some(org) = tx.org_of(begin.destination).await? else {
        return Err(StoreError::NotFound(format!("destination {}", begin.destination)).into());
    };
    let ids: Vec<DeliveryId> = begin.rows.iter().map(|(id, _)| *id).collect();
    let locked = rows::lock(tx.conn, org, &ids).await?;
    let ours = |id: &DeliveryId| locked.get(id).filter(|row| row.destination == begin.destination && row.is_under(begin.lease));
    let lost: Vec<_> = ids.iter().copied().filter(|id| ours(id).is_none()).collect();
    if !lost.is_empty() {
        return Ok(Begun::Lost(lost));
    }
    let round = ids.last().and_then(ours).map_or(0, |row| row.round);
    let upload = tx.next_id(begin.now_ms);
    let numbers: Vec<i64> = ids.iter().map(|id| id.0).collect();
    let hashes: Vec<i64> = begin.rows.iter().map(|(_, hash)| hash.cast_signed()).collect();
    let sent = "UPDATE deliveries d SET upload = $4, first_sent_ms = COALESCE(first_sent_ms, $5), event_hash = COALESCE(event_hash, n.hash)
        FROM UNNEST($2, $3) AS n (id, hash) WHERE d.org = $1 AND d.id = n.id";
    tx.conn.execute(sent, args![org, numbers, hashes, upload, begin.now_ms]).await?;
    let record = "INSERT INTO uploads (org, id, destination, action_id, body_hash, rows, sent_ms, round)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
    let round = i16::from(round);
    let (action, hash) = (&*begin.action_id, &begin.body_hash[..]);
    tx.conn.execute(record, args![org, upload, begin.destination.0, action, hash, numbers, begin.now_ms, round]).await?;
    Ok(Begun::Upload(UploadId(upload)))
}

/// Takes one request out of a quota.
pub(super) async fn reserve(tx: &Tx<'_>, quota: &str, limits: &[Quota], now_ms: i64) -> Result<i64, Fault> {
    tx.conn.execute("INSERT INTO quotas (name, tats_us) VALUES ($1, '[]') ON CONFLICT (name) DO NOTHING", args![quota]).await?;
    let row = tx.conn.first("SELECT tats_us FROM quotas WHERE name = $1 FOR UPDATE", args![quota]).await?;
    let row = row.ok_or_else(|| damaged("a quota"))?;
    let mut tats: Vec<i64> = super::columns::json(get(&row, 0)?, "a quota")?;
    let at_ms = rate_limit::reserve(limits, &mut tats, now_ms);
    let text = serde_json::to_string(&tats).map_err(|_| damaged("a quota"))?;
    tx.conn.execute("UPDATE quotas SET tats_us = $2 WHERE name = $1", args![quota, text]).await?;
    Ok(at_ms)
}

pub(super) async fn claim_polls(
    tx: &mut Tx<'_>,
    destination: DestinationId,
    limit: usize,
    lease: Lease,
    now_ms: i64,
) -> Result<Vec<PendingUpload>, Fault> {
    let Some(org) = tx.org_of(destination).await? else { return Ok(Vec::new()) };
    let (mut found, mut touched) = (Vec::new(), Vec::new());
    for row in tx.conn.query(POLLS, args![org, destination.0, now_ms, signed(limit)]).await? {
        touched.push(get::<i64>(&row, 0)?);
        let Some(request_id) = get::<Option<&str>>(&row, 1)? else { continue };
        found.push(PendingUpload {
            id: UploadId(get(&row, 0)?),
            request_id: request_id.into(),
            action_id: get::<&str>(&row, 6)?.into(),
            sent_ms: get(&row, 2)?,
            polls: count32(&row, 3)? + 1,
            round: small(&row, 4)?,
            rows: asked_for(tx.conn, org, get(&row, 5)?).await?,
        });
    }
    if !touched.is_empty() {
        let ask =
            "UPDATE uploads SET polls = polls + 1, poll_at_ms = $3, asker = $4 FROM UNNEST($2) AS n (key) WHERE org = $1 AND id = n.key";
        tx.conn.execute(ask, args![org, touched, lease.until_ms, lease.worker.0]).await?;
    }
    Ok(found)
}

/// Rows of an upload, in its order.
async fn asked_for(conn: &Conn, org: i64, ids: Vec<i64>) -> Result<Vec<PendingRow>, Fault> {
    let sql = "SELECT d.id, d.attempts, d.first_sent_ms, c.occurred_at FROM UNNEST($2) WITH ORDINALITY AS n (id, place)
        JOIN deliveries d ON d.org = $1 AND d.id = n.id JOIN conversions c ON c.org = $1 AND c.id = d.conversion ORDER BY n.place";
    let rows = conn.query(sql, args![org, ids]).await?;
    let one = |row: &Row| {
        Ok(PendingRow { id: DeliveryId(get(row, 0)?), attempts: attempts(row, 1)?, first_sent_ms: get(row, 2)?, occurred_at: get(row, 3)? })
    };
    rows.iter().map(one).collect()
}

/// Workers with rows in flight or with a question for a verdict.
pub(super) async fn workers(conn: &Conn) -> Result<Vec<WorkerId>, Fault> {
    let sql = "SELECT worker FROM deliveries WHERE lease IS NOT NULL UNION SELECT asker FROM uploads WHERE asker IS NOT NULL ORDER BY 1";
    conn.query(sql, args![]).await?.iter().map(|row| Ok(WorkerId(get(row, 0)?))).collect()
}
