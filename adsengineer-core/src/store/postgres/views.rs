//! Conversions with their deliveries and those with their histories: a few statements for a whole page.

use std::collections::HashMap;

use jiff::Timestamp;
use tokio_postgres::Row;

use super::{
    args::args,
    columns::{attempts, click, consent, count32, get, money, state},
    connect::Conn,
    fault::Fault,
    reads::time,
};
use crate::{
    id::{ConversionId, DeliveryId},
    money::Money,
    store::{AttemptView, ConversionView, DeliveryView, shorten},
};

/// The organization's conversions with these ids, in their order; those that are not there are left out.
pub(super) async fn views(conn: &Conn, org: i64, ids: Vec<i64>) -> Result<Vec<ConversionView>, Fault> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let sql = "SELECT c.id, c.action, c.occurred_at, c.mantissa, c.scale, c.currency, c.order_id, c.click_kind, c.click,
            c.identifiers IS NOT NULL, c.consent, c.revision
        FROM UNNEST($2) WITH ORDINALITY AS n (id, place) JOIN conversions c ON c.org = $1 AND c.id = n.id ORDER BY n.place";
    let (later, deliveries) = tokio::try_join!(revisions(conn, org, &ids), deliveries(conn, org, &ids))?;
    let rows = conn.query(sql, args![org, ids]).await?;
    let one = |row: &Row| {
        let id: i64 = get(row, 0)?;
        // The same one may be asked for twice.
        let deliveries = deliveries.get(&id).cloned().unwrap_or_default();
        view(row, later.get(&id).cloned().unwrap_or_default(), deliveries)
    };
    rows.iter().map(one).collect()
}

fn view(row: &Row, later: Vec<(i64, Option<Money>)>, deliveries: Vec<DeliveryView>) -> Result<ConversionView, Fault> {
    let (id, occurred_at) = (ConversionId(get(row, 0)?), get::<i64>(row, 2)?);
    let captured_s = id.created_at().as_millisecond() / 1000;
    let mut values = vec![(occurred_at.min(captured_s), money(row, 3)?)];
    values.extend(later);
    // Of equal times the one recorded last.
    let value = values.into_iter().max_by_key(|(at, _)| *at).and_then(|(_, value)| value);
    let click = click(row, 7)?;
    Ok(ConversionView {
        id,
        action: get::<&str>(row, 1)?.into(),
        occurred_at: Timestamp::from_second(occurred_at).unwrap_or(Timestamp::UNIX_EPOCH),
        value: value.map(|money| money.decimal().to_string()),
        currency: value.map(|money| money.currency.to_string()),
        order_id: get(row, 6)?,
        click_id_kind: click.as_ref().map(|c| c.kind().as_str()),
        click_id: click.map(|c| shorten(c.as_str())),
        has_identifiers: get(row, 9)?,
        consent: consent(row, 10)?,
        revision: count32(row, 11)?,
        captured_at: id.created_at(),
        deliveries,
    })
}

/// Later values of conversions, in the order in which they were recorded, each with its time.
async fn revisions(conn: &Conn, org: i64, ids: &[i64]) -> Result<HashMap<i64, Vec<(i64, Option<Money>)>>, Fault> {
    let sql = "SELECT conversion, at, mantissa, scale, currency FROM revisions WHERE org = $1 AND conversion = ANY($2) ORDER BY number";
    let mut found: HashMap<i64, Vec<_>> = HashMap::new();
    for row in conn.query(sql, args![org, ids.to_vec()]).await? {
        found.entry(get(&row, 0)?).or_default().push((get(&row, 1)?, money(&row, 2)?));
    }
    Ok(found)
}

/// Deliveries of conversions, oldest first.
async fn deliveries(conn: &Conn, org: i64, ids: &[i64]) -> Result<HashMap<i64, Vec<DeliveryView>>, Fault> {
    let sql = "SELECT d.conversion, d.id, t.name, d.revision, d.state, d.why_code, d.why_detail, d.attempts, d.due_ms,
            COALESCE(d.transaction_id, c.order_id, encode(c.natural_key, 'hex')), d.first_sent_ms, u.request_id
        FROM deliveries d JOIN conversions c ON c.org = d.org AND c.id = d.conversion JOIN destinations t ON t.id = d.destination
            LEFT JOIN uploads u ON u.org = d.org AND u.id = d.upload
        WHERE d.conversion = ANY($2) AND (d.org = $1) IS TRUE ORDER BY d.id";
    let mut histories = histories(conn, org, ids).await?;
    let rows = conn.query(sql, args![org, ids.to_vec()]).await?;
    let mut found: HashMap<i64, Vec<_>> = HashMap::new();
    for row in &rows {
        let id: i64 = get(row, 1)?;
        let view = DeliveryView {
            id: DeliveryId(id),
            destination: get::<&str>(row, 2)?.into(),
            revision: count32(row, 3)?,
            state: state(row, 4)?,
            reason: get::<Option<&str>>(row, 5)?.map(Into::into),
            detail: get::<Option<&str>>(row, 6)?.map(Into::into),
            attempts: attempts(row, 7)?,
            next_attempt_at: get::<Option<i64>>(row, 8)?.map(time),
            transaction_id: get::<&str>(row, 9)?.into(),
            first_sent_at: get::<Option<i64>>(row, 10)?.map(time),
            request_id: get::<Option<&str>>(row, 11)?.map(Into::into),
            history: histories.remove(&id).unwrap_or_default(),
        };
        found.entry(get(row, 0)?).or_default().push(view);
    }
    Ok(found)
}

/// Failures of the deliveries of conversions, oldest first, by delivery.
async fn histories(conn: &Conn, org: i64, conversions: &[i64]) -> Result<HashMap<i64, Vec<AttemptView>>, Fault> {
    let sql = "SELECT f.delivery, f.at_ms, f.why_code, f.why_detail FROM deliveries d
            JOIN failures f ON f.org = d.org AND f.delivery = d.id
        WHERE d.conversion = ANY($2) AND (d.org = $1) IS TRUE ORDER BY f.delivery, f.number";
    let mut found: HashMap<i64, Vec<_>> = HashMap::new();
    for row in conn.query(sql, args![org, conversions.to_vec()]).await? {
        let attempt = AttemptView { at: time(get(&row, 1)?), error: get::<&str>(&row, 2)?.into(), detail: get::<&str>(&row, 3)?.into() };
        found.entry(get(&row, 0)?).or_default().push(attempt);
    }
    Ok(found)
}
