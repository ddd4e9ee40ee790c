//! What surrounds requests: doing them once, rules, revoked tokens, replays.

use std::collections::{HashMap, HashSet};

use tokio_postgres::Row;

use super::{
    args::args,
    columns::{bytes, get, json},
    connect::Conn,
    fault::{Fault, damaged},
    pending::OnceRow,
    seen::{Key, Remembered, Wanted},
    tx::{Tx, known_org},
};
use crate::{
    id::ReplayId,
    org::OrgId,
    store::{
        Done, ONCE_MS, Once, Repair, Replay, ReplayState, RevokedToken, StoreError, StoredRule,
        remembered::{recall, remember},
    },
};

/// Revocations are numbered in the order of their commits: `AdsR`.
const REVOCATIONS: i32 = 0x4164_7352;

/// What requests with these keys did, each with its organization's number.
pub(super) async fn remembered(conn: &Conn, wanted: &HashSet<Key>) -> Result<HashMap<Key, Remembered>, Fault> {
    if wanted.is_empty() {
        return Ok(HashMap::new());
    }
    let orgs: Vec<i64> = wanted.iter().map(|(org, _)| *org).collect();
    let keys: Vec<&[u8]> = wanted.iter().map(|(_, key)| &key[..]).collect();
    let sql = "SELECT i.org, i.key, i.body, i.at_ms, i.done FROM UNNEST($1, $2) AS k (org, key)
        JOIN idempotency i ON i.org = k.org AND i.key = k.key";
    let what = |row: &Row| Ok::<_, Fault>(Remembered { body: bytes(row, 2)?, at_ms: get(row, 3)?, done: get(row, 4)? });
    let rows = conn.query(sql, args![orgs, keys]).await?;
    rows.iter().map(|row| Ok(((get(row, 0)?, bytes(row, 1)?), what(row)?))).collect()
}

fn told(once: &Once, known: &Remembered, now_ms: i64) -> Result<Option<Done>, Fault> {
    if known.at_ms <= now_ms - ONCE_MS {
        return Ok(None);
    }
    if known.body != once.body {
        return Ok(Some(Done::OtherRequest));
    }
    let done = recall(&known.done).ok_or_else(|| damaged("a remembered request"))?;
    Ok(Some(Done::Repeated(Box::new(done))))
}

/// What a request with this key did before.
pub(super) async fn before(tx: &mut Tx<'_>, once: &Once, now_ms: i64) -> Result<Option<Done>, Fault> {
    let org = tx.org_number(&once.org).await?;
    tx.seen.look_up(tx.conn, &Wanted { once: vec![(org, once.key)], ..Wanted::default() }).await?;
    tx.seen.once(org, &once.key).map_or(Ok(None), |known| told(once, known, now_ms))
}

/// The same, without a transaction that writes.
pub(super) async fn requested(conn: &Conn, once: &Once, now_ms: i64) -> Result<Option<Done>, Fault> {
    let Some(org) = known_org(conn, &once.org).await? else { return Ok(None) };
    let known = remembered(conn, &HashSet::from([(org, once.key)])).await?;
    known.values().next().map_or(Ok(None), |known| told(once, known, now_ms))
}

/// Remembers what a request did; what only says that nothing was done is not remembered.
pub(super) async fn after(tx: &mut Tx<'_>, once: &Once, done: &Done, now_ms: i64) -> Result<(), Fault> {
    let Some(text) = remember(done) else { return Ok(()) };
    let org = tx.org_number(&once.org).await?;
    if tx.pending.once.iter().any(|row| (row.org, row.key) == (org, once.key)) {
        tx.pending.write(tx.conn).await?;
    }
    tx.seen.did(org, once.key, Remembered { body: once.body, at_ms: now_ms, done: text.clone() });
    tx.pending.once.push(OnceRow { org, key: once.key, body: once.body, at_ms: now_ms, done: text });
    Ok(())
}

pub(super) async fn put_rule(tx: &mut Tx<'_>, org: &OrgId, name: &str, spec: Option<&str>) -> Result<Done, Fault> {
    let number = tx.org_number(org).await?;
    match spec {
        Some(spec) => {
            let put = "INSERT INTO rules (org, name, spec) VALUES ($1, $2, $3) ON CONFLICT (org, name) DO UPDATE SET spec = excluded.spec";
            tx.conn.execute(put, args![number, name, spec]).await?;
        }
        None => {
            let removed = tx.conn.execute("DELETE FROM rules WHERE org = $1 AND name = $2", args![number, name]).await?;
            if removed == 0 {
                return Err(StoreError::NotFound(format!("rule `{name}`")).into());
            }
        }
    }
    Ok(Done::Noted)
}

pub(super) async fn rules(conn: &Conn, org: &OrgId) -> Result<Vec<StoredRule>, Fault> {
    let Some(org) = known_org(conn, org).await? else { return Ok(Vec::new()) };
    let rule = |row: &Row| Ok(StoredRule { name: get::<&str>(row, 0)?.into(), spec: get::<&str>(row, 1)?.into() });
    let sql = "SELECT name, spec FROM rules WHERE org = $1 ORDER BY name COLLATE \"C\"";
    conn.query(sql, args![org]).await?.iter().map(rule).collect()
}

pub(super) async fn revoke(tx: &mut Tx<'_>, org: &OrgId, jti: &str, until_ms: i64, now_ms: i64) -> Result<Done, Fault> {
    let number = tx.org_number(org).await?;
    // Whoever reads up to a number must not miss a smaller one that is committed later.
    tx.conn.query("SELECT pg_advisory_xact_lock($1, 0)", args![REVOCATIONS]).await?;
    tx.conn.execute("DELETE FROM revoked_tokens WHERE until_ms <= $1", args![now_ms]).await?;
    let insert = "INSERT INTO revoked_tokens (org, jti, until_ms) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
    tx.conn.execute(insert, args![number, jti, until_ms]).await?;
    Ok(Done::Noted)
}

pub(super) async fn revoked(conn: &Conn, after: i64, now_ms: i64) -> Result<Vec<RevokedToken>, Fault> {
    let sql = "SELECT r.seq, o.name, r.jti FROM revoked_tokens r JOIN organizations o ON o.num = r.org
        WHERE r.seq > $1 AND r.until_ms > $2 ORDER BY r.seq";
    let token = |row: &Row| {
        let org = get::<&str>(row, 1)?.parse().map_err(|_| damaged("an organization's name"))?;
        Ok(RevokedToken { seq: get(row, 0)?, org, jti: get::<&str>(row, 2)?.into() })
    };
    conn.query(sql, args![after, now_ms]).await?.iter().map(token).collect()
}

pub(super) async fn put_replay(tx: &mut Tx<'_>, replay: &Replay, repair: Option<&Repair>, now_ms: i64) -> Result<Done, Fault> {
    let mut replay = replay.clone();
    let org = tx.org_number(&replay.org).await?;
    let id = replay.id;
    if id.0 != 0 {
        let sql = format!("{REPLAYS} WHERE r.org = $1 AND r.id = $2 FOR UPDATE OF r");
        let known = tx.conn.first(&sql, args![org, id.0]).await?.as_ref().map(replay_from).transpose()?;
        if !known.is_some_and(|known| replay.follows(&known)) {
            return Err(StoreError::Conflict(format!("replay {id} does not run any more, or went on in the meantime")).into());
        }
    }
    if let Some(repair) = repair {
        replay.count(&super::repair::repair(tx, repair).await?);
    }
    replay.steps += 1;
    let record = serde_json::to_string(&replay).map_err(|_| damaged("a replay"))?;
    let running = replay.state == ReplayState::Running;
    let id = if id.0 == 0 { tx.next_id(now_ms) } else { id.0 };
    let put = "INSERT INTO replays (org, id, running, record) VALUES ($1, $2, $3, $4)
        ON CONFLICT (org, id) DO UPDATE SET running = excluded.running, record = excluded.record";
    tx.conn.execute(put, args![org, id, running, record]).await?;
    Ok(Done::Replay(ReplayId(id)))
}

const REPLAYS: &str = "SELECT r.id, o.name, r.record FROM replays r JOIN organizations o ON o.num = r.org";

fn replay_from(row: &Row) -> Result<Replay, Fault> {
    let org = get::<&str>(row, 1)?.parse().map_err(|_| damaged("an organization's name"))?;
    let replay: Replay = json(get(row, 2)?, "a replay")?;
    Ok(Replay { id: ReplayId(get(row, 0)?), org, ..replay })
}

pub(super) async fn replay(conn: &Conn, org: &OrgId, id: ReplayId) -> Result<Option<Replay>, Fault> {
    let row = conn.first(&format!("{REPLAYS} WHERE r.id = $1 AND o.name = $2"), args![id.0, org.as_str()]).await?;
    row.as_ref().map(replay_from).transpose()
}

pub(super) async fn running_replays(conn: &Conn) -> Result<Vec<Replay>, Fault> {
    conn.query(&format!("{REPLAYS} WHERE r.running ORDER BY r.id"), args![]).await?.iter().map(replay_from).collect()
}
