//! A deterministic simulation: workers, the model store, platforms and people under faults and crashes, in virtual time.
//!
//! `SIM_SEED=123` runs one seed and writes down what happened, `SIM_SEEDS=5000` runs that many, `SIM_FROM` sets the first.

#![expect(unreachable_pub, reason = "modules of one test, not of a library")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "simulation/checks.rs"]
mod checks;
#[path = "support/forward.rs"]
mod forward;
#[path = "simulation/people.rs"]
mod people;
#[path = "simulation/planted.rs"]
mod planted;
#[path = "simulation/platform.rs"]
mod platform;
#[path = "simulation/random.rs"]
mod random;
#[path = "simulation/run.rs"]
mod run;
#[path = "simulation/store.rs"]
mod store;
#[path = "simulation/world.rs"]
mod world;

use std::io::Write;

use planted::Bug;

#[expect(clippy::disallowed_methods, reason = "whoever runs the test chooses the seeds")]
fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} must be a number, not `{text}`")))
}

#[test]
fn everything_comes_to_its_right_end_whatever_fails_on_the_way() {
    let one = setting("SIM_SEED");
    let first = one.or(setting("SIM_FROM")).unwrap_or(0);
    let seeds = if one.is_some() { 1 } else { setting("SIM_SEEDS").unwrap_or(200) };
    let mut failed = Vec::new();
    for seed in first..first + seeds {
        let report = run::run(seed, None, one.is_some());
        for line in &report.log {
            writeln!(std::io::stderr(), "{line}").unwrap();
        }
        if !report.violations.is_empty() {
            failed.push(format!("SIM_SEED={seed}: {}", report.violations.join("\n    ")));
        }
    }
    assert!(failed.is_empty(), "{} of {seeds} seeds\n{}", failed.len(), failed.join("\n"));
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in 0..20 {
        let (first, second) = (run::run(seed, None, true), run::run(seed, None, true));
        assert!(first.log.len() > 100, "seed {seed} does next to nothing");
        let differs = first.log.iter().zip(&second.log).find(|(first, second)| first != second);
        assert!(differs.is_none() && first.log.len() == second.log.len(), "seed {seed}: {differs:?}");
    }
    assert_ne!(run::run(0, None, true).log, run::run(1, None, true).log);
}

fn found(bug: Bug, seeds: u64) {
    assert!((0..seeds).any(|seed| !run::run(seed, Some(bug), false).violations.is_empty()), "no seed below {seeds} shows {bug:?}");
}

#[test]
fn a_settle_that_ignores_its_lease_is_found() {
    found(Bug::AnyLease, 500);
}

#[test]
fn a_send_that_is_on_record_too_late_is_found() {
    found(Bug::NoBegin, 50);
}

#[test]
fn a_resend_under_another_transaction_id_is_found() {
    found(Bug::NewTransactionId, 20);
}

#[test]
fn a_lost_answer_taken_for_a_refusal_is_found() {
    found(Bug::LostIsRefused, 20);
}

#[test]
fn a_verdict_given_to_the_wrong_rows_is_found() {
    found(Bug::WrongRows, 20);
}
