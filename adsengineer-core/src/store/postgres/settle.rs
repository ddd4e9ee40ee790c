//! What became of rows: settling, holding, releasing and stopping them.

use std::sync::Arc;

use super::{
    args::args,
    columns::{number, why_columns},
    destinations::{change_health, own, stored},
    fault::{Fault, all_of},
    pending::{all, column},
    rows::{self, Delivery, fail, mark_stopped, queue, stop_in},
    tx::Tx,
    waiting::{CLAIMABLE, HELD},
};
use crate::{
    breaker::Breaker,
    delivery::{Next, State},
    id::{DeliveryId, DestinationId},
    org::OrgId,
    outcome::{HoldScope, Why},
    store::{Guard, Hold, PersonKey, Settle, StopCause, UploadResult, after_stop, suppressed_person},
};

/// A row that enters a state.
struct Entering<'s> {
    id: DeliveryId,
    stop: bool,
    next: &'s Next,
    to: State,
    part: i64,
}

impl Entering<'_> {
    fn due_ms(&self) -> Option<i64> {
        self.next.due_ms.filter(|_| self.to.is_claimable())
    }
}

pub(super) async fn settle(tx: &mut Tx<'_>, settle: &Settle) -> Result<u64, Fault> {
    let Some(org) = tx.org_of(settle.destination).await? else { return Ok(0) };
    let ids: Vec<DeliveryId> = settle.rows.iter().flat_map(|s| s.deliveries.iter().copied()).collect();
    let conn = tx.conn;
    // Nobody may remove the destination between the look at it and the end.
    let ((), place, mut found) = tokio::try_join!(tx.share(org), stored(conn, settle.destination), rows::look(conn, org, &ids))?;
    let removed = place.is_none_or(|place| place.removed);
    let mut entering = Vec::new();
    for settled in &settle.rows {
        for id in &settled.deliveries {
            let Some(row) = found.remove(id).filter(|row| is_ours(row, settle.guard)) else { continue };
            let to = after_stop(settled.next.state, row.stop, removed);
            let entered = Entering { id: *id, stop: row.stop, next: &settled.next, to, part: settled.part };
            tx.moved(&row, to, entered.due_ms());
            entering.push(entered);
        }
    }
    entering.sort_unstable_by_key(|e| e.id);
    let failures: Vec<_> = entering.iter().filter_map(|e| Some((e.id, e.next.why.as_ref()?))).collect();
    // All are sent at once.
    let (failed, entered, judged) = tokio::join!(
        fail(conn, org, &failures, settle.now_ms),
        enter(tx, org, &entering, settle.guard, settle.now_ms),
        judge(tx, org, settle.upload.as_ref(), removed),
    );
    all_of([failed, entered, judged])?;
    if settle.breaker.is_some() || settle.paused_until_ms.is_some() {
        change_health(tx.conn, settle.destination, |health| {
            health.breaker = settle.breaker.unwrap_or(health.breaker);
            health.paused_until_ms = settle.paused_until_ms.or(health.paused_until_ms);
        })
        .await?;
    }
    Ok(entering.len() as u64)
}

fn is_ours(row: &Delivery, guard: Guard) -> bool {
    match guard {
        Guard::Lease(lease) => row.is_under(lease),
        Guard::Verdict(upload) => row.state == State::AwaitingConfirmation && row.upload == Some(upload),
    }
}

/// Moves rows that are ours, each into a state of its own.
async fn enter(tx: &Tx<'_>, org: i64, rows: &[Entering<'_>], guard: Guard, now_ms: i64) -> Result<(), Fault> {
    if rows.is_empty() {
        return Ok(());
    }
    // They were looked at, not locked: they must still be as they were.
    let (still, of, worker) = match guard {
        Guard::Lease(lease) => ("d.state = 1 AND d.lease = $13 AND d.worker = $14", lease.token, lease.worker.0),
        Guard::Verdict(upload) => ("d.state = 4 AND d.upload = $13 AND $14 = 0", upload.0, 0),
    };
    let sql = format!(
        "UPDATE deliveries d SET state = n.state, due_ms = n.due_ms, attempts = n.attempts, round = n.round, part = n.part,
            lease = NULL, worker = NULL, lease_until_ms = NULL, why_code = n.code, why_detail = n.detail, review = n.review, changed_ms = $11
        FROM {} WHERE d.ctid = n.at AND d.stop = n.stop AND {still}",
        rows::at(
            "UNNEST($2, $3, $4, $5, $6, $7, $8, $9, $10, $12) AS n (id, state, due_ms, attempts, round, part, code, detail, review, stop)"
        )
    );
    let review = |row: &Entering<'_>| row.to == State::Held && row.next.hold == Some(HoldScope::Row);
    let entered = tx
        .conn
        .execute(
            &sql,
            args![
                org,
                column(rows, |r| r.id.0),
                column(rows, |r| number(r.to)),
                column(rows, Entering::due_ms),
                column(rows, |r| i32::from(r.next.attempts)),
                column(rows, |r| i16::from(r.next.round)),
                column(rows, |r| r.part),
                column(rows, |r| why_columns(r.next.why.as_ref()).0),
                column(rows, |r| why_columns(r.next.why.as_ref()).1),
                column(rows, review),
                now_ms,
                column(rows, |r| r.stop),
                of,
                worker,
            ],
        )
        .await?;
    all(entered, rows.len())
}

async fn judge(tx: &Tx<'_>, org: i64, result: Option<&UploadResult>, removed: bool) -> Result<(), Fault> {
    let Some(result) = result else { return Ok(()) };
    let (code, detail) = why_columns(result.why.as_ref());
    let sql = "UPDATE uploads SET answered = TRUE, asker = NULL, request_id = COALESCE($3, request_id), poll_at_ms = $4, why_code = $5,
            why_detail = $6 WHERE org = $1 AND id = $2";
    let poll_at_ms = result.poll_at_ms.filter(|_| !removed);
    tx.conn.execute(sql, args![org, result.upload.0, result.request_id.as_deref(), poll_at_ms, code, detail]).await?;
    Ok(())
}

pub(super) async fn hold(
    tx: &mut Tx<'_>,
    id: DestinationId,
    action_id: Option<&Arc<str>>,
    scope: HoldScope,
    why: &Why,
    now_ms: i64,
) -> Result<u64, Fault> {
    let hold = Hold { scope, why: why.clone(), since_ms: now_ms };
    let Some(place) = change_health(tx.conn, id, |health| health.add_hold(action_id, hold)).await? else { return Ok(0) };
    let claimable = rows::waiting(tx.conn, place.org, id, CLAIMABLE).await?;
    let wanted: Vec<_> = claimable.iter().filter(|row| action_id.is_none_or(|action| **action == *row.action_id)).collect();
    stop_in(tx, &wanted, State::Held, None, Some(why), now_ms).await?;
    Ok(wanted.len() as u64)
}

pub(super) async fn release(tx: &mut Tx<'_>, org: &OrgId, id: DestinationId, reviewed: bool, now_ms: i64) -> Result<u64, Fault> {
    let place = own(tx.conn, org, id).await?;
    change_health(tx.conn, id, |health| {
        // A pause that the platform asked for is not ours to end.
        (health.hold, health.breaker) = (None, Breaker::default());
        health.held_actions.clear();
    })
    .await?;
    let held = rows::waiting(tx.conn, place.org, id, HELD).await?;
    let going: Vec<_> = held.iter().filter(|row| reviewed || !row.review).map(|row| (row, now_ms)).collect();
    queue(tx, &going, false, now_ms).await?;
    Ok(going.len() as u64)
}

pub(super) async fn suppress(tx: &mut Tx<'_>, org: &OrgId, people: &[PersonKey], now_ms: i64) -> Result<u64, Fault> {
    let org = tx.org_number(org).await?;
    // What is being captured of theirs right now is waited for.
    tx.seize(org).await?;
    let persons: Vec<&[u8]> = people.iter().map(|person| &person.0[..]).collect();
    let remember = "INSERT INTO suppressed (org, person, at_ms) SELECT $1, p, $3 FROM UNNEST($2) AS n (p) ON CONFLICT DO NOTHING";
    tx.conn.execute(remember, args![org, persons, now_ms]).await?;
    let theirs = tx.conn.query("SELECT DISTINCT conversion FROM persons WHERE org = $1 AND person = ANY($2)", args![org, persons]).await?;
    let theirs: Vec<i64> = theirs.iter().map(|row| super::columns::get(row, 0)).collect::<Result<_, _>>()?;
    let rows = rows::of_conversions(tx.conn, org, &theirs).await?;
    stop(tx, &rows, StopCause::Consent, &suppressed_person(), now_ms).await
}

/// Stops rows that are open or dead; what is on its way right now is not sent again. Returns how many rows stopped.
pub(super) async fn stop(tx: &mut Tx<'_>, rows: &[Delivery], cause: StopCause, why: &Why, now_ms: i64) -> Result<u64, Fault> {
    let (mut marked, mut unverified, mut suppressed) = (Vec::new(), Vec::new(), Vec::new());
    for row in rows {
        let on_its_way = row.state == State::InFlight && row.upload.is_some();
        match (row.state, cause) {
            (State::AwaitingConfirmation, StopCause::Removed) => unverified.push(row),
            (State::AwaitingConfirmation, StopCause::Consent) => marked.push(row),
            _ if on_its_way => marked.push(row),
            (state, _) if state.is_final() && state != State::Dead => {}
            _ => suppressed.push(row),
        }
    }
    mark_stopped(tx, &marked).await?;
    stop_in(tx, &unverified, State::DeliveredUnverified, None, Some(why), now_ms).await?;
    stop_in(tx, &suppressed, State::Suppressed, None, Some(why), now_ms).await?;
    Ok((unverified.len() + suppressed.len()) as u64)
}
