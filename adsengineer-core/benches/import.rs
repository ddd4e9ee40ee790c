//! How fast a plain click conversions file is checked: reading, judging and looking for duplicates, on one core.
//!
//! `cargo bench -p adsengineer-core --bench import [-- ROWS]`

use std::{fmt::Write as _, io::Write as _, time::Duration};

use adsengineer_core::import::{Context, Options, Reader, RowKind};

#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = std::time::Instant::now();
    let result = work();
    (result, start.elapsed())
}

/// Google's template with `rows` rows of some 100 bytes, spread over eight weeks.
fn file(rows: u32, quoted: bool) -> String {
    let mut text = String::from("Parameters:TimeZone=Europe/Berlin\n");
    text.push_str("Google Click ID,Conversion Name,Conversion Time,Conversion Value,Conversion Currency\n");
    for row in 0..rows {
        let (day, hour, minute, second) = (row % 28 + 1, row / 28 % 24, row / 672 % 60, row / 40_320 % 60);
        let month = 10 + row % 2;
        let name = if quoted { "\"Qualified lead\"" } else { "Qualified lead" };
        let value = row % 900;
        let _ = writeln!(
            text,
            "CjwKCAiA{row:08x}BhBgEiwA_test{row:08},{name},2026-{month}-{day:02} {hour:02}:{minute:02}:{second:02},{value}.50,EUR"
        );
    }
    text
}

/// Enhanced conversions for leads: an e-mail address and a phone number to normalise and hash in every row.
fn leads(rows: u32) -> String {
    let mut text = String::from("Parameters:TimeZone=Europe/Berlin\n");
    text.push_str("Email,Phone Number,Conversion Name,Conversion Time,Conversion Value,Conversion Currency\n");
    for row in 0..rows {
        let _ = writeln!(
            text,
            "Person.{row}@Example.com,+49 151 {row:08},Qualified lead,2026-11-18 14:{:02}:{:02},120.00,EUR",
            row / 60 % 60,
            row % 60
        );
    }
    text
}

fn check(text: &str, consent: &str, index_bytes: usize) -> (u64, u64) {
    let options = Options { default_consent: consent.parse().ok(), index_bytes, ..Options::default() };
    let (Ok(org), Ok(now)) = ("default".parse(), "2026-11-29T00:00:00Z".parse()) else { return (0, 0) };
    let Ok(mut reader) = Reader::open(text.as_bytes(), &options, &Context { org, now }) else { return (0, 0) };
    let mut accepted = 0;
    while let Ok(Some(row)) = reader.next() {
        accepted += u64::from(matches!(row.kind, RowKind::Conversion(_)));
    }
    (accepted, reader.summary().rows)
}

fn main() {
    let rows = std::env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(2_000_000);
    let mut out = std::io::stdout();
    let (memory, little) = (40 << 20, 4 << 20);
    for (name, text, consent, index_bytes) in [
        ("plain", file(rows, false), "granted", memory),
        ("plain, duplicates on disk", file(rows, false), "granted", little),
        ("quoted", file(rows, true), "granted", memory),
        ("no row says anything about consent", file(rows, false), "", memory),
        ("leads", leads(rows), "granted", memory),
    ] {
        let ((accepted, seen), took) = timed(|| check(&text, consent, index_bytes));
        let seconds = took.as_secs_f64();
        let (per_second, megabytes) =
            (f64::from(rows) / seconds, f64::from(u32::try_from(text.len() >> 10).unwrap_or(0)) / 1024.0 / seconds);
        let _ = writeln!(out, "{name}: {accepted} of {seen} rows in {seconds:.2} s: {per_second:.0} rows/s, {megabytes:.0} MiB/s");
    }
}
