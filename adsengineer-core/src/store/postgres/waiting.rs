//! What waits: the entries of `queue` and `leases` that follow from changes of deliveries. They are an index kept by hand, so
//! that a change of a delivery writes to no other index.

use std::collections::BTreeMap;

use super::{
    args::args,
    columns::signed,
    connect::Conn,
    fault::{Fault, all_of},
    pending::column,
    rows::Delivery,
};
use crate::{
    delivery::State,
    id::{DeliveryId, DestinationId},
    store::Lease,
};

/// What may be claimed.
pub(super) const CLAIMABLE: i16 = 0;
/// What is held.
pub(super) const HELD: i16 = 1;
/// What is dead.
pub(super) const DEAD: i16 = 2;

/// Where a delivery stands: destination, kind, due time or 0, id.
type Entry = (i64, i16, i64, i64);

/// What rows in this state wait for, if they do.
pub(super) fn kind(state: State) -> Option<i16> {
    match state {
        State::Queued | State::Retrying => Some(CLAIMABLE),
        State::Held => Some(HELD),
        State::Dead => Some(DEAD),
        _ => None,
    }
}

fn entry(destination: DestinationId, id: DeliveryId, state: State, due_ms: Option<i64>) -> Option<Entry> {
    let kind = kind(state)?;
    Some((destination.0, kind, if kind == CLAIMABLE { due_ms? } else { 0 }, id.0))
}

/// Rows that were claimed.
struct Taken {
    lease: Lease,
    org: i64,
    rows: Vec<i64>,
}

/// Changes not written yet.
#[derive(Default)]
pub(super) struct Waiting {
    /// Whether the entry appears or goes.
    entries: BTreeMap<Entry, bool>,
    taken: Vec<Taken>,
    /// How many rows are in flight no more, by the token of their claim.
    ended: BTreeMap<i64, i64>,
}

impl Waiting {
    /// A row that is due appeared.
    pub(super) fn made(&mut self, destination: DestinationId, id: DeliveryId, due_ms: i64) {
        self.change(entry(destination, id, State::Queued, Some(due_ms)), true);
    }

    /// A row went into a state, in which it is due at a time.
    pub(super) fn moved(&mut self, row: &Delivery, to: State, due_ms: Option<i64>) {
        let (from, to) = (entry(row.destination, row.id, row.state, row.due_ms), entry(row.destination, row.id, to, due_ms));
        if from != to {
            self.change(from, false);
            self.change(to, true);
        }
        if let Some((token, _)) = row.lease.filter(|_| row.state == State::InFlight) {
            *self.ended.entry(token).or_default() += 1;
        }
    }

    /// Rows that were due, each with its time, were claimed.
    pub(super) fn taken(&mut self, destination: DestinationId, org: i64, rows: &[(DeliveryId, i64)], lease: Lease) {
        for (id, due_ms) in rows {
            self.change(entry(destination, *id, State::Queued, Some(*due_ms)), false);
        }
        self.taken.push(Taken { lease, org, rows: column(rows, |(id, _)| id.0) });
    }

    fn change(&mut self, entry: Option<Entry>, appears: bool) {
        let Some(entry) = entry else { return };
        // What came and went before it was written needs no writing.
        if self.entries.get(&entry) == Some(&!appears) {
            self.entries.remove(&entry);
        } else {
            self.entries.insert(entry, appears);
        }
    }

    /// Writes everything; the statements are sent at once.
    pub(super) async fn write(&mut self, conn: &Conn) -> Result<(), Fault> {
        let changes = std::mem::take(self);
        let of = |wanted| changes.entries.iter().filter(move |(_, appears)| **appears == wanted).map(|(entry, _)| *entry);
        let (gone, new) = (of(false).collect::<Vec<_>>(), of(true).collect::<Vec<_>>());
        let taken = futures_util::future::join_all(changes.taken.iter().map(|taken| take(conn, taken)));
        let (gone, new, taken, ended) = tokio::join!(leave(conn, &gone), enter(conn, &new), taken, end(conn, &changes.ended));
        all_of(taken.into_iter().chain([gone, new, ended]))
    }
}

async fn enter(conn: &Conn, entries: &[Entry]) -> Result<(), Fault> {
    let sql = "INSERT INTO queue (destination, kind, due_ms, id) SELECT * FROM UNNEST($1, $2, $3, $4) ON CONFLICT DO NOTHING";
    change(conn, sql, entries).await
}

async fn leave(conn: &Conn, entries: &[Entry]) -> Result<(), Fault> {
    let sql = "DELETE FROM queue q USING UNNEST($1, $2, $3, $4) AS n (destination, kind, due_ms, id)
        WHERE q.destination = n.destination AND q.kind = n.kind AND q.due_ms = n.due_ms AND q.id = n.id";
    change(conn, sql, entries).await
}

async fn change(conn: &Conn, sql: &str, entries: &[Entry]) -> Result<(), Fault> {
    if entries.is_empty() {
        return Ok(());
    }
    conn.execute(sql, args![column(entries, |e| e.0), column(entries, |e| e.1), column(entries, |e| e.2), column(entries, |e| e.3)])
        .await?;
    Ok(())
}

/// Records a claim; one under the token of another of the same worker's joins it.
async fn take(conn: &Conn, taken: &Taken) -> Result<(), Fault> {
    let sql = "INSERT INTO leases (token, worker, until_ms, org, rows, open) VALUES ($1, $2, $3, $4, $5, $6)
        ON CONFLICT (token) DO UPDATE SET rows = leases.rows || excluded.rows, open = leases.open + excluded.open,
            until_ms = LEAST(leases.until_ms, excluded.until_ms)";
    let Taken { lease, org, rows } = taken;
    conn.execute(sql, args![lease.token, lease.worker.0, lease.until_ms, *org, rows.clone(), signed(rows.len())]).await?;
    Ok(())
}

/// Takes rows off claims, and ends those that have none left.
async fn end(conn: &Conn, ended: &BTreeMap<i64, i64>) -> Result<(), Fault> {
    if ended.is_empty() {
        return Ok(());
    }
    let (tokens, counts): (Vec<i64>, Vec<i64>) = ended.iter().unzip();
    let fewer = "UPDATE leases l SET open = l.open - n.count FROM UNNEST($1, $2) AS n (token, count) WHERE l.token = n.token";
    let done = "DELETE FROM leases WHERE token = ANY($1) AND open <= 0";
    let (fewer_args, done_args) = (args![tokens, counts], args![tokens]);
    let (fewer, done) = tokio::join!(conn.execute(fewer, fewer_args), conn.execute(done, done_args));
    all_of([fewer.map(drop), done.map(drop)])
}
