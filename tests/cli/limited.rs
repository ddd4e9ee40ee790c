//! `serve` with budgets in Redis.

use std::time::Duration;

use adsengineer_server::sandbox::SandboxOptions;
use serde_json::Value;

use crate::{
    redis::{self, free_port},
    served::{Server, token},
    stage::Stage,
};

fn serve(stage: &Stage, redis_url: &str) -> Server {
    let variables =
        [("ADSENGINEER_LISTEN", "127.0.0.1:0"), ("ADSENGINEER_RATE_LIMIT_URL", redis_url), ("ADSENGINEER_RATE_LIMIT_ORG", "20/h")];
    Server::with(stage, "api", &variables)
}

/// Status and body of an answer that comes soon.
fn get(stage: &Stage, url: &str, token: &str) -> (u16, Value) {
    let request = reqwest::Client::new().get(url).bearer_auth(token).timeout(Duration::from_secs(5));
    stage.wait(async {
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    })
}

#[test]
fn two_processes_on_one_redis_let_exactly_one_budget_through() {
    let (stage, redis) = (Stage::new(SandboxOptions::default()), redis::Server::start(&[]));
    let servers = [serve(&stage, &redis.url()), serve(&stage, &redis.url())];
    let token = token(&stage, "default", "viewer", "1h");
    let asked = (0..40).map(|n| get(&stage, &format!("{}/api/v1/me", servers[n % 2].url), &token).0);
    let statuses: Vec<_> = asked.collect();
    let count = |status| statuses.iter().filter(|said| **said == status).count();
    assert!(count(200) <= 20 && count(200) + count(503) >= 20, "{statuses:?}");
    assert_eq!(count(200) + count(429) + count(503), 40, "{statuses:?}");
    stage.close();
}

#[test]
fn without_its_redis_a_server_starts_says_so_and_refuses_everything_until_it_is_there() {
    let (stage, port) = (Stage::new(SandboxOptions::default()), free_port());
    let server = serve(&stage, &format!("redis://:hunter2@127.0.0.1:{port}/1"));
    let token = token(&stage, "default", "viewer", "1h");
    let log = server.log();
    assert!(log.contains("warning: the store of rate limits (rate_limit_url) cannot be asked"), "{log}");
    let (me, health) = (format!("{}/api/v1/me", server.url), format!("{}/health", server.url));
    for _ in 0..3 {
        let (status, problem) = get(&stage, &me, &token);
        assert_eq!((status, problem["code"].as_str(), problem["retry_after"].as_u64()), (503, Some("RATE_LIMIT_CONFIG_ERROR"), Some(60)));
    }
    while get(&stage, &health, "").1["checks"]["rate_limit"]["status"] != "unhealthy" {}
    assert_eq!(get(&stage, &health, "").0, 503);
    let _redis = redis::Server::at(port, &["--requirepass", "hunter2"]);
    while get(&stage, &me, &token).0 != 200 {}
    while get(&stage, &health, "").0 != 200 {}
    let log = server.log();
    assert!(log.contains("the store of rate limits can be asked") && log.contains(&format!("redis://127.0.0.1:{port}/1")), "{log}");
    assert!(!log.contains("hunter2"), "{log}");
    stage.close();
}

#[test]
fn over_tls_a_redis_is_asked_whose_certificate_the_system_trusts() {
    let vectors = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/vectors");
    let (certificate, key) = (format!("{vectors}/self_signed_certificate.pem"), format!("{vectors}/self_signed_key.pem"));
    let (stage, port) = (Stage::new(SandboxOptions::default()), free_port().to_string());
    let tls = ["--tls-port", &port, "--tls-cert-file", &certificate, "--tls-key-file", &key, "--tls-ca-cert-file", &certificate];
    let _redis = redis::Server::start(&[&tls[..], &["--tls-auth-clients", "no"]].concat());
    let url = format!("rediss://127.0.0.1:{port}");
    let usual = [("ADSENGINEER_LISTEN", "127.0.0.1:0"), ("ADSENGINEER_RATE_LIMIT_URL", url.as_str())];
    let trusting = [&usual[..], &[("SSL_CERT_FILE", certificate.as_str())]].concat();
    let token = token(&stage, "default", "viewer", "1h");
    for (variables, answered) in [(&usual[..], 503), (&trusting[..], 200)] {
        let server = Server::with(&stage, "api", variables);
        while get(&stage, &format!("{}/api/v1/me", server.url), &token).0 != answered {}
    }
    stage.close();
}

#[test]
fn a_url_that_is_none_refuses_the_start_and_a_password_is_never_shown() {
    let stage = Stage::new(SandboxOptions::default());
    for url in ["redis:/x", "http://u:hunter2@h", "redis://:hunter/2@h", "redis://u:hunter2@h/x", "rediss://u:hunter2@h#insecure"] {
        for command in [&["serve"][..], &["config", "show"]] {
            let said = stage.command().args(command).env("ADSENGINEER_RATE_LIMIT_URL", url).output().unwrap();
            let text = format!("{}{}", String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr));
            assert_eq!(said.status.code(), Some(5), "{text}");
            assert!(text.contains("redis://[[user]:password@]host") && !text.contains("hunter"), "{text}");
        }
    }
    let secret = stage.file("url", "redis://me:hunter2@cache.example.com:6380/1\n");
    let shown = stage.command().args(["config", "show", "--json"]).env("ADSENGINEER_RATE_LIMIT_URL_FILE", secret).output().unwrap();
    let text = String::from_utf8(shown.stdout).unwrap();
    assert!(text.contains("redis://***@cache.example.com:6380/1"), "{text}");
    assert!(text.contains("ADSENGINEER_RATE_LIMIT_URL_FILE") && !text.contains("hunter2"), "{text}");
    stage.close();
}
