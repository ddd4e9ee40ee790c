//! Help, JSON, exit codes, secrets.

use adsengineer_server::sandbox::SandboxOptions;
use predicates::prelude::*;

use crate::stage::{Stage, click_file};

const COMMANDS: [&str; 17] = [
    "demo",
    "check",
    "upload",
    "work",
    "status",
    "dlq",
    "explain",
    "conversion",
    "reconcile",
    "destination",
    "org",
    "config",
    "key",
    "migrate",
    "doctor",
    "completions",
    "man",
];

#[test]
fn every_command_has_help_and_the_top_lists_them_all() {
    let stage = Stage::new(SandboxOptions::default());
    let top = stage.run(&["--help"]);
    for command in COMMANDS {
        assert!(top.stdout.contains(command), "{command} is not in --help");
        let help = stage.run(&[command, "--help"]);
        assert_eq!(help.code, 0);
        assert!(help.stdout.contains("Usage:"), "{command}");
    }
    stage.command().arg("--version").assert().success().stdout(predicate::str::starts_with("adsengineer 0."));
    stage.command().arg("frobnicate").assert().code(2);
    stage.close();
}

#[test]
fn the_demo_proves_itself_with_nothing_configured() {
    let stage = Stage::new(SandboxOptions::default());
    let said = stage.run(&["demo", "--json"]);
    assert_eq!(said.code, 0, "{}{}", said.stdout, said.stderr);
    let json = said.json();
    assert_eq!((json["proven"].as_bool(), json["closes"].as_bool(), json["delivered"].as_u64()), (Some(true), Some(true), Some(1203)));
    assert_eq!(json["sandbox"]["overwritten"], 0);
    stage.close();
}

#[test]
fn json_is_one_object_with_its_version_and_errors_are_json_too() {
    let stage = Stage::new(SandboxOptions::default());
    stage.file("deals.csv", &click_file(&[("A-1", "Cj0_one", "1")]));
    assert_eq!(stage.upload("deals.csv", &[]).code, 0);
    for args in [
        vec!["check", "deals.csv"],
        vec!["work", "--once"],
        vec!["status"],
        vec!["status", "--all-orgs"],
        vec!["dlq", "list"],
        vec!["conversion", "list"],
        vec!["conversion", "show", "A-1"],
        vec!["explain", "A-1"],
        vec!["reconcile"],
        vec!["destination", "list"],
        vec!["destination", "show", "google-1234567890"],
        vec!["destination", "check", "google-1234567890"],
        vec!["destination", "actions", "google-1234567890"],
        vec!["org", "list"],
        vec!["config", "show"],
        vec!["key", "generate"],
        vec!["migrate", "--status"],
        vec!["migrate"],
        vec!["doctor", "--offline"],
        vec!["completions", "bash"],
        vec!["man"],
    ] {
        let said = stage.run(&[args.clone(), vec!["--json"]].concat());
        assert_eq!(said.json()["schema_version"], 1, "{args:?}");
        let plain = stage.run(&args);
        assert_eq!(plain.code, said.code, "{args:?}");
        assert!(!plain.stdout.is_empty(), "{args:?} says nothing");
    }
    let wrong = stage.run(&["explain", "nothing", "--json"]);
    let error: serde_json::Value = serde_json::from_str(wrong.stderr.trim()).unwrap();
    assert_eq!((wrong.code, error["error"]["exit_code"].as_u64(), error["error"]["code"].as_str()), (6, Some(6), Some("NOT_FOUND")));
    stage.close();
}

#[test]
fn destinations_are_made_changed_and_removed_only_when_nothing_is_open() {
    let stage = Stage::new(SandboxOptions::default());
    let add = stage.run(&["destination", "add", "shop", "--customer-id", "123-456-7890", "--action", "Sale=987654321", "--json"]);
    assert_eq!((add.code, add.json()["credentials"].as_str()), (0, Some("stored")), "{}", add.stderr);
    assert_eq!(stage.run(&["destination", "disable", "shop"]).code, 0);
    stage.file("deals.csv", &click_file(&[("A-1", "Cj0_one", "1")]));
    assert_eq!(stage.run(&["upload", "deals.csv", "--to", "shop"]).code, 7);
    assert_eq!(stage.run(&["destination", "enable", "shop"]).code, 0);
    let patient = [("ADSENGINEER_STATUS_POLL_FIRST", "1h")];
    stage.command().envs(patient).args(["upload", "deals.csv", "--to", "shop"]).assert().success();
    assert_eq!(stage.run(&["upload", "deals.csv", "--to", "other"]).code, 6);
    let open = stage.run(&["destination", "remove", "shop", "--yes"]);
    assert_eq!(open.code, 7, "{}", open.stderr);
    assert_eq!(stage.run(&["destination", "remove", "shop", "--force", "--no-input"]).code, 2);
    assert_eq!(stage.run(&["destination", "remove", "shop", "--force", "--yes"]).code, 0);
    assert_eq!(stage.run(&["destination", "show", "shop"]).code, 6);
    let set = stage.command().args(["destination", "add", "till", "--customer-id", "1112223333"]).output().unwrap();
    assert!(set.status.success());
    let piped = stage
        .command()
        .args(["destination", "set-credentials", "till", "--file", "-"])
        .write_stdin(stage.sandbox.credentials_json())
        .output()
        .unwrap();
    assert!(piped.status.success());
    assert_eq!(
        stage.command().args(["destination", "set-credentials", "till", "--file", "-"]).write_stdin("{}").output().unwrap().status.code(),
        Some(5)
    );
    stage.close();
}

#[test]
fn configuration_mistakes_are_named_and_a_file_is_never_overwritten() {
    let stage = Stage::new(SandboxOptions::default());
    assert_eq!(stage.run(&["config", "init"]).code, 0);
    assert_eq!(stage.run(&["config", "init"]).code, 7);
    assert_eq!(stage.run(&["status"]).code, 0, "the written file must be readable");
    let file = stage.file("own.toml", "leese = \"1s\"\n");
    stage.command().args(["status", "--config"]).arg(&file).assert().code(5).stderr(predicate::str::contains("did you mean `lease`"));
    stage.command().env("ADSENGINEER_LEASE", "soon").arg("status").assert().code(5);
    stage.command().env("ADSENGINEER_LEESE", "1s").arg("status").assert().success().stderr(predicate::str::contains("ADSENGINEER_LEESE"));
    let json = stage.command().env("ADSENGINEER_LEESE", "1s").args(["status", "--json"]).output().unwrap();
    let warning: serde_json::Value = serde_json::from_slice(&json.stderr).unwrap();
    assert_eq!((&warning["schema_version"], &warning["warning"]["code"]), (&1.into(), &"UNKNOWN_VARIABLE".into()));
    assert!(warning["warning"]["message"].as_str().unwrap().contains("did you mean ADSENGINEER_LEASE"));
    stage.command().args(["--database", "sqlite://u:p@h/x", "status"]).assert().code(2);
    stage.close();
}

#[test]
fn a_database_without_its_key_is_refused_and_stays_whole() {
    let stage = Stage::new(SandboxOptions::default());
    let database = format!("sqlite://{}", stage.path("x.db").display());
    assert_eq!(stage.run(&["status", "--database", &database]).code, 0);
    std::fs::rename(stage.path("x.key"), stage.path("away.key")).unwrap();
    let without = stage.run(&["status", "--database", &database]);
    assert_eq!(without.code, 5, "{}", without.stderr);
    assert!(without.stderr.contains("x.key"));
    std::fs::rename(stage.path("away.key"), stage.path("x.key")).unwrap();
    assert_eq!(stage.run(&["status", "--database", &database]).code, 0);
    stage.close();
}

#[test]
fn credentials_are_never_printed() {
    let stage = Stage::new(SandboxOptions::default());
    stage.file("deals.csv", &click_file(&[("A-1", "Cj0_one", "1")]));
    let file: serde_json::Value = serde_json::from_str(&stage.sandbox.credentials_json()).unwrap();
    let secrets = [file["client_secret"].as_str().unwrap(), file["refresh_token"].as_str().unwrap()];
    let mut said = vec![stage.upload("deals.csv", &["-vvv"])];
    said.extend([["config", "show"], ["status", "-vvv"], ["destination", "list"]].map(|args| stage.run(&args)));
    for said in said {
        for secret in secrets {
            assert!(!said.stdout.contains(secret) && !said.stderr.contains(secret));
        }
    }
    stage.close();
}
