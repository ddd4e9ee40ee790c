//! Spreadsheet damage: repaired where one repair is possible, refused by name where information is lost.

use adsengineer_core::finding::Finding;

use crate::harness::{HEADER, granted, plain, read, rows};

fn click(cell: &str) -> String {
    plain(&format!("{cell},Lead,2026-11-18 14:05:00Z,1,EUR"), &granted())
}

fn order(cell: &str) -> String {
    let rows = rows(&format!("{HEADER},Order ID\nCj0A,Lead,2026-11-18 14:05:00Z,1,EUR,{cell}\n"), &granted());
    rows[0].replace("2 2026-11-18T14:05:00Z gclid=Cj0A ", "").replace(" 1.00 EUR", "")
}

#[test]
fn damaged_click_ids_are_repaired_or_refused() {
    for (cell, expected) in [
        ("'Cj0A", "2026-11-18T14:05:00Z gclid=Cj0A 1.00 EUR !APOSTROPHE_REMOVED"),
        ("“Cj0A”", "2026-11-18T14:05:00Z gclid=Cj0A 1.00 EUR !QUOTES_REMOVED"),
        ("‘Cj0A’", "2026-11-18T14:05:00Z gclid=Cj0A 1.00 EUR !QUOTES_REMOVED"),
        ("„Cj0A“", "2026-11-18T14:05:00Z gclid=Cj0A 1.00 EUR !QUOTES_REMOVED"),
        ("\u{a0}Cj0A\u{a0}", "2026-11-18T14:05:00Z gclid=Cj0A 1.00 EUR"),
        ("1.2E+25", "-SCIENTIFIC_NOTATION[Google Click ID]"),
        ("\"1,2E+25\"", "-SCIENTIFIC_NOTATION[Google Click ID]"),
        ("1E+25", "-SCIENTIFIC_NOTATION[Google Click ID]"),
        ("123456789012345000000", "-DIGITS_LOST[Google Click ID]"),
        ("1234567890123450", "-DIGITS_LOST[Google Click ID]"),
        ("#NAME?", "-SPREADSHEET_ERROR[Google Click ID]"),
        ("#REF!", "-SPREADSHEET_ERROR[Google Click ID]"),
        ("#N/A", "-SPREADSHEET_ERROR[Google Click ID]"),
        ("=A2", "-FORMULA[Google Click ID]"),
        ("\"=\"\"Cj0A\"\"\"", "-FORMULA[Google Click ID]"),
        ("Cj0 A", "-INVALID_CLICK_ID[Google Click ID]"),
        ("<Cj0A>", "-INVALID_CLICK_ID[Google Click ID]"),
        ("\"Cj0\nA\"", "-INVALID_CLICK_ID[Google Click ID]"),
        ("\"\"\"Cj0A\"\"\"", "-INVALID_CLICK_ID[Google Click ID]"),
        ("Cj0A%3D", "2026-11-18T14:05:00Z gclid=Cj0A%3D 1.00 EUR !UNUSUAL_CLICK_ID"),
        ("TeSter-123", "2026-11-18T14:05:00Z gclid=TeSter-123 1.00 EUR"),
        ("12345678901234567", "2026-11-18T14:05:00Z gclid=12345678901234567 1.00 EUR"),
        ("", "-NO_IDENTIFIER"),
    ] {
        assert_eq!(click(cell), expected, "{cell}");
    }
    assert_eq!(click(&"x".repeat(1025)), "-INVALID_CLICK_ID[Google Click ID]");
}

#[test]
fn damaged_and_personal_order_ids_are_refused() {
    for (cell, expected) in [
        ("A-1001", "order=A-1001"),
        ("#1001", "order=#1001"),
        ("1001", "order=1001 !NUMERIC_ORDER_ID"),
        ("'1001", "order=1001 !APOSTROPHE_REMOVED !NUMERIC_ORDER_ID"),
        ("1E5", "order=1E5"),
        ("1.00123E+12", "-SCIENTIFIC_NOTATION[Order ID]"),
        ("123456789012345000", "-DIGITS_LOST[Order ID]"),
        ("ada@example.com", "-ORDER_ID_CONTAINS_PII[Order ID]"),
        ("+49 151 23456789", "-ORDER_ID_CONTAINS_PII[Order ID]"),
        ("\"a\nb\"", "-INVALID_ORDER_ID[Order ID]"),
        ("=B2", "-FORMULA[Order ID]"),
    ] {
        assert_eq!(order(cell), if expected.starts_with('-') { format!("2 {expected}") } else { expected.to_owned() }, "{cell}");
    }
}

#[test]
fn long_order_ids_ending_in_zero_are_fine_once_the_file_shows_that_it_kept_its_digits() {
    let file = format!(
        "{HEADER},Order ID\n{}",
        ["1234567890123450", "1234567890123456", "1234567890123460"]
            .iter()
            .enumerate()
            .map(|(i, id)| format!("Cj0{i},Lead,2026-11-18 14:05:00Z,1,EUR,{id}\n"))
            .collect::<String>()
    );
    let rows = rows(&file, &granted());
    assert_eq!(rows[0], "2 -DIGITS_LOST[Order ID]");
    assert!(rows[1].contains("order=1234567890123456") && rows[2].contains("order=1234567890123460"));
}

#[test]
fn two_click_ids_in_a_row_are_refused() {
    let header = "Google Click ID,GBRAID,WBRAID,Conversion Name,Conversion Time,Conversion Value,Conversion Currency";
    for (ids, expected) in [
        ("a,,", "2 2026-11-18T14:05:00Z gclid=a 1.00 EUR"),
        (",a,", "2 2026-11-18T14:05:00Z gbraid=a 1.00 EUR"),
        (",,a", "2 2026-11-18T14:05:00Z wbraid=a 1.00 EUR"),
        ("a,b,", "2 -TWO_CLICK_IDS[GBRAID]"),
        ("a,,b", "2 -TWO_CLICK_IDS[WBRAID]"),
        (",a,b", "2 -TWO_CLICK_IDS[WBRAID]"),
        ("a,b,c", "2 -TWO_CLICK_IDS[GBRAID]"),
        (",,", "2 -NO_IDENTIFIER"),
    ] {
        assert_eq!(rows(&format!("{header}\n{ids},Lead,2026-11-18 14:05:00Z,1,EUR\n"), &granted()), [expected], "{ids}");
    }
}

#[test]
fn a_row_reports_everything_that_is_wrong_with_it() {
    let row = plain("a b,,yesterday,€5,", &granted());
    assert_eq!(
        row,
        "-ACTION_MISSING[Conversion Name] -INVALID_TIME[Conversion Time] -CURRENCY_SYMBOL[Conversion Value] \
         -CURRENCY_MISSING[Conversion Currency] -INVALID_CLICK_ID[Google Click ID]"
    );
}

#[test]
fn findings_never_quote_a_person_or_a_whole_click_id() {
    let secrets = ["ada.lovelace@example.com", "+4915123456789", "Lovelace", "CjwKCAiA-secret-%2F-click-id"];
    let header = "Google Click ID,Conversion Name,Conversion Time,Conversion Value,Conversion Currency,Order ID,Email,Phone Number,Ad User Data,Country";
    let columns = header.split(',').count();
    for secret in secrets {
        for place in 0..columns {
            let mut cells = ["Cj0A", "Lead", "2026-11-18 14:05:00Z", "5", "EUR", "A-1", "", "", "Granted", ""];
            cells[place] = secret;
            let file = format!("{header}\n{}\n", cells.join(","));
            let mut all: Vec<Finding> = Vec::new();
            let context = crate::harness::context();
            let mut reader = adsengineer_core::import::Reader::open(file.as_bytes(), &granted(), &context).unwrap();
            while let Some(row) = reader.next().unwrap() {
                all.extend(row.warnings.iter().cloned());
                if let adsengineer_core::import::RowKind::Refused(findings) = row.kind {
                    all.extend(findings.iter().cloned());
                }
            }
            let text = serde_json::to_string(&all).unwrap();
            assert!(!text.contains(secret), "{secret} in column {place}: {text}");
        }
    }
    assert!(read(b"", &granted()).is_err());
}
