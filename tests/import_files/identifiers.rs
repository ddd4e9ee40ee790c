//! Enhanced conversions for leads: e-mail addresses, phone numbers, addresses, plain and hashed.

use crate::harness::{granted, rows};

const HEADER: &str = "Email,Phone Number,First Name,Last Name,Country,Zip,Google Click ID,Conversion Name,Conversion Time,Conversion Value,Conversion Currency";
const ALEX: &str = "509e933019bb285a134a9334b8bb679dff79d0ce023d529af4bd744d47b4fd8a";
const PHONE: &str = "fb4f73a6ec5fdb7077d564cdd22c3554b43ce49168550c3b12c547b78c517b30";

fn person(cells: &str) -> String {
    let rows = rows(&format!("{HEADER}\n{cells},Lead,2026-11-18 14:05:00Z,1,EUR\n"), &granted());
    rows[0].replacen("2 ", "", 1).replace("2026-11-18T14:05:00Z ", "").replace("1.00 EUR ", "").replace(" 1.00 EUR", "")
}

#[test]
fn plain_and_hashed_addresses_and_numbers_give_googles_hashes() {
    for cells in
        ["alexz@example.com,,,,,,", " AlexZ@Example.com ,,,,,,", &format!("{ALEX},,,,,,"), &format!("{},,,,,,", ALEX.to_uppercase())]
    {
        assert_eq!(person(cells), "email=509e9330", "{cells}");
    }
    for cells in [
        ",+18005550100,,,,,",
        ",+1 (800) 555-0100,,,,,",
        ",001 800 555 0100,,,,,",
        ",(800) 555-0100,,,US,,",
        ",800.555.0100,,,us,,",
        ",'+18005550100,,,,,",
        &format!(",{PHONE},,,,,"),
    ] {
        assert!(person(cells).starts_with("phone=fb4f73a6"), "{cells}: {}", person(cells));
    }
    let gmail = person("Jefferson.Loves.hiking+news@gmail.com,,,,,,");
    assert_eq!(person("jeffersonloveshiking@gmail.com,,,,,,"), gmail);
}

#[test]
fn identifiers_stand_beside_a_click_id() {
    assert_eq!(person("alexz@example.com,+18005550100,,,,,Cj0A"), "gclid=Cj0A email=509e9330 phone=fb4f73a6");
}

#[test]
fn what_cannot_be_used_refuses_the_row_unless_something_else_names_the_person() {
    for (cells, expected) in [
        ("ada,,,,,,", "-INVALID_EMAIL[Email]"),
        ("ada@localhost,,,,,,", "-INVALID_EMAIL[Email]"),
        ("d41d8cd98f00b204e9800998ecf8427e,,,,,,", "-INVALID_EMAIL[Email]"),
        (",0151 23456789,,,,,", "-PHONE_NEEDS_COUNTRY[Phone Number]"),
        (",none,,,,,", "-INVALID_PHONE[Phone Number]"),
        (",+49123,,,,,", "-INVALID_PHONE[Phone Number]"),
        (",4.91512E+12,,,,,", "-SCIENTIFIC_NOTATION[Phone Number]"),
        ("alexz@example.com,4.91512E+12,,,,,", "-SCIENTIFIC_NOTATION[Phone Number]"),
        ("alexz@example.com,none,,,,,", "email=509e9330 !INVALID_PHONE"),
        ("alexz@example.com,0151 23456789,,,,,", "email=509e9330 !PHONE_NEEDS_COUNTRY"),
        ("ada,+18005550100,,,,,", "phone=fb4f73a6 !INVALID_EMAIL"),
        ("ada,,,,,,Cj0A", "gclid=Cj0A !INVALID_EMAIL"),
        ("ada,none,,,,,", "-INVALID_EMAIL[Email] -INVALID_PHONE[Phone Number]"),
        ("#NAME?,,,,,,", "-SPREADSHEET_ERROR[Email]"),
        (",,,,,,", "-NO_IDENTIFIER"),
        (",,Ada,Lovelace,,,", "-NO_IDENTIFIER"),
        (",,Ada,,GB,W1,", "-NO_IDENTIFIER"),
    ] {
        assert_eq!(person(cells), expected, "{cells}");
    }
}

#[test]
fn a_complete_address_names_a_person_and_a_bad_country_does_not_spoil_the_rest() {
    let address = person(",,Ada,Lovelace,gb,W1J 7NT,");
    assert!(address.starts_with("first=") && address.contains(" last=") && address.ends_with("country=GB zip=W1J 7NT"), "{address}");
    assert_eq!(person(",, ADA ,LOVELACE,GB,W1J 7NT,"), address);
    assert!(person(",,'t Hooft,'s Gravesande,NL,1011,").contains("country=NL"));
    assert!(person("alexz@example.com,,,,Deutschland,,").ends_with("!INVALID_COUNTRY"));
}

#[test]
fn people_without_click_ids_are_told_apart_and_duplicates_found_however_they_are_written() {
    let rows = rows(
        &format!(
            "{HEADER}\n{}",
            [
                "alexz@example.com,,,,,,",
                &format!("{ALEX},,,,,,"),
                "b@example.com,,,,,,",
                ",,Ada,Lovelace,GB,W1,",
                ",,Ada,Byron,GB,W1,",
                ",,ada,BYRON,gb,W1,"
            ]
            .iter()
            .map(|cells| format!("{cells},Lead,2026-11-18 14:05:00Z,1,EUR\n"))
            .collect::<String>()
        ),
        &granted(),
    );
    let duplicates: Vec<&str> = rows.iter().filter(|row| row.contains("DUPLICATE")).map(|row| &row[..2]).collect();
    assert_eq!(duplicates, ["3 ", "7 "]);
}
