//! Budgets in the memory of one process, in a table that never grows.
//!
//! A key may stand in one of 16 places of its row. A new key takes the place whose theoretical arrival time is smallest:
//! one that has passed, which is worth nothing, before any other, else that of the budget nearest to full. So a flood of
//! strangers pushes out strangers, and a budget that is nearly spent stays known.

use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use super::{Charge, LimiterError, LimiterKey, LimiterStore, MAX_CHARGES, check_count, judge};
use crate::rate_limit::Verdict;

/// Budgets kept unless told otherwise: 6 MiB.
pub const DEFAULT_CAPACITY: usize = 262_144;

const SHARDS: usize = 64;
const PLACES: usize = 16;

/// Budgets in memory: 24 bytes each, all taken at the start.
pub struct MemoryLimiter {
    shards: Box<[Mutex<Shard>]>,
}

/// Rows of places, chosen by the key.
struct Shard {
    rows: Box<[Row]>,
}

#[derive(Clone, Copy)]
struct Row([Place; PLACES]);

/// A key as bytes, which need no padding, and its TAT in Unix microseconds; 0 where nothing is.
#[derive(Clone, Copy, Default)]
struct Place {
    key: [u8; 16],
    tat_us: i64,
}

impl Default for MemoryLimiter {
    fn default() -> Self {
        Self::new(DEFAULT_CAPACITY)
    }
}

impl MemoryLimiter {
    /// Room for `capacity` budgets, rounded up to a multiple of 1024. Few are forgotten early before it is half full.
    pub fn new(capacity: usize) -> Self {
        let rows = capacity.div_ceil(SHARDS * PLACES).max(1);
        let shard = |_| Mutex::new(Shard { rows: vec![Row([Place::default(); PLACES]); rows].into() });
        Self { shards: (0..SHARDS).map(shard).collect() }
    }

    /// [`LimiterStore::charge`] without waiting for anything but a short lock.
    pub fn charge_now(&self, charges: &[Charge], now_us: i64) -> Result<Vec<Verdict>, LimiterError> {
        check_count(charges)?;
        let mut locked = Locked::new(&self.shards, charges);
        let stored = std::array::from_fn(|index| charges.get(index).map_or(0, |charge| locked.tat_us(charge.key)));
        let judged = judge(charges, &stored, now_us);
        if judged.fits {
            locked.spend(charges, judged.tats_us);
        }
        Ok(judged.verdicts)
    }

    /// How many budgets are not full at `now_us`; for metrics.
    pub fn in_use(&self, now_us: i64) -> usize {
        let count = |row: &Row| row.0.iter().filter(|place| place.tat_us > now_us).count();
        self.shards.iter().map(|shard| lock(shard).rows.iter().map(count).sum::<usize>()).sum()
    }
}

#[async_trait]
impl LimiterStore for MemoryLimiter {
    async fn charge(&self, charges: &[Charge], now_us: i64) -> Result<Vec<Verdict>, LimiterError> {
        self.charge_now(charges, now_us)
    }
}

/// The shards of some charges, locked in ascending order, so that no two callers wait for each other.
struct Locked<'a> {
    /// One bit per locked shard; the guards stand in the order of the bits.
    shards: u64,
    guards: [Option<MutexGuard<'a, Shard>>; MAX_CHARGES],
}

impl<'a> Locked<'a> {
    fn new(all: &'a [Mutex<Shard>], charges: &[Charge]) -> Self {
        let shards = charges.iter().fold(0, |bits, charge| bits | 1 << shard_of(charge.key));
        let mut locking = (0..SHARDS).filter(|shard| shards >> shard & 1 == 1);
        Self { shards, guards: std::array::from_fn(|_| locking.next().map(|shard| lock(&all[shard]))) }
    }

    fn spend(&mut self, charges: &[Charge], tats: [i64; MAX_CHARGES]) {
        for (Charge { key, .. }, tat_us) in charges.iter().zip(tats).filter(|(charge, _)| charge.cost > 0) {
            self.put(*key, tat_us);
        }
    }

    /// The shard of a key that was among the charges.
    fn guard(&mut self, key: LimiterKey) -> Option<&mut Shard> {
        let before = self.shards & ((1 << shard_of(key)) - 1);
        self.guards.get_mut(before.count_ones() as usize)?.as_deref_mut()
    }

    fn tat_us(&mut self, key: LimiterKey) -> i64 {
        self.guard(key).map_or(i64::MAX, |shard| shard.row(key).tat_us(key))
    }

    fn put(&mut self, key: LimiterKey, tat_us: i64) {
        if let Some(shard) = self.guard(key) {
            shard.row(key).put(key, tat_us);
        }
    }
}

impl Shard {
    fn row(&mut self, key: LimiterKey) -> &mut Row {
        let row = (key.0 >> 64) as u64 % self.rows.len() as u64;
        &mut self.rows[usize::try_from(row).unwrap_or(0)]
    }
}

impl Row {
    /// The TAT of a key; 0, a full budget, for an unknown one.
    fn tat_us(&self, key: LimiterKey) -> i64 {
        let key = key.0.to_ne_bytes();
        self.0.iter().find(|place| place.key == key).map_or(0, |place| place.tat_us)
    }

    fn put(&mut self, key: LimiterKey, tat_us: i64) {
        let key = key.0.to_ne_bytes();
        let own = self.0.iter().position(|place| place.key == key);
        let cheapest = || self.0.iter().enumerate().min_by_key(|(_, place)| place.tat_us).map(|(at, _)| at);
        if let Some(at) = own.or_else(cheapest) {
            self.0[at] = Place { key, tat_us };
        }
    }
}

fn shard_of(key: LimiterKey) -> usize {
    (key.0 % SHARDS as u128) as usize
}

/// A panic elsewhere leaves numbers that are as good as any.
fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

    use super::*;
    use crate::{limiter::KeyKind, rate_limit::Quota};

    const NOW_US: i64 = 1_700_000_000_000_000;
    const HOUR_US: i64 = 3_600_000_000;

    fn charge(name: &str, limit: u32, cost: u32) -> Charge {
        let quota = Quota::try_new(limit, 3_600_000, limit).unwrap();
        Charge { key: LimiterKey::new(KeyKind::Ip, name.as_bytes()), quota, cost }
    }

    fn charge_one(limiter: &MemoryLimiter, charge: Charge, now_us: i64) -> Verdict {
        limiter.charge_now(&[charge], now_us).unwrap()[0]
    }

    /// Keys that need no hash, spread like hashes.
    fn stranger(number: u64) -> Charge {
        let key = u128::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835).rotate_left(64);
        Charge { key: LimiterKey(key), ..charge("", 100, 1) }
    }

    #[test]
    fn a_million_strangers_neither_grow_the_table_nor_hide_who_spent_much() {
        let limiter = MemoryLimiter::new(65_536);
        charge_one(&limiter, charge("heavy", 100, 90), NOW_US);
        for number in 0..1_000_000 {
            assert!(charge_one(&limiter, stranger(number), NOW_US).allowed);
        }
        assert_eq!(charge_one(&limiter, charge("heavy", 100, 0), NOW_US).remaining, 10);
        let in_use = limiter.in_use(NOW_US);
        assert!((60_000..=65_536).contains(&in_use), "{in_use}");
        assert_eq!(size_of::<Place>(), 24);
    }

    #[test]
    fn what_has_run_out_makes_room_before_anything_else() {
        let limiter = MemoryLimiter::new(1024);
        for number in 0..100_000 {
            charge_one(&limiter, stranger(number), NOW_US);
        }
        let later = NOW_US + HOUR_US;
        assert_eq!(limiter.in_use(later), 0);
        for number in 0..256 {
            charge_one(&limiter, stranger(1_000_000 + number), later);
        }
        assert_eq!(limiter.in_use(later), 256);
    }

    #[test]
    fn eight_threads_on_one_key_are_admitted_exactly_the_limit() {
        let (limiter, admitted) = (MemoryLimiter::new(1024), AtomicU32::new(0));
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let (limiter, admitted) = (&limiter, &admitted);
                scope.spawn(move || {
                    for round in 0..500 {
                        let mut charges = [charge("shared", 1000, 1), stranger(thread * 1000 + round)];
                        if thread % 2 == 0 {
                            charges.reverse();
                        }
                        let verdicts = limiter.charge_now(&charges, NOW_US).unwrap();
                        admitted.fetch_add(u32::from(verdicts.iter().all(|verdict| verdict.allowed)), Relaxed);
                    }
                });
            }
        });
        assert_eq!(admitted.into_inner(), 1000);
    }

    #[test]
    fn a_flood_of_strangers_takes_no_place_of_an_organization() {
        let limiter = MemoryLimiter::new(2048);
        let org = |cost| {
            let quota = Quota::try_new(10, 60_000, 10).unwrap();
            Charge { key: LimiterKey::new(KeyKind::Org, b"acme"), quota, cost }
        };
        assert_eq!(charge_one(&limiter, org(1), NOW_US).remaining, 9);
        for address in 0..100_000_u32 {
            let quota = Quota::try_new(5, 900_000, 5).unwrap();
            let key = LimiterKey::for_ip(KeyKind::BadTokens, std::net::Ipv4Addr::from_bits(address).into());
            charge_one(&limiter, Charge { key, quota, cost: 1 }, NOW_US);
        }
        assert_eq!(charge_one(&limiter, org(1), NOW_US).remaining, 8);
    }
}
