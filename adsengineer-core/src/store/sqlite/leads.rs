//! Leads: storing, finding and deleting them.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{
    accept,
    columns::persons_blob,
    error::damaged,
    keys::{Kind, print},
    tx::{Tx, known_org},
};
use crate::{
    id::{ChangeId, LeadId},
    org::OrgId,
    store::{Done, LeadBatch, LeadCounts, LeadQuery, LeadWrite, Page, StoreError, StoredConsent, StoredLead},
};

const COLUMNS: &str = "id, changed, status, score, consent, content";
/// Leads of an organization by their latest changes.
pub(super) const BY_CHANGE: &str = "SELECT id, changed, status, score, consent, content FROM leads WHERE org = ?1 AND changed > ?2 AND changed < ?3 AND (?4 IS NULL OR status = ?4)";

pub(super) fn store(tx: &mut Tx<'_>, batch: &LeadBatch) -> Result<Done, StoreError> {
    let org = tx.org_number(&batch.org)?;
    let moved = moved(tx, org, &batch.leads)?;
    if !moved.is_empty() {
        return Ok(Done::LeadsMoved(moved));
    }
    let mut ids = Vec::with_capacity(batch.leads.len());
    for lead in &batch.leads {
        ids.push(match lead.known {
            Some((id, _)) => update(tx, org, id, lead, batch.now_ms)?,
            None => insert(tx, org, lead, batch.now_ms)?,
        });
    }
    let updated = batch.leads.iter().filter(|lead| lead.known.is_some()).count() as u64;
    tx.count_leads(org, LeadCounts { stored: ids.len() as u64 - updated, updated, denied: batch.denied });
    let captured = match &batch.intake {
        Some(intake) => match accept::accept(tx, intake)? {
            Done::Accepted(_, captured) => captured,
            _ => Vec::new(),
        },
        None => Vec::new(),
    };
    Ok(Done::Leads(ids, captured))
}

/// Leads that are there although they should be new, or that have changed since they were read.
fn moved(tx: &mut Tx<'_>, org: i64, leads: &[LeadWrite]) -> Result<Vec<(usize, LeadId)>, StoreError> {
    let mut moved = Vec::new();
    for (at, lead) in leads.iter().enumerate() {
        match (lead.known, &lead.external) {
            (Some((id, changed)), _) => {
                let mut read = tx.conn.prepare_cached("SELECT changed FROM leads WHERE id = ?1 AND org = ?2")?;
                if read.query_row([id.0, org], |r| r.get::<_, i64>(0)).optional()? != Some(changed.0) {
                    moved.push((at, id));
                }
            }
            (None, Some(external)) => {
                let candidates = tx.keys.find(tx.conn, print(Kind::Lead, external))?;
                let mut read = tx.conn.prepare_cached("SELECT 1 FROM leads WHERE id = ?1 AND org = ?2 AND external = ?3")?;
                for id in candidates {
                    if read.exists(params![id, org, external])? {
                        moved.push((at, LeadId(id)));
                        break;
                    }
                }
            }
            (None, None) => {}
        }
    }
    Ok(moved)
}

fn insert(tx: &mut Tx<'_>, org: i64, lead: &LeadWrite, now_ms: i64) -> Result<LeadId, StoreError> {
    let id = tx.next_id(now_ms);
    let mut insert = tx.conn.prepare_cached(
        "INSERT INTO leads (id, org, changed, status, score, external, persons, consent, content)
         VALUES (?1, ?2, ?1, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?;
    let persons = persons_blob(&lead.persons);
    insert.execute(params![id, org, lead.status, lead.score, lead.external, persons, &*lead.consent, &*lead.content])?;
    if let Some(external) = &lead.external {
        tx.keys.add(tx.conn, print(Kind::Lead, external), id)?;
    }
    for person in &lead.persons {
        tx.keys.add(tx.conn, print(Kind::LeadPerson, &person.0), id)?;
    }
    Ok(LeadId(id))
}

fn update(tx: &mut Tx<'_>, org: i64, id: LeadId, lead: &LeadWrite, now_ms: i64) -> Result<LeadId, StoreError> {
    let changed = tx.next_id(now_ms);
    let mut read = tx.conn.prepare_cached("SELECT persons, consent FROM leads WHERE id = ?1")?;
    let (known, consent): (Option<Vec<u8>>, String) = read.query_row([id.0], |r| Ok((r.get(0)?, r.get(1)?)))?;
    if consent != *lead.consent {
        keep_consent(tx.conn, org, id)?;
        let mut insert = tx.conn.prepare_cached("INSERT INTO consents (id, org, lead, record) VALUES (?1, ?2, ?3, ?4)")?;
        insert.execute(params![changed, org, id.0, &*lead.consent])?;
    }
    let known = super::columns::persons(known.as_deref());
    for person in lead.persons.iter().filter(|person| !known.contains(person)) {
        tx.keys.add(tx.conn, print(Kind::LeadPerson, &person.0), id.0)?;
    }
    let mut update = tx
        .conn
        .prepare_cached("UPDATE leads SET changed = ?2, status = ?3, score = ?4, persons = ?5, consent = ?6, content = ?7 WHERE id = ?1")?;
    update.execute(params![id.0, changed, lead.status, lead.score, persons_blob(&lead.persons), &*lead.consent, &*lead.content])?;
    Ok(id)
}

/// Puts what was agreed to at the capture among the records, if there is none yet.
fn keep_consent(conn: &Connection, org: i64, id: LeadId) -> Result<(), StoreError> {
    let mut keep = conn.prepare_cached(
        "INSERT INTO consents (id, org, lead, record) SELECT id, org, id, consent FROM leads
         WHERE id = ?1 AND org = ?2 AND NOT EXISTS (SELECT 1 FROM consents WHERE lead = ?1)",
    )?;
    keep.execute([id.0, org])?;
    Ok(())
}

/// Deletes a lead; its consent stays as the first of its records.
pub(super) fn delete(tx: &mut Tx<'_>, org: &OrgId, id: LeadId) -> Result<u64, StoreError> {
    let Some(number) = known_org(tx.conn, org)? else { return Ok(0) };
    keep_consent(tx.conn, number, id)?;
    Ok(tx.conn.prepare_cached("DELETE FROM leads WHERE id = ?1 AND org = ?2")?.execute([id.0, number])? as u64)
}

/// Adds to an organization's counts.
pub(super) fn add_counts(conn: &Connection, org: i64, counts: LeadCounts) -> Result<(), StoreError> {
    let mut add = conn.prepare_cached(
        "INSERT INTO lead_counts (org, stored, updated, denied) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT DO UPDATE SET stored = stored + excluded.stored, updated = updated + excluded.updated, denied = denied + excluded.denied",
    )?;
    let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    add.execute([org, number(counts.stored), number(counts.updated), number(counts.denied)])?;
    Ok(())
}

fn from_row(row: &Row<'_>) -> rusqlite::Result<StoredLead> {
    Ok(StoredLead {
        id: LeadId(row.get(0)?),
        changed: ChangeId(row.get(1)?),
        status: row.get(2)?,
        score: row.get(3)?,
        consent: row.get::<_, String>(4)?.into(),
        content: row.get::<_, Vec<u8>>(5)?.into(),
    })
}

pub(super) fn one(conn: &Connection, org: &OrgId, id: LeadId) -> Result<Option<StoredLead>, StoreError> {
    let Some(org) = known_org(conn, org)? else { return Ok(None) };
    let mut read = conn.prepare_cached(&format!("SELECT {COLUMNS} FROM leads WHERE id = ?1 AND org = ?2"))?;
    Ok(read.query_row([id.0, org], from_row).optional()?)
}

pub(super) fn list(conn: &Connection, org: &OrgId, query: &LeadQuery) -> Result<Page<StoredLead>, StoreError> {
    let limit = super::reads::limit_of(query.limit);
    let Some(org) = known_org(conn, org)? else { return Ok(Page { items: Vec::new(), next_cursor: None }) };
    let since = query.updated_since_ms.map_or(0, |ms| ChangeId::from_millis(ms).0);
    let (after, before) = match (query.cursor, query.descending) {
        (Some(cursor), true) => (since - 1, cursor.0),
        (Some(cursor), false) => (cursor.0.max(since - 1), i64::MAX),
        (None, _) => (since - 1, i64::MAX),
    };
    let order = if query.descending { "DESC" } else { "ASC" };
    let mut read = conn.prepare_cached(&format!("{BY_CHANGE} ORDER BY changed {order} LIMIT ?5"))?;
    let rows = read.query_map(params![org, after, before, query.status, limit + 1], from_row)?.collect::<Result<_, _>>()?;
    Ok(super::reads::page(rows, limit, |lead: &StoredLead| lead.changed.to_string()))
}

pub(super) fn consents(conn: &Connection, org: &OrgId, id: LeadId) -> Result<Vec<StoredConsent>, StoreError> {
    let Some(org) = known_org(conn, org)? else { return Ok(Vec::new()) };
    let mut read = conn.prepare_cached(
        "SELECT id, record FROM consents WHERE lead = ?1 AND org = ?2
         UNION ALL SELECT id, consent FROM leads WHERE id = ?1 AND org = ?2 AND NOT EXISTS (SELECT 1 FROM consents WHERE lead = ?1)
         ORDER BY id",
    )?;
    let record = |row: &Row<'_>| Ok(StoredConsent { at: ChangeId(row.get(0)?).created_at(), record: row.get::<_, String>(1)?.into() });
    Ok(read.query_map([id.0, org], record)?.collect::<Result<_, _>>()?)
}

pub(super) fn counts(conn: &Connection, org: &OrgId) -> Result<LeadCounts, StoreError> {
    let Some(org) = known_org(conn, org)? else { return Ok(LeadCounts::default()) };
    let mut read = conn.prepare_cached("SELECT stored, updated, denied FROM lead_counts WHERE org = ?1")?;
    let found = read.query_row([org], |r| Ok([r.get(0)?, r.get(1)?, r.get::<_, i64>(2)?])).optional()?;
    let Some(found) = found else { return Ok(LeadCounts::default()) };
    let number = |n: i64| u64::try_from(n).map_err(|_| damaged("a count"));
    Ok(LeadCounts { stored: number(found[0])?, updated: number(found[1])?, denied: number(found[2])? })
}
