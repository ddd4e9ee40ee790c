//! Deliveries' rows as the writer changes them: locked in the order of their ids, many in one statement.

use std::collections::HashMap;

use tokio_postgres::Row;

use super::{
    args::args,
    columns::{get, money, number, state},
    connect::Conn,
    fault::Fault,
    tx::Tx,
};
use crate::{
    delivery::State,
    id::{DeliveryId, DestinationId, UploadId},
    money::Money,
    outcome::Why,
    store::{Lease, WorkerId},
};

const COLUMNS: &str = "id, action_id, destination, state, lease, worker, upload, first_sent_ms, stop, review, after, mantissa, scale,
    currency, round";

/// What a change of a delivery must know of it.
pub(super) struct Delivery {
    pub(super) org: i64,
    pub(super) id: DeliveryId,
    pub(super) destination: DestinationId,
    pub(super) state: State,
    /// Token and worker of its claim.
    pub(super) lease: Option<(i64, WorkerId)>,
    pub(super) upload: Option<UploadId>,
    pub(super) first_sent_ms: Option<i64>,
    pub(super) stop: bool,
    /// Held by itself, for a human's review.
    pub(super) review: bool,
    pub(super) after: Option<DeliveryId>,
    pub(super) value: Option<Money>,
    pub(super) action_id: String,
    pub(super) round: u8,
}

impl Delivery {
    fn from_row(org: i64, row: &Row) -> Result<Self, Fault> {
        let token = get::<Option<i64>>(row, 4)?;
        Ok(Self {
            org,
            id: DeliveryId(get(row, 0)?),
            destination: DestinationId(get(row, 2)?),
            state: state(row, 3)?,
            lease: token.zip(get::<Option<i64>>(row, 5)?.map(WorkerId)),
            upload: get::<Option<i64>>(row, 6)?.map(UploadId),
            first_sent_ms: get(row, 7)?,
            stop: get(row, 8)?,
            review: get(row, 9)?,
            after: get::<Option<i64>>(row, 10)?.map(DeliveryId),
            value: money(row, 11)?,
            action_id: get(row, 1)?,
            round: super::columns::small(row, 14)?,
        })
    }

    /// Whether it is in flight under this claim.
    pub(super) fn is_under(&self, lease: Lease) -> bool {
        self.state == State::InFlight && self.lease == Some((lease.token, lease.worker))
    }

    /// The state in which it is due.
    pub(super) fn open(&self) -> State {
        if self.first_sent_ms.is_some() { State::Retrying } else { State::Queued }
    }
}

/// Rows by id, locked.
pub(super) async fn lock(conn: &Conn, org: i64, ids: &[DeliveryId]) -> Result<HashMap<DeliveryId, Delivery>, Fault> {
    let ids: Vec<i64> = ids.iter().map(|id| id.0).collect();
    let found = lock_where(conn, org, "id IN (SELECT UNNEST($2))", &ids).await?;
    Ok(found.into_iter().map(|row| (row.id, row)).collect())
}

/// Rows of the organization that meet a condition on `$2`, locked, in the order of their ids.
async fn lock_where(conn: &Conn, org: i64, condition: &str, values: &[i64]) -> Result<Vec<Delivery>, Fault> {
    let sql = format!("SELECT {COLUMNS} FROM deliveries WHERE org = $1 AND {condition} ORDER BY id FOR UPDATE");
    let rows = conn.query(&sql, args![org, values.to_vec()]).await?;
    rows.iter().map(|row| Delivery::from_row(org, row)).collect()
}

/// The deliveries of conversions, locked.
pub(super) async fn of_conversions(conn: &Conn, org: i64, conversions: &[i64]) -> Result<Vec<Delivery>, Fault> {
    lock_where(conn, org, "conversion IN (SELECT UNNEST($2))", conversions).await
}

/// Rows of a destination that a worker may claim, due or not, locked.
pub(super) async fn claimable(conn: &Conn, org: i64, destination: DestinationId) -> Result<Vec<Delivery>, Fault> {
    lock_where(conn, org, "destination = ANY($2) AND due_ms IS NOT NULL", &[destination.0]).await
}

/// Held rows of a destination, locked.
pub(super) async fn held(conn: &Conn, org: i64, destination: DestinationId) -> Result<Vec<Delivery>, Fault> {
    lock_where(conn, org, "destination = ANY($2) AND state = 3", &[destination.0]).await
}

/// Rows of a destination that are open or dead, locked.
pub(super) async fn unfinished(conn: &Conn, org: i64, destination: DestinationId) -> Result<Vec<Delivery>, Fault> {
    lock_where(conn, org, "destination = ANY($2) AND state IN (0, 1, 2, 3, 4, 7)", &[destination.0]).await
}

fn ids(rows: &[&Delivery]) -> Vec<i64> {
    rows.iter().map(|row| row.id.0).collect()
}

/// Takes rows of one organization out of the queue for a reason.
pub(super) async fn stop_in(tx: &mut Tx<'_>, rows: &[&Delivery], to: State, why: Option<&Why>, now_ms: i64) -> Result<(), Fault> {
    let Some(org) = rows.first().map(|row| row.org) else { return Ok(()) };
    let (code, detail) = super::columns::why_columns(why);
    let sql = "UPDATE deliveries SET state = $3, due_ms = NULL, lease = NULL, worker = NULL, lease_until_ms = NULL,
            why_code = COALESCE($4, why_code), why_detail = CASE WHEN $4 IS NULL THEN why_detail ELSE $5 END, changed_ms = $6
        FROM UNNEST($2) AS n (key) WHERE org = $1 AND id = n.key";
    tx.conn.execute(sql, args![org, ids(rows), number(to), code, detail, now_ms]).await?;
    for row in rows {
        tx.tally.moved(row.destination, row.state, to, row.value.as_ref());
    }
    Ok(())
}

/// Makes rows of one organization due again, without a reason.
pub(super) async fn queue(tx: &mut Tx<'_>, rows: &[(&Delivery, i64)], fresh: bool, now_ms: i64) -> Result<(), Fault> {
    let Some(org) = rows.first().map(|(row, _)| row.org) else { return Ok(()) };
    let ids: Vec<i64> = rows.iter().map(|(row, _)| row.id.0).collect();
    let due: Vec<i64> = rows.iter().map(|(_, due)| *due).collect();
    let sql = "UPDATE deliveries d SET state = CASE WHEN first_sent_ms IS NULL THEN 0 ELSE 2 END, due_ms = n.due_ms, why_code = NULL,
            why_detail = NULL, review = FALSE, changed_ms = $5, attempts = CASE WHEN $4 THEN 0 ELSE attempts END,
            round = CASE WHEN $4 THEN 0 ELSE round END, part = CASE WHEN $4 THEN 0 ELSE part END
        FROM UNNEST($2, $3) AS n (id, due_ms) WHERE d.org = $1 AND d.id = n.id";
    tx.conn.execute(sql, args![org, ids, due, fresh, now_ms]).await?;
    for (row, _) in rows {
        tx.tally.moved(row.destination, row.state, row.open(), row.value.as_ref());
    }
    Ok(())
}

/// What is on its way is not sent again.
pub(super) async fn mark_stopped(tx: &Tx<'_>, rows: &[&Delivery]) -> Result<(), Fault> {
    let Some(org) = rows.first().map(|row| row.org) else { return Ok(()) };
    tx.conn
        .execute("UPDATE deliveries SET stop = TRUE FROM UNNEST($2) AS n (key) WHERE org = $1 AND id = n.key", args![org, ids(rows)])
        .await?;
    Ok(())
}

/// Remembers failures of rows, each with its reason.
pub(super) async fn fail(conn: &Conn, org: i64, failures: &[(DeliveryId, &Why)], now_ms: i64) -> Result<(), Fault> {
    if failures.is_empty() {
        return Ok(());
    }
    let ids: Vec<i64> = failures.iter().map(|(id, _)| id.0).collect();
    let codes: Vec<&str> = failures.iter().map(|(_, why)| &*why.code).collect();
    let details: Vec<&str> = failures.iter().map(|(_, why)| &*why.detail).collect();
    let sql = "INSERT INTO failures (org, delivery, number, at_ms, why_code, why_detail)
        SELECT $1, n.id, (SELECT COALESCE(max(number), 0) + 1 FROM failures f WHERE f.org = $1 AND f.delivery = n.id), $5, n.code, n.detail
        FROM UNNEST($2, $3, $4) AS n (id, code, detail)";
    conn.execute(sql, args![org, ids, codes, details, now_ms]).await?;
    Ok(())
}
