//! Logging in and out, and everything that can be wrong with a server or a token.

use adsengineer_server::sandbox::SandboxOptions;
use wiremock::{Mock, MockServer, ResponseTemplate, matchers::any};

use crate::{
    served::{Server, login, token},
    stage::{Said, Stage},
};

fn error_of(said: &Said) -> serde_json::Value {
    let line = said.stderr.lines().rfind(|line| line.contains("\"error\"")).unwrap_or_else(|| panic!("{}", said.stderr));
    serde_json::from_str::<serde_json::Value>(line).unwrap()["error"].clone()
}

fn stage() -> Stage {
    let stage = Stage::new(SandboxOptions::default());
    assert_eq!(stage.run(&["destination", "add", "shop", "--customer-id", "1112223333"]).code, 0);
    stage
}

#[test]
fn after_login_everyday_commands_use_the_server_until_logout() {
    let stage = stage();
    assert_eq!((stage.run(&["whoami"]).code, stage.run(&["logout"]).code), (4, 0));
    let server = Server::start(&stage, "api");
    let acme = token(&stage, "acme", "admin", "1h");
    let said = login(&stage, &acme, &["--server", &server.url]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    assert!(said.stderr.contains("no keyring") && said.stderr.contains("credentials.toml"), "{}", said.stderr);
    let who = stage.run(&["whoami", "--json"]).json();
    let field = |name: &str| who[name].as_str().unwrap_or_default().to_owned();
    assert_eq!(["sub", "org_id", "role", "server", "profile"].map(field), ["me", "acme", "admin", &server.url, "default"]);
    assert!(who["exp"].is_string(), "{who}");
    assert_eq!(stage.run(&["destination", "list", "--json"]).json()["destinations"], serde_json::json!([]), "acme has none");
    assert!(stage.run(&["doctor", "--offline"]).stdout.contains(&server.url));
    assert_eq!(stage.run(&["config", "show", "--json"]).json()["in_use"]["server"], server.url.as_str());
    let other = token(&stage, "default", "viewer", "1h");
    assert_eq!(login(&stage, &other, &["--server", &server.url, "--profile", "second"]).code, 0);
    assert_eq!(stage.run(&["whoami", "--json"]).json()["profile"], "second");
    assert_eq!(stage.run(&["whoami", "--profile", "default", "--json"]).json()["org_id"], "acme");
    let named = stage.command().env("ADSENGINEER_PROFILE", "default").args(["whoami", "--json"]).output().unwrap();
    assert_eq!(Said::from(named).json()["org_id"], "acme");
    assert_eq!(stage.run(&["destination", "disable", "shop"]).code, 4, "a viewer may not");
    assert_eq!(stage.run(&["logout"]).code, 0);
    assert_eq!(stage.run(&["whoami"]).code, 4);
    assert_eq!(stage.run(&["destination", "show", "shop"]).code, 0, "this machine's database again");
    assert_eq!(stage.run(&["status", "--profile", "second"]).code, 4);
    drop(server);
    stage.close();
}

#[test]
fn a_server_that_others_reach_in_plain_text_says_so() {
    let stage = stage();
    for (listen, warned) in [("0.0.0.0:0", true), ("127.0.0.1:0", false)] {
        let server = Server::at(&stage, "api", listen);
        assert_eq!(server.log().contains("plain text"), warned, "{listen}: {}", server.log());
    }
    stage.close();
}

#[cfg(unix)]
#[test]
fn a_token_is_kept_private_and_shows_up_nowhere_else() {
    use std::os::unix::fs::PermissionsExt as _;
    let stage = stage();
    let server = Server::start(&stage, "api");
    let acme = token(&stage, "acme", "admin", "1h");
    let said = login(&stage, &acme, &["--server", &server.url, "-v", "-v", "-v"]);
    let file = stage.path("config/adsengineer/credentials.toml");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(std::fs::read_to_string(&file).unwrap().contains(&acme), "the file that was named keeps it");
    let signature = acme.rsplit('.').next().unwrap();
    let status = stage.run(&["status", "-v", "-v", "-v"]);
    let shown = stage.run(&["config", "show", "--json"]);
    for said in [said, status, shown] {
        assert_eq!(said.code, 0, "{}", said.stderr);
        assert!(!said.stdout.contains(signature) && !said.stderr.contains(signature), "{}{}", said.stdout, said.stderr);
    }
    assert_eq!(stage.run(&["login", "--token", &acme]).code, 2, "never as an argument");
    let log = server.log();
    assert!(log.contains("/docs") && !log.contains(signature), "{log}");
    assert_eq!(stage.run(&["logout"]).code, 0);
    assert!(!std::fs::read_to_string(&file).unwrap().contains(signature));
    drop(server);
    stage.close();
}

#[test]
fn tokens_that_are_no_good_and_organizations_of_others_are_refused() {
    let stage = stage();
    let server = Server::start(&stage, "api");
    let good = token(&stage, "acme", "admin", "1h");
    let said = login(&stage, &good.replace('.', ".x"), &["--server", &server.url, "--json"]);
    assert_eq!((said.code, said.stdout.as_str()), (4, ""), "{}", said.stderr);
    assert!(!stage.path("config/adsengineer/credentials.toml").exists(), "nothing is stored that does not work");
    assert_eq!(login(&stage, "", &["--server", &server.url]).code, 2);
    assert_eq!(login(&stage, &good, &[]).code, 2, "nothing says which server");
    let with = |token: &str, args: &[&str]| -> Said {
        let args = [args, &["--server", &server.url, "--json"]].concat();
        stage.command().env("ADSENGINEER_TOKEN", token).args(&args).output().unwrap().into()
    };
    let expired =
        stage.command().env("ADSENGINEER_NOW", "2024-01-01T00:00:00Z").args(["token", "mint", "--sub", "me", "--role", "admin"]).output();
    let expired = Said::from(expired.unwrap()).stdout.trim().to_owned();
    let refused = with(&expired, &["status"]);
    assert_eq!((refused.code, &error_of(&refused)["code"]), (4, &"TOKEN_EXPIRED".into()), "{}", refused.stderr);
    assert!(error_of(&refused)["message"].as_str().unwrap().contains("request "), "{}", refused.stderr);
    assert_eq!(with(&good, &["status", "--org", "acme"]).code, 0);
    let other = with(&good, &["status", "--org", "other"]);
    let message = error_of(&other)["message"].clone();
    assert_eq!(other.code, 2);
    assert!(["`other`", "`acme`"].iter().all(|org| message.as_str().unwrap().contains(org)), "{message}");
    assert_eq!(with(&good, &["dlq", "replay", "--all", "--yes"]).code, 0);
    let viewer = token(&stage, "acme", "viewer", "1h");
    assert_eq!(error_of(&with(&viewer, &["dlq", "list"]))["code"], "FORBIDDEN");
    drop(server);
    stage.close();
}

#[test]
fn where_to_work_is_said_once_and_some_commands_need_the_machine() {
    let stage = stage();
    let both = stage.run(&["status", "--server", "http://127.0.0.1:1", "--database", "sqlite://x.db"]);
    assert!(both.code == 2 && both.stderr.contains("--server") && both.stderr.contains("--database"), "{}", both.stderr);
    let commands: &[&[&str]] = &[
        &["work"],
        &["migrate"],
        &["doctor"],
        &["org", "list"],
        &["token", "verify"],
        &["key", "generate"],
        &["config", "show"],
        &["check", "x.csv"],
        &["demo"],
        &["serve"],
        &["completions", "bash"],
        &["man"],
        &["status", "--all-orgs"],
        &["upload", "x.csv", "--sandbox"],
    ];
    for command in commands {
        let said = stage.run(&[command, &["--server", "http://127.0.0.1:1"][..]].concat());
        assert!(said.code == 2 && said.stderr.contains("machine only"), "{command:?}: {} {}", said.code, said.stderr);
    }
    assert_eq!(stage.run(&["status", "--server", "http://example.com"]).code, 2, "plain http over a network");
    assert_eq!(stage.run(&["status", "--server", "https://me:secret@example.com"]).code, 2, "a password in a flag");
    let env = [("ADSENGINEER_SERVER", "http://127.0.0.1:1")];
    let here = stage.command().envs(env).args(["status", "--database", "sqlite://x.db"]).output().unwrap();
    assert_eq!(Said::from(here).code, 0, "a flag counts more than a variable");
    let there = stage.command().envs(env).args(["status"]).output().unwrap();
    assert_eq!(Said::from(there).code, 4, "no token for it");
    stage.close();
}

#[test]
fn what_answers_but_is_no_server_of_ours_and_what_does_not_answer_is_said_clearly() {
    let stage = stage();
    let ask = |url: &str, args: &[&str]| -> Said {
        let args = [args, &["--server", url, "--json", "--timeout", "3s"]].concat();
        stage.command().env("ADSENGINEER_TOKEN", "a.b.c").args(&args).output().unwrap().into()
    };
    let html = ResponseTemplate::new(200).set_body_raw("<html>hello</html>", "text/html");
    let moved = ResponseTemplate::new(302).insert_header("location", "https://example.com/login");
    let teapot = ResponseTemplate::new(200).set_body_json(serde_json::json!({"tea": true}));
    let broken = ResponseTemplate::new(502).set_body_raw("bad gateway", "text/plain");
    for answer in [html, moved, teapot, broken] {
        let strange = stage.wait(MockServer::start());
        stage.wait(Mock::given(any()).respond_with(answer).expect(1).mount(&strange));
        let said = ask(&strange.uri(), &["status"]);
        assert_eq!((said.code, &error_of(&said)["code"]), (8, &"NOT_A_SERVER".into()), "{}", said.stderr);
    }
    let gone = ask("http://127.0.0.1:1", &["status"]);
    assert_eq!((gone.code, &error_of(&gone)["code"]), (8, &"SERVER_UNREACHABLE".into()), "{}", gone.stderr);
    let health = ask("http://127.0.0.1:1", &["health"]);
    assert_eq!(health.code, 8, "{}", health.stderr);
    stage.close();
}

#[test]
fn refusals_of_a_server_have_their_own_exit_codes_and_only_safe_requests_are_repeated() {
    let stage = stage();
    let cases = [
        (400, "BAD_REQUEST", 2, 1),
        (422, "VALIDATION_FAILED", 2, 1),
        (401, "TOKEN_EXPIRED", 4, 1),
        (403, "FORBIDDEN", 4, 1),
        (404, "NOT_FOUND", 6, 1),
        (409, "CONFLICT", 7, 1),
        (429, "RATE_LIMITED", 9, 4),
        (503, "OVERLOADED", 8, 4),
        (500, "INTERNAL", 1, 1),
    ];
    for (status, code, exit, asked) in cases {
        let body = serde_json::json!({"type": "x", "title": "x", "status": status, "detail": "why it is so", "code": code,
            "request_id": "req-1", "errors": [{"pointer": "/a", "code": "A_WRONG", "detail": "is wrong"}]});
        let answer = ResponseTemplate::new(status).set_body_raw(body.to_string(), "application/problem+json");
        let server = stage.wait(MockServer::start());
        stage.wait(Mock::given(any()).respond_with(answer).mount(&server));
        let url = server.uri();
        let run = |args: &[&str]| -> Said {
            let args = [args, &["--server", &url, "--json", "--yes"]].concat();
            stage.command().env("ADSENGINEER_TOKEN", "a.b.c").args(&args).output().unwrap().into()
        };
        let said = run(&["status"]);
        let error = error_of(&said);
        assert_eq!((said.code, &error["code"]), (exit, &code.into()), "{}", said.stderr);
        assert!(["why it is so", "req-1", "/a A_WRONG"].iter().all(|t| error["message"].as_str().unwrap().contains(t)), "{error}");
        assert_eq!(stage.wait(server.received_requests()).unwrap().len(), asked, "{status}");
        stage.wait(server.reset());
        stage.wait(Mock::given(any()).respond_with(ResponseTemplate::new(503)).mount(&server));
        run(&["destination", "check", "shop"]);
        assert_eq!(stage.wait(server.received_requests()).unwrap().len(), 1, "a check is not repeated");
    }
    stage.close();
}

#[test]
fn health_says_whether_a_server_is_up() {
    let stage = stage();
    let server = Server::start(&stage, "api");
    let said = stage.run(&["health", "--url", &server.url, "--wait", "30s", "--json"]);
    assert_eq!((said.code, &said.json()["checks"]["database"]["status"]), (0, &"healthy".into()), "{}{}", said.stdout, said.stderr);
    assert!(stage.run(&["health", "--server", &server.url]).stdout.contains("version"));
    let url = server.url.clone();
    drop(server);
    assert_eq!(stage.run(&["health", "--url", &url]).code, 8);
    let listen = stage.command().env("ADSENGINEER_LISTEN", "0.0.0.0:1").arg("health").output().unwrap();
    let listen = Said::from(listen);
    assert!(listen.code == 8 && listen.stderr.contains("http://127.0.0.1:1"), "{}", listen.stderr);
    stage.close();
}
