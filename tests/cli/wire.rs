//! What stands in the file is what the platform gets: values, times, clicks, transaction ids, actions.

use adsengineer_server::sandbox::{AcceptedConversion, SandboxOptions};

use crate::stage::{Said, Stage, click_file, yesterday};

const HEAD: &str = "Google Click ID,Conversion Name,Conversion Time,Conversion Value,Conversion Currency,Order ID,Ad User Data\n";
const ACCOUNT: [&str; 3] = ["--customer-id", "123-456-7890", "--json"];

fn upload(stage: &Stage, file: &str, more: &[&str]) -> Said {
    stage.run(&[&["upload", file], &ACCOUNT[..], more].concat())
}

fn code_of(said: &Said) -> String {
    said.json()["findings"][0]["code"].as_str().unwrap_or_default().to_owned()
}

/// What the stand-in counted under a transaction id.
fn counted(stage: &Stage, transaction_id: &str) -> AcceptedConversion {
    stage.sandbox.accepted().into_iter().find(|c| c.transaction_id == transaction_id).unwrap()
}

#[test]
fn every_field_arrives_as_it_was_written() {
    let stage = Stage::new(SandboxOptions::default());
    let day = yesterday();
    let rows = [
        format!("Cj0KCQ-one_1,Sale,{day} 14:05:09+0100,1234.56,EUR,A-1,Granted\n"),
        format!("Cj0KCQ-two_2,Sale,{day} 23:59:59Z,0.10,USD,A-2,Granted\n"),
        format!("Cj0KCQ-three,Sale,{day} 00:00:00-0230,99999999.999999,JPY,A-3,Granted\n"),
        format!("Cj0KCQ-four,Sale,{day} 12:00:00+0545,,,A-4,Granted\n"),
    ];
    stage.file("deals.csv", &format!("{HEAD}{}", rows.concat()));
    let said = stage.upload("deals.csv", &["--wait=20s"]);
    assert_eq!(said.code, 0, "{}{}", said.stdout, said.stderr);
    let expected = [
        ("A-1", Some("1234.56"), Some("EUR"), format!("{day}T13:05:09Z"), "Cj0KCQ-one_1"),
        ("A-2", Some("0.1"), Some("USD"), format!("{day}T23:59:59Z"), "Cj0KCQ-two_2"),
        ("A-3", Some("99999999.999999"), Some("JPY"), format!("{day}T02:30:00Z"), "Cj0KCQ-three"),
        ("A-4", None, None, format!("{day}T06:15:00Z"), "Cj0KCQ-four"),
    ];
    for (id, value, currency, at, click) in expected {
        let c = counted(&stage, id);
        assert_eq!(
            (c.value.as_deref(), c.currency.as_deref(), c.event_timestamp, c.click_id.as_deref()),
            (value, currency, at, Some(click))
        );
        assert_eq!((c.account.as_str(), c.action.as_str(), c.times_received), ("1234567890", "987654321", 1), "{id}");
    }
    assert_eq!(stage.counted().len(), 4);
    stage.close();
}

#[test]
fn rows_of_two_actions_go_to_their_own_actions_and_an_unknown_one_is_refused() {
    let stage = Stage::new(SandboxOptions::default());
    let text = click_file(&[("A-1", "Cj0_one", "1"), ("A-2", "Cj0_two", "2"), ("A-3", "Cj0_three", "3")]);
    stage.file("deals.csv", &text.replacen("two,Sale", "two,Lead", 1).replacen("three,Sale", "three,Visit", 1));
    let said = upload(&stage, "deals.csv", &["--action", "Sale=11", "--action", "Lead=22", "--wait=20s"]);
    assert_eq!((said.code, code_of(&said).as_str()), (3, "UNKNOWN_ACTION"), "{}{}", said.stdout, said.stderr);
    assert_eq!(said.json()["findings"][0]["row"], 4);
    assert_eq!((counted(&stage, "A-1").action.as_str(), counted(&stage, "A-2").action.as_str()), ("11", "22"));
    assert_eq!(stage.counted().len(), 2);
    let named = upload(&stage, "deals.csv", &["--action", "Visit=33"]);
    assert_eq!((named.code, named.json()["captured"]["known"].as_u64()), (0, Some(2)), "{}{}", named.stdout, named.stderr);
    assert_eq!(counted(&stage, "A-3").action, "33");
    stage.close();
}

#[test]
fn a_bare_action_takes_every_row_also_those_that_name_none() {
    let stage = Stage::new(SandboxOptions::default());
    let text = click_file(&[("A-1", "Cj0_one", "1"), ("A-2", "Cj0_two", "2")]).replacen("two,Sale", "two,", 1);
    stage.file("deals.csv", &text);
    let missing = upload(&stage, "deals.csv", &["--action", "Sale=987654321"]);
    assert_eq!((missing.code, code_of(&missing).as_str()), (3, "ACTION_MISSING"), "{}", missing.stdout);
    let bare = upload(&stage, "deals.csv", &["--action", "987654321"]);
    assert_eq!(bare.code, 0, "{}{}", bare.stdout, bare.stderr);
    assert!(stage.sandbox.accepted().iter().all(|c| c.action == "987654321"));
    assert_eq!(stage.counted().len(), 2);
    assert_eq!(upload(&stage, "deals.csv", &["--action", "Sale=nine"]).code, 2);
    stage.close();
}

#[test]
fn a_prefix_stands_before_every_order_id_and_rows_without_one_get_the_same_id_each_time() {
    let stage = Stage::new(SandboxOptions::default());
    stage.file("deals.csv", &click_file(&[("A-1", "Cj0_one", "1"), ("", "Cj0_two", "2")]));
    assert_eq!(stage.upload("deals.csv", &["--order-id-prefix", "shop-", "--wait=20s"]).code, 0);
    assert_eq!(counted(&stage, "shop-A-1").value.as_deref(), Some("1"));
    let own = stage.sandbox.accepted().into_iter().find(|c| c.click_id.as_deref() == Some("Cj0_two")).unwrap();
    assert!(own.transaction_id.len() >= 16 && !own.transaction_id.contains("Cj0_two"), "{}", own.transaction_id);
    let elsewhere = format!("sqlite://{}", stage.path("other.db").display());
    assert_eq!(stage.upload("deals.csv", &["--order-id-prefix", "shop-", "--database", &elsewhere, "--wait=20s"]).code, 0);
    let counters = stage.sandbox.counters();
    assert_eq!((counters.conversions, counters.repeated, counters.overwritten, counters.repeated_changed), (2, 2, 0, 0));
    stage.close();
}

#[test]
fn an_order_id_counts_once_for_each_action_and_no_other_sale_may_use_it() {
    let stage = Stage::new(SandboxOptions::default());
    stage.file("deals.csv", &click_file(&[("A-1", "Cj0_one", "1")]));
    assert_eq!(stage.upload("deals.csv", &["--wait=20s"]).code, 0);
    stage.file("click.csv", &click_file(&[("A-1", "Cj0_else", "1")]));
    let other = stage.upload("click.csv", &[]);
    assert_eq!((other.code, code_of(&other).as_str()), (3, "ALREADY_CAPTURED_DIFFERENT"), "{}{}", other.stdout, other.stderr);
    // Two names for one action of the platform: there it would be the same conversion.
    stage.file("name.csv", &click_file(&[("A-1", "Cj0_else", "7")]).replace(",Sale,", ",Lead,"));
    let taken = stage.upload("name.csv", &["--action", "Lead=987654321", "--rejects", "bad.csv"]);
    assert_eq!((taken.code, code_of(&taken).as_str()), (3, "ORDER_ID_TAKEN"), "{}{}", taken.stdout, taken.stderr);
    assert!(std::fs::read_to_string(stage.path("bad.csv")).unwrap().contains("ORDER_ID_TAKEN"));
    assert_eq!((counted(&stage, "A-1").value.as_deref(), stage.sandbox.counters().events_received), (Some("1"), 1));
    assert_eq!(stage.upload("name.csv", &["--action", "Lead=5", "--action", "Sale=987654321"]).code, 0);
    assert_eq!(stage.counted().len(), 2);
    stage.close();
}

#[test]
fn one_bad_row_is_named_with_its_row_and_the_others_go() {
    let day = yesterday();
    let braid = HEAD.replacen("Google Click ID", "Google Click ID,GBRAID", 1);
    let good = format!("Cj0_good,Sale,{day} 10:00:00+0000,5,EUR,G-1,Granted\n");
    let cases = [
        (
            "TWO_CLICK_IDS",
            format!("{braid}Cj0_a,0AAb,Sale,{day} 10:00:00+0000,1,EUR,A-1,Granted\n,{good}").replace(",Cj0_good", "Cj0_good,"),
            2,
        ),
        ("TRUNCATED_ROW", format!("{HEAD}{good}Cj0_b,Sale,{day} 10:0"), 3),
        ("DUPLICATE_IN_FILE", format!("{HEAD}{good}{good}"), 3),
        ("SPREADSHEET_ERROR", format!("{HEAD}#NAME?,Sale,{day} 10:00:00+0000,1,EUR,A-1,Granted\n{good}"), 2),
        ("CURRENCY_MISSING", format!("{HEAD}Cj0_c,Sale,{day} 10:00:00+0000,1,,A-1,Granted\n{good}"), 2),
        ("ORDER_ID_CONTAINS_PII", format!("{HEAD}Cj0_d,Sale,{day} 10:00:00+0000,1,EUR,ann@example.com,Granted\n{good}"), 2),
        ("TIME_IN_FUTURE", format!("{HEAD}Cj0_e,Sale,2099-01-01 10:00:00+0000,1,EUR,A-1,Granted\n{good}"), 2),
    ];
    for (code, text, row) in cases {
        let stage = Stage::new(SandboxOptions::default());
        stage.file("deals.csv", &text);
        let said = stage.upload("deals.csv", &[]);
        assert_eq!((said.code, code_of(&said).as_str()), (3, code), "{}{}", said.stdout, said.stderr);
        assert_eq!(said.json()["findings"][0]["row"], row, "{code}");
        assert_eq!(stage.counted(), [("G-1".to_owned(), Some("5".to_owned()))], "{code}");
        assert_eq!(stage.run(&["check", "deals.csv", "--json"]).code, 10, "{code}");
        stage.close();
    }
}
