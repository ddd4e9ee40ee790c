//! The process is killed at any moment; nothing is lost and nothing is counted twice.

use std::process::{Command, Stdio};

use adsengineer_server::sandbox::{Fault, FaultPlan, SandboxOptions};

use crate::stage::{Stage, click_file};

/// Orders of the file; two requests' worth.
const ROWS: usize = 3000;

fn file() -> String {
    let names: Vec<(String, String)> = (0..ROWS).map(|i| (format!("K-{i:05}"), format!("Cj0_k{i:05}"))).collect();
    let rows: Vec<(&str, &str, &str)> = names.iter().map(|(order, click)| (order.as_str(), click.as_str(), "10.50")).collect();
    click_file(&rows)
}

const UPLOAD: [&str; 9] =
    ["upload", "deals.csv", "--customer-id", "1234567890", "--action", "Sale=987654321", "--timeout", "2s", "--quiet"];

/// Attempts that a kill cut off count, and the waits after the sixth are long.
const PATIENT: [(&str, &str); 3] =
    [("ADSENGINEER_RETRY_ATTEMPTS", "50"), ("ADSENGINEER_RETRY_CAP", "20ms"), ("ADSENGINEER_LEASE", crate::base::LEASE)];

fn spawn(stage: &Stage, more: &[(&str, &str)]) -> std::process::Child {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin("adsengineer"));
    command
        .args(UPLOAD)
        .current_dir(stage.path(""))
        .envs(stage.variables())
        .envs(more.iter().copied())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.spawn().unwrap()
}

/// Nothing lost, nothing doubled; `what` names the run in the failure, its seed above all.
fn assert_whole(stage: &Stage, what: &str) {
    let finished = stage.run(&["work", "--wait=60s", "--json"]);
    assert_eq!(finished.code, 0, "{what}: {}{}", finished.stdout, finished.stderr);
    let counters = stage.sandbox.counters();
    assert_eq!((counters.conversions, counters.overwritten, counters.repeated_changed), (ROWS as u64, 0, 0), "{what}");
    let sum = stage.run(&["reconcile", "--json"]).json();
    assert_eq!((sum["closes"].as_bool(), sum["states"]["delivered"].as_u64()), (Some(true), Some(ROWS as u64)), "{what}: {sum}");
}

#[test]
fn killed_again_and_again_an_upload_still_ends_with_every_row_counted_once() {
    let faults =
        FaultPlan::none().chance(Fault::ResetAfterCommit, 0.2).chance(Fault::Unavailable503, 0.2).chance(Fault::ResetBefore, 0.1).seed(7);
    let stage = Stage::new(SandboxOptions { faults, ..SandboxOptions::default() });
    stage.file("deals.csv", &file());
    for round in 0..8_u64 {
        let mut child = spawn(&stage, &PATIENT);
        let before = stage.sandbox.counters().requests;
        // Killed after so many requests of this round, or at its end: sometimes before, sometimes amid, sometimes after.
        while child.try_wait().unwrap().is_none() && stage.sandbox.counters().requests < before + round % 4 {
            std::thread::yield_now();
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
    stage.sandbox.set_faults(FaultPlan::none());
    let last = stage.run(&UPLOAD);
    assert_eq!(last.code, 0, "{}{}", last.stdout, last.stderr);
    assert_whole(&stage, "seed 7");
    stage.close();
}

/// A number below `end` for a seed: splitmix64 (Steele, Lea, Flood 2014).
fn below(state: &mut u64, end: u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z ^ (z >> 31)) % end
}

/// What the stand-in has seen of anybody: tokens, requests, questions for verdicts.
fn seen(stage: &Stage) -> u64 {
    let counters = stage.sandbox.counters();
    counters.tokens_issued + counters.requests + counters.polls
}

#[test]
fn killed_at_random_moments_and_run_again_until_it_ends_by_itself_each_row_counts_once() {
    for seed in 1..=crate::base::SEEDS {
        let faults = FaultPlan::none()
            .chance(Fault::ResetAfterCommit, 0.25)
            .chance(Fault::GarbageAfterCommit, 0.1)
            .chance(Fault::ResetBefore, 0.1)
            .chance(Fault::Unavailable503, 0.1)
            .until(6)
            .seed(seed);
        let stage = Stage::new(SandboxOptions { faults, polls_before_final: 1, ..SandboxOptions::default() });
        stage.file("deals.csv", &file());
        let mut state = seed;
        let mut kills = 0;
        // Half the kills follow what the stand-in saw, the others a random number of looks at the child, some before its first request.
        let ended = loop {
            let mut child = spawn(&stage, &PATIENT);
            let (start, events, looks) = (seen(&stage), below(&mut state, 8), below(&mut state, 60_000));
            let by_events = kills % 2 == 0;
            let mut looked = 0;
            let code = loop {
                if let Some(status) = child.try_wait().unwrap() {
                    break status.code();
                }
                looked += 1;
                let now = if by_events { seen(&stage) >= start + events } else { looked >= looks };
                if now && kills < 8 {
                    child.kill().unwrap();
                    child.wait().unwrap();
                    kills += 1;
                    break None;
                }
                std::thread::yield_now();
            };
            if code.is_some() {
                break code;
            }
        };
        assert_eq!(ended, Some(0), "seed {seed}, {kills} kills");
        assert_whole(&stage, &format!("seed {seed}"));
        stage.close();
    }
}

#[test]
fn work_finishes_what_a_killed_upload_began_without_the_file() {
    let stage = Stage::new(SandboxOptions::default());
    stage.file("deals.csv", &file());
    let mut child = spawn(&stage, &PATIENT);
    while child.try_wait().unwrap().is_none() && stage.sandbox.counters().requests == 0 {
        std::thread::yield_now();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    std::fs::remove_file(stage.path("deals.csv")).unwrap();
    assert_whole(&stage, "killed upload");
    stage.close();
}

#[cfg(unix)]
#[test]
fn a_polite_stop_saves_everything_and_says_so() {
    let faults = FaultPlan::none().at(1, Fault::Unavailable503).at(2, Fault::Hang(std::time::Duration::from_secs(1)));
    let stage = Stage::new(SandboxOptions { faults, ..SandboxOptions::default() });
    stage.file("deals.csv", &file());
    let mut child = spawn(&stage, &PATIENT);
    while child.try_wait().unwrap().is_none() && stage.sandbox.counters().requests < 2 {
        std::thread::yield_now();
    }
    let sent = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_whole(&stage, "polite stop");
    stage.close();
}

#[test]
fn two_uploads_of_one_file_at_once_send_each_row_once() {
    let stage = Stage::new(SandboxOptions::default());
    stage.file("deals.csv", &file());
    let (mut one, mut two) = (spawn(&stage, &[]), spawn(&stage, &[]));
    let codes = (one.wait().unwrap().code(), two.wait().unwrap().code());
    assert_eq!(codes, (Some(0), Some(0)));
    assert_eq!(stage.sandbox.counters().repeated, 0);
    assert_whole(&stage, "two at once");
    stage.close();
}
