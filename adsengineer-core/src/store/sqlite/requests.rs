//! What surrounds requests: doing them once, rules, revoked tokens, replays.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{
    error::damaged,
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

/// Old answers that a new one removes: more than it adds, so that they do not pile up.
const FORGET: i64 = 4;

/// What a request with this key did before.
pub(super) fn before(conn: &Connection, once: &Once, now_ms: i64) -> Result<Option<Done>, StoreError> {
    let Some(org) = known_org(conn, &once.org)? else { return Ok(None) };
    let mut read = conn.prepare_cached("SELECT body, done FROM idempotency WHERE org = ?1 AND key = ?2 AND at_ms > ?3")?;
    let found = read.query_row(params![org, once.key, now_ms - ONCE_MS], |r| Ok((r.get::<_, [u8; 16]>(0)?, r.get::<_, String>(1)?)));
    let Some((body, done)) = found.optional()? else { return Ok(None) };
    if body != once.body {
        return Ok(Some(Done::OtherRequest));
    }
    let done = recall(&done).ok_or_else(|| damaged("a remembered request"))?;
    Ok(Some(Done::Repeated(Box::new(done))))
}

/// Remembers what a request did; what only says that nothing was done is not remembered.
pub(super) fn after(tx: &Tx<'_>, once: &Once, done: &Done, now_ms: i64) -> Result<(), StoreError> {
    let Some(text) = remember(done) else { return Ok(()) };
    let org = tx.org_number(&once.org)?;
    let mut forget = tx.conn.prepare_cached(
        "DELETE FROM idempotency WHERE (org, key) IN (SELECT org, key FROM idempotency WHERE at_ms <= ?1 ORDER BY at_ms LIMIT ?2)",
    )?;
    forget.execute([now_ms - ONCE_MS, FORGET])?;
    let mut insert =
        tx.conn.prepare_cached("INSERT OR REPLACE INTO idempotency (org, key, body, at_ms, done) VALUES (?1, ?2, ?3, ?4, ?5)")?;
    insert.execute(params![org, once.key, once.body, now_ms, text])?;
    Ok(())
}

pub(super) fn put_rule(tx: &Tx<'_>, org: &OrgId, name: &str, spec: Option<&str>) -> Result<Done, StoreError> {
    let number = tx.org_number(org)?;
    match spec {
        Some(spec) => {
            let mut put = tx.conn.prepare_cached("INSERT OR REPLACE INTO rules (org, name, spec) VALUES (?1, ?2, ?3)")?;
            put.execute(params![number, name, spec])?;
        }
        None => {
            let removed = tx.conn.prepare_cached("DELETE FROM rules WHERE org = ?1 AND name = ?2")?.execute(params![number, name])?;
            if removed == 0 {
                return Err(StoreError::NotFound(format!("rule `{name}`")));
            }
        }
    }
    Ok(Done::Noted)
}

pub(super) fn rules(conn: &Connection, org: &OrgId) -> Result<Vec<StoredRule>, StoreError> {
    let Some(org) = known_org(conn, org)? else { return Ok(Vec::new()) };
    let mut read = conn.prepare_cached("SELECT name, spec FROM rules WHERE org = ?1 ORDER BY name")?;
    let rule = |row: &Row<'_>| Ok(StoredRule { name: row.get::<_, String>(0)?.into(), spec: row.get::<_, String>(1)?.into() });
    Ok(read.query_map([org], rule)?.collect::<Result<_, _>>()?)
}

pub(super) fn revoke(tx: &Tx<'_>, org: &OrgId, jti: &str, until_ms: i64, now_ms: i64) -> Result<Done, StoreError> {
    let number = tx.org_number(org)?;
    tx.conn.prepare_cached("DELETE FROM revoked_tokens WHERE until_ms <= ?1")?.execute([now_ms])?;
    let mut insert = tx.conn.prepare_cached("INSERT OR IGNORE INTO revoked_tokens (org, jti, until_ms) VALUES (?1, ?2, ?3)")?;
    insert.execute(params![number, jti, until_ms])?;
    Ok(Done::Noted)
}

pub(super) fn revoked(conn: &Connection, after: i64, now_ms: i64) -> Result<Vec<RevokedToken>, StoreError> {
    let mut read = conn.prepare_cached(
        "SELECT r.seq, o.name, r.jti FROM revoked_tokens r JOIN organizations o ON o.num = r.org WHERE r.seq > ?1 AND r.until_ms > ?2 ORDER BY r.seq",
    )?;
    let mut rows = read.query([after, now_ms])?;
    let mut list = Vec::new();
    while let Some(row) = rows.next()? {
        let org = row.get::<_, String>(1)?.parse().map_err(|_| damaged("an organization's name"))?;
        list.push(RevokedToken { seq: row.get(0)?, org, jti: row.get::<_, String>(2)?.into() });
    }
    Ok(list)
}

pub(super) fn put_replay(tx: &mut Tx<'_>, replay: &Replay, repair: Option<&Repair>, now_ms: i64) -> Result<Done, StoreError> {
    let mut replay = replay.clone();
    if replay.id.0 != 0 && !self::replay(tx.conn, &replay.org, replay.id)?.is_some_and(|known| replay.follows(&known)) {
        return Err(StoreError::Conflict(format!("replay {} does not run any more, or went on in the meantime", replay.id)));
    }
    if let Some(repair) = repair {
        replay.count(&super::settle::repair(tx, repair)?);
    }
    replay.steps += 1;
    let org = tx.org_number(&replay.org)?;
    let record = serde_json::to_string(&replay).map_err(|_| damaged("a replay"))?;
    let running = replay.state == ReplayState::Running;
    if replay.id.0 == 0 {
        let id = tx.next_id(now_ms);
        let mut insert = tx.conn.prepare_cached("INSERT INTO replays (id, org, running, record) VALUES (?1, ?2, ?3, ?4)")?;
        insert.execute(params![id, org, running, record])?;
        return Ok(Done::Replay(ReplayId(id)));
    }
    let mut update = tx.conn.prepare_cached("UPDATE replays SET running = ?2, record = ?3 WHERE id = ?1")?;
    update.execute(params![replay.id.0, running, record])?;
    Ok(Done::Replay(replay.id))
}

const REPLAYS: &str = "SELECT r.id, o.name, r.record FROM replays r JOIN organizations o ON o.num = r.org";

fn replay_from(row: &Row<'_>) -> Result<Replay, StoreError> {
    let org = row.get::<_, String>(1)?.parse().map_err(|_| damaged("an organization's name"))?;
    let replay: Replay = serde_json::from_str(&row.get::<_, String>(2)?).map_err(|_| damaged("a replay"))?;
    Ok(Replay { id: ReplayId(row.get(0)?), org, ..replay })
}

pub(super) fn replay(conn: &Connection, org: &OrgId, id: ReplayId) -> Result<Option<Replay>, StoreError> {
    let mut read = conn.prepare_cached(&format!("{REPLAYS} WHERE r.id = ?1 AND o.name = ?2"))?;
    let mut rows = read.query(params![id.0, org.as_str()])?;
    rows.next()?.map(replay_from).transpose()
}

pub(super) fn running_replays(conn: &Connection) -> Result<Vec<Replay>, StoreError> {
    let mut read = conn.prepare_cached(&format!("{REPLAYS} WHERE r.running = 1 ORDER BY r.id"))?;
    let mut rows = read.query([])?;
    let mut list = Vec::new();
    while let Some(row) = rows.next()? {
        list.push(replay_from(row)?);
    }
    Ok(list)
}
