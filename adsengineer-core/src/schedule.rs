//! Weighted fairness between destinations: whoever has been served least, for its weight, goes first.
//!
//! Start-time fair queueing over rows served: a destination's virtual time grows with what it is given, and one that
//! comes back from idleness starts at the present virtual time instead of collecting credit. Within a destination the
//! queue gives the earliest due row first. Source: Goyal, Vin, Cheng, "Start-time Fair Queueing", 1996.

use std::collections::BTreeMap;

/// Who has been served how much. `K` names a destination.
#[derive(Clone, Debug)]
pub struct Schedule<K> {
    served: BTreeMap<K, u64>,
    now: u64,
}

impl<K: Ord + Copy> Default for Schedule<K> {
    fn default() -> Self {
        Self { served: BTreeMap::new(), now: 0 }
    }
}

impl<K: Ord + Copy> Schedule<K> {
    /// Orders those that want to be served, the one furthest behind first. Those not listed are idle and lose their place.
    pub fn order(&mut self, wanting: &[K]) -> Vec<K> {
        self.served.retain(|key, _| wanting.contains(key));
        for key in wanting {
            self.served.entry(*key).and_modify(|at| *at = (*at).max(self.now)).or_insert(self.now);
        }
        let mut order = wanting.to_vec();
        order.sort_by_key(|key| (self.served[key], *key));
        order
    }

    /// Records that `key` was given `rows` rows at `weight`; a weight of 2 gets twice the share.
    pub fn charge(&mut self, key: K, rows: u64, weight: u32) {
        let start = self.served.get(&key).copied().unwrap_or(self.now);
        self.now = self.now.max(start);
        self.served.insert(key, start.saturating_add(rows.saturating_mul(1000) / u64::from(weight.max(1))));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows that each of `keys` gets when one at a time is served in batches of ten.
    fn shares(weights: &[(u32, u32)], rounds: usize) -> BTreeMap<u32, u64> {
        let keys: Vec<u32> = weights.iter().map(|(key, _)| *key).collect();
        let (mut schedule, mut got) = (Schedule::default(), BTreeMap::new());
        for _ in 0..rounds {
            let first = schedule.order(&keys)[0];
            let weight = weights.iter().find(|(key, _)| *key == first).map_or(1, |(_, w)| *w);
            schedule.charge(first, 10, weight);
            *got.entry(first).or_default() += 10;
        }
        got
    }

    #[test]
    fn equal_weights_share_equally_and_double_weight_gets_double() {
        assert_eq!(shares(&[(1, 1), (2, 1)], 10), BTreeMap::from([(1, 50), (2, 50)]));
        assert_eq!(shares(&[(1, 2), (2, 1)], 9), BTreeMap::from([(1, 60), (2, 30)]));
    }

    #[test]
    fn a_newcomer_is_served_next_but_gets_no_credit_for_its_idle_time() {
        let mut schedule = Schedule::default();
        for _ in 0..1000 {
            schedule.order(&[1]);
            schedule.charge(1, 2000, 1);
        }
        assert_eq!(schedule.order(&[1, 2]), [2, 1]);
        schedule.charge(2, 2000, 1);
        schedule.order(&[1, 2]);
        schedule.charge(1, 2000, 1);
        let mut turns = Vec::new();
        for _ in 0..4 {
            let first = schedule.order(&[1, 2])[0];
            schedule.charge(first, 2000, 1);
            turns.push(first);
        }
        assert_eq!(turns.iter().filter(|key| **key == 1).count(), 2, "{turns:?}");
    }
}
