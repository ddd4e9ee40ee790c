//! Looking rows up by hash: 64 bits of it in one narrow table, the row itself for the rest.

use std::collections::HashMap;

use rusqlite::Connection;

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
}

/// The fingerprint of a hash.
pub(super) fn print(kind: Kind, hash: &[u8; 16]) -> i64 {
    let mut head = [0; 8];
    head.copy_from_slice(&hash[..8]);
    let kind: u64 = match kind {
        Kind::Natural => 0,
        Kind::Owned => 0x5555_5555_5555_5555,
        Kind::Person => 0xaaaa_aaaa_aaaa_aaaa,
    };
    (u64::from_be_bytes(head) ^ kind).cast_signed()
}

/// The fingerprints as a transaction sees them. New ones are written in order at the end of a command, page by page.
pub(super) struct Prints<'c> {
    conn: &'c Connection,
    new: Vec<(i64, i64)>,
    by_print: HashMap<i64, Vec<i64>, BuildPrint>,
}

impl<'c> Prints<'c> {
    pub(super) fn new(conn: &'c Connection) -> Self {
        Self { conn, new: Vec::new(), by_print: HashMap::default() }
    }

    /// Rows that may have the hash.
    pub(super) fn find(&self, print: i64) -> Result<Vec<i64>, StoreError> {
        let mut found = Vec::new();
        let mut find = self.conn.prepare_cached("SELECT row FROM fingerprints WHERE print = ?1 ORDER BY row")?;
        let mut rows = find.query([print])?;
        while let Some(row) = rows.next()? {
            found.push(row.get(0)?);
        }
        found.extend(self.by_print.get(&print).into_iter().flatten());
        Ok(found)
    }

    /// Adds a row; `looked_up` ones are found again within the command.
    pub(super) fn add(&mut self, print: i64, row: i64, looked_up: bool) {
        self.new.push((print, row));
        if looked_up {
            self.by_print.entry(print).or_default().push(row);
        }
    }

    pub(super) fn flush(&mut self) -> Result<(), StoreError> {
        self.new.sort_unstable();
        let mut insert = self.conn.prepare_cached("INSERT OR IGNORE INTO fingerprints (print, row) VALUES (?1, ?2)")?;
        for (print, row) in self.new.drain(..) {
            insert.execute([print, row])?;
        }
        self.by_print.clear();
        Ok(())
    }

    pub(super) fn forget(&mut self) {
        self.new.clear();
        self.by_print.clear();
    }
}

/// Fingerprints are hashes already.
#[derive(Default, Clone, Copy)]
pub(super) struct BuildPrint;

/// Takes a fingerprint as it is.
#[derive(Default)]
pub(super) struct PrintHasher(u64);

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

    fn write_i64(&mut self, print: i64) {
        self.0 = print.cast_unsigned();
    }
}
