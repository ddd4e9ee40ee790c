//! What must not happen: nothing stored where nothing may be, no secret said, no question asked of nobody.

use adsengineer_server::sandbox::{FaultPlan, SandboxOptions};
use serde_json::Value;

use crate::stage::{Said, Stage, click_file};

fn stage() -> Stage {
    let stage = Stage::new(SandboxOptions::default());
    stage.file("deals.csv", &click_file(&[("A-1", "Cj0_one", "1")]));
    stage
}

/// Runs with variables removed.
fn without(stage: &Stage, names: &[&str], args: &[&str]) -> Said {
    let mut command = stage.command();
    names.iter().for_each(|name| {
        command.env_remove(name);
    });
    command.args(args).output().unwrap().into()
}

fn error_of(said: &Said) -> Value {
    let last = said.stderr.lines().last().unwrap_or_default();
    let value: Value = serde_json::from_str(last).unwrap_or_else(|e| panic!("{e}: {}", said.stderr));
    assert_eq!((value["schema_version"].as_u64(), value["error"]["exit_code"].as_i64()), (Some(1), Some(said.code.into())));
    value["error"].clone()
}

#[test]
fn a_dry_run_says_exactly_what_an_upload_would_send() {
    let stage = stage();
    let dry = stage.upload("deals.csv", &["--dry-run"]);
    assert_eq!(dry.code, 0, "{}", dry.stderr);
    let lines: Vec<Value> = dry.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.iter().all(|line| line["schema_version"] == 1));
    let request = &lines[0]["request"];
    assert_eq!(
        (request["method"].as_str(), request["url"].as_str()),
        (Some("POST"), Some(&*format!("{}/v1/events:ingest", stage.sandbox.url())))
    );
    let event = &request["body"]["events"][0];
    assert_eq!(
        (&event["transactionId"], &event["adIdentifiers"]["gclid"], &event["conversionValue"]),
        (&"A-1".into(), &"Cj0_one".into(), &1.into())
    );
    assert!(request["body"].get("validateOnly").is_none());
    assert!(!stage.path("data").exists());
    assert_eq!(stage.sandbox.counters().requests, 0);
    let counted_at = event["eventTimestamp"].clone();
    assert_eq!(stage.upload("deals.csv", &[]).code, 0);
    assert_eq!(stage.sandbox.accepted()[0].event_timestamp, counted_at);
    stage.close();
}

#[test]
fn validating_stores_nothing_here_or_there_and_names_the_refused_row() {
    let stage = stage();
    let good = stage.upload("deals.csv", &["--validate-only"]);
    assert_eq!(good.code, 0, "{}{}", good.stdout, good.stderr);
    stage.file("bad.csv", &click_file(&[("A-1", "Cj0_one", "1"), ("A-2", "sandbox-400-INVALID_EVENT-x", "2")]));
    let bad = stage.upload("bad.csv", &["--validate-only"]);
    assert_eq!((bad.code, bad.json()["validation"][0]["row"].as_u64()), (3, Some(3)), "{}{}", bad.stdout, bad.stderr);
    assert!(!stage.path("data").exists(), "validating makes no database");
    assert_eq!((stage.counted().len(), stage.sandbox.counters().events_validated), (0, 1));
    assert_eq!(stage.run(&["destination", "add", "shop", "--customer-id", "1234567890"]).code, 0);
    let named = stage.run(&["upload", "deals.csv", "--to", "shop", "--action", "Sale=5", "--validate-only", "--json"]);
    assert_eq!(named.code, 0, "{}{}", named.stdout, named.stderr);
    assert_eq!(stage.run(&["destination", "show", "shop", "--json"]).json()["actions"], serde_json::json!({}));
    stage.close();
}

#[test]
fn missing_or_broken_credentials_are_said_before_anything_is_sent() {
    let stage = stage();
    let none = without(
        &stage,
        &["ADSENGINEER_GOOGLE_CREDENTIALS_FILE"],
        &["upload", "deals.csv", "--customer-id", "1234567890", "--action", "1", "--json"],
    );
    assert_eq!((none.code, error_of(&none)["code"].as_str()), (4, Some("CREDENTIALS_MISSING")));
    stage.file("broken.json", "{\"type\":\"authorized_user\"");
    let broken: Said = stage
        .command()
        .env("ADSENGINEER_GOOGLE_CREDENTIALS_FILE", stage.path("broken.json"))
        .args(["upload", "deals.csv", "--customer-id", "1234567890", "--action", "1", "--json"])
        .output()
        .unwrap()
        .into();
    assert_eq!((broken.code, error_of(&broken)["code"].as_str()), (5, Some("CREDENTIALS")));
    let account = stage.run(&["upload", "deals.csv", "--action", "1", "--json"]);
    assert_eq!((account.code, error_of(&account)["code"].as_str()), (2, Some("NO_ACCOUNT")));
    assert_eq!(stage.sandbox.counters().requests, 0);
    stage.close();
}

#[test]
fn a_command_line_that_cannot_be_used_is_json_when_json_is_wanted() {
    let stage = stage();
    for args in [&["upload", "--json"][..], &["frobnicate", "--json"], &["upload", "deals.csv", "--action", "x=y", "--json"], &["--json"]] {
        let said = stage.run(args);
        assert_eq!((said.code, error_of(&said)["code"].as_str()), (2, Some("USAGE")), "{args:?}");
        assert!(said.stdout.is_empty());
    }
    let plain = stage.run(&["upload"]);
    assert!(plain.code == 2 && plain.stderr.contains("Usage:"), "{}", plain.stderr);
    assert_eq!(stage.run(&["upload", "--help", "--json"]).code, 0);
    stage.close();
}

#[test]
fn an_empty_database_has_nothing_to_say_and_says_so() {
    let stage = Stage::new(SandboxOptions::default());
    let pending = stage.run(&["migrate", "--status", "--json"]).json();
    assert!(pending["pending"].as_u64().unwrap() > 0);
    assert!(!stage.path("data").join("adsengineer/adsengineer.db").exists(), "looking makes no database");
    assert_eq!(stage.run(&["doctor", "--offline", "--json"]).json()["ok"], true);
    assert_eq!(stage.run(&["status", "--json"]).json()["destinations"], serde_json::json!([]));
    let sum = stage.run(&["reconcile", "--json"]);
    assert_eq!((sum.code, &sum.json()["closes"], &sum.json()["captured"]), (0, &true.into(), &0.into()));
    assert_eq!(stage.run(&["work", "--json"]).code, 0);
    assert_eq!(stage.run(&["dlq", "list", "--json"]).json()["dead_letters"], serde_json::json!([]));
    for id in ["nothing", "conv_0saxs14980001", "dlv_zzz"] {
        assert_eq!(stage.run(&["explain", id]).code, 6, "{id}");
        assert_eq!(stage.run(&["conversion", "show", id]).code, 6, "{id}");
        assert_eq!(stage.run(&["dlq", "show", id]).code, 6, "{id}");
    }
    assert_eq!(stage.run(&["migrate", "--status", "--json"]).json()["pending"], 0);
    stage.close();
}

#[test]
fn doctor_finds_what_is_wrong_and_exits_with_ten() {
    let stage = stage();
    assert_eq!(stage.upload("deals.csv", &[]).code, 0);
    let fit = stage.run(&["doctor", "--json"]);
    assert_eq!((fit.code, &fit.json()["ok"]), (0, &true.into()), "{}", fit.stdout);
    stage.sandbox.set_revoked(true);
    stage.sandbox.expire_tokens();
    let revoked = stage.run(&["doctor"]);
    assert!(revoked.code == 10 && revoked.stdout.contains("invalid_grant"), "{}{}", revoked.stdout, revoked.stderr);
    assert_eq!(stage.run(&["doctor", "--offline"]).code, 0);
    let moved: Said = stage.command().env("ADSENGINEER_NOW", "2030-01-01T00:00:00Z").args(["doctor", "--offline"]).output().unwrap().into();
    assert_eq!(moved.code, 10, "{}", moved.stdout);
    stage.close();
}

#[test]
fn no_colour_is_written_into_a_pipe_unless_it_is_asked_for() {
    let stage = stage();
    let run = |variables: &[(&str, &str)], args: &[&str]| -> Said {
        stage.command().envs(variables.iter().copied()).args(args).output().unwrap().into()
    };
    let escape = '\u{1b}';
    let plain = run(&[], &["explain", "x"]);
    assert!(!plain.stderr.contains(escape) && plain.stderr.starts_with("error: "));
    assert!(run(&[("CLICOLOR_FORCE", "1")], &["explain", "x"]).stderr.contains(escape));
    assert!(run(&[], &["explain", "x", "--color", "always"]).stderr.contains(escape));
    assert!(!run(&[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")], &["explain", "x"]).stderr.contains(escape));
    assert!(!run(&[("CLICOLOR_FORCE", "1"), ("TERM", "dumb")], &["explain", "x"]).stderr.contains(escape));
    let quiet = run(&[("ADSENGINEER_LEESE", "1s")], &["status", "--quiet"]);
    assert!(quiet.stderr.is_empty(), "{}", quiet.stderr);
    stage.close();
}

#[test]
fn no_secret_is_ever_in_any_output_log_or_database() {
    let stage = stage();
    let credentials: Value = serde_json::from_str(&stage.sandbox.credentials_json()).unwrap();
    let mut secrets: Vec<String> = ["client_secret", "refresh_token"].map(|key| credentials[key].as_str().unwrap().to_owned()).into();
    let key = stage.run(&["key", "generate"]).stdout.trim().to_owned();
    secrets.push(key.clone());
    stage.sandbox.set_faults(FaultPlan::none().at(1, adsengineer_server::sandbox::Fault::ExpiredToken401));
    for args in [
        &["upload", "deals.csv", "--customer-id", "1234567890", "--action", "Sale=1", "--wait=20s", "-vvv"][..],
        &["work", "-vvv"],
        &["config", "show", "--json"],
        &["config", "show"],
        &["destination", "show", "google-1234567890", "--json"],
        &["destination", "check", "google-1234567890", "-vvv"],
        &["doctor", "-vvv"],
        &["status", "--json", "-vvv"],
        &["explain", "A-1", "--json"],
    ] {
        let said: Said = stage.command().env("ADSENGINEER_ENCRYPTION_KEY", &key).args(args).output().unwrap().into();
        assert_eq!(said.code, 0, "{args:?}: {}{}", said.stdout, said.stderr);
        for secret in &secrets {
            assert!(!said.stdout.contains(secret) && !said.stderr.contains(secret), "{args:?}");
        }
    }
    let folder = stage.path("data").join("adsengineer");
    for file in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        let bytes = std::fs::read(&file).unwrap();
        for secret in &secrets {
            assert!(!bytes.windows(secret.len()).any(|window| window == secret.as_bytes()), "{}", file.display());
        }
    }
    stage.close();
}

#[test]
fn a_bad_file_leaves_nothing_half_done() {
    let stage = stage();
    stage.file("header.csv", "Deal,Close Date\nx,2026-01-01\n");
    stage.file("empty.csv", "");
    for file in ["header.csv", "empty.csv", "missing.csv"] {
        let said = stage.upload(file, &["--rejects", "bad.csv"]);
        assert_eq!(said.code, 2, "{file}: {}{}", said.stdout, said.stderr);
        assert_eq!(stage.run(&["destination", "list", "--json"]).json()["destinations"], serde_json::json!([]), "{file}");
        assert!(!stage.path("bad.csv").exists(), "{file}");
    }
    let header = stage.run(&["upload", "header.csv", "--action", "1", "--customer-id", "1234567890"]);
    assert!(header.code == 2 && format!("{}{}", header.stdout, header.stderr).contains("--map"), "{}{}", header.stdout, header.stderr);
    assert_eq!(stage.sandbox.counters().requests, 0);
    stage.close();
}
