//! What every command of a transaction shares: ids, keys, counts, reasons and audit entries.

use std::collections::{BTreeMap, HashMap};

use rusqlite::{Connection, OptionalExtension, params};

use super::{error::damaged, keys::Keys, tally};
use crate::{
    audit::Entry,
    id,
    org::OrgId,
    outcome::Why,
    store::{LeadCounts, StoreError, tally::Tally},
};

/// An open transaction of the writer.
pub(super) struct Tx<'c> {
    pub(super) conn: &'c Connection,
    pub(super) keys: &'c mut Keys,
    pub(super) tally: Tally,
    last_id: i64,
    first_last_id: i64,
    entries: Vec<Entry>,
    /// Leads counted but not written yet, by organization.
    leads: Vec<(i64, LeadCounts)>,
    at_ms: i64,
    /// Set when SQLite itself gave the whole transaction up (a full disk): nothing more is done in it.
    broken: Option<StoreError>,
}

impl<'c> Tx<'c> {
    /// Begins; the lock on the file is taken at once.
    pub(super) fn begin(conn: &'c Connection, keys: &'c mut Keys) -> Result<Self, StoreError> {
        conn.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        let last_id = conn.prepare_cached("SELECT value FROM counters WHERE name = 'id'")?.query_row([], |r| r.get(0)).optional()?;
        let last_id = last_id.unwrap_or(0);
        keys.begin();
        Ok(Self {
            conn,
            keys,
            tally: Tally::default(),
            last_id,
            first_last_id: last_id,
            entries: Vec::new(),
            leads: Vec::new(),
            at_ms: 0,
            broken: None,
        })
    }

    /// Runs one command so that its failure leaves no trace.
    pub(super) fn attempt<T>(&mut self, run: impl FnOnce(&mut Self) -> Result<T, StoreError>) -> Result<T, StoreError> {
        if let Some(error) = &self.broken {
            return Err(error.clone());
        }
        self.conn.prepare_cached("SAVEPOINT command")?.execute([])?;
        let (tally, leads) = (self.tally.clone(), self.leads.len());
        let (entries, last) = (self.entries.len(), self.entries.last().map(|entry| entry.count));
        let result = run(self).and_then(|done| self.keys.flush(self.conn).map(|()| done));
        if let Err(error) = &result {
            if self.conn.is_autocommit() {
                self.broken = Some(error.clone());
                return result;
            }
            self.keys.undo();
            self.tally = tally;
            self.entries.truncate(entries);
            if let (Some(entry), Some(count)) = (self.entries.last_mut(), last) {
                entry.count = count;
            }
            self.leads.truncate(leads);
            self.conn.prepare_cached("ROLLBACK TO command")?.execute([])?;
        }
        self.conn.prepare_cached("RELEASE command")?.execute([])?;
        result
    }

    /// What is to be audited, and when; the rest is written.
    pub(super) fn finish(&mut self) -> Result<(Vec<Entry>, i64), StoreError> {
        if let Some(error) = &self.broken {
            return Err(error.clone());
        }
        tally::write(&mut self.tally, self.conn)?;
        self.write_lead_counts()?;
        if self.last_id != self.first_last_id {
            self.conn.prepare_cached("INSERT OR REPLACE INTO counters (name, value) VALUES ('id', ?1)")?.execute([self.last_id])?;
        }
        Ok((std::mem::take(&mut self.entries), self.at_ms))
    }

    pub(super) fn count_leads(&mut self, org: i64, counts: LeadCounts) {
        self.leads.push((org, counts));
    }

    fn write_lead_counts(&mut self) -> Result<(), StoreError> {
        let mut sums: BTreeMap<i64, LeadCounts> = BTreeMap::new();
        for (org, counts) in self.leads.drain(..) {
            let sum = sums.entry(org).or_default();
            sum.stored += counts.stored;
            sum.updated += counts.updated;
            sum.denied += counts.denied;
        }
        sums.into_iter().try_for_each(|(org, counts)| super::leads::add_counts(self.conn, org, counts))
    }

    pub(super) fn next_id(&mut self, now_ms: i64) -> i64 {
        self.last_id = id::next(self.last_id, now_ms);
        self.last_id
    }

    pub(super) fn last_id(&self) -> i64 {
        self.last_id
    }

    /// Notes an act for the audit log; the same act by the same people in one commit is one entry.
    pub(super) fn note(&mut self, entry: Option<Entry>, at_ms: i64) {
        self.at_ms = at_ms;
        let Some(entry) = entry else { return };
        match self.entries.last_mut() {
            Some(last) if last.merges(&entry) => last.count += entry.count,
            _ => self.entries.push(entry),
        }
    }

    /// The organization's number; it gets one if it has none.
    pub(super) fn org_number(&self, org: &OrgId) -> Result<i64, StoreError> {
        if let Some(number) = known_org(self.conn, org)? {
            return Ok(number);
        }
        self.conn.prepare_cached("INSERT INTO organizations (name) VALUES (?1)")?.execute([org.as_str()])?;
        Ok(self.conn.last_insert_rowid())
    }

    /// The number of a reason.
    pub(super) fn why_number(&self, why: &Why) -> Result<i64, StoreError> {
        let mut find = self.conn.prepare_cached("SELECT num FROM whys WHERE code = ?1 AND detail = ?2")?;
        if let Some(number) = find.query_row(params![&*why.code, &*why.detail], |r| r.get(0)).optional()? {
            return Ok(number);
        }
        self.conn.prepare_cached("INSERT INTO whys (code, detail) VALUES (?1, ?2)")?.execute(params![&*why.code, &*why.detail])?;
        Ok(self.conn.last_insert_rowid())
    }
}

pub(super) fn known_org(conn: &Connection, org: &OrgId) -> Result<Option<i64>, StoreError> {
    let mut find = conn.prepare_cached("SELECT num FROM organizations WHERE name = ?1")?;
    Ok(find.query_row([org.as_str()], |r| r.get(0)).optional()?)
}

/// Reasons by number, each read once.
pub(super) struct Whys<'c> {
    conn: &'c Connection,
    known: HashMap<i64, Why>,
}

impl<'c> Whys<'c> {
    pub(super) fn new(conn: &'c Connection) -> Self {
        Self { conn, known: HashMap::new() }
    }

    pub(super) fn get(&mut self, number: Option<i64>) -> Result<Option<Why>, StoreError> {
        let Some(number) = number else { return Ok(None) };
        if let Some(why) = self.known.get(&number) {
            return Ok(Some(why.clone()));
        }
        let mut find = self.conn.prepare_cached("SELECT code, detail FROM whys WHERE num = ?1")?;
        let texts = find.query_row([number], |r| Ok((r.get::<_, String>(0)?, r.get::<_, String>(1)?))).optional()?;
        let (code, detail) = texts.ok_or_else(|| damaged("a reason's number"))?;
        let why = Why { code: code.into(), detail: detail.into() };
        self.known.insert(number, why.clone());
        Ok(Some(why))
    }
}
