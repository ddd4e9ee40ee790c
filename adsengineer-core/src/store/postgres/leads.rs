//! Leads: storing, finding and deleting them.

use std::collections::{HashMap, HashSet};

use tokio_postgres::Row;

use super::{
    accept,
    args::args,
    columns::{bytes, get, signed, small, unsigned},
    connect::Conn,
    fault::{Fault, damaged},
    pending::LeadRow,
    seen::{Key, Wanted},
    tx::{Tx, horizon, known_org},
};
use crate::{
    id::{ChangeId, LeadId},
    org::OrgId,
    store::{Done, LeadBatch, LeadCounts, LeadQuery, LeadWrite, Page, StoreError, StoredConsent, StoredLead, encoding},
};

const COLUMNS: &str = "id, changed, status, score, consent, content";

pub(super) async fn store<'t>(tx: &mut Tx<'t>, batch: &'t LeadBatch) -> Result<Done, Fault> {
    let org = tx.org_number(&batch.org).await?;
    if batch.leads.iter().any(|lead| lead.known.is_some()) {
        tx.flush().await?;
    }
    let moved = moved(tx, org, &batch.leads).await?;
    if !moved.is_empty() {
        return Ok(Done::LeadsMoved(moved));
    }
    if let Some(intake) = &batch.intake {
        accept::prepare(tx, intake).await?;
    }
    let mut ids = Vec::with_capacity(batch.leads.len());
    for lead in &batch.leads {
        ids.push(match lead.known {
            Some((id, _)) => update(tx, org, id, lead, batch.now_ms).await?,
            None => insert(tx, org, lead, batch.now_ms),
        });
    }
    let updated = batch.leads.iter().filter(|lead| lead.known.is_some()).count() as u64;
    tx.count_leads(org, LeadCounts { stored: ids.len() as u64 - updated, updated, denied: batch.denied });
    let captured = match &batch.intake {
        Some(intake) => match accept::accept(tx, intake).await? {
            Done::Accepted(_, captured) => captured,
            _ => Vec::new(),
        },
        None => Vec::new(),
    };
    Ok(Done::Leads(ids, captured))
}

/// Leads that are there although they should be new, or that have changed since they were read.
async fn moved(tx: &mut Tx<'_>, org: i64, leads: &[LeadWrite]) -> Result<Vec<(usize, LeadId)>, Fault> {
    let new: Vec<_> = leads.iter().filter(|lead| lead.known.is_none()).filter_map(|lead| lead.external).collect();
    if new.iter().collect::<HashSet<_>>().len() < new.len() {
        return Err(StoreError::Conflict("two leads of the batch have the same id of their site".to_owned()).into());
    }
    let wanted = new.iter().map(|external| (org, *external)).collect();
    tx.seen.look_up(tx.conn, &Wanted { leads: wanted, ..Wanted::default() }).await?;
    let known: Vec<i64> = leads.iter().filter_map(|lead| Some(lead.known?.0.0)).collect();
    let changes = changes(tx.conn, org, known).await?;
    let moved = leads.iter().enumerate().filter_map(|(at, lead)| match (lead.known, &lead.external) {
        (Some((id, changed)), _) => (changes.get(&id) != Some(&changed)).then_some((at, id)),
        (None, Some(external)) => tx.seen.lead(org, external).map(|id| (at, id)),
        (None, None) => None,
    });
    Ok(moved.collect())
}

/// The latest changes of leads, which nobody else changes before the transaction ends.
async fn changes(conn: &Conn, org: i64, ids: Vec<i64>) -> Result<HashMap<LeadId, ChangeId>, Fault> {
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let rows = conn
        .query("SELECT id, changed FROM leads WHERE (org = $1) IS TRUE AND id = ANY($2) ORDER BY id FOR UPDATE", args![org, ids])
        .await?;
    rows.iter().map(|row| Ok((LeadId(get(row, 0)?), ChangeId(get(row, 1)?)))).collect()
}

fn insert<'t>(tx: &mut Tx<'t>, org: i64, new: &'t LeadWrite, now_ms: i64) -> LeadId {
    let id = tx.next_id(now_ms);
    if let Some(external) = new.external {
        tx.seen.stored(org, external, LeadId(id));
    }
    tx.pending.leads.push(LeadRow { org, id, new });
    LeadId(id)
}

async fn update(tx: &mut Tx<'_>, org: i64, id: LeadId, lead: &LeadWrite, now_ms: i64) -> Result<LeadId, Fault> {
    let changed = tx.next_id(now_ms);
    let row = tx.conn.first("SELECT consent FROM leads WHERE id = $2 AND (org = $1) IS TRUE", args![org, id.0]).await?;
    let row = row.ok_or_else(|| damaged("a lead's id"))?;
    if get::<&str>(&row, 0)? != &*lead.consent {
        keep_consent(tx.conn, org, id).await?;
        let add = "INSERT INTO consents (id, org, lead, record) VALUES ($1, $2, $3, $4)";
        tx.conn.execute(add, args![changed, org, id.0, &*lead.consent]).await?;
    }
    let persons: Vec<&[u8]> = lead.persons.iter().map(|person| &person.0[..]).collect();
    let further = "INSERT INTO lead_persons (org, person, lead) SELECT $1, p, $3 FROM UNNEST($2) AS n (p) ON CONFLICT DO NOTHING";
    tx.conn.execute(further, args![org, persons, id.0]).await?;
    let update = "UPDATE leads SET changed = $3, status = $4, score = $5, persons = $6, consent = $7, content = $8
        WHERE id = $2 AND (org = $1) IS TRUE";
    let (status, score) = (i16::from(lead.status), i16::from(lead.score));
    let blob = encoding::persons_blob(&lead.persons);
    tx.conn.execute(update, args![org, id.0, changed, status, score, blob, &*lead.consent, &*lead.content]).await?;
    Ok(id)
}

/// Puts what was agreed to at the capture among the records, if there is none yet.
async fn keep_consent(conn: &Conn, org: i64, id: LeadId) -> Result<(), Fault> {
    let keep = "INSERT INTO consents (id, org, lead, record) SELECT id, org, id, consent FROM leads
        WHERE org = $1 AND id = $2 AND NOT EXISTS (SELECT 1 FROM consents WHERE org = $1 AND lead = $2)";
    conn.execute(keep, args![org, id.0]).await?;
    Ok(())
}

/// Deletes a lead; its consent stays as the first of its records.
pub(super) async fn delete(tx: &mut Tx<'_>, org: &OrgId, id: LeadId) -> Result<u64, Fault> {
    let Some(number) = tx.known_org(org).await? else { return Ok(0) };
    let locked = changes(tx.conn, number, vec![id.0]).await?;
    if locked.is_empty() {
        return Ok(0);
    }
    keep_consent(tx.conn, number, id).await?;
    tx.conn.execute("DELETE FROM leads WHERE id = $2 AND (org = $1) IS TRUE", args![number, id.0]).await
}

fn from_row(row: &Row) -> Result<StoredLead, Fault> {
    Ok(StoredLead {
        id: LeadId(get(row, 0)?),
        changed: ChangeId(get(row, 1)?),
        status: small(row, 2)?,
        score: small(row, 3)?,
        consent: get::<&str>(row, 4)?.into(),
        content: get::<&[u8]>(row, 5)?.into(),
    })
}

pub(super) async fn one(conn: &Conn, org: &OrgId, id: LeadId) -> Result<Option<StoredLead>, Fault> {
    let Some(org) = known_org(conn, org).await? else { return Ok(None) };
    let row = conn.first(&format!("SELECT {COLUMNS} FROM leads WHERE id = $2 AND (org = $1) IS TRUE"), args![org, id.0]).await?;
    row.as_ref().map(from_row).transpose()
}

pub(super) async fn list(conn: &Conn, org: &OrgId, query: &LeadQuery) -> Result<Page<StoredLead>, Fault> {
    let limit = super::reads::limit_of(query.limit);
    let Some(org) = known_org(conn, org).await? else { return Ok(Page { items: Vec::new(), next_cursor: None }) };
    let since = query.updated_since_ms.map_or(0, |ms| ChangeId::from_millis(ms).0);
    // Whoever reads up to a change must not miss a smaller one that another process commits later.
    let committed = if query.descending { i64::MAX } else { horizon(conn).await?.id.saturating_add(1) };
    let (after, before) = match (query.cursor, query.descending) {
        (Some(cursor), true) => (since - 1, cursor.0),
        (Some(cursor), false) => (cursor.0.max(since - 1), committed),
        (None, _) => (since - 1, committed),
    };
    let order = if query.descending { "DESC" } else { "ASC" };
    let sql = format!(
        "SELECT {COLUMNS} FROM leads WHERE org = $1 AND changed > $2 AND changed < $3 AND ($4 IS NULL OR status = $4)
         ORDER BY changed {order} LIMIT $5"
    );
    let rows = conn.query(&sql, args![org, after, before, query.status.map(i16::from), signed(limit + 1)]).await?;
    let leads = rows.iter().map(from_row).collect::<Result<_, _>>()?;
    Ok(super::reads::page(leads, limit, |lead: &StoredLead| lead.changed.to_string()))
}

pub(super) async fn consents(conn: &Conn, org: &OrgId, id: LeadId) -> Result<Vec<StoredConsent>, Fault> {
    let Some(org) = known_org(conn, org).await? else { return Ok(Vec::new()) };
    let sql = "SELECT id, record FROM consents WHERE org = $1 AND lead = $2
        UNION ALL SELECT id, consent FROM leads WHERE id = $2 AND (org = $1) IS TRUE
            AND NOT EXISTS (SELECT 1 FROM consents WHERE org = $1 AND lead = $2) ORDER BY id";
    let record = |row: &Row| Ok(StoredConsent { at: ChangeId(get(row, 0)?).created_at(), record: get::<&str>(row, 1)?.into() });
    conn.query(sql, args![org, id.0]).await?.iter().map(record).collect()
}

pub(super) async fn counts(conn: &Conn, org: &OrgId) -> Result<LeadCounts, Fault> {
    let sql = "SELECT COALESCE(sum(stored), 0)::bigint, COALESCE(sum(updated), 0)::bigint, COALESCE(sum(denied), 0)::bigint
        FROM lead_counts c JOIN organizations o ON o.num = c.org WHERE o.name = $1";
    let Some(row) = conn.first(sql, args![org.as_str()]).await? else { return Ok(LeadCounts::default()) };
    Ok(LeadCounts { stored: unsigned(&row, 0)?, updated: unsigned(&row, 1)?, denied: unsigned(&row, 2)? })
}

/// Leads by their sites' own ids.
pub(super) async fn by_external(conn: &Conn, wanted: &HashSet<Key>) -> Result<HashMap<Key, LeadId>, Fault> {
    if wanted.is_empty() {
        return Ok(HashMap::new());
    }
    let orgs: Vec<i64> = wanted.iter().map(|(org, _)| *org).collect();
    let externals: Vec<&[u8]> = wanted.iter().map(|(_, external)| &external[..]).collect();
    let sql = "SELECT l.org, l.external, l.id FROM UNNEST($1, $2) AS k (org, external)
        JOIN leads l ON l.external = k.external AND l.external IS NOT NULL AND (l.org = k.org) IS TRUE";
    let rows = conn.query(sql, args![orgs, externals]).await?;
    rows.iter().map(|row| Ok(((get(row, 0)?, bytes(row, 1)?), LeadId(get(row, 2)?)))).collect()
}
