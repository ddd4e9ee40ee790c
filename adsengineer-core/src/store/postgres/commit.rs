//! One transaction from its beginning to its commit, and what became of a commit whose answer was lost.

use std::time::Duration;

use super::{
    args::args,
    columns::{bytes, get},
    connect::{Conn, Server},
    fault::{Fault, all_of, damaged},
    run::{self, Task},
    tx::{Fixed, Place, Tx},
    writer::Results,
};
use crate::{
    audit::{self, AuditKey, Entry, Head},
    store::StoreError,
};

/// The writer's chain in the audit log.
pub(super) struct Chain {
    pub(super) writer: i64,
    pub(super) key: AuditKey,
    /// Where it ends, as far as this process knows.
    pub(super) head: Option<Head>,
}

impl Chain {
    /// It must be read again.
    pub(super) fn forget(&mut self) {
        self.head = None;
    }
}

/// Why there are no results.
pub(super) enum Unanswered {
    /// Nothing was committed.
    Not(Fault),
    /// The commit was sent and not answered.
    Commit { place: Place, results: Results, error: StoreError },
}

impl From<Fault> for Unanswered {
    fn from(fault: Fault) -> Self {
        Self::Not(fault)
    }
}

pub(super) async fn attempt(
    conn: &Conn,
    tasks: &[&Task],
    chain: &mut Chain,
    fixed: &mut Fixed,
    slot: &mut i16,
    batch: i64,
) -> Result<Results, Unanswered> {
    let mut tx = Tx::begin(conn, *slot, fixed.clone()).await?;
    let results = run::all(&mut tx, tasks).await?;
    let (entries, at_ms) = tx.entries();
    let seq = tx.place.sequence();
    let (finished, linked) = tokio::join!(tx.finish(batch), link(conn, chain, entries, at_ms, seq));
    let head = match linked {
        Ok(head) => finished.map(|()| head)?,
        Err(fault) => return Err(all_of([finished, Err(fault)]).err().unwrap_or_else(Fault::overtaken).into()),
    };
    let place = tx.place;
    match conn.run("COMMIT").await {
        Ok(()) => {}
        Err(Fault::Lost(error)) => return Err(Unanswered::Commit { place, results, error }),
        Err(fault) => return Err(fault.into()),
    }
    chain.head = head;
    *slot = place.slot;
    *fixed = tx.fixed;
    Ok(results)
}

/// Adds a link to the writer's chain where there are entries; where it ends then.
async fn link(conn: &Conn, chain: &Chain, entries: Vec<Entry>, at_ms: i64, seq: i64) -> Result<Option<Head>, Fault> {
    if entries.is_empty() {
        return Ok(chain.head);
    }
    let head = match chain.head {
        Some(head) => head,
        None => read_head(conn, chain.writer).await?,
    };
    let link = audit::link(&chain.key, head, entries, at_ms);
    let text = serde_json::to_string(&link.entries).map_err(|_| damaged("an audit entry"))?;
    let insert = "INSERT INTO audit_links (writer, position, at_ms, entries, digest, previous, mac, seq)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
    let (digest, previous, mac) = (&link.digest[..], &link.previous[..], &link.mac[..]);
    conn.execute(insert, args![link.writer, link.position, link.at_ms, text, digest, previous, mac, seq]).await?;
    Ok(Some(link.head()))
}

async fn read_head(conn: &Conn, writer: i64) -> Result<Head, Fault> {
    let sql = "SELECT position, mac FROM audit_links WHERE writer = $1 ORDER BY position DESC LIMIT 1";
    let Some(row) = conn.first(sql, args![writer]).await? else { return Ok(Head::start(writer)) };
    Ok(Head { writer, position: get(&row, 0)?, mac: bytes(&row, 1)? })
}

/// Whether a commit whose answer was lost took place. The slot is waited for: while it is held, the server may still be at it.
pub(super) async fn was_committed(server: &Server, place: Place, batch: i64, patience: Duration) -> Result<bool, Fault> {
    let mut wait = Duration::from_millis(50);
    let mut waited = Duration::ZERO;
    loop {
        match look_up(server, place, batch).await {
            Err(Fault::Lost(error) | Fault::Broken(error)) if waited > patience * 4 => {
                let unknown = format!("{error}; whether the last commit took place could not be found out");
                return Err(Fault::Lost(StoreError::Unavailable(unknown)));
            }
            Err(Fault::Lost(_) | Fault::Broken(_)) => {
                tokio::time::sleep(wait).await;
                waited += wait;
                wait = (wait * 2).min(Duration::from_secs(1));
            }
            found => return found,
        }
    }
}

async fn look_up(server: &Server, place: Place, batch: i64) -> Result<bool, Fault> {
    let conn = server.connect().await?;
    conn.begin().await?;
    conn.query("SELECT 1 FROM slots WHERE slot = $1 FOR UPDATE", args![place.slot]).await?;
    let sql = "SELECT 1 FROM commits WHERE slot = $1 AND number = $2 AND batch = $3";
    let found = conn.first(sql, args![place.slot, place.commit, batch]).await?.is_some();
    conn.run("COMMIT").await?;
    Ok(found)
}
