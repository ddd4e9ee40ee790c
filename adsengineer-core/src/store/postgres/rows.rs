//! Deliveries' rows as the writer changes them: locked in the order of their ids, many in one statement.

use std::collections::HashMap;

use tokio_postgres::Row;

use super::{
    args::{Typed, args},
    columns::{get, money, number, state},
    connect::Conn,
    fault::Fault,
    tx::Tx,
    waiting,
};
use crate::{
    delivery::State,
    id::{DeliveryId, DestinationId, UploadId},
    money::Money,
    outcome::Why,
    store::{Lease, WorkerId},
};

const COLUMNS: &str = "id, action_id, destination, state, lease, worker, upload, first_sent_ms, stop, review, after, mantissa, scale,
    currency, round, due_ms, lease_until_ms";

/// What a change of a delivery must know of it.
pub(super) struct Delivery {
    pub(super) org: i64,
    pub(super) id: DeliveryId,
    pub(super) destination: DestinationId,
    pub(super) state: State,
    /// Token and worker of its claim.
    pub(super) lease: Option<(i64, WorkerId)>,
    pub(super) lease_until_ms: Option<i64>,
    pub(super) due_ms: Option<i64>,
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
            lease_until_ms: get(row, 16)?,
            due_ms: get(row, 15)?,
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
    find(conn, org, ids, " FOR UPDATE").await
}

/// Rows by id as they are now. Whoever changes them must make sure that they still are.
pub(super) async fn look(conn: &Conn, org: i64, ids: &[DeliveryId]) -> Result<HashMap<DeliveryId, Delivery>, Fault> {
    find(conn, org, ids, "").await
}

/// The id leads and the row is looked up by it, in the order of ids: nothing here is left for the planner to choose.
async fn find(conn: &Conn, org: i64, ids: &[DeliveryId], locked: &str) -> Result<HashMap<DeliveryId, Delivery>, Fault> {
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let mut ids: Vec<i64> = ids.iter().map(|id| id.0).collect();
    ids.sort_unstable();
    ids.dedup();
    let sql = format!(
        "SELECT d.* FROM UNNEST($2) AS n (id)
            CROSS JOIN LATERAL (SELECT {COLUMNS} FROM deliveries WHERE org = $1 AND id = n.id OFFSET 0{locked}) d"
    );
    let rows = conn.query(&sql, args![org, ids]).await?;
    rows.iter().map(|row| Delivery::from_row(org, row).map(|row| (row.id, row))).collect()
}

/// Rows that a statement names, locked, in the order of their ids.
async fn lock_named(conn: &Conn, org: i64, sql: &str, args: &[Typed<'_>]) -> Result<Vec<Delivery>, Fault> {
    let named = conn.query(sql, args).await?;
    let ids = named.iter().map(|row| Ok(DeliveryId(get(row, 0)?))).collect::<Result<Vec<_>, Fault>>()?;
    let mut rows: Vec<_> = lock(conn, org, &ids).await?.into_values().collect();
    rows.sort_unstable_by_key(|row| row.id);
    Ok(rows)
}

/// The deliveries of conversions, locked.
pub(super) async fn of_conversions(conn: &Conn, org: i64, conversions: &[i64]) -> Result<Vec<Delivery>, Fault> {
    let sql = "SELECT id FROM deliveries WHERE conversion = ANY($1)";
    lock_named(conn, org, sql, args![conversions.to_vec()]).await
}

/// Rows of a destination that are due or held, whichever `kind` says, locked.
pub(super) async fn waiting(conn: &Conn, org: i64, destination: DestinationId, kind: i16) -> Result<Vec<Delivery>, Fault> {
    let sql = "SELECT id FROM queue WHERE destination = $1 AND kind = $2";
    let mut rows = lock_named(conn, org, sql, args![destination.0, kind]).await?;
    // Others may have changed them before they were locked.
    rows.retain(|row| waiting::kind(row.state) == Some(kind));
    Ok(rows)
}

/// Rows of a destination that are open or dead, locked.
pub(super) async fn unfinished(conn: &Conn, org: i64, destination: DestinationId) -> Result<Vec<Delivery>, Fault> {
    let sql = "SELECT id FROM queue WHERE destination = $1 UNION SELECT UNNEST(rows) FROM leases WHERE org = $2
        UNION SELECT UNNEST(rows) FROM uploads WHERE destination = $1 AND poll_at_ms IS NOT NULL";
    let mut rows = lock_named(conn, org, sql, args![destination.0, org]).await?;
    rows.retain(|row| row.destination == destination && (!row.state.is_final() || row.state == State::Dead));
    Ok(rows)
}

fn ids(rows: &[&Delivery]) -> Vec<i64> {
    rows.iter().map(|row| row.id.0).collect()
}

/// Rows to change: `n`, of which `id` is a delivery's of `$1`, with where its row is (`at`). As in [`find`], the planner has no choice.
pub(super) fn at(n: &str) -> String {
    format!(
        "(SELECT n.*, d.at FROM {n} CROSS JOIN LATERAL (SELECT ctid AS at FROM deliveries WHERE org = $1 AND id = n.id OFFSET 0) d OFFSET 0) n"
    )
}

/// Takes rows of one organization out of the queue for a reason, or makes them due.
pub(super) async fn stop_in(
    tx: &mut Tx<'_>,
    rows: &[&Delivery],
    to: State,
    due_ms: Option<i64>,
    why: Option<&Why>,
    now_ms: i64,
) -> Result<(), Fault> {
    let Some(org) = rows.first().map(|row| row.org) else { return Ok(()) };
    let (code, detail) = super::columns::why_columns(why);
    let sql = format!(
        "UPDATE deliveries d SET state = $3, due_ms = $7, lease = NULL, worker = NULL, lease_until_ms = NULL,
            why_code = COALESCE($4, why_code), why_detail = CASE WHEN $4 IS NULL THEN why_detail ELSE $5 END, changed_ms = $6
        FROM {} WHERE d.ctid = n.at",
        at("UNNEST($2) AS n (id)")
    );
    tx.conn.execute(&sql, args![org, ids(rows), number(to), code, detail, now_ms, due_ms]).await?;
    for row in rows {
        tx.moved(row, to, due_ms);
    }
    Ok(())
}

/// Makes rows of one organization due again, without a reason.
pub(super) async fn queue(tx: &mut Tx<'_>, rows: &[(&Delivery, i64)], fresh: bool, now_ms: i64) -> Result<(), Fault> {
    let Some(org) = rows.first().map(|(row, _)| row.org) else { return Ok(()) };
    let ids: Vec<i64> = rows.iter().map(|(row, _)| row.id.0).collect();
    let due: Vec<i64> = rows.iter().map(|(_, due)| *due).collect();
    let sql = format!(
        "UPDATE deliveries d SET state = CASE WHEN first_sent_ms IS NULL THEN 0 ELSE 2 END, due_ms = n.due_ms, why_code = NULL,
            why_detail = NULL, review = FALSE, changed_ms = $5, attempts = CASE WHEN $4 THEN 0 ELSE attempts END,
            round = CASE WHEN $4 THEN 0 ELSE round END, part = CASE WHEN $4 THEN 0 ELSE part END
        FROM {} WHERE d.ctid = n.at",
        at("UNNEST($2, $3) AS n (id, due_ms)")
    );
    tx.conn.execute(&sql, args![org, ids, due, fresh, now_ms]).await?;
    for (row, due_ms) in rows {
        tx.moved(row, row.open(), Some(*due_ms));
    }
    Ok(())
}

/// What is on its way is not sent again.
pub(super) async fn mark_stopped(tx: &Tx<'_>, rows: &[&Delivery]) -> Result<(), Fault> {
    let Some(org) = rows.first().map(|row| row.org) else { return Ok(()) };
    let sql = format!("UPDATE deliveries d SET stop = TRUE FROM {} WHERE d.ctid = n.at", at("UNNEST($2) AS n (id)"));
    tx.conn.execute(&sql, args![org, ids(rows)]).await?;
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
