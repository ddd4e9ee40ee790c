//! Dead letters and restatements, from the outside: shown, filtered, exported, sent again.

use adsengineer_server::sandbox::{Access, SandboxOptions};
use serde_json::Value;

use crate::stage::{Said, Stage, click_file, yesterday};

fn letters(stage: &Stage, more: &[&str]) -> Vec<Value> {
    let list = stage.run(&[&["dlq", "list", "--json"], more].concat());
    assert_eq!(list.code, 0, "{}", list.stderr);
    list.json()["dead_letters"].as_array().unwrap().clone()
}

#[test]
fn dead_letters_are_filtered_paged_exported_and_repaired_one_by_one() {
    let stage = Stage::new(SandboxOptions::default());
    stage.file(
        "deals.csv",
        &click_file(&[
            ("A-1", "Cj0_one", "1"),
            ("A-2", "sandbox-INVALID_GCLID-a", "2"),
            ("A-3", "sandbox-EVENT_TOO_OLD-b", "3"),
            ("A-4", "sandbox-INVALID_GCLID-c", "4"),
        ]),
    );
    let said = stage.upload("deals.csv", &["--wait=30s"]);
    assert_eq!((said.code, said.json()["delivery"]["dead"].as_u64()), (3, Some(3)), "{}{}", said.stdout, said.stderr);
    assert_eq!(letters(&stage, &["--reason", "INVALID_GCLID"]).len(), 2);
    assert_eq!(letters(&stage, &["--reason", "INVALID_GCLID", "--since", "1h"]).len(), 2);
    assert_eq!(letters(&stage, &["--until", "1h"]).len(), 0);
    assert_eq!(letters(&stage, &["--destination", "google-1234567890"]).len(), 3);
    assert_eq!(letters(&stage, &["--kind", "webhook"]).len(), 0);
    let first = stage.run(&["dlq", "list", "--limit", "2", "--json"]).json();
    assert_eq!(first["dead_letters"].as_array().map(Vec::len), Some(2));
    assert_eq!(letters(&stage, &["--cursor", first["next_cursor"].as_str().unwrap()]).len(), 1);
    let export = stage.run(&["dlq", "export", "--reason", "EVENT_TOO_OLD", "-o", "dead.jsonl", "--json"]);
    assert_eq!(export.json()["written"], 1);
    let line: Value = serde_json::from_str(std::fs::read_to_string(stage.path("dead.jsonl")).unwrap().trim()).unwrap();
    assert_eq!((&line["payload"]["order_id"], &line["schema_version"]), (&"A-3".into(), &1.into()));
    let id = line["id"].as_str().unwrap();
    let shown = stage.run(&["dlq", "show", id]);
    assert!(shown.stdout.contains("EVENT_TOO_OLD") && shown.stdout.contains("next:"), "{}", shown.stdout);
    assert_eq!(stage.run(&["dlq", "discard"]).code, 2, "nothing says which");
    assert_eq!(stage.run(&["dlq", "discard", id]).code, 0);
    assert_eq!(stage.run(&["dlq", "discard", id]).code, 7, "it is not dead any more");
    assert_eq!(stage.run(&["dlq", "replay", "dlv_0saxs14980002"]).code, 6);
    assert_eq!(stage.run(&["dlq", "replay", "no-id"]).code, 2);
    stage.sandbox.set_click_verdicts(false);
    assert_eq!(stage.run(&["dlq", "replay", "--reason", "INVALID_GCLID", "--rate", "50/s", "--note", "clicks repaired", "--yes"]).code, 0);
    let work = stage.run(&["work", "--wait=30s"]);
    assert_eq!(work.code, 0, "{}{}", work.stdout, work.stderr);
    let ids: Vec<_> = stage.counted().into_iter().map(|(id, _)| id).collect();
    assert_eq!((ids, stage.sandbox.counters().overwritten), (vec!["A-1".into(), "A-2".into(), "A-4".into()], 0));
    let sum = stage.run(&["reconcile", "--json"]).json();
    assert_eq!((&sum["closes"], &sum["states"]["delivered"], &sum["states"]["discarded"]), (&true.into(), &3.into(), &1.into()));
    stage.close();
}

#[test]
fn rows_held_for_the_project_say_what_to_do_and_destination_check_lets_them_go() {
    let stage = Stage::new(SandboxOptions { access: Access::ServiceDisabled, ..SandboxOptions::default() });
    stage.file("deals.csv", &click_file(&[("A-1", "Cj0_one", "1")]));
    let held: Said = stage.run(&["upload", "deals.csv", "--customer-id", "1234567890", "--action", "Sale=1"]);
    assert!(held.code == 5 && held.stdout.contains("SERVICE_DISABLED"), "{}{}", held.stdout, held.stderr);
    let status = stage.run(&["status", "--json"]).json();
    let hold = &status["destinations"][0]["held"][0];
    assert_eq!((&hold["reason"], &hold["count"]), (&"SERVICE_DISABLED".into(), &1.into()));
    assert!(hold["next_action"].as_str().unwrap().contains("enable the Data Manager API"));
    assert_eq!(stage.run(&["destination", "check", "google-1234567890", "--json"]).code, 10);
    stage.sandbox.set_access(Access::Granted);
    let check = stage.run(&["destination", "check", "google-1234567890", "--json"]);
    assert_eq!((check.code, &check.json()["released"]), (0, &1.into()), "{}", check.stdout);
    assert_eq!(stage.run(&["work", "--wait=20s"]).code, 0);
    assert_eq!(stage.counted().len(), 1);
    stage.close();
}

#[test]
fn json_lines_carry_what_a_file_carries_and_bad_lines_are_named() {
    let stage = Stage::new(SandboxOptions::default());
    let line = |order: &str, value: &str, consent: &str| {
        let at = yesterday();
        format!(
            r#"{{"action":"Sale","occurred_at":"{at}T10:00:00.750+02:00","value":{value},"currency":"EUR","order_id":"{order}","gclid":"Cj0_{order}","consent":{{"ad_user_data":"{consent}"}}}}"#
        ) + "\n"
    };
    let text = [
        line("J-1", "\"12.50\"", "granted"),
        line("J-2", "7.1", "granted"),
        line("J-3", "1", "denied"),
        "{\"action\":,}\n".to_owned(),
        line("J-4", "2", "granted"),
    ];
    stage.file("deals.jsonl", &text.concat());
    let said = stage.upload("deals.jsonl", &["--wait=20s"]);
    assert_eq!((said.code, &said.json()["findings"][0]["code"]), (3, &"MALFORMED_JSON".into()), "{}{}", said.stdout, said.stderr);
    assert_eq!((&said.json()["findings"][0]["row"], &said.json()["summary"]["denied"]), (&4.into(), &1.into()));
    assert_eq!(stage.counted(), [("J-1", "12.5"), ("J-2", "7.1"), ("J-4", "2")].map(|(id, value)| (id.to_owned(), Some(value.to_owned()))));
    assert_eq!(stage.sandbox.accepted()[0].event_timestamp, format!("{}T08:00:00Z", yesterday()));
    stage.close();
}

#[test]
fn a_restatement_of_a_value_that_is_still_waiting_is_sent_once_with_the_new_value() {
    let stage = Stage::new(SandboxOptions::default());
    stage.sandbox.set_revoked(true);
    stage.file("deals.csv", &click_file(&[("A-1", "Cj0_one", "1")]));
    assert_eq!(stage.upload("deals.csv", &[]).code, 4);
    stage.sandbox.set_revoked(false);
    stage.file("dearer.csv", &click_file(&[("A-1", "Cj0_one", "150")]));
    let said = stage.upload("dearer.csv", &["--restate", "--wait=20s"]);
    assert_eq!(said.code, 0, "{}{}", said.stdout, said.stderr);
    assert_eq!(stage.counted(), [("A-1".into(), Some("150".into()))]);
    assert_eq!(stage.run(&["reconcile", "--json"]).json()["closes"], true);
    stage.close();
}

#[test]
fn organizations_on_one_database_see_only_their_own() {
    let stage = Stage::new(SandboxOptions::default());
    stage.file("deals.csv", &click_file(&[("A-1", "Cj0_one", "1")]));
    assert_eq!(stage.upload("deals.csv", &["--org", "acme", "--wait=20s"]).code, 0);
    assert_eq!(stage.run(&["explain", "A-1", "--org", "acme"]).code, 0);
    assert_eq!(stage.run(&["explain", "A-1"]).code, 6);
    assert_eq!(stage.run(&["destination", "show", "google-1234567890", "--org", "other"]).code, 6);
    assert_eq!(stage.run(&["status", "--json"]).json()["destinations"], serde_json::json!([]));
    assert_eq!(stage.run(&["status", "--all-orgs", "--json"]).json()["destinations"][0]["org_id"], "acme");
    assert_eq!(stage.run(&["status", "--org", "no such name!"]).code, 2);
    stage.close();
}

#[test]
fn rows_held_for_review_are_not_sent_by_every_run_but_when_a_human_says_so() {
    let stage = Stage::new(SandboxOptions::default());
    let odd = "sandbox-ONE_PER_CLICK_CONVERSION_ACTION_NOT_PERMITTED_WITH_BRAID-x";
    stage.file("deals.csv", &click_file(&[("A-1", "Cj0_one", "1"), ("A-2", odd, "2")]));
    let said = stage.run(&["upload", "deals.csv", "--customer-id", "1234567890", "--action", "Sale=987654321", "--wait=20s"]);
    assert!(said.code == 5 && said.stdout.contains("destination check google-1234567890"), "{}{}", said.stdout, said.stderr);
    let received = stage.sandbox.counters().events_received;
    for args in [&["work", "--wait=20s"][..], &["upload", "deals.csv", "--customer-id", "1234567890", "--action", "Sale=987654321"]] {
        let said = stage.run(args);
        assert_eq!(said.code, 0, "{args:?}: {}", said.stdout);
        assert_eq!(args[0] == "work", said.stdout.contains("1 still held because ONE_PER_CLICK"), "{args:?}: {}", said.stdout);
        assert_eq!(stage.sandbox.counters().events_received, received, "{args:?}");
    }
    assert_eq!(stage.run(&["status", "--json"]).json()["destinations"][0]["states"]["held"], 1);
    stage.sandbox.set_click_verdicts(false);
    assert_eq!(stage.run(&["destination", "check", "google-1234567890", "--json"]).json()["released"], 1);
    assert_eq!(stage.run(&["work", "--wait=20s"]).code, 0);
    assert_eq!(stage.counted().len(), 2);
    stage.close();
}

#[test]
fn a_restatement_with_another_click_id_is_refused_and_changes_nothing() {
    let stage = Stage::new(SandboxOptions::default());
    stage.file("deals.csv", &click_file(&[("A-1", "Cj0_one", "1")]));
    assert_eq!(stage.upload("deals.csv", &["--wait=20s"]).code, 0);
    stage.file("other.csv", &click_file(&[("A-1", "Cj0_else", "150")]));
    let said = stage.upload("other.csv", &["--restate", "--wait=20s"]);
    let finding = &said.json()["findings"][0];
    assert_eq!((said.code, &finding["code"], &finding["row"]), (3, &"ALREADY_CAPTURED_DIFFERENT".into(), &2.into()), "{}", said.stdout);
    assert!(finding["reason"].as_str().unwrap().contains("click id"), "{finding}");
    assert_eq!(stage.counted(), [("A-1".into(), Some("1".into()))]);
    stage.close();
}

#[test]
fn an_account_has_one_form_everywhere() {
    let stage = Stage::new(SandboxOptions::default());
    assert_eq!(stage.run(&["destination", "add", "shop", "--customer-id", "123-456-7890"]).code, 0);
    for verb in [&["status"][..], &["destination", "list"]] {
        let json = stage.run(&[verb, &["--json"]].concat()).json();
        assert_eq!(json["destinations"][0]["customer_id"], "123-456-7890", "{verb:?}");
    }
    for verb in [&["destination", "show", "shop"][..], &["destination", "list"]] {
        let text = stage.run(verb).stdout;
        assert!(text.contains("123-456-7890") && !text.contains("1234567890"), "{verb:?}: {text}");
    }
    stage.close();
}
