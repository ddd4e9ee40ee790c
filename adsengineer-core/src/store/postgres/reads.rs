//! What the store shows.

use std::collections::HashMap;

use jiff::Timestamp;
use tokio_postgres::Row;

use super::{
    args::args,
    columns::{bytes, get, json, signed, why},
    connect::Conn,
    destinations::all,
    fault::{Fault, damaged},
    tx::{horizon, known_org},
    views::views,
};
use crate::{
    audit::Link,
    delivery::OUTCOME_UNKNOWN,
    id::{ConversionId, DeliveryId, UploadId},
    org::OrgId,
    store::{ConversionQuery, ConversionView, DeadLetter, DeadLetterQuery, Page, StoredDestination, UploadView},
};

/// When the milliseconds in ids begin: 2020-01-01.
const EPOCH_MS: i64 = 1_577_836_800_000;

pub(super) fn time(ms: i64) -> Timestamp {
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

pub(super) async fn destinations(conn: &Conn, org: &OrgId) -> Result<Vec<StoredDestination>, Fault> {
    Ok(all(conn, Some(org)).await?.into_iter().filter(|s| !s.removed).map(|s| s.destination).collect())
}

pub(super) async fn enabled_destinations(conn: &Conn) -> Result<Vec<StoredDestination>, Fault> {
    let enabled = all(conn, None).await?.into_iter().filter(|s| !s.removed && s.destination.spec.enabled);
    let mut enabled: Vec<_> = enabled.map(|s| s.destination).collect();
    enabled.sort_by_key(|destination| destination.id);
    Ok(enabled)
}

pub(super) async fn organizations(conn: &Conn) -> Result<Vec<OrgId>, Fault> {
    let sql = "SELECT name FROM organizations o WHERE EXISTS (SELECT 1 FROM destinations WHERE org = o.num)
            OR EXISTS (SELECT 1 FROM intakes WHERE org = o.num) OR EXISTS (SELECT 1 FROM lead_counts WHERE org = o.num)
            OR EXISTS (SELECT 1 FROM rules WHERE org = o.num) ORDER BY name COLLATE \"C\"";
    let name = |row: &Row| Ok(get::<&str>(row, 0)?.parse().map_err(|_| damaged("an organization's name"))?);
    conn.query(sql, args![]).await?.iter().map(name).collect()
}

pub(super) async fn conversion(conn: &Conn, org: &OrgId, id: ConversionId) -> Result<Option<ConversionView>, Fault> {
    let Some(org) = known_org(conn, org).await? else { return Ok(None) };
    Ok(views(conn, org, vec![id.0]).await?.pop())
}

pub(super) async fn conversions(conn: &Conn, org: &OrgId, query: &ConversionQuery) -> Result<Page<ConversionView>, Fault> {
    let limit = limit_of(query.limit);
    let Some(org) = known_org(conn, org).await? else { return Ok(page(Vec::new(), limit, |_| String::new())) };
    let from = query.cursor.as_deref().and_then(|c| c.parse::<ConversionId>().ok()).map(|c| c.0);
    let (after, before) = if query.descending { (-1, from.unwrap_or(i64::MAX)) } else { (from.unwrap_or(-1), i64::MAX) };
    let order = if query.descending { "DESC" } else { "ASC" };
    let sql = format!(
        "SELECT c.id FROM conversions c WHERE c.org = $1 AND c.id > $2 AND c.id < $3 AND ($4 IS NULL OR c.order_id = $4)
            AND ($5 IS NULL OR (c.id >> 22) + {EPOCH_MS} >= $5 OR c.updated_ms >= $5 OR EXISTS (SELECT 1 FROM deliveries d
                WHERE d.conversion = c.id AND COALESCE(d.changed_ms, (d.id >> 22) + {EPOCH_MS}) >= $5))
            AND ($6 IS NULL OR EXISTS (SELECT 1 FROM deliveries d WHERE d.conversion = c.id AND d.state = $6))
         ORDER BY c.id {order} LIMIT $7"
    );
    let state = query.state.map(super::columns::number);
    let order_id = query.order_id.as_deref();
    let rows = conn.query(&sql, args![org, after, before, order_id, query.updated_since_ms, state, signed(limit + 1)]).await?;
    let ids = rows.iter().map(|row| get(row, 0)).collect::<Result<_, _>>()?;
    Ok(page(views(conn, org, ids).await?, limit, |c: &ConversionView| c.id.to_string()))
}

pub(super) async fn identifiers(conn: &Conn, org: &OrgId, id: ConversionId) -> Result<Option<Box<[u8]>>, Fault> {
    let Some(org) = known_org(conn, org).await? else { return Ok(None) };
    let row = conn.first("SELECT identifiers FROM conversions WHERE org = $1 AND id = $2", args![org, id.0]).await?;
    row.map_or(Ok(None), |row| Ok(get::<Option<&[u8]>>(&row, 0)?.map(Into::into)))
}

pub(super) async fn conversion_of(conn: &Conn, org: &OrgId, id: DeliveryId) -> Result<Option<ConversionId>, Fault> {
    let Some(org) = known_org(conn, org).await? else { return Ok(None) };
    let row = conn.first("SELECT conversion FROM deliveries WHERE org = $1 AND id = $2", args![org, id.0]).await?;
    row.map(|row| Ok(ConversionId(get(&row, 0)?))).transpose()
}

/// The dead rows of an organization after a cursor.
const DEAD_AFTER: &str = "SELECT d.id, d.conversion, d.changed_ms FROM destinations t
        CROSS JOIN LATERAL (SELECT d.* FROM (SELECT id FROM queue WHERE destination = t.id AND kind = 2 AND id > $2 ORDER BY id) q
            CROSS JOIN LATERAL (SELECT id, conversion, why_code, changed_ms FROM deliveries WHERE org = $1 AND id = q.id OFFSET 0) d
            WHERE ($4 IS NULL OR d.why_code = $4) AND ($5 IS NULL OR d.changed_ms >= $5) AND ($6 IS NULL OR d.changed_ms < $6)
            ORDER BY q.id LIMIT $7) d
    WHERE t.org = $1 AND ($3 IS NULL OR t.name = $3) ORDER BY d.id LIMIT $7";

pub(super) async fn dead_letters(conn: &Conn, org: &OrgId, query: &DeadLetterQuery) -> Result<Page<DeadLetter>, Fault> {
    let limit = limit_of(query.limit);
    let Some(org) = known_org(conn, org).await? else { return Ok(page(Vec::new(), limit, |_| String::new())) };
    let after = query.cursor.as_deref().and_then(|c| c.parse::<DeliveryId>().ok()).map_or(-1, |c| c.0);
    let (destination, reason) = (query.destination.as_deref(), query.reason.as_deref());
    let most = signed(limit + 1);
    let mut dead = Vec::new();
    for row in conn.query(DEAD_AFTER, args![org, after, destination, reason, query.since_ms, query.until_ms, most]).await? {
        dead.push((DeliveryId(get(&row, 0)?), ConversionId(get(&row, 1)?), time(get(&row, 2)?)));
    }
    let found = views(conn, org, dead.iter().map(|(_, conversion, _)| conversion.0).collect()).await?;
    let found: HashMap<ConversionId, ConversionView> = found.into_iter().map(|view| (view.id, view)).collect();
    let letters =
        dead.into_iter().map(|(id, conversion, died_at)| letter(found.get(&conversion), id, died_at)).collect::<Result<_, _>>()?;
    Ok(page(letters, limit, |d: &DeadLetter| d.delivery.id.to_string()))
}

fn letter(conversion: Option<&ConversionView>, id: DeliveryId, died_at: Timestamp) -> Result<DeadLetter, Fault> {
    let conversion = conversion.ok_or_else(|| damaged("a dead letter's conversion"))?.clone();
    let delivery = conversion.deliveries.iter().find(|d| d.id == id).ok_or_else(|| damaged("a dead letter"))?.clone();
    Ok(DeadLetter {
        first_failed_at: delivery.history.first().map_or(died_at, |h| h.at),
        died_at,
        may_duplicate: delivery.reason.as_deref() == Some(OUTCOME_UNKNOWN),
        conversion,
        delivery,
    })
}

pub(super) async fn uploads(conn: &Conn, org: &OrgId, limit: usize) -> Result<Vec<UploadView>, Fault> {
    let Some(org) = known_org(conn, org).await? else { return Ok(Vec::new()) };
    let sql =
        "SELECT u.id, d.name, cardinality(u.rows)::bigint, u.sent_ms, u.answered, u.request_id, u.poll_at_ms, u.why_code, u.why_detail
        FROM uploads u JOIN destinations d ON d.id = u.destination WHERE u.org = $1 ORDER BY u.id DESC LIMIT $2";
    let view = |row: &Row| {
        Ok(UploadView {
            id: UploadId(get(row, 0)?),
            destination: get::<&str>(row, 1)?.into(),
            rows: super::columns::unsigned(row, 2)?,
            sent_at: time(get(row, 3)?),
            answered: get(row, 4)?,
            request_id: get::<Option<&str>>(row, 5)?.map(Into::into),
            next_poll_at: get::<Option<i64>>(row, 6)?.map(time),
            error: why(row, 7)?,
        })
    };
    conn.query(sql, args![org, signed(limit)]).await?.iter().map(view).collect()
}

pub(super) async fn audit(conn: &Conn, after: i64, limit: usize) -> Result<Vec<Link>, Fault> {
    let sql = "SELECT seq, writer, position, at_ms, entries, digest, previous, mac FROM audit_links
        WHERE seq > $1 AND seq <= $2 ORDER BY seq LIMIT $3";
    let until = horizon(conn).await?.sequence;
    let link = |row: &Row| {
        Ok(Link {
            seq: get(row, 0)?,
            writer: get(row, 1)?,
            position: get(row, 2)?,
            at_ms: get(row, 3)?,
            entries: json(get(row, 4)?, "an audit entry")?,
            digest: bytes(row, 5)?,
            previous: bytes(row, 6)?,
            mac: bytes(row, 7)?,
        })
    };
    conn.query(sql, args![after, until, signed(limit)]).await?.iter().map(link).collect()
}
