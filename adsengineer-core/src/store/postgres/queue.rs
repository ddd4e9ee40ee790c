//! Claims, uploads, and questions for verdicts.

use tokio_postgres::Row;

use super::{
    args::args,
    columns::{attempts, click, consent, count32, get, money, signed, small, state},
    connect::Conn,
    destinations::{Stored, lock, stored},
    fault::{Fault, all_of, damaged},
    pending::{all, column},
    rows,
    tx::Tx,
};
use crate::{
    delivery::State,
    id::{ConversionId, DeliveryId, DestinationId, UploadId},
    org::OrgId,
    outcome::Why,
    rate_limit::{self, Quota},
    store::{Begin, Begun, Claimed, Lease, PREDECESSOR_WAIT_MS, PendingRow, PendingUpload, StoreError, WorkerId},
};

/// The rows of a destination that are due, earliest first, locked; those that another process works on are left to it. The queue
/// leads, in its order, and every other row is looked up by its key: nothing here is left for the planner to choose.
pub(super) const DUE: &str = "SELECT d.id, d.conversion, d.revision, d.action_id,
        COALESCE(d.transaction_id, c.order_id, encode(c.natural_key, 'hex')), d.attempts, d.first_sent_ms, d.round, d.part, d.event_hash,
        c.occurred_at, d.mantissa, d.scale, d.currency, c.click_kind, c.click, c.consent, c.identifiers,
        d.after IS NOT NULL AND EXISTS (SELECT 1 FROM deliveries a WHERE a.org = $1 AND a.id = d.after AND a.state < 5), d.due_ms,
        d.state
    FROM (SELECT d.* FROM (SELECT id, due_ms FROM queue WHERE destination = $2 AND kind = 0 AND due_ms <= $3 ORDER BY due_ms, id) q
            CROSS JOIN LATERAL (SELECT * FROM deliveries WHERE org = $1 AND id = q.id AND due_ms = q.due_ms FOR UPDATE SKIP LOCKED) d
        LIMIT $4) d
        CROSS JOIN LATERAL (SELECT * FROM conversions WHERE org = $1 AND id = d.conversion OFFSET 0) c
    ORDER BY d.due_ms, d.id";

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
    let (others, token) = ("SELECT worker FROM leases WHERE token = $1", args![lease.token]);
    let (others, place) = tokio::try_join!(tx.conn.first(others, token), stored(tx.conn, destination))?;
    if others.map(|row| get::<i64>(&row, 0)).transpose()?.is_some_and(|worker| worker != lease.worker.0) {
        return Err(StoreError::Busy.into());
    }
    let Some(mut place) = place else { return Ok(Vec::new()) };
    if place.holds() {
        // Nobody may release it while its rows are being held.
        let Some(locked) = lock(tx.conn, destination).await? else { return Ok(Vec::new()) };
        place = locked;
    }
    let Stored { destination: place, org, removed } = place;
    if removed || !place.spec.enabled || place.health.paused_until_ms.is_some_and(|until| now_ms < until) {
        return Ok(Vec::new());
    }
    let (mut claimed, mut due, mut from) = (Vec::new(), Vec::new(), Vec::new());
    let (mut waiting, mut held) = (Vec::new(), Vec::<(Why, Vec<DeliveryId>)>::new());
    for row in tx.conn.query(DUE, args![org, destination.0, now_ms, signed(limit)]).await? {
        let one = claimed_from(&row, &place.org, claimed.last())?;
        if let Some(hold) = place.health.hold_on(&one.action_id) {
            match held.iter_mut().find(|(why, _)| *why == hold.why) {
                Some((_, ids)) => ids.push(one.id),
                None => held.push((hold.why.clone(), vec![one.id])),
            }
        } else if get(&row, 18)? {
            waiting.push(one.id);
        } else {
            due.push((one.id, get(&row, 19)?));
            from.push(state(&row, 20)?);
            claimed.push(one);
        }
    }
    for (why, ids) in &held {
        let locked = rows::lock(tx.conn, org, ids).await?;
        rows::stop_in(tx, &locked.values().collect::<Vec<_>>(), State::Held, None, Some(why), now_ms).await?;
    }
    put_off(tx, org, &waiting, now_ms + PREDECESSOR_WAIT_MS).await?;
    take(tx, org, destination, &claimed, &due, lease).await?;
    for (row, from) in claimed.iter().zip(from) {
        tx.tally.moved(destination, from, State::InFlight, row.value.as_ref());
    }
    Ok(claimed)
}

/// Makes rows due at a later time; nothing else of them changes.
async fn put_off(tx: &mut Tx<'_>, org: i64, ids: &[DeliveryId], due_ms: i64) -> Result<(), Fault> {
    let locked = rows::lock(tx.conn, org, ids).await?;
    if locked.is_empty() {
        return Ok(());
    }
    let sql = format!("UPDATE deliveries d SET due_ms = $3 FROM {} WHERE d.ctid = n.at", rows::at("UNNEST($2) AS n (id)"));
    tx.conn.execute(&sql, args![org, column(ids, |id| id.0), due_ms]).await?;
    for row in locked.values() {
        tx.moved(row, row.state, Some(due_ms));
    }
    Ok(())
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

async fn take(
    tx: &mut Tx<'_>,
    org: i64,
    destination: DestinationId,
    claimed: &[Claimed],
    due: &[(DeliveryId, i64)],
    lease: Lease,
) -> Result<(), Fault> {
    if claimed.is_empty() {
        return Ok(());
    }
    let sql = format!(
        "UPDATE deliveries d SET state = 1, due_ms = NULL, lease = $3, worker = $4, lease_until_ms = $5, upload = NULL
        FROM {} WHERE d.ctid = n.at",
        rows::at("UNNEST($2) AS n (id)")
    );
    let ids = column(claimed, |row| row.id.0);
    let take = args![org, ids, lease.token, lease.worker.0, lease.until_ms];
    tx.waiting.taken(destination, org, due, lease);
    // Both are sent at once.
    let (taken, waiting) = tokio::join!(tx.conn.execute(&sql, take), tx.waiting.write(tx.conn));
    all_of([taken.map(drop), waiting])
}

pub(super) async fn begin(tx: &mut Tx<'_>, begin: &Begin) -> Result<Begun, Fault> {
    let Some(org) = tx.org_of(begin.destination).await? else {
        return Err(StoreError::NotFound(format!("destination {}", begin.destination)).into());
    };
    let ids: Vec<DeliveryId> = begin.rows.iter().map(|(id, _)| *id).collect();
    let found = rows::look(tx.conn, org, &ids).await?;
    let ours = |id: &DeliveryId| found.get(id).filter(|row| row.destination == begin.destination && row.is_under(begin.lease));
    let lost: Vec<_> = ids.iter().copied().filter(|id| ours(id).is_none()).collect();
    if !lost.is_empty() {
        return Ok(Begun::Lost(lost));
    }
    let round = ids.last().and_then(ours).map_or(0, |row| row.round);
    let upload = tx.next_id(begin.now_ms);
    let mut sent: Vec<(i64, i64)> = begin.rows.iter().map(|(id, hash)| (id.0, hash.cast_signed())).collect();
    sent.sort_unstable();
    sent.dedup_by_key(|(id, _)| *id);
    let mark = format!(
        "UPDATE deliveries d SET upload = $4, first_sent_ms = COALESCE(first_sent_ms, $5), event_hash = COALESCE(event_hash, n.hash)
        FROM {} WHERE d.ctid = n.at AND d.state = 1 AND d.lease = $6 AND d.worker = $7",
        rows::at("UNNEST($2, $3) AS n (id, hash)")
    );
    let (numbers, hashes) = (column(&sent, |(id, _)| *id), column(&sent, |(_, hash)| *hash));
    let (now_ms, lease) = (begin.now_ms, begin.lease);
    let marked = args![org, numbers, hashes, upload, now_ms, lease.token, lease.worker.0];
    let record = "INSERT INTO uploads (org, id, destination, action_id, body_hash, rows, sent_ms, round)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
    let (round, order) = (i16::from(round), column(&ids, |id| id.0));
    let (action, hash) = (&*begin.action_id, &begin.body_hash[..]);
    let recorded = args![org, upload, begin.destination.0, action, hash, order, now_ms, round];
    let (marked, recorded) = tokio::join!(tx.conn.execute(&mark, marked), tx.conn.execute(record, recorded));
    let marked = match (marked, recorded) {
        (Ok(marked), Ok(_)) => marked,
        (marked, recorded) => return Err(all_of([marked.map(drop), recorded.map(drop)]).err().unwrap_or_else(Fault::overtaken)),
    };
    all(marked, sent.len())?;
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
            CROSS JOIN LATERAL (SELECT * FROM deliveries WHERE org = $1 AND id = n.id OFFSET 0) d
            CROSS JOIN LATERAL (SELECT occurred_at FROM conversions WHERE org = $1 AND id = d.conversion OFFSET 0) c ORDER BY n.place";
    let rows = conn.query(sql, args![org, ids]).await?;
    let one = |row: &Row| {
        Ok(PendingRow { id: DeliveryId(get(row, 0)?), attempts: attempts(row, 1)?, first_sent_ms: get(row, 2)?, occurred_at: get(row, 3)? })
    };
    rows.iter().map(one).collect()
}

/// Workers with rows in flight or with a question for a verdict.
pub(super) async fn workers(conn: &Conn) -> Result<Vec<WorkerId>, Fault> {
    let sql = "SELECT worker FROM leases UNION SELECT asker FROM uploads WHERE asker IS NOT NULL ORDER BY 1";
    conn.query(sql, args![]).await?.iter().map(|row| Ok(WorkerId(get(row, 0)?))).collect()
}
