//! Putting things right: dead letters sent again or given up, and rows taken back from workers that are gone.

use std::collections::{HashMap, HashSet};

use super::{
    args::args,
    columns::get,
    connect::Conn,
    fault::Fault,
    rows::{self, Delivery, fail, queue, stop_in},
    tx::Tx,
};
use crate::{
    delivery::State,
    id::DeliveryId,
    store::{Repair, RepairAction, Repaired, WorkerId, answer_lost},
};

pub(super) async fn repair(tx: &mut Tx<'_>, repair: &Repair) -> Result<Vec<Repaired>, Fault> {
    let Some(org) = tx.known_org(&repair.org).await? else { return Ok(vec![Repaired::NotFound; repair.deliveries.len()]) };
    let locked = rows::lock(tx.conn, org, &repair.deliveries).await?;
    let outdated = outdated(tx.conn, org, &repair.deliveries).await?;
    let (mut queued, mut discarded, mut superseded) = (Vec::new(), Vec::new(), Vec::new());
    let (mut done, mut touched, mut position) = (Vec::with_capacity(repair.deliveries.len()), HashSet::new(), 0);
    for id in &repair.deliveries {
        let Some(row) = locked.get(id) else {
            done.push(Repaired::NotFound);
            continue;
        };
        if row.state != State::Dead || !touched.insert(id) {
            done.push(Repaired::NotDead);
            continue;
        }
        match repair.action {
            RepairAction::Discard => discarded.push(row),
            RepairAction::Replay { .. } if outdated.contains(id) => {
                superseded.push(row);
                done.push(Repaired::NotDead);
                continue;
            }
            RepairAction::Replay { every_ms } => {
                queued.push((row, repair.now_ms.saturating_add(every_ms.saturating_mul(position))));
                position += 1;
            }
        }
        done.push(Repaired::Done);
    }
    queue(tx, &queued, true, repair.now_ms).await?;
    stop_in(tx, &discarded, State::Discarded, None, None, repair.now_ms).await?;
    stop_in(tx, &superseded, State::Superseded, None, None, repair.now_ms).await?;
    Ok(done)
}

/// Rows whose conversion has a newer revision on its way to the same destination: sent after it, the older value would win.
async fn outdated(conn: &Conn, org: i64, ids: &[DeliveryId]) -> Result<HashSet<DeliveryId>, Fault> {
    let ids: Vec<i64> = ids.iter().map(|id| id.0).collect();
    let sql = "SELECT d.id FROM deliveries d WHERE d.org = $1 AND d.id = ANY($2) AND EXISTS (SELECT 1 FROM deliveries n
            WHERE n.conversion = d.conversion AND n.destination = d.destination AND n.id > d.id)";
    conn.query(sql, args![org, ids]).await?.iter().map(|row| Ok(DeliveryId(get(row, 0)?))).collect()
}

pub(super) async fn recover(tx: &mut Tx<'_>, gone: &[WorkerId], now_ms: i64) -> Result<u64, Fault> {
    let gone: Vec<i64> = gone.iter().map(|worker| worker.0).collect();
    let asked = "UPDATE uploads SET poll_at_ms = LEAST(poll_at_ms, $1), asker = NULL WHERE asker = ANY($2)";
    tx.conn.execute(asked, args![now_ms, gone]).await?;
    let lost = "SELECT token, org, rows FROM leases WHERE until_ms <= $1 OR worker = ANY($2) ORDER BY token";
    let mut freed = 0;
    for lease in tx.conn.query(lost, args![now_ms, gone]).await? {
        let (token, org): (i64, i64) = (get(&lease, 0)?, get(&lease, 1)?);
        let ids: Vec<_> = get::<Vec<i64>>(&lease, 2)?.into_iter().map(DeliveryId).collect();
        let mut rows = rows::lock(tx.conn, org, &ids).await?;
        rows.retain(|_, row| row.state == State::InFlight && row.lease.is_some_and(|(claim, _)| claim == token));
        let until_ms = |row: &Delivery| row.lease_until_ms.unwrap_or(0);
        let over = |row: &Delivery| until_ms(row) <= now_ms || row.lease.is_some_and(|(_, worker)| gone.contains(&worker.0));
        let kept = rows.values().filter(|row| !over(row)).map(until_ms).min();
        rows.retain(|_, row| over(row));
        freed += rows.len() as u64;
        free(tx, org, &rows, now_ms).await?;
        let later = "UPDATE leases SET until_ms = $2 WHERE token = $1";
        match kept {
            Some(until_ms) => tx.conn.execute(later, args![token, until_ms]).await?,
            None => tx.conn.execute("DELETE FROM leases WHERE token = $1", args![token]).await?,
        };
    }
    Ok(freed)
}

/// Rows that were sent get a failure; those that were stopped stay out of the queue, the others are due at once.
async fn free(tx: &mut Tx<'_>, org: i64, rows: &HashMap<DeliveryId, Delivery>, now_ms: i64) -> Result<(), Fault> {
    let why = answer_lost();
    let failures: Vec<_> = rows.values().filter(|row| row.upload.is_some()).map(|row| (row.id, &why)).collect();
    fail(tx.conn, org, &failures, now_ms).await?;
    for sent in [true, false] {
        let of = |stop| rows.values().filter(move |row| row.upload.is_some() == sent && row.stop == stop).collect::<Vec<_>>();
        let why = sent.then_some(&why);
        stop_in(tx, &of(true), State::Suppressed, None, why, now_ms).await?;
        for to in [State::Queued, State::Retrying] {
            let due: Vec<_> = of(false).into_iter().filter(|row| row.open() == to).collect();
            stop_in(tx, &due, to, Some(now_ms), why, now_ms).await?;
        }
    }
    Ok(())
}
