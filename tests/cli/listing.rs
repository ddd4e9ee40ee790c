//! `conversion list` and `show`: filters, pages, times.

use adsengineer_server::sandbox::SandboxOptions;
use serde_json::Value;

use crate::stage::{Said, Stage, click_file};

fn list(stage: &Stage, more: &[&str]) -> Value {
    let said = stage.run(&[&["conversion", "list", "--json"], more].concat());
    assert_eq!(said.code, 0, "{more:?}: {}", said.stderr);
    said.json()
}

fn orders(page: &Value) -> Vec<String> {
    page["conversions"].as_array().unwrap().iter().map(|c| c["order_id"].as_str().unwrap().to_owned()).collect()
}

/// Five sales, of which the platform refuses the third; a sixth that was captured two hours later by its clock.
fn stage() -> Stage {
    let stage = Stage::new(SandboxOptions::default());
    let rows = [
        ("L-1", "Cj0_one", "1"),
        ("L-2", "Cj0_two", "2.50"),
        ("L-3", "sandbox-INVALID_GCLID-x", "3"),
        ("L-4", "Cj0_four", "4"),
        ("L-5", "Cj0_five", "5"),
    ];
    stage.file("deals.csv", &click_file(&rows));
    assert_eq!(stage.upload("deals.csv", &["--wait=20s"]).code, 3);
    stage.file("later.csv", &click_file(&[("L-6", "Cj0_six", "6")]));
    let later = (jiff::Timestamp::now() + jiff::SignedDuration::from_hours(2)).to_string();
    let upload = ["upload", "later.csv", "--customer-id", "1234567890", "--action", "Sale=987654321", "--wait=20s"];
    stage.command().env("ADSENGINEER_NOW", later).args(upload).assert().success();
    stage
}

#[test]
fn pages_follow_each_other_and_no_row_is_shown_twice_or_left_out() {
    let stage = stage();
    for (flags, expected) in
        [(&[][..], ["L-1", "L-2", "L-3", "L-4", "L-5", "L-6"]), (&["--newest"], ["L-6", "L-5", "L-4", "L-3", "L-2", "L-1"])]
    {
        let (mut found, mut cursor, mut pages) = (Vec::new(), None::<String>, 0);
        loop {
            let mut args = [flags, &["--limit", "4"]].concat();
            if let Some(cursor) = &cursor {
                args.extend(["--cursor", cursor]);
            }
            let page = list(&stage, &args);
            found.extend(orders(&page));
            pages += 1;
            cursor = page["next_cursor"].as_str().map(str::to_owned);
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!((found, pages), (expected.map(str::to_owned).to_vec(), 2));
    }
    let text = stage.run(&["conversion", "list", "--limit", "1"]).stdout;
    let cursor = text.lines().last().unwrap().strip_prefix("more with --cursor ").unwrap();
    assert!(text.contains("L-1") && !text.contains("L-2"), "{text}");
    let rest = stage.run(&["conversion", "list", "--cursor", cursor]).stdout;
    assert!(rest.contains("2.50 EUR") && rest.contains("dead (INVALID_GCLID)") && !rest.contains("L-1"), "{rest}");
    for list in ["conversion", "dlq"] {
        let nonsense = stage.run(&[list, "list", "--cursor", "nonsense"]);
        assert!(nonsense.code == 2 && nonsense.stderr.contains("page before"), "{list}: {}", nonsense.stderr);
    }
    stage.close();
}

#[test]
fn states_order_ids_and_times_narrow_the_list() {
    let stage = stage();
    assert_eq!(orders(&list(&stage, &["--state", "dead"])), ["L-3"]);
    assert_eq!(orders(&list(&stage, &["--state", "delivered", "--newest", "--limit", "2"])), ["L-6", "L-5"]);
    assert_eq!(orders(&list(&stage, &["--order-id", "L-4"])), ["L-4"]);
    assert_eq!(orders(&list(&stage, &["--order-id", "L-4", "--state", "dead"])), Vec::<String>::new());
    let none = stage.run(&["conversion", "list", "--state", "held"]);
    assert_eq!((none.code, none.stdout.trim()), (0, "no conversions"));
    let hence = |hours| (jiff::Timestamp::now() + jiff::SignedDuration::from_hours(hours)).to_string();
    let (soon, far) = (hence(1), hence(24));
    assert_eq!(orders(&list(&stage, &["--since", &soon])), ["L-6"]);
    assert_eq!(orders(&list(&stage, &["--since", "1h"])).len(), 6);
    assert_eq!(orders(&list(&stage, &["--since", "2020-02-29"])).len(), 6);
    assert_eq!(orders(&list(&stage, &["--since", &far])).len(), 0);
    assert_eq!(orders(&list(&stage, &["--since", &far[..10]])).len(), 0);
    stage.close();
}

#[test]
fn a_filter_that_cannot_be_read_names_what_can_be_written() {
    let stage = Stage::new(SandboxOptions::default());
    let error = |args: &[&str]| -> String {
        let said: Said = stage.run(&[&["conversion", "list"], args].concat());
        assert_eq!(said.code, 2, "{args:?}: {}", said.stderr);
        said.stderr
    };
    assert!(error(&["--since", "yesterday"]).contains("2h, 2026-11-20"));
    assert!(error(&["--since", "2026-02-30"]).contains("is not a time"));
    assert!(error(&["--state", "lost"]).contains("awaiting_confirmation"));
    error(&["--limit", "0"]);
    stage.close();
}

#[test]
fn one_conversion_is_shown_by_any_of_its_names() {
    let stage = stage();
    let page = list(&stage, &["--order-id", "L-3"]);
    let one = &page["conversions"][0];
    let names = [one["id"].as_str().unwrap(), one["deliveries"][0]["id"].as_str().unwrap(), "L-3"];
    for name in names {
        let shown = stage.run(&["conversion", "show", name, "--json"]).json();
        assert_eq!((&shown["id"], &shown["deliveries"][0]["reason"]), (&one["id"], &"INVALID_GCLID".into()), "{name}");
    }
    stage.close();
}
