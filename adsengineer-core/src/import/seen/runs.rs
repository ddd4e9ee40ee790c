//! Sorted runs of keys in unnamed temporary files, merged so that there are never many.

use std::{
    fs::File,
    io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write},
};

/// Runs of one level are merged into one of the next when there are so many.
const FAN_IN: usize = 4;
/// Keys read at once when looking one up.
const PAGE: u64 = 512;
const KEY: u64 = 8;
/// Keys of a run that are kept in memory to find the page of the others.
const FENCES: u64 = 16 << 10;

/// All runs; the newest last, levels falling.
#[derive(Default)]
pub(super) struct Runs {
    runs: Vec<Run>,
    page: Vec<u8>,
}

struct Run {
    file: File,
    keys: u64,
    level: u32,
    /// Every `stride`th key.
    fences: Vec<u64>,
    stride: u64,
}

/// Writes a run, noting its fences.
struct Writer {
    file: BufWriter<File>,
    keys: u64,
    fences: Vec<u64>,
    stride: u64,
}

impl Writer {
    fn new(expected: u64) -> io::Result<Self> {
        let file = BufWriter::with_capacity(64 << 10, tempfile::tempfile()?);
        Ok(Self { file, keys: 0, fences: Vec::new(), stride: PAGE.max(expected.div_ceil(FENCES)) })
    }

    fn write(&mut self, key: u64) -> io::Result<()> {
        if self.keys.is_multiple_of(self.stride) {
            self.fences.push(key);
        }
        self.keys += 1;
        self.file.write_all(&key.to_le_bytes())
    }

    fn finish(self, level: u32) -> io::Result<Run> {
        let file = self.file.into_inner().map_err(io::IntoInnerError::into_error)?;
        Ok(Run { file, keys: self.keys, level, fences: self.fences, stride: self.stride })
    }
}

impl Runs {
    pub(super) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Writes sorted `keys` as a new run.
    pub(super) fn add(&mut self, keys: &[u64]) -> io::Result<()> {
        let mut writer = Writer::new(keys.len() as u64)?;
        for key in keys {
            writer.write(*key)?;
        }
        self.runs.push(writer.finish(0)?);
        self.merge()
    }

    /// Whether any run holds `key`.
    pub(super) fn contain(&mut self, key: u64) -> io::Result<bool> {
        for run in &mut self.runs {
            if run.contains(key, &mut self.page)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Merges the newest runs as long as enough of them are of one level.
    fn merge(&mut self) -> io::Result<()> {
        while let Some(level) = self.runs.last().map(|run| run.level) {
            let first = self.runs.iter().position(|run| run.level == level).unwrap_or(0);
            if self.runs.len() - first < FAN_IN {
                break;
            }
            let merged = merged(&mut self.runs[first..], level + 1)?;
            self.runs.truncate(first);
            self.runs.push(merged);
        }
        Ok(())
    }
}

impl Run {
    /// Searches between two fences by interpolation: keys are evenly spread, so their value predicts their place.
    fn contains(&mut self, key: u64, page: &mut Vec<u8>) -> io::Result<bool> {
        let fence = self.fences.partition_point(|fence| *fence <= key);
        let Some(before) = fence.checked_sub(1) else { return Ok(false) };
        let mut from = before as u64 * self.stride;
        let mut to = (from + self.stride).min(self.keys);
        let (mut least, mut most) = (self.fences[before], self.fences.get(fence).copied().unwrap_or(u64::MAX));
        let mut halve = false;
        while from < to {
            let guess = if halve { from + (to - from) / 2 } else { from + share(key - least, most - least, to - from) };
            let first = guess.saturating_sub(PAGE / 2).clamp(from, to - 1);
            let count = PAGE.min(to - first);
            page.resize(usize::try_from(count * KEY).unwrap_or(0), 0);
            self.file.seek(SeekFrom::Start(first * KEY))?;
            self.file.read_exact(page)?;
            let (low, high) = (key_at(page, 0), key_at(page, page.len() / 8 - 1));
            if key < low {
                (to, most) = (first, low);
            } else if key > high {
                (from, least) = (first + count, high);
            } else {
                return Ok(page_contains(page, key));
            }
            halve = !halve;
        }
        Ok(false)
    }
}

/// `part / whole` of `count`, below `count`.
fn share(part: u64, whole: u64, count: u64) -> u64 {
    let share = u128::from(part) * u128::from(count) / u128::from(whole.max(1));
    u64::try_from(share).unwrap_or(u64::MAX).min(count - 1)
}

fn key_at(page: &[u8], index: usize) -> u64 {
    page[index * 8..index * 8 + 8].try_into().map_or(0, u64::from_le_bytes)
}

fn page_contains(page: &[u8], key: u64) -> bool {
    let (mut from, mut to) = (0, page.len() / 8);
    while from < to {
        let middle = from + (to - from) / 2;
        match key_at(page, middle).cmp(&key) {
            std::cmp::Ordering::Equal => return true,
            std::cmp::Ordering::Less => from = middle + 1,
            std::cmp::Ordering::Greater => to = middle,
        }
    }
    false
}

/// One run of all the keys of several.
fn merged(runs: &mut [Run], level: u32) -> io::Result<Run> {
    let mut sources = Vec::new();
    for run in runs.iter_mut() {
        run.file.rewind()?;
        let mut source = Source { reader: BufReader::with_capacity(64 << 10, &run.file), left: run.keys, head: 0 };
        source.advance()?;
        sources.push(source);
    }
    let mut writer = Writer::new(sources.iter().map(|source| source.left + 1).sum())?;
    while let Some(least) = sources.iter_mut().filter(|s| s.head != 0).min_by_key(|s| s.head) {
        writer.write(least.head)?;
        least.advance()?;
    }
    writer.finish(level)
}

/// A run being merged; `head` is its next key, zero at the end.
struct Source<'a> {
    reader: BufReader<&'a File>,
    left: u64,
    head: u64,
}

impl Source<'_> {
    fn advance(&mut self) -> io::Result<()> {
        if self.left == 0 {
            self.head = 0;
            return Ok(());
        }
        let mut key = [0; 8];
        self.reader.read_exact(&mut key)?;
        self.left -= 1;
        self.head = u64::from_le_bytes(key);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_stay_few_and_unevenly_spread_keys_are_found_too() {
        let mut runs = Runs::default();
        for start in 0..40_u64 {
            let mut keys: Vec<u64> = (1..1500).map(|i| i * 40 + start).chain([u64::MAX - start]).collect();
            keys.sort_unstable();
            runs.add(&keys).unwrap();
            assert!(runs.runs.len() < 10);
        }
        for key in (40..60_000).chain([u64::MAX, u64::MAX - 39]) {
            assert!(runs.contain(key).unwrap(), "{key}");
        }
        for stranger in [1, 39, 60_000, u64::MAX / 2, u64::MAX - 40] {
            assert!(!runs.contain(stranger).unwrap(), "{stranger}");
        }
    }
}
