//! `doctor` names what is wrong with a machine, and damage ends a command with its own code.

use adsengineer_server::sandbox::{Access, SandboxOptions};
use serde_json::Value;

use crate::stage::{Said, Stage, click_file};

fn stage() -> Stage {
    let stage = Stage::new(SandboxOptions::default());
    stage.file("deals.csv", &click_file(&[("A-1", "Cj0_one", "1"), ("A-2", "Cj0_two", "2")]));
    stage
}

/// The check with this name.
fn check(said: &Said, name: &str) -> Value {
    let json = said.json();
    let found = json["checks"].as_array().unwrap().iter().find(|check| check["check"] == name).cloned();
    found.unwrap_or_else(|| panic!("no check {name}: {json}"))
}

fn offline(stage: &Stage, variables: &[(&str, &str)]) -> Said {
    stage.command().envs(variables.iter().copied()).args(["doctor", "--offline", "--json"]).output().unwrap().into()
}

fn database(stage: &Stage) -> rusqlite::Connection {
    rusqlite::Connection::open(stage.path("data/adsengineer/adsengineer.db")).unwrap()
}

#[test]
fn a_key_is_judged_wherever_it_comes_from() {
    let stage = stage();
    assert!(check(&offline(&stage, &[]), "encryption key")["detail"].as_str().unwrap().starts_with("will be made"));
    let bad = offline(&stage, &[("ADSENGINEER_ENCRYPTION_KEY", "c2hvcnQ=")]);
    assert!(bad.code == 5 && bad.stderr.contains("needs 32"), "a key that cannot be one refuses to start: {}", bad.stderr);
    let key = stage.run(&["key", "generate"]).stdout;
    let good = offline(&stage, &[("ADSENGINEER_ENCRYPTION_KEY", key.trim())]);
    assert_eq!(check(&good, "encryption key")["detail"], "from ADSENGINEER_ENCRYPTION_KEY");
    assert_eq!(stage.upload("deals.csv", &[]).code, 0);
    assert!(check(&offline(&stage, &[]), "encryption key")["detail"].as_str().unwrap().contains("keep a copy"));
    stage.file("data/adsengineer/adsengineer.key", "nonsense");
    let broken = offline(&stage, &[]);
    assert_eq!((broken.code, &check(&broken, "encryption key")["ok"]), (10, &false.into()), "{}", broken.stdout);
    assert_eq!(check(&broken, "database")["ok"], false);
    stage.close();
}

#[test]
fn the_configuration_file_that_counts_is_named() {
    let stage = stage();
    let none = check(&offline(&stage, &[]), "configuration");
    assert!(none["detail"].as_str().unwrap().starts_with("no file at "), "{none}");
    let file = stage.file("own.toml", "lease = \"90s\"\n");
    let file = file.display().to_string();
    let own = check(&offline(&stage, &[("ADSENGINEER_CONFIG", &file)]), "configuration");
    assert_eq!(own["detail"], format!("read from {file}"));
    stage.close();
}

#[test]
fn a_destination_whose_rows_are_held_says_why_and_what_to_do() {
    let stage = Stage::new(SandboxOptions { access: Access::ServiceDisabled, ..SandboxOptions::default() });
    stage.file("deals.csv", &click_file(&[("A-1", "Cj0_one", "1")]));
    assert_eq!(stage.upload("deals.csv", &[]).code, 5);
    let held = offline(&stage, &[]);
    let check = check(&held, "destination google-1234567890");
    assert_eq!((held.code, &check["ok"]), (10, &false.into()));
    assert!(check["detail"].as_str().unwrap().contains("SERVICE_DISABLED"), "{check}");
    assert!(check["hint"].as_str().unwrap().contains("enable the Data Manager API"), "{check}");
    let text = stage.run(&["doctor"]);
    assert!(text.code == 10 && text.stdout.contains("WRONG") && text.stdout.contains("→"), "{}", text.stdout);
    stage.close();
}

#[test]
fn a_sum_that_does_not_close_is_found_and_ends_with_ten() {
    let stage = stage();
    assert_eq!(stage.upload("deals.csv", &["--wait=20s"]).code, 0);
    assert_eq!(check(&offline(&stage, &[]), "reconciliation")["detail"], "the sum closes over 2 deliveries");
    database(&stage).execute_batch("DELETE FROM deliveries WHERE id = (SELECT MAX(id) FROM deliveries)").unwrap();
    let open = offline(&stage, &[]);
    let sum = check(&open, "reconciliation");
    assert_eq!((open.code, &sum["ok"], &sum["detail"]), (10, &false.into(), &"2 deliveries captured, 1 found".into()));
    assert_eq!(stage.run(&["reconcile"]).code, 10);
    stage.close();
}

#[test]
fn damaged_rows_and_files_are_said_to_be_damaged() {
    let stage = stage();
    assert_eq!(stage.upload("deals.csv", &["--wait=20s"]).code, 0);
    database(&stage).execute_batch("UPDATE conversions SET currency = 'euro'").unwrap();
    let error = |said: &Said| -> Value { serde_json::from_str(said.stderr.lines().last().unwrap_or_default()).unwrap() };
    let damaged = stage.run(&["conversion", "list", "--json"]);
    let error = error(&damaged)["error"].clone();
    assert_eq!((damaged.code, &error["code"]), (11, &"DATABASE_DAMAGED".into()), "{}", damaged.stderr);
    assert!(error["message"].as_str().unwrap().contains("a currency") && error["hint"].as_str().unwrap().contains("doctor"));
    database(&stage).execute_batch("ALTER TABLE deliveries RENAME TO gone").unwrap();
    let sum = offline(&stage, &[]);
    assert_eq!((sum.code, &check(&sum, "reconciliation")["ok"]), (10, &false.into()), "{}", sum.stdout);
    for suffix in ["-wal", "-shm"] {
        std::fs::remove_file(stage.path(&format!("data/adsengineer/adsengineer.db{suffix}"))).ok();
    }
    stage.file("data/adsengineer/adsengineer.db", &"this is no database at all\n".repeat(300));
    let file = offline(&stage, &[]);
    assert_eq!((file.code, &check(&file, "database")["ok"]), (10, &false.into()), "{}", file.stdout);
    assert_eq!(stage.run(&["status"]).code, 11);
    stage.close();
}

#[test]
fn a_database_on_a_server_needs_keys_that_are_the_same_everywhere() {
    let stage = Stage::new(SandboxOptions::default());
    let run = |more: &[(&str, &str)], args: &[&str]| -> Said {
        let url = ("ADSENGINEER_DATABASE_URL", "postgres://ads@127.0.0.1:1/ads");
        stage.command().envs([url]).envs(more.iter().copied()).args(args).output().unwrap().into()
    };
    let key = ("ADSENGINEER_ENCRYPTION_KEY", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=");
    let without = run(&[], &["status"]);
    assert!(without.code == 5 && without.stderr.contains("set ADSENGINEER_ENCRYPTION_KEY"), "{}", without.stderr);
    let without = run(&[key], &["token", "mint", "--sub", "me", "--org", "acme", "--role", "owner"]);
    assert!(without.code == 5 && without.stderr.contains("set ADSENGINEER_JWT_SECRET"), "{}", without.stderr);
    let unreachable = run(&[key], &["status"]);
    assert!(unreachable.code == 8 && unreachable.stderr.contains("not available"), "{}", unreachable.stderr);
    for args in [&["doctor", "--offline"][..], &["config", "show"]] {
        let said = run(&[key], args);
        assert!(said.stdout.contains("the database postgres://ads@127.0.0.1:1/ads"), "{}{}", said.stdout, said.stderr);
    }
    stage.close();
}
