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

fn spawn(stage: &Stage) -> std::process::Child {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin("adsengineer"));
    command.args(UPLOAD).current_dir(stage.path("")).envs(stage.variables()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap()
}

fn assert_whole(stage: &Stage) {
    let finished = stage.run(&["work", "--wait=60s", "--json"]);
    assert_eq!(finished.code, 0, "{}{}", finished.stdout, finished.stderr);
    let counters = stage.sandbox.counters();
    assert_eq!((counters.conversions, counters.overwritten, counters.repeated_changed), (ROWS as u64, 0, 0));
    let sum = stage.run(&["reconcile", "--json"]).json();
    assert_eq!((sum["closes"].as_bool(), sum["states"]["delivered"].as_u64()), (Some(true), Some(ROWS as u64)), "{sum}");
}

#[test]
fn killed_again_and_again_an_upload_still_ends_with_every_row_counted_once() {
    let faults =
        FaultPlan::none().chance(Fault::ResetAfterCommit, 0.2).chance(Fault::Unavailable503, 0.2).chance(Fault::ResetBefore, 0.1).seed(7);
    let stage = Stage::new(SandboxOptions { faults, ..SandboxOptions::default() });
    stage.file("deals.csv", &file());
    for round in 0..8_u64 {
        let mut child = spawn(&stage);
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
    assert_whole(&stage);
    stage.close();
}

#[test]
fn two_uploads_of_one_file_at_once_send_each_row_once() {
    let stage = Stage::new(SandboxOptions::default());
    stage.file("deals.csv", &file());
    let (mut one, mut two) = (spawn(&stage), spawn(&stage));
    let codes = (one.wait().unwrap().code(), two.wait().unwrap().code());
    assert_eq!(codes, (Some(0), Some(0)));
    assert_eq!(stage.sandbox.counters().repeated, 0);
    assert_whole(&stage);
    stage.close();
}
