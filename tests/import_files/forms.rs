//! The forms of files: templates × encodings × separators × line breaks × Parameters row; flags; JSON lines.

use adsengineer_core::import::{Decimal, Format, Options};

use crate::harness::{HEADER, granted, read, rows};

/// A file of three rows with an umlaut, a quoted line break and a blank line.
fn sample(separator: &str, end: &str, parameters: bool) -> String {
    let row = |cells: [&str; 5]| cells.join(separator);
    let header: Vec<&str> = HEADER.split(',').collect();
    let mut lines = Vec::new();
    if parameters {
        lines.push(format!("Parameters:TimeZone=Europe/Berlin{}", separator.repeat(4)));
    }
    let zone = if parameters { "" } else { "+01:00" };
    lines.push(header.join(separator));
    lines.push(row(["Cj0A", "Qualifizierte Anfrage für Köln", &format!("2026-11-18 14:05:00{zone}"), "120.00", "EUR"]));
    lines.push(String::new());
    lines.push(row(["Cj0B", "\"two\nlines\"", &format!("2026-11-18T14:06:00{zone}"), "\"1,234.50\"", "usd"]));
    lines.push(row(["Cj0C", "Lead", &format!("11/18/2026 02:07:00 PM{zone}"), "0", "JPY"]));
    lines.join(end) + end
}

fn encoded(text: &str, encoding: &str) -> Vec<u8> {
    let marked = || std::iter::once(0xfeff).chain(text.encode_utf16());
    match encoding {
        "utf-8" => text.as_bytes().to_vec(),
        "utf-8 with mark" => format!("\u{feff}{text}").into_bytes(),
        "utf-16le with mark" => marked().flat_map(u16::to_le_bytes).collect(),
        "utf-16be with mark" => marked().flat_map(u16::to_be_bytes).collect(),
        "utf-16le" => text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
        // All characters of the sample are in Latin-1, where code points are bytes.
        _ => text.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect(),
    }
}

#[test]
fn every_encoding_separator_line_break_and_parameters_row_reads_the_same() {
    let mut variants = 0;
    for encoding in ["utf-8", "utf-8 with mark", "utf-16le with mark", "utf-16be with mark", "utf-16le", "windows-1252", "iso-8859-1"] {
        for separator in [",", ";", "\t"] {
            for end in ["\n", "\r\n", "\r"] {
                for parameters in [true, false] {
                    let labelled = matches!(encoding, "utf-16le" | "windows-1252" | "iso-8859-1");
                    let options = Options { encoding: labelled.then(|| encoding.to_owned()), ..granted() };
                    let file = encoded(&sample(separator, end, parameters), encoding);
                    let first = if parameters { 3 } else { 2 };
                    let outcome = read(&file, &options).unwrap_or_else(|f| panic!("{encoding} {separator:?} {end:?}: {f}"));
                    assert_eq!(
                        outcome.rows,
                        [
                            format!("{first} 2026-11-18T13:05:00Z action=Qualifizierte Anfrage für Köln gclid=Cj0A 120.00 EUR"),
                            format!("{} 2026-11-18T13:06:00Z action=two\nlines gclid=Cj0B 1234.50 USD", first + 2),
                            format!("{} 2026-11-18T13:07:00Z gclid=Cj0C 0 JPY", first + 3),
                        ],
                        "{encoding} {separator:?} {end:?} {parameters}"
                    );
                    variants += 1;
                }
            }
        }
    }
    assert_eq!(variants, 126);
}

#[test]
fn what_spreadsheets_and_google_put_before_the_header_is_passed_over() {
    let row = "Cj0A,Lead,2026-11-18 14:05:00+0100,1.00,EUR\n";
    for (before, first) in [
        ("", 2),
        ("\n\n", 4),
        (",,,,\n", 3),
        ("### INSTRUCTIONS ###,,,,\n# Remember to set the TimeZone,,,,\n,,,,\n### TEMPLATE ###,,,,\n", 6),
        ("Parameters:TimeZone=Asia/Tokyo\n", 3),
        ("\"Parameters:TimeZone=Asia/Tokyo\",,,,\n", 3),
        ("Parameters:EntityType=OFFLINECONVERSION;TimeZone=-0500;\n", 3),
        ("sep=,\n", 3),
    ] {
        let expected = format!("{first} 2026-11-18T13:05:00Z gclid=Cj0A 1.00 EUR");
        assert_eq!(rows(&format!("{before}{HEADER}\n{row}"), &granted()), [expected], "{before:?}");
    }
    let numbered = format!("#,{HEADER}\n1,{row}");
    assert_eq!(rows(&numbered, &Options { ignore_unknown_columns: true, ..granted() }).len(), 1);
    assert_eq!(rows(&format!("sep=;\n{}\n{}", HEADER.replace(',', ";"), row.replace(',', ";")), &granted()).len(), 1);
}

#[test]
fn headers_are_read_in_any_case_and_order_with_spaces_and_quotes() {
    for (file, expected) in [
        (
            " conversion TIME , GOOGLE CLICK ID,conversion name\n2026-11-18 14:05Z, Cj0A ,Lead\n",
            "2 2026-11-18T14:05:00Z gclid=Cj0A !VALUE_MISSING",
        ),
        (
            "\"Conversion Name\",\"GBRAID\",\"Conversion Time\"\n\"Lead\",\"0AAA\",\"2026-11-18 14:05Z\"\n",
            "2 2026-11-18T14:05:00Z gbraid=0AAA !VALUE_MISSING",
        ),
        (
            "WBRAID,Conversion Name,Conversion Time,Order ID\nCp4A,Lead,2026-11-18 14:05Z,A-1\n",
            "2 2026-11-18T14:05:00Z wbraid=Cp4A order=A-1 !VALUE_MISSING",
        ),
        (
            "Google Click ID,GBRAID,WBRAID,Conversion Name,Conversion Time,Attribution Model,Attributed Credit\n,,Cp4A,Lead,2026-11-18 14:05Z,,\n",
            "2 2026-11-18T14:05:00Z wbraid=Cp4A !VALUE_MISSING",
        ),
    ] {
        assert_eq!(rows(file, &granted()), [expected], "{file}");
    }
}

#[test]
fn consent_columns_decide_and_a_default_fills_only_what_is_empty() {
    let file = format!(
        "{HEADER},Ad User Data,Ad Personalization\n{}",
        [
            "Granted,GRANTED",
            "granted,Denied",
            "denied,",
            "DENIED,Granted",
            ",",
            ",Granted",
            "yes,",
            "Granted,perhaps",
            "Withdrawn,",
            "unspecified,"
        ]
        .iter()
        .enumerate()
        .map(|(i, consent)| format!("Cj0{i},Lead,2026-11-18 14:05:00Z,1,EUR,{consent}\n"))
        .collect::<String>()
    );
    let fixed = [
        "2 2026-11-18T14:05:00Z gclid=Cj00 1.00 EUR personalization=granted",
        "3 2026-11-18T14:05:00Z gclid=Cj01 1.00 EUR personalization=denied",
        "4 denied",
        "5 denied",
    ];
    let end = ["8 -INVALID_CONSENT[Ad User Data]", "9 -INVALID_CONSENT[Ad Personalization]", "10 denied"];
    let unsaid = rows(&file, &Options::default());
    assert_eq!(unsaid[..4], fixed);
    assert_eq!(unsaid[4..6], ["6 -CONSENT_REQUIRED", "7 -CONSENT_REQUIRED"]);
    assert_eq!(unsaid[6..9], end);
    assert_eq!(unsaid[9], "11 -CONSENT_REQUIRED");
    let default = rows(&file, &granted());
    assert_eq!(default[..4], fixed);
    let filled = ["6 2026-11-18T14:05:00Z gclid=Cj04 1.00 EUR", "7 2026-11-18T14:05:00Z gclid=Cj05 1.00 EUR personalization=granted"];
    assert_eq!(default[4..6], filled);
    assert_eq!(default[6..9], end);
    let denied = rows(&file, &Options { default_consent: "denied".parse().ok(), ..Options::default() });
    assert_eq!(denied[..4], fixed);
    assert_eq!((&*denied[4], &*denied[5], &*denied[9]), ("6 denied", "7 denied", "11 denied"));
}

#[test]
fn a_denied_row_is_only_a_number_whatever_else_is_wrong_with_it() {
    let file = format!("{HEADER},Ad User Data\n,#NAME?,never,€5,,Denied\n");
    let outcome = read(file.as_bytes(), &Options::default()).unwrap();
    assert_eq!(outcome.rows, ["2 denied"]);
    assert_eq!((outcome.summary.denied, outcome.summary.errors.len(), outcome.summary.warnings.len()), (1, 0, 0));
}

#[test]
fn import_flags_make_a_crm_export_readable() {
    let export = "Record ID;Deal Name;Close Date;Amount;gclid;Owner\n901;Kitchen;18.11.2026 14:05;1.234,50;Cj0A;Ada\n902;Bath;19.11.2026 09:00;;Cj0B;Ada\n";
    let text = |s: &str| s.to_owned();
    let options = Options {
        map: vec![
            (text("close date"), text("Conversion Time")),
            (text("Amount"), text("conversion value")),
            (text("gclid"), text("Google Click ID")),
            (text("Record ID"), text("Order ID")),
        ],
        set: vec![(text("Conversion Currency"), text("EUR")), (text("Conversion Value"), text("10"))],
        time_zone: Some(text("Europe/Berlin")),
        time_format: Some(text("%d.%m.%Y %H:%M")),
        decimal: Decimal::Comma,
        default_action: Some(text("987654321")),
        ignore_unknown_columns: true,
        ..granted()
    };
    let outcome = read(export.as_bytes(), &options).unwrap();
    assert_eq!(
        outcome.rows,
        [
            "2 2026-11-18T13:05:00Z action=987654321 gclid=Cj0A order=901 1234.50 EUR !NUMERIC_ORDER_ID",
            "3 2026-11-19T08:00:00Z action=987654321 gclid=Cj0B order=902 10.00 EUR !NUMERIC_ORDER_ID",
        ]
    );
    let ignored: Vec<_> = outcome.warnings.iter().map(|w| (w.code.as_str(), w.column.as_deref().unwrap_or(""))).collect();
    assert_eq!(ignored, [("COLUMN_IGNORED", "Deal Name"), ("COLUMN_IGNORED", "Owner")]);
}

#[test]
fn rows_of_a_skipped_code_are_counted_and_left_out() {
    let file = "Email,Phone Number,Conversion Name,Conversion Time\n,,Lead,2026-11-18 14:05Z\na@example.com,,Lead,2026-11-18 14:05Z\n,,Lead,never\n";
    let options = Options { skip: vec!["NO_IDENTIFIER".parse().unwrap()], ..granted() };
    let outcome = read(file.as_bytes(), &options).unwrap();
    assert_eq!(outcome.rows[0], "2 skipped NO_IDENTIFIER");
    assert!(outcome.rows[1].starts_with("3 2026-11-18T14:05:00Z email="));
    assert_eq!(outcome.rows[2], "4 skipped NO_IDENTIFIER");
    assert_eq!((outcome.summary.rows, outcome.summary.accepted, outcome.summary.skipped, outcome.summary.refused), (3, 1, 2, 0));
}

#[test]
fn adjustments_are_read_in_both_spellings_and_by_order_or_click() {
    let by_order = "Order ID,Conversion Name,Adjustment Time,Adjustment Type,Adjusted Value,Adjusted Value Currency\n\
        A-1,Lead,2026-11-19 10:00:00 Europe/Berlin,RESTATE,80.5,EUR\n\
        A-2,Lead,2026-11-19 10:00:00Z,retraction,,\n\
        A-3,Lead,2026-11-19 10:00:00Z,RESTATEMENT,0,EUR\n\
        A-4,Lead,2026-11-19 10:00:00Z,RETRACT,5,EUR\n\
        A-5,Lead,2026-11-19 10:00:00Z,RESTATE,,EUR\n\
        A-6,Lead,2026-11-19 10:00:00Z,DELETE,,\n\
        ,Lead,2026-11-19 10:00:00Z,RETRACT,,\n\
        A-1,Lead,2026-11-19 09:00:00Z,RESTATE,80.5,EUR\n\
        A-7,Lead,2026-11-29 09:00:00Z,RETRACT,,\n\
        A-8,Lead,2026-11-19 09:00:00Z,RESTATE,-3,EUR\n";
    assert_eq!(
        rows(by_order, &Options::default()),
        [
            "2 restate 80.50 EUR order=A-1 2026-11-19T09:00:00Z",
            "3 retract order=A-2 2026-11-19T10:00:00Z",
            "4 restate 0.00 EUR order=A-3 2026-11-19T10:00:00Z",
            "5 retract order=A-4 2026-11-19T10:00:00Z !ADJUSTED_VALUE_IGNORED",
            "6 -ADJUSTED_VALUE_MISSING[Adjusted Value]",
            "7 -INVALID_ADJUSTMENT_TYPE[Adjustment Type]",
            "8 -NO_IDENTIFIER",
            "9 -DUPLICATE_IN_FILE",
            "10 -TIME_IN_FUTURE[Adjustment Time]",
            "11 -NEGATIVE_VALUE[Adjusted Value]",
        ]
    );
    let by_click = "Parameters:TimeZone=UTC\nGoogle Click ID,Conversion Name,Conversion Time,Adjustment Time,Adjustment Type,Adjusted Value,Adjusted Value Currency\n\
        Cj0A,Lead,2026-11-18 10:00:00,2026-11-19 10:00:00,RESTATE,1,EUR\n\
        Cj0B,Lead,2026-11-18 10:00:00,2026-11-17 10:00:00,RETRACT,,\n\
        Cj0C,Lead,,2026-11-17 10:00:00,RETRACT,,\n";
    assert_eq!(
        rows(by_click, &Options::default()),
        [
            "3 restate 1.00 EUR gclid=Cj0A at 2026-11-18T10:00:00Z 2026-11-19T10:00:00Z",
            "4 -ADJUSTMENT_BEFORE_CONVERSION[Adjustment Time]",
            "5 -TIME_MISSING[Conversion Time]",
        ]
    );
}

#[test]
fn duplicates_are_refused_by_what_names_the_sale_and_the_first_stays() {
    let file = format!(
        "{HEADER},Order ID\n{}",
        "Cj0A,Lead,2026-11-18 14:05:00Z,1,EUR,\n\
         Cj0A,Lead,2026-11-18 15:05:00+0100,2,EUR,\n\
         Cj0A,Sale,2026-11-18 14:05:00Z,1,EUR,\n\
         Cj0A,Lead,2026-11-18 14:05:01Z,1,EUR,\n\
         Cj0B,Lead,2026-11-18 14:05:00Z,1,EUR,A-1\n\
         Cj0C,Lead,2026-11-18 16:05:00Z,1,EUR,A-1\n\
         Cj0C,Lead,2026-11-18 16:05:00Z,€1,EUR,A-2\n\
         Cj0C,Lead,2026-11-18 16:05:00Z,1,EUR,A-2\n"
    );
    let outcome = read(file.as_bytes(), &granted()).unwrap();
    let refused: Vec<&String> = outcome.rows.iter().filter(|row| row.contains('-') && row.contains(" -")).collect();
    assert_eq!(refused, ["3 -DUPLICATE_IN_FILE", "7 -DUPLICATE_IN_FILE", "8 -CURRENCY_SYMBOL[Conversion Value]"]);
    assert_eq!((outcome.summary.duplicates, outcome.summary.accepted), (2, 5));
}

#[test]
fn duplicates_are_found_when_the_index_has_gone_to_disk() {
    let row = |i: u32| format!("Cj0{i},Lead,2026-11-18 14:05:00Z,1,EUR\n");
    let file: String = (0..5000).chain(0..5000).map(row).collect();
    let options = Options { index_bytes: 2048, ..granted() };
    let summary = read(format!("{HEADER}\n{file}").as_bytes(), &options).unwrap().summary;
    assert_eq!((summary.accepted, summary.duplicates), (5000, 5000));
}

#[test]
fn json_lines_have_the_fields_of_the_api() {
    let granted_line = r#"{"action":"Lead","occurred_at":"2026-11-18T14:05:00Z","gclid":"Cj0A","value":120.10,"currency":"EUR","order_id":"A-1","consent":{"ad_user_data":"granted","ad_personalization":"denied"}}"#;
    for (line, expected) in [
        (granted_line, "1 2026-11-18T14:05:00Z gclid=Cj0A order=A-1 120.10 EUR personalization=denied"),
        (
            r#"{"action":"Lead","occurred_at":"2026-11-18T15:05:00+01:00","wbraid":"Cp4A","value":"7","currency":"jpy","consent":{"ad_user_data":"GRANTED"}}"#,
            "1 2026-11-18T14:05:00Z wbraid=Cp4A 7 JPY",
        ),
        (
            r#"{"action":"Lead","occurred_at":"2026-11-18T14:05:00Z","identifiers":{"phone":"+18005550100"},"consent":{"ad_user_data":"granted"}}"#,
            "1 2026-11-18T14:05:00Z phone=fb4f73a6 !VALUE_MISSING",
        ),
        (r#"{"action":"Lead","occurred_at":"2026-11-18T14:05:00Z","gclid":"Cj0A","consent":{"ad_user_data":"denied"}}"#, "1 denied"),
        (r#"{"action":"Lead","occurred_at":"2026-11-18T14:05:00Z","gclid":"Cj0A"}"#, "1 -CONSENT_REQUIRED !VALUE_MISSING"),
        (
            r#"{"action":"Lead","occurred_at":"2026-11-18T14:05:00","gclid":"Cj0A","value":1,"currency":"EUR","consent":{"ad_user_data":"granted"}}"#,
            "1 -TIME_ZONE_MISSING[occurred_at]",
        ),
        (
            r#"{"action":"Lead","occurred_at":"2026-11-18T14:05:00Z","gclid":"Cj0A","value":"1E+3","currency":"EUR","consent":{"ad_user_data":"granted"}}"#,
            "1 -SCIENTIFIC_NOTATION[value]",
        ),
        (
            r#"{"action":"Lead","occurred_at":"2026-11-18T14:05:00Z","gclid":"Cj0A","value":1e3,"currency":"EUR","consent":{"ad_user_data":"granted"}}"#,
            "1 2026-11-18T14:05:00Z gclid=Cj0A 1000.00 EUR",
        ),
        (
            r#"{"action":"Lead","occurred_at":"2026-11-18T14:05:00Z","gclid":"Cj0A","value":-1,"currency":"EUR","consent":{"ad_user_data":"granted"}}"#,
            "1 -NEGATIVE_VALUE[value]",
        ),
        (r#"{"action":"Lead","ocurred_at":"2026-11-18T14:05:00Z"}"#, "1 -UNKNOWN_KEY"),
        (r#"{"action":"Lead","action":"Lead"}"#, "1 -UNKNOWN_KEY"),
        (r#"{"action":7}"#, "1 -UNKNOWN_KEY"),
        (
            r#"{"lead_id":"lead_1","gclid":"Cj0A","action":"Lead","occurred_at":"2026-11-18T14:05:00Z","value":1,"currency":"EUR","consent":{"ad_user_data":"granted"}}"#,
            "1 -UNKNOWN_KEY",
        ),
        (r#"{"action":"Lead""#, "1 -TRUNCATED_ROW"),
        (r#"{"action" "Lead"}"#, "1 -MALFORMED_JSON"),
        (r"{}", "1 -CONSENT_REQUIRED -ACTION_MISSING[action] -TIME_MISSING[occurred_at] -NO_IDENTIFIER !VALUE_MISSING"),
    ] {
        assert_eq!(rows(&format!("{line}\n"), &Options::default()), [expected], "{line}");
    }
    let many = format!("\n{granted_line}\r\n\r\n{}\n[]\n", granted_line.replace("A-1", "A-2"));
    assert_eq!(rows(&many, &Options::default()).iter().map(|row| &row[..2]).collect::<Vec<_>>(), ["2 ", "4 ", "5 "]);
    let zoned = Options { time_zone: Some("Europe/Berlin".to_owned()), format: Format::Jsonl, ..granted() };
    let naive = r#"{"action":"Lead","occurred_at":"2026-11-18 14:05:00","gclid":"Cj0A","value":1,"currency":"EUR"}"#;
    assert_eq!(rows(naive, &zoned), ["1 2026-11-18T13:05:00Z gclid=Cj0A 1.00 EUR"]);
    for length in [1 << 20, 1 << 22] {
        let long = format!("{naive}\n{{\"action\":\"{}\"}}\n{}\n", "x".repeat(length), naive.replace("14:05", "14:06"));
        let lines = rows(&long, &zoned);
        assert_eq!((lines.len(), &*lines[1], &lines[2][..2]), (3, "2 -ROW_TOO_LONG", "3 "));
    }
}

#[test]
fn rows_may_be_padded_and_the_last_line_may_lack_its_break() {
    let row = "Cj0A,Lead,2026-11-18 14:05:00Z,1,EUR";
    for file in [
        format!("{HEADER}\n{row}"),
        format!("{HEADER}\n{row},,"),
        format!("{HEADER},,\n{row},,\n,,,,,,\n"),
        format!("{HEADER}\n{row}\n\n\n"),
    ] {
        assert_eq!(rows(&file, &granted()), ["2 2026-11-18T14:05:00Z gclid=Cj0A 1.00 EUR"], "{file}");
    }
    assert_eq!(read(format!("{HEADER}\n").as_bytes(), &granted()).unwrap().warnings[0].code.as_str(), "NO_ROWS");
}
