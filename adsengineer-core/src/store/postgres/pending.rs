//! Rows on their way into their tables: one statement for all rows of a table, whatever commands they came with.

use super::{
    args::args,
    columns::{money_columns, number},
    connect::Conn,
    fault::{Fault, all_of},
};
use crate::{
    click_id::ClickId,
    conversion::OrderId,
    delivery::State,
    id::{ConversionId, DeliveryId, DestinationId},
    money::Money,
    store::{LeadWrite, NewConversion, encoding},
};

/// A conversion to insert.
pub(super) struct ConversionRow<'t> {
    pub(super) org: i64,
    pub(super) id: ConversionId,
    pub(super) new: &'t NewConversion,
}

/// A delivery to insert.
pub(super) struct DeliveryRow<'t> {
    pub(super) org: i64,
    pub(super) id: DeliveryId,
    pub(super) conversion: ConversionId,
    pub(super) destination: DestinationId,
    pub(super) due_ms: i64,
    pub(super) action_id: std::borrow::Cow<'t, str>,
    /// The transaction id where it cannot be told from the conversion.
    pub(super) transaction_id: Option<std::borrow::Cow<'t, str>>,
    pub(super) revision: u32,
    pub(super) value: Option<Money>,
    pub(super) after: Option<DeliveryId>,
}

/// An intake to insert.
pub(super) struct IntakeRow<'t> {
    pub(super) org: i64,
    pub(super) id: i64,
    pub(super) source: &'t str,
    pub(super) consent_proof: Option<&'t str>,
    /// Rows, refused, denied, duplicates, conversions, deliveries.
    pub(super) counts: [i64; 6],
}

/// A lead to insert.
pub(super) struct LeadRow<'t> {
    pub(super) org: i64,
    pub(super) id: i64,
    pub(super) new: &'t LeadWrite,
}

/// What a request did, to remember.
pub(super) struct OnceRow {
    pub(super) org: i64,
    pub(super) key: [u8; 16],
    pub(super) body: [u8; 16],
    pub(super) at_ms: i64,
    pub(super) done: String,
}

/// Rows not written yet.
#[derive(Default)]
pub(super) struct Pending<'t> {
    pub(super) conversions: Vec<ConversionRow<'t>>,
    pub(super) deliveries: Vec<DeliveryRow<'t>>,
    /// Owners of transaction ids that had none.
    pub(super) owners: Vec<([u8; 16], ConversionId)>,
    pub(super) intakes: Vec<IntakeRow<'t>>,
    pub(super) leads: Vec<LeadRow<'t>>,
    pub(super) once: Vec<OnceRow>,
}

impl Pending<'_> {
    /// Writes everything, or says that another process was there first. The statements are sent at once.
    pub(super) async fn write(&mut self, conn: &Conn) -> Result<(), Fault> {
        let rows = std::mem::take(self);
        let written = tokio::join!(
            conversions(conn, &rows.conversions),
            deliveries(conn, &rows.deliveries),
            owners(conn, &rows.owners),
            persons(conn, &rows.conversions),
            intakes(conn, &rows.intakes),
            leads(conn, &rows.leads),
            lead_persons(conn, &rows.leads),
            once(conn, &rows.once),
        );
        let (events, parcels, owners, persons, intakes, leads, names, once) = written;
        all_of([events, parcels, owners, persons, intakes, leads, names, once])
    }
}

/// All rows must have been written: one that was not is another process's.
pub(super) fn all(inserted: u64, rows: usize) -> Result<(), Fault> {
    if inserted == rows as u64 { Ok(()) } else { Err(Fault::overtaken()) }
}

async fn conversions(conn: &Conn, rows: &[ConversionRow<'_>]) -> Result<(), Fault> {
    if rows.is_empty() {
        return Ok(());
    }
    let sql = "INSERT INTO conversions (org, id, natural_key, action, occurred_at, mantissa, scale, currency, order_id, click_kind, click,
            consent, identifiers, persons, revision)
        SELECT *, 1 FROM UNNEST($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) ON CONFLICT (org, natural_key) DO NOTHING";
    let money = |of: &ConversionRow<'_>| (of.new.value.map(|m| m.amount.mantissa()), of.new.value.map(|m| i16::from(m.amount.scale())));
    let inserted = conn
        .execute(
            sql,
            args![
                column(rows, |r| r.org),
                column(rows, |r| r.id.0),
                column(rows, |r| &r.new.key.0[..]),
                column(rows, |r| &*r.new.action),
                column(rows, |r| r.new.occurred_at),
                column(rows, |r| money(r).0),
                column(rows, |r| money(r).1),
                column(rows, |r| r.new.value.as_ref().map(|m| m.currency.as_str())),
                column(rows, |r| r.new.order_id.as_ref().map(OrderId::as_str)),
                column(rows, |r| r.new.click_id.as_ref().map(|c| i16::from(encoding::click_kind_number(c.kind())))),
                column(rows, |r| r.new.click_id.as_ref().map(ClickId::as_str)),
                column(rows, |r| i16::from(encoding::consent_number(r.new.consent))),
                column(rows, |r| r.new.identifiers.as_deref()),
                column(rows, |r| encoding::persons_blob(&r.new.persons)),
            ],
        )
        .await?;
    all(inserted, rows.len())
}

async fn deliveries(conn: &Conn, rows: &[DeliveryRow<'_>]) -> Result<(), Fault> {
    if rows.is_empty() {
        return Ok(());
    }
    let sql = "INSERT INTO deliveries (org, id, conversion, destination, due_ms, action_id, transaction_id, revision, mantissa, scale,
            currency, after, state)
        SELECT *, $13 FROM UNNEST($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)";
    let inserted = conn
        .execute(
            sql,
            args![
                column(rows, |r| r.org),
                column(rows, |r| r.id.0),
                column(rows, |r| r.conversion.0),
                column(rows, |r| r.destination.0),
                column(rows, |r| r.due_ms),
                column(rows, |r| &*r.action_id),
                column(rows, |r| r.transaction_id.as_deref()),
                column(rows, |r| i32::try_from(r.revision).unwrap_or(i32::MAX)),
                column(rows, |r| money_columns(r.value.as_ref()).0),
                column(rows, |r| money_columns(r.value.as_ref()).1),
                column(rows, |r| money_columns(r.value.as_ref()).2),
                column(rows, |r| r.after.map(|after| after.0)),
                number(State::Queued),
            ],
        )
        .await?;
    all(inserted, rows.len())
}

async fn owners(conn: &Conn, rows: &[([u8; 16], ConversionId)]) -> Result<(), Fault> {
    if rows.is_empty() {
        return Ok(());
    }
    let sql = "INSERT INTO owners (owned, conversion) SELECT * FROM UNNEST($1, $2) ON CONFLICT (owned) DO NOTHING";
    let inserted = conn.execute(sql, args![column(rows, |(owned, _)| &owned[..]), column(rows, |(_, owner)| owner.0)]).await?;
    all(inserted, rows.len())
}

async fn persons(conn: &Conn, rows: &[ConversionRow<'_>]) -> Result<(), Fault> {
    let people: Vec<_> = rows.iter().flat_map(|r| r.new.persons.iter().map(move |person| (r.org, &person.0[..], r.id.0))).collect();
    if people.is_empty() {
        return Ok(());
    }
    let sql = "INSERT INTO persons (org, person, conversion) SELECT * FROM UNNEST($1, $2, $3) ON CONFLICT DO NOTHING";
    conn.execute(sql, args![column(&people, |p| p.0), column(&people, |p| p.1), column(&people, |p| p.2)]).await?;
    Ok(())
}

async fn intakes(conn: &Conn, rows: &[IntakeRow<'_>]) -> Result<(), Fault> {
    if rows.is_empty() {
        return Ok(());
    }
    let count = |at: usize| column(rows, |r| r.counts[at]);
    let sql = "INSERT INTO intakes (org, id, source, consent_proof, rows, refused, denied, duplicates, conversions, deliveries)
        SELECT * FROM UNNEST($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
    conn.execute(
        sql,
        args![
            column(rows, |r| r.org),
            column(rows, |r| r.id),
            column(rows, |r| r.source),
            column(rows, |r| r.consent_proof),
            count(0),
            count(1),
            count(2),
            count(3),
            count(4),
            count(5),
        ],
    )
    .await?;
    Ok(())
}

async fn leads(conn: &Conn, rows: &[LeadRow<'_>]) -> Result<(), Fault> {
    if rows.is_empty() {
        return Ok(());
    }
    let sql = "INSERT INTO leads (org, id, changed, status, score, external, persons, consent, content)
        SELECT o, i, i, s, p, e, h, c, t FROM UNNEST($1, $2, $3, $4, $5, $6, $7, $8) AS r (o, i, s, p, e, h, c, t)
        ON CONFLICT DO NOTHING";
    let inserted = conn
        .execute(
            sql,
            args![
                column(rows, |r| r.org),
                column(rows, |r| r.id),
                column(rows, |r| i16::from(r.new.status)),
                column(rows, |r| i16::from(r.new.score)),
                column(rows, |r| r.new.external.as_ref().map(|e| &e[..])),
                column(rows, |r| encoding::persons_blob(&r.new.persons)),
                column(rows, |r| &*r.new.consent),
                column(rows, |r| &*r.new.content),
            ],
        )
        .await?;
    all(inserted, rows.len())
}

async fn lead_persons(conn: &Conn, rows: &[LeadRow<'_>]) -> Result<(), Fault> {
    let people: Vec<_> = rows.iter().flat_map(|r| r.new.persons.iter().map(move |person| (r.org, &person.0[..], r.id))).collect();
    if people.is_empty() {
        return Ok(());
    }
    let sql = "INSERT INTO lead_persons (org, person, lead) SELECT * FROM UNNEST($1, $2, $3) ON CONFLICT DO NOTHING";
    conn.execute(sql, args![column(&people, |p| p.0), column(&people, |p| p.1), column(&people, |p| p.2)]).await?;
    Ok(())
}

/// Takes the keys of requests; a key that is taken must have run out.
async fn once(conn: &Conn, rows: &[OnceRow]) -> Result<(), Fault> {
    if rows.is_empty() {
        return Ok(());
    }
    let sql = "INSERT INTO idempotency (org, key, body, at_ms, done) SELECT * FROM UNNEST($1, $2, $3, $4, $5)
        ON CONFLICT (org, key) DO UPDATE SET body = excluded.body, at_ms = excluded.at_ms, done = excluded.done
            WHERE idempotency.at_ms <= excluded.at_ms - $6";
    let taken = conn
        .execute(
            sql,
            args![
                column(rows, |r| r.org),
                column(rows, |r| &r.key[..]),
                column(rows, |r| &r.body[..]),
                column(rows, |r| r.at_ms),
                column(rows, |r| &*r.done),
                crate::store::ONCE_MS,
            ],
        )
        .await?;
    all(taken, rows.len())
}

pub(super) fn column<'r, R, T>(rows: &'r [R], of: impl Fn(&'r R) -> T) -> Vec<T> {
    rows.iter().map(of).collect()
}
