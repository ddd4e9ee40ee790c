//! Where everything stands: the agenda, every destination, and the sum.

use std::{collections::BTreeMap, sync::Arc};

use rusqlite::{Connection, OptionalExtension};

use super::{
    reads::{destinations, enabled_destinations, unsigned},
    rows::state,
    tally,
    tx::{Whys, known_org},
};
use crate::{
    id::DestinationId,
    org::OrgId,
    store::{Agenda, DestinationStatus, HeldCount, Reconciliation, StoreError, StoredDestination},
};

/// When a destination's earliest claimable row is due.
pub(super) const NEXT_DUE: &str = "SELECT due_ms FROM deliveries WHERE destination = ?1 AND due_ms IS NOT NULL ORDER BY due_ms LIMIT 1";
/// When a destination's earliest verdict is to be asked for.
pub(super) const NEXT_POLL: &str =
    "SELECT poll_at_ms FROM uploads WHERE destination = ?1 AND poll_at_ms IS NOT NULL ORDER BY poll_at_ms LIMIT 1";
/// How many rows of a destination are in flight.
const IN_FLIGHT: &str = "SELECT count FROM tallies WHERE destination = ?1 AND state = 1";
/// Held rows of a destination by reason.
pub(super) const HELD_BY_WHY: &str =
    "SELECT why, count(*), min(changed_ms), min(id) FROM deliveries WHERE destination = ?1 AND state = 3 GROUP BY why ORDER BY min(id)";

fn one(conn: &Connection, sql: &str, id: DestinationId) -> Result<Option<i64>, StoreError> {
    Ok(conn.prepare_cached(sql)?.query_row([id.0], |r| r.get(0)).optional()?)
}

pub(super) fn agenda(conn: &Connection) -> Result<Vec<Agenda>, StoreError> {
    let mut open = Vec::new();
    for destination in enabled_destinations(conn)? {
        let (next_due_ms, next_poll_ms) = (one(conn, NEXT_DUE, destination.id)?, one(conn, NEXT_POLL, destination.id)?);
        let in_flight = one(conn, IN_FLIGHT, destination.id)?.map_or(0, |count| u64::try_from(count).unwrap_or(0));
        open.push(Agenda { destination, next_due_ms, next_poll_ms, in_flight });
    }
    open.retain(Agenda::is_open);
    Ok(open)
}

pub(super) fn status(conn: &Connection, org: &OrgId, now_ms: i64) -> Result<Vec<DestinationStatus>, StoreError> {
    destinations(conn, org)?.into_iter().map(|d| destination_status(conn, d, now_ms)).collect()
}

fn destination_status(conn: &Connection, destination: StoredDestination, now_ms: i64) -> Result<DestinationStatus, StoreError> {
    let id = destination.id;
    let next_due_ms = one(conn, NEXT_DUE, id)?;
    Ok(DestinationStatus {
        states: tally::counts(conn, id)?,
        held: held(conn, id)?,
        next_due_ms,
        next_poll_ms: one(conn, NEXT_POLL, id)?,
        oldest_due_ms: next_due_ms.filter(|due| *due <= now_ms).map(|due| now_ms - due),
        value_at_risk: tally::risks(conn, id)?,
        destination,
    })
}

fn held(conn: &Connection, id: DestinationId) -> Result<Vec<HeldCount>, StoreError> {
    let mut by_code: BTreeMap<Arc<str>, HeldCount> = BTreeMap::new();
    let mut whys = Whys::new(conn);
    let mut read = conn.prepare_cached(HELD_BY_WHY)?;
    let mut rows = read.query([id.0])?;
    while let Some(row) = rows.next()? {
        let (count, since_ms) = (unsigned(row.get(1)?)?, row.get(2)?);
        let Some(why) = whys.get(row.get(0)?)? else { continue };
        let held = by_code.entry(why.code.clone()).or_insert(HeldCount { why, count: 0, since_ms });
        held.count += count;
        held.since_ms = held.since_ms.min(since_ms);
    }
    Ok(by_code.into_values().collect())
}

pub(super) fn reconciliation(conn: &Connection, org: &OrgId) -> Result<Reconciliation, StoreError> {
    let mut sum = Reconciliation::default();
    let Some(number) = known_org(conn, org)? else { return Ok(sum) };
    let mut read = conn.prepare_cached(
        "SELECT COALESCE(sum(deliveries), 0), COALESCE(sum(rows), 0), COALESCE(sum(refused), 0), COALESCE(sum(denied), 0),
            COALESCE(sum(duplicates), 0), COALESCE(sum(conversions), 0) FROM intakes WHERE org = ?1",
    )?;
    let sums: [i64; 6] = read.query_row([number], |r| Ok([r.get(0)?, r.get(1)?, r.get(2)?, r.get(3)?, r.get(4)?, r.get(5)?]))?;
    for (to, from) in [&mut sum.captured, &mut sum.rows, &mut sum.refused, &mut sum.denied, &mut sum.duplicates, &mut sum.conversions]
        .into_iter()
        .zip(sums)
    {
        *to = unsigned(from)?;
    }
    let mut count = conn.prepare_cached(
        "SELECT d.state, count(*) FROM deliveries d WHERE d.destination IN (SELECT id FROM destinations WHERE org = ?1) GROUP BY d.state",
    )?;
    let mut rows = count.query([number])?;
    while let Some(row) = rows.next()? {
        sum.states.insert(state(row.get(0)?)?, unsigned(row.get(1)?)?);
    }
    Ok(sum)
}
