//! Finding rows by hash, without a tree whose pages are all changed by every batch.
//!
//! What a command adds is appended to a log, which is also kept in memory; a long log becomes a sorted run, and runs of
//! one tier are merged into one of the next (a log-structured merge tree: O'Neil and others, 1996). A filter per run
//! tells nearly always that a hash is not in it. Only 64 bits of a hash are kept: the row says whether it has the rest.
//! What is in memory is a copy of what the file says; it is brought up to date at the first use in each transaction,
//! because other processes write too, and forgotten whenever something is rolled back.

mod filter;
mod run;

use std::collections::HashMap;

use rusqlite::{Connection, params};
use sha2::{Digest, Sha256};

use self::run::{Run, write_run};
use super::error::damaged;
use crate::store::StoreError;

/// What a hash names; hashes of different kinds never meet.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    /// A natural key: leads to a conversion.
    Natural,
    /// An owned transaction id: leads to a delivery.
    Owned,
    /// A person: leads to conversions.
    Person,
    /// An organization's order id: leads to conversions.
    Order,
    /// A site and its own id of a lead: leads to the lead.
    Lead,
    /// A person: leads to leads.
    LeadPerson,
}

/// The hash of an organization's order id.
pub(super) fn order_hash(org: i64, order_id: &str) -> [u8; 16] {
    let mut hash = [0; 16];
    hash.copy_from_slice(&Sha256::new().chain_update(org.to_be_bytes()).chain_update(order_id).finalize()[..16]);
    hash
}

/// A hash's first 64 bits, the last of which tells whether it is looked up by every row or seldom.
pub(super) fn print(kind: Kind, hash: &[u8; 16]) -> u64 {
    let mut head = [0; 8];
    head.copy_from_slice(&hash[..8]);
    let head = u64::from_be_bytes(head);
    match kind {
        Kind::Natural => head & !1,
        Kind::Owned => (head ^ 0x5555_5555_5555_5555) & !1,
        Kind::Person => head | 1,
        Kind::Order => (head ^ 0x5555_5555_5555_5555) | 1,
        Kind::Lead => (head ^ 0x3333_3333_3333_3333) & !1,
        Kind::LeadPerson => (head ^ 0x3333_3333_3333_3333) | 1,
    }
}

/// Persons and order ids are looked up seldom: they are neither kept in memory nor in filters.
fn is_seldom(print: u64) -> bool {
    print & 1 == 1
}

/// A hash and a row that may have it.
type Key = (u64, i64);

const KEY_BYTES: usize = 16;

fn append(blob: &mut Vec<u8>, (print, row): Key) {
    blob.extend(print.to_be_bytes());
    blob.extend(row.to_be_bytes());
}

fn key(bytes: &[u8; KEY_BYTES]) -> Key {
    let [print, row] = [0, 8].map(|from| {
        let mut half = [0; 8];
        half.copy_from_slice(&bytes[from..from + 8]);
        u64::from_be_bytes(half)
    });
    (print, row.cast_signed())
}

fn keys(blob: &[u8]) -> impl Iterator<Item = Key> {
    blob.as_chunks::<KEY_BYTES>().0.iter().map(key)
}

/// How much is kept where.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// From this many keys on, the log becomes a run.
    pub(super) log: usize,
    /// So many runs of a tier become one of the next.
    pub(super) fan: usize,
    /// Runs of this tier are not merged any more: a merge must end within a moment.
    pub(super) last_tier: u8,
    /// The filters' memory; a run whose filter finds no room does without.
    pub(super) filter_bytes: usize,
}

impl Limits {
    pub(super) fn with_log(log: usize) -> Self {
        Self { log: log.max(1), fan: 4, last_tier: 3, filter_bytes: 32 << 20 }
    }
}

/// The index as the writer sees it.
pub(super) struct Keys {
    limits: Limits,
    /// The log's keys, those looked up seldom left out.
    recent: HashMap<u64, i64, BuildPrint>,
    /// Further rows of the same hash.
    further: HashMap<u64, Vec<i64>, BuildPrint>,
    /// Keys in the log, all of them.
    logged: usize,
    last_log: i64,
    runs: Vec<Run>,
    /// What the current command adds, as it goes into the log.
    new: Vec<u8>,
    /// Whether the copy is that of this transaction.
    fresh: bool,
}

impl Keys {
    pub(super) fn new(limits: Limits) -> Self {
        let (recent, further, runs, new) = (HashMap::default(), HashMap::default(), Vec::new(), Vec::new());
        Self { limits, recent, further, logged: 0, last_log: 0, runs, new, fresh: false }
    }

    /// A transaction begins: others may have written since the last one.
    pub(super) fn begin(&mut self) {
        self.fresh = false;
    }

    /// Something was rolled back: the file is asked again.
    pub(super) fn forget(&mut self) {
        *self = Self::new(self.limits);
    }

    /// Rows that may have the hash.
    pub(super) fn find(&mut self, conn: &Connection, print: u64) -> Result<Vec<i64>, StoreError> {
        self.refresh(conn)?;
        let mut found = Vec::new();
        if is_seldom(print) {
            found.extend(keys(&self.new).filter(|k| k.0 == print).map(|k| k.1));
            logged(conn, 0, |_, blob| found.extend(keys(blob).filter(|k| k.0 == print).map(|k| k.1)))?;
        } else if let Some(row) = self.recent.get(&print) {
            found.push(*row);
            found.extend(self.further.get(&print).into_iter().flatten());
        }
        let Self { runs, limits, .. } = self;
        for at in 0..runs.len() {
            if runs[at].wants_filter(print) && runs[at].filter_needs() <= room(runs, *limits) {
                runs[at].load_filter(conn)?;
            }
            runs[at].find(conn, print, &mut found)?;
        }
        found.sort_unstable();
        Ok(found)
    }

    /// Adds a row to what the current command adds.
    pub(super) fn add(&mut self, conn: &Connection, print: u64, row: i64) -> Result<(), StoreError> {
        self.refresh(conn)?;
        append(&mut self.new, (print, row));
        self.remember((print, row));
        Ok(())
    }

    fn remember(&mut self, (print, row): Key) {
        self.logged += 1;
        if !is_seldom(print) && *self.recent.entry(print).or_insert(row) != row {
            self.further.entry(print).or_default().push(row);
        }
    }

    /// The command has succeeded: what it added goes into the log.
    pub(super) fn flush(&mut self, conn: &Connection) -> Result<(), StoreError> {
        if self.new.is_empty() {
            return Ok(());
        }
        conn.prepare_cached("INSERT INTO key_log (keys) VALUES (?1)")?.execute([&self.new])?;
        self.last_log = conn.last_insert_rowid();
        self.new.clear();
        Ok(())
    }

    /// The command has failed.
    pub(super) fn undo(&mut self) {
        if !self.new.is_empty() {
            self.forget();
        }
    }

    /// Brings the copy up to date.
    fn refresh(&mut self, conn: &Connection) -> Result<(), StoreError> {
        if self.fresh {
            return Ok(());
        }
        let newest: i64 = conn.prepare_cached("SELECT COALESCE(max(id), 0) FROM key_runs")?.query_row([], |r| r.get(0))?;
        if newest != self.runs.last().map_or(0, |run| run.id) {
            let known = std::mem::take(&mut self.runs);
            self.forget();
            self.runs = run::all(conn, known)?;
        }
        let (mut blobs, mut last) = (Vec::new(), self.last_log);
        logged(conn, self.last_log, |id, blob| {
            blobs.extend_from_slice(blob);
            last = id;
        })?;
        keys(&blobs).for_each(|key| self.remember(key));
        (self.last_log, self.fresh) = (last, true);
        Ok(())
    }

    /// Whether there is something to put in order between two transactions.
    pub(super) fn is_long(&self) -> bool {
        self.logged >= self.limits.log
    }

    /// Makes the log a run and merges one tier, in the caller's transaction.
    pub(super) fn compact(&mut self, conn: &Connection) -> Result<(), StoreError> {
        self.refresh(conn)?;
        if self.is_long() {
            self.sort_log(conn)?;
        }
        for tier in 1..self.limits.last_tier {
            let (of_tier, others): (Vec<Run>, _) = std::mem::take(&mut self.runs).into_iter().partition(|run| run.tier == tier);
            if of_tier.len() < self.limits.fan {
                self.runs = others.into_iter().chain(of_tier).collect();
                self.runs.sort_unstable_by_key(|run| run.id);
                continue;
            }
            let id = of_tier.iter().chain(&others).map(|run| run.id).max().unwrap_or(0) + 1;
            self.runs = others;
            let room = room(&self.runs, self.limits);
            self.runs.push(run::merge(conn, id, tier + 1, &of_tier, room)?);
            break;
        }
        Ok(())
    }

    fn sort_log(&mut self, conn: &Connection) -> Result<(), StoreError> {
        let mut all: Vec<Key> = Vec::with_capacity(self.logged);
        logged(conn, 0, |_, blob| all.extend(keys(blob)))?;
        all.sort_unstable();
        let id = self.runs.last().map_or(0, |run| run.id) + 1;
        let run = write_run(conn, id, &all, room(&self.runs, self.limits))?;
        conn.prepare_cached("DELETE FROM key_log")?.execute([])?;
        let mut runs = std::mem::take(&mut self.runs);
        runs.push(run);
        self.forget();
        (self.runs, self.fresh) = (runs, true);
        Ok(())
    }
}

/// What is left for filters.
fn room(runs: &[Run], limits: Limits) -> usize {
    limits.filter_bytes.saturating_sub(runs.iter().map(Run::filter_bytes).sum())
}

/// Rows that may have the hash, as a reader finds them: for what is looked up seldom.
pub(super) fn look_up(conn: &Connection, print: u64) -> Result<Vec<i64>, StoreError> {
    let mut found = Vec::new();
    logged(conn, 0, |_, blob| found.extend(keys(blob).filter(|k| k.0 == print).map(|k| k.1)))?;
    run::all(conn, Vec::new())?.iter().try_for_each(|run| run.find(conn, print, &mut found))?;
    found.sort_unstable();
    Ok(found)
}

/// The log after an entry, oldest first.
fn logged(conn: &Connection, after: i64, mut each: impl FnMut(i64, &[u8])) -> Result<(), StoreError> {
    let mut read = conn.prepare_cached("SELECT id, keys FROM key_log WHERE id > ?1 ORDER BY id")?;
    let mut rows = read.query(params![after])?;
    while let Some(row) = rows.next()? {
        each(row.get(0)?, row.get_ref(1)?.as_blob().map_err(|_| damaged("a log of keys"))?);
    }
    Ok(())
}

/// Hashes are hashes already.
#[derive(Default, Clone, Copy)]
struct BuildPrint;

/// Takes a hash as it is; the table looks at its first and last bits, so they are turned out of the kinds' way.
#[derive(Default)]
struct PrintHasher(u64);

impl std::hash::BuildHasher for BuildPrint {
    type Hasher = PrintHasher;

    fn build_hasher(&self) -> PrintHasher {
        PrintHasher(0)
    }
}

impl std::hash::Hasher for PrintHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, print: u64) {
        self.0 = print.rotate_right(1);
    }
}

#[cfg(test)]
mod tests;
