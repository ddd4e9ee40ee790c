//! Everyday commands against a server say what they say on the machine's own database.

use adsengineer_server::sandbox::SandboxOptions;
use serde_json::Value;

use crate::{
    served::{Server, login, token},
    stage::{Said, Stage, click_file},
};

/// Some delivered, some dead, a rule and a second destination.
fn furnished() -> Stage {
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
    assert_eq!(stage.upload("deals.csv", &["--wait=30s"]).code, 3);
    assert_eq!(stage.run(&["rule", "put", "won", "--on", "lead.won", "--action", "Sale"]).code, 0);
    stage
}

/// Runs the same command here and on the server.
fn both(stage: &Stage, server: &Server, args: &[&str]) -> (Said, Said) {
    (stage.run(args), stage.run(&[args, &["--server", &server.url]].concat()))
}

#[test]
fn every_reading_command_says_the_same_here_and_on_a_server() {
    let stage = furnished();
    let server = Server::start(&stage, "api");
    assert_eq!(login(&stage, &token(&stage, "default", "owner", "1h"), &["--server", &server.url, "--profile", "office"]).code, 0);
    assert_eq!(stage.run(&["logout", "--profile", "nobody"]).code, 0);
    // The login is current; the database's own address keeps the other run here.
    let database = format!("sqlite://{}", stage.path("data/adsengineer/adsengineer.db").display());
    let dead = stage.run(&["dlq", "list", "--database", &database, "--json"]).json()["dead_letters"][0].clone();
    let (letter, conversion) = (dead["id"].as_str().unwrap(), dead["conversion_id"].as_str().unwrap());
    let commands: &[&[&str]] = &[
        &["status"],
        &["reconcile"],
        &["explain", "A-1"],
        &["explain", letter],
        &["explain", "A-99"],
        &["conversion", "list", "--limit", "2"],
        &["conversion", "list", "--newest", "--since", "1h"],
        &["conversion", "list", "--state", "dead"],
        &["conversion", "show", conversion],
        &["dlq", "list"],
        &["dlq", "list", "--reason", "INVALID_GCLID", "--limit", "1"],
        &["dlq", "list", "--kind", "webhook"],
        &["dlq", "show", letter],
        &["dlq", "show", "dlv_0saxs14980002"],
        &["dlq", "export", "--since", "1h"],
        &["dlq", "replay", "--all", "--dry-run"],
        &["dlq", "discard", letter, "--dry-run"],
        &["destination", "list"],
        &["destination", "show", "google-1234567890"],
        &["destination", "show", "nowhere"],
        &["destination", "actions", "google-1234567890"],
        &["rule", "list"],
        &["rule", "show", "won"],
        &["rule", "show", "lost"],
        &["lead", "list"],
        &["lead", "show", "lead_0saxs14980002"],
    ];
    for command in commands {
        for form in [&["--json"][..], &[]] {
            let args = [command, form].concat();
            let here = stage.run(&[&args[..], &["--database", &database]].concat());
            let there = stage.run(&args);
            assert_eq!((here.code, here.stdout), (there.code, there.stdout), "{args:?}: {}", there.stderr);
        }
    }
    drop(server);
    stage.close();
}

#[test]
fn every_changing_command_works_on_a_server_as_it_does_here() {
    let stage = furnished();
    let server = Server::start(&stage, "all");
    let bearer = token(&stage, "default", "owner", "1h");
    let there = |args: &[&str]| -> Said {
        let args = [args, &["--server", &server.url, "--json", "--yes"]].concat();
        stage.command().env("ADSENGINEER_TOKEN", &bearer).args(&args).output().unwrap().into()
    };
    let put = there(&["destination", "add", "shop", "--customer-id", "111-222-3333", "--action", "Visit=77"]);
    assert_eq!((put.code, &put.json()["customer_id"]), (0, &"111-222-3333".into()), "{}", put.stderr);
    assert_eq!(there(&["destination", "disable", "shop"]).json()["enabled"], false);
    let enabled = there(&["destination", "enable", "shop"]).json();
    assert_eq!((&enabled["enabled"], &enabled["actions"]["Visit"]), (&true.into(), &"77".into()));
    assert_eq!(enabled, stage.run(&["destination", "show", "shop", "--json"]).json());
    assert_eq!(there(&["destination", "set-credentials", "shop", "--file", "credentials.json"]).code, 0);
    let check = there(&["destination", "check", "shop"]);
    assert_eq!((check.code, &check.json()["ok"]), (0, &true.into()), "{}{}", check.stdout, check.stderr);
    assert_eq!(there(&["destination", "remove", "shop"]).code, 0);
    assert_eq!(there(&["destination", "show", "shop"]).code, 6);
    let rule = there(&["rule", "put", "lost", "--on", "lead.lost", "--action", "Lost", "--value", "1", "--currency", "EUR"]);
    assert_eq!(rule.json(), stage.run(&["rule", "show", "lost", "--json"]).json());
    assert_eq!(there(&["rule", "put", "odd", "--on", "lead.eaten", "--action", "Lost"]).code, 2);
    assert_eq!(stage.run(&["rule", "put", "odd", "--on", "lead.eaten", "--action", "Lost"]).code, 2);
    assert_eq!(there(&["rule", "remove", "lost"]).code, 0);
    let id = stage.run(&["dlq", "list", "--reason", "EVENT_TOO_OLD", "--json"]).json()["dead_letters"][0]["id"].clone();
    let id = id.as_str().unwrap();
    assert_eq!(there(&["dlq", "discard", id]).json()["repaired"], 1);
    let again = there(&["dlq", "discard", id]);
    assert_eq!((again.code, again.json()), (7, stage.run(&["dlq", "discard", id, "--json"]).json()), "{}", again.stderr);
    let missing = there(&["dlq", "replay", "dlv_0saxs14980002"]);
    assert_eq!((missing.code, missing.json()), (6, stage.run(&["dlq", "replay", "dlv_0saxs14980002", "--json"]).json()));
    let replay = there(&["dlq", "replay", "--reason", "INVALID_GCLID", "--rate", "50/s"]);
    assert_eq!((replay.code, &replay.json()["repaired"]), (0, &2.into()), "{}{}", replay.stdout, replay.stderr);
    assert_eq!(there(&["dlq", "stop", "rpl_nothing"]).code, 6);
    assert_eq!(there(&["reconcile"]).json()["closes"], true);
    drop(server);
    stage.close();
}

#[test]
fn leads_that_a_server_took_in_are_shown_counted_and_deleted() {
    let stage = Stage::new(SandboxOptions::default());
    assert_eq!(stage.run(&["destination", "add", "shop", "--customer-id", "1112223333"]).code, 0);
    let server = Server::start(&stage, "api");
    let bearer = token(&stage, "default", "admin", "1h");
    let consent = serde_json::json!({"storage": "granted", "ad_user_data": "granted"});
    let lead = serde_json::json!({"external_id": "L-1", "email": "ada@example.com", "consent": consent});
    stage.wait(async {
        let post = reqwest::Client::new().post(format!("{}/api/v1/leads", server.url)).bearer_auth(&bearer).json(&lead);
        assert_eq!(post.send().await.unwrap().status(), 201);
    });
    let there = |args: &[&str]| -> Said {
        let args = [args, &["--server", &server.url, "--yes"]].concat();
        stage.command().env("ADSENGINEER_TOKEN", &bearer).args(&args).output().unwrap().into()
    };
    let list: Value = there(&["lead", "list", "--json"]).json();
    assert_eq!(list, stage.run(&["lead", "list", "--json"]).json());
    let id = list["leads"][0]["id"].as_str().unwrap();
    assert_eq!(there(&["lead", "show", id]).stdout, stage.run(&["lead", "show", id]).stdout);
    assert!(there(&["status"]).stdout.contains("leads: 1 stored"));
    let (here, remote) = both(&stage, &server, &["lead", "list", "--status", "won", "--json"]);
    assert_eq!((here.json()["leads"].as_array().map(Vec::len), remote.code), (Some(0), 4), "no token, no answer");
    assert_eq!(there(&["lead", "delete", id]).code, 0);
    assert_eq!((there(&["lead", "show", id]).code, stage.run(&["lead", "show", id]).code), (6, 6));
    drop(server);
    stage.close();
}

#[test]
fn a_file_given_to_a_server_is_delivered_once_and_its_bad_rows_are_named() {
    let stage = Stage::new(SandboxOptions::default());
    let account = ["--customer-id", "123-456-7890", "--action", "Sale=987654321"];
    assert_eq!(stage.run(&[&["destination", "add", "shop"][..], &account].concat()).code, 0);
    assert_eq!(stage.run(&["destination", "set-credentials", "shop", "--file", "credentials.json"]).code, 0);
    let server = Server::start(&stage, "all");
    assert_eq!(login(&stage, &token(&stage, "default", "member", "1h"), &["--server", &server.url]).code, 0);
    let text = click_file(&[("A-1", "Cj0_one", "1.50"), ("A-2", "Cj0_two", "2"), ("A-3", "Cj0_three", "x"), ("A-4", "Cj0_four", "4")]);
    let email = text.replace("Order ID,", "Order ID,Email,").replace(",A-1,", ",A-1,ada@example.com,").replace(",A-2,", ",A-2,,");
    let email = email.replace(",A-3,", ",A-3,,").replace(",A-4,", ",A-4,,").replace("four,Sale", "four,Visit");
    stage.file("deals.csv", &email);
    let upload = |more: &[&str]| stage.run(&[&["upload", "deals.csv", "--to", "shop", "--json"], more].concat());
    let said = upload(&["--wait=30s", "--rejects", "bad.csv"]);
    let json = said.json();
    assert_eq!((said.code, &json["captured"]["new"], &json["open"]), (3, &2.into(), &0.into()), "{}{}", said.stdout, said.stderr);
    let codes: Vec<_> = json["findings"].as_array().unwrap().iter().map(|f| (f["row"].clone(), f["code"].clone())).collect();
    assert!(codes.contains(&(5.into(), "UNKNOWN_ACTION".into())) && codes.iter().any(|(row, _)| *row == 4), "{codes:?}");
    assert_eq!(std::fs::read_to_string(stage.path("bad.csv")).unwrap().lines().count(), 3);
    assert_eq!(stage.counted(), [("A-1".into(), Some("1.5".into())), ("A-2".into(), Some("2".into()))]);
    let again = upload(&[]).json();
    assert_eq!((&again["captured"]["new"], &again["captured"]["known"]), (&0.into(), &2.into()));
    stage.file("deals.csv", &email.replace("1.50", "9"));
    let different = upload(&[]).json();
    assert_eq!(different["findings"].as_array().unwrap().iter().filter(|f| f["code"] == "ALREADY_CAPTURED_DIFFERENT").count(), 1);
    for flags in [&["--restate"][..], &["--dry-run"], &["--customer-id", "1234567890"], &["--default-consent", "granted"]] {
        let refused = upload(flags);
        assert!(refused.code == 2 && refused.stderr.contains(flags[0]), "{flags:?}: {}", refused.stderr);
    }
    assert_eq!(stage.run(&["upload", "deals.csv", "--to", "nowhere"]).code, 6);
    assert_eq!(stage.run(&["reconcile", "--json"]).json()["closes"], true);
    drop(server);
    stage.close();
}
