use super::*;
use crate::{identity::sha256, store::sqlite::schema};

const TINY: Limits = Limits { log: 4, fan: 2, last_tier: 4, filter_bytes: 1 << 20 };

struct File {
    _folder: tempfile::TempDir,
    path: std::path::PathBuf,
}

impl File {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        schema::prepare(&mut Connection::open(&path).unwrap(), &path, crate::store::Migrate::Auto).unwrap();
        Self { _folder: folder, path }
    }

    fn index(&self, limits: Limits) -> Index {
        let conn = Connection::open(&self.path).unwrap();
        conn.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF").unwrap();
        Index { conn, keys: Keys::new(limits) }
    }
}

/// One process's copy, and its connection.
struct Index {
    conn: Connection,
    keys: Keys,
}

impl Index {
    fn add(&mut self, keys: impl IntoIterator<Item = Key>) {
        self.begin();
        for (print, row) in keys {
            self.keys.add(&self.conn, print, row).unwrap();
        }
        self.keys.flush(&self.conn).unwrap();
        self.conn.execute_batch("COMMIT").unwrap();
        self.compact();
    }

    fn begin(&mut self) {
        self.conn.execute_batch("BEGIN IMMEDIATE").unwrap();
        self.keys.begin();
    }

    fn compact(&mut self) {
        self.begin();
        self.keys.compact(&self.conn).unwrap();
        self.conn.execute_batch("COMMIT").unwrap();
    }

    fn find(&mut self, print: u64) -> Vec<i64> {
        self.keys.begin();
        self.keys.find(&self.conn, print).unwrap()
    }

    fn count(&self, sql: &str) -> i64 {
        self.conn.query_row(sql, [], |r| r.get(0)).unwrap()
    }
}

fn hash(n: i64) -> [u8; 16] {
    sha256(&n.to_string())[..16].try_into().unwrap()
}

fn natural(n: i64) -> u64 {
    print(Kind::Natural, &hash(n))
}

#[test]
fn every_key_is_found_with_its_row_after_any_number_of_runs_and_merges() {
    for limits in [TINY, Limits { log: 300, fan: 3, ..TINY }, Limits { log: 1, ..TINY }, Limits { filter_bytes: 0, ..TINY }] {
        let file = File::new();
        let mut index = file.index(limits);
        for n in 0..400 {
            index.add([(natural(n), n), (print(Kind::Person, &hash(n)), n)]);
        }
        assert!((0..400).all(|n| index.find(natural(n)) == [n]), "{limits:?}");
        assert!((0..400).all(|n| index.find(print(Kind::Person, &hash(n))) == [n]), "{limits:?}");
        assert!((400..800).all(|n| index.find(natural(n)).is_empty()), "{limits:?}");
        let mut opened_later = file.index(limits);
        assert!((0..400).rev().all(|n| opened_later.find(natural(n)) == [n]), "{limits:?}");
    }
}

#[test]
fn runs_of_one_tier_become_one_and_leave_nothing_behind() {
    let file = File::new();
    let mut index = file.index(Limits { log: 1000, fan: 4, ..TINY });
    for batch in 0..16 {
        index.add((batch * 1000..(batch + 1) * 1000).map(|n| (natural(n), n)));
    }
    for _ in 0..4 {
        index.compact();
    }
    assert_eq!(index.count("SELECT count(*) FROM key_runs"), 1);
    assert_eq!(index.count("SELECT tier FROM key_runs"), 3);
    assert_eq!(index.count("SELECT sum(length(keys)) FROM key_pages"), 16 * 16_000);
    assert_eq!(index.count("SELECT count(*) FROM key_log"), 0);
    assert!((0..16_000).all(|n| index.find(natural(n)) == [n]));
}

#[test]
fn rows_of_the_same_hash_are_all_found_wherever_they_are_kept() {
    let file = File::new();
    let mut index = file.index(TINY);
    for row in (0..30).rev() {
        index.add([(natural(1), row), (natural(row + 5), row)]);
    }
    assert_eq!(index.find(natural(1)), (0..30).collect::<Vec<_>>());
}

#[test]
fn hashes_at_both_ends_and_many_alike_are_found() {
    let file = File::new();
    let mut index = file.index(Limits { log: 1000, ..TINY });
    for batch in 0..4 {
        index.add((0..1000).map(|n| ([0, u64::MAX - 1, 2 << 40][n % 3], i64::try_from(n).unwrap() + batch * 1000)));
    }
    assert_eq!(index.find(0).len(), 334 * 4);
    assert_eq!(index.find(u64::MAX - 1).len(), 333 * 4);
    assert_eq!(index.find(2 << 40).len(), 333 * 4);
    assert!(index.find(2).is_empty());
}

#[test]
fn what_another_process_adds_sorts_and_merges_is_seen() {
    let file = File::new();
    let (mut one, mut two) = (file.index(TINY), file.index(Limits { log: 1000, ..TINY }));
    for n in 0..300 {
        let (writes, reads) = if n % 7 < 4 { (&mut one, &mut two) } else { (&mut two, &mut one) };
        writes.add([(natural(n), n)]);
        assert_eq!(reads.find(natural(n)), [n]);
        assert_eq!(reads.find(natural(n / 2)), [n / 2]);
        assert!(reads.find(natural(n + 1)).is_empty());
    }
}

#[test]
fn what_is_undone_or_rolled_back_is_gone_and_the_rest_stays() {
    let file = File::new();
    let mut index = file.index(TINY);
    (0..50).for_each(|n| index.add([(natural(n), n)]));
    index.begin();
    index.conn.execute_batch("SAVEPOINT command").unwrap();
    index.keys.add(&index.conn, natural(60), 60).unwrap();
    index.keys.undo();
    index.conn.execute_batch("ROLLBACK TO command; RELEASE command").unwrap();
    index.keys.add(&index.conn, natural(61), 61).unwrap();
    index.keys.flush(&index.conn).unwrap();
    assert_eq!(index.keys.find(&index.conn, natural(61)).unwrap(), [61]);
    assert!(index.keys.find(&index.conn, natural(60)).unwrap().is_empty());
    index.keys.compact(&index.conn).unwrap();
    index.conn.execute_batch("ROLLBACK").unwrap();
    index.keys.forget();
    assert!(index.find(natural(61)).is_empty());
    assert!((0..50).all(|n| index.find(natural(n)) == [n]));
}

#[test]
fn kinds_of_the_same_hash_never_meet() {
    let file = File::new();
    let mut index = file.index(TINY);
    index.add([(print(Kind::Natural, &hash(1)), 1), (print(Kind::Owned, &hash(1)), 2), (print(Kind::Person, &hash(1)), 3)]);
    assert_eq!(index.find(print(Kind::Natural, &hash(1))), [1]);
    assert_eq!(index.find(print(Kind::Owned, &hash(1))), [2]);
    assert_eq!(index.find(print(Kind::Person, &hash(1))), [3]);
}
