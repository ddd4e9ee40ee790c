//! `token`, and what `serve` and `login` say where something is in the way.

use std::process::{Command, Stdio};

use adsengineer_server::sandbox::SandboxOptions;

use crate::{
    served::{Server, token},
    stage::{Said, Stage},
};

fn verify(stage: &Stage, token: &str, more: &[&str]) -> Said {
    stage.command().args(["token", "verify"]).args(more).write_stdin(token.to_owned()).output().unwrap().into()
}

#[test]
fn a_minted_token_is_good_until_it_is_changed_or_revoked() {
    let stage = Stage::new(SandboxOptions::default());
    assert_eq!(stage.run(&["destination", "add", "shop", "--customer-id", "1112223333"]).code, 0);
    let minted = stage.run(&["token", "mint", "--sub", "crm", "--role", "member", "--json"]).json();
    let (text, id) = (minted["token"].as_str().unwrap(), minted["jti"].as_str().unwrap());
    let good = verify(&stage, &format!(" {text}\n"), &["--json"]).json();
    assert_eq!((&good["valid"], &good["sub"], &good["role"], &good["jti"]), (&true.into(), &"crm".into(), &"member".into(), &id.into()));
    assert!(verify(&stage, text, &[]).stdout.contains("good: crm of default as member"));
    for (bad, why) in [(format!("{text}x"), "signature"), ("nonsense".to_owned(), "three parts"), (String::new(), "malformed")] {
        let said = verify(&stage, &bad, &[]);
        assert!(said.code == 4 && said.stderr.contains(why) && said.stdout.is_empty(), "{bad}: {}", said.stderr);
    }
    assert_eq!(stage.run(&["token", "revoke", id]).code, 0);
    let said = verify(&stage, text, &[]);
    assert!(said.code == 4 && said.stderr.contains("revoked"), "{}", said.stderr);
    assert_eq!(stage.run(&["token", "revoke", &"j".repeat(201)]).code, 2);
    stage.close();
}

#[test]
fn an_organization_without_data_is_warned_about_with_the_nearest_that_has() {
    let stage = Stage::new(SandboxOptions::default());
    let first = stage.run(&["token", "mint", "--sub", "me", "--org", "acme", "--role", "viewer"]);
    assert!(first.code == 0 && first.stderr.contains("`acme` has no data yet") && !first.stderr.contains("nearest"), "{}", first.stderr);
    assert_eq!(stage.run(&["destination", "add", "shop", "--customer-id", "1112223333", "--org", "acme"]).code, 0);
    let typed = stage.run(&["token", "mint", "--sub", "me", "--org", "acmee", "--role", "viewer"]);
    assert!(typed.stderr.contains("the nearest that has is `acme`") && typed.stdout.lines().count() == 1, "{}", typed.stderr);
    assert_eq!(stage.run(&["token", "mint", "--sub", "me", "--role", "viewer", "--ttl", "900000h"]).code, 2);
    stage.close();
}

#[test]
fn a_worker_and_a_server_on_the_sandbox_end_well_when_told_to() {
    let stage = Stage::new(SandboxOptions::default());
    for args in [&["serve", "--role", "worker", "-v"][..], &["serve", "--sandbox"]] {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin("adsengineer"));
        command.args(args).current_dir(stage.path("")).envs(stage.variables()).env("ADSENGINEER_LISTEN", "127.0.0.1:0");
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut said = std::io::BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("working; there is no HTTP") && !line.contains("nothing leaves this machine") {
            line.clear();
            assert!(std::io::BufRead::read_line(&mut said, &mut line).unwrap() > 0, "{args:?} said nothing of the kind");
        }
        assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
        std::io::copy(&mut said, &mut std::io::sink()).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(0), "{args:?}");
    }
    stage.close();
}

#[test]
fn an_address_that_is_taken_is_a_conflict() {
    let stage = Stage::new(SandboxOptions::default());
    let server = Server::start(&stage, "api");
    let listen = server.url.trim_start_matches("http://").to_owned();
    let said: Said = stage.command().args(["serve", "--role", "api"]).env("ADSENGINEER_LISTEN", listen).output().unwrap().into();
    assert!(said.code == 7 && said.stderr.contains("cannot be listened on") && said.stderr.contains("port 0"), "{}", said.stderr);
    drop(server);
    stage.close();
}

#[test]
fn stored_logins_that_cannot_be_used_are_named_with_the_remedy() {
    let stage = Stage::new(SandboxOptions::default());
    let bearer = token(&stage, "default", "owner", "1h");
    std::fs::create_dir_all(stage.path("config/adsengineer")).unwrap();
    let file = stage.path("config/adsengineer/credentials.toml");
    std::fs::write(&file, format!("token = {bearer}")).unwrap();
    let broken = stage.run(&["whoami"]);
    assert!(
        broken.code == 5 && broken.stderr.contains("credentials.toml") && broken.stderr.contains("adsengineer login"),
        "{}",
        broken.stderr
    );
    assert!(!broken.stderr.contains(&bearer));
    let in_keyring = "current = \"default\"\n[profiles.default]\nserver = \"http://127.0.0.1:1\"\n";
    std::fs::write(&file, in_keyring).unwrap();
    let locked = stage.run(&["whoami"]);
    assert!(locked.code == 4 && locked.stderr.contains("keyring"), "{}", locked.stderr);
    assert_eq!(stage.run(&["logout"]).code, 0);
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    assert_eq!(stage.run(&["whoami"]).code, 5);
    stage.close();
}
