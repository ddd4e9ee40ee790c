//! A file goes in, every row is delivered once or explained.

use std::time::Duration;

use adsengineer_server::sandbox::{Access, Fault, FaultPlan, SandboxOptions};

use crate::stage::{Said, Stage, click_file};

const ROWS: [(&str, &str, &str); 3] = [("A-1", "Cj0_one", "120.00"), ("A-2", "Cj0_two", "99.95"), ("A-3", "Cj0_three", "5")];

fn stage(options: SandboxOptions) -> Stage {
    let stage = Stage::new(options);
    stage.file("deals.csv", &click_file(&ROWS));
    stage
}

fn assert_all_counted_once(stage: &Stage) {
    let expected: Vec<_> = [("A-1", "120"), ("A-2", "99.95"), ("A-3", "5")].map(|(id, v)| (id.to_owned(), Some(v.to_owned()))).into();
    assert_eq!(stage.counted(), expected);
    let counters = stage.sandbox.counters();
    assert_eq!((counters.overwritten, counters.repeated_changed), (0, 0));
}

fn state(stage: &Stage, order: &str) -> (String, String) {
    let json = stage.run(&["conversion", "list", "--order-id", order, "--json"]).json();
    let delivery = &json["conversions"][0]["deliveries"][0];
    (delivery["state"].as_str().unwrap_or("").to_owned(), delivery["reason"].as_str().unwrap_or("").to_owned())
}

#[test]
fn a_good_file_is_delivered_and_the_same_file_again_sends_nothing() {
    let stage = stage(SandboxOptions::default());
    let first = stage.upload("deals.csv", &["--wait=20s"]);
    assert_eq!(first.code, 0, "{}{}", first.stdout, first.stderr);
    assert_all_counted_once(&stage);
    assert_eq!(state(&stage, "A-1").0, "delivered");
    let requests = stage.sandbox.counters().requests;
    let again = stage.upload("deals.csv", &[]);
    assert_eq!((again.code, again.json()["captured"]["known"].as_u64()), (0, Some(3)));
    assert_eq!(stage.sandbox.counters().requests, requests);
    let sum = stage.run(&["reconcile", "--json"]);
    assert_eq!((sum.code, sum.json()["closes"].as_bool(), sum.json()["captured"].as_u64()), (0, Some(true), Some(3)));
    stage.close();
}

#[test]
fn every_fault_on_the_way_ends_with_each_row_counted_once() {
    for fault in [
        Fault::Unavailable503,
        Fault::ResetBefore,
        Fault::ResetAfterCommit,
        Fault::HangAfterCommit(Duration::from_secs(5)),
        Fault::ExpiredToken401,
        Fault::Quota429 { retry_delay: Some(Duration::from_millis(200)) },
        Fault::GarbageAfterCommit,
        Fault::Html502,
    ] {
        // A token that is refused twice in a row is a matter of credentials, everything else may happen again.
        let once = FaultPlan::none().at(1, fault);
        let faults = if fault == Fault::ExpiredToken401 { once } else { once.at(2, fault) };
        let stage = stage(SandboxOptions { faults, ..SandboxOptions::default() });
        let said = stage.upload("deals.csv", &["--timeout", "1s", "--wait=30s"]);
        assert_eq!(said.code, 0, "{fault:?}: {}{}", said.stdout, said.stderr);
        assert_all_counted_once(&stage);
        stage.close();
    }
}

#[test]
fn refused_rows_go_into_the_rejects_file_which_can_be_corrected_and_given_again() {
    let stage = Stage::new(SandboxOptions::default());
    stage.file("deals.csv", &click_file(&[("A-1", "Cj0_one", "120.00"), ("A-2", "1.2E+25", "7")]));
    let said = stage.upload("deals.csv", &["--rejects", "bad.csv"]);
    assert_eq!((said.code, said.json()["findings"][0]["code"].as_str()), (3, Some("SCIENTIFIC_NOTATION")));
    assert_eq!(said.json()["findings"][0]["row"].as_u64(), Some(3));
    let bad = std::fs::read_to_string(stage.path("bad.csv")).unwrap();
    stage.file("good.csv", &bad.replace("1.2E+25", "Cj0_two"));
    assert_eq!(stage.upload("good.csv", &[]).code, 0);
    assert_eq!(stage.counted().len(), 2);
    stage.close();
}

#[test]
fn faults_of_the_whole_file_send_nothing_and_exit_with_two() {
    let stage = Stage::new(SandboxOptions::default());
    let good = click_file(&ROWS);
    for (name, bytes) in [
        ("empty.csv", Vec::new()),
        ("binary.csv", vec![0, 1, 2, 255, 0]),
        ("header.csv", b"Deal,Close Date\nx,2026-01-01\n".to_vec()),
        ("excel.xlsx", b"PK\x03\x04rest".to_vec()),
        ("late.csv", [good.as_bytes(), b"\xff\xfe,Sale\n"].concat()),
    ] {
        std::fs::write(stage.path(name), bytes).unwrap();
        let said = stage.upload(name, &[]);
        assert_eq!(said.code, 2, "{name}: {}{}", said.stdout, said.stderr);
    }
    assert_eq!(stage.upload("missing.csv", &[]).code, 2);
    assert!(!stage.path("data").exists(), "a file that cannot be used makes no database");
    assert_eq!(stage.sandbox.counters().requests, 0);
    let zone = stage.upload("header.csv", &["--time-zone", "Mars/Base"]);
    assert_eq!(zone.code, 2);
    stage.close();
}

#[test]
fn consent_is_never_assumed_and_a_no_is_kept_nowhere() {
    let stage = Stage::new(SandboxOptions::default());
    let silent = click_file(&[("A-1", "Cj0_one", "1")]).replace("Granted", "");
    stage.file("silent.csv", &silent);
    let refused = stage.upload("silent.csv", &[]);
    assert_eq!((refused.code, refused.json()["findings"][0]["code"].as_str()), (3, Some("CONSENT_REQUIRED")));
    stage.file("denied.csv", &silent.replace("EUR,A-1,", "EUR,A-9,Denied"));
    let denied = stage.upload("denied.csv", &["--default-consent", "granted"]);
    assert_eq!((denied.code, denied.json()["summary"]["denied"].as_u64()), (0, Some(1)));
    assert_eq!(stage.run(&["conversion", "list", "--json"]).json()["conversions"].as_array().map(Vec::len), Some(0));
    assert_eq!(stage.upload("silent.csv", &["--default-consent", "granted"]).code, 0);
    assert_eq!(stage.counted().len(), 1);
    stage.close();
}

#[test]
fn another_value_is_refused_unless_it_is_a_restatement() {
    let stage = stage(SandboxOptions::default());
    assert_eq!(stage.upload("deals.csv", &["--wait=20s"]).code, 0);
    stage.file("dearer.csv", &click_file(&[("A-1", "Cj0_one", "150.00")]));
    let refused = stage.upload("dearer.csv", &[]);
    assert_eq!((refused.code, refused.json()["findings"][0]["code"].as_str()), (3, Some("ALREADY_CAPTURED_DIFFERENT")));
    assert!(refused.stdout.contains("120.00 EUR"), "{}", refused.stdout);
    let restated = stage.upload("dearer.csv", &["--restate", "--wait=20s"]);
    assert_eq!((restated.code, restated.json()["captured"]["restated"].as_u64()), (0, Some(1)));
    assert!(stage.counted().contains(&("A-1".to_owned(), Some("150".to_owned()))));
    stage.close();
}

#[test]
fn what_must_be_put_right_first_holds_the_rows_and_work_sends_them_afterwards() {
    for (access, code) in [(Access::ServiceDisabled, 5), (Access::ScopeMissing, 4)] {
        let stage = stage(SandboxOptions { access, ..SandboxOptions::default() });
        let held = stage.upload("deals.csv", &[]);
        assert_eq!(held.code, code, "{access:?}: {}{}", held.stdout, held.stderr);
        assert_eq!(state(&stage, "A-1").0, "held");
        stage.sandbox.set_access(Access::Granted);
        let work = stage.run(&["work", "--wait=20s", "--json"]);
        assert_eq!(work.code, 0, "{}{}", work.stdout, work.stderr);
        assert_all_counted_once(&stage);
        stage.close();
    }
}

#[test]
fn a_revoked_grant_is_a_matter_of_credentials_and_burns_no_attempt() {
    let stage = stage(SandboxOptions::default());
    stage.sandbox.set_revoked(true);
    let held = stage.upload("deals.csv", &[]);
    assert_eq!(held.code, 4, "{}{}", held.stdout, held.stderr);
    let shown = stage.run(&["conversion", "list", "--json"]).json();
    assert_eq!(shown["conversions"][0]["deliveries"][0]["attempts"].as_u64(), Some(0));
    assert_eq!(stage.run(&["status", "--json"]).json()["destinations"][0]["states"]["held"].as_u64(), Some(3));
    stage.sandbox.set_revoked(false);
    assert_eq!(stage.run(&["work", "--wait=20s"]).code, 0);
    assert_all_counted_once(&stage);
    stage.close();
}

#[test]
fn an_action_that_the_account_does_not_have_holds_its_rows() {
    let stage = stage(SandboxOptions { actions: Some([("1234567890".to_owned(), "1".to_owned())].into()), ..SandboxOptions::default() });
    let held = stage.upload("deals.csv", &[]);
    assert_eq!((held.code, state(&stage, "A-2").1), (5, "INVALID_CONVERSION_ACTION_ID".to_owned()), "{}", held.stdout);
    stage.sandbox.accept_any_action();
    assert_eq!(stage.upload("deals.csv", &["--wait=20s"]).code, 0);
    assert_all_counted_once(&stage);
    stage.close();
}

#[test]
fn a_bad_row_is_cut_out_whether_google_says_which_one_or_not() {
    for omit_locations in [false, true] {
        let stage = Stage::new(SandboxOptions { omit_locations, click_verdicts: true, ..SandboxOptions::default() });
        let rows =
            [("A-1", "Cj0_one", "1"), ("A-2", "sandbox-400-INVALID_EVENT-x", "2"), ("A-3", "Cj0_three", "3"), ("A-4", "Cj0_four", "4")];
        stage.file("deals.csv", &click_file(&rows));
        let said = stage.upload("deals.csv", &["--wait=30s"]);
        assert_eq!(said.code, 3, "{}{}", said.stdout, said.stderr);
        let ids: Vec<_> = stage.counted().into_iter().map(|(id, _)| id).collect();
        assert_eq!(ids, ["A-1", "A-3", "A-4"], "omit_locations {omit_locations}");
        assert_eq!(state(&stage, "A-2").0, "dead");
        stage.close();
    }
}

#[test]
fn a_late_refusal_is_a_dead_letter_that_can_be_shown_replayed_and_given_up() {
    let stage = Stage::new(SandboxOptions { click_verdicts: true, ..SandboxOptions::default() });
    stage.file(
        "deals.csv",
        &click_file(&[("A-1", "Cj0_one", "1"), ("A-2", "sandbox-INVALID_GCLID-x", "2"), ("A-3", "sandbox-INVALID_GCLID-y", "3")]),
    );
    assert_eq!(stage.upload("deals.csv", &["--wait=30s"]).code, 3);
    let list = stage.run(&["dlq", "list", "--json"]).json();
    let letters = list["dead_letters"].as_array().unwrap();
    assert_eq!(letters.len(), 2, "{list}");
    assert_eq!(letters[0]["reason"], "INVALID_GCLID");
    let id = letters[0]["id"].as_str().unwrap();
    assert_eq!(stage.run(&["dlq", "show", id, "--json"]).json()["id"], id);
    assert_eq!(stage.run(&["dlq", "export"]).stdout.lines().count(), 2);
    assert_eq!(stage.run(&["dlq", "replay", "--all", "--dry-run", "--json"]).json()["matched"], 2);
    assert_eq!(stage.run(&["dlq", "replay", "--all", "--no-input"]).code, 2);
    assert_eq!(stage.run(&["dlq", "discard", id, "--note", "test"]).code, 0);
    stage.sandbox.set_click_verdicts(false);
    assert_eq!(stage.run(&["dlq", "replay", "--all", "--yes"]).code, 0);
    assert_eq!(stage.run(&["work", "--wait=30s"]).code, 0);
    assert_eq!(stage.counted().len(), 2);
    assert_eq!(stage.run(&["dlq", "list", "--json"]).json()["dead_letters"].as_array().map(Vec::len), Some(0));
    stage.close();
}

#[test]
fn a_platform_that_is_down_is_code_eight_and_nothing_is_lost() {
    let stage = stage(SandboxOptions { faults: FaultPlan::none().chance(Fault::Unavailable503, 1.0), ..SandboxOptions::default() });
    let run = |args: &[&str]| -> Said {
        let slow = [("ADSENGINEER_BREAKER_OPEN", "60s"), ("ADSENGINEER_RETRY_ATTEMPTS", "50")];
        stage.command().envs(slow).args(args).output().unwrap().into()
    };
    let down = run(&["upload", "deals.csv", "--customer-id", "1234567890", "--action", "Sale=987654321", "--json"]);
    assert_eq!(down.code, 8, "{}{}", down.stdout, down.stderr);
    stage.sandbox.set_faults(FaultPlan::none());
    assert_eq!(stage.run(&["work", "--wait=20s"]).code, 0);
    assert_all_counted_once(&stage);
    stage.close();
}

#[test]
fn a_long_quota_pause_is_code_nine() {
    let fault = Fault::Quota429 { retry_delay: Some(Duration::from_secs(120)) };
    let stage = stage(SandboxOptions { faults: FaultPlan::none().at(1, fault), ..SandboxOptions::default() });
    let said = stage.upload("deals.csv", &[]);
    assert_eq!(said.code, 9, "{}{}", said.stdout, said.stderr);
    assert_eq!(state(&stage, "A-1").0, "retrying");
    stage.close();
}

#[test]
fn a_dry_run_prints_the_exact_requests_and_leaves_nothing_behind() {
    let stage = stage(SandboxOptions::default());
    let said = stage.run(&["upload", "deals.csv", "--customer-id", "1234567890", "--action", "Sale=987654321", "--dry-run"]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    let body: serde_json::Value = serde_json::from_str(said.stdout.trim()).unwrap();
    assert_eq!(body["events"].as_array().map(Vec::len), Some(3));
    assert_eq!(body["destinations"][0]["productDestinationId"], "987654321");
    assert!(!stage.path("data").exists(), "a dry run makes no database");
    let validated = stage.upload("deals.csv", &["--validate-only"]);
    assert_eq!(validated.code, 0, "{}{}", validated.stdout, validated.stderr);
    assert_eq!((stage.counted().len(), stage.sandbox.counters().events_validated), (0, 3));
    stage.close();
}

#[test]
fn the_sandbox_flag_needs_nothing_and_keeps_nothing() {
    let stage = stage(SandboxOptions::default());
    let said = stage.run(&["upload", "deals.csv", "--action", "Sale=987654321", "--sandbox", "--json"]);
    assert_eq!(said.code, 0, "{}{}", said.stdout, said.stderr);
    assert_eq!((said.json()["delivery"]["delivered"].as_u64(), stage.sandbox.counters().requests), (Some(3), 0));
    stage.close();
}

#[test]
fn standard_input_and_json_lines_go_the_same_way() {
    let stage = Stage::new(SandboxOptions::default());
    let line = format!(
        r#"{{"action":"Sale","occurred_at":"{}T10:00:00Z","value":"12.50","currency":"EUR","order_id":"J-1","gclid":"Cj0_j","consent":{{"ad_user_data":"granted"}}}}"#,
        crate::stage::yesterday()
    );
    let args = ["upload", "-", "--customer-id", "1234567890", "--action", "Sale=987654321"];
    let said: Said = stage.command().args(args).write_stdin(line + "\n").output().unwrap().into();
    assert_eq!(said.code, 0, "{}{}", said.stdout, said.stderr);
    assert_eq!(stage.counted(), [("J-1".to_owned(), Some("12.5".to_owned()))]);
    stage.close();
}
