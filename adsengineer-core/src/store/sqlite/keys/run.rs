//! Sorted runs of keys: immutable, in pages told by the leading bits of the hash.

use rusqlite::{Connection, params};

use super::{
    KEY_BYTES, Key, append,
    filter::{Filter, bytes_for},
    is_seldom, key, keys,
};
use crate::store::{StoreError, sqlite::error::damaged};

/// Keys meant for a page: it then has 4 KiB with room for what chance adds.
const KEYS_PER_PAGE: usize = 208;
/// Room for the page's number in a page's id.
const PAGE_BITS: u32 = 24;

/// A run.
pub(super) struct Run {
    pub(super) id: i64,
    pub(super) tier: u8,
    /// How many leading bits of the hash tell the page.
    bits: u32,
    keys: usize,
    /// Keys that the filter has.
    filtered: usize,
    filter: Option<Filter>,
    /// Pages read because there was no filter.
    vain: usize,
}

/// The page of a hash in a run.
fn page(print: u64, bits: u32) -> i64 {
    print.checked_shr(u64::BITS - bits).unwrap_or(0).cast_signed()
}

fn bits_for(keys: usize) -> u32 {
    keys.div_ceil(KEYS_PER_PAGE).next_power_of_two().ilog2().min(PAGE_BITS)
}

impl Run {
    pub(super) fn filter_bytes(&self) -> usize {
        self.filter.as_ref().map_or(0, Filter::bytes)
    }

    /// The memory that a filter would take.
    pub(super) fn filter_needs(&self) -> usize {
        bytes_for(self.filtered)
    }

    /// Whether about as many pages were read for want of a filter as making one takes: who asks little never waits for it.
    pub(super) fn wants_filter(&mut self, print: u64) -> bool {
        if self.filter.is_some() || is_seldom(print) {
            return false;
        }
        self.vain += 1;
        self.vain > (1 << self.bits) / 4
    }

    /// Adds rows that may have the hash to `found`.
    pub(super) fn find(&self, conn: &Connection, print: u64, found: &mut Vec<i64>) -> Result<(), StoreError> {
        if !is_seldom(print) && self.filter.as_ref().is_some_and(|filter| !filter.may_have(print)) {
            return Ok(());
        }
        let mut read = conn.prepare_cached("SELECT keys FROM key_pages WHERE id = ?1")?;
        let mut rows = read.query([self.id << PAGE_BITS | page(print, self.bits)])?;
        if let Some(row) = rows.next()? {
            let blob = row.get_ref(0)?.as_blob().map_err(|_| damaged("a page of keys"))?;
            let keys = blob.as_chunks::<KEY_BYTES>().0;
            let from = keys.partition_point(|k| key(k).0 < print);
            found.extend(keys[from..].iter().map(key).take_while(|k| k.0 == print).map(|k| k.1));
        }
        Ok(())
    }

    /// Makes the filter from the run's pages.
    pub(super) fn load_filter(&mut self, conn: &Connection) -> Result<(), StoreError> {
        let mut filter = Filter::with_room_for(self.filtered);
        let mut read = conn.prepare_cached("SELECT keys FROM key_pages WHERE id >= ?1 AND id < ?2")?;
        let mut rows = read.query([self.id << PAGE_BITS, (self.id + 1) << PAGE_BITS])?;
        while let Some(row) = rows.next()? {
            let blob = row.get_ref(0)?.as_blob().map_err(|_| damaged("a page of keys"))?;
            keys(blob).filter(|k| !is_seldom(k.0)).for_each(|k| filter.add(k.0));
        }
        self.filter = Some(filter);
        Ok(())
    }
}

/// All runs, oldest first; those known already keep their filters.
pub(super) fn all(conn: &Connection, mut known: Vec<Run>) -> Result<Vec<Run>, StoreError> {
    let mut read = conn.prepare_cached("SELECT id, tier, bits, keys, filtered FROM key_runs ORDER BY id")?;
    let mut rows = read.query([])?;
    let mut runs = Vec::new();
    while let Some(row) = rows.next()? {
        let id: i64 = row.get(0)?;
        if let Some(at) = known.iter().position(|run| run.id == id) {
            runs.push(known.swap_remove(at));
        } else {
            let (tier, bits, keys, filtered) = (row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?);
            runs.push(Run { id, tier, bits, keys, filtered, filter: None, vain: 0 });
        }
    }
    Ok(runs)
}

/// A run being written, page by page.
struct Writing<'c> {
    conn: &'c Connection,
    run: Run,
    blob: Vec<u8>,
}

impl<'c> Writing<'c> {
    /// No filter is made where it finds no room.
    fn new(conn: &'c Connection, id: i64, tier: u8, keys: usize, filtered: usize, room: usize) -> Self {
        let filter = (bytes_for(filtered) <= room).then(|| Filter::with_room_for(filtered));
        Self { conn, run: Run { id, tier, bits: bits_for(keys), keys, filtered, filter, vain: 0 }, blob: Vec::new() }
    }

    /// Writes all of `sorted`, which begin and end with a page.
    fn write(&mut self, sorted: &[Key]) -> Result<(), StoreError> {
        let mut insert = self.conn.prepare_cached("INSERT INTO key_pages (id, keys) VALUES (?1, ?2)")?;
        for keys in sorted.chunk_by(|a, b| page(a.0, self.run.bits) == page(b.0, self.run.bits)) {
            self.blob.clear();
            for key in keys {
                append(&mut self.blob, *key);
                if let Some(filter) = self.run.filter.as_mut().filter(|_| !is_seldom(key.0)) {
                    filter.add(key.0);
                }
            }
            insert.execute(params![self.run.id << PAGE_BITS | page(keys[0].0, self.run.bits), self.blob])?;
        }
        Ok(())
    }

    fn end(self) -> Result<Run, StoreError> {
        let Run { id, tier, bits, keys, filtered, .. } = self.run;
        let mut insert = self.conn.prepare_cached("INSERT INTO key_runs (id, tier, bits, keys, filtered) VALUES (?1, ?2, ?3, ?4, ?5)")?;
        insert.execute(params![id, tier, bits, keys, filtered])?;
        Ok(self.run)
    }
}

/// Writes a run of the first tier.
pub(super) fn write_run(conn: &Connection, id: i64, sorted: &[Key], room: usize) -> Result<Run, StoreError> {
    let filtered = sorted.iter().filter(|k| !is_seldom(k.0)).count();
    let mut writing = Writing::new(conn, id, 1, sorted.len(), filtered, room);
    writing.write(sorted)?;
    writing.end()
}

/// Makes several runs one.
pub(super) fn merge(conn: &Connection, id: i64, tier: u8, runs: &[Run], room: usize) -> Result<Run, StoreError> {
    let total = runs.iter().map(|run| run.keys).sum();
    // As many pages at a time as the run with the fewest, so that every step takes whole pages of all of them.
    let bits = runs.iter().map(|run| run.bits).min().unwrap_or(0).min(bits_for(total));
    let filtered = runs.iter().map(|run| run.filtered).sum();
    let mut writing = Writing::new(conn, id, tier, total, filtered, room);
    let mut read = conn.prepare_cached("SELECT keys FROM key_pages WHERE id >= ?1 AND id < ?2")?;
    let mut together: Vec<Key> = Vec::new();
    for step in 0..1_i64 << bits {
        together.clear();
        for run in runs {
            let (first, pages) = (run.id << PAGE_BITS, 1_i64 << (run.bits - bits));
            let mut rows = read.query([first + step * pages, first + (step + 1) * pages])?;
            while let Some(row) = rows.next()? {
                together.extend(keys(row.get_ref(0)?.as_blob().map_err(|_| damaged("a page of keys"))?));
            }
        }
        together.sort_unstable();
        writing.write(&together)?;
    }
    for run in runs {
        let mut pages = conn.prepare_cached("DELETE FROM key_pages WHERE id >= ?1 AND id < ?2")?;
        pages.execute([run.id << PAGE_BITS, (run.id + 1) << PAGE_BITS])?;
        conn.prepare_cached("DELETE FROM key_runs WHERE id = ?1")?.execute([run.id])?;
    }
    writing.end()
}
