//! Arbitrary bytes never panic, and every row is accounted for.

use std::io::Read;

use adsengineer_core::import::{Format, Options, Reader};
use proptest::prelude::*;

use crate::harness::{HEADER, context, granted, read};

fn total(file: &[u8], options: &Options) {
    if let Ok(outcome) = read(file, options) {
        let summary = outcome.summary;
        assert_eq!(summary.rows, summary.accepted + summary.refused + summary.denied + summary.skipped);
        assert_eq!(summary.rows, outcome.rows.len() as u64);
    }
}

/// Bytes that look enough like a file to get far.
fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        any::<Vec<u8>>(),
        "[ -~]{0,12}".prop_map(String::into_bytes),
        proptest::sample::select(vec![
            "\n",
            "\r\n",
            "\r",
            ",",
            ";",
            "\t",
            "\"",
            "\"\"",
            "'",
            "“",
            "”",
            "\u{feff}",
            "=",
            "#NAME?",
            "1.2E+25",
            "2026-11-18 14:05:00",
            "Z",
            " Europe/Berlin",
            "Nov 18, 2026 02:05:00 PM",
            "1,234.50",
            "€",
            "EUR",
            "Granted",
            "Denied",
            "ada@example.com",
            "+4915123456789",
            "0151",
            "Cj0A",
            "{",
            "}",
            "Parameters:TimeZone=",
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
    ];
    proptest::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in pieces(), format in 0..3) {
        let format = [Format::Auto, Format::Csv, Format::Jsonl][usize::try_from(format).unwrap()];
        total(&bytes, &Options { format, ..granted() });
    }

    #[test]
    fn arbitrary_rows_under_a_good_header_never_panic(bytes in pieces(), separator in "[,;\t]") {
        let header = "Google Click ID,GBRAID,Conversion Name,Conversion Time,Conversion Value,Conversion Currency,Order ID,Email,Phone Number,Country,Ad User Data";
        let mut file = header.replace(',', &separator).into_bytes();
        file.push(b'\n');
        file.extend(bytes);
        total(&file, &Options { time_zone: Some("Europe/Berlin".to_owned()), ..granted() });
    }

    #[test]
    fn arbitrary_json_lines_never_panic(time in ".{0,24}", value in "[0-9.,eE+-]{0,8}", id in ".{0,20}", order in "\\PC{0,20}") {
        let quoted = |text: &str| serde_json::to_string(text).unwrap();
        let line = format!("{{\"action\":\"Lead\",\"occurred_at\":{},\"value\":{},\"currency\":\"EUR\",\"gclid\":{},\"order_id\":{}}}\n", quoted(&time), quoted(&value), quoted(&id), quoted(&order));
        total(line.as_bytes(), &granted());
    }

    #[test]
    fn chunks_do_not_matter(size in 1..200_usize) {
        let file: String = (0..40).map(|i| format!("Cj0{i},\"Lead\n{i}\",2026-11-18 14:05:00Z,\"1,234.50\",EUR\r\n")).collect();
        let file = format!("{HEADER}\r\n{file}");
        let mut reader = Reader::open(Chunks(file.as_bytes(), size), &granted(), &context()).unwrap();
        while reader.next().unwrap().is_some() {}
        prop_assert_eq!(reader.summary().accepted, 40);
    }
}

/// Hands out at most so many bytes at once.
struct Chunks<'a>(&'a [u8], usize);

impl Read for Chunks<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.0.len().min(self.1).min(buffer.len());
        buffer[..count].copy_from_slice(&self.0[..count]);
        self.0 = &self.0[count..];
        Ok(count)
    }
}
