//! Faults of whole files: bad bytes, bad headers, bad flags, and rows that cannot be cut.

use adsengineer_core::import::{Format, Options};

use crate::harness::{HEADER, fault, granted, read, rows};

const ROW: &str = "Cj0A,Lead,2026-11-18 14:05:00Z,1,EUR";

#[test]
fn files_that_are_no_conversion_files_are_named() {
    let utf16: Vec<u8> = format!("{HEADER}\n{ROW}\n").encode_utf16().flat_map(u16::to_le_bytes).collect();
    for (file, expected) in [
        (&b""[..], "EMPTY_FILE"),
        (b"\xef\xbb\xbf", "EMPTY_FILE"),
        (b"\xff\xfe", "EMPTY_FILE"),
        (b"\n\n\r\n", "EMPTY_FILE"),
        (b",,,\n;;\n", "EMPTY_FILE"),
        (b"Parameters:TimeZone=UTC\n", "EMPTY_FILE"),
        (b"PK\x03\x04\x14\x00\x06\x00", "EXCEL_WORKBOOK"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\x00", "EXCEL_WORKBOOK"),
        (b"\x1f\x8b\x08\x00\x00", "COMPRESSED_FILE"),
        (b"\x28\xb5\x2f\xfd\x00", "COMPRESSED_FILE"),
        (b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0d", "BINARY_FILE"),
        (b"a,b\0c\n", "BINARY_FILE"),
        (&utf16, "BINARY_FILE"),
        (b"[{\"action\":\"Lead\"}]", "NOT_JSON_LINES"),
    ] {
        assert_eq!(fault(file, &granted()), expected, "{:?}", String::from_utf8_lossy(file));
    }
}

#[test]
fn bytes_that_are_no_text_are_found_by_row_and_offset() {
    let latin = |text: &str| -> Vec<u8> { text.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect() };
    let file = latin(&format!("{HEADER}\n{ROW}\n\n{}\n", ROW.replace("Lead", "Anfrage für Köln")));
    let found = read(&file, &granted()).err().unwrap();
    assert_eq!((found.code.as_str(), found.row), ("UNDECODABLE_BYTES", Some(4)));
    let offset = file.iter().position(|b| *b >= 0x80).unwrap();
    assert!(found.reason.contains(&offset.to_string()), "{}", found.reason);
    assert!(found.hint.contains("--encoding windows-1252"));
    let mut half: Vec<u8> = format!("\u{feff}{HEADER}\n{ROW}\n").encode_utf16().flat_map(u16::to_le_bytes).collect();
    half.pop();
    assert_eq!(fault(&half, &granted()), "UNDECODABLE_BYTES@2");
    let wrong = Options { encoding: Some("shift_jis".to_owned()), ..granted() };
    assert_eq!(fault(&file, &wrong).split('@').next(), Some("UNDECODABLE_BYTES"));
}

#[test]
fn headers_that_cannot_be_used_are_refused_with_the_flag_to_paste() {
    for (header, expected, column, hint) in [
        ("Google Click ID,Conversion Name,Close Date", "UNKNOWN_COLUMN@1", "Close Date", "--map 'Close Date=Conversion Time'"),
        (
            "gclid,Deal Stage,Close Date,Amount",
            "UNKNOWN_COLUMN@1",
            "gclid",
            "--map 'gclid=Google Click ID' --map 'Deal Stage=Conversion Name' --map 'Close Date=Conversion Time' --map 'Amount=Conversion Value'",
        ),
        ("Google Click ID,Conversion Name,Won's Date,Conversion Time", "UNKNOWN_COLUMN@1", "Won's Date", "--ignore-unknown-columns"),
        ("Google Click ID,Conversion Name", "MISSING_COLUMN@1", "Conversion Time", "=Conversion Time"),
        ("Google Click ID,Conversion Time", "MISSING_COLUMN@1", "Conversion Name", "--action"),
        ("Conversion Name,Conversion Time", "MISSING_COLUMN@1", "Google Click ID", "=Google Click ID"),
        ("First Name,Conversion Name,Conversion Time", "MISSING_COLUMN@1", "Google Click ID", "=Google Click ID"),
        ("Google Click ID,Conversion Name,Conversion Time,conversion time", "REPEATED_COLUMN@1", "conversion time", "rename"),
        ("Order ID,Conversion Name,Adjustment Type", "MISSING_COLUMN@1", "Adjustment Time", "=Adjustment Time"),
        ("Conversion Name,Adjustment Time,Adjustment Type", "MISSING_COLUMN@1", "Order ID", "=Order ID"),
        ("Google Click ID,Conversion Name,Adjustment Time,Adjustment Type", "MISSING_COLUMN@1", "Order ID", "=Order ID"),
        (ROW, "MISSING_HEADER@1", "", "first row"),
        ("<!DOCTYPE html>", "UNKNOWN_COLUMN@1", "<!DOCTYPE html>", "--map"),
    ] {
        let found = read(format!("{header}\nx,y,z\n").as_bytes(), &granted()).err().unwrap_or_else(|| panic!("{header}"));
        let place = found.row.map_or(String::new(), |row| format!("@{row}"));
        assert_eq!(format!("{}{place}", found.code), expected, "{header}");
        assert_eq!(found.column.as_deref().unwrap_or(""), column, "{header}");
        assert!(found.hint.contains(hint), "{header}: {}", found.hint);
    }
    let ignoring = Options { ignore_unknown_columns: true, ..granted() };
    let found = read(b"Google Click ID,Conversion Name,Close Date\n", &ignoring).err().unwrap();
    assert_eq!((found.code.as_str(), &*found.hint), ("MISSING_COLUMN", "--map 'Close Date=Conversion Time'"));
}

#[test]
fn flags_that_cannot_be_used_are_refused_before_any_row() {
    let text = |s: &str| s.to_owned();
    let file = format!("{HEADER}\n{ROW}\n");
    for (options, expected) in [
        (Options { map: vec![(text("A"), text("Conversion Tim"))], ..granted() }, "INVALID_OPTION"),
        (Options { set: vec![(text("Price"), text("5"))], ..granted() }, "INVALID_OPTION"),
        (Options { map: vec![(text("Deal"), text("Order ID"))], ..granted() }, "MISSING_COLUMN@1"),
        (Options { map: vec![(text("Conversion Currency"), text("Conversion Value"))], ..granted() }, "REPEATED_COLUMN@1"),
        (Options { time_zone: Some(text("Mars/Olympus")), ..granted() }, "UNKNOWN_TIME_ZONE"),
        (Options { time_zone: Some(text("+2500")), ..granted() }, "UNKNOWN_TIME_ZONE"),
        (Options { time_format: Some(text("dd.MM.yyyy")), ..granted() }, "INVALID_OPTION"),
        (Options { time_format: Some(text("%d.%m.%Y")), ..granted() }, "INVALID_OPTION"),
        (Options { time_format: Some(text("%d.%m.%Y %H:%M %J")), ..granted() }, "INVALID_OPTION"),
        (Options { encoding: Some(text("klingon")), ..granted() }, "INVALID_OPTION"),
    ] {
        assert_eq!(fault(file.as_bytes(), &options), expected, "{options:?}");
    }
    assert_eq!(fault(format!("Parameters:TimeZone=Mars/Olympus\n{file}").as_bytes(), &granted()), "UNKNOWN_TIME_ZONE@1");
    assert_eq!(fault(format!("Parameters:Zeit=MEZ\n{file}").as_bytes(), &granted()), "INVALID_PARAMETERS@1");
    let json = Options { format: Format::Csv, ..granted() };
    assert_eq!(fault(b"{\"action\":\"Lead\"}\n", &json).split('@').next(), Some("UNKNOWN_COLUMN"));
}

#[test]
fn rows_that_do_not_fit_the_header_are_refused_and_half_a_row_is_named() {
    let good = "2 2026-11-18T14:05:00Z gclid=Cj0A 1.00 EUR";
    for (rest, expected) in [
        ("Cj0B,Lead,2026-11-18 14:05:00Z,1\n", "3 -WRONG_CELL_COUNT"),
        ("Cj0B,Lead,2026-11-18 14:05:00Z,1,234,EUR\n", "3 -WRONG_CELL_COUNT"),
        ("Cj0B\n", "3 -WRONG_CELL_COUNT"),
        ("Cj0B,Lead,2026-11-18 14:05:00Z,1", "3 -TRUNCATED_ROW"),
        ("Cj0B,Lea", "3 -TRUNCATED_ROW"),
        ("C", "3 -TRUNCATED_ROW"),
        ("Cj0B,\"Lea", "3 -TRUNCATED_ROW"),
        ("Cj0B,Lead,2026-11-18 14:05:00Z,1,EU", "3 -INVALID_CURRENCY[Conversion Currency]"),
    ] {
        assert_eq!(rows(&format!("{HEADER}\n{ROW}\n{rest}"), &granted()), [good, expected], "{rest}");
    }
}

#[test]
fn a_quote_that_is_never_closed_is_a_fault_at_its_row() {
    let file = |rows: usize| format!("{HEADER}\n{ROW}\nCj0B,\"Lead,2026-11-18 14:05:00Z,1,EUR\n{}", format!("{ROW}\n").repeat(rows));
    assert_eq!(fault(file(3).as_bytes(), &granted()), "UNCLOSED_QUOTE@3");
    assert_eq!(fault(file(50_000).as_bytes(), &granted()), "ROW_TOO_LONG@3");
}

#[test]
fn a_failing_disk_or_pipe_is_a_fault() {
    struct Broken(usize);
    impl std::io::Read for Broken {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            if self.0 == 0 {
                return Err(std::io::Error::other("gone"));
            }
            let line = format!("{HEADER}\n");
            let count = if self.0 == 2 { line.len() } else { 0 };
            buffer[..count].copy_from_slice(&line.as_bytes()[..count]);
            self.0 -= 1;
            Ok(count)
        }
    }
    let open = |input| {
        adsengineer_core::import::Reader::open(input, &granted(), &crate::harness::context()).err().map(|f| f.finding.code.to_string())
    };
    assert_eq!(open(Broken(0)).as_deref(), Some("READ_FAILED"));
    assert_eq!(open(Broken(2)), None);
}
