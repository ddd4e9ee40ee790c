//! Memory does not grow with the file. Alone in its process, so that nothing else is measured.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::io::{Read, Write};

use adsengineer_core::import::{Context, Options, Reader};

/// A file of any length, made while it is read.
struct Made {
    row: u64,
    rows: u64,
    line: Vec<u8>,
}

impl Read for Made {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.line.is_empty() && self.row < self.rows {
            self.row += 1;
            writeln!(self.line, "Cj0KCQiA{:012},Lead,2026-11-18 14:05:00Z,120.00,EUR", self.row)?;
        }
        let count = self.line.len().min(buffer.len());
        buffer[..count].copy_from_slice(&self.line[..count]);
        self.line.drain(..count);
        Ok(count)
    }
}

fn check(rows: u64, index_bytes: usize) {
    let line = b"Google Click ID,Conversion Name,Conversion Time,Conversion Value,Conversion Currency\n".to_vec();
    let options = Options { default_consent: "granted".parse().ok(), index_bytes, ..Options::default() };
    let context = Context { org: "default".parse().unwrap(), now: "2026-11-20T12:00:00Z".parse().unwrap() };
    let mut reader = Reader::open(Made { row: 0, rows, line }, &options, &context).unwrap();
    while reader.next().unwrap().is_some() {}
    assert_eq!(reader.summary().accepted, rows);
}

/// Most memory that this process has held so far, in KiB.
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn memory_does_not_grow_with_the_file() {
    let index_bytes = 256 << 10;
    check(20_000, index_bytes);
    let before = peak_kib();
    // Fifteen times as many rows, twelve times as many keys as the index has room for.
    check(300_000, index_bytes);
    let grown = peak_kib() - before;
    assert!(grown < 4 << 10, "grew by {grown} KiB");
}
