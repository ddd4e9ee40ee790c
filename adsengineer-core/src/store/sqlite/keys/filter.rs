//! A Bloom filter whose bits for one hash lie in one cache line (Putze, Sanders and Singler, 2007).

/// Bits per hash: about one miss in a hundred is not seen.
const BITS_PER_KEY: usize = 10;
const BITS: u32 = 6;
const LINE_BITS: usize = 512;

/// Says "no" only of what was not added.
pub(super) struct Filter {
    lines: Vec<[u64; 8]>,
}

/// The memory that a filter of `keys` hashes takes.
pub(super) fn bytes_for(keys: usize) -> usize {
    (keys * BITS_PER_KEY).div_ceil(LINE_BITS).max(1) * (LINE_BITS / 8)
}

impl Filter {
    pub(super) fn with_room_for(keys: usize) -> Self {
        Self { lines: vec![[0; 8]; bytes_for(keys) / (LINE_BITS / 8)] }
    }

    pub(super) fn bytes(&self) -> usize {
        self.lines.len() * (LINE_BITS / 8)
    }

    fn line(&self, print: u64) -> usize {
        usize::try_from((u128::from(print) * self.lines.len() as u128) >> 64).unwrap_or(0)
    }

    /// Word and bit within a line, from the low bits: the high ones chose the line.
    fn places(print: u64) -> impl Iterator<Item = (usize, u64)> {
        (0..BITS).map(move |n| {
            let nine = print >> (1 + 9 * n) & 511;
            (usize::from((nine >> 6).to_le_bytes()[0]), 1 << (nine & 63))
        })
    }

    pub(super) fn add(&mut self, print: u64) {
        let line = self.line(print);
        let line = &mut self.lines[line];
        Self::places(print).for_each(|(word, bit)| line[word] |= bit);
    }

    pub(super) fn may_have(&self, print: u64) -> bool {
        let line = &self.lines[self.line(print)];
        Self::places(print).all(|(word, bit)| line[word] & bit != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::sha256;

    fn print(n: u32) -> u64 {
        u64::from_be_bytes(sha256(&n.to_string())[..8].try_into().unwrap())
    }

    #[test]
    fn what_was_added_is_never_denied_and_little_else_is_admitted() {
        let mut filter = Filter::with_room_for(10_000);
        (0..10_000).for_each(|n| filter.add(print(n)));
        assert!((0..10_000).all(|n| filter.may_have(print(n))));
        let wrong = (10_000..110_000).filter(|n| filter.may_have(print(*n))).count();
        assert!(wrong < 2_500, "{wrong} of 100000");
        assert!(filter.bytes() <= 12_600);
    }

    #[test]
    fn an_empty_filter_admits_nothing() {
        assert!(!Filter::with_room_for(0).may_have(print(1)));
    }
}
