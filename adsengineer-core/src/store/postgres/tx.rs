//! What every command of a transaction shares: ids, rows not written yet, counts, and audit entries.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{
    args::args,
    columns::{get, signed},
    connect::Conn,
    fault::{Fault, all_of, damaged},
    pending::Pending,
    rows::Delivery,
    seen::Seen,
    tally,
    waiting::Waiting,
};
use crate::{
    audit::Entry,
    delivery::State,
    id,
    id::DestinationId,
    org::OrgId,
    store::{LeadCounts, StoreError, tally::Tally},
};

/// Bits of an id that count within a millisecond, beside the six that name the slot.
const COUNTER_BITS: u32 = 16;
const SLOT_MASK: i64 = 63 << COUNTER_BITS;
const COUNTER_MASK: i64 = (1 << COUNTER_BITS) - 1;

/// Locks of organizations: `AdsO`.
const ORG_LOCKS: i32 = 0x4164_734f;

/// Commits that are remembered.
const REMEMBERED: i64 = 16_384;

/// What never changes once it is committed, remembered from one transaction to the next.
#[derive(Clone, Default)]
pub(super) struct Fixed {
    orgs: HashMap<OrgId, i64>,
    /// Whose a destination is.
    destinations: HashMap<DestinationId, i64>,
}

/// An open transaction of the writer.
pub(super) struct Tx<'t> {
    pub(super) conn: &'t Conn,
    pub(super) tally: Tally,
    /// Rows not written yet: the statements that look for them must come after [`Tx::flush`].
    pub(super) pending: Pending<'t>,
    pub(super) waiting: Waiting,
    /// What was looked up so far.
    pub(super) seen: Seen,
    pub(super) fixed: Fixed,
    pub(super) place: Place,
    last_id: i64,
    entries: Vec<Entry>,
    leads: BTreeMap<i64, LeadCounts>,
    /// Organizations whose lock is held.
    shared: HashSet<i64>,
    at_ms: i64,
}

/// The slot that a transaction holds, and its number: larger than that of any commit that was there when it began.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Place {
    pub(super) slot: i16,
    pub(super) commit: i64,
}

/// Tells everybody that this transaction's ids and its number are larger than the largest ones now committed: keys of locks say it
/// while the transaction is open, that of the id as it is, that of the number below zero. Only a transaction that has read from
/// `slots` means that by such a lock.
const TELL: &str = "SELECT pg_advisory_xact_lock_shared(max(last_id)), pg_advisory_xact_lock_shared(-1 - max(commits)) FROM slots";
/// Takes a slot, and what was committed before; read after that was told.
const TAKE: &str = "SELECT slot, last_id, (SELECT max(last_id) FROM slots), (SELECT max(commits) FROM slots) FROM slots
    ORDER BY slot <> $1, slot FOR UPDATE SKIP LOCKED LIMIT 1";
/// Up to which id, and up to which number of a commit, everything is committed that ever will be: the largest one committed, but none
/// above what an open transaction told. One that tells it later gets larger ones; one that has ended since is seen by whatever
/// statement comes next.
const HORIZON: &str = "SELECT LEAST(max(s.last_id), min(o.id)), LEAST(max(s.commits), min(o.number)) FROM slots s LEFT JOIN (
        SELECT min(key) FILTER (WHERE key >= 0) AS id, -1 - max(key) FILTER (WHERE key < 0) AS number FROM (
            SELECT pid, relation, CASE WHEN locktype = 'advisory' AND objsubid = 1 THEN (classid::bigint << 32) | objid::bigint END AS key
            FROM pg_locks WHERE database = (SELECT oid FROM pg_database WHERE datname = current_database())) AS l
        GROUP BY pid HAVING bool_or(relation = 'slots'::regclass)) AS o ON TRUE";

/// The id after `last` that a slot gives: the lower 22 bits are the slot's number and a count within the millisecond, so that
/// no two slots ever give the same one. A full millisecond borrows from the next.
fn next_id(slot: i16, last: i64, now_ms: i64) -> i64 {
    let from_clock = id::next(0, now_ms) | (i64::from(slot) << COUNTER_BITS);
    let following =
        if last & COUNTER_MASK == COUNTER_MASK { ((last | SLOT_MASK) + 1) | (i64::from(slot) << COUNTER_BITS) } else { last + 1 };
    from_clock.max(following)
}

/// What a slot's next id must be larger than, so that it is larger than `floor`, which may be another slot's.
fn from_floor(slot: i16, floor: i64) -> i64 {
    let number = i64::from(slot) << COUNTER_BITS;
    if floor & SLOT_MASK == number {
        return floor;
    }
    let same_ms = (floor & !(SLOT_MASK | COUNTER_MASK)) | number;
    if same_ms > floor { same_ms } else { same_ms | COUNTER_MASK }
}

/// Up to where everything is committed that ever will be. What relies on it must be read by a later statement that sees the latest.
pub(super) struct Horizon {
    /// Up to this id.
    pub(super) id: i64,
    /// Up to this commit, numbered as [`Place::sequence`] does.
    pub(super) sequence: i64,
}

pub(super) async fn horizon(conn: &Conn) -> Result<Horizon, Fault> {
    let row = conn.first(HORIZON, args![]).await?.ok_or_else(|| damaged("the table of slots"))?;
    Ok(Horizon { id: get(&row, 0)?, sequence: Place { slot: 63, commit: get(&row, 1)? }.sequence() })
}

impl Place {
    /// Numbers all commits of all slots: larger than those of the commits that the transaction has seen.
    pub(super) fn sequence(self) -> i64 {
        self.commit << 6 | i64::from(self.slot)
    }
}

impl<'t> Tx<'t> {
    /// Begins, in the slot used last if it is free.
    pub(super) async fn begin(conn: &'t Conn, preferred: i16, fixed: Fixed) -> Result<Self, Fault> {
        let first = args![preferred];
        // All are sent at once, in this order.
        let (begun, told, found) = futures_util::future::join3(conn.begin(), conn.first(TELL, args![]), conn.first(TAKE, first)).await;
        begun?;
        told?;
        let row = found?.ok_or_else(|| Fault::Again(StoreError::Unavailable("more than 64 writers are at work".to_owned())))?;
        let slot = get(&row, 0)?;
        let last_id = get::<i64>(&row, 1)?.max(from_floor(slot, get(&row, 2)?));
        Ok(Self {
            conn,
            tally: Tally::default(),
            pending: Pending::default(),
            waiting: Waiting::default(),
            seen: Seen::default(),
            fixed,
            place: Place { slot, commit: get::<i64>(&row, 3)? + 1 },
            last_id,
            entries: Vec::new(),
            leads: BTreeMap::new(),
            shared: HashSet::new(),
            at_ms: 0,
        })
    }

    pub(super) fn next_id(&mut self, now_ms: i64) -> i64 {
        self.last_id = next_id(self.place.slot, self.last_id, now_ms);
        self.last_id
    }

    /// Writes what waits, and forgets what was looked up: now statements see everything and may change anything.
    pub(super) async fn flush(&mut self) -> Result<(), Fault> {
        self.seen = Seen::default();
        let (rows, waiting) = tokio::join!(self.pending.write(self.conn), self.waiting.write(self.conn));
        all_of([rows, waiting])
    }

    /// A row that is locked went into a state, in which it is due at a time.
    pub(super) fn moved(&mut self, row: &Delivery, to: State, due_ms: Option<i64>) {
        self.tally.moved(row.destination, row.state, to, row.value.as_ref());
        self.waiting.moved(row, to, due_ms);
    }

    /// Writes everything but the audit log and the commit itself: the statements are sent at once.
    pub(super) async fn finish(&mut self, batch: i64) -> Result<(), Fault> {
        let counts = std::mem::take(&mut self.leads);
        let (rows, waiting, tally, leads, record) = tokio::join!(
            self.pending.write(self.conn),
            self.waiting.write(self.conn),
            tally::write(&mut self.tally, self.conn, self.place.slot),
            write_lead_counts(self.conn, self.place.slot, &counts),
            record(self.conn, self.place, self.last_id, batch),
        );
        all_of([rows, waiting, tally, leads, record])
    }

    /// What is to be audited, and when.
    pub(super) fn entries(&mut self) -> (Vec<Entry>, i64) {
        (std::mem::take(&mut self.entries), self.at_ms)
    }

    pub(super) fn count_leads(&mut self, org: i64, counts: LeadCounts) {
        let sum = self.leads.entry(org).or_default();
        sum.stored += counts.stored;
        sum.updated += counts.updated;
        sum.denied += counts.denied;
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
    pub(super) async fn org_number(&mut self, org: &OrgId) -> Result<i64, Fault> {
        if let Some(number) = self.known_org(org).await? {
            return Ok(number);
        }
        // One that another process adds right now is waited for.
        let add = "INSERT INTO organizations (name) VALUES ($1) ON CONFLICT (name) DO NOTHING";
        self.conn.execute(add, args![org.as_str()]).await?;
        Ok(self.known_org(org).await?.ok_or_else(|| damaged("an organization's name"))?)
    }

    pub(super) async fn known_org(&mut self, org: &OrgId) -> Result<Option<i64>, Fault> {
        if let Some(number) = self.fixed.orgs.get(org) {
            return Ok(Some(*number));
        }
        let found = known_org(self.conn, org).await?;
        if let Some(number) = found {
            self.fixed.orgs.insert(org.clone(), number);
        }
        Ok(found)
    }

    /// Whose the destination is, removed or not.
    pub(super) async fn org_of(&mut self, id: DestinationId) -> Result<Option<i64>, Fault> {
        if let Some(org) = self.fixed.destinations.get(&id) {
            return Ok(Some(*org));
        }
        let Some(row) = self.conn.first("SELECT org FROM destinations WHERE id = $1", args![id.0]).await? else { return Ok(None) };
        let org = get(&row, 0)?;
        self.fixed.destinations.insert(id, org);
        Ok(Some(org))
    }

    /// Makes sure that nobody changes the organization's destinations or stops its people before this transaction ends.
    pub(super) async fn share(&mut self, org: i64) -> Result<(), Fault> {
        if self.shared.insert(org) {
            self.conn.query("SELECT pg_advisory_xact_lock_shared($1, $2)", args![ORG_LOCKS, lock_of(org)]).await?;
        }
        Ok(())
    }

    /// Waits until nobody relies on the organization's destinations and people any more, and lets nobody else in until the end.
    pub(super) async fn seize(&mut self, org: i64) -> Result<(), Fault> {
        self.conn.query("SELECT pg_advisory_xact_lock($1, $2)", args![ORG_LOCKS, lock_of(org)]).await?;
        Ok(())
    }
}

/// Remembers the commit in its slot.
async fn record(conn: &Conn, place: Place, last_id: i64, batch: i64) -> Result<(), Fault> {
    let sql = "WITH old AS (DELETE FROM commits WHERE slot = $1 AND number <= $2 - $5),
            new AS (INSERT INTO commits (slot, number, batch) VALUES ($1, $2, $3))
        UPDATE slots SET commits = $2, last_id = $4 WHERE slot = $1";
    conn.execute(sql, args![place.slot, place.commit, batch, last_id, REMEMBERED]).await?;
    Ok(())
}

async fn write_lead_counts(conn: &Conn, slot: i16, counts: &BTreeMap<i64, LeadCounts>) -> Result<(), Fault> {
    if counts.is_empty() {
        return Ok(());
    }
    let column = |of: fn(&LeadCounts) -> u64| counts.values().map(|c| signed(of(c))).collect::<Vec<_>>();
    let orgs: Vec<i64> = counts.keys().copied().collect();
    let add =
        "INSERT INTO lead_counts (org, slot, stored, updated, denied) SELECT o, $5, s, u, d FROM UNNEST($1, $2, $3, $4) AS t (o, s, u, d)
        ON CONFLICT (org, slot) DO UPDATE SET stored = lead_counts.stored + excluded.stored,
            updated = lead_counts.updated + excluded.updated, denied = lead_counts.denied + excluded.denied";
    conn.execute(add, args![orgs, column(|c| c.stored), column(|c| c.updated), column(|c| c.denied), slot]).await?;
    Ok(())
}

fn lock_of(org: i64) -> i32 {
    i32::try_from(org & i64::from(i32::MAX)).unwrap_or(0)
}

pub(super) async fn known_org(conn: &Conn, org: &OrgId) -> Result<Option<i64>, Fault> {
    let row = conn.first("SELECT num FROM organizations WHERE name = $1", args![org.as_str()]).await?;
    row.map(|row| get(&row, 0)).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::ConversionId;

    const NOW: i64 = 1_795_000_000_000;

    #[test]
    fn slots_give_growing_ids_of_their_own_that_tell_their_time() {
        let mut seen = HashSet::new();
        for slot in [0, 1, 63] {
            let mut last = i64::from(slot) << COUNTER_BITS;
            for n in 0..200_000 {
                let id = next_id(slot, last, NOW + n / 150_000);
                assert!(id > last && seen.insert(id), "slot {slot}: {id} after {last}");
                assert_eq!(id & SLOT_MASK, i64::from(slot) << COUNTER_BITS);
                last = id;
            }
            let late = ConversionId(last).created_at().as_millisecond() - NOW;
            assert!((1..=4).contains(&late), "200 000 ids borrowed {late} ms");
        }
    }

    #[test]
    fn a_slots_ids_are_larger_than_those_of_any_other_that_are_committed() {
        for floor in [0, 5, next_id(7, 0, NOW), next_id(7, 0, NOW) | COUNTER_MASK] {
            for slot in [0, 7, 8, 63] {
                let id = next_id(slot, from_floor(slot, floor), NOW - 5000);
                assert!(id > floor && id & SLOT_MASK == i64::from(slot) << COUNTER_BITS, "slot {slot}: {id} after {floor}");
            }
        }
    }

    #[test]
    fn ids_grow_even_when_the_clock_goes_back() {
        let first = next_id(3, 3 << COUNTER_BITS, NOW);
        assert_eq!(next_id(3, first, NOW - 5000), first + 1);
        assert_eq!(ConversionId(first).created_at().as_millisecond(), NOW);
    }
}
