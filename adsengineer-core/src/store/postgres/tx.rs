//! What every command of a transaction shares: ids, rows not written yet, counts, and audit entries.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{
    args::args,
    columns::{get, signed},
    connect::Conn,
    fault::{Fault, all_of, damaged},
    pending::Pending,
    seen::Seen,
    tally,
};
use crate::{
    audit::Entry,
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

/// Commits of a slot that are remembered.
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

/// The slot that a transaction holds, and its number among the slot's commits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Place {
    pub(super) slot: i16,
    pub(super) commit: i64,
}

/// The id after `last` that a slot gives: the lower 22 bits are the slot's number and a count within the millisecond, so that
/// no two slots ever give the same one. A full millisecond borrows from the next.
fn next_id(slot: i16, last: i64, now_ms: i64) -> i64 {
    let from_clock = id::next(0, now_ms) | (i64::from(slot) << COUNTER_BITS);
    let following =
        if last & COUNTER_MASK == COUNTER_MASK { ((last | SLOT_MASK) + 1) | (i64::from(slot) << COUNTER_BITS) } else { last + 1 };
    from_clock.max(following)
}

impl<'t> Tx<'t> {
    /// Begins, in the slot used last if it is free.
    pub(super) async fn begin(conn: &'t Conn, preferred: i16, fixed: Fixed) -> Result<Self, Fault> {
        let sql = "SELECT slot, last_id, commits FROM slots ORDER BY slot <> $1, slot FOR UPDATE SKIP LOCKED LIMIT 1";
        let first = args![preferred];
        // Both are sent at once, in this order.
        let (begun, found) = futures_util::future::join(conn.begin(), conn.first(sql, first)).await;
        begun?;
        let row = found?.ok_or_else(|| Fault::Again(StoreError::Unavailable("more than 64 writers are at work".to_owned())))?;
        let slot = get(&row, 0)?;
        let last_id = get::<i64>(&row, 1)?.max(i64::from(slot) << COUNTER_BITS);
        Ok(Self {
            conn,
            tally: Tally::default(),
            pending: Pending::default(),
            seen: Seen::default(),
            fixed,
            place: Place { slot, commit: get::<i64>(&row, 2)? + 1 },
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
        self.pending.write(self.conn).await
    }

    /// Writes everything but the audit log and the commit itself: the statements are sent at once.
    pub(super) async fn finish(&mut self, batch: i64) -> Result<(), Fault> {
        let counts = std::mem::take(&mut self.leads);
        let (rows, tally, leads, record) = tokio::join!(
            self.pending.write(self.conn),
            tally::write(&mut self.tally, self.conn, self.place.slot),
            write_lead_counts(self.conn, self.place.slot, &counts),
            record(self.conn, self.place, self.last_id, batch),
        );
        all_of([rows, tally, leads, record])
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
    let sql = "WITH old AS (DELETE FROM commits WHERE slot = $1 AND number = $2 - $5),
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
    fn ids_grow_even_when_the_clock_goes_back() {
        let first = next_id(3, 3 << COUNTER_BITS, NOW);
        assert_eq!(next_id(3, first, NOW - 5000), first + 1);
        assert_eq!(ConversionId(first).created_at().as_millisecond(), NOW);
    }
}
