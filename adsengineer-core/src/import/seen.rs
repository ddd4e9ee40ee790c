//! Which conversions a file has named already: a set of 64-bit keys in bounded memory.
//!
//! Keys live in an open-addressing table; when it is full they become a sorted run in an unnamed temporary file,
//! with a bloom filter in front so that new keys rarely touch the disk. Keys are hashes, so a key's value says
//! where it lies in a run. Two different conversions share a key once in 10^19 pairs.

mod runs;

use std::io;

use runs::Runs;

/// The smallest table, for files of ordinary size.
const SMALLEST: usize = 1 << 10;

/// A set of keys that spills to disk.
pub(crate) struct Seen {
    /// Zero is an empty slot.
    table: Vec<u64>,
    count: usize,
    largest: usize,
    filter: Filter,
    runs: Runs,
}

impl Seen {
    /// A set that holds at most about `bytes` of memory: a quarter for the table, the rest for the filter once it spills.
    pub(crate) fn new(bytes: usize) -> Self {
        let largest = power_of_two_below(bytes / 4 / 8).max(16);
        let filter = Filter::new((bytes / 8).saturating_sub(largest) / 8);
        Self { table: vec![0; largest.min(SMALLEST)], count: 0, largest, filter, runs: Runs::default() }
    }

    /// Adds `key`; false if it was there.
    pub(crate) fn insert(&mut self, key: u64) -> io::Result<bool> {
        let key = key.max(1);
        if !self.runs.is_empty() && self.filter.may_contain(key) && self.runs.contain(key)? {
            return Ok(false);
        }
        if !self.put(key) {
            return Ok(false);
        }
        if self.count * 4 > self.table.len() * 3 {
            if self.table.len() < self.largest {
                self.grow();
            } else {
                self.spill()?;
            }
        }
        Ok(true)
    }

    fn put(&mut self, key: u64) -> bool {
        let mask = self.table.len() - 1;
        let mut at = slot(key, self.table.len());
        loop {
            match self.table[at] {
                0 => break,
                other if other == key => return false,
                _ => at = (at + 1) & mask,
            }
        }
        self.table[at] = key;
        self.count += 1;
        true
    }

    fn grow(&mut self) {
        let doubled = vec![0; self.table.len() * 2];
        let old = std::mem::replace(&mut self.table, doubled);
        self.count = 0;
        for key in old.into_iter().filter(|key| *key != 0) {
            self.put(key);
        }
    }

    /// Makes the table a sorted run.
    fn spill(&mut self) -> io::Result<()> {
        self.table.sort_unstable();
        let empty = self.table.partition_point(|key| *key == 0);
        let keys = &self.table[empty..];
        for key in keys {
            self.filter.add(*key);
        }
        self.runs.add(keys)?;
        self.table.fill(0);
        self.count = 0;
        Ok(())
    }
}

/// The home slot of a key in a table of a power of two.
fn slot(key: u64, length: usize) -> usize {
    let bits = length.trailing_zeros();
    usize::try_from(key >> (64 - bits)).unwrap_or(0)
}

fn power_of_two_below(number: usize) -> usize {
    if number == 0 { 0 } else { 1 << number.ilog2() }
}

/// A blocked bloom filter: four bits within one 512-bit block, so one cache line per question.
struct Filter {
    words: Vec<u64>,
    blocks: usize,
}

impl Filter {
    /// A filter of so many blocks, allocated when the first key comes.
    fn new(blocks: usize) -> Self {
        Self { words: Vec::new(), blocks: blocks.max(1) }
    }

    fn bits(&self, key: u64) -> impl Iterator<Item = (usize, u64)> + use<> {
        let mixed = key.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        // The upper bits choose the block, the lower ones the bits in it.
        let block = usize::try_from((u128::from(mixed) * self.blocks as u128) >> 64).unwrap_or(0) * 8;
        (0..4_u32).map(move |i| {
            let bit = (mixed >> (i * 9)) & 511;
            (block + usize::from((bit >> 6).to_le_bytes()[0]), 1 << (bit & 63))
        })
    }

    fn add(&mut self, key: u64) {
        self.words.resize(self.blocks * 8, 0);
        for (word, bit) in self.bits(key) {
            self.words[word] |= bit;
        }
    }

    fn may_contain(&self, key: u64) -> bool {
        self.bits(key).all(|(word, bit)| self.words.get(word).is_some_and(|w| w & bit != 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Well spread keys, as hashes are.
    fn key(number: u64) -> u64 {
        let mut x = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    #[test]
    fn every_key_is_new_once_however_often_the_table_spills() {
        let mut seen = Seen::new(4096);
        for number in 0..60_000 {
            assert!(seen.insert(key(number)).unwrap(), "{number}");
        }
        assert!(!seen.runs.is_empty());
        for number in (0..60_000).step_by(7) {
            assert!(!seen.insert(key(number)).unwrap(), "{number}");
        }
        assert!(seen.table.len() * 8 + seen.filter.words.len() * 8 <= 4096);
    }

    #[test]
    fn the_table_starts_small_and_grows_before_it_spills() {
        let mut seen = Seen::new(1 << 20);
        for number in 0..10_000 {
            seen.insert(key(number)).unwrap();
        }
        assert!(seen.runs.is_empty() && seen.table.len() == 16_384);
        assert!((0..10_000).all(|number| !seen.insert(key(number)).unwrap()));
    }

    #[test]
    fn the_filter_forgets_nothing_and_is_right_about_most_strangers() {
        let mut filter = Filter::new(1 << 9);
        (0..16_000).for_each(|n| filter.add(key(n)));
        assert!((0..16_000).all(|n| filter.may_contain(key(n))));
        let wrong = (16_000..32_000).filter(|n| filter.may_contain(key(*n))).count();
        assert!(wrong < 800, "{wrong} of 16000");
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_plain_set(keys in proptest::collection::vec(prop_oneof![0..200_u64, any::<u64>()], 0..600)) {
            let (mut seen, mut model) = (Seen::new(256), std::collections::HashSet::new());
            for key in keys {
                prop_assert_eq!(seen.insert(key).unwrap(), model.insert(key.max(1)));
            }
        }
    }
}
