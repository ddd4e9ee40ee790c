//! What the store shows.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use super::{
    columns::{click, consent, money},
    destinations::{Stored, all, name},
    error::damaged,
    keys,
    rows::state,
    tally,
    tx::{Whys, known_org},
};
use crate::{
    audit::Link,
    delivery::OUTCOME_UNKNOWN,
    id::{ConversionId, DeliveryId, DestinationId, UploadId},
    money::Money,
    org::OrgId,
    store::{
        Agenda, AttemptView, ConversionQuery, ConversionView, DeadLetter, DeadLetterQuery, DeliveryView, DestinationStatus, HeldCount,
        Page, Reconciliation, StoreError, StoredDestination, UploadView, shorten,
    },
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
/// The dead rows of a destination after a cursor.
pub(super) const DEAD_AFTER: &str =
    "SELECT id, conversion, why, changed_ms FROM deliveries WHERE destination = ?1 AND state = 7 AND id > ?2 ORDER BY id";

fn time(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH)
}

pub(super) fn limit_of(limit: usize) -> usize {
    if limit == 0 { 50 } else { limit }
}

pub(super) fn page<T>(mut items: Vec<T>, limit: usize, cursor: impl Fn(&T) -> String) -> Page<T> {
    let more = items.len() > limit;
    items.truncate(limit);
    let next_cursor = items.last().filter(|_| more).map(cursor);
    Page { items, next_cursor }
}

fn unsigned(n: i64) -> Result<u64, StoreError> {
    u64::try_from(n).map_err(|_| damaged("a count"))
}

fn one(conn: &Connection, sql: &str, id: DestinationId) -> Result<Option<i64>, StoreError> {
    Ok(conn.prepare_cached(sql)?.query_row([id.0], |r| r.get(0)).optional()?)
}

pub(super) fn destinations(conn: &Connection, org: &OrgId) -> Result<Vec<StoredDestination>, StoreError> {
    Ok(all(conn, Some(org))?.into_iter().filter(|s| !s.removed).map(|s| s.destination).collect())
}

pub(super) fn agenda(conn: &Connection) -> Result<Vec<Agenda>, StoreError> {
    let mut open = Vec::new();
    let mut places: Vec<Stored> = all(conn, None)?.into_iter().filter(|s| !s.removed && s.destination.spec.enabled).collect();
    places.sort_by_key(|s| s.destination.id);
    for Stored { destination, .. } in places {
        let (next_due_ms, next_poll_ms) = (one(conn, NEXT_DUE, destination.id)?, one(conn, NEXT_POLL, destination.id)?);
        let in_flight = one(conn, IN_FLIGHT, destination.id)?.map_or(0, |count| u64::try_from(count).unwrap_or(0));
        open.push(Agenda { destination, next_due_ms, next_poll_ms, in_flight });
    }
    open.retain(Agenda::is_open);
    Ok(open)
}

pub(super) fn organizations(conn: &Connection) -> Result<Vec<OrgId>, StoreError> {
    let mut read = conn.prepare_cached(
        "SELECT name FROM organizations o WHERE EXISTS (SELECT 1 FROM destinations WHERE org = o.num)
            OR EXISTS (SELECT 1 FROM intakes WHERE org = o.num) OR EXISTS (SELECT 1 FROM lead_counts WHERE org = o.num)
            OR EXISTS (SELECT 1 FROM rules WHERE org = o.num) ORDER BY name",
    )?;
    let names: Vec<String> = read.query_map([], |r| r.get(0))?.collect::<Result<_, _>>()?;
    names.into_iter().map(|n| n.parse().map_err(|_| damaged("an organization's name"))).collect()
}

/// The deliveries of a conversion, oldest first.
pub(super) fn deliveries_of(conn: &Connection, conversion: i64) -> Result<Vec<DeliveryId>, StoreError> {
    let mut read = conn.prepare_cached(
        "SELECT d.id FROM conversions c CROSS JOIN deliveries d ON d.id > c.id AND d.id <= c.id + c.deliveries WHERE c.id = ?1
         UNION ALL SELECT delivery FROM later_deliveries WHERE conversion = ?1",
    )?;
    let mut ids: Vec<DeliveryId> = read.query_map([conversion], |r| r.get(0).map(DeliveryId))?.collect::<Result<_, _>>()?;
    ids.sort_unstable();
    Ok(ids)
}

fn current_value(conn: &Connection, id: ConversionId, occurred_at: i64, original: Option<Money>) -> Result<Option<Money>, StoreError> {
    let captured_s = id.created_at().as_millisecond() / 1000;
    let mut latest = (occurred_at.min(captured_s), original);
    let mut read = conn.prepare_cached("SELECT at, mantissa, scale, currency FROM revisions WHERE conversion = ?1 ORDER BY number")?;
    let mut rows = read.query([id.0])?;
    while let Some(row) = rows.next()? {
        if row.get::<_, i64>(0)? >= latest.0 {
            latest = (row.get(0)?, money(row, 1)?);
        }
    }
    Ok(latest.1)
}

pub(super) fn conversion(conn: &Connection, org: &OrgId, id: ConversionId) -> Result<Option<ConversionView>, StoreError> {
    let Some(org) = known_org(conn, org)? else { return Ok(None) };
    let mut read = conn.prepare_cached(
        "SELECT action, occurred_at, mantissa, scale, currency, order_id, click_kind, click, identifiers IS NOT NULL, consent, revision
         FROM conversions WHERE id = ?1 AND org = ?2",
    )?;
    let mut rows = read.query([id.0, org])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let occurred_at = row.get(1)?;
    let value = current_value(conn, id, occurred_at, money(row, 2)?)?;
    let click = click(row, 6)?;
    let deliveries = deliveries_of(conn, id.0)?.into_iter().map(|d| delivery(conn, d)).collect::<Result<_, _>>()?;
    Ok(Some(ConversionView {
        id,
        action: row.get::<_, String>(0)?.into(),
        occurred_at: Timestamp::from_second(occurred_at).unwrap_or(Timestamp::UNIX_EPOCH),
        value: value.map(|money| money.decimal().to_string()),
        currency: value.map(|money| money.currency.to_string()),
        order_id: row.get(5)?,
        click_id_kind: click.as_ref().map(|c| c.kind().as_str()),
        click_id: click.map(|c| shorten(c.as_str())),
        has_identifiers: row.get(8)?,
        consent: consent(row.get(9)?)?,
        revision: row.get(10)?,
        captured_at: id.created_at(),
        deliveries,
    }))
}

fn delivery(conn: &Connection, id: DeliveryId) -> Result<DeliveryView, StoreError> {
    let mut read = conn.prepare_cached(
        "SELECT d.destination, d.revision, d.state, d.why, d.attempts, d.due_ms,
            COALESCE(d.transaction_id, c.order_id, lower(hex(c.natural_key))), d.first_sent_ms, u.request_id
         FROM deliveries d JOIN conversions c ON c.id = d.conversion LEFT JOIN uploads u ON u.id = d.upload WHERE d.id = ?1",
    )?;
    let mut rows = read.query([id.0])?;
    let row = rows.next()?.ok_or_else(|| damaged("a delivery's id"))?;
    let mut whys = Whys::new(conn);
    let why = whys.get(row.get(3)?)?;
    Ok(DeliveryView {
        id,
        destination: name(conn, row.get(0)?)?.into(),
        revision: row.get(1)?,
        state: state(row.get(2)?)?,
        reason: why.as_ref().map(|w| w.code.clone()),
        detail: why.map(|w| w.detail),
        attempts: row.get(4)?,
        next_attempt_at: row.get::<_, Option<i64>>(5)?.map(time),
        transaction_id: row.get::<_, String>(6)?.into(),
        first_sent_at: row.get::<_, Option<i64>>(7)?.map(time),
        request_id: row.get::<_, Option<String>>(8)?.map(Arc::from),
        history: history(conn, id, &mut whys)?,
    })
}

fn history(conn: &Connection, id: DeliveryId, whys: &mut Whys<'_>) -> Result<Vec<AttemptView>, StoreError> {
    let mut read = conn.prepare_cached("SELECT at_ms, why FROM failures WHERE delivery = ?1 ORDER BY number")?;
    let mut rows = read.query([id.0])?;
    let mut list = Vec::new();
    while let Some(row) = rows.next()? {
        let why = whys.get(Some(row.get(1)?))?.ok_or_else(|| damaged("a reason"))?;
        list.push(AttemptView { at: time(row.get(0)?), error: why.code, detail: why.detail });
    }
    Ok(list)
}

/// Conversions of an organization through its intakes, each of which covers a range of ids.
const LIST: &str = "SELECT c.id FROM intakes i CROSS JOIN conversions c ON c.id > i.id AND c.id <= i.last_id
    WHERE i.org = ?1 AND i.last_id > ?2 AND i.id < ?3 AND c.id > ?2 AND c.id < ?3 AND (?4 IS NULL OR c.order_id = ?4)
      AND (?5 IS NULL OR (c.id >> 22) + 1577836800000 >= ?5 OR c.updated_ms >= ?5
        OR EXISTS (SELECT 1 FROM deliveries d WHERE d.id > c.id AND d.id <= c.id + c.deliveries AND d.changed_ms >= ?5)
        OR EXISTS (SELECT 1 FROM later_deliveries l CROSS JOIN deliveries d ON d.id = l.delivery WHERE l.conversion = c.id
            AND COALESCE(d.changed_ms, (d.id >> 22) + 1577836800000) >= ?5))
      AND (?6 IS NULL OR EXISTS (SELECT 1 FROM deliveries d WHERE d.id > c.id AND d.id <= c.id + c.deliveries AND d.state = ?6)
        OR EXISTS (SELECT 1 FROM later_deliveries l CROSS JOIN deliveries d ON d.id = l.delivery WHERE l.conversion = c.id AND d.state = ?6))";

pub(super) fn conversions(conn: &Connection, org: &OrgId, query: &ConversionQuery) -> Result<Page<ConversionView>, StoreError> {
    let limit = limit_of(query.limit);
    let Some(number) = known_org(conn, org)? else { return Ok(page(Vec::new(), limit, |_| String::new())) };
    let from = query.cursor.as_deref().and_then(|c| c.parse::<ConversionId>().ok()).map(|c| c.0);
    let (after, before) = if query.descending { (-1, from.unwrap_or(i64::MAX)) } else { (from.unwrap_or(-1), i64::MAX) };
    let state = query.state.map(|s| s as u8);
    if let Some(order_id) = &query.order_id {
        let mut ids = with_order(conn, number, order_id)?;
        let mut read = conn.prepare_cached(&format!("{LIST} AND c.id = ?7"))?;
        if query.descending {
            ids.reverse();
        }
        let mut found = Vec::new();
        for id in ids {
            if found.len() <= limit && read.exists(params![number, after, before, order_id, query.updated_since_ms, state, id])? {
                found.push(id);
            }
        }
        return views(conn, org, found, limit);
    }
    let order = if query.descending { "i.id DESC, c.id DESC" } else { "i.id, c.id" };
    let mut read = conn.prepare_cached(&format!("{LIST} ORDER BY {order} LIMIT ?7"))?;
    let bound = params![number, after, before, query.order_id, query.updated_since_ms, state, limit + 1];
    let ids: Vec<i64> = read.query_map(bound, |r| r.get(0))?.collect::<Result<_, _>>()?;
    views(conn, org, ids, limit)
}

/// Conversions that may have the order id, oldest first.
fn with_order(conn: &Connection, org: i64, order_id: &str) -> Result<Vec<i64>, StoreError> {
    let mut ids = keys::look_up(conn, keys::print(keys::Kind::Order, &keys::order_hash(org, order_id)))?;
    ids.dedup();
    Ok(ids)
}

fn views(conn: &Connection, org: &OrgId, ids: Vec<i64>, limit: usize) -> Result<Page<ConversionView>, StoreError> {
    let views = ids.into_iter().filter_map(|id| conversion(conn, org, ConversionId(id)).transpose()).collect::<Result<_, _>>()?;
    Ok(page(views, limit, |c: &ConversionView| c.id.to_string()))
}

pub(super) fn identifiers(conn: &Connection, org: &OrgId, id: ConversionId) -> Result<Option<Box<[u8]>>, StoreError> {
    let Some(org) = known_org(conn, org)? else { return Ok(None) };
    let mut read = conn.prepare_cached("SELECT identifiers FROM conversions WHERE id = ?1 AND org = ?2")?;
    Ok(read.query_row([id.0, org], |r| r.get::<_, Option<Vec<u8>>>(0)).optional()?.flatten().map(Vec::into_boxed_slice))
}

pub(super) fn conversion_of(conn: &Connection, org: &OrgId, id: DeliveryId) -> Result<Option<ConversionId>, StoreError> {
    let mut read = conn.prepare_cached(
        "SELECT c.id FROM deliveries d JOIN conversions c ON c.id = d.conversion JOIN organizations o ON o.num = c.org
         WHERE d.id = ?1 AND o.name = ?2",
    )?;
    Ok(read.query_row(params![id.0, org.as_str()], |r| r.get(0).map(ConversionId)).optional()?)
}

pub(super) fn dead_letters(conn: &Connection, org: &OrgId, query: &DeadLetterQuery) -> Result<Page<DeadLetter>, StoreError> {
    let limit = limit_of(query.limit);
    let after = query.cursor.as_deref().and_then(|c| c.parse::<DeliveryId>().ok()).map_or(-1, |c| c.0);
    let mut found = Vec::new();
    let wanted = |s: &Stored| query.destination.as_ref().is_none_or(|name| *s.destination.name == **name);
    for place in all(conn, Some(org))?.into_iter().filter(wanted) {
        dead_of(conn, place.destination.id, after, query, limit + 1, &mut found)?;
    }
    found.sort_unstable();
    found.truncate(limit + 1);
    let letters = found.into_iter().map(|(id, conversion, died)| letter(conn, org, id, conversion, died)).collect::<Result<_, _>>()?;
    Ok(page(letters, limit, |d: &DeadLetter| d.delivery.id.to_string()))
}

fn dead_of(
    conn: &Connection,
    destination: DestinationId,
    after: i64,
    query: &DeadLetterQuery,
    limit: usize,
    found: &mut Vec<(i64, i64, i64)>,
) -> Result<(), StoreError> {
    let mut read = conn.prepare_cached(DEAD_AFTER)?;
    let mut rows = read.query([destination.0, after])?;
    let (mut whys, mut taken) = (Whys::new(conn), 0);
    while let Some(row) = rows.next()?.filter(|_| taken < limit) {
        let died: i64 = row.get(3)?;
        let why = whys.get(row.get(2)?)?;
        let wanted = query.reason.as_ref().is_none_or(|r| why.is_some_and(|w| *w.code == **r))
            && query.since_ms.is_none_or(|since| died >= since)
            && query.until_ms.is_none_or(|until| died < until);
        if wanted {
            found.push((row.get(0)?, row.get(1)?, died));
            taken += 1;
        }
    }
    Ok(())
}

fn letter(conn: &Connection, org: &OrgId, id: i64, conversion_id: i64, died: i64) -> Result<DeadLetter, StoreError> {
    let conversion = conversion(conn, org, ConversionId(conversion_id))?.ok_or_else(|| damaged("a dead letter's conversion"))?;
    let delivery = delivery(conn, DeliveryId(id))?;
    Ok(DeadLetter {
        conversion,
        first_failed_at: delivery.history.first().map_or(time(died), |h| h.at),
        died_at: time(died),
        may_duplicate: delivery.reason.as_deref() == Some(OUTCOME_UNKNOWN),
        delivery,
    })
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

pub(super) fn uploads(conn: &Connection, org: &OrgId, limit: usize) -> Result<Vec<UploadView>, StoreError> {
    let mut read = conn.prepare_cached(
        "SELECT u.id, d.name, length(u.rows) / 8, u.sent_ms, u.answered, u.request_id, u.poll_at_ms, u.why
         FROM uploads u CROSS JOIN destinations d ON d.id = u.destination JOIN organizations o ON o.num = d.org
         WHERE o.name = ?1 ORDER BY u.id DESC LIMIT ?2",
    )?;
    let mut rows = read.query(params![org.as_str(), i64::try_from(limit).unwrap_or(i64::MAX)])?;
    let (mut list, mut whys) = (Vec::new(), Whys::new(conn));
    while let Some(row) = rows.next()? {
        list.push(UploadView {
            id: UploadId(row.get(0)?),
            destination: row.get::<_, String>(1)?.into(),
            rows: unsigned(row.get(2)?)?,
            sent_at: time(row.get(3)?),
            answered: row.get(4)?,
            request_id: row.get::<_, Option<String>>(5)?.map(Arc::from),
            next_poll_at: row.get::<_, Option<i64>>(6)?.map(time),
            error: whys.get(row.get(7)?)?,
        });
    }
    Ok(list)
}

pub(super) fn audit(conn: &Connection, after: i64, limit: usize) -> Result<Vec<Link>, StoreError> {
    let mut read = conn.prepare_cached(
        "SELECT seq, writer, position, at_ms, entries, digest, previous, mac FROM audit_links WHERE seq > ?1 ORDER BY seq LIMIT ?2",
    )?;
    let mut rows = read.query(params![after, i64::try_from(limit).unwrap_or(i64::MAX)])?;
    let mut links = Vec::new();
    while let Some(row) = rows.next()? {
        links.push(Link {
            seq: row.get(0)?,
            writer: row.get(1)?,
            position: row.get(2)?,
            at_ms: row.get(3)?,
            entries: serde_json::from_str(&row.get::<_, String>(4)?).map_err(|_| damaged("an audit entry"))?,
            digest: row.get(5)?,
            previous: row.get(6)?,
            mac: row.get(7)?,
        });
    }
    Ok(links)
}
