//! Where everything stands: the agenda, every destination, and the sum.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    args::args,
    columns::{get, state, unsigned, why},
    connect::Conn,
    fault::Fault,
    pending::column,
    reads::{destinations, enabled_destinations},
    tally,
    tx::known_org,
};
use crate::{
    id::DestinationId,
    org::OrgId,
    store::{Agenda, DestinationStatus, HeldCount, Reconciliation, StoredDestination},
};

/// When a destination's earliest claimable row is due.
const NEXT_DUE: &str = "SELECT due_ms FROM queue WHERE destination = $1 AND kind = 0 ORDER BY due_ms LIMIT 1";
/// When a destination's earliest verdict is to be asked for.
const NEXT_POLL: &str = "SELECT poll_at_ms FROM uploads WHERE destination = $1 AND poll_at_ms IS NOT NULL ORDER BY poll_at_ms LIMIT 1";
/// Held rows of a destination by reason.
const HELD_BY_WHY: &str = "SELECT why_code, (array_agg(d.why_detail ORDER BY d.id))[1], count(*), min(changed_ms)
    FROM (SELECT id FROM queue WHERE destination = $1 AND kind = 1) q
        CROSS JOIN LATERAL (SELECT id, why_code, why_detail, changed_ms FROM deliveries WHERE org = $2 AND id = q.id OFFSET 0) d
    WHERE why_code IS NOT NULL GROUP BY why_code";

async fn one(conn: &Conn, sql: &str, id: DestinationId) -> Result<Option<i64>, Fault> {
    conn.first(sql, args![id.0]).await?.map(|row| get(&row, 0)).transpose()
}

pub(super) async fn agenda(conn: &Conn) -> Result<Vec<Agenda>, Fault> {
    let enabled = enabled_destinations(conn).await?;
    let sql = format!(
        "SELECT ({}), ({}), (SELECT COALESCE(sum(count), 0)::bigint FROM tallies WHERE destination = n.id AND state = 1)
        FROM UNNEST($1) WITH ORDINALITY AS n (id, place) ORDER BY place",
        NEXT_DUE.replace("$1", "n.id"),
        NEXT_POLL.replace("$1", "n.id"),
    );
    let rows = conn.query(&sql, args![column(&enabled, |destination| destination.id.0)]).await?;
    let open = rows.iter().zip(enabled).map(|(row, destination)| {
        Ok(Agenda { destination, next_due_ms: get(row, 0)?, next_poll_ms: get(row, 1)?, in_flight: unsigned(row, 2)? })
    });
    let mut open = open.collect::<Result<Vec<_>, Fault>>()?;
    open.retain(Agenda::is_open);
    Ok(open)
}

pub(super) async fn status(conn: &Conn, org: &OrgId, now_ms: i64) -> Result<Vec<DestinationStatus>, Fault> {
    let mut list = Vec::new();
    let Some(number) = known_org(conn, org).await? else { return Ok(list) };
    for destination in destinations(conn, org).await? {
        list.push(destination_status(conn, number, destination, now_ms).await?);
    }
    Ok(list)
}

async fn destination_status(conn: &Conn, org: i64, destination: StoredDestination, now_ms: i64) -> Result<DestinationStatus, Fault> {
    let id = destination.id;
    let next_due_ms = one(conn, NEXT_DUE, id).await?;
    Ok(DestinationStatus {
        states: tally::counts(conn, id).await?,
        held: held(conn, org, id).await?,
        next_due_ms,
        next_poll_ms: one(conn, NEXT_POLL, id).await?,
        oldest_due_ms: next_due_ms.filter(|due| *due <= now_ms).map(|due| now_ms - due),
        value_at_risk: tally::risks(conn, id).await?,
        destination,
    })
}

async fn held(conn: &Conn, org: i64, id: DestinationId) -> Result<Vec<HeldCount>, Fault> {
    let mut by_code: BTreeMap<Arc<str>, HeldCount> = BTreeMap::new();
    for row in conn.query(HELD_BY_WHY, args![id.0, org]).await? {
        let Some(why) = why(&row, 0)? else { continue };
        by_code.insert(why.code.clone(), HeldCount { why, count: unsigned(&row, 2)?, since_ms: get(&row, 3)? });
    }
    Ok(by_code.into_values().collect())
}

pub(super) async fn reconciliation(conn: &Conn, org: &OrgId) -> Result<Reconciliation, Fault> {
    let mut sum = Reconciliation::default();
    let Some(number) = known_org(conn, org).await? else { return Ok(sum) };
    let sql = "SELECT COALESCE(sum(deliveries), 0)::bigint, COALESCE(sum(rows), 0)::bigint, COALESCE(sum(refused), 0)::bigint,
            COALESCE(sum(denied), 0)::bigint, COALESCE(sum(duplicates), 0)::bigint, COALESCE(sum(conversions), 0)::bigint
        FROM intakes WHERE org = $1";
    if let Some(row) = conn.first(sql, args![number]).await? {
        let to = [&mut sum.captured, &mut sum.rows, &mut sum.refused, &mut sum.denied, &mut sum.duplicates, &mut sum.conversions];
        for (at, to) in to.into_iter().enumerate() {
            *to = unsigned(&row, at)?;
        }
    }
    let count = "SELECT state, count(*) FROM deliveries WHERE org = $1 GROUP BY state";
    for row in conn.query(count, args![number]).await? {
        sum.states.insert(state(&row, 0)?, unsigned(&row, 1)?);
    }
    Ok(sum)
}
