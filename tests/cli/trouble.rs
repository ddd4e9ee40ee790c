//! The platform misbehaves in every way it can; each row is counted once all the same, or waits, or is a dead letter with a reason.

use std::{net::TcpListener, time::Duration};

use adsengineer_server::sandbox::{Fault, FaultPlan, RecordIndices, SandboxOptions};

use crate::stage::{Said, Stage, click_file};

const UPLOAD: [&str; 8] = ["upload", "deals.csv", "--customer-id", "1234567890", "--action", "Sale=987654321", "--timeout", "1s"];

fn stage(options: SandboxOptions, rows: usize) -> Stage {
    let stage = Stage::new(options);
    let names: Vec<_> = (0..rows).map(|i| (format!("T-{i:04}"), format!("Cj0_t{i:04}"))).collect();
    let rows: Vec<_> = names.iter().map(|(order, click)| (order.as_str(), click.as_str(), "10.50")).collect();
    stage.file("deals.csv", &click_file(&rows));
    stage
}

fn run_with(stage: &Stage, variables: &[(&str, &str)], args: &[&str]) -> Said {
    stage.command().envs(variables.iter().copied()).args(args).output().unwrap().into()
}

fn assert_each_once(stage: &Stage, rows: u64, what: &str) {
    let counters = stage.sandbox.counters();
    assert_eq!((counters.conversions, counters.overwritten, counters.repeated_changed), (rows, 0, 0), "{what}");
    let sum = stage.run(&["reconcile", "--json"]).json();
    let delivered = ["delivered", "delivered_unverified"].map(|state| sum["states"][state].as_u64().unwrap_or(0)).iter().sum::<u64>();
    assert_eq!((sum["closes"].as_bool(), delivered), (Some(true), rows), "{what}: {sum}");
}

#[test]
fn any_mix_of_faults_ends_with_each_row_counted_once() {
    for seed in [11, 12, 13] {
        let faults = FaultPlan::none()
            .chance(Fault::Unavailable503, 0.15)
            .chance(Fault::ResetBefore, 0.1)
            .chance(Fault::ResetAfterCommit, 0.15)
            .chance(Fault::GarbageAfterCommit, 0.1)
            .chance(Fault::Html502, 0.1)
            .chance(Fault::Quota429 { retry_delay: Some(Duration::from_millis(50)) }, 0.1)
            .until(30)
            .seed(seed);
        let stage = stage(SandboxOptions { faults, ..SandboxOptions::default() }, 4500);
        let patient = [("ADSENGINEER_RETRY_ATTEMPTS", "50")];
        let said = run_with(&stage, &patient, &[&UPLOAD[..], &["--wait=60s"]].concat());
        assert_eq!(said.code, 0, "seed {seed}: {}{}", said.stdout, said.stderr);
        assert_each_once(&stage, 4500, &format!("seed {seed}"));
        stage.close();
    }
}

#[test]
fn a_platform_that_hangs_is_given_up_after_the_timeout_and_asked_again() {
    for fault in [Fault::Hang(Duration::from_secs(30)), Fault::HangAfterCommit(Duration::from_secs(30))] {
        let stage = stage(SandboxOptions { faults: FaultPlan::none().at(1, fault), ..SandboxOptions::default() }, 3);
        let said = stage.run(&[&UPLOAD[..], &["--wait=30s"]].concat());
        assert_eq!(said.code, 0, "{fault:?}: {}{}", said.stdout, said.stderr);
        assert_each_once(&stage, 3, fault.name());
        stage.close();
    }
}

#[test]
fn failing_token_and_status_endpoints_only_delay() {
    let stage = stage(SandboxOptions { polls_before_final: 2, ..SandboxOptions::default() }, 3);
    stage.sandbox.fail_tokens(2);
    stage.sandbox.fail_polls(2);
    let said = stage.run(&[&UPLOAD[..], &["--wait=30s"]].concat());
    assert_eq!(said.code, 0, "{}{}", said.stdout, said.stderr);
    assert_each_once(&stage, 3, "outage");
    assert!(stage.sandbox.counters().polls >= 3);
    stage.close();
}

#[test]
fn a_platform_that_answers_repeats_as_duplicates_is_believed() {
    let faults = FaultPlan::none().at(1, Fault::ResetAfterCommit);
    let stage = stage(SandboxOptions { faults, answer_duplicates: true, ..SandboxOptions::default() }, 5);
    let said = stage.run(&[&UPLOAD[..], &["--wait=30s"]].concat());
    assert_eq!(said.code, 0, "{}{}", said.stdout, said.stderr);
    assert_each_once(&stage, 5, "duplicates");
    stage.close();
}

#[test]
fn nobody_listening_is_code_eight_and_safe_to_run_again() {
    let stage = stage(SandboxOptions::default(), 3);
    let closed = TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = format!("http://{}", closed.local_addr().unwrap());
    drop(closed);
    let token = format!("{nobody}/token");
    for variables in [
        vec![("ADSENGINEER_GOOGLE_DATA_MANAGER_URL", nobody.as_str())],
        vec![("ADSENGINEER_GOOGLE_TOKEN_URL", token.as_str()), ("ADSENGINEER_GOOGLE_DATA_MANAGER_URL", nobody.as_str())],
    ] {
        // One failure opens the breaker for longer than anybody sits waiting; the next run tries anew.
        let slow = [
            vec![("ADSENGINEER_BREAKER_OPEN", "60s"), ("ADSENGINEER_RETRY_ATTEMPTS", "50"), ("ADSENGINEER_BREAKER_FAILURES", "1")],
            variables,
        ]
        .concat();
        let said = run_with(&stage, &slow, &UPLOAD);
        assert_eq!(said.code, 8, "{}{}", said.stdout, said.stderr);
        assert!(said.stdout.contains("adsengineer work"), "{}", said.stdout);
    }
    assert_eq!(stage.sandbox.counters().events_received, 0);
    let again = stage.run(&[&UPLOAD[..], &["--wait=30s"]].concat());
    assert_eq!(again.code, 0, "{}{}", again.stdout, again.stderr);
    assert_each_once(&stage, 3, "down");
    stage.close();
}

#[test]
fn a_verdict_that_names_no_row_is_found_by_smaller_requests_or_left_unverified() {
    for record_indices in [RecordIndices::Absent, RecordIndices::Numbers, RecordIndices::Strings] {
        let stage = Stage::new(SandboxOptions { record_indices, ..SandboxOptions::default() });
        let names: Vec<_> = (0..30).map(|i| (format!("V-{i:02}"), format!("Cj0_v{i:02}"))).collect();
        let mut rows: Vec<_> = names.iter().map(|(order, click)| (order.as_str(), click.as_str(), "1")).collect();
        rows[7].1 = "sandbox-INVALID_GCLID-v";
        stage.file("deals.csv", &click_file(&rows));
        let said = stage.upload("deals.csv", &["--wait=60s"]);
        let sum = stage.run(&["reconcile", "--json"]).json();
        let state = |name: &str| sum["states"][name].as_u64().unwrap_or(0);
        assert_eq!(sum["closes"], true);
        assert_eq!(state("delivered") + state("delivered_unverified") + state("dead"), 30, "{record_indices:?}: {sum}");
        assert_eq!(stage.counted().len(), 29, "{record_indices:?}");
        let counters = stage.sandbox.counters();
        assert_eq!((counters.overwritten, counters.repeated_changed), (0, 0));
        if state("dead") == 1 {
            assert_eq!(said.code, 3, "{record_indices:?}: {}{}", said.stdout, said.stderr);
            let letters = stage.run(&["dlq", "list", "--json"]).json();
            assert_eq!(
                (&letters["dead_letters"][0]["payload"]["order_id"], &letters["dead_letters"][0]["reason"]),
                (&"V-07".into(), &"INVALID_GCLID".into())
            );
        } else {
            assert!(record_indices == RecordIndices::Absent && state("delivered_unverified") > 0, "{record_indices:?}: {sum}");
        }
        stage.close();
    }
}

#[test]
fn a_short_quota_pause_is_sat_out_and_a_long_one_is_not() {
    let quota = |seconds| Fault::Quota429 { retry_delay: Some(Duration::from_secs(seconds)) };
    let stage = stage(SandboxOptions { faults: FaultPlan::none().at(1, quota(1)), ..SandboxOptions::default() }, 3);
    assert_eq!(stage.run(&UPLOAD).code, 0);
    stage.file("more.csv", &click_file(&[("T-9999", "Cj0_more", "1")]));
    stage.sandbox.set_faults(FaultPlan::none().at(1, quota(1800)));
    let long = stage.upload("more.csv", &[]);
    assert_eq!(long.code, 9, "{}{}", long.stdout, long.stderr);
    let shown = stage.run(&["conversion", "list", "--order-id", "T-9999", "--json"]).json();
    assert_eq!(shown["conversions"][0]["deliveries"][0]["state"], "retrying");
    assert_eq!(stage.run(&["work", "--once"]).code, 9, "the pause outlives the process");
    stage.close();
}

#[test]
fn a_row_that_the_platform_wants_later_is_no_failure_and_waits_without_blocking_others() {
    let stage = Stage::new(SandboxOptions::default());
    stage.file("deals.csv", &click_file(&[("A-1", "Cj0_one", "1"), ("A-2", "sandbox-TOO_RECENT_CLICK-x", "2")]));
    let said = stage.upload("deals.csv", &["--wait=2s"]);
    assert_eq!(said.code, 0, "{}{}", said.stdout, said.stderr);
    let shown = stage.run(&["conversion", "list", "--order-id", "A-2", "--json"]).json();
    let delivery = &shown["conversions"][0]["deliveries"][0];
    assert_eq!((&delivery["state"], &delivery["reason"]), (&"retrying".into(), &"TOO_RECENT_CLICK".into()));
    let work = stage.run(&["work"]);
    assert_eq!(work.code, 0, "{}{}", work.stdout, work.stderr);
    assert!(work.stdout.contains("TOO_RECENT_CLICK"), "{}", work.stdout);
    assert_eq!(stage.counted().len(), 1);
    stage.close();
}
