//! The rejects file: refused rows with their reasons, fit to be corrected and given again.

use adsengineer_core::import::{Options, Reader, Rejects};

use crate::harness::{HEADER, context, granted, rows};

fn rejects(file: &str, options: &Options) -> String {
    let mut reader = Reader::open(file.as_bytes(), options, &context()).unwrap();
    let zone = reader.parameters_time_zone().map(str::to_owned);
    let mut rejects = Rejects::new(Vec::new(), reader.columns(), zone.as_deref()).unwrap();
    while let Some(row) = reader.next().unwrap() {
        rejects.write(&row).unwrap();
    }
    String::from_utf8(rejects.finish().unwrap()).unwrap()
}

#[test]
fn refused_rows_keep_their_cells_and_say_why() {
    let file = format!(
        "Parameters:TimeZone=Europe/Berlin\n{HEADER},Ad User Data\nCj0A,Lead,2026-11-18 14:05:00,1,EUR,Granted\n\
         Cj0B,\"a, \"\"b\"\"\",18.11.2026,€5,EUR,Granted\nCj0C,Lead,never,1,EUR,Denied\nCj0D,Lead\n"
    );
    let text = rejects(&file, &Options::default());
    let mut records = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text.as_bytes());
    let lines: Vec<Vec<String>> = records.records().map(|r| r.unwrap().iter().map(str::to_owned).collect()).collect();
    assert_eq!(lines[0], ["Parameters:TimeZone=Europe/Berlin"]);
    assert_eq!(lines[1].join(","), format!("{HEADER},Ad User Data,row,code,reason,hint"));
    assert_eq!(lines[2][..8], ["Cj0B", "a, \"b\"", "18.11.2026", "€5", "EUR", "Granted", "4", "INVALID_TIME"]);
    assert!(lines[2][8].contains("time") && lines[2][8].contains("currency sign") && lines[2][9].contains("--time-format"));
    assert_eq!(lines[3][..8], ["Cj0D", "Lead", "", "", "", "", "6", "WRONG_CELL_COUNT"]);
    assert_eq!(lines.len(), 4);
}

#[test]
fn a_corrected_rejects_file_can_be_given_again() {
    let file = format!("{}\nCj0B;Lead;2026-11-18 14:05:00Z;€5;EUR\n", HEADER.replace(',', ";"));
    let first = rejects(&file, &granted());
    let corrected = first.replace("€5", "5");
    assert_eq!(rows(&corrected, &granted()), ["2 2026-11-18T14:05:00Z gclid=Cj0B 5.00 EUR"]);
    // Given again uncorrected, the columns of reasons do not pile up.
    let again = rejects(&first, &granted());
    assert_eq!(again.lines().next(), first.lines().next());
}

#[test]
fn refused_json_lines_become_rows_of_the_template() {
    let line =
        r#"{"action":"Lead","occurred_at":"never","gclid":"Cj0A","value":"5","currency":"EUR","consent":{"ad_user_data":"granted"}}"#;
    let text = rejects(&format!("{line}\nnonsense\n"), &Options::default());
    let corrected = text.replace("never", "2026-11-18 14:05:00Z");
    let rows = rows(&corrected, &Options::default());
    assert_eq!(rows[0], "2 2026-11-18T14:05:00Z gclid=Cj0A 5.00 EUR");
}
